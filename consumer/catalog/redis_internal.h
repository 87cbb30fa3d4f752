// SPDX-License-Identifier: Apache-2.0
//
// What the files of the Redis catalog share: catalog/redis.c (load), catalog/redis_commit.c (commit;
// its commands: redis_write.c, redis_index.c), catalog/redis_witness.c (the witnesses of what is
// read), catalog/redis_keys.c (walking over keys), catalog/redis_generation.c (generations),
// catalog/redis_sweep.c (removing).
//
// A handle has a fence: a key, and the value that it must have from WATCH to EXEC. Live: "gen" with
// the generation's number. Next, for reading: "next" with the number. Claimed: "claim" with the
// handle's token.
#pragma once

#include "catalog/authentic.h"
#include "catalog/catalog.h"
#include "catalog/packed.h"
#include "catalog/redis_write.h"
#include "redis/key.h"
#include "redis/route.h"

#define CS_CLAIM_TOKEN_SIZE 33

// A commit that changes indexes asks first what they hold.
enum cs_under_way { CS_NOTHING, CS_LOADING, CS_ASKING, CS_COMMITTING };
enum cs_stand { CS_ON_LIVE, CS_ON_NEXT, CS_ON_CLAIMED };

struct redis_catalog {
    struct cs_catalog base;
    char name_space[CS_NAMESPACE_MAX];
    struct cs_redis_route *route;
    struct cs_redis_link *link; // the partition's, of what was begun last; NULL: none
    struct cs_redis_writer *writer;
    struct cs_authentic *authentic;
    struct cs_packer *packer;
    enum cs_under_way under_way;
    bool watching;
    struct cs_position loaded; // the position that is watched
    bool begun;                // it is there: the generation had a commit
    bool refused;              // a commit from another position than that
    struct cs_buf position;    // of a commit under way, as it will be stored; empty: it writes none
    struct cs_buf restored;    // the same of CS_RESTORED_KEY; empty: it writes none
    struct cs_position to;
    struct cs_buf changes; // of it, for those who follow (changes.h)
    unsigned char *turns;  // by partition: how many of these the handle wrote, to tell their places
    size_t turns_cap;
    bool failed; // while nobody waited for it, with
    struct cs_err failure;
    enum cs_stand stand;
    char token[CS_CLAIM_TOKEN_SIZE]; // of this handle's claims
    int64_t lease_ms;
    int64_t *known; // by partition, the generation that the handle takes for live; 0: not known yet
    size_t known_cap;
    // The partition of what is under way, or was last.
    int32_t partition;
    char slot[CS_PREFIX_MAX]; // "<namespace>:{<partition>}:"
    size_t slot_len;
    char prefix[CS_PREFIX_MAX]; // the same with the generation
    size_t prefix_len;
    struct cs_state *state; // of a load under way
    size_t load_bytes;      // most bytes of documents that one load takes
    // What a load asked for: documents first, then indexes, by their places in the list of what the
    // state needs.
    size_t *docs;
    size_t docs_len;
    size_t *indexes;
    size_t indexes_len;
    size_t asked_cap;
    struct cs_witnesses witnesses; // of the same, in this order, then the position's
    struct cs_member *members;
    size_t members_cap;
    size_t piece; // members of a large index that are read at once
};

// catalog/redis.c
// Sets partition, slot and prefix; makes room in `known`. Fails only without memory.
CS_MUST_USE bool cs_redis_stand(struct redis_catalog *c, int32_t partition, struct cs_err *err);
// Begins commands to the partition's primary.
CS_MUST_USE bool cs_redis_open(struct redis_catalog *c, struct cs_err *err);
// Begins further commands on the same connection, which watches. RETRY if it is lost.
CS_MUST_USE bool cs_redis_go_on(struct redis_catalog *c, struct cs_err *err);
// Sets err from an error reply, and learns from it where the keys are. Always false.
bool cs_redis_refused(struct redis_catalog *c, const redisReply *reply, const char *what, struct cs_err *err);
void cs_redis_catalog_cancel(struct cs_catalog *base);
void cs_redis_put_key(struct redis_catalog *c, const char *key); // of the generation
void cs_redis_put_command(struct redis_catalog *c, const char *name, const char *key);
void cs_redis_put_slot_key(struct redis_catalog *c, const char *key); // of the partition
// The fence and the position: watched (WATCH), or read once (MGET).
void cs_redis_put_fence(struct redis_catalog *c, const char *name);
struct cs_bytes cs_redis_reply_bytes(const redisReply *r);
struct cs_redis_place cs_redis_place_of(const struct redis_catalog *c); // where its commands go
// What is read is authenticated: DAMAGED where it is not what was written there. Whether a position
// is the newest is not looked at.
CS_MUST_USE bool cs_redis_read_position(struct redis_catalog *c, const redisReply *r, struct cs_position *ret,
                                        struct cs_err *err);
// *ret: valid until the next one is read.
CS_MUST_USE bool cs_redis_read_doc(struct redis_catalog *c, const redisReply *r, const char *key,
                                   struct cs_bytes witness, struct cs_bytes *ret, struct cs_err *err);
// Ends each member in the reply before its mark. *ret_number: what they add to the index' witness.
CS_MUST_USE bool cs_redis_read_members(struct redis_catalog *c, const redisReply *r, const char *key,
                                       size_t *ret_n, int64_t *ret_number, struct cs_err *err);

