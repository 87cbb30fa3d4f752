// SPDX-License-Identifier: Apache-2.0
#include "certs.h"

#include "certsync/base/text.h"

static struct cs_crypto *crypto;

// SubjectPublicKeyInfo from its parts, so that keys can be built that no tool makes.
static size_t put(uint8_t *out, uint8_t tag, const uint8_t *content, size_t len) {
    size_t n = 0;
    out[n++] = tag;
    if (len >= 256) {
        out[n++] = 0x82;
        out[n++] = (uint8_t)(len >> 8);
    } else if (len >= 128) {
        out[n++] = 0x81;
    }
    out[n++] = (uint8_t)len;
    memmove(out + n, content, len);
    return n + len;
}

static size_t make_spki(uint8_t *out, const char *alg, size_t alg_len, const uint8_t *bits, size_t bits_len) {
    uint8_t bit_string[4096], body[4096];
    bit_string[0] = 0;
    memcpy(bit_string + 1, bits, bits_len);
    memcpy(body, alg, alg_len);
    size_t n = alg_len + put(body + alg_len, 0x03, bit_string, bits_len + 1);
    return put(out, 0x30, body, n);
}

static enum cs_code code_of(const uint8_t *spki, size_t len) {
    struct cs_err err = {0};
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *k = NULL;
    // An exact copy, so that a sanitizer sees a read past the end.
    uint8_t *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, spki, len);
    bool ok = cs_pubkey_new(crypto, (struct cs_bytes){copy, len}, &k, &err);
    free(copy);
    if (ok)
        return CS_CODE_NONE;
    assert_int_equal(err.kind, CS_ERR_REJECT);
    assert_null(k);
    return err.code;
}

#define ALG_RSA     "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
#define ALG_P256    "\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define ALG_ED25519 "\x30\x05\x06\x03\x2b\x65\x70"
#define ALG_X25519  "\x30\x05\x06\x03\x2b\x65\x6e"

// RSAPublicKey of a modulus of bits (odd, top bit set) and the exponent; neither has to be a product of
// primes.
static size_t rsa_bits(uint8_t *out, size_t bits, bool odd, const char *e, size_t e_len) {
    uint8_t n[2100] = {0}, body[2200];
    size_t n_len = (bits + 7) / 8, at = 0;
    memset(n + 1, 0x5A, n_len);
    n[1] = (uint8_t)(1u << ((bits - 1) % 8));
    n[n_len] = odd ? 0x5B : 0x5A;
    bool pad = n[1] >= 0x80;
    at = put(body, 0x02, n + !pad, n_len + pad);
    at += put(body + at, 0x02, (const uint8_t *)e, e_len);
    return put(out, 0x30, body, at);
}

static void rsa_limits(void **state) {
    (void)state;
    static const struct {
        size_t bits;
        bool odd;
        const char *e;
        size_t e_len;
        enum cs_code code;
    } rows[] = {
        {2048, true, "\x01\x00\x01", 3, CS_CODE_NONE},
        {2048, true, "\x03", 1, CS_CODE_NONE},
        {2048, true, "\x00\xff\xff\xff\xff", 5, CS_CODE_NONE}, // 2^32-1
        {3071, true, "\x03", 1, CS_CODE_NONE},
        {8192, true, "\x01\x00\x01", 3, CS_CODE_NONE},
        {2047, true, "\x01\x00\x01", 3, CS_CODE_CERT_WEAK_KEY},
        {1024, true, "\x01\x00\x01", 3, CS_CODE_CERT_WEAK_KEY},
        {8193, true, "\x01\x00\x01", 3, CS_CODE_CERT_WEAK_KEY},
        {16384, true, "\x01\x00\x01", 3, CS_CODE_CERT_WEAK_KEY},
        {2048, false, "\x01\x00\x01", 3, CS_CODE_CERT_WEAK_KEY},
        {2048, true, "\x01", 1, CS_CODE_CERT_WEAK_KEY},
        {2048, true, "\x02", 1, CS_CODE_CERT_WEAK_KEY},
        {2048, true, "\x00", 1, CS_CODE_CERT_WEAK_KEY},
        {2048, true, "\x01\x00\x00\x00\x01", 5, CS_CODE_CERT_WEAK_KEY}, // above 2^32
        {2048, true, "\x83", 1, CS_CODE_CERT_MALFORMED},                // negative
        {2048, true, "\x00\x03", 2, CS_CODE_CERT_MALFORMED},            // not minimal
        {2048, true, "", 0, CS_CODE_CERT_MALFORMED},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        uint8_t bits[2300], spki[2400];
        size_t n = rsa_bits(bits, rows[i].bits, rows[i].odd, rows[i].e, rows[i].e_len);
        n = make_spki(spki, ALG_RSA, sizeof ALG_RSA - 1, bits, n);
        assert_int_equal(code_of(spki, n), rows[i].code);
        if (rows[i].code == CS_CODE_NONE) {
            struct cs_err err;
            CS_AUTO(cs_pubkey_free) struct cs_pubkey *k = NULL;
            assert_true(cs_pubkey_new(crypto, (struct cs_bytes){spki, n}, &k, &err));
            assert_int_equal(cs_pubkey_type(k), CS_KEY_RSA);
            assert_int_equal(cs_pubkey_bits(k), rows[i].bits);
            assert_int_equal(cs_pubkey_spki(k).len, n);
        }
    }
}

