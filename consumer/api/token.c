// SPDX-License-Identifier: Apache-2.0
#include "api/token.h"

#include <jansson.h>
#include <string.h>
#include <strings.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"

// Three non-empty parts in the alphabet of base64url: header, claims, signature.
static bool has_form(const char *text) {
    size_t len = strnlen(text, CS_TOKEN_MAX + 1);
    if (len > CS_TOKEN_MAX)
        return false;
    for (int part = 0; part < 3; part++) {
        size_t n = 0;
        while (cs_base64url_value(text[n]) >= 0)
            n++;
        if (n == 0 || text[n] != (part < 2 ? '.' : '\0'))
            return false;
        text += n + 1;
    }
    return true;
}

static bool wrong(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "%s", what);
}

// The JSON object in the part that begins here (RFC 7515 section 2). A name that comes twice makes
// it invalid (section 4).
static bool read_part(const char *text, json_t **ret, struct cs_err *err) {
    uint8_t json[CS_TOKEN_MAX];
    json_error_t fault = {0};
    size_t n;
    // jansson takes a NUL after a number for white space.
    if (cs_base64url_decode(text, strcspn(text, "."), json, &n) && !memchr(json, '\0', n))
        *ret = json_loadb((const char *)json, n, JSON_REJECT_DUPLICATES, &fault);
    if (!*ret && json_error_code(&fault) == json_error_out_of_memory)
        return cs_err_oom(err);
    return json_is_object(*ret) || wrong(err, "the token's header or claims cannot be read");
}

static const char *text_of(const json_t *o, const char *name) {
    return json_string_value(json_object_get(o, name));
}

// The time of a token: a JSON number other than zero. A text is none.
static bool get_time(const json_t *claims, const char *name, int64_t *ret) {
    int64_t v = json_integer_value(json_object_get(claims, name));
    if (v <= 0 || v > INT64_MAX / 4)
        return false;
    *ret = v;
    return true;
}

static bool read_header(const json_t *header, struct cs_token *t, struct cs_err *err) {
    const char *kid = text_of(header, "kid"), *alg = text_of(header, "alg"), *typ = text_of(header, "typ");
    if (!alg || strcmp(alg, "ES256") != 0)
        return wrong(err, "the token's alg must be ES256");
    if (typ && strcasecmp(typ, "JWT") != 0)
        return wrong(err, "the token's typ must be JWT");
    if (json_object_get(header, "crit"))
        return wrong(err, "the token has a crit header, which is not supported");
    if (!kid || !cs_kid_valid(kid, strlen(kid)))
        return wrong(err, "the token's header must have the kid of the signing key");
    memcpy(t->kid, kid, CS_KID_LEN + 1);
    return true;
}

static bool read_names(const json_t *claims, const char *deployment, struct cs_token *t, struct cs_err *err) {
    const char *iss = text_of(claims, "iss"), *sub = text_of(claims, "sub"), *aud = text_of(claims, "aud");
    if (!iss || strcmp(iss, t->kid) != 0)
        return wrong(err, "the token's iss must be its kid");
    if (!aud || strcmp(aud, deployment) != 0)
        return wrong(err, "the token's aud must be this deployment");
    if (!sub || (strcmp(sub, CS_TOKEN_ANY) != 0 && !cs_account_valid(sub, strlen(sub))))
        return wrong(err, "the token's sub must be an account, or \"*\"");
    memcpy(t->sub, sub, strlen(sub) + 1);
    return true;
}

static bool read_times(const json_t *claims, int64_t now_s, struct cs_token *t, struct cs_err *err) {
    if (!get_time(claims, "iat", &t->issued_s) || !get_time(claims, "exp", &t->expires_s))
        return wrong(err, "the token must have iat and exp, in seconds");
    int64_t nbf = 0;
    bool has_nbf = json_object_get(claims, "nbf") != NULL;
    if (t->expires_s <= t->issued_s || t->expires_s - t->issued_s > CS_TOKEN_LIFE_S)
        return wrong(err, "the token must expire after its iat and within 300 seconds of it");
    if (t->expires_s + CS_TOKEN_SKEW_S <= now_s)
        return wrong(err, "the token has expired; if it was just made, check the clocks");
    if (t->issued_s - CS_TOKEN_SKEW_S > now_s || (has_nbf && !get_time(claims, "nbf", &nbf)) ||
        nbf - CS_TOKEN_SKEW_S > now_s)
        return wrong(err, "the token is from the future; check the clocks");
    return true;
}

bool cs_token_read(const char *text, const char *deployment, int64_t now_s, struct cs_token *ret,
                   struct cs_err *err) {
    struct cs_token t;
    json_auto_t *header = NULL, *claims = NULL;
    memset(&t, 0, sizeof t);
    if (!has_form(text))
        return wrong(err, "the token is not a signed JSON Web Token of at most 2048 bytes");
    if (!read_part(text, &header, err) || !read_part(strchr(text, '.') + 1, &claims, err) ||
        !read_header(header, &t, err) || !read_names(claims, deployment, &t, err) ||
        !read_times(claims, now_s, &t, err))
        return false;
    *ret = t;
    return true;
}

// Exactly 64 bytes, in their only valid form.
static bool decode_signature(const char *s, uint8_t ret[CS_ES256_SIG_LEN]) {
    uint8_t bytes[CS_ES256_SIG_LEN + 4];
    size_t n;
    if (strlen(s) != (CS_ES256_SIG_LEN * 8 + 5) / 6 || !cs_base64url_decode(s, strlen(s), bytes, &n))
        return false;
    memcpy(ret, bytes, CS_ES256_SIG_LEN);
    return true;
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
