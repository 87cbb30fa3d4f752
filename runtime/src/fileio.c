// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/fileio.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/secret.h"
#include "certsync/runtime/path.h"
#include "certsync/runtime/secretmode.h"

#define SHOWN_PATH_SIZE 300

// What to do about an errno, as the second half of a message.
static const char *advice(int code) {
    switch (code) {
    case EACCES:
    case EPERM:
        return "give this user access to it";
    case ENOENT:
        return "check the path";
    case ELOOP:
        return "it is a symbolic link; name the file itself";
    case ENOSPC:
    case EDQUOT:
        return "make room on the disk";
    case EROFS:
        return "the file system is read-only; choose another place";
    case EMLINK:
        return "it is no plain file with one name: look who put it there, then remove it";
    case EEXIST:
        return "it exists already; remove it or choose another name";
    case ENOTDIR:
        return "a part of the path is not a directory";
    case EISDIR:
        return "it is a directory; name a file";
    case EIO:
        return "the disk reports an error";
    default:
        return "see the reason above";
    }
}

static bool fail(struct cs_err *err, const char *path, const char *verb, int code) {
    char shown[SHOWN_PATH_SIZE];
    cs_secret_show(path, strlen(path), shown, sizeof shown);
    if (code == ENOMEM)
        return cs_err_oom(err);
    bool disk = code == ENOSPC || code == EDQUOT || code == EIO || code == EMFILE || code == ENFILE;
    return cs_err_set(err, disk ? CS_ERR_RETRY : CS_ERR_CONFIG, CS_CODE_NONE, "%s: cannot %s: %s; %s", shown,
                      verb, strerror(code), advice(code));
}

static bool fail_text(struct cs_err *err, enum cs_err_kind kind, const char *path, const char *text) {
    char shown[SHOWN_PATH_SIZE];
    cs_secret_show(path, strlen(path), shown, sizeof shown);
    return cs_err_set(err, kind, CS_CODE_NONE, "%s: %s", shown, text);
}

static void close_fd(const int *fd) {
    if (*fd >= 0)
        close(*fd);
}
#define AUTO_FD __attribute__((cleanup(close_fd)))

// Reads to the end, but at most limit bytes and one more. That one shows that there is more.
static bool read_all(int fd, const char *path, size_t limit, struct cs_buf *tmp, struct cs_err *err) {
    uint8_t chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, path, "read", errno);
        if (n == 0)
            break;
        if ((size_t)n > limit - tmp->len) {
            char shown[SHOWN_PATH_SIZE];
            cs_secret_show(path, strlen(path), shown, sizeof shown);
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "%s: longer than %zu bytes; is it the right file?", shown, limit);
        }
        cs_buf_put(tmp, chunk, (size_t)n);
    }
    explicit_bzero(chunk, sizeof chunk); // it may have been a key
    return cs_buf_ok(tmp, err);
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static bool open_regular(const char *path, unsigned flags, int *ret_fd, struct stat *st, struct cs_err *err) {
    int nofollow = flags & CS_FILE_NOFOLLOW ? O_NOFOLLOW : 0;
    // O_NONBLOCK: opening a FIFO that nobody writes to must not hang; it has no effect on regular
    // files.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | nofollow);
    if (fd < 0)
        return fail(err, path, "open", errno);
    bool ok = true;
    const char *fault;
    if (fstat(fd, st) < 0)
        ok = fail(err, path, "examine", errno);
    else if (S_ISDIR(st->st_mode))
        ok = fail(err, path, "read", EISDIR);
    else if (!S_ISREG(st->st_mode))
        ok = fail_text(err, CS_ERR_CONFIG, path, "not a regular file");
    else if ((flags & CS_FILE_PRIVATE) && (fault = cs_secret_mode(st)) != NULL)
        ok = fail_text(err, CS_ERR_CONFIG, path, fault);
    if (!ok) {
        close(fd);
        return false;
    }
    *ret_fd = fd;
    return true;
}

