// SPDX-License-Identifier: Apache-2.0
#include "crypto/crypto_impl.h"

#include <stdlib.h>

#include "certsync/base/text.h"

#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192

static const struct key_row {
    enum cs_key_type type;
    const char *name;
    int bits;            // of curves
    struct cs_bytes oid; // of named curves
    size_t point_len;    // 04, x, y
} key_rows[] = {
    {CS_KEY_RSA, "RSA", 0, {0}, 0},
    {CS_KEY_P256, "P-256", 256, DER_INIT("\x2a\x86\x48\xce\x3d\x03\x01\x07"), 65},
    {CS_KEY_P384, "P-384", 384, DER_INIT("\x2b\x81\x04\x00\x22"), 97},
    {CS_KEY_P521, "P-521", 521, DER_INIT("\x2b\x81\x04\x00\x23"), 133},
    {CS_KEY_ED25519, "Ed25519", 253, {0}, 32},
    {CS_KEY_SM2, "SM2", 256, DER_INIT("\x2a\x81\x1c\xcf\x55\x01\x82\x2d"), 65},
    {CS_KEY_X25519, "X25519", 253, {0}, 32},
};

#define OID_RSA     DER_BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01")
#define OID_EC      DER_BYTES("\x2a\x86\x48\xce\x3d\x02\x01")
#define OID_X25519  DER_BYTES("\x2b\x65\x6e")
#define OID_ED25519 DER_BYTES("\x2b\x65\x70")

static const struct key_row *row_of(enum cs_key_type t) {
    for (size_t i = 0; i < CS_ARRAY_LEN(key_rows); i++)
        if (key_rows[i].type == t)
            return &key_rows[i];
    return NULL;
}

const char *cs_key_type_name(enum cs_key_type t) {
    const struct key_row *row = row_of(t);
    return row ? row->name : "";
}

bool cs_key_type_parse(const char *s, size_t len, enum cs_key_type *ret) {
    for (size_t i = 0; i < CS_ARRAY_LEN(key_rows); i++) {
        if (strlen(key_rows[i].name) == len && memcmp(key_rows[i].name, s, len) == 0) {
            *ret = key_rows[i].type;
            return true;
        }
    }
    return false;
}

bool spki_curve(struct cs_bytes oid, enum cs_key_type *ret) {
    for (size_t i = 0; i < CS_ARRAY_LEN(key_rows); i++) {
        if (key_rows[i].oid.len > 0 && cs_bytes_equal(key_rows[i].oid, oid)) {
            *ret = key_rows[i].type;
            return true;
        }
    }
    return false;
}

static int bit_length(struct cs_bytes magnitude) {
    int bits = (int)(magnitude.len - 1) * 8;
    for (uint8_t top = magnitude.data[0]; top; top >>= 1)
        bits++;
    return bits;
}

// The sender chooses modulus and exponent, and they set the cost. So they are bounded before
// anything computes with them.
enum cs_code spki_rsa_check(struct cs_bytes n, struct cs_bytes e, int *ret_bits) {
    int bits = bit_length(n);
    bool odd = (n.data[n.len - 1] & 1) && (e.data[e.len - 1] & 1);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX || !odd || e.len > 4 || bit_length(e) < 2)
        return CS_CODE_CERT_WEAK_KEY;
    *ret_bits = bits;
    return CS_CODE_NONE;
}

static enum cs_code parse_rsa(struct der *params, struct cs_bytes bits, struct spki_parts *ret) {
    struct cs_bytes null;
    struct der outer = der_of(bits), seq;
    if (!der_take(params, DER_NULL, &null) || null.len != 0 || !der_done(params))
        return CS_CODE_CERT_MALFORMED;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || !der_take_unsigned(&seq, &ret->n) ||
        !der_take_unsigned(&seq, &ret->e) || !der_done(&seq))
        return CS_CODE_CERT_MALFORMED;
    ret->type = CS_KEY_RSA;
    return spki_rsa_check(ret->n, ret->e, &ret->bits);
}

