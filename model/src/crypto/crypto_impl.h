// SPDX-License-Identifier: Apache-2.0
//
// What the OpenSSL modules share: the inside of cs_crypto and of public keys, and verification of
// bare signatures.
//
// Nothing here decides by what OpenSSL's decoders accept: structures are read by der.h, and OpenSSL
// gets numbers and points.
#pragma once

#include "certsync/base/region.h"
#include "crypto/pubkey.h"
#include "der.h"

#include <openssl/evp.h>

enum crypto_digest { DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512, DIGEST_SM3, DIGEST_COUNT };

// A signature over bytes, as an AlgorithmIdentifier names it.
enum sig_kind {
    SIG_RSA_PKCS1,
    SIG_RSA_PSS, // MGF1 with the same digest
    SIG_ECDSA,
    SIG_ED25519, // digest unused
    SIG_SM2,     // SM3, default distinguishing id
    SIG_WEAK,    // MD5, SHA-1 and whatever else is not accepted
};
struct sig_alg {
    enum sig_kind kind;
    enum crypto_digest digest;
    int salt_len;    // PSS
    const char *why; // of SIG_WEAK, for people
};

struct cs_cert;

// Memo of CA certificates by their DER's hash, and of link signatures. See memo.c.
#define MEMO_WAYS      4
#define MEMO_CERT_SETS 64
#define MEMO_LINK_SETS 2048
struct memo_link {
    uint8_t key[64]; // SHA-256 of the issuer's SPKI, SHA-256 of the certificate
    uint8_t state;   // 0 empty, 1 bad, 2 good
};

// A key that came again, with what helps to verify with it once more.
#define KEPT_SETS 128
struct kept_key {
    bool held;
    uint8_t sha256[32];
    EVP_PKEY *pkey;    // RSA, Ed25519; of a curve only from CONTEXT_WORTH uses on
    EVP_PKEY_CTX *ctx; // of pkey; none for Ed25519, which signs messages and not digests
    uint64_t used;     // when, by the context's clock
    unsigned uses;
    struct ec_table *table; // of a key with so many uses that one pays (ectable.h), else NULL
};
#define CONTEXT_WORTH 16
#define TABLES_MAX    64 // about 150 KiB each

// The fastest way to verify on a curve. It depends on OpenSSL's release, its options and the
// processor.
struct ec_pace {
    unsigned table_worth; // how many uses of a key pay for its table; 0: never
    bool plain;           // keys without a table are verified sooner here than by EVP, too
};
// Each curve has one key object, which takes one point after the other.
#define CURVE_COUNT 4
struct curve_slot {
    EVP_PKEY *pkey;
    EVP_PKEY_CTX *ctx;
    uint8_t sha256[32]; // of the SPKI whose point it holds
    bool holds;         // false after a failure: OpenSSL then still holds the point before
    bool ready;         // ctx was initialised for this point
    struct ec_pace pace;
};

// Whether sig is the key's over the digest; the key is on a curve. k: the key's entry; NULL at its
// first use.
typedef bool curve_verify_fn(struct cs_crypto *c, const struct cs_pubkey *key, struct kept_key *k,
                             const uint8_t *digest, size_t digest_len, struct cs_bytes sig);
// Twins, each in its file.
curve_verify_fn curve_verify_plain, curve_verify_tables;

struct cs_crypto {
    EVP_MD *md[DIGEST_COUNT];
    EVP_MD_CTX *hash;   // for digests
    EVP_MD_CTX *verify; // for Ed25519
    EVP_PKEY_CTX *rsa_fromdata;
    struct curve_slot curve[CURVE_COUNT];
    struct kept_key fresh; // the last RSA or Ed25519 key that was seen for the first time
    struct kept_key kept[KEPT_SETS][MEMO_WAYS];
    uint64_t clock;
    struct ec_work *work[CURVE_COUNT];
    unsigned tables;
    uint32_t seen[4096]; // tags of keys seen once: a key is kept from its second time on
    struct cs_cert *cert[MEMO_CERT_SETS][MEMO_WAYS];
    void (*cert_forget)(struct cs_crypto *c); // NULL: no certificate was put into cert
    uint8_t cert_next[MEMO_CERT_SETS];
    uint8_t link_next[MEMO_LINK_SETS];
    struct memo_link (*link)[MEMO_WAYS]; // MEMO_LINK_SETS of them
    curve_verify_fn *verify_on_curve;    // curve_verify_tables; curve_verify_plain for tests and measurements
    struct cs_region scratch;            // of the record that is being prepared
    bool memo_off;                       // for measurements
};

