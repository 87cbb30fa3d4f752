// SPDX-License-Identifier: Apache-2.0
//
// Small encodings: base64 (RFC 4648 section 4, canonical form only), lower-case hex, decimal, UTF-8
// (RFC 3629) and RFC 3339 times in UTC ("2026-11-23T12:00:00Z").
#pragma once

#include "certsync/base/err.h"

// Exact length of the encoding, without a NUL.
static inline size_t cs_base64_encoded_len(size_t len) {
    return (len + 2) / 3 * 4;
}
// Upper bound of the decoding's length.
static inline size_t cs_base64_decoded_max(size_t len) {
    return len / 4 * 3;
}
// Writes exactly cs_base64_encoded_len(len) bytes and no NUL.
void cs_base64_encode(const uint8_t *data, size_t len, char *out);
// The form for URLs and tokens (RFC 4648 section 5), without padding: at most
// cs_base64_encoded_len(len) bytes and a NUL. Returns the length.
size_t cs_base64url_encode(const uint8_t *data, size_t len, char *out);
// Strict: length a multiple of 4, alphabet only, padding only at the end, unused bits zero, no
// white space. ret needs cs_base64_decoded_max(len) bytes. False where the text is not canonical
// base64.
CS_MUST_USE bool cs_base64_decode(const char *text, size_t len, uint8_t *ret, size_t *ret_len);
// The form for URLs and tokens, canonical and without padding. ret needs len / 4 * 3 + 2 bytes.
CS_MUST_USE bool cs_base64url_decode(const char *text, size_t len, uint8_t *ret, size_t *ret_len);
// The six bits of a character of either alphabet. -1 for others, '=' too.
int cs_base64_value(char c);
int cs_base64url_value(char c);

// writes 2 * len bytes and a NUL
void cs_hex_encode(const uint8_t *data, size_t len, char *out);
CS_MUST_USE bool cs_hex_decode(const char *text, size_t len, uint8_t *ret); // lower case only
// of a digit in either case; -1 where it is none
int cs_hex_value(char c);
extern const char cs_hex_lower[17], cs_hex_upper[17]; // the digits
// Writes v's digits, at most 20 and no NUL, so that they end before end. Returns where they begin.
char *cs_decimal_before(char *end, uint64_t v);

bool cs_utf8_valid(const uint8_t *data, size_t len);

#define CS_TIME_TEXT_SIZE 21 // "2026-11-23T12:00:00Z" and NUL
// Years 1970 to 9999. Formats nothing outside of it (clamps).
void cs_time_format(int64_t time_s, char out[CS_TIME_TEXT_SIZE]);
#define CS_TIME_MS_TEXT_SIZE 25 // "2026-11-23T12:00:00.000Z" and NUL
// The same to the millisecond.
void cs_time_ms_format(int64_t time_ms, char out[CS_TIME_MS_TEXT_SIZE]);
// Reads what cs_time_ms_format writes, and no other form of a time.
CS_MUST_USE bool cs_time_ms_parse(const char *text, size_t len, int64_t *ret_time_ms);
// RFC 3339 with 'T', 'Z' and optional fraction (ignored); strict about ranges and days of month.
CS_MUST_USE bool cs_time_parse(const char *text, size_t len, int64_t *ret_time_s);
// The character at s, and its length; 0 if it is not well-formed UTF-8.
size_t cs_text_character(const char *s, size_t len, uint32_t *ret);
// Whether a terminal obeys the character, or shows nothing for it: controls (C0, C1), marks that
// turn the direction of text, characters without width, fillers, variation selectors, tags.
bool cs_text_hidden(uint32_t c);
// Writes s with hidden characters, '"', '\\' and non-UTF-8 escaped as \xNN, cut to fit; for
// messages.
void cs_text_escape(const void *s, size_t len, char *out, size_t out_size);
