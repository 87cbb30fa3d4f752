// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // timegm
//
// Certificates and requests: whatever is accepted here, OpenSSL's reader accepts too, to the last byte and with the same
// values, so that no certificate is registered that a server then cannot load, or that clients see another name in. What
// is read is asked field by field; OpenSSL reads more extensions than this program does, of which it may say what it likes.
#include "fuzz.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "certsync/base/text.h"
#include "certsync/model/cert.h"
#include "certsync/model/csr.h"

static struct cs_crypto *crypto;

#define must(ok)                                                                                             \
    do {                                                                                                     \
        if (!(ok)) {                                                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #ok);                                         \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static bool same(struct cs_bytes a, const void *data, int len) {
    return len >= 0 && a.len == (size_t)len && (len == 0 || memcmp(a.data, data, a.len) == 0);
}

static void same_name(struct cs_bytes ours, X509_NAME *name) {
    uint8_t *der = NULL;
    int len = i2d_X509_NAME(name, &der);
    must(same(ours, der, len));
    OPENSSL_free(der);
}

static int64_t seconds(const ASN1_TIME *t) {
    struct tm tm;
    must(ASN1_TIME_to_tm(t, &tm) == 1);
    return (int64_t)timegm(&tm);
}

static void same_serial(const char *ours, const ASN1_INTEGER *number) {
    BIGNUM *bn = ASN1_INTEGER_to_BN(number, NULL);
    char *hex = BN_bn2hex(bn);
    must(strcasecmp(BN_is_zero(bn) ? "00" : hex, ours) == 0);
    OPENSSL_free(hex);
    BN_free(bn);
}

// The text that a listed name has here, made from what OpenSSL read; false for kinds that are not listed.
static bool text_of(const GENERAL_NAME *name, char *out, size_t size) {
    const char *prefix = name->type == GEN_EMAIL ? "email:" : name->type == GEN_URI ? "URI:" : "";
    if (name->type == GEN_IPADD) {
        const ASN1_STRING *ip = name->d.iPAddress;
        int family = ASN1_STRING_length(ip) == 4 ? AF_INET : AF_INET6;
        must(inet_ntop(family, ASN1_STRING_get0_data(ip), stpcpy(out, "IP:"), INET6_ADDRSTRLEN) != NULL);
        return true;
    }
    if (name->type != GEN_DNS && name->type != GEN_EMAIL && name->type != GEN_URI)
        return false;
    const ASN1_STRING *s = name->d.ia5;
    if (ASN1_STRING_length(s) == 0)
        return false;
    char *at = stpcpy(out, prefix);
    cs_text_escape(ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s), at, size - strlen(prefix));
    return true;
}

static void same_names(char *const *ours, size_t len, size_t total, GENERAL_NAMES *names) {
    static char text[4 * CS_CERT_DER_MAX + 16];
    size_t n = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (!text_of(name, text, sizeof text))
            continue;
        must(n >= len || strcmp(ours[n], text) == 0);
        n++;
    }
    must(n == total);
}

// Extensions whose forms are not read here, but by OpenSSL whenever it looks at a certificate.
static bool others_extensions(const X509 *x) {
    static const int nids[] = {NID_netscape_cert_type, NID_proxyCertInfo, NID_sbgp_ipAddrBlock,
                               NID_sbgp_autonomousSysNum};
    for (size_t i = 0; i < CS_ARRAY_LEN(nids); i++)
        if (X509_get_ext_by_NID(x, nids[i], -1) >= 0)
            return true;
    return false;
}

