// SPDX-License-Identifier: Apache-2.0
//
// The batch in flight: load, decide, compare or publish, commit. One at a time; each step begins something
// and comes back when it is done, so that the worker prepares the next records meanwhile.
#include <stdlib.h>
#include <string.h>

#include "certsync/model/text.h"
#include "certsync/runtime/fault.h"
#include "certsync/runtime/log.h"
#include "hot.h"
#include "worker_internal.h"

#define ROUNDS_MAX 10000 // of loading for one record: each finds something, or the rules ask in circles
#define STALL_MS   5000
#define AT_ONCE                                                                                              \
    10000 // messages, and bytes, that the producer is given before they are acknowledged: it holds a copy
#define AT_ONCE_SIZE ((size_t)8 * 1024 * 1024)
#define OUTCOME_TYPE "application/json"

static void enter(struct cs_worker *w, enum cs_flight_phase phase, struct cs_series *spent) {
    int64_t now_us = cs_worker_now_us();
    if (spent)
        cs_series_observe(spent, (double)(now_us - w->phase_since_us) / 1e6);
    w->phase = phase;
    w->phase_since_us = now_us;
}

void cs_flight_abandon(struct cs_worker *w) {
    if (!w->flight)
        return;
    w->catalog->ops->cancel(w->catalog);
    w->publisher->ops->abandon(w->publisher);
    cs_partition_forget_hot(w->flight->partition); // it may hold what was decided and is not committed
    cs_batch_recycle(w, w->flight);
    w->flight = NULL;
    w->phase = CS_FLIGHT_NONE;
    w->stalled_ms = 0;
}

// An error of the catalog or the producer.
static void flight_failed(struct cs_worker *w, const struct cs_err *err) {
    cs_partition_failed(w, w->flight->partition, err);
}

// Somebody else moved the partition on: what was decided here is void.
static void flight_moved(struct cs_worker *w) {
    struct cs_err err;
    cs_err_set(
        &err, CS_ERR_RETRY, CS_CODE_NONE,
        "another consumer moved the partition on, or a rebuilt catalog was promoted; starting again from "
        "the stored position");
    cs_partition_failed(w, w->flight->partition, &err);
}

// What was left over comes first, then the fullest. NULL: nothing is prepared.
static struct cs_batch *next_batch(struct cs_worker *w) {
    struct cs_batch **from = w->rest ? &w->rest : w->ready ? &w->ready : &w->filling;
    struct cs_batch *b = *from;
    if (!b || b->len == 0 || b->prepared < b->len)
        return NULL;
    *from = NULL;
    return b;
}

bool cs_flight_launch(struct cs_worker *w) {
    struct cs_batch *b = w->flight ? NULL : next_batch(w);
    if (!b)
        return false;
    struct cs_partition *p = b->partition;
    struct cs_err err;
    w->flight = b;
    w->cut = false;
    w->compared = 0;
    w->loaded_rounds = w->loaded_at = 0;
    if (b->at == 0) {
        cs_series_observe(w->m->batch_records, (double)b->len);
        cs_series_observe(w->m->prepare_s, (double)b->prepare_us / 1e6);
    }
    w->phase_since_us = cs_worker_now_us();
    cs_apply_begin(&w->apply, &p->position, p->hot, b->records + b->at, b->len - b->at);
    if (!w->catalog->ops->load_begin(w->catalog, p->id, p->hot, &err)) {
        flight_failed(w, &err);
        return true;
    }
    w->phase = CS_FLIGHT_LOADING;
    return true;
}

static struct cs_apply_context apply_context(const struct cs_worker *w) {
    return (struct cs_apply_context){
        .rules = {.crypto = w->crypto,
                  .deployment = w->c->settings->deployment,
                  .partition = w->flight->partition->id,
                  .partition_count = w->c->partition_count,
                  .root = cs_key_cache_root(w->keys)},
        .service = w->c->service,
        .service_kid = w->c->service_kid,
        .keys = w->keys,
        .batch_memory = cs_settings_batch_memory(w->c->settings),
    };
}

