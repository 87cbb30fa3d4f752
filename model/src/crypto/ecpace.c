// SPDX-License-Identifier: Apache-2.0
//
// Finds by trial which way of verifying is the fastest on this machine with this OpenSSL. A bad
// signature takes as long as a good one. So the trial's signature is made up; its public key is
// three times the generator.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <stdlib.h>
#include <string.h>

#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include "crypto/ectable.h"

#define POINT_MAX   97
#define WORTH_NEVER 1000 // uses of a key; a table that pays so late is not worth it

struct trial {
    enum cs_key_type type;
    uint8_t point[POINT_MAX];
    struct cs_pubkey *key;
    uint8_t digest[48];
    uint8_t sig[128];
    size_t sig_len;
    struct cs_crypto *evp;
    struct ec_work *work;
    struct ec_table *table;
};

static bool put_key(struct trial *t, int nid) {
    EC_GROUP *group = EC_GROUP_new_by_curve_name(nid);
    EC_POINT *p = group ? EC_POINT_new(group) : NULL;
    BIGNUM *three = BN_new();
    size_t len = 0;
    if (p && three && BN_set_word(three, 3) == 1 && EC_POINT_mul(group, p, three, NULL, NULL, NULL) == 1)
        len = EC_POINT_point2oct(group, p, POINT_CONVERSION_UNCOMPRESSED, t->point, sizeof t->point, NULL);
    BN_free(three);
    EC_POINT_free(p);
    EC_GROUP_free(group);
    t->key = calloc(1, sizeof *t->key);
    if (!t->key || len == 0)
        return false;
    t->key->type = t->type;
    t->key->point = (struct cs_bytes){t->point, len};
    cs_crypto_sha256(t->evp, t->key->point, t->key->sha256);
    return true;
}

// SEQUENCE { r INTEGER, s INTEGER }, both a byte shorter than the order.
static void put_signature(struct trial *t, size_t len) {
    uint8_t *at = t->sig;
    *at++ = 0x30;
    *at++ = (uint8_t)(2 * (len + 2));
    for (int i = 0; i < 2; i++, at += len) {
        *at++ = 0x02;
        *at++ = (uint8_t)len;
        memset(at, i ? 0x5A : 0x3C, len);
    }
    t->sig_len = (size_t)(at - t->sig);
    memset(t->digest, 0x69, sizeof t->digest);
}

static bool begin(struct trial *t, enum cs_key_type type) {
    struct cs_err err;
    *t = (struct trial){.type = type};
    if (!cs_crypto_new(&t->evp, &err))
        return false;
    t->evp->verify_on_curve = curve_verify_plain;
    put_signature(t, type == CS_KEY_P384 ? 47 : 31);
    return put_key(t, type == CS_KEY_P384 ? NID_secp384r1 : NID_sm2) && ec_work_get(&t->work, type);
}

static void end(struct trial *t) {
    ec_table_free(t->table);
    ec_work_free(t->work);
    cs_crypto_free(t->evp);
    free(t->key);
}

enum way { BY_EVP, PLAIN, BY_TABLE };

static int64_t shortest(struct trial *t, enum way way, int64_t (*now_ns)(void)) {
    struct cs_bytes sig = {t->sig, t->sig_len};
    struct sig_alg alg = crypto_alg_of(t->type);
    size_t digest_len = crypto_digest_len(alg.digest);
    int64_t least = INT64_MAX;
    for (int i = 0; i < EC_PACE_TRIES; i++) {
        int64_t start = now_ns();
        if (way == BY_EVP)
            (void)crypto_verify_digest(t->evp, t->key, &alg, t->digest, sig);
        else
            (void)ec_work_verify(t->work, way == PLAIN ? NULL : t->table, t->key, t->digest, digest_len, sig);
        int64_t took = now_ns() - start;
        least = took < least ? took : least;
    }
    return least;
}

static struct ec_pace pace_of(struct trial *t, int64_t (*now_ns)(void)) {
    struct ec_pace pace = {0};
    int64_t evp = shortest(t, BY_EVP, now_ns), plain = shortest(t, PLAIN, now_ns);
    int64_t start = now_ns();
    t->table = ec_table_new(t->work, t->key);
    int64_t making = now_ns() - start;
    pace.plain = plain < evp;
    if (!t->table)
        return pace;
    int64_t else_ns = pace.plain ? plain : evp;
    int64_t saved = else_ns - shortest(t, BY_TABLE, now_ns);
    if (saved > else_ns / 20 && making / saved < WORTH_NEVER)
        pace.table_worth = (unsigned)(making / saved) + 2;
    return pace;
}

// Only P-384 and SM2 are tried. P-256 has one method in OpenSSL on all our processors; its guess
// was measured.
struct ec_pace ec_pace_measure(enum cs_key_type type, int64_t (*now_ns)(void)) {
    struct ec_pace pace = ec_pace_guess(type);
    struct trial t;
    if (type != CS_KEY_P384 && type != CS_KEY_SM2)
        return pace;
    if (begin(&t, type))
        pace = pace_of(&t, now_ns);
    end(&t);
    return pace;
}
