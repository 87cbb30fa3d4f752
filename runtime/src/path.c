// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // O_PATH
#include "certsync/runtime/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 // as the kernel's own limit

struct walk {
    const struct cs_path_links *links;
    int fd;              // of the directory that was reached
    char at[PATH_MAX];   // its name, for messages
    char rest[PATH_MAX]; // what is left
    int followed;
    char *link;
};

static bool fails_with(int code) {
    errno = code;
    return false;
}

// The caller must see errno, and close() may change it.
static void close_quietly(int fd) {
    int code = errno;
    if (fd >= 0)
        close(fd);
    errno = code;
}

static bool start_at(struct walk *w, const char *directory) {
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    close_quietly(w->fd);
    w->fd = fd;
    snprintf(w->at, sizeof w->at, "%s", directory[0] == '/' ? "" : directory);
    return true;
}

// Takes the next component off the rest. *ret_last: only slashes follow. False at the end of the
// path (errno 0), or where the component is too long.
static bool take(struct walk *w, char name[NAME_MAX + 1], bool *ret_last, bool *ret_slash) {
    size_t from = strspn(w->rest, "/"), len = strcspn(w->rest + from, "/");
    if (len > NAME_MAX)
        return fails_with(ENAMETOOLONG);
    memcpy(name, w->rest + from, len);
    name[len] = '\0';
    size_t after = from + len;
    *ret_slash = w->rest[after] == '/';
    after += strspn(w->rest + after, "/");
    *ret_last = w->rest[after] == '\0';
    memmove(w->rest, w->rest + after, strlen(w->rest + after) + 1);
    return len > 0 || fails_with(0);
}

static bool may_follow(const struct cs_path_links *l, uid_t owner) {
    bool named = l->any_owner || owner == 0;
    for (size_t i = 0; i < l->owners_len; i++)
        named |= l->owners[i] == owner;
    return l->follow && named;
}

static bool follow(struct walk *w, int link_fd, const char *name, const struct stat *st) {
    char target[PATH_MAX], rest[PATH_MAX];
    if (!may_follow(w->links, st->st_uid)) {
        int n = snprintf(w->link, PATH_MAX, "%s/%s", w->at, name);
        return fails_with(n < PATH_MAX ? ELOOP : ENAMETOOLONG);
    }
    ssize_t n = readlinkat(link_fd, "", target, sizeof target - 1);
    if (n < 0)
        return false;
    target[n] = '\0';
    if (++w->followed > LINKS_MAX)
        return fails_with(ELOOP);
    if (n == 0)
        return fails_with(ENOENT);
    if (snprintf(rest, sizeof rest, "%s%s%s", target, w->rest[0] ? "/" : "", w->rest) >= (int)sizeof rest)
        return fails_with(ENAMETOOLONG);
    memcpy(w->rest, rest, strlen(rest) + 1);
    return target[0] != '/' || start_at(w, "/");
}

static bool descend(struct walk *w, int fd, const char *name) {
    size_t len = strlen(w->at);
    char *slash = strrchr(w->at, '/');
    if (strcmp(name, "..") == 0 && slash)
        *slash = '\0';
    else if (strcmp(name, ".") != 0 &&
             snprintf(w->at + len, sizeof w->at - len, "/%s", name) >= (int)(sizeof w->at - len))
        return fails_with(ENAMETOOLONG);
    close_quietly(w->fd);
    w->fd = fd;
    return true;
}

