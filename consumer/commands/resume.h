// SPDX-License-Identifier: Apache-2.0
//
// Judging goes on from a snapshot (snapshot.dir) instead of from a partition's first record.
#pragma once

#include "catalog/snapshots.h"
#include "commands/operator.h"

// clang-format off
#define CS_SNAPSHOTS_OPT \
    {.name = "snapshots", .kind = CS_OPT_SETTING, .setting = "snapshot.dir", .value_name = "DIR", \
     .text = "Go on from the newest snapshot before the moment in this directory (snapshot.dir)."}
// clang-format on

// The directory of the settings. False: there is none (why is ""), or its statements cannot be verified.
bool cs_resume_dir(struct cs_operator *op, const char *checkpoint_key, struct cs_snapshot_dir *ret, char *why,
                   size_t why_size);
// Says on the error stream that a snapshot is not used, and why. arg: the operator.
void cs_resume_refused(void *arg, const char *path, const char *why);

// The judge begins a partition at the newest snapshot before the moment that is whole, signed, and at a
// place of this log; else at its first record. It says which are not.
struct cs_resume {
    const struct cs_snapshot_dir *dir; // NULL: it begins at the first record
    int32_t partition;
    const struct cs_moment *until;           // NULL: the newest of all
    const struct cs_snapshot_filter *wanted; // NULL: all
    // cs_operator_published then goes on with the outcome behind the snapshot, and the one before it is the
    // snapshot's, too. NULL: outcomes are not looked at.
    struct cs_chain *chain;
    // set:
    struct cs_snapshot snapshot; // .at.size 0: none
    int64_t last_ms;             // then: of the record before it
};
CS_MUST_USE bool cs_resume(struct cs_operator *op, struct cs_resume *r, struct cs_err *err);
// The same once more, from the same snapshot: what is wanted is another part.
CS_MUST_USE bool cs_resume_again(struct cs_operator *op, const struct cs_resume *r, struct cs_err *err);

// For commands that judge up to a moment: the directory of the settings. Says on the error stream where its
// snapshots cannot be verified, and are not used. NULL: none are used.
const struct cs_snapshot_dir *cs_resume_from(struct cs_operator *op, struct cs_snapshot_dir *room);
