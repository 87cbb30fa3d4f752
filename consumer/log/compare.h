// SPDX-License-Identifier: Apache-2.0
//
// Compares a partition of a live catalog with a replay. The live one changes while it is read, from
// position A (before) to position B (after). Then the replay passes A and B. What did not change
// between them must be equal to the replay. What changed must be equal to the replay at one moment
// between them. Only hashes are kept. One thread.
#pragma once

#include "catalog/catalog.h"
#include "certsync/model/key.h"

struct cs_compare;
// Reads the partition from catalog.
CS_MUST_USE bool cs_compare_new(struct cs_crypto *crypto, struct cs_catalog *catalog, int32_t partition,
                                struct cs_compare **ret, struct cs_err *err);
void cs_compare_free(struct cs_compare *c);
CS_DEFINE_AUTO(struct cs_compare, cs_compare_free)
const struct cs_position *cs_compare_before(const struct cs_compare *c);
const struct cs_position *cs_compare_after(const struct cs_compare *c);
size_t cs_compare_keys(const struct cs_compare *c); // how many the live catalog has

// The replay is at A: all of its state.
CS_MUST_USE bool cs_compare_begin(struct cs_compare *c, const struct cs_state *state, struct cs_err *err);
// The replay judged one more record, between A and B: its changes.
CS_MUST_USE bool cs_compare_step(struct cs_compare *c, struct cs_state *state, struct cs_err *err);

enum cs_difference {
    CS_DIFFERENCE_MISSING = 1, // the live catalog lacks it
    CS_DIFFERENCE_EXTRA,       // only the live catalog has it
    CS_DIFFERENCE_CHANGED,     // both have it, with other contents
};
const char *cs_difference_name(enum cs_difference d); // "missing", "extra", "changed"
// The replay is at B: each key that differs, in byte order. Stops if fn answers false.
CS_MUST_USE bool cs_compare_end(struct cs_compare *c,
                                bool (*fn)(void *arg, const char *key, bool index, enum cs_difference d),
                                void *arg, struct cs_err *err);
