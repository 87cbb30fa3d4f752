// SPDX-License-Identifier: Apache-2.0
#include "catalog/snapshots.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/fileio.h"

#define LEVEL        3
#define NAME_MAX_LEN 64
#define FILE_MAX     ((size_t)8 * 1024 * 1024 * 1024)

static void name_of(const struct cs_snapshot *s, const char *end, char ret[NAME_MAX_LEN]) {
    if (s->epoch > 0)
        snprintf(ret, NAME_MAX_LEN, "%020" PRId64 ".%" PRId64 ".%s", s->at.size, s->epoch, end);
    else
        snprintf(ret, NAME_MAX_LEN, "%020" PRId64 ".%s", s->at.size, end);
}

bool cs_snapshot_path(const struct cs_snapshot_dir *d, int32_t partition, const struct cs_snapshot *s,
                      const char *end, char ret[CS_SNAPSHOT_PATH], struct cs_err *err) {
    char name[NAME_MAX_LEN];
    name_of(s, end, name);
    int n = snprintf(ret, CS_SNAPSHOT_PATH, "%s/%" PRId32 "/%s", d->path, partition, name);
    return (n > 0 && n < CS_SNAPSHOT_PATH) ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "the path of the snapshots is too long");
}

// --- the list

void cs_snapshots_clear(struct cs_snapshot_list *l) {
    free(l->items);
    *l = (struct cs_snapshot_list){0};
}

static int by_size(const void *a, const void *b) {
    const struct cs_snapshot *x = a, *y = b;
    if (x->at.size != y->at.size)
        return x->at.size < y->at.size ? -1 : 1;
    return x->epoch < y->epoch ? -1 : x->epoch > y->epoch;
}

// The name is a number of outcomes and an epoch: so each counts once.
static bool open_statement(const struct cs_snapshot_dir *d, int32_t partition, const char *path,
                           const char *name, struct cs_snapshot *ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    char origin[CS_ORIGIN_MAX + 1], right[NAME_MAX_LEN];
    cs_buf_init(&note, CS_NOTE_MAX);
    cs_snapshot_origin(d->log_id, partition, 0, origin);
    if (!cs_file_read(path, 0, &note, err) ||
        !cs_snapshot_open(d->crypto, cs_buf_bytes(&note), &d->key, ret, err))
        return false;
    if (!cs_snapshot_is_of(ret, d->log_id, partition))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "it is of %s, not of %s", ret->at.origin, origin);
    name_of(ret, "note", right);
    return strcmp(name, right) == 0 ||
           cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                      "it is of %" PRId64 " outcomes in epoch %" PRId64 ", not of those of its name",
                      ret->at.size, ret->epoch);
}

bool cs_snapshots_list(const struct cs_snapshot_dir *d, int32_t partition,
                       void (*refused)(void *arg, const char *path, const char *why), void *arg,
                       struct cs_snapshot_list *ret, struct cs_err *err) {
    CS_AUTO(cs_snapshots_clear) struct cs_snapshot_list l = {0};
    char at[CS_SNAPSHOT_PATH], path[CS_SNAPSHOT_PATH + 512];
    snprintf(at, sizeof at, "%s/%" PRId32, d->path, partition);
    DIR *dir = opendir(at);
    if (!dir && errno != ENOENT)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s cannot be read: %s", at, strerror(errno));
    bool ok = true;
    for (const struct dirent *e = dir ? readdir(dir) : NULL; e && ok; e = readdir(dir)) {
        struct cs_snapshot s;
        struct cs_err why;
        size_t len = strlen(e->d_name);
        if (e->d_name[0] == '.' || len < 5 || strcmp(e->d_name + len - 5, ".note") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", at, e->d_name);
        if (!open_statement(d, partition, path, e->d_name, &s, &why)) {
            l.refused++;
            refused(arg, path, why.msg);
            continue;
        }
        ok = CS_GROW(&l.items, &l.cap, l.len + 1) || cs_err_oom(err);
        if (ok)
            l.items[l.len++] = s;
    }
    if (dir)
        closedir(dir);
    if (l.len > 1)
        qsort(l.items, l.len, sizeof *l.items, by_size);
    if (ok) {
        *ret = l;
        l = (struct cs_snapshot_list){0};
    }
    return ok;
}

bool cs_snapshot_counts(const struct cs_epochs *epochs, int32_t partition, const struct cs_snapshot *s,
                        bool *ret_set_aside, struct cs_err *err) {
    int64_t epoch = cs_epoch_of(epochs, partition, s->at.size);
    *ret_set_aside = s->epoch < epoch;
    return s->epoch <= epoch || cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                                           "it is of epoch %" PRId64
                                           ", and the corrections that were read bring none but %" PRId64,
                                           s->epoch, epoch);
}

