// SPDX-License-Identifier: Apache-2.0
//
// Outcomes that the catalog no longer holds, found in cert.outcomes. An event's id tells when it was
// made, and the broker knows which record came when. So the search begins there, and ends where all
// are found.
#pragma once

#include "certsync/base/buf.h"
#include "certsync/model/ident.h"
#include "worker/outcome_chain.h"

#define CS_PAST_LEAD 64 // records before the first that is of interest, and after the last

// What was decided about one thing (a certificate's id), in the log's order.
struct cs_past_history {
    const char *subject;
    int64_t after; // number of an outcome: only those after it
    // The answer:
    size_t found;
    int64_t last;    // the last outcome that was looked at
    int64_t last_ms; // and its time
    bool full;       // there are more than the question has room for
};

struct cs_past_question {
    int32_t partition;
    const char *account;
    size_t n;
    cs_uuid *events;  // borrowed; unchanged
    int64_t since_ms; // none of them has an outcome before this, by the broker's time
    // NULL, or: all of this, and not the events. They are filled in, n is the room for them.
    struct cs_past_history *history;
};

// One question is answered by the records of its partition in their order, from CS_PAST_LEAD before
// since_ms on. What counts follows the chain (outcome_chain.h).
struct cs_past_log {
    struct cs_crypto *crypto;
    const struct cs_outcome_marks *marks; // NULL: there is no service key
    struct cs_epochs epochs;              // the log's corrections
    const char *topic;
    int64_t proven; // as for cs_chain_begin
};
struct cs_past_search {
    struct cs_past_log log;
    const struct cs_past_question *question;
    // n of them, init: a document as the catalog held it (outcome.h), or nothing
    struct cs_buf *docs;
    struct cs_chain chain;
    bool begun;     // the chain is one
    int64_t linked; // records that followed each other since it began
    int64_t idle;   // the same since the last that said something
    // Of records that do not follow: whether they follow each other.
    struct cs_chain rival;
    int64_t rival_linked;
    unsigned char *kind;
};
// whole: the first record is the partition's first. docs: the caller's.
CS_MUST_USE bool cs_past_begin(struct cs_past_search *s, const struct cs_past_log *log,
                               const struct cs_past_question *q, bool whole, struct cs_buf *docs,
                               struct cs_err *err);
void cs_past_end(struct cs_past_search *s);
// FATAL where outcomes do not follow each other.
CS_MUST_USE bool cs_past_take(struct cs_past_search *s, const struct cs_record *r, struct cs_err *err);
// Whether the rest need not be read.
bool cs_past_done(const struct cs_past_search *s);