static void compare_extensions(const struct cs_cert *cert, X509 *x) {
    uint32_t flags = X509_get_extension_flags(x);
    must(!(flags & EXFLAG_INVALID) || others_extensions(x));
    must(X509_get_key_usage(x) == cert->key_usage);
    must(cert->is_ca == ((flags & EXFLAG_CA) != 0 || X509_get_version(x) == X509_VERSION_1));
    must((flags & EXFLAG_SI) || !cert->self_issued); // OpenSSL takes tabs for spaces too
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    same_names(cert->names, cert->names_len, cert->names_total, names);
    GENERAL_NAMES_free(names);
    for (int i = 0; i < X509_get_ext_count(x); i++) {
        X509_EXTENSION *ext = X509_get_ext(x, i);
        static const int read_here[] = {NID_basic_constraints,
                                        NID_key_usage,
                                        NID_ext_key_usage,
                                        NID_subject_alt_name,
                                        NID_subject_key_identifier,
                                        NID_authority_key_identifier,
                                        NID_name_constraints,
                                        NID_crl_distribution_points,
                                        NID_info_access};
        int nid = OBJ_obj2nid(X509_EXTENSION_get_object(ext));
        for (size_t k = 0; k < CS_ARRAY_LEN(read_here); k++) {
            if (nid != read_here[k])
                continue;
            void *read = X509V3_EXT_d2i(ext);
            must(read != NULL);
            ASN1_item_free(read, ASN1_ITEM_ptr(X509V3_EXT_get(ext)->it));
        }
    }
}

static void compare(const struct cs_cert *cert, X509 *x) {
    uint8_t *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    must(same(cert->spki, spki, len));
    OPENSSL_free(spki);
    must(X509_get0_pubkey(x) != NULL);
    must(X509_get_version(x) + 1 == cert->version);
    must(cert->version == 3 || cert->is_ca);
    same_name(cert->subject, X509_get_subject_name(x));
    same_name(cert->issuer, X509_get_issuer_name(x));
    must(seconds(X509_get0_notBefore(x)) == cert->not_before_s);
    must(seconds(X509_get0_notAfter(x)) == cert->not_after_s);
    same_serial(cert->serial_hex, X509_get0_serialNumber(x));
    compare_extensions(cert, x);
}

static void text_is_utf8(const char *text) {
    must(cs_utf8_valid((const uint8_t *)text, strlen(text)));
}

static void try_certificate(const uint8_t *data, size_t size) {
    struct cs_err err = {0};
    struct cs_cert *cert = NULL;
    if (!cs_cert_parse(crypto, (struct cs_bytes){data, size}, &cert, &err)) {
        must(err.kind == CS_ERR_REJECT && err.code != CS_CODE_NONE && cert == NULL);
        return;
    }
    text_is_utf8(cert->subject_name);
    text_is_utf8(cert->issuer_name);
    text_is_utf8(cert->common_name);
    const uint8_t *p = data;
    X509 *x = d2i_X509(NULL, &p, (long)size);
    must(x != NULL && p == data + size);
    compare(cert, x);
    X509_free(x);
    (void)cs_cert_signed_by(crypto, cert, cert);
    cs_cert_free(cert);
}

// The fuzzer cannot sign: requests are compared as far as they are read before their signature is looked at.
static void try_request(const uint8_t *data, size_t size) {
    struct cs_err err = {0};
    struct cs_csr *csr = NULL;
    bool ok = cs_csr_parse(crypto, (struct cs_bytes){data, size}, &csr, &err);
    must(ok || (err.kind == CS_ERR_REJECT && err.code != CS_CODE_NONE));
    if (!ok && err.code != CS_CODE_CSR_BAD_SIGNATURE)
        return;
    const uint8_t *p = data;
    X509_REQ *x = d2i_X509_REQ(NULL, &p, (long)size);
    must(x != NULL && p == data + size);
    if (ok) {
        must(X509_REQ_get_version(x) == X509_REQ_VERSION_1 && X509_REQ_get0_pubkey(x) != NULL);
        text_is_utf8(csr->subject_name);
        STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(x);
        GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
        must(csr->names_len == CS_CERT_NAMES_MAX || names || csr->names_len == 0);
        if (csr->names_len < CS_CERT_NAMES_MAX)
            same_names(csr->names, csr->names_len, csr->names_len, names);
        GENERAL_NAMES_free(names);
        sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    }
    X509_REQ_free(x);
    cs_csr_free(csr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cs_err err;
    if (!crypto)
        must(cs_crypto_new(&crypto, &err));
    try_certificate(data, size);
    try_request(data, size);
    ERR_clear_error();
    return 0;
}