// The statement first: a file without one does not count.
static bool remove_files(const struct cs_snapshot_dir *d, int32_t partition, const struct cs_snapshot *s,
                         struct cs_err *err) {
    static const char *const ends[] = {"note", "snap"};
    char path[CS_SNAPSHOT_PATH];
    for (size_t i = 0; i < CS_ARRAY_LEN(ends); i++) {
        if (!cs_snapshot_path(d, partition, s, ends[i], path, err))
            return false;
        if (unlink(path) != 0 && errno != ENOENT)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s cannot be removed: %s", path,
                              strerror(errno));
    }
    return true;
}

// What was set aside is of no use, and takes no good one's place. What no known correction brings may be good.
bool cs_snapshots_thin(const struct cs_snapshot_dir *d, int32_t partition, const struct cs_snapshot_list *l,
                       const struct cs_epochs *epochs, int64_t stretch, int64_t keep, int64_t *ret_removed,
                       struct cs_err *err) {
    int64_t kept = 0, last = -1; // the stretch of the last that stays
    *ret_removed = 0;
    for (size_t i = keep > 0 ? l->len : 0; i-- > 0;) {
        const struct cs_snapshot *s = &l->items[i];
        int64_t size = s->at.size;
        bool set_aside = false;
        struct cs_err unknown;
        if (!cs_snapshot_counts(epochs, partition, s, &set_aside, &unknown))
            continue;
        if (!set_aside && size / stretch != last && kept < keep) {
            last = size / stretch;
            kept++;
            continue;
        }
        if (!remove_files(d, partition, s, err))
            return false;
        ++*ret_removed;
    }
    return true;
}

// --- reading

struct source {
    FILE *file;
    ZSTD_DCtx *zstd;
    struct cs_hasher *hasher;
    bool frame_ended;
    ZSTD_inBuffer in;
    size_t at, len; // of out
    uint8_t raw[64 * 1024];
    uint8_t out[128 * 1024];
};

static void source_free(struct source *s) {
    if (!s)
        return;
    if (s->file)
        fclose(s->file);
    ZSTD_freeDCtx(s->zstd);
    cs_hasher_free(s->hasher);
    free(s);
}
CS_DEFINE_AUTO(struct source, source_free)

static bool source_open(const char *path, struct cs_crypto *crypto, struct source **ret, struct cs_err *err) {
    CS_AUTO(source_free) struct source *s = calloc(1, sizeof *s);
    if (!s || !(s->zstd = ZSTD_createDCtx()))
        return cs_err_oom(err);
    if (!cs_hasher_new(crypto, &s->hasher, err))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || !(s->file = fdopen(fd, "rb"))) {
        cs_err_set(err, errno == ENOENT ? CS_ERR_REJECT : CS_ERR_CONFIG, CS_CODE_NONE,
                   "it cannot be read: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return false;
    }
    s->in.src = s->raw;
    *ret = CS_TAKE(s);
    return true;
}

// More of what was packed. Nothing comes after the end of the file, nor after that of the frame.
static bool unpack(struct source *s, struct cs_err *err) {
    s->at = s->len = 0;
    while (s->len == 0 && !s->frame_ended) {
        ZSTD_outBuffer out = {s->out, sizeof s->out, 0};
        if (s->in.pos == s->in.size) {
            s->in.size = fread(s->raw, 1, sizeof s->raw, s->file);
            s->in.pos = 0;
            if (ferror(s->file))
                return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "it cannot be read: %s", strerror(errno));
            if (s->in.size == 0)
                return true;
        }
        size_t left = ZSTD_decompressStream(s->zstd, &out, &s->in);
        if (ZSTD_isError(left))
            return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "it is damaged: zstd says %s",
                              ZSTD_getErrorName(left));
        s->frame_ended = left == 0;
        s->len = out.pos;
    }
    cs_hasher_put(s->hasher, (struct cs_bytes){s->out, s->len});
    return true;
}

static bool source_take(void *arg, uint8_t *to, size_t len, size_t *ret_len, struct cs_err *err) {
    struct source *s = arg;
    size_t got = 0;
    while (got < len) {
        if (s->at == s->len && !unpack(s, err))
            return false;
        if (s->len == 0)
            break;
        size_t n = s->len - s->at < len - got ? s->len - s->at : len - got;
        memcpy(to + got, s->out + s->at, n);
        s->at += n;
        got += n;
    }
    *ret_len = got;
    return true;
}

static bool read_all(const struct cs_snapshot_dir *d, const char *path, const struct cs_snapshot *s,
                     const struct cs_snapshot_filter *filter, struct cs_state *state, struct cs_position *ret,
                     struct cs_err *err) {
    CS_AUTO(source_free) struct source *from = NULL;
    struct cs_snapshot is;
    struct cs_position at;
    uint8_t sha256[32];
    if (!source_open(path, d->crypto, &from, err) ||
        !cs_snapshot_read(state, s->at.origin, source_take, from, filter, &at, err))
        return false;
    cs_hasher_end(from->hasher, sha256);
    cs_snapshot_of(d->crypto, s->at.origin, &at, sha256, &is);
    if (from->in.pos < from->in.size || fgetc(from->file) != EOF || !from->frame_ended)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                          "it is damaged: bytes are missing or too many at its end");
    if (!cs_snapshot_equal(&is, s) || is.epoch != s->epoch)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "it is another catalog than its statement is of");
    *ret = at;
    return true;
}

