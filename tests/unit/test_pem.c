// SPDX-License-Identifier: Apache-2.0
#include "certs.h"
#include "certsync/model/codes.h"

static struct cs_crypto *crypto;

enum wanted { CERTS, KEY, SPKI, CSR };

static bool read_as(enum wanted wanted, const char *label, struct cs_bytes text, size_t *n,
                    struct cs_err *err) {
    struct cs_cert **certs = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL;
    uint8_t *spki = NULL;
    size_t len;
    bool ok = false;
    *n = 1;
    switch (wanted) {
    case CERTS:
        ok = cs_pem_certs(crypto, label, text, &certs, n, err);
        cs_certs_free(certs, ok ? *n : 0);
        break;
    case KEY:
        ok = cs_pem_privkey(crypto, label, text, &key, err);
        break;
    case SPKI:
        ok = cs_pem_spki(crypto, label, text, &spki, &len, err);
        free(spki);
        break;
    case CSR:
        ok = cs_pem_csr(crypto, label, text, &csr, err);
        break;
    }
    return ok;
}

static void files_that_are_read(void **state) {
    (void)state;
    static const struct {
        const char *file;
        enum wanted wanted;
        size_t n;
    } rows[] = {
        {"p256.pem", CERTS, 1},  {"p256.fullchain", CERTS, 3}, {"p256.trusted", CERTS, 1},
        {"p256.bag", CERTS, 2},  {"rsa.key", KEY, 1},          {"rsa.pkcs1", KEY, 1},
        {"p256.key", KEY, 1},    {"p256.sec1", KEY, 1},        {"p256.prelude", KEY, 1},
        {"p256.bag", KEY, 1},    {"sm2-sign.key", KEY, 1},     {"sm2.label", KEY, 1},
        {"ed25519.key", KEY, 1}, {"custodian.key", KEY, 1},    {"p384.key", KEY, 1},
        {"p521.key", KEY, 1},    {"p256.pub", SPKI, 1},        {"custodian.pub", SPKI, 1},
        {"request.pem", CSR, 1}, {"request.new", CSR, 1},      {"request.sm2", CSR, 1},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err;
        size_t n;
        CS_AUTO(file_clear) struct file f = test_file(rows[i].file);
        if (!read_as(rows[i].wanted, rows[i].file, f.bytes, &n, &err))
            fail_msg("%s", err.msg);
        assert_int_equal(n, rows[i].n);
    }
}

