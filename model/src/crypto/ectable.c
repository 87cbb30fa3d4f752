// SPDX-License-Identifier: Apache-2.0
// Some functions that OpenSSL 3.0 deprecates have no successor: EC_GROUP_precompute_mult, the
// projective coordinates (they save an inversion), and the question for a curve's method.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "crypto/ectable.h"

#include <stdlib.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#if OPENSSL_VERSION_MAJOR == 3 && !defined(OPENSSL_NO_DEPRECATED_3_0)
#define HAVE_TABLES 1
#else
#define HAVE_TABLES 0
#endif

// A table costs about 33 ms for P-256, 1.4 ms for P-384 and 0.7 ms for SM2, and saves 33, 390 and
// 190 us a verification.
#define WORTH_P256   512
#define WORTH_OTHERS 6

struct ec_table {
    EC_GROUP *group; // generator: the key
};

enum { R, S, E, W, U1, U2, X, Y, Z, ONE, ZERO, NUMBERS };
struct ec_work {
    enum cs_key_type type;
    EC_GROUP *group; // with a table of the generator
    const BIGNUM *order, *field;
    EC_POINT *key, *left, *sum;
    BN_CTX *ctx;
    BIGNUM *n[NUMBERS];
};

void ec_work_free(struct ec_work *w) {
    if (!w)
        return;
    for (size_t i = 0; i < NUMBERS; i++)
        BN_free(w->n[i]);
    EC_POINT_free(w->key);
    EC_POINT_free(w->left);
    EC_POINT_free(w->sum);
    EC_GROUP_free(w->group);
    BN_CTX_free(w->ctx);
    free(w);
}

void ec_table_free(struct ec_table *t) {
    if (!t)
        return;
    EC_GROUP_free(t->group);
    free(t);
}

#if HAVE_TABLES
static int nid_of(enum cs_key_type type) {
    return type == CS_KEY_P256   ? NID_X9_62_prime256v1
           : type == CS_KEY_P384 ? NID_secp384r1
           : type == CS_KEY_P521 ? NID_secp521r1
                                 : NID_sm2;
}

struct ec_pace ec_pace_guess(enum cs_key_type type) {
    if (type == CS_KEY_P256)
        return (struct ec_pace){.table_worth = WORTH_P256};
    EC_GROUP *group = EC_GROUP_new_by_curve_name(nid_of(type));
    bool generic = group && EC_GROUP_method_of(group) == EC_GFp_mont_method();
    EC_GROUP_free(group);
    if ((type == CS_KEY_P384 || type == CS_KEY_SM2) && generic)
        return (struct ec_pace){.table_worth = WORTH_OTHERS, .plain = true};
    return (struct ec_pace){0};
}

// The same curve without OpenSSL's special method for it, if there is one. That method knows no
// tables.
static EC_GROUP *generic_of(const EC_GROUP *named, BN_CTX *ctx) {
    BIGNUM *p = BN_CTX_get(ctx), *a = BN_CTX_get(ctx), *b = BN_CTX_get(ctx);
    BIGNUM *x = BN_CTX_get(ctx), *y = BN_CTX_get(ctx);
    EC_GROUP *group = NULL;
    EC_POINT *generator = NULL;
    bool ok = y && EC_GROUP_get_curve(named, p, a, b, ctx) == 1 &&
              (group = EC_GROUP_new_curve_GFp(p, a, b, ctx)) && (generator = EC_POINT_new(group)) &&
              EC_POINT_get_affine_coordinates(named, EC_GROUP_get0_generator(named), x, y, ctx) == 1 &&
              EC_POINT_set_affine_coordinates(group, generator, x, y, ctx) == 1 &&
              EC_GROUP_set_generator(group, generator, EC_GROUP_get0_order(named),
                                     EC_GROUP_get0_cofactor(named)) == 1;
    EC_POINT_free(generator);
    if (ok)
        return group;
    EC_GROUP_free(group);
    return NULL;
}

