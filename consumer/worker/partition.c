// SPDX-License-Identifier: Apache-2.0
#include "worker/partition.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/log.h"
#include "worker/preflight.h"
#include "worker/recovery.h"

#define BROKER_TIMEOUT_MS   10000
#define MEASURE_FOR_MS      1000
#define TRUNCATED_GRACE_MS  30000 // a new leader may give an old end for a moment
#define REPLAY_IDLE_MS      2000
#define CHECKPOINT_EVERY_MS 1000   // at most one, and at least one while outcomes come
#define RENEW_FIRST_MS      1000   // pause before a catalog is made again that was made again just now
#define RENEW_LAST_MS       300000 // the pauses double up to this
#define RENEW_CALM_MS       600000 // after so long without damage there is no pause

bool cs_partition_new(const struct cs_worker_context *x, int32_t id, struct cs_partition **ret,
                      struct cs_err *err) {
    static const uint8_t one = 1;
    struct cs_partition *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    p->stand.id = id;
    p->state = CS_PARTITION_STARTING;
    p->stored = -1;
    p->foreign_at = -1;
    p->queue = rd_kafka_queue_get_partition(x->rk, x->c->settings->events_topic, id);
    if (!p->queue) {
        cs_partition_free(p);
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "librdkafka gives no queue for partition %d",
                          (int)id);
    }
    cs_kafka_intake_init(&p->intake, x->rk, &x->c->settings->kafka);
    // Each partition has a queue of its own. It is taken from the consumer's queue before the
    // assignment: a partition that is stuck stops no other.
    rd_kafka_queue_forward(p->queue, NULL);
    rd_kafka_queue_io_event_enable(p->queue, x->wake_fd, &one, sizeof one);
    *ret = p;
    return true;
}

void cs_partition_forget(struct cs_partition *p, enum cs_partition_state then) {
    for (; p->taken_next < p->taken_len; p->taken_next++)
        rd_kafka_message_destroy(p->taken[p->taken_next]);
    p->taken_next = p->taken_len = 0;
    cs_stand_forget(&p->stand);
    p->state = then;
}

void cs_partition_free(struct cs_partition *p) {
    if (!p)
        return;
    cs_partition_forget(p, CS_PARTITION_STOPPED);
    free(p->taken);
    cs_stand_clear(&p->stand);
    if (p->queue)
        rd_kafka_queue_destroy(p->queue);
    free(p);
}

// The log must reach as far as the position, and go back to the record before it.
static bool check_events(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    const char *topic = x->c->settings->events_topic;
    int64_t low = 0;
    int64_t high = 0;
    int64_t next = p->stand.position.next_offset;
    if (!cs_kafka_watermarks(x->rk, topic, p->stand.id, BROKER_TIMEOUT_MS, &low, &high, err))
        return false;
    if (low > (next > 0 ? next - 1 : 0))
        return cs_preflight_lost(x->rk, topic, p->stand.id, low, err);
    if (high < next) {
        int64_t now = cs_worker_now_ms(x);
        if (p->truncated_since_ms == 0)
            p->truncated_since_ms = now;
        return cs_err_set(
            err, now - p->truncated_since_ms < TRUNCATED_GRACE_MS ? CS_ERR_RETRY : CS_ERR_FATAL, CS_CODE_NONE,
            "topic %s ends at offset %lld, the catalog stands at %lld: the topic was truncated or made anew; "
            "restore it, or give the new one a new redis.namespace",
            topic, (long long)high, (long long)next);
    }
    p->truncated_since_ms = 0;
    cs_board_progress(x->c->board, p->stand.id, next, high, p->stand.position.outcomes, cs_worker_now_ms(x));
    return true;
}

