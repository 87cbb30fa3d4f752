// SPDX-License-Identifier: Apache-2.0
//
// The catalog as a worker sees it: documents and indexes (state.h) of whole partitions, each with
// its position. Only compare-and-set changes them. Two implementations pass the same contract tests
// (tests/contract): memory (catalog/memory.c) and Redis (catalog/redis.c).
//
// A batch is: load_begin … load_end (again while decisions need more), then commit_begin …
// commit_end, or cancel. A _begin call returns at once. `poll` says whether the answer has come, so
// that the worker can do other work meanwhile. The _end call waits for it. One handle belongs to
// one thread and does one thing at a time. Several handles may share one store.
//
// "moved": the position is not the one that the batch began at, or another generation became live.
// That is no error: the caller drops its batch (cancel), and starts again from the stored position.
// Errors: RETRY (store away: the handle reconnects by itself at the next call; what was under way
// is lost, a commit may or may not have happened), CONFIG (password, version), FATAL
// (what this release cannot read), DAMAGED (what is stored is not what was written there). After an
// error the handle is idle.
//
// Generations. The store can hold a partition's catalog more than once, each with its own position:
// the live generation, which workers write and the API reads, and the next one, which a rebuild
// fills from offset 0 meanwhile. Their numbers only rise. A handle follows the live one by itself;
// `view` and `claim` switch it to the next. The handle that claimed the next generation writes it
// alone, for a lease that each commit renews. A handle that lost the claim is told "moved".
// `promote` makes the next one live in one step. After that, no batch that was decided on the old
// one can commit.
#pragma once

#include "certsync/model/entry.h"
#include "certsync/model/state.h"

struct cs_generations {
    int64_t live; // 1 at the beginning
    int64_t next; // 0: none
    struct cs_position live_position;
    struct cs_position next_position;
};
#define CS_SWEEP_CURSOR 24

struct cs_restored {
    int64_t outcomes; // of the snapshot; 0: it was not restored from one
    int64_t until;    // so many outcomes were published then: up to there they are compared
};
enum cs_catalog_view { CS_VIEW_LIVE, CS_VIEW_NEXT };

struct cs_catalog;
struct cs_catalog_ops {
    // Watches the position, and asks for what state notes as needed (which may be nothing).
    bool (*load_begin)(struct cs_catalog *c, int32_t partition, struct cs_state *state, struct cs_err *err);
    // Fills state (the same as in load_begin), and clears its notes. If there is much, it fills
    // only a part: the rest stays unknown, and is noted again by those who need it. *ret is the
    // position before and after the reads. *ret_moved true: these differ; then state and its notes
    // are unchanged.
    bool (*load_end)(struct cs_catalog *c, struct cs_position *ret, bool *ret_moved, struct cs_err *err);
    // Writes the state's changes and `to`, all or nothing, if the position is still `from`, and
    // nobody touched it since load_begin. The state must stay as it is until commit_end or cancel.
    bool (*commit_begin)(struct cs_catalog *c, int32_t partition, const struct cs_state *state,
                         const struct cs_position *from, const struct cs_position *to, struct cs_err *err);
    bool (*commit_end)(struct cs_catalog *c, bool *ret_moved, struct cs_err *err);
    // Whether _end would return without waiting. Also true if nothing is under way, or the
    // connection broke.
    bool (*poll)(struct cs_catalog *c);
    // File descriptor that becomes readable (with *ret_write: writable) when poll is worth calling;
    // -1: none is needed.
    int (*fd)(struct cs_catalog *c, bool *ret_write);
    // Gives up what is under way or watched. Waits for outstanding answers, or drops the
    // connection.
    void (*cancel)(struct cs_catalog *c);
    // Removes everything of the handle's generation, its position last. Not atomic: only for a
    // generation that nobody else writes.
    bool (*reset)(struct cs_catalog *c, int32_t partition, struct cs_err *err);
    // Every document and index but the position, in byte order of the keys. Stops if a callback
    // returns false. Consistent only if nobody commits meanwhile. What is gone is told after all that
    // is there (DAMAGED).
    bool (*each)(struct cs_catalog *c, int32_t partition,
                 bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                 bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                 void *arg, struct cs_err *err);

