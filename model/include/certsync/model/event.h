// SPDX-License-Identifier: Apache-2.0
//
// Events: what a record of cert.events says. It is a CloudEvents 1.0 JSON object in structured mode
// (CloudEvents spec 1.0.2, JSON event format). It is decoded strictly, once, at the edge: at most
// CS_EVENT_MAX bytes, UTF-8, no duplicate and no unknown members, integers only (|n| < 2^53), depth
// at most CS_EVENT_DEPTH, required members present, forms as in ident.h.
//
// A decoded event owns all that it points to; one cs_event_free frees it. An event made by hand is
// calloc'ed with storage NULL. It borrows its cs_encoded, and owns the certificate of a
// share.offer. Members in the order below; "?" marks optional ones.
//
// envelope   specversion "1.0", type, id, source, subject, time, sequence,
//            datacontenttype "application/json", data
// sequence   rises with each event of a key; cs_sequence_format (ident.h)
// source     //<log id>/keys/<kid>
//                system.*, trust.*
//            //<log id>/accounts/<account>/keys/<kid>
//                all others: the account that the event is about, and who signed.
//                share.offer, share.withdraw: the recipient; share.answer: the owner's
// subject    system.*                                 the deployment
//            trust.*, agent.*                         a kid (agent.rotate: of the new key)
//            account.*                                the account
//            certificate.*, share.*                   the certificate's id, a UUID
//            csr.*                                    the request's id, a UUID
//
// data of    system.genesis       deployment, nonce, partitions, ruleset
//            system.ruleset       ruleset
//            trust.add            role, key (SPKI), label?
//            trust.remove         role
//            account.register     site, owner, verified,
//                                 limits? {certificates?, shares?, requests?, keys?, tokens?,
//                                          shares_out?, shares_in?, tags?, bytes?,
//                                          incomplete_chain? "note"|"reject"}
//                                 policy? {keys? [..], days?, issuers? [..], dns? [..],
//                                          wildcards? "allow"|"reject"}   (at least one; policy.h)
//            account.update       site?, owner?, verified?, limits?, policy?   (at least one). A member
//                                 of the policy replaces what was demanded; [] and 0 demand nothing
//            agent.enroll         key (SPKI), can [..], names, dns? [..], label?, uses?,
//                                 expires? (time), grant? {can, names, dns? [..]}
//                                 uses and expires only with the right enroll; grant with it always
//                                 and only
//            agent.revoke         reason?
//            agent.rotate         key (SPKI)
//            certificate.upload   name, algorithm, replace?, force?, tags?, place? (where the sender has
//                                 it), then
//                                 international: chain, key, pop    or: chain, csr true
//                                 sm2: sign {chain, key, pop}, encrypt {chain, key, pop}
//            certificate.issue    source "official"|"test", then as upload, without place
//            certificate.update   name?, tags?, contact?, note?   (at least one of all), then
//                                 international: chain?    or sm2: sign? {chain}, encrypt? {chain}
//                                 no tags, no text: there are none from now on
//            certificate.delete   cascade?, from? (removes what the account `from` shared in)
//            certificate.seen     place, sha256 (of the (signing) leaf that the host has there)
//            certificate.gone     place, delete? (the certificate, too, where no host has it then)
//            certificate.share    to
//            certificate.unshare  to
//            csr.add              name, csr (DER), key, pop
//            csr.delete           (empty)
//            share.offer          share, owner_account, owner, site, version, origin,
//                                 certificate {…} (entry.h, cs_cert_summary)
//            share.withdraw       share, owner_account, origin, code
//            share.answer         share, recipient, version, answer "accepted"|"refused"|"removed",
//                                 code, origin
#pragma once

#include "certsync/base/region.h"
#include "certsync/model/codes.h"
#include "certsync/model/entry.h"
#include "certsync/model/event_types.h"

#define CS_EVENT_MAX   262144 // 256 KiB
#define CS_EVENT_DEPTH 8
#define CS_SEQ_MAX     ((int64_t)1 << 53)
#define CS_DETAIL_MAX  160
// An event is refused where its id (version 7) is older, by the record's broker time; one whose id tells no
// time, where its time is.
#define CS_EVENT_AGE_MAX_MS (INT64_C(30) * 24 * 3600 * 1000)

