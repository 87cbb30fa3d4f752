// SPDX-License-Identifier: Apache-2.0
//
// The ways of verifying (EVP, a curve's own group, a key's table) must give one answer to every signature, and so must the twins that
// choose among them (curve_plain.c, curve_tables.c).
#include "certs.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>

#include "crypto/ectable.h"
#include "crypto/privkey.h"

static struct cs_crypto *crypto;

static const struct curve {
    enum cs_key_type type;
    int nid;
    size_t digest_len;
} curves[] = {
    {CS_KEY_P256, NID_X9_62_prime256v1, 32}, {CS_KEY_P384, NID_secp384r1, 48}, {CS_KEY_SM2, NID_sm2, 32}};

// One key in all ways; each context is its own so that nothing is shared.
struct verifier {
    struct cs_pubkey *key;
    struct ec_work *work;
    struct ec_table *table;
    struct cs_crypto *evp, *tables; // one for each twin
};

static void verifier_init(struct verifier *v, struct cs_bytes spki, enum cs_key_type type) {
    struct cs_err err;
    *v = (struct verifier){.evp = test_crypto()};
    v->evp->verify_on_curve = curve_verify_plain;
    v->tables = test_crypto();
    assert_true(v->tables->verify_on_curve == curve_verify_tables);
    // A table from the second use on, and the curve's own group before.
    crypto_slot_of(v->tables, type)->pace = (struct ec_pace){.table_worth = 2, .plain = true};
    if (!cs_pubkey_new(crypto, spki, &v->key, &err))
        fail_msg("%s", err.msg);
    assert_non_null(ec_work_get(&v->work, type));
    v->table = ec_table_new(v->work, v->key);
    assert_non_null(v->table);
}

static void verifier_clear(struct verifier *v) {
    ec_table_free(v->table);
    ec_work_free(v->work);
    cs_pubkey_free(v->key);
    cs_crypto_free(v->tables);
    cs_crypto_free(v->evp);
}

// The answer, which all give; fails the test where they differ.
static bool answer(struct verifier *v, const uint8_t *digest, struct cs_bytes sig) {
    struct sig_alg alg = crypto_alg_of(v->key->type);
    size_t len = crypto_digest_len(alg.digest);
    bool evp = crypto_verify_digest(v->evp, v->key, &alg, digest, sig);
    bool twin = crypto_verify_digest(v->tables, v->key, &alg, digest, sig);
    bool plain = ec_work_verify(v->work, NULL, v->key, digest, len, sig);
    bool table = ec_work_verify(v->work, v->table, v->key, digest, len, sig);
    if (plain != evp || table != evp || twin != evp)
        fail_msg("EVP %d, plain %d, table %d, twin %d", evp, plain, table, twin);
    return evp;
}

static size_t put_integer(uint8_t *out, const BIGNUM *n) {
    int len = BN_num_bytes(n);
    bool pad = len == 0 || BN_num_bits(n) % 8 == 0;
    out[0] = 0x02;
    out[1] = (uint8_t)(len + pad);
    out[2] = 0;
    BN_bn2bin(n, out + 2 + pad);
    return 2 + (size_t)len + pad;
}

static struct cs_bytes make_sig(uint8_t out[160], const BIGNUM *r, const BIGNUM *s) {
    uint8_t body[150];
    size_t n = put_integer(body, r);
    n += put_integer(body + n, s);
    out[0] = 0x30;
    out[1] = (uint8_t)n;
    memcpy(out + 2, body, n);
    return (struct cs_bytes){out, n + 2};
}

static struct cs_bytes spki_of(const struct cs_privkey *k) {
    return privkey_spki_bytes(k);
}

