// SPDX-License-Identifier: Apache-2.0
#include "certs.h"

#include "certsync/base/text.h"
#include "certsync/model/seal.h"
#include "crypto/hpke.h"

static struct cs_crypto *crypto;

static size_t unhex(const char *hex, uint8_t *out) {
    size_t len = strlen(hex);
    assert_true(cs_hex_decode(hex, len, out));
    return len / 2;
}

// info "Ode on a Grecian Urn", plaintext "Beauty is truth, truth beauty", aad "Count-0" in both.
static const struct vector {
    const char *what;
    const struct hpke_aead *aead;
    const char *sk_e, *pk_r, *sk_r, *enc, *key, *base_nonce, *ct;
} vectors[] = {
    {"RFC 9180 appendix A.1.1", &hpke_aes128_gcm,
     "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
     "3948cfe0ad1ddb695d780e59077195da6c56506b027329794ab02bca80815c4d",
     "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
     "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431", "4531685d41d65f03dc48f6b8302c05b0",
     "56d890e5accaaf011cff4b7d",
     "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a"},
    // https://github.com/cfrg/draft-irtf-cfrg-hpke/blob/5f503c564da00b0687b3de75f1dfbdfc4079ad31/test-vectors.json
    {"CFRG's vectors, mode 0, KEM 32, KDF 1, AEAD 2", &hpke_aes256_gcm,
     "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
     "430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c",
     "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
     "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
     "f50b0609186798729ed0564b36ef2ef8044f1f9d05636874d1f46c819c7a669f", "151d9929e2449747889bc923",
     "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a"},
};

#define BYTES(literal) ((struct cs_bytes){(const uint8_t *)(literal), sizeof(literal) - 1})
#define INFO           BYTES("Ode on a Grecian Urn")
#define PLAIN          BYTES("Beauty is truth, truth beauty")
#define AAD            BYTES("Count-0")

static void published_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct cs_err err;
        struct hpke_context context;
        uint8_t sk_e[32], pk_r[32], sk_r[32], want_enc[32], want_key[32], want_nonce[12], want_ct[64],
            enc[32], ct[64], pt[64];
        unhex(v->sk_e, sk_e);
        unhex(v->pk_r, pk_r);
        unhex(v->sk_r, sk_r);
        unhex(v->enc, want_enc);
        size_t key_len = unhex(v->key, want_key), ct_len = unhex(v->ct, want_ct);
        unhex(v->base_nonce, want_nonce);
        if (!hpke_seal(v->aead, sk_e, pk_r, INFO, AAD, PLAIN, enc, ct, &context, &err))
            fail_msg("%s: %s", v->what, err.msg);
        assert_memory_equal(enc, want_enc, 32);
        assert_int_equal(key_len, v->aead->key_len);
        assert_memory_equal(context.key, want_key, key_len);
        assert_memory_equal(context.base_nonce, want_nonce, 12);
        assert_int_equal(ct_len, PLAIN.len + 16);
        assert_memory_equal(ct, want_ct, ct_len);
        assert_true(
            hpke_open(v->aead, sk_r, want_enc, INFO, AAD, (struct cs_bytes){want_ct, ct_len}, pt, &err));
        assert_memory_equal(pt, PLAIN.data, PLAIN.len);
        if (v->aead == &hpke_aes256_gcm) { // the public functions are of this suite
            assert_true(cs_hpke_seal(sk_e, pk_r, INFO, AAD, PLAIN, enc, ct, &err));
            assert_memory_equal(ct, want_ct, ct_len);
            assert_true(cs_hpke_open(sk_r, enc, INFO, AAD, (struct cs_bytes){ct, ct_len}, pt, &err));
        }
    }
}

