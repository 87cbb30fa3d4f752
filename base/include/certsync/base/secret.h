// SPDX-License-Identifier: Apache-2.0
//
// Input that may be a private key. People paste keys where names, numbers and paths belong, and
// damage files with keys in every way. No message may quote a key: everybody who reads the log
// would have it.
//
// Messages quote input that was not understood with cs_secret_quote(), never with cs_text_escape()
// alone.
#pragma once

#include "certsync/base/err.h"

// Whether the text holds a private key for certain: PEM of one in whatever form, or the beginning
// of PKCS#8, PKCS#1 or SEC1 in base64, base64url or hexadecimal.
bool cs_secret_is_key(const char *s, size_t len);

// Whether the text looks like at least 30 random bytes, as the middle of a key's base64 does. No
// name looks so.
bool cs_secret_is_random(const char *s, size_t len);

// Whether the text may hold 8 bytes of a key or more. True of a few harmless words, too.
bool cs_secret_may_be(const char *s, size_t len);

// For a message: the text, escaped and cut as by cs_text_escape. Of what may be a key it gives only
// the first characters and the length.
#define CS_SECRET_QUOTE_SIZE 256
void cs_secret_quote(const char *s, size_t len, char *out, size_t out_size);
// For texts that were given as paths or names: the whole text, escaped. Not if it is certainly a
// key, or a long run of random characters.
void cs_secret_show(const char *s, size_t len, char *out, size_t out_size);
