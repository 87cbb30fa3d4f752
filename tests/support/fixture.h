// SPDX-License-Identifier: Apache-2.0
//
// A whole deployment in memory, for tests of what is judged: keys, certificates, signed records, and for each
// partition a catalog that cs_prepare and cs_decide work on. No Kafka, no Redis, no clock. Anything that
// should not fail asserts (cmocka).
//
// fx_new makes keys and empty partitions, fx_begin gives each its genesis and the trusted keys. Events are
// sent with fx_send; what they emit waits in a queue until fx_deliver_all (or fx_deliver_next) brings it to
// its partition. Time stands still unless a test moves now_ms.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/outcome.h"
#include "certsync/model/rules.h"
#include "certsync/model/seal.h"
#include "certsync/model/sign.h"

#include <openssl/evp.h>

#define FX_DEPLOYMENT "test.example"
#define FX_NONCE      "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
#define FX_LOG        FX_DEPLOYMENT "_0a1b2c3d"
#define FX_NOW_MS     INT64_C(1795435200000) // 2026-11-23T12:00:00Z
#define FX_DAY        86400

// A sender: agent, admin, root...; seq is the last number used.
struct fx_key {
    struct cs_privkey *priv;
    struct cs_pubkey *pub;
    cs_kid kid;
    int64_t seq;
};

// A certificate with its chain (leaf first) and the leaf's private key.
struct fx_cert {
    EVP_PKEY *key;
    struct cs_privkey *priv;
    struct cs_bytes chain[12];
    size_t chain_len;
    struct cs_cert *leaf; // parsed
};

// What a certificate is to be like; zero: an ordinary P-256 leaf of fx->ca, valid from a day ago for 90 days.
struct fx_cert_how {
    const char *type;  // "P-256" (default), another curve, "SM2", "ED25519", "explicit" (P-256 spelled out)
    const char *cn;    // NULL: "www.example.com"; "": none
    const char *dns;   // NULL: as cn; "": none; may go on with ",IP:…"; or "URI:…"
    int64_t begins_s;  // after now; 0: a day ago
    int64_t lasts_s;   // 0: 90 days
    bool alone;        // the leaf only: an incomplete chain
    bool intermediate; // under an intermediate CA: a chain of three
    bool v1;           // version 1, without extensions
    bool ca;           // a CA certificate
    bool sha1;
    const char *usage;              // key usage by OpenSSL's names; NULL: none
    size_t uri_len;                 // one more name: a URI as long as this
    const struct fx_cert *same_key; // the key of that certificate
};

struct fx_record {
    struct cs_header headers[4];
    struct cs_record r;
};

struct fx_partition {
    struct cs_state *state;
    int64_t offset;
    int64_t derived;
    int64_t outcomes;
    uint8_t chain_sha256[32];
};

struct fx_queued {
    cs_account_id account;
    struct cs_event *event;
};

struct fx {
    struct cs_crypto *crypto;
    struct cs_region memory; // of what is prepared
    int32_t partitions;
    int64_t now_ms;
    struct fx_partition *partition;
    struct fx_key *root, *admin, *issuer, *service;
    struct cs_privkey *custodian; // X25519
    uint8_t *custodian_spki;
    size_t custodian_spki_len;
    cs_kid custodian_kid;
    EVP_PKEY *ca_key, *sm2_ca_key;
    struct cs_bytes ca, sm2_ca; // DER, self-signed
    bool tell_keys;             // whether preparation knows senders' keys (a cache); else decisions verify
    bool apart;                 // what is prepared has memory of its own, not of the batch
    const struct cs_rulebook *book; // NULL: the release's
    struct cs_decision last;
    uint64_t ids; // counter of fx_uuid
    struct fx_queued *queue;
    size_t queue_len, queue_at, queue_cap;
    struct fx_key *keys[512];
    size_t keys_len;
    struct fx_cert *certs[512];
    size_t certs_len;
    void **kept;
    size_t kept_len, kept_cap;
    // Called with each record that is sent, its prepared form and what was decided.
    void (*on_decided)(struct fx *fx, int32_t partition, const struct cs_record *r,
                       const struct cs_bytes *outcome);
    void *arg;
};

struct fx *fx_new(int32_t partitions);
void fx_begin(struct fx *fx);
void fx_free(struct fx *fx);
// Lives until fx_free.
void *fx_alloc(struct fx *fx, size_t size);
const char *fx_uuid(struct fx *fx);
const char *fx_text(struct fx *fx, const char *fmt, ...) CS_PRINTF(2, 3);
int64_t fx_now_s(const struct fx *fx);