static bool begin_commit(struct cs_worker *w) {
    struct cs_partition *p = w->flight->partition;
    struct cs_err err;
    cs_fault_point("after_publish");
    enter(w, CS_FLIGHT_COMMITTING, w->m->publish_s);
    if (!w->catalog->ops->commit_begin(w->catalog, p->id, p->hot, &w->apply.from, &w->apply.to, &err))
        flight_failed(w, &err);
    return true;
}

// As many as the producer is to have at once, from w->published on.
static bool send_outcomes(struct cs_worker *w, struct cs_err *err) {
    const struct cs_apply *a = &w->apply;
    size_t bytes = 0;
    const struct cs_header header = {"content-type",
                                     {(const uint8_t *)OUTCOME_TYPE, sizeof OUTCOME_TYPE - 1}};
    w->handed_over = 0;
    for (; w->published < a->outcomes_len && w->handed_over < AT_ONCE && bytes < AT_ONCE_SIZE;
         w->published++) {
        const struct cs_applied_outcome *o = &a->outcomes[w->published];
        if (o->n <= w->flight->partition->cursor)
            continue;
        struct cs_publish_message m = {
            .topic = CS_PUBLISH_OUTCOMES,
            .partition = w->flight->partition->id,
            .key = {(const uint8_t *)o->account, strlen(o->account)},
            .value = cs_apply_value(a, o->at, o->len),
            .headers = &header,
            .headers_len = 1,
        };
        if (!w->publisher->ops->send(w->publisher, &m, err))
            return false;
        bytes += o->len;
        w->handed_over++;
    }
    return true;
}

static bool send_derived(struct cs_worker *w, struct cs_err *err) {
    const struct cs_apply *a = &w->apply;
    size_t bytes = 0;
    for (size_t n = 0; w->published < a->derived_len && n < AT_ONCE && bytes < AT_ONCE_SIZE; w->published++) {
        const struct cs_applied_derived *d = &a->derived[w->published];
        // Outcomes are published after the derived events of their batch: where an outcome is out, so are
        // they.
        if (d->outcome_n <= w->flight->partition->cursor)
            continue;
        const struct cs_header headers[] = {
            {"content-type", {(const uint8_t *)CS_CONTENT_TYPE, sizeof CS_CONTENT_TYPE - 1}},
            {CS_SIG_HEADER, {(const uint8_t *)d->sig, d->sig_len}},
        };
        struct cs_publish_message m = {
            .topic = CS_PUBLISH_EVENTS,
            .partition = d->partition,
            .key = {(const uint8_t *)d->account, strlen(d->account)},
            .value = cs_apply_value(a, d->at, d->len),
            .headers = headers,
            .headers_len = 2,
        };
        if (!w->publisher->ops->send(w->publisher, &m, err))
            return false;
        cs_series_inc(w->m->derived);
        bytes += d->len;
        n++;
    }
    return true;
}

static bool begin_outcomes(struct cs_worker *w) {
    struct cs_err err;
    cs_fault_point("between_derived_and_outcomes");
    w->phase = CS_FLIGHT_OUTCOMES;
    w->published = 0;
    if (!send_outcomes(w, &err))
        flight_failed(w, &err);
    return true;
}

static bool begin_publish(struct cs_worker *w) {
    struct cs_err err;
    w->phase = CS_FLIGHT_DERIVED;
    w->published = 0;
    if (w->apply.derived_len == 0)
        return begin_outcomes(w);
    if (!send_derived(w, &err))
        flight_failed(w, &err);
    return true;
}

