// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/seal.h"

#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>

#include "certsync/base/text.h"
#include "crypto/hpke.h"
#include "crypto/privkey.h"

#define VERSION     1
#define KID_LEN     (CS_KID_LEN / 2)
#define HEAD_LEN    (1 + KID_LEN + 32) // version, custodian, enc
#define CONTEXT_MAX 1024

const char *cs_key_role_name(enum cs_key_role r) {
    switch (r) {
    case CS_ROLE_SINGLE:
        return "single";
    case CS_ROLE_SM2_SIGN:
        return "sm2-sign";
    case CS_ROLE_SM2_ENCRYPT:
        return "sm2-enc";
    }
    return "";
}

bool cs_hpke_seal(const uint8_t eph_private[32], const uint8_t recipient_public[32], struct cs_bytes info,
                  struct cs_bytes aad, struct cs_bytes pt, uint8_t ret_enc[32], uint8_t *ret_ct,
                  struct cs_err *err) {
    return hpke_seal(&hpke_aes256_gcm, eph_private, recipient_public, info, aad, pt, ret_enc, ret_ct, NULL,
                     err);
}

bool cs_hpke_open(const uint8_t recipient_private[32], const uint8_t enc[32], struct cs_bytes info,
                  struct cs_bytes aad, struct cs_bytes ct, uint8_t *ret_pt, struct cs_err *err) {
    return hpke_open(&hpke_aes256_gcm, recipient_private, enc, info, aad, ct, ret_pt, err);
}

static void put_field(struct cs_buf *b, const void *data, size_t len) {
    uint8_t length[8];
    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
    cs_buf_put(b, length, sizeof length);
    cs_buf_put(b, data, len);
}

static bool bind(const struct cs_seal_context *ctx, struct cs_buf *info, struct cs_buf *aad,
                 struct cs_err *err) {
    cs_buf_init(info, CONTEXT_MAX);
    cs_buf_init(aad, CONTEXT_MAX);
    cs_buf_put(info, "certsync.seal.v1", sizeof "certsync.seal.v1"); // with its NUL
    cs_buf_puts(info, ctx->log_id);
    put_field(aad, ctx->account, strlen(ctx->account));
    put_field(aad, ctx->subject, strlen(ctx->subject));
    const char *role = cs_key_role_name(ctx->role);
    put_field(aad, role, strlen(role));
    put_field(aad, ctx->spki_sha256, 32);
    return cs_buf_ok(info, err) && cs_buf_ok(aad, err);
}

static void kid_bytes(struct cs_crypto *c, struct cs_bytes spki, uint8_t ret[KID_LEN]) {
    uint8_t hash[32];
    cs_crypto_sha256(c, spki, hash);
    memcpy(ret, hash, KID_LEN);
}

// A new X25519 key. Its scalar stays in ret only during one seal.
static bool ephemeral(uint8_t ret[32]) {
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    size_t len = 32;
    bool ok = key && EVP_PKEY_get_raw_private_key(key, ret, &len) == 1 && len == 32;
    EVP_PKEY_free(key);
    return ok;
}

bool cs_seal(struct cs_crypto *c, struct cs_bytes custodian_spki, const struct cs_seal_context *ctx,
             const struct cs_privkey *key, uint8_t **ret, size_t *ret_len, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf info, aad;
    struct spki_parts custodian;
    if (!bind(ctx, &info, &aad, err))
        return false;
    if (spki_parse(custodian_spki, &custodian) != CS_CODE_NONE || custodian.type != CS_KEY_X25519)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the custodian's public key is not an X25519 key; make one with: certsync keygen "
                          "--type custodian");
    uint8_t *plain = NULL, scalar[32];
    size_t plain_len = 0;
    if (!privkey_to_sealed(key, &plain, &plain_len, err))
        return false;
    size_t len = HEAD_LEN + plain_len + HPKE_TAG_LEN;
    uint8_t *out = malloc(len);
    if (!out) {
        cs_secure_free(plain, plain_len);
        return cs_err_oom(err);
    }
    out[0] = VERSION;
    kid_bytes(c, custodian_spki, out + 1);
    bool ok = ephemeral(scalar);
    ok = ok ? cs_hpke_seal(scalar, custodian.point.data, cs_buf_bytes(&info), cs_buf_bytes(&aad),
                           (struct cs_bytes){plain, plain_len}, out + 1 + KID_LEN, out + HEAD_LEN, err)
            : crypto_fail(err, "making an ephemeral key");
    OPENSSL_cleanse(scalar, sizeof scalar);
    cs_secure_free(plain, plain_len);
    if (!ok) {
        free(out);
        return false;
    }
    *ret = out;
    *ret_len = len;
    return true;
}

bool cs_sealed_kid(struct cs_bytes sealed, cs_kid ret) {
    if (sealed.len <= CS_SEALED_OVERHEAD || sealed.len > CS_SEALED_MAX || sealed.data[0] != VERSION)
        return false;
    cs_hex_encode(sealed.data + 1, KID_LEN, ret);
    return true;
}

bool cs_unseal(struct cs_crypto *c, const struct cs_privkey *custodian, const struct cs_seal_context *ctx,
               struct cs_bytes sealed, struct cs_privkey **ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf info, aad;
    uint8_t kid[KID_LEN], scalar[32], spki_sha256[32];
    cs_kid stated;
    size_t scalar_len = sizeof scalar;
    if (!bind(ctx, &info, &aad, err))
        return false;
    if (custodian->type != CS_KEY_X25519)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the custodian's private key is not an X25519 key");
    kid_bytes(c, privkey_spki_bytes(custodian), kid);
    if (!cs_sealed_kid(sealed, stated))
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_MALFORMED,
                          "The sealed key is not in the sealed form.");
    if (memcmp(kid, sealed.data + 1, KID_LEN) != 0)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_KEY_MALFORMED,
                          "The key is sealed to another custodian: %s.", stated);
    size_t len = sealed.len - CS_SEALED_OVERHEAD;
    uint8_t *plain = OPENSSL_secure_malloc(len);
    if (!plain)
        return cs_err_oom(err);
    struct cs_privkey *key = NULL;
    bool ok = EVP_PKEY_get_raw_private_key(custodian->pkey, scalar, &scalar_len) == 1 ||
              crypto_fail(err, "reading the custodian's key");
    ok = ok &&
         cs_hpke_open(scalar, sealed.data + 1 + KID_LEN, cs_buf_bytes(&info), cs_buf_bytes(&aad),
                      (struct cs_bytes){sealed.data + HEAD_LEN, sealed.len - HEAD_LEN}, plain, err) &&
         cs_privkey_from_pkcs8((struct cs_bytes){plain, len}, &key, err);
    OPENSSL_cleanse(scalar, sizeof scalar);
    cs_secure_free(plain, len);
    if (!ok)
        return false;
    cs_crypto_sha256(c, privkey_spki_bytes(key), spki_sha256);
    if (memcmp(spki_sha256, ctx->spki_sha256, 32) != 0) {
        cs_privkey_free(key);
        return cs_err_reject(err, CS_CODE_KEY_MISMATCH);
    }
    *ret = key;
    return true;
}
