// SPDX-License-Identifier: Apache-2.0
//
// Bearer tokens of the API: JSON Web Tokens (RFC 7519, RFC 7515). The client makes one with the key
// that signs its events:
//
//     header  {"alg":"ES256","kid":"<kid>"}   (typ may be "JWT"; crit is refused)
//     claims  {"iss":"<kid>","sub":"<account>" or "*","aud":"<deployment>","iat":…,"exp":…}
//
// at most CS_TOKEN_LIFE_S from iat to exp, clocks at most CS_TOKEN_SKEW_S apart. Reading tells what
// a token claims. Only verifying, with the key that the catalog has for its kid, makes it true.
// Pure.
//
// Read and verified here: libraries for it use PEM and OpenSSL's decoders each time. That costs
// several times the signature itself, in the loop, for every client.
#pragma once

#include "certsync/model/entry.h"
#include "certsync/model/key.h"

#define CS_TOKEN_MAX    2048 // bytes
#define CS_TOKEN_LIFE_S 300
#define CS_TOKEN_SKEW_S 60
#define CS_TOKEN_ANY    "*" // sub of those who may see every account

struct cs_token {
    cs_kid kid;
    cs_account_id sub; // an account, or CS_TOKEN_ANY
    int64_t issued_s;
    int64_t expires_s;
};

// REJECT (without a code) says in one sentence what is wrong with the form or with a claim. FATAL:
// out of memory.
CS_MUST_USE bool cs_token_read(const char *text, const char *deployment, int64_t now_s, struct cs_token *ret,
                               struct cs_err *err);
// Whether this key signed the token (which was read, so its alg is ES256). The key must be P-256;
// false for any other.
bool cs_token_signed_by(struct cs_crypto *c, const char *text, const struct cs_spki *key);
