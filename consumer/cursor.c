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
    struct cs_chain chain;    // of what was handed out
    int64_t next;             // offset up to which all was taken
    int64_t end;              // of the partition when the stream was opened
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

// Starts at an offset, into a queue of its own; reads up to before `end`.
static bool start(struct cs_cursor *c, int32_t partition, int64_t offset, int64_t end,
                  struct cs_cursor_stream **ret, struct cs_err *err) {
    static const uint8_t one = 1;
    struct cs_cursor_stream *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    s->cursor = c;
    s->partition = partition;
    s->next = offset;
    s->end = end;
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
        rd_kafka_resp_err_t code = m->err;
        if (!code || (code == RD_KAFKA_RESP_ERR__PARTITION_EOF && m->offset > s->next))
            s->next = m->offset + !code; // the end may lie behind offsets that hold no record
        if (!code)
            return m;
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

static struct cs_chain_record record_of(const rd_kafka_message_t *m) {
    return (struct cs_chain_record){m->offset, {m->key, m->key_len}, value_of(m)};
}

// The next record before the end, waiting for it; NULL after the last, or with *ret_ok false.
static rd_kafka_message_t *take_before_end(struct cs_cursor_stream *s, int64_t deadline_ms, bool *ret_ok,
                                           struct cs_err *err) {
    *ret_ok = true;
    while (s->next < s->end) {
        rd_kafka_message_t *m = take(s, 100, ret_ok, err);
        if (m || !*ret_ok)
            return m;
        if (s->next < s->end && cs_clock_mono_ms(cs_clock_real()) > deadline_ms) {
            *ret_ok = cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                 "the end of %s partition %d did not arrive in time", s->cursor->topic,
                                 (int)s->partition);
            return NULL;
        }
    }
    return NULL;
}

// Until the outcome that the position stands on is found, no chain can be followed: what counts then is only how far the numbers go.
static void search(struct cs_chain *chain, struct cs_crypto *crypto, const struct cs_chain_record *r,
                   const struct cs_position *at, struct cs_cursor_tail *ret) {
    uint8_t sha256[32];
    int64_t n = cs_outcome_number(r->value);
    if (n == at->outcomes) {
        cs_crypto_sha256(crypto, r->value, sha256);
        ret->found = memcmp(sha256, at->chain_sha256, 32) == 0;
        if (ret->found) {
            chain->last = n;
            memcpy(chain->sha256, sha256, 32);
            return;
        }
    }
    n = cs_chain_plausible(r, chain->partition);
    if (n < 0 && chain->foreign++ == 0)
        chain->foreign_at = r->offset;
    ret->other |= n == at->outcomes;
    if (n > ret->last)
        ret->last = n;
}

static bool read_tail(struct cs_cursor_stream *s, struct cs_crypto *crypto, const struct cs_position *at,
                      int64_t timeout_ms, struct cs_cursor_tail *ret, struct cs_err *err) {
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    struct cs_chain chain;
    bool ok = true;
    rd_kafka_message_t *m = NULL;
    cs_chain_begin(&chain, s->partition, 0, NULL);
    // With nothing before it the first outcome is the beginning of the chain.
    ret->found = at->outcomes == 0 && s->next == 0;
    while (ok && (m = take_before_end(s, deadline_ms, &ok, err))) {
        struct cs_chain_record r = record_of(m);
        int64_t n = 0;
        if (!ret->found)
            search(&chain, crypto, &r, at, ret);
        else if (cs_chain_take(&chain, crypto, &r, &n) == CS_CHAIN_BROKEN)
            ok = cs_chain_broken(&chain, s->cursor->topic, r.offset, n, err);
        rd_kafka_message_destroy(m);
    }
    if (ret->found)
        ret->last = chain.last;
    ret->foreign = chain.foreign;
    ret->foreign_at = chain.foreign_at;
    return ok;
}

bool cs_cursor_tail(struct cs_cursor *c, struct cs_crypto *crypto, int32_t partition,
                    const struct cs_position *at, int64_t timeout_ms, struct cs_cursor_tail *ret,
                    struct cs_err *err) {
    int64_t low = 0;
    int64_t high = 0;
    struct cs_cursor_tail tail = {.foreign_at = -1};
    if (!cs_kafka_watermarks(c->rk, c->topic, partition, timeout_ms, &low, &high, err))
        return false;
    tail.low = low;
    tail.end = high;
    if (high > low) {
        tail.from = high - low > CS_CURSOR_TAIL ? high - CS_CURSOR_TAIL : low;
        struct cs_cursor_stream *s = NULL;
        if (!start(c, partition, tail.from, high, &s, err))
            return false;
        bool ok = read_tail(s, crypto, at, timeout_ms, &tail, err);
        cs_cursor_close(s);
        if (!ok)
            return false;
    }
    *ret = tail;
    return true;
}

bool cs_cursor_end(struct cs_cursor *c, int32_t partition, int64_t timeout_ms, int64_t *ret_end,
                   struct cs_err *err) {
    int64_t low = 0;
    return cs_kafka_watermarks(c->rk, c->topic, partition, timeout_ms, &low, ret_end, err);
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

bool cs_cursor_open(struct cs_cursor *c, int32_t partition, const struct cs_position *after,
                    struct cs_cursor_stream **ret, struct cs_err *err) {
    int64_t low = 0;
    int64_t high = 0;
    if (!cs_kafka_watermarks(c->rk, c->topic, partition, BROKER_TIMEOUT_MS, &low, &high, err))
        return false;
    // Numbers are dense from 1, and all else only pushes the later ones back: number n cannot stand before n-1.
    if (low > after->outcomes)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "%s partition %d begins at offset %lld: outcomes were deleted; set retention.ms=-1 "
                          "and restore the topic",
                          c->topic, (int)partition, (long long)low);
    if (!start(c, partition, after->outcomes, high, ret, err))
        return false;
    cs_chain_begin(&(*ret)->chain, partition, after->outcomes, after->chain_sha256);
    return true;
}

bool cs_cursor_next(struct cs_cursor_stream *s, struct cs_crypto *crypto, enum cs_cursor_step *ret_step,
                    struct cs_published_outcome *ret, struct cs_err *err) {
    let_go(s);
    while (s->next < s->end) {
        bool ok = true;
        int64_t n = 0;
        rd_kafka_message_t *m = take(s, 0, &ok, err);
        if (!m && s->next < s->end) {
            *ret_step = CS_CURSOR_WAIT;
            return ok;
        }
        if (!m)
            break;
        struct cs_chain_record r = record_of(m);
        enum cs_chain_link link = cs_chain_take(&s->chain, crypto, &r, &n);
        if (link == CS_CHAIN_NEXT) {
            s->held = m;
            *ret_step = CS_CURSOR_OUTCOME;
            *ret = (struct cs_published_outcome){m->offset, r.key, r.value};
            return true;
        }
        rd_kafka_message_destroy(m);
        if (link == CS_CHAIN_BROKEN)
            return cs_chain_broken(&s->chain, s->cursor->topic, r.offset, n, err);
    }
    *ret_step = CS_CURSOR_END;
    return true;
}
