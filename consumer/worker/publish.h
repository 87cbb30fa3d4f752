// SPDX-License-Identifier: Apache-2.0
//
// Where a batch's outcomes and derived events go. Two implementations: Kafka (publish_kafka.c), and
// memory (publish_memory.c), which keeps the messages for tests.
//
// A batch sends its messages, then asks `pending` until all are acknowledged. send copies the
// bytes. Errors: RETRY (the producer cannot take it now, or broke and was made anew), CONFIG
// (rights, topic, sizes), FATAL.
#pragma once

#include "certsync/model/prepare.h"

enum cs_publish_topic { CS_PUBLISH_EVENTS, CS_PUBLISH_OUTCOMES, CS_PUBLISH_CHECKPOINTS };

struct cs_publish_message {
    enum cs_publish_topic topic;
    int32_t partition;
    struct cs_bytes key;
    struct cs_bytes value;
    const struct cs_header *headers;
    size_t headers_len;
};

struct cs_publisher;
struct cs_publisher_ops {
    bool (*send)(struct cs_publisher *p, const struct cs_publish_message *m, struct cs_err *err);
    // Reads acknowledgements; *ret is how many of this batch are missing. False if one failed for
    // good.
    bool (*pending)(struct cs_publisher *p, size_t *ret, struct cs_err *err);
    // After all acknowledgements: the lowest and the highest offset of this batch's outcomes. False
    // if that is not known.
    bool (*places)(const struct cs_publisher *p, int64_t *ret_first, int64_t *ret_last);
    // Sends a partition's checkpoint of so many outcomes, beside the batches. One at a time of each
    // partition: false, RETRY, while one is not acknowledged.
    bool (*checkpoint)(struct cs_publisher *p, const struct cs_publish_message *m, int64_t size,
                       struct cs_err *err);
    // How the partition's last checkpoint fared: *ret_size is the size of the last one that was
    // acknowledged (0: none was). False if the last one failed, told once.
    bool (*checkpointed)(struct cs_publisher *p, int32_t partition, bool *ret_waits, int64_t *ret_size,
                         struct cs_err *err);
    // Gives the batch up. What is still under way does not count any more, but may yet be
    // published.
    void (*abandon)(struct cs_publisher *p);
    void (*free)(struct cs_publisher *p);
};
struct cs_publisher { // first member of each implementation
    const struct cs_publisher_ops *ops;
};

static inline void cs_publisher_free(struct cs_publisher *p) {
    if (p)
        p->ops->free(p);
}
CS_DEFINE_AUTO(struct cs_publisher, cs_publisher_free)

struct cs_kafka_settings;
struct cs_publish_kafka_options {
    const struct cs_kafka_settings *kafka; // borrowed
    const char *client_id;                 // copied
    const char *events_topic;              // borrowed
    const char *outcomes_topic;            // borrowed
    const char *checkpoints_topic;         // borrowed; NULL: none are sent
    int wake_fd; // a byte is written to it when there are acknowledgements; -1: none
};
CS_MUST_USE bool cs_publish_kafka_new(const struct cs_publish_kafka_options *options,
                                      struct cs_publisher **ret, struct cs_err *err);

// Memory.
struct cs_kept_message {
    enum cs_publish_topic topic;
    int32_t partition;
    struct cs_bytes key;   // owned
    struct cs_bytes value; // owned
    size_t headers_len;
    struct cs_header headers[2]; // name and value owned
};
CS_MUST_USE bool cs_publish_memory_new(struct cs_publisher **ret, struct cs_err *err);
size_t cs_publish_memory_list(const struct cs_publisher *p, const struct cs_kept_message **ret);
// Takes the next `after` messages, and answers the one after them with this error (once).
void cs_publish_memory_fail(struct cs_publisher *p, size_t after, enum cs_err_kind kind);
// Nothing is acknowledged while held.
void cs_publish_memory_hold(struct cs_publisher *p, bool held);
