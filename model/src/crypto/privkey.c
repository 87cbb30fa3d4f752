// SPDX-License-Identifier: Apache-2.0
//
// Private keys in and out. der.h reads a key file first: kinds, curves and sizes are checked before
// OpenSSL computes with anything. Whether the numbers belong together is not checked here: that
// takes seconds for a large RSA key, and public halves can be forged. Instead sign.c signs and
// verifies.
#include "crypto/privkey.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/param_build.h>
#include <openssl/x509.h>

#define SECURE_HEAP      (1024 * 1024)
#define SECURE_MIN_BLOCK 32

#define RSA_ALGORITHM DER_BYTES("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00")
#define EC_OID_TLV    DER_BYTES("\x06\x07\x2a\x86\x48\xce\x3d\x02\x01")
#define OID_RSA       DER_BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01")
#define OID_EC        DER_BYTES("\x2a\x86\x48\xce\x3d\x02\x01")
#define OID_X25519    DER_BYTES("\x2b\x65\x6e")
#define OID_ED25519   DER_BYTES("\x2b\x65\x70")

bool cs_secure_heap_init(void) {
    // 2: the heap exists, but could not be locked into memory.
    return CRYPTO_secure_malloc_initialized() ||
           CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_MIN_BLOCK) == 1;
}

void cs_secure_free(uint8_t *p, size_t len) {
    if (p)
        OPENSSL_secure_clear_free(p, len);
}

void cs_privkey_free(struct cs_privkey *k) {
    if (!k)
        return;
    EVP_PKEY_free(k->pkey);
    CRYPTO_THREAD_lock_free(k->store_lock);
    if (k->store.release)
        k->store.release(k->store.arg);
    cs_secure_free(k->pkcs8, k->pkcs8_len);
    free(k->spki);
    free(k);
}

enum cs_key_type cs_privkey_type(const struct cs_privkey *k) {
    return k->type;
}

struct cs_bytes privkey_spki_bytes(const struct cs_privkey *k) {
    return (struct cs_bytes){k->spki, k->spki_len};
}

static bool malformed(struct cs_err *err, const char *why) {
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_MALFORMED, "The private key cannot be read: %s.", why);
}

// What a key file's bytes hold, as views.
struct parts {
    enum cs_key_type type;
    struct cs_bytes algorithm; // AlgorithmIdentifier, whole
    struct cs_bytes key;       // content of PKCS#8's OCTET STRING
    struct cs_bytes n, e;
    struct cs_bytes rest[6];   // of RSA: d, p, q, d mod p-1, d mod q-1, q^-1 mod p
    struct cs_bytes d, public; // of EC; public may be empty
};

// RSAPrivateKey (RFC 8017 appendix A.1.2), two primes.
static bool read_rsa(struct parts *p, struct cs_err *err) {
    struct der outer = der_of(p->key), seq;
    int version, bits;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || !der_take_small(&seq, &version) ||
        version != 0 || !der_take_unsigned(&seq, &p->n) || !der_take_unsigned(&seq, &p->e))
        return malformed(err, "its RSA numbers are not as RFC 8017 has them");
    for (size_t i = 0; i < CS_ARRAY_LEN(p->rest); i++)
        if (!der_take_unsigned(&seq, &p->rest[i]) || p->rest[i].len > p->n.len)
            return malformed(err, "its RSA numbers are not as RFC 8017 has them");
    if (!der_done(&seq))
        return malformed(err, "other bytes follow its RSA numbers");
    enum cs_code code = spki_rsa_check(p->n, p->e, &bits);
    if (code != CS_CODE_NONE)
        return cs_err_reject(err, code);
    p->type = CS_KEY_RSA;
    return true;
}

