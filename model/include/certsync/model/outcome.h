// SPDX-License-Identifier: Apache-2.0
//
// Outcomes: what was decided of each record of cert.events, in order, numbered from 1 without gaps
// for each partition, each holding the hash of the one before it.
//
//   {"n":12,"status":"applied","code":"unchanged"?,"detail":…?,"type":…?,"event":…?,"account":…?,
//    "kid":…?,"subject":…?,"partition":3,"offset":11,
//    "time":"<broker timestamp, ms>" as an integer,"record":"<sha-256 hex>","sequence":…?,
//    "watermark":…?,"gap":…?,"version":…?,"notes":["chain.expired",…]?,
//    "concludes":[{"event":…,"status":…,"code":…?}]?,
//    "prev":"<sha-256 hex of the outcome before; zeros for the first>"}
//
// "?": left out where unknown or empty. type, event, account, kid, sequence are of the record as it
// claims; where the status is rejected with a code up to event.bad_signature they are claims only.
// subject: the id that it is about in the end (a replaced certificate keeps its own). The record of
// cert.outcomes: key = the account ("" where unknown), header content-type application/json, no
// others.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/event.h"

enum cs_status { CS_STATUS_APPLIED = 1, CS_STATUS_PENDING, CS_STATUS_REJECTED, CS_STATUS_DUPLICATE };
const char *cs_status_name(enum cs_status s);
bool cs_status_parse(const char *s, size_t len, enum cs_status *ret);

struct cs_conclusion {
    cs_uuid event;
    cs_account_id account; // whose outcome document it concludes; not written
    enum cs_status status;
    enum cs_code code;
};

struct cs_verdict {
    enum cs_status status;
    enum cs_code code; // CS_CODE_NONE: plainly applied, pending or duplicate
    char detail[CS_DETAIL_MAX + 1];
    // signature good, by a known key: stored under outcome/ and moves the watermark
    bool signer_known;
    char subject[CS_DEPLOYMENT_MAX + 1];
    int64_t version;   // of the certificate, after it; 0: does not apply
    int64_t watermark; // event.replayed: the key's; else 0
    uint32_t notes;    // CS_NOTE bits of a certificate that was taken
    int64_t gap;       // how many numbers of this agent are missing before this event; else 0
    size_t concludes_len;
    struct cs_conclusion *concludes; // owned
};
void cs_verdict_clear(struct cs_verdict *v);

struct cs_outcome {
    int64_t n;
    struct cs_verdict verdict;
    enum cs_event_type type; // CS_EVENT_NONE: unknown
    cs_uuid event;           // "" where unknown
    cs_account_id account;
    cs_kid kid;
    int64_t seq; // 0: unknown
    int32_t partition;
    int64_t offset;
    int64_t time_ms;
    uint8_t record_sha256[32];
    uint8_t prev_sha256[32];
};
void cs_outcome_clear(struct cs_outcome *o);
CS_DEFINE_AUTO_CLEAR(struct cs_outcome, cs_outcome_clear)
void cs_outcome_encode(struct cs_buf *b, const struct cs_outcome *o);
// REJECT event.malformed with a detail for what is not an outcome.
CS_MUST_USE bool cs_outcome_decode(struct cs_bytes json, struct cs_outcome *ret, struct cs_err *err);

// The document outcome/<account>/<event>: the outcome's JSON, and how it ended where it was
// pending:
//   {"outcome":{…},"final":{"status":…,"code":…?,"by":"<event id>","n":…}?}
void cs_outcome_doc_encode(struct cs_buf *b, struct cs_bytes outcome_json,
                           const struct cs_conclusion *final_or_null, const char *by, int64_t n);
