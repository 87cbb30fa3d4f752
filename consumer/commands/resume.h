// SPDX-License-Identifier: Apache-2.0
//
// Judging goes on from a snapshot (snapshot.dir) instead of from a partition's first record.
#pragma once

#include "commands/operator.h"
#include "log/snapshots.h"

// The directory of the settings. False: there is none (why is ""), or its statements cannot be verified.
bool cs_resume_dir(struct cs_operator *op, const char *checkpoint_key, struct cs_snapshot_dir *ret, char *why,
                   size_t why_size);
// Says on the error stream that a snapshot is not used, and why. arg: the operator.
void cs_resume_refused(void *arg, const char *path, const char *why);

// The judge begins a partition at the newest snapshot before the moment that is whole, signed, and at a
// place of this log; else at its first record. It says which are not. chain: cs_operator_published then
// goes on with the outcome behind the snapshot, and the one before it is the snapshot's, too; NULL: outcomes are
// not looked at. ret: the snapshot; .at.size 0: none.
CS_MUST_USE bool cs_resume(struct cs_operator *op, const struct cs_snapshot_dir *d, int32_t partition,
                           const struct cs_moment *until, struct cs_chain *chain, struct cs_snapshot *ret,
                           struct cs_err *err);