// ECPrivateKey (RFC 5915). If it names a curve, that must be the algorithm's.
static bool read_ec(struct parts *p, struct cs_bytes curve, struct cs_err *err) {
    struct der outer = der_of(p->key), seq, params;
    struct cs_bytes oid;
    int version;
    if (!spki_curve(curve, &p->type))
        return spki_refuse(err, CS_CODE_CERT_WEAK_KEY, spki_why_curve(curve));
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || !der_take_small(&seq, &version) ||
        version != 1 || !der_take(&seq, DER_OCTET_STRING, &p->d) || p->d.len == 0 || p->d.len > 66)
        return malformed(err, "it is not an ECPrivateKey of RFC 5915");
    if (der_at(&seq, DER_CONTEXT_CONSTRUCTED(0)) &&
        (!der_enter(&seq, DER_CONTEXT_CONSTRUCTED(0), &params) || !der_take_oid(&params, &oid) ||
         !cs_bytes_equal(oid, curve)))
        return malformed(err, "it names two different curves, or spells one out");
    if (der_at(&seq, DER_CONTEXT_CONSTRUCTED(1)) &&
        (!der_enter(&seq, DER_CONTEXT_CONSTRUCTED(1), &params) || !der_take_octet_bits(&params, &p->public)))
        return malformed(err, "its public half is not a point");
    return der_done(&seq) || malformed(err, "other bytes follow the key");
}

static bool read_raw(struct parts *p, enum cs_key_type type, struct cs_err *err) {
    struct der outer = der_of(p->key);
    struct cs_bytes raw;
    if (!der_take(&outer, DER_OCTET_STRING, &raw) || !der_done(&outer) || raw.len != 32)
        return malformed(err, "it is not a key of RFC 8410");
    p->type = type;
    return true;
}

static bool read_by_algorithm(struct parts *p, struct cs_err *err) {
    struct der outer = der_of(p->algorithm), seq;
    struct cs_bytes oid, curve;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_take_oid(&seq, &oid))
        return malformed(err, "it does not say of which kind it is");
    if (cs_bytes_equal(oid, OID_RSA))
        return read_rsa(p, err);
    if (cs_bytes_equal(oid, OID_ED25519))
        return read_raw(p, CS_KEY_ED25519, err);
    if (cs_bytes_equal(oid, OID_X25519))
        return read_raw(p, CS_KEY_X25519, err);
    if (!cs_bytes_equal(oid, OID_EC))
        return spki_refuse(err, CS_CODE_CERT_WEAK_KEY, spki_why_kind(oid));
    if (der_at(&seq, DER_SEQUENCE))
        return malformed(
            err, "it spells out its elliptic curve; try: openssl ec -in OLD -param_enc named_curve -out NEW");
    if (!der_take_oid(&seq, &curve))
        return malformed(err, "it does not name its elliptic curve");
    return read_ec(p, curve, err);
}

// PrivateKeyInfo, and RFC 5958's OneAsymmetricKey: version, algorithm, key. Attributes and public
// key may follow; they are left out.
static bool split_pkcs8(struct der seq, struct parts *p) {
    struct der_value v;
    int version;
    if (!der_take_small(&seq, &version) || version > 1 || !der_next(&seq, &v) || v.tag != DER_SEQUENCE)
        return false;
    p->algorithm = v.whole;
    return der_take(&seq, DER_OCTET_STRING, &p->key);
}

// Copies what PKCS#8 needs into secure memory. The buffer has the exact size, so it is never moved.
static bool put_pkcs8(const struct parts *p, uint8_t **ret, size_t *ret_len, struct cs_err *err) {
    uint8_t outer[DER_HEADER_MAX], inner[DER_HEADER_MAX];
    size_t inner_len = der_header(DER_OCTET_STRING, p->key.len, inner);
    const struct cs_bytes parts[] = {DER_BYTES("\x02\x01\x00"), p->algorithm, {inner, inner_len}, p->key};
    size_t content = 3 + p->algorithm.len + inner_len + p->key.len;
    size_t total = der_header(DER_SEQUENCE, content, outer) + content;
    uint8_t *out = OPENSSL_secure_malloc(total + 1);
    if (!out)
        return cs_err_oom(err);
    struct cs_buf b = {.data = out, .cap = total + 1, .max = total};
    der_put_parts(&b, DER_SEQUENCE, parts, CS_ARRAY_LEN(parts));
    *ret = out;
    *ret_len = b.len;
    return true;
}

#define EC_KEY_MAX 256 // P-521's has 223 bytes

