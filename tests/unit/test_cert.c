// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // memmem
#include "certs.h"

#include "certsync/base/text.h"
#include "certsync/model/codes.h"

static struct cs_crypto *crypto;

static enum cs_code code_of_der(struct cs_bytes der, char *ret_msg) {
    struct cs_err err = {0};
    struct cs_cert *cert = NULL;
    uint8_t *copy = malloc(der.len ? der.len : 1);
    assert_non_null(copy);
    if (der.len > 0)
        memcpy(copy, der.data, der.len);
    bool ok = cs_cert_parse(crypto, (struct cs_bytes){copy, der.len}, &cert, &err);
    free(copy);
    cs_cert_free(cert);
    if (ok)
        return CS_CODE_NONE;
    assert_int_equal(err.kind, CS_ERR_REJECT);
    assert_null(cert);
    if (ret_msg)
        memcpy(ret_msg, err.msg, sizeof err.msg);
    return err.code;
}

static enum cs_code code_of_file(const char *name) {
    struct cs_err err = {0};
    struct cs_cert **certs = NULL;
    size_t n = 0;
    char file[64];
    snprintf(file, sizeof file, "%s.pem", name);
    CS_AUTO(file_clear) struct file f = test_file(file);
    bool ok = cs_pem_certs(crypto, file, f.bytes, &certs, &n, &err);
    cs_certs_free(certs, n);
    return ok ? CS_CODE_NONE : err.code;
}

static void verdicts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        enum cs_code code;
    } rows[] = {
        {"rsa", CS_CODE_NONE},
        {"p256", CS_CODE_NONE},
        {"p384", CS_CODE_NONE},
        {"p521", CS_CODE_NONE},
        {"ed25519", CS_CODE_NONE},
        {"sm2-sign", CS_CODE_NONE},
        {"pss", CS_CODE_NONE},
        {"ca-root", CS_CODE_NONE},
        {"ca-sha1", CS_CODE_NONE}, // a root's own signature
        {"v1-self", CS_CODE_NONE}, // an old root
        {"no-name", CS_CODE_NONE}, // cs_leaf_check's to say
        {"v1", CS_CODE_CERT_NOT_V3},
        {"sha1", CS_CODE_CERT_WEAK_SIGNATURE},
        {"md5", CS_CODE_CERT_WEAK_SIGNATURE},
        {"weak-rsa", CS_CODE_CERT_WEAK_KEY},
        {"secp256k1", CS_CODE_CERT_WEAK_KEY},
        {"explicit", CS_CODE_CERT_EXPLICIT_CURVE},
        {"compressed", CS_CODE_CERT_WEAK_KEY},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        if (code_of_file(rows[i].name) != rows[i].code)
            fail_msg("%s: %s", rows[i].name, cs_code_name(code_of_file(rows[i].name)));
}

