// SPDX-License-Identifier: Apache-2.0
//
// Name constraints: of each chain the note chain.names says what X509_verify_cert says of it.
#include "certs.h"

#include <openssl/conf.h>
#include <openssl/x509v3.h>

#include "certsync/model/cert.h"

static struct cs_crypto *crypto;
static EVP_PKEY *keys[3]; // as the chain has them

// A root with the constraints, an intermediate where it has a subject, and a leaf. Lines of a name are "TYPE=value\n"; [dir]
// is what dirName:dir means.
static const struct row {
    const char *limits, *subject, *names;
    bool allowed;
    const char *dir, *middle;
} rows[] = {
    // DNS: the name and what is below it; with a dot in front only what is below.
    {"permitted;DNS:example.com", "CN=a", "DNS:example.com", true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a", "DNS:www.Example.COM", true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a", "DNS:badexample.com", false, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a", "DNS:com", false, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a", "DNS:*.example.com", true, NULL, NULL},
    {"permitted;DNS:.example.com", "CN=a", "DNS:www.example.com", true, NULL, NULL},
    {"permitted;DNS:.example.com", "CN=a", "DNS:a.b.example.com", true, NULL, NULL},
    {"permitted;DNS:.example.com", "CN=a", "DNS:example.com", false, NULL, NULL},
    {"DER:3006a00430028200", "CN=a", "DNS:example.com", true, NULL, NULL},
    {"DER:3006a10430028200", "CN=a", "DNS:example.com", false, NULL, NULL},
    {"excluded;DNS:example.com", "CN=a", "DNS:www.example.com", false, NULL, NULL},
    {"excluded;DNS:example.com", "CN=a", "DNS:example.org", true, NULL, NULL},
    {"excluded;DNS:.example.com", "CN=a", "DNS:example.com", true, NULL, NULL},
    {"permitted;DNS:example.com,permitted;DNS:example.org", "CN=a", "DNS:example.com,DNS:example.org", true,
     NULL, NULL},
    {"permitted;DNS:example.com,permitted;DNS:example.org", "CN=a", "DNS:example.com,DNS:example.net", false,
     NULL, NULL},
    {"permitted;DNS:example.com,excluded;DNS:bad.example.com", "CN=a", "DNS:www.example.com", true, NULL,
     NULL},
    {"permitted;DNS:example.com,excluded;DNS:bad.example.com", "CN=a", "DNS:x.bad.example.com", false, NULL,
     NULL},
    // What there is no subtree of is free.
    {"permitted;DNS:example.com", "CN=a", "IP:192.0.2.1,email:a@b.c,URI:https://x.y/", true, NULL, NULL},
    {"permitted;email:example.com", "CN=a", "DNS:example.org", true, NULL, NULL},
    // E-mail: a mailbox, a host's, those of the hosts below.
    {"permitted;email:a@example.com", "CN=a", "email:a@EXAMPLE.com", true, NULL, NULL},
    {"permitted;email:a@example.com", "CN=a", "email:A@example.com", false, NULL, NULL},
    {"permitted;email:a@example.com", "CN=a", "email:b@example.com", false, NULL, NULL},
    {"permitted;email:a@example.com", "CN=a", "email:aa@example.com", false, NULL, NULL},
    {"permitted;email:@example.com", "CN=a", "email:a@example.com", true, NULL, NULL},
    {"permitted;email:example.com", "CN=a", "email:a@Example.com", true, NULL, NULL},
    {"permitted;email:example.com", "CN=a", "email:a@mail.example.com", false, NULL, NULL},
    {"permitted;email:.example.com", "CN=a", "email:a@mail.example.com", true, NULL, NULL},
    {"permitted;email:.example.com", "CN=a", "email:a@example.com", false, NULL, NULL},
    {"permitted;email:.example.com", "CN=a", "email:a@.example.com", true, NULL, NULL},
    {"permitted;email:example.com", "CN=a", "email:example.com", false, NULL, NULL},
    {"DER:3006a00430028100", "CN=a", "email:a@example.com", false, NULL, NULL},
    {"DER:3006a10430028100", "CN=a", "email:a@example.com", true, NULL, NULL},
    {"excluded;email:a@example.com", "CN=a", "email:a@example.com", false, NULL, NULL},
    {"excluded;email:a@example.com", "CN=a", "email:b@example.com", true, NULL, NULL},
    {"excluded;email:example.com", "CN=a", "email:b@example.com", false, NULL, NULL},
    {"excluded;email:.example.com", "CN=a", "email:b@x.example.com", false, NULL, NULL},
    {"excluded;email:.example.com", "CN=a", "email:b@example.com", true, NULL, NULL},
    {"excluded;email:example.com", "CN=a", "email:no-host", false, NULL, NULL},
    {"excluded;email:example.com", "CN=a", "email:\"a@example.com\"@example.org", true, NULL, NULL},
    // In the subject, too.
    {"permitted;email:example.com", "CN=a\nemailAddress=a@example.com", NULL, true, NULL, NULL},
    {"permitted;email:example.com", "CN=a\nemailAddress=a@example.org", NULL, false, NULL, NULL},
    {"excluded;email:example.com", "CN=a\n1.emailAddress=a@b.c\n2.emailAddress=a@example.com", "DNS:a.b",
     false, NULL, NULL},
    // In UTF-8.
    {"permitted;email:example.com", "CN=a", "otherName:1.3.6.1.5.5.7.8.9;UTF8:a@example.com", true, NULL,
     NULL},
    {"permitted;email:example.com", "CN=a", "otherName:1.3.6.1.5.5.7.8.9;UTF8:a@example.org", false, NULL,
     NULL},
    {"excluded;email:example.com", "CN=a", "otherName:1.3.6.1.5.5.7.8.9;IA5:a@example.org", false, NULL,
     NULL},
    // URI: the host of it (see also uri_rows).
    {"permitted;URI:example.com", "CN=a", "URI:https://example.com/path", true, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:https://Example.com", true, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:https://example.com:8443/", true, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:https://www.example.com/", false, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:spiffe://example.com/workload", true, NULL, NULL},
    {"permitted;URI:.example.com", "CN=a", "URI:https://www.example.com/", true, NULL, NULL},
    {"permitted;URI:.example.com", "CN=a", "URI:https://example.com/", false, NULL, NULL},
    {"permitted;URI:.example.com", "CN=a", "URI:https://badexample.com/", false, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:urn:uuid:f81d4fae", false, NULL, NULL},
    {"excluded;URI:example.com", "CN=a", "URI:urn:uuid:f81d4fae", false, NULL, NULL},
    {"excluded;URI:example.com", "CN=a", "URI:https://example.com/", false, NULL, NULL},
    {"excluded;URI:example.com", "CN=a", "URI:https://www.example.com/", true, NULL, NULL},
    {"excluded;URI:.example.com", "CN=a", "URI:https://www.example.com:1/", false, NULL, NULL},
    {"excluded;URI:.example.com", "CN=a", "URI:https://example.com/", true, NULL, NULL},
    {"DER:3006a00430028600", "CN=a", "URI:https://example.com/", false, NULL, NULL},
    // IP: the bits of the mask, also where it has holes; IPv4 and IPv6 are of one kind.
    {"permitted;IP:192.0.2.0/255.255.255.0", "CN=a", "IP:192.0.2.255", true, NULL, NULL},
    {"permitted;IP:192.0.2.0/255.255.255.0", "CN=a", "IP:192.0.3.1", false, NULL, NULL},
    {"permitted;IP:192.0.2.9/255.255.255.0", "CN=a", "IP:192.0.2.1", true, NULL, NULL},
    {"permitted;IP:192.0.2.64/255.255.255.192", "CN=a", "IP:192.0.2.127", true, NULL, NULL},
    {"permitted;IP:192.0.2.64/255.255.255.192", "CN=a", "IP:192.0.2.128", false, NULL, NULL},
    {"permitted;IP:192.0.2.1/255.0.255.255", "CN=a", "IP:192.7.2.1", true, NULL, NULL},
    {"permitted;IP:0.0.0.0/0.0.0.0", "CN=a", "IP:198.51.100.1", true, NULL, NULL},
    {"permitted;IP:0.0.0.0/0.0.0.0", "CN=a", "IP:2001:db8::1", false, NULL, NULL},
    {"excluded;IP:0.0.0.0/0.0.0.0", "CN=a", "IP:2001:db8::1", true, NULL, NULL},
    {"excluded;IP:192.0.2.0/255.255.255.0", "CN=a", "IP:192.0.2.77", false, NULL, NULL},
    {"excluded;IP:192.0.2.0/255.255.255.0", "CN=a", "IP:192.0.3.77", true, NULL, NULL},
    {"permitted;IP:2001:db8::/ffff:ffff::", "CN=a", "IP:2001:db8:1::1", true, NULL, NULL},
    {"permitted;IP:2001:db8::/ffff:ffff::", "CN=a", "IP:2001:db9::1", false, NULL, NULL},
    {"permitted;IP:2001:db8::/ffff:fffe::", "CN=a", "IP:2001:db9::1", true, NULL, NULL},
    {"excluded;IP:2001:db8::/ffff:ffff::", "CN=a", "IP:2001:db8::7", false, NULL, NULL},
    {"excluded;IP:::/::", "CN=a", "IP:192.0.2.1", true, NULL, NULL},
    // Directory names: those that begin so. The subject is one.
    {"permitted;dirName:dir", "C=CN\nO=Example\nCN=a", "DNS:a.b", true, "C=CN\nO=Example", NULL},
    {"permitted;dirName:dir", "C=CN\nO=EXAMPLE\nCN=a", "DNS:a.b", true, "C=CN\nO=example", NULL},
    {"permitted;dirName:dir", "C=CN\nO=Example", "DNS:a.b", true, "C=CN\nO=Example", NULL},
    {"permitted;dirName:dir", "C=CN\nO=Example Two\nCN=a", "DNS:a.b", false, "C=CN\nO=Example", NULL},
    {"permitted;dirName:dir", "O=Example\nC=CN", "DNS:a.b", false, "C=CN\nO=Example", NULL},
    {"permitted;dirName:dir", "C=CN", "DNS:a.b", false, "C=CN\nO=Example", NULL},
    {"permitted;dirName:dir", "", "DNS:a.b", true, "C=CN", NULL},
    {"excluded;dirName:dir", "C=CN\nO=Example\nCN=a", "DNS:a.b", false, "C=CN\nO=Example", NULL},
    {"excluded;dirName:dir", "C=CN\nO=Other\nCN=a", "DNS:a.b", true, "C=CN\nO=Example", NULL},
    {"excluded;dirName:dir", "C=CN\nCN=a", "dirName:dir", false, "O=Example", NULL},
    {"permitted;dirName:dir", "O=Example\nCN=a", "dirName:dir", true, "O=Example", NULL},
    // Kinds that nobody compares, and bounds that nobody has: whoever meets them refuses.
    {"permitted;RID:1.2.3.4", "CN=a", "RID:1.2.3.4", false, NULL, NULL},
    {"excluded;RID:1.2.3.4", "CN=a", "RID:1.2.3.5", false, NULL, NULL},
    {"excluded;RID:1.2.3.4", "CN=a", "DNS:a.b", true, NULL, NULL},
    {"excluded;otherName:1.2.3.4;UTF8:x", "CN=a", "otherName:1.2.3.4;UTF8:y", false, NULL, NULL},
    {"excluded;otherName:1.2.3.4;UTF8:x", "CN=a", "otherName:1.2.3.5;UTF8:x", true, NULL, NULL},
    {"DER:3014a0123010820b6578616d706c652e636f6d800101", "CN=a", "DNS:example.com", false, NULL, NULL},
    {"DER:3014a0123010820b6578616d706c652e636f6d800101", "CN=a", "IP:192.0.2.1", true, NULL, NULL},
    {"DER:3014a0123010820b6578616d706c652e636f6d810101", "CN=a", "DNS:example.com", false, NULL, NULL},
    {"DER:3014a1123010820b6578616d706c652e636f6d810101", "CN=a", "DNS:example.org", false, NULL, NULL},
    // A common name that is a host name counts where no DNS name is there.
    {"permitted;DNS:example.com", "CN=www.example.com", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=www.example.org", NULL, false, NULL, NULL},
    {"excluded;DNS:example.com", "CN=www.example.com", NULL, false, NULL, NULL},
    {"permitted;DNS:example.com", "CN=www.example.org", "IP:192.0.2.1", false, NULL, NULL},
    {"permitted;DNS:example.com", "CN=www.example.org", "DNS:www.example.com", true, NULL, NULL},
    {"permitted;DNS:example.com", "1.CN=www.example.com\n2.CN=www.example.org", NULL, false, NULL, NULL},
    {"permitted;DNS:example.com", "CN=localhost", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=Example Server No. 1", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=*.example.org", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a_b.example.org", NULL, false, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a-b.example.org", NULL, false, NULL, NULL},
    {"permitted;DNS:example.com", "CN=-a.example.org", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a-.example.org", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=a..example.org", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=example.org.", NULL, true, NULL, NULL},
    {"permitted;DNS:example.com", "CN=192.0.2.1", NULL, false, NULL, NULL},
    // What is between the CA and the leaf must fit, too; its common name is no host's.
    {"permitted;dirName:dir", "O=Example\nCN=a", "DNS:a.b", true, "O=Example", "O=Example\nCN=Sub"},
    {"permitted;dirName:dir", "O=Example\nCN=a", "DNS:a.b", false, "O=Example", "O=Other\nCN=Sub"},
    {"permitted;DNS:example.com", "CN=a", "DNS:example.com", true, NULL, "CN=sub.example.org"},
    {"permitted;DNS:example.com", "CN=a", "DNS:example.org", false, NULL, "CN=sub.example.org"},
    {"permitted;dirName:dir", "O=Example\nCN=a", "DNS:a.b", true, "O=Example", "CN=Root"}, // it signed itself
};

// The host of a URI, as RFC 3986 says. OpenSSL's releases differ: 3.0 (Debian 12) does not end it at '?' and '#' nor cut what is
// before '@'; 3.5 (Debian 13) does, but excludes no URI without a host, which RFC 5280 (section 4.2.1.10) has refused.
static const struct row uri_rows[] = {
    {"permitted;URI:example.com", "CN=a", "URI:https://user:x@example.com/", true, NULL, NULL},
    {"excluded;URI:example.com", "CN=a", "URI:https://user:x@example.com/", false, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:https://example.com?q=a@b.c", true, NULL, NULL},
    {"excluded;URI:.example.com", "CN=a", "URI:https://www.example.com?q", false, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:https://example.com#f", true, NULL, NULL},
    {"permitted;URI:example.com", "CN=a", "URI:https:///path", false, NULL, NULL},
    {"excluded;URI:example.com", "CN=a", "URI:https:///path", false, NULL, NULL},
    {"excluded;URI:example.com", "CN=a", "URI:https://:80/", false, NULL, NULL},
};

static void extend(X509 *x, X509 *issuer, CONF *conf, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509V3_set_nconf(&ctx, conf);
    X509_EXTENSION *e = X509V3_EXT_nconf_nid(conf, &ctx, nid, value);
    if (!e)
        fail_msg("extension %s", value);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static X509 *make(CONF *conf, const char *section, X509 *issuer, EVP_PKEY *key) {
    X509 *x = X509_new();
    static long serial = 1;
    assert_non_null(x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -86400);
    X509_gmtime_adj(X509_getm_notAfter(x), 86400);
    STACK_OF(CONF_VALUE) *lines = NCONF_get_section(conf, section);
    if (lines)
        assert_int_equal(X509V3_NAME_from_section(X509_get_subject_name(x), lines, MBSTRING_UTF8), 1);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
    assert_int_equal(X509_set_pubkey(x, key), 1);
    extend(x, x, conf, NID_subject_key_identifier, "hash");
    extend(x, issuer ? issuer : x, conf, NID_authority_key_identifier, "keyid:always");
    extend(x, x, conf, NID_basic_constraints, key == keys[0] ? "CA:FALSE" : "critical,CA:TRUE");
    return x;
}

static struct cs_cert *parsed(X509 *x) {
    uint8_t *der = NULL;
    struct cs_cert *cert = NULL;
    struct cs_err err;
    int len = i2d_X509(x, &der);
    assert_true(len > 0);
    if (!cs_cert_parse(crypto, (struct cs_bytes){der, (size_t)len}, &cert, &err))
        fail_msg("%s", err.msg);
    OPENSSL_free(der);
    return cert;
}

static bool openssl_allows(const struct row *r, X509 *const *x, size_t n) {
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    STACK_OF(X509) *between = sk_X509_new_null();
    assert_int_equal(X509_STORE_add_cert(store, x[n - 1]), 1);
    if (n == 3)
        sk_X509_push(between, x[1]);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, x[0], between), 1);
    bool ok = X509_verify_cert(ctx) == 1;
    int error = X509_STORE_CTX_get_error(ctx);
    if (!ok && error != X509_V_ERR_PERMITTED_VIOLATION && error != X509_V_ERR_EXCLUDED_VIOLATION &&
        error != X509_V_ERR_SUBTREE_MINMAX && error != X509_V_ERR_UNSUPPORTED_CONSTRAINT_TYPE &&
        error != X509_V_ERR_UNSUPPORTED_CONSTRAINT_SYNTAX && error != X509_V_ERR_UNSUPPORTED_NAME_SYNTAX)
        fail_msg("%s, %s: %s", r->limits, r->names, X509_verify_cert_error_string(error));
    sk_X509_free(between);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    return ok;
}

static bool ours_allows(const struct row *r, X509 *const *x, size_t n) {
    struct cs_cert *certs[3];
    struct cs_chain_facts facts;
    for (size_t i = 0; i < n; i++)
        certs[i] = parsed(x[i]);
    enum cs_code code = cs_chain_check(crypto, certs, n, &facts);
    if (code != CS_CODE_NONE)
        fail_msg("%s, %s: %s", r->limits, r->names, cs_code_name(code));
    for (size_t i = 0; i < n; i++)
        cs_cert_free(certs[i]);
    return !(facts.notes & CS_NOTE(CHAIN_NAMES));
}

static CONF *conf_of(const struct row *r) {
    char text[1024];
    long line;
    CONF *conf = NCONF_new(NULL);
    int len = snprintf(text, sizeof text, "[root]\nCN=Root\n[leaf]\n%s\n[middle]\n%s\n[dir]\n%s\n",
                       r->subject, r->middle ? r->middle : "", r->dir ? r->dir : "");
    BIO *in = BIO_new_mem_buf(text, len);
    assert_int_equal(NCONF_load_bio(conf, in, &line), 1);
    BIO_free(in);
    return conf;
}

// False where certsync, or OpenSSL where it is asked, says other than the row.
static bool try(const struct row *r, bool ask_openssl) {
    X509 *x[3];
    CONF *conf = conf_of(r);
    size_t n = r->middle ? 3 : 2;
    X509 *root = x[n - 1] = make(conf, "root", NULL, keys[n - 1]);
    extend(root, root, conf, NID_name_constraints, r->limits);
    if (r->middle)
        x[1] = make(conf, "middle", root, keys[1]);
    x[0] = make(conf, "leaf", x[1], keys[0]);
    if (r->names)
        extend(x[0], x[0], conf, NID_subject_alt_name, r->names);
    for (size_t i = 0; i < n; i++)
        assert_true(X509_sign(x[i], keys[i + 1 < n ? i + 1 : i], EVP_sha256()) > 0);
    bool theirs = ask_openssl ? openssl_allows(r, x, n) : r->allowed, ours = ours_allows(r, x, n);
    if (theirs != r->allowed || ours != r->allowed)
        print_error("%s: %s, %s: OpenSSL %d, certsync %d\n", r->limits, r->subject, r->names ? r->names : "-",
                    theirs, ours);
    for (size_t i = 0; i < n; i++)
        X509_free(x[i]);
    NCONF_free(conf);
    return theirs == r->allowed && ours == r->allowed;
}

static void a_chain_has_the_note_where_openssl_refuses_it(void **state) {
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        wrong += !try(&rows[i], true);
    assert_int_equal(wrong, 0);
}

static void the_host_of_a_uri_is_that_of_rfc_3986(void **state) {
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < CS_ARRAY_LEN(uri_rows); i++)
        wrong += !try(&uri_rows[i], false);
    assert_int_equal(wrong, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_chain_has_the_note_where_openssl_refuses_it),
                                       cmocka_unit_test(the_host_of_a_uri_is_that_of_rfc_3986)};
    crypto = test_crypto();
    for (size_t i = 0; i < CS_ARRAY_LEN(keys); i++)
        keys[i] = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < CS_ARRAY_LEN(keys); i++)
        EVP_PKEY_free(keys[i]);
    cs_crypto_free(crypto);
    return failed;
}
