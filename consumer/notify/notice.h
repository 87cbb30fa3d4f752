// SPDX-License-Identifier: Apache-2.0
//
// Notices: what people and programs are told of (docs/operate/notices.md). Each is a CloudEvents 1.0
// JSON object in structured mode:
//
//   {"specversion":"1.0","id":"<UUIDv8>","source":"//<log id>/partitions/<p>",
//    "type":"certsync.notice.<kind>.v1","subject":…?,"time":"2026-11-23T12:00:00.385Z",
//    "datacontenttype":"application/json","data":{"text":"<a sentence for people>","account":…?,
//    "name":…?,"version":…?,"leaves":[{"sha256","serial","not_after"}]?,"event_type":…?,"event":…?,
//    "kid":…?,"label":…?,"code":…?,"reason":…?,"hint":…?,"detail":…?,"outcome":…?,"ends":…?,
//    "owner_account":…?}}
//
// The id follows from the log's id and what the notice is about. So whoever makes it again (after a
// crash, after Redis was lost) makes the same one, and a receiver can drop what it has already.
#pragma once

#include "certsync/model/outcome.h"

// X(SYMBOL, kind, the word of the setting `on`)
// clang-format off
#define CS_NOTICE_KINDS(X) \
    X(EXPIRING,       "certificate.expiring", "expiry") \
    X(EXPIRED,        "certificate.expired", "expiry") \
    X(DELETED,        "certificate.deleted", "deletion") \
    X(SHARED,         "share.opened",        "share") \
    X(SHARE_REFUSED,  "share.refused",       "share") \
    X(SHARE_RECEIVED, "share.received",      "share") \
    X(SHARE_ENDED,    "share.ended",         "share") \
    X(REFUSED,        "event.refused",       "refusal") \
    X(BROKEN,         "outcomes.broken",     "fork")
// clang-format on
enum cs_notice_kind {
#define X(symbol, ...) CS_NOTICE_##symbol,
    CS_NOTICE_KINDS(X)
#undef X
};
#define X(symbol, ...) +1
enum { CS_NOTICE_KIND_COUNT = 0 CS_NOTICE_KINDS(X) };
#undef X
const char *cs_notice_kind_name(enum cs_notice_kind k);
// The word of the setting `on` that asks for it.
const char *cs_notice_kind_word(enum cs_notice_kind k);

#define CS_NOTICE_TEXT_MAX 700

struct cs_notice {
    enum cs_notice_kind kind;
    cs_uuid id;
    int32_t partition;
    int64_t time_ms;
    char subject[CS_DEPLOYMENT_MAX + 1];
    cs_account_id account;
    cs_name name;
    int64_t version; // 0: none
    size_t leaves_len;
    struct cs_told_leaf leaves[2];
    enum cs_event_type type; // CS_EVENT_NONE: it is of no event
    cs_uuid event;
    cs_kid kid;
    char label[CS_NAME_MAX + 1];
    enum cs_code code;
    char detail[CS_DETAIL_MAX + 1];
    int64_t outcome;     // its number; 0: it is of none
    int64_t ends_s;      // of what expires, with its chain; 0: it does not apply
    cs_account_id owner; // of what was shared with the account; "": its own
    char text[CS_NOTICE_TEXT_MAX];
};

// Calls fn for each notice that follows from an outcome. Of what nobody proved to have sent there is
// none: whoever may write to cert.events could send thousands.
void cs_notices_of_outcome(struct cs_crypto *c, const struct cs_outcome *o,
                           void (*fn)(void *arg, const struct cs_notice *n), void *arg);
// A partition's outcomes do not follow each other any more.
void cs_notice_of_broken(struct cs_crypto *c, const char *log_id, int32_t partition, int64_t offset,
                         int64_t now_ms, const char *why, struct cs_notice *ret);
// A certificate that an account has, own or shared by owner ("": own), ends at ends_s: before_ms after
// the time that asks for this notice, or (0) it has ended.
struct cs_notice_expiry {
    const char *account, *owner, *certificate, *name;
    int64_t ends_s, before_ms;
};
void cs_notice_of_expiry(struct cs_crypto *c, const char *log_id, int32_t partition,
                         const struct cs_notice_expiry *x, int64_t now_ms, struct cs_notice *ret);
void cs_notice_encode(struct cs_buf *b, const char *log_id, const struct cs_notice *n);
#define CS_NOTICE_CONTENT_TYPE "application/cloudevents+json"

// Whether a section of the settings asks for a notice.
struct cs_notice_settings;
bool cs_notice_is_wanted(const struct cs_notice_settings *s, const struct cs_notice *n);