static void what_does_not_open(void **state) {
    (void)state;
    const struct vector *v = &vectors[1];
    struct cs_err err;
    uint8_t sk_r[32], enc[32], ct[64], pt[64];
    unhex(v->sk_r, sk_r);
    unhex(v->enc, enc);
    size_t ct_len = unhex(v->ct, ct);
#define OPENS(info, aad, len) cs_hpke_open(sk_r, enc, (info), (aad), (struct cs_bytes){ct, (len)}, pt, &err)
    assert_true(OPENS(INFO, AAD, ct_len));
    assert_false(OPENS(BYTES("Ode on a Grecian Url"), AAD, ct_len));
    assert_int_equal(err.kind, CS_ERR_REJECT);
    assert_int_equal(err.code, CS_CODE_KEY_MALFORMED);
    assert_false(OPENS(INFO, BYTES("Count-1"), ct_len));
    assert_false(OPENS(INFO, BYTES(""), ct_len));
    for (size_t n = 0; n < ct_len; n++) {
        assert_false(OPENS(INFO, AAD, n));
        ct[n] ^= 1;
        assert_false(OPENS(INFO, AAD, ct_len));
        ct[n] ^= 1;
    }
    enc[3] ^= 1;
    assert_false(OPENS(INFO, AAD, ct_len));
    memset(enc, 0, 32); // of small order: the shared secret would be zero
    assert_false(OPENS(INFO, AAD, ct_len));
    unhex(v->enc, enc);
    sk_r[5] ^= 1;
    assert_false(OPENS(INFO, AAD, ct_len));
#undef OPENS
    uint8_t weak[32] = {1}, sk_e[32];
    unhex(v->sk_e, sk_e);
    assert_false(cs_hpke_seal(sk_e, weak, INFO, AAD, PLAIN, enc, ct, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
}

struct sealed {
    uint8_t *data;
    size_t len;
};

static void private_keys(void **state) {
    (void)state;
    static const char *const names[] = {"rsa", "p256", "p384", "p521", "ed25519", "sm2-sign"};
    CS_AUTO(cs_privkey_free) struct cs_privkey *custodian = test_key("custodian");
    struct cs_privkey *other_custodian = NULL;
    struct cs_err err;
    uint8_t *spki;
    size_t spki_len;
    assert_true(cs_privkey_generate(CS_KEY_X25519, 0, &other_custodian, &err));
    assert_true(cs_privkey_spki(custodian, &spki, &spki_len, &err));
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key(names[i]);
        CS_AUTO(cs_privkey_free) struct cs_privkey *back = NULL;
        CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, names[i]);
        struct cs_seal_context ctx = {"prod", "acme", "subject-1", CS_ROLE_SINGLE, cert->spki_sha256}, other;
        struct sealed a, b;
        struct cs_privkey *none = NULL;
        assert_true(cs_seal(crypto, (struct cs_bytes){spki, spki_len}, &ctx, key, &a.data, &a.len, &err));
        assert_true(cs_seal(crypto, (struct cs_bytes){spki, spki_len}, &ctx, key, &b.data, &b.len, &err));
        assert_int_equal(a.len, b.len);
        assert_memory_not_equal(a.data, b.data, a.len); // a fresh ephemeral key each time
        assert_true(a.len <= CS_SEALED_MAX);
        cs_kid kid, want;
        assert_true(cs_sealed_kid((struct cs_bytes){a.data, a.len}, kid));
        cs_kid_of_spki(crypto, (struct cs_bytes){spki, spki_len}, want);
        assert_string_equal(kid, want);
        assert_true(cs_unseal(crypto, custodian, &ctx, (struct cs_bytes){a.data, a.len}, &back, &err));
        assert_int_equal(cs_privkey_type(back), cs_privkey_type(key));
        uint8_t *pkcs8 = NULL, *pkcs8_back = NULL;
        size_t n = 0, n_back = 0;
        assert_true(cs_privkey_to_pkcs8(key, &pkcs8, &n, &err) &&
                    cs_privkey_to_pkcs8(back, &pkcs8_back, &n_back, &err));
        assert_int_equal(n, n_back);
        assert_memory_equal(pkcs8, pkcs8_back, n);
        // Of a key of a curve no public half is sealed; what comes out has it again.
        bool curve = cs_privkey_type(key) != CS_KEY_RSA && cs_privkey_type(key) != CS_KEY_ED25519;
        assert_true(curve ? a.len + 64 < n + CS_SEALED_OVERHEAD : a.len == n + CS_SEALED_OVERHEAD);
        cs_secure_free(pkcs8, n);
        cs_secure_free(pkcs8_back, n_back);
        // Bound to its place: each part of the context counts.
#define REFUSED(member, value)                                                                               \
    (other = ctx, other.member = (value),                                                                    \
     !cs_unseal(crypto, custodian, &other, (struct cs_bytes){a.data, a.len}, &none, &err) &&                 \
         err.kind == CS_ERR_REJECT && err.code == CS_CODE_KEY_MALFORMED)
        uint8_t wrong[32] = {0};
        assert_true(REFUSED(log_id, "test"));
        assert_true(REFUSED(account, "acm"));
        assert_true(REFUSED(subject, "subject-2"));
        assert_true(REFUSED(role, CS_ROLE_SM2_SIGN));
        assert_true(REFUSED(spki_sha256, wrong));
#undef REFUSED
        assert_false(cs_unseal(crypto, other_custodian, &ctx, (struct cs_bytes){a.data, a.len}, &none, &err));
        assert_int_equal(err.code, CS_CODE_KEY_MALFORMED);
        assert_non_null(strstr(err.msg, want)); // whose it is
        // Sealed under the hash of another key than the one inside.
        other = ctx;
        other.spki_sha256 = wrong;
        struct sealed lying;
        assert_true(
            cs_seal(crypto, (struct cs_bytes){spki, spki_len}, &other, key, &lying.data, &lying.len, &err));
        assert_false(
            cs_unseal(crypto, custodian, &other, (struct cs_bytes){lying.data, lying.len}, &none, &err));
        assert_int_equal(err.code, CS_CODE_KEY_MISMATCH);
        assert_null(none);
        free(lying.data);
        free(a.data);
        free(b.data);
    }
    free(spki);
    cs_privkey_free(other_custodian);
}