// Every sentence, with its code. Each message begins with the file's name.
static void files_that_are_not(void **state) {
    (void)state;
    static const struct {
        const char *file;
        enum wanted wanted;
        enum cs_code code;
        const char *message;
    } rows[] = {
        {"p256.der", CERTS, CS_CODE_CERT_MALFORMED,
         "a certificate in DER, not PEM; convert it: openssl x509 -inform DER"},
        {"p256.der", KEY, CS_CODE_KEY_MISSING, "a certificate in DER"},
        {"request.der", CSR, CS_CODE_CSR_MALFORMED,
         "request in DER, not PEM; convert it: openssl req -inform DER"},
        {"request.der", CERTS, CS_CODE_CERT_MALFORMED, "request in DER"},
        {"rsa.key.der", KEY, CS_CODE_KEY_MALFORMED,
         "a private key in DER, not PEM; convert it: openssl pkey -inform DER"},
        {"sm2.sec1.der", KEY, CS_CODE_KEY_MALFORMED, "a private key in DER"},
        {"rsa.key.der", CERTS, CS_CODE_CERT_MALFORMED, "a private key in DER"},
        {"rsa.pkcs8e.der", KEY, CS_CODE_KEY_ENCRYPTED,
         "an encrypted private key in DER; decrypt it: openssl pkcs8"},
        {"p256.pub.der", SPKI, CS_CODE_KEY_MALFORMED, "a public key in DER, not PEM"},
        {"p256.p12", CERTS, CS_CODE_CERT_MALFORMED, "PKCS#12 (.p12, .pfx); take it apart: openssl pkcs12"},
        {"p256.p12", KEY, CS_CODE_KEY_MALFORMED, "PKCS#12"},
        {"p256.p7.der", CERTS, CS_CODE_CERT_MALFORMED, "PKCS#7 (.p7b) in DER"},
        {"p256.p7", CERTS, CS_CODE_CERT_MALFORMED, "the file holds PKCS#7 (take it apart: openssl pkcs7"},
        {"p256.p7", KEY, CS_CODE_KEY_MISSING, "the file holds PKCS#7"},
        {"rsa.pkcs8e", KEY, CS_CODE_KEY_ENCRYPTED,
         "the private key is encrypted; decrypt it: openssl pkey -in OLD -out NEW"},
        {"rsa.legacy", KEY, CS_CODE_KEY_ENCRYPTED, "the private key is encrypted"},
        {"rsa.pkcs8e", SPKI, CS_CODE_KEY_MALFORMED,
         "a private key, where a public key was wanted; name the public"},
        {"rsa.legacy", CERTS, CS_CODE_CERT_MALFORMED,
         "holds an encrypted private key, where a certificate was wanted"},
        {"p256.pem", KEY, CS_CODE_KEY_MISSING, "holds a certificate, where a private key was wanted"},
        {"p256.key", CERTS, CS_CODE_CERT_MALFORMED, "holds a private key, where a certificate was wanted"},
        {"p256.pub", KEY, CS_CODE_KEY_MISSING, "holds a public key, where a private key was wanted"},
        {"p256.key", SPKI, CS_CODE_KEY_MALFORMED, "holds a private key, where a public key was wanted"},
        {"request.pem", KEY, CS_CODE_KEY_MISSING,
         "holds a certificate signing request, where a private key was wanted"},
        {"request.pem", CERTS, CS_CODE_CERT_MALFORMED, "holds a certificate signing request"},
        {"p256.pem", CSR, CS_CODE_CSR_MALFORMED,
         "holds a certificate, where a certificate signing request was wanted"},
        {"p256.params", KEY, CS_CODE_KEY_MISSING, "holds key parameters only"},
        {"weak-rsa.key", KEY, CS_CODE_CERT_WEAK_KEY, "too weak"},
        {"secp256k1.key", KEY, CS_CODE_CERT_WEAK_KEY, "too weak or of a kind"},
        {"explicit.key", KEY, CS_CODE_KEY_MALFORMED, "openssl ec -in OLD -param_enc named_curve"},
        {"sha1.pem", CERTS, CS_CODE_CERT_WEAK_SIGNATURE, "certificate 1 of the file: "},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err = {0};
        size_t n;
        CS_AUTO(file_clear) struct file f = test_file(rows[i].file);
        if (read_as(rows[i].wanted, rows[i].file, f.bytes, &n, &err))
            fail_msg("%s was read", rows[i].file);
        size_t name_len = strlen(rows[i].file);
        if (err.kind != CS_ERR_REJECT || err.code != rows[i].code || !strstr(err.msg, rows[i].message) ||
            memcmp(err.msg, rows[i].file, name_len) != 0 || memcmp(err.msg + name_len, ": ", 2) != 0)
            fail_msg("row %zu: %s: %s", i, cs_code_name(err.code), err.msg);
    }
}