static void note_foreign(const struct cs_worker_context *x, struct cs_partition *p,
                         const struct cs_cursor_tail *tail) {
    cs_board_foreign(x->c->board, p->stand.id, tail->foreign);
    if (tail->foreign == 0 || tail->foreign_at == p->foreign_at)
        return;
    p->foreign_at = tail->foreign_at;
    cs_log(CS_LOG_WARN, "records that no consumer wrote are in the topic of outcomes; they count for nothing",
           "topic=%s partition=%d records=%lld first_offset=%lld", x->c->settings->outcomes_topic,
           (int)p->stand.id, (long long)tail->foreign, (long long)tail->foreign_at);
}

// newest: the checkpoint that was read before: so these outcomes reach at least as far.
static bool check_outcomes(const struct cs_worker_context *x, struct cs_partition *p,
                           const struct cs_checkpoint *newest, struct cs_err *err) {
    const char *topic = x->c->settings->outcomes_topic;
    const struct cs_cursor_source from = {x->outcomes, x->crypto, x->marks, p->stand.epochs};
    struct cs_cursor_tail tail;
    if (!cs_cursor_tail(&from, p->stand.id, &p->stand.position, newest->size, BROKER_TIMEOUT_MS, &tail, err))
        return false;
    note_foreign(x, p, &tail);
    if (tail.last < newest->size && tail.unmarked > 0)
        return cs_chain_unmarked(topic, p->stand.id, tail.unmarked, err);
    if (tail.low > 0)
        return cs_preflight_lost(x->rk, topic, p->stand.id, tail.low, err);
    if (!cs_stand_follow(&p->stand, &tail, topic, err))
        return false;
    if (tail.last <= p->stand.position.outcomes)
        p->ahead_since_ms = 0;
    return true;
}

// Each outcome is of a record. So there must be as many events as a checkpoint has outcomes.
static bool check_reach(const struct cs_worker_context *x, struct cs_partition *p,
                        const struct cs_checkpoint *newest, struct cs_err *err) {
    struct cs_board_entry e;
    int64_t now = cs_worker_now_ms(x);
    cs_board_get(x->c->board, p->stand.id, &e);
    if (newest->size <= e.end_offset) {
        p->short_since_ms = 0;
        return true;
    }
    if (p->short_since_ms == 0)
        p->short_since_ms = now;
    return cs_err_set(
        err, now - p->short_since_ms < TRUNCATED_GRACE_MS ? CS_ERR_RETRY : CS_ERR_FATAL, CS_CODE_NONE,
        "topic %s ends at offset %lld, but topic %s holds a checkpoint of %lld outcomes that this "
        "deployment signed: events were lost, or the topic was made anew; restore it",
        x->c->settings->events_topic, (long long)e.end_offset, x->c->settings->checkpoints_topic,
        (long long)newest->size);
}

static bool check_checkpoints(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    const char *topic = x->c->settings->checkpoints_topic;
    struct cs_checkpoint newest;
    int64_t others = 0;
    if (!cs_checkpoints_newest(x->checkpoints, x->crypto, cs_note_signer_key(x->signer), x->c->log_id,
                               p->stand.id, cs_epoch_last(&p->stand.epochs, p->stand.id), BROKER_TIMEOUT_MS,
                               &newest, &others, err) ||
        !check_outcomes(x, p, &newest, err) || !cs_stand_hold(&p->stand, x->crypto, &newest, topic, err) ||
        !check_reach(x, p, &newest, err))
        return false;
    if (others > 0 && others != p->others)
        cs_log(CS_LOG_WARN,
               "records that this deployment's checkpoint key did not sign are in the topic of checkpoints; "
               "they count for nothing",
               "topic=%s partition=%d records=%lld", topic, (int)p->stand.id, (long long)others);
    p->others = others;
    cs_board_checkpoint(x->c->board, p->stand.id, cs_epoch_last(&p->stand.epochs, p->stand.id), newest.size,
                        newest.root.sha256);
    return true;
}

static void checkpoint_failed(const struct cs_worker_context *x, struct cs_partition *p,
                              const struct cs_err *err) {
    if (!p->stand.checkpoint.failing)
        cs_log_err(CS_LOG_WARN, "a checkpoint could not be published; this is tried again each second", err,
                   "topic=%s partition=%d", x->c->settings->checkpoints_topic, (int)p->stand.id);
    p->stand.checkpoint.failing = true;
}

