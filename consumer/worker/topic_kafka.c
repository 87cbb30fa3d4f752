// SPDX-License-Identifier: Apache-2.0
//
// Reading back a topic that workers write, over Kafka.
#include <stdlib.h>

#include "certsync/runtime/kafka.h"
#include "worker/record.h"
#include "worker/topic.h"

#define FETCH_AT_ONCE 256

struct kafka_topic {
    struct cs_topic base;
    struct cs_topic_options options;
    rd_kafka_t *rk;
    bool borrowed; // rk
    rd_kafka_topic_t *rkt;
};

struct kafka_stream {
    struct cs_topic_stream base;
    bool started;
    rd_kafka_queue_t *queue;
    struct cs_kafka_intake intake;
    rd_kafka_message_t *messages[FETCH_AT_ONCE];
    size_t len, at;
    rd_kafka_message_t *held; // given out last
    struct cs_message_headers headers;
    int64_t next, end; // offsets
};

static bool kafka_bounds(struct cs_topic *base, int32_t partition, int64_t timeout_ms, int64_t *ret_low,
                         int64_t *ret_high, struct cs_err *err) {
    const struct kafka_topic *t = (const struct kafka_topic *)base;
    return cs_kafka_watermarks(t->rk, base->name, partition, timeout_ms, ret_low, ret_high, err);
}

static void let_go(struct kafka_stream *s) {
    cs_message_headers_clear(&s->headers);
    if (s->held)
        rd_kafka_message_destroy(s->held);
    s->held = NULL;
}

static void kafka_close(struct cs_topic_stream *base) {
    struct kafka_stream *s = (struct kafka_stream *)base;
    let_go(s);
    for (; s->at < s->len; s->at++)
        rd_kafka_message_destroy(s->messages[s->at]);
    if (s->started)
        rd_kafka_consume_stop(((struct kafka_topic *)base->topic)->rkt, base->partition);
    if (s->queue)
        rd_kafka_queue_destroy(s->queue);
    free(s);
}

// Into a queue of its own.
static bool kafka_open(struct cs_topic *base, int32_t partition, int64_t from, int64_t end,
                       struct cs_topic_stream **ret, struct cs_err *err) {
    static const uint8_t one = 1;
    struct kafka_topic *t = (struct kafka_topic *)base;
    struct kafka_stream *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    s->base = (struct cs_topic_stream){base, partition};
    s->next = from;
    s->end = end;
    *ret = &s->base;
    if (from >= end)
        return true;
    s->queue = rd_kafka_queue_new(t->rk);
    cs_kafka_intake_init(&s->intake, t->rk, t->options.kafka);
    if (t->options.wake_fd >= 0)
        rd_kafka_queue_io_event_enable(s->queue, t->options.wake_fd, &one, sizeof one);
    s->started = rd_kafka_consume_start_queue(t->rkt, partition, from, s->queue) == 0;
    if (s->started)
        return true;
    cs_kafka_err(err, rd_kafka_last_error(), "reading %s partition %d", base->name, (int)partition);
    kafka_close(&s->base);
    *ret = NULL;
    return false;
}

// The next message, which may be an error. NULL if none came in time.
static rd_kafka_message_t *take(struct kafka_stream *s, int timeout_ms) {
    if (s->at == s->len) {
        // librdkafka waits until a batch is full. So only what is there already is taken as one.
        ssize_t n = rd_kafka_consume_batch_queue(s->queue, 0, s->messages, FETCH_AT_ONCE);
        s->at = 0;
        s->len = n > 0 ? (size_t)n : 0;
        cs_kafka_intake_took(&s->intake, s->messages, s->len, FETCH_AT_ONCE);
        if (s->len == 0 && timeout_ms > 0 && (s->messages[0] = rd_kafka_consume_queue(s->queue, timeout_ms)))
            s->len = 1;
    }
    return s->at < s->len ? s->messages[s->at++] : NULL;
}

static bool hand_out(struct kafka_stream *s, struct cs_record *ret, struct cs_err *err) {
    const rd_kafka_message_t *m = s->held;
    rd_kafka_timestamp_type_t type;
    if (((struct kafka_topic *)s->base.topic)->options.headers)
        return cs_record_of_message(s->held, &s->headers, ret, &type) || cs_err_oom(err);
    *ret = (struct cs_record){.partition = m->partition,
                              .offset = m->offset,
                              .key = {m->key, m->key_len},
                              .value = {m->payload, m->len}};
    return true;
}

