// SPDX-License-Identifier: Apache-2.0
//
// Keys and certificates of the fixture, made with OpenSSL's own API: tests need odd ones that the product
// cannot make.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

#include "fixture_internal.h"

static const char sm2_id[] = "1234567812345678"; // GM/T 0009

EVP_PKEY *fx_evp_generate(const char *type) {
    bool spelled_out = strcmp(type, "explicit") == 0;
    EVP_PKEY *key = strcmp(type, "SM2") == 0 || strcmp(type, "ED25519") == 0
                        ? EVP_PKEY_Q_keygen(NULL, NULL, type)
                        : EVP_PKEY_Q_keygen(NULL, NULL, "EC", spelled_out ? "P-256" : type);
    assert_non_null(key);
    if (spelled_out)
        assert_int_equal(EVP_PKEY_set_utf8_string_param(key, "encoding", "explicit"), 1);
    return key;
}

static struct cs_privkey *to_privkey(EVP_PKEY *key) {
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    assert_non_null(info);
    uint8_t *der = NULL;
    int len = i2d_PKCS8_PRIV_KEY_INFO(info, &der);
    assert_true(len > 0);
    struct cs_privkey *ret = NULL;
    struct cs_err err;
    // A key that is refused anyway: another one is sealed in its place.
    if (!cs_privkey_from_pkcs8((struct cs_bytes){der, (size_t)len}, &ret, &err))
        assert_true(cs_privkey_generate(CS_KEY_P256, 0, &ret, &err));
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(info);
    return ret;
}

static void extend(X509 *x, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static void set_name(X509_NAME *name, const char *cn) {
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const uint8_t *)"Example", -1, -1, 0), 1);
    if (*cn)
        assert_int_equal(
            X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)cn, -1, -1, 0), 1);
}

static struct cs_bytes sign(struct fx *fx, X509 *x, EVP_PKEY *by, bool sha1) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *key_ctx = EVP_PKEY_CTX_new(by, NULL);
    assert_non_null(ctx);
    assert_non_null(key_ctx);
    const EVP_MD *md = sha1 ? EVP_sha1() : EVP_sha256();
    if (EVP_PKEY_is_a(by, "SM2")) {
        assert_true(EVP_PKEY_CTX_set1_id(key_ctx, sm2_id, sizeof(sm2_id) - 1) > 0);
        EVP_MD_CTX_set_pkey_ctx(ctx, key_ctx);
        md = EVP_sm3();
    }
    assert_int_equal(EVP_DigestSignInit(ctx, NULL, md, NULL, by), 1);
    assert_true(X509_sign_ctx(x, ctx) > 0);
    uint8_t *der = NULL;
    int len = i2d_X509(x, &der);
    assert_true(len > 0);
    uint8_t *copy = fx_alloc(fx, (size_t)len);
    memcpy(copy, der, (size_t)len);
    OPENSSL_free(der);
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_CTX_free(key_ctx);
    return (struct cs_bytes){copy, (size_t)len};
}

// A certificate of key, signed by issuer_key (issuer: its name).
static X509 *make(struct fx *fx, EVP_PKEY *key, const char *issuer, int64_t begins_s, int64_t ends_s) {
    X509 *x = X509_new();
    assert_non_null(x);
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), 0x1000 + ++fx->ids);
    ASN1_TIME_set(X509_getm_notBefore(x), (time_t)begins_s);
    ASN1_TIME_set(X509_getm_notAfter(x), (time_t)ends_s);
    set_name(X509_get_issuer_name(x), issuer);
    assert_int_equal(X509_set_pubkey(x, key), 1);
    return x;
}

struct cs_bytes fx_make_ca(struct fx *fx, EVP_PKEY *key, const char *name) {
    X509 *x = make(fx, key, name, fx_now_s(fx) - 1000 * FX_DAY, fx_now_s(fx) + 3000 * FX_DAY);
    set_name(X509_get_subject_name(x), name);
    extend(x, NID_basic_constraints, "critical,CA:TRUE");
    extend(x, NID_key_usage, "critical,keyCertSign,cRLSign");
    struct cs_bytes der = sign(fx, x, key, false);
    X509_free(x);
    return der;
}

