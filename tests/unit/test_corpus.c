// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // timegm
//
// Certificates that others made: Debian's authorities (ca-certificates) and the vectors of
// python3-cryptography-vectors, NIST's PKITS among them. Each class has its verdict here; and whatever is
// accepted, OpenSSL's own reader accepts too, with the same values. Skipped, and said so, where the packages
// are not installed.
#include "certs.h"

#include <dirent.h>
#include <openssl/x509v3.h>
#include <strings.h>
#include <time.h>

#include "certsync/base/text.h"
#include "x509/pem_block.h"

#define AUTHORITIES "/usr/share/ca-certificates/mozilla"
#define VECTORS     "/usr/lib/python3/dist-packages/cryptography_vectors/x509"
#define PKITS       VECTORS "/PKITS_data/certs"

static struct cs_crypto *crypto;

static int64_t seconds(const ASN1_TIME *t) {
    struct tm tm;
    assert_int_equal(ASN1_TIME_to_tm(t, &tm), 1);
    return (int64_t)timegm(&tm);
}

static size_t count_names(X509 *x) {
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t n = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        bool text = name->type == GEN_DNS || name->type == GEN_EMAIL || name->type == GEN_URI;
        n += name->type == GEN_IPADD ||
             (text && ASN1_STRING_length(name->d.ia5) > 0); // an empty text names nobody
    }
    GENERAL_NAMES_free(names);
    return n;
}

static void same_name(const char *file, const char *ours, X509_NAME *name) {
    char *theirs = NULL;
    BIO *out = BIO_new(BIO_s_mem());
    X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB);
    long len = BIO_get_mem_data(out, &theirs);
    // Cut at the end, or an attribute that OpenSSL names and we do not: nothing to compare.
    bool comparable = len > 0 && len < 500 && !strstr(ours, "2.5.4.") && !strstr(ours, "1.3.6.1.") &&
                      cs_utf8_valid((uint8_t *)theirs, (size_t)len);
    if (comparable && ((size_t)len != strlen(ours) || memcmp(ours, theirs, (size_t)len) != 0))
        fail_msg("%s: %s, OpenSSL has %.*s", file, ours, (int)len, theirs);
    BIO_free(out);
}

static void same_as_openssl(const char *file, const struct cs_cert *cert) {
    const uint8_t *p = cert->der.data;
    uint8_t hash[32];
    unsigned hash_len = 0;
    X509 *x = d2i_X509(NULL, &p, (long)cert->der.len);
    if (!x)
        fail_msg("%s: OpenSSL does not read it", file);
    assert_ptr_equal(p, cert->der.data + cert->der.len);
    assert_int_equal(X509_digest(x, EVP_sha256(), hash, &hash_len), 1);
    assert_memory_equal(hash, cert->sha256, 32);
    assert_int_equal(seconds(X509_get0_notBefore(x)), cert->not_before_s);
    assert_int_equal(seconds(X509_get0_notAfter(x)), cert->not_after_s);
    uint32_t flags = X509_get_extension_flags(x);
    assert_int_equal((flags & EXFLAG_CA) || ((flags & EXFLAG_V1) && (flags & EXFLAG_SS)), cert->is_ca);
    assert_int_equal((flags & EXFLAG_SI) != 0, cert->self_issued);
    assert_int_equal(X509_get_key_usage(x), cert->key_usage);
    assert_int_equal(count_names(x), cert->names_total);
    BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *hex = BN_bn2hex(bn);
    assert_int_equal(strcasecmp(BN_is_zero(bn) ? "00" : hex, cert->serial_hex), 0);
    OPENSSL_free(hex);
    BN_free(bn);
    uint8_t *spki = NULL;
    int spki_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    assert_int_equal(spki_len, cert->spki.len);
    assert_memory_equal(spki, cert->spki.data, cert->spki.len);
    OPENSSL_free(spki);
    EVP_PKEY *key = X509_get0_pubkey(x);
    assert_non_null(key);
    if (cert->key_type != CS_KEY_ED25519)
        assert_int_equal(EVP_PKEY_get_bits(key), cert->key_bits);
    if (cert->self_issued && X509_verify(x, key) == 1 &&
        cs_cert_signed_by(crypto, cert, cert) == 0) // SHA-1 roots only
        assert_int_equal(X509_get_signature_nid(x), NID_sha1WithRSAEncryption);
    same_name(file, cert->subject_name, X509_get_subject_name(x));
    same_name(file, cert->issuer_name, X509_get_issuer_name(x));
    X509_free(x);
}

