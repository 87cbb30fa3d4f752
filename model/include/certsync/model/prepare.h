// SPDX-License-Identifier: Apache-2.0
//
// The costly, pure half of judging a record: everything that depends only on its bytes (and the
// log's id). It reads no catalog. So a worker does it while it waits for something else.
// The memos of cs_crypto make a second time cheap.
//
// Signature first: certificates, requests and keys in a record are examined only after its
// signature was found good. If the key is at hand (cs_key_lookup), that happens here. If not, the
// rules do both, when the catalog says whose key it is. A record of an unknown signer costs its
// hash, its JSON, and a look-up. A wrong signature also costs its arithmetic.
#pragma once

#include "certsync/model/cert.h"
#include "certsync/model/codes.h"
#include "certsync/model/csr.h"
#include "certsync/model/event.h"
#include "certsync/model/sign.h"

// A record of cert.events as Kafka gives it. Views, valid as long as the message.
struct cs_header {
    const char *name;
    struct cs_bytes value; // data NULL: a null header
};
struct cs_record {
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms;  // the broker's (LogAppendTime)
    struct cs_bytes key;   // data NULL: no key
    struct cs_bytes value; // data NULL: a tombstone
    size_t headers_len;
    const struct cs_header *headers;
};

// SHA-256 over the timestamp (8 bytes big-endian), the key, the count of headers, each header's
// name and value in order, and the value. Before each of key, name and value stands its length as 8
// bytes big-endian (2^64-1 for null).
void cs_record_sha256(struct cs_crypto *c, const struct cs_record *r, uint8_t ret[32]);

// The signature in a record's header (sign.h). False: there is none, or not exactly one.
CS_MUST_USE bool cs_record_signature(const struct cs_record *r, uint8_t ret[CS_EVENT_SIG_MAX],
                                     size_t *ret_len);
// Whether its header says what an event's says.
bool cs_record_is_cloudevent(const struct cs_record *r);

// Finds the public key of a kid in a cache. The kid is a hash of the key, so no catalog is needed.
// May answer NULL: then the signature is verified when the record is decided.
// Content is examined then, too.
typedef const struct cs_pubkey *(*cs_key_lookup)(void *arg, const char *account, const char *kid);

struct cs_prepared {
    uint8_t record_sha256[32];
    int64_t ruleset; // under which it was read; once it is decided: the one in force
    // Set where the bytes alone decide: event.too_large, event.unsigned, event.malformed,
    // event.unknown_type, event.deployment, event.incarnation, event.misrouted. event is NULL for the first four.
    enum cs_code code;
    char detail[CS_DETAIL_MAX + 1]; // event.malformed: the member at fault
    // its base64 texts are views into value; of certificate.upload and .issue only they are left
    struct cs_event *event;
    // view of the record's value; data NULL where that is no event under any ruleset
    struct cs_bytes value;
    uint8_t sig[128];
    size_t sig_len;
    // The signature, where the lookup or the catalog knew the key: checked with this key (its
    // SPKI), and the answer.
    bool sig_checked;
    bool sig_good;
    struct cs_spki sig_spki;
    // certificate.upload, certificate.issue: the first rule that the certificates break by
    // themselves, or CS_CODE_NONE. These are all rules of cert.h but the dates (the rules check
    // them, with the record's time), sm2.*, chain.*, key.malformed, key.missing, key.many,
    // key.mismatch. csr.add: csr.malformed, csr.bad_signature, cert.weak_key, key.*. agent.enroll,
    // agent.rotate, trust.add: event.malformed if the key is not of the kind that the role needs,
    // or not the subject's. All of it is known after the content was examined.
    bool examined;
    enum cs_code content_code;
    size_t leaves_len;
    struct cs_cert *leaf[2]; // owned
    // SHA-256 of what follows each leaf in its chain
    uint8_t issuer_sha256[2][CS_CHAIN_MAX - 1][32];
    uint8_t issuer_spki_sha256[2][CS_CHAIN_MAX - 1][32]; // of their public keys
    struct cs_chain_facts chain;                         // of both chains of a pair
    struct cs_csr *csr;                                  // owned
    // of the sealed key(s): that it is trusted is a rule; "" where there is none
    cs_kid custodian;
    struct cs_region *region; // internal: it lies there
};

// ruleset: the one in force, as far as the caller knows (1 to CS_RULESET_LATEST). If another one is
// in force, cs_decide prepares the record again; that costs time and changes no verdict. No record
// makes it fail: false only means FATAL (out of memory). With a region, most of the result is in
// it. It is freed all the same, before the region is reset.
CS_MUST_USE bool cs_prepare(struct cs_crypto *c, const char *log_id, int32_t partition_count, int64_t ruleset,
                            const struct cs_record *r, cs_key_lookup lookup, void *lookup_arg,
                            struct cs_region *region, struct cs_prepared **ret, struct cs_err *err);
void cs_prepared_free(struct cs_prepared *p);
CS_DEFINE_AUTO(struct cs_prepared, cs_prepared_free)
