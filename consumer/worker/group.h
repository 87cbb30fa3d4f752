// SPDX-License-Identifier: Apache-2.0
//
// A worker's place in the consumer group: rebalances, which partitions it has, and from which offset
// they are fetched. All in the worker's thread.
//
// After a rebalance, a partition that was taken away is dropped at once, with its batches
// (on_revoke). A new one starts in the worker's next turns (cs_partition_start in partition.h): it
// reads its position and what was published, and is fetched from there.
#pragma once

#include "worker/partition.h"

struct cs_group {
    struct cs_worker_context *x;
    int index; // of the worker
    // Called before the partitions are taken away. After it nothing may be in flight or in batches.
    void (*on_revoke)(void *arg);
    void *arg;
    rd_kafka_queue_t *queue;
    bool joined;
    struct cs_partition *partitions;
    bool assign_due;       // the list or an offset changed since the last assign
    int64_t assign_at_ms;  // not before
    int64_t settled_at_ms; // until then the assignment is not changed
    int64_t trouble_ms;    // last told since the assignment last changed; 0: not told
    int64_t offsets_due_ms;
    bool failed; // in a rebalance; cs_group_serve tells it
    struct cs_err failure;
};

// A client that is not in the group yet.
CS_MUST_USE bool cs_group_client(struct cs_group *g, rd_kafka_t **ret, struct cs_err *err);
// Joins with the client of the context.
CS_MUST_USE bool cs_group_join(struct cs_group *g, struct cs_err *err);
// Gives the partitions back and ends the client. wait: until the stored offsets are written.
void cs_group_leave(struct cs_group *g, bool wait, const char *why);

// Serves rebalances and errors. False: *ret_partition cannot continue; if that is NULL, the whole
// worker cannot.
CS_MUST_USE bool cs_group_serve(struct cs_group *g, struct cs_partition **ret_partition, struct cs_err *err);
// Whether the partitions must be assigned again, and may be now.
bool cs_group_assign_due(const struct cs_group *g);
// Gives librdkafka the running partitions, each with its next offset. All are fetched again from
// there: librdkafka 2.0 has no safe way to change only one offset.
void cs_group_assign(struct cs_group *g);
// Stores Kafka's own offsets now and then. Only lag tools read them.
void cs_group_store_offsets(struct cs_group *g, bool wait);