// The same key of a curve with another public half; none: without.
static bool put_ec_pkcs8(const struct parts *p, struct cs_bytes public, uint8_t **ret, size_t *ret_len,
                         struct cs_err *err) {
    uint8_t key[EC_KEY_MAX], d[DER_HEADER_MAX], context[DER_HEADER_MAX], bits[DER_HEADER_MAX];
    size_t bits_len = der_header(DER_BIT_STRING, public.len + 1, bits);
    const struct cs_bytes content[] = {
        DER_BYTES("\x02\x01\x01"),
        {d, der_header(DER_OCTET_STRING, p->d.len, d)},
        p->d,
        {context, der_header(DER_CONTEXT_CONSTRUCTED(1), bits_len + 1 + public.len, context)},
        {bits, bits_len},
        DER_BYTES("\x00"),
        public,
    };
    struct cs_buf b = {.data = key, .cap = sizeof key, .max = sizeof key - 1};
    der_put_parts(&b, DER_SEQUENCE, content, public.len > 0 ? CS_ARRAY_LEN(content) : 3);
    struct parts other = *p;
    other.key = cs_buf_bytes(&b);
    bool ok = b.failed ? malformed(err, "it is too long") : put_pkcs8(&other, ret, ret_len, err);
    OPENSSL_cleanse(key, sizeof key);
    return ok;
}

// Others need the public half in the file, which OpenSSL would compute.
static bool complete(const struct parts *p, struct cs_privkey *k, struct cs_bytes public,
                     struct cs_err *err) {
    if (p->d.len == 0 || p->public.len > 0)
        return true;
    cs_secure_free(k->pkcs8, k->pkcs8_len);
    k->pkcs8 = NULL;
    return put_ec_pkcs8(p, public, &k->pkcs8, &k->pkcs8_len, err);
}

// AlgorithmIdentifier and key bits as SubjectPublicKeyInfo.
static bool put_spki(struct cs_privkey *k, struct cs_bytes algorithm, struct cs_bytes bits,
                     struct cs_err *err) {
    struct cs_buf bit_string, spki;
    const struct cs_bytes bit_parts[] = {DER_BYTES("\x00"), bits};
    cs_buf_init(&bit_string, 4096);
    cs_buf_init(&spki, 4096);
    der_put_parts(&bit_string, DER_BIT_STRING, bit_parts, CS_ARRAY_LEN(bit_parts));
    const struct cs_bytes parts[] = {algorithm, cs_buf_bytes(&bit_string)};
    der_put_parts(&spki, DER_SEQUENCE, parts, CS_ARRAY_LEN(parts));
    bool ok = !bit_string.failed && !spki.failed;
    cs_buf_clear(&bit_string);
    if (!ok) {
        cs_buf_clear(&spki);
        return cs_err_oom(err);
    }
    k->spki = spki.data;
    k->spki_len = spki.len;
    return true;
}

static void put_unsigned(struct cs_buf *b, struct cs_bytes magnitude) {
    const struct cs_bytes parts[] = {DER_BYTES("\x00"), magnitude};
    bool pad = magnitude.data[0] >= 0x80;
    der_put_parts(b, DER_INTEGER, parts + !pad, 1u + pad);
}

static bool rsa_spki(struct cs_privkey *k, const struct parts *p, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf numbers, key;
    cs_buf_init(&numbers, 4096);
    cs_buf_init(&key, 4096);
    put_unsigned(&numbers, p->n);
    put_unsigned(&numbers, p->e);
    der_put(&key, DER_SEQUENCE, cs_buf_bytes(&numbers));
    return cs_buf_ok(&numbers, err) && cs_buf_ok(&key, err) &&
           put_spki(k, RSA_ALGORITHM, cs_buf_bytes(&key), err);
}

// The public half: OpenSSL computes it, or an EC key's file states it.
static size_t public_bytes(EVP_PKEY *pkey, enum cs_key_type type, uint8_t **ret) {
    size_t len = 32;
    if (type != CS_KEY_ED25519 && type != CS_KEY_X25519) {
        EVP_PKEY_set_utf8_string_param(pkey, OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "uncompressed");
        return EVP_PKEY_get1_encoded_public_key(pkey, ret);
    }
    *ret = OPENSSL_malloc(len);
    return *ret && EVP_PKEY_get_raw_public_key(pkey, *ret, &len) == 1 ? len : 0;
}

static bool curve_spki(struct cs_privkey *k, const struct parts *p, struct cs_err *err) {
    uint8_t *public = NULL;
    size_t len = public_bytes(k->pkey, k->type, &public);
    bool ok = len > 0 ? put_spki(k, p->algorithm, (struct cs_bytes){public, len}, err)
                      : malformed(err, "its public half cannot be computed");
    OPENSSL_free(public);
    crypto_refused();
    return ok;
}

