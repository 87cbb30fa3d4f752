// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // fopencookie
#include "certsync/runtime/terminal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"

#define SEQUENCE_MAX 4 // bytes of a character in UTF-8

struct terminal {
    FILE *to;
    char rest[SEQUENCE_MAX]; // a character of which only a part came
    size_t rest_len;
};

static void put_unit(struct terminal *t, unsigned unit) {
    fprintf(t->to, "\\u%04X", unit);
}

// As in JSON: a character above U+FFFF is a pair of surrogates.
static void put_escaped(struct terminal *t, uint32_t c) {
    if (c < 0x10000) {
        put_unit(t, c);
        return;
    }
    put_unit(t, 0xD800 + ((c - 0x10000) >> 10));
    put_unit(t, 0xDC00 + ((c - 0x10000) & 0x3FF));
}

// How many bytes at s turn bold type on or off. Tables write these.
static size_t bold(const char *s, size_t len) {
    return len >= 4 && (memcmp(s, "\033[1m", 4) == 0 || memcmp(s, "\033[0m", 4) == 0) ? 4 : 0;
}

// Whether the bytes may begin a character that is not complete yet.
static bool is_cut(const char *s, size_t len) {
    unsigned char lead = (unsigned char)s[0];
    size_t whole = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    for (size_t i = 1; i < len; i++)
        if (((unsigned char)s[i] & 0xC0) != 0x80)
            return false;
    return len < whole;
}

static void put(struct terminal *t, const char *s, size_t len) {
    size_t plain = 0; // bytes that need no change and are not written yet
    for (size_t i = 0; i < len;) {
        uint32_t c = 0;
        size_t n = cs_text_character(s + i, len - i, &c), passes = bold(s + i, len - i);
        if (n == 0 && is_cut(s + i, len - i)) {
            fwrite(s + plain, 1, i - plain, t->to);
            t->rest_len = len - i;
            memcpy(t->rest, s + i, t->rest_len);
            return;
        }
        if (passes == 0 && c != '\n' && c != '\t' && (n == 0 || cs_text_hidden(c))) {
            fwrite(s + plain, 1, i - plain, t->to);
            put_escaped(t, n == 0 ? (unsigned char)s[i] : c);
            plain = i + (n ? n : 1);
        }
        i += passes ? passes : n ? n : 1;
    }
    fwrite(s + plain, 1, len - plain, t->to);
}

static ssize_t on_write(void *cookie, const char *s, size_t len) {
    struct terminal *t = cookie;
    size_t taken = 0;
    while (t->rest_len > 0 && taken < len) { // byte by byte, until the character is complete
        char whole[SEQUENCE_MAX + 1];
        size_t n = t->rest_len;
        memcpy(whole, t->rest, n);
        whole[n++] = s[taken++];
        t->rest_len = 0;
        put(t, whole, n);
    }
    put(t, s + taken, len - taken);
    return fflush(t->to) == 0 && !ferror(t->to) ? (ssize_t)len : 0;
}

static int on_close(void *cookie) {
    struct terminal *t = cookie;
    for (size_t i = 0; i < t->rest_len; i++)
        put_escaped(t, (unsigned char)t->rest[i]);
    int result = fflush(t->to);
    free(t);
    return result;
}

FILE *cs_terminal_open(FILE *to, bool buffered) {
    struct terminal *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->to = to;
    FILE *f = fopencookie(t, "w", (cookie_io_functions_t){.write = on_write, .close = on_close});
    if (!f)
        free(t);
    else if (!buffered)
        setvbuf(f, NULL, _IONBF, 0);
    return f;
}
