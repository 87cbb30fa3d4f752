// SPDX-License-Identifier: Apache-2.0
#include "event/watch_outcomes.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"

#define POLL_MS 100

struct cs_outcome_watch {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int32_t partitions;
    int32_t only;        // this partition; -1: all
    int32_t next;        // the next one to start
    int64_t seq;         // the number to look for
    struct cs_end *ends; // one a partition
};

static int64_t left_ms(int64_t deadline_ms) {
    int64_t left = deadline_ms - cs_clock_mono_ms(cs_clock_real());
    return left > 0 ? left : 0;
}

static bool wanted(const struct cs_outcome_watch *w, int32_t partition) {
    return w->only < 0 || w->only == partition;
}

// Where to begin. For all partitions: at the end. For one: at the event's offset. Each record has
// an outcome, so it is at that place, or later if outcomes were published twice.
static int64_t first_offset(const struct cs_outcome_watch *w, int64_t events_offset, int64_t low,
                            int64_t high) {
    if (w->only < 0)
        return high;
    int64_t first = events_offset < high ? events_offset : high;
    return first > low ? first : low;
}

// The simple consumer. rd_kafka_assign would need a group, which is of no use here.
static bool start(struct cs_outcome_watch *w, const char *topic, int64_t events_offset, int64_t deadline_ms,
                  struct cs_err *err) {
    w->queue = rd_kafka_queue_new(w->rk);
    w->topic = rd_kafka_topic_new(w->rk, topic, NULL);
    if (!w->topic)
        return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", topic);
    for (; w->next < w->partitions; w->next++) {
        int64_t low, high;
        if (!wanted(w, w->next))
            continue;
        if (!cs_kafka_watermarks(w->rk, topic, w->next, left_ms(deadline_ms), &low, &high, err))
            return false;
        if (rd_kafka_consume_start_queue(w->topic, w->next, first_offset(w, events_offset, low, high),
                                         w->queue) < 0)
            return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", topic);
    }
    return true;
}

bool cs_outcome_watch_new(const struct cs_agent_settings *settings, int32_t partition, int64_t offset,
                          int64_t deadline_ms, struct cs_outcome_watch **ret, struct cs_err *err) {
    rd_kafka_conf_t *conf;
    struct cs_outcome_watch *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->only = partition;
    const char *topic = settings->outcomes_topic;
    bool ok = cs_kafka_conf_consumer(&settings->kafka, "certsync", NULL, &conf, err) &&
              cs_kafka_new(RD_KAFKA_CONSUMER, conf, &w->rk, err) &&
              cs_kafka_topic_partitions(w->rk, settings->kafka.brokers, topic, left_ms(deadline_ms),
                                        &w->partitions, err);
    if (ok) {
        w->ends = calloc((size_t)w->partitions, sizeof *w->ends);
        ok = w->ends ? start(w, topic, offset, deadline_ms, err) : cs_err_oom(err);
    }
    if (!ok) {
        cs_outcome_watch_free(w);
        return false;
    }
    *ret = w;
    return true;
}

void cs_outcome_watch_free(struct cs_outcome_watch *w) {
    if (!w)
        return;
    for (int32_t p = 0; w->ends && p < w->partitions; p++)
        cs_end_clear(&w->ends[p]);
    free(w->ends);
    for (int32_t p = 0; p < w->next; p++)
        if (wanted(w, p))
            rd_kafka_consume_stop(w->topic, p);
    if (w->queue)
        rd_kafka_queue_destroy(w->queue);
    if (w->topic)
        rd_kafka_topic_destroy(w->topic);
    if (w->rk)
        rd_kafka_destroy(w->rk);
    free(w);
}

static void take(struct cs_outcome_watch *w, const rd_kafka_message_t *msg, const char *event_id,
                 int64_t seq) {
    json_t *outcome = json_loadb(msg->payload, msg->len, 0, NULL);
    const char *id = json_string_value(cs_end_said(outcome, "event"));
    bool ours = id && strcmp(id, event_id) == 0 && cs_end_sequence(outcome) == seq && msg->partition >= 0 &&
                msg->partition < w->partitions;
    if (!ours) {
        json_decref(outcome);
        return;
    }
    struct cs_end *end = &w->ends[msg->partition];
    cs_end_clear(end);
    json_t *doc = json_object();
    json_object_set_new(doc, "outcome", outcome);
    cs_end_read(doc, seq, end);
}

static int badness(enum cs_ending e) {
    switch (e) {
    case CS_ENDING_REPLAYED:
        return 3;
    case CS_ENDING_REJECTED:
        return 2;
    case CS_ENDING_APPLIED:
        return 1;
    case CS_ENDING_UNKNOWN:
    case CS_ENDING_PENDING:
        break;
    }
    return 0;
}

// The worst end of all partitions. NULL while one is missing.
static const struct cs_end *worst(const struct cs_outcome_watch *w) {
    const struct cs_end *out = NULL;
    for (int32_t p = 0; p < w->partitions; p++) {
        if (!wanted(w, p))
            continue;
        if (badness(w->ends[p].ending) == 0)
            return NULL;
        if (!out || badness(w->ends[p].ending) > badness(out->ending))
            out = &w->ends[p];
    }
    return out;
}

bool cs_outcome_watch_poll(struct cs_outcome_watch *w, const char *event_id, int64_t seq, int64_t timeout_ms,
                           struct cs_end *ret, struct cs_err *err) {
    int64_t deadline = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    const struct cs_end *end;
    for (int32_t p = 0; seq != w->seq && p < w->partitions; p++)
        cs_end_clear(&w->ends[p]);
    w->seq = seq;
    while (!(end = worst(w)) && left_ms(deadline) > 0) {
        rd_kafka_message_t *msg = rd_kafka_consume_queue(w->queue, POLL_MS);
        if (!msg)
            continue;
        rd_kafka_resp_err_t code = msg->err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            take(w, msg, event_id, seq);
        rd_kafka_message_destroy(msg);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__PARTITION_EOF &&
            cs_kafka_err_kind(code) != CS_ERR_RETRY)
            return cs_kafka_err(err, code, "reading outcomes");
    }
    if (!end) {
        *ret = (struct cs_end){.ending = CS_ENDING_UNKNOWN};
        return true;
    }
    *ret = *end;
    json_incref(ret->doc);
    return true;
}