static void random_signatures(void **state) {
    (void)state;
    for (size_t c = 0; c < CS_ARRAY_LEN(curves); c++) {
        for (int keys = 0; keys < (curves[c].type == CS_KEY_P256 ? 3 : 6); keys++) {
            struct cs_err err;
            struct verifier v, other;
            CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
            CS_AUTO(cs_privkey_free) struct cs_privkey *another = NULL;
            assert_true(cs_privkey_generate(curves[c].type, 0, &key, &err));
            assert_true(cs_privkey_generate(curves[c].type, 0, &another, &err));
            verifier_init(&v, spki_of(key), curves[c].type);
            verifier_init(&other, spki_of(another), curves[c].type);
            for (int i = 0; i < 20; i++) {
                uint8_t message[4] = {(uint8_t)i, (uint8_t)keys}, digest[64], sig[160];
                struct cs_bytes part = {message, sizeof message};
                size_t len;
                assert_true(privkey_sign(crypto, key, &part, 1, sig, sizeof sig, &len));
                if (curves[c].type == CS_KEY_SM2)
                    crypto_sm2_digest(crypto, v.key->point, &part, 1, digest);
                else
                    crypto_digest(crypto, crypto_alg_of(curves[c].type).digest, &part, 1, digest);
                struct cs_bytes good = {sig, len};
                assert_true(answer(&v, digest, good));
                assert_false(answer(&other, digest, good));
                digest[5] ^= 1;
                assert_false(answer(&v, digest, good));
                digest[5] ^= 1;
                for (size_t at = 0; at < len; at += i == 0 ? 1 : 17) {
                    sig[at] ^= (uint8_t)(1u << (i % 8));
                    assert_false(answer(&v, digest, good));
                    sig[at] ^= (uint8_t)(1u << (i % 8));
                }
                assert_false(answer(&v, digest, (struct cs_bytes){sig, len - 1}));
            }
            assert_int_equal(v.tables->tables, 1);
            verifier_clear(&v);
            verifier_clear(&other);
        }
    }
}

// Every mix of numbers at the edges of the ranges, as r, s and digest.
static void edges(void **state) {
    (void)state;
    for (size_t c = 0; c < CS_ARRAY_LEN(curves); c++) {
        struct cs_err err;
        struct verifier v;
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
        assert_true(cs_privkey_generate(curves[c].type, 0, &key, &err));
        verifier_init(&v, spki_of(key), curves[c].type);
        EC_GROUP *group = EC_GROUP_new_by_curve_name(curves[c].nid);
        BIGNUM *n[9];
        for (size_t i = 0; i < CS_ARRAY_LEN(n); i++)
            n[i] = BN_new();
        BN_zero(n[0]);
        BN_one(n[1]);
        BN_set_word(n[2], 2);
        BN_copy(n[3], EC_GROUP_get0_order(group));
        BN_sub(n[4], n[3], n[1]);
        BN_add(n[5], n[3], n[1]);
        BN_copy(n[6], EC_GROUP_get0_field(group));
        BN_rshift1(n[7], n[3]);
        BN_lshift(n[8], n[3], 8);
        static const uint8_t fills[] = {0x00, 0xFF, 0x5A};
        for (size_t r = 0; r < CS_ARRAY_LEN(n); r++)
            for (size_t s = 0; s < CS_ARRAY_LEN(n); s++)
                for (size_t f = 0; f < sizeof fills; f++) {
                    uint8_t digest[64], sig[160];
                    memset(digest, fills[f], sizeof digest);
                    assert_false(answer(&v, digest, make_sig(sig, n[r], n[s])));
                }
        for (size_t i = 0; i < CS_ARRAY_LEN(n); i++)
            BN_free(n[i]);
        EC_GROUP_free(group);
        verifier_clear(&v);
    }
}

// Strict DER: the same numbers written otherwise are no signature.
static void other_encodings(void **state) {
    (void)state;
    struct cs_err err;
    struct verifier v;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("p256");
    verifier_init(&v, spki_of(key), CS_KEY_P256);
    uint8_t message = 1, digest[32], sig[160];
    struct cs_bytes part = {&message, 1};
    size_t len;
    crypto_digest(crypto, DIGEST_SHA256, &part, 1, digest);
    do // both with a leading zero byte, so that every form below can be made
        assert_true(privkey_sign(crypto, key, &part, 1, sig, sizeof sig, &len));
    while (len != 72);
    assert_true(answer(&v, digest, (struct cs_bytes){sig, len}));
    uint8_t form[170];
    // A long-form length where the short one is enough.
    memcpy(form, "\x30\x81", 2);
    memcpy(form + 2, sig + 1, len - 1);
    assert_false(answer(&v, digest, (struct cs_bytes){form, len + 1}));
    // A second leading zero in r.
    memcpy(form, sig, len);
    memmove(form + 5, sig + 4, len - 4);
    form[1]++;
    form[3]++;
    form[4] = 0;
    assert_false(answer(&v, digest, (struct cs_bytes){form, len + 1}));
    // r without its leading zero: negative.
    memcpy(form, sig, len);
    memmove(form + 4, sig + 5, len - 5);
    form[1]--;
    form[3]--;
    assert_false(answer(&v, digest, (struct cs_bytes){form, len - 1}));
    // Something after s, inside and outside.
    memcpy(form, sig, len);
    form[1] += 2;
    memcpy(form + len, "\x05\x00", 2);
    assert_false(answer(&v, digest, (struct cs_bytes){form, len + 2}));
    form[1] -= 2;
    assert_false(answer(&v, digest, (struct cs_bytes){form, len + 2}));
    assert_false(answer(&v, digest, (struct cs_bytes){NULL, 0}));
    verifier_clear(&v);
    (void)err;
}