bool cs_snapshot_load(const struct cs_snapshot_dir *d, int32_t partition, const struct cs_snapshot *s,
                      const struct cs_snapshot_filter *filter, struct cs_state *state,
                      struct cs_position *ret, struct cs_err *err) {
    char path[CS_SNAPSHOT_PATH];
    return cs_snapshot_path(d, partition, s, "snap", path, err) &&
           read_all(d, path, s, filter, state, ret, err);
}

// --- writing

struct sink {
    struct cs_hasher *hasher;
    ZSTD_CCtx *zstd; // NULL: only the hash is wanted
    struct cs_buf packed;
};

static bool pack(struct sink *s, struct cs_bytes piece, ZSTD_EndDirective how, struct cs_err *err) {
    ZSTD_inBuffer in = {piece.data, piece.len, 0};
    for (;;) {
        size_t room = ZSTD_CStreamOutSize();
        uint8_t *to = cs_buf_reserve(&s->packed, room);
        if (!to)
            return cs_buf_ok(&s->packed, err);
        ZSTD_outBuffer out = {to, room, 0};
        size_t left = ZSTD_compressStream2(s->zstd, &out, &in, how);
        if (ZSTD_isError(left))
            return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "zstd says %s", ZSTD_getErrorName(left));
        cs_buf_advance(&s->packed, out.pos);
        if (how == ZSTD_e_end ? left == 0 : in.pos == in.size)
            return true;
    }
}

static bool sink_put(void *arg, struct cs_bytes piece, struct cs_err *err) {
    struct sink *s = arg;
    cs_hasher_put(s->hasher, piece);
    return !s->zstd || pack(s, piece, ZSTD_e_continue, err);
}

static bool write_all(struct sink *s, struct cs_crypto *crypto, const char *log_id, int32_t partition,
                      const struct cs_state *state, const struct cs_position *at, struct cs_snapshot *ret,
                      struct cs_err *err) {
    char origin[CS_ORIGIN_MAX + 1];
    uint8_t sha256[32];
    cs_snapshot_origin(log_id, partition, at->epoch, origin);
    bool ok = cs_hasher_new(crypto, &s->hasher, err) &&
              cs_snapshot_write(state, origin, at, sink_put, s, err) &&
              (!s->zstd || pack(s, (struct cs_bytes){NULL, 0}, ZSTD_e_end, err));
    if (ok) {
        cs_hasher_end(s->hasher, sha256);
        cs_snapshot_of(crypto, origin, at, sha256, ret);
    }
    cs_hasher_free(s->hasher);
    return ok;
}

bool cs_snapshot_look(struct cs_crypto *crypto, const char *log_id, int32_t partition,
                      const struct cs_state *state, const struct cs_position *at, struct cs_snapshot *ret,
                      struct cs_err *err) {
    struct sink s = {0};
    return write_all(&s, crypto, log_id, partition, state, at, ret, err);
}

// The file first: what has no statement does not count.
static bool save(const struct cs_snapshot_dir *d, const struct cs_note_signer *signer, int32_t partition,
                 struct sink *s, const struct cs_snapshot *is, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    char path[CS_SNAPSHOT_PATH], at[CS_SNAPSHOT_PATH];
    cs_buf_init(&note, CS_NOTE_MAX);
    snprintf(at, sizeof at, "%s/%" PRId32, d->path, partition);
    if (!cs_snapshot_path(d, partition, is, "snap", path, err) ||
        !cs_snapshot_sign(d->crypto, signer, is, &note, err) || !cs_buf_ok(&note, err) ||
        !cs_dir_make(at, 0750, err) || !cs_file_write(path, cs_buf_bytes(&s->packed), 0640, err))
        return false;
    return cs_snapshot_path(d, partition, is, "note", path, err) &&
           cs_file_write(path, cs_buf_bytes(&note), 0640, err);
}

bool cs_snapshot_save(const struct cs_snapshot_dir *d, const struct cs_note_signer *signer, int32_t partition,
                      const struct cs_state *state, const struct cs_position *at, struct cs_snapshot *ret,
                      int64_t *ret_bytes, struct cs_err *err) {
    struct sink s = {.zstd = ZSTD_createCCtx()};
    cs_buf_init(&s.packed, FILE_MAX);
    bool ok =
        (s.zstd || cs_err_oom(err)) &&
        (!ZSTD_isError(ZSTD_CCtx_setParameter(s.zstd, ZSTD_c_compressionLevel, LEVEL)) || cs_err_oom(err)) &&
        (!ZSTD_isError(ZSTD_CCtx_setParameter(s.zstd, ZSTD_c_checksumFlag, 1)) || cs_err_oom(err)) &&
        write_all(&s, d->crypto, d->log_id, partition, state, at, ret, err) &&
        save(d, signer, partition, &s, ret, err);
    *ret_bytes = (int64_t)s.packed.len;
    ZSTD_freeCCtx(s.zstd);
    cs_buf_clear(&s.packed);
    return ok;
}