// The verdict of a file of one certificate, PEM or DER.
static enum cs_code judge(const char *directory, const char *file) {
    char path[512];
    struct cs_err err = {0};
    struct pem_block block;
    struct cs_cert *cert = NULL;
    snprintf(path, sizeof path, "%s/%s", directory, file);
    CS_AUTO(file_clear) struct file f = file_read(path);
    struct pem_reader r = pem_open(f.bytes);
    struct cs_bytes der = f.bytes;
    uint8_t *decoded = malloc(f.bytes.len + 1);
    size_t len;
    assert_non_null(decoded);
    enum pem_step step;
    while ((step = pem_next(&r, &block)) == PEM_BLOCK && !pem_ends_with(&block, "CERTIFICATE"))
        continue;
    if (step == PEM_BLOCK && pem_decode(&block, decoded, &len))
        der = (struct cs_bytes){decoded, len};
    bool ok = cs_cert_parse(crypto, der, &cert, &err);
    free(decoded);
    if (!ok) {
        assert_int_equal(err.kind, CS_ERR_REJECT);
        return err.code;
    }
    same_as_openssl(file, cert);
    cs_cert_free(cert);
    return CS_CODE_NONE;
}

static const char *verdict(enum cs_code code) {
    return code == CS_CODE_NONE ? "accepted" : cs_code_name(code);
}

struct expected {
    const char *file;
    enum cs_code code;
};

// Every file of the directory with the suffix: the verdict of the table, or NONE. Returns how many there were.
static size_t judge_all(const char *directory, const char *suffix, const char *without,
                        const struct expected *table, size_t n) {
    DIR *dir = opendir(directory);
    size_t files = 0, wrong = 0;
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        const char *name = entry->d_name;
        size_t len = strlen(name), suffix_len = strlen(suffix);
        if (len < suffix_len || strcmp(name + len - suffix_len, suffix) != 0 || strstr(name, without))
            continue;
        enum cs_code want = CS_CODE_NONE;
        for (size_t i = 0; i < n; i++)
            if (strcmp(table[i].file, name) == 0)
                want = table[i].code;
        enum cs_code code = judge(directory, name);
        if (code != want)
            print_error("%s/%s: %s, not %s\n", directory, name, verdict(code), verdict(want));
        wrong += code != want;
        files++;
    }
    closedir(dir);
    assert_int_equal(wrong, 0);
    return files;
}

static void skip_without(size_t files, const char *package) {
    if (files == 0) {
        print_message("skipped: the package %s is not installed\n", package);
        skip();
    }
    print_message("%zu certificates\n", files);
}

static void debians_authorities(void **state) {
    (void)state;
    skip_without(judge_all(AUTHORITIES, ".crt", "\n", NULL, 0), "ca-certificates");
}

static void pkits_certificates(void **state) {
    (void)state;
    static const struct expected table[] = {
        {"BadSignedCACert.crt", CS_CODE_CERT_MALFORMED},            // bits left over in the signature
        {"InvalidDSASignatureTest6EE.crt", CS_CODE_CERT_MALFORMED}, // the same
        {"DSACACert.crt", CS_CODE_CERT_WEAK_KEY},
        {"DSAParametersInheritedCACert.crt", CS_CODE_CERT_WEAK_SIGNATURE},
        {"ValidDSASignaturesTest4EE.crt", CS_CODE_CERT_WEAK_SIGNATURE},
        {"ValidDSAParameterInheritanceTest5EE.crt", CS_CODE_CERT_WEAK_SIGNATURE},
    };
    skip_without(judge_all(PKITS, ".crt", "\n", table, CS_ARRAY_LEN(table)), "python3-cryptography-vectors");
}

#define WEAK      CS_CODE_CERT_WEAK_SIGNATURE // SHA-1 and MD5 leafs
#define MALFORMED CS_CODE_CERT_MALFORMED

