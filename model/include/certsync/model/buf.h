// SPDX-License-Identifier: Apache-2.0
//
// A growable byte buffer that is born with a maximum, and the writer for canonical JSON on top of it.
//
// Failure is sticky: after a put that does not fit or cannot be allocated, .failed is set, later puts
// do nothing, and the owner checks once at the end (cs_buf_ok). After cs_buf_init no memory is held until the
// first put. data is always NUL-terminated one byte past len once anything was put, so that it may be
// printed; the NUL is not counted.
#pragma once

#include "certsync/model/err.h"

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
CS_MUST_USE bool cs_buf_ok(const struct cs_buf *b, struct cs_err *err); // false: FATAL, says which limit
void cs_buf_put(struct cs_buf *b, const void *data, size_t len);
void cs_buf_puts(struct cs_buf *b, const char *s);
void cs_buf_putc(struct cs_buf *b, char c);
void cs_buf_printf(struct cs_buf *b, const char *fmt, ...) CS_PRINTF(2, 3);
// Text inside a cell of a Markdown table: '|' would end the cell, and is escaped.
void cs_buf_put_cell(struct cs_buf *b, const char *text);
// Borrowed until the next put, reset or clear.
static inline struct cs_bytes cs_buf_bytes(const struct cs_buf *b) {
    return (struct cs_bytes){b->data, b->len};
}

// JSON writing: no white space, members in the order they are put, strings escaped minimally (RFC 8259
// section 7: '"', '\\', and bytes below 0x20; two-character escapes where they exist, else \u00xx).
// Text must be UTF-8 already.
//
// A value is put by one of the put functions; a comma is added by itself where one is needed:
//     cs_json_begin(&b, '{'); cs_json_name(&b, "n"); cs_json_put_int(&b, 7); cs_json_end(&b, '}');
void cs_json_begin(struct cs_buf *b, char open); // '{' or '['
void cs_json_end(struct cs_buf *b, char close);  // '}' or ']'
void cs_json_name(struct cs_buf *b, const char *name);
void cs_json_put_str(struct cs_buf *b, const char *s);
void cs_json_put_strn(struct cs_buf *b, const char *s, size_t len);
void cs_json_put_int(struct cs_buf *b, int64_t v);
void cs_json_put_bool(struct cs_buf *b, bool v);
void cs_json_put_base64(struct cs_buf *b, struct cs_bytes bytes);
void cs_json_put_hex(struct cs_buf *b, struct cs_bytes bytes);
void cs_json_put_raw(struct cs_buf *b, struct cs_bytes json); // one value that is JSON already
// Short forms for the common members.
void cs_json_str(struct cs_buf *b, const char *name, const char *s);
void cs_json_int(struct cs_buf *b, const char *name, int64_t v);
void cs_json_bool(struct cs_buf *b, const char *name, bool v);