static bool fork_found(struct cs_worker *w, const struct cs_applied_outcome *mine,
                       const struct cs_published_outcome *theirs, struct cs_err *err) {
    uint8_t sha256[32];
    char mine_hex[65];
    char theirs_hex[65];
    cs_crypto_sha256(w->crypto, cs_apply_value(&w->apply, mine->at, mine->len), sha256);
    cs_hex_encode(sha256, 32, mine_hex);
    cs_crypto_sha256(w->crypto, theirs->value, sha256);
    cs_hex_encode(sha256, 32, theirs_hex);
    size_t i = w->flight->at + (size_t)(mine - w->apply.outcomes);
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "a fork at outcome %lld: the event at offset %lld is judged %s%s%s now (SHA-256 "
                      "%.16s…), but %s offset %lld "
                      "holds another outcome of it (SHA-256 %.16s…); the catalog is left as it is",
                      (long long)mine->n, (long long)w->flight->records[i].record.offset,
                      cs_status_name(mine->status), mine->code ? " " : "", cs_code_name(mine->code), mine_hex,
                      w->c->settings->outcomes_topic, (long long)theirs->offset, theirs_hex);
}

// The published outcomes end before the number that they were thought to reach: what is left is published now.
static void published_ends(struct cs_partition *p, int64_t last) {
    cs_log(CS_LOG_WARN, "fewer outcomes are published than records of the topic claim",
           "partition=%d published=%lld claimed=%lld", (int)p->id, (long long)last, (long long)p->cursor);
    p->cursor = last;
}

static bool same_outcome(const struct cs_worker *w, const struct cs_applied_outcome *mine,
                         const struct cs_published_outcome *theirs) {
    return theirs->value.len == mine->len &&
           memcmp(theirs->value.data, cs_apply_value(&w->apply, mine->at, mine->len).data, mine->len) == 0;
}

// What is published already must be what was decided now, byte for byte. True where all that is there was
// compared.
static bool compare(struct cs_worker *w, bool *ret_done, struct cs_err *err) {
    struct cs_partition *p = w->flight->partition;
    const struct cs_apply *a = &w->apply;
    *ret_done = false;
    if (!p->published && !cs_cursor_open(w->cursor, p->id, &a->from, &p->published, err))
        return false;
    for (; w->compared < a->outcomes_len && a->outcomes[w->compared].n <= p->cursor; w->compared++) {
        const struct cs_applied_outcome *mine = &a->outcomes[w->compared];
        struct cs_published_outcome theirs;
        enum cs_cursor_step step = CS_CURSOR_WAIT;
        if (!cs_cursor_next(p->published, w->crypto, &step, &theirs, err))
            return false;
        if (step == CS_CURSOR_WAIT)
            return true;
        if (step == CS_CURSOR_END) {
            published_ends(p, mine->n - 1);
            break;
        }
        if (!same_outcome(w, mine, &theirs))
            return fork_found(w, mine, &theirs, err);
    }
    cs_series_add(w->m->compared, w->compared);
    if (a->to.outcomes >= p->cursor) {
        cs_cursor_close(p->published);
        p->published = NULL;
    }
    *ret_done = true;
    return true;
}

static bool begin_after_decide(struct cs_worker *w) {
    struct cs_partition *p = w->flight->partition;
    struct cs_err err;
    if (!cs_board_may_publish(w->c->board, &err)) {
        flight_failed(w, &err);
        return true;
    }
    enter(w, CS_FLIGHT_COMPARING, w->m->decide_s);
    if (w->apply.from.outcomes >= p->cursor)
        return begin_publish(w);
    return true;
}

