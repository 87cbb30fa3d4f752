// SPDX-License-Identifier: Apache-2.0
#include "certs.h"

#include <openssl/x509.h>

static struct cs_crypto *crypto;

static enum cs_code code_of(struct cs_bytes der) {
    struct cs_err err = {0};
    struct cs_csr *csr = NULL;
    uint8_t *copy = malloc(der.len ? der.len : 1);
    assert_non_null(copy);
    if (der.len > 0)
        memcpy(copy, der.data, der.len);
    bool ok = cs_csr_parse(crypto, (struct cs_bytes){copy, der.len}, &csr, &err);
    free(copy);
    cs_csr_free(csr);
    if (ok)
        return CS_CODE_NONE;
    assert_int_equal(err.kind, CS_ERR_REJECT);
    return err.code;
}

static enum cs_code code_of_pem(const char *name) {
    struct cs_err err = {0};
    struct cs_csr *csr = NULL;
    CS_AUTO(file_clear) struct file f = test_file(name);
    bool ok = cs_pem_csr(crypto, name, f.bytes, &csr, &err);
    cs_csr_free(csr);
    return ok ? CS_CODE_NONE : err.code;
}

static void requests_of_openssl(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum cs_code code;
    } rows[] = {
        {"request.pem", CS_CODE_NONE},
        {"request.new", CS_CODE_NONE},
        {"request.sm2", CS_CODE_NONE},
        {"request.rsa", CS_CODE_NONE},
        {"request.ed25519", CS_CODE_NONE},
        {"p384.csr", CS_CODE_NONE},
        {"p521.csr", CS_CODE_NONE},
        {"weak-rsa.csr", CS_CODE_CERT_WEAK_KEY},
        {"secp256k1.csr", CS_CODE_CERT_WEAK_KEY},
        {"explicit.csr", CS_CODE_CERT_EXPLICIT_CURVE},
        {"compressed.csr", CS_CODE_CSR_MALFORMED},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        if (code_of_pem(rows[i].name) != rows[i].code)
            fail_msg("%s: %s", rows[i].name, cs_code_name(code_of_pem(rows[i].name)));
}

static void the_view_of_a_request(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL;
    CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, "p256");
    CS_AUTO(file_clear) struct file f = test_file("request.der");
    assert_true(cs_csr_parse(crypto, f.bytes, &csr, &err));
    assert_string_equal(csr->subject_name, "CN=www.example.com,O=Example,C=CN");
    assert_string_equal(csr->common_name, "www.example.com");
    assert_int_equal(csr->names_len, 2);
    assert_string_equal(csr->names[0], "www.example.com");
    assert_string_equal(csr->names[1], "example.com");
    assert_int_equal(csr->key_type, CS_KEY_P256);
    assert_int_equal(csr->key_bits, 256);
    assert_memory_equal(csr->spki_sha256, cert->spki_sha256, 32);
    uint8_t hash[32];
    cs_crypto_sha256(crypto, f.bytes, hash);
    assert_memory_equal(csr->sha256, hash, 32);
}

static void damaged_requests(void **state) {
    (void)state;
    CS_AUTO(file_clear) struct file f = test_file("request.der");
    size_t len = f.bytes.len;
    for (size_t n = 0; n < len; n++)
        assert_int_equal(code_of((struct cs_bytes){f.data, n}), CS_CODE_CSR_MALFORMED);
    assert_int_equal(code_of((struct cs_bytes){f.data, len + 1}), CS_CODE_CSR_MALFORMED);
    // Any bit that differs breaks the form, the key or the signature; none goes through.
    for (size_t n = 0; n < len; n++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            f.data[n] ^= (uint8_t)(1u << bit);
            enum cs_code code = code_of((struct cs_bytes){f.data, len});
            assert_true(code == CS_CODE_CSR_MALFORMED || code == CS_CODE_CSR_BAD_SIGNATURE ||
                        code == CS_CODE_CERT_WEAK_KEY || code == CS_CODE_CERT_EXPLICIT_CURVE);
            f.data[n] ^= (uint8_t)(1u << bit);
        }
    }
    f.data[len - 1] ^= 1;
    assert_int_equal(code_of(f.bytes), CS_CODE_CSR_BAD_SIGNATURE);
    static uint8_t big[CS_CSR_DER_MAX + 1] = {0x30};
    assert_int_equal(code_of((struct cs_bytes){big, sizeof big}), CS_CODE_CSR_MALFORMED);
}

