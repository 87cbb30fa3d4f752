// SPDX-License-Identifier: Apache-2.0
//
// A growable byte buffer that is born with a maximum.
//
// Failure is sticky. After a put that does not fit or cannot be allocated, .failed is set and later
// puts do nothing. The owner checks once at the end (cs_buf_ok). cs_buf_init takes no memory; the
// first put does. After any put a NUL follows data, so that it may be printed; len does not count
// the NUL.
#pragma once

#include "certsync/base/err.h"

struct cs_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max; // puts beyond this many bytes fail
    bool failed;
};

void cs_buf_init(struct cs_buf *b, size_t max_len);
void cs_buf_clear(struct cs_buf *b); // frees; b may be used again
CS_DEFINE_AUTO_CLEAR(struct cs_buf, cs_buf_clear)
void cs_buf_reset(struct cs_buf *b); // len = 0, failed = false, keeps the memory
// false: FATAL, says which limit
CS_MUST_USE bool cs_buf_ok(const struct cs_buf *b, struct cs_err *err);
void cs_buf_put(struct cs_buf *b, const void *data, size_t len);
void cs_buf_puts(struct cs_buf *b, const char *s);
void cs_buf_printf(struct cs_buf *b, const char *fmt, ...) CS_PRINTF(2, 3);
// Text inside a cell of a Markdown table: '|' would end the cell, and is escaped.
void cs_buf_put_cell(struct cs_buf *b, const char *text);
// For writers: room for len more bytes and the NUL. NULL if they do not fit. The writer then
// advances over what it wrote.
uint8_t *cs_buf_grow(struct cs_buf *b, size_t len); // of cs_buf_reserve alone
static inline uint8_t *cs_buf_reserve(struct cs_buf *b, size_t len) {
    return !b->failed && len < b->cap - b->len ? b->data + b->len : cs_buf_grow(b, len);
}
static inline void cs_buf_advance(struct cs_buf *b, size_t len) {
    b->len += len;
    b->data[b->len] = 0;
}
static inline void cs_buf_putc(struct cs_buf *b, char c) {
    uint8_t *out = cs_buf_reserve(b, 1);
    if (!out)
        return;
    *out = (uint8_t)c;
    cs_buf_advance(b, 1);
}
// Borrowed until the next put, reset or clear.
static inline struct cs_bytes cs_buf_bytes(const struct cs_buf *b) {
    return (struct cs_bytes){b->data, b->len};
}
