// SPDX-License-Identifier: Apache-2.0
//
// A topic in a file, as `kcat -C -J` writes it. kcat escapes only what JSON requires and keeps all
// other bytes. So a line is not always UTF-8: a JSON library would refuse just those records that
// the rules refused. Here each record is read as Kafka had it, byte for byte.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/grow.h"
#include "log/reader.h"

#define PARTITIONS_MAX 10000

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
    uint8_t *room; // strings of the record that was given out, without escapes
    size_t room_cap, room_len;
    struct cs_header *headers;
    size_t headers_cap;
};

// --- JSON of one line

struct scan {
    const char *at, *end;
};

static bool take_char(struct scan *s, char c) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\r'))
        s->at++;
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

// The text between the quotes, with its escapes.
static bool take_string(struct scan *s, struct scan *ret) {
    if (!take_char(s, '"'))
        return false;
    ret->at = s->at;
    while (s->at < s->end && *s->at != '"')
        s->at += *s->at == '\\' ? 2 : 1;
    if (s->at >= s->end)
        return false;
    ret->end = s->at++;
    return true;
}

static bool take_int(struct scan *s, int64_t *ret) {
    bool minus = take_char(s, '-');
    const char *start = s->at;
    int64_t n = 0;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9' && n < INT64_MAX / 100; s->at++)
        n = n * 10 + (*s->at - '0');
    *ret = minus ? -n : n;
    return s->at > start;
}

static bool take_word(struct scan *s, const char *word) {
    size_t len = strlen(word);
    struct scan before = *s;
    if (take_char(s, word[0]) && (size_t)(s->end - s->at) >= len - 1 &&
        memcmp(s->at, word + 1, len - 1) == 0) {
        s->at += len - 1;
        return true;
    }
    *s = before;
    return false;
}

static bool is(struct scan name, const char *text) {
    size_t len = (size_t)(name.end - name.at);
    return strlen(text) == len && memcmp(name.at, text, len) == 0;
}

static bool hex4(struct scan *s, uint32_t *ret) {
    uint32_t n = 0;
    if (s->end - s->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = *s->at++;
        if (c >= '0' && c <= '9')
            n = n * 16 + (uint32_t)(c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            n = n * 16 + (uint32_t)((c | 32) - 'a' + 10);
        else
            return false;
    }
    *ret = n;
    return true;
}

static uint8_t *put_utf8(uint8_t *out, uint32_t c) {
    if (c < 0x80) {
        *out++ = (uint8_t)c;
    } else if (c < 0x800) {
        *out++ = (uint8_t)(0xC0 | c >> 6);
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        *out++ = (uint8_t)(0xE0 | c >> 12);
        *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | c >> 18);
        *out++ = (uint8_t)(0x80 | (c >> 12 & 0x3F));
        *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (c & 0x3F));
    }
    return out;
}