static void made_requests_are_read_back(void **state) {
    (void)state;
    static const char *const keys[] = {"rsa", "p256", "p384", "p521", "ed25519", "sm2-sign"};
    static const char *const names[] = {"www.example.com", "*.example.com", "192.0.2.7", "2001:db8::7"};
    for (size_t i = 0; i < CS_ARRAY_LEN(keys); i++) {
        for (size_t with = 0; with < 2; with++) {
            struct cs_err err;
            uint8_t *der;
            size_t len;
            CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL;
            CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key(keys[i]);
            if (!cs_csr_create(crypto, key, "/C=CN/O=Ex\\/am\\\\ple/OU=\xE8\xAF\x81/CN=www.example.com",
                               names, with ? CS_ARRAY_LEN(names) : 0, &der, &len, &err))
                fail_msg("%s: %s", keys[i], err.msg);
            if (!cs_csr_parse(crypto, (struct cs_bytes){der, len}, &csr, &err))
                fail_msg("%s: %s", keys[i], err.msg);
            assert_string_equal(csr->subject_name, "CN=www.example.com,OU=\xE8\xAF\x81,O=Ex/am\\\\ple,C=CN");
            assert_int_equal(csr->names_len, with ? 4 : 0);
            if (with) {
                assert_string_equal(csr->names[1], "*.example.com");
                assert_string_equal(csr->names[2], "IP:192.0.2.7");
                assert_string_equal(csr->names[3], "IP:2001:db8::7");
            }
            // OpenSSL reads it too, and finds the signature good.
            const uint8_t *p = der;
            X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)len);
            assert_non_null(req);
            assert_ptr_equal(p, der + len);
            if (csr->key_type == CS_KEY_SM2) {
                ASN1_OCTET_STRING *id = ASN1_OCTET_STRING_new();
                ASN1_OCTET_STRING_set(id, (const uint8_t *)"1234567812345678", 16);
                X509_REQ_set0_distinguishing_id(req, id); // takes id over
            }
            EVP_PKEY *pkey = X509_REQ_get_pubkey(req);
            if (X509_REQ_verify(req, pkey) != 1)
                fail_msg("%s", keys[i]);
            EVP_PKEY_free(pkey);
            X509_REQ_free(req);
            free(der);
        }
    }
}

static void subjects(void **state) {
    (void)state;
    static const struct {
        const char *subject, *name, *shown;
        bool good;
    } rows[] = {
        {"www.example.com", NULL, "CN=www.example.com", true},
        {"/CN=a", "a.example.com", "CN=a", true},
        {"/cn=a/emailAddress=a@b/serialNumber=12/DC=x", NULL, "DC=x,serialNumber=12,emailAddress=a@b,CN=a",
         true},
        {"", NULL, NULL, false},
        {"/", NULL, NULL, false},
        {"/CN=", NULL, NULL, false},
        {"/CN", NULL, NULL, false},
        {"/X=a", NULL, NULL, false},
        {"/C=CHN", NULL, NULL, false},
        {"/C=\xE8\xAF", NULL, NULL, false},
        {"/CN=a\nb", NULL, NULL, false},
        {"/CN=\xFF", NULL, NULL, false},
        {"/emailAddress=\xC3\xBC@b", NULL, NULL, false},
        {"/CN=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL, NULL, false}, // 65
        {"a", "", NULL, false},
        {"a", "a b", NULL, false},
        {"a", "\xC3\xBC.example.com", NULL, false},
        {"a", "a.*.example.com", NULL, false},
    };
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("p256");
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        uint8_t *der = NULL;
        size_t len;
        bool ok = cs_csr_create(crypto, key, rows[i].subject, &rows[i].name, rows[i].name != NULL, &der, &len,
                                &err);
        if (ok != rows[i].good)
            fail_msg("row %zu", i);
        if (ok) {
            CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL;
            assert_true(cs_csr_parse(crypto, (struct cs_bytes){der, len}, &csr, &err));
            assert_string_equal(csr->subject_name, rows[i].shown);
        } else {
            assert_int_equal(err.kind, CS_ERR_REJECT);
            assert_int_equal(err.code, CS_CODE_CSR_MALFORMED);
        }
        free(der);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_of_openssl),
        cmocka_unit_test(the_view_of_a_request),
        cmocka_unit_test(damaged_requests),
        cmocka_unit_test(made_requests_are_read_back),
        cmocka_unit_test(subjects),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
