// SPDX-License-Identifier: Apache-2.0
#include "crypto/hpke.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "crypto/crypto_impl.h"

#define KEM_ID    0x0020 // DHKEM(X25519, HKDF-SHA256)
#define KDF_ID    0x0001 // HKDF-SHA256
#define NH        32     // output of HMAC-SHA256
#define MODE_BASE 0

const struct hpke_aead hpke_aes128_gcm = {0x0001, 16, "AES-128-GCM"};
const struct hpke_aead hpke_aes256_gcm = {0x0002, 32, "AES-256-GCM"};

// suite_id: inside the KEM "KEM" and the KEM's id; in the key schedule "HPKE" and all three ids
// (sections 4.1 and 5.1).
struct suite {
    uint8_t id[10];
    size_t len;
};

static struct suite kem_suite(void) {
    return (struct suite){{'K', 'E', 'M', KEM_ID >> 8, KEM_ID & 0xFF}, 5};
}

static struct suite hpke_suite(const struct hpke_aead *aead) {
    return (struct suite){{'H', 'P', 'K', 'E', KEM_ID >> 8, KEM_ID & 0xFF, KDF_ID >> 8, KDF_ID & 0xFF,
                           (uint8_t)(aead->id >> 8), (uint8_t)aead->id},
                          10};
}

static bool hmac(struct cs_bytes key, const struct cs_bytes *parts, size_t n, uint8_t ret[NH]) {
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
                           OSSL_PARAM_construct_end()};
    static const uint8_t empty[1] = {0};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;
    size_t len = 0;
    bool ok = ctx && EVP_MAC_init(ctx, key.len ? key.data : empty, key.len, params) == 1;
    for (size_t i = 0; ok && i < n; i++)
        ok = EVP_MAC_update(ctx, parts[i].data, parts[i].len) == 1;
    ok = ok && EVP_MAC_final(ctx, ret, &len, NH) == 1 && len == NH;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return ok;
}

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

// LabeledExtract (section 4). An empty salt means a key of zeros for HMAC (RFC 5869 section 2.2).
// An empty key is the same.
static bool extract(const struct suite *suite, struct cs_bytes salt, const char *label, struct cs_bytes ikm,
                    uint8_t ret[NH]) {
    const struct cs_bytes parts[] = {text("HPKE-v1"), {suite->id, suite->len}, text(label), ikm};
    return hmac(salt, parts, CS_ARRAY_LEN(parts), ret);
}

// LabeledExpand for at most one block of output.
static bool expand(const struct suite *suite, const uint8_t prk[NH], const char *label, struct cs_bytes info,
                   uint8_t *ret, size_t len) {
    const uint8_t length[2] = {0, (uint8_t)len}, counter = 1;
    const struct cs_bytes parts[] = {{length, 2}, text("HPKE-v1"), {suite->id, suite->len}, text(label),
                                     info,        {&counter, 1}};
    uint8_t block[NH];
    bool ok = len <= NH && hmac((struct cs_bytes){prk, NH}, parts, CS_ARRAY_LEN(parts), block);
    if (ok)
        memcpy(ret, block, len);
    OPENSSL_cleanse(block, sizeof block);
    return ok;
}

// X25519. False for a peer of small order: the result would be zero (section 7.1.4; OpenSSL refuses
// it).
static bool diffie_hellman(EVP_PKEY *own, const uint8_t peer[32], uint8_t ret[32]) {
    EVP_PKEY *other = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, peer, 32);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    size_t len = 32;
    bool ok = other && ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
              EVP_PKEY_derive(ctx, ret, &len) == 1 && len == 32;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(other);
    return ok;
}

static bool key_schedule(const struct hpke_aead *aead, const uint8_t dh[32], const uint8_t enc[32],
                         const uint8_t recipient[32], struct cs_bytes info, struct hpke_context *ret) {
    const struct suite kem = kem_suite(), hpke = hpke_suite(aead);
    const struct cs_bytes none = {0};
    uint8_t eae_prk[NH], shared[NH], secret[NH], kem_context[64], context[1 + 2 * NH] = {MODE_BASE};
    memcpy(kem_context, enc, 32);
    memcpy(kem_context + 32, recipient, 32);
    bool ok =
        extract(&kem, none, "eae_prk", (struct cs_bytes){dh, 32}, eae_prk) &&
        expand(&kem, eae_prk, "shared_secret", (struct cs_bytes){kem_context, 64}, shared, NH) &&
        extract(&hpke, none, "psk_id_hash", none, context + 1) &&
        extract(&hpke, none, "info_hash", info, context + 1 + NH) &&
        extract(&hpke, (struct cs_bytes){shared, NH}, "secret", none, secret) &&
        expand(&hpke, secret, "key", (struct cs_bytes){context, sizeof context}, ret->key, aead->key_len) &&
        expand(&hpke, secret, "base_nonce", (struct cs_bytes){context, sizeof context}, ret->base_nonce, 12);
    OPENSSL_cleanse(eae_prk, sizeof eae_prk);
    OPENSSL_cleanse(shared, sizeof shared);
    OPENSSL_cleanse(secret, sizeof secret);
    return ok;
}