enum cs_event_type {
    CS_EVENT_NONE = 0,
#define X(symbol, ...) CS_EVENT_##symbol,
    CS_EVENT_TYPES(X)
#undef X
};
#define X(symbol, ...) +1
enum { CS_EVENT_TYPE_END = 1 CS_EVENT_TYPES(X) }; // one past the last
#undef X
// "certsync.certificate.upload.v1"; "" for none
const char *cs_event_type_name(enum cs_event_type t);
const char *cs_event_type_short(enum cs_event_type t); // "certificate.upload"; "" for none
// Whether decisions emit events of this type, and the service signs them.
bool cs_event_is_derived(enum cs_event_type t);

// Bytes that came as base64. Both forms are views into the event's storage. After
// cs_event_decode_view the text is a view into the record's value.
struct cs_encoded {
    struct cs_bytes bytes;
    struct cs_bytes text; // canonical base64
};

struct cs_keyed_chain {
    // at least 1. If it is above CS_CHAIN_MAX (cert.too_many), chain has only the first ones.
    // chain[0] is the leaf.
    size_t chain_len;
    struct cs_encoded chain[10];
    bool csr;              // match an existing CSR: key and pop are empty
    struct cs_encoded key; // sealed (seal.h); len 0 where csr, or where missing
    struct cs_encoded pop;
};

// certificate.upload, certificate.issue, certificate.update
struct cs_event_upload {
    enum cs_source source; // CS_SOURCE_UPLOADED for upload; from data for issue
    // what an event names: of upload and issue only has_tags, where there are some
    bool has_name, has_tags, has_contact, has_note;
    // syntax is checked by the rules (name.invalid), length and printable ASCII here
    cs_name name;
    enum cs_algorithm algorithm;
    bool replace;
    bool force;
    struct cs_tag_list tags;
    cs_place place; // certificate.upload: "" where absent
    char contact[CS_CONTACT_MAX + 1];
    char note[CS_NOTE_TEXT_MAX + 1];
    // 1: international; 2: sm2, [0] signing, [1] encryption; 0: certificate.update without a chain
    size_t parts;
    struct cs_keyed_chain part[2];
};

struct cs_event_account {
    bool has_site, has_owner, has_verified, has_certificates, has_shares, has_incomplete_chain;
#define X(name, at_first, most, text) bool has_##name;
    CS_ACCOUNT_COUNTS(X)
#undef X
    enum cs_site site;
    cs_owner_id owner;
    bool verified;
    int64_t limit_certificates;                             // 0 .. 1,000,000
    int64_t limit_shares;                                   // 0 .. 1,000
#define X(name, at_first, most, text) int64_t limit_##name; // 0 .. most
    CS_ACCOUNT_COUNTS(X)
#undef X
    bool reject_incomplete_chain;
    bool has_keys_allowed, has_days, has_issuers, has_dns, has_wildcards; // of the policy
    struct cs_policy policy;
};

struct cs_event_enroll {
    // SPKI DER; that it is a P-256 key with the subject's kid is a rule (prepare.h)
    struct cs_encoded key;
    unsigned can; // CS_CAN_ bits
    cs_pattern names;
    cs_dns_patterns dns;         // "" where absent
    char label[CS_NAME_MAX + 1]; // "" where absent
    int64_t uses;                // 0: no limit
    int64_t expires_s;           // 0: never
    bool has_grant;
    unsigned grant_can;
    cs_pattern grant_names;
    cs_dns_patterns grant_dns; // "" where absent
};

enum cs_share_reply { CS_REPLY_ACCEPTED = 1, CS_REPLY_REFUSED, CS_REPLY_REMOVED };

