// SPDX-License-Identifier: Apache-2.0
//
// What the files of the worker share: worker.c (thread, group, waiting), worker_partition.c (start and stop
// of a partition), worker_batch.c (collecting and preparing records), worker_flight.c (load to commit of one
// batch).
//
// Everything belongs to the worker's thread but what is marked.
#pragma once

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "apply.h"
#include "catalog.h"
#include "certsync/runtime/kafka.h"
#include "certsync/runtime/pulse.h"
#include "cursor.h"
#include "publish.h"
#include "record.h"
#include "worker.h"

struct cs_partition;
struct cs_batch {
    struct cs_partition *partition;
    size_t len;      // records
    size_t prepared; // how many of them are
    size_t at;       // those before it are committed
    size_t bytes;
    rd_kafka_message_t **messages;   // capacity: batch_records
    struct cs_batch_record *records; // the same; of those that are prepared, without headers
    struct cs_region memory;         // of what is prepared
    int64_t prepare_us;              // spent on it
};

enum cs_partition_state { CS_PARTITION_STARTING, CS_PARTITION_RUNNING, CS_PARTITION_STOPPED };

struct cs_partition {
    struct cs_partition *next;
    int32_t id;
    enum cs_partition_state state;
    rd_kafka_queue_t *queue;       // its records only
    struct cs_kafka_intake intake; // from it
    struct cs_position position;   // committed
    int64_t generation;            // of the catalog that it stands in
    int64_t cursor; // published outcome number at the start, as far as is known: up to here is compared
    bool replaying; // up to `cursor`
    int64_t end;    // of its events at the start
    struct cs_cursor_stream *published; // what is compared with; NULL: not open
    int64_t next_fetch;                 // offset that the queue gives next
    int64_t eof_at;                     // the end of its queue as last seen; -1: not since the start
    int64_t outcomes_end;               // offset that its next outcome should get; -1: not known
    bool told;                          // since the start, that it runs
    bool failing;                       // it failed, and nothing of it was committed since
    bool rewound;                       // nothing came since the start
    bool check_last;        // the next record is the one before the position: its hash must be the position's
    int64_t landed_ms;      // when it was started, or a batch was committed
    int64_t ahead_since_ms; // outcomes without events are published since then; 0: none are
    int64_t foreign_at;     // the first foreign record of cert.outcomes that was told; -1: none
    int64_t truncated_since_ms; // the log seems shorter than the position since then; 0: it does not
    // Working set: hot documents of `position`.
    struct cs_state *hot;
    // Records that were taken from the queue and belong to the next batch.
    rd_kafka_message_t **stash;
    size_t stash_len, stash_at;
    int64_t retry_at_ms; // STARTING: not before
    int64_t backoff_ms;  // doubled by each failure, 0 after a commit
    int64_t measured_ms; // when cs_partition_measure was last called
    int64_t stored;      // offset last committed to Kafka, for lag tools
    int64_t oldest_ms;   // the broker's time of the first record that is not applied; 0: none was seen
};

enum cs_flight_phase {
    CS_FLIGHT_NONE,
    CS_FLIGHT_LOADING,
    CS_FLIGHT_COMPARING,
    CS_FLIGHT_DERIVED,  // derived events are under way
    CS_FLIGHT_OUTCOMES, // outcomes are under way
    CS_FLIGHT_COMMITTING,
};

struct cs_worker {
    const struct cs_consumer *c;
    int index;
    pthread_t thread;
    bool thread_started;
    atomic_bool stopping; // any thread
    atomic_bool finished; // any thread
    struct cs_pulse pulse;
    cs_worker_end_fn on_end;
    void *on_end_arg;
    int workers; // of this process
    int wake[2]; // pipe: [1] is written to by librdkafka and by cs_worker_stop

    struct cs_crypto *crypto;
    struct cs_key_cache *keys;
    struct cs_catalog *catalog;
    struct cs_publisher *publisher;
    struct cs_cursor *cursor;
    rd_kafka_t *rk;
    rd_kafka_queue_t *group_queue;
    int tls; // *c->kafka_tls when the clients were made
    bool joined;
    bool assign_due; // the list or an offset changed since the last assign
    struct cs_partition *partitions;
    struct cs_partition *next_turn; // whose records are looked for first