static void the_view_of_a_certificate(void **state) {
    (void)state;
    CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, "p256");
    assert_string_equal(cert->common_name, "www.example.com");
    assert_string_equal(cert->subject_name, "CN=www.example.com,OU=a\\+b,O=Example\\, Inc.,C=CN");
    assert_string_equal(cert->issuer_name, "CN=Example Sub CA,O=Example,C=CN");
    static const char *const names[] = {"www.example.com", "*.example.com",       "IP:192.0.2.1",
                                        "IP:2001:db8::1",  "email:a@example.com", "URI:https://example.com/"};
    assert_int_equal(cert->names_total, CS_ARRAY_LEN(names));
    assert_int_equal(cert->names_len, CS_ARRAY_LEN(names));
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++)
        assert_string_equal(cert->names[i], names[i]);
    assert_int_equal(cert->key_type, CS_KEY_P256);
    assert_int_equal(cert->key_bits, 256);
    assert_false(cert->is_ca);
    assert_false(cert->self_issued);
    assert_false(cert->can_sign_certs);
    assert_int_equal(cert->key_usage, 0x80); // digitalSignature
    assert_int_equal(cert->not_after_s - cert->not_before_s, 365 * 86400);
    uint8_t hash[32];
    cs_crypto_sha256(crypto, cert->der, hash);
    assert_memory_equal(hash, cert->sha256, 32);
    cs_crypto_sha256(crypto, cert->spki, hash);
    assert_memory_equal(hash, cert->spki_sha256, 32);
    CS_AUTO(file_clear) struct file der = test_file("p256.der");
    assert_int_equal(der.bytes.len, cert->der.len);
    assert_memory_equal(der.bytes.data, cert->der.data, cert->der.len);
    CS_AUTO(cs_cert_free) struct cs_cert *escaped = NULL;
    struct cs_err err;
    uint8_t *uri = memmem(der.data, der.bytes.len, "https://", 8);
    assert_non_null(uri);
    memcpy(uri, "\n\"ab\\\x7F", 6);
    assert_true(cs_cert_parse(crypto, der.bytes, &escaped, &err));
    assert_string_equal(escaped->names[5], "URI:\\x0A\\x22ab\\x5C\\x7F//example.com/");
    CS_AUTO(cs_cert_free) struct cs_cert *utf8 = test_cert(crypto, "utf8");
    assert_string_equal(utf8->common_name, "\xE8\xAF\x81\xE4\xB9\xA6");
    assert_int_equal(utf8->key_usage, UINT32_MAX);
    CS_AUTO(cs_cert_free) struct cs_cert *many = test_cert(crypto, "many");
    assert_int_equal(many->names_total, 120);
    assert_int_equal(many->names_len, CS_CERT_NAMES_MAX);
    assert_string_equal(many->names[99], "h99.example.com");
    CS_AUTO(cs_cert_free) struct cs_cert *root = test_cert(crypto, "ca-root");
    assert_true(root->is_ca && root->self_issued && root->can_sign_certs);
    CS_AUTO(cs_cert_free) struct cs_cert *nosign = test_cert(crypto, "ca-nosign");
    assert_true(nosign->is_ca && !nosign->can_sign_certs);
    CS_AUTO(cs_cert_free) struct cs_cert *rsa = test_cert(crypto, "rsa");
    assert_int_equal(rsa->key_bits, 2048);
}

// Cut anywhere, with a byte more, with any one byte changed: refused or read, but never past the end, and
// never by another code than the certificate's own.
static void damaged_der(void **state) {
    (void)state;
    static const char *const names[] = {"p256", "rsa", "sm2-sign", "ca-root", "v1-self", "pss"};
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, names[i]);
        uint8_t der[4096];
        size_t len = cert->der.len;
        memcpy(der, cert->der.data, len);
        for (size_t n = 0; n < len; n++)
            assert_int_equal(code_of_der((struct cs_bytes){der, n}, NULL), CS_CODE_CERT_MALFORMED);
        der[len] = 0;
        char msg[CS_ERR_MSG_MAX];
        assert_int_equal(code_of_der((struct cs_bytes){der, len + 1}, msg), CS_CODE_CERT_MALFORMED);
        assert_string_equal(msg, "The certificate cannot be read: other bytes follow it.");
        for (size_t n = 0; n < len; n++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                der[n] ^= (uint8_t)(1u << bit);
                enum cs_code code = code_of_der((struct cs_bytes){der, len}, NULL);
                der[n] ^= (uint8_t)(1u << bit);
                assert_true(code == CS_CODE_NONE || code == CS_CODE_CERT_MALFORMED ||
                            code == CS_CODE_CERT_NOT_V3 || code == CS_CODE_CERT_WEAK_KEY ||
                            code == CS_CODE_CERT_WEAK_SIGNATURE || code == CS_CODE_CERT_EXPLICIT_CURVE);
            }
        }
    }
    static uint8_t big[CS_CERT_DER_MAX + 1] = {0x30, 0x83, 0x00, 0xFF, 0xFC};
    assert_int_equal(code_of_der((struct cs_bytes){big, sizeof big}, NULL), CS_CODE_CERT_MALFORMED);
    assert_int_equal(code_of_der((struct cs_bytes){NULL, 0}, NULL), CS_CODE_CERT_MALFORMED);
}

