// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static const struct cs_header content_type = {
    "content-type", {(const uint8_t *)CS_OUTCOME_CONTENT_TYPE, sizeof CS_OUTCOME_CONTENT_TYPE - 1}};

void log_mark(struct sim *s, int32_t partition, struct sim_record *r) {
    char mark[CS_OUTCOME_MARK_SIZE];
    cs_outcome_mark(s->pool->marks, partition, r->key, r->value, mark);
    r->mark = arena_bytes(s, (struct cs_bytes){(const uint8_t *)mark, CS_OUTCOME_MARK_LEN});
    r->headers[1] = (struct cs_header){CS_OUTCOME_MARK_HEADER, r->mark};
}

void log_append(struct sim *s, enum cs_publish_topic topic, int32_t partition, struct sim_record r) {
    struct sim_log *l = &s->logs[topic][partition];
    if (l->len == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->records = realloc(l->records, l->cap * sizeof *l->records);
    }
    r.headers[0] = content_type;
    r.headers[1] = (struct cs_header){CS_OUTCOME_MARK_HEADER, r.mark};
    l->records[l->len++] = r;
    if (s->closed)
        violation(s, "something was published while all was published already");
}

static struct cs_record record_at(const struct sim_log *l, int32_t partition, size_t i) {
    const struct sim_record *r = &l->records[i];
    struct cs_record out = {.partition = partition,
                            .timestamp_ms = FX_NOW_MS,
                            .key = r->key,
                            .value = r->value,
                            .headers = r->headers,
                            .headers_len = r->mark.data ? 2 : 1};
    if (r->event)
        out = r->event->record;
    out.offset = (int64_t)i;
    return out;
}

// --- cert.outcomes for cursors

struct stream {
    struct cs_topic_stream base;
    int64_t next, end;
};
struct topic {
    struct cs_topic base;
    struct sim *s;
};

static bool topic_bounds(struct cs_topic *t, int32_t partition, int64_t timeout_ms, int64_t *ret_low,
                         int64_t *ret_high, struct cs_err *err) {
    struct sim *s = ((struct topic *)t)->s;
    (void)timeout_ms;
    *ret_low = s->low[partition];
    *ret_high = (int64_t)s->logs[CS_PUBLISH_OUTCOMES][partition].len;
    return !fault(s, "the end of the outcomes is not told", err);
}

static bool topic_open(struct cs_topic *t, int32_t partition, int64_t from, int64_t end,
                       struct cs_topic_stream **ret, struct cs_err *err) {
    struct stream *st = NULL;
    struct sim *s = ((struct topic *)t)->s;
    if (fault(s, "outcomes cannot be read", err))
        return false;
    st = calloc(1, sizeof *st);
    st->base = (struct cs_topic_stream){t, partition};
    st->next = from > s->low[partition] ? from : s->low[partition];
    st->end = end;
    *ret = &st->base;
    return true;
}

static bool topic_next(struct cs_topic_stream *base, int timeout_ms, enum cs_topic_step *ret_step,
                       struct cs_record *ret, struct cs_err *err) {
    struct stream *st = (struct stream *)base;
    struct sim *s = ((struct topic *)base->topic)->s;
    *ret_step = CS_TOPIC_END;
    if (st->next >= st->end || st->next >= (int64_t)s->logs[CS_PUBLISH_OUTCOMES][base->partition].len)
        return true;
    if (fault(s, "an outcome does not arrive", err))
        return false;
    *ret_step = CS_TOPIC_WAIT;
    if (chance(s, s->faults)) {
        s->struck += timeout_ms > 0 && s->impatient;
        return true;
    }
    *ret_step = CS_TOPIC_RECORD;
    *ret = record_at(&s->logs[CS_PUBLISH_OUTCOMES][base->partition], base->partition, (size_t)st->next++);
    return true;
}

static void topic_close(struct cs_topic_stream *base) {
    free(base);
}

static void topic_free(struct cs_topic *t) {
    free(t);
}

struct cs_topic *sim_topic(struct sim *s) {
    static const struct cs_topic_ops ops = {topic_bounds, topic_open, topic_next, topic_close, topic_free};
    struct topic *t = calloc(1, sizeof *t);
    t->base = (struct cs_topic){&ops, "cert.outcomes"};
    t->s = s;
    return &t->base;
}

// --- both topics for rebuilds

struct log {
    struct cs_log base;
    struct sim *s;
    enum cs_publish_topic topic;
    int32_t partition;
    int64_t next, end;
};

static bool log_bounds(struct cs_log *l, int32_t partition, int64_t *ret_low, int64_t *ret_high,
                       struct cs_err *err) {
    struct log *log = (struct log *)l;
    meanwhile(log->s);
    *ret_low = log->topic == CS_PUBLISH_OUTCOMES ? log->s->low[partition] : 0;
    *ret_high = (int64_t)log->s->logs[log->topic][partition].len;
    return !fault(log->s, "the end of a log is not told", err);
}

static bool log_start(struct cs_log *l, int32_t partition, int64_t from, int64_t end, struct cs_err *err) {
    struct log *log = (struct log *)l;
    log->partition = partition;
    log->next = from;
    log->end = end;
    return !fault(log->s, "a log cannot be read", err);
}

static bool log_next(struct cs_log *l, struct cs_record *ret, bool *ret_end, struct cs_err *err) {
    struct log *log = (struct log *)l;
    *ret_end = log->next >= log->end;
    if (*ret_end)
        return true;
    if (fault(log->s, "a record does not arrive", err))
        return false;
    *ret = record_at(&log->s->logs[log->topic][log->partition], log->partition, (size_t)log->next++);
    return true;
}

