// SPDX-License-Identifier: Apache-2.0
#include "cursor.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"

#define FETCH_AT_ONCE     256
#define BROKER_TIMEOUT_MS 10000

struct cs_cursor {
    const char *topic;
    int wake_fd;
    rd_kafka_t *rk;
    rd_kafka_topic_t *rkt;
};

struct cs_cursor_stream {
    struct cs_cursor *cursor;
    int32_t partition;
    bool started;
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *messages[FETCH_AT_ONCE];
    size_t len, at;
    rd_kafka_message_t *held; // handed out last
    int64_t last;             // its number
    int64_t eof_at;           // the end as last seen; -1: not yet
};

bool cs_cursor_new(const struct cs_cursor_options *options, struct cs_cursor **ret, struct cs_err *err) {
    CS_AUTO(cs_cursor_free) struct cs_cursor *c = calloc(1, sizeof *c);
    rd_kafka_conf_t *conf = NULL;
    if (!c)
        return cs_err_oom(err);
    c->topic = options->topic;
    c->wake_fd = options->wake_fd;
    if (!cs_kafka_conf_consumer(options->kafka, options->client_id, NULL, &conf, err))
        return false;
    // A partition that is started waits for the answer to the fetch before it, which is held back this long
    // where nothing is new.
    char text[256];
    if (rd_kafka_conf_set(conf, "fetch.wait.max.ms", "10", text, sizeof text) != RD_KAFKA_CONF_OK) {
        rd_kafka_conf_destroy(conf);
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "librdkafka: %s", text);
    }
    if (!cs_kafka_new(RD_KAFKA_CONSUMER, conf, &c->rk, err))
        return false;
    c->rkt = rd_kafka_topic_new(c->rk, c->topic, NULL);
    if (!c->rkt)
        return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", c->topic);
    *ret = CS_TAKE(c);
    return true;
}

static void let_go(struct cs_cursor_stream *s) {
    if (s->held)
        rd_kafka_message_destroy(s->held);
    s->held = NULL;
}

void cs_cursor_close(struct cs_cursor_stream *s) {
    if (!s)
        return;
    let_go(s);
    for (; s->at < s->len; s->at++)
        rd_kafka_message_destroy(s->messages[s->at]);
    if (s->started)
        rd_kafka_consume_stop(s->cursor->rkt, s->partition);
    if (s->queue)
        rd_kafka_queue_destroy(s->queue);
    free(s);
}

void cs_cursor_free(struct cs_cursor *c) {
    if (!c)
        return;
    if (c->rkt)
        rd_kafka_topic_destroy(c->rkt);
    if (c->rk)
        rd_kafka_destroy(c->rk);
    free(c);
}

int64_t cs_outcome_number(struct cs_bytes value) {
    static const char start[] = "{\"n\":";
    size_t at = sizeof start - 1;
    int64_t n = 0;
    if (value.len < at + 2 || memcmp(value.data, start, at) != 0)
        return -1;
    for (; at < value.len && value.data[at] >= '0' && value.data[at] <= '9' && n < INT64_MAX / 100; at++)
        n = n * 10 + (value.data[at] - '0');
    return at < value.len && value.data[at] == ',' && n > 0 ? n : -1;
}

// Starts at an offset, into a queue of its own.
static bool start(struct cs_cursor *c, int32_t partition, int64_t offset, struct cs_cursor_stream **ret,
                  struct cs_err *err) {
    static const uint8_t one = 1;
    struct cs_cursor_stream *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    s->cursor = c;
    s->partition = partition;
    s->eof_at = -1;
    s->queue = rd_kafka_queue_new(c->rk);
    if (c->wake_fd >= 0)
        rd_kafka_queue_io_event_enable(s->queue, c->wake_fd, &one, sizeof one);
    s->started = rd_kafka_consume_start_queue(c->rkt, partition, offset, s->queue) == 0;
    if (!s->started) {
        cs_kafka_err(err, rd_kafka_last_error(), "reading %s partition %d", c->topic, (int)partition);
        cs_cursor_close(s);
        return false;
    }
    *ret = s;
    return true;
}

// The next record, or NULL where none came within timeout_ms. Errors of the stream go to *err (then *ret_ok
// is false).
static rd_kafka_message_t *take(struct cs_cursor_stream *s, int timeout_ms, bool *ret_ok,
                                struct cs_err *err) {
    *ret_ok = true;
    for (;;) {
        if (s->at == s->len) {
            // A batch is waited for until it is full: only what is there is taken as one.
            ssize_t n = rd_kafka_consume_batch_queue(s->queue, 0, s->messages, FETCH_AT_ONCE);
            s->at = 0;
            s->len = n > 0 ? (size_t)n : 0;
            if (s->len == 0 && timeout_ms > 0 &&
                (s->messages[0] = rd_kafka_consume_queue(s->queue, timeout_ms)))
                s->len = 1;
            if (s->len == 0)
                return NULL;
        }
        rd_kafka_message_t *m = s->messages[s->at++];
        if (!m->err)
            return m;
        rd_kafka_resp_err_t code = m->err;
        if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            s->eof_at = m->offset;
        rd_kafka_message_destroy(m);
        if (code == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            continue;
        *ret_ok = cs_kafka_err(err, code, "reading %s partition %d", s->cursor->topic, (int)s->partition);
        return NULL;
    }
}

static struct cs_bytes value_of(const rd_kafka_message_t *m) {
    return (struct cs_bytes){m->payload, m->len};
}

static bool not_an_outcome(const struct cs_cursor_stream *s, int64_t offset, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_FATAL, CS_CODE_NONE,
        "the record at offset %lld of %s partition %d is not an outcome: something else writes to the topic",
        (long long)offset, s->cursor->topic, (int)s->partition);
}