size_t crypto_digest_len(enum crypto_digest d);
void crypto_digest(struct cs_crypto *c, enum crypto_digest d, const struct cs_bytes *parts, size_t n,
                   uint8_t *ret);

// Fills err with FATAL, the context and OpenSSL's whole error queue, which is empty afterwards.
// Returns false.
bool crypto_fail(struct cs_err *err, const char *what);
// Empties the queue after a call whose failure is an answer. If memory ran out, that is no answer:
// it ends the process, since a verdict must be a function of the record.
void crypto_refused(void);

struct curve_slot *crypto_slot_of(struct cs_crypto *c, enum cs_key_type type); // NULL where it is no curve's
// Gives the entry a key object and a context of its own; leaves it without on failure.
bool crypto_equip(struct cs_crypto *c, const struct cs_pubkey *key, struct kept_key *k);
void curve_drop_table(struct cs_crypto *c, struct kept_key *k); // where it has one
// Puts the key's point into its curve's slot; false where it is not on the curve.
bool crypto_load_point(struct cs_crypto *c, const struct cs_pubkey *key);
// Whether sig is key's signature over tbs. False where the algorithm is not one of the key's type.
bool crypto_verify(struct cs_crypto *c, const struct cs_pubkey *key, const struct sig_alg *alg,
                   struct cs_bytes tbs, struct cs_bytes sig);
// The same over a digest that exists already. Not for Ed25519, nor for SM2: see crypto_sm2_digest.
bool crypto_verify_digest(struct cs_crypto *c, const struct cs_pubkey *key, const struct sig_alg *alg,
                          const uint8_t *digest, struct cs_bytes sig);
// GB/T 32918.2 section 6.1: SM3(Z || message), Z from the default id and the public point (65
// bytes).
void crypto_sm2_digest(struct cs_crypto *c, struct cs_bytes point, const struct cs_bytes *parts, size_t n,
                       uint8_t ret[32]);
// The digest over the empty id. Only OpenSSL has this default. It is used only to name the mistake.
bool crypto_sm2_empty_id(struct cs_crypto *c, const struct cs_pubkey *key, struct cs_bytes message,
                         struct cs_bytes sig);
// The algorithm that we choose for signing with a key of this type (proof of possession, requests).
struct sig_alg crypto_alg_of(enum cs_key_type type);
// PKCS#1 v1.5's DigestInfo prefix (RFC 8017 section 9.2 note 1).
struct cs_bytes crypto_digest_info(enum crypto_digest d);
#define DIGEST_INFO_MAX (19 + 64)

// Reads an AlgorithmIdentifier of a signature; false where it is not well-formed. Unknown ones are
// SIG_WEAK.
CS_MUST_USE bool sig_alg_parse(struct cs_bytes algorithm, struct sig_alg *ret);
// The AlgorithmIdentifier's DER of what crypto_alg_of says.
struct cs_bytes sig_alg_der(enum cs_key_type type);

// OpenSSL's algorithm and group names of an EC type; false for others.
bool crypto_curve_names(enum cs_key_type type, const char **ret_algorithm, const char **ret_group);

// Releases every key that is held.
void crypto_forget_keys(struct cs_crypto *c);

// Memos. memo_cert_get gives a reference of its own.
struct cs_cert *memo_cert_get(struct cs_crypto *c, const uint8_t sha256[32]);
void memo_cert_put(struct cs_crypto *c, struct cs_cert *cert);
struct cs_cert *cert_ref(struct cs_cert *cert);
