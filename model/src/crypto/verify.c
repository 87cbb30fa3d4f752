// SPDX-License-Identifier: Apache-2.0
//
// Verification. OpenSSL does the arithmetic. This file keeps OpenSSL's objects between uses,
// because making them costs as much as an RSA verification. Digests are computed here and given to
// EVP_PKEY_verify, so one context serves every digest.
#include "crypto/crypto_impl.h"

#include <openssl/core_names.h>
#include <openssl/rsa.h>

#include "crypto/pae.h"

static EVP_PKEY *new_rsa(struct cs_crypto *c, const struct cs_pubkey *key) {
    // OSSL_PARAM integers are in native order.
    uint8_t n[1024], e[4];
    size_t n_len = key->n.len, e_len = key->e.len;
    for (size_t i = 0; i < n_len; i++)
        n[i] = key->n.data[n_len - 1 - i];
    for (size_t i = 0; i < e_len; i++)
        e[i] = key->e.data[e_len - 1 - i];
    OSSL_PARAM params[] = {OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_N, n, n_len),
                           OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_RSA_E, e, e_len),
                           OSSL_PARAM_construct_end()};
    EVP_PKEY *pkey = NULL;
    return EVP_PKEY_fromdata(c->rsa_fromdata, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1 ? pkey : NULL;
}

static EVP_PKEY *new_on_curve(const struct curve_slot *s, const struct cs_pubkey *key) {
    EVP_PKEY *pkey = EVP_PKEY_dup(s->pkey);
    if (pkey && EVP_PKEY_set1_encoded_public_key(pkey, key->point.data, key->point.len) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
    }
    return pkey;
}

bool crypto_equip(struct cs_crypto *c, const struct cs_pubkey *key, struct kept_key *k) {
    const struct curve_slot *s = crypto_slot_of(c, key->type);
    if (s)
        k->pkey = new_on_curve(s, key);
    else if (key->type == CS_KEY_RSA)
        k->pkey = new_rsa(c, key);
    else
        k->pkey = EVP_PKEY_new_raw_public_key_ex(NULL, "ED25519", NULL, key->point.data, key->point.len);
    bool ok = k->pkey != NULL;
    if (ok && key->type != CS_KEY_ED25519) {
        k->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
        ok = k->ctx && EVP_PKEY_verify_init(k->ctx) == 1;
    }
    if (ok)
        return true;
    crypto_refused();
    EVP_PKEY_CTX_free(k->ctx);
    EVP_PKEY_free(k->pkey);
    k->ctx = NULL;
    k->pkey = NULL;
    return false;
}

static struct kept_key *find_kept(struct cs_crypto *c, const struct cs_pubkey *key) {
    struct kept_key *set = c->kept[key->sha256[0] % KEPT_SETS];
    for (size_t i = 0; i < MEMO_WAYS; i++)
        if (set[i].held && memcmp(set[i].sha256, key->sha256, 32) == 0)
            return &set[i];
    return NULL;
}

static bool seen_before(struct cs_crypto *c, const struct cs_pubkey *key) {
    uint32_t tag;
    memcpy(&tag, key->sha256 + 4, sizeof tag);
    tag |= 1; // never the empty entry's 0
    uint32_t *entry = &c->seen[(key->sha256[1] | (size_t)key->sha256[2] << 8) % CS_ARRAY_LEN(c->seen)];
    bool seen = *entry == tag;
    *entry = tag;
    return seen;
}

static void release(struct cs_crypto *c, struct kept_key *k) {
    curve_drop_table(c, k);
    EVP_PKEY_CTX_free(k->ctx);
    EVP_PKEY_free(k->pkey);
    *k = (struct kept_key){0};
}

void crypto_forget_keys(struct cs_crypto *c) {
    for (size_t i = 0; i < KEPT_SETS; i++)
        for (size_t way = 0; way < MEMO_WAYS; way++)
            release(c, &c->kept[i][way]);
    release(c, &c->fresh);
}

// Gives the key the least recently used entry of its set. An entry with a table is taken only if
// all have one.
static struct kept_key *claim(struct cs_crypto *c, const struct cs_pubkey *key) {
    struct kept_key *set = c->kept[key->sha256[0] % KEPT_SETS], *oldest = set;
    for (size_t i = 1; i < MEMO_WAYS; i++) {
        bool better =
            (set[i].table == NULL) == (oldest->table == NULL) ? set[i].used < oldest->used : !set[i].table;
        if (better)
            oldest = &set[i];
    }
    release(c, oldest);
    oldest->held = true;
    memcpy(oldest->sha256, key->sha256, 32);
    return oldest;
}

// Issuers and senders come again, most leafs do not. So a key gets an entry at its second use; NULL
// before.
static struct kept_key *kept_of(struct cs_crypto *c, const struct cs_pubkey *key) {
    struct kept_key *k = find_kept(c, key);
    if (!k && seen_before(c, key))
        k = claim(c, key);
    if (k) {
        k->used = ++c->clock;
        k->uses++;
    }
    return k;
}

// For RSA and Ed25519: the key's own object, or a shared one that the next new key replaces. NULL
// where OpenSSL refuses the key.
static struct kept_key *kept_or_fresh(struct cs_crypto *c, const struct cs_pubkey *key) {
    struct kept_key *k = kept_of(c, key);
    if (!k) {
        release(c, &c->fresh);
        k = &c->fresh;
    }
    return k->pkey || crypto_equip(c, key, k) ? k : NULL;
}

