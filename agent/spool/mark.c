// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "spool/file.h"

// The file has room for the states, so they can be written on a full disk, too.
static bool write_states(const struct cs_spool *s, const struct cs_spool_segment *seg, size_t from, size_t n,
                         bool sync, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    uint8_t text[CS_SPOOL_GROUP_MAX * 128];
    size_t len = cs_spool_state_at(n);
    int fd;
    off_t size;
    cs_spool_name_format(&seg->name, name);
    cs_spool_states_format(seg->items + from, n, text);
    if (!cs_spool_open_file(&s->dir, name, O_WRONLY, &fd, &size, err))
        return false;
    if (fd < 0)
        return true; // somebody removed it by hand
    CS_SPOOL_STEP("before-states");
    bool ok = pwrite(fd, text, len, (off_t)cs_spool_state_at(from)) == (ssize_t)len &&
              (!sync || fdatasync(fd) == 0);
    if (!ok)
        cs_spool_fail(err, &s->dir, name, "write", errno);
    close(fd);
    CS_SPOOL_STEP("after-states");
    return ok;
}

// All its events have ended: removes it. If the disk has no room for the counter, the file stays
// with its states written, and is removed later.
static bool drop_segment(struct cs_spool *s, struct cs_spool_segment *seg, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(&seg->name, name);
    // As long as a later file is there, its name tells that these numbers were used.
    bool last = seg == &s->view.segments[s->view.n - 1];
    if (last && !cs_spool_raise_counter(s, seg->name.first + (int64_t)seg->name.n - 1, err))
        return err->kind == CS_ERR_RETRY && write_states(s, seg, 0, seg->name.n, false, err);
    if (unlinkat(s->dir.fd, name, 0) < 0 && errno != ENOENT)
        return cs_spool_fail(err, &s->dir, name, "remove", errno);
    CS_SPOOL_STEP("unlinked");
    s->hint.bytes -= seg->size;
    cs_spool_view_drop(s, seg);
    return true;
}

// *ret_from and *ret_n: the states that changed.
static void set_states(struct cs_spool *s, struct cs_spool_segment *seg, const struct cs_spool_item *marks,
                       size_t n, size_t *ret_from, size_t *ret_n) {
    size_t low = seg->name.n, high = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = (size_t)(marks[i].seq - seg->name.first);
        struct cs_spool_item *item = &seg->items[at];
        if (marks[i].state <= item->state) // it ended, or was sent, before
            continue;
        *item = marks[i];
        if (item->state == CS_SPOOL_ENDED) {
            seg->open--;
            s->hint.count--;
        }
        low = at < low ? at : low;
        high = at + 1;
    }
    *ret_from = low;
    *ret_n = high > low ? high - low : 0;
}

// marks: of events of one segment, by rising number.
static bool mark_segment(struct cs_spool *s, struct cs_spool_segment *seg, const struct cs_spool_item *marks,
                         size_t n, bool sync, struct cs_err *err) {
    size_t from, len;
    set_states(s, seg, marks, n, &from, &len);
    if (len == 0)
        return true;
    return seg->open == 0 ? drop_segment(s, seg, err) : write_states(s, seg, from, len, sync, err);
}

// The state is written before the list of acknowledgements goes: an event without its list would be
// sent again.
static bool drop_acks(struct cs_spool *s, int64_t seq, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(&(struct cs_spool_name){.kind = CS_SPOOL_NAME_ACKS, .first = seq}, name);
    s->view.valid = false;
    if (unlinkat(s->dir.fd, name, 0) < 0 && errno != ENOENT)
        return cs_spool_fail(err, &s->dir, name, "remove", errno);
    CS_SPOOL_STEP("unlinked");
    return true;
}

static bool mark(struct cs_spool *s, const struct cs_spool_item *marks, size_t n, bool sync,
                 struct cs_err *err) {
    bool ok = true;
    for (size_t i = 0, k; ok && i < n; i = k) {
        struct cs_spool_segment *seg = cs_spool_find(s, marks[i].seq);
        k = i + 1;
        if (!seg)
            continue; // it is gone
        int64_t end = seg->name.first + (int64_t)seg->name.n;
        while (k < n && marks[k].seq > marks[k - 1].seq && marks[k].seq < end)
            k++;
        ok = mark_segment(s, seg, marks + i, k - i, sync, err);
    }
    for (size_t i = 0; ok && i < n && s->view.acks_n > 0; i++)
        if (cs_spool_has_acks(s, marks[i].seq))
            ok = drop_acks(s, marks[i].seq, err);
    return ok;
}

