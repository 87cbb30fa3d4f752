// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/filewatch.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/runtime/log.h"

#define FILE_MAX ((size_t)16 << 20) // bytes after these are ignored

struct look { // what stat() says of a file
    int error;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct digest {
    uint8_t bytes[EVP_MAX_MD_SIZE];
};

struct cs_filewatch {
    struct cs_timer *timer;
    char *what;
    bool (*on_change)(void *arg, struct cs_err *err);
    void *arg;
    bool unsettled; // the looks changed at the last poll, or were not hashed since
    struct digest taken;
    struct digest refused; // what was refused and logged
    bool failing;
    int until_retry; // polls
    size_t count;
    char **paths;
    struct look *looks;
};

static void look_at(const char *path, struct look *ret) {
    struct stat st;
    *ret = (struct look){0};
    if (stat(path, &st) < 0) {
        ret->error = errno;
        return;
    }
    ret->dev = st.st_dev;
    ret->ino = st.st_ino;
    ret->size = st.st_size;
    ret->mtime = st.st_mtim;
    ret->ctime = st.st_ctim;
}

static bool same_time(const struct timespec *a, const struct timespec *b) {
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same_look(const struct look *a, const struct look *b) {
    return a->error == b->error && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(&a->mtime, &b->mtime) && same_time(&a->ctime, &b->ctime);
}

// Whether the looks of a file changed since the last poll.
static bool look_again(struct cs_filewatch *w) {
    bool changed = false;
    for (size_t i = 0; i < w->count; i++) {
        struct look now;
        look_at(w->paths[i], &now);
        changed = changed || !same_look(&now, &w->looks[i]);
        w->looks[i] = now;
    }
    return changed;
}

static void put(EVP_MD_CTX *md, const void *data, size_t len) {
    if (EVP_DigestUpdate(md, data, len) != 1)
        abort(); // SHA-256 of a buffer does not fail
}

// Hashes the contents after a mark that keeps files apart. If a file cannot be read, hashes the
// error.
static void put_file(EVP_MD_CTX *md, const char *path) {
    uint8_t chunk[4096];
    int code = 0;
    size_t total = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        code = errno;
    while (fd >= 0 && total < FILE_MAX) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            code = errno;
        if (n <= 0)
            break;
        put(md, chunk, (size_t)n);
        total += (size_t)n;
    }
    OPENSSL_cleanse(chunk, sizeof chunk); // it may have been a key
    if (fd >= 0)
        close(fd);
    put(md, &total, sizeof total);
    put(md, &code, sizeof code);
}

static bool hash_all(const struct cs_filewatch *w, struct digest *ret) {
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1;
    for (size_t i = 0; ok && i < w->count; i++)
        put_file(md, w->paths[i]);
    struct digest d = {0};
    ok = ok && EVP_DigestFinal_ex(md, d.bytes, NULL) == 1;
    EVP_MD_CTX_free(md);
    if (ok)
        *ret = d;
    return ok;
}

static bool same_digest(const struct digest *a, const struct digest *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static void take_up(struct cs_filewatch *w, const struct digest *now) {
    struct cs_err err;
    if (w->on_change(w->arg, &err)) {
        cs_log(CS_LOG_INFO, "changed files were taken up", "what=%s", w->what);
        w->taken = *now;
        w->failing = false;
        return;
    }
    if (!w->failing || !same_digest(now, &w->refused))
        cs_log_err(CS_LOG_WARN, "changed files cannot be used, the old ones stay in use", &err, "what=%s",
                   w->what);
    w->failing = true;
    w->refused = *now;
    w->until_retry = CS_FILEWATCH_RETRY;
}

static void on_poll(void *arg) {
    struct cs_filewatch *w = arg;
    struct digest now;
    if (look_again(w)) { // perhaps still being written
        w->unsettled = true;
        return;
    }
    bool retry = w->failing && --w->until_retry <= 0;
    if ((!w->unsettled && !retry) || !hash_all(w, &now)) // out of memory: the next poll asks again
        return;
    w->unsettled = false;
    if (same_digest(&now, &w->taken))
        w->failing = false; // back to what is in use
    else if (!w->failing || retry || !same_digest(&now, &w->refused))
        take_up(w, &now);
}

static bool copy_paths(struct cs_filewatch *w, const struct cs_filewatch_options *o) {
    w->paths = calloc(o->path_count + 1, sizeof *w->paths);
    w->looks = calloc(o->path_count + 1, sizeof *w->looks);
    w->what = strdup(o->what);
    if (!w->paths || !w->looks || !w->what)
        return false;
    for (size_t i = 0; i < o->path_count; i++) {
        if (!o->paths[i] || !o->paths[i][0])
            continue;
        w->paths[w->count] = strdup(o->paths[i]);
        if (!w->paths[w->count])
            return false;
        w->count++;
    }
    return true;
}

bool cs_filewatch_new(const struct cs_filewatch_options *o, struct cs_filewatch **ret, struct cs_err *err) {
    struct cs_filewatch *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->on_change = o->on_change;
    w->arg = o->arg;
    if (!copy_paths(w, o) || !hash_all(w, &w->taken)) {
        cs_filewatch_free(w);
        return cs_err_oom(err);
    }
    // A change within the same clock tick has the same times. So the first poll hashes once more.
    look_again(w);
    w->unsettled = true;
    int64_t period_ms = o->period_ms > 0 ? o->period_ms : CS_FILEWATCH_PERIOD_MS;
    w->timer = cs_timer_new(o->loop, period_ms, period_ms, on_poll, w);
    if (!w->timer) {
        cs_filewatch_free(w);
        return cs_err_oom(err);
    }
    *ret = w;
    return true;
}

void cs_filewatch_free(struct cs_filewatch *w) {
    if (!w)
        return;
    cs_timer_free(w->timer);
    for (size_t i = 0; i < w->count; i++)
        free(w->paths[i]);
    free(w->paths);
    free(w->looks);
    free(w->what);
    free(w);
}
