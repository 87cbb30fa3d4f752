// SPDX-License-Identifier: Apache-2.0
//
// Judges the log again in memory. It does what a worker does with a partition's records (apply.h),
// over a complete catalog in memory, and publishes nothing. No Redis, no service key: a key that is
// thrown away signs derived events. So only their signer differs from the published ones. One
// thread.
#pragma once

#include "worker/apply.h"

struct cs_replay;
struct cs_replay_options {
    const char *log_id; // borrowed
    struct cs_bytes root_spki;
    int32_t partition_count;
    struct cs_epochs epochs; // the log's corrections
    bool verdicts_only;      // as in cs_apply_context: for less memory, where the catalog is not looked at
};
CS_MUST_USE bool cs_replay_new(const struct cs_replay_options *options, struct cs_replay **ret,
                               struct cs_err *err);
void cs_replay_free(struct cs_replay *r);
CS_DEFINE_AUTO(struct cs_replay, cs_replay_free)

// Begins a partition at its first record, with an empty catalog.
void cs_replay_begin(struct cs_replay *r, int32_t partition);

// Goes on at a position. The partition was begun, and cs_replay_state was filled with its catalog there.
void cs_replay_resume(struct cs_replay *r, const struct cs_position *at);

// What was made of one record; borrowed until the next one.
struct cs_replayed {
    const struct cs_prepared *prepared;
    struct cs_applied_outcome outcome;
    struct cs_bytes outcome_json;
    size_t derived_len;
    const struct cs_applied_derived *derived;
};
// Judges the next record. cs_replay_state has its changes (cs_state_changes) until the next one.
// FATAL, or CONFIG for a ruleset that this release does not know.
CS_MUST_USE bool cs_replay_record(struct cs_replay *r, const struct cs_record *record,
                                  struct cs_replayed *ret, struct cs_err *err);
// The next record's outcome has this number, and this hash of the one before it. For a replay of some
// records only.
void cs_replay_number(struct cs_replay *r, int64_t n, const uint8_t prev_sha256[32]);
struct cs_bytes cs_replay_derived_json(const struct cs_replay *r, const struct cs_applied_derived *d);

struct cs_state *cs_replay_state(struct cs_replay *r);
const struct cs_position *cs_replay_position(const struct cs_replay *r);
struct cs_crypto *cs_replay_crypto(struct cs_replay *r);
const char *cs_replay_kid(const struct cs_replay *r); // signer of the derived events
