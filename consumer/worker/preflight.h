// SPDX-License-Identifier: Apache-2.0
//
// Before anything is judged: are Kafka and Redis there, are the topics right, do they belong to
// this deployment. Each failure is one sentence that says how to mend it.
#pragma once

#include <librdkafka/rdkafka.h>

#include "certsync/model/ident.h"
#include "settings.h"

struct cs_preflight {
    cs_log_id log_id;
    int32_t partition_count;
    // why heartbeats are not heard, "" if they are: that stops nothing
    char heartbeats[CS_ERR_MSG_MAX];
};
// Waits up to consumer.preflight_timeout for brokers and Redis. root_spki: as in the settings.
// Errors: CONFIG, or RETRY where somebody did not answer in time.
CS_MUST_USE bool cs_preflight(const struct cs_consumer_settings *s, struct cs_bytes root_spki,
                              struct cs_preflight *ret, struct cs_err *err);

// The part about Redis. Every primary must be there, writable, new enough, of the kind that
// redis.mode says, and must keep what it is given. Its user must have all rights that are needed.
// Waits up to timeout_ms. *ret is set on failure, too.
struct cs_preflight_redis {
    bool rights;     // only a right is missing
    int64_t evicted; // keys that the primaries threw away since they were started, as far as they were asked
};
CS_MUST_USE bool cs_preflight_redis(const struct cs_consumer_settings *s, int64_t timeout_ms,
                                    struct cs_preflight_redis *ret, struct cs_err *err);

// What may change later: whether both topics still keep all records, have that many partitions, and
// begin at offset 0. CONFIG or FATAL if not, RETRY if the brokers do not answer. Settings that
// cannot be read are ignored.
CS_MUST_USE bool cs_preflight_topics(rd_kafka_t *rk, const struct cs_consumer_settings *s, int32_t partitions,
                                     int64_t timeout_ms, struct cs_err *err);
// Whether the topic of events still begins with the genesis of that log. FATAL if not: it was made
// anew; it names both. RETRY if the brokers do not answer. rk: as for cs_scan_topic.
CS_MUST_USE bool cs_preflight_log(rd_kafka_t *rk, const struct cs_consumer_settings *s, const char *log_id,
                                  int64_t timeout_ms, struct cs_err *err);
// Whether the topic of heartbeats is there, and what it must be. CONFIG if not, RETRY if the brokers do
// not answer. Settings that cannot be read are ignored.
CS_MUST_USE bool cs_preflight_heartbeats(rd_kafka_t *rk, const struct cs_consumer_settings *s,
                                         int32_t partitions, int64_t timeout_ms, struct cs_err *err);
// "topic … begins at offset …: the records before it were deleted", with the cause, as far as the
// brokers tell it. FATAL; always false.
bool cs_preflight_lost(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t low, struct cs_err *err);
