// SPDX-License-Identifier: Apache-2.0
//
// The board: the state of each partition. The worker that has it writes it; the API (/readyz) and
// the metrics read it. Thread-safe (one mutex, held only to copy).
#pragma once

#include "certsync/base/err.h"

enum cs_board_state {
    CS_BOARD_ELSEWHERE = 0, // not assigned to this process
    CS_BOARD_STARTING,      // reading position and cursor
    CS_BOARD_REPLAYING,     // comparing what it decides with what was published
    CS_BOARD_RUNNING,
    CS_BOARD_WAITING, // Redis or Kafka is away, a right is missing, the group is lost: tries again by itself
    CS_BOARD_STOPPED, // needs a person: fork, truncated topic, unknown ruleset, CreateTime...
};
const char *cs_board_state_name(enum cs_board_state s);
#define CS_BOARD_STATES 6

// Agents that have sent heartbeats, and were not revoked or rotated since.
struct cs_board_agents {
    bool known;
    int64_t alive;
    int64_t quiet; // not heard of for longer than api.quiet_after
    // broker time of the oldest last heartbeat; 0: there are no agents
    int64_t oldest_ms;
};

// Certificates of a partition's accounts, as they were counted last (worker/counting.h).
#define CS_BOARD_WITHIN 4
struct cs_board_certificates {
    bool known;
    int worker; // that had the partition then
    int64_t valid, expired;
    int64_t within[CS_BOARD_WITHIN]; // of the valid ones, those that end within 1, 7, 14, 30 days
};

struct cs_board_entry {
    enum cs_board_state state;
    // index of the worker that has it, or had it last and does not know yet who has it now; -1: no
    // worker of this process
    int owner;
    bool let_go;         // the latter
    char reason[512];    // of REPLAYING, WAITING and STOPPED: one sentence that says how to mend it
    int64_t next_offset; // applied and committed up to here; -1 unknown
    int64_t end_offset;  // end of the partition as last seen; -1 unknown
    // all records before this offset are applied, the broker says; -1 unknown
    int64_t reached;
    int64_t outcomes; // number of the last outcome
    // monotonic time of the last commit or of having found the end; 0: none yet
    int64_t progress_ms;
    // the broker's time of the first record that is not applied; 0: there is none, or not known
    int64_t oldest_ms;
    // records near the end of cert.outcomes that no consumer wrote, as last looked
    int64_t foreign;
    int64_t checkpointed;        // outcomes that a published checkpoint covers
    int64_t checkpoint_epoch;    // its epoch
    uint8_t checkpoint_root[32]; // of their tree
    // time of the oldest share that waits for its recipient's answer; 0: there is none
    int64_t share_ms;
    struct cs_board_agents agents;
    // never known unless the state is RUNNING
    struct cs_board_certificates certificates;
    int64_t ended_keys; // how often keys of agents ended, since this process has the partition
    // generation of the catalog in which something was found that certsync did not write, until it
    // is made again; 0: none
    int64_t damaged;
    char damage[512]; // what was found
};
// Records that are not applied; -1 unknown.
int64_t cs_board_lag(const struct cs_board_entry *e);

struct cs_board;
CS_MUST_USE bool cs_board_new(int32_t partition_count, struct cs_board **ret, struct cs_err *err);
void cs_board_free(struct cs_board *b);
CS_DEFINE_AUTO(struct cs_board, cs_board_free)
int32_t cs_board_partitions(const struct cs_board *b);
void cs_board_state(struct cs_board *b, int32_t partition, enum cs_board_state state, const char *reason);
// -1 leaves a number as it is.
void cs_board_progress(struct cs_board *b, int32_t partition, int64_t next_offset, int64_t end_offset,
                       int64_t outcomes, int64_t now_ms);