static EC_GROUP *group_of(enum cs_key_type type, BN_CTX *ctx) {
    EC_GROUP *named = EC_GROUP_new_by_curve_name(nid_of(type));
    if (!named || type == CS_KEY_P256) // OpenSSL's own method for it has tables
        return named;
    BN_CTX_start(ctx);
    EC_GROUP *group = generic_of(named, ctx);
    BN_CTX_end(ctx);
    EC_GROUP_free(named);
    return group;
}

static struct ec_work *work_new(enum cs_key_type type) {
    struct ec_work *w = calloc(1, sizeof *w);
    bool ok = w && (w->ctx = BN_CTX_new()) && (w->group = group_of(type, w->ctx)) &&
              EC_GROUP_precompute_mult(w->group, w->ctx) == 1 && (w->key = EC_POINT_new(w->group)) &&
              (w->left = EC_POINT_new(w->group)) && (w->sum = EC_POINT_new(w->group));
    for (size_t i = 0; ok && i < NUMBERS; i++)
        ok = (w->n[i] = BN_new()) != NULL;
    if (!ok || BN_one(w->n[ONE]) != 1) {
        ec_work_free(w);
        return NULL;
    }
    BN_zero(w->n[ZERO]);
    w->type = type;
    w->order = EC_GROUP_get0_order(w->group); // both live with the group
    w->field = EC_GROUP_get0_field(w->group);
    return w;
}

struct ec_work *ec_work_get(struct ec_work **work, enum cs_key_type type) {
    if (!*work && !(*work = work_new(type)))
        crypto_refused();
    return *work;
}

static bool load_key(struct ec_work *w, const struct cs_pubkey *key) {
    return EC_POINT_oct2point(w->group, w->key, key->point.data, key->point.len, w->ctx) == 1;
}

struct ec_table *ec_table_new(struct ec_work *w, const struct cs_pubkey *key) {
    struct ec_table *t = calloc(1, sizeof *t);
    bool ok = t && load_key(w, key) && (t->group = EC_GROUP_dup(w->group)) &&
              EC_GROUP_set_generator(t->group, w->key, w->order, BN_value_one()) == 1 &&
              EC_GROUP_precompute_mult(t->group, w->ctx) == 1;
    if (!ok) {
        crypto_refused();
        ec_table_free(t);
        return NULL;
    }
    return t;
}

// sum = a * G + b * Q, where Q is w->key or the table's key. OpenSSL uses a generic curve's table
// only if it multiplies a point too. So the first call multiplies one by 0; the second multiplies
// by 1, which adds.
static bool multiply(struct ec_work *w, const struct ec_table *t, const BIGNUM *a, const BIGNUM *b) {
    if (!t)
        return EC_POINT_mul(w->group, w->sum, a, w->key, b, w->ctx) == 1;
    if (w->type == CS_KEY_P256)
        return EC_POINT_mul(w->group, w->left, a, NULL, NULL, w->ctx) == 1 &&
               EC_POINT_mul(t->group, w->sum, b, NULL, NULL, w->ctx) == 1 &&
               EC_POINT_add(w->group, w->sum, w->sum, w->left, w->ctx) == 1;
    return EC_POINT_mul(w->group, w->left, a, EC_GROUP_get0_generator(w->group), w->n[ZERO], w->ctx) == 1 &&
           EC_POINT_mul(t->group, w->sum, b, w->left, w->n[ONE], w->ctx) == 1;
}

static bool in_range(const BIGNUM *v, const BIGNUM *order) {
    return !BN_is_zero(v) && BN_cmp(v, order) < 0;
}

// ECDSA-Sig-Value, also for SM2: SEQUENCE { r INTEGER, s INTEGER }, both from 1 to order - 1.
static bool read_signature(struct ec_work *w, struct cs_bytes sig) {
    struct der outer = der_of(sig), seq;
    struct cs_bytes r, s;
    return der_enter(&outer, DER_SEQUENCE, &seq) && der_done(&outer) && der_take_unsigned(&seq, &r) &&
           der_take_unsigned(&seq, &s) && der_done(&seq) && r.len <= 48 && s.len <= 48 &&
           BN_bin2bn(r.data, (int)r.len, w->n[R]) && BN_bin2bn(s.data, (int)s.len, w->n[S]) &&
           in_range(w->n[R], w->order) && in_range(w->n[S], w->order);
}