// Numbers of one made-up signature: the sum is a point that is chosen, the key follows.
struct made {
    EC_GROUP *group;
    BN_CTX *ctx;
    const BIGNUM *order, *field;
    BIGNUM *x, *y, *r, *s, *e, *t, *u;
    EC_POINT *sum, *key, *point;
};

static void made_init(struct made *m, int nid) {
    m->group = EC_GROUP_new_by_curve_name(nid);
    m->ctx = BN_CTX_new();
    m->order = EC_GROUP_get0_order(m->group);
    m->field = EC_GROUP_get0_field(m->group);
    BIGNUM **n[] = {&m->x, &m->y, &m->r, &m->s, &m->e, &m->t, &m->u};
    for (size_t i = 0; i < CS_ARRAY_LEN(n); i++)
        *n[i] = BN_new();
    m->sum = EC_POINT_new(m->group);
    m->key = EC_POINT_new(m->group);
    m->point = EC_POINT_new(m->group);
}

static void made_clear(struct made *m) {
    BIGNUM *n[] = {m->x, m->y, m->r, m->s, m->e, m->t, m->u};
    for (size_t i = 0; i < CS_ARRAY_LEN(n); i++)
        BN_free(n[i]);
    EC_POINT_free(m->sum);
    EC_POINT_free(m->key);
    EC_POINT_free(m->point);
    EC_GROUP_free(m->group);
    BN_CTX_free(m->ctx);
}

// key = b^-1 * (sum - a * G), so that a * G + b * key = sum.
static void solve_key(struct made *m, const BIGNUM *a, const BIGNUM *b) {
    BIGNUM *inverse = BN_mod_inverse(NULL, b, m->order, m->ctx);
    assert_non_null(inverse);
    assert_int_equal(EC_POINT_mul(m->group, m->point, a, NULL, NULL, m->ctx), 1);
    assert_int_equal(EC_POINT_invert(m->group, m->point, m->ctx), 1);
    assert_int_equal(EC_POINT_add(m->group, m->point, m->point, m->sum, m->ctx), 1);
    assert_int_equal(EC_POINT_mul(m->group, m->key, NULL, m->point, inverse, m->ctx), 1);
    BN_free(inverse);
}

// A sum whose x lies between the order and the field's prime, where r is not x itself: one signature in 2^32
// (P-256) or far fewer, so it is made backwards.
static void sums_beyond_the_order(void **state) {
    (void)state;
    for (size_t c = 0; c < CS_ARRAY_LEN(curves); c++) {
        struct cs_err err;
        struct made m;
        struct verifier v;
        uint8_t spki[200], digest[64] = {0}, sig[160];
        made_init(&m, curves[c].nid);
        BN_copy(m.x, m.order);
        do
            BN_add_word(m.x, 1);
        while (EC_POINT_set_compressed_coordinates(m.group, m.sum, m.x, 0, m.ctx) != 1);
        assert_true(BN_cmp(m.x, m.order) > 0 && BN_cmp(m.x, m.field) < 0);
        BN_rand_range(m.s, m.order);
        BN_rand_range(m.t, m.order);
        if (curves[c].type == CS_KEY_SM2) { // t = r + s, e = r - x
            solve_key(&m, m.s, m.t);
            BN_mod_sub(m.r, m.t, m.s, m.order, m.ctx);
            BN_mod_sub(m.e, m.r, m.x, m.order, m.ctx);
        } else { // r = x mod n, s = r / t, e = u * s with the sum u * G + t * key
            BN_rand_range(m.u, m.order);
            solve_key(&m, m.u, m.t);
            BN_nnmod(m.r, m.x, m.order, m.ctx);
            BIGNUM *inverse = BN_mod_inverse(NULL, m.t, m.order, m.ctx);
            BN_mod_mul(m.s, m.r, inverse, m.order, m.ctx);
            BN_mod_mul(m.e, m.u, m.s, m.order, m.ctx);
            BN_free(inverse);
        }
        // The pattern's SPKI with the point put into its end.
        CS_AUTO(cs_privkey_free) struct cs_privkey *pattern = NULL;
        assert_true(cs_privkey_generate(curves[c].type, 0, &pattern, &err));
        memcpy(spki, pattern->spki, pattern->spki_len);
        size_t point_len = curves[c].type == CS_KEY_P384 ? 97 : 65;
        assert_int_equal(EC_POINT_point2oct(m.group, m.key, POINT_CONVERSION_UNCOMPRESSED,
                                            spki + pattern->spki_len - point_len, point_len, m.ctx),
                         point_len);
        verifier_init(&v, (struct cs_bytes){spki, pattern->spki_len}, curves[c].type);
        BN_bn2binpad(m.e, digest, (int)curves[c].digest_len);
        assert_true(answer(&v, digest, make_sig(sig, m.r, m.s)));
        BN_add_word(m.r, 1);
        assert_false(answer(&v, digest, make_sig(sig, m.r, m.s)));
        verifier_clear(&v);
        made_clear(&m);
    }
}

