// SPDX-License-Identifier: Apache-2.0
#include "crypto/crypto_impl.h"
#include "crypto/ectable.h"

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/err.h>

#include "certsync/base/text.h"

static const char *const digest_names[DIGEST_COUNT] = {"SHA256", "SHA384", "SHA512", "SM3"};
static const enum cs_key_type curve_types[CURVE_COUNT] = {CS_KEY_P256, CS_KEY_P384, CS_KEY_P521, CS_KEY_SM2};

bool crypto_fail(struct cs_err *err, const char *what) {
    cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "%s failed", what);
    unsigned long e;
    while ((e = ERR_get_error()) != 0) {
        size_t at = strlen(err->msg);
        if (at + 4 >= sizeof err->msg)
            continue;
        memcpy(err->msg + at, ": ", 3);
        ERR_error_string_n(e, err->msg + at + 2, sizeof err->msg - at - 2);
    }
    return false;
}

void crypto_refused(void) {
    unsigned long e;
    while ((e = ERR_get_error()) != 0)
        if (ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE)
            abort();
}

bool crypto_curve_names(enum cs_key_type type, const char **ret_algorithm, const char **ret_group) {
    switch (type) {
    case CS_KEY_P256:
        *ret_group = "P-256";
        break;
    case CS_KEY_P384:
        *ret_group = "P-384";
        break;
    case CS_KEY_P521:
        *ret_group = "P-521";
        break;
    case CS_KEY_SM2:
        *ret_group = "SM2";
        break;
    case CS_KEY_RSA:
    case CS_KEY_ED25519:
    case CS_KEY_X25519:
        return false;
    }
    *ret_algorithm = type == CS_KEY_SM2 ? "SM2" : "EC";
    return true;
}

static bool new_slot(struct curve_slot *s, enum cs_key_type type) {
    const char *algorithm = NULL, *group = NULL;
    char name[8]; // OSSL_PARAM wants it writable
    if (!crypto_curve_names(type, &algorithm, &group) || strlen(group) >= sizeof name)
        return false;
    strcpy(name, group);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, algorithm, NULL);
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
                           OSSL_PARAM_construct_end()};
    bool ok = ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
              EVP_PKEY_fromdata(ctx, &s->pkey, EVP_PKEY_KEY_PARAMETERS, params) == 1 &&
              (s->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, s->pkey, NULL)) != NULL;
    s->pace = ec_pace_guess(type);
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

bool cs_crypto_new(struct cs_crypto **ret, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *c = calloc(1, sizeof *c);
    if (!c || !(c->link = calloc(MEMO_LINK_SETS, sizeof *c->link)))
        return cs_err_oom(err);
    for (size_t i = 0; i < DIGEST_COUNT; i++)
        if (!(c->md[i] = EVP_MD_fetch(NULL, digest_names[i], NULL)))
            return crypto_fail(err, digest_names[i]);
    c->verify_on_curve = curve_verify_tables;
    c->hash = EVP_MD_CTX_new();
    c->verify = EVP_MD_CTX_new();
    c->rsa_fromdata = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (!c->hash || !c->verify || !c->rsa_fromdata || EVP_PKEY_fromdata_init(c->rsa_fromdata) != 1)
        return crypto_fail(err, "setting up OpenSSL");
    for (size_t i = 0; i < CURVE_COUNT; i++)
        if (!new_slot(&c->curve[i], curve_types[i]))
            return crypto_fail(err, cs_key_type_name(curve_types[i]));
    *ret = CS_TAKE(c);
    return true;
}

void cs_crypto_tune(struct cs_crypto *c, int64_t (*now_ns)(void)) {
    for (size_t i = 0; i < CURVE_COUNT; i++)
        c->curve[i].pace = ec_pace_measure(curve_types[i], now_ns);
}