static void x509_vectors(void **state) {
    (void)state;
    static const struct expected table[] = {
        {"utf8-dnsname.pem", MALFORMED},                  // U+D55C in a dNSName
        {"cryptography.io.precert.pem", MALFORMED},       // a precertificate
        {"badasn1time.pem", MALFORMED},                   // UTCTime with an offset
        {"v1_cert.pem", MALFORMED},                       // inner and outer algorithm differ
        {"verisign_md2_root.pem", CS_CODE_CERT_WEAK_KEY}, // RSA-1024
        {"wosign-bc-invalid.pem", WEAK},
        {"cryptography-scts-tbs-precert.der", MALFORMED}, // a TBSCertificate only
        {"e-trust.ru.der", CS_CODE_CERT_WEAK_KEY},        // GOST
        {"san_edipartyname.der",
         MALFORMED}, // an explicit tag in primitive form: OpenSSL cannot read it either
        {"san_x400address.der", WEAK},
        {"ee-pss-sha1-cert.pem", WEAK}, // Debian 13's
    };
    size_t files = judge_all(VECTORS, ".pem", "\n", table, CS_ARRAY_LEN(table));
    files += judge_all(VECTORS, ".der", "\n", table, CS_ARRAY_LEN(table));
    skip_without(files, "python3-cryptography-vectors");
}

static void x509_custom_vectors(void **state) {
    (void)state;
    static const struct expected table[] = {
        {"alternate-rsa-sha1-oid.der", WEAK},
        {"aia_ca_issuers.pem", WEAK},
        {"aia_ocsp.pem", WEAK},
        {"aia_ocsp_ca_issuers.pem", WEAK},
        {"all_key_usages.pem", WEAK},
        {"all_supported_names.pem", WEAK},
        {"authority_key_identifier.pem", WEAK},
        {"authority_key_identifier_no_keyid.pem", WEAK},
        {"basic_constraints_not_critical.pem", WEAK},
        {"cdp_all_reasons.pem", WEAK},
        {"cdp_crl_issuer.pem", WEAK},
        {"cdp_fullname_reasons_crl_issuer.pem", WEAK},
        {"cdp_reason_aa_compromise.pem", WEAK},
        {"cp_cps_uri.pem", WEAK},
        {"cp_invalid.pem", WEAK},
        {"cp_invalid2.der", WEAK},
        {"cp_user_notice_no_explicit_text.pem", WEAK},
        {"cp_user_notice_with_explicit_text.pem", WEAK},
        {"cp_user_notice_with_notice_reference.pem", WEAK},
        {"extended_key_usage.pem", WEAK},
        {"ian_uri.pem", WEAK},
        {"inhibit_any_policy_5.pem", WEAK},
        {"inhibit_any_policy_negative.pem", WEAK},
        {"policy_constraints_explicit.pem", WEAK},
        {"san_dirname.pem", WEAK},
        {"san_email_dns_ip_dirname_uri.pem", WEAK},
        {"san_idna2003_dnsname.pem", WEAK},
        {"san_idna_names.pem", WEAK},
        {"san_ipaddr.pem", WEAK},
        {"san_other_name.pem", WEAK},
        {"san_registered_id.pem", WEAK},
        {"san_rfc822_idna.pem", WEAK},
        {"san_rfc822_names.pem", WEAK},
        {"san_uri_with_port.pem", WEAK},
        {"unsupported_extension.pem", WEAK},
        {"unsupported_extension_critical.pem", WEAK},
        {"unsupported_subject_public_key_info.pem", WEAK},
        {"rsa_pss.pem", WEAK},                       // PSS with SHA-1
        {"rsa_pss_cert.pem", CS_CODE_CERT_WEAK_KEY}, // a PSS key
        {"dsa_selfsigned_ca.pem", CS_CODE_CERT_WEAK_KEY},
        {"dsa_null_alg_params.pem", WEAK}, // Debian 13's: a key without parameters
        {"ec_no_named_curve.pem", CS_CODE_CERT_EXPLICIT_CURVE},
        {"invalid_version.pem", MALFORMED},
        {"invalid_utf8_common_name.pem", MALFORMED},
        {"long-form-name-attribute.pem", MALFORMED}, // BER length
        {"two_basic_constraints.pem", MALFORMED},
        {"nc_ip_invalid_length.pem", MALFORMED},
        // Debian 13's: inner and outer algorithm differ.
        {"mismatch_inner_outer_sig_algorithm.der", MALFORMED},
        {"rsa_pss_cert_invalid_mgf.der", MALFORMED},
        {"rsa_pss_cert_no_sig_params.der", MALFORMED},
        {"rsa_pss_cert_unsupported_mgf_hash.der", MALFORMED},
    };
    size_t files = judge_all(VECTORS "/custom", ".pem", "crl", table, CS_ARRAY_LEN(table));
    files += judge_all(VECTORS "/custom", ".der", "crl", table, CS_ARRAY_LEN(table));
    skip_without(files, "python3-cryptography-vectors");
}

