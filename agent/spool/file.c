// SPDX-License-Identifier: Apache-2.0
#include "spool/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/runtime/path.h"

#define TEMP_FILE ".tmp"

static bool digits(const char **p, int64_t *ret) {
    const char *s = *p;
    int64_t v = 0;
    if (*s < '0' || *s > '9')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        if (v > (INT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (*s - '0');
    }
    *p = s;
    *ret = v;
    return true;
}

static bool skip(const char **p, const char *text) {
    size_t len = strlen(text);
    if (strncmp(*p, text, len) != 0)
        return false;
    *p += len;
    return true;
}

bool cs_spool_name_parse(const char *text, struct cs_spool_name *ret) {
    struct cs_spool_name n = {.n = 1};
    const char *p = text;
    int64_t count = 1;
    if (!cs_sequence_parse(text, strnlen(text, CS_SEQUENCE_LEN), &n.first))
        return false;
    p += CS_SEQUENCE_LEN;
    if (skip(&p, ".acks")) {
        n.kind = CS_SPOOL_NAME_ACKS;
    } else {
        if (!skip(&p, ".") || *p == '0' || !digits(&p, &count) || count > CS_SPOOL_GROUP_MAX ||
            !skip(&p, ".events"))
            return false;
        n.kind = CS_SPOOL_NAME_EVENTS;
        n.n = (size_t)count;
        if (skip(&p, ".")) {
            n.kind = CS_SPOOL_NAME_REPLACING;
            if (!digits(&p, &n.old))
                return false;
        }
    }
    if (*p != '\0' || n.first > CS_SEQ_MAX - count || n.old >= CS_SEQ_MAX)
        return false;
    *ret = n;
    return true;
}

void cs_spool_name_format(const struct cs_spool_name *n, char out[CS_SPOOL_NAME_SIZE]) {
    char first[CS_SEQUENCE_LEN + 1], old[CS_SEQUENCE_LEN + 1];
    cs_sequence_format(n->first, first);
    cs_sequence_format(n->old, old);
    switch (n->kind) {
    case CS_SPOOL_NAME_EVENTS:
        snprintf(out, CS_SPOOL_NAME_SIZE, "%s.%zu.events", first, n->n);
        return;
    case CS_SPOOL_NAME_REPLACING:
        snprintf(out, CS_SPOOL_NAME_SIZE, "%s.%zu.events.%s", first, n->n, old);
        return;
    case CS_SPOOL_NAME_ACKS:
        snprintf(out, CS_SPOOL_NAME_SIZE, "%s.acks", first);
        return;
    }
}

static const char *advice(int code) {
    switch (code) {
    case EACCES:
    case EPERM:
        return "; give this user access to it, or set agent.spool to a directory of its own (--set "
               "agent.spool=DIR)";
    case ENOSPC:
    case EDQUOT:
        return "; make room on the disk, then try again: nothing was kept of this event";
    case EROFS:
        return "; the file system is read-only: set agent.spool to another directory";
    case ELOOP:
    case EMLINK:
        return "; it is no plain file with one name: look who put it there, then remove it";
    default:
        return "";
    }
}

bool cs_spool_fail(struct cs_err *err, const struct cs_spool_dir *d, const char *name, const char *verb,
                   int code) {
    char shown[CS_SPOOL_NAME_SIZE * 4], path[300];
    if (code == ENOMEM)
        return cs_err_oom(err);
    cs_secret_show(name, strlen(name), shown, sizeof shown);
    cs_text_escape(d->path, strlen(d->path), path, sizeof path);
    bool disk = code == ENOSPC || code == EDQUOT || code == EIO || code == EMFILE || code == ENFILE;
    return cs_err_set(err, disk ? CS_ERR_RETRY : CS_ERR_CONFIG, CS_CODE_NONE, "spool %s: cannot %s %s: %s%s",
                      path, verb, shown, strerror(code), advice(code));
}

bool cs_spool_sync(const struct cs_spool_dir *d, struct cs_err *err) {
    // Some file systems (overlays, network) cannot sync directories and say EINVAL.
    if (fsync(d->fd) < 0 && errno != EINVAL)
        return cs_spool_fail(err, d, ".", "sync", errno);
    return true;
}

static bool write_all(int fd, struct cs_bytes b) {
    while (b.len > 0) {
        ssize_t n = write(fd, b.data, b.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        b.data += n;
        b.len -= (size_t)n;
    }
    return true;
}

bool cs_spool_clean(const struct cs_spool_dir *d, struct cs_err *err) {
    if (unlinkat(d->fd, TEMP_FILE, 0) < 0 && errno != ENOENT)
        return cs_spool_fail(err, d, TEMP_FILE, "remove", errno);
    return true;
}

// A file of that name is from a killed process, or from somebody else. We do not write to it. One
// name is enough: writers hold the lock.
static int make_temp(const struct cs_spool_dir *d) {
    int fd = cs_path_create(d->fd, TEMP_FILE, O_WRONLY, 0600);
    if (fd < 0 && errno == EEXIST && unlinkat(d->fd, TEMP_FILE, 0) == 0)
        fd = cs_path_create(d->fd, TEMP_FILE, O_WRONLY, 0600);
    return fd;
}

static bool fill_temp(const struct cs_spool_dir *d, int fd, struct cs_bytes content, struct cs_err *err) {
    CS_SPOOL_STEP("temp-made");
    (void)cs_path_give(d->fd, fd); // if this fails, the owner's own open() will say so
    if (fchmod(fd, 0600) < 0)
        return cs_spool_fail(err, d, "a temporary file", "set the mode of", errno);
    if (!write_all(fd, content))
        return cs_spool_fail(err, d, "a temporary file", "write", errno);
    CS_SPOOL_STEP("temp-written");
    if (fsync(fd) < 0)
        return cs_spool_fail(err, d, "a temporary file", "sync", errno);
    CS_SPOOL_STEP("temp-synced");
    return true;
}

bool cs_spool_write(const struct cs_spool_dir *d, const char *name, struct cs_bytes content,
                    struct cs_err *err) {
    int fd = make_temp(d);
    if (fd < 0)
        return cs_spool_fail(err, d, name, "write", errno);
    bool ok = fill_temp(d, fd, content, err);
    // A network file system may report a write error only at close.
    if (close(fd) < 0 && ok)
        ok = cs_spool_fail(err, d, name, "write", errno);
    ok = ok && (renameat(d->fd, TEMP_FILE, d->fd, name) == 0 || cs_spool_fail(err, d, name, "write", errno));
    if (!ok) {
        unlinkat(d->fd, TEMP_FILE, 0);
        return false;
    }
    CS_SPOOL_STEP("renamed");
    ok = cs_spool_sync(d, err);
    CS_SPOOL_STEP("directory-synced");
    return ok;
}

bool cs_spool_open_file(const struct cs_spool_dir *d, const char *name, int flags, int *ret_fd,
                        off_t *ret_size, struct cs_err *err) {
    struct stat st;
    int fd = openat(d->fd, name, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno != ENOENT)
        return cs_spool_fail(err, d, name, "open", errno);
    if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1)) {
        close(fd);
        return cs_spool_fail(err, d, name, "open", EMLINK);
    }
    *ret_fd = fd;
    *ret_size = fd < 0 ? 0 : st.st_size;
    return true;
}

bool cs_spool_read(const struct cs_spool_dir *d, const char *name, size_t max, struct cs_buf *ret,
                   bool *ret_missing, struct cs_err *err) {
    int fd;
    off_t size;
    if (!cs_spool_open_file(d, name, O_RDONLY, &fd, &size, err))
        return false;
    *ret_missing = fd < 0;
    if (fd < 0)
        return true;
    uint8_t chunk[65536];
    bool ok = true;
    while (ok) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            ok = cs_spool_fail(err, d, name, "read", errno);
        if (n <= 0 || ret->len > max) // if it is too long, the parser will find that
            break;
        cs_buf_put(ret, chunk, (size_t)n);
    }
    close(fd);
    return ok && cs_buf_ok(ret, err);
}
