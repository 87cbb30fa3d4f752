// SPDX-License-Identifier: Apache-2.0
//
// One turn of a worker. Only this file decides what happens after an error.
#include "worker/turn.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "catalog/hot.h"
#include "certsync/runtime/log.h"
#include "worker/loud.h"
#include "worker/recovery.h"

#define BACKSTOP_MS          100 // longest wait before the queues are checked
#define REVOKE_DRAIN_MS      2000
#define LOOK_EVERY_MS        1000
#define START_FOR_MS         500
#define MEASURE_EVERY_MS     2000
#define MEASURE_LATER_MS     10000 // after brokers that did not answer
#define BROKER_BUSY_MS       10000 // longest time for one question to the brokers
#define STALL_MS             5000  // later acknowledgements are reported
#define BACKOFF_FIRST_MS     100
#define BACKOFF_LAST_MS      1000
#define BACKOFF_MEND_LAST_MS 30000

static int64_t now_ms(const struct cs_turn *t) {
    return cs_worker_now_ms(&t->x);
}

void cs_turn_fail(struct cs_turn *t, const struct cs_err *err) {
    if (!t->failed)
        t->failure = *err;
    t->failed = true;
}

// --- what follows an error

static void drop(struct cs_turn *t, struct cs_partition *p, enum cs_partition_state then) {
    if (t->flying && t->flying->partition == p) {
        cs_flight_abandon(&t->flight);
        cs_batches_recycle(&t->batches, t->flying);
        t->flying = NULL;
        t->stalled_ms = 0;
    }
    cs_batches_drop(&t->batches, p);
    cs_partition_forget(p, then);
}

static void stop(struct cs_turn *t, struct cs_partition *p, const struct cs_err *err) {
    drop(t, p, CS_PARTITION_STOPPED);
    t->group.assign_due = true;
    cs_board_state(t->x.c->board, p->stand.id, CS_BOARD_STOPPED, err->msg);
    cs_log_err(CS_LOG_ERROR, "partition stops", err, "partition=%d", (int)p->stand.id);
}

// A fault that ends by itself is retried soon. If a person must correct it (a right, a topic), the
// pauses grow.
static int64_t next_backoff_ms(const struct cs_partition *p, enum cs_err_kind kind) {
    int64_t last_ms = kind == CS_ERR_RETRY ? BACKOFF_LAST_MS : BACKOFF_MEND_LAST_MS;
    int64_t next_ms = p->backoff_ms == 0 ? BACKOFF_FIRST_MS : p->backoff_ms * 2;
    return next_ms < last_ms ? next_ms : last_ms;
}

// Nothing of it is believed, and nothing was published that rests on it: the partition begins again
// with an empty catalog, and comes to the same verdicts.
static void heal(struct cs_turn *t, struct cs_partition *p, const struct cs_err *err) {
    int64_t pause_ms = cs_partition_damaged(&t->x, p);
    int64_t generation = t->x.catalog->ops->generation(t->x.catalog, p->stand.id);
    cs_series_inc(t->x.m->damaged);
    cs_board_damaged(t->x.c->board, p->stand.id, generation ? generation : 1, err->msg);
    cs_board_state(t->x.c->board, p->stand.id, CS_BOARD_WAITING, err->msg);
    cs_log_err(CS_LOG_ERROR, "nothing is published from a damaged catalog; it is made again from the log",
               err, "partition=%d retry_ms=%lld", (int)p->stand.id, (long long)pause_ms);
    p->failing = true;
    p->retry_at_ms = now_ms(t) + pause_ms;
    drop(t, p, CS_PARTITION_STARTING);
}

// What was restored is thrown away; nothing was published that rests on it. An older snapshot is taken, or the
// first record.
static void doubt(struct cs_turn *t, struct cs_partition *p) {
    cs_board_state(t->x.c->board, p->stand.id, CS_BOARD_WAITING,
                   "the snapshot that its catalog came from is not used");
    p->failing = true;
    p->retry_at_ms = now_ms(t);
    drop(t, p, CS_PARTITION_STARTING);
}

