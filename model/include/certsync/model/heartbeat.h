// SPDX-License-Identifier: Apache-2.0
//
// Heartbeats: a host says that it is alive. They are no events: nothing is decided by one, and
// nobody keeps them. They have a topic of their own, cert.heartbeats, that keeps them for a day. Of
// each host only the newest counts. Who lost one learns as much from the next.
//
// A record is what a record of cert.events is: key (the account), headers content-type and
// certsync-sig (sign.h), value a CloudEvents 1.0 JSON object, decoded as strictly (event.h):
//
//   specversion "1.0", type "certsync.agent.heartbeat.v1", id, source
//   "//<log id>/accounts/<account>/keys/<kid>", subject the same kid, time, sequence,
//   datacontenttype "application/json",
//   data {version, certificates, failed, last_scan (time), spool}
//
// sequence is the host's clock in milliseconds, and rises. It has nothing to do with the numbers of
// the host's events. It makes an old heartbeat, which somebody sends again, worth nothing.
#pragma once

#include "certsync/model/prepare.h"

#define CS_HEARTBEAT_TYPE "certsync.agent.heartbeat.v1"
#define CS_HEARTBEAT_MAX  4096 // bytes of a value
// How far a host's clock may be from the broker's. Without the first, one heartbeat from the future
// would make all later ones old. Without the second, one that was kept would count wherever the
// newest one is not known.
#define CS_HEARTBEAT_AHEAD_MS  (10 * INT64_C(60000))
#define CS_HEARTBEAT_BEHIND_MS (24 * INT64_C(3600000))

// What a host says of itself.
struct cs_host_state {
    char version[CS_NAME_MAX + 1]; // at least one character
    int64_t certificates;
    int64_t failed;
    int64_t last_scan_s;
    int64_t spool;
};

struct cs_heartbeat {
    cs_uuid id;
    cs_log_id log_id;
    cs_account_id account;
    cs_kid kid;
    int64_t time_s;
    int64_t seq;
    struct cs_host_state host;
};
// Writes the record value, as decode reads it. REJECT event.malformed: decode would refuse it.
CS_MUST_USE bool cs_heartbeat_encode(const struct cs_heartbeat *h, struct cs_buf *out, struct cs_err *err);
// REJECT event.too_large, event.malformed (event.h).
CS_MUST_USE bool cs_heartbeat_decode(struct cs_bytes value, struct cs_heartbeat *ret, struct cs_err *err);

// What becomes of a heartbeat: X(SYMBOL, "name in the metrics", "What it says.").
// clang-format off
#define CS_HEARTBEAT_ENDS(X) \
    X(TAKEN,         "taken",         "It is its host's newest.") \
    X(OLD,           "old",           "A newer one of this key was taken before.") \
    X(MALFORMED,     "malformed",     "It is not a signed heartbeat.") \
    X(SENDER_TIME,   "sender_time",   "Its time is its sender's, not the broker's.") \
    X(OTHER_LOG,     "other_log",     "It is for another log.") \
    X(MISROUTED,     "misrouted",     "It does not lie where its account's records lie.") \
    X(CLOCK,         "clock",         "The host's clock is more than 10 minutes ahead of the broker's, or more than a day behind.") \
    X(UNKNOWN_KEY,   "unknown_key",   "Its key is not enrolled in this account.") \
    X(ENDED_KEY,     "ended_key",     "Its key was revoked or rotated, or its time is over.") \
    X(TOKEN,         "token",         "Its key is a join token, which is no host.") \
    X(BAD_SIGNATURE, "bad_signature", "The signature is not that key's over these bytes.")
// clang-format on
enum cs_heartbeat_end {
#define X(symbol, ...) CS_HEARTBEAT_##symbol,
    CS_HEARTBEAT_ENDS(X)
#undef X
};
#define X(symbol, ...) +1
enum { CS_HEARTBEAT_END_COUNT = 0 CS_HEARTBEAT_ENDS(X) };
#undef X
const char *cs_heartbeat_end_name(enum cs_heartbeat_end e);
const char *cs_heartbeat_end_sentence(enum cs_heartbeat_end e);

// What the bytes of a record tell, and its place: TAKEN, or the first of MALFORMED to CLOCK that
// holds (but SENDER_TIME, which no record says of itself).
struct cs_heartbeat_read {
    struct cs_heartbeat heartbeat;
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t sig_len;
};
enum cs_heartbeat_end cs_heartbeat_read(const struct cs_record *r, const char *log_id,
                                        int32_t partition_count, struct cs_heartbeat_read *ret);
// What the catalog tells of its key: TAKEN, or one of UNKNOWN_KEY to TOKEN. agent NULL: it knows no
// such key. now_ms: the broker's time of the record.
enum cs_heartbeat_end cs_heartbeat_may(const struct cs_agent *agent, int64_t now_ms);

// What is remembered of a host: {"at_ms":…,"seq":…,"version":…,"certificates":…,"failed":…,
// "last_scan_s":…,"spool":…}
struct cs_heard {
    int64_t at_ms; // the broker's time of its newest heartbeat
    int64_t seq;   // and its sequence
    struct cs_host_state host;
};
void cs_heard_encode(struct cs_buf *b, const struct cs_heard *v);
CS_MUST_USE bool cs_heard_decode(struct cs_bytes json, struct cs_heard *ret, struct cs_err *err);
