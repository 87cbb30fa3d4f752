// SPDX-License-Identifier: Apache-2.0
#include "spool/spool.h"

#include <assert.h>
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
#include "certsync/runtime/fileio.h"
#include "certsync/runtime/path.h"
#include "spool/file.h"

#define COUNTER_FILE      "counter"
#define LOCK_FILE         "lock"
#define PUBLISH_LOCK_FILE "publish.lock"

#ifdef CS_SPOOL_TEST_HOOKS
void (*cs_spool_test_step)(const char *step);
#endif

static const char hint_magic[8] = "cs-hint1";

static bool fail(const struct cs_spool *s, struct cs_err *err, const char *name, const char *verb) {
    return cs_spool_fail(err, &s->dir, name, verb, errno);
}

void cs_spool_raise_highest(struct cs_spool *s, int64_t seq) {
    if (seq > s->hint.highest)
        s->hint.highest = seq;
}

// --- the counter -----------------------------------------------------------------------------------

static bool parse_counter(struct cs_bytes text, int64_t *ret) {
    int64_t v = 0;
    if (text.len < 2 || text.len > 17 || text.data[text.len - 1] != '\n')
        return false;
    for (size_t i = 0; i + 1 < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        v = v * 10 + (text.data[i] - '0');
    }
    *ret = v;
    return v < CS_SEQ_MAX;
}

static bool read_counter(struct cs_spool *s, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, 65536);
    bool missing;
    if (!cs_spool_read(&s->dir, COUNTER_FILE, 32, &text, &missing, err))
        return false;
    if (missing)
        return true;
    if (!parse_counter(cs_buf_bytes(&text), &s->counter))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "spool %s: the file %s is damaged, so that it is not known which numbers were "
                          "used; find the last number of key %s "
                          "(certsync outcomes), then run: certsync spool repair --above NUMBER",
                          s->path, COUNTER_FILE, s->kid);
    cs_spool_raise_highest(s, s->counter);
    return true;
}

// Makes durable that all numbers up to seq are used. It reserves some ahead, so that it is written
// seldom.
bool cs_spool_raise_counter(struct cs_spool *s, int64_t seq, struct cs_err *err) {
    if (s->counter >= seq)
        return true;
    cs_spool_raise_highest(s, seq);
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRId64 "\n", s->hint.highest);
    struct cs_spool_file file = {COUNTER_FILE, {(const uint8_t *)text, (size_t)len}};
    if (!cs_spool_write(&s->dir, &file, 1, err))
        return false;
    s->counter = s->hint.highest;
    return true;
}

// --- removing and replacing, under the lock ---------------------------------------------------------

