// SPDX-License-Identifier: Apache-2.0
#include "certs.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"

static struct cs_crypto *crypto;

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static struct cs_pubkey *public_of(const struct cs_privkey *key) {
    struct cs_err err;
    struct cs_pubkey *pub = NULL;
    uint8_t *spki;
    size_t len;
    assert_true(cs_privkey_spki(key, &spki, &len, &err));
    assert_true(cs_pubkey_new(crypto, (struct cs_bytes){spki, len}, &pub, &err));
    free(spki);
    return pub;
}

static void events(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_privkey_free) struct cs_privkey *a = test_key("p256");
    CS_AUTO(cs_privkey_free) struct cs_privkey *b = test_key("other");
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub_a = public_of(a);
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub_b = public_of(b);
    uint8_t sig[CS_EVENT_SIG_MAX], bad[CS_EVENT_SIG_MAX];
    size_t len;
    struct cs_bytes value = text("{\"specversion\":\"1.0\"}");
    // Many times, so that the key is also seen through its kept context.
    for (int i = 0; i < 8; i++) {
        assert_true(cs_event_sign(crypto, a, value, sig, &len, &err));
        assert_true(cs_event_verify(crypto, pub_a, value, (struct cs_bytes){sig, len}));
        assert_false(cs_event_verify(crypto, pub_b, value, (struct cs_bytes){sig, len}));
        assert_false(
            cs_event_verify(crypto, pub_a, text("{\"specversion\":\"1.1\"}"), (struct cs_bytes){sig, len}));
        assert_true(cs_event_sign(crypto, b, value, bad, &len, &err));
        assert_true(cs_event_verify(crypto, pub_b, value, (struct cs_bytes){bad, len}));
        assert_false(cs_event_verify(crypto, pub_a, value, (struct cs_bytes){bad, len}));
    }
    assert_true(cs_event_sign(crypto, a, value, sig, &len, &err));
    for (size_t n = 0; n < len; n++) {
        assert_false(cs_event_verify(crypto, pub_a, value, (struct cs_bytes){sig, n}));
        sig[n] ^= 1;
        assert_false(cs_event_verify(crypto, pub_a, value, (struct cs_bytes){sig, len}));
        sig[n] ^= 1;
    }
    sig[len] = 0; // trailing byte
    assert_false(cs_event_verify(crypto, pub_a, value, (struct cs_bytes){sig, len + 1}));
    assert_false(cs_event_verify(crypto, pub_a, value, (struct cs_bytes){NULL, 0}));
    assert_true(cs_event_verify(crypto, pub_a, value, (struct cs_bytes){sig, len}));
}

// DSSE's encoding as its protocol states it, by OpenSSL's one-call verification.
static void the_event_encoding_is_dsse(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("p256");
    uint8_t sig[CS_EVENT_SIG_MAX], *spki;
    size_t len, spki_len;
    assert_true(cs_event_sign(crypto, key, text("hello world"), sig, &len, &err));
    assert_true(cs_privkey_spki(key, &spki, &spki_len, &err));
    const char *pae = "DSSEv1 28 application/cloudevents+json 11 hello world";
    const uint8_t *p = spki;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &p, (long)spki_len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, pkey), 1);
    assert_int_equal(EVP_DigestVerify(ctx, sig, len, (const uint8_t *)pae, strlen(pae)), 1);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(pkey);
    free(spki);
}

