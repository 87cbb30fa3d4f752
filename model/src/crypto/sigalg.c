// SPDX-License-Identifier: Apache-2.0
//
// Signature algorithms: their identifiers (RFC 4055, RFC 5758, RFC 8410, GM/T 0006), and SM2's
// digest.
#include "crypto/crypto_impl.h"

static const struct {
    struct cs_bytes oid;
    struct sig_alg alg;
} rows[] = {
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b"), {SIG_RSA_PKCS1, DIGEST_SHA256, 0, NULL}},
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c"), {SIG_RSA_PKCS1, DIGEST_SHA384, 0, NULL}},
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d"), {SIG_RSA_PKCS1, DIGEST_SHA512, 0, NULL}},
    {DER_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x02"), {SIG_ECDSA, DIGEST_SHA256, 0, NULL}},
    {DER_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x03"), {SIG_ECDSA, DIGEST_SHA384, 0, NULL}},
    {DER_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x04"), {SIG_ECDSA, DIGEST_SHA512, 0, NULL}},
    {DER_INIT("\x2b\x65\x70"), {SIG_ED25519, DIGEST_SHA512, 0, NULL}},
    {DER_INIT("\x2a\x81\x1c\xcf\x55\x01\x83\x75"), {SIG_SM2, DIGEST_SM3, 0, NULL}},
};

#define OID_PSS      DER_BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a")
#define OID_MGF1     DER_BYTES("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08")
#define PSS_SALT_MIN 20
#define PSS_SALT_MAX (1024 - 32 - 2) // the longest that a key of 8192 bits has room for, with SHA-256

static const struct {
    struct cs_bytes oid;
    enum crypto_digest digest;
} hashes[] = {
    {DER_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x01"), DIGEST_SHA256},
    {DER_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x02"), DIGEST_SHA384},
    {DER_INIT("\x60\x86\x48\x01\x65\x03\x04\x02\x03"), DIGEST_SHA512},
};

static bool absent_or_null(struct der *params) {
    struct cs_bytes null;
    return der_done(params) || (der_take(params, DER_NULL, &null) && null.len == 0 && der_done(params));
}

static bool parse_hash(struct der *d, enum crypto_digest *ret) {
    struct der seq;
    struct cs_bytes oid;
    if (!der_enter(d, DER_SEQUENCE, &seq) || !der_take_oid(&seq, &oid) || !absent_or_null(&seq))
        return false;
    for (size_t i = 0; i < CS_ARRAY_LEN(hashes); i++) {
        if (cs_bytes_equal(hashes[i].oid, oid)) {
            *ret = hashes[i].digest;
            return true;
        }
    }
    return false;
}

// RSASSA-PSS-params (RFC 4055 section 3.1): SHA-2 must be named, MGF1 uses the same digest, the
// salt has 20 bytes or more (OpenSSL's default fills the key's room), the trailer is the default.
// Parameters that are left out mean SHA-1, which is weak.
static bool parse_pss(struct der *params, struct sig_alg *ret) {
    struct der seq, field, mgf;
    struct cs_bytes oid;
    enum crypto_digest digest, mgf_digest;
    int salt_len, trailer;
    if (!der_enter(params, DER_SEQUENCE, &seq) || !der_done(params))
        return false;
    if (!der_enter(&seq, DER_CONTEXT_CONSTRUCTED(0), &field) || !parse_hash(&field, &digest) ||
        !der_done(&field))
        return false;
    if (!der_enter(&seq, DER_CONTEXT_CONSTRUCTED(1), &field) || !der_enter(&field, DER_SEQUENCE, &mgf) ||
        !der_done(&field) || !der_take_oid(&mgf, &oid) || !cs_bytes_equal(oid, OID_MGF1) ||
        !parse_hash(&mgf, &mgf_digest) || !der_done(&mgf) || mgf_digest != digest)
        return false;
    if (!der_enter(&seq, DER_CONTEXT_CONSTRUCTED(2), &field) || !der_take_small(&field, &salt_len) ||
        !der_done(&field) || salt_len < PSS_SALT_MIN || salt_len > PSS_SALT_MAX)
        return false;
    if (der_at(&seq, DER_CONTEXT_CONSTRUCTED(3)) &&
        (!der_enter(&seq, DER_CONTEXT_CONSTRUCTED(3), &field) || !der_take_small(&field, &trailer) ||
         !der_done(&field) || trailer != 1))
        return false;
    *ret = (struct sig_alg){SIG_RSA_PSS, digest, salt_len, NULL};
    return der_done(&seq);
}

// Algorithms that people meet. For most of them the digest's option of openssl mends it.
static const struct {
    struct cs_bytes oid;
    const char *why;
} weak[] = {
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x02"), "It is RSA with MD2."},
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04"), "It is RSA with MD5."},
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05"), "It is RSA with SHA-1."},
    {DER_INIT("\x2b\x0e\x03\x02\x1d"), "It is RSA with SHA-1."},
    {DER_INIT("\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0e"), "It is RSA with SHA-224."},
    {DER_INIT("\x2a\x86\x48\xce\x3d\x04\x01"), "It is ECDSA with SHA-1."},
    {DER_INIT("\x2a\x86\x48\xce\x3d\x04\x03\x01"), "It is ECDSA with SHA-224."},
    {DER_INIT("\x2a\x86\x48\xce\x38\x04\x03"), "It is DSA, which no client takes any more."},
    {DER_INIT("\x60\x86\x48\x01\x65\x03\x04\x03\x02"), "It is DSA, which no client takes any more."},
    {DER_INIT("\x2b\x65\x71"), "It is Ed448, which few clients know."},
    {DER_INIT("\x2a\x81\x1c\xcf\x55\x01\x82\x2d"),
     "It names the SM2 curve (1.2.156.10197.1.301) where the algorithm belongs: SM2 with SM3 "
     "(1.2.156.10197.1.501); sign with: "
     "openssl x509 -req -sm3 -sigopt distid:1234567812345678."},
    {DER_INIT("\x2a\x81\x1c\xcf\x55\x01\x83\x78"), "It is RSA with SM3, which few clients know."},
};

static const char *why_weak(struct cs_bytes oid) {
    for (size_t i = 0; i < CS_ARRAY_LEN(weak); i++)
        if (cs_bytes_equal(weak[i].oid, oid))
            return weak[i].why;
    return NULL;
}

bool sig_alg_parse(struct cs_bytes algorithm, struct sig_alg *ret) {
    struct der outer = der_of(algorithm), seq;
    struct cs_bytes oid;
    if (!der_enter(&outer, DER_SEQUENCE, &seq) || !der_done(&outer) || !der_take_oid(&seq, &oid))
        return false;
    *ret = (struct sig_alg){SIG_WEAK, DIGEST_SHA256, 0, why_weak(oid)};
    struct der rest = seq; // parameters ANY OPTIONAL
    struct der_value params;
    if (!der_done(&rest) && (!der_next(&rest, &params) || !der_any_valid(&params) || !der_done(&rest)))
        return false;
    if (cs_bytes_equal(oid, OID_PSS)) {
        if (!parse_pss(&seq, ret))
            ret->why = "It is RSA-PSS with SHA-1, with different digests, or with a salt of less than 20 "
                       "bytes; sign with: "
                       "-sha256 -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest.";
        return true;
    }
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        if (cs_bytes_equal(rows[i].oid, oid) && absent_or_null(&seq))
            *ret = rows[i].alg;
    return true;
}

struct sig_alg crypto_alg_of(enum cs_key_type type) {
    switch (type) {
    case CS_KEY_RSA:
        return (struct sig_alg){SIG_RSA_PKCS1, DIGEST_SHA256, 0, NULL};
    case CS_KEY_P256:
        return (struct sig_alg){SIG_ECDSA, DIGEST_SHA256, 0, NULL};
    case CS_KEY_P384:
        return (struct sig_alg){SIG_ECDSA, DIGEST_SHA384, 0, NULL};
    case CS_KEY_P521:
        return (struct sig_alg){SIG_ECDSA, DIGEST_SHA512, 0, NULL};
    case CS_KEY_ED25519:
        return (struct sig_alg){SIG_ED25519, DIGEST_SHA512, 0, NULL};
    case CS_KEY_SM2:
        return (struct sig_alg){SIG_SM2, DIGEST_SM3, 0, NULL};
    case CS_KEY_X25519:
        break;
    }
    return (struct sig_alg){SIG_WEAK, DIGEST_SHA256, 0, NULL};
}

struct cs_bytes sig_alg_der(enum cs_key_type type) {
    switch (type) {
    case CS_KEY_RSA:
        return DER_BYTES("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00");
    case CS_KEY_P256:
        return DER_BYTES("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02");
    case CS_KEY_P384:
        return DER_BYTES("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03");
    case CS_KEY_P521:
        return DER_BYTES("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x04");
    case CS_KEY_ED25519:
        return DER_BYTES("\x30\x05\x06\x03\x2b\x65\x70");
    case CS_KEY_SM2:
        return DER_BYTES("\x30\x0a\x06\x08\x2a\x81\x1c\xcf\x55\x01\x83\x75");
    case CS_KEY_X25519:
        break;
    }
    return (struct cs_bytes){0};
}

struct cs_bytes crypto_digest_info(enum crypto_digest d) {
    switch (d) {
    case DIGEST_SHA256:
        return DER_BYTES("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20");
    case DIGEST_SHA384:
        return DER_BYTES("\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30");
    case DIGEST_SHA512:
        return DER_BYTES("\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40");
    case DIGEST_SM3:
    case DIGEST_COUNT:
        break;
    }
    return (struct cs_bytes){0};
}

// ENTL, the default id, and the curve's a, b and base point (GB/T 32918.5). Z begins with them for
// every key.
static const uint8_t sm2_z_prefix[] = "\x00\x80"
                                      "1234567812345678"
                                      "\xFF\xFF\xFF\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                                      "\xFF\xFF\xFF\xFF\x00\x00\x00\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFC"
                                      "\x28\xE9\xFA\x9E\x9D\x9F\x5E\x34\x4D\x5A\x9E\x4B\xCF\x65\x09\xA7"
                                      "\xF3\x97\x89\xF5\x15\xAB\x8F\x92\xDD\xBC\xBD\x41\x4D\x94\x0E\x93"
                                      "\x32\xC4\xAE\x2C\x1F\x19\x81\x19\x5F\x99\x04\x46\x6A\x39\xC9\x94"
                                      "\x8F\xE3\x0B\xBF\xF2\x66\x0B\xE1\x71\x5A\x45\x89\x33\x4C\x74\xC7"
                                      "\xBC\x37\x36\xA2\xF4\xF6\x77\x9C\x59\xBD\xCE\xE3\x6B\x69\x21\x53"
                                      "\xD0\xA9\x87\x7C\xC6\x2A\x47\x40\x02\xDF\x32\xE5\x21\x39\xF0\xA0";

#define SM2_ID_LEN 16

bool crypto_sm2_empty_id(struct cs_crypto *c, const struct cs_pubkey *key, struct cs_bytes message,
                         struct cs_bytes sig) {
    uint8_t z[32], digest[32];
    if (key->type != CS_KEY_SM2)
        return false;
    const struct cs_bytes z_parts[] = {
        DER_BYTES("\x00\x00"), // ENTL
        {sm2_z_prefix + 2 + SM2_ID_LEN, sizeof sm2_z_prefix - 1 - 2 - SM2_ID_LEN},
        {key->point.data + 1, key->point.len - 1}};
    crypto_digest(c, DIGEST_SM3, z_parts, CS_ARRAY_LEN(z_parts), z);
    const struct cs_bytes all[] = {{z, sizeof z}, message};
    crypto_digest(c, DIGEST_SM3, all, CS_ARRAY_LEN(all), digest);
    const struct sig_alg sm2 = {SIG_SM2, DIGEST_SM3, 0, NULL};
    return crypto_verify_digest(c, key, &sm2, digest, sig);
}

void crypto_sm2_digest(struct cs_crypto *c, struct cs_bytes point, const struct cs_bytes *parts, size_t n,
                       uint8_t ret[32]) {
    uint8_t z[32];
    const struct cs_bytes z_parts[] = {{sm2_z_prefix, sizeof sm2_z_prefix - 1},
                                       {point.data + 1, point.len - 1}};
    struct cs_bytes all[1 + 16]; // the longest list is a proof of possession's
    size_t rest = CS_ARRAY_LEN(all) - 1;
    crypto_digest(c, DIGEST_SM3, z_parts, CS_ARRAY_LEN(z_parts), z);
    all[0] = (struct cs_bytes){z, sizeof z};
    n = n < rest ? n : rest;
    memcpy(all + 1, parts, n * sizeof *parts);
    crypto_digest(c, DIGEST_SM3, all, 1 + n, ret);
}
