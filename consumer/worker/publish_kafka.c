// SPDX-License-Identifier: Apache-2.0
//
// The publisher over Kafka: derived events, outcomes, checkpoints, by idempotent producers.
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/kafka.h"
#include "worker/publish.h"

#define LINGER_MS "1"

#define TOPICS 3

struct checkpoint { // of a partition
    bool waits;     // for its acknowledgement
    bool failed;
    int64_t sending; // its size
    int64_t size;    // of the last one that was acknowledged
    struct cs_err failure;
};

struct kafka_publisher {
    struct cs_publisher base;
    struct cs_publish_kafka_options options;
    char *client_id;
    rd_kafka_t *rk;
    rd_kafka_queue_t *reports;
    rd_kafka_topic_t *topics[TOPICS];
    uintptr_t batch; // the current one: acknowledgements of others do not count
    size_t sent;
    size_t acknowledged;
    int64_t first, last; // offsets of the batch's outcomes; first > last: none yet
    bool places_unknown; // one came without its offset
    bool failed;
    struct cs_err failure;
    struct checkpoint *checkpoints; // by partition
    size_t checkpoints_cap;
};

// What a report says it is of: batches have even numbers, a partition's checkpoint has an odd one.
static void *report_of_batch(const struct kafka_publisher *p) {
    return (void *)(p->batch << 1);
}

static void *report_of_checkpoint(int32_t partition) {
    return (void *)((uintptr_t)partition << 1 | 1);
}

static void note_checkpoint(struct kafka_publisher *p, const rd_kafka_message_t *m) {
    struct checkpoint *c = &p->checkpoints[(uintptr_t)m->_private >> 1];
    c->waits = false;
    c->failed = m->err != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (c->failed)
        cs_kafka_err(&c->failure, m->err, "publishing to %s failed", rd_kafka_topic_name(m->rkt));
    else
        c->size = c->sending;
}

static void note_place(struct kafka_publisher *p, int64_t offset) {
    p->places_unknown |= offset < 0; // it was sent twice, and acknowledged as a duplicate
    if (offset < p->first)
        p->first = offset;
    if (offset > p->last)
        p->last = offset;
}

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    struct kafka_publisher *p = opaque;
    (void)rk;
    if ((uintptr_t)m->_private & 1)
        note_checkpoint(p, m);
    if (m->_private != report_of_batch(p))
        return;
    p->acknowledged++;
    if (!m->err && strcmp(rd_kafka_topic_name(m->rkt), p->options.outcomes_topic) == 0)
        note_place(p, m->offset);
    if (m->err && !p->failed) {
        p->failed = true;
        cs_kafka_err(&p->failure, m->err, "publishing to %s failed", rd_kafka_topic_name(m->rkt));
    }
}

static void close_producer(struct kafka_publisher *p) {
    for (size_t i = 0; i < CS_ARRAY_LEN(p->topics); i++) {
        if (p->topics[i])
            rd_kafka_topic_destroy(p->topics[i]);
        p->topics[i] = NULL;
    }
    if (p->reports)
        rd_kafka_queue_destroy(p->reports);
    p->reports = NULL;
    if (p->rk)
        rd_kafka_destroy(p->rk);
    p->rk = NULL;
    for (size_t i = 0; i < p->checkpoints_cap; i++) // nobody will report of them any more
        p->checkpoints[i].waits = false;
}

static bool open_producer(struct kafka_publisher *p, struct cs_err *err) {
    static const uint8_t one = 1;
    const char *const names[TOPICS] = {p->options.events_topic, p->options.outcomes_topic,
                                       p->options.checkpoints_topic};
    // A batch is given message by message. Without a pause, librdkafka's thread would send the
    // first few alone, and disturb this thread meanwhile.
    if (!cs_kafka_producer(p->options.kafka, p->client_id, on_report, p, LINGER_MS, &p->rk, err))
        return false;
    p->reports = rd_kafka_queue_get_main(p->rk);
    if (p->options.wake_fd >= 0)
        rd_kafka_queue_io_event_enable(p->reports, p->options.wake_fd, &one, sizeof one);
    for (size_t i = 0; i < TOPICS; i++) {
        if (!names[i])
            continue;
        p->topics[i] = rd_kafka_topic_new(p->rk, names[i], NULL);
        if (!p->topics[i])
            return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", names[i]);
    }
    return true;
}

static rd_kafka_headers_t *make_headers(const struct cs_publish_message *m) {
    rd_kafka_headers_t *headers = rd_kafka_headers_new(m->headers_len);
    for (size_t i = 0; i < m->headers_len; i++)
        rd_kafka_header_add(headers, m->headers[i].name, -1, m->headers[i].value.data,
                            (ssize_t)m->headers[i].value.len);
    return headers;
}

static bool reopen(struct kafka_publisher *p, struct cs_err *err) {
    if (p->rk || open_producer(p, err))
        return true;
    close_producer(p);
    return false;
}

