// SPDX-License-Identifier: Apache-2.0
//
// Canonical JSON into a buffer: no white space, members in the order they are put, strings escaped
// minimally (RFC 8259 section 7: '"', '\\', and bytes below 0x20; two-character escapes where they
// exist, else \u00xx). Text must be UTF-8 already.
//
// A value is put by one of the put functions; a comma is added by itself where one is needed:
//     cs_json_begin(&b, '{'); cs_json_name(&b, "n"); cs_json_put_int(&b, 7); cs_json_end(&b, '}');
#pragma once

#include "certsync/base/buf.h"

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

// The first of '"', '\\' and what is below 0x20; end where there is none.
const char *cs_json_skip_plain(const char *s, const char *end);