// Texts that no tool makes.
static void texts_that_are_not(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        enum wanted wanted;
        enum cs_code code;
        const char *message;
    } rows[] = {
        {"", 0, CERTS, CS_CODE_CERT_MALFORMED, "f: the file is empty."},
        {" \n\r\n\t", 5, KEY, CS_CODE_KEY_MISSING, "f: the file is empty."},
        {"hello\n", 6, CERTS, CS_CODE_CERT_MALFORMED, "f: there is no PEM block"},
        {"hello\n", 6, KEY, CS_CODE_KEY_MISSING, "f: there is no PEM block"},
        {"hello\n", 6, CSR, CS_CODE_CSR_MALFORMED, "f: there is no PEM block"},
        {"hello\n", 6, SPKI, CS_CODE_KEY_MALFORMED, "f: there is no PEM block"},
        {"\xFE\xED\xFE\xED\0\0\0\2", 8, KEY, CS_CODE_KEY_MALFORMED, "f: the file is a Java key store"},
        {"\xFE\xED\xFE\xED\0\0\0\2", 8, CERTS, CS_CODE_CERT_MALFORMED, "keytool -importkeystore"},
        {"\xFF\xFE-\0-\0", 6, CERTS, CS_CODE_CERT_MALFORMED, "UTF-16"},
        {"PuTTY-User-Key-File-2: ssh-rsa\n", 31, KEY, CS_CODE_KEY_MISSING, "PuTTY"},
        {"MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n", 90,
         CERTS, CS_CODE_CERT_MALFORMED, "base64 without its BEGIN and END lines"},
        {"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", 75, KEY,
         CS_CODE_KEY_MALFORMED, "ssh-keygen -p -m PKCS8"},
        {"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", 53, CERTS, CS_CODE_CERT_MALFORMED,
         "a revocation list"},
        {"-----BEGIN THING-----\nAAAA\n-----END THING-----\n", 47, CERTS, CS_CODE_CERT_MALFORMED,
         "holds something else"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n", 33, CERTS, CS_CODE_CERT_MALFORMED,
         "a certificate begins in the file, but no END line"},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n", 33, KEY, CS_CODE_KEY_MALFORMED,
         "a private key begins in the file, but no END line"},
        {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END PRIVATE KEY-----\n", 59, CERTS, CS_CODE_CERT_MALFORMED,
         "no END line of its kind"},
        {"-----BEGIN CERTIFICATE-----\nAA!A\n-----END CERTIFICATE-----\n", 59, CERTS, CS_CODE_CERT_MALFORMED,
         "not base64"},
        {"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", 54, CERTS, CS_CODE_CERT_MALFORMED,
         "not base64"},
        {"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 59, KEY, CS_CODE_KEY_MALFORMED,
         "neither PKCS#8 nor PKCS#1 nor SEC1"},
        {"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 57, SPKI, CS_CODE_KEY_MALFORMED,
         "the public key cannot be read"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_err err = {0};
        size_t n;
        uint8_t *copy = malloc(rows[i].len ? rows[i].len : 1);
        assert_non_null(copy);
        memcpy(copy, rows[i].text, rows[i].len);
        bool ok = read_as(rows[i].wanted, "f", (struct cs_bytes){copy, rows[i].len}, &n, &err);
        free(copy);
        if (ok || err.kind != CS_ERR_REJECT || err.code != rows[i].code || !strstr(err.msg, rows[i].message))
            fail_msg("row %zu: %s: %s", i, cs_code_name(err.code), err.msg);
    }
}

// Joins texts; "" ends the list.
static size_t join(uint8_t *out, const char *const *texts) {
    size_t n = 0;
    for (; **texts; texts++) {
        memcpy(out + n, *texts, strlen(*texts));
        n += strlen(*texts);
    }
    out[n] = 0;
    return n;
}

static size_t crlf(const struct file *f, uint8_t *out) {
    size_t n = 0;
    for (size_t i = 0; i < f->bytes.len; i++) {
        if (f->data[i] == '\n')
            out[n++] = '\r';
        out[n++] = f->data[i];
    }
    return n;
}

