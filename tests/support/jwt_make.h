// SPDX-License-Identifier: Apache-2.0
//
// JSON Web Tokens with any header and any claims, for tests of who reads them.
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"

#define JWT_MAX 8192

// header and claims in base64url with a dot between them; the signature is to come.
static inline size_t jwt_begin(char out[JWT_MAX], const char *header, const char *claims) {
    size_t n = cs_base64url_encode((const uint8_t *)header, strlen(header), out);
    out[n++] = '.';
    return n + cs_base64url_encode((const uint8_t *)claims, strlen(claims), out + n);
}

// Signed as ES256, whatever the header says; malloc'ed.
static inline char *jwt_sign(struct cs_crypto *c, const struct cs_privkey *key, const char *header,
                             const char *claims) {
    struct cs_err err;
    uint8_t sig[CS_ES256_SIG_LEN];
    char *text = malloc(JWT_MAX);
    size_t n = text ? jwt_begin(text, header, claims) : 0;
    if (n == 0 || !cs_es256_sign(c, key, (struct cs_bytes){(const uint8_t *)text, n}, sig, &err))
        abort();
    text[n++] = '.';
    cs_base64url_encode(sig, sizeof sig, text + n);
    return text;
}