// The sum is the point at infinity: never good.
static void sums_at_infinity(void **state) {
    (void)state;
    for (size_t c = 0; c < CS_ARRAY_LEN(curves); c++) {
        struct cs_err err;
        struct made m;
        struct verifier v;
        uint8_t spki[200], digest[64] = {0}, sig[160];
        made_init(&m, curves[c].nid);
        // key = G, so u1 + u2 = 0 (ECDSA: e = -r) or s + (r + s) = 0 (SM2: r = -2 s) will do.
        EC_POINT_copy(m.key, EC_GROUP_get0_generator(m.group));
        BN_rand_range(m.s, m.order);
        BN_rand_range(m.r, m.order);
        if (curves[c].type == CS_KEY_SM2) {
            BN_mod_lshift1(m.r, m.s, m.order, m.ctx);
            BN_sub(m.r, m.order, m.r);
        } else {
            BN_sub(m.e, m.order, m.r);
        }
        CS_AUTO(cs_privkey_free) struct cs_privkey *pattern = NULL;
        assert_true(cs_privkey_generate(curves[c].type, 0, &pattern, &err));
        memcpy(spki, pattern->spki, pattern->spki_len);
        size_t point_len = curves[c].type == CS_KEY_P384 ? 97 : 65;
        EC_POINT_point2oct(m.group, m.key, POINT_CONVERSION_UNCOMPRESSED,
                           spki + pattern->spki_len - point_len, point_len, m.ctx);
        verifier_init(&v, (struct cs_bytes){spki, pattern->spki_len}, curves[c].type);
        BN_bn2binpad(m.e, digest, (int)curves[c].digest_len);
        assert_false(answer(&v, digest, make_sig(sig, m.r, m.s)));
        verifier_clear(&v);
        made_clear(&m);
    }
}

// Through the front door: a key's table is made on the way, and the answers stay.
static void tables_come_with_use(void **state) {
    (void)state;
    for (size_t c = 0; c < CS_ARRAY_LEN(curves); c++) {
        struct cs_err err;
        CS_AUTO(cs_crypto_free) struct cs_crypto *mine = test_crypto();
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
        CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
        uint8_t sig[160];
        size_t len;
        assert_true(cs_privkey_generate(curves[c].type, 0, &key, &err));
        assert_true(cs_pubkey_new(mine, spki_of(key), &pub, &err));
        struct cs_bytes tbs = {(const uint8_t *)"message", 7};
        struct sig_alg alg = crypto_alg_of(curves[c].type);
        assert_true(privkey_sign(mine, key, &tbs, 1, sig, sizeof sig, &len));
        unsigned worth = ec_pace_guess(curves[c].type).table_worth;
        for (unsigned i = 0; i < worth + 4; i++) {
            assert_int_equal(mine->tables, worth > 0 && i > worth ? 1 : 0);
            assert_true(crypto_verify(mine, pub, &alg, tbs, (struct cs_bytes){sig, len}));
            sig[len - 1] ^= 1;
            if (i >= worth) // a wrong signature counts as a use too
                assert_false(crypto_verify(mine, pub, &alg, tbs, (struct cs_bytes){sig, len}));
            sig[len - 1] ^= 1;
        }
    }
}