struct fx_key *fx_key_new(struct fx *fx);
struct fx_cert *fx_cert(struct fx *fx, struct fx_cert_how how);
// A CA certificate of its own that has nothing to do with fx->ca; same_name: but its name.
struct cs_bytes fx_other_ca(struct fx *fx, bool same_name);
struct fx_cert *fx_cert_key_only(struct fx *fx, const char *type);

// An event with the envelope filled: id, source, subject (NULL: a new id), time and the key's next number.
struct cs_event fx_event(struct fx *fx, enum cs_event_type type, const char *account, struct fx_key *by,
                         const char *subject);
// Signs as the event's data stands; the record lies in its account's partition (or in the one given).
struct fx_record *fx_record(struct fx *fx, struct fx_key *by, const struct cs_event *ev);
struct fx_record *fx_record_of(struct fx *fx, struct fx_key *by, const char *account, struct cs_bytes value);
// Judges a record. The verdict stays until the next one.
const struct cs_verdict *fx_judge(struct fx *fx, int32_t partition, struct fx_record *record);
const struct cs_verdict *fx_send(struct fx *fx, struct fx_key *by, const struct cs_event *ev);
int32_t fx_partition_of(const struct fx *fx, const char *account);
struct cs_rule_context fx_context(struct fx *fx, int32_t partition);
struct cs_prepared *fx_prepare(struct fx *fx, const struct cs_record *r);

// Derived events: how many wait; the next one to its partition (asserts that there is one); all, with what
// they emit.
size_t fx_waiting(const struct fx *fx);
const struct cs_event *fx_peek(const struct fx *fx);
const struct cs_verdict *fx_deliver_next(struct fx *fx);
void fx_deliver_all(struct fx *fx);

// ---- whole events, sent

void fx_account(struct fx *fx, const char *account, const char *owner, enum cs_site site, bool verified);
struct fx_key *fx_agent(struct fx *fx, const char *account, unsigned can, const char *names);
struct cs_event fx_enroll(struct fx *fx, const char *account, struct fx_key *by, const struct fx_key *whom,
                          unsigned can, const char *names);
// Fills chain, sealed key and pop.
struct cs_event fx_upload(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                          const char *name, const struct fx_cert *cert);
struct cs_event fx_upload_sm2(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                              const char *name, const struct fx_cert *sign, const struct fx_cert *encrypt);
struct cs_event fx_issue(struct fx *fx, const char *account, const char *id, const char *name,
                         const struct fx_cert *cert);
// Again after id, subject or the chain were changed.
void fx_fill_part(struct fx *fx, struct cs_event *ev, size_t part, const struct fx_cert *cert,
                  enum cs_key_role role);
void fx_fill_csr(struct fx *fx, struct cs_event *ev, const char *name, const struct fx_cert *key);
struct cs_event fx_csr(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                       const char *name, const struct fx_cert *key);
// With this request; it need not live longer than the call.
struct cs_event fx_csr_of(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                          const char *name, const struct fx_cert *key, struct cs_bytes csr);
// An official certificate that was issued; its id.
const char *fx_official(struct fx *fx, const char *account, const char *name);
const struct cs_verdict *fx_share(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                                  const char *to);
const struct cs_verdict *fx_unshare(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                                    const char *to);

// ---- looking

void fx_assert_verdict_(const struct cs_verdict *v, enum cs_status status, enum cs_code code,
                        const char *file, int line);
#define assert_verdict(v, status, code)                                                                      \
    fx_assert_verdict_((v), CS_STATUS_##status, CS_CODE_##code, __FILE__, __LINE__)
#define assert_applied(v)        assert_verdict(v, APPLIED, NONE)
#define assert_rejected(v, code) assert_verdict(v, REJECTED, code)
// The document under a key of an account; {NULL, 0} where there is none.
struct cs_bytes fx_doc(struct fx *fx, const char *account, const char *key);
bool fx_in_index(struct fx *fx, const char *account, const char *key, const char *member, int64_t *ret_score);
// Everything that a state holds, as text.
void fx_dump(const struct cs_state *s, struct cs_buf *out);
// Asserts that indexes, counts and both ends of shares agree, everywhere. quiet: no derived event waits.
void fx_check_invariants(struct fx *fx);

// What apply does with a decision: outcome documents and the outcome chain; the outcome's bytes go to out.
void fx_apply(struct fx_partition *p, struct cs_crypto *crypto, int32_t partition, const struct cs_record *r,
              const struct cs_prepared *prepared, const struct cs_decision *d, struct cs_buf *out);