static void sealed_forms(void **state) {
    (void)state;
    static uint8_t sealed[CS_SEALED_MAX + 1] = {1, 0xAB};
    cs_kid kid = "";
    static const struct {
        size_t len;
        uint8_t version;
        bool good;
    } rows[] = {{CS_SEALED_OVERHEAD + 1, 1, true},
                {CS_SEALED_MAX, 1, true},
                {CS_SEALED_OVERHEAD, 1, false},
                {CS_SEALED_MAX + 1, 1, false},
                {CS_SEALED_OVERHEAD + 1, 2, false},
                {CS_SEALED_OVERHEAD + 1, 0, false},
                {0, 1, false}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        sealed[0] = rows[i].version;
        assert_int_equal(cs_sealed_kid((struct cs_bytes){sealed, rows[i].len}, kid), rows[i].good);
    }
    assert_string_equal(kid, "ab000000000000000000000000000000");
    assert_string_equal(cs_key_role_name(CS_ROLE_SINGLE), "single");
    assert_string_equal(cs_key_role_name(CS_ROLE_SM2_SIGN), "sm2-sign");
    assert_string_equal(cs_key_role_name(CS_ROLE_SM2_ENCRYPT), "sm2-enc");
}

static void only_x25519_takes_custody(void **state) {
    (void)state;
    struct cs_err err;
    struct sealed s;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("p256");
    CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, "p256");
    struct cs_seal_context ctx = {"prod", "acme", "subject-1", CS_ROLE_SINGLE, cert->spki_sha256};
    assert_false(cs_seal(crypto, cert->spki, &ctx, key, &s.data, &s.len, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_false(
        cs_seal(crypto, (struct cs_bytes){(const uint8_t *)"x", 1}, &ctx, key, &s.data, &s.len, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
}

static int setup(void **state) {
    (void)state;
    cs_secure_heap_init();
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
        cmocka_unit_test(published_vectors),
        cmocka_unit_test(what_does_not_open),
        cmocka_unit_test(private_keys),
        cmocka_unit_test(sealed_forms),
        cmocka_unit_test(only_x25519_takes_custody),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