// One message: the nonce is base_nonce, since the sequence number is 0 (section 5.2).
static bool aead_run(const struct hpke_aead *aead, const struct hpke_context *key, bool seal,
                     struct cs_bytes aad, struct cs_bytes in, const uint8_t *tag, uint8_t *out,
                     uint8_t *ret_tag) {
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, aead->cipher, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0;
    uint8_t wanted[HPKE_TAG_LEN];
    bool ok = cipher && ctx && in.len <= INT32_MAX && aad.len <= INT32_MAX &&
              EVP_CipherInit_ex2(ctx, cipher, key->key, key->base_nonce, seal, NULL) == 1 &&
              (aad.len == 0 || EVP_CipherUpdate(ctx, NULL, &n, aad.data, (int)aad.len) == 1) &&
              (in.len == 0 || EVP_CipherUpdate(ctx, out, &n, in.data, (int)in.len) == 1);
    if (ok && !seal) {
        memcpy(wanted, tag, sizeof wanted);
        ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, HPKE_TAG_LEN, wanted) == 1;
    }
    ok = ok && EVP_CipherFinal_ex(ctx, out + in.len, &n) == 1 &&
         (!seal || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, HPKE_TAG_LEN, ret_tag) == 1);
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(cipher);
    return ok;
}

bool hpke_seal(const struct hpke_aead *aead, const uint8_t eph_private[32],
               const uint8_t recipient_public[32], struct cs_bytes info, struct cs_bytes aad,
               struct cs_bytes pt, uint8_t ret_enc[32], uint8_t *ret_ct, struct hpke_context *ret_context,
               struct cs_err *err) {
    EVP_PKEY *eph = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, eph_private, 32);
    uint8_t dh[32] = {0}, enc[32];
    struct hpke_context context = {0};
    size_t len = 32;
    bool ok = eph && EVP_PKEY_get_raw_public_key(eph, enc, &len) == 1 && len == 32 &&
              diffie_hellman(eph, recipient_public, dh) &&
              key_schedule(aead, dh, enc, recipient_public, info, &context) &&
              aead_run(aead, &context, true, aad, pt, NULL, ret_ct, ret_ct + pt.len);
    EVP_PKEY_free(eph);
    OPENSSL_cleanse(dh, sizeof dh);
    if (ok)
        memcpy(ret_enc, enc, 32);
    if (ok && ret_context)
        *ret_context = context;
    OPENSSL_cleanse(&context, sizeof context);
    return ok || crypto_fail(err, "sealing");
}

bool hpke_open(const struct hpke_aead *aead, const uint8_t recipient_private[32], const uint8_t enc[32],
               struct cs_bytes info, struct cs_bytes aad, struct cs_bytes ct, uint8_t *ret_pt,
               struct cs_err *err) {
    if (ct.len < HPKE_TAG_LEN)
        return cs_err_reject(err, CS_CODE_KEY_MALFORMED);
    EVP_PKEY *own = EVP_PKEY_new_raw_private_key_ex(NULL, "X25519", NULL, recipient_private, 32);
    uint8_t dh[32] = {0}, public[32];
    struct hpke_context context = {0};
    size_t len = 32, pt_len = ct.len - HPKE_TAG_LEN;
    bool ok = own && EVP_PKEY_get_raw_public_key(own, public, &len) == 1 && len == 32 &&
              diffie_hellman(own, enc, dh) && key_schedule(aead, dh, enc, public, info, &context) &&
              aead_run(aead, &context, false, aad, (struct cs_bytes){ct.data, pt_len}, ct.data + pt_len,
                       ret_pt, NULL);
    EVP_PKEY_free(own);
    OPENSSL_cleanse(dh, sizeof dh);
    OPENSSL_cleanse(&context, sizeof context);
    if (!ok)
        OPENSSL_cleanse(ret_pt, pt_len);
    crypto_refused();
    return ok || cs_err_reject(err, CS_CODE_KEY_MALFORMED);
}