// Replaces the first occurrence of from (hex) in NAME's DER by to, of the same length.
static enum cs_code code_of_edited(const char *name, const char *from, const char *to) {
    uint8_t a[64], b[64], der[4096];
    size_t n = strlen(from) / 2, at = 0;
    CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, name);
    assert_int_equal(strlen(from), strlen(to));
    assert_true(cs_hex_decode(from, 2 * n, a) && cs_hex_decode(to, 2 * n, b));
    memcpy(der, cert->der.data, cert->der.len);
    while (at + n <= cert->der.len && memcmp(der + at, a, n) != 0)
        at++;
    assert_true(at + n <= cert->der.len);
    memcpy(der + at, b, n);
    return code_of_der((struct cs_bytes){der, cert->der.len}, NULL);
}

static void edited_der(void **state) {
    (void)state;
    static const struct {
        const char *what, *name, *from, *to;
        enum cs_code code;
    } rows[] = {
        // The inner algorithm comes first.
        {"inner and outer algorithm differ", "p256", "2a8648ce3d040302", "2a8648ce3d040303",
         CS_CODE_CERT_MALFORMED},
        {"version 2 with extensions", "p256", "a003020102", "a003020101", CS_CODE_CERT_MALFORMED},
        {"version 4", "p256", "a003020102", "a003020103", CS_CODE_CERT_MALFORMED},
        {"BOOLEAN that is not DER", "ca-root", "0603551d130101ff", "0603551d13010101",
         CS_CODE_CERT_MALFORMED},
        {"extension twice", "p256", "0603551d0f", "0603551d13", CS_CODE_CERT_MALFORMED},
        {"key usage without bits", "p256", "03020780", "03020700", CS_CODE_CERT_MALFORMED},
        {"key usage with an unused bit", "p256", "03020780", "03020781", CS_CODE_CERT_MALFORMED},
        {"month 13", "v1-self", "170d", "1713", CS_CODE_CERT_MALFORMED},
        {"IP address of 4 bytes taken for a URI is fine", "p256", "8704c0000201", "86046162632f",
         CS_CODE_NONE},
        {"URI beyond ASCII", "p256", "8704c0000201", "8604c0000201", CS_CODE_CERT_MALFORMED},
        {"dNSName in constructed form", "rsa", "820b6578616d706c652e636f6d", "a20b160965616d706c652e636f",
         CS_CODE_CERT_MALFORMED},
        {"U+202E in a dNSName", "rsa", "820b6578616d706c652e636f6d", "820b6578616de280ae2e636f6d",
         CS_CODE_CERT_MALFORMED},
        {"NUL in a dNSName", "rsa", "820b6578616d706c652e636f6d", "820b6578616d706c002e636f6d",
         CS_CODE_CERT_MALFORMED},
        {"otherName in primitive form", "rsa", "820b6578616d706c652e636f6d", "800b6578616d706c652e636f6d",
         CS_CODE_CERT_MALFORMED},
        {"a tenth kind of name", "rsa", "820b6578616d706c652e636f6d", "890b6578616d706c652e636f6d",
         CS_CODE_CERT_MALFORMED},
        {"registeredID that is none", "rsa", "820b6578616d706c652e636f6d", "880b6578616d706c652e63ffff",
         CS_CODE_CERT_MALFORMED},
        {"PrintableString beyond its alphabet", "p256", "1302434e", "13024340", CS_CODE_CERT_MALFORMED},
        {"NumericString beyond its alphabet", "p256", "1302434e", "1202434e", CS_CODE_CERT_MALFORMED},
        {"IA5String beyond its alphabet", "p256", "1302434e", "160243ff", CS_CODE_CERT_MALFORMED},
        {"BMPString of half a surrogate", "p256", "1302434e", "1e02d800", CS_CODE_CERT_MALFORMED},
        {"IP address of 13 bytes", "rsa", "820b6578616d706c652e636f6d", "870b6578616d706c652e636f6d",
         CS_CODE_CERT_MALFORMED},
        {"universal tag as a name", "rsa", "820b6578616d706c652e636f6d", "020b6578616d706c652e636f6d",
         CS_CODE_CERT_MALFORMED},
        {"explicit NULL curve", "p256", "06082a8648ce3d030107", "06082a8648ce3d030101",
         CS_CODE_CERT_WEAK_KEY},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        if (code_of_edited(rows[i].name, rows[i].from, rows[i].to) != rows[i].code)
            fail_msg("%s: %s", rows[i].what,
                     cs_code_name(code_of_edited(rows[i].name, rows[i].from, rows[i].to)));
}

// What tests/fuzz/corpus/cert holds of other people's oddities.
static void odd_certificates(void **state) {
    (void)state;
    static const struct {
        const char *file;
        enum cs_code code;
    } rows[] = {
        {"unique-id-empty", CS_CODE_CERT_MALFORMED}, // an issuerUniqueID of no bytes, which OpenSSL cannot read
        {"unique-id-bits", CS_CODE_CERT_MALFORMED},  // a subjectUniqueID of 0x71 unused bits
        {"san-constructed", CS_CODE_CERT_MALFORMED}, // a dNSName as SEQUENCE: OpenSSL sees another name
        {"san-bidi", CS_CODE_CERT_MALFORMED},        {"p256", CS_CODE_NONE},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", CERTSYNC_CERT_CORPUS, rows[i].file);
        CS_AUTO(file_clear) struct file f = file_read(path);
        if (code_of_der(f.bytes, NULL) != rows[i].code)
            fail_msg("%s: %s", rows[i].file, cs_code_name(code_of_der(f.bytes, NULL)));
    }
}

static void serial_numbers(void **state) {
    (void)state;
    static const struct {
        const char *encoded, *shown;
    } rows[] = {{"020100", "00"},   {"02017f", "7f"},    {"0201ff", "-01"},     {"020180", "-80"},
                {"02020080", "80"}, {"0202ff7f", "-81"}, {"0202ff00", "-0100"}, {"02028000", "-8000"}};
    CS_AUTO(file_clear) struct file f = test_file("p256.der");
    // The serial, a TLV of 20 bytes, follows the version; what is new is shorter, and the lengths around it, too.
    static const uint8_t version[] = {0xA0, 0x03, 0x02, 0x01, 0x02, 0x02};
    uint8_t *at = memmem(f.data, f.bytes.len, version, sizeof version);
    assert_non_null(at);
    size_t head = (size_t)(at - f.data) + 5, tail = head + 2 + f.data[head + 1];
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        uint8_t der[4096];
        struct cs_err err;
        CS_AUTO(cs_cert_free) struct cs_cert *cert = NULL;
        size_t n = strlen(rows[i].encoded) / 2, less = tail - head - n;
        memcpy(der, f.data, head);
        assert_true(cs_hex_decode(rows[i].encoded, 2 * n, der + head));
        memcpy(der + head + n, f.data + tail, f.bytes.len - tail);
        for (size_t k = 0; k <= 4; k += 4) { // 30 82 hi lo, twice
            size_t len = (size_t)(der[k + 2] << 8 | der[k + 3]) - less;
            der[k + 2] = (uint8_t)(len >> 8);
            der[k + 3] = (uint8_t)len;
        }
        if (!cs_cert_parse(crypto, (struct cs_bytes){der, f.bytes.len - less}, &cert, &err))
            fail_msg("%s: %s", rows[i].encoded, err.msg);
        assert_string_equal(cert->serial_hex, rows[i].shown);
    }
}