// catalog/redis_commit.c
bool cs_redis_catalog_commit_begin(struct cs_catalog *base, int32_t partition, const struct cs_state *state,
                                   const struct cs_position *from, const struct cs_position *to,
                                   struct cs_err *err);
bool cs_redis_catalog_commit_end(struct cs_catalog *base, bool *ret_moved, struct cs_err *err);
bool cs_redis_catalog_restore(struct cs_catalog *base, int32_t partition, const struct cs_state *piece,
                              bool first, const struct cs_position *to, const struct cs_restored *from,
                              bool *ret_moved, struct cs_err *err);
bool cs_redis_catalog_restored(struct cs_catalog *base, int32_t partition, struct cs_restored *ret,
                               struct cs_err *err);
// What the indexes hold has been answered, or is waited for. Then the commit itself is sent.
CS_MUST_USE bool cs_redis_catalog_go_on_committing(struct redis_catalog *c, struct cs_err *err);

// catalog/redis_witness.c
// All witnesses of a generation, to hold them against all that it has.
struct cs_all_witnesses;
CS_MUST_USE bool cs_redis_all_witnesses(struct redis_catalog *c, struct cs_all_witnesses **ret,
                                        struct cs_err *err);
void cs_all_witnesses_free(struct cs_all_witnesses *all);
// The entry of a key, which counts as seen; data NULL: there is none.
CS_MUST_USE bool cs_all_witnesses_take(struct redis_catalog *c, struct cs_all_witnesses *all, const char *key,
                                       struct cs_bytes *ret, struct cs_err *err);
// DAMAGED if there is an entry that was not seen: what it speaks of is gone.
CS_MUST_USE bool cs_all_witnesses_seen(struct redis_catalog *c, const struct cs_all_witnesses *all,
                                       struct cs_err *err);
// One document or index and its entry, of one moment.
CS_MUST_USE bool cs_redis_read_again(struct redis_catalog *c, const char *key, bool index,
                                     const redisReply **ret, struct cs_bytes *ret_witness,
                                     struct cs_err *err);

// catalog/redis_keys.c
// The generation of a key, from the text after the slot. 0: it belongs to the whole partition.
int64_t cs_redis_generation_of(const char *key, const char **ret_rest);
// One step of SCAN on the link that c has, over keys that begin with `prefix`.
CS_MUST_USE bool cs_redis_scan(struct redis_catalog *c, const char *prefix, char cursor[CS_SWEEP_CURSOR],
                               const redisReply **ret, struct cs_err *err);
// The same at the partition's primary. Appends what it finds to keys, NUL-terminated and without the
// slot.
CS_MUST_USE bool cs_redis_scan_partition(struct redis_catalog *c, const char *prefix,
                                         char cursor[CS_SWEEP_CURSOR], struct cs_buf *keys,
                                         struct cs_err *err);
bool cs_redis_catalog_each(struct cs_catalog *base, int32_t partition,
                           bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                           bool (*index)(void *arg, const char *key, const struct cs_member *members,
                                         size_t n),
                           void *arg, struct cs_err *err);

// catalog/redis_sweep.c
bool cs_redis_catalog_reset(struct cs_catalog *base, int32_t partition, struct cs_err *err);
bool cs_redis_catalog_sweep(struct cs_catalog *base, int32_t partition, int64_t *ret_removed, bool *ret_moved,
                            struct cs_err *err);
bool cs_redis_catalog_sweep_some(struct cs_catalog *base, int32_t partition, char cursor[CS_SWEEP_CURSOR],
                                 bool *ret_moved, struct cs_err *err);
bool cs_redis_catalog_sweep_all(struct cs_catalog *base, int32_t partitions, int64_t *ret_removed,
                                struct cs_err *err);

// catalog/redis_generation.c
int64_t cs_redis_catalog_generation(const struct cs_catalog *base, int32_t partition);
bool cs_redis_catalog_generations(struct cs_catalog *base, int32_t partition, struct cs_generations *ret,
                                  struct cs_err *err);
void cs_redis_catalog_view(struct cs_catalog *base, enum cs_catalog_view view);
bool cs_redis_catalog_claim(struct cs_catalog *base, int32_t partition, int64_t generation, int64_t lease_ms,
                            bool *ret_claimed, int64_t *ret_left_ms, struct cs_err *err);
bool cs_redis_catalog_release(struct cs_catalog *base, int32_t partition, struct cs_err *err);
bool cs_redis_catalog_promote(struct cs_catalog *base, int32_t partition, const struct cs_position *live,
                              const struct cs_position *next, bool *ret_moved, struct cs_err *err);
bool cs_redis_catalog_renew(struct cs_catalog *base, int32_t partition, int64_t generation, bool *ret_moved,
                            struct cs_err *err);
// The fence of what the handle uses, in a reply. *ret_holds false: it has another value (then what
// is known of the partition is corrected, so that the next load uses that). CONFIG: there is no
// next generation.
CS_MUST_USE bool cs_redis_fence_check(struct redis_catalog *c, const redisReply *fence, bool *ret_holds,
                                      struct cs_err *err);
const char *cs_redis_fence_key(const struct redis_catalog *c);
// The number in a reply of "gen" or "next"; absent if it is nil.
CS_MUST_USE bool cs_redis_read_generation(const redisReply *r, int64_t absent, int64_t *ret,
                                          struct cs_err *err);
// Sends the commands and waits. The replies belong to the link. An error reply fails ("cannot
// <what>").
CS_MUST_USE bool cs_redis_ask(struct redis_catalog *c, const char *what, redisReply *const **ret,
                              size_t *ret_n, struct cs_err *err);
