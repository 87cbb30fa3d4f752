// SPDX-License-Identifier: Apache-2.0
//
// Reading cert.outcomes: up to which number outcomes were published (the publish cursor), and the
// published outcomes one after the other, for comparison. outcome_chain.h says which records count;
// all others are only counted. One thread. Errors: RETRY (also: outcomes by a correction that is not known yet), CONFIG,
// FATAL (outcomes that are missing, or do not follow).
#pragma once

#include "certsync/model/entry.h"
#include "worker/outcome_chain.h"
#include "worker/topic.h"

struct cs_cursor_tail {
    // Up to here outcomes are published; 0: none is. If the position's own outcome was not found,
    // this is only what records claim. Then nothing is missing if the stream (below) ends earlier.
    int64_t last;
    // the position's outcome is among the records, so all after it are checked to follow
    bool found;
    bool other;         // it is not, but another outcome with its number is
    int64_t foreign;    // records that no consumer wrote
    int64_t foreign_at; // offset of the first of them; -1: none
    int64_t superseded; // the highest number that a correction set aside, as far as was read; 0: none
    int64_t unmarked;   // of these: read as outcomes, and carry no mark
    int64_t earlier;    // records that count, with an earlier service key's mark
    int64_t others;     // the same, with the mark of a key that is not known
    int64_t low;        // where the partition begins
    int64_t from, end;  // what was read
};
// What to read with; borrowed.
struct cs_cursor_source {
    struct cs_topic *outcomes; // with headers
    struct cs_crypto *crypto;
    const struct cs_outcome_marks *marks;
    struct cs_epochs epochs; // the log's corrections
};
// Reads the last CS_CURSOR_TAIL records, and all of them where these are no outcomes; waits for them.
// at: the catalog's position. proven: as for cs_chain_begin.
#ifndef CS_CURSOR_TAIL // tests/sim has less
#define CS_CURSOR_TAIL 4096
#endif
CS_MUST_USE bool cs_cursor_tail(const struct cs_cursor_source *from, int32_t partition,
                                const struct cs_position *at, int64_t proven, int64_t timeout_ms,
                                struct cs_cursor_tail *ret, struct cs_err *err);

// A partition's outcomes, one after the other, from the one after a position to the partition's
// present end. Several may be open. Close them before the topic is freed.
struct cs_cursor_stream;
CS_MUST_USE bool cs_cursor_open(const struct cs_cursor_source *from, int32_t partition,
                                const struct cs_position *after, int64_t proven,
                                struct cs_cursor_stream **ret, struct cs_err *err);
void cs_cursor_close(struct cs_cursor_stream *s); // takes NULL

// Whether outcomes that a correction set aside were of these records. They count no longer, but consumers
// wrote them, and each names the hash of its record.
struct cs_cursor_proofs;
void cs_cursor_proofs_close(struct cs_cursor_proofs *p); // takes NULL
struct cs_published_outcome {
    int64_t offset;
    struct cs_bytes key;
    struct cs_bytes value;
};
enum cs_cursor_step {
    CS_CURSOR_WAIT,    // nothing has arrived yet
    CS_CURSOR_OUTCOME, // the next number's
    CS_CURSOR_END,     // there are no more
};
// Whether there is such an outcome with this number and record; without waiting. *ret_step: OUTCOME (yes),
// END (no), WAIT. *p: NULL at first; numbers must rise from call to call.
CS_MUST_USE bool cs_cursor_prove(const struct cs_cursor_source *from, int32_t partition, int64_t n,
                                 const uint8_t record_sha256[32], struct cs_cursor_proofs **p,
                                 enum cs_cursor_step *ret_step, struct cs_err *err);
// The next number, without waiting. Borrowed until the next call.
CS_MUST_USE bool cs_cursor_next(struct cs_cursor_stream *s, enum cs_cursor_step *ret_step,
                                struct cs_published_outcome *ret, struct cs_err *err);