static void wipe_buf(struct cs_buf *b) {
    if (b->data)
        explicit_bzero(b->data, b->cap);
    cs_buf_clear(b);
}

bool cs_file_read(const char *path, unsigned flags, struct cs_buf *buf, struct cs_err *err) {
    bool is_stdin = (flags & CS_FILE_STDIN) && strcmp(path, "-") == 0;
    AUTO_FD int fd = -1;
    struct stat before = {0}, after = {0};
    if (!is_stdin && !open_regular(path, flags, &fd, &before, err))
        return false;
    size_t limit = buf->max - buf->len;
    __attribute__((cleanup(wipe_buf))) struct cs_buf tmp;
    cs_buf_init(&tmp, limit);
    if (!read_all(is_stdin ? STDIN_FILENO : fd, is_stdin ? "standard input" : path, limit, &tmp, err))
        return false;
    if (!is_stdin) {
        if (fstat(fd, &after) < 0)
            return fail(err, path, "examine", errno);
        if (!same_file(&before, &after) || (size_t)after.st_size != tmp.len)
            return fail_text(err, CS_ERR_RETRY, path, "changed while it was read");
    }
    cs_buf_put(buf, tmp.data ? (const void *)tmp.data : "", tmp.len);
    return cs_buf_ok(buf, err);
}

static bool write_all(int fd, const char *path, struct cs_bytes data, struct cs_err *err) {
    size_t done = 0;
    while (done < data.len) {
        ssize_t n = write(fd, data.data + done, data.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, path, "write", errno);
        done += (size_t)n;
    }
    return true;
}

bool cs_dir_open(const char *path, int *ret_fd, struct cs_err *err) {
    const struct cs_path_links links = {.follow = true, .any_owner = geteuid() != 0};
    char link[PATH_MAX], text[SHOWN_PATH_SIZE + 160], shown[SHOWN_PATH_SIZE];
    int fd = cs_path_open(path, O_RDONLY | O_DIRECTORY, &links, link);
    if (fd < 0 && errno == ELOOP && link[0]) {
        cs_secret_show(link, strlen(link), shown, sizeof shown);
        snprintf(text, sizeof text,
                 "the symbolic link %s belongs to another user, and root does not follow it to write files; "
                 "name the real path",
                 shown);
        return fail_text(err, CS_ERR_CONFIG, path, text);
    }
    if (fd < 0)
        return fail(err, path, "open", errno);
    *ret_fd = fd;
    return true;
}

// Opens the directory part of path ("." without one), and gives the name in it.
static bool open_dir_of(const char *path, int *ret_fd, const char **ret_name, struct cs_err *err) {
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 1;
    if (slash == path)
        len = 1;
    if (len >= sizeof dir)
        return fail(err, path, "use", ENAMETOOLONG);
    memcpy(dir, slash ? path : ".", len);
    dir[len] = '\0';
    *ret_name = slash ? slash + 1 : path;
    return cs_dir_open(dir, ret_fd, err);
}

static bool sync_dir(int fd, const char *path, struct cs_err *err) {
    // Some file systems (overlays, network) cannot sync directories and say EINVAL.
    return fsync(fd) == 0 || errno == EINVAL || fail(err, path, "sync the directory of", errno);
}

static bool fill_temp(int fd, const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err) {
    if (fchmod(fd, mode) < 0)
        return fail(err, path, "set the mode of", errno);
    if (!write_all(fd, path, data, err))
        return false;
    if (fsync(fd) < 0)
        return fail(err, path, "sync", errno);
    return true;
}

