// SPDX-License-Identifier: Apache-2.0
//
// A walk along a partition's published outcomes, from any place on. It keeps the edge of the tree
// behind it, so its memory does not grow with the log. One thread.
#pragma once

#include <stdatomic.h>

#include "certsync/model/merkle.h"
#include "worker/outcome_chain.h"
#include "worker/topic.h"

struct cs_walk_place {
    struct cs_chain chain;      // last: how many outcomes are behind it
    int64_t offset;             // where the topic goes on
    struct cs_merkle_edge edge; // of those behind it
};
// Before the first outcome. marks: borrowed.
void cs_walk_begin(struct cs_walk_place *p, const struct cs_outcome_marks *marks,
                   const struct cs_epochs *epochs, int32_t partition);

// Goes on to where `size` outcomes are behind it. g (may be NULL) gets each leaf. RETRY: the topic has
// fewer, the brokers are away, or *stopping; FATAL: outcomes that do not follow. Then p is somewhere
// between.
CS_MUST_USE bool cs_walk_on(struct cs_topic *outcomes, struct cs_crypto *crypto, const atomic_bool *stopping,
                            struct cs_walk_place *p, int64_t size, struct cs_merkle_growth *g,
                            struct cs_err *err);
