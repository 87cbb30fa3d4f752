// SPDX-License-Identifier: Apache-2.0
#include "spool/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/runtime/path.h"

#define MAGIC        "certsync-spool 1 "
#define MAGIC_LEN    (sizeof MAGIC - 1)
#define SEQ_DIGITS   16
#define SIG_LINE_MAX ((size_t)CS_EVENT_SIG_MAX * 2)

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

static bool parse_sent(const char **p, struct cs_spool_name *n) {
    int64_t partition = -1;
    if (!skip(p, "all") && (!digits(p, &partition) || partition > INT32_MAX))
        return false;
    n->partition = (int32_t)partition;
    return skip(p, ".") && digits(p, &n->offset);
}

bool cs_spool_name_parse(const char *text, struct cs_spool_name *ret) {
    struct cs_spool_name n = {0};
    const char *p = text;
    if (!digits(&p, &n.seq) || p - text != SEQ_DIGITS || n.seq < 1 || n.seq >= CS_SEQ_MAX)
        return false;
    bool ok;
    if (skip(&p, ".acks")) {
        n.kind = CS_SPOOL_NAME_ACKS;
        ok = true;
    } else if (skip(&p, ".sent.")) {
        n.kind = CS_SPOOL_NAME_SENT;
        ok = parse_sent(&p, &n);
    } else if (skip(&p, ".new.")) {
        n.kind = CS_SPOOL_NAME_REPLACING;
        ok = digits(&p, &n.old);
    } else {
        n.kind = CS_SPOOL_NAME_NEW;
        ok = skip(&p, ".new");
    }
    if (!ok || *p != '\0')
        return false;
    *ret = n;
    return true;
}