static void links(void **state) {
    (void)state;
    static const struct {
        const char *cert, *issuer;
        bool good;
    } rows[] = {
        {"p256", "ca-sub", true},
        {"rsa", "ca-sub", true},
        {"p384", "ca-rsa", true},
        {"p521", "ca-rsa", true},
        {"ed25519", "ca-ed25519", true},
        {"by-p384", "ca-p384", true},
        {"rsa-by-rsa", "ca-rsa", true},
        {"pss", "ca-rsa", true},
        {"sm2-sign", "ca-sm2", true},
        {"sm2-enc", "ca-sm2", true},
        {"ca-sub", "ca-root", true},
        {"ca-root", "ca-root", true},
        {"ca-rsa", "ca-rsa", true},
        {"ca-sm2", "ca-sm2", true},
        {"ca-ed25519", "ca-ed25519", true},
        {"by-leaf", "p256", true}, // names and signature; that it may not is the chain's rule
        {"v1-self", "v1-self", true},
        {"p256", "ca-root", false},
        {"p256", "ca-impostor", false},
        {"p256", "p256", false},
        {"sm2-noid", "ca-sm2", false},
        {"ca-sha1", "ca-sha1", false}, // SHA-1 is not verified
    };
    // Twice without and twice with the memo, and interleaved: the kept keys must never answer for each other.
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
            CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, rows[i].cert);
            CS_AUTO(cs_cert_free) struct cs_cert *issuer = test_cert(crypto, rows[i].issuer);
            if (cs_cert_signed_by(crypto, cert, issuer) != rows[i].good)
                fail_msg("round %d: %s by %s", round, rows[i].cert, rows[i].issuer);
            if (round == 1) { // a fresh context each time
                CS_AUTO(cs_crypto_free) struct cs_crypto *fresh = test_crypto();
                assert_int_equal(cs_cert_signed_by(fresh, cert, issuer), rows[i].good);
            }
        }
    }
}