static bool verify_pss(const struct kept_key *k, const EVP_MD *md, int salt_len, const uint8_t *digest,
                       size_t digest_len, struct cs_bytes sig) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, k->pkey, NULL);
    bool ok = ctx && EVP_PKEY_verify_init(ctx) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
              EVP_PKEY_CTX_set_signature_md(ctx, md) == 1 && EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
              EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, salt_len) == 1 &&
              EVP_PKEY_verify(ctx, sig.data, sig.len, digest, digest_len) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool verify_rsa(struct cs_crypto *c, const struct cs_pubkey *key, const struct sig_alg *alg,
                       const uint8_t *digest, struct cs_bytes sig) {
    // RFC 8017 section 8.2.2 step 1. Without a digest set, OpenSSL itself would take shorter ones.
    if (sig.len != key->n.len)
        return false;
    struct kept_key *k = kept_or_fresh(c, key);
    size_t digest_len = crypto_digest_len(alg->digest);
    if (!k)
        return false;
    if (alg->kind == SIG_RSA_PSS)
        return verify_pss(k, c->md[alg->digest], alg->salt_len, digest, digest_len, sig);
    uint8_t info[DIGEST_INFO_MAX];
    struct cs_bytes prefix = crypto_digest_info(alg->digest);
    memcpy(info, prefix.data, prefix.len);
    memcpy(info + prefix.len, digest, digest_len);
    return EVP_PKEY_verify(k->ctx, sig.data, sig.len, info, prefix.len + digest_len) == 1;
}

static bool verify_on_curve(struct cs_crypto *c, const struct cs_pubkey *key, const uint8_t *digest,
                            size_t digest_len, struct cs_bytes sig) {
    return c->verify_on_curve(c, key, kept_of(c, key), digest, digest_len, sig);
}

bool crypto_verify_digest(struct cs_crypto *c, const struct cs_pubkey *key, const struct sig_alg *alg,
                          const uint8_t *digest, struct cs_bytes sig) {
    bool ok = key->type == CS_KEY_RSA ? verify_rsa(c, key, alg, digest, sig)
                                      : verify_on_curve(c, key, digest, crypto_digest_len(alg->digest), sig);
    if (!ok)
        crypto_refused();
    return ok;
}

static bool verify_ed25519(struct cs_crypto *c, const struct cs_pubkey *key, struct cs_bytes tbs,
                           struct cs_bytes sig) {
    struct kept_key *k = kept_or_fresh(c, key);
    bool ok = k && EVP_MD_CTX_reset(c->verify) == 1 &&
              EVP_DigestVerifyInit_ex(c->verify, NULL, NULL, NULL, NULL, k->pkey, NULL) == 1 &&
              EVP_DigestVerify(c->verify, sig.data, sig.len, tbs.data, tbs.len) == 1;
    EVP_MD_CTX_reset(c->verify);
    if (!ok)
        crypto_refused();
    return ok;
}

static bool fits(enum cs_key_type type, enum sig_kind kind) {
    switch (kind) {
    case SIG_RSA_PKCS1:
    case SIG_RSA_PSS:
        return type == CS_KEY_RSA;
    case SIG_ECDSA:
        return type == CS_KEY_P256 || type == CS_KEY_P384 || type == CS_KEY_P521;
    case SIG_ED25519:
        return type == CS_KEY_ED25519;
    case SIG_SM2:
        return type == CS_KEY_SM2;
    case SIG_WEAK:
        break;
    }
    return false;
}

bool crypto_verify(struct cs_crypto *c, const struct cs_pubkey *key, const struct sig_alg *alg,
                   struct cs_bytes tbs, struct cs_bytes sig) {
    uint8_t digest[64];
    if (!fits(key->type, alg->kind))
        return false;
    if (alg->kind == SIG_ED25519)
        return verify_ed25519(c, key, tbs, sig);
    if (alg->kind == SIG_SM2)
        crypto_sm2_digest(c, key->point, &tbs, 1, digest);
    else
        crypto_digest(c, alg->digest, &tbs, 1, digest);
    return crypto_verify_digest(c, key, alg, digest, sig);
}

bool cs_event_verify(struct cs_crypto *c, const struct cs_pubkey *key, struct cs_bytes value,
                     struct cs_bytes sig) {
    if (key->type != CS_KEY_P256)
        return false;
    struct pae_event pae;
    uint8_t digest[32];
    pae_event(value, &pae);
    crypto_digest(c, DIGEST_SHA256, pae.parts, CS_ARRAY_LEN(pae.parts), digest);
    return crypto_verify_digest(c, key, &(struct sig_alg){.kind = SIG_ECDSA, .digest = DIGEST_SHA256}, digest,
                                sig);
}

bool cs_pop_verify(struct cs_crypto *c, const struct cs_pubkey *key, const struct cs_pop_fields *f,
                   struct cs_bytes pop) {
    struct pae_pop pae;
    struct sig_alg alg = crypto_alg_of(key->type);
    uint8_t digest[64];
    if (!fits(key->type, alg.kind))
        return false;
    pae_pop(c, f, &pae);
    if (alg.kind == SIG_ED25519) {
        CS_AUTO(cs_buf_clear) struct cs_buf b;
        pae_pop_message(&pae, &b);
        return !b.failed && verify_ed25519(c, key, cs_buf_bytes(&b), pop);
    }
    if (alg.kind == SIG_SM2)
        crypto_sm2_digest(c, key->point, pae.parts, CS_ARRAY_LEN(pae.parts), digest);
    else
        crypto_digest(c, alg.digest, pae.parts, CS_ARRAY_LEN(pae.parts), digest);
    return crypto_verify_digest(c, key, &alg, digest, pop);
}
