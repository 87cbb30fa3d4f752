// SPDX-License-Identifier: Apache-2.0
//
// DER (X.690 section 10): a reader of views and a small writer. What is accepted depends on these
// rules, never on a library's release: the same log must give the same verdicts for ever.
//
// The reader takes only low tag numbers and definite, minimally encoded lengths. False means: this
// is not DER of the wanted form, and the cursor is of no further use. Views live as long as the
// input.
#pragma once

#include "certsync/base/buf.h"

#include <string.h>

enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_BIT_STRING = 0x03,
    DER_OCTET_STRING = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_EXTERNAL = 0x08,
    DER_ENUMERATED = 0x0A,
    DER_EMBEDDED_PDV = 0x0B,
    DER_UTF8_STRING = 0x0C,
    DER_NUMERIC_STRING = 0x12,
    DER_PRINTABLE_STRING = 0x13,
    DER_T61_STRING = 0x14,
    DER_IA5_STRING = 0x16,
    DER_UTC_TIME = 0x17,
    DER_GENERALIZED_TIME = 0x18,
    DER_UNIVERSAL_STRING = 0x1C,
    DER_BMP_STRING = 0x1E,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
};
// Context-specific tags: primitive (implicit strings) and constructed.
#define DER_CONTEXT(n)             (0x80 | (n))
#define DER_CONTEXT_CONSTRUCTED(n) (0xA0 | (n))

struct der {
    const uint8_t *p, *end;
};

struct der_value {
    uint8_t tag;
    struct cs_bytes content;
    struct cs_bytes whole; // with tag and length
};

static inline struct der der_of(struct cs_bytes b) {
    return (struct der){b.data, b.data ? b.data + b.len : NULL};
}
static inline bool der_done(const struct der *d) {
    return d->p == d->end;
}
static inline bool der_at(const struct der *d, uint8_t tag) {
    return d->p != d->end && *d->p == tag;
}
// A view of a constant, as in DER_BYTES("\x2a\x86"); DER_INIT in initialisers of static objects.
#define DER_INIT(literal)                                                                                    \
    { (const uint8_t *)(literal), sizeof(literal) - 1 }
#define DER_BYTES(literal) ((struct cs_bytes)DER_INIT(literal))

CS_MUST_USE bool der_next(struct der *d, struct der_value *ret);
// The next value must have this tag.
CS_MUST_USE bool der_take(struct der *d, uint8_t tag, struct cs_bytes *ret);
// The same, and opens it.
CS_MUST_USE bool der_enter(struct der *d, uint8_t tag, struct der *ret);
// An OBJECT IDENTIFIER of well-formed arcs.
CS_MUST_USE bool der_take_oid(struct der *d, struct cs_bytes *ret);
// A non-negative INTEGER, minimally encoded; *ret is its magnitude without a leading zero byte (one
// zero byte for 0).
CS_MUST_USE bool der_take_unsigned(struct der *d, struct cs_bytes *ret);
CS_MUST_USE bool der_take_small(struct der *d, int *ret); // 0 .. 2^24-1
// Contents of single values: an OBJECT IDENTIFIER, an INTEGER of either sign, a BIT STRING.
bool der_oid_valid(struct cs_bytes content);
bool der_integer_valid(struct cs_bytes content);
bool der_bits_valid(struct cs_bytes content);
// A value whose type the specification leaves open (ANY). If its type is a universal one, it must
// have that type's form. The inside of a SEQUENCE or SET is not read.
bool der_any_valid(const struct der_value *v);
// A BOOLEAN, 00 or FF.
CS_MUST_USE bool der_take_boolean(struct der *d, bool *ret);
// A BIT STRING of whole bytes.
CS_MUST_USE bool der_take_octet_bits(struct der *d, struct cs_bytes *ret);
// UTCTime or GeneralizedTime in the forms of RFC 5280 section 4.1.2.5, as seconds since 1970.
CS_MUST_USE bool der_take_time(struct der *d, int64_t *ret_s);

// Tag and length of a value; returns how many bytes of out it took.
#define DER_HEADER_MAX 5
size_t der_header(uint8_t tag, size_t len, uint8_t out[DER_HEADER_MAX]);
// Writing: a value around bytes that are there already, or around the concatenation of several.
void der_put(struct cs_buf *b, uint8_t tag, struct cs_bytes content);
void der_put_parts(struct cs_buf *b, uint8_t tag, const struct cs_bytes *parts, size_t n);
