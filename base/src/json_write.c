// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/json_write.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "certsync/base/text.h"

// A value or name needs a comma if it follows a finished value. A finished value ends in one of
// these bytes. Nothing else ends in one: '{', '[', ':', a newline between documents.
static void comma(struct cs_buf *b) {
    if (b->failed || b->len == 0)
        return;
    switch (b->data[b->len - 1]) {
    case '"':
    case '}':
    case ']':
    case 'e': // true, false
    case 'l': // null
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        cs_buf_putc(b, ',');
    }
}

static void put_escape(struct cs_buf *b, uint8_t c) {
    char u[6] = {'\\', 'u', '0', '0', cs_hex_lower[c >> 4], cs_hex_lower[c & 15]};
    switch (c) {
    case '"':
        cs_buf_put(b, "\\\"", 2);
        return;
    case '\\':
        cs_buf_put(b, "\\\\", 2);
        return;
    case '\b':
        cs_buf_put(b, "\\b", 2);
        return;
    case '\f':
        cs_buf_put(b, "\\f", 2);
        return;
    case '\n':
        cs_buf_put(b, "\\n", 2);
        return;
    case '\r':
        cs_buf_put(b, "\\r", 2);
        return;
    case '\t':
        cs_buf_put(b, "\\t", 2);
        return;
    default:
        cs_buf_put(b, u, sizeof u);
    }
}

#ifdef __SSE2__
// Steps over blocks of 16 bytes, up to the byte that ends a plain run, if one of them holds it.
static const char *skip_blocks(const char *s, const char *end) {
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');
    const __m128i last_control = _mm_set1_epi8(0x1F);
    for (; end - s >= 16; s += 16) {
        __m128i v;
        memcpy(&v, s, sizeof v);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, last_control), v);
        __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, backslash));
        int stops = _mm_movemask_epi8(_mm_or_si128(control, marks));
        if (stops)
            return s + __builtin_ctz((unsigned)stops);
    }
    return s;
}
#else
// Steps over blocks of 8 bytes none of which ends a plain run
// (https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord).
static const char *skip_blocks(const char *s, const char *end) {
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    for (; end - s >= 8; s += 8) {
        uint64_t v;
        memcpy(&v, s, sizeof v);
        uint64_t quote = v ^ ones * '"', backslash = v ^ ones * '\\';
        if ((((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((v - ones * 0x20) & ~v)) & tops)
            break;
    }
    return s;
}
#endif

const char *cs_json_skip_plain(const char *s, const char *end) {
    s = skip_blocks(s, end);
    while (s < end && *s != '"' && *s != '\\' && (unsigned char)*s >= 0x20)
        s++;
    return s;
}

static void put_string(struct cs_buf *b, const char *s, size_t len) {
    const char *end = s + len;
    cs_buf_putc(b, '"');
    for (;;) {
        const char *stop = cs_json_skip_plain(s, end);
        cs_buf_put(b, s, (size_t)(stop - s));
        if (stop == end)
            break;
        put_escape(b, (uint8_t)*stop);
        s = stop + 1;
    }
    cs_buf_putc(b, '"');
}

void cs_json_begin(struct cs_buf *b, char open) {
    comma(b);
    cs_buf_putc(b, open);
}

void cs_json_end(struct cs_buf *b, char close) {
    cs_buf_putc(b, close);
}

void cs_json_name(struct cs_buf *b, const char *name) {
    comma(b);
    put_string(b, name, strlen(name));
    cs_buf_putc(b, ':');
}

void cs_json_put_str(struct cs_buf *b, const char *s) {
    cs_json_put_strn(b, s, strlen(s));
}

void cs_json_put_strn(struct cs_buf *b, const char *s, size_t len) {
    comma(b);
    put_string(b, s, len);
}

void cs_json_put_int(struct cs_buf *b, int64_t v) {
    char text[24];
    char *end = text + sizeof text;
    char *start = cs_decimal_before(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    if (v < 0)
        *--start = '-';
    comma(b);
    cs_buf_put(b, start, (size_t)(end - start));
}

void cs_json_put_bool(struct cs_buf *b, bool v) {
    comma(b);
    cs_buf_puts(b, v ? "true" : "false");
}

void cs_json_put_base64(struct cs_buf *b, struct cs_bytes bytes) {
    comma(b);
    size_t len = cs_base64_encoded_len(bytes.len);
    char *out = (char *)cs_buf_reserve(b, len + 2);
    if (!out)
        return;
    out[0] = '"';
    cs_base64_encode(bytes.data, bytes.len, out + 1);
    out[len + 1] = '"';
    cs_buf_advance(b, len + 2);
}

void cs_json_put_hex(struct cs_buf *b, struct cs_bytes bytes) {
    comma(b);
    size_t len = bytes.len * 2;
    char *out = (char *)cs_buf_reserve(b, len + 2);
    if (!out)
        return;
    out[0] = '"';
    cs_hex_encode(bytes.data, bytes.len, out + 1); // its NUL falls on the closing quote's place
    out[len + 1] = '"';
    cs_buf_advance(b, len + 2);
}

void cs_json_put_raw(struct cs_buf *b, struct cs_bytes json) {
    comma(b);
    cs_buf_put(b, json.data, json.len);
}

void cs_json_str(struct cs_buf *b, const char *name, const char *s) {
    cs_json_name(b, name);
    cs_json_put_str(b, s);
}

void cs_json_int(struct cs_buf *b, const char *name, int64_t v) {
    cs_json_name(b, name);
    cs_json_put_int(b, v);
}

void cs_json_bool(struct cs_buf *b, const char *name, bool v) {
    cs_json_name(b, name);
    cs_json_put_bool(b, v);
}
