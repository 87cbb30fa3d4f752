// SPDX-License-Identifier: Apache-2.0
#include "log/export_files.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certsync/base/grow.h"
#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/key.h"
#include "certsync/runtime/fileio.h"
#include "log/line.h"

#define FORMAT       "certsync-export-1"
#define MANIFEST     "manifest.json"
#define SEAL         ",\"sha256\":\"" // of the manifest up to here; then its hex, "} and a line end
#define SEAL_LEN     (sizeof SEAL - 1 + 64 + 3)
#define MANIFEST_MAX ((size_t)256 * 1024 * 1024)
#define FILE_MAX     ((size_t)1024 * 1024 * 1024)
#define PATH_SIZE    4096

const char *cs_export_part_name(enum cs_export_part part) {
    static const char *const names[CS_EXPORT_PARTS] = {"events", "outcomes", "corrections"};
    return names[part];
}

int32_t cs_export_partitions(enum cs_export_part part, int32_t partitions) {
    return part == CS_EXPORT_CORRECTIONS ? 1 : partitions;
}

static bool part_of(const char *name, enum cs_export_part *ret) {
    for (int part = 0; name && part < CS_EXPORT_PARTS; part++)
        if (strcmp(name, cs_export_part_name((enum cs_export_part)part)) == 0) {
            *ret = (enum cs_export_part)part;
            return true;
        }
    return false;
}

void cs_export_clear(struct cs_export *x) {
    free(x->dir);
    free(x->files);
    *x = (struct cs_export){0};
}

CS_PRINTF(3, 4) static bool no_export(const char *dir, struct cs_err *err, const char *fmt, ...) {
    char what[CS_ERR_MSG_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s is not a whole export: %s", dir, what);
}

static bool file_path(const struct cs_export *x, const struct cs_export_file *f, char path[PATH_SIZE],
                      struct cs_err *err) {
    int n = snprintf(path, PATH_SIZE, "%s/%s/%" PRId32 "/%020" PRId64 ".jsonl", x->dir,
                     cs_export_part_name(f->part), f->partition, f->first);
    return (n > 0 && n < PATH_SIZE) || cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "the path is too long");
}

int64_t cs_export_end(const struct cs_export *x, enum cs_export_part part, int32_t partition,
                      const struct cs_export_file **ret_last) {
    if (ret_last)
        *ret_last = NULL;
    for (size_t i = x->len; i-- > 0;)
        if (x->files[i].part == part && x->files[i].partition == partition) {
            if (ret_last)
                *ret_last = &x->files[i];
            return x->files[i].next;
        }
    return 0;
}

// --- the manifest

static bool take_file(struct cs_export *x, const json_t *row, struct cs_err *err) {
    const char *part = json_string_value(json_object_get(row, "part"));
    const char *sha256 = json_string_value(json_object_get(row, "sha256"));
    json_int_t partition = json_integer_value(json_object_get(row, "partition"));
    struct cs_export_file f = {.first = json_integer_value(json_object_get(row, "first")),
                               .next = json_integer_value(json_object_get(row, "next")),
                               .records = json_integer_value(json_object_get(row, "records")),
                               .bytes = json_integer_value(json_object_get(row, "bytes"))};
    if (!part_of(part, &f.part) || partition < 0 ||
        partition >= cs_export_partitions(f.part, x->partitions) || !sha256 || strlen(sha256) != 64 ||
        !cs_hex_decode(sha256, 64, f.sha256))
        return no_export(x->dir, err, "a row of its manifest cannot be read");
    f.partition = (int32_t)partition;
    if (f.first != cs_export_end(x, f.part, f.partition, NULL) || f.records < 1 ||
        f.next - f.first < f.records)
        return no_export(x->dir, err, "its manifest names files that do not follow each other");
    if (!CS_GROW(&x->files, &x->cap, x->len + 1))
        return cs_err_oom(err);
    x->files[x->len++] = f;
    return true;
}

static bool take_manifest(struct cs_export *x, const json_t *root, struct cs_err *err) {
    const char *format = json_string_value(json_object_get(root, "format"));
    const char *log = json_string_value(json_object_get(root, "log"));
    json_int_t partitions = json_integer_value(json_object_get(root, "partitions"));
    const json_t *files = json_object_get(root, "files");
    if (!format || strcmp(format, FORMAT) != 0)
        return no_export(x->dir, err, "its manifest has not the format " FORMAT);
    if (!log || !cs_log_id_valid(log, strlen(log)) || partitions < 1 || partitions > CS_LINE_PARTITIONS ||
        !json_is_array(files))
        return no_export(x->dir, err, "its manifest cannot be read");
    snprintf(x->log_id, sizeof x->log_id, "%s", log);
    x->partitions = (int32_t)partitions;
    for (size_t i = 0; i < json_array_size(files); i++)
        if (!take_file(x, json_array_get(files, i), err))
            return false;
    return true;
}