static void request_vectors(void **state) {
    (void)state;
    static const struct expected table[] = {
        {"ec_sha256.der", CS_CODE_NONE},
        {"rsa_sha256.der", CS_CODE_NONE},
        {"rsa_sha1.der", CS_CODE_CSR_BAD_SIGNATURE},
        {"rsa_md4.der", CS_CODE_CSR_BAD_SIGNATURE},
        {"san_rsa_sha1.der", CS_CODE_CSR_BAD_SIGNATURE},
        {"dsa_sha1.der", CS_CODE_CERT_WEAK_KEY},
        {"challenge-invalid.der", CS_CODE_CSR_BAD_SIGNATURE}, // openssl req -verify agrees
        {"challenge-multi-valued.der", CS_CODE_CSR_BAD_SIGNATURE},
    };
    DIR *dir = opendir(VECTORS "/requests");
    skip_without(dir ? CS_ARRAY_LEN(table) : 0, "python3-cryptography-vectors");
    closedir(dir);
    for (size_t i = 0; i < CS_ARRAY_LEN(table); i++) {
        char path[512];
        struct cs_err err = {0};
        CS_AUTO(cs_csr_free) struct cs_csr *csr = NULL;
        snprintf(path, sizeof path, VECTORS "/requests/%s", table[i].file);
        CS_AUTO(file_clear) struct file f = file_read(path);
        enum cs_code code = cs_csr_parse(crypto, f.bytes, &csr, &err) ? CS_CODE_NONE : err.code;
        if (code != table[i].code)
            fail_msg("%s: %s %s", table[i].file, cs_code_name(code), err.msg);
    }
}

