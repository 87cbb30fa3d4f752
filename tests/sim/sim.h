// SPDX-License-Identifier: Apache-2.0
//
// Simulated workers: flights (worker/flight.h), cursor (cursor.h) and rebuilds (rebuild.h) of the
// consumer in one process and one thread, over topics and a catalog in memory. A seed draws every
// step and every fault. After a run the invariants are those of tests/chaos.
//
//   pool.c   the events that runs are made of; made once
//   log.c    topics in memory, and producers whose messages arrive later, or never
//   store.c  catalogs that fail, and are emptied or turned back
//   flyer.c  workers and rebuilds
//   damage.c what somebody else does to the outcomes
//   correct.c root has outcomes judged anew, after a release that judged wrongly
//   judge.c  what must hold, by a second, plain judge
//   sim.c    the scheduler and the command
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog/catalog.h"
#include "fixture.h"
#include "log/reader.h"
#include "log/rebuild.h"
#include "worker/cursor.h"
#include "worker/flight.h"
#include "worker/publish.h"

#define PARTITIONS 2
#define WORKERS    3
#define REBUILDERS 3
#define SNAPSHOTS  4
#define BATCH      8
#define CORRECTED  3 // corrections of a run

// --- pool.c

struct sim_event { // a record of cert.events, without its offset
    struct cs_header headers[4];
    struct cs_record record;
    struct cs_prepared *prepared;
};
struct sim_pool {
    struct fx *fx;
    struct cs_service_keys service;
    struct cs_outcome_marks *marks;
    cs_kid service_kid;
    struct sim_event **base[PARTITIONS]; // what every log begins with
    size_t base_len[PARTITIONS];
    struct sim_event **more; // events that a run may add, each in its record's partition
    size_t more_len;
    struct sim_event *unknown_ruleset[PARTITIONS]; // stops a partition
    struct sim_event **derived;                    // those that were ever published, by value
    size_t derived_len, derived_cap;
};
void pool_make(struct sim_pool *p);
void pool_free(struct sim_pool *p);
// The event of a derived event's value and signature. NULL: the signature is not good.
struct sim_event *pool_derived(struct sim_pool *p, int32_t partition, struct cs_bytes key,
                               struct cs_bytes value, struct cs_bytes sig);

// --- log.c

struct sim_record {
    const struct sim_event *event; // of cert.events
    struct cs_bytes key, value;    // of cert.outcomes
    struct cs_bytes mark;          // the same; data NULL: none
    bool foreign;                  // no consumer wrote it
    bool sender_time;              // of cert.events: its time is not the broker's
    bool planted;                  // fits in form and chain, and has no mark: it must count for nothing
    struct cs_header headers[2];   // of cert.outcomes; log_append makes them
};
struct sim_log {
    struct sim_record *records;
    size_t len, cap;
};

struct sim;
struct sim_message {
    enum cs_publish_topic topic;
    int32_t partition;
    struct cs_bytes key, value;
    struct cs_bytes signature; // or mark, of an outcome
    size_t batch;
};
struct sim_publisher {
    struct cs_publisher base;
    struct sim *s;
    struct sim_message queue[256];
    size_t len;
    size_t batch, sent, acknowledged, bytes;
    int64_t first, last;
    int64_t due[PARTITIONS];     // offset that the next outcome should get; -1: not known
    enum cs_publish_topic topic; // of the batch
    int32_t partition;           // of its last message
    bool unknown, failed;
    bool misplaced; // outcomes did not get their offsets: nothing more may come of them
};
void publisher_init(struct sim_publisher *p, struct sim *s);
// The broker takes up to n messages, or loses what is left; the caller may not hear of it.
void broker_step(struct sim *s, struct sim_publisher *p);
void log_append(struct sim *s, enum cs_publish_topic topic, int32_t partition, struct sim_record r);
void log_mark(struct sim *s, int32_t partition, struct sim_record *r);   // as a consumer marks it
struct cs_topic *sim_topic(struct sim *s);                               // cert.outcomes, for cursors
struct cs_log *sim_log_open(struct sim *s, enum cs_publish_topic topic); // for rebuilds

// --- store.c

struct sim_snapshot {
    struct cs_position position;
    struct cs_state *state;
};
// With faults. That of a rebuild lives longer than a store: catalog_on gives it the one of a run,
// or none.
struct cs_catalog *sim_catalog(struct sim *s, bool rebuild);
void catalog_on(struct cs_catalog *c, struct cs_memory_store *store);
void catalog_alone(struct cs_catalog *c); // no other rebuild is at work
void store_snapshot(struct sim *s, int32_t partition);
void store_reset(struct sim *s, int32_t partition);
void store_reset_next(struct sim *s, int32_t partition); // what a rebuild has made
void store_restore(struct sim *s, int32_t partition, const struct cs_position *at,
                   const struct cs_state *state);
void state_copy(const struct cs_state *from, struct cs_state *to);

// --- flyer.c

enum sim_state { STARTING, RUNNING, STOPPED };
struct sim_worker {
    struct sim *s;
    int index;
    bool frozen;
    bool owns[PARTITIONS];
    enum sim_state state[PARTITIONS];
    struct cs_stand stand[PARTITIONS];
    struct cs_catalog *catalog;
    struct sim_publisher publisher;
    struct cs_flight_env env;
    struct cs_flight flight;
    struct cs_batch_record records[BATCH];
    int32_t flying; // partition; -1: none
    size_t hot_max;
};
void worker_begin(struct sim_worker *w);
void worker_end(struct sim_worker *w);
void worker_step(struct sim_worker *w);
void worker_let_go(struct sim_worker *w, int32_t partition);
// Rebuilders are costly to make, and serve all runs. They know all keys before the first.
struct sim_rebuilder {
    struct cs_consumer_settings settings;
    struct cs_rebuild_env env;
    struct cs_catalog *catalog;
    struct cs_rebuilder *r;
};
void rebuilder_make(struct sim *s, struct sim_rebuilder *r, int64_t batch, int64_t bytes, int64_t cache);
void rebuild_whole(struct sim *s, struct sim_rebuilder *r, int32_t partition);

