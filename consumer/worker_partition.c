// SPDX-License-Identifier: Apache-2.0
//
// Where a partition stands: its position in the catalog, checked against both topics, and the publish cursor.
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/kafka.h"
#include "certsync/runtime/log.h"
#include "hot.h"
#include "worker_internal.h"

#define BROKER_TIMEOUT_MS  10000
#define MEASURE_FOR_MS     1000
#define BACKOFF_FIRST_MS   100
#define BACKOFF_LAST_MS    1000
#define TRUNCATED_GRACE_MS 30000 // a new leader may tell an old end for a moment

bool cs_partition_new(struct cs_worker *w, int32_t id, struct cs_partition **ret, struct cs_err *err) {
    static const uint8_t one = 1;
    struct cs_partition *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    p->id = id;
    p->state = CS_PARTITION_STARTING;
    p->stored = -1;
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
    return cs_catalog_check_system(doc, w->c->settings->deployment, w->c->partition_count, err);
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
        return cs_err_set(
            err, CS_ERR_FATAL, CS_CODE_NONE,
            "topic %s begins at offset %lld, the catalog needs offset %lld: records were deleted; set "
            "retention.ms=-1 and restore the topic",
            topic, (long long)low, (long long)(next > 0 ? next - 1 : 0));
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

// Outcomes are published before they are committed: the topic may be ahead of the catalog, never behind, and
// what both have must be the same.
static bool check_outcomes(struct cs_worker *w, struct cs_partition *p, struct cs_err *err) {
    const char *topic = w->c->settings->outcomes_topic;
    struct cs_cursor_tail tail;
    if (!cs_cursor_tail(w->cursor, w->crypto, p->id, p->position.outcomes, BROKER_TIMEOUT_MS, &tail, err))
        return false;
    if (tail.last < p->position.outcomes)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "topic %s ends with outcome %lld, the catalog stands at %lld: outcomes were lost; "
                          "restore the topic, or "
                          "reset both and let them be made again",
                          topic, (long long)tail.last, (long long)p->position.outcomes);
    if (tail.found && memcmp(tail.found_sha256, p->position.chain_sha256, 32) != 0)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "outcome %lld in topic %s is not the one that the catalog stands on: a fork, or "
                          "the catalog belongs to "
                          "other topics",
                          (long long)p->position.outcomes, topic);
    p->cursor = tail.last;
    cs_cursor_close(p->published);
    p->published = NULL;
    return true;
}

void cs_partition_start(struct cs_worker *w, struct cs_partition *p) {
    struct cs_err err;
    if (!read_position(w, p, &err) || !check_events(w, p, &err) || !check_outcomes(w, p, &err)) {
        cs_partition_failed(w, p, &err);
        return;
    }
    p->check_last = p->position.next_offset > 0;
    p->next_fetch = p->check_last ? p->position.next_offset - 1 : 0;
    p->rewound = true;
    p->oldest_ms = 0;
    p->state = CS_PARTITION_RUNNING;
    w->assign_due = true;
    bool replaying = p->cursor > p->position.outcomes;
    cs_board_state(w->c->board, p->id, replaying ? CS_BOARD_REPLAYING : CS_BOARD_RUNNING, NULL);
    cs_log(CS_LOG_INFO, replaying ? "partition is replayed" : "partition starts",
           "partition=%d generation=%lld offset=%lld outcomes=%lld published=%lld", (int)p->id,
           (long long)p->generation, (long long)p->position.next_offset, (long long)p->position.outcomes,
           (long long)p->cursor);
}

// A commit would notice, but where nothing comes in there is none: a Redis that lost its catalog, or was
// turned back, is found out by asking.
void cs_partition_look(struct cs_worker *w, struct cs_partition *p) {
    struct cs_err err;
    struct cs_position now;
    CS_AUTO(cs_state_free) struct cs_state *nothing = NULL;
    if (cs_state_new(false, &nothing, &err) && cs_catalog_load(w->catalog, p->id, nothing, &now, &err)) {
        int64_t generation = w->catalog->ops->generation(w->catalog, p->id);
        if (generation == p->generation && cs_position_equal(&now, &p->position))
            return;
        if (generation != p->generation)
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
    return b && b->partition == p && b->len > 0 ? rd_kafka_message_timestamp(b->messages[0], NULL) : 0;
}

void cs_partition_applied(struct cs_worker *w, struct cs_partition *p) {
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

void cs_partition_failed(struct cs_worker *w, struct cs_partition *p, const struct cs_err *err) {
    if (err->kind != CS_ERR_RETRY) {
        stop(w, p, err);
        return;
    }
    struct cs_board_entry e;
    cs_board_get(w->c->board, p->id, &e);
    // Not again at each attempt, but when it is for another reason.
    bool told = p->backoff_ms == BACKOFF_LAST_MS && strncmp(e.reason, err->msg, sizeof e.reason - 1) == 0;
    p->backoff_ms = p->backoff_ms == 0 ? BACKOFF_FIRST_MS : p->backoff_ms * 2;
    if (p->backoff_ms > BACKOFF_LAST_MS)
        p->backoff_ms = BACKOFF_LAST_MS;
    p->retry_at_ms = cs_worker_now_ms(w) + p->backoff_ms;
    cs_series_inc(w->m->retries);
    cs_board_state(w->c->board, p->id, CS_BOARD_WAITING, err->msg);
    if (!told)
        cs_log_err(CS_LOG_WARN, "partition waits", err, "partition=%d retry_ms=%lld", (int)p->id,
                   (long long)p->backoff_ms);
    cs_partition_restart(w, p);
}
