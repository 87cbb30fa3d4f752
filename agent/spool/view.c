// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "spool/file.h"

void cs_spool_view_clear(struct cs_spool_view *v) {
    for (size_t i = 0; i < v->n; i++)
        free(v->segments[i].items);
    free(v->segments);
    free(v->acks);
    *v = (struct cs_spool_view){0};
}

// A segment whose events are all new.
static bool append(struct cs_spool_view *v, const struct cs_spool_name *name, int64_t size) {
    struct cs_spool_item *items = calloc(name->n, sizeof *items);
    if (!items || !CS_GROW(&v->segments, &v->cap, v->n + 1)) {
        free(items);
        return false;
    }
    for (size_t i = 0; i < name->n; i++)
        items[i] = (struct cs_spool_item){.seq = name->first + (int64_t)i, .state = CS_SPOOL_NEW};
    v->segments[v->n++] =
        (struct cs_spool_segment){.name = *name, .size = size, .open = name->n, .items = items};
    return true;
}

bool cs_spool_view_add(struct cs_spool *s, const struct cs_spool_name *name, int64_t size) {
    return append(&s->view, name, size); // its numbers are the highest
}

void cs_spool_view_drop(struct cs_spool *s, struct cs_spool_segment *seg) {
    struct cs_spool_view *v = &s->view;
    size_t at = (size_t)(seg - v->segments);
    free(seg->items);
    memmove(seg, seg + 1, (--v->n - at) * sizeof *seg);
}

static bool read_states(const struct cs_spool_dir *d, const char *name, int fd, struct cs_spool_segment *seg,
                        struct cs_err *err) {
    uint8_t text[CS_SPOOL_GROUP_MAX * 128];
    size_t want = cs_spool_state_at(seg->name.n), len = 0;
    while (len < want) {
        ssize_t n = pread(fd, text + len, want - len, (off_t)len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cs_spool_fail(err, d, name, "read", errno);
        if (n == 0)
            break; // the file was cut off: reading the events will show that
        len += (size_t)n;
    }
    cs_spool_states_parse((struct cs_bytes){text, len}, seg->items, seg->name.n);
    for (size_t i = 0; i < seg->name.n; i++)
        seg->open -= seg->items[i].state == CS_SPOOL_ENDED;
    return true;
}

static bool read_segment(struct cs_spool *s, const char *name, const struct cs_spool_name *n,
                         struct cs_err *err) {
    int fd;
    off_t size;
    if (!cs_spool_open_file(&s->dir, name, O_RDONLY, &fd, &size, err))
        return false;
    if (fd < 0)
        return true;
    bool ok = append(&s->view, n, size) || cs_err_oom(err);
    ok = ok && read_states(&s->dir, name, fd, &s->view.segments[s->view.n - 1], err);
    close(fd);
    return ok;
}

static bool read_entry(struct cs_spool *s, const char *text, struct cs_err *err) {
    struct cs_spool_name n;
    struct cs_spool_view *v = &s->view;
    if (!cs_spool_name_parse(text, &n))
        return true; // not ours
    cs_spool_raise_highest(s, n.first + (int64_t)n.n - 1);
    if (n.kind != CS_SPOOL_NAME_ACKS)
        return read_segment(s, text, &n, err);
    if (!CS_GROW(&v->acks, &v->acks_cap, v->acks_n + 1))
        return cs_err_oom(err);
    v->acks[v->acks_n++] = n.first;
    return true;
}

static int by_number(const void *a, const void *b) {
    const struct cs_spool_segment *x = a, *y = b;
    if (x->name.first != y->name.first)
        return x->name.first < y->name.first ? -1 : 1;
    return (int)x->name.kind - (int)y->name.kind;
}

bool cs_spool_look(struct cs_spool *s, struct cs_err *err) {
    struct cs_spool_view *v = &s->view;
    if (v->valid && v->changes == s->hint.changes)
        return true;
    cs_spool_view_clear(v);
    int fd = openat(s->dir.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        cs_spool_fail(err, &s->dir, ".", "read", errno);
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = true;
    const struct dirent *e;
    while (ok && (errno = 0, e = readdir(dir)) != NULL)
        ok = read_entry(s, e->d_name, err);
    if (ok && errno != 0)
        ok = cs_spool_fail(err, &s->dir, ".", "read", errno);
    closedir(dir);
    if (ok && v->n > 1)
        qsort(v->segments, v->n, sizeof *v->segments, by_number);
    v->valid = ok;
    v->changes = s->hint.changes;
    return ok;
}

struct cs_spool_segment *cs_spool_find(const struct cs_spool *s, int64_t seq) {
    const struct cs_spool_view *v = &s->view;
    size_t low = 0, high = v->n; // to the first segment that begins after seq
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (v->segments[mid].name.first <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    while (low > 0) { // mostly the one before it; files may have been put there by hand
        struct cs_spool_segment *seg = &v->segments[--low];
        int64_t at = seq - seg->name.first;
        if (at >= CS_SPOOL_GROUP_MAX)
            break;
        if (at < (int64_t)seg->name.n && seg->items[at].state != CS_SPOOL_ENDED)
            return seg;
    }
    return NULL;
}

bool cs_spool_has_acks(const struct cs_spool *s, int64_t seq) {
    for (size_t i = 0; i < s->view.acks_n; i++)
        if (s->view.acks[i] == seq)
            return true;
    return false;
}

static size_t copy_open(const struct cs_spool_view *v, struct cs_spool_item *ret) {
    size_t n = 0;
    for (size_t i = 0; i < v->n; i++)
        for (size_t k = 0; k < v->segments[i].name.n; k++)
            if (v->segments[i].items[k].state != CS_SPOOL_ENDED)
                ret[n++] = v->segments[i].items[k];
    return n;
}

bool cs_spool_list(struct cs_spool *s, struct cs_spool_item **ret, size_t *ret_n, struct cs_err *err) {
    if (!cs_spool_lock(s, err))
        return false;
    bool ok = cs_spool_look(s, err);
    size_t room = 1;
    for (size_t i = 0; ok && i < s->view.n; i++)
        room += s->view.segments[i].open;
    struct cs_spool_item *items = ok ? calloc(room, sizeof *items) : NULL;
    if (items)
        *ret_n = copy_open(&s->view, items);
    cs_spool_unlock(s);
    if (!items)
        return ok ? cs_err_oom(err) : false;
    *ret = items;
    return true;
}
