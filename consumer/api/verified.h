// SPDX-License-Identifier: Apache-2.0
//
// Tokens whose signature was verified. A client shows the same token with each of its requests; so
// it is read and verified once while it is valid.
//
// What is remembered cannot become wrong: this text was signed by this key. What the key may do
// now, the catalog is asked with each request. A revoked key is out at once, and where the catalog
// names another key for the same kid (another generation, another log), the token is verified anew.
//
// Bounded: a full set forgets the token that ends first. Only tokens of keys that the catalog knows
// come here, so a stranger makes nobody forgotten. Of a token there is its SHA-256, not its text:
// who reads this memory cannot show it. One thread.
#pragma once

#include "api/token.h"

#define CS_VERIFIED_SETS 256
#define CS_VERIFIED_WAYS 4 // tokens of one set

struct cs_verified;
CS_MUST_USE bool cs_verified_new(struct cs_verified **ret, struct cs_err *err);
void cs_verified_free(struct cs_verified *v); // takes NULL
CS_DEFINE_AUTO(struct cs_verified, cs_verified_free)

// What the token with this SHA-256 claims; NULL: it was not verified, or its time is not now.
// Borrowed until the next add.
const struct cs_token *cs_verified_find(const struct cs_verified *v, const uint8_t sha256[32], int64_t now_s);
// Whether it was verified with this key.
bool cs_verified_by(const struct cs_verified *v, const uint8_t sha256[32], const struct cs_spki *key);
// now_s: when it was read. With a clock that was set back it is read again.
void cs_verified_add(struct cs_verified *v, const uint8_t sha256[32], const struct cs_token *token,
                     const struct cs_spki *key, int64_t now_s);