static void ca_certificates_come_from_the_memo(void **state) {
    (void)state;
    CS_AUTO(cs_cert_free) struct cs_cert *a = test_cert(crypto, "ca-root");
    CS_AUTO(cs_cert_free) struct cs_cert *b = test_cert(crypto, "ca-root");
    assert_ptr_equal(a, b);
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, "p256");
    CS_AUTO(cs_cert_free) struct cs_cert *again = test_cert(crypto, "p256");
    assert_ptr_not_equal(leaf, again);
    // It outlives the context that it came from.
    struct cs_crypto *other = test_crypto();
    CS_AUTO(cs_cert_free) struct cs_cert *kept = test_cert(other, "ca-root");
    cs_crypto_free(other);
    assert_memory_equal(kept->sha256, a->sha256, 32);
}

#define DAY INT64_C(86400)

static void leaf_rules(void **state) {
    (void)state;
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = test_cert(crypto, "p256");
    int64_t from = leaf->not_before_s, to = leaf->not_after_s;
    const struct {
        const char *name;
        enum cs_algorithm algorithm;
        int64_t at_s; // after p256's notBefore
        enum cs_code code;
    } rows[] = {
        {"p256", CS_ALGORITHM_INTERNATIONAL, 0, CS_CODE_NONE},
        {"p256", CS_ALGORITHM_INTERNATIONAL, to - from, CS_CODE_NONE},
        {"p256", CS_ALGORITHM_INTERNATIONAL, -1, CS_CODE_CERT_NOT_YET_VALID},
        {"p256", CS_ALGORITHM_INTERNATIONAL, to - from + 1, CS_CODE_CERT_EXPIRED},
        {"p256", CS_ALGORITHM_SM2, -1, CS_CODE_CERT_ALGORITHM},
        {"sm2-sign", CS_ALGORITHM_SM2, DAY, CS_CODE_NONE},
        {"sm2-sign", CS_ALGORITHM_INTERNATIONAL, DAY, CS_CODE_CERT_ALGORITHM},
        {"ca-root", CS_ALGORITHM_SM2, -DAY, CS_CODE_CERT_IS_CA},
        {"v1-self", CS_ALGORITHM_INTERNATIONAL, DAY, CS_CODE_CERT_NOT_V3},
        {"no-name", CS_ALGORITHM_INTERNATIONAL, -DAY, CS_CODE_CERT_NO_NAME},
        {"no-cn", CS_ALGORITHM_INTERNATIONAL, DAY, CS_CODE_NONE},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        CS_AUTO(cs_cert_free) struct cs_cert *cert = test_cert(crypto, rows[i].name);
        enum cs_code code = cs_leaf_check(cert, rows[i].algorithm, from + rows[i].at_s);
        if (code != rows[i].code)
            fail_msg("row %zu: %s: %s", i, rows[i].name, cs_code_name(code));
    }
}