// Does one component. *ret_fd becomes the descriptor at the end of the path; before that it is -1.
static bool step(struct walk *w, int flags, int *ret_fd) {
    char name[NAME_MAX + 1];
    bool last = true, slash = false;
    struct stat st;
    *ret_fd = -1;
    if (!take(w, name, &last, &slash)) {
        if (errno == 0)
            *ret_fd = openat(w->fd, ".", flags | O_CLOEXEC);
        return *ret_fd >= 0;
    }
    int fd = openat(w->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fstat(fd, &st) == 0;
    if (ok && !S_ISLNK(st.st_mode) && !last && descend(w, fd, name))
        return true; // the walk owns fd
    if (ok && S_ISLNK(st.st_mode)) {
        if (last && slash) // "link/" must lead to a directory
            memcpy(w->rest, "/", 2);
        ok = follow(w, fd, name, &st);
    } else if (ok && last) {
        *ret_fd = openat(w->fd, name, flags | O_NOFOLLOW | O_CLOEXEC | (slash ? O_DIRECTORY : 0));
        ok = *ret_fd >= 0;
    } else {
        ok = false;
    }
    close_quietly(fd);
    return ok;
}

int cs_path_open(const char *path, int flags, const struct cs_path_links *links, char ret_link[PATH_MAX]) {
    struct walk w = {.links = links, .fd = -1, .link = ret_link};
    int fd = -1;
    ret_link[0] = '\0';
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof w.rest) {
        errno = len == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    memcpy(w.rest, path, len + 1);
    bool ok = start_at(&w, path[0] == '/' ? "/" : ".");
    while (ok && fd < 0)
        ok = step(&w, flags, &fd);
    close_quietly(w.fd);
    return fd;
}

int cs_path_create(int dir_fd, const char *name, int flags, mode_t mode) {
    return openat(dir_fd, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
}

int cs_path_open_own(int dir_fd, const char *name, int flags, mode_t mode) {
    struct stat st;
    for (int tries = 0; tries < 3; tries++) {
        int fd = cs_path_create(dir_fd, name, flags, mode);
        if (fd >= 0) {
            (void)cs_path_give(dir_fd, fd); // if this fails, the owner's own open() will say so
            return fd;
        }
        if (errno != EEXIST)
            return -1;
        // O_NONBLOCK: do not wait for a FIFO that nobody reads.
        // Without a mode, openat() with O_CREAT ends a hardened program.
        fd = openat(dir_fd, name, (flags & ~O_CREAT) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 && errno == ENOENT)
            continue; // it was removed just now
        if (fd < 0)
            return -1;
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
            return fd;
        close(fd);
        errno = EMLINK;
        return -1;
    }
    return -1;
}

static bool is_empty(int dir_fd) {
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *e;
    bool empty = dir != NULL;
    while (empty && (e = readdir(dir)) != NULL)
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
    if (dir)
        closedir(dir);
    else
        close_quietly(fd);
    return empty;
}

// The new directory is opened by its name, where another one may stand by now. So it must be ours
// and empty: otherwise a directory of ours with content could be given away.
static int open_made(int dir_fd, const char *name) {
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() && is_empty(fd))
        return fd;
    close_quietly(fd);
    errno = EPERM;
    return -1;
}

// Some file systems (NFS) lack the flag. There this may replace an empty directory that another
// process just made.
static bool name_it(int dir_fd, const char *temp, const char *name) {
    if (renameat2(dir_fd, temp, dir_fd, name, RENAME_NOREPLACE) == 0)
        return true;
    return errno == EINVAL && renameat(dir_fd, temp, dir_fd, name) == 0;
}

// The directory gets its final name when it is complete. So no other process works in it before.
int cs_path_mkdir(int dir_fd, const char *name, mode_t mode) {
    char temp[NAME_MAX + 32];
    struct stat st;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    snprintf(temp, sizeof temp, ".%s.%ld", name, (long)getpid());
    (void)unlinkat(dir_fd, temp, AT_REMOVEDIR); // left by a killed process with the same number
    if (mkdirat(dir_fd, temp, 0700) < 0)
        return -1;
    int fd = open_made(dir_fd, temp);
    // The umask changed mkdir's mode.
    if (fd >= 0 && fchmod(fd, mode) == 0 && cs_path_give(dir_fd, fd) && name_it(dir_fd, temp, name))
        return fd;
    int why = errno;
    (void)unlinkat(dir_fd, temp, AT_REMOVEDIR);
    close_quietly(fd);
    errno = why;
    return -1;
}

bool cs_path_give(int dir_fd, int fd) {
    struct stat st;
    if (geteuid() != 0)
        return true;
    return fstat(dir_fd, &st) == 0 && (st.st_uid == 0 || fchown(fd, st.st_uid, st.st_gid) == 0);
}