void cs_spool_name_format(const struct cs_spool_name *n, char out[CS_SPOOL_NAME_SIZE]) {
    int len = snprintf(out, CS_SPOOL_NAME_SIZE, "%0*" PRId64, SEQ_DIGITS, n->seq);
    char *rest = out + len;
    size_t room = CS_SPOOL_NAME_SIZE - (size_t)len;
    switch (n->kind) {
    case CS_SPOOL_NAME_NEW:
        snprintf(rest, room, ".new");
        return;
    case CS_SPOOL_NAME_REPLACING:
        snprintf(rest, room, ".new.%0*" PRId64, SEQ_DIGITS, n->old);
        return;
    case CS_SPOOL_NAME_ACKS:
        snprintf(rest, room, ".acks");
        return;
    case CS_SPOOL_NAME_SENT:
        if (n->partition < 0)
            snprintf(rest, room, ".sent.all.%" PRId64, n->offset);
        else
            snprintf(rest, room, ".sent.%" PRId32 ".%" PRId64, n->partition, n->offset);
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

static void temp_name(size_t i, char out[CS_SPOOL_NAME_SIZE]) {
    // One set of names is enough: writers hold the lock.
    if (i == 0)
        snprintf(out, CS_SPOOL_NAME_SIZE, ".tmp");
    else
        snprintf(out, CS_SPOOL_NAME_SIZE, ".tmp.%zu", i);
}

bool cs_spool_clean(const struct cs_spool_dir *d, struct cs_err *err) {
    char temp[CS_SPOOL_NAME_SIZE];
    for (size_t i = 0; i < CS_SPOOL_GROUP_MAX; i++) {
        temp_name(i, temp);
        if (unlinkat(d->fd, temp, 0) < 0 && errno != ENOENT)
            return cs_spool_fail(err, d, temp, "remove", errno);
    }
    return true;
}

static bool fill_temp(const struct cs_spool_dir *d, int fd, struct cs_bytes content, struct cs_err *err) {
    CS_SPOOL_STEP("temp-made");
    (void)cs_path_give(d->fd, fd); // if this fails, the owner's own open() will say so
    if (fchmod(fd, 0600) < 0)
        return cs_spool_fail(err, d, "a temporary file", "set the mode of", errno);
    if (!write_all(fd, content))
        return cs_spool_fail(err, d, "a temporary file", "write", errno);
    CS_SPOOL_STEP("temp-written");
    return true;
}

static bool sync_temp(const struct cs_spool_dir *d, int fd, struct cs_err *err) {
    if (fsync(fd) < 0)
        return cs_spool_fail(err, d, "a temporary file", "sync", errno);
    CS_SPOOL_STEP("temp-synced");
    return true;
}

// A file of that name is from a killed process, or from somebody else. We do not write to it.
static int make_temp(const struct cs_spool_dir *d, const char *temp) {
    int fd = cs_path_create(d->fd, temp, O_WRONLY, 0600);
    if (fd < 0 && errno == EEXIST && unlinkat(d->fd, temp, 0) == 0)
        fd = cs_path_create(d->fd, temp, O_WRONLY, 0600);
    return fd;
}

// Writes all before it syncs the first: that sync takes most of the others along.
static bool make_temps(const struct cs_spool_dir *d, const struct cs_spool_file *files, size_t n,
                       struct cs_err *err) {
    int fds[CS_SPOOL_GROUP_MAX];
    size_t made = 0;
    bool ok = true;
    for (; ok && made < n; made++) {
        char temp[CS_SPOOL_NAME_SIZE];
        temp_name(made, temp);
        fds[made] = make_temp(d, temp);
        if (fds[made] < 0)
            ok = cs_spool_fail(err, d, files[made].name, "write", errno);
        else
            ok = fill_temp(d, fds[made], files[made].content, err);
    }
    for (size_t i = 0; ok && i < made; i++)
        ok = sync_temp(d, fds[i], err);
    for (size_t i = 0; i < made; i++)
        // A network file system may report a write error only at close.
        if (fds[i] >= 0 && close(fds[i]) < 0 && ok)
            ok = cs_spool_fail(err, d, files[i].name, "write", errno);
    return ok;
}

bool cs_spool_write(const struct cs_spool_dir *d, const struct cs_spool_file *files, size_t n,
                    struct cs_err *err) {
    char temp[CS_SPOOL_NAME_SIZE];
    bool ok = make_temps(d, files, n, err);
    for (size_t i = 0; ok && i < n; i++) {
        temp_name(i, temp);
        ok = renameat(d->fd, temp, d->fd, files[i].name) == 0 ||
             cs_spool_fail(err, d, files[i].name, "write", errno);
        CS_SPOOL_STEP("renamed");
    }
    if (ok) {
        ok = cs_spool_sync(d, err);
        CS_SPOOL_STEP("directory-synced");
        return ok;
    }
    for (size_t i = 0; i < n; i++) {
        temp_name(i, temp);
        unlinkat(d->fd, temp, 0);
    }
    return false;
}

bool cs_spool_read(const struct cs_spool_dir *d, const char *name, size_t max, struct cs_buf *ret,
                   bool *ret_missing, struct cs_err *err) {
    *ret_missing = false;
    int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        *ret_missing = true;
        return true;
    }
    if (fd < 0)
        return cs_spool_fail(err, d, name, "open", errno);
    uint8_t chunk[16384];
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

bool cs_spool_content_make(struct cs_crypto *c, const struct cs_privkey *key, const struct cs_event *ev,
                           struct cs_buf *out, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf value;
    cs_buf_init(&value, (size_t)CS_EVENT_MAX * 16); // so that we report "too large" ourselves
    if (!cs_event_encode(ev, &value, err))
        return false;
    if (!cs_buf_ok(&value, err))
        return false;
    if (value.len > CS_EVENT_MAX)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_EVENT_TOO_LARGE,
                          "The event would have %zu bytes; the limit is %d.", value.len, CS_EVENT_MAX);
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t sig_len;
    if (!cs_event_sign(c, key, cs_buf_bytes(&value), sig, &sig_len, err))
        return false;
    char text[CS_EVENT_SIG_MAX * 2];
    size_t text_len = cs_base64_encoded_len(sig_len);
    cs_base64_encode(sig, sig_len, text);
    text[text_len++] = '\n';
    uint8_t hash[32];
    char hex[65];
    cs_crypto_sha256_parts(c, (struct cs_bytes[]){{(uint8_t *)text, text_len}, cs_buf_bytes(&value)}, 2,
                           hash);
    cs_hex_encode(hash, sizeof hash, hex);
    cs_buf_puts(out, MAGIC);
    cs_buf_puts(out, hex);
    cs_buf_putc(out, '\n');
    cs_buf_put(out, text, text_len);
    cs_buf_put(out, value.data, value.len);
    return cs_buf_ok(out, err);
}

bool cs_spool_content_parse(struct cs_crypto *c, struct cs_bytes content, struct cs_bytes *ret_sig,
                            struct cs_bytes *ret_value, const char **ret_fault) {
    const size_t head = MAGIC_LEN + 64 + 1;
    if (content.len <= head || memcmp(content.data, MAGIC, MAGIC_LEN) != 0 ||
        content.data[head - 1] != '\n') {
        *ret_fault = content.len == 0 ? "it is empty" : "it does not begin as a spool file does";
        return false;
    }
    const uint8_t *body = content.data + head;
    size_t len = content.len - head;
    uint8_t hash[32];
    char hex[65];
    cs_crypto_sha256(c, (struct cs_bytes){body, len}, hash);
    cs_hex_encode(hash, sizeof hash, hex);
    if (memcmp(hex, content.data + MAGIC_LEN, 64) != 0) {
        *ret_fault = "its checksum is wrong";
        return false;
    }
    const uint8_t *end = memchr(body, '\n', len < SIG_LINE_MAX ? len : SIG_LINE_MAX);
    if (!end) {
        *ret_fault = "it holds no signature";
        return false;
    }
    *ret_sig = (struct cs_bytes){body, (size_t)(end - body)};
    *ret_value = (struct cs_bytes){end + 1, len - (size_t)(end - body) - 1};
    return true;
}
