// SPDX-License-Identifier: Apache-2.0
//
// Where a witness stands with a partition: the size that it knows, and how it is led from there to the
// newest checkpoint.
//
// Its size is learned by asking: an answer 409 names it. The edge of the tree at that size comes from
// the outcomes, read from the nearest place that is known (walk.h). From then on only new outcomes are
// read.
#pragma once

#include "cosign/ask.h"
#include "cosign/walk.h"

struct cs_standing {
    struct cs_walk_place place; // a place of the log: at `size`, or on the way there
    int64_t size;               // that the witness knows; -1: not asked yet
    // Its last cosignature; at.size 0: none yet.
    struct cs_checkpoint at;
    int64_t time_s;
    char line[CS_COSIGN_LINE_MAX];
};
void cs_standing_begin(struct cs_standing *s, const struct cs_outcome_marks *marks,
                       const struct cs_epochs *epochs, int32_t partition);

struct cs_standing_env {
    struct cs_crypto *crypto;
    const struct cs_outcome_marks *marks; // borrowed by standings, too
    struct cs_epochs epochs;              // those with which standings began
    struct cs_topic *outcomes, *checkpoints;
    const struct cs_note_key *log_key;
    const char *log_id;
    const atomic_bool *stopping;
};
// Asks the witness for a cosignature of the partition's newest checkpoint (q: at and note), at most
// three questions. others: of all witnesses with this partition, for their places. OTHER_SIZE: it knows
// more than this process, and so does the topic. False: our own log could not be read (RETRY), or is
// not what the checkpoint is of (FATAL).
CS_MUST_USE bool cs_standing_ask(const struct cs_standing_env *env, struct cs_cosigner *w,
                                 struct cs_standing *s, const struct cs_standing *const *others,
                                 size_t others_len, const struct cs_checkpoint *at, struct cs_bytes note,
                                 int64_t now_s, struct cs_cosign_answer *ret, struct cs_err *err);
// Whether its last cosignature is of this checkpoint.
bool cs_standing_cosigned(const struct cs_standing *s, const struct cs_checkpoint *at);