// Clocks under which one way seems the fastest: each verification reads the time twice, first those by EVP, then the plain ones; then a
// table is made, and those with it come last.
static int64_t reads, now_ns;

static int64_t ticking(const int64_t took_ns[4]) {
    int64_t n = reads++, tries = 2 * EC_PACE_TRIES;
    int64_t way = n < tries ? 0 : n < 2 * tries ? 1 : n < 2 * tries + 2 ? 2 : 3;
    if (n % 2)
        now_ns += took_ns[way];
    return now_ns;
}
static int64_t standing(void) {
    return 7;
}
static int64_t evp_fast(void) {
    return ticking((const int64_t[4]){100, 200, 5000, 99});
}
static int64_t table_fast(void) {
    return ticking((const int64_t[4]){459, 600, 1000, 219});
}
static int64_t all_here(void) {
    return ticking((const int64_t[4]){459, 400, 1000, 219});
}

static void the_pace_is_what_was_measured(void **state) {
    (void)state;
    static const struct {
        int64_t (*now_ns)(void);
        struct ec_pace want;
    } rows[] = {
        {standing, {0, false}}, {evp_fast, {0, false}}, {table_fast, {6, false}}, {all_here, {7, true}}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        for (int c = 0; c < 2; c++) {
            reads = now_ns = 0;
            struct ec_pace pace = ec_pace_measure(c ? CS_KEY_SM2 : CS_KEY_P384, rows[i].now_ns);
            assert_int_equal(pace.table_worth, rows[i].want.table_worth);
            assert_int_equal(pace.plain, rows[i].want.plain);
        }
    reads = now_ns = 0;
    assert_int_equal(ec_pace_measure(CS_KEY_P256, all_here).table_worth,
                     ec_pace_guess(CS_KEY_P256).table_worth);
    assert_int_equal(ec_pace_measure(CS_KEY_P521, all_here).table_worth, 0);
}

// However the ways are chosen: the same answers, from the first use of a key to those by its table.
static void no_answer_depends_on_the_pace(void **state) {
    (void)state;
    int64_t (*const clocks[])(void) = {NULL, standing, evp_fast, table_fast, all_here};
    for (size_t c = 0; c < CS_ARRAY_LEN(curves); c++) {
        struct cs_err err;
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
        CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
        uint8_t sig[160];
        size_t len;
        struct cs_bytes tbs = {(const uint8_t *)"message", 7};
        struct sig_alg alg = crypto_alg_of(curves[c].type);
        assert_true(cs_privkey_generate(curves[c].type, 0, &key, &err));
        assert_true(cs_pubkey_new(crypto, spki_of(key), &pub, &err));
        assert_true(privkey_sign(crypto, key, &tbs, 1, sig, sizeof sig, &len));
        for (size_t k = 0; k < CS_ARRAY_LEN(clocks); k++) {
            CS_AUTO(cs_crypto_free) struct cs_crypto *mine = test_crypto();
            reads = now_ns = 0;
            if (clocks[k])
                cs_crypto_tune(mine, clocks[k]);
            for (int i = 0; i < 20; i++) {
                assert_true(crypto_verify(mine, pub, &alg, tbs, (struct cs_bytes){sig, len}));
                sig[len - 1] ^= 1;
                assert_false(crypto_verify(mine, pub, &alg, tbs, (struct cs_bytes){sig, len}));
                sig[len - 1] ^= 1;
            }
        }
    }
}

static int setup(void **state) {
    (void)state;
    crypto = test_crypto();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cs_crypto_free(crypto);
    return 0;
}

int main(void) {
    if (ec_pace_guess(CS_KEY_P256).table_worth == 0) {
        printf("this OpenSSL has no tables: EVP verifies all\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_signatures),
        cmocka_unit_test(edges),
        cmocka_unit_test(other_encodings),
        cmocka_unit_test(sums_beyond_the_order),
        cmocka_unit_test(sums_at_infinity),
        cmocka_unit_test(tables_come_with_use),
        cmocka_unit_test(the_pace_is_what_was_measured),
        cmocka_unit_test(no_answer_depends_on_the_pace),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
