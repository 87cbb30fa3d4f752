// SPDX-License-Identifier: Apache-2.0
#include "codec/json.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/model/codes.h"

#define PATH_MAX_LEN   96 // of a detail; the message has the rest
#define SHOWN_NAME_MAX 40

// ---- errors

static size_t put_step(const struct cs_reader_step *s, char *out, size_t size) {
    int n = 0;
    char name[SHOWN_NAME_MAX + 1], shown[SHOWN_NAME_MAX + 1];
    switch (s->kind) {
    case CS_STEP_NONE:
        return 0;
    case CS_STEP_MEMBER:
        cs_string_copy(s->name, name, sizeof name);
        if (cs_secret_may_be(name, strlen(name)))
            strcpy(shown, "(perhaps a key)");
        else
            cs_text_escape(name, strlen(name), shown, sizeof shown);
        n = snprintf(out, size, ".%s", shown);
        break;
    case CS_STEP_ITEM:
        n = snprintf(out, size, "[%u]", s->index);
        break;
    }
    return n < 0 ? 0 : (size_t)n;
}

// "data.chain[1]", "" at the top; "..." stands for steps that do not fit. At most PATH_MAX_LEN + 3
// bytes.
static void put_path(const struct cs_reader *r, char *out) {
    char path[PATH_MAX_LEN + 4];
    size_t len = 0;
    path[0] = '\0';
    for (unsigned i = 0; i < r->depth; i++) {
        size_t n = put_step(&r->path[i], path + len, PATH_MAX_LEN - len);
        if (n >= PATH_MAX_LEN - len) {
            memcpy(path + len, "...", 4);
            break;
        }
        len += n;
    }
    // The first member has no dot in front.
    strcpy(out, path[0] == '.' ? path + 1 : path);
}

static bool fail_v(struct cs_reader *r, const char *member, const char *fmt, va_list args) {
    char detail[CS_READER_DETAIL_MAX + 1];
    put_path(r, detail);
    size_t len = strlen(detail);
    if (member)
        len += (size_t)snprintf(detail + len, sizeof detail - len, "%s%.*s", len ? "." : "", SHOWN_NAME_MAX,
                                member);
    if (len > 0)
        len += (size_t)snprintf(detail + len, sizeof detail - len, ": ");
    vsnprintf(detail + len, sizeof detail - len, fmt, args);
    return cs_err_set(r->err, CS_ERR_REJECT, CS_CODE_EVENT_MALFORMED, "%s", detail);
}

bool cs_reader_fail(struct cs_reader *r, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fail_v(r, NULL, fmt, args);
    va_end(args);
    return false;
}

bool cs_reader_fail_member(struct cs_reader *r, const char *member, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fail_v(r, member, fmt, args);
    va_end(args);
    return false;
}

static bool fail_syntax(struct cs_reader *r, const char *expected) {
    if (r->at == r->end)
        return cs_reader_fail(r, "not JSON: ends too early");
    return cs_reader_fail(r, "not JSON: expected %s at byte %zu", expected, (size_t)(r->at - r->text));
}

// ---- the text

bool cs_reader_init(struct cs_reader *r, struct cs_bytes text, unsigned depth_max, struct cs_err *err) {
    assert(depth_max <= CS_READER_DEPTH_MAX);
    r->text = r->at = (const char *)text.data;
    r->end = text.len > 0 ? r->text + text.len : r->text;
    r->canonical = false;
    r->depth = 0;
    r->depth_max = depth_max;
    r->ruleset = INT64_MAX;
    r->store = NULL;
    r->err = err;
    if (!cs_utf8_valid(text.data, text.len))
        return cs_reader_fail(r, "not UTF-8");
    return true;
}