// An error of one partition. FATAL stops it. DAMAGED: see heal. Otherwise it starts again from the stored position
// after a pause. CONFIG: a right or a topic is missing, and a person must correct that.
static void partition_failed(struct cs_turn *t, struct cs_partition *p, const struct cs_err *err) {
    if (cs_recovery_doubts(&t->x, p, err)) {
        doubt(t, p);
        return;
    }
    if (err->kind == CS_ERR_FATAL) {
        stop(t, p, err);
        return;
    }
    if (err->kind == CS_ERR_DAMAGED) {
        heal(t, p, err);
        return;
    }
    struct cs_board_entry e;
    cs_board_get(t->x.c->board, p->stand.id, &e);
    // Logged again only with another reason, not at each attempt.
    bool told = p->backoff_ms >= BACKOFF_LAST_MS && strncmp(e.reason, err->msg, sizeof e.reason - 1) == 0;
    p->backoff_ms = next_backoff_ms(p, err->kind);
    p->failing = true;
    p->retry_at_ms = now_ms(t) + p->backoff_ms;
    cs_series_inc(t->x.m->retries);
    cs_board_state(t->x.c->board, p->stand.id, CS_BOARD_WAITING, err->msg);
    if (!told)
        cs_log_err(CS_LOG_WARN, "partition waits", err, "partition=%d retry_ms=%lld", (int)p->stand.id,
                   (long long)p->backoff_ms);
    drop(t, p, CS_PARTITION_STARTING);
}

// An error in flight. An error of the rules concerns only this partition, even if it is CONFIG and
// names a ruleset. They find damage, too: a document that others name is gone.
static void flight_failed(struct cs_turn *t, struct cs_partition *p, bool of_rules, struct cs_err *err) {
    if (of_rules && err->kind != CS_ERR_RETRY && err->kind != CS_ERR_DAMAGED)
        err->kind = CS_ERR_FATAL;
    partition_failed(t, p, err);
}

// --- the flight

static bool launch(struct cs_turn *t) {
    struct cs_batch *b = t->flying ? NULL : cs_batches_take(&t->batches);
    struct cs_err err;
    if (!b)
        return false;
    t->flying = b;
    if (b->at == 0) {
        cs_series_observe(t->x.m->batch_records, (double)b->len);
        cs_series_observe(t->x.m->prepare_s, (double)b->prepare_us / 1e6);
    }
    t->phase_since_us = cs_worker_now_us();
    if (!cs_flight_begin(&t->flight, &b->partition->stand, b->records + b->at, b->len - b->at, NULL, &err))
        flight_failed(t, b->partition, false, &err);
    return true;
}

// A phase has ended: measures how long it took, and what it did.
static void measure_phase(struct cs_turn *t, enum cs_flight_phase over) {
    const struct cs_worker_metrics *m = t->x.m;
    const struct cs_flight *f = &t->flight;
    struct cs_series *spent = NULL;
    if (over == CS_FLIGHT_LOADING)
        spent = m->load_s;
    else if (over == CS_FLIGHT_DECIDING && f->phase == CS_FLIGHT_COMPARING)
        spent = m->decide_s;
    else if (f->phase == CS_FLIGHT_COMMITTING)
        spent = m->publish_s;
    else if (over == CS_FLIGHT_COMMITTING)
        spent = m->commit_s;
    if (over == CS_FLIGHT_COMPARING)
        cs_series_add(m->compared, f->compared);
    if (over == CS_FLIGHT_DERIVED)
        cs_series_add(m->derived, f->derived);
    if (!spent)
        return;
    int64_t now_us = cs_worker_now_us();
    cs_series_observe(spent, (double)(now_us - t->phase_since_us) / 1e6);
    t->phase_since_us = now_us;
}

// Late acknowledgements are only reported: the producer keeps trying.
static void watch_stall(struct cs_turn *t, struct cs_partition *p, bool waits) {
    int64_t waited_ms = (cs_worker_now_us() - t->phase_since_us) / 1000;
    if (!waits && t->stalled_ms) {
        t->stalled_ms = 0;
        cs_partition_runs(&t->x, p);
    }
    if (!waits || waited_ms < STALL_MS || t->stalled_ms)
        return;
    t->stalled_ms = waited_ms;
    cs_board_state(t->x.c->board, p->stand.id, CS_BOARD_WAITING,
                   "Kafka does not acknowledge what is published: check that enough replicas are in sync "
                   "(min.insync.replicas) and that the brokers can be reached");
    cs_log(CS_LOG_WARN, "Kafka does not acknowledge", "partition=%d", (int)p->stand.id);
}