// Whether value * Z^2 = X: then the sum's affine x is value. This saves the division.
static bool is_x(struct ec_work *w, const BIGNUM *value) {
    return BN_mod_mul(w->n[W], value, w->n[Y], w->field, w->ctx) == 1 && BN_cmp(w->n[W], w->n[X]) == 0;
}

// Whether the sum's x is value modulo the order. It is value, or value + order where that is below
// the field's prime.
static bool x_is(struct ec_work *w, BIGNUM *value) {
    if (EC_POINT_is_at_infinity(w->group, w->sum) ||
        EC_POINT_get_Jprojective_coordinates_GFp(w->group, w->sum, w->n[X], w->n[Y], w->n[Z], w->ctx) != 1 ||
        BN_mod_sqr(w->n[Y], w->n[Z], w->field, w->ctx) != 1)
        return false;
    if (is_x(w, value))
        return true;
    return BN_add(value, value, w->order) == 1 && BN_cmp(value, w->field) < 0 && is_x(w, value);
}

// e: the digest's leftmost bits, as many as the order has.
static bool verify_ecdsa(struct ec_work *w, const struct ec_table *t, const uint8_t *digest,
                         size_t digest_len) {
    size_t order_len = (size_t)BN_num_bytes(w->order);
    size_t len = digest_len < order_len ? digest_len : order_len;
    return BN_bin2bn(digest, (int)len, w->n[E]) && BN_mod_inverse(w->n[W], w->n[S], w->order, w->ctx) &&
           BN_mod_mul(w->n[U1], w->n[E], w->n[W], w->order, w->ctx) == 1 &&
           BN_mod_mul(w->n[U2], w->n[R], w->n[W], w->order, w->ctx) == 1 &&
           multiply(w, t, w->n[U1], w->n[U2]) && x_is(w, w->n[R]);
}

static bool verify_sm2(struct ec_work *w, const struct ec_table *t, const uint8_t *digest,
                       size_t digest_len) {
    return BN_bin2bn(digest, (int)digest_len, w->n[E]) &&
           BN_mod_add(w->n[U2], w->n[R], w->n[S], w->order, w->ctx) == 1 && !BN_is_zero(w->n[U2]) &&
           multiply(w, t, w->n[S], w->n[U2]) &&
           BN_mod_sub(w->n[U1], w->n[R], w->n[E], w->order, w->ctx) == 1 && x_is(w, w->n[U1]);
}

bool ec_work_verify(struct ec_work *w, const struct ec_table *t, const struct cs_pubkey *key,
                    const uint8_t *digest, size_t digest_len, struct cs_bytes sig) {
    bool good = read_signature(w, sig) && (t || load_key(w, key)) &&
                (w->type == CS_KEY_SM2 ? verify_sm2(w, t, digest, digest_len)
                                       : verify_ecdsa(w, t, digest, digest_len));
    if (!good)
        crypto_refused();
    return good;
}
#else
struct ec_pace ec_pace_guess(enum cs_key_type type) {
    (void)type;
    return (struct ec_pace){0};
}

struct ec_work *ec_work_get(struct ec_work **work, enum cs_key_type type) {
    (void)work;
    (void)type;
    return NULL;
}

struct ec_table *ec_table_new(struct ec_work *w, const struct cs_pubkey *key) {
    (void)w;
    (void)key;
    return NULL;
}

bool ec_work_verify(struct ec_work *w, const struct ec_table *t, const struct cs_pubkey *key,
                    const uint8_t *digest, size_t digest_len, struct cs_bytes sig) {
    (void)w;
    (void)t;
    (void)key;
    (void)digest;
    (void)digest_len;
    (void)sig;
    return false;
}
#endif
