// SPDX-License-Identifier: Apache-2.0
//
// A message of librdkafka as the model's record, and reading a stretch of a topic for checks.
#pragma once

#include <librdkafka/rdkafka.h>

#include "certsync/model/prepare.h"

// A record's headers: most have two.
struct cs_message_headers {
    struct cs_header few[4];
    struct cs_header *many;       // owned
    rd_kafka_headers_t *detached; // owned
};
void cs_message_headers_clear(struct cs_message_headers *h);
// Views that live as long as the message. Those of the headers live as long as *headers, which
// takes them out of the message. Clear *headers in any case. False: out of memory.
CS_MUST_USE bool cs_record_of_message(rd_kafka_message_t *m, struct cs_message_headers *headers,
                                      struct cs_record *ret, rd_kafka_timestamp_type_t *ret_type);

// Calls fn for the first `most` records (0: all that are there now) of each partition of a topic,
// in order within a partition. If fn answers false, stops with fn's error. rk: a consumer without
// group that has nothing assigned.
struct cs_scan {
    rd_kafka_t *rk;
    const char *topic;
    int32_t partition_count;
    int64_t most;
    int64_t timeout_ms; // longest wait for the next record
    bool (*fn)(void *arg, const struct cs_record *r, struct cs_err *err);
    void *arg;
};
CS_MUST_USE bool cs_scan_topic(const struct cs_scan *scan, struct cs_err *err);