// A file beside the final one, with a name that nobody can have taken before.
static int open_temp(int dir, const char *name, char temp[NAME_MAX + 1]) {
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        return -1;
    int n = snprintf(temp, NAME_MAX + 1, "%s.%012" PRIx64, name, random >> 16);
    if (n < 0 || n > NAME_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return cs_path_create(dir, temp, O_WRONLY, 0600); // 0600 until it is complete
}

enum writing { REPLACE, CREATE, REPLACE_AND_GIVE };

static bool write_durably(const char *path, struct cs_bytes data, mode_t mode, enum writing how,
                          struct cs_err *err) {
    AUTO_FD int dir = -1, fd = -1;
    const char *name;
    char temp[NAME_MAX + 1];
    if (!open_dir_of(path, &dir, &name, err))
        return false;
    fd = open_temp(dir, name, temp);
    if (fd < 0)
        return fail(err, path, "create", errno);
    bool ok = (how != REPLACE_AND_GIVE || cs_path_give(dir, fd) || fail(err, path, "give away", errno)) &&
              fill_temp(fd, path, data, mode, err);
    // linkat() fails where the name exists, renameat() replaces it: both in one step.
    if (ok && how == CREATE && linkat(dir, temp, dir, name, 0) < 0)
        ok = fail(err, path, "create", errno);
    if (ok && how != CREATE && renameat(dir, temp, dir, name) < 0)
        ok = fail(err, path, "replace", errno);
    if (!ok || how == CREATE)
        unlinkat(dir, temp, 0);
    return ok && sync_dir(dir, path, err);
}

bool cs_file_write(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err) {
    return write_durably(path, data, mode, REPLACE, err);
}

bool cs_file_write_given(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err) {
    return write_durably(path, data, mode, REPLACE_AND_GIVE, err);
}

bool cs_file_create(const char *path, struct cs_bytes data, mode_t mode, struct cs_err *err) {
    return write_durably(path, data, mode, CREATE, err);
}

bool cs_file_open_own(const char *path, int flags, mode_t mode, int *ret_fd, struct cs_err *err) {
    AUTO_FD int dir = -1;
    const char *name;
    if (!open_dir_of(path, &dir, &name, err))
        return false;
    int fd = cs_path_open_own(dir, name, flags, mode);
    if (fd < 0)
        return fail(err, path, "open", errno);
    *ret_fd = fd;
    return true;
}

bool cs_file_move(const char *from, const char *to, struct cs_err *err) {
    AUTO_FD int from_dir = -1, to_dir = -1;
    const char *from_name, *to_name;
    if (!open_dir_of(from, &from_dir, &from_name, err) || !open_dir_of(to, &to_dir, &to_name, err))
        return false;
    if (renameat(from_dir, from_name, to_dir, to_name) < 0)
        return fail(err, to, "replace", errno);
    return sync_dir(to_dir, to, err);
}

bool cs_file_remove(const char *path, struct cs_err *err) {
    AUTO_FD int dir = -1;
    const char *name;
    if (!open_dir_of(path, &dir, &name, err))
        return false;
    if (unlinkat(dir, name, 0) < 0)
        return errno == ENOENT ? true : fail(err, path, "remove", errno);
    return sync_dir(dir, path, err);
}

// One directory of the path; true also where it exists.
static bool make_one(const char *path, mode_t mode, struct cs_err *err) {
    AUTO_FD int dir = -1, made = -1;
    const char *name;
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? true
                                   : fail_text(err, CS_ERR_CONFIG, path, "exists and is not a directory");
    if (!open_dir_of(path, &dir, &name, err))
        return false;
    made = cs_path_mkdir(dir, name, mode);
    if (made >= 0 || errno == EEXIST) // another process was faster
        return true;
    return fail(err, path, "make the directory", errno);
}

bool cs_dir_make(const char *path, mode_t mode, struct cs_err *err) {
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return fail(err, path, "make the directory", len == 0 ? ENOENT : ENAMETOOLONG);
    memcpy(part, path, len + 1);
    while (len > 1 && part[len - 1] == '/')
        part[--len] = '\0';
    for (size_t i = 1; i < len; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        if (!make_one(part, mode, err))
            return false;
        part[i] = '/';
    }
    return make_one(part, mode, err);
}
