// SPDX-License-Identifier: Apache-2.0
//
// Makes events from what a host has (PEM texts, key files, options), with every check that the host
// can do before it sends anything. It parses all certificates, puts them in order, and compares
// them with the clock. Each private key proves by a signature that it fits its certificate. Then
// the key is sealed to the custodian, and wiped.
//
// A refusal is a REJECT error with the rule's code and a message that names the file. Other errors
// are CONFIG or FATAL.
#pragma once

#include "certsync/model/cert.h"
#include "certsync/model/csr.h"
#include "certsync/model/event.h"
#include "certsync/model/seal.h"

// What every event needs; borrowed for the call.
struct cs_compose {
    struct cs_crypto *crypto;
    const char *log_id;
    const char *account;       // "" for system.* and trust.*
    const char *kid;           // of the key that will sign
    struct cs_bytes custodian; // SPKI (X25519); only for what seals a key
    int64_t now_ms;
};

// An event and all that it points to. The spool gives it its number.
struct cs_composed {
    struct cs_event event;
    // CS_NOTE bits: what clients will say of it (chain.incomplete: the account's limits say what
    // follows)
    uint32_t notes;
    // the earliest end of the leaves and the CA certificates above them
    int64_t ends_s;
    size_t leaves_len;         // certificates uploaded or issued
    struct cs_cert *leaves[2]; // borrowed from chains
    struct {
        struct cs_cert **certs;
        size_t n;
    } chains[2];
    struct cs_csr *csr;
    uint8_t *owned[6]; // sealed keys, proofs, SPKIs
    size_t owned_len;
};
void cs_composed_free(struct cs_composed *c);
CS_DEFINE_AUTO(struct cs_composed, cs_composed_free)

// An event with its envelope filled in and no data yet. subject NULL: a new UUID.
CS_MUST_USE bool cs_compose_event(const struct cs_compose *c, enum cs_event_type type, const char *subject,
                                  struct cs_composed **ret, struct cs_err *err);
CS_MUST_USE bool cs_compose_uuid(int64_t now_ms, cs_uuid ret, struct cs_err *err);

// A text with its origin. bytes.data NULL: not given.
struct cs_source_text {
    const char *label;
    struct cs_bytes bytes;
};
// One certificate with its key. cert may hold the chain too, or the key as well.
struct cs_keyed_source {
    struct cs_source_text cert;
    struct cs_source_text chain; // optional
    struct cs_source_text key;
    bool csr; // match an existing CSR: no key
};
struct cs_upload_source {
    enum cs_event_type type; // CERTIFICATE_UPLOAD or CERTIFICATE_ISSUE
    enum cs_source source;
    const char *name;
    enum cs_algorithm algorithm;
    bool replace;
    bool force;
    bool strict; // a note refuses it here
    const char *const *tags;
    size_t tags_len;
    const char *place; // NULL: not told
    size_t parts;      // 1: international; 2: sm2, [0] signing, [1] encryption
    struct cs_keyed_source part[2];
};
// Where a file is, as it is told: its path, or what hides it. A path that is no place (cs_place_valid) is
// always hidden.
void cs_compose_place(struct cs_crypto *c, const char *account, const char *path, bool hidden, cs_place ret);
CS_MUST_USE bool cs_compose_upload(const struct cs_compose *c, const struct cs_upload_source *src,
                                   struct cs_composed **ret, struct cs_err *err);

// certificate.update of certificate id. What is NULL, tags without has_tags, and parts 0 stay as they are.
struct cs_update_source {
    const char *name;
    const char *contact;
    const char *note;
    bool has_tags;
    const char *const *tags;
    size_t tags_len;
    // of each chain: cert is the leaf that the catalog holds, chain what belongs to it
    size_t parts;
    struct cs_keyed_source part[2];
};
CS_MUST_USE bool cs_compose_update(const struct cs_compose *c, const char *id,
                                   const struct cs_update_source *src, struct cs_composed **ret,
                                   struct cs_err *err);

// Whether the private key belongs to a certificate of the source. REJECT key.mismatch, or why one
// cannot be read.
CS_MUST_USE bool cs_compose_key_fits(struct cs_crypto *crypto, const struct cs_keyed_source *src,
                                     struct cs_err *err);

// csr.add of a request and its private key.
CS_MUST_USE bool cs_compose_csr(const struct cs_compose *c, const char *name,
                                const struct cs_source_text *csr, const struct cs_source_text *key,
                                struct cs_composed **ret, struct cs_err *err);
// The same with both in memory. Takes csr, also on failure.
CS_MUST_USE bool cs_compose_csr_key(const struct cs_compose *c, const char *name, struct cs_csr *csr,
                                    const struct cs_privkey *key, struct cs_composed **ret,
                                    struct cs_err *err);

// trust.add, agent.enroll: puts a public key; its kid becomes the subject.
CS_MUST_USE bool cs_compose_public_key(const struct cs_compose *c, enum cs_event_type type,
                                       const struct cs_source_text *key, struct cs_composed **ret,
                                       struct cs_err *err);
