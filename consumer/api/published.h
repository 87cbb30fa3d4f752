// SPDX-License-Identifier: Apache-2.0
//
// How far outcomes are published: what a reader of the catalogs that does not judge itself (the
// API) holds them against. Another process may have the partition. Blocks; one thread at a time,
// but for stop.
#pragma once

#include <stdatomic.h>

#include "certsync/model/entry.h"

struct cs_kafka_settings;
struct cs_published;

struct cs_published_ops {
    // The number of the partition's last published outcome; 0: none is. at: where its catalog
    // stands. *ret_exact false: only what records claim, which may be too much; ask again when the
    // catalog has come nearer. RETRY, CONFIG, FATAL (outcomes are missing).
    bool (*last)(struct cs_published *p, int32_t partition, const struct cs_position *at, int64_t *ret_last,
                 bool *ret_exact, struct cs_err *err);
    // From any thread: the question under way, and each after it, ends soon.
    void (*stop)(struct cs_published *p);
    void (*free)(struct cs_published *p);
};
struct cs_published {
    const struct cs_published_ops *ops;
};

// Of the topic of outcomes; kafka, topic and files are borrowed. When *files has changed, the files
// of Kafka's TLS have: the next question is asked over a new connection.
CS_MUST_USE bool cs_published_kafka_new(const struct cs_kafka_settings *kafka, const char *topic,
                                        int32_t partition_count, const atomic_int *files,
                                        struct cs_published **ret, struct cs_err *err);
void cs_published_free(struct cs_published *p); // takes NULL