// Decides what is loaded. A record that stops the partition cuts the batch: what stands before it is still
// published and committed.
static bool decide(struct cs_worker *w) {
    struct cs_batch *b = w->flight;
    struct cs_partition *p = b->partition;
    struct cs_apply_context ctx = apply_context(w);
    struct cs_err err;
    bool needed = false;
    if (!cs_apply_decide(&ctx, &w->apply, p->hot, b->records + b->at, b->len - b->at, &needed, &err)) {
        if (err.kind != CS_ERR_RETRY)
            err.kind = CS_ERR_FATAL; // it is this partition's affair, also where CONFIG names a ruleset
        if (w->apply.torn || w->apply.decided == 0) {
            cs_partition_failed(w, p, &err);
            return true;
        }
        w->cut = true;
        w->cut_err = err;
        return begin_after_decide(w);
    }
    if (!needed)
        return begin_after_decide(w);
    if (w->apply.decided > w->loaded_at)
        w->loaded_rounds = 0;
    w->loaded_at = w->apply.decided;
    if (++w->loaded_rounds > ROUNDS_MAX) {
        cs_err_set(&err, CS_ERR_FATAL, CS_CODE_NONE, "the rules do not come to an end with what they need");
        cs_partition_failed(w, p, &err);
    } else if (!w->catalog->ops->load_begin(w->catalog, p->id, p->hot, &err)) {
        flight_failed(w, &err);
    } else {
        w->phase = CS_FLIGHT_LOADING;
    }
    return true;
}

static bool finish_load(struct cs_worker *w) {
    struct cs_position position;
    bool moved = false;
    struct cs_err err;
    if (!w->catalog->ops->load_end(w->catalog, &position, &moved, &err)) {
        flight_failed(w, &err);
        return true;
    }
    if (moved || !cs_position_equal(&position, &w->apply.from)) {
        flight_moved(w);
        return true;
    }
    cs_fault_point("after_load");
    cs_series_observe(w->m->load_s, (double)(cs_worker_now_us() - w->phase_since_us) / 1e6);
    w->phase_since_us = cs_worker_now_us();
    return decide(w);
}

static void keep_hot(struct cs_worker *w) {
    size_t shares = 0;
    for (const struct cs_partition *q = w->partitions; q; q = q->next)
        shares++;
    shares *= (size_t)w->workers;
    cs_hot_keep(w->flight->partition->hot, (size_t)w->c->settings->cache_bytes / (shares ? shares : 1));
}

static void landed(struct cs_worker *w) {
    struct cs_batch *b = w->flight;
    struct cs_partition *p = b->partition;
    p->position = w->apply.to;
    p->landed_ms = cs_worker_now_ms(w);
    b->at += w->apply.decided;
    keep_hot(w);
    for (size_t i = 0; i < w->apply.outcomes_len; i++)
        cs_series_inc(w->m->by_status[w->apply.outcomes[i].status]);
    int64_t low = 0;
    int64_t high = -1;
    if (rd_kafka_get_watermark_offsets(w->rk, w->c->settings->events_topic, p->id, &low, &high) !=
            RD_KAFKA_RESP_ERR_NO_ERROR ||
        high < p->position.next_offset)
        high = p->position.next_offset;
    cs_board_progress(w->c->board, p->id, p->position.next_offset, high, p->position.outcomes,
                      cs_worker_now_ms(w));
    bool stood = p->ahead_since_ms != 0; // the board says so: cs_partition_runs left it
    p->ahead_since_ms = 0;
    (void)cs_partition_reached_end(w, p);
    bool caught_up = p->replaying && p->position.outcomes >= p->cursor;
    p->replaying = p->replaying && !caught_up;
    if (caught_up || stood || p->failing || !p->told)
        cs_partition_runs(w, p);
    if (caught_up) {
        cs_log(CS_LOG_INFO, "partition has caught up with its published outcomes",
               "partition=%d outcomes=%lld", (int)p->id, (long long)p->position.outcomes);
    }
    p->backoff_ms = 0;
    w->flight = NULL;
    w->phase = CS_FLIGHT_NONE;
    if (b->at < b->len && !w->cut)
        w->rest = b;
    else
        cs_batch_recycle(w, b);
    cs_partition_applied(w, p);
    if (w->cut)
        cs_partition_failed(w, p, &w->cut_err);
}

static bool finish_commit(struct cs_worker *w) {
    bool moved = false;
    struct cs_err err;
    if (!w->catalog->ops->commit_end(w->catalog, &moved, &err)) {
        flight_failed(w, &err);
        return true;
    }
    if (moved) {
        flight_moved(w);
        return true;
    }
    cs_fault_point("after_exec");
    enter(w, CS_FLIGHT_NONE, w->m->commit_s);
    landed(w);
    return true;
}