struct cs_event {
    enum cs_event_type type;
    cs_uuid id;
    cs_log_id log_id;
    cs_account_id account; // "" for system.* and trust.*
    cs_kid kid;
    char subject[CS_DEPLOYMENT_MAX + 1]; // long enough for any subject
    int64_t time_s;                      // the sender's clock; counts only where the id tells no time
    int64_t seq;                         // 1 .. CS_SEQ_MAX-1
    union {
        struct {
            cs_deployment_id deployment;
            cs_nonce nonce; // the same in every partition
            int32_t partitions;
            int64_t ruleset;
        } genesis;
        struct {
            int64_t ruleset;
        } ruleset;
        struct {
            enum cs_trust_role role;
            struct cs_encoded key; // empty for trust.remove
            char label[CS_NAME_MAX + 1];
        } trust;
        struct cs_event_account account;
        struct cs_event_enroll enroll; // also agent.rotate: key only
        struct {
            char reason[CS_NAME_MAX + 1];
        } revoke;
        struct cs_event_upload upload;
        struct {
            bool cascade;
            cs_account_id from; // "" where absent
        } del;
        struct {
            cs_place place;
            uint8_t sha256[32]; // certificate.seen
            bool remove;        // certificate.gone: "delete"
        } installed;
        struct {
            cs_account_id to;
        } share;
        struct {
            cs_name name;
            struct cs_encoded csr, key, pop;
        } csr;
        struct {
            cs_uuid share;
            cs_account_id owner_account;
            cs_owner_id owner;
            enum cs_site site;
            int64_t version;
            int32_t origin; // partition that emitted it
            int64_t epoch;  // of the outcome that it comes with (correction.h)
            struct cs_cert_summary certificate;
        } offer;
        struct {
            cs_uuid share;
            cs_account_id owner_account;
            int32_t origin;
            int64_t epoch;
            enum cs_code code; // why
        } withdraw;
        struct {
            cs_uuid share;
            cs_account_id recipient;
            int64_t version;
            enum cs_share_reply reply;
            enum cs_code code; // CS_CODE_NONE where accepted
            int32_t origin;
            int64_t epoch;
        } answer;
    } data;
    void *storage;     // internal
    bool storage_text; // internal: texts lie there, too
    bool in_region;    // internal: the event and its storage
};

// What the event's row in event_types.h says:
// The partition that a derived event says it is from; -1 for all others.
int32_t cs_event_origin(const struct cs_event *ev);
// And the epoch in which it was emitted.
int64_t cs_event_epoch(const struct cs_event *ev);
void cs_event_set_origin(struct cs_event *derived, int32_t partition, int64_t epoch);
// The id of the share that it opens, or is a step of; "" for other events.
const char *cs_event_share(const struct cs_event *ev);
// The key that it makes known; the subject is its kid. NULL for other events.
const struct cs_encoded *cs_event_key(const struct cs_event *ev);

// REJECT codes: event.too_large, event.malformed (err.msg is the detail: deterministic, our own
// words, names the member, at most CS_DETAIL_MAX bytes), event.unknown_type. value is not needed
// after the call. FATAL only out of memory.
CS_MUST_USE bool cs_event_decode(struct cs_bytes value, struct cs_event **ret, struct cs_err *err);
// For a caller that keeps value as long as the event: base64 texts are views into value. With a
// region, the event is in it. It is freed all the same, before the region is reset. The decoded
// base64 of an upload or issue is in scratch, which must not be reset before cs_event_forget_bytes.
CS_MUST_USE bool cs_event_decode_view(struct cs_bytes value, struct cs_region *region,
                                      struct cs_region *scratch, struct cs_event **ret, struct cs_err *err);
// For an upload or issue decoded in that way: drops the decoded base64, when nobody needs more than
// the texts.
void cs_event_forget_bytes(struct cs_event *ev);
// Decodes the texts again after the bytes were dropped; into scratch if the event is in a region.
CS_MUST_USE bool cs_event_recall_bytes(struct cs_event *ev, struct cs_region *scratch, struct cs_err *err);
void cs_event_free(struct cs_event *ev);
CS_DEFINE_AUTO(struct cs_event, cs_event_free)

// Writes the record value, as decode reads it. Of a cs_encoded in ev only the bytes need to be set;
// base64 is made of them. It refuses what decode refuses, with the same code and detail. More than
// CS_CHAIN_MAX certificates are REJECT cert.too_many.
CS_MUST_USE bool cs_event_encode(const struct cs_event *ev, struct cs_buf *out, struct cs_err *err);