// How the checkpoint that was sent last fared. False: it is under way.
static bool take_acknowledged(const struct cs_worker_context *x, struct cs_partition *p) {
    struct cs_checkpoint_stand *at = &p->stand.checkpoint;
    bool waits = false;
    int64_t size = 0;
    struct cs_err err;
    if (!x->publisher->ops->checkpointed(x->publisher, p->stand.id, &waits, &size, &err))
        checkpoint_failed(x, p, &err);
    if (waits || size != at->sent.size || size <= at->newest.size)
        return !waits;
    at->newest = at->sent;
    at->failing = false;
    cs_board_checkpoint(x->c->board, p->stand.id, cs_epoch_last(&p->stand.epochs, p->stand.id), size,
                        at->newest.root.sha256);
    return true;
}

void cs_partition_checkpoint(const struct cs_worker_context *x, struct cs_partition *p) {
    struct cs_checkpoint_stand *at = &p->stand.checkpoint;
    const struct cs_position *position = &p->stand.position;
    struct cs_err err;
    bool compared = !p->replaying || position->outcomes > p->stand.published;
    if (p->state != CS_PARTITION_RUNNING || !compared || position->outcomes <= at->newest.size)
        return;
    int64_t now_ms = cs_worker_now_ms(x);
    if ((at->sent_ms && now_ms - at->sent_ms < CHECKPOINT_EVERY_MS) || !take_acknowledged(x, p) ||
        position->outcomes <= at->newest.size)
        return;
    int64_t epoch = cs_epoch_last(&p->stand.epochs, p->stand.id);
    at->sent_ms = now_ms;
    at->sent.size = position->outcomes;
    cs_checkpoint_origin(x->c->log_id, p->stand.id, epoch, at->sent.origin);
    cs_merkle_root(x->crypto, &position->edge, position->outcomes, &at->sent.root);
    if (!cs_checkpoints_send(x->publisher, x->crypto, x->signer, p->stand.id, epoch, &at->sent, &err))
        checkpoint_failed(x, p, &err);
}

// Up to which number the catalog must come before it is what was published. A correction takes back
// what was published: the catalog must come as far as it was, all the same.
static int64_t due(const struct cs_partition *p) {
    int64_t due = p->stand.published > p->stand.reach ? p->stand.published : p->stand.reach;
    return due > p->judge_until ? due : p->judge_until;
}

void cs_partition_runs(const struct cs_worker_context *x, struct cs_partition *p) {
    char why[160];
    p->told = true;
    p->failing = false;
    if (p->replaying && p->ahead_since_ms) // it waits for records that do not come, and the board says so
        return;
    if (!p->replaying) {
        cs_board_state(x->c->board, p->stand.id, CS_BOARD_RUNNING, NULL);
        return;
    }
    bool anew = due(p) > p->stand.published;
    snprintf(why, sizeof why,
             anew ? "outcomes up to %lld are judged anew, by a correction of root"
                  : "its verdicts are held against those that were published before, up to outcome %lld",
             (long long)due(p));
    cs_board_state(x->c->board, p->stand.id, CS_BOARD_REPLAYING, why);
}

bool cs_partition_reached_end(const struct cs_worker_context *x, struct cs_partition *p) {
    if (p->eof_at < 0 || p->check_last || p->next_fetch > p->stand.position.next_offset)
        return false;
    cs_board_reached(x->c->board, p->stand.id, p->eof_at, cs_worker_now_ms(x));
    return true;
}

void cs_partition_heard(const struct cs_worker_context *x, struct cs_partition *p, int64_t end_offset) {
    if (!p->told && (!p->failing || end_offset <= p->stand.position.next_offset))
        cs_partition_runs(x, p);
}

// --- a damaged catalog