// Acknowledgements that are late are told, not acted upon: the producer goes on trying.
static void watch_stall(struct cs_worker *w) {
    int64_t waited_ms = (cs_worker_now_us() - w->phase_since_us) / 1000;
    if (waited_ms < STALL_MS || w->stalled_ms)
        return;
    w->stalled_ms = waited_ms;
    cs_board_state(w->c->board, w->flight->partition->id, CS_BOARD_WAITING,
                   "Kafka does not acknowledge what is published: check that enough replicas are in sync "
                   "(min.insync.replicas) and that the brokers can be reached");
    cs_log(CS_LOG_WARN, "Kafka does not acknowledge", "partition=%d", (int)w->flight->partition->id);
}

static bool acknowledged(struct cs_worker *w, bool *ret_all) {
    size_t pending = 0;
    struct cs_err err;
    *ret_all = false;
    if (!w->publisher->ops->pending(w->publisher, &pending, &err)) {
        flight_failed(w, &err);
        return false;
    }
    *ret_all = pending == 0;
    if (pending > 0) {
        watch_stall(w);
    } else if (w->stalled_ms) {
        w->stalled_ms = 0;
        cs_partition_runs(w, w->flight->partition);
    }
    return true;
}

// Whether the outcomes stand where they belong: right behind those before them, as nobody else writes there. Where not, the topic is looked at
// again before anything more is published or committed on it.
static bool check_places(struct cs_worker *w, struct cs_err *err) {
    struct cs_partition *p = w->flight->partition;
    int64_t first = -1;
    int64_t last = -1;
    if (w->handed_over == 0)
        return true;
    if (!w->publisher->ops->places(w->publisher, &first, &last)) {
        p->outcomes_end = -1;
        return true;
    }
    int64_t expected = p->outcomes_end >= 0 ? p->outcomes_end : first;
    p->outcomes_end = last + 1;
    if (first == expected && last - first == (int64_t)w->handed_over - 1)
        return true;
    return cs_err_set(
        err, CS_ERR_RETRY, CS_CODE_NONE,
        "%zu outcomes got the offsets %lld to %lld of topic %s, not those from %lld on: something else "
        "writes to the topic, or it was made anew; looking at it again",
        w->handed_over, (long long)first, (long long)last, w->c->settings->outcomes_topic,
        (long long)expected);
}

static bool advance_publish(struct cs_worker *w) {
    bool all = false;
    struct cs_err err;
    if (!acknowledged(w, &all))
        return true;
    if (!all)
        return false;
    bool derived = w->phase == CS_FLIGHT_DERIVED;
    if (!derived && !check_places(w, &err)) {
        flight_failed(w, &err);
        return true;
    }
    if (w->published == (derived ? w->apply.derived_len : w->apply.outcomes_len))
        return derived ? begin_outcomes(w) : begin_commit(w);
    if (!(derived ? send_derived(w, &err) : send_outcomes(w, &err)))
        flight_failed(w, &err);
    return true;
}

static bool advance_compare(struct cs_worker *w) {
    bool done = false;
    struct cs_err err;
    size_t before = w->compared;
    if (!compare(w, &done, &err)) {
        flight_failed(w, &err);
        return true;
    }
    if (done)
        return begin_publish(w);
    return w->compared > before;
}

bool cs_flight_advance(struct cs_worker *w) {
    switch (w->phase) {
    case CS_FLIGHT_NONE:
        return false;
    case CS_FLIGHT_LOADING:
        return w->catalog->ops->poll(w->catalog) && finish_load(w);
    case CS_FLIGHT_COMPARING:
        return advance_compare(w);
    case CS_FLIGHT_DERIVED:
    case CS_FLIGHT_OUTCOMES:
        return advance_publish(w);
    case CS_FLIGHT_COMMITTING:
        return w->catalog->ops->poll(w->catalog) && finish_commit(w);
    }
    return false;
}
