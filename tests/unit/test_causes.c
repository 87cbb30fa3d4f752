// SPDX-License-Identifier: Apache-2.0
//
// What a refusal of a certificate, request or key says: the true cause, and what mends it.
#include "certs.h"

#include "certsync/model/cert.h"
#include "certsync/model/codes.h"
#include "certsync/model/csr.h"

static struct cs_crypto *crypto;

static void said(const char *what, bool ok, const struct cs_err *err, enum cs_code code, const char *text) {
    if (ok || err->code != code || !strstr(err->msg, text))
        fail_msg("%s: %s: %s", what, ok ? "accepted" : cs_code_name(err->code), ok ? "" : err->msg);
}

static void certificates(void **state) {
    (void)state;
    static const struct {
        const char *file;
        enum cs_code code;
        const char *text;
    } rows[] = {
        {"compressed.pem", CS_CODE_CERT_WEAK_KEY, "openssl ec -in OLD -conv_form uncompressed"},
        {"secp256k1.pem", CS_CODE_CERT_WEAK_KEY, "Its curve is secp256k1"},
        {"p192.pem", CS_CODE_CERT_WEAK_KEY, "Its curve is P-192"},
        {"rsa-pss-key.pem", CS_CODE_CERT_WEAK_KEY, "It is an RSA-PSS key"},
        {"dsa.pem", CS_CODE_CERT_WEAK_KEY, "It is a DSA key"},
        {"sha1.pem", CS_CODE_CERT_WEAK_SIGNATURE, "RSA with SHA-1"},
        {"md5.pem", CS_CODE_CERT_WEAK_SIGNATURE, "RSA with MD5"},
        {"pss-short.pem", CS_CODE_CERT_WEAK_SIGNATURE, "rsa_pss_saltlen:digest"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        struct cs_cert **certs;
        size_t n;
        CS_AUTO(file_clear) struct file f = test_file(rows[i].file);
        bool ok = cs_pem_certs(crypto, rows[i].file, f.bytes, &certs, &n, &err);
        said(rows[i].file, ok, &err, rows[i].code, rows[i].text);
    }
    CS_AUTO(cs_cert_free)
    struct cs_cert *pss = test_cert(crypto, "pss-default"); // OpenSSL's salt: all there is room for
    CS_AUTO(cs_cert_free) struct cs_cert *issuer = test_cert(crypto, "ca-rsa");
    assert_true(cs_cert_signed_by(crypto, pss, issuer));
}

static void keys(void **state) {
    (void)state;
    static const struct {
        const char *file;
        enum cs_code code;
        const char *text;
    } rows[] = {
        {"p192.key", CS_CODE_CERT_WEAK_KEY, "Its curve is P-192"},
        {"rsa-pss-key.key", CS_CODE_CERT_WEAK_KEY, "It is an RSA-PSS key"},
        {"dsa.key", CS_CODE_CERT_WEAK_KEY, "It is a DSA key"},
        {"dsa.old", CS_CODE_CERT_WEAK_KEY, "It is a DSA key"},
        {"rsa.pkcs8e", CS_CODE_KEY_ENCRYPTED, "openssl pkey -in OLD -out NEW"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        struct cs_privkey *key;
        CS_AUTO(file_clear) struct file f = test_file(rows[i].file);
        bool ok = cs_pem_privkey(crypto, rows[i].file, f.bytes, &key, &err);
        said(rows[i].file, ok, &err, rows[i].code, rows[i].text);
    }
}

// In forms that the openssl command cannot make.
static void keys_of_gm_software(void **state) {
    (void)state;
    // PBES2: PBKDF2 with HMAC-SM3, SM4 in CBC; the encrypted key is cut to a few bytes.
    static const char gmssl[] = "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
                                "MGowVgYJKoZIhvcNAQUNMEkwKQYJKoZIhvcNAQUMMBwECAAAAAAAAAAAAgEBMA0G\n"
                                "CSqBHM9VAYMRAgUAMBwGCCqBHM9VAWgCBBAAAAAAAAAAAAAAAAAAAAAABBAAAAAA\n"
                                "AAAAAAAAAAAAAAAA\n"
                                "-----END ENCRYPTED PRIVATE KEY-----\n";
    // SEQUENCE { SEQUENCE { sm4 }, SEQUENCE {}, BIT STRING, BIT STRING }
    static const char enveloped[] =
        "-----BEGIN PRIVATE KEY-----\nMBkwCgYIKoEcz1UBaAEwAwIBAQMCAAQDAgAA\n-----END PRIVATE KEY-----\n";
    const struct {
        const char *what, *pem, *text;
    } rows[] = {{"GmSSL's encryption", gmssl, "HMAC-SM3"}, {"SM2EnvelopedKey", enveloped, "SM2EnvelopedKey"}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        struct cs_privkey *key;
        struct cs_bytes text = {(const uint8_t *)rows[i].pem, strlen(rows[i].pem)};
        bool ok = cs_pem_privkey(crypto, "key.pem", text, &key, &err);
        said(rows[i].what, ok, &err, CS_CODE_KEY_ENCRYPTED, rows[i].text);
    }
}

// Plain "openssl -sm3" signs with the empty id.
static void sm2_with_the_empty_id(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_csr *csr;
    struct cs_cert *certs[] = {test_cert(crypto, "ca-sm2"), test_cert(crypto, "sm2-noid")};
    size_t n = 2;
    bool ok = cs_chain_order(crypto, certs, &n, (struct cs_bytes){0}, &err);
    said("certificate", ok, &err, CS_CODE_CHAIN_BROKEN, "-sigopt distid:1234567812345678");
    for (size_t i = 0; i < n; i++)
        cs_cert_free(certs[i]);
    CS_AUTO(file_clear) struct file f = test_file("noid.req");
    ok = cs_pem_csr(crypto, "noid.req", f.bytes, &csr, &err);
    said("request", ok, &err, CS_CODE_CSR_BAD_SIGNATURE,
         "openssl req -new -sm3 -sigopt distid:1234567812345678");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates),
        cmocka_unit_test(keys),
        cmocka_unit_test(keys_of_gm_software),
        cmocka_unit_test(sm2_with_the_empty_id),
    };
    crypto = test_crypto();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cs_crypto_free(crypto);
    return failed;
}
