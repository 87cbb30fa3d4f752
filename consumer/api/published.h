// SPDX-License-Identifier: Apache-2.0
//
// How far outcomes are published, and outcomes that are in the log only. A reader of the catalogs that does not judge (the API) compares
// them with this: another process may have the partition. Blocks. One thread at a time, except
// stop.
#pragma once

#include <stdatomic.h>

#include "api/past.h"
#include "certsync/model/entry.h"
#include "worker/corrections.h"
#include "worker/keyfile.h"

struct cs_kafka_settings;
struct cs_published;

struct cs_published_ops {
    // The number of the partition's last published outcome, also of those that a correction set aside; 0: none is. at: its catalog's position.
    // *ret_exact false: this is only what records claim, and may be too much. Ask again when the
    // catalog is nearer. RETRY, CONFIG, FATAL (outcomes are missing).
    bool (*last)(struct cs_published *p, int32_t partition, const struct cs_position *at, int64_t *ret_last,
                 bool *ret_exact, struct cs_err *err);
    // Outcomes of events in the log: docs as in past.h. *ret_all false: more was there than is read
    // for one question. Any thread; one after the other. RETRY, CONFIG, FATAL.
    bool (*past)(struct cs_published *p, const struct cs_past_question *q, struct cs_buf *docs, bool *ret_all,
                 struct cs_err *err);
    // From any thread: makes the question under way end soon, and each after it.
    void (*stop)(struct cs_published *p);
    void (*free)(struct cs_published *p);
};
struct cs_published {
    const struct cs_published_ops *ops;
};

// Of the topic of outcomes.
struct cs_published_options {
    const struct cs_kafka_settings *kafka;
    const char *outcomes_topic, *checkpoints_topic;
    const struct cs_corrections *corrections;
    const struct cs_service_keys *service; // tell who wrote outcomes
    const char *log_id;
    int32_t partition_count;
    // If this has changed, Kafka's TLS files have: the next question uses a new connection.
    const atomic_int *files;
};
// What the options point to is borrowed.
CS_MUST_USE bool cs_published_kafka_new(const struct cs_published_options *options, struct cs_published **ret,
                                        struct cs_err *err);
void cs_published_free(struct cs_published *p); // takes NULL
CS_DEFINE_AUTO(struct cs_published, cs_published_free)
