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
        {"compressed.csr", CS_CODE_CERT_WEAK_KEY},
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
            assert_int_equal(csr->names_len, with ? 4 : 1);
            assert_string_equal(csr->names[0], "www.example.com"); // by default that of the common name
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

// Subjects in each form that people have at hand, and how certsync shows them.
static const struct {
    const char *subject, *shown; // NULL: refused
} subject_rows[] = {
    {"www.example.com", "CN=www.example.com"},
    {"Example, Inc.", "CN=Example\\, Inc."},
    // As openssl req -subj takes them.
    {"/CN=a", "CN=a"},
    {"/CN=a/", "CN=a"},
    {"/CN=a,b", "CN=a\\,b"},
    {"/cn=a/emailAddress=a@b/serialNumber=12/DC=x", "DC=x,serialNumber=12,emailAddress=a@b,CN=a"},
    {"/commonName=a/organizationName=b", "O=b,CN=a"},
    {"/C=CN/O=Ex\\/am\\\\ple\\+x/CN=a=b", "CN=a=b,O=Ex/am\\\\ple\\+x,C=CN"},
    {"/O=b/CN=a+OU=c", "CN=a+OU=c,O=b"},
    {"/O=b/OU=c+CN=a", "CN=a+OU=c,O=b"}, // a set in the order of DER
    {"/2.5.4.3=a", "CN=a"},
    {"/1.2.3.4=a/2.999.1=b", "2.999.1=b,1.2.3.4=a"},
    // As certsync shows them (RFC 4514).
    {"CN=a,O=b", "CN=a,O=b"},
    {"CN=www.example.com,O=Example,C=CN", "CN=www.example.com,O=Example,C=CN"},
    {" cn = a , O = b c ", "CN=a,O=b c"},
    {"CN=a;O=b", "CN=a,O=b"},
    {"O=a\\,b\\=c\\2Bd,OU=\\ e\\ ,L=\\#f", "O=a\\,b=c\\+d,OU=\\ e\\ ,L=\\#f"},
    {"CN=a+OU=c,O=b", "CN=a+OU=c,O=b"},
    {"O=L\\C4\\8D", "O=L\xC4\x8D"},
    {"O=\xE8\xAF\x81", "O=\xE8\xAF\x81"},
    {"CN=#0C0161", "CN=a"},
    {"1.2.3.4=#040101,CN=a", NULL}, // an OCTET STRING: OpenSSL reads none in a name
    {"1.2.3.4=x,CN=a", "1.2.3.4=x,CN=a"},
    {"SN=a,GN=b,street=c,UID=d,jurisdictionC=CN", "SN=a,GN=b,street=c,UID=d,jurisdictionC=CN"},
    {"", NULL},
    {"/", NULL},
    {"/CN=", NULL},
    {"/CN", NULL},
    {"/X=a", NULL},
    {"/CN=a+", NULL},
    {"/CN=a\\", NULL},
    {"X=a", NULL},
    {"CN=a,", NULL},
    {"CN=a,b", NULL},
    {"CN=", NULL},
    {"CN=a\"b", NULL},
    {"CN=a\\", NULL},
    {"CN=a\\zb", NULL},
    {"CN=#0C02", NULL},
    {"CN=#0C0161x", NULL},
    {"3.1=a", NULL},
    {"1.40=a", NULL},
    {"1.=a", NULL},
    {"/C=CHN", NULL},
    {"C=CHN", NULL},
    {"/C=\xE8\xAF", NULL},
    {"/CN=a\nb", NULL},
    {"/CN=\xFF", NULL},
    {"/emailAddress=\xC3\xBC@b", NULL},
    {"/CN=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL}, // 65
};

static enum cs_code create(const char *subject, const char *name, struct cs_csr **ret) {
    struct cs_err err;
    uint8_t *der = NULL;
    size_t len;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = test_key("p256");
    if (!cs_csr_create(crypto, key, subject, &name, name != NULL, &der, &len, &err)) {
        assert_int_equal(err.kind, CS_ERR_REJECT);
        return err.code;
    }
    assert_true(cs_csr_parse(crypto, (struct cs_bytes){der, len}, ret, &err));
    assert_int_equal(cs_csr_check(*ret), CS_CODE_NONE);
    const uint8_t *p = der;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)len); // OpenSSL reads it, too
    assert_non_null(req);
    X509_REQ_free(req);
    free(der);
    return CS_CODE_NONE;
}

static void subjects(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(subject_rows); i++) {
        CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL, *again = NULL;
        enum cs_code code = create(subject_rows[i].subject, "a.example.com", &csr);
        if (code != (subject_rows[i].shown ? CS_CODE_NONE : CS_CODE_CSR_MALFORMED))
            fail_msg("row %zu \"%s\": %s", i, subject_rows[i].subject, cs_code_name(code));
        if (code != CS_CODE_NONE)
            continue;
        assert_string_equal(csr->subject_name, subject_rows[i].shown);
        // What is shown is read as the same name.
        assert_int_equal(create(csr->subject_name, "a.example.com", &again), CS_CODE_NONE);
        assert_string_equal(again->subject_name, csr->subject_name);
    }
}

static void names_of_requests(void **state) {
    (void)state;
    static const struct {
        const char *subject, *name, *listed; // name NULL: not given; listed NULL: refused
        enum cs_code code;
    } rows[] = {
        {"www.example.com", NULL, "www.example.com", 0},
        {"CN=*.example.com,O=b", NULL, "*.example.com", 0},
        {"/CN=192.0.2.7", NULL, "IP:192.0.2.7", 0},
        {"2001:db8::7", NULL, "IP:2001:db8::7", 0},
        {"localhost", NULL, "localhost", 0},
        {"/O=b/CN=_dmarc.a-b.example.com", NULL, "_dmarc.a-b.example.com", 0},
        {"Example Inc", "www.example.com", "www.example.com", 0},
        {"Example Inc", NULL, NULL, CS_CODE_CSR_NO_NAME},
        {"/O=Example", NULL, NULL, CS_CODE_CSR_NO_NAME},
        {"CN=a b", NULL, NULL, CS_CODE_CSR_NO_NAME},
        {"a", "", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "a b", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "\xC3\xBC.example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "a.*.example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "*", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "*a.example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "a..example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", ".example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "example.com.", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "-a.example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "a-.example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "300.1.1.1", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "https://example.com", NULL, CS_CODE_CSR_MALFORMED},
        {"a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.com", NULL,
         CS_CODE_CSR_MALFORMED},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL;
        enum cs_code code = create(rows[i].subject, rows[i].name, &csr);
        if (code != rows[i].code)
            fail_msg("row %zu: %s", i, cs_code_name(code));
        if (code == CS_CODE_NONE)
            assert_string_equal(csr->names[0], rows[i].listed);
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
        cmocka_unit_test(names_of_requests),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
