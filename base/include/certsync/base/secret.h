// SPDX-License-Identifier: Apache-2.0
//
// Input that may be a private key. People paste keys where names, numbers and paths belong, and
// files that hold keys are damaged in every way. No message may quote such a thing: whoever reads a
// log would have the key.
//
// Messages quote input that was not understood with cs_secret_quote(), never with cs_text_escape()
// alone.
#pragma once

#include "certsync/base/err.h"

// Whether the text holds a private key for certain: PEM of one in whatever form, or the beginning
// of PKCS#8, PKCS#1 or SEC1 in base64, base64url or hexadecimal.
bool cs_secret_is_key(const char *s, size_t len);

// Whether the text looks like random bytes of at least 30, which no name looks like: the middle of
// a key's base64.
bool cs_secret_is_random(const char *s, size_t len);

// Whether the text may hold 8 bytes of a key or more. True of a few harmless words, too.
bool cs_secret_may_be(const char *s, size_t len);

// For a message: the text, escaped and cut as cs_text_escape does it; of what may be a key only its
// first characters and how long it is.
#define CS_SECRET_QUOTE_SIZE 256
void cs_secret_quote(const char *s, size_t len, char *out, size_t out_size);
// For paths and names that were taken as such: the whole text, escaped, unless it is a key for
// certain or a long run of random characters.
void cs_secret_show(const char *s, size_t len, char *out, size_t out_size);