static void log_free(struct cs_log *l) {
    free(l);
}

struct cs_log *sim_log_open(struct sim *s, enum cs_publish_topic topic) {
    static const struct cs_log_ops ops = {
        .bounds = log_bounds, .start = log_start, .next = log_next, .free = log_free};
    struct log *l = calloc(1, sizeof *l);
    l->base = (struct cs_log){&ops, topic == CS_PUBLISH_EVENTS ? "cert.events" : "cert.outcomes", PARTITIONS};
    l->s = s;
    l->topic = topic;
    return &l->base;
}

// --- producers

static bool sim_send(struct cs_publisher *base, const struct cs_publish_message *m, struct cs_err *err) {
    struct sim_publisher *p = (struct sim_publisher *)base;
    if (fault(p->s, "the producer takes nothing", err))
        return false;
    if (p->len == CS_ARRAY_LEN(p->queue)) {
        p->s->struck++;
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the producer's queue is full");
    }
    if (p->misplaced)
        violation(p->s, "something is published on outcomes that stand elsewhere");
    if (p->sent == 0) { // a new batch
        p->batch++;
        p->acknowledged = p->bytes = 0;
        p->failed = p->unknown = false;
        p->first = INT64_MAX;
        p->last = -1;
    }
    p->topic = m->topic;
    p->partition = m->partition;
    if (p->sent == CS_FLIGHT_AT_ONCE || p->bytes >= CS_FLIGHT_AT_ONCE_SIZE)
        violation(p->s, "the producer has %zu messages already, of %zu bytes", p->sent, p->bytes);
    p->sent++;
    p->bytes += m->value.len;
    p->queue[p->len++] = (struct sim_message){
        .topic = m->topic,
        .partition = m->partition,
        .key = arena_bytes(p->s, m->key),
        .value = arena_bytes(p->s, m->value),
        .signature = arena_bytes(p->s, m->headers[1].value),
        .batch = p->batch,
    };
    if (m->headers_len != 2 || strcmp(m->headers[0].name, "content-type") != 0)
        violation(p->s, "a message without its content type");
    return true;
}

// Outcomes belong right behind those before them.
static void note_places(struct sim_publisher *p) {
    if (p->topic != CS_PUBLISH_OUTCOMES)
        return;
    int64_t *due = &p->due[p->partition];
    bool known = !p->unknown;
    p->misplaced = known && ((*due >= 0 && p->first != *due) || p->last - p->first != (int64_t)p->sent - 1);
    *due = known ? p->last + 1 : -1;
}

static bool sim_pending(struct cs_publisher *base, size_t *ret, struct cs_err *err) {
    struct sim_publisher *p = (struct sim_publisher *)base;
    if (p->failed) { // the producer is made anew: what it had is gone
        p->failed = false;
        p->sent = p->acknowledged = p->len = 0;
        p->s->struck++;
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "an acknowledgement was lost");
    }
    *ret = p->sent - p->acknowledged;
    if (*ret > 0)
        return true;
    if (p->sent > 0)
        note_places(p);
    p->sent = p->acknowledged = 0;
    return true;
}

static bool sim_places(const struct cs_publisher *base, int64_t *ret_first, int64_t *ret_last) {
    const struct sim_publisher *p = (const struct sim_publisher *)base;
    *ret_first = p->first;
    *ret_last = p->last;
    return !p->unknown && p->first <= p->last;
}

static void sim_abandon(struct cs_publisher *base) {
    struct sim_publisher *p = (struct sim_publisher *)base;
    p->sent = p->acknowledged = 0;
    p->misplaced = false;
    p->batch++;
}

static void sim_free(struct cs_publisher *base) {
    (void)base;
}

void publisher_init(struct sim_publisher *p, struct sim *s) {
    static const struct cs_publisher_ops ops = {// checkpoints: see flyer.c
                                                .send = sim_send,
                                                .pending = sim_pending,
                                                .places = sim_places,
                                                .abandon = sim_abandon,
                                                .free = sim_free};
    *p = (struct sim_publisher){.base = {&ops}, .s = s, .first = INT64_MAX, .last = -1};
}

static void deliver(struct sim *s, struct sim_publisher *p, const struct sim_message *m) {
    struct sim_record r = {.key = m->key, .value = m->value, .mark = m->signature};
    int64_t at = (int64_t)s->logs[m->topic][m->partition].len;
    if (m->topic == CS_PUBLISH_EVENTS) {
        r.event = pool_derived(s->pool, m->partition, m->key, m->value, m->signature);
        if (!r.event) {
            violation(s, "a derived event with a wrong signature");
            return;
        }
    }
    log_append(s, m->topic, m->partition, r);
    if (m->batch != p->batch)
        return;
    p->acknowledged++;
    if (m->topic == CS_PUBLISH_OUTCOMES) {
        p->first = at < p->first ? at : p->first;
        p->last = at > p->last ? at : p->last;
    }
}

void broker_step(struct sim *s, struct sim_publisher *p) {
    size_t n = 1 + draw(s, (unsigned)p->len);
    for (size_t i = 0; i < n; i++)
        deliver(s, p, &p->queue[i]);
    p->len -= n;
    memmove(p->queue, p->queue + n, p->len * sizeof *p->queue);
    tell(s, "the broker takes %zu messages", n);
    if (chance(s, s->faults)) {
        p->failed = true;
        p->len = 0;
        tell(s, "  and the caller does not hear of it");
    } else if (s->damage == UNHARMED && chance(s, s->faults)) { // sent twice, and acknowledged for that
        p->unknown = true;
    }
}