void cs_board_end(struct cs_board *b, int32_t partition, int64_t end_offset);
// The partition ends here, and all before it is applied. The last offsets may hold no record (marks
// of transactions).
void cs_board_reached(struct cs_board *b, int32_t partition, int64_t end_offset, int64_t now_ms);
// The end as another thread saw it, perhaps a moment ago. It only moves on.
void cs_board_end_seen(struct cs_board *b, int32_t partition, int64_t end_offset);
void cs_board_foreign(struct cs_board *b, int32_t partition, int64_t foreign);
void cs_board_checkpoint(struct cs_board *b, int32_t partition, int64_t epoch, int64_t outcomes,
                         const uint8_t root[32]);
void cs_board_oldest(struct cs_board *b, int32_t partition, int64_t oldest_ms);
void cs_board_share(struct cs_board *b, int32_t partition, int64_t share_ms);
void cs_board_agents(struct cs_board *b, int32_t partition, const struct cs_board_agents *agents);
// Dropped if the partition does not run any more, or another worker has it now.
void cs_board_certificates(struct cs_board *b, int32_t partition,
                           const struct cs_board_certificates *certificates);
void cs_board_keys_ended(struct cs_board *b, int32_t partition);
// Whoever reads the catalog found it damaged. Not noted where another process has the partition:
// nobody here could mend it. The catalog was made again: generation 0.
#define CS_BOARD_ANY_GENERATION INT64_MAX // whichever is live
void cs_board_damaged(struct cs_board *b, int32_t partition, int64_t generation, const char *what);
int64_t cs_board_damage(const struct cs_board *b, int32_t partition);
void cs_board_get(const struct cs_board *b, int32_t partition, struct cs_board_entry *ret);
// Partitions change hands. A worker takes one that it was assigned. It lets one go that was revoked
// (why: one sentence). It settles when the group has told it what it has now: only then do others
// have its old partitions. Until then such a partition is waiting, with its last numbers, so that
// no two processes both say that the other one has it. If another worker takes it meanwhile, it
// stays with that one.
void cs_board_take(struct cs_board *b, int32_t partition, int worker);
void cs_board_let_go(struct cs_board *b, int32_t partition, int worker, const char *why);
void cs_board_settle(struct cs_board *b, int worker);

// Faults that concern all partitions of this process, each kind with one sentence; NULL: the fault
// is over.
enum cs_board_trouble {
    CS_TROUBLE_GROUP,  // a worker cannot join its group
    CS_TROUBLE_KAFKA,  // the brokers do not answer
    CS_TROUBLE_TOPICS, // the topics are not what they must be
    CS_TROUBLE_RIGHTS, // Redis refuses what is needed now and then
    CS_TROUBLE_REDIS,  // Redis loses what it is given
    // nobody hears whether hosts are alive; all else works, so this process is ready all the same
    CS_TROUBLE_HEARTBEATS,
};
#define CS_BOARD_TROUBLES 6
const char *cs_board_trouble_name(enum cs_board_trouble t);
void cs_board_trouble(struct cs_board *b, enum cs_board_trouble t, const char *text);
// CS_TROUBLE_GROUP of one worker (its index, less than the number of partitions). The trouble stays
// until no worker has it.
void cs_board_worker_trouble(struct cs_board *b, int worker, const char *text);
// If a trouble (topics, Redis) forbids to publish: RETRY with its sentence, and false.
CS_MUST_USE bool cs_board_may_publish(const struct cs_board *b, struct cs_err *err);
// The sentence, "" where there is none.
#define CS_TROUBLE_TEXT_MAX 512
void cs_board_trouble_get(const struct cs_board *b, enum cs_board_trouble t, char out[CS_TROUBLE_TEXT_MAX]);

// True if there is no trouble (but CS_TROUBLE_HEARTBEATS), every worker is in the group, and each partition of this process is
// running. A replaying partition does not count: it answers nobody yet. Otherwise why: the first
// reason with its partition, and how many more (bounded text).
bool cs_board_ready(const struct cs_board *b, char *why, size_t why_size);
// A worker joined its group and got its first assignment (also an empty one), or left it.
void cs_board_worker_joined(struct cs_board *b, bool joined);
void cs_board_expect_workers(struct cs_board *b, int workers);
