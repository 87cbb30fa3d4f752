// SPDX-License-Identifier: Apache-2.0
//
// Publishing records to cert.events, and heartbeats beside them: a vtable with two implementations that pass the same contract
// test (tests/unit/test_agent_publisher.c), Kafka and memory.
//
// publish() sends the records in order and returns once all are acknowledged by all in-sync
// replicas, or at the deadline, or at the first record that cannot be sent. acked() is called for
// each acknowledged record, in order within a partition, in the caller's thread. A record that is
// not acknowledged when publish() returns may have been written all the same: send the same bytes
// again. Errors: RETRY brokers away, deadline; CONFIG what a person must mend (topic missing, no
// rights, record larger than the topic takes). Not thread-safe.
#pragma once

#include "certsync/base/err.h"

struct cs_publish_record {
    const char *key;   // account id; NULL: no key
    int32_t partition; // -1: the key's, as Kafka's murmur2 partitioner says
    struct cs_bytes value;
    struct cs_bytes sig; // text of the header certsync-sig
};

typedef void (*cs_publish_acked)(void *arg, size_t index, int32_t partition, int64_t offset);

struct cs_publisher {
    // How many partitions the topic has; asks the cluster.
    bool (*partitions)(struct cs_publisher *p, int64_t timeout_ms, int32_t *ret, struct cs_err *err);
    bool (*publish)(struct cs_publisher *p, const struct cs_publish_record *records, size_t n,
                    int64_t timeout_ms, cs_publish_acked acked, void *arg, struct cs_err *err);
    // One record to another topic, as publish does with those of its own.
    bool (*publish_to)(struct cs_publisher *p, const char *topic, const struct cs_publish_record *record,
                       int64_t timeout_ms, struct cs_err *err);
    void (*free)(struct cs_publisher *p);
};
static inline void cs_publisher_free(struct cs_publisher *p) {
    if (p)
        p->free(p);
}
CS_DEFINE_AUTO(struct cs_publisher, cs_publisher_free)

struct cs_kafka_settings;
// Keeps its connection until it is freed. settings, topic and client_id are borrowed until then.
CS_MUST_USE bool cs_publisher_kafka(const struct cs_kafka_settings *settings, const char *topic,
                                    const char *client_id, struct cs_publisher **ret, struct cs_err *err);

// In memory, for tests.
struct cs_publisher_memory_record {
    char *topic; // NULL: the publisher's own
    char *key;   // NULL: none
    uint8_t *value;
    size_t value_len;
    char *sig;
    int32_t partition;
    int64_t offset;
};
CS_MUST_USE bool cs_publisher_memory(int32_t partitions, struct cs_publisher **ret, struct cs_err *err);
// What was written so far, in order; borrowed until the next publish.
const struct cs_publisher_memory_record *cs_publisher_memory_records(const struct cs_publisher *p,
                                                                     size_t *ret_n);
// After n more records every publish fails (RETRY), as if the brokers were away; -1: never.
// unacked: the record after these n is written, but not acknowledged.
void cs_publisher_memory_fail_after(struct cs_publisher *p, int64_t n, bool unacked);
