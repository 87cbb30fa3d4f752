// SPDX-License-Identifier: Apache-2.0
//
// Verification on a curve by EVP alone. Each curve has one key object, which takes one point after
// the other. A key that comes often has its own object.
#include "crypto/crypto_impl.h"

struct curve_slot *crypto_slot_of(struct cs_crypto *c, enum cs_key_type type) {
    switch (type) {
    case CS_KEY_P256:
        return &c->curve[0];
    case CS_KEY_P384:
        return &c->curve[1];
    case CS_KEY_P521:
        return &c->curve[2];
    case CS_KEY_SM2:
        return &c->curve[3];
    case CS_KEY_RSA:
    case CS_KEY_ED25519:
    case CS_KEY_X25519:
        break;
    }
    return NULL;
}

bool crypto_load_point(struct cs_crypto *c, const struct cs_pubkey *key) {
    struct curve_slot *s = crypto_slot_of(c, key->type);
    if (s->holds && memcmp(s->sha256, key->sha256, 32) == 0)
        return true;
    s->ready = false;
    s->holds = EVP_PKEY_set1_encoded_public_key(s->pkey, key->point.data, key->point.len) == 1;
    if (s->holds)
        memcpy(s->sha256, key->sha256, 32);
    else
        crypto_refused();
    return s->holds;
}

static EVP_PKEY_CTX *slot_context(struct cs_crypto *c, const struct cs_pubkey *key) {
    struct curve_slot *s = crypto_slot_of(c, key->type);
    if (!s || !crypto_load_point(c, key))
        return NULL;
    // It is initialised again for each point. OpenSSL 3.0 would not need that. A release that
    // copies the key here would verify with the key before it.
    if (!s->ready && EVP_PKEY_verify_init(s->ctx) != 1) {
        crypto_refused();
        return NULL;
    }
    s->ready = true;
    return s->ctx;
}

bool curve_verify_plain(struct cs_crypto *c, const struct cs_pubkey *key, struct kept_key *k,
                        const uint8_t *digest, size_t digest_len, struct cs_bytes sig) {
    if (k && k->uses == CONTEXT_WORTH && !k->pkey)
        crypto_equip(c, key, k); // without one the slot still serves
    EVP_PKEY_CTX *ctx = k && k->ctx ? k->ctx : slot_context(c, key);
    return ctx && EVP_PKEY_verify(ctx, sig.data, sig.len, digest, digest_len) == 1;
}
