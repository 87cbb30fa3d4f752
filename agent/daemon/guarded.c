// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // O_PATH
#include "daemon/guarded.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "certsync/base/secret.h"
#include "certsync/model/pem.h"
#include "certsync/runtime/path.h"

#define MAP_SIZE  ((size_t)CS_PEM_FILE_MAX + 4096)
#define LINKS_MAX 40 // as the kernel's own limit

bool cs_guarded_init(struct cs_guarded *g, struct cs_err *err) {
    void *map = mmap(NULL, MAP_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return cs_err_oom(err);
    (void)mlock(map, MAP_SIZE); // it may fail: an ordinary user may lock little
    (void)madvise(map, MAP_SIZE, MADV_DONTDUMP);
    *g = (struct cs_guarded){.map = map};
    return true;
}

void cs_guarded_wipe(struct cs_guarded *g) {
    if (g->map && g->bytes.len > 0)
        explicit_bzero(g->map, g->bytes.len);
    g->bytes = (struct cs_bytes){0};
}

void cs_guarded_clear(struct cs_guarded *g) {
    cs_guarded_wipe(g);
    if (g->map)
        munmap(g->map, MAP_SIZE);
    g->map = NULL;
}

static enum cs_read refuse(const char *path, const char *what, struct cs_err *err) {
    char shown[300];
    cs_secret_show(path, strlen(path), shown, sizeof shown);
    cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s", shown, what);
    return CS_READ_REFUSED;
}

static bool owner_allowed(const struct cs_file_policy *p, uid_t owner) {
    for (size_t i = 0; i < p->owners_len; i++)
        if (p->owners[i] == owner)
            return true;
    return p->any_owner;
}

static enum cs_read refuse_link(const char *path, const char *link, bool follow, struct cs_err *err) {
    char shown[300], text[500];
    cs_secret_show(link, strlen(link), shown, sizeof shown);
    if (!link[0])
        return refuse(path, "it leads over too many symbolic links", err);
    snprintf(text, sizeof text, "%s%s%s", strcmp(link, path) == 0 ? "it" : shown, " is a symbolic link",
             follow ? " of a user that the section's owners do not name (owners = …)"
                    : ", and this section says: links = no");
    return refuse(path, text, err);
}

static enum cs_read check_file(const char *path, const struct stat *st, const struct cs_file_policy *p,
                               struct cs_err *err) {
    char text[160];
    if (S_ISDIR(st->st_mode))
        return refuse(path, "it is a directory", err);
    if (!S_ISREG(st->st_mode))
        return refuse(path, "it is a FIFO, a device or a socket, not a regular file", err);
    if (!owner_allowed(p, st->st_uid)) {
        snprintf(text, sizeof text,
                 "it belongs to user %lu, whom the section's owners do not name (owners = …)",
                 (unsigned long)st->st_uid);
        return refuse(path, text, err);
    }
    if (st->st_size > (off_t)p->max_bytes) {
        snprintf(text, sizeof text, "it has %jd bytes; at most %zu are read", (intmax_t)st->st_size,
                 p->max_bytes);
        return refuse(path, text, err);
    }
    return CS_READ_OK;
}

static bool same(const struct stat *a, const struct stat *b) {
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static enum cs_read read_fd(int fd, const char *path, const struct cs_file_policy *p, struct cs_guarded *g,
                            struct cs_err *err) {
    struct stat before, after;
    if (fstat(fd, &before) < 0)
        return refuse(path, strerror(errno), err);
    enum cs_read r = check_file(path, &before, p, err);
    size_t len = 0;
    while (r == CS_READ_OK && len <= p->max_bytes) {
        ssize_t n = read(fd, g->map + len, p->max_bytes + 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) // also ESTALE of NFS: the next look opens it again
            r = errno == ESTALE ? CS_READ_CHANGING : refuse(path, strerror(errno), err);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    g->bytes = (struct cs_bytes){g->map, len};
    if (r != CS_READ_OK)
        return r;
    if (fstat(fd, &after) < 0 || !same(&before, &after) || len != (size_t)after.st_size)
        return CS_READ_CHANGING;
    return CS_READ_OK;
}

void cs_place_clear(struct cs_place *p) {
    if (p->directory[0])
        close(p->fd);
    free(p->links);
    p->directory[0] = p->followed[0] = '\0';
    p->links = NULL;
    p->links_len = p->links_cap = 0;
}

// Splits a path into its directory and its name. False if it lacks one.
static bool split(const char *path, char directory[PATH_MAX], const char **ret_name) {
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    if (len == 0 || len >= PATH_MAX || !slash[1] || strcmp(slash + 1, ".") == 0 ||
        strcmp(slash + 1, "..") == 0)
        return false;
    memcpy(directory, path, len);
    directory[len] = '\0';
    *ret_name = slash + 1;
    return true;
}

// Opens a file in a directory whose way was walked before. -1: walk the whole way; that also tells
// the fault.
static int open_in_place(const char *path, int flags, const struct cs_path_links *links,
                         const struct cs_file_policy *policy, struct cs_place *p) {
    char directory[PATH_MAX], link[PATH_MAX];
    const char *name;
    if (!p || !split(path, directory, &name))
        return -1;
    if (strcmp(directory, p->directory) != 0 || p->policy != policy) {
        if (p->directory[0])
            close(p->fd);
        p->directory[0] = '\0';
        p->fd = cs_path_open(directory, O_PATH | O_DIRECTORY, links, link);
        if (p->fd < 0)
            return -1;
        memcpy(p->directory, directory, strlen(directory) + 1);
        p->policy = policy;
    }
    return openat(p->fd, name, flags | O_NOFOLLOW | O_CLOEXEC);
}

enum cs_read cs_guarded_read(const char *path, const struct cs_file_policy *policy, struct cs_place *place,
                             struct cs_guarded *g, struct cs_err *err) {
    // O_NONBLOCK: a FIFO that nobody writes to must not hold us.
    static const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY;
    cs_guarded_wipe(g);
    const struct cs_path_links links = {policy->follow_links, policy->any_owner, policy->owners,
                                        policy->owners_len};
    char link[PATH_MAX];
    int fd = open_in_place(path, flags, &links, policy, place);
    if (fd < 0)
        fd = cs_path_open(path, flags, &links, link);
    if (fd < 0 && errno == ELOOP)
        return refuse_link(path, link, policy->follow_links, err);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? CS_READ_GONE
               : errno == ESTALE                   ? CS_READ_CHANGING
                                                   : refuse(path, strerror(errno), err);
    enum cs_read r = read_fd(fd, path, policy, g, err);
    close(fd);
    if (r != CS_READ_OK)
        cs_guarded_wipe(g);
    return r;
}

static uint64_t mix(uint64_t h, uint64_t v) {
    // splitmix64's finaliser, https://prng.di.unimi.it/splitmix64.c
    h += v + 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

uint64_t cs_stamp_mix(uint64_t stamp, const char *path) {
    struct stat st;
    if (stat(path, &st) < 0)
        return mix(stamp, 0);
    const uint64_t facts[] = {(uint64_t)st.st_dev,          (uint64_t)st.st_ino,
                              (uint64_t)st.st_size,         (uint64_t)st.st_mtim.tv_sec,
                              (uint64_t)st.st_mtim.tv_nsec, (uint64_t)st.st_ctim.tv_sec,
                              (uint64_t)st.st_ctim.tv_nsec};
    for (size_t i = 0; i < CS_ARRAY_LEN(facts); i++)
        stamp = mix(stamp, facts[i]);
    return stamp;
}

// Does one component. at is the real place so far ("" is the root), rest is what is left.
static bool step(char *at, size_t size, char *rest, int *links, void (*on_path)(void *, const char *),
                 void *arg) {
    char target[PATH_MAX], more[PATH_MAX];
    size_t len = strcspn(rest, "/"), at_len = strlen(at);
    snprintf(more, sizeof more, "%s", rest + len + (rest[len] == '/'));
    if (len == 0 || (len == 1 && rest[0] == '.')) {
        memmove(rest, more, strlen(more) + 1);
        return true;
    }
    if (len == 2 && memcmp(rest, "..", 2) == 0) {
        char *slash = strrchr(at, '/');
        if (slash)
            *slash = '\0';
        memmove(rest, more, strlen(more) + 1);
        return true;
    }
    if (at_len + len + 2 > size)
        return false;
    at[at_len] = '/';
    memcpy(at + at_len + 1, rest, len);
    at[at_len + 1 + len] = '\0';
    ssize_t n = readlink(at, target, sizeof target - 1);
    if (n < 0 && errno != EINVAL) { // it does not exist
        on_path(arg, at);
        return false;
    }
    if (n < 0) {
        memmove(rest, more, strlen(more) + 1);
        return true;
    }
    on_path(arg, at);
    target[n] = '\0';
    if (++*links > LINKS_MAX || (size_t)n + strlen(more) + 2 > PATH_MAX)
        return false;
    at[target[0] == '/' ? 0 : at_len] = '\0';
    memcpy(rest, target, (size_t)n);
    snprintf(rest + n, (size_t)(PATH_MAX - n), "%s%s", more[0] ? "/" : "", more);
    return true;
}

static void remember(void *arg, const char *path) {
    struct cs_place *p = arg;
    size_t len = strlen(path) + 1;
    if (!CS_GROW(&p->links, &p->links_cap, p->links_len + len)) {
        p->links_n = LINKS_MAX + 1; // not to be used
        return;
    }
    memcpy(p->links + p->links_len, path, len);
    p->links_len += len;
}

// Walks to the directory, unless it was the last one. False if it cannot be used.
static bool find_place(const char *directory, struct cs_place *p) {
    char rest[PATH_MAX];
    if (strcmp(directory, p->followed) == 0)
        return true;
    p->followed[0] = p->at[0] = '\0';
    p->links_len = 0;
    p->links_n = 0;
    memcpy(rest, directory, strlen(directory) + 1);
    while (rest[0])
        if (!step(p->at, sizeof p->at, rest, &p->links_n, remember, p))
            return false;
    if (p->links_n > LINKS_MAX)
        return false;
    memcpy(p->followed, directory, strlen(directory) + 1);
    return true;
}

bool cs_path_follow(const char *path, struct cs_place *place, void (*on_path)(void *arg, const char *path),
                    void *arg) {
    char at[PATH_MAX] = "", rest[PATH_MAX], directory[PATH_MAX];
    const char *name = path;
    int links = 0;
    if (strlen(path) >= sizeof rest)
        return false;
    if (place && split(path, directory, &name) && find_place(directory, place)) {
        for (size_t i = 0; i < place->links_len; i += strlen(place->links + i) + 1)
            on_path(arg, place->links + i);
        memcpy(at, place->at, strlen(place->at) + 1);
        links = place->links_n;
    } else {
        name = path;
    }
    memcpy(rest, name, strlen(name) + 1);
    while (rest[0])
        if (!step(at, sizeof at, rest, &links, on_path, arg))
            return false;
    on_path(arg, at[0] ? at : "/");
    return true;
}