static enum cs_code parse_ec(struct der *params, struct cs_bytes bits, struct spki_parts *ret) {
    struct cs_bytes oid;
    if (der_at(params, DER_SEQUENCE))
        return CS_CODE_CERT_EXPLICIT_CURVE;
    if (!der_take_oid(params, &oid) || !der_done(params))
        return CS_CODE_CERT_MALFORMED;
    if (!spki_curve(oid, &ret->type)) {
        ret->why = spki_why_curve(oid);
        return CS_CODE_CERT_WEAK_KEY;
    }
    const struct key_row *row = row_of(ret->type);
    if ((bits.len == row->point_len / 2 + 1 && (bits.data[0] | 1) == 0x03) ||
        (bits.len == row->point_len && (bits.data[0] | 1) == 0x07)) {
        ret->why = "Its point is compressed, which few programs read; change the key's form, and have the "
                   "certificate issued "
                   "again: openssl ec -in OLD -conv_form uncompressed -out NEW (openssl pkey -ec_conv_form "
                   "for SM2).";
        return CS_CODE_CERT_WEAK_KEY;
    }
    // OpenSSL would take 00, the point at infinity: with it everybody could forge every signature.
    // It would also take compressed and hybrid points.
    if (bits.len != row->point_len || bits.data[0] != 0x04)
        return CS_CODE_CERT_MALFORMED;
    ret->bits = row->bits;
    ret->point = bits;
    return CS_CODE_NONE;
}

// Kinds that people have instead of the accepted ones.
static const struct {
    struct cs_bytes oid;
    const char *why;
} other_kinds[] = {
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a"),
     "It is an RSA-PSS key, which most clients do not take; make a plain one, which can sign with RSA-PSS, "
     "too: openssl genpkey "
     "-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out NEW."},
    {DER_INIT("\x2a\x86\x48\xce\x38\x04\x01"), "It is a DSA key; make another: openssl genpkey -algorithm EC "
                                               "-pkeyopt ec_paramgen_curve:P-256 -out NEW."},
    {DER_INIT("\x2b\x65\x71"), "It is an Ed448 key, which few clients know; make another: openssl genpkey "
                               "-algorithm ED25519 -out NEW."},
    {DER_INIT("\x2a\x81\x1c\xcf\x55\x01\x82\x2d"),
     "It names SM2 as its algorithm, where id-ecPublicKey belongs, with SM2 as its curve; make it with: "
     "openssl genpkey -algorithm "
     "SM2 -out NEW."},
};

const char *spki_why_kind(struct cs_bytes oid) {
    for (size_t i = 0; i < CS_ARRAY_LEN(other_kinds); i++)
        if (cs_bytes_equal(other_kinds[i].oid, oid))
            return other_kinds[i].why;
    return NULL;
}

#define MAKE_P256 "make another: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW."

static const struct {
    struct cs_bytes oid;
    const char *why;
} other_curves[] = {
    {DER_INIT("\x2a\x86\x48\xce\x3d\x03\x01\x01"), "Its curve is P-192; " MAKE_P256},
    {DER_INIT("\x2b\x81\x04\x00\x21"), "Its curve is P-224; " MAKE_P256},
    {DER_INIT("\x2b\x81\x04\x00\x0a"), "Its curve is secp256k1; " MAKE_P256},
    {DER_INIT("\x2b\x24\x03\x03\x02\x08\x01\x01\x07"), "Its curve is brainpoolP256r1; " MAKE_P256},
    {DER_INIT("\x2b\x24\x03\x03\x02\x08\x01\x01\x0b"), "Its curve is brainpoolP384r1; " MAKE_P256},
    {DER_INIT("\x2b\x24\x03\x03\x02\x08\x01\x01\x0d"), "Its curve is brainpoolP512r1; " MAKE_P256},
};

const char *spki_why_curve(struct cs_bytes oid) {
    for (size_t i = 0; i < CS_ARRAY_LEN(other_curves); i++)
        if (cs_bytes_equal(other_curves[i].oid, oid))
            return other_curves[i].why;
    return "Its curve is another one; " MAKE_P256;
}

