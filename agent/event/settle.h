// SPDX-License-Identifier: Apache-2.0
//
// How published events ended, and what follows for the spool. Each event that was published stays
// in the spool until its outcome is known; then it is removed. What was refused as replayed (this
// host was restored, or another one has its key) is signed again above the watermark, with all that
// is not published yet.
//
// Commands do this on their way, and in certsync spool flush; the daemon does it all the time. In
// what they differ is a policy.
#pragma once

#include "certsync/model/codes.h"
#include "event/session.h"
#include "spool/spool.h"

// What is known of an event's end.
enum cs_ending {
    CS_ENDING_UNKNOWN, // no outcome yet
    CS_ENDING_PENDING, // decided, but another account must answer
    CS_ENDING_APPLIED,
    CS_ENDING_REJECTED,
    CS_ENDING_REPLAYED, // to be signed again
};
struct cs_end {
    enum cs_ending ending;
    enum cs_code code;
    char code_name[64]; // also of codes that this release does not know
    char detail[200];
    char subject[CS_DEPLOYMENT_MAX + 1];
    int64_t version;
    int64_t watermark;
    json_t *doc; // the API's answer; owned
};
void cs_end_clear(struct cs_end *e);
CS_DEFINE_AUTO_CLEAR(struct cs_end, cs_end_clear)
// The sender's number of the event that an outcome is of; 0 where it tells none.
int64_t cs_end_sequence(const json_t *outcome);
// A member of what an outcome says; NULL where there is none.
const json_t *cs_end_said(const json_t *outcome, const char *member);
// Reads an outcome document of the API: {"outcome":{…},"final":{…}?}. seq: the event's number in
// the spool; an outcome that says replayed of another number is an older one's. Takes doc over.
void cs_end_read(json_t *doc, int64_t seq, struct cs_end *ret);
// Asks the API for the outcome; wait_s 0: as it stands. True with UNKNOWN where there is none yet.
CS_MUST_USE bool cs_end_ask(struct cs_session *s, const char *account, const char *event_id, int64_t seq,
                            int64_t wait_s, struct cs_end *ret, struct cs_err *err);

#define CS_ENDS_MAX 100 // of one question
// The same of n events of an account (CS_ENDS_MAX at most) in one question, as they stand: UNKNOWN
// those that have no outcome.
CS_MUST_USE bool cs_ends_ask(struct cs_session *s, const char *account, const struct cs_event *const *events,
                             size_t n, struct cs_end *ret, struct cs_err *err);

// One pass over the events of a spool that are published.
struct cs_settle {
    struct cs_session *session;
    struct cs_spool *spool;
    const struct cs_settle_policy *policy;
    void *arg;                // the policy's own
    int64_t lock_deadline_ms; // monotonic: how long to wait for who publishes
    size_t first;             // where to begin; those before it follow at the end
    size_t max;               // at most so many events; 0: all
    bool is_unknown;          // of the event that is asked for: it had no outcome just now
    // Counted by the pass:
    size_t published; // how many there were
    size_t loaded;    // how many of them were looked at
    size_t applied, rejected, pending;
    size_t unknown;  // those without an outcome since the last that had one
    size_t removed;  // from the spool
    size_t replayed; // of these events, and
    size_t resigned; // of these and of those not published: signed again
    int64_t watermark;
};
struct cs_settle_policy {
    // Events for every partition have no outcome in the API. True: they are removed without a
    // question. False: they stay, as their command waits for them.
    bool drop_silent;
    // Once the API has told of one, it is asked for those behind it in one question; ask is then
    // called only for what it knows nothing of.
    bool together;
    bool (*go_on)(const struct cs_settle *t); // asked before each event
    CS_MUST_USE bool (*ask)(struct cs_settle *t, const struct cs_spool_entry *e, struct cs_end *ret,
                            struct cs_err *err);
    // It was applied or rejected; after this call it is removed.
    void (*on_end)(struct cs_settle *t, const struct cs_event *ev, const struct cs_end *end);
    void (*on_replayed)(const struct cs_settle *t); // all was signed again; the counts are final
};
// What was counted stands also after an error.
CS_MUST_USE bool cs_settle_pass(struct cs_settle *t, struct cs_err *err);

// Signs the n events of `seqs` again and all that is not published, above the watermark and in
// their order. own (or NULL): one of them, which gets its new number; RETRY where it is gone.
// *ret_n: how many it were.
CS_MUST_USE bool cs_settle_sign_again(const struct cs_session *s, struct cs_spool *spool,
                                      int64_t lock_deadline_ms, const int64_t *seqs, size_t n,
                                      int64_t watermark, struct cs_event *own, size_t *ret_n,
                                      struct cs_err *err);
