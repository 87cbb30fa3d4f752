// SPDX-License-Identifier: Apache-2.0
//
// A worker's batches. It collects and prepares records from a partition's queue, a few at a time,
// while another batch is in flight. The batch that is being filled stays open until it is full, or
// the flight is over: many small batches cost more than one.
#pragma once

#include "worker/partition.h"

struct cs_batch {
    struct cs_partition *partition;
    size_t len;      // records
    size_t prepared; // how many of them are
    size_t at;       // those before it are committed
    size_t bytes;
    rd_kafka_message_t **messages;   // capacity: batch_records
    struct cs_batch_record *records; // the same; prepared ones have no headers
    struct cs_region memory;         // of what is prepared
    int64_t prepare_us;              // spent on it
};

struct cs_batches {
    const struct cs_worker_context *x;
    struct cs_partition *next_turn; // whose records are tried first; NULL: anybody's
    struct cs_batch *filling;       // being collected and prepared
    struct cs_batch *ready;         // full, waits
    struct cs_batch *rest;          // what a flight left of its batch goes next
    struct cs_batch *spare;         // kept for its memory
};
void cs_batches_clear(struct cs_batches *b);

// Collects and prepares for a few milliseconds. flying: whether another batch is in flight.
// *ret_some: there was something to do. False: *ret_failed cannot continue.
CS_MUST_USE bool cs_batches_work(struct cs_batches *b, struct cs_partition *partitions, bool flying,
                                 bool *ret_some, struct cs_partition **ret_failed, struct cs_err *err);
// The next prepared batch; NULL: none. Give it back with one of the two below.
struct cs_batch *cs_batches_take(struct cs_batches *b);
void cs_batches_keep_rest(struct cs_batches *b, struct cs_batch *rest);
void cs_batches_recycle(struct cs_batches *b, struct cs_batch *done);
// All of a partition.
void cs_batches_drop(struct cs_batches *b, const struct cs_partition *p);
// The broker's time of the partition's first record in a batch; 0: there is none.
int64_t cs_batches_first_ms(const struct cs_batches *b, const struct cs_partition *p);

int64_t cs_worker_now_us(void); // for what is measured