static void point_forms(void **state) {
    (void)state;
    CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, "p256");
    const uint8_t *point = cert->spki.data + cert->spki.len - 65;
    uint8_t p[80], spki[200];
    memcpy(p, point, 65);
#define CODE(first, len)                                                                                     \
    (p[0] = (first), code_of(spki, make_spki(spki, ALG_P256, sizeof ALG_P256 - 1, p, (len))))
    assert_int_equal(CODE(0x04, 65), CS_CODE_NONE);
    assert_int_equal(CODE(0x00, 1), CS_CODE_CERT_MALFORMED);  // infinity
    assert_int_equal(CODE(0x00, 65), CS_CODE_CERT_MALFORMED); // infinity, padded
    assert_int_equal(CODE((uint8_t)(2 + (p[64] & 1)), 33), CS_CODE_CERT_WEAK_KEY);
    assert_int_equal(CODE((uint8_t)(6 + (p[64] & 1)), 65), CS_CODE_CERT_WEAK_KEY); // hybrid
    assert_int_equal(CODE(0x04, 64), CS_CODE_CERT_MALFORMED);
    p[65] = 0;
    assert_int_equal(CODE(0x04, 66), CS_CODE_CERT_MALFORMED);
    p[64] ^= 1; // not on the curve
    assert_int_equal(CODE(0x04, 65), CS_CODE_CERT_MALFORMED);
    memset(p + 1, 0, 64);
    assert_int_equal(CODE(0x04, 65), CS_CODE_CERT_MALFORMED);
    memset(p + 1, 0xFF, 64); // coordinates above the prime
    assert_int_equal(CODE(0x04, 65), CS_CODE_CERT_MALFORMED);
#undef CODE
    // A refused point must not leave the one before in place.
    assert_int_equal(code_of(cert->spki.data, cert->spki.len), CS_CODE_NONE);
}

static void algorithms(void **state) {
    (void)state;
    static const struct {
        const char *alg;
        size_t alg_len;
        size_t bits_len;
        enum cs_code code;
    } rows[] = {
        {"\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x01", 21, 49,
         CS_CODE_CERT_WEAK_KEY}, // P-192
        {"\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a", 18, 65,
         CS_CODE_CERT_WEAK_KEY}, // secp256k1
        {"\x30\x0b\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x30\x00", 13, 65, CS_CODE_CERT_EXPLICIT_CURVE},
        {"\x30\x0b\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x05\x00", 13, 65,
         CS_CODE_CERT_MALFORMED}, // implicitCurve
        {"\x30\x09\x06\x07\x2a\x86\x48\xce\x3d\x02\x01", 11, 65, CS_CODE_CERT_MALFORMED},
        {"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a", 13, 200,
         CS_CODE_CERT_WEAK_KEY}, // RSASSA-PSS key
        {"\x30\x0b\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", 13, 200,
         CS_CODE_CERT_MALFORMED},                                                        // RSA without NULL
        {"\x30\x05\x06\x03\x2b\x65\x71", 7, 57, CS_CODE_CERT_WEAK_KEY},                  // Ed448
        {"\x30\x09\x06\x07\x2a\x86\x48\xce\x38\x04\x01", 11, 65, CS_CODE_CERT_WEAK_KEY}, // DSA
        {"\x30\x07\x06\x03\x2b\x65\x70\x05\x00", 9, 32, CS_CODE_CERT_MALFORMED}, // Ed25519 with parameters
        {ALG_ED25519, sizeof ALG_ED25519 - 1, 31, CS_CODE_CERT_MALFORMED},
        {ALG_ED25519, sizeof ALG_ED25519 - 1, 33, CS_CODE_CERT_MALFORMED},
        {ALG_ED25519, sizeof ALG_ED25519 - 1, 0, CS_CODE_CERT_MALFORMED},
        {"\x30\x00", 2, 32, CS_CODE_CERT_MALFORMED},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        uint8_t bits[256], spki[512];
        memset(bits, 0x04, sizeof bits);
        size_t n = make_spki(spki, rows[i].alg, rows[i].alg_len, bits, rows[i].bits_len);
        assert_int_equal(code_of(spki, n), rows[i].code);
    }
}