static void keep_hot(struct cs_turn *t, struct cs_partition *p) {
    size_t shares = 0;
    for (const struct cs_partition *q = t->group.partitions; q; q = q->next)
        shares++;
    shares *= (size_t)t->workers;
    cs_hot_keep(p->stand.hot, (size_t)t->x.c->settings->cache_bytes / (shares ? shares : 1));
}

// What is remembered of a host whose key ended is forgotten (heartbeats.h).
static void tell_ended_keys(struct cs_turn *t, const struct cs_batch *b, size_t n) {
    for (size_t i = b->at; i < b->at + n; i++) {
        const struct cs_event *ev = b->records[i].prepared->event;
        if (!ev || (ev->type != CS_EVENT_AGENT_REVOKE && ev->type != CS_EVENT_AGENT_ROTATE))
            continue;
        cs_board_keys_ended(t->x.c->board, b->partition->stand.id);
        return;
    }
}

static void landed(struct cs_turn *t) {
    struct cs_batch *b = t->flying;
    struct cs_partition *p = b->partition;
    struct cs_flight *f = &t->flight;
    tell_ended_keys(t, b, f->apply.decided);
    b->at += f->apply.decided;
    keep_hot(t, p);
    for (size_t i = 0; i < f->apply.outcomes_len; i++) {
        const struct cs_applied_outcome *o = &f->apply.outcomes[i];
        cs_series_inc(t->x.m->by_status[o->status]);
        if (o->status == CS_STATUS_REJECTED && i >= f->compared)
            cs_series_inc(cs_metric_1(t->x.m->rejections, cs_code_name(o->code)));
        cs_loud_count(t->x.m->loud, o->proven || !o->account[0] ? o->account : CS_LOUD_UNPROVEN, 1);
    }
    cs_partition_landed(&t->x, p);
    t->flying = NULL;
    if (b->at < b->len && !f->cut)
        cs_batches_keep_rest(&t->batches, b);
    else
        cs_batches_recycle(&t->batches, b);
    cs_partition_applied(&t->x, p, cs_batches_first_ms(&t->batches, p));
    if (f->cut)
        flight_failed(t, p, true, &f->cut_err);
}

static void moved(struct cs_turn *t) {
    struct cs_err err;
    cs_err_set(
        &err, CS_ERR_RETRY, CS_CODE_NONE,
        "another consumer moved the partition on, or a rebuilt catalog was promoted; starting again from "
        "the stored position");
    flight_failed(t, t->flying->partition, false, &err);
}

// One step. True: more can follow at once.
static bool step(struct cs_turn *t, enum cs_flight_step *ret) {
    enum cs_flight_phase phase = t->flight.phase;
    struct cs_partition *p = t->flying->partition;
    const struct cs_stand *s = &p->stand;
    int64_t published = s->published;
    struct cs_err err;
    if (!cs_flight_advance(&t->flight, false, ret, &err)) {
        flight_failed(t, p, t->flight.phase == CS_FLIGHT_DECIDING, &err);
        return false;
    }
    if (s->published < published)
        cs_log(CS_LOG_WARN, "fewer outcomes are published than records of the topic claim",
               "partition=%d published=%lld claimed=%lld", (int)s->id, (long long)s->published,
               (long long)published);
    if (t->flight.phase != phase)
        measure_phase(t, phase);
    if (phase == CS_FLIGHT_DERIVED || phase == CS_FLIGHT_OUTCOMES)
        watch_stall(t, p, *ret == CS_FLIGHT_WAITS);
    if (phase != CS_FLIGHT_DECIDING || t->flight.phase != CS_FLIGHT_COMPARING ||
        cs_board_may_publish(t->x.c->board, &err))
        return phase < CS_FLIGHT_COMPARING && *ret == CS_FLIGHT_WENT_ON;
    flight_failed(t, p, false, &err);
    return false;
}