// PKITS sections 4.1 (signatures), 4.3 (names), 4.6 (basic constraints) and 4.7 (key usage), as chains.
static void pkits_paths(void **state) {
    (void)state;
    static const struct {
        const char *chain; // leaf first, without the suffixes; the trust anchor is put to the end
        enum cs_code code;
    } rows[] = {
        {"ValidCertificatePathTest1EE GoodCACert", CS_CODE_NONE},
        {"InvalidEESignatureTest3EE GoodCACert", CS_CODE_CHAIN_BROKEN},
        {"InvalidNameChainingTest1EE GoodCACert", CS_CODE_CHAIN_STRAY},
        {"InvalidNameChainingOrderTest2EE NameOrderingCACert", CS_CODE_CHAIN_STRAY},
        {"ValidNameChainingWhitespaceTest3EE GoodCACert", CS_CODE_NONE},
        {"ValidNameChainingWhitespaceTest4EE GoodCACert", CS_CODE_NONE},
        {"ValidNameChainingCapitalizationTest5EE GoodCACert", CS_CODE_NONE},
        {"ValidNameUIDsTest6EE UIDCACert", CS_CODE_NONE},
        {"ValidRFC3280MandatoryAttributeTypesTest7EE RFC3280MandatoryAttributeTypesCACert", CS_CODE_NONE},
        {"ValidRFC3280OptionalAttributeTypesTest8EE RFC3280OptionalAttributeTypesCACert", CS_CODE_NONE},
        {"ValidUTF8StringEncodedNamesTest9EE UTF8StringEncodedNamesCACert", CS_CODE_NONE},
        {"ValidRolloverfromPrintableStringtoUTF8StringTest10EE RolloverfromPrintableStringtoUTF8StringCACert",
         CS_CODE_NONE},
        {"ValidUTF8StringCaseInsensitiveMatchTest11EE UTF8StringCaseInsensitiveMatchCACert", CS_CODE_NONE},
        {"InvalidMissingbasicConstraintsTest1EE MissingbasicConstraintsCACert", CS_CODE_CHAIN_BROKEN},
        {"InvalidcAFalseTest2EE basicConstraintsCriticalcAFalseCACert", CS_CODE_CHAIN_BROKEN},
        {"InvalidcAFalseTest3EE basicConstraintsNotCriticalcAFalseCACert", CS_CODE_CHAIN_BROKEN},
        {"ValidbasicConstraintsNotCriticalTest4EE basicConstraintsNotCriticalCACert", CS_CODE_NONE},
        {"InvalidpathLenConstraintTest5EE pathLenConstraint0subCACert pathLenConstraint0CACert",
         CS_CODE_CHAIN_BROKEN},
        {"InvalidpathLenConstraintTest6EE pathLenConstraint0subCACert pathLenConstraint0CACert",
         CS_CODE_CHAIN_BROKEN},
        {"ValidpathLenConstraintTest7EE pathLenConstraint0CACert", CS_CODE_NONE},
        {"ValidpathLenConstraintTest8EE pathLenConstraint0CACert", CS_CODE_NONE},
        {"InvalidpathLenConstraintTest9EE pathLenConstraint6subsubCA00Cert pathLenConstraint6subCA0Cert "
         "pathLenConstraint6CACert",
         CS_CODE_CHAIN_BROKEN},
        {"ValidpathLenConstraintTest13EE pathLenConstraint6subsubsubCA41XCert "
         "pathLenConstraint6subsubCA41Cert "
         "pathLenConstraint6subCA4Cert pathLenConstraint6CACert",
         CS_CODE_NONE},
        {"ValidSelfIssuedpathLenConstraintTest15EE pathLenConstraint0SelfIssuedCACert "
         "pathLenConstraint0CACert",
         CS_CODE_NONE},
        {"InvalidSelfIssuedpathLenConstraintTest16EE pathLenConstraint0subCA2Cert "
         "pathLenConstraint0SelfIssuedCACert "
         "pathLenConstraint0CACert",
         CS_CODE_CHAIN_BROKEN},
        {"InvalidkeyUsageCriticalkeyCertSignFalseTest1EE keyUsageCriticalkeyCertSignFalseCACert",
         CS_CODE_CHAIN_BROKEN},
        {"InvalidkeyUsageNotCriticalkeyCertSignFalseTest2EE keyUsageNotCriticalkeyCertSignFalseCACert",
         CS_CODE_CHAIN_BROKEN},
        {"ValidkeyUsageNotCriticalTest3EE keyUsageNotCriticalCACert", CS_CODE_NONE},
    };
    DIR *dir = opendir(PKITS);
    skip_without(dir ? CS_ARRAY_LEN(rows) : 0, "python3-cryptography-vectors");
    closedir(dir);
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_cert *certs[CS_CHAIN_MAX];
        size_t n = 0;
        struct cs_chain_facts facts;
        char names[512];
        snprintf(names, sizeof names, "%s TrustAnchorRootCertificate", rows[i].chain);
        for (char *name = names, *end; *name; name = *end ? end + 1 : end) {
            char path[512];
            struct cs_err err;
            end = name + strcspn(name, " ");
            snprintf(path, sizeof path, PKITS "/%.*s.crt", (int)(end - name), name);
            CS_AUTO(file_clear) struct file f = file_read(path);
            if (!cs_cert_parse(crypto, f.bytes, &certs[n++], &err))
                fail_msg("%s: %s", path, err.msg);
        }
        enum cs_code code = cs_chain_check(crypto, certs, n, &facts);
        if (code != rows[i].code)
            fail_msg("%s: %s", rows[i].chain, cs_code_name(code));
        while (n > 0)
            cs_cert_free(certs[--n]);
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
        cmocka_unit_test(debians_authorities), cmocka_unit_test(pkits_certificates),
        cmocka_unit_test(pkits_paths),         cmocka_unit_test(x509_vectors),
        cmocka_unit_test(x509_custom_vectors), cmocka_unit_test(request_vectors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