static void skip_space(struct cs_reader *r) {
    if (r->canonical)
        return;
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

// Whether the next byte is c; takes it.
static bool take(struct cs_reader *r, char c) {
    skip_space(r);
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

bool cs_reader_end(struct cs_reader *r) {
    assert(r->depth == 0);
    skip_space(r);
    return r->at == r->end || fail_syntax(r, "the end");
}

// ---- strings

static int hex4(const char *s) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int digit = cs_hex_value(s[i]);
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

// As buf.h writes a byte below 0x20 that has no shorter escape.
static bool needs_u_escape(const char *hex, int v) {
    return v < 0x20 && !strchr("\b\f\n\r\t", v) && !(hex[3] >= 'A' && hex[3] <= 'F');
}

// The length of the escape at s, 0 where it is none.
static size_t escape_len(const char *s, const char *end, bool canonical) {
    if (end - s < 2)
        return 0;
    if (s[1] != 'u')
        return s[1] != '\0' && strchr(canonical ? "\"\\bfnrt" : "\"\\/bfnrt", s[1]) ? 2 : 0;
    int v = end - s < 6 ? -1 : hex4(s + 2);
    if (v <= 0 || (canonical && !needs_u_escape(s + 2, v)))
        return 0;
    if (v < 0xD800 || v > 0xDFFF)
        return 6;
    // A high surrogate, then a low one. Neither is a character alone.
    if (v > 0xDBFF || end - s < 12 || s[6] != '\\' || s[7] != 'u')
        return 0;
    int low = hex4(s + 8);
    return low >= 0xDC00 && low <= 0xDFFF ? 12 : 0;
}

// The string whose opening quote was taken.
static bool read_body(struct cs_reader *r, struct cs_string *ret) {
    const char *start = r->at, *s = r->at;
    bool escaped = false;
    for (;;) {
        s = cs_json_skip_plain(s, r->end);
        if (s == r->end || (unsigned char)*s < 0x20) {
            r->at = s;
            return fail_syntax(r, "a character above 1F in a string");
        }
        if (*s == '"')
            break;
        if (*s == '\\') {
            size_t n = escape_len(s, r->end, r->canonical);
            r->at = s;
            if (n == 0)
                return fail_syntax(r, "an allowed escape");
            escaped = true;
            s += n;
        }
    }
    *ret = (struct cs_string){start, (size_t)(s - start), escaped};
    r->at = s + 1;
    return true;
}

bool cs_read_string(struct cs_reader *r, const char *what, struct cs_string *ret) {
    if (!take(r, '"'))
        return cs_reader_fail(r, "must be %s", what);
    return read_body(r, ret);
}

static size_t utf8_put(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((n == 2 ? 0xC0u : n == 3 ? 0xE0u : 0xF0u) | c);
    return n;
}

// The character at *s, which was checked; moves *s behind it.
static size_t next_char(const char **s, bool escaped, char out[4]) {
    const char *p = *s;
    if (!escaped || p[0] != '\\') {
        unsigned char lead = (unsigned char)p[0];
        size_t n = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        memcpy(out, p, n);
        *s = p + n;
        return n;
    }
    if (p[1] != 'u') {
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        out[0] = to[strchr(from, p[1]) - from];
        *s = p + 2;
        return 1;
    }
    uint32_t c = (uint32_t)hex4(p + 2);
    *s = p + 6;
    if (c >= 0xD800 && c <= 0xDBFF) {
        c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)hex4(p + 8) - 0xDC00);
        *s = p + 12;
    }
    return utf8_put(c, out);
}

size_t cs_string_copy(struct cs_string s, char *out, size_t size) {
    if (!s.escaped && s.len < size) {
        memcpy(out, s.s, s.len);
        out[s.len] = '\0';
        return s.len;
    }
    size_t len = 0, written = 0;
    for (const char *p = s.s; p < s.s + s.len;) {
        char c[4];
        size_t n = next_char(&p, s.escaped, c);
        if (len == written && n < size - len) {
            memcpy(out + len, c, n);
            written += n;
        }
        len += n;
    }
    out[written] = '\0';
    return len;
}

static bool same(struct cs_string a, struct cs_string b) {
    if (!a.escaped && !b.escaped)
        return a.len == b.len && memcmp(a.s, b.s, a.len) == 0;
    const char *p = a.s, *q = b.s;
    while (p < a.s + a.len && q < b.s + b.len) {
        char x[4], y[4];
        size_t n = next_char(&p, a.escaped, x);
        if (next_char(&q, b.escaped, y) != n || memcmp(x, y, n) != 0)
            return false;
    }
    return p == a.s + a.len && q == b.s + b.len;
}

bool cs_string_is(struct cs_string s, const char *text, size_t len) {
    return same(s, (struct cs_string){text, len, false});
}

// ---- numbers and truth values

// An integer without leading zeros, fraction, exponent or "-0", of at most 53 bits.
static bool scan_int(struct cs_reader *r, int64_t *ret) {
    const char *s = r->at;
    bool negative = s < r->end && *s == '-';
    s += negative;
    const char *digits = s;
    int64_t v = 0;
    while (s < r->end && *s >= '0' && *s <= '9' && s - digits < 16)
        v = v * 10 + (*s++ - '0');
    if (s == digits || (digits[0] == '0' && (s - digits > 1 || negative)) || v > CS_JSON_INT_MAX)
        return false;
    if (s < r->end && ((*s >= '0' && *s <= '9') || *s == '.' || *s == 'e' || *s == 'E'))
        return false;
    r->at = s;
    *ret = negative ? -v : v;
    return true;
}

