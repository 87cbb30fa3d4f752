// SPDX-License-Identifier: Apache-2.0
//
// A topic read from end to end, for operators' commands. It comes from Kafka, or from a file that
// `kcat -C -J -X isolation.level=read_uncommitted -t TOPIC` wrote (one JSON object a line:
// partition, offset, tstype, ts, headers, key, payload). One partition at a time, in order, up to
// an end that is fixed at the start: so a live topic does not make a reader run for ever. One
// thread.
//
// Errors: RETRY (brokers away), CONFIG (no such topic or file, a file that is no dump).
#pragma once

#include "certsync/model/prepare.h"

struct cs_kafka_settings;
struct cs_log;
struct cs_log_ops {
    // The first offset, and the one after the last, as they are now. Equal if there is no record.
    bool (*bounds)(struct cs_log *l, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                   struct cs_err *err);
    // Records from `from` (or the first one after it) to before `end`.
    bool (*start)(struct cs_log *l, int32_t partition, int64_t from, int64_t end, struct cs_err *err);
    // The next one, borrowed until the next call; *ret_end true (and no record) after the last.
    bool (*next)(struct cs_log *l, struct cs_record *ret, bool *ret_end, struct cs_err *err);
    void (*free)(struct cs_log *l);
    // For each partition, the first offset whose record has this time or a later one: where the log's
    // end is, if none has. NULL: this log cannot tell.
    bool (*at_time)(struct cs_log *l, int64_t time_ms, int64_t *ret, struct cs_err *err);
};
struct cs_log { // first member of each implementation
    const struct cs_log_ops *ops;
    const char *name;   // topic or file, for messages
    int32_t partitions; // of the topic; of a file: those that it names
};

// kafka must live as long as the log.
CS_MUST_USE bool cs_log_open_kafka(const struct cs_kafka_settings *kafka, const char *topic,
                                   struct cs_log **ret, struct cs_err *err);
CS_MUST_USE bool cs_log_open_dump(const char *path, struct cs_log **ret, struct cs_err *err);
static inline void cs_log_free(struct cs_log *l) {
    if (l)
        l->ops->free(l);
}
CS_DEFINE_AUTO(struct cs_log, cs_log_free)