// --- OpenSSL's object of the numbers

struct numbers {
    OSSL_PARAM_BLD *list;
    BIGNUM *n[8];
    size_t len;
};

static void put_number(struct numbers *to, const char *name, struct cs_bytes magnitude) {
    BIGNUM *n = BN_secure_new();
    to->n[to->len++] = n;
    if (!n || !BN_bin2bn(magnitude.data, (int)magnitude.len, n) ||
        !OSSL_PARAM_BLD_push_BN(to->list, name, n)) {
        OSSL_PARAM_BLD_free(to->list);
        to->list = NULL;
    }
}

static EVP_PKEY *from_numbers(const struct numbers *from, const char *type) {
    OSSL_PARAM *params = from->list ? OSSL_PARAM_BLD_to_param(from->list) : NULL;
    EVP_PKEY_CTX *ctx = params ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    EVP_PKEY *pkey = NULL;
    if (!ctx || EVP_PKEY_fromdata_init(ctx) <= 0 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) <= 0)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return pkey;
}

static const char *rsa_numbers(struct numbers *to, const struct parts *p) {
    static const char *const names[] = {OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
                                        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
                                        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    put_number(to, OSSL_PKEY_PARAM_RSA_N, p->n);
    if (to->list)
        put_number(to, OSSL_PKEY_PARAM_RSA_E, p->e);
    for (size_t i = 0; to->list && i < CS_ARRAY_LEN(names); i++)
        put_number(to, names[i], p->rest[i]);
    return "RSA";
}

static const char *ec_numbers(struct numbers *to, const struct parts *p, const char *group) {
    if (!OSSL_PARAM_BLD_push_utf8_string(to->list, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) ||
        !OSSL_PARAM_BLD_push_octet_string(to->list, OSSL_PKEY_PARAM_PUB_KEY, p->public.data, p->public.len))
        return NULL;
    put_number(to, OSSL_PKEY_PARAM_PRIV_KEY, p->d);
    return p->type == CS_KEY_SM2 ? "SM2" : "EC";
}

static const char *group_of(enum cs_key_type type) {
    switch (type) {
    case CS_KEY_P256:
        return SN_X9_62_prime256v1;
    case CS_KEY_P384:
        return SN_secp384r1;
    case CS_KEY_P521:
        return SN_secp521r1;
    case CS_KEY_SM2:
        return SN_sm2;
    case CS_KEY_RSA:
    case CS_KEY_ED25519:
    case CS_KEY_X25519:
        break;
    }
    return NULL;
}

// Avoids OSSL_DECODER, which takes as long as all that follows. NULL: not possible for this key.
static EVP_PKEY *load_quickly(const struct parts *p) {
    const char *group = group_of(p->type), *type = NULL;
    if (p->type != CS_KEY_RSA && (!group || p->public.len == 0))
        return NULL;
    struct numbers numbers = {.list = OSSL_PARAM_BLD_new()};
    if (numbers.list)
        type = group ? ec_numbers(&numbers, p, group) : rsa_numbers(&numbers, p);
    EVP_PKEY *pkey = type ? from_numbers(&numbers, type) : NULL;
    OSSL_PARAM_BLD_free(numbers.list);
    for (size_t i = 0; i < numbers.len; i++)
        BN_clear_free(numbers.n[i]);
    return pkey;
}

static EVP_PKEY *load_pkcs8(const struct cs_privkey *k) {
    const uint8_t *at = k->pkcs8;
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, (long)k->pkcs8_len);
    EVP_PKEY *pkey = info ? EVP_PKCS82PKEY_ex(info, NULL, NULL) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return pkey;
}

static bool load(const struct parts *p, struct cs_privkey *k, struct cs_err *err) {
    k->pkey = load_quickly(p);
    if (!k->pkey)
        k->pkey = load_pkcs8(k);
    crypto_refused();
    if (!k->pkey || EVP_PKEY_is_a(k->pkey, "SM2") != (p->type == CS_KEY_SM2))
        return malformed(err, "its numbers are not those of a key");
    return p->type == CS_KEY_RSA ? rsa_spki(k, p, err) : curve_spki(k, p, err);
}