void cs_crypto_free(struct cs_crypto *c) {
    if (!c)
        return;
    if (c->cert_forget)
        c->cert_forget(c);
    crypto_forget_keys(c);
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        ec_work_free(c->work[i]);
        EVP_PKEY_CTX_free(c->curve[i].ctx);
        EVP_PKEY_free(c->curve[i].pkey);
    }
    EVP_PKEY_CTX_free(c->rsa_fromdata);
    EVP_MD_CTX_free(c->verify);
    EVP_MD_CTX_free(c->hash);
    for (size_t i = 0; i < DIGEST_COUNT; i++)
        EVP_MD_free(c->md[i]);
    free(c->link);
    cs_region_free(&c->scratch);
    free(c);
}

size_t crypto_digest_len(enum crypto_digest d) {
    switch (d) {
    case DIGEST_SHA256:
    case DIGEST_SM3:
        return 32;
    case DIGEST_SHA384:
        return 48;
    case DIGEST_SHA512:
    case DIGEST_COUNT:
        break;
    }
    return 64;
}

// Small parts are joined: a call costs as much as hashing about 60 bytes.
void crypto_digest(struct cs_crypto *c, enum crypto_digest d, const struct cs_bytes *parts, size_t n,
                   uint8_t *ret) {
    uint8_t small[256];
    size_t held = 0;
    bool ok = EVP_DigestInit_ex2(c->hash, c->md[d], NULL) == 1;
    for (size_t i = 0; ok && i < n; i++) {
        if (held > 0 && parts[i].len > sizeof small - held) {
            ok = EVP_DigestUpdate(c->hash, small, held) == 1;
            held = 0;
        }
        if (parts[i].len > sizeof small) {
            ok = ok && EVP_DigestUpdate(c->hash, parts[i].data, parts[i].len) == 1;
        } else if (parts[i].len > 0) {
            memcpy(small + held, parts[i].data, parts[i].len);
            held += parts[i].len;
        }
    }
    ok = ok && (held == 0 || EVP_DigestUpdate(c->hash, small, held) == 1);
    // This fails only without memory. No digest may come of that.
    if (!ok || EVP_DigestFinal_ex(c->hash, ret, NULL) != 1)
        abort();
}

void cs_crypto_sha256(struct cs_crypto *c, struct cs_bytes data, uint8_t ret[32]) {
    crypto_digest(c, DIGEST_SHA256, &data, 1, ret);
}

void cs_crypto_sha256_parts(struct cs_crypto *c, const struct cs_bytes *parts, size_t n, uint8_t ret[32]) {
    crypto_digest(c, DIGEST_SHA256, parts, n, ret);
}

struct cs_hasher {
    EVP_MD_CTX *ctx;
};

bool cs_hasher_new(struct cs_crypto *c, struct cs_hasher **ret, struct cs_err *err) {
    CS_AUTO(cs_hasher_free) struct cs_hasher *h = calloc(1, sizeof *h);
    if (!h || !(h->ctx = EVP_MD_CTX_new()))
        return cs_err_oom(err);
    if (EVP_DigestInit_ex2(h->ctx, c->md[DIGEST_SHA256], NULL) != 1)
        return crypto_fail(err, "setting up SHA-256");
    *ret = CS_TAKE(h);
    return true;
}

void cs_hasher_free(struct cs_hasher *h) {
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

void cs_hasher_put(struct cs_hasher *h, struct cs_bytes piece) {
    if (piece.len > 0 && EVP_DigestUpdate(h->ctx, piece.data, piece.len) != 1)
        abort();
}

void cs_hasher_end(struct cs_hasher *h, uint8_t ret[32]) {
    if (EVP_DigestFinal_ex(h->ctx, ret, NULL) != 1)
        abort();
}

void cs_kid_of_spki(struct cs_crypto *c, struct cs_bytes spki, cs_kid ret) {
    uint8_t hash[32];
    cs_crypto_sha256(c, spki, hash);
    cs_hex_encode(hash, CS_KID_LEN / 2, ret);
}