bool cs_read_int(struct cs_reader *r, int64_t min, int64_t max, int64_t *ret) {
    int64_t v;
    skip_space(r);
    if (!scan_int(r, &v) || v < min || v > max)
        return cs_reader_fail(r, "must be an integer from %" PRId64 " to %" PRId64, min, max);
    *ret = v;
    return true;
}

static bool take_word(struct cs_reader *r, const char *word, size_t len) {
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0)
        return false;
    r->at += len;
    return true;
}

bool cs_read_bool(struct cs_reader *r, bool *ret) {
    skip_space(r);
    bool yes = take_word(r, "true", 4);
    if (!yes && !take_word(r, "false", 5))
        return cs_reader_fail(r, "must be true or false");
    *ret = yes;
    return true;
}

// ---- objects and arrays

static bool enter(struct cs_reader *r) {
    if (r->depth == r->depth_max)
        return cs_reader_fail(r, "nested deeper than %u", r->depth_max);
    r->path[r->depth++].kind = CS_STEP_NONE;
    return true;
}

bool cs_read_object(struct cs_reader *r) {
    if (!take(r, '{'))
        return cs_reader_fail(r, "must be an object");
    return enter(r);
}

bool cs_read_array(struct cs_reader *r, const char *what) {
    if (!take(r, '['))
        return cs_reader_fail(r, "must be %s", what);
    return enter(r);
}

// Takes the closing bracket, or the comma that must stand between two values.
static bool next(struct cs_reader *r, char close, const char *expected, bool *ret_end) {
    *ret_end = take(r, close);
    if (*ret_end) {
        r->depth--;
        return true;
    }
    if (r->path[r->depth - 1].kind == CS_STEP_NONE)
        return true;
    return take(r, ',') || fail_syntax(r, expected);
}

bool cs_read_member(struct cs_reader *r, struct cs_string *ret_name, bool *ret_end) {
    struct cs_reader_step *step = &r->path[r->depth - 1];
    if (!next(r, '}', "',' or '}'", ret_end))
        return false;
    if (*ret_end)
        return true;
    if (!take(r, '"'))
        return fail_syntax(r, "a member's name");
    if (!read_body(r, ret_name))
        return false;
    step->kind = CS_STEP_MEMBER;
    step->name = *ret_name;
    return take(r, ':') || fail_syntax(r, "':'");
}

bool cs_read_item(struct cs_reader *r, bool *ret_end) {
    struct cs_reader_step *step = &r->path[r->depth - 1];
    bool first = step->kind == CS_STEP_NONE;
    if (!next(r, ']', "',' or ']'", ret_end))
        return false;
    if (*ret_end)
        return true;
    step->kind = CS_STEP_ITEM;
    step->index = first ? 0 : step->index + 1;
    return true;
}

static bool skip_object(struct cs_reader *r) {
    struct cs_string names[CS_READER_MEMBERS_MAX];
    if (!cs_read_object(r))
        return false;
    for (size_t n = 0;; n++) {
        struct cs_string name;
        bool end;
        if (!cs_read_member(r, &name, &end))
            return false;
        if (end)
            return true;
        for (size_t i = 0; i < n; i++)
            if (same(names[i], name))
                return cs_reader_fail(r, "given twice");
        if (n == CS_READER_MEMBERS_MAX)
            return cs_reader_fail(r, "more than %d members", CS_READER_MEMBERS_MAX);
        names[n] = name;
        if (!cs_read_skip(r))
            return false;
    }
}

static bool skip_array(struct cs_reader *r) {
    if (!cs_read_array(r, "an array"))
        return false;
    for (;;) {
        bool end;
        if (!cs_read_item(r, &end))
            return false;
        if (end)
            return true;
        if (!cs_read_skip(r))
            return false;
    }
}

// Recursion is bounded by depth_max.
bool cs_read_skip(struct cs_reader *r) {
    struct cs_string s;
    int64_t v;
    skip_space(r);
    switch (r->at < r->end ? *r->at : '\0') {
    case '{':
        return skip_object(r);
    case '[':
        return skip_array(r);
    case '"':
        return cs_read_string(r, "a string", &s);
    case '-':
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
        return scan_int(r, &v) ||
               cs_reader_fail(r, "must be an integer below 2^53, without fraction or exponent");
    default:
        return take_word(r, "true", 4) || take_word(r, "false", 5) || take_word(r, "null", 4) ||
               fail_syntax(r, "a value");
    }
}