// y of Ed25519's points of order 1, 2, 4 and 8, and the encodings above the prime that mean the
// same. Little-endian, the sign bit does not matter. After libsodium's ge25519_has_small_order.
static const uint8_t ed25519_small_order[][32] = {
    {0x00},
    {0x01},
    {0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
     0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
    {0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
     0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
};
// u of Curve25519's points of small order (RFC 7748 section 6.1: the shared secret would be zero).
static const uint8_t x25519_small_order[][32] = {
    {0x00},
    {0x01},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
     0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
     0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
};

// 2^255 - 20 (minus one, of order 2) and everything above it, which are encodings that are not
// reduced. No software makes such a key.
static bool is_minus_one_or_above(const uint8_t k[32]) {
    for (int i = 30; i > 0; i--)
        if (k[i] != 0xFF)
            return false;
    return (k[31] & 0x7F) == 0x7F && k[0] >= 0xEC;
}

static bool is_small_order(const uint8_t key[32], const uint8_t (*list)[32], size_t n) {
    uint8_t k[32];
    memcpy(k, key, 32);
    k[31] &= 0x7F;
    if (is_minus_one_or_above(k))
        return true;
    for (size_t i = 0; i < n; i++)
        if (memcmp(k, list[i], 32) == 0)
            return true;
    return false;
}

static enum cs_code parse_edwards(enum cs_key_type type, struct der *params, struct cs_bytes bits,
                                  struct spki_parts *ret) {
    if (!der_done(params) || bits.len != 32) // RFC 8410 section 3: no parameters
        return CS_CODE_CERT_MALFORMED;
    if (type == CS_KEY_ED25519
            ? is_small_order(bits.data, ed25519_small_order, CS_ARRAY_LEN(ed25519_small_order))
            : is_small_order(bits.data, x25519_small_order, CS_ARRAY_LEN(x25519_small_order)))
        return CS_CODE_CERT_WEAK_KEY;
    ret->type = type;
    ret->bits = row_of(type)->bits;
    ret->point = bits;
    return CS_CODE_NONE;
}

enum cs_code spki_parse(struct cs_bytes spki, struct spki_parts *ret) {
    struct der outer = der_of(spki), seq, alg;
    struct cs_bytes oid, bits;
    *ret = (struct spki_parts){0};
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || !der_enter(&seq, DER_SEQUENCE, &alg) ||
        !der_take_oid(&alg, &oid) || !der_take_octet_bits(&seq, &bits) || !der_done(&seq) || bits.len == 0)
        return CS_CODE_CERT_MALFORMED;
    if (cs_bytes_equal(oid, OID_RSA))
        return parse_rsa(&alg, bits, ret);
    if (cs_bytes_equal(oid, OID_EC))
        return parse_ec(&alg, bits, ret);
    if (cs_bytes_equal(oid, OID_ED25519))
        return parse_edwards(CS_KEY_ED25519, &alg, bits, ret);
    if (cs_bytes_equal(oid, OID_X25519))
        return parse_edwards(CS_KEY_X25519, &alg, bits, ret);
    ret->why = spki_why_kind(oid);
    return CS_CODE_CERT_WEAK_KEY;
}

bool spki_refuse(struct cs_err *err, enum cs_code code, const char *why) {
    return cs_err_set(err, CS_ERR_REJECT, code, "%s%s%s", cs_code_sentence(code), why ? " " : "",
                      why ? why : "");
}

static struct cs_bytes moved(struct cs_bytes view, struct cs_bytes from, const uint8_t *to) {
    return view.data ? (struct cs_bytes){to + (view.data - from.data), view.len} : view;
}

bool cs_pubkey_new(struct cs_crypto *c, struct cs_bytes spki, struct cs_pubkey **ret, struct cs_err *err) {
    return pubkey_new_into(c, spki, NULL, ret, err);
}

bool pubkey_new_into(struct cs_crypto *c, struct cs_bytes spki, struct cs_region *region,
                     struct cs_pubkey **ret, struct cs_err *err) {
    struct spki_parts parts;
    enum cs_code code = spki_parse(spki, &parts);
    if (code != CS_CODE_NONE)
        return spki_refuse(err, code, parts.why);
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *k = cs_region_take(region, sizeof *k + spki.len);
    if (!k)
        return cs_err_oom(err);
    memcpy(k->data, spki.data, spki.len);
    k->in_region = region != NULL;
    k->type = parts.type;
    k->bits = parts.bits;
    k->spki = (struct cs_bytes){k->data, spki.len};
    k->point = moved(parts.point, spki, k->data);
    k->n = moved(parts.n, spki, k->data);
    k->e = moved(parts.e, spki, k->data);
    cs_crypto_sha256(c, spki, k->sha256);
    const char *algorithm = NULL, *group = NULL;
    if (crypto_curve_names(k->type, &algorithm, &group) && !crypto_load_point(c, k))
        return cs_err_reject(err, CS_CODE_CERT_MALFORMED);
    *ret = CS_TAKE(k);
    return true;
}

void cs_pubkey_free(struct cs_pubkey *k) {
    if (k && !k->in_region)
        free(k);
}

enum cs_key_type cs_pubkey_type(const struct cs_pubkey *k) {
    return k->type;
}

int cs_pubkey_bits(const struct cs_pubkey *k) {
    return k->bits;
}

struct cs_bytes cs_pubkey_spki(const struct cs_pubkey *k) {
    return k->spki;
}

void cs_pubkey_kid(const struct cs_pubkey *k, cs_kid ret) {
    cs_hex_encode(k->sha256, CS_KID_LEN / 2, ret);
}