    // Number of the generation that the last load of this partition used; 0: none yet.
    int64_t (*generation)(const struct cs_catalog *c, int32_t partition);
    // Which generations the partition has.
    bool (*generations)(struct cs_catalog *c, int32_t partition, struct cs_generations *ret,
                        struct cs_err *err);
    // Uses the live or the next generation, for reading. Without a next one, a load fails (CONFIG).
    void (*view)(struct cs_catalog *c, enum cs_catalog_view view);
    // Claims a generation, newer than the live one, for this handle, which then uses it. It becomes
    // the next one. If the next one had another number, an empty one is begun. *ret_claimed false:
    // another handle has the claim, until *ret_left_ms from now if it died. To claim it again
    // renews the claim.
    bool (*claim)(struct cs_catalog *c, int32_t partition, int64_t generation, int64_t lease_ms,
                  bool *ret_claimed, int64_t *ret_left_ms, struct cs_err *err);
    // Gives the claim back, if it is still this handle's.
    bool (*release)(struct cs_catalog *c, int32_t partition, struct cs_err *err);
    // Makes the claimed generation the live one, and ends the claim, if it is at `next` and the
    // live one still at `live`. *ret_moved: one of them is not, or the claim is lost.
    bool (*promote)(struct cs_catalog *c, int32_t partition, const struct cs_position *live,
                    const struct cs_position *next, bool *ret_moved, struct cs_err *err);
    // Makes an empty generation, newer than all there are, the live one in one step: for a catalog
    // that is damaged, and is then made again from the log by whoever writes the live one. A rebuild
    // loses its claim. *ret_moved: `generation` is not the live one; nothing was done.
    bool (*renew)(struct cs_catalog *c, int32_t partition, int64_t generation, bool *ret_moved,
                  struct cs_err *err);
    // Fills a generation that is empty with a whole catalog (a snapshot), piece by piece: each time the changes
    // of a state that has only these. The last piece brings the position, and what `restored` then says
    // (NULL: more pieces follow). A generation that was filled in part reads as DAMAGED. *ret_moved: it has
    // a position, or it is not the one that the handle loaded.
    bool (*restore)(struct cs_catalog *c, int32_t partition, const struct cs_state *piece, bool first,
                    const struct cs_position *to, const struct cs_restored *from, bool *ret_moved,
                    struct cs_err *err);
    // What the generation that the handle uses was restored from. Nothing vouches for it: it is a note
    // for whoever doubts a snapshot.
    bool (*restored)(struct cs_catalog *c, int32_t partition, struct cs_restored *ret, struct cs_err *err);
    // Removes, in small pieces, the generations that are neither live nor next. Stops with
    // *ret_moved if one is promoted or begun meanwhile.
    bool (*sweep)(struct cs_catalog *c, int32_t partition, int64_t *ret_removed, bool *ret_moved,
                  struct cs_err *err);
    // One piece of that. cursor is "0" at first, and again after the last piece, or where *ret_moved.
    bool (*sweep_some)(struct cs_catalog *c, int32_t partition, char cursor[CS_SWEEP_CURSOR], bool *ret_moved,
                       struct cs_err *err);
    // All of that, of partitions 0 to partitions - 1, in one pass over each server. What a partition
    // that moves meanwhile has left stays for another sweep. *ret_removed also counts after a failure.
    bool (*sweep_all)(struct cs_catalog *c, int32_t partitions, int64_t *ret_removed, struct cs_err *err);
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

// The current position, and what state needs; waits for both. For a start, and for tools.
CS_MUST_USE bool cs_catalog_load(struct cs_catalog *c, int32_t partition, struct cs_state *state,
                                 struct cs_position *ret, struct cs_err *err);

// Whether a "system" document is of this log, and of a ruleset that this release knows. If
// not: FATAL.
CS_MUST_USE bool cs_catalog_check_system(struct cs_bytes doc, const char *log_id, int32_t partitions,
                                         struct cs_err *err);

// Memory: the store is shared by its handles (not between threads) and outlives them.
struct cs_memory_store;
CS_MUST_USE bool cs_memory_store_new(struct cs_memory_store **ret, struct cs_err *err);
void cs_memory_store_free(struct cs_memory_store *s);
CS_DEFINE_AUTO(struct cs_memory_store, cs_memory_store_free)
CS_MUST_USE bool cs_catalog_memory_new(struct cs_memory_store *store, struct cs_catalog **ret,
                                       struct cs_err *err);

// most: bytes of documents, as they are stored, that one load fills in, but always one document. As
// made: 6 MiB.
void cs_catalog_redis_load_bytes(struct cs_catalog *c, size_t most);
// members of an index that `each` reads at once; larger ones are read in as many pieces. As made:
// 2,000.
void cs_catalog_redis_piece(struct cs_catalog *c, size_t members);
struct cs_redis_access;
struct cs_privkey;
// Redis: access is copied. What it borrows must outlive the catalog. Does not connect yet. What is
// written carries a mark by the service's private key and the log's id. What is read must carry it
// (authentic.h).
CS_MUST_USE bool cs_catalog_redis_new(const struct cs_redis_access *access, const char *name_space,
                                      const struct cs_privkey *service, const char *log_id,
                                      struct cs_catalog **ret, struct cs_err *err);
