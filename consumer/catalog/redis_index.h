// SPDX-License-Identifier: Apache-2.0
//
// The changes of indexes in one commit: grouped by key, each run of additions or removals in one
// ZADD or ZREM. What they do to the number that witnesses an index (witness.h) depends on what
// Redis has: which members are there already, with which scores, and which ones a trim takes off.
// So they are asked for first, under the same WATCH:
//
//     reset, add …, cs_index_changes_gather; _ask, (the replies) _told; _put
//
// Internal to the Redis catalog. The state that the changes are of must not change meanwhile.
#pragma once

#include "catalog/witness.h"
#include "certsync/model/state.h"
#include "redis/link.h"

// Where the changes of one commit go.
struct cs_redis_place {
    struct cs_redis_link *l;
    const char *prefix; // of the generation
    size_t prefix_len;
    int32_t partition;
};
static inline void cs_redis_place_key(const struct cs_redis_place *to, const char *key) {
    cs_redis_arg_joined(to->l, to->prefix, to->prefix_len, key);
}

struct cs_index_changes;
CS_MUST_USE bool cs_index_changes_new(struct cs_authentic *authentic, struct cs_index_changes **ret,
                                      struct cs_err *err); // authentic: borrowed
void cs_index_changes_free(struct cs_index_changes *x);
CS_MUST_USE bool cs_index_changes_reset(struct cs_index_changes *x);
// A change of an index. False: out of memory.
CS_MUST_USE bool cs_index_changes_add(struct cs_index_changes *x, const struct cs_change *change);
// Finds the members that they touch, and marks these.
CS_MUST_USE bool cs_index_changes_gather(struct cs_index_changes *x, int32_t partition, struct cs_err *err);
// Appends the questions; *ret_n of them, 0 where no index changes.
void cs_index_changes_ask(const struct cs_index_changes *x, const struct cs_redis_place *at, size_t *ret_n);
// Their answers. Adds what happens to the witnesses.
CS_MUST_USE bool cs_index_changes_told(struct cs_index_changes *x, int32_t partition,
                                       redisReply *const *replies, struct cs_witnesses *witnesses,
                                       struct cs_err *err);
// The keys of the documents that go with members that are trimmed off, each with its NUL. Until the
// next reset.
struct cs_bytes cs_index_changes_gone(const struct cs_index_changes *x);
// Appends the commands.
void cs_index_changes_put(const struct cs_index_changes *x, const struct cs_redis_place *to);
