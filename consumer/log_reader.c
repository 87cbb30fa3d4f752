// SPDX-License-Identifier: Apache-2.0
#include "log_reader.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"
#include "record.h"

#define FETCH_AT_ONCE     256
#define WAIT_MS           100
#define BROKER_TIMEOUT_MS 30000 // longest silence of a record that must be there

struct kafka_log {
    struct cs_log base;
    char *topic;
    rd_kafka_t *rk;
    struct cs_kafka_intake intake;
    rd_kafka_topic_t *rkt;
    rd_kafka_queue_t *queue; // of the partition that is read; NULL: none is
    int32_t partition;
    int64_t next, end;
    rd_kafka_message_t *messages[FETCH_AT_ONCE];
    size_t len, at;
    rd_kafka_message_t *held; // handed out last
    struct cs_message_headers headers;
};

static void let_go(struct kafka_log *k) {
    cs_message_headers_clear(&k->headers);
    if (k->held)
        rd_kafka_message_destroy(k->held);
    k->held = NULL;
}

static void stop(struct kafka_log *k) {
    let_go(k);
    for (; k->at < k->len; k->at++)
        rd_kafka_message_destroy(k->messages[k->at]);
    if (k->queue) {
        rd_kafka_consume_stop(k->rkt, k->partition);
        rd_kafka_queue_destroy(k->queue);
    }
    k->queue = NULL;
}

static bool kafka_bounds(struct cs_log *l, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                         struct cs_err *err) {
    struct kafka_log *k = (struct kafka_log *)l;
    return cs_kafka_watermarks(k->rk, k->topic, partition, BROKER_TIMEOUT_MS, ret_low, ret_high, err);
}

static bool kafka_start(struct cs_log *l, int32_t partition, int64_t from, int64_t end, struct cs_err *err) {
    struct kafka_log *k = (struct kafka_log *)l;
    stop(k);
    k->partition = partition;
    k->next = from;
    k->end = end;
    if (from >= end)
        return true;
    k->queue = rd_kafka_queue_new(k->rk);
    if (rd_kafka_consume_start_queue(k->rkt, partition, from, k->queue) == 0)
        return true;
    cs_kafka_err(err, rd_kafka_last_error(), "reading %s partition %d", k->topic, (int)partition);
    rd_kafka_queue_destroy(k->queue);
    k->queue = NULL;
    return false;
}

// A record, or NULL at the end (k->next is at k->end then) and on an error.
static rd_kafka_message_t *take(struct kafka_log *k, struct cs_err *err) {
    const struct cs_clock *clock = cs_clock_real();
    int64_t deadline = cs_clock_mono_ms(clock) + BROKER_TIMEOUT_MS;
    for (;;) {
        if (k->at == k->len) {
            // A batch is waited for until it is full: only what is there already is taken as one.
            ssize_t n = rd_kafka_consume_batch_queue(k->queue, 0, k->messages, FETCH_AT_ONCE);
            k->at = 0;
            k->len = n > 0 ? (size_t)n : 0;
            cs_kafka_intake_took(&k->intake, k->messages, k->len, FETCH_AT_ONCE);
            if (k->len == 0 && (k->messages[0] = rd_kafka_consume_queue(k->queue, WAIT_MS)))
                k->len = 1;
        }
        if (k->at == k->len) {
            if (cs_clock_mono_ms(clock) < deadline)
                continue;
            cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s partition %d gave no record within %d s",
                       k->topic, (int)k->partition, BROKER_TIMEOUT_MS / 1000);
            return NULL;
        }
        rd_kafka_message_t *m = k->messages[k->at++];
        if (!m->err && m->offset < k->end)
            return m;
        rd_kafka_resp_err_t code = m->err;
        bool end = !code || (code == RD_KAFKA_RESP_ERR__PARTITION_EOF && m->offset >= k->end);
        rd_kafka_message_destroy(m);
        if (end) {
            k->next = k->end;
            return NULL;
        }
        if (code != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            cs_kafka_err(err, code, "reading %s partition %d", k->topic, (int)k->partition);
            return NULL;
        }
    }
}

static bool kafka_next(struct cs_log *l, struct cs_record *ret, bool *ret_end, struct cs_err *err) {
    struct kafka_log *k = (struct kafka_log *)l;
    rd_kafka_timestamp_type_t type;
    let_go(k);
    *ret_end = k->next >= k->end;
    if (*ret_end)
        return true;
    k->held = take(k, err);
    *ret_end = !k->held && k->next >= k->end;
    if (!k->held)
        return *ret_end;
    k->next = k->held->offset + 1;
    return cs_record_of_message(k->held, &k->headers, ret, &type) || cs_err_oom(err);
}

static void kafka_free(struct cs_log *l) {
    struct kafka_log *k = (struct kafka_log *)l;
    stop(k);
    if (k->rkt)
        rd_kafka_topic_destroy(k->rkt);
    if (k->rk)
        rd_kafka_destroy(k->rk);
    free(k->topic);
    free(k);
}

static const struct cs_log_ops kafka_ops = {kafka_bounds, kafka_start, kafka_next, kafka_free};

static rd_kafka_conf_t *conf_of(const struct cs_kafka_settings *kafka, struct cs_err *err) {
    rd_kafka_conf_t *conf = NULL;
    char text[256];
    if (!cs_kafka_conf_consumer(kafka, "certsync-consumer-operator", NULL, &conf, err))
        return NULL;
    // The end of a partition waits for the answer to one fetch more, which is held back this long where
    // nothing is new.
    if (rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", text, sizeof text) == RD_KAFKA_CONF_OK)
        return conf;
    rd_kafka_conf_destroy(conf);
    cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "librdkafka: %s", text);
    return NULL;
}

bool cs_log_open_kafka(const struct cs_kafka_settings *kafka, const char *topic, struct cs_log **ret,
                       struct cs_err *err) {
    struct kafka_log *k = calloc(1, sizeof *k);
    char *name = strdup(topic);
    if (!k || !name) {
        free(k);
        free(name);
        return cs_err_oom(err);
    }
    CS_AUTO(cs_log_free) struct cs_log *base = &k->base;
    base->ops = &kafka_ops;
    k->topic = name;
    base->name = k->topic;
    rd_kafka_conf_t *conf = conf_of(kafka, err);
    if (!conf || !cs_kafka_new(RD_KAFKA_CONSUMER, conf, &k->rk, err) ||
        !cs_kafka_topic_partitions(k->rk, kafka->brokers, topic, BROKER_TIMEOUT_MS, &base->partitions, err))
        return false; // NOLINT(clang-analyzer-unix.Malloc): base frees it
    cs_kafka_intake_init(&k->intake, k->rk, kafka);
    if (!(k->rkt = rd_kafka_topic_new(k->rk, topic, NULL)))
        return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", topic);
    *ret = CS_TAKE(base);
    return true;
}
