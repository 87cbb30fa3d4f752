// SPDX-License-Identifier: Apache-2.0
//
// Outcomes: what was decided of each record of cert.events, in order. Each partition numbers them
// from 1 without gaps. Each holds the hash of the one before it. Each is a CloudEvents 1.0 JSON
// object in structured mode, written in this order and without white space:
//
//   {"specversion":"1.0","type":"certsync.outcome.v1","sequence":"<n>","id":"<UUIDv8>",
//    "source":"//<log id>/partitions/<p>","subject":…?,"time":"2026-11-23T12:00:00.385Z",
//    "datacontenttype":"application/json","data":{
//    "status":"applied","code":"unchanged"?,"detail":…?,"type":…?,"event":…?,"sequence":…?,
//    "account":…?,"kid":…?,"label":…?,"name":…?,"version":…?,
//    "leaves":[{"sha256":"<hex>","serial":"<hex>","not_after":"<time>"}]?,
//    "partition":3,"offset":11,"record":"<sha-256 hex>","watermark":…?,"gap":…?,
//    "notes":["chain.expired",…]?,"concludes":[{"event":…,"status":…,"code":…?}]?,"epoch":…?,
//    "prev":"<sha-256 hex of the outcome before; zeros for the first>"}}
//
// "?": left out where unknown or empty.
//
//   sequence (outer)  n, as cs_sequence_format writes it
//   id                follows from log id, partition, n and epoch: a copy has the same
//   subject           what it is about in the end (a replaced certificate keeps its own id)
//   time              the broker's, of the record
//   type, event, sequence, account, kid
//                     what the record claims. If the status is rejected with a code up to
//                     event.bad_signature, nobody proved it, and the outcome tells nothing of any
//                     catalog.
//   label             the sender's, as the catalog had it at the decision
//   name, version, leaves
//                     of the certificate (of a request: the name) after it; of a deleted one, as
//                     it was. If it was not applied, only what the event brings: a sender without
//                     the right to read must not learn what the catalog has.
//   epoch             the number of the partition's correction by which it was judged (correction.h);
//                     left out where no correction is of it
//
// The record of cert.outcomes: key = the account ("" where unknown), headers content-type
// (application/cloudevents+json) and certsync-mark (who wrote it), no others.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/event.h"
#include "certsync/model/key.h"

// What each outcome's JSON begins with; CS_SEQUENCE_LEN digits of its number follow.
#define CS_OUTCOME_HEAD         "{\"specversion\":\"1.0\",\"type\":\"certsync.outcome.v1\",\"sequence\":\""
#define CS_OUTCOME_CONTENT_TYPE "application/cloudevents+json"

enum cs_status { CS_STATUS_APPLIED = 1, CS_STATUS_PENDING, CS_STATUS_REJECTED, CS_STATUS_DUPLICATE };
const char *cs_status_name(enum cs_status s);
bool cs_status_parse(const char *s, size_t len, enum cs_status *ret);

struct cs_conclusion {
    cs_uuid event;
    cs_account_id account; // whose outcome document it concludes; not written
    enum cs_status status;
    enum cs_code code;
};

// What an outcome tells of a certificate's leaf.
struct cs_told_leaf {
    uint8_t sha256[32];
    char serial[CS_SERIAL_TEXT_SIZE];
    int64_t not_after_s;
};

struct cs_verdict {
    enum cs_status status;
    enum cs_code code; // CS_CODE_NONE: plainly applied, pending or duplicate
    char detail[CS_DETAIL_MAX + 1];
    bool signer_known;   // signature good, by a known key
    bool leaves_nothing; // a derived event that changed nothing: not even its outcome is kept
    char subject[CS_DEPLOYMENT_MAX + 1];
    char label[CS_NAME_MAX + 1]; // the sender's; "" where it has none, or is not proven
    cs_name name;
    int64_t version; // of the certificate, after it; 0: does not apply
    size_t leaves_len;
    struct cs_told_leaf leaves[2];
    int64_t watermark; // event.replayed: the key's; else 0
    uint32_t notes;    // CS_NOTE bits of a certificate that was taken
    int64_t gap;       // how many numbers of this agent are missing before this event; else 0
    size_t concludes_len;
    struct cs_conclusion *concludes; // owned
};
void cs_verdict_clear(struct cs_verdict *v);

// An account's catalog keeps the outcomes of its events as documents: those that are awaited
// (pending), and of the others a window, the CS_OUTCOMES_KEPT newest (index outcomes/<account>).
// Older ones are in the log. None is kept of an event without an account or a proven sender, of a
// duplicate, and of a derived event that changed nothing.
#ifndef CS_OUTCOMES_KEPT // tests/sim has less
#define CS_OUTCOMES_KEPT 1000
#endif
bool cs_outcome_is_kept(const struct cs_event *ev_or_null, const struct cs_verdict *v);
// Whether the event was refused as a copy, or as one that comes too late: by its number, or because
// the key had ended. Then its outcome stands beside the one of the event itself, if there is one,
// and never hides it.
bool cs_verdict_is_of_copy(const struct cs_verdict *v);

struct cs_outcome {
    int64_t n;
    cs_uuid id; // cs_outcome_set_id
    cs_log_id log_id;
    struct cs_verdict verdict;
    enum cs_event_type type; // CS_EVENT_NONE: unknown
    cs_uuid event;           // "" where unknown
    cs_account_id account;
    cs_kid kid;
    int64_t seq; // 0: unknown
    int32_t partition;
    int64_t epoch;
    int64_t offset;
    int64_t time_ms;
    uint8_t record_sha256[32];
    uint8_t prev_sha256[32];
};
void cs_outcome_clear(struct cs_outcome *o);
CS_DEFINE_AUTO_CLEAR(struct cs_outcome, cs_outcome_clear)
// The UUIDv8 of SHA-256("certsync.outcome.v1", log id, partition, n), and the epoch if it is not 0,
// each as text that ends in a NUL.
void cs_outcome_set_id(struct cs_crypto *c, struct cs_outcome *o);
void cs_outcome_encode(struct cs_buf *b, const struct cs_outcome *o);
// REJECT event.malformed with a detail for what is not an outcome. It does not check that the id
// follows from the rest.
CS_MUST_USE bool cs_outcome_decode(struct cs_bytes json, struct cs_outcome *ret, struct cs_err *err);

// The document outcome/<account>/<event> (cs_member_outcome): the outcome's JSON and, if it was pending, how it ended:
//   {"outcome":{…},"final":{"status":…,"code":…?,"by":"<event id>","n":…}?}
void cs_outcome_doc_encode(struct cs_buf *b, struct cs_bytes outcome_json,
                           const struct cs_conclusion *final_or_null, const char *by, int64_t n);