int64_t cs_partition_damaged(const struct cs_worker_context *x, struct cs_partition *p) {
    int64_t now_ms = cs_worker_now_ms(x);
    if (p->renewed_ms == 0 || now_ms - p->renewed_ms > RENEW_CALM_MS)
        p->renew_pause_ms = 0;
    else
        p->renew_pause_ms = p->renew_pause_ms ? p->renew_pause_ms * 2 : RENEW_FIRST_MS;
    if (p->renew_pause_ms > RENEW_LAST_MS)
        p->renew_pause_ms = RENEW_LAST_MS;
    if (p->damaged_ms == 0)
        p->damaged_ms = now_ms;
    p->renew = true;
    return p->renew_pause_ms;
}

// Makes an empty generation the live one. *ret_moved: another one is live already.
static bool make_empty(const struct cs_worker_context *x, struct cs_partition *p, bool *ret_moved,
                       struct cs_err *err) {
    struct cs_catalog *c = x->catalog;
    int64_t generation = c->ops->generation(c, p->stand.id);
    if (!c->ops->renew(c, p->stand.id, generation ? generation : 1, ret_moved, err))
        return false;
    p->sweeping = p->owns_empty = !*ret_moved;
    memcpy(p->cursor, "0", 2);
    return true;
}

// Two workers may believe for a moment that they own the partition. What one of them fills must not be
// filled by the other, too.
static bool own_empty(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    bool moved = false;
    if (p->owns_empty)
        return true;
    return make_empty(x, p, &moved, err) &&
           (!moved || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                 "somebody else made another catalog live; starting again from it"));
}

// The log makes it again, so the log must be whole. Whoever else made another generation live has
// done it already.
static bool renew(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    const char *topic = x->c->settings->events_topic;
    struct cs_catalog *c = x->catalog;
    int64_t low = 0;
    int64_t high = 0;
    bool moved = false;
    if (!cs_kafka_watermarks(x->rk, topic, p->stand.id, BROKER_TIMEOUT_MS, &low, &high, err))
        return false;
    if (low > 0)
        return cs_preflight_lost(x->rk, topic, p->stand.id, low, err);
    if (!make_empty(x, p, &moved, err))
        return false;
    p->renew = false;
    p->renewed_ms = cs_worker_now_ms(x);
    if (!moved)
        cs_log(CS_LOG_WARN,
               p->damaged_ms ? "the damaged catalog is made again from the log"
                             : "the catalog is made again from the log",
               "partition=%d generation=%lld", (int)p->stand.id,
               (long long)c->ops->generation(c, p->stand.id));
    return true;
}

static void mended(const struct cs_worker_context *x, struct cs_partition *p) {
    if (p->damaged_ms == 0)
        return;
    cs_board_damaged(x->c->board, p->stand.id, 0, NULL);
    cs_log(CS_LOG_INFO, "the damaged catalog is made again", "partition=%d generation=%lld took_ms=%lld",
           (int)p->stand.id, (long long)p->stand.generation,
           (long long)(cs_worker_now_ms(x) - p->damaged_ms));
    p->damaged_ms = 0;
}

bool cs_partition_sweep(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    struct cs_catalog *c = x->catalog;
    bool moved = false;
    if (!c->ops->sweep_some(c, p->stand.id, p->cursor, &moved, err))
        return false;
    p->sweeping = strcmp(p->cursor, "0") != 0;
    return true;
}

// --- corrections

bool cs_partition_corrected(const struct cs_worker_context *x, const struct cs_partition *p) {
    const struct cs_epochs now = cs_corrections_now(x->c->corrections);
    return now.len > p->stand.epochs.len &&
           cs_epoch_last(&now, p->stand.id) > cs_epoch_last(&p->stand.epochs, p->stand.id);
}

static bool load(const struct cs_worker_context *x, struct cs_partition *p, bool *ret_stale,
                 struct cs_err *err) {
    bool older = false;
    if (!cs_recovery_note(x, p, err) ||
        !cs_stand_load(&p->stand, x->catalog, x->c->log_id, x->c->partition_count, err))
        return false;
    *ret_stale = cs_stand_is_stale(&p->stand, &older);
    return !older ||
           cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                      "the catalog stands on outcomes of epoch %lld, and topic %s brings no such epoch of "
                      "partition %d: it was not read to its end yet, or lost records; restore it",
                      (long long)p->stand.position.epoch, x->c->settings->corrections_topic,
                      (int)p->stand.id);
}

