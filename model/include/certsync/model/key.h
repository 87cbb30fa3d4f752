// SPDX-License-Identifier: Apache-2.0
//
// Public and private keys, and the per-thread context that everything using OpenSSL takes.
//
// Accepted public keys: RSA of 2048 to 8192 bits (e odd, 3 .. 2^32-1... minimal positive INTEGERs),
// P-256, P-384, P-521 and SM2 on a named curve with an uncompressed point of the exact length
// (never infinity), Ed25519 (not of small order), X25519 (custodian keys only). They are built from
// the SubjectPublicKeyInfo bytes without OpenSSL's decoders (RFC 5280 section 4.1.2.7, RFC 5480,
// RFC 8410, GB/T 32918).
#pragma once

#include "certsync/base/err.h"
#include "certsync/model/ident.h"

#define CS_SERIAL_TEXT_SIZE 42 // a certificate's serial number as text: sign, 20 bytes in hex, NUL

enum cs_key_type {
    CS_KEY_RSA = 1,
    CS_KEY_P256,
    CS_KEY_P384,
    CS_KEY_P521,
    CS_KEY_ED25519,
    CS_KEY_SM2,
    CS_KEY_X25519,
};
// "RSA", "P-256", ..., as shown to people and stored
const char *cs_key_type_name(enum cs_key_type t);
bool cs_key_type_parse(const char *s, size_t len, enum cs_key_type *ret);

// Algorithms fetched once, kept key and digest contexts, bounded memos of pure results (issuer keys
// by DER hash, link signatures by hash of (issuer key, certificate)). One for each thread; not
// thread-safe.
struct cs_crypto;
CS_MUST_USE bool cs_crypto_new(struct cs_crypto **ret, struct cs_err *err);
void cs_crypto_free(struct cs_crypto *c);
// Measures once which way of verifying is the fastest here, for some curves; it takes about 20 ms.
// Without it that is guessed. No answer depends on it. now_ns: nanoseconds, only differences count;
// best is the thread's own processor time.
void cs_crypto_tune(struct cs_crypto *c, int64_t (*now_ns)(void));
CS_DEFINE_AUTO(struct cs_crypto, cs_crypto_free)
void cs_crypto_sha256(struct cs_crypto *c, struct cs_bytes data, uint8_t ret[32]);
// SHA-256 over several parts, one after the other.
void cs_crypto_sha256_parts(struct cs_crypto *c, const struct cs_bytes *parts, size_t n, uint8_t ret[32]);
// SHA-256 of bytes that come piece by piece. The crypto must outlive it.
struct cs_hasher;
CS_MUST_USE bool cs_hasher_new(struct cs_crypto *c, struct cs_hasher **ret, struct cs_err *err);
void cs_hasher_free(struct cs_hasher *h);
CS_DEFINE_AUTO(struct cs_hasher, cs_hasher_free)
void cs_hasher_put(struct cs_hasher *h, struct cs_bytes piece);
void cs_hasher_end(struct cs_hasher *h, uint8_t ret[32]); // once, after the last piece

// The kid of a key: hex of the first 16 bytes of SHA-256 of its SubjectPublicKeyInfo DER.
void cs_kid_of_spki(struct cs_crypto *c, struct cs_bytes spki, cs_kid ret);

// A public key: owns a copy of its SPKI and the OpenSSL key.
struct cs_pubkey;
// REJECT codes: cert.weak_key, cert.explicit_curve, cert.malformed (the structure itself).
CS_MUST_USE bool cs_pubkey_new(struct cs_crypto *c, struct cs_bytes spki, struct cs_pubkey **ret,
                               struct cs_err *err);
void cs_pubkey_free(struct cs_pubkey *k);
CS_DEFINE_AUTO(struct cs_pubkey, cs_pubkey_free)
enum cs_key_type cs_pubkey_type(const struct cs_pubkey *k);
int cs_pubkey_bits(const struct cs_pubkey *k);
struct cs_bytes cs_pubkey_spki(const struct cs_pubkey *k); // borrowed, lives with k
void cs_pubkey_kid(const struct cs_pubkey *k, cs_kid ret); // cs_kid_of_spki of its SPKI

// A private key. Its bytes are in OpenSSL's secure heap if there is one (cs_secure_heap_init).
struct cs_privkey;
void cs_privkey_free(struct cs_privkey *k); // cleanses
CS_DEFINE_AUTO(struct cs_privkey, cs_privkey_free)
// P-256 (agents, admins, roots, services) or X25519 (custodians), RSA (bits) or the curve for
// certificates' own keys.
CS_MUST_USE bool cs_privkey_generate(enum cs_key_type type, int rsa_bits, struct cs_privkey **ret,
                                     struct cs_err *err);
// From PKCS#8 DER (PrivateKeyInfo, RFC 5958), which a sealed key holds. REJECT key.malformed,
// cert.weak_key. It does not check that the numbers belong together (sign.h does).
CS_MUST_USE bool cs_privkey_from_pkcs8(struct cs_bytes der, struct cs_privkey **ret, struct cs_err *err);
// PKCS#8 DER into *ret (secure memory, released by cs_secure_free).
CS_MUST_USE bool cs_privkey_to_pkcs8(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len,
                                     struct cs_err *err);
void cs_secure_free(uint8_t *p, size_t len);
// PEM text "PRIVATE KEY" (PKCS#8) for key files; the caller writes it with mode 0600 and calls
// cs_secure_free.
CS_MUST_USE bool cs_privkey_to_pem(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len,
                                   struct cs_err *err);
// SubjectPublicKeyInfo DER; malloc'ed, the caller frees.
CS_MUST_USE bool cs_privkey_spki(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len,
                                 struct cs_err *err);
// The kid of its public half.
void cs_privkey_kid(struct cs_crypto *c, const struct cs_privkey *k, cs_kid ret);
// A P-256 key that stays in its store (a PKCS#11 token, a TPM). pkey is OpenSSL's object, which
// signs there; with it comes the library context of its provider. It takes pkey, also on failure.
// When pkey is gone, cs_privkey_free calls release(arg) to free the context and its providers; this
// is not done on failure. CONFIG for another kind of key.
struct evp_pkey_st;
struct ossl_lib_ctx_st;
struct cs_privkey_store {
    struct ossl_lib_ctx_st *ctx;
    void (*release)(void *arg);
    void *arg;
};
CS_MUST_USE bool cs_privkey_adopt(struct evp_pkey_st *pkey, const struct cs_privkey_store *store,
                                  struct cs_privkey **ret, struct cs_err *err);
enum cs_key_type cs_privkey_type(const struct cs_privkey *k);
// "PUBLIC KEY" PEM text of an SPKI; malloc'ed, the caller frees.
CS_MUST_USE bool cs_spki_to_pem(struct cs_bytes spki, char **ret, struct cs_err *err);

// OpenSSL's secure heap of 1 MiB. Call it once at program start, before threads. False if it cannot
// be had (mlock limits): the program then uses ordinary memory, which is wiped.
bool cs_secure_heap_init(void);