static void every_cut_and_every_trailing_byte_is_refused(void **state) {
    (void)state;
    static const char *const names[] = {"rsa", "p256", "p384", "p521", "ed25519", "sm2-sign"};
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, names[i]);
        uint8_t spki[2048] = {0};
        memcpy(spki, cert->spki.data, cert->spki.len);
        assert_int_equal(code_of(spki, cert->spki.len), CS_CODE_NONE);
        for (size_t n = 0; n < cert->spki.len; n++)
            assert_int_equal(code_of(spki, n), CS_CODE_CERT_MALFORMED);
        assert_int_equal(code_of(spki, cert->spki.len + 1), CS_CODE_CERT_MALFORMED);
    }
}

// All 14 encodings of the 8 points of small order on Ed25519, and encodings that are not reduced.
static void small_order_ed25519(void **state) {
    (void)state;
    static const char *const weak[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t k[32], spki[64];
    for (size_t i = 0; i < CS_ARRAY_LEN(weak); i++) {
        assert_true(cs_hex_decode(weak[i], 64, k));
        for (int sign = 0; sign < 2; sign++, k[31] ^= 0x80)
            assert_int_equal(code_of(spki, make_spki(spki, ALG_ED25519, sizeof ALG_ED25519 - 1, k, 32)),
                             CS_CODE_CERT_WEAK_KEY);
    }
    // The base point, y = 4/5, is none of them.
    memset(k, 0x66, 32);
    k[0] = 0x58;
    assert_int_equal(code_of(spki, make_spki(spki, ALG_ED25519, sizeof ALG_ED25519 - 1, k, 32)),
                     CS_CODE_NONE);
}

static void small_order_x25519(void **state) {
    (void)state;
    static const char *const weak[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    uint8_t k[32], spki[64];
    for (size_t i = 0; i < CS_ARRAY_LEN(weak); i++) {
        assert_true(cs_hex_decode(weak[i], 64, k));
        assert_int_equal(code_of(spki, make_spki(spki, ALG_X25519, sizeof ALG_X25519 - 1, k, 32)),
                         CS_CODE_CERT_WEAK_KEY);
    }
    memset(k, 0, 32);
    k[0] = 9;
    assert_int_equal(code_of(spki, make_spki(spki, ALG_X25519, sizeof ALG_X25519 - 1, k, 32)), CS_CODE_NONE);
}

static void generated_keys_round_trip(void **state) {
    (void)state;
    static const struct {
        enum cs_key_type type;
        int bits;
    } rows[] = {{CS_KEY_RSA, 2048}, {CS_KEY_P256, 256},    {CS_KEY_P384, 384},  {CS_KEY_P521, 521},
                {CS_KEY_SM2, 256},  {CS_KEY_ED25519, 253}, {CS_KEY_X25519, 253}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        CS_AUTO(cs_privkey_free) struct cs_privkey *a = NULL;
        CS_AUTO(cs_privkey_free) struct cs_privkey *b = NULL;
        CS_AUTO(cs_privkey_free) struct cs_privkey *again = NULL;
        CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
        uint8_t *der, *text, *spki_a, *spki_b;
        size_t der_len, text_len, a_len, b_len;
        assert_true(cs_privkey_generate(rows[i].type, 2048, &a, &err));
        assert_int_equal(cs_privkey_type(a), rows[i].type);
        assert_true(cs_privkey_to_pkcs8(a, &der, &der_len, &err));
        assert_true(cs_privkey_from_pkcs8((struct cs_bytes){der, der_len}, &b, &err));
        assert_true(cs_privkey_to_pem(a, &text, &text_len, &err));
        assert_int_equal(strlen((char *)text), text_len);
        assert_true(cs_pem_privkey(crypto, "k", (struct cs_bytes){text, text_len}, &again, &err));
        assert_true(cs_privkey_spki(a, &spki_a, &a_len, &err));
        assert_true(cs_privkey_spki(again, &spki_b, &b_len, &err));
        assert_int_equal(a_len, b_len);
        assert_memory_equal(spki_a, spki_b, a_len);
        assert_true(cs_pubkey_new(crypto, (struct cs_bytes){spki_a, a_len}, &pub, &err));
        assert_int_equal(cs_pubkey_type(pub), rows[i].type);
        assert_int_equal(cs_pubkey_bits(pub), rows[i].bits);
        // The kid is a hash of the public half.
        uint8_t hash[32];
        char hex[65];
        cs_kid kid;
        cs_kid_of_spki(crypto, (struct cs_bytes){spki_a, a_len}, kid);
        cs_crypto_sha256(crypto, (struct cs_bytes){spki_a, a_len}, hash);
        cs_hex_encode(hash, 32, hex);
        assert_int_equal(strlen(kid), 32);
        assert_memory_equal(kid, hex, 32);
        cs_secure_free(der, der_len);
        cs_secure_free(text, text_len);
        free(spki_a);
        free(spki_b);
    }
    struct cs_err err;
    struct cs_privkey *k = NULL;
    assert_false(cs_privkey_generate(CS_KEY_RSA, 1024, &k, &err));
    assert_int_equal(err.code, CS_CODE_CERT_WEAK_KEY);
    assert_false(cs_privkey_generate(CS_KEY_RSA, 16384, &k, &err));
    assert_null(k);
}

// OpenSSL's own public half of the same key file is the same.
static void spki_is_as_openssl_writes_it(void **state) {
    (void)state;
    struct cs_err err;
    uint8_t *spki;
    size_t len;
    CS_AUTO(file_clear) struct file want = test_file("p256.pub.der");
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("p256");
    assert_true(cs_privkey_spki(key, &spki, &len, &err));
    assert_int_equal(len, want.bytes.len);
    assert_memory_equal(spki, want.bytes.data, len);
    char *pem;
    assert_true(cs_spki_to_pem((struct cs_bytes){spki, len}, &pem, &err));
    CS_AUTO(file_clear) struct file text = test_file("p256.pub");
    assert_string_equal(pem, (char *)text.data);
    free(pem);
    free(spki);
}

static void every_cut_of_pkcs8_is_refused(void **state) {
    (void)state;
    static const char *const names[] = {"rsa", "p256", "ed25519", "sm2-sign", "custodian"};
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        struct cs_err err;
        CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key(names[i]);
        uint8_t *der;
        size_t len;
        assert_true(cs_privkey_to_pkcs8(key, &der, &len, &err));
        for (size_t n = 0; n < len; n++) {
            struct cs_privkey *k = NULL;
            assert_false(cs_privkey_from_pkcs8((struct cs_bytes){der, n}, &k, &err));
            assert_int_equal(err.kind, CS_ERR_REJECT);
            assert_int_equal(err.code, CS_CODE_KEY_MALFORMED);
        }
        cs_secure_free(der, len);
    }
}

static void types_have_names(void **state) {
    (void)state;
    static const enum cs_key_type types[] = {CS_KEY_RSA,     CS_KEY_P256, CS_KEY_P384,  CS_KEY_P521,
                                             CS_KEY_ED25519, CS_KEY_SM2,  CS_KEY_X25519};
    static const char *const names[] = {"RSA", "P-256", "P-384", "P-521", "Ed25519", "SM2", "X25519"};
    for (size_t i = 0; i < CS_ARRAY_LEN(types); i++) {
        enum cs_key_type t = 0;
        assert_string_equal(cs_key_type_name(types[i]), names[i]);
        assert_true(cs_key_type_parse(names[i], strlen(names[i]), &t));
        assert_int_equal(t, types[i]);
    }
    enum cs_key_type t = 0;
    assert_false(cs_key_type_parse("P-224", 5, &t));
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
        cmocka_unit_test(rsa_limits),
        cmocka_unit_test(point_forms),
        cmocka_unit_test(algorithms),
        cmocka_unit_test(every_cut_and_every_trailing_byte_is_refused),
        cmocka_unit_test(small_order_ed25519),
        cmocka_unit_test(small_order_x25519),
        cmocka_unit_test(generated_keys_round_trip),
        cmocka_unit_test(spki_is_as_openssl_writes_it),
        cmocka_unit_test(every_cut_of_pkcs8_is_refused),
        cmocka_unit_test(types_have_names),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