// Called after the backslash.
static bool unescape(struct scan *s, uint8_t **out) {
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    uint32_t c = 0;
    uint32_t low = 0;
    if (s->at == s->end)
        return false;
    char e = *s->at++;
    const char *simple = memchr(from, e, sizeof from - 1);
    if (simple) {
        *(*out)++ = (uint8_t)to[simple - from];
        return true;
    }
    if (e != 'u' || !hex4(s, &c))
        return false;
    if (c >= 0xD800 && c < 0xDC00 && s->end - s->at >= 6 && s->at[0] == '\\' && s->at[1] == 'u') {
        s->at += 2;
        if (!hex4(s, &low) || low < 0xDC00 || low > 0xDFFF)
            return false;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    *out = put_utf8(*out, c);
    return true;
}

// A string or null, copied into room. It fits: room has the length of the line. A NUL is added.
static bool take_bytes(struct dump_log *d, struct scan *s, struct cs_bytes *ret) {
    struct scan text;
    if (take_word(s, "null")) {
        *ret = (struct cs_bytes){0};
        return true;
    }
    if (!take_string(s, &text))
        return false;
    uint8_t *start = d->room + d->room_len;
    uint8_t *out = start;
    while (text.at < text.end) {
        const char *escape = memchr(text.at, '\\', (size_t)(text.end - text.at));
        size_t plain = (size_t)((escape ? escape : text.end) - text.at);
        memcpy(out, text.at, plain);
        out += plain;
        text.at += plain;
        if (escape && (text.at++, !unescape(&text, &out)))
            return false;
    }
    *ret = (struct cs_bytes){start, (size_t)(out - start)};
    *out++ = 0;
    d->room_len = (size_t)(out - d->room);
    return true;
}

static bool take_headers(struct dump_log *d, struct scan *s, struct cs_record *r) {
    if (!take_char(s, '['))
        return false; // kcat's form as a map loses the order
    while (!take_char(s, ']')) {
        struct cs_bytes name;
        if (!CS_GROW(&d->headers, &d->headers_cap, r->headers_len + 1))
            return false;
        struct cs_header *h = &d->headers[r->headers_len];
        if ((r->headers_len > 0 && !take_char(s, ',')) || !take_bytes(d, s, &name) || !name.data ||
            !take_char(s, ',') || !take_bytes(d, s, &h->value))
            return false;
        h->name = (const char *)name.data;
        r->headers_len++;
    }
    r->headers = d->headers;
    return true;
}

#define HAS_PARTITION 1u
#define HAS_OFFSET    2u
#define HAS_TIME      4u
#define HAS_KEY       8u
#define HAS_PAYLOAD   16u
#define HAS_ALL       31u

static bool take_member(struct dump_log *d, struct scan *s, struct scan name, struct cs_record *r,
                        unsigned *seen) {
    int64_t n = 0;
    struct scan text;
    if (is(name, "partition")) {
        *seen |= HAS_PARTITION;
        if (!take_int(s, &n) || n < 0 || n >= PARTITIONS_MAX)
            return false;
        r->partition = (int32_t)n;
        return true;
    }
    if (is(name, "offset")) {
        *seen |= HAS_OFFSET;
        return take_int(s, &r->offset) && r->offset >= 0;
    }
    if (is(name, "ts")) {
        *seen |= HAS_TIME;
        return take_int(s, &r->timestamp_ms);
    }
    if (is(name, "key")) {
        *seen |= HAS_KEY;
        return take_bytes(d, s, &r->key);
    }
    if (is(name, "payload")) {
        *seen |= HAS_PAYLOAD;
        return take_bytes(d, s, &r->value);
    }
    if (is(name, "headers"))
        return take_headers(d, s, r);
    return take_string(s, &text) || take_int(s, &n); // topic, tstype, broker
}

// One line. `until`: the members after which it may stop.
static bool take_line(struct dump_log *d, struct scan s, unsigned until, struct cs_record *r) {
    unsigned seen = 0;
    *r = (struct cs_record){0};
    d->room_len = 0;
    if (!take_char(&s, '{'))
        return false;
    do {
        struct scan name;
        if (!take_string(&s, &name) || !take_char(&s, ':') || !take_member(d, &s, name, r, &seen))
            return false;
        if (until != HAS_ALL && (seen & until) == until)
            return true;
    } while (take_char(&s, ','));
    return take_char(&s, '}') && (seen & until) == until;
}

// --- the index of lines

static bool no_dump(const struct dump_log *d, size_t number, const char *what, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "%s line %zu %s; such a file is written by: kcat -C -J -e -X "
                      "isolation.level=read_uncommitted -b BROKERS -t TOPIC > FILE",
                      d->path, number, what);
}

static bool add_line(struct dump_log *d, struct scan text, size_t number, struct cs_err *err) {
    struct cs_record r;
    size_t len = (size_t)(text.end - text.at);
    // Each string ends with a NUL in room; the line has two quotes for it.
    if (!CS_GROW(&d->room, &d->room_cap, len))
        return cs_err_oom(err);
    if (!take_line(d, text, HAS_PARTITION | HAS_OFFSET, &r))
        return no_dump(d, number, "is not a record in kcat's JSON form", err);
    struct lines *p = &d->partitions[r.partition];
    if (p->len > 0 && p->line[p->len - 1].offset >= r.offset)
        return no_dump(d, number, "has an offset that is not above the one before it", err);
    if (!CS_GROW(&p->line, &p->cap, p->len + 1))
        return cs_err_oom(err);
    p->line[p->len++] = (struct line){(size_t)(text.at - d->data), len, r.offset};
    if (r.partition >= d->base.partitions)
        d->base.partitions = r.partition + 1;
    return true;
}

static bool make_index(struct dump_log *d, struct cs_err *err) {
    const char *at = d->data;
    const char *end = d->data + d->size;
    for (size_t number = 1; at < end; number++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        struct scan text = {at, line_end ? line_end : end};
        if (text.at < text.end && !add_line(d, text, number, err))
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
    struct scan text = {d->data + line->at, d->data + line->at + line->len};
    if (take_line(d, text, HAS_ALL, ret))
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
    free(d->room);
    free(d->headers);
    free(d->path);
    free(d);
}

static const struct cs_log_ops dump_ops = {dump_bounds, dump_start, dump_next, dump_free};

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