static void generous_forms(void **state) {
    (void)state;
    static uint8_t text[64 * 1024];
    struct cs_err err;
    size_t n, len;
    CS_AUTO(file_clear) struct file cert = test_file("p256.pem");
    CS_AUTO(file_clear) struct file key = test_file("p256.sec1");
    const char *pem = (const char *)cert.data, *key_pem = (const char *)key.data;
#define READS(wanted, ...)                                                                                   \
    (len = join(text, (const char *const[]){__VA_ARGS__, ""}),                                               \
     read_as((wanted), "f", (struct cs_bytes){text, len}, &n, &err))
    assert_true(READS(CERTS, "\xEF\xBB\xBF", pem));
    assert_true(READS(CERTS, "Bag Attributes\n    localKeyID: 01\nsubject=/CN=x\n", pem, "trailing words\n"));
    assert_true(READS(CERTS, "# comment with -----BEGIN in it\n", pem));
    assert_true(READS(CERTS, pem, key_pem)); // one file for both
    assert_true(READS(KEY, pem, key_pem));
    assert_true(READS(CERTS, "   ", pem));
    assert_int_equal(n, 1);
    len = crlf(&cert, text);
    assert_true(read_as(CERTS, "f", (struct cs_bytes){text, len}, &n, &err));
    len = crlf(&key, text);
    assert_true(read_as(KEY, "f", (struct cs_bytes){text, len}, &n, &err));
    // All base64 on one line, and no newline at the end.
    len = 0;
    bool head = true;
    for (size_t i = 0; i < cert.bytes.len; i++) {
        bool at_end_line = cert.bytes.len - i <= 26;
        if (cert.data[i] != '\n' || head || at_end_line)
            text[len++] = cert.data[i];
        head = head && cert.data[i] != '\n';
        if (cert.bytes.len - i == 27)
            text[len++] = '\n';
    }
    while (len > 0 && text[len - 1] == '\n')
        len--;
    if (!read_as(CERTS, "f", (struct cs_bytes){text, len}, &n, &err))
        fail_msg("%s", err.msg);
    // Two keys, also where they are the same; a key and its encrypted form.
    assert_false(READS(KEY, key_pem, key_pem));
    assert_int_equal(err.code, CS_CODE_KEY_MANY);
    CS_AUTO(file_clear) struct file encrypted = test_file("rsa.pkcs8e");
    assert_false(READS(KEY, key_pem, (const char *)encrypted.data));
    assert_int_equal(err.code, CS_CODE_KEY_MANY);
    // Ten certificates are the most.
    assert_true(READS(CERTS, pem, pem, pem, pem, pem, pem, pem, pem, pem, pem));
    assert_int_equal(n, 10);
    assert_false(READS(CERTS, pem, pem, pem, pem, pem, pem, pem, pem, pem, pem, pem));
    assert_int_equal(err.code, CS_CODE_CERT_TOO_MANY);
    assert_false(READS(CERTS, pem, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    assert_non_null(strstr(err.msg, "f: certificate 2 of the file: "));
    CS_AUTO(file_clear) struct file request = test_file("request.pem");
    assert_false(READS(CSR, (const char *)request.data, (const char *)request.data));
    assert_int_equal(err.code, CS_CODE_CSR_MALFORMED);
    CS_AUTO(file_clear) struct file public = test_file("p256.pub");
    assert_false(READS(SPKI, (const char *)public.data, (const char *)public.data));
    assert_int_equal(err.code, CS_CODE_KEY_MALFORMED);
#undef READS
}

// However a file is cut: an answer, and never a read past its end.
static void cut_files(void **state) {
    (void)state;
    static const struct {
        const char *file;
        enum wanted wanted;
    } rows[] = {{"p256.fullchain", CERTS}, {"p256.prelude", KEY}, {"rsa.legacy", KEY}, {"request.pem", CSR},
                {"p256.pub", SPKI},        {"p256.der", CERTS},   {"p256.p12", KEY},   {"p256.p7.der", CERTS},
                {"request.der", CSR},      {"rsa.key.der", KEY}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        CS_AUTO(file_clear) struct file f = test_file(rows[i].file);
        for (size_t n = 0; n < f.bytes.len; n += 3) {
            struct cs_err err = {0};
            size_t count;
            uint8_t *copy = malloc(n ? n : 1);
            assert_non_null(copy);
            memcpy(copy, f.data, n);
            if (!read_as(rows[i].wanted, "f", (struct cs_bytes){copy, n}, &count, &err))
                assert_int_equal(err.kind, CS_ERR_REJECT);
            free(copy);
        }
    }
}

static void size_limit_and_labels(void **state) {
    (void)state;
    static const enum wanted all[] = {CERTS, KEY, SPKI, CSR};
    uint8_t *big = calloc(1, CS_PEM_FILE_MAX + 1);
    assert_non_null(big);
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++) {
        struct cs_err err;
        size_t n;
        assert_false(read_as(all[i], "f", (struct cs_bytes){big, CS_PEM_FILE_MAX + 1}, &n, &err));
        assert_string_equal(err.msg, "f: the file is larger than 256 KiB.");
        assert_false(read_as(all[i], "a\nb\x1b[31m", (struct cs_bytes){big, 10}, &n, &err));
        assert_string_equal(err.msg, "a\\x0Ab\\x1B[31m: the file is empty.");
    }
    free(big);
}

static void encodes_as_openssl_does(void **state) {
    (void)state;
    struct cs_err err;
    char *text;
    CS_AUTO(file_clear) struct file pem = test_file("p256.pem");
    CS_AUTO(file_clear) struct file der = test_file("p256.der");
    assert_true(cs_pem_encode("CERTIFICATE", der.bytes, &text, &err));
    assert_string_equal(text, (char *)pem.data);
    free(text);
    for (size_t n = 0; n < 130; n++) { // every length around a line's end, for the buffer's size
        assert_true(cs_pem_encode("X", (struct cs_bytes){der.data, n}, &text, &err));
        free(text);
    }
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
        cmocka_unit_test(files_that_are_read),
        cmocka_unit_test(files_that_are_not),
        cmocka_unit_test(texts_that_are_not),
        cmocka_unit_test(generous_forms),
        cmocka_unit_test(cut_files),
        cmocka_unit_test(size_limit_and_labels),
        cmocka_unit_test(encodes_as_openssl_does),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
