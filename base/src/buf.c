// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 256

void cs_buf_init(struct cs_buf *b, size_t max_len) {
    *b = (struct cs_buf){.max = max_len};
}

void cs_buf_clear(struct cs_buf *b) {
    free(b->data);
    cs_buf_init(b, b->max);
}

void cs_buf_reset(struct cs_buf *b) {
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = 0;
}

bool cs_buf_ok(const struct cs_buf *b, struct cs_err *err) {
    if (!b->failed)
        return true;
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "buffer limit of %zu bytes exceeded, or out of memory",
                      b->max);
}

uint8_t *cs_buf_grow(struct cs_buf *b, size_t len) {
    if (b->failed)
        return NULL;
    if (len > b->max - b->len || b->max == SIZE_MAX) {
        b->failed = true;
        return NULL;
    }
    size_t need = b->len + len + 1;
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max + 1)
        cap = b->max + 1;
    uint8_t *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return NULL;
    }
    b->data = data;
    b->cap = cap;
    return b->data + b->len;
}

void cs_buf_put(struct cs_buf *b, const void *data, size_t len) {
    uint8_t *out = cs_buf_reserve(b, len);
    if (!out)
        return;
    if (len > 0)
        memcpy(out, data, len);
    cs_buf_advance(b, len);
}

void cs_buf_puts(struct cs_buf *b, const char *s) {
    cs_buf_put(b, s, strlen(s));
}

void cs_buf_put_cell(struct cs_buf *b, const char *text) {
    for (; *text; text++) {
        if (*text == '|')
            cs_buf_putc(b, '\\');
        cs_buf_putc(b, *text);
    }
}

void cs_buf_printf(struct cs_buf *b, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    uint8_t *out = n < 0 ? NULL : cs_buf_reserve(b, (size_t)n);
    if (!out) {
        b->failed = true;
        return;
    }
    va_start(args, fmt);
    vsnprintf((char *)out, (size_t)n + 1, fmt, args);
    va_end(args);
    cs_buf_advance(b, (size_t)n);
}
