// SPDX-License-Identifier: Apache-2.0
//
// A topic in a file, one record a line (line.h), as `kcat -C -J` and an export's segments have it.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "log/line.h"
#include "log/reader.h"

#define PARTITIONS_MAX CS_LINE_PARTITIONS

struct line {
    size_t at, len;
    int64_t offset;
};
struct lines {
    struct line *line;
    size_t len, cap;
};

struct dump_log {
    struct cs_log base;
    char *path;
    char *data; // mapped
    size_t size;
    struct lines *partitions;
    // The state of reading.
    const struct lines *reading;
    size_t at, to;
    struct cs_line_room room;
};

// --- the index of lines

static bool no_dump(const struct dump_log *d, size_t number, const char *what, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "%s line %zu %s; such a file is written by: kcat -C -J -e -X "
                      "isolation.level=read_uncommitted -b BROKERS -t TOPIC > FILE",
                      d->path, number, what);
}

static bool add_line(struct dump_log *d, struct cs_bytes text, size_t number, struct cs_err *err) {
    struct cs_record r;
    if (!cs_line_read(&d->room, text, true, &r))
        return no_dump(d, number, "is not a record in kcat's JSON form", err);
    struct lines *p = &d->partitions[r.partition];
    if (p->len > 0 && p->line[p->len - 1].offset >= r.offset)
        return no_dump(d, number, "has an offset that is not above the one before it", err);
    if (!CS_GROW(&p->line, &p->cap, p->len + 1))
        return cs_err_oom(err);
    p->line[p->len++] = (struct line){(size_t)((const char *)text.data - d->data), text.len, r.offset};
    if (r.partition >= d->base.partitions)
        d->base.partitions = r.partition + 1;
    return true;
}

static bool make_index(struct dump_log *d, struct cs_err *err) {
    const char *at = d->data;
    const char *end = d->data + d->size;
    for (size_t number = 1; at < end; number++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        struct cs_bytes text = {(const uint8_t *)at, (size_t)((line_end ? line_end : end) - at)};
        if (text.len > 0 && !add_line(d, text, number, err))
            return false;
        at = line_end ? line_end + 1 : end;
    }
    return true;
}

// --- reading

static bool dump_bounds(struct cs_log *l, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                        struct cs_err *err) {
    const struct lines *p = &((struct dump_log *)l)->partitions[partition];
    (void)err;
    *ret_low = p->len ? p->line[0].offset : 0;
    *ret_high = p->len ? p->line[p->len - 1].offset + 1 : 0;
    return true;
}

// How many lines come before an offset.
static size_t lines_before(const struct lines *p, int64_t offset) {
    size_t low = 0;
    size_t high = p->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (p->line[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool dump_start(struct cs_log *l, int32_t partition, int64_t from, int64_t end, struct cs_err *err) {
    struct dump_log *d = (struct dump_log *)l;
    (void)err;
    d->reading = &d->partitions[partition];
    d->at = lines_before(d->reading, from);
    d->to = lines_before(d->reading, end);
    return true;
}

static bool dump_next(struct cs_log *l, struct cs_record *ret, bool *ret_end, struct cs_err *err) {
    struct dump_log *d = (struct dump_log *)l;
    *ret_end = !d->reading || d->at >= d->to;
    if (*ret_end)
        return true;
    const struct line *line = &d->reading->line[d->at++];
    struct cs_bytes text = {(const uint8_t *)d->data + line->at, line->len};
    if (cs_line_read(&d->room, text, false, ret))
        return true;
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "%s: the record at offset %lld of partition %d is not in kcat's JSON form (partition, offset, "
        "ts, headers, key, payload)",
        d->path, (long long)line->offset, (int)(d->reading - d->partitions));
}

static void dump_free(struct cs_log *l) {
    struct dump_log *d = (struct dump_log *)l;
    for (size_t i = 0; d->partitions && i < PARTITIONS_MAX; i++)
        free(d->partitions[i].line);
    free(d->partitions);
    if (d->data)
        munmap(d->data, d->size);
    cs_line_room_clear(&d->room);
    free(d->path);
    free(d);
}

// By halves: brokers' times rise. A line that cannot be read has none, and is told where it is read.
static int64_t offset_at(struct dump_log *d, const struct lines *p, int64_t time_ms) {
    size_t low = 0;
    size_t high = p->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct cs_bytes text = {(const uint8_t *)d->data + p->line[middle].at, p->line[middle].len};
        struct cs_record r;
        if (cs_line_read(&d->room, text, false, &r) && r.timestamp_ms < time_ms)
            low = middle + 1;
        else
            high = middle;
    }
    return low < p->len ? p->line[low].offset : p->len ? p->line[p->len - 1].offset + 1 : 0;
}

static bool dump_at_time(struct cs_log *l, int64_t time_ms, int64_t *ret, struct cs_err *err) {
    struct dump_log *d = (struct dump_log *)l;
    (void)err;
    for (int32_t p = 0; p < l->partitions; p++)
        ret[p] = offset_at(d, &d->partitions[p], time_ms);
    return true;
}

static const struct cs_log_ops dump_ops = {dump_bounds, dump_start, dump_next, dump_free, dump_at_time};

static bool map_file(struct dump_log *d, struct cs_err *err) {
    struct stat st;
    int fd = open(d->path, O_RDONLY | O_CLOEXEC);
    bool ok = fd >= 0 && fstat(fd, &st) == 0;
    if (ok && st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        ok = data != MAP_FAILED;
        if (ok) {
            d->data = data;
            d->size = (size_t)st.st_size;
        }
    }
    if (fd >= 0)
        close(fd);
    return ok || cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: cannot be read as a file", d->path);
}

bool cs_log_open_dump(const char *path, struct cs_log **ret, struct cs_err *err) {
    struct dump_log *d = calloc(1, sizeof *d);
    struct lines *partitions = calloc(PARTITIONS_MAX, sizeof *partitions);
    char *name = strdup(path);
    if (!d || !partitions || !name) {
        free(d);
        free(partitions);
        free(name);
        return cs_err_oom(err);
    }
    CS_AUTO(cs_log_free) struct cs_log *base = &d->base;
    base->ops = &dump_ops;
    d->path = name;
    d->partitions = partitions;
    base->name = d->path;
    if (!map_file(d, err) || !make_index(d, err))
        return false; // NOLINT(clang-analyzer-unix.Malloc): base frees it
    *ret = CS_TAKE(base);
    return true;
}