// Does what the batch in flight can do without waiting. True: it did something.
static bool fly(struct cs_turn *t) {
    enum cs_flight_step last = CS_FLIGHT_WAITS;
    bool some = false;
    if (!t->flying)
        return false;
    while (step(t, &last))
        some = true;
    if (t->flying && last == CS_FLIGHT_LANDED)
        landed(t);
    else if (t->flying && last == CS_FLIGHT_MOVED)
        moved(t);
    return some || last != CS_FLIGHT_WAITS;
}

// --- the turn

// Waits for any queue, the catalog's socket, or the backstop.
static void wait_for_work(struct cs_turn *t) {
    bool write = false;
    enum cs_flight_phase phase = t->flight.phase;
    bool catalog = phase == CS_FLIGHT_LOADING || phase == CS_FLIGHT_COMMITTING;
    int fd = catalog ? t->x.catalog->ops->fd(t->x.catalog, &write) : -1;
    struct pollfd fds[] = {{.fd = t->woken_fd, .events = POLLIN},
                           {.fd = fd, .events = (short)(write ? POLLIN | POLLOUT : POLLIN)}};
    char bytes[256];
    if (poll(fds, fd >= 0 ? 2 : 1, BACKSTOP_MS) > 0 && fds[0].revents)
        while (read(t->woken_fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
            ;
}

// Partitions are taken away. What may be published already is finished, within a time limit.
void cs_turn_revoked(void *arg) {
    struct cs_turn *t = arg;
    int64_t deadline = now_ms(t) + REVOKE_DRAIN_MS;
    while (cs_turn_publishes(t) && now_ms(t) < deadline)
        if (!fly(t))
            wait_for_work(t);
    for (struct cs_partition *p = t->group.partitions; p; p = p->next)
        drop(t, p, CS_PARTITION_STOPPED);
}

static bool is_due(const struct cs_partition *p, int64_t at_ms) {
    return p->state == CS_PARTITION_STARTING && at_ms >= p->retry_at_ms;
}

// Whether a partition waits for its start. Then no new flight begins: both need the catalog.
static bool start_due(const struct cs_turn *t) {
    for (const struct cs_partition *p = t->group.partitions; p; p = p->next)
        if (is_due(p, now_ms(t)))
            return true;
    return cs_group_assign_due(&t->group);
}

// Starts partitions that are due, and lets them be fetched once all are tried. Returns after a
// limited time, so that the group is served even if answers are slow.
static bool start_partitions(struct cs_turn *t) {
    struct cs_err err;
    if (t->flying || !start_due(t))
        return false;
    int64_t until_ms = now_ms(t) + START_FOR_MS;
    for (struct cs_partition *p = t->group.partitions; p && !atomic_load(t->stopping); p = p->next) {
        if (!is_due(p, now_ms(t)))
            continue;
        if (cs_partition_start(&t->x, p, &err))
            t->group.assign_due = true;
        else
            partition_failed(t, p, &err);
        if (now_ms(t) > until_ms)
            return true;
    }
    if (cs_group_assign_due(&t->group))
        cs_group_assign(&t->group);
    return true;
}

// Checks idle partitions: is the catalog still there? A commit would notice, but without new events
// there is none. So we ask whether Redis lost its catalog, or went back in time.
static void look_at_idle(struct cs_turn *t) {
    int64_t began_ms = now_ms(t);
    struct cs_err err;
    if (t->flying || began_ms < t->look_due_ms)
        return;
    t->look_due_ms = began_ms + LOOK_EVERY_MS;
    for (struct cs_partition *p = t->group.partitions; p; p = p->next)
        if (p->state == CS_PARTITION_RUNNING && now_ms(t) < began_ms + START_FOR_MS &&
            !cs_partition_look(&t->x, p, &err))
            partition_failed(t, p, &err);
}

// The API reads more of the catalog than verdicts do. What it found damaged is made again, unless
// that was done meanwhile.
static void look_at_damage(struct cs_turn *t) {
    for (struct cs_partition *p = t->group.partitions; p; p = p->next) {
        int64_t damaged = cs_board_damage(t->x.c->board, p->stand.id);
        struct cs_board_entry e;
        struct cs_err err;
        if (!damaged || p->damaged_ms || p->state != CS_PARTITION_RUNNING)
            continue;
        cs_board_get(t->x.c->board, p->stand.id, &e);
        if (damaged != p->stand.generation && damaged != CS_BOARD_ANY_GENERATION) {
            cs_board_damaged(t->x.c->board, p->stand.id, 0, NULL);
            continue;
        }
        cs_err_set(&err, CS_ERR_DAMAGED, CS_CODE_NONE, "%s", e.damage);
        partition_failed(t, p, &err);
    }
}

// Root may have had outcomes judged anew: whatever is under way is judged with that. A partition that a
// wrong outcome stopped goes on.
static void look_at_corrections(struct cs_turn *t) {
    for (struct cs_partition *p = t->group.partitions; p; p = p->next) {
        struct cs_err err;
        if (p->state == CS_PARTITION_STARTING || !cs_partition_corrected(&t->x, p))
            continue;
        cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE,
                   "root has outcomes of the partition judged anew; starting again");
        partition_failed(t, p, &err);
    }
}

static bool sweep(struct cs_turn *t) {
    struct cs_err err;
    if (t->flying)
        return false;
    for (struct cs_partition *p = t->group.partitions; p; p = p->next) {
        if (!p->sweeping || p->state != CS_PARTITION_RUNNING)
            continue;
        if (!cs_partition_sweep(&t->x, p, &err))
            partition_failed(t, p, &err);
        return true;
    }
    return false;
}

// Measures one of the partitions without progress, in turns: they report nothing by themselves.
static void measure(struct cs_turn *t) {
    int64_t at_ms = now_ms(t);
    struct cs_partition *next = NULL;
    if (at_ms < t->measure_due_ms)
        return;
    t->measure_due_ms = at_ms + MEASURE_EVERY_MS;
    for (struct cs_partition *p = t->group.partitions; p; p = p->next)
        if (p->state != CS_PARTITION_RUNNING && (!next || p->measured_ms < next->measured_ms))
            next = p;
    if (!next)
        return;
    next->measured_ms = at_ms;
    if (!cs_partition_measure(&t->x, next))
        t->measure_due_ms = now_ms(t) + MEASURE_LATER_MS;
}

static bool serve_group(struct cs_turn *t) {
    struct cs_partition *p = NULL;
    struct cs_err err;
    if (cs_group_serve(&t->group, &p, &err))
        return true;
    if (p)
        partition_failed(t, p, &err);
    else
        cs_turn_fail(t, &err);
    return p;
}

static bool fill_batches(struct cs_turn *t) {
    struct cs_partition *p = NULL;
    struct cs_err err;
    bool some = true;
    if (!cs_batches_work(&t->batches, t->group.partitions, t->flying, &some, &p, &err)) {
        partition_failed(t, p, &err);
        return true;
    }
    return some;
}

void cs_turn(struct cs_turn *t, bool stopping) {
    bool works = serve_group(t) && !stopping;
    bool some = works && start_partitions(t);
    some = fly(t) || some;
    if (works) {
        look_at_damage(t);
        look_at_corrections(t);
        some = sweep(t) || some;
        if (!start_due(t))
            some = launch(t) || some;
        some = fill_batches(t) || some;
    }
    for (struct cs_partition *p = t->group.partitions; p; p = p->next)
        cs_partition_checkpoint(&t->x, p);
    cs_group_store_offsets(&t->group, false);
    if (works)
        measure(t);
    if (works && !some)
        look_at_idle(t);
    if (!some && !t->failed)
        wait_for_work(t);
}

int64_t cs_turn_busy_ms(const struct cs_turn *t) {
    int64_t busy_ms = 2 * t->x.c->settings->redis_timeout_ms + BROKER_BUSY_MS;
    return busy_ms + (start_due(t) ? CS_TURN_START_BUSY_MS : 0);
}

bool cs_turn_publishes(const struct cs_turn *t) {
    return t->flying && t->flight.phase > CS_FLIGHT_COMPARING;
}