static bool build(const struct parts *p, struct cs_privkey **ret, struct cs_err *err) {
    struct spki_parts public;
    CS_AUTO(cs_privkey_free) struct cs_privkey *k = calloc(1, sizeof *k);
    if (!k)
        return cs_err_oom(err);
    k->type = p->type;
    if (!put_pkcs8(p, &k->pkcs8, &k->pkcs8_len, err) || !load(p, k, err))
        return false;
    if (spki_parse(privkey_spki_bytes(k), &public) != CS_CODE_NONE || public.type != k->type)
        return malformed(err, "its public half is not that of a key");
    if (!complete(p, k, public.point, err))
        return false;
    *ret = CS_TAKE(k);
    return true;
}

static bool read_pkcs8(struct cs_bytes der, struct parts *ret, struct cs_err *err) {
    struct der outer = der_of(der), seq;
    *ret = (struct parts){0};
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || !split_pkcs8(seq, ret))
        return malformed(err, "it is not PKCS#8");
    return read_by_algorithm(ret, err);
}

bool cs_privkey_from_pkcs8(struct cs_bytes der, struct cs_privkey **ret, struct cs_err *err) {
    struct parts p;
    return read_pkcs8(der, &p, err) && build(&p, ret, err);
}

bool privkey_to_sealed(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len, struct cs_err *err) {
    struct parts p;
    if (!read_pkcs8((struct cs_bytes){k->pkcs8, k->pkcs8_len}, &p, err))
        return false;
    return p.d.len > 0 ? put_ec_pkcs8(&p, (struct cs_bytes){NULL, 0}, ret, ret_len, err)
                       : put_pkcs8(&p, ret, ret_len, err);
}

static bool read_sec1(struct cs_bytes der, struct cs_bytes curve, struct cs_privkey **ret,
                      struct cs_err *err) {
    struct der outer = der_of(der), seq, params;
    struct cs_bytes d, own;
    int version;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_take_small(&seq, &version) ||
        !der_take(&seq, DER_OCTET_STRING, &d))
        return malformed(err, "it is not an ECPrivateKey of RFC 5915");
    if (der_at(&seq, DER_CONTEXT_CONSTRUCTED(0)) && der_enter(&seq, DER_CONTEXT_CONSTRUCTED(0), &params)) {
        if (der_at(&params, DER_SEQUENCE))
            return malformed(
                err,
                "it spells out its elliptic curve; try: openssl ec -in OLD -param_enc named_curve -out NEW");
        if (der_take_oid(&params, &own))
            curve = own;
    }
    if (curve.len == 0)
        return malformed(err, "it does not name its elliptic curve");
    CS_AUTO(cs_buf_clear) struct cs_buf oid, algorithm;
    cs_buf_init(&oid, 64);
    cs_buf_init(&algorithm, 128);
    der_put(&oid, DER_OID, curve);
    const struct cs_bytes parts[] = {EC_OID_TLV, cs_buf_bytes(&oid)};
    der_put_parts(&algorithm, DER_SEQUENCE, parts, CS_ARRAY_LEN(parts));
    if (oid.failed || algorithm.failed)
        return cs_err_reject(err, CS_CODE_CERT_WEAK_KEY); // no curve of ours has so long a name
    struct parts p = {.algorithm = cs_buf_bytes(&algorithm), .key = der};
    return read_by_algorithm(&p, err) && build(&p, ret, err);
}

// SM2EnvelopedKey ::= SEQUENCE { AlgorithmIdentifier, SM2Cipher, public key BIT STRING,
//                                encrypted key BIT STRING }
static bool is_enveloped(struct der seq) {
    struct cs_bytes v;
    size_t sequences = 0;
    while (sequences < 2 && der_take(&seq, DER_SEQUENCE, &v))
        sequences++;
    return sequences == 2 && der_take(&seq, DER_BIT_STRING, &v) && der_at(&seq, DER_BIT_STRING);
}

