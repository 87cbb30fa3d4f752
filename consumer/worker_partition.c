// SPDX-License-Identifier: Apache-2.0
//
// Where a partition stands: its position in the catalog, checked against both topics, and the publish cursor.
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/kafka.h"
#include "certsync/runtime/log.h"
#include "hot.h"
#include "preflight.h"
#include "worker_internal.h"

#define BROKER_TIMEOUT_MS    10000
#define MEASURE_FOR_MS       1000
#define BACKOFF_FIRST_MS     100
#define BACKOFF_LAST_MS      1000
#define BACKOFF_MEND_LAST_MS 30000
#define TRUNCATED_GRACE_MS   30000 // a new leader may tell an old end for a moment
#define REPLAY_IDLE_MS       2000

bool cs_partition_new(struct cs_worker *w, int32_t id, struct cs_partition **ret, struct cs_err *err) {
    static const uint8_t one = 1;
    struct cs_partition *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    p->id = id;
    p->state = CS_PARTITION_STARTING;
    p->stored = -1;
    p->foreign_at = -1;
    p->queue = rd_kafka_queue_get_partition(w->rk, w->c->settings->events_topic, id);
    if (!p->queue) {
        cs_partition_free(p);
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "librdkafka gives no queue for partition %d",
                          (int)id);
    }
    cs_kafka_intake_init(&p->intake, w->rk, &w->c->settings->kafka);
    // A queue of its own, taken away from the consumer's before the partition is assigned: one that is stuck
    // holds up no other.
    rd_kafka_queue_forward(p->queue, NULL);
    rd_kafka_queue_io_event_enable(p->queue, w->wake[1], &one, sizeof one);
    *ret = p;
    return true;
}

void cs_partition_free(struct cs_partition *p) {
    if (!p)
        return;
    cs_partition_drop_stash(p);
    free(p->stash);
    cs_cursor_close(p->published);
    cs_state_free(p->hot);
    if (p->queue)
        rd_kafka_queue_destroy(p->queue);
    free(p);
}

void cs_partition_forget_hot(struct cs_partition *p) {
    if (p->hot)
        cs_state_forget(p->hot);
}

// The catalog may be newer than this release: a ruleset that it does not know must not be judged by.
static bool read_position(struct cs_worker *w, struct cs_partition *p, struct cs_err *err) {
    struct cs_bytes doc;
    if (!p->hot && !cs_hot_new(&p->hot, err))
        return false;
    cs_partition_forget_hot(p);
    (void)cs_state_get(p->hot, "system", &doc);
    if (!cs_catalog_load(w->catalog, p->id, p->hot, &p->position, err))
        return false;
    p->generation = w->catalog->ops->generation(w->catalog, p->id);
    if (cs_state_get(p->hot, "system", &doc) != CS_FOUND)
        return true;
    if (cs_catalog_check_system(doc, w->c->settings->deployment, w->c->partition_count, err))
        return true;
    err->kind = CS_ERR_FATAL; // what the catalog was made with does not change by waiting
    return false;
}

// The log must reach as far as the position, and back to the record before it.
static bool check_events(struct cs_worker *w, struct cs_partition *p, struct cs_err *err) {
    const char *topic = w->c->settings->events_topic;
    int64_t low = 0;
    int64_t high = 0;
    int64_t next = p->position.next_offset;
    if (!cs_kafka_watermarks(w->rk, topic, p->id, BROKER_TIMEOUT_MS, &low, &high, err))
        return false;
    if (low > (next > 0 ? next - 1 : 0))
        return cs_preflight_lost(w->rk, topic, p->id, low, err);
    if (high < next) {
        int64_t now = cs_worker_now_ms(w);
        if (p->truncated_since_ms == 0)
            p->truncated_since_ms = now;
        return cs_err_set(
            err, now - p->truncated_since_ms < TRUNCATED_GRACE_MS ? CS_ERR_RETRY : CS_ERR_FATAL, CS_CODE_NONE,
            "topic %s ends at offset %lld, the catalog stands at %lld: the topic was truncated or made anew; "
            "restore it, or give the new one a new redis.namespace",
            topic, (long long)high, (long long)next);
    }
    p->truncated_since_ms = 0;
    cs_board_progress(w->c->board, p->id, next, high, p->position.outcomes, cs_worker_now_ms(w));
    return true;
}

static void note_foreign(struct cs_worker *w, struct cs_partition *p, const struct cs_cursor_tail *tail) {
    cs_board_foreign(w->c->board, p->id, tail->foreign);
    if (tail->foreign == 0 || tail->foreign_at == p->foreign_at)
        return;
    p->foreign_at = tail->foreign_at;
    cs_log(CS_LOG_WARN, "records that no consumer wrote are in the topic of outcomes; they count for nothing",
           "topic=%s partition=%d records=%lld first_offset=%lld", w->c->settings->outcomes_topic, (int)p->id,
           (long long)tail->foreign, (long long)tail->foreign_at);
}

