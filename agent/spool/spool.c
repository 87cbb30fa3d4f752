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
#define RUN_MAX           64 // events that are signed again in one go

#ifdef CS_SPOOL_TEST_HOOKS
void (*cs_spool_test_step)(const char *step);
#endif

static const char hint_magic[8] = "cs-hint2";

static bool fail(const struct cs_spool *s, struct cs_err *err, const char *name, const char *verb) {
    return cs_spool_fail(err, &s->dir, name, verb, errno);
}

void cs_spool_raise_highest(struct cs_spool *s, int64_t seq) {
    if (seq > s->hint.highest)
        s->hint.highest = seq;
}

// --- the counter ---------------------------------------------------------------------------------

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
    cs_spool_change(s);
    if (!cs_spool_write(&s->dir, COUNTER_FILE, (struct cs_bytes){(const uint8_t *)text, (size_t)len}, err)) {
        cs_spool_failed(s);
        return false;
    }
    s->counter = s->hint.highest;
    return true;
}

// --- the lock ------------------------------------------------------------------------------------

static bool flock_wait(int fd) {
    int r;
    do
        r = flock(fd, LOCK_EX);
    while (r < 0 && errno == EINTR);
    return r == 0;
}

// If it cannot be written, it is emptied: then the next process with the lock counts anew.
static void put_hint(struct cs_spool *s) {
    memcpy(s->hint.magic, hint_magic, sizeof hint_magic);
    const struct cs_spool_hint hint = s->hint;
    if (pwrite(s->lock_fd, &hint, sizeof hint, 0) != (ssize_t)sizeof hint && ftruncate(s->lock_fd, 0) < 0)
        s->view.valid = false;
}

void cs_spool_change(struct cs_spool *s) {
    if (s->changing)
        return;
    bool current = s->view.valid && s->view.changes == s->hint.changes;
    s->changing = true;
    s->hint.busy = 1;
    s->hint.changes++;
    s->view.valid = current;
    s->view.changes = s->hint.changes;
    put_hint(s);
    CS_SPOOL_STEP("changing");
}

void cs_spool_failed(struct cs_spool *s) {
    s->failed = true;
    s->view.valid = false;
}

// Takes the lock. *ret_good false: a killed process may have left something half done.
static bool lock_as_it_is(struct cs_spool *s, bool *ret_good, struct cs_err *err) {
    if (!flock_wait(s->lock_fd))
        return fail(s, err, LOCK_FILE, "lock");
    struct cs_spool_hint h;
    s->depth = 1;
    s->changing = s->failed = false;
    *ret_good = pread(s->lock_fd, &h, sizeof h, 0) == (ssize_t)sizeof h &&
                memcmp(h.magic, hint_magic, sizeof hint_magic) == 0;
    if (!*ret_good)
        return true;
    int64_t highest = s->hint.highest;
    s->hint = h;
    cs_spool_raise_highest(s, highest);
    *ret_good = h.busy == 0;
    return true;
}

bool cs_spool_lock(struct cs_spool *s, struct cs_err *err) {
    bool good;
    if (s->depth > 0) {
        s->depth++;
        return true;
    }
    if (!lock_as_it_is(s, &good, err))
        return false;
    if (good || cs_spool_scan(s, err))
        return true;
    cs_spool_unlock(s);
    return false;
}

void cs_spool_unlock(struct cs_spool *s) {
    if (--s->depth > 0)
        return;
    if (s->changing) {
        s->hint.busy = s->failed;
        put_hint(s);
    }
    flock(s->lock_fd, LOCK_UN);
}

// --- opening -------------------------------------------------------------------------------------

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
    bool good;
    if ((make && !make_dirs(s->path, err)) || !open_files(s, err) || !lock_as_it_is(s, &good, err))
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
    cs_spool_view_clear(&s->view);
    cs_spool_forget(s);
    free(s->path);
    free(s);
}

const char *cs_spool_path(const struct cs_spool *s) {
    return s->path;
}