static bool check_seal(const struct cs_export *x, struct cs_crypto *crypto, struct cs_bytes text,
                       struct cs_err *err) {
    uint8_t sha256[32];
    char hex[65];
    if (text.len < SEAL_LEN)
        return no_export(x->dir, err, MANIFEST " was cut");
    const uint8_t *seal = text.data + text.len - SEAL_LEN;
    if (memcmp(seal, SEAL, sizeof SEAL - 1) != 0 || memcmp(seal + sizeof SEAL - 1 + 64, "\"}\n", 3) != 0)
        return no_export(x->dir, err, MANIFEST " was cut or altered: it does not end with its SHA-256");
    cs_crypto_sha256(crypto, (struct cs_bytes){text.data, text.len - SEAL_LEN}, sha256);
    cs_hex_encode(sha256, 32, hex);
    return memcmp(seal + sizeof SEAL - 1, hex, 64) == 0 ||
           no_export(x->dir, err, MANIFEST " was altered: its SHA-256 is another one than it says");
}

static bool is_empty(const char *dir) {
    DIR *d = opendir(dir);
    bool empty = true;
    if (!d)
        return errno == ENOENT;
    for (const struct dirent *e = readdir(d); e && empty; e = readdir(d))
        empty = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                strcmp(e->d_name, CS_EXPORT_LOCK) == 0;
    closedir(d);
    return empty;
}

bool cs_export_open(const char *dir, struct cs_crypto *crypto, struct cs_export *ret, bool *ret_there,
                    struct cs_err *err) {
    CS_AUTO(cs_export_clear) struct cs_export x = {.dir = strdup(dir)};
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    char path[PATH_SIZE];
    struct stat st;
    cs_buf_init(&text, MANIFEST_MAX);
    if (!x.dir)
        return cs_err_oom(err);
    snprintf(path, sizeof path, "%s/" MANIFEST, dir);
    *ret_there = stat(path, &st) == 0 || errno != ENOENT;
    if (*ret_there) {
        json_error_t ignored;
        if (!cs_file_read(path, 0, &text, err) || !check_seal(&x, crypto, cs_buf_bytes(&text), err))
            return false;
        json_t *root = json_loadb((const char *)text.data, text.len, 0, &ignored);
        bool ok = root ? take_manifest(&x, root, err) : no_export(dir, err, MANIFEST " is not JSON");
        json_decref(root);
        if (!ok)
            return false;
    } else if (!is_empty(dir)) {
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "%s is not an export: it holds files, but no " MANIFEST "; name another directory",
                          dir);
    }
    *ret = x;
    x = (struct cs_export){0};
    return true;
}

static void put_file(struct cs_buf *b, const struct cs_export_file *f) {
    cs_buf_puts(b, b->data[b->len - 1] == '[' ? "\n" : ",\n");
    cs_json_begin(b, '{');
    cs_json_str(b, "part", cs_export_part_name(f->part));
    cs_json_int(b, "partition", f->partition);
    cs_json_int(b, "first", f->first);
    cs_json_int(b, "next", f->next);
    cs_json_int(b, "records", f->records);
    cs_json_int(b, "bytes", f->bytes);
    cs_json_name(b, "sha256");
    cs_json_put_hex(b, (struct cs_bytes){f->sha256, 32});
    cs_json_end(b, '}');
}

bool cs_export_commit(struct cs_export *x, struct cs_crypto *crypto, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    uint8_t sha256[32];
    char hex[65], path[PATH_SIZE];
    cs_buf_init(&b, MANIFEST_MAX);
    cs_json_begin(&b, '{');
    cs_json_str(&b, "format", FORMAT);
    cs_json_str(&b, "log", x->log_id);
    cs_json_int(&b, "partitions", x->partitions);
    cs_json_name(&b, "files");
    cs_json_begin(&b, '[');
    for (size_t i = 0; i < x->len && !b.failed; i++)
        put_file(&b, &x->files[i]);
    cs_json_end(&b, ']');
    if (!cs_buf_ok(&b, err))
        return false;
    cs_crypto_sha256(crypto, cs_buf_bytes(&b), sha256);
    cs_hex_encode(sha256, 32, hex);
    cs_buf_printf(&b, SEAL "%s\"}\n", hex);
    snprintf(path, sizeof path, "%s/" MANIFEST, x->dir);
    return cs_buf_ok(&b, err) && cs_file_write(path, cs_buf_bytes(&b), 0644, err);
}

bool cs_export_add(struct cs_export *x, struct cs_crypto *crypto, const struct cs_export_file *file,
                   struct cs_bytes lines, struct cs_err *err) {
    char path[PATH_SIZE];
    struct cs_export_file f = *file;
    f.bytes = (int64_t)lines.len;
    cs_crypto_sha256(crypto, lines, f.sha256);
    if (!file_path(x, &f, path, err))
        return false;
    char *name = strrchr(path, '/');
    *name = '\0';
    if (!cs_dir_make(path, 0755, err))
        return false;
    *name = '/';
    if (!cs_file_write(path, lines, 0644, err))
        return false;
    if (!CS_GROW(&x->files, &x->cap, x->len + 1))
        return cs_err_oom(err);
    x->files[x->len++] = f;
    return true;
}

// --- reading