static bool kafka_next(struct cs_topic_stream *base, int timeout_ms, enum cs_topic_step *ret_step,
                       struct cs_record *ret, struct cs_err *err) {
    struct kafka_stream *s = (struct kafka_stream *)base;
    let_go(s);
    while (s->next < s->end) {
        rd_kafka_message_t *m = take(s, timeout_ms);
        if (!m) {
            *ret_step = CS_TOPIC_WAIT;
            return true;
        }
        rd_kafka_resp_err_t code = m->err;
        // Offsets at the end may hold no record.
        if (!code || (code == RD_KAFKA_RESP_ERR__PARTITION_EOF && m->offset > s->next))
            s->next = m->offset + !code;
        if (!code && m->offset < s->end) {
            s->held = m;
            *ret_step = CS_TOPIC_RECORD;
            return hand_out(s, ret, err);
        }
        rd_kafka_message_destroy(m);
        if (code && code != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            return cs_kafka_err(err, code, "reading %s partition %d", base->topic->name,
                                (int)base->partition);
    }
    *ret_step = CS_TOPIC_END;
    return true;
}

static void kafka_free(struct cs_topic *base) {
    struct kafka_topic *t = (struct kafka_topic *)base;
    if (t->rkt)
        rd_kafka_topic_destroy(t->rkt);
    if (t->rk && !t->borrowed)
        rd_kafka_destroy(t->rk);
    free(t);
}

static const struct cs_topic_ops kafka_ops = {kafka_bounds, kafka_open, kafka_next, kafka_close, kafka_free};

bool cs_topic_kafka_beside(struct cs_topic *beside, const char *name, struct cs_topic **ret,
                           struct cs_err *err) {
    const struct kafka_topic *other = (const struct kafka_topic *)beside;
    struct kafka_topic *t = calloc(1, sizeof *t);
    if (!t)
        return cs_err_oom(err);
    CS_AUTO(cs_topic_free) struct cs_topic *base = &t->base;
    *base = (struct cs_topic){&kafka_ops, name};
    t->options = other->options;
    t->rk = other->rk;
    t->borrowed = true;
    t->rkt = rd_kafka_topic_new(t->rk, name, NULL);
    if (!t->rkt)
        return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", name);
    *ret = CS_TAKE(base);
    return true;
}

// To start a partition waits for the answer to an earlier fetch. To find its end waits for one more
// fetch. Without new records, the broker holds each back for fetch.wait.max.ms. What is fetched ahead
// takes about twice its size; each thread of verify reads two partitions.
static bool set_own(rd_kafka_conf_t *conf, struct cs_err *err) {
    static const struct {
        const char *name, *value;
    } own[] = {{"fetch.wait.max.ms", "10"}, {"queued.max.messages.kbytes", "2048"}};
    char text[256];
    for (size_t i = 0; i < CS_ARRAY_LEN(own); i++)
        if (rd_kafka_conf_set(conf, own[i].name, own[i].value, text, sizeof text) != RD_KAFKA_CONF_OK)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "librdkafka: %s", text);
    return true;
}

bool cs_topic_kafka_new(const struct cs_topic_options *options, struct cs_topic **ret, struct cs_err *err) {
    struct kafka_topic *t = calloc(1, sizeof *t);
    rd_kafka_conf_t *conf = NULL;
    if (!t)
        return cs_err_oom(err);
    CS_AUTO(cs_topic_free) struct cs_topic *base = &t->base;
    *base = (struct cs_topic){&kafka_ops, options->name};
    t->options = *options;
    if (!cs_kafka_conf_consumer(options->kafka, options->client_id, NULL, &conf, err))
        return false;
    if (!set_own(conf, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    if (!cs_kafka_new(RD_KAFKA_CONSUMER, conf, &t->rk, err))
        return false;
    t->rkt = rd_kafka_topic_new(t->rk, base->name, NULL);
    if (!t->rkt)
        return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", base->name);
    *ret = CS_TAKE(base);
    return true;
}

bool cs_topic_kafka_partitions(struct cs_topic *base, int64_t timeout_ms, int32_t *ret, struct cs_err *err) {
    const struct kafka_topic *t = (const struct kafka_topic *)base;
    return cs_kafka_topic_partitions(t->rk, t->options.kafka->brokers, base->name, timeout_ms, ret, err);
}

bool cs_topic_kafka_time(struct cs_topic *base, const char *name, int32_t partition, int64_t offset,
                         int timeout_ms, int64_t *ret_ms, struct cs_err *err) {
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(((struct kafka_topic *)base)->rk, name, NULL);
    if (!rkt || rd_kafka_consume_start(rkt, partition, offset) != 0) {
        cs_kafka_err(err, rd_kafka_last_error(), "reading %s partition %d", name, (int)partition);
        if (rkt)
            rd_kafka_topic_destroy(rkt);
        return false;
    }
    rd_kafka_message_t *m = rd_kafka_consume(rkt, partition, timeout_ms);
    bool found = m && !m->err && m->offset == offset;
    if (found)
        *ret_ms = rd_kafka_message_timestamp(m, NULL);
    else if (m && m->err)
        cs_kafka_err(err, m->err, "reading %s partition %d", name, (int)partition);
    else
        cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                   "the record at offset %lld of %s partition %d did not arrive", (long long)offset, name,
                   (int)partition);
    if (m)
        rd_kafka_message_destroy(m);
    rd_kafka_consume_stop(rkt, partition);
    rd_kafka_topic_destroy(rkt);
    return found;
}

bool cs_topic_kafka_at_time(struct cs_topic *base, int32_t partitions, int64_t time_ms, int timeout_ms,
                            int64_t *ret, struct cs_err *err) {
    struct kafka_topic *t = (struct kafka_topic *)base;
    rd_kafka_topic_partition_list_t *places = rd_kafka_topic_partition_list_new(partitions);
    if (!places)
        return cs_err_oom(err);
    for (int32_t p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(places, base->name, p)->offset = time_ms;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(t->rk, places, timeout_ms);
    for (int i = 0; !code && i < places->cnt; i++) {
        const rd_kafka_topic_partition_t *place = &places->elems[i];
        code = place->err;
        ret[place->partition] = place->offset;
    }
    rd_kafka_topic_partition_list_destroy(places);
    if (code)
        return cs_kafka_err(err, code, "looking for a time in %s", base->name);
    for (int32_t p = 0; p < partitions; p++) {
        int64_t low = 0;
        if (ret[p] < 0 && !kafka_bounds(base, p, timeout_ms, &low, &ret[p], err))
            return false;
    }
    return true;
}