static bool mark_locked(struct cs_spool *s, const struct cs_spool_item *marks, size_t n, bool sync,
                        struct cs_err *err) {
    if (!cs_spool_look(s, err))
        return false;
    cs_spool_change(s);
    if (mark(s, marks, n, sync, err))
        return true;
    cs_spool_failed(s);
    return false;
}

bool cs_spool_mark(struct cs_spool *s, const struct cs_spool_item *marks, size_t n, struct cs_err *err) {
    if (n == 0)
        return true;
    if (!cs_spool_lock(s, err))
        return false;
    bool ok = mark_locked(s, marks, n, false, err);
    cs_spool_unlock(s);
    return ok;
}

bool cs_spool_finish_replacing(struct cs_spool *s, const struct cs_spool_name *n, struct cs_err *err) {
    char from[CS_SPOOL_NAME_SIZE], to[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(n, from);
    cs_spool_name_format(&(struct cs_spool_name){CS_SPOOL_NAME_EVENTS, n->first, n->n, 0}, to);
    struct cs_spool_item old[CS_SPOOL_GROUP_MAX];
    for (size_t i = 0; i < n->n; i++)
        old[i] = (struct cs_spool_item){.seq = n->old + (int64_t)i, .state = CS_SPOOL_ENDED};
    // After a power failure the old ones must not be there beside the new ones.
    if (!mark_locked(s, old, n->n, true, err))
        return false;
    CS_SPOOL_STEP("replaced-gone");
    if (renameat(s->dir.fd, from, s->dir.fd, to) < 0)
        return cs_spool_fail(err, &s->dir, from, "rename", errno);
    CS_SPOOL_STEP("replacing-renamed");
    struct cs_spool_segment *seg = s->view.valid ? cs_spool_find(s, n->first) : NULL;
    if (seg)
        seg->name.kind = CS_SPOOL_NAME_EVENTS;
    return cs_spool_sync(&s->dir, err);
}

// --- what a killed process left

// Finishes one thing that was left half done. *ret_found false: there was none.
static bool finish_one(struct cs_spool *s, bool *ret_found, struct cs_err *err) {
    if (!cs_spool_look(s, err))
        return false;
    *ret_found = true;
    for (size_t i = s->view.n; i-- > 0;) // from the end: dropping moves what follows
        if (s->view.segments[i].open == 0 && !drop_segment(s, &s->view.segments[i], err))
            return false;
    for (size_t i = 0; i < s->view.n; i++) {
        const struct cs_spool_name name = s->view.segments[i].name;
        if (name.kind == CS_SPOOL_NAME_REPLACING)
            return cs_spool_finish_replacing(s, &name, err);
    }
    for (size_t i = 0; i < s->view.acks_n; i++)
        if (!cs_spool_find(s, s->view.acks[i]))
            return drop_acks(s, s->view.acks[i], err);
    *ret_found = false;
    return true;
}

// Finishes what was left half done and counts what is there.
bool cs_spool_scan(struct cs_spool *s, struct cs_err *err) {
    bool busy = s->hint.busy != 0;
    cs_spool_change(s);
    s->view.valid = false;
    // A killed process may have named a file, and not synced the directory.
    bool ok = cs_spool_clean(&s->dir, err) && (!busy || cs_spool_sync(&s->dir, err));
    for (bool found = true; ok && found;)
        ok = finish_one(s, &found, err);
    s->hint.count = 0;
    s->hint.bytes = 0;
    for (size_t i = 0; ok && i < s->view.n; i++) {
        s->hint.count += (int64_t)s->view.segments[i].open;
        s->hint.bytes += s->view.segments[i].size;
    }
    if (!ok)
        cs_spool_failed(s);
    return ok;
}