static bool read_tail(struct cs_cursor_stream *s, struct cs_crypto *crypto, int64_t end, int64_t want,
                      int64_t timeout_ms, struct cs_cursor_tail *ret, struct cs_err *err) {
    int64_t deadline = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    for (int64_t next = 0; next < end && s->eof_at < end;) {
        bool ok = true;
        rd_kafka_message_t *m = take(s, 100, &ok, err);
        if (!ok)
            return false;
        if (!m && cs_clock_mono_ms(cs_clock_real()) > deadline)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                              "the end of %s partition %d did not arrive in time", s->cursor->topic,
                              (int)s->partition);
        if (!m)
            continue;
        int64_t offset = m->offset;
        int64_t n = cs_outcome_number(value_of(m));
        if (n > ret->last)
            ret->last = n;
        if (n == want && !ret->found) {
            ret->found = true;
            cs_crypto_sha256(crypto, value_of(m), ret->found_sha256);
        }
        rd_kafka_message_destroy(m);
        if (n < 0)
            return not_an_outcome(s, offset, err);
        next = offset + 1;
    }
    return true;
}

bool cs_cursor_tail(struct cs_cursor *c, struct cs_crypto *crypto, int32_t partition, int64_t want,
                    int64_t timeout_ms, struct cs_cursor_tail *ret, struct cs_err *err) {
    int64_t low = 0;
    int64_t high = 0;
    struct cs_cursor_tail tail = {0};
    if (!cs_kafka_watermarks(c->rk, c->topic, partition, timeout_ms, &low, &high, err))
        return false;
    if (high > low) {
        int64_t from = high - low > CS_CURSOR_TAIL ? high - CS_CURSOR_TAIL : low;
        struct cs_cursor_stream *s = NULL;
        if (!start(c, partition, from, &s, err))
            return false;
        bool ok = read_tail(s, crypto, high, want, timeout_ms, &tail, err);
        cs_cursor_close(s);
        if (!ok)
            return false;
    }
    *ret = tail;
    return true;
}

bool cs_cursor_time(struct cs_cursor *c, const char *topic, int32_t partition, int64_t offset, int timeout_ms,
                    int64_t *ret_ms, struct cs_err *err) {
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(c->rk, topic, NULL);
    if (!rkt || rd_kafka_consume_start(rkt, partition, offset) != 0) {
        cs_kafka_err(err, rd_kafka_last_error(), "reading %s partition %d", topic, (int)partition);
        if (rkt)
            rd_kafka_topic_destroy(rkt);
        return false;
    }
    rd_kafka_message_t *m = rd_kafka_consume(rkt, partition, timeout_ms);
    bool found = m && !m->err && m->offset == offset;
    if (found)
        *ret_ms = rd_kafka_message_timestamp(m, NULL);
    else if (m && m->err)
        cs_kafka_err(err, m->err, "reading %s partition %d", topic, (int)partition);
    else
        cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                   "the record at offset %lld of %s partition %d did not arrive", (long long)offset, topic,
                   (int)partition);
    if (m)
        rd_kafka_message_destroy(m);
    rd_kafka_consume_stop(rkt, partition);
    rd_kafka_topic_destroy(rkt);
    return found;
}

bool cs_cursor_open(struct cs_cursor *c, int32_t partition, int64_t first, struct cs_cursor_stream **ret,
                    struct cs_err *err) {
    int64_t low = 0;
    int64_t high = 0;
    if (!cs_kafka_watermarks(c->rk, c->topic, partition, BROKER_TIMEOUT_MS, &low, &high, err))
        return false;
    // Numbers are dense from 1, and records that repeat one only push the later ones back: number n cannot
    // stand before n-1.
    if (low > first - 1)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "%s partition %d begins at offset %lld: outcomes were deleted; set retention.ms=-1 "
                          "and restore the "
                          "topic",
                          c->topic, (int)partition, (long long)low);
    if (!start(c, partition, first - 1, ret, err))
        return false;
    (*ret)->last = first - 1;
    return true;
}

bool cs_cursor_next(struct cs_cursor_stream *s, int64_t n, bool *ret_ready, struct cs_published_outcome *ret,
                    struct cs_err *err) {
    let_go(s);
    for (;;) {
        bool ok = true;
        rd_kafka_message_t *m = take(s, 0, &ok, err);
        if (!m) {
            *ret_ready = false;
            return ok;
        }
        int64_t number = cs_outcome_number(value_of(m));
        if (number > 0 && number <= s->last) { // published again
            rd_kafka_message_destroy(m);
            continue;
        }
        if (number != s->last + 1 || number != n) {
            int64_t offset = m->offset;
            rd_kafka_message_destroy(m);
            if (number < 0)
                return not_an_outcome(s, offset, err);
            return cs_err_set(
                err, CS_ERR_FATAL, CS_CODE_NONE,
                "the record at offset %lld of %s partition %d is outcome %lld where %lld belongs",
                (long long)offset, s->cursor->topic, (int)s->partition, (long long)number, (long long)n);
        }
        s->last = number;
        s->held = m;
        *ret_ready = true;
        *ret = (struct cs_published_outcome){m->offset, {m->key, m->key_len}, value_of(m)};
        return true;
    }
}