// --- judge.c

struct sim_oracle {
    struct cs_state *state;
    struct cs_position position;
    size_t derived_len;            // of all epochs
    struct cs_bytes outcomes[128]; // by number - 1
    const char *accounts[128];
    struct cs_bytes derived[128]; // values
    int64_t derived_epoch[128], derived_seq[128];
    int32_t derived_to[128];
    int64_t derived_at[128]; // number of the outcome that it comes with
};
// Judges a partition's log up to an offset, from its begin (from NULL) or from where another oracle
// stands.
void oracle_run(struct sim *s, struct sim_oracle *o, int32_t partition, int64_t end,
                const struct sim_oracle *from);
void oracle_free(struct sim_oracle *o);
// After a commit, and at rest.
void judge_committed(struct sim *s, int32_t partition, const struct cs_position *at);
void judge_rest(struct sim *s);
void judge_catalog(struct sim *s, int32_t partition, enum cs_catalog_view view);

// --- correct.c

// The corrections so far.
struct cs_epochs epochs_of(const struct sim *s);
int64_t epoch_of(const struct sim *s, int32_t partition, int64_t n);
// Whether the outcome counts no longer.
bool set_aside(const struct sim *s, int32_t partition, struct cs_bytes value);
// The rules of a release that takes every offer.
const struct cs_rulebook *wrong_book(void);
// What the partition's first events are judged to be.
const struct sim_oracle *base_of(const struct sim *s, int32_t partition);
void correct(struct sim *s, int32_t partition);

// --- damage.c

// What is wrong with the outcomes of a partition, so that it must stop.
enum sim_damage {
    UNHARMED,
    FORGED, // the next outcome is somebody else's
    FORGED_KEY,
    GAP,         // an outcome that follows no other
    TRUNCATED,   // the last ones are gone
    REPLACED,    // the last one is another
    FOREIGN,     // not of the outcomes: the catalog is another deployment's
    DELETED,     // the first ones are gone, and the catalog is empty
    CIRCLES,     // not of the outcomes: the catalog answers loads, and never with what was asked for
    RULESET,     // not damage: a record that this release cannot judge
    SENDER_TIME, // a new record whose time is not the broker's
};
// Outcomes from damage_n on are wrong from then on; where that cannot be now, nothing is done.
void do_damage(struct sim *s);
// How far the outcomes go; *ret_first: where the last number stands first.
int64_t published(struct sim *s, int32_t partition, size_t *ret_first);
void add_junk(struct sim *s, int32_t partition);
// The last outcomes are gone, and no catalog stands on them.
void lose_outcomes(struct sim *s, int32_t partition);

// --- sim.c

struct sim {
    struct sim_pool *pool;
    struct sim_oracle *base;        // of each partition, after the pool's base
    const struct cs_rulebook *book; // by which all workers judge; NULL: this release's
    struct cs_correction corrections[CORRECTED];
    size_t corrections_len;
    uint64_t seed, random;
    bool tell;
    unsigned faults; // in 1000 chances
    bool healing;
    bool closed; // nothing may be published any more
    int depth;   // of steps within a rebuild
    // Faults of what goes on now: whoever meets one must not go on.
    unsigned struck;
    bool may_wait;  // for the catalog
    bool impatient; // for the end of the outcomes
    bool rival;     // another rebuild lives
    struct cs_memory_store *store;
    struct cs_catalog *admin; // without faults
    struct sim_log logs[2][PARTITIONS];
    int64_t low[PARTITIONS];                      // where outcomes begin
    struct cs_checkpoint checkpoints[PARTITIONS]; // the newest published
    struct sim_worker workers[WORKERS];
    int workers_len;
    struct sim_rebuilder rebuilders[REBUILDERS];
    struct sim_snapshot snapshots[PARTITIONS][SNAPSHOTS];
    const struct sim_event *inputs[32];
    size_t inputs_len, inputs_at;
    int32_t damaged; // partition
    enum sim_damage damage;
    int64_t damage_n; // outcome from which on it is wrong; 0: not yet
    size_t timed;     // of the inputs: the one with its sender's time
    // The log was imported: its first records have their senders' times, and outcomes that prove them.
    int64_t imported[PARTITIONS];
    char *arena;
    size_t arena_len, arena_floor; // the base lies below the floor
    char violation[1200];
    unsigned steps;
};
unsigned draw(struct sim *s, unsigned n); // 0 to n - 1
bool chance(struct sim *s, unsigned in_1000);
bool fault(struct sim *s, const char *what, struct cs_err *err); // RETRY where it strikes
void *arena(struct sim *s, size_t len);
struct cs_bytes arena_bytes(struct sim *s, struct cs_bytes from);
void tell(struct sim *s, const char *fmt, ...) CS_PRINTF(2, 3);
void violation(struct sim *s, const char *fmt, ...) CS_PRINTF(2, 3); // the first counts
void meanwhile(struct sim *s); // steps of others, within one of a rebuild
