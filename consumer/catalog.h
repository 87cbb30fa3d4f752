// SPDX-License-Identifier: Apache-2.0
//
// The catalog as a worker sees it: documents and indexes (state.h) of whole partitions, each with the
// position that they stand for, changed by compare-and-set only. Two implementations pass the same contract
// tests (tests/contract): memory (catalog_memory.c) and Redis (catalog_redis.c).
//
// A batch is: load_begin … load_end (again while decisions need more), then commit_begin … commit_end, or
// cancel. What begins something returns at once; `poll` says whether the answer is there, so that the worker
// has other work to do meanwhile; the `_end` call waits for it. One handle has one thing under way at a time
// and belongs to one thread; several handles may stand on one store.
//
// "moved": the position is not the one that the batch stands on. Not an error: the caller throws its batch
// away (cancel) and starts again from the stored position. Errors: RETRY (store away: the handle reconnects
// by itself at the next call; what was under way is lost, a commit may or may not have happened), CONFIG
// (password, version), FATAL (keys of another kind). After an error the handle is idle.
#pragma once

#include "certsync/model/entry.h"
#include "certsync/model/state.h"

struct cs_catalog;
struct cs_catalog_ops {
    // Takes the position under watch and asks for what state notes as needed (which may be nothing).
    bool (*load_begin)(struct cs_catalog *c, int32_t partition, struct cs_state *state, struct cs_err *err);
    // Fills state (same one as in load_begin), clears its notes. *ret is the position before and after the
    // reads, or *ret_moved true where these differ (then state is not to be used).
    bool (*load_end)(struct cs_catalog *c, struct cs_position *ret, bool *ret_moved, struct cs_err *err);
    // Writes the state's changes and `to`, all or nothing, if the position is still `from` and nobody touched
    // it since load_begin. The bytes are copied before it returns.
    bool (*commit_begin)(struct cs_catalog *c, int32_t partition, const struct cs_state *state,
                         const struct cs_position *from, const struct cs_position *to, struct cs_err *err);
    bool (*commit_end)(struct cs_catalog *c, bool *ret_moved, struct cs_err *err);
    // Whether _end would return without waiting. True also where nothing is under way, or the connection
    // broke.
    bool (*poll)(struct cs_catalog *c);
    // File descriptor that becomes readable (or, where *ret_write is set, writable) when poll is worth
    // calling; -1: none is needed.
    int (*fd)(struct cs_catalog *c, bool *ret_write);
    // Gives up what is under way or watched. Waits for outstanding answers, or drops the connection.
    void (*cancel)(struct cs_catalog *c);
    // Removes everything of a partition, its position last. Not atomic: for a partition that no worker has.
    bool (*reset)(struct cs_catalog *c, int32_t partition, struct cs_err *err);
    // Every document and index but the position, in byte order of the keys. Stops where a callback returns
    // false. Only consistent where nobody commits meanwhile.
    bool (*each)(struct cs_catalog *c, int32_t partition,
                 bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                 bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                 void *arg, struct cs_err *err);
    void (*free)(struct cs_catalog *c);
};
// First member of each implementation.
struct cs_catalog {
    const struct cs_catalog_ops *ops;
};

static inline void cs_catalog_free(struct cs_catalog *c) {
    if (c)
        c->ops->free(c);
}
CS_DEFINE_AUTO(struct cs_catalog, cs_catalog_free)

// The position as it is now, and the needed of state, waiting for both. For a start, and for tools.
CS_MUST_USE bool cs_catalog_load(struct cs_catalog *c, int32_t partition, struct cs_state *state,
                                 struct cs_position *ret, struct cs_err *err);

// Memory: the store is shared by its handles (not between threads) and outlives them.
struct cs_memory_store;
CS_MUST_USE bool cs_memory_store_new(struct cs_memory_store **ret, struct cs_err *err);
void cs_memory_store_free(struct cs_memory_store *s);
CS_DEFINE_AUTO(struct cs_memory_store, cs_memory_store_free)
CS_MUST_USE bool cs_catalog_memory_new(struct cs_memory_store *store, struct cs_catalog **ret,
                                       struct cs_err *err);

struct cs_redis_target;
struct cs_catalog_redis_options {
    const struct cs_redis_target *target; // copied
    const char *username;                 // "" or NULL: none
    const char *password;                 // "" or NULL: none
    const char *ca_file;                  // for TLS
    const char *name_space;
    int64_t timeout_ms; // of connecting, and of each wait for an answer
};
// Does not connect yet. Strings are copied.
CS_MUST_USE bool cs_catalog_redis_new(const struct cs_catalog_redis_options *options, struct cs_catalog **ret,
                                      struct cs_err *err);

// What preflight asks of Redis.
struct cs_redis_facts {
    int version_major;
    char maxmemory_policy[32]; // "" where the server does not say
    bool is_replica;
};
CS_MUST_USE bool cs_catalog_redis_facts(struct cs_catalog *c, struct cs_redis_facts *ret, struct cs_err *err);