static void only_p256_signs_events(void **state) {
    (void)state;
    static const char *const names[] = {"rsa", "p384", "ed25519", "sm2-sign", "custodian"};
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        struct cs_err err;
        uint8_t sig[CS_EVENT_SIG_MAX] = {0};
        size_t len;
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key(names[i]);
        CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = public_of(key);
        assert_false(cs_event_sign(crypto, key, text("x"), sig, &len, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
        assert_false(cs_event_verify(crypto, pub, text("x"), (struct cs_bytes){sig, sizeof sig}));
    }
}

static struct cs_pop_fields fields_of(const struct cs_cert *leaf) {
    return (struct cs_pop_fields){.log_id = "prod",
                                  .account = "acme",
                                  .kid = "00112233445566778899aabbccddeeff",
                                  .event_id = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
                                  .subject = "017f22e2-79b0-7cc3-98c4-dc0c0c073990",
                                  .sealed_key = {(const uint8_t *)"sealed", 6},
                                  .leaf_sha256 = leaf->sha256};
}

static void proofs_of_possession(void **state) {
    (void)state;
    static const char *const names[] = {"rsa", "p256", "p384", "p521", "ed25519", "sm2-sign", "sm2-enc"};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
            struct cs_err err;
            uint8_t pop[CS_POP_MAX], other_hash[32] = {1};
            size_t len;
            CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key(names[i]);
            CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, names[i]);
            struct cs_pop_fields f = fields_of(leaf), g;
            if (!cs_pop_sign(crypto, key, leaf->key, &f, pop, &len, &err))
                fail_msg("%s: %s", names[i], err.msg);
            assert_true(cs_pop_verify(crypto, leaf->key, &f, (struct cs_bytes){pop, len}));
            // Each field counts.
#define WITH(member, value)                                                                                  \
    (g = f, g.member = (value), cs_pop_verify(crypto, leaf->key, &g, (struct cs_bytes){pop, len}))
            assert_false(WITH(log_id, "test"));
            assert_false(WITH(account, "acm"));
            assert_false(WITH(kid, "10112233445566778899aabbccddeeff"));
            assert_false(WITH(event_id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398e"));
            assert_false(WITH(subject, ""));
            assert_false(WITH(sealed_key, text("sealee")));
            assert_false(WITH(leaf_sha256, other_hash));
#undef WITH
            g = f; // moved over a field's end
            g.log_id = "proda";
            g.account = "cme";
            assert_false(cs_pop_verify(crypto, leaf->key, &g, (struct cs_bytes){pop, len}));
            pop[len / 2] ^= 1;
            assert_false(cs_pop_verify(crypto, leaf->key, &f, (struct cs_bytes){pop, len}));
            pop[len / 2] ^= 1;
            assert_false(cs_pop_verify(crypto, leaf->key, &f, (struct cs_bytes){pop, len - 1}));
            assert_false(cs_pop_verify(crypto, leaf->key, &f, (struct cs_bytes){pop, 0}));
            assert_true(cs_pop_verify(crypto, leaf->key, &f, (struct cs_bytes){pop, len}));
        }
    }
}

// The same by OpenSSL's own high-level calls, for the two that are put together here: RSA's DigestInfo and
// SM2's digest.
static void proofs_are_what_openssl_verifies(void **state) {
    (void)state;
    static const struct {
        const char *name, *digest;
    } rows[] = {
        {"rsa", "SHA256"}, {"p384", "SHA384"}, {"p521", "SHA512"}, {"sm2-sign", "SM3"}, {"ed25519", NULL}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        uint8_t pop[CS_POP_MAX], message[1024], hash[32];
        size_t len, at = 0;
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key(rows[i].name);
        CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, rows[i].name);
        struct cs_pop_fields f = fields_of(leaf);
        assert_true(cs_pop_sign(crypto, key, leaf->key, &f, pop, &len, &err));
        cs_crypto_sha256(crypto, f.sealed_key, hash);
        const struct cs_bytes parts[] = {
            text("certsync.pop.v1"), text(f.log_id),  text(f.account), text(f.kid),
            text(f.event_id),        text(f.subject), {hash, 32},      {f.leaf_sha256, 32}};
        for (size_t k = 0; k < CS_ARRAY_LEN(parts); k++) {
            memset(message + at, 0, 8);
            message[at + 7] = (uint8_t)parts[k].len;
            memcpy(message + at + 8, parts[k].data, parts[k].len);
            at += 8 + parts[k].len;
        }
        const uint8_t *p = leaf->spki.data;
        EVP_PKEY *pkey = d2i_PUBKEY(NULL, &p, (long)leaf->spki.len);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pctx = EVP_PKEY_CTX_new(pkey, NULL);
        if (EVP_PKEY_is_a(pkey, "SM2"))
            assert_int_equal(EVP_PKEY_CTX_set1_id(pctx, "1234567812345678", 16), 1);
        EVP_MD_CTX_set_pkey_ctx(ctx, pctx);
        assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, rows[i].digest, NULL, NULL, pkey, NULL), 1);
        if (EVP_DigestVerify(ctx, pop, len, message, at) != 1)
            fail_msg("%s", rows[i].name);
        EVP_MD_CTX_free(ctx);
        EVP_PKEY_CTX_free(pctx);
        EVP_PKEY_free(pkey);
    }
}

static void a_wrong_key_is_a_mismatch(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"rsa", "rsa-by-rsa"}, {"p256", "other"},       {"rsa", "p256"},     {"p256", "rsa"},
        {"p256", "sm2-sign"},  {"sm2-sign", "sm2-enc"}, {"ed25519", "p256"}, {"custodian", "p256"}};
    for (size_t i = 0; i < CS_ARRAY_LEN(pairs); i++) {
        struct cs_err err;
        uint8_t pop[CS_POP_MAX];
        size_t len;
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key(pairs[i][0]);
        CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, pairs[i][1]);
        struct cs_pop_fields f = fields_of(leaf);
        assert_false(cs_pop_sign(crypto, key, leaf->key, &f, pop, &len, &err));
        assert_int_equal(err.kind, CS_ERR_REJECT);
        assert_int_equal(err.code, CS_CODE_KEY_MISMATCH);
    }
}

