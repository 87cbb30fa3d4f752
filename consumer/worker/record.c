// SPDX-License-Identifier: Apache-2.0
#include "worker/record.h"

#include <stdlib.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"

#define POLL_MS 100

void cs_message_headers_clear(struct cs_message_headers *h) {
    free(h->many);
    if (h->detached)
        rd_kafka_headers_destroy(h->detached);
    h->many = NULL;
    h->detached = NULL;
}

static bool read_headers(rd_kafka_message_t *m, struct cs_message_headers *room, struct cs_record *r) {
    rd_kafka_headers_t *headers = NULL;
    struct cs_header *out = room->few;
    r->headers = out;
    if (rd_kafka_message_detach_headers(m, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR || !headers)
        return true;
    room->detached = headers;
    size_t n = rd_kafka_header_cnt(headers);
    if (n > CS_ARRAY_LEN(room->few)) {
        out = room->many = calloc(n, sizeof *out);
        if (!out)
            return false;
        r->headers = out;
    }
    for (size_t i = 0; i < n; i++) {
        const void *value = NULL;
        size_t len = 0;
        if (rd_kafka_header_get_all(headers, i, &out[i].name, &value, &len) != RD_KAFKA_RESP_ERR_NO_ERROR)
            break;
        out[i].value = (struct cs_bytes){value, value ? len : 0};
        r->headers_len = i + 1;
    }
    return true;
}

bool cs_record_of_message(rd_kafka_message_t *m, struct cs_message_headers *headers, struct cs_record *ret,
                          rd_kafka_timestamp_type_t *ret_type) {
    headers->many = NULL;
    headers->detached = NULL;
    *ret = (struct cs_record){.partition = m->partition, .offset = m->offset};
    ret->timestamp_ms = rd_kafka_message_timestamp(m, ret_type);
    ret->key = (struct cs_bytes){m->key, m->key_len};
    ret->value = (struct cs_bytes){m->payload, m->len};
    return read_headers(m, headers, ret);
}

struct progress {
    int64_t next; // the first offset
    int64_t end;  // the offset after the last record to read
    bool started;
    bool done;
};
struct stream {
    rd_kafka_topic_t *rkt;
    rd_kafka_queue_t *queue;
    struct progress *progress; // by partition
    int32_t open;              // partitions that are not done
};

// What to read of each partition. Asked before anything is fetched: an answer would wait for a
// fetch.
static bool plan(const struct cs_scan *s, struct stream *st, struct cs_err *err) {
    for (int32_t p = 0; p < s->partition_count; p++) {
        struct progress *q = &st->progress[p];
        int64_t high = 0;
        if (!cs_kafka_watermarks(s->rk, s->topic, p, s->timeout_ms, &q->next, &high, err))
            return false;
        q->end = s->most > 0 && high - q->next > s->most ? q->next + s->most : high;
        q->done = q->next >= q->end;
    }
    return true;
}

// Starts the partitions that have something, all into one queue.
static bool start(const struct cs_scan *s, struct stream *st, struct cs_err *err) {
    for (int32_t p = 0; p < s->partition_count; p++) {
        struct progress *q = &st->progress[p];
        if (q->done)
            continue;
        if (rd_kafka_consume_start_queue(st->rkt, p, q->next, st->queue) != 0)
            return cs_kafka_err(err, rd_kafka_last_error(), "reading %s partition %d", s->topic, (int)p);
        q->started = true;
        st->open++;
    }
    return true;
}

static bool deliver(const struct cs_scan *s, rd_kafka_message_t *m, struct cs_err *err) {
    struct cs_message_headers headers;
    struct cs_record record;
    rd_kafka_timestamp_type_t type;
    bool ok =
        cs_record_of_message(m, &headers, &record, &type) ? s->fn(s->arg, &record, err) : cs_err_oom(err);
    cs_message_headers_clear(&headers);
    return ok;
}

// Takes one message. After its last one the partition is done.
static bool take(const struct cs_scan *s, struct stream *st, rd_kafka_message_t *m, struct cs_err *err) {
    bool end = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
    if (m->err && !end)
        return cs_kafka_err(err, m->err, "reading %s", s->topic);
    struct progress *p = &st->progress[m->partition];
    if (p->done)
        return true;
    if (!end && !deliver(s, m, err))
        return false;
    if (end ? m->offset >= p->end : m->offset + 1 >= p->end) {
        p->done = true;
        st->open--;
    }
    return true;
}

static bool read_all(const struct cs_scan *s, struct stream *st, struct cs_err *err) {
    const struct cs_clock *clock = cs_clock_real();
    int64_t deadline = cs_clock_mono_ms(clock) + s->timeout_ms;
    while (st->open > 0) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(st->queue, POLL_MS);
        if (!m && cs_clock_mono_ms(clock) > deadline)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "topic %s gave no record within %lld ms",
                              s->topic, (long long)s->timeout_ms);
        if (!m)
            continue;
        deadline = cs_clock_mono_ms(clock) + s->timeout_ms;
        bool ok = take(s, st, m, err);
        rd_kafka_message_destroy(m);
        if (!ok)
            return false;
    }
    return true;
}

bool cs_scan_topic(const struct cs_scan *s, struct cs_err *err) {
    struct stream st = {.progress = calloc((size_t)s->partition_count, sizeof *st.progress)};
    if (!st.progress)
        return cs_err_oom(err);
    st.rkt = rd_kafka_topic_new(s->rk, s->topic, NULL);
    st.queue = rd_kafka_queue_new(s->rk);
    bool ok = st.rkt ? plan(s, &st, err) && start(s, &st, err) && read_all(s, &st, err)
                     : cs_kafka_err(err, rd_kafka_last_error(), "topic %s", s->topic);
    for (int32_t p = 0; p < s->partition_count; p++)
        if (st.progress[p].started)
            rd_kafka_consume_stop(st.rkt, p);
    rd_kafka_queue_destroy(st.queue);
    if (st.rkt)
        rd_kafka_topic_destroy(st.rkt);
    free(st.progress);
    return ok;
}