static bool produce(struct kafka_publisher *p, const struct cs_publish_message *m, void *report,
                    struct cs_err *err) {
    struct cs_kafka_record record = {.topic = p->topics[m->topic],
                                     .partition = m->partition,
                                     .key = m->key,
                                     .value = m->value,
                                     .headers = make_headers(m),
                                     .report = report};
    rd_kafka_resp_err_t code = cs_kafka_produce(p->rk, &record);
    return !code ||
           cs_kafka_err(err, code, "publishing to %s failed", rd_kafka_topic_name(p->topics[m->topic]));
}

static bool kafka_send(struct cs_publisher *base, const struct cs_publish_message *m, struct cs_err *err) {
    struct kafka_publisher *p = (struct kafka_publisher *)base;
    if (!reopen(p, err))
        return false;
    if (p->sent == 0) { // a new batch
        p->batch++;
        p->acknowledged = 0;
        p->failed = p->places_unknown = false;
        p->first = INT64_MAX;
        p->last = -1;
    }
    if (!produce(p, m, report_of_batch(p), err))
        return false;
    p->sent++;
    return true;
}

static bool kafka_checkpoint(struct cs_publisher *base, const struct cs_publish_message *m, int64_t size,
                             struct cs_err *err) {
    struct kafka_publisher *p = (struct kafka_publisher *)base;
    if (!CS_GROW_ZEROED(&p->checkpoints, &p->checkpoints_cap, (size_t)m->partition + 1))
        return cs_err_oom(err);
    struct checkpoint *c = &p->checkpoints[m->partition];
    if (c->waits)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the checkpoint before it is not acknowledged");
    if (!reopen(p, err) || !produce(p, m, report_of_checkpoint(m->partition), err))
        return false;
    c->waits = true;
    c->failed = false;
    c->sending = size;
    return true;
}

static bool kafka_checkpointed(struct cs_publisher *base, int32_t partition, bool *ret_waits,
                               int64_t *ret_size, struct cs_err *err) {
    struct kafka_publisher *p = (struct kafka_publisher *)base;
    while (p->rk && rd_kafka_poll(p->rk, 0) > 0)
        ;
    struct checkpoint *c = (size_t)partition < p->checkpoints_cap ? &p->checkpoints[partition] : NULL;
    *ret_waits = c && c->waits;
    *ret_size = c ? c->size : 0;
    if (!c || !c->failed)
        return true;
    c->failed = false;
    *err = c->failure;
    return false;
}

static bool kafka_pending(struct cs_publisher *base, size_t *ret, struct cs_err *err) {
    struct kafka_publisher *p = (struct kafka_publisher *)base;
    char text[256];
    if (!p->rk) {
        *ret = 0;
        return true;
    }
    while (rd_kafka_poll(p->rk, 0) > 0)
        ;
    rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(p->rk, text, sizeof text);
    if (fatal || p->failed) {
        if (fatal)
            // If a right is missing, somebody must grant it first.
            cs_err_set(err, cs_kafka_err_kind(fatal) == CS_ERR_CONFIG ? CS_ERR_CONFIG : CS_ERR_RETRY,
                       CS_CODE_NONE, "the producer ended for good (%s); it is made anew", text);
        else
            *err = p->failure;
        close_producer(p);
        p->sent = p->acknowledged = 0;
        return false;
    }
    *ret = p->sent - p->acknowledged;
    if (*ret == 0)
        p->sent = p->acknowledged = 0; // also if the next batch publishes nothing
    return true;
}

static void kafka_abandon(struct cs_publisher *base) {
    struct kafka_publisher *p = (struct kafka_publisher *)base;
    p->sent = p->acknowledged = 0;
    p->batch++;
}

static void kafka_free(struct cs_publisher *base) {
    struct kafka_publisher *p = (struct kafka_publisher *)base;
    close_producer(p);
    free(p->checkpoints);
    free(p->client_id);
    free(p);
}

static bool kafka_places(const struct cs_publisher *base, int64_t *ret_first, int64_t *ret_last) {
    const struct kafka_publisher *p = (const struct kafka_publisher *)base;
    *ret_first = p->first;
    *ret_last = p->last;
    return !p->places_unknown && p->first <= p->last;
}

static const struct cs_publisher_ops kafka_ops = {
    kafka_send, kafka_pending, kafka_places, kafka_checkpoint, kafka_checkpointed, kafka_abandon, kafka_free};

bool cs_publish_kafka_new(const struct cs_publish_kafka_options *options, struct cs_publisher **ret,
                          struct cs_err *err) {
    struct kafka_publisher *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    CS_AUTO(cs_publisher_free) struct cs_publisher *base = &p->base;
    p->base.ops = &kafka_ops;
    p->options = *options;
    p->client_id = strdup(options->client_id);
    if (!p->client_id)
        return cs_err_oom(err);
    if (!open_producer(p, err))
        return false;
    *ret = CS_TAKE(base);
    return true;
}