// A key file that states another key's public half: OpenSSL's X509_check_private_key is taken in by it.
static void forged_key_files(void **state) {
    (void)state;
    static const struct {
        const char *own, *forged;
        size_t half; // bytes at the end of the PKCS#8 that are the public half, or 0 for RSA's modulus
    } rows[] = {{"other", "p256", 65}, {"sm2-enc", "sm2-sign", 65}, {"rsa-by-rsa", "rsa", 0}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        uint8_t *der, pop[CS_POP_MAX];
        size_t der_len, len;
        CS_AUTO(cs_privkey_free) struct cs_privkey *own = test_key(rows[i].own);
        CS_AUTO(cs_privkey_free) struct cs_privkey *forged = NULL;
        CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, rows[i].forged);
        assert_true(cs_privkey_to_pkcs8(own, &der, &der_len, &err));
        if (rows[i].half > 0) {
            memcpy(der + der_len - rows[i].half, leaf->spki.data + leaf->spki.len - rows[i].half,
                   rows[i].half);
        } else {
            // n begins 8 bytes into the bits of the SPKI (24 of header), and 7 after its header in PKCS#1.
            memcpy(der + 26 + 12, leaf->spki.data + 33, 256);
        }
        assert_true(cs_privkey_from_pkcs8((struct cs_bytes){der, der_len}, &forged, &err));
        cs_secure_free(der, der_len);
        uint8_t *spki;
        assert_true(cs_privkey_spki(forged, &spki, &len, &err));
        assert_int_equal(len, leaf->spki.len); // it looks right
        assert_memory_equal(spki, leaf->spki.data, len);
        free(spki);
        struct cs_pop_fields f = fields_of(leaf);
        assert_false(cs_pop_sign(crypto, forged, leaf->key, &f, pop, &len, &err));
        assert_int_equal(err.kind, CS_ERR_REJECT);
        assert_int_equal(err.code, CS_CODE_KEY_MISMATCH);
        assert_non_null(strstr(cs_code_hint(err.code), "openssl rsa -in OLD -out NEW"));
    }
}

// With the point at infinity as public key every signature could be made to fit; it never becomes a key
// (test_key). RSA signatures of another length than the modulus do not count either.
static void short_rsa_signatures(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("rsa");
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, "rsa");
    uint8_t pop[CS_POP_MAX], padded[CS_POP_MAX] = {0};
    size_t len;
    struct cs_pop_fields f = fields_of(leaf);
    assert_true(cs_pop_sign(crypto, key, leaf->key, &f, pop, &len, &err));
    assert_int_equal(len, 256);
    memcpy(padded + 1, pop, len);
    assert_false(cs_pop_verify(crypto, leaf->key, &f, (struct cs_bytes){padded, len + 1}));
    // One in about 256 signatures begins with a zero byte: without it, it is another signature.
    bool seen = false;
    char id[48];
    for (int i = 0; i < 5000 && !seen; i++) {
        snprintf(id, sizeof id, "%d", i);
        f.event_id = id;
        assert_true(cs_pop_sign(crypto, key, leaf->key, &f, pop, &len, &err));
        seen = pop[0] == 0;
    }
    assert_true(seen);
    assert_false(cs_pop_verify(crypto, leaf->key, &f, (struct cs_bytes){pop + 1, len - 1}));
}

static void requests_prove_by_their_own_hash(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("p256");
    CS_AUTO(cs_privkey_free) struct cs_privkey *other = test_key("other");
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = public_of(key);
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, "p256");
    struct cs_pop_fields f = fields_of(leaf);
    uint8_t pop[CS_POP_MAX];
    size_t len;
    assert_true(cs_pop_sign(crypto, key, pub, &f, pop, &len, &err));
    assert_true(cs_pop_verify(crypto, pub, &f, (struct cs_bytes){pop, len}));
    assert_false(cs_pop_sign(crypto, other, pub, &f, pop, &len, &err));
    assert_int_equal(err.code, CS_CODE_KEY_MISMATCH);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events),
        cmocka_unit_test(the_event_encoding_is_dsse),
        cmocka_unit_test(only_p256_signs_events),
        cmocka_unit_test(proofs_of_possession),
        cmocka_unit_test(proofs_are_what_openssl_verifies),
        cmocka_unit_test(a_wrong_key_is_a_mismatch),
        cmocka_unit_test(forged_key_files),
        cmocka_unit_test(short_rsa_signatures),
        cmocka_unit_test(requests_prove_by_their_own_hash),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