bool privkey_read(struct cs_bytes der, struct cs_bytes curve, struct cs_privkey **ret, struct cs_err *err) {
    struct der outer = der_of(der), seq;
    int version;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer))
        return malformed(err, "it is neither PKCS#8 nor PKCS#1 nor SEC1");
    if (is_enveloped(seq))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_ENCRYPTED,
                          "The private key is an SM2EnvelopedKey (GM/T 0009): it is encrypted for the "
                          "signing key of the pair. "
                          "Open it with the CA's tool, or with what holds the signing key, and give the key "
                          "that comes out.");
    if (!der_take_small(&seq, &version))
        return malformed(err, "it is neither PKCS#8 nor PKCS#1 nor SEC1");
    if (der_at(&seq, DER_SEQUENCE))
        return cs_privkey_from_pkcs8(der, ret, err);
    if (der_at(&seq, DER_INTEGER)) {
        struct parts p = {.algorithm = RSA_ALGORITHM, .key = der};
        return read_by_algorithm(&p, err) && build(&p, ret, err);
    }
    if (der_at(&seq, DER_OCTET_STRING))
        return read_sec1(der, curve, ret, err);
    return malformed(err, "it is neither PKCS#8 nor PKCS#1 nor SEC1");
}

// --- a key in a store

static const char *const p256_names[] = {"P-256", SN_X9_62_prime256v1, "secp256r1"};

static bool is_p256(EVP_PKEY *pkey) {
    char group[64];
    size_t len;
    if (!EVP_PKEY_is_a(pkey, "EC") ||
        EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &len) != 1)
        return false;
    for (size_t i = 0; i < CS_ARRAY_LEN(p256_names); i++)
        if (strcmp(group, p256_names[i]) == 0)
            return true;
    return false;
}

static bool adopt(struct cs_privkey *k, struct cs_err *err) {
    struct spki_parts public;
    uint8_t *der = NULL;
    if (!is_p256(k->pkey))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "it is not a P-256 key");
    int len = i2d_PUBKEY(k->pkey, &der); // what all providers can
    k->spki = len > 0 ? malloc((size_t)len) : NULL;
    if (k->spki) {
        memcpy(k->spki, der, (size_t)len);
        k->spki_len = (size_t)len;
    }
    OPENSSL_free(der);
    if (!k->spki || spki_parse(privkey_spki_bytes(k), &public) != CS_CODE_NONE || public.type != CS_KEY_P256)
        return crypto_fail(err, "reading the key's public half");
    k->store_lock = CRYPTO_THREAD_lock_new();
    return k->store_lock ? true : cs_err_oom(err);
}

bool cs_privkey_adopt(struct evp_pkey_st *pkey, const struct cs_privkey_store *store, struct cs_privkey **ret,
                      struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *k = calloc(1, sizeof *k);
    if (!k) {
        EVP_PKEY_free(pkey);
        return cs_err_oom(err);
    }
    k->type = CS_KEY_P256;
    k->pkey = pkey;
    bool ok = adopt(k, err);
    crypto_refused();
    if (!ok)
        return false;
    k->store = *store;
    *ret = CS_TAKE(k);
    return true;
}

static bool stays(struct cs_err *err) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "this private key does not leave its store");
}

bool cs_privkey_to_pkcs8(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len, struct cs_err *err) {
    if (!k->pkcs8)
        return stays(err);
    uint8_t *copy = OPENSSL_secure_malloc(k->pkcs8_len);
    if (!copy)
        return cs_err_oom(err);
    memcpy(copy, k->pkcs8, k->pkcs8_len);
    *ret = copy;
    *ret_len = k->pkcs8_len;
    return true;
}

bool cs_privkey_to_pem(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len, struct cs_err *err) {
    if (!k->pkcs8)
        return stays(err);
    size_t size = pem_size("PRIVATE KEY", k->pkcs8_len);
    uint8_t *text = OPENSSL_secure_malloc(size);
    if (!text)
        return cs_err_oom(err);
    *ret_len = pem_write("PRIVATE KEY", (struct cs_bytes){k->pkcs8, k->pkcs8_len}, (char *)text);
    *ret = text;
    return true;
}

bool cs_privkey_spki(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len, struct cs_err *err) {
    uint8_t *copy = malloc(k->spki_len);
    if (!copy)
        return cs_err_oom(err);
    memcpy(copy, k->spki, k->spki_len);
    *ret = copy;
    *ret_len = k->spki_len;
    return true;
}

void cs_privkey_kid(struct cs_crypto *c, const struct cs_privkey *k, cs_kid ret) {
    cs_kid_of_spki(c, (struct cs_bytes){k->spki, k->spki_len}, ret);
}