static int64_t size_of(const struct cs_spool *s, const char *name) {
    struct stat st;
    return fstatat(s->dir.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (int64_t)st.st_size : 0;
}

static bool unlink_name(struct cs_spool *s, const struct cs_spool_name *n, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(n, name);
    int64_t size = size_of(s, name);
    if (unlinkat(s->dir.fd, name, 0) < 0)
        return errno == ENOENT ? true : fail(s, err, name, "remove");
    if (n->kind != CS_SPOOL_NAME_ACKS) {
        s->hint.count--;
        s->hint.bytes -= size;
    }
    CS_SPOOL_STEP("unlinked");
    return true;
}

// The event's own file goes before its list of acknowledgements: an event without its list would be
// sent again.
bool cs_spool_unlink_seq(struct cs_spool *s, int64_t seq, struct cs_err *err) {
    struct cs_spool_name own;
    bool found;
    if (!cs_spool_raise_counter(s, seq, err) || !cs_spool_find(s, seq, &own, &found, err) ||
        (found && !unlink_name(s, &own, err)))
        return false;
    return unlink_name(s, &(struct cs_spool_name){.kind = CS_SPOOL_NAME_ACKS, .seq = seq}, err);
}

static bool finish_replacing(struct cs_spool *s, const struct cs_spool_name *n, struct cs_err *err) {
    char from[CS_SPOOL_NAME_SIZE], to[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(n, from);
    cs_spool_name_format(&(struct cs_spool_name){.kind = CS_SPOOL_NAME_NEW, .seq = n->seq}, to);
    if (!cs_spool_unlink_seq(s, n->old, err))
        return false;
    CS_SPOOL_STEP("replaced-gone");
    if (renameat(s->dir.fd, from, s->dir.fd, to) < 0)
        return fail(s, err, from, "rename");
    CS_SPOOL_STEP("replacing-renamed");
    return cs_spool_sync(&s->dir, err);
}

// --- the lock ----------------------------------------------------------------------------------------

static bool flock_wait(int fd) {
    int r;
    do
        r = flock(fd, LOCK_EX);
    while (r < 0 && errno == EINTR);
    return r == 0;
}

bool cs_spool_lock(struct cs_spool *s, struct cs_err *err) {
    if (!flock_wait(s->lock_fd))
        return fail(s, err, LOCK_FILE, "lock");
    struct cs_spool_hint h;
    if (pread(s->lock_fd, &h, sizeof h, 0) == (ssize_t)sizeof h &&
        memcmp(h.magic, hint_magic, sizeof hint_magic) == 0) {
        int64_t highest = s->hint.highest;
        s->hint = h;
        cs_spool_raise_highest(s, highest);
    }
    return true;
}

void cs_spool_unlock(struct cs_spool *s) {
    memcpy(s->hint.magic, hint_magic, sizeof hint_magic);
    // A hint that cannot be written is like one that is too low: that is noticed when a number is
    // taken.
    const struct cs_spool_hint hint = s->hint;
    if (pwrite(s->lock_fd, &hint, sizeof hint, 0) != (ssize_t)sizeof hint && ftruncate(s->lock_fd, 0) < 0)
        s->hint.magic[0] = '\0';
    flock(s->lock_fd, LOCK_UN);
}

bool cs_spool_scan(struct cs_spool *s, struct cs_err *err) {
    struct cs_spool_names l = {0};
    bool ok = cs_spool_clean(&s->dir, err) && cs_spool_read_names(s, 0, &l, err);
    s->hint.count = 0;
    s->hint.bytes = 0;
    for (size_t i = 0; ok && i < l.n; i++) {
        cs_spool_raise_highest(s, l.items[i].seq);
        if (l.items[i].kind == CS_SPOOL_NAME_ACKS)
            continue;
        char name[CS_SPOOL_NAME_SIZE];
        cs_spool_name_format(&l.items[i], name);
        s->hint.count++;
        s->hint.bytes += size_of(s, name);
    }
    for (size_t i = 0; ok && i < l.n; i++) {
        if (l.items[i].kind == CS_SPOOL_NAME_REPLACING)
            ok = finish_replacing(s, &l.items[i], err);
        // A list of acknowledgements whose event is gone.
        bool alone =
            l.items[i].kind == CS_SPOOL_NAME_ACKS && (i == 0 || l.items[i - 1].seq != l.items[i].seq);
        if (ok && alone)
            ok = unlink_name(s, &l.items[i], err);
    }
    free(l.items);
    return ok;
}

// --- opening -------------------------------------------------------------------------------------------

static int open_lock_file(struct cs_spool *s, const char *name, struct cs_err *err) {
    int fd = cs_path_open_own(s->dir.fd, name, O_RDWR, 0600);
    if (fd < 0)
        fail(s, err, name, "open");
    return fd;
}

static bool open_dir(struct cs_spool *s, struct cs_err *err) {
    struct stat st;
    s->dir.path = s->path;
    if (!cs_dir_open(s->path, &s->dir.fd, err))
        return cs_err_prepend(err, "spool");
    if (fstat(s->dir.fd, &st) < 0)
        return fail(s, err, ".", "open");
    if ((st.st_mode & 0022) != 0 && (st.st_mode & S_ISVTX) == 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "spool %s: others can write to it; run: chmod 700 %s", s->path, s->path);
    return true;
}

// Makes DIR and DIR/<kid>.
static bool make_dirs(const char *path, struct cs_err *err) {
    if (cs_dir_make(path, 0700, err))
        return true;
    cs_err_prepend(err, "spool");
    if (err->kind == CS_ERR_CONFIG && strlen(err->msg) < CS_ERR_MSG_MAX - 80)
        strcat(err->msg, ", or set agent.spool to a directory of its own (--set agent.spool=DIR)");
    return false;
}

static bool spool_new(const char *dir, const char *kid, const struct cs_spool_limits *limits,
                      struct cs_spool **ret, struct cs_err *err) {
    CS_AUTO(cs_spool_free) struct cs_spool *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    s->dir.fd = s->lock_fd = s->publish_fd = -1;
    if (limits)
        s->limits = *limits;
    memcpy(s->kid, kid, strlen(kid) + 1);
    size_t size = strlen(dir) + strlen(kid) + 2;
    s->path = malloc(size);
    if (!s->path)
        return cs_err_oom(err);
    snprintf(s->path, size, "%s/%s", dir, kid);
    *ret = CS_TAKE(s);
    return true;
}

static bool open_files(struct cs_spool *s, struct cs_err *err) {
    if (!open_dir(s, err))
        return false;
    s->lock_fd = open_lock_file(s, LOCK_FILE, err);
    if (s->lock_fd < 0)
        return false;
    s->publish_fd = open_lock_file(s, PUBLISH_LOCK_FILE, err);
    return s->publish_fd >= 0;
}

static bool spool_open(const char *dir, const char *kid, const struct cs_spool_limits *limits, bool make,
                       struct cs_spool **ret, struct cs_err *err) {
    CS_AUTO(cs_spool_free) struct cs_spool *s = NULL;
    if (!spool_new(dir, kid, limits, &s, err))
        return false;
    if (!make && access(s->path, F_OK) < 0 && errno == ENOENT) {
        *ret = NULL;
        return true;
    }
    if ((make && !make_dirs(s->path, err)) || !open_files(s, err) || !cs_spool_lock(s, err))
        return false;
    bool ok = read_counter(s, err) && cs_spool_scan(s, err);
    cs_spool_unlock(s);
    if (!ok)
        return false;
    *ret = CS_TAKE(s);
    return true;
}

bool cs_spool_open(const char *dir, const char *kid, const struct cs_spool_limits *limits,
                   struct cs_spool **ret, struct cs_err *err) {
    return spool_open(dir, kid, limits, true, ret, err);
}

bool cs_spool_open_existing(const char *dir, const char *kid, const struct cs_spool_limits *limits,
                            struct cs_spool **ret, struct cs_err *err) {
    return spool_open(dir, kid, limits, false, ret, err);
}

void cs_spool_free(struct cs_spool *s) {
    if (!s)
        return;
    int fds[] = {s->publish_fd, s->lock_fd, s->dir.fd};
    for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(s->seen.items);
    free(s->path);
    free(s);
}

const char *cs_spool_path(const struct cs_spool *s) {
    return s->path;
}

bool cs_spool_repair(const char *dir, const char *kid, int64_t seq, struct cs_err *err) {
    CS_AUTO(cs_spool_free) struct cs_spool *s = NULL;
    if (!spool_new(dir, kid, NULL, &s, err) || !make_dirs(s->path, err) || !open_files(s, err) ||
        !cs_spool_lock(s, err))
        return false;
    struct cs_err ignored;
    if (!read_counter(s, &ignored))
        s->counter = 0; // the damaged one, which is written anew below
    cs_spool_raise_highest(s, seq);
    bool ok = cs_spool_scan(s, err);
    s->counter = 0;
    ok = ok && (s->hint.highest == 0 || cs_spool_raise_counter(s, s->hint.highest, err));
    cs_spool_unlock(s);
    return ok;
}

// --- adding -----------------------------------------------------------------------------------------------

static bool within_limits(const struct cs_spool *s, size_t n, struct cs_err *err) {
    bool events = s->limits.max_events > 0 && s->hint.count + (int64_t)n > s->limits.max_events;
    bool bytes = s->limits.max_bytes > 0 && s->hint.bytes >= s->limits.max_bytes;
    if (!events && !bytes)
        return true;
    return cs_err_set(
        err, CS_ERR_RETRY, CS_CODE_NONE,
        "spool %s is at its limit: %" PRId64 " events, %" PRId64
        " bytes. What is in it is kept, nothing is added. Publish it with: certsync spool flush; or raise "
        "agent.spool_max_events, agent.spool_max_bytes",
        s->path, s->hint.count, s->hint.bytes);
}

static bool numbers_used_up(const struct cs_spool *s, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "spool %s: all numbers of key %s are used; make and enrol a new key", s->path, s->kid);
}

// The next free number. A killed process may leave a hint that is too low. Then a file of that
// number exists.
static bool next_seq(struct cs_spool *s, int64_t *ret, struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    struct stat st;
    cs_spool_name_format(&(struct cs_spool_name){.kind = CS_SPOOL_NAME_NEW, .seq = s->hint.highest + 1},
                         name);
    if (fstatat(s->dir.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !cs_spool_scan(s, err))
        return false;
    if (s->hint.highest + 1 >= CS_SEQ_MAX)
        return numbers_used_up(s, err);
    *ret = s->hint.highest + 1;
    return true;
}

static bool write_events(struct cs_spool *s, const struct cs_spool_file *files, size_t n, int64_t highest,
                         struct cs_err *err) {
    if (!cs_spool_write(&s->dir, files, n, err)) {
        // If the caller is told that nothing was kept, nothing may be kept.
        for (size_t i = n; i-- > 0;)
            unlinkat(s->dir.fd, files[i].name, 0);
        return false;
    }
    cs_spool_raise_highest(s, highest);
    s->hint.count += (int64_t)n;
    for (size_t i = 0; i < n; i++)
        s->hint.bytes += (int64_t)files[i].content.len;
    return true;
}

// Signs the events with numbers from first on. One buffer holds the contents' bytes.
static bool make_files(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                       struct cs_event *const *events, size_t n, int64_t first, struct cs_buf *bytes,
                       struct cs_spool_file *files, struct cs_err *err) {
    size_t ends[CS_SPOOL_GROUP_MAX];
    if (first + (int64_t)n > CS_SEQ_MAX)
        return numbers_used_up(s, err);
    for (size_t i = 0; i < n; i++) {
        events[i]->seq = first + (int64_t)i;
        if (!cs_spool_content_make(c, key, events[i], bytes, err))
            return false;
        ends[i] = bytes->len;
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = i == 0 ? 0 : ends[i - 1];
        cs_spool_name_format(&(struct cs_spool_name){.kind = CS_SPOOL_NAME_NEW, .seq = events[i]->seq},
                             files[i].name);
        files[i].content = (struct cs_bytes){bytes->data + at, ends[i] - at};
    }
    return true;
}

static bool add_locked(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                       struct cs_event *const *events, size_t n, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf bytes;
    cs_buf_init(&bytes, n * CS_SPOOL_FILE_MAX);
    struct cs_spool_file files[CS_SPOOL_GROUP_MAX];
    int64_t first, before[CS_SPOOL_GROUP_MAX];
    if (!within_limits(s, n, err) || !next_seq(s, &first, err))
        return false;
    for (size_t i = 0; i < n; i++)
        before[i] = events[i]->seq;
    if (make_files(s, c, key, events, n, first, &bytes, files, err) &&
        write_events(s, files, n, first + (int64_t)n - 1, err))
        return true;
    for (size_t i = 0; i < n; i++)
        events[i]->seq = before[i];
    return false;
}

bool cs_spool_add_group(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                        struct cs_event *const *events, size_t n, struct cs_err *err) {
    assert(n >= 1 && n <= CS_SPOOL_GROUP_MAX);
    for (size_t i = 0; i < n; i++)
        if (strcmp(events[i]->kid, s->kid) != 0)
            return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                              "an event of key %s does not belong into the spool %s", events[i]->kid,
                              s->path);
    if (!cs_spool_lock(s, err))
        return false;
    bool ok = add_locked(s, c, key, events, n, err);
    cs_spool_unlock(s);
    return ok;
}

bool cs_spool_add(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key, struct cs_event *ev,
                  struct cs_err *err) {
    return cs_spool_add_group(s, c, key, &ev, 1, err);
}

bool cs_spool_remove(struct cs_spool *s, int64_t seq, struct cs_err *err) {
    if (!cs_spool_lock(s, err))
        return false;
    bool ok = cs_spool_unlink_seq(s, seq, err);
    cs_spool_unlock(s);
    return ok;
}

bool cs_spool_highest(struct cs_spool *s, int64_t *ret, struct cs_err *err) {
    if (!cs_spool_lock(s, err))
        return false;
    *ret = s->hint.highest;
    cs_spool_unlock(s);
    return true;
}

bool cs_spool_raise(struct cs_spool *s, int64_t seq, struct cs_err *err) {
    if (!cs_spool_lock(s, err))
        return false;
    cs_spool_raise_highest(s, seq);
    bool ok = cs_spool_raise_counter(s, seq, err);
    cs_spool_unlock(s);
    return ok;
}

// --- numbers anew ---------------------------------------------------------------------------------

static bool renumber_one(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                         struct cs_event *ev, int64_t above, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf content;
    cs_buf_init(&content, CS_SPOOL_FILE_MAX);
    cs_spool_raise_highest(s, above);
    struct cs_spool_name name = {.kind = CS_SPOOL_NAME_REPLACING, .old = ev->seq};
    if (!next_seq(s, &name.seq, err))
        return false;
    ev->seq = name.seq;
    if (!cs_spool_content_make(c, key, ev, &content, err))
        return false;
    struct cs_spool_file file = {.content = cs_buf_bytes(&content)};
    cs_spool_name_format(&name, file.name);
    return write_events(s, &file, 1, name.seq, err) && finish_replacing(s, &name, err);
}

bool cs_spool_renumber(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                       const int64_t *seqs, size_t n, int64_t above, int64_t *ret_seqs, struct cs_err *err) {
    for (size_t i = 0; i < n; i++) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
        if (ret_seqs)
            ret_seqs[i] = 0;
        switch (cs_spool_load(s, c, seqs[i], &e, err)) {
        case CS_SPOOL_GONE:
        case CS_SPOOL_QUARANTINED:
            continue;
        case CS_SPOOL_FAILED:
            return false;
        case CS_SPOOL_LOADED:
            break;
        }
        if (!cs_spool_lock(s, err))
            return false;
        bool ok = renumber_one(s, c, key, e.event, above, err);
        cs_spool_unlock(s);
        if (!ok)
            return false;
        if (ret_seqs)
            ret_seqs[i] = e.event->seq;
    }
    return true;
}