// If verdicts that the catalog rests on were corrected, it begins again with an empty generation, as a
// damaged one does: what is published and counts is compared, and the rest is published.
static bool load_corrected(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    bool stale = false;
    if (!load(x, p, &stale, err))
        return false;
    if (!stale)
        return true;
    int64_t outcomes = p->stand.position.outcomes;
    int64_t epoch = cs_epoch_of(&p->stand.epochs, p->stand.id, outcomes);
    const struct cs_correction *c = cs_epoch_began(&p->stand.epochs, p->stand.id, epoch);
    cs_log(CS_LOG_WARN, "outcomes are judged anew, by a correction of root",
           "partition=%d from=%lld epoch=%lld reason=%s", (int)p->stand.id, (long long)c->from,
           (long long)epoch, c->reason);
    p->judge_until = outcomes > p->judge_until ? outcomes : p->judge_until;
    if (!renew(x, p, err) || !load(x, p, &stale, err))
        return false;
    return !stale || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                "another consumer works with a catalog from before the correction");
}

static bool load_stand(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    return load_corrected(x, p, err) && check_events(x, p, err) && check_checkpoints(x, p, err);
}

bool cs_partition_start(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    bool restored = false;
    p->owns_empty = false;
    p->stand.epochs = cs_corrections_now(x->c->corrections);
    if (!cs_board_may_publish(x->c->board, err) || (p->renew && !renew(x, p, err)) ||
        !load_stand(x, p, err) || !cs_recovery_restore(x, p, own_empty, &restored, err) ||
        (restored && !load_stand(x, p, err)))
        return false;
    if (restored && p->damaged_ms == 0) // the API may have seen it half filled
        cs_board_damaged(x->c->board, p->stand.id, 0, NULL);
    p->check_last = p->stand.position.next_offset > 0;
    p->next_fetch = p->check_last ? p->stand.position.next_offset - 1 : 0;
    p->rewound = true;
    p->landed_ms = cs_worker_now_ms(x);
    p->oldest_ms = 0;
    p->state = CS_PARTITION_RUNNING;
    p->replaying = due(p) > p->stand.position.outcomes;
    p->told = false;
    p->eof_at = -1;
    cs_log(CS_LOG_INFO, p->replaying ? "partition is replayed" : "partition starts",
           "partition=%d generation=%lld offset=%lld outcomes=%lld published=%lld", (int)p->stand.id,
           (long long)p->stand.generation, (long long)p->stand.position.next_offset,
           (long long)p->stand.position.outcomes, (long long)p->stand.published);
    if (!p->replaying)
        mended(x, p);
    return true;
}

// Whether the partition waits for records that do not come: all events are judged, but more
// outcomes should exist.
static bool replay_stands(const struct cs_worker_context *x, struct cs_partition *p) {
    return p->replaying && cs_partition_reached_end(x, p) &&
           cs_worker_now_ms(x) - p->landed_ms > REPLAY_IDLE_MS;
}

// Then the published outcomes are read again. A broker that just became leader may give an old end
// of the events for a moment. After that time the events are lost.
static bool events_missing(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    int64_t now = cs_worker_now_ms(x);
    if (p->ahead_since_ms == 0)
        p->ahead_since_ms = now;
    return cs_err_set(
        err, now - p->ahead_since_ms < TRUNCATED_GRACE_MS ? CS_ERR_RETRY : CS_ERR_FATAL, CS_CODE_NONE,
        "topic %s holds outcomes up to %lld, but topic %s ends at offset %lld with the event of outcome "
        "%lld: events were lost; restore the topic",
        x->c->settings->outcomes_topic, (long long)due(p), x->c->settings->events_topic, (long long)p->eof_at,
        (long long)p->stand.position.outcomes);
}

