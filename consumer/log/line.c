// SPDX-License-Identifier: Apache-2.0
#include "log/line.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/base/json_write.h"
#include "certsync/base/text.h"

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

// {"base64":"…"}, after the brace.
static bool take_base64(struct cs_line_room *d, struct scan *s, struct cs_bytes *ret) {
    struct scan name;
    struct scan text;
    uint8_t *start = d->room + d->room_len;
    size_t len = 0;
    if (!take_string(s, &name) || !is(name, "base64") || !take_char(s, ':') || !take_string(s, &text) ||
        !take_char(s, '}') || !cs_base64_decode(text.at, (size_t)(text.end - text.at), start, &len))
        return false;
    start[len] = 0;
    *ret = (struct cs_bytes){start, len};
    d->room_len += len + 1;
    return true;
}

// A string, null or base64, copied into room. It fits: room has the length of the line. A NUL is added.
static bool take_bytes(struct cs_line_room *d, struct scan *s, struct cs_bytes *ret) {
    struct scan text;
    if (take_word(s, "null")) {
        *ret = (struct cs_bytes){0};
        return true;
    }
    if (take_char(s, '{'))
        return take_base64(d, s, ret);
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

static bool take_headers(struct cs_line_room *d, struct scan *s, struct cs_record *r) {
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

static bool take_member(struct cs_line_room *d, struct scan *s, struct scan name, struct cs_record *r,
                        unsigned *seen) {
    int64_t n = 0;
    struct scan text;
    if (is(name, "partition")) {
        *seen |= HAS_PARTITION;
        if (!take_int(s, &n) || n < 0 || n >= CS_LINE_PARTITIONS)
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

bool cs_line_read(struct cs_line_room *d, struct cs_bytes line, bool place, struct cs_record *ret) {
    struct scan s = {(const char *)line.data, (const char *)line.data + line.len};
    unsigned until = place ? HAS_PARTITION | HAS_OFFSET : HAS_ALL;
    unsigned seen = 0;
    *ret = (struct cs_record){0};
    // Each string ends with a NUL in room; the line has two quotes for it.
    if (!CS_GROW(&d->room, &d->room_cap, line.len))
        return false;
    d->room_len = 0;
    if (!take_char(&s, '{'))
        return false;
    do {
        struct scan name;
        if (!take_string(&s, &name) || !take_char(&s, ':') || !take_member(d, &s, name, ret, &seen))
            return false;
        if (place && (seen & until) == until)
            return true;
    } while (take_char(&s, ','));
    return take_char(&s, '}') && (seen & until) == until;
}

void cs_line_room_clear(struct cs_line_room *d) {
    free(d->room);
    free(d->headers);
    *d = (struct cs_line_room){0};
}

// --- writing

static void put_bytes(struct cs_buf *b, struct cs_bytes bytes) {
    if (!bytes.data) {
        cs_json_put_raw(b, (struct cs_bytes){(const uint8_t *)"null", 4});
    } else if (cs_utf8_valid(bytes.data, bytes.len)) {
        cs_json_put_strn(b, (const char *)bytes.data, bytes.len);
    } else {
        cs_json_begin(b, '{');
        cs_json_name(b, "base64");
        cs_json_put_base64(b, bytes);
        cs_json_end(b, '}');
    }
}

void cs_line_put(struct cs_buf *b, const char *topic, const struct cs_record *r) {
    cs_json_begin(b, '{');
    cs_json_str(b, "topic", topic);
    cs_json_int(b, "partition", r->partition);
    cs_json_int(b, "offset", r->offset);
    cs_json_int(b, "ts", r->timestamp_ms);
    cs_json_name(b, "headers");
    cs_json_begin(b, '[');
    for (size_t i = 0; i < r->headers_len; i++) {
        const char *name = r->headers[i].name;
        put_bytes(b, (struct cs_bytes){(const uint8_t *)name, strlen(name)});
        put_bytes(b, r->headers[i].value);
    }
    cs_json_end(b, ']');
    cs_json_name(b, "key");
    put_bytes(b, r->key);
    cs_json_name(b, "payload");
    put_bytes(b, r->value);
    cs_json_end(b, '}');
    cs_buf_putc(b, '\n');
}
