// SPDX-License-Identifier: Apache-2.0
//
// A partition that a worker has: its stand (checked against catalog and topics), its records from
// Kafka, and what the board says of it. Nothing here decides what follows an error. Errors are
// returned, and the worker's turn (turn.c) starts the partition again, or stops it.
#pragma once

#include "certsync/runtime/kafka.h"
#include "worker/flight.h"
#include "worker/worker.h"

// What the parts of a worker work with; all in the worker's thread.
struct cs_worker_context {
    const struct cs_consumer *c;
    const struct cs_worker_metrics *m;
    int wake_fd; // librdkafka writes to it when there is something to do
    struct cs_crypto *crypto;
    struct cs_key_cache *keys;
    struct cs_catalog *catalog;
    rd_kafka_t *rk; // in the group
    struct cs_publisher *publisher;
    struct cs_topic *outcomes;
    struct cs_topic *checkpoints;
    struct cs_note_signer *signer;  // of checkpoints and snapshots
    struct cs_outcome_marks *marks; // of outcomes
    struct cs_liveness *liveness;   // of the worker
    const atomic_bool *stopping;    // the worker's
};
static inline int64_t cs_worker_now_ms(const struct cs_worker_context *x) {
    return cs_clock_mono_ms(x->c->clock);
}

enum cs_partition_state { CS_PARTITION_STARTING, CS_PARTITION_RUNNING, CS_PARTITION_STOPPED };

struct cs_partition {
    struct cs_partition *next;
    enum cs_partition_state state;
    struct cs_stand stand;

    // Its records. Those in taken, from taken_next on, left the queue and belong to the next batch.
    rd_kafka_queue_t *queue;
    struct cs_kafka_intake intake;
    rd_kafka_message_t **taken;
    size_t taken_len, taken_next;
    int64_t next_fetch; // offset that the queue gives next
    int64_t eof_at;     // the end of its queue as last seen; -1: not since the start
    bool rewound;       // nothing came since the start
    // the next record is the one before the position: its hash must be the position's
    bool check_last;

    // What was reported of it.
    bool told;          // that it runs, since the start
    bool failing;       // it failed, and nothing of it was committed since
    bool replaying;     // up to stand.published
    int64_t others;     // records of cert.checkpoints that are not the log's, as reported
    int64_t foreign_at; // the first foreign record of cert.outcomes that was reported; -1: none
    // the broker's time of the first record that is not applied; 0: none was seen
    int64_t oldest_ms;

    // Its catalog in Redis is damaged, and is made again from the log.
    bool renew;                   // the start begins with an empty generation
    bool sweeping;                // what is left of the old one is removed, piece by piece
    char cursor[CS_SWEEP_CURSOR]; // how far
    int64_t damaged_ms;           // since when; 0: it is not
    int64_t renewed_ms;           // when this was done last; 0: never
    int64_t renew_pause_ms;       // before the last time

    // Its catalog came from a snapshot (recovery.h).
    struct cs_restored restored; // outcomes 0: it did not, as far as is known
    bool owns_empty;             // in a start: it made the empty generation itself
    int64_t below;               // snapshots of so many outcomes, and more, are in doubt; 0: none are

    // A correction takes outcomes back that the catalog had, up to this number; 0: none.
    int64_t judge_until;

    int64_t landed_ms;      // when it was started, or a batch was committed
    int64_t ahead_since_ms; // outcomes without events are published since then; 0: none are
    // the log seems shorter than the position since then; 0: it does not
    int64_t truncated_since_ms;
    int64_t short_since_ms; // the same, shorter than a checkpoint
    int64_t retry_at_ms;    // STARTING: not before
    int64_t backoff_ms;     // doubled by each failure, 0 after a commit
    int64_t measured_ms;    // when cs_partition_measure was last called
    int64_t stored;         // offset last committed to Kafka, for lag tools
};

CS_MUST_USE bool cs_partition_new(const struct cs_worker_context *x, int32_t id, struct cs_partition **ret,
                                  struct cs_err *err);
void cs_partition_free(struct cs_partition *p);
// Reads its stand. Waits; nothing may be in flight. Then it runs, and must be assigned.
CS_MUST_USE bool cs_partition_start(const struct cs_worker_context *x, struct cs_partition *p,
                                    struct cs_err *err);
// The catalog is damaged: the next start begins with an empty generation, and the partition's
// verdicts are held against the published ones until it has caught up. Returns how long to wait
// before: whoever damages it again and again must not keep the worker busy.
int64_t cs_partition_damaged(const struct cs_worker_context *x, struct cs_partition *p);
// Whether corrections were read since its start: then it must start again, to be judged with them.
bool cs_partition_corrected(const struct cs_worker_context *x, const struct cs_partition *p);
// Removes a piece of what the damaged catalog left. Waits; nothing may be in flight.
CS_MUST_USE bool cs_partition_sweep(const struct cs_worker_context *x, struct cs_partition *p,
                                    struct cs_err *err);
// Whether the catalog is still as this worker left it; if not, an error. Waits; nothing may be in
// flight.
CS_MUST_USE bool cs_partition_look(const struct cs_worker_context *x, struct cs_partition *p,
                                   struct cs_err *err);
// Drops what was taken from its queue, and what is held of the catalog.
void cs_partition_forget(struct cs_partition *p, enum cs_partition_state then);

// Its queue gave something since the start: an end, or (INT64_MAX) a record. Then the partition is
// reported as running. If it failed before, that waits until the fault is over: there is nothing to
// do, or a batch was committed (cs_partition_runs).
void cs_partition_heard(const struct cs_worker_context *x, struct cs_partition *p, int64_t end_offset);
void cs_partition_runs(const struct cs_worker_context *x, struct cs_partition *p);
// A flight has landed: moves the stand on.
void cs_partition_landed(const struct cs_worker_context *x, struct cs_partition *p);
// Whether all that its queue gave up to the end is committed. Then reports that to the board.
bool cs_partition_reached_end(const struct cs_worker_context *x, struct cs_partition *p);
// Keep the age of the oldest record that is not applied. A record came, or a batch was committed
// (batch_ms: the time of the oldest record in batches; 0: there is none).
void cs_partition_saw(const struct cs_worker_context *x, struct cs_partition *p, int64_t time_ms);
void cs_partition_applied(const struct cs_worker_context *x, struct cs_partition *p, int64_t batch_ms);
// Publishes the partition's checkpoint if it is time, and sees how the last one fared.
void cs_partition_checkpoint(const struct cs_worker_context *x, struct cs_partition *p);
// Asks the brokers how long the log is, and how old the first unapplied record is. For a partition
// without progress: its records are not fetched. Waits; false: no answer came.
bool cs_partition_measure(const struct cs_worker_context *x, struct cs_partition *p);