static bool read_file(const struct cs_export *x, struct cs_crypto *crypto, const struct cs_export_file *f,
                      struct cs_buf *text, struct cs_err *err) {
    char path[PATH_SIZE];
    uint8_t sha256[32];
    struct stat st;
    cs_buf_reset(text);
    if (!file_path(x, f, path, err))
        return false;
    const char *name = path + strlen(x->dir) + 1;
    if (stat(path, &st) != 0 && errno == ENOENT)
        return no_export(x->dir, err, "the file %s is missing", name);
    if (!cs_file_read(path, 0, text, err))
        return false;
    if ((int64_t)text->len != f->bytes)
        return no_export(x->dir, err,
                         "the file %s has %zu bytes, its manifest says %" PRId64 ": it was cut or altered",
                         name, text->len, f->bytes);
    cs_crypto_sha256(crypto, cs_buf_bytes(text), sha256);
    return memcmp(sha256, f->sha256, 32) == 0 ||
           no_export(x->dir, err,
                     "the file %s was altered: its SHA-256 is another one than "
                     "the manifest says",
                     name);
}

bool cs_export_last_line(const struct cs_export *x, struct cs_crypto *crypto,
                         const struct cs_export_file *file, struct cs_buf *text, struct cs_err *err) {
    if (!read_file(x, crypto, file, text, err))
        return false;
    size_t at = text->len > 0 ? text->len - 1 : 0; // before the last line end
    while (at > 0 && text->data[at - 1] != '\n')
        at--;
    memmove(text->data, text->data + at, text->len - at);
    text->len -= at;
    text->data[text->len] = 0;
    return true;
}

struct export_log {
    struct cs_log base;
    const struct cs_export *x;
    struct cs_crypto *crypto;
    enum cs_export_part part;
    // The state of reading.
    int32_t partition;
    size_t file; // the next one to read
    const struct cs_export_file *reading;
    int64_t next, end; // offsets
    struct cs_buf text;
    size_t at;
    struct cs_line_room room;
};

static bool export_bounds(struct cs_log *l, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                          struct cs_err *err) {
    const struct export_log *e = (const struct export_log *)l;
    (void)err;
    *ret_low = 0;
    *ret_high = cs_export_end(e->x, e->part, partition, NULL);
    return true;
}

static bool export_start(struct cs_log *l, int32_t partition, int64_t from, int64_t end, struct cs_err *err) {
    struct export_log *e = (struct export_log *)l;
    (void)err;
    e->partition = partition;
    e->next = from;
    e->end = end;
    e->file = 0;
    cs_buf_reset(&e->text);
    e->at = 0;
    return true;
}

// The next file that holds something of what is read.
static bool next_file(struct export_log *e, bool *ret_end, struct cs_err *err) {
    const struct cs_export *x = e->x;
    while (e->file < x->len) {
        const struct cs_export_file *f = &x->files[e->file++];
        if (f->part != e->part || f->partition != e->partition || f->next <= e->next || f->first >= e->end)
            continue;
        e->reading = f;
        e->at = 0;
        return read_file(x, e->crypto, f, &e->text, err);
    }
    *ret_end = true;
    return true;
}

static bool export_next(struct cs_log *l, struct cs_record *ret, bool *ret_end, struct cs_err *err) {
    struct export_log *e = (struct export_log *)l;
    *ret_end = false;
    for (;;) {
        while (e->at == e->text.len) {
            if (!next_file(e, ret_end, err) || *ret_end)
                return *ret_end;
        }
        const char *line = (const char *)e->text.data + e->at;
        const char *line_end = memchr(line, '\n', e->text.len - e->at);
        size_t len = line_end ? (size_t)(line_end - line) : e->text.len - e->at;
        e->at += len + (line_end ? 1 : 0);
        if (!cs_line_read(&e->room, (struct cs_bytes){(const uint8_t *)line, len}, false, ret) ||
            ret->partition != e->partition || ret->offset < e->reading->first ||
            ret->offset >= e->reading->next)
            return no_export(e->x->dir, err,
                             "a line of %s partition %d behind offset %" PRId64 " is not a record of it",
                             cs_export_part_name(e->part), (int)e->partition, e->next - 1);
        if (ret->offset < e->next)
            continue;
        *ret_end = ret->offset >= e->end;
        e->next = ret->offset + 1;
        return true;
    }
}

static void export_free(struct cs_log *l) {
    struct export_log *e = (struct export_log *)l;
    cs_buf_clear(&e->text);
    cs_line_room_clear(&e->room);
    free(e);
}

bool cs_export_log(const struct cs_export *x, struct cs_crypto *crypto, enum cs_export_part part,
                   struct cs_log **ret, struct cs_err *err) {
    static const struct cs_log_ops ops = {
        .bounds = export_bounds, .start = export_start, .next = export_next, .free = export_free};
    struct export_log *e = calloc(1, sizeof *e);
    if (!e)
        return cs_err_oom(err);
    e->base = (struct cs_log){&ops, cs_export_part_name(part), cs_export_partitions(part, x->partitions)};
    e->x = x;
    e->crypto = crypto;
    e->part = part;
    cs_buf_init(&e->text, FILE_MAX);
    *ret = &e->base;
    return true;
}