// Outcomes are published before they are committed: the topic may be ahead of the catalog, never behind, and
// what both have must be the same.
static bool check_outcomes(struct cs_worker *w, struct cs_partition *p, struct cs_err *err) {
    const char *topic = w->c->settings->outcomes_topic;
    struct cs_cursor_tail tail;
    if (!cs_cursor_tail(w->cursor, w->crypto, p->id, &p->position, BROKER_TIMEOUT_MS, &tail, err))
        return false;
    note_foreign(w, p, &tail);
    if (tail.low > 0)
        return cs_preflight_lost(w->rk, topic, p->id, tail.low, err);
    if (tail.last < p->position.outcomes)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "topic %s ends with outcome %lld, the catalog stands at %lld: outcomes were lost, "
                          "or the topic was "
                          "made anew; restore the topic, or reset both and let them be made again",
                          topic, (long long)tail.last, (long long)p->position.outcomes);
    if (!tail.found && p->position.outcomes > 0 && (tail.other || tail.from < p->position.outcomes))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "outcome %lld in topic %s is not the one that the catalog stands on: a fork, or "
                          "the catalog belongs to "
                          "other topics",
                          (long long)p->position.outcomes, topic);
    if (tail.last <= p->position.outcomes)
        p->ahead_since_ms = 0;
    p->outcomes_end = tail.end;
    p->cursor = tail.last;
    cs_cursor_close(p->published);
    p->published = NULL;
    return true;
}

void cs_partition_runs(struct cs_worker *w, struct cs_partition *p) {
    char why[160];
    p->told = true;
    p->failing = false;
    if (p->replaying && p->ahead_since_ms) // it still waits for what does not come, and says so already
        return;
    if (!p->replaying) {
        cs_board_state(w->c->board, p->id, CS_BOARD_RUNNING, NULL);
        return;
    }
    snprintf(why, sizeof why,
             "its verdicts are held against those that were published before, up to outcome %lld",
             (long long)p->cursor);
    cs_board_state(w->c->board, p->id, CS_BOARD_REPLAYING, why);
}

bool cs_partition_reached_end(struct cs_worker *w, struct cs_partition *p) {
    if (p->eof_at < 0 || p->check_last || p->next_fetch > p->position.next_offset)
        return false;
    cs_board_reached(w->c->board, p->id, p->eof_at, cs_worker_now_ms(w));
    return true;
}

void cs_partition_heard(struct cs_worker *w, struct cs_partition *p, int64_t end_offset) {
    if (!p->told && (!p->failing || end_offset <= p->position.next_offset))
        cs_partition_runs(w, p);
}

void cs_partition_start(struct cs_worker *w, struct cs_partition *p) {
    struct cs_err err;
    if (!cs_board_may_publish(w->c->board, &err) || !read_position(w, p, &err) || !check_events(w, p, &err) ||
        !check_outcomes(w, p, &err)) {
        cs_partition_failed(w, p, &err);
        return;
    }
    p->check_last = p->position.next_offset > 0;
    p->next_fetch = p->check_last ? p->position.next_offset - 1 : 0;
    p->rewound = true;
    p->landed_ms = cs_worker_now_ms(w);
    p->oldest_ms = 0;
    p->state = CS_PARTITION_RUNNING;
    w->assign_due = true;
    p->replaying = p->cursor > p->position.outcomes;
    p->told = false;
    p->eof_at = -1;
    cs_log(CS_LOG_INFO, p->replaying ? "partition is replayed" : "partition starts",
           "partition=%d generation=%lld offset=%lld outcomes=%lld published=%lld", (int)p->id,
           (long long)p->generation, (long long)p->position.next_offset, (long long)p->position.outcomes,
           (long long)p->cursor);
}

// Whether the partition waits for records that do not come: all events are judged, and more outcomes should be there.
static bool replay_stands(struct cs_worker *w, struct cs_partition *p) {
    return p->replaying && cs_partition_reached_end(w, p) &&
           cs_worker_now_ms(w) - p->landed_ms > REPLAY_IDLE_MS;
}

// What is published is looked at again then. A broker that has just begun to lead may tell an old end of the events for a moment; after that
// the events are lost.
static void events_missing(struct cs_worker *w, struct cs_partition *p, struct cs_err *err) {
    int64_t now = cs_worker_now_ms(w);
    if (p->ahead_since_ms == 0)
        p->ahead_since_ms = now;
    cs_err_set(
        err, now - p->ahead_since_ms < TRUNCATED_GRACE_MS ? CS_ERR_RETRY : CS_ERR_FATAL, CS_CODE_NONE,
        "topic %s holds outcomes up to %lld, but topic %s ends at offset %lld with the event of outcome "
        "%lld: events were lost; restore the topic",
        w->c->settings->outcomes_topic, (long long)p->cursor, w->c->settings->events_topic,
        (long long)p->eof_at, (long long)p->position.outcomes);
}