// Certificates by their names, separated by blanks; returns how many.
static size_t load(const char *names, struct cs_cert **certs) {
    size_t n = 0;
    while (*names) {
        char name[32];
        size_t len = strcspn(names, " ");
        memcpy(name, names, len);
        name[len] = '\0';
        certs[n++] = test_cert(crypto, name);
        names += len + (names[len] == ' ');
    }
    return n;
}

static void chains_as_the_consumer_checks_them(void **state) {
    (void)state;
    static const struct {
        const char *chain;
        enum cs_code code;
        bool incomplete;
    } rows[] = {
        {"p256 ca-sub ca-root", CS_CODE_NONE, false},
        {"p256 ca-sub", CS_CODE_NONE, false},
        {"p256", CS_CODE_NONE, true},
        {"self", CS_CODE_NONE, false},
        {"by-rsa ca-rsa", CS_CODE_NONE, false},
        {"sm2-sign ca-sm2", CS_CODE_NONE, false},
        {"p256 ca-root ca-sub", CS_CODE_CHAIN_ORDER, false},
        {"p256 ca-root", CS_CODE_CHAIN_STRAY, false},
        {"p256 ca-sub ca-rsa", CS_CODE_CHAIN_STRAY, false},
        {"p256 ca-sub ca-root ca-rsa", CS_CODE_CHAIN_STRAY, false},
        {"p256 p256", CS_CODE_CHAIN_STRAY, false},
        {"p256 ca-sub ca-sub", CS_CODE_CHAIN_STRAY, false},
        {"p256 other", CS_CODE_CHAIN_STRAY, false},
        {"p256 ca-impostor", CS_CODE_CHAIN_BROKEN, false},
        {"by-leaf p256 ca-sub ca-root", CS_CODE_CHAIN_BROKEN, false},      // a leaf signs nothing
        {"by-nosign ca-nosign ca-root", CS_CODE_CHAIN_BROKEN, false},      // key usage without keyCertSign
        {"by-below ca-below ca-sub ca-root", CS_CODE_CHAIN_BROKEN, false}, // path length 0
        {"by-below ca-below", CS_CODE_NONE, false},
        {"sm2-noid ca-sm2", CS_CODE_CHAIN_BROKEN, false},
        {"p256 ca-sub ca-root rsa p384 p521 ed25519 other self utf8 pss", CS_CODE_CERT_TOO_MANY, false},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_cert *certs[16];
        size_t n = load(rows[i].chain, certs);
        struct cs_chain_facts facts;
        enum cs_code code = cs_chain_check(crypto, certs, n, &facts);
        bool incomplete = code == CS_CODE_NONE && (facts.notes & CS_NOTE(CHAIN_INCOMPLETE));
        if (code != rows[i].code || (code == CS_CODE_NONE && incomplete != rows[i].incomplete))
            fail_msg("%s: %s %d", rows[i].chain, cs_code_name(code), incomplete);
        for (size_t k = 0; k < n; k++)
            cs_cert_free(certs[k]);
    }
}

