// SPDX-License-Identifier: Apache-2.0
//
// A topic that is read: any of its partitions, from any offset up to an end that is fixed at the
// start. It comes from Kafka (topic_kafka.c), or from memory (tests/sim). One thread. Errors: RETRY
// (brokers away), CONFIG.
#pragma once

#include "certsync/model/prepare.h"

enum cs_topic_step {
    CS_TOPIC_WAIT,   // nothing has arrived yet
    CS_TOPIC_RECORD, // the next one
    CS_TOPIC_END,    // there are no more
};
struct cs_topic;
struct cs_topic_stream;
struct cs_topic_ops {
    // The first offset, and the one after the last, as they are now.
    bool (*bounds)(struct cs_topic *t, int32_t partition, int64_t timeout_ms, int64_t *ret_low,
                   int64_t *ret_high, struct cs_err *err);
    // Records from `from` (or the first one after it) to before `end`. Several streams may be open.
    bool (*open)(struct cs_topic *t, int32_t partition, int64_t from, int64_t end,
                 struct cs_topic_stream **ret, struct cs_err *err);
    // Waits up to timeout_ms. The record is borrowed until the next call.
    bool (*next)(struct cs_topic_stream *s, int timeout_ms, enum cs_topic_step *ret_step,
                 struct cs_record *ret, struct cs_err *err);
    void (*close)(struct cs_topic_stream *s);
    void (*free)(struct cs_topic *t);
};
struct cs_topic { // first member of each implementation
    const struct cs_topic_ops *ops;
    const char *name;
};
struct cs_topic_stream { // the same
    struct cs_topic *topic;
    int32_t partition;
};
static inline void cs_topic_free(struct cs_topic *t) { // close its streams before
    if (t)
        t->ops->free(t);
}
CS_DEFINE_AUTO(struct cs_topic, cs_topic_free)

struct cs_kafka_settings;
struct cs_topic_options {
    const struct cs_kafka_settings *kafka; // borrowed
    const char *client_id;
    const char *name; // borrowed
    int wake_fd;      // a byte is written to it when there is something to read; -1: none
    bool headers;     // records come with theirs
};
CS_MUST_USE bool cs_topic_kafka_new(const struct cs_topic_options *options, struct cs_topic **ret,
                                    struct cs_err *err);
// Another topic, by the same client; free it before t.
CS_MUST_USE bool cs_topic_kafka_beside(struct cs_topic *t, const char *name, struct cs_topic **ret,
                                       struct cs_err *err);
// How many partitions it has; waits for brokers.
CS_MUST_USE bool cs_topic_kafka_partitions(struct cs_topic *t, int64_t timeout_ms, int32_t *ret,
                                           struct cs_err *err);
// For each partition the first offset whose record has this time or a later one, by the broker's
// index; the end where none has.
CS_MUST_USE bool cs_topic_kafka_at_time(struct cs_topic *t, int32_t partitions, int64_t time_ms,
                                        int timeout_ms, int64_t *ret, struct cs_err *err);
// The broker's time of one record of any topic; waits for it.
CS_MUST_USE bool cs_topic_kafka_time(struct cs_topic *t, const char *name, int32_t partition, int64_t offset,
                                     int timeout_ms, int64_t *ret_ms, struct cs_err *err);
