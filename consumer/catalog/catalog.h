// SPDX-License-Identifier: Apache-2.0
//
// The catalog as a worker sees it: documents and indexes (state.h) of whole partitions, each with
// the position that they stand for, changed by compare-and-set only. Two implementations pass the
// same contract tests (tests/contract): memory (catalog/memory.c) and Redis (catalog/redis.c).
//
// A batch is: load_begin … load_end (again while decisions need more), then commit_begin …
// commit_end, or cancel. What begins something returns at once; `poll` says whether the answer is
// there, so that the worker has other work to do meanwhile; the `_end` call waits for it. One
// handle has one thing under way at a time and belongs to one thread; several handles may stand on
// one store.
//
// "moved": the position is not the one that the batch stands on. Not an error: the caller throws
// its batch away (cancel) and starts again from the stored position. The same is said where another
// generation has become the live one. Errors: RETRY (store away: the handle reconnects by itself at
// the next call; what was under way is lost, a commit may or may not have happened), CONFIG
// (password, version), FATAL (keys of another kind). After an error the handle is idle.
//
// Generations. A partition's catalog can stand in the store more than once, each with a position of
// its own: the live generation, which workers write and the API serves, and the next one, which a
// rebuild fills from offset 0 meanwhile. Their numbers only rise. A handle follows the live one by
// itself; `view` and `claim` make it stand on the next. Whoever claimed the next generation writes
// it alone, for a lease that each commit renews: who lost the claim is told "moved". `promote`
// makes the next one live in one step, and so fences every batch that was decided on the old one.
#pragma once

#include "certsync/model/entry.h"
#include "certsync/model/state.h"

struct cs_generations {
    int64_t live; // 1 at the beginning
    int64_t next; // 0: none
    struct cs_position live_position;
    struct cs_position next_position;
};
enum cs_catalog_view { CS_VIEW_LIVE, CS_VIEW_NEXT };

struct cs_catalog;
struct cs_catalog_ops {
    // Takes the position under watch and asks for what state notes as needed (which may be
    // nothing).
    bool (*load_begin)(struct cs_catalog *c, int32_t partition, struct cs_state *state, struct cs_err *err);
    // Fills state (same one as in load_begin), clears its notes. Where there is much, only with a
    // part of it: the rest is not known still, and whoever needs it notes it again. *ret is the
    // position before and after the reads, or *ret_moved true where these differ (then state is as
    // it was, with its notes).
    bool (*load_end)(struct cs_catalog *c, struct cs_position *ret, bool *ret_moved, struct cs_err *err);
    // Writes the state's changes and `to`, all or nothing, if the position is still `from` and
    // nobody touched it since load_begin. The bytes are copied before it returns.
    bool (*commit_begin)(struct cs_catalog *c, int32_t partition, const struct cs_state *state,
                         const struct cs_position *from, const struct cs_position *to, struct cs_err *err);
    bool (*commit_end)(struct cs_catalog *c, bool *ret_moved, struct cs_err *err);
    // Whether _end would return without waiting. True also where nothing is under way, or the
    // connection broke.
    bool (*poll)(struct cs_catalog *c);
    // File descriptor that becomes readable (or, where *ret_write is set, writable) when poll is
    // worth calling; -1: none is needed.
    int (*fd)(struct cs_catalog *c, bool *ret_write);
    // Gives up what is under way or watched. Waits for outstanding answers, or drops the
    // connection.
    void (*cancel)(struct cs_catalog *c);
    // Removes everything of the generation that the handle stands on, its position last. Not
    // atomic: for one that nobody else writes.
    bool (*reset)(struct cs_catalog *c, int32_t partition, struct cs_err *err);
    // Every document and index but the position, in byte order of the keys. Stops where a callback
    // returns false. Only consistent where nobody commits meanwhile.
    bool (*each)(struct cs_catalog *c, int32_t partition,
                 bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                 bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                 void *arg, struct cs_err *err);

    // Number of the generation that the last load of this partition stood on; 0: none yet.
    int64_t (*generation)(const struct cs_catalog *c, int32_t partition);
    // How the partition's generations stand.
    bool (*generations)(struct cs_catalog *c, int32_t partition, struct cs_generations *ret,
                        struct cs_err *err);
    // Stands on the live or the next generation, for reading. Where there is no next one, a load
    // fails (CONFIG).
    void (*view)(struct cs_catalog *c, enum cs_catalog_view view);
    // Claims a generation, newer than the live one, for this handle, which then stands on it. It is
    // the next one from then on; where that had another number, an empty one is begun. *ret_claimed
    // false: another handle has the claim, until *ret_left_ms from now if it died. Claiming what
    // one has renews it.
    bool (*claim)(struct cs_catalog *c, int32_t partition, int64_t generation, int64_t lease_ms,
                  bool *ret_claimed, int64_t *ret_left_ms, struct cs_err *err);
    // Gives the claim back, if it is still this handle's.
    bool (*release)(struct cs_catalog *c, int32_t partition, struct cs_err *err);
    // Makes the claimed generation the live one and ends the claim, if it stands at `next`, and the
    // live one still at `live`; *ret_moved where one of them does not, or the claim is lost.
    bool (*promote)(struct cs_catalog *c, int32_t partition, const struct cs_position *live,
                    const struct cs_position *next, bool *ret_moved, struct cs_err *err);
    // Removes, in small pieces, the generations that are neither live nor next. Stops with
    // *ret_moved where one is promoted or begun meanwhile.
    bool (*sweep)(struct cs_catalog *c, int32_t partition, int64_t *ret_removed, bool *ret_moved,
                  struct cs_err *err);
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

// Whether a "system" document is of this deployment, and of a ruleset that this release knows:
// otherwise FATAL.
CS_MUST_USE bool cs_catalog_check_system(struct cs_bytes doc, const char *deployment, int32_t partitions,
                                         struct cs_err *err);

// Memory: the store is shared by its handles (not between threads) and outlives them.
struct cs_memory_store;
CS_MUST_USE bool cs_memory_store_new(struct cs_memory_store **ret, struct cs_err *err);
void cs_memory_store_free(struct cs_memory_store *s);
CS_DEFINE_AUTO(struct cs_memory_store, cs_memory_store_free)
CS_MUST_USE bool cs_catalog_memory_new(struct cs_memory_store *store, struct cs_catalog **ret,
                                       struct cs_err *err);

// most: bytes of documents that one load fills in, but always one document. As made: 16 MiB.
void cs_catalog_redis_load_bytes(struct cs_catalog *c, size_t most);
// members of an index that `each` reads at once; larger ones are read in as many pieces. As made:
// 2,000.
void cs_catalog_redis_piece(struct cs_catalog *c, size_t members);
struct cs_redis_access;
// Redis: access is copied, what it borrows must outlive the catalog. Does not connect yet.
CS_MUST_USE bool cs_catalog_redis_new(const struct cs_redis_access *access, const char *name_space,
                                      struct cs_catalog **ret, struct cs_err *err);
// The same in the Redis that the settings name; they must outlive it.
struct cs_consumer_settings;
CS_MUST_USE bool cs_catalog_of(const struct cs_consumer_settings *s, struct cs_catalog **ret,
                               struct cs_err *err);
