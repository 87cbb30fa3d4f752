// SPDX-License-Identifier: Apache-2.0
#include "log/reader.h"

#include <stdlib.h>
#include <string.h>

#include "worker/topic.h"

#define BROKER_TIMEOUT_MS 30000 // longest wait for a record that must be there

struct kafka_log {
    struct cs_log base;
    char *name;
    struct cs_topic *topic;
    struct cs_topic_stream *stream; // of the partition under way; NULL: none
};

static bool kafka_bounds(struct cs_log *l, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                         struct cs_err *err) {
    struct cs_topic *t = ((struct kafka_log *)l)->topic;
    return t->ops->bounds(t, partition, BROKER_TIMEOUT_MS, ret_low, ret_high, err);
}

static void stop(struct kafka_log *k) {
    if (k->stream)
        k->topic->ops->close(k->stream);
    k->stream = NULL;
}

static bool kafka_start(struct cs_log *l, int32_t partition, int64_t from, int64_t end, struct cs_err *err) {
    struct kafka_log *k = (struct kafka_log *)l;
    stop(k);
    return k->topic->ops->open(k->topic, partition, from, end, &k->stream, err);
}

static bool kafka_next(struct cs_log *l, struct cs_record *ret, bool *ret_end, struct cs_err *err) {
    struct kafka_log *k = (struct kafka_log *)l;
    enum cs_topic_step step = CS_TOPIC_WAIT;
    if (!k->topic->ops->next(k->stream, BROKER_TIMEOUT_MS, &step, ret, err))
        return false;
    *ret_end = step == CS_TOPIC_END;
    return step != CS_TOPIC_WAIT ||
           cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s partition %d gave no record within %d s", k->name,
                      (int)k->stream->partition, BROKER_TIMEOUT_MS / 1000);
}

static void kafka_free(struct cs_log *l) {
    struct kafka_log *k = (struct kafka_log *)l;
    stop(k);
    cs_topic_free(k->topic);
    free(k->name);
    free(k);
}

static bool kafka_at_time(struct cs_log *l, int64_t time_ms, int64_t *ret, struct cs_err *err) {
    struct kafka_log *k = (struct kafka_log *)l;
    return cs_topic_kafka_at_time(k->topic, l->partitions, time_ms, BROKER_TIMEOUT_MS, ret, err);
}

bool cs_log_open_kafka(const struct cs_kafka_settings *kafka, const char *topic, struct cs_log **ret,
                       struct cs_err *err) {
    static const struct cs_log_ops ops = {kafka_bounds, kafka_start, kafka_next, kafka_free, kafka_at_time};
    struct kafka_log *k = calloc(1, sizeof *k);
    if (!k)
        return cs_err_oom(err);
    CS_AUTO(cs_log_free) struct cs_log *base = &k->base;
    base->ops = &ops;
    base->name = k->name = strdup(topic);
    if (!k->name)
        return cs_err_oom(err);
    struct cs_topic_options o = {kafka, "certsync-consumer-operator", k->name, -1, true};
    if (!cs_topic_kafka_new(&o, &k->topic, err) ||
        !cs_topic_kafka_partitions(k->topic, BROKER_TIMEOUT_MS, &base->partitions, err))
        return false;
    *ret = CS_TAKE(base);
    return true;
}