// A commit would notice, but without new events there is none. So we ask whether Redis lost its
// catalog, or went back in time.
bool cs_partition_look(const struct cs_worker_context *x, struct cs_partition *p, struct cs_err *err) {
    struct cs_position now;
    CS_AUTO(cs_state_free) struct cs_state *nothing = NULL;
    if (!cs_state_new(false, &nothing, err) || !cs_catalog_load(x->catalog, p->stand.id, nothing, &now, err))
        return false;
    int64_t generation = x->catalog->ops->generation(x->catalog, p->stand.id);
    if (generation != p->stand.generation)
        return cs_err_set(
            err, CS_ERR_RETRY, CS_CODE_NONE,
            "a rebuilt catalog was promoted (generation %lld); starting again from its position",
            (long long)generation);
    if (!cs_position_equal(&now, &p->stand.position))
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "the catalog is not where this consumer left it; starting again from its position");
    return !replay_stands(x, p) || events_missing(x, p, err);
}

void cs_partition_landed(const struct cs_worker_context *x, struct cs_partition *p) {
    int64_t now_ms = cs_worker_now_ms(x);
    int64_t next = p->stand.position.next_offset;
    int64_t low = 0;
    int64_t high = -1;
    if (rd_kafka_get_watermark_offsets(x->rk, x->c->settings->events_topic, p->stand.id, &low, &high) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        high < next)
        high = next;
    p->landed_ms = now_ms;
    p->backoff_ms = 0;
    cs_board_progress(x->c->board, p->stand.id, next, high, p->stand.position.outcomes, now_ms);
    bool stood = p->ahead_since_ms != 0; // the board still says so: cs_partition_runs did not change it
    p->ahead_since_ms = 0;
    (void)cs_partition_reached_end(x, p);
    bool caught_up = p->replaying && p->stand.position.outcomes >= due(p);
    p->replaying = p->replaying && !caught_up;
    if (caught_up || stood || p->failing || !p->told)
        cs_partition_runs(x, p);
    if (caught_up)
        p->below = 0;
    if (caught_up)
        cs_log(CS_LOG_INFO, "partition has caught up with its published outcomes",
               "partition=%d outcomes=%lld", (int)p->stand.id, (long long)p->stand.position.outcomes);
    if (caught_up)
        mended(x, p);
}

void cs_partition_saw(const struct cs_worker_context *x, struct cs_partition *p, int64_t time_ms) {
    if (p->oldest_ms)
        return;
    p->oldest_ms = time_ms;
    cs_board_oldest(x->c->board, p->stand.id, time_ms);
}

void cs_partition_applied(const struct cs_worker_context *x, struct cs_partition *p, int64_t batch_ms) {
    p->oldest_ms = batch_ms;
    if (!batch_ms && p->taken_next < p->taken_len && !p->taken[p->taken_next]->err)
        p->oldest_ms = rd_kafka_message_timestamp(p->taken[p->taken_next], NULL);
    cs_board_oldest(x->c->board, p->stand.id, p->oldest_ms);
}

bool cs_partition_measure(const struct cs_worker_context *x, struct cs_partition *p) {
    const char *topic = x->c->settings->events_topic;
    struct cs_board_entry e;
    int64_t low = 0;
    int64_t high = 0;
    int64_t time_ms = 0;
    struct cs_err ignored;
    if (!cs_kafka_watermarks(x->rk, topic, p->stand.id, MEASURE_FOR_MS, &low, &high, &ignored))
        return false;
    cs_board_end(x->c->board, p->stand.id, high);
    cs_board_get(x->c->board, p->stand.id, &e);
    if (p->oldest_ms || e.next_offset < low || e.next_offset >= high)
        return true;
    if (!cs_topic_kafka_time(x->outcomes, topic, p->stand.id, e.next_offset, MEASURE_FOR_MS, &time_ms,
                             &ignored))
        return false;
    cs_partition_saw(x, p, time_ms);
    return true;
}
