// SPDX-License-Identifier: Apache-2.0
//
// Signing. verify.c verifies: it needs no random numbers and no private key.
#include "crypto/privkey.h"

#include <openssl/err.h>

#include "crypto/pae.h"

static bool sign_with(const struct cs_privkey *k, const uint8_t *digest, size_t len, uint8_t *sig,
                      size_t sig_max, size_t *ret_len) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(k->store.ctx, k->pkey, NULL);
    size_t need = 0, got = sig_max;
    bool ok = ctx && EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_sign(ctx, NULL, &need, digest, len) == 1 &&
              need <= sig_max && EVP_PKEY_sign(ctx, sig, &got, digest, len) == 1;
    EVP_PKEY_CTX_free(ctx);
    if (ok)
        *ret_len = got;
    return ok;
}

static bool sign_digest(const struct cs_privkey *k, const uint8_t *digest, size_t len, uint8_t *sig,
                        size_t sig_max, size_t *ret_len) {
    if (k->store_lock && CRYPTO_THREAD_write_lock(k->store_lock) != 1)
        return false;
    bool ok = sign_with(k, digest, len, sig, sig_max, ret_len);
    if (k->store_lock)
        CRYPTO_THREAD_unlock(k->store_lock);
    return ok;
}

static bool sign_ed25519(const struct cs_privkey *k, const struct cs_bytes *parts, size_t n, uint8_t *sig,
                         size_t sig_max, size_t *ret_len) {
    CS_AUTO(cs_buf_clear) struct cs_buf message;
    cs_buf_init(&message, 256 * 1024);
    for (size_t i = 0; i < n; i++)
        cs_buf_put(&message, parts[i].data, parts[i].len);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t len = sig_max;
    bool ok = ctx && !message.failed &&
              EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, k->pkey, NULL) == 1 &&
              EVP_DigestSign(ctx, sig, &len, message.data, message.len) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok)
        *ret_len = len;
    return ok;
}

// SM2's digest needs the key's own public point.
static bool digest_parts(struct cs_crypto *c, const struct cs_privkey *k, const struct sig_alg *alg,
                         const struct cs_bytes *parts, size_t n, uint8_t digest[64]) {
    struct spki_parts public;
    if (alg->kind != SIG_SM2) {
        crypto_digest(c, alg->digest, parts, n, digest);
        return true;
    }
    if (spki_parse(privkey_spki_bytes(k), &public) != CS_CODE_NONE)
        return false;
    crypto_sm2_digest(c, public.point, parts, n, digest);
    return true;
}

bool privkey_sign(struct cs_crypto *c, const struct cs_privkey *k, const struct cs_bytes *parts, size_t n,
                  uint8_t *sig, size_t sig_max, size_t *ret_len) {
    struct sig_alg alg = crypto_alg_of(k->type);
    uint8_t message[DIGEST_INFO_MAX];
    struct cs_bytes prefix = {0};
    if (alg.kind == SIG_WEAK)
        return false;
    if (alg.kind == SIG_ED25519)
        return sign_ed25519(k, parts, n, sig, sig_max, ret_len);
    if (alg.kind == SIG_RSA_PKCS1) {
        prefix = crypto_digest_info(alg.digest);
        memcpy(message, prefix.data, prefix.len);
    }
    uint8_t digest[64];
    size_t digest_len = crypto_digest_len(alg.digest);
    if (!digest_parts(c, k, &alg, parts, n, digest))
        return false;
    memcpy(message + prefix.len, digest, digest_len);
    return sign_digest(k, message, prefix.len + digest_len, sig, sig_max, ret_len);
}

bool cs_event_sign(struct cs_crypto *c, const struct cs_privkey *key, struct cs_bytes value,
                   uint8_t ret_sig[CS_EVENT_SIG_MAX], size_t *ret_len, struct cs_err *err) {
    struct pae_event pae;
    if (key->type != CS_KEY_P256)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "events are signed with a P-256 key, this is a key of type %s; make one with: certsync keygen",
            cs_key_type_name(key->type));
    pae_event(value, &pae);
    if (!privkey_sign(c, key, pae.parts, CS_ARRAY_LEN(pae.parts), ret_sig, CS_EVENT_SIG_MAX, ret_len))
        return crypto_fail(err, "signing an event");
    return true;
}

bool cs_pop_sign(struct cs_crypto *c, const struct cs_privkey *key, const struct cs_pubkey *pub,
                 const struct cs_pop_fields *f, uint8_t ret[CS_POP_MAX], size_t *ret_len,
                 struct cs_err *err) {
    struct pae_pop pae;
    uint8_t sig[CS_POP_MAX];
    size_t len;
    if (!cs_bytes_equal(privkey_spki_bytes(key), pub->spki))
        return cs_err_reject(err, CS_CODE_KEY_MISMATCH);
    pae_pop(c, f, &pae);
    // A key file may state any public half. Only a signature shows that it belongs to the private
    // one.
    bool ok = privkey_sign(c, key, pae.parts, CS_ARRAY_LEN(pae.parts), sig, sizeof sig, &len) &&
              cs_pop_verify(c, pub, f, (struct cs_bytes){sig, len});
    if (!ok) {
        crypto_refused();
        return cs_err_reject(err, CS_CODE_KEY_MISMATCH);
    }
    memcpy(ret, sig, len);
    *ret_len = len;
    return true;
}
