// SPDX-License-Identifier: Apache-2.0
//
// The inside of private keys. The PKCS#8 form is kept beside OpenSSL's object. A key of a curve has its
// public half there, also where it was read without.
#pragma once

#include "crypto/crypto_impl.h"

struct cs_privkey {
    enum cs_key_type type;
    EVP_PKEY *pkey;
    uint8_t *pkcs8; // secure memory: version, algorithm, key; no attributes
    size_t pkcs8_len;
    uint8_t *spki;
    size_t spki_len;
    // Of a key that stays in its store; else NULL, and pkcs8 is there.
    struct cs_privkey_store store;
    CRYPTO_RWLOCK *store_lock; // providers of hardware need not bear two threads
};

// The public half that the key's own file states. Borrowed, lives with k.
struct cs_bytes privkey_spki_bytes(const struct cs_privkey *k);

// PKCS#8, PKCS#1 or SEC1; the content tells which. curve: the AlgorithmIdentifier parameters (an
// OBJECT IDENTIFIER's content) for a SEC1 key that names no curve; may be empty. REJECT
// key.malformed, cert.weak_key.
CS_MUST_USE bool privkey_read(struct cs_bytes der, struct cs_bytes curve, struct cs_privkey **ret,
                              struct cs_err *err);

// What is sealed, in secure memory: PKCS#8; of a key of a curve without its public half, which follows from
// the rest.
CS_MUST_USE bool privkey_to_sealed(const struct cs_privkey *k, uint8_t **ret, size_t *ret_len,
                                   struct cs_err *err);

// Signs the parts with crypto_alg_of(type). False if OpenSSL refuses (the key file's numbers do not
// belong together), or if sig_max is too small.
CS_MUST_USE bool privkey_sign(struct cs_crypto *c, const struct cs_privkey *k, const struct cs_bytes *parts,
                              size_t n, uint8_t *sig, size_t sig_max, size_t *ret_len);

// base64 in lines of 64 with BEGIN and END into out, which needs pem_size bytes; returns the
// length, NUL-terminated.
size_t pem_size(const char *label, size_t der_len);
size_t pem_write(const char *label, struct cs_bytes der, char *out);
