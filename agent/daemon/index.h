// SPDX-License-Identifier: Apache-2.0
//
// A table from 64-bit keys (hashes of texts) to pointers. A key may have several. The pointers are
// borrowed. The caller compares the text itself: two texts may have one key.
#pragma once

#include "certsync/base/err.h"

struct cs_index_entry {
    uint64_t key;
    void *value;
    struct cs_index_entry *next; // of the bucket
};
struct cs_index {
    struct cs_index_entry **buckets;
    size_t cap; // power of two, or 0
    size_t n;
};
void cs_index_clear(struct cs_index *x);
uint64_t cs_index_key(const char *text);
// Does nothing if the pair is there already. False: out of memory.
CS_MUST_USE bool cs_index_put(struct cs_index *x, uint64_t key, void *value);
void cs_index_remove(struct cs_index *x, uint64_t key, const void *value);
// All values of a key: for (e = cs_index_first(x, key); e; e = cs_index_next(e)).
const struct cs_index_entry *cs_index_first(const struct cs_index *x, uint64_t key);
const struct cs_index_entry *cs_index_next(const struct cs_index_entry *e);