// An intermediate CA under fx->ca; its key is the caller's.
static struct cs_bytes make_intermediate(struct fx *fx, EVP_PKEY *key) {
    X509 *x = make(fx, key, "Example CA", fx_now_s(fx) - 500 * FX_DAY, fx_now_s(fx) + 1000 * FX_DAY);
    set_name(X509_get_subject_name(x), "Example Intermediate CA");
    extend(x, NID_basic_constraints, "critical,CA:TRUE");
    struct cs_bytes der = sign(fx, x, fx->ca_key, false);
    X509_free(x);
    return der;
}

struct cs_bytes fx_other_ca(struct fx *fx, bool same_name) {
    EVP_PKEY *key = fx_evp_generate("P-256");
    struct cs_bytes der = fx_make_ca(fx, key, same_name ? "Example CA" : "Another CA");
    EVP_PKEY_free(key);
    return der;
}

static struct fx_cert *new_cert(struct fx *fx, EVP_PKEY *key) {
    struct fx_cert *c = fx_alloc(fx, sizeof(*c));
    *c = (struct fx_cert){.key = key, .priv = to_privkey(key)};
    assert_true(fx->certs_len < CS_ARRAY_LEN(fx->certs));
    fx->certs[fx->certs_len++] = c;
    return c;
}

struct fx_cert *fx_cert_key_only(struct fx *fx, const char *type) {
    return new_cert(fx, fx_evp_generate(type));
}

// Names and extensions.
static void dress(struct fx *fx, X509 *x, const struct fx_cert_how *how) {
    const char *cn = how->cn ? how->cn : "www.example.com";
    const char *dns = how->dns ? how->dns : cn;
    set_name(X509_get_subject_name(x), cn);
    if (how->v1) {
        X509_set_version(x, X509_VERSION_1);
        return;
    }
    extend(x, NID_basic_constraints, how->ca ? "critical,CA:TRUE" : "CA:FALSE");
    char *names = fx_alloc(fx, strlen(dns) + how->uri_len + 32);
    strcat(strcat(names, strncmp(dns, "URI:", 4) == 0 ? "" : "DNS:"), dns);
    if (how->uri_len > 0)
        memset(strcat(names, ",URI:https://") + strlen(names), 'u', how->uri_len);
    if (*dns)
        extend(x, NID_subject_alt_name, names);
    if (how->usage)
        extend(x, NID_key_usage, how->usage);
}

struct fx_cert *fx_cert(struct fx *fx, struct fx_cert_how how) {
    const char *type = how.type ? how.type : "P-256";
    EVP_PKEY *key = how.same_key ? how.same_key->key : fx_evp_generate(type);
    if (how.same_key)
        EVP_PKEY_up_ref(key);
    struct fx_cert *c = new_cert(fx, key);
    bool sm2 = strcmp(type, "SM2") == 0;
    EVP_PKEY *middle = how.intermediate ? fx_evp_generate("P-256") : NULL;
    int64_t begins = fx_now_s(fx) + (how.begins_s ? how.begins_s : -FX_DAY);
    X509 *x = make(fx, key,
                   middle ? "Example Intermediate CA"
                   : sm2  ? "Example SM2 CA"
                          : "Example CA",
                   begins, begins + (how.lasts_s ? how.lasts_s : 90 * FX_DAY));
    dress(fx, x, &how);
    c->chain[0] = sign(fx, x, middle ? middle : sm2 ? fx->sm2_ca_key : fx->ca_key, how.sha1);
    c->chain_len = 1;
    if (middle)
        c->chain[c->chain_len++] = make_intermediate(fx, middle);
    c->chain[c->chain_len++] = sm2 ? fx->sm2_ca : fx->ca;
    if (how.alone)
        c->chain_len = 1;
    EVP_PKEY_free(middle);
    X509_free(x);
    // Odd ones are refused by the parser, and need no parsed form: their proof is made with the key alone.
    struct cs_err err;
    if (!cs_cert_parse(fx->crypto, c->chain[0], &c->leaf, &err))
        c->leaf = NULL;
    return c;
}