// A commit would notice, but where nothing comes in there is none: a Redis that lost its catalog, or was
// turned back, is found out by asking.
void cs_partition_look(struct cs_worker *w, struct cs_partition *p) {
    struct cs_err err;
    struct cs_position now;
    CS_AUTO(cs_state_free) struct cs_state *nothing = NULL;
    if (cs_state_new(false, &nothing, &err) && cs_catalog_load(w->catalog, p->id, nothing, &now, &err)) {
        int64_t generation = w->catalog->ops->generation(w->catalog, p->id);
        bool same = generation == p->generation && cs_position_equal(&now, &p->position);
        if (same && !replay_stands(w, p))
            return;
        if (same)
            events_missing(w, p, &err);
        else if (generation != p->generation)
            cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE,
                       "a rebuilt catalog was promoted (generation %lld); starting again from its position",
                       (long long)generation);
        else
            cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE,
                       "the catalog is not where this consumer left it; starting again from its position");
    }
    cs_partition_failed(w, p, &err);
}

void cs_partition_saw(struct cs_worker *w, struct cs_partition *p, int64_t time_ms) {
    if (p->oldest_ms)
        return;
    p->oldest_ms = time_ms;
    cs_board_oldest(w->c->board, p->id, time_ms);
}

static int64_t first_time_ms(const struct cs_batch *b, const struct cs_partition *p) {
    return b && b->partition == p && b->len > 0 ? rd_kafka_message_timestamp(b->messages[b->at], NULL) : 0;
}

void cs_partition_applied(struct cs_worker *w, struct cs_partition *p) {
    p->oldest_ms = first_time_ms(w->rest, p);
    if (!p->oldest_ms)
        p->oldest_ms = first_time_ms(w->ready, p);
    if (!p->oldest_ms)
        p->oldest_ms = first_time_ms(w->filling, p);
    if (!p->oldest_ms && p->stash_at < p->stash_len && !p->stash[p->stash_at]->err)
        p->oldest_ms = rd_kafka_message_timestamp(p->stash[p->stash_at], NULL);
    cs_board_oldest(w->c->board, p->id, p->oldest_ms);
}

bool cs_partition_measure(struct cs_worker *w, struct cs_partition *p) {
    const char *topic = w->c->settings->events_topic;
    struct cs_board_entry e;
    int64_t low = 0;
    int64_t high = 0;
    int64_t time_ms = 0;
    struct cs_err ignored;
    if (!cs_kafka_watermarks(w->rk, topic, p->id, MEASURE_FOR_MS, &low, &high, &ignored))
        return false;
    cs_board_end(w->c->board, p->id, high);
    cs_board_get(w->c->board, p->id, &e);
    if (p->oldest_ms || e.next_offset < low || e.next_offset >= high)
        return true;
    if (!cs_cursor_time(w->cursor, topic, p->id, e.next_offset, MEASURE_FOR_MS, &time_ms, &ignored))
        return false;
    cs_partition_saw(w, p, time_ms);
    return true;
}

void cs_partition_restart(struct cs_worker *w, struct cs_partition *p) {
    if (w->flight && w->flight->partition == p)
        cs_flight_abandon(w);
    cs_batch_drop_of(w, p);
    cs_partition_forget_hot(p);
    cs_cursor_close(p->published);
    p->published = NULL;
    p->state = CS_PARTITION_STARTING;
}

static void stop(struct cs_worker *w, struct cs_partition *p, const struct cs_err *err) {
    cs_partition_restart(w, p); // throws everything of it away
    p->state = CS_PARTITION_STOPPED;
    w->assign_due = true;
    cs_board_state(w->c->board, p->id, CS_BOARD_STOPPED, err->msg);
    cs_log_err(CS_LOG_ERROR, "partition stops", err, "partition=%d", (int)p->id);
}

// What heals by itself is tried again soon; what somebody must mend meanwhile (a right, a topic) at a growing distance.
static int64_t next_backoff_ms(const struct cs_partition *p, enum cs_err_kind kind) {
    int64_t last_ms = kind == CS_ERR_RETRY ? BACKOFF_LAST_MS : BACKOFF_MEND_LAST_MS;
    int64_t next_ms = p->backoff_ms == 0 ? BACKOFF_FIRST_MS : p->backoff_ms * 2;
    return next_ms < last_ms ? next_ms : last_ms;
}

void cs_partition_failed(struct cs_worker *w, struct cs_partition *p, const struct cs_err *err) {
    if (err->kind == CS_ERR_FATAL) {
        stop(w, p, err);
        return;
    }
    struct cs_board_entry e;
    cs_board_get(w->c->board, p->id, &e);
    // Not again at each attempt, but when it is for another reason.
    bool told = p->backoff_ms >= BACKOFF_LAST_MS && strncmp(e.reason, err->msg, sizeof e.reason - 1) == 0;
    p->backoff_ms = next_backoff_ms(p, err->kind);
    p->failing = true;
    p->retry_at_ms = cs_worker_now_ms(w) + p->backoff_ms;
    cs_series_inc(w->m->retries);
    cs_board_state(w->c->board, p->id, CS_BOARD_WAITING, err->msg);
    if (!told)
        cs_log_err(CS_LOG_WARN, "partition waits", err, "partition=%d retry_ms=%lld", (int)p->id,
                   (long long)p->backoff_ms);
    cs_partition_restart(w, p);
}
