// SPDX-License-Identifier: Apache-2.0
#include "daemon/watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/secret.h"
#include "daemon/index.h"

#define MASK                                                                                                 \
    (IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF |     \
     IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK)
#define READS_MAX 64 // in one call, so that many changes do not stop other work

struct directory {
    int wd;
    bool told;      // a change since the last poll was reported
    uint64_t stamp; // device, inode and time of the last change of its entries
    char path[];
};
struct cs_watch {
    struct cs_watch_hooks hooks;
    int fd;
    struct cs_index by_wd;
    struct cs_index by_path;
};

bool cs_watch_new(const struct cs_watch_hooks *hooks, struct cs_watch **ret, struct cs_err *err) {
    struct cs_watch *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->hooks = *hooks;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                   "inotify cannot be used: %s; raise fs.inotify.max_user_instances", strerror(errno));
        free(w);
        return false;
    }
    *ret = w;
    return true;
}

void cs_watch_free(struct cs_watch *w) {
    if (!w)
        return;
    for (size_t i = 0; i < w->by_wd.cap; i++)
        for (const struct cs_index_entry *e = w->by_wd.buckets[i]; e; e = e->next)
            free(e->value);
    cs_index_clear(&w->by_wd);
    cs_index_clear(&w->by_path);
    close(w->fd);
    free(w);
}

int cs_watch_fd(const struct cs_watch *w) {
    return w->fd;
}

size_t cs_watch_count(const struct cs_watch *w) {
    return w->by_wd.n;
}

static struct directory *find_path(const struct cs_watch *w, const char *path) {
    for (const struct cs_index_entry *e = cs_index_first(&w->by_path, cs_index_key(path)); e;
         e = cs_index_next(e)) {
        struct directory *d = e->value;
        if (strcmp(d->path, path) == 0)
            return d;
    }
    return NULL;
}

static bool cannot(const char *path, int code, struct cs_err *err) {
    char shown[300];
    cs_secret_show(path, strlen(path), shown, sizeof shown);
    if (code == ENOENT || code == ENOTDIR)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s: it is gone", shown);
    if (code == ENOSPC)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s: cannot be watched: the kernel's limit is reached; raise "
                          "fs.inotify.max_user_watches (until then only rescans see its changes)",
                          shown);
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: cannot be watched: %s", shown, strerror(code));
}

static uint64_t stamp_of(const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return 0;
    return ((uint64_t)st.st_dev * 0x9e3779b97f4a7c15u) ^ ((uint64_t)st.st_ino << 20) ^
           ((uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec);
}

bool cs_watch_add(struct cs_watch *w, const char *path, struct cs_err *err) {
    if (find_path(w, path))
        return true;
    int wd = inotify_add_watch(w->fd, path, MASK);
    if (wd < 0)
        return cannot(path, errno, err);
    // The same directory under another path has the same descriptor. Each path gets its own entry.
    struct directory *d = malloc(sizeof *d + strlen(path) + 1);
    if (!d)
        return cs_err_oom(err);
    d->wd = wd;
    d->told = false;
    memcpy(d->path, path, strlen(path) + 1);
    d->stamp = stamp_of(path);
    if (!cs_index_put(&w->by_wd, (uint64_t)wd, d)) {
        free(d);
        return cs_err_oom(err);
    }
    return cs_index_put(&w->by_path, cs_index_key(path), d) || cs_err_oom(err);
}

void cs_watch_renew(struct cs_watch *w) {
    for (size_t i = 0; i < w->by_path.cap; i++)
        for (const struct cs_index_entry *e = w->by_path.buckets[i]; e; e = e->next) {
            struct directory *d = e->value;
            int wd = inotify_add_watch(w->fd, d->path, MASK);
            if (wd < 0 || wd == d->wd || !cs_index_put(&w->by_wd, (uint64_t)wd, d))
                continue; // its removal is reported by itself
            cs_index_remove(&w->by_wd, (uint64_t)d->wd, d);
            if (!cs_index_first(&w->by_wd, (uint64_t)d->wd))
                (void)inotify_rm_watch(w->fd, d->wd);
            d->wd = wd;
        }
}

void cs_watch_poll(struct cs_watch *w) {
    bool changed = false;
    for (size_t i = 0; i < w->by_path.cap; i++)
        for (const struct cs_index_entry *e = w->by_path.buckets[i]; e; e = e->next) {
            struct directory *d = e->value;
            uint64_t stamp = stamp_of(d->path);
            changed |= stamp != d->stamp && !d->told;
            d->stamp = stamp;
            d->told = false;
        }
    if (changed)
        w->hooks.on_lost(w->hooks.arg, "a directory changed, and the kernel did not tell");
}

static void forget(struct cs_watch *w, int wd) {
    const struct cs_index_entry *e;
    while ((e = cs_index_first(&w->by_wd, (uint64_t)wd)) != NULL) {
        struct directory *d = e->value;
        cs_index_remove(&w->by_path, cs_index_key(d->path), d);
        cs_index_remove(&w->by_wd, (uint64_t)wd, d);
        free(d);
    }
}

static void take(struct cs_watch *w, const struct inotify_event *e) {
    if (e->mask & IN_Q_OVERFLOW) {
        w->hooks.on_lost(w->hooks.arg, "the kernel's queue of changes overflowed");
        return;
    }
    if (e->mask & IN_IGNORED) {
        forget(w, e->wd);
        return;
    }
    if (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) {
        // A directory that moved is another one now. Its path must be watched again.
        if (e->mask & IN_MOVE_SELF)
            (void)inotify_rm_watch(w->fd, e->wd); // ends with IN_IGNORED
        forget(w, e->wd);
        w->hooks.on_lost(w->hooks.arg, "a watched directory went away");
        return;
    }
    if (e->len == 0)
        return; // the directory's own mode or times
    for (const struct cs_index_entry *at = cs_index_first(&w->by_wd, (uint64_t)e->wd); at;
         at = cs_index_next(at)) {
        struct directory *d = at->value;
        d->told = true;
        w->hooks.on_change(w->hooks.arg, d->path, e->name);
    }
}

void cs_watch_read(struct cs_watch *w) {
    _Alignas(struct inotify_event) char buffer[16384];
    for (int reads = 0; reads < READS_MAX; reads++) {
        ssize_t n = read(w->fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        for (const char *p = buffer; p < buffer + n;) {
            struct inotify_event head;
            memcpy(&head, p, sizeof head);
            take(w, (const struct inotify_event *)(const void *)p);
            p += sizeof head + head.len;
        }
    }
}
