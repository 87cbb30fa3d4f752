// SPDX-License-Identifier: Apache-2.0
#include "token.h"

#include <errno.h>
#include <jwt.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/sign.h"

static void jwt_drop(jwt_t **jwt) {
    jwt_free(*jwt);
}
#define AUTO_JWT __attribute__((cleanup(jwt_drop))) jwt_t *

// Three non-empty parts in the alphabet of base64url, so that libjwt sees nothing else.
static bool has_form(const char *text) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    size_t len = strnlen(text, CS_TOKEN_MAX + 1);
    if (len > CS_TOKEN_MAX)
        return false;
    for (int part = 0; part < 3; part++) {
        size_t n = strspn(text, alphabet);
        if (n == 0 || text[n] != (part < 2 ? '.' : '\0'))
            return false;
        text += n + 1;
    }
    return true;
}

static bool wrong(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "%s", what);
}

// A number that JSON wrote as one; absent, a text or zero is no time of a token.
static bool get_time(jwt_t *jwt, const char *claim, int64_t *ret) {
    errno = 0;
    long v = jwt_get_grant_int(jwt, claim);
    if (errno != 0 || v <= 0 || v > INT64_MAX / 4)
        return false;
    *ret = v;
    return true;
}

static bool read_header(jwt_t *jwt, struct cs_token *t, struct cs_err *err) {
    const char *kid = jwt_get_header(jwt, "kid"), *alg = jwt_get_header(jwt, "alg");
    if (!alg || strcmp(alg, "ES256") != 0)
        return wrong(err, "the token's alg must be ES256");
    char *critical = jwt_get_headers_json(jwt, "crit");
    if (critical) {
        free(critical);
        return wrong(err, "the token has a crit header, which is not supported");
    }
    if (!kid || !cs_kid_valid(kid, strlen(kid)))
        return wrong(err, "the token's header must have the kid of the signing key");
    memcpy(t->kid, kid, CS_KID_LEN + 1);
    return true;
}

static bool read_names(jwt_t *jwt, const char *deployment, struct cs_token *t, struct cs_err *err) {
    const char *iss = jwt_get_grant(jwt, "iss");
    const char *sub = jwt_get_grant(jwt, "sub");
    const char *aud = jwt_get_grant(jwt, "aud");
    if (!iss || strcmp(iss, t->kid) != 0)
        return wrong(err, "the token's iss must be its kid");
    if (!aud || strcmp(aud, deployment) != 0)
        return wrong(err, "the token's aud must be this deployment");
    if (!sub || (strcmp(sub, CS_TOKEN_ANY) != 0 && !cs_account_valid(sub, strlen(sub))))
        return wrong(err, "the token's sub must be an account, or \"*\"");
    memcpy(t->sub, sub, strlen(sub) + 1);
    return true;
}

static bool read_times(jwt_t *jwt, int64_t now_s, struct cs_token *t, struct cs_err *err) {
    if (!get_time(jwt, "iat", &t->issued_s) || !get_time(jwt, "exp", &t->expires_s))
        return wrong(err, "the token must have iat and exp, in seconds");
    char *not_before = jwt_get_grants_json(jwt, "nbf");
    int64_t nbf = 0;
    bool has_nbf = not_before != NULL;
    free(not_before);
    if (t->expires_s <= t->issued_s || t->expires_s - t->issued_s > CS_TOKEN_LIFE_S)
        return wrong(err, "the token must expire after its iat and within 300 seconds of it");
    if (t->expires_s + CS_TOKEN_SKEW_S <= now_s)
        return wrong(err, "the token has expired; if it was just made, check the clocks");
    if (t->issued_s - CS_TOKEN_SKEW_S > now_s || (has_nbf && !get_time(jwt, "nbf", &nbf)) ||
        nbf - CS_TOKEN_SKEW_S > now_s)
        return wrong(err, "the token is from the future; check the clocks");
    return true;
}

bool cs_token_read(const char *text, const char *deployment, int64_t now_s, struct cs_token *ret,
                   struct cs_err *err) {
    struct cs_token t;
    AUTO_JWT jwt = NULL;
    memset(&t, 0, sizeof t);
    if (!has_form(text))
        return wrong(err, "the token is not a signed JSON Web Token of at most 2048 bytes");
    // Without a key libjwt reads and does not verify.
    int rc = jwt_decode(&jwt, text, NULL, 0);
    if (rc == ENOMEM)
        return cs_err_oom(err);
    if (rc != 0)
        return wrong(err, "the token's header or claims cannot be read");
    if (!read_header(jwt, &t, err) || !read_names(jwt, deployment, &t, err) ||
        !read_times(jwt, now_s, &t, err))
        return false;
    *ret = t;
    return true;
}

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

// base64url without padding (RFC 7515 section 2), of exactly 64 bytes: 86 characters, the last of which has
// four bits that nothing uses, and which must be zero so that no token has a second form.
static bool decode_signature(const char *s, uint8_t ret[CS_ES256_SIG_LEN]) {
    uint32_t bits = 0;
    size_t n = 0;
    int have = 0;
    if (strlen(s) != (CS_ES256_SIG_LEN * 8 + 5) / 6)
        return false;
    for (; *s; s++) {
        int v = value_of(*s);
        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            ret[n++] = (uint8_t)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    return bits == 0;
}

bool cs_token_signed_by(struct cs_crypto *c, const char *text, const struct cs_spki *key) {
    struct cs_err err;
    uint8_t sig[CS_ES256_SIG_LEN];
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
    const char *dot = strrchr(text, '.');
    if (!dot || !decode_signature(dot + 1, sig) ||
        !cs_pubkey_new(c, (struct cs_bytes){key->data, key->len}, &pub, &err))
        return false;
    return cs_es256_verify(c, pub, (struct cs_bytes){(const uint8_t *)text, (size_t)(dot - text)}, sig);
}