static void chains_as_the_agent_orders_them(void **state) {
    (void)state;
    static const struct {
        const char *chain, *key, *ordered;
        enum cs_code code;
        const char *named;
    } rows[] = {
        {"p256 ca-sub ca-root", NULL, "p256 ca-sub ca-root", CS_CODE_NONE, NULL},
        {"ca-root ca-sub p256", NULL, "p256 ca-sub ca-root", CS_CODE_NONE, NULL},
        {"ca-root p256 ca-sub", "p256", "p256 ca-sub ca-root", CS_CODE_NONE, NULL},
        {"ca-sub p256 ca-sub p256 ca-sub", NULL, "p256 ca-sub", CS_CODE_NONE, NULL},
        {"ca-sub ca-root", "ca-sub", "ca-sub ca-root", CS_CODE_NONE, NULL},
        {"self", NULL, "self", CS_CODE_NONE, NULL},
        {"p256 ca-rsa ca-sub", NULL, NULL, CS_CODE_CHAIN_STRAY, "CN=Example RSA Root"},
        {"p256 other ca-sub", NULL, NULL, CS_CODE_CHAIN_STRAY, "CN=other.example.com"},
        {"other p256 ca-sub", "p256", NULL, CS_CODE_CHAIN_STRAY, "CN=other.example.com"},
        {"p256 ca-impostor", NULL, NULL, CS_CODE_CHAIN_BROKEN, "CN=Example Sub CA"},
        {"p256 ca-impostor ca-sub", NULL, NULL, CS_CODE_CHAIN_STRAY, "CN=Example Sub CA"},
        {"by-nosign ca-nosign", NULL, NULL, CS_CODE_CHAIN_BROKEN, "CN=Example No-Sign CA"},
        {"ca-sub ca-root", NULL, NULL, CS_CODE_CERT_IS_CA, NULL},
        {"p256 ca-sub", "rsa", NULL, CS_CODE_KEY_MISMATCH, NULL},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_cert *certs[16], *want[16], *key = rows[i].key ? test_cert(crypto, rows[i].key) : NULL;
        struct cs_err err = {0};
        size_t n = load(rows[i].chain, certs), wanted = rows[i].ordered ? load(rows[i].ordered, want) : 0;
        bool ok = cs_chain_order(crypto, certs, &n, key ? key->spki : (struct cs_bytes){0}, &err);
        if (ok != (rows[i].code == CS_CODE_NONE) || (!ok && err.code != rows[i].code))
            fail_msg("%s: %s", rows[i].chain, ok ? "ok" : err.msg);
        if (rows[i].named && !strstr(err.msg, rows[i].named))
            fail_msg("%s: %s", rows[i].chain, err.msg);
        if (ok) {
            assert_int_equal(n, wanted);
            for (size_t k = 0; k < n; k++)
                assert_memory_equal(certs[k]->sha256, want[k]->sha256, 32);
            struct cs_chain_facts facts;
            if (!certs[0]->is_ca)
                assert_int_equal(cs_chain_check(crypto, certs, n, &facts), CS_CODE_NONE);
        }
        for (size_t k = 0; k < n; k++)
            cs_cert_free(certs[k]);
        for (size_t k = 0; k < wanted; k++)
            cs_cert_free(want[k]);
        cs_cert_free(key);
    }
}

static void sm2_pairs(void **state) {
    (void)state;
    static const struct {
        const char *sign, *encrypt;
        enum cs_code code;
    } rows[] = {
        {"sm2-sign", "sm2-enc", CS_CODE_NONE},          {"sm2-enc", "sm2-sign", CS_CODE_SM2_USAGE},
        {"sm2-sign", "sm2-sign", CS_CODE_SM2_USAGE},    {"sm2-sign", "sm2-samekey", CS_CODE_SM2_SAME_KEY},
        {"sm2-sign", "sm2-other", CS_CODE_SM2_SUBJECT},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        CS_AUTO(cs_cert_free) struct cs_cert *sign = test_cert(crypto, rows[i].sign);
        CS_AUTO(cs_cert_free) struct cs_cert *encrypt = test_cert(crypto, rows[i].encrypt);
        assert_int_equal(cs_sm2_pair_check(sign, encrypt), rows[i].code);
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
        cmocka_unit_test(verdicts),
        cmocka_unit_test(the_view_of_a_certificate),
        cmocka_unit_test(damaged_der),
        cmocka_unit_test(edited_der),
        cmocka_unit_test(odd_certificates),
        cmocka_unit_test(serial_numbers),
        cmocka_unit_test(links),
        cmocka_unit_test(ca_certificates_come_from_the_memo),
        cmocka_unit_test(leaf_rules),
        cmocka_unit_test(chains_as_the_consumer_checks_them),
        cmocka_unit_test(chains_as_the_agent_orders_them),
        cmocka_unit_test(sm2_pairs),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
