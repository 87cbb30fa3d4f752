// SPDX-License-Identifier: Apache-2.0
//
// The second place that knows of each document and index of a catalog. A mark (authentic.h) proves
// that certsync wrote a value. It cannot say that a value is missing, or that it is an older one of
// the same key. So each generation has CS_WITNESS_BUCKETS hashes beside its documents:
// "witness/00" to "witness/ff". The entry of a key says:
//
//   document, position:  the part of its MAC that does not stand behind it (6 bytes)
//   index:               a number: how many members it has, and the sum of their shares, see below
//
// Both are written in one transaction with what they speak of. Whoever reads a value reads its
// entry in the same question. Present with the right entry, or absent without one: that is a fact.
// All else is DAMAGED: deleted, evicted, put back, or older than what was there.
//
// Bucket and name of an entry (8 bytes) follow from the key by the partition's secret. So entries
// spread evenly, nobody can make two keys meet in one entry, and small buckets stay compact in
// Redis (about 18 bytes an entry). Each bucket has a sentinel from the generation's first commit on:
// an entry without a name. A bucket that was lost as a whole is damage, and never "absent".
//
// Not covered: somebody who puts back a value together with its older entry.
#pragma once

#include "catalog/authentic.h"
#include "certsync/base/buf.h"

#define CS_WITNESS_BUCKETS  256
#define CS_WITNESS_PREFIX   "witness/"
#define CS_WITNESS_KEY_SIZE sizeof(CS_WITNESS_PREFIX "00")
#define CS_WITNESS_SENTINEL "" // its name
#define CS_WITNESS_IS       "1"

void cs_witness_key(char ret[CS_WITNESS_KEY_SIZE], unsigned bucket);

// The number of an index: 22 bits for its members, above them the sum of their shares (18 bits of
// each, from its MAC and its score). So members that were exchanged, or got another score, show,
// too, to who reads them all.
#define CS_WITNESS_COUNT_BITS 22
#define CS_WITNESS_COUNT(n)   ((n) & (((int64_t)1 << CS_WITNESS_COUNT_BITS) - 1))
// What one member adds to it. secret: of cs_authentic_member.
int64_t cs_witness_share(uint64_t secret, int64_t score);

struct cs_witness {
    struct cs_place place;
    struct cs_bytes value; // as read, borrowed; data NULL: there is none
    bool known;            // the value need not be asked for: it is in no bucket
    // To be written:
    enum { CS_WITNESS_SET = 1, CS_WITNESS_DROP, CS_WITNESS_CHANGE } what;
    uint8_t mark[CS_WITNESS_LEN]; // SET
    int64_t change;               // CHANGE: added to the number
};

// Entries, grouped by bucket for few commands. All zero at first; kept for its memory.
struct cs_witnesses {
    struct cs_witness *list; // in the order of adding
    size_t len, cap;
    uint32_t *order; // places in the list, bucket by bucket
    size_t order_cap;
    uint32_t begins[CS_WITNESS_BUCKETS + 1]; // of each bucket in order
};
void cs_witnesses_free(struct cs_witnesses *w);
void cs_witnesses_reset(struct cs_witnesses *w);
// Adds the entry of a key. *ret may be NULL; it is valid until the next one is added.
CS_MUST_USE bool cs_witnesses_add(struct cs_witnesses *w, struct cs_authentic *a, int32_t partition,
                                  const char *key, struct cs_witness **ret, struct cs_err *err);
// Groups those that are not known. To be called after the last was added.
CS_MUST_USE bool cs_witnesses_sort(struct cs_witnesses *w, struct cs_err *err);
static inline size_t cs_witnesses_of(const struct cs_witnesses *w, unsigned bucket) {
    return w->begins[bucket + 1] - w->begins[bucket];
}
static inline struct cs_witness *cs_witnesses_at(const struct cs_witnesses *w, unsigned bucket, size_t i) {
    return &w->list[w->order[w->begins[bucket] + i]];
}

// The number that an entry of an index holds; 0 where there is none. DAMAGED where it is no number.
CS_MUST_USE bool cs_witness_number(int32_t partition, const char *key, struct cs_bytes value, int64_t *ret,
                                   struct cs_err *err);
// DAMAGED, always false: the index has not the members that were written there.
bool cs_witness_index_differs(int32_t partition, const char *key, struct cs_err *err);
// Whether the sentinel of a bucket is there, if the catalog has begun (it has a position), and not
// there if it has not. Else DAMAGED.
CS_MUST_USE bool cs_witness_sentinel(int32_t partition, unsigned bucket, struct cs_bytes value, bool begun,
                                     struct cs_err *err);
