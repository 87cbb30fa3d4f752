// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/runtime/path.h"
#include "spool/file.h"

#define QUARANTINE_DIR       "quarantine"
#define PUBLISH_LOCK_POLL_MS 20
#define ACKS_MAX             ((size_t)1024 * 1024)

void cs_spool_entry_clear(struct cs_spool_entry *e) {
    cs_event_free(e->event);
    free(e->storage);
    *e = (struct cs_spool_entry){0};
}

static bool make_quarantine(struct cs_spool *s, int *ret_fd, struct cs_err *err) {
    int fd = cs_path_mkdir(s->dir.fd, QUARANTINE_DIR, 0700);
    if (fd < 0 && errno != EEXIST)
        return cs_spool_fail(err, &s->dir, QUARANTINE_DIR, "make", errno);
    if (fd < 0)
        fd = openat(s->dir.fd, QUARANTINE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return cs_spool_fail(err, &s->dir, QUARANTINE_DIR, "open", errno);
    *ret_fd = fd;
    return true;
}

// A damaged event ends, and its number stays used. Its file is kept aside. err says what happened.
static enum cs_spool_load quarantine(struct cs_spool *s, const struct cs_spool_segment *seg, int64_t seq,
                                     const char *fault, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(&seg->name, name);
    int fd = -1;
    if (!make_quarantine(s, &fd, err))
        return CS_SPOOL_FAILED;
    const struct cs_spool_dir to = {fd, s->path};
    bool ok =
        faccessat(fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
        (cs_spool_write(&to, name, cs_buf_bytes(&s->loaded->content), err) && cs_spool_sync(&s->dir, err));
    close(fd);
    if (!ok) {
        cs_err_prepend(err, "quarantine of a damaged event");
        return CS_SPOOL_FAILED;
    }
    CS_SPOOL_STEP("quarantined");
    if (!cs_spool_remove(s, seq, err))
        return CS_SPOOL_FAILED;
    cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
               "spool %s: event number %" PRId64 " was damaged (%s), and its file %s was kept in %s; it will "
               "not be sent by itself: do again what it was for",
               s->path, seq, fault, name, QUARANTINE_DIR);
    return CS_SPOOL_QUARANTINED;
}

// Its checksum is good, but is it of this spool? An event of a newer release is left alone.
static enum cs_spool_load decode(struct cs_spool *s, const struct cs_spool_segment *seg,
                                 const struct cs_spool_item *item, struct cs_spool_entry *e,
                                 struct cs_err *err) {
    if (!cs_event_decode(e->value, &e->event, err)) {
        cs_err_prepend(err, "spool %s: event number %" PRId64 " cannot be read by this release of certsync",
                       s->path, item->seq);
        if (err->kind == CS_ERR_REJECT)
            err->kind = CS_ERR_CONFIG;
        return CS_SPOOL_FAILED;
    }
    if (e->event->seq != item->seq)
        return quarantine(s, seg, item->seq, "its number is another", err);
    if (strcmp(e->event->kid, s->kid) != 0)
        return quarantine(s, seg, item->seq, "it is another key's", err);
    e->item = *item;
    e->everywhere = e->event->account[0] == '\0';
    return CS_SPOOL_LOADED;
}

void cs_spool_forget(struct cs_spool *s) {
    if (s->loaded)
        cs_buf_clear(&s->loaded->content);
    free(s->loaded);
    s->loaded = NULL;
}

// Reads all frames of a segment. They stay for the next load: what is read is never changed on disk.
static bool read_segment(struct cs_spool *s, struct cs_crypto *c, const struct cs_spool_name *n,
                         bool *ret_missing, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    size_t max = cs_spool_states_size(n->n) + n->n * CS_SPOOL_FRAME_MAX;
    cs_spool_name_format(n, name);
    if (s->loaded && s->loaded->first == n->first) {
        *ret_missing = faccessat(s->dir.fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
        return true;
    }
    cs_spool_forget(s);
    s->loaded = calloc(1, sizeof *s->loaded);
    if (!s->loaded)
        return cs_err_oom(err);
    cs_buf_init(&s->loaded->content, max + 65536);
    if (!cs_spool_read(&s->dir, name, max, &s->loaded->content, ret_missing, err))
        return false;
    cs_spool_frames_parse(c, cs_buf_bytes(&s->loaded->content), n, s->loaded->frames);
    s->loaded->first = n->first;
    return true;
}

static enum cs_spool_load load(struct cs_spool *s, struct cs_crypto *c, int64_t seq, struct cs_spool_entry *e,
                               struct cs_err *err) {
    bool missing;
    if (!cs_spool_look(s, err))
        return CS_SPOOL_FAILED;
    const struct cs_spool_segment *seg = cs_spool_find(s, seq);
    if (!seg)
        return CS_SPOOL_GONE;
    if (!read_segment(s, c, &seg->name, &missing, err))
        return CS_SPOOL_FAILED;
    if (missing) { // somebody removed the file by hand
        cs_spool_forget(s);
        s->view.valid = false;
        return CS_SPOOL_GONE;
    }
    const struct cs_spool_frame *f = &s->loaded->frames[seq - seg->name.first];
    if (!f->sig.data)
        return quarantine(s, seg, seq, "it was altered, or cut off", err);
    uint8_t *copy = malloc(f->sig.len + f->value.len);
    if (!copy) {
        cs_err_oom(err);
        return CS_SPOOL_FAILED;
    }
    memcpy(copy, f->sig.data, f->sig.len);
    memcpy(copy + f->sig.len, f->value.data, f->value.len);
    e->storage = copy;
    e->sig = (struct cs_bytes){copy, f->sig.len};
    e->value = (struct cs_bytes){copy + f->sig.len, f->value.len};
    return decode(s, seg, &seg->items[seq - seg->name.first], e, err);
}

enum cs_spool_load cs_spool_load(struct cs_spool *s, struct cs_crypto *c, int64_t seq,
                                 struct cs_spool_entry *ret, struct cs_err *err) {
    struct cs_spool_entry e = {0};
    if (!cs_spool_lock(s, err))
        return CS_SPOOL_FAILED;
    enum cs_spool_load r = load(s, c, seq, &e, err);
    cs_spool_unlock(s);
    if (r == CS_SPOOL_LOADED)
        *ret = e;
    else
        cs_spool_entry_clear(&e);
    return r;
}

bool cs_spool_sent(struct cs_spool *s, int64_t seq, int32_t partition, int64_t offset, struct cs_err *err) {
    return cs_spool_mark(s, &(struct cs_spool_item){seq, CS_SPOOL_SENT, partition, offset}, 1, err);
}

bool cs_spool_remove(struct cs_spool *s, int64_t seq, struct cs_err *err) {
    return cs_spool_mark(s, &(struct cs_spool_item){.seq = seq, .state = CS_SPOOL_ENDED}, 1, err);
}

bool cs_spool_ack(struct cs_spool *s, int64_t seq, int32_t partition, int64_t offset, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE], line[48];
    cs_spool_name_format(&(struct cs_spool_name){.kind = CS_SPOOL_NAME_ACKS, .first = seq}, name);
    int len = snprintf(line, sizeof line, "\n%" PRId32 " %" PRId64 "\n", partition, offset);
    if (!cs_spool_lock(s, err))
        return false;
    bool ok = true;
    cs_spool_change(s);
    s->view.valid = false;
    int fd = cs_path_open_own(s->dir.fd, name, O_WRONLY | O_APPEND, 0600);
    if (fd < 0 || write(fd, line, (size_t)len) != (ssize_t)len)
        ok = cs_spool_fail(err, &s->dir, name, "write", errno);
    if (fd >= 0)
        close(fd);
    CS_SPOOL_STEP("partition-acked");
    cs_spool_unlock(s);
    return ok;
}

// A line of the list: "partition offset". False for an incomplete one.
static bool parse_ack(const char *line, int32_t n, int32_t *ret) {
    char *end;
    long partition = strtol(line, &end, 10);
    if (end == line || *end != ' ' || partition < 0 || partition >= n)
        return false;
    const char *offset = end + 1;
    (void)strtoll(offset, &end, 10);
    if (end == offset || *end != '\0')
        return false;
    *ret = (int32_t)partition;
    return true;
}

bool cs_spool_acks(struct cs_spool *s, int64_t seq, bool *acked, int32_t n, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, ACKS_MAX + 65536);
    char name[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(&(struct cs_spool_name){.kind = CS_SPOOL_NAME_ACKS, .first = seq}, name);
    bool missing;
    if (!cs_spool_read(&s->dir, name, ACKS_MAX, &text, &missing, err))
        return false;
    memset(acked, 0, (size_t)n * sizeof *acked);
    // A killed process may leave an incomplete line. It is ignored, and that partition is sent once
    // more. Each line begins with a line feed, so that it does not join the incomplete one.
    char *rest = missing || !text.data ? NULL : (char *)text.data;
    for (char *end; rest && (end = strchr(rest, '\n')) != NULL; rest = end + 1) {
        int32_t partition;
        *end = '\0';
        if (parse_ack(rest, n, &partition))
            acked[partition] = true;
    }
    return true;
}

bool cs_spool_quarantined(struct cs_spool *s, size_t *ret, struct cs_err *err) {
    int fd = openat(s->dir.fd, QUARANTINE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        *ret = 0;
        return true;
    }
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        cs_spool_fail(err, &s->dir, QUARANTINE_DIR, "read", errno);
        if (fd >= 0)
            close(fd);
        return false;
    }
    size_t n = 0;
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(dir);
    *ret = n;
    return true;
}

bool cs_spool_publish_lock(struct cs_spool *s, const struct cs_clock *clock, int64_t deadline_ms,
                           struct cs_err *err) {
    // flock has no timeout, and an alarm belongs to the process.
    while (flock(s->publish_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return cs_spool_fail(err, &s->dir, "publish.lock", "lock", errno);
        if (cs_clock_mono_ms(clock) >= deadline_ms)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                              "spool %s: another command of this key, or the agent, publishes from it and is "
                              "not done (perhaps it waits for "
                              "Kafka); what is in the spool goes out after that",
                              s->path);
        nanosleep(&(struct timespec){.tv_nsec = PUBLISH_LOCK_POLL_MS * 1000000L}, NULL);
    }
    return true;
}

void cs_spool_publish_unlock(struct cs_spool *s) {
    flock(s->publish_fd, LOCK_UN);
}