bool cs_spool_repair(const char *dir, const char *kid, int64_t seq, struct cs_err *err) {
    CS_AUTO(cs_spool_free) struct cs_spool *s = NULL;
    bool good;
    if (!spool_new(dir, kid, NULL, &s, err) || !make_dirs(s->path, err) || !open_files(s, err) ||
        !lock_as_it_is(s, &good, err))
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

// --- adding --------------------------------------------------------------------------------------

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

// The segment of n events with numbers from name->first on: their states, then each signed.
static bool make_segment(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                         struct cs_event *const *events, const struct cs_spool_name *name, struct cs_buf *out,
                         struct cs_err *err) {
    if (name->first > CS_SEQ_MAX - (int64_t)name->n)
        return numbers_used_up(s, err);
    cs_spool_states_make(name->n, out);
    for (size_t i = 0; i < name->n; i++) {
        events[i]->seq = name->first + (int64_t)i;
        if (!cs_spool_frame_make(c, key, events[i], out, err))
            return false;
    }
    return true;
}

static bool write_segment(struct cs_spool *s, const struct cs_spool_name *n, struct cs_bytes content,
                          struct cs_err *err) {
    char name[CS_SPOOL_NAME_SIZE];
    cs_spool_name_format(n, name);
    cs_spool_change(s);
    if (!cs_spool_write(&s->dir, name, content, err)) {
        // If the caller is told that nothing was kept, nothing may be kept.
        unlinkat(s->dir.fd, name, 0);
        cs_spool_failed(s);
        return false;
    }
    cs_spool_raise_highest(s, n->first + (int64_t)n->n - 1);
    s->hint.count += (int64_t)n->n;
    s->hint.bytes += (int64_t)content.len;
    if (s->view.valid)
        s->view.valid = cs_spool_view_add(s, n, (int64_t)content.len);
    return true;
}

static bool add_locked(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                       struct cs_event *const *events, size_t n, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf content;
    cs_buf_init(&content, cs_spool_states_size(n) + n * CS_SPOOL_FRAME_MAX);
    const struct cs_spool_name name = {CS_SPOOL_NAME_EVENTS, s->hint.highest + 1, n, 0};
    int64_t before[CS_SPOOL_GROUP_MAX];
    if (!within_limits(s, n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        before[i] = events[i]->seq;
    if (make_segment(s, c, key, events, &name, &content, err) &&
        write_segment(s, &name, cs_buf_bytes(&content), err))
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
    cs_spool_change(s);
    cs_spool_raise_highest(s, seq);
    bool ok = cs_spool_raise_counter(s, seq, err);
    cs_spool_unlock(s);
    return ok;
}

// --- numbers anew --------------------------------------------------------------------------------

// Signs n events with numbers in a row again.
static bool renumber_run(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                         struct cs_spool_entry *entries, size_t n, int64_t above, int64_t *ret_seqs,
                         struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf content;
    cs_buf_init(&content, cs_spool_states_size(n) + n * CS_SPOOL_FRAME_MAX);
    struct cs_event *events[CS_SPOOL_GROUP_MAX];
    cs_spool_raise_highest(s, above);
    const struct cs_spool_name name = {CS_SPOOL_NAME_REPLACING, s->hint.highest + 1, n, entries[0].item.seq};
    for (size_t i = 0; i < n; i++)
        events[i] = entries[i].event;
    if (!make_segment(s, c, key, events, &name, &content, err) ||
        !write_segment(s, &name, cs_buf_bytes(&content), err))
        return false;
    if (!cs_spool_finish_replacing(s, &name, err)) {
        cs_spool_failed(s);
        return false;
    }
    for (size_t i = 0; ret_seqs && i < n; i++)
        ret_seqs[i] = events[i]->seq;
    return true;
}

// Loads events with numbers in a row, from the first on. *ret_passed: how many were checked. The
// last of them may be gone.
static bool load_run(struct cs_spool *s, struct cs_crypto *c, const int64_t *seqs, size_t n,
                     struct cs_spool_entry *entries, size_t *ret_n, size_t *ret_passed, struct cs_err *err) {
    for (*ret_n = 0; *ret_n < n && seqs[*ret_n] == seqs[0] + (int64_t)*ret_n; ++*ret_n) {
        *ret_passed = *ret_n + 1;
        switch (cs_spool_load(s, c, seqs[*ret_n], &entries[*ret_n], err)) {
        case CS_SPOOL_GONE:
        case CS_SPOOL_QUARANTINED:
            return true;
        case CS_SPOOL_FAILED:
            return false;
        case CS_SPOOL_LOADED:
            break;
        }
    }
    return true;
}

static bool renumber_next(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                          const int64_t *seqs, size_t n, int64_t above, int64_t *ret_seqs, size_t *ret_passed,
                          struct cs_err *err) {
    struct cs_spool_entry entries[RUN_MAX] = {0};
    size_t loaded;
    if (!cs_spool_lock(s, err))
        return false;
    bool ok = load_run(s, c, seqs, n < RUN_MAX ? n : RUN_MAX, entries, &loaded, ret_passed, err) &&
              (loaded == 0 || renumber_run(s, c, key, entries, loaded, above, ret_seqs, err));
    cs_spool_unlock(s);
    for (size_t i = 0; i < RUN_MAX; i++)
        cs_spool_entry_clear(&entries[i]);
    return ok;
}

bool cs_spool_renumber(struct cs_spool *s, struct cs_crypto *c, const struct cs_privkey *key,
                       const int64_t *seqs, size_t n, int64_t above, int64_t *ret_seqs, struct cs_err *err) {
    size_t passed = 0;
    if (ret_seqs)
        memset(ret_seqs, 0, n * sizeof *ret_seqs);
    for (size_t i = 0; i < n; i += passed)
        if (!renumber_next(s, c, key, seqs + i, n - i, above, ret_seqs ? ret_seqs + i : NULL, &passed, err))
            return false;
    return true;
}