    struct cs_batch *filling; // being collected and prepared
    struct cs_batch *ready;   // full, waits
    struct cs_batch *rest;    // what a flight left of its batch goes next
    struct cs_batch *flight;
    struct cs_batch *spare; // kept for its memory
    enum cs_flight_phase phase;
    struct cs_apply apply;
    size_t loaded_rounds, loaded_at; // since so many records of the batch are decided
    size_t compared;                 // outcomes of the flight
    size_t handed_over;              // outcomes that the producer has now
    size_t published;                // of what is being published now: derived events or outcomes
    bool cut;                        // the flight ends before a record that stops the partition:
    struct cs_err cut_err;
    int64_t phase_since_us;
    int64_t stalled_ms; // since when acknowledgements are awaited too long; 0: they are not

    int64_t assign_at_ms;     // not before
    int64_t settled_at_ms;    // until then the assignment is not changed
    int64_t group_trouble_ms; // last told since the assignment last changed; 0: not told
    int64_t stop_deadline_ms;
    int64_t offsets_due_ms;
    int64_t look_due_ms;    // idle partitions' positions are looked at then
    int64_t measure_due_ms; // partitions that stand still are measured then
    bool failed;            // the worker as a whole
    struct cs_err failure;
    const struct cs_worker_metrics *m;
};

int64_t cs_worker_now_ms(const struct cs_worker *w);
int64_t cs_worker_now_us(void);

// worker_partition.c
CS_MUST_USE bool cs_partition_new(struct cs_worker *w, int32_t id, struct cs_partition **ret,
                                  struct cs_err *err);
void cs_partition_free(struct cs_partition *p);
// Reads where the partition stands. Waits; nothing may be in flight.
void cs_partition_start(struct cs_worker *w, struct cs_partition *p);
// Whether the catalog still stands where this worker left it; starts the partition again where not. Waits;
// nothing may be in flight.
void cs_partition_look(struct cs_worker *w, struct cs_partition *p);
// That it has heard of its records since the start: an end, or (INT64_MAX) a record. It is told to run then, where it failed before only
// once that is mended: there is nothing to do, or a batch was committed (cs_partition_runs).
void cs_partition_heard(struct cs_worker *w, struct cs_partition *p, int64_t end_offset);
void cs_partition_runs(struct cs_worker *w, struct cs_partition *p);
// Whether all that its queue gave up to the end is committed; tells the board where it is.
bool cs_partition_reached_end(struct cs_worker *w, struct cs_partition *p);
// Handles an error of one partition: RETRY starts it again from the stored position after a pause, CONFIG (a right or a topic that is not
// there, which somebody must mend) too, after longer and longer ones; FATAL stops it.
void cs_partition_failed(struct cs_worker *w, struct cs_partition *p, const struct cs_err *err);
// The next record that came for it, for its age; and what is the oldest after a commit.
void cs_partition_saw(struct cs_worker *w, struct cs_partition *p, int64_t time_ms);
void cs_partition_applied(struct cs_worker *w, struct cs_partition *p);
// Of one that stands still, which is not fetched: how long the log is, and the age of what it waits with. Waits
// for brokers; false where they did not answer.
bool cs_partition_measure(struct cs_worker *w, struct cs_partition *p);
// Throws away what is under way for it and reads its position again.
void cs_partition_restart(struct cs_worker *w, struct cs_partition *p);
void cs_partition_forget_hot(struct cs_partition *p);

// worker_batch.c
// Collects and prepares for a few milliseconds. True where there was something to do.
bool cs_batch_work(struct cs_worker *w);
void cs_batch_recycle(struct cs_worker *w, struct cs_batch *b);
void cs_batch_free(struct cs_batch *b);
void cs_batch_drop_of(struct cs_worker *w, struct cs_partition *p); // but the one in flight
void cs_partition_drop_stash(struct cs_partition *p);

// worker_flight.c
// Puts the next prepared batch into flight where there is none.
bool cs_flight_launch(struct cs_worker *w);
// One step where that is possible without waiting. True where there was.
bool cs_flight_advance(struct cs_worker *w);
void cs_flight_abandon(struct cs_worker *w);
