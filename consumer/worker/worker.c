// SPDX-License-Identifier: Apache-2.0
//
// The worker's thread and its turn. Only this file decides what happens after an error.
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "catalog/hot.h"
#include "certsync/runtime/liveness.h"
#include "certsync/runtime/log.h"
#include "worker/batch.h"
#include "worker/group.h"

#define BACKSTOP_MS          100 // longest wait before the queues are checked
#define REVOKE_DRAIN_MS      2000
#define LOOK_EVERY_MS        1000
#define START_FOR_MS         500
#define MEASURE_EVERY_MS     2000
#define MEASURE_LATER_MS     10000 // after brokers that did not answer
#define BROKER_BUSY_MS       10000 // longest time for one question to the brokers
#define START_BUSY_MS        60000 // longest time for the questions of a partition's start
#define STALL_MS             5000  // later acknowledgements are reported
#define BACKOFF_FIRST_MS     100
#define BACKOFF_LAST_MS      1000
#define BACKOFF_MEND_LAST_MS 30000

struct cs_worker {
    struct cs_worker_context x;
    int index;
    int workers; // of this process
    pthread_t thread;
    bool thread_started;
    atomic_bool stopping; // any thread
    atomic_bool finished; // any thread
    struct cs_liveness liveness;
    cs_worker_end_fn on_end;
    void *on_end_arg;
    int wake[2]; // pipe: [1] is written to by librdkafka and by cs_worker_stop
    int tls;     // *c->kafka_tls when the clients were made

    struct cs_group group;
    struct cs_batches batches;
    struct cs_flight_env env;
    struct cs_flight flight;
    struct cs_batch *flying; // the batch in flight; NULL: none is
    int64_t phase_since_us;
    int64_t stalled_ms; // since when acknowledgements are late; 0: they are not

    int64_t stop_deadline_ms;
    int64_t look_due_ms;    // when idle partitions' positions are read
    int64_t measure_due_ms; // when partitions without progress are measured
    bool failed;            // the worker as a whole
    struct cs_err failure;
};

static int64_t now_ms(const struct cs_worker *w) {
    return cs_worker_now_ms(&w->x);
}

static void fail(struct cs_worker *w, const struct cs_err *err) {
    if (!w->failed)
        w->failure = *err;
    w->failed = true;
}

// --- what follows an error

static void drop(struct cs_worker *w, struct cs_partition *p, enum cs_partition_state then) {
    if (w->flying && w->flying->partition == p) {
        cs_flight_abandon(&w->flight);
        cs_batches_recycle(&w->batches, w->flying);
        w->flying = NULL;
        w->stalled_ms = 0;
    }
    cs_batches_drop(&w->batches, p);
    cs_partition_forget(p, then);
}

static void stop(struct cs_worker *w, struct cs_partition *p, const struct cs_err *err) {
    drop(w, p, CS_PARTITION_STOPPED);
    w->group.assign_due = true;
    cs_board_state(w->x.c->board, p->stand.id, CS_BOARD_STOPPED, err->msg);
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
static void heal(struct cs_worker *w, struct cs_partition *p, const struct cs_err *err) {
    int64_t pause_ms = cs_partition_damaged(&w->x, p);
    int64_t generation = w->x.catalog->ops->generation(w->x.catalog, p->stand.id);
    cs_series_inc(w->x.m->damaged);
    cs_board_damaged(w->x.c->board, p->stand.id, generation ? generation : 1, err->msg);
    cs_board_state(w->x.c->board, p->stand.id, CS_BOARD_WAITING, err->msg);
    cs_log_err(CS_LOG_ERROR, "nothing is published from a damaged catalog; it is made again from the log",
               err, "partition=%d retry_ms=%lld", (int)p->stand.id, (long long)pause_ms);
    p->failing = true;
    p->retry_at_ms = now_ms(w) + pause_ms;
    drop(w, p, CS_PARTITION_STARTING);
}

// An error of one partition. FATAL stops it. DAMAGED: see heal. Otherwise it starts again from the stored position
// after a pause. CONFIG: a right or a topic is missing, and a person must correct that.
static void partition_failed(struct cs_worker *w, struct cs_partition *p, const struct cs_err *err) {
    if (err->kind == CS_ERR_FATAL) {
        stop(w, p, err);
        return;
    }
    if (err->kind == CS_ERR_DAMAGED) {
        heal(w, p, err);
        return;
    }
    struct cs_board_entry e;
    cs_board_get(w->x.c->board, p->stand.id, &e);
    // Logged again only with another reason, not at each attempt.
    bool told = p->backoff_ms >= BACKOFF_LAST_MS && strncmp(e.reason, err->msg, sizeof e.reason - 1) == 0;
    p->backoff_ms = next_backoff_ms(p, err->kind);
    p->failing = true;
    p->retry_at_ms = now_ms(w) + p->backoff_ms;
    cs_series_inc(w->x.m->retries);
    cs_board_state(w->x.c->board, p->stand.id, CS_BOARD_WAITING, err->msg);
    if (!told)
        cs_log_err(CS_LOG_WARN, "partition waits", err, "partition=%d retry_ms=%lld", (int)p->stand.id,
                   (long long)p->backoff_ms);
    drop(w, p, CS_PARTITION_STARTING);
}

// An error in flight. An error of the rules concerns only this partition, even if it is CONFIG and
// names a ruleset.
static void flight_failed(struct cs_worker *w, struct cs_partition *p, bool of_rules, struct cs_err *err) {
    if (of_rules && err->kind != CS_ERR_RETRY)
        err->kind = CS_ERR_FATAL;
    partition_failed(w, p, err);
}

// --- the flight

static bool launch(struct cs_worker *w) {
    struct cs_batch *b = w->flying ? NULL : cs_batches_take(&w->batches);
    struct cs_err err;
    if (!b)
        return false;
    w->flying = b;
    if (b->at == 0) {
        cs_series_observe(w->x.m->batch_records, (double)b->len);
        cs_series_observe(w->x.m->prepare_s, (double)b->prepare_us / 1e6);
    }
    w->phase_since_us = cs_worker_now_us();
    if (!cs_flight_begin(&w->flight, &b->partition->stand, b->records + b->at, b->len - b->at, NULL, &err))
        flight_failed(w, b->partition, false, &err);
    return true;
}

// A phase has ended: measures how long it took, and what it did.
static void measure_phase(struct cs_worker *w, enum cs_flight_phase over) {
    const struct cs_worker_metrics *m = w->x.m;
    const struct cs_flight *f = &w->flight;
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
    cs_series_observe(spent, (double)(now_us - w->phase_since_us) / 1e6);
    w->phase_since_us = now_us;
}

// Late acknowledgements are only reported: the producer keeps trying.
static void watch_stall(struct cs_worker *w, struct cs_partition *p, bool waits) {
    int64_t waited_ms = (cs_worker_now_us() - w->phase_since_us) / 1000;
    if (!waits && w->stalled_ms) {
        w->stalled_ms = 0;
        cs_partition_runs(&w->x, p);
    }
    if (!waits || waited_ms < STALL_MS || w->stalled_ms)
        return;
    w->stalled_ms = waited_ms;
    cs_board_state(w->x.c->board, p->stand.id, CS_BOARD_WAITING,
                   "Kafka does not acknowledge what is published: check that enough replicas are in sync "
                   "(min.insync.replicas) and that the brokers can be reached");
    cs_log(CS_LOG_WARN, "Kafka does not acknowledge", "partition=%d", (int)p->stand.id);
}

static void keep_hot(struct cs_worker *w, struct cs_partition *p) {
    size_t shares = 0;
    for (const struct cs_partition *q = w->group.partitions; q; q = q->next)
        shares++;
    shares *= (size_t)w->workers;
    cs_hot_keep(p->stand.hot, (size_t)w->x.c->settings->cache_bytes / (shares ? shares : 1));
}

static void landed(struct cs_worker *w) {
    struct cs_batch *b = w->flying;
    struct cs_partition *p = b->partition;
    struct cs_flight *f = &w->flight;
    b->at += f->apply.decided;
    keep_hot(w, p);
    for (size_t i = 0; i < f->apply.outcomes_len; i++)
        cs_series_inc(w->x.m->by_status[f->apply.outcomes[i].status]);
    cs_partition_landed(&w->x, p);
    w->flying = NULL;
    if (b->at < b->len && !f->cut)
        cs_batches_keep_rest(&w->batches, b);
    else
        cs_batches_recycle(&w->batches, b);
    cs_partition_applied(&w->x, p, cs_batches_first_ms(&w->batches, p));
    if (f->cut)
        flight_failed(w, p, true, &f->cut_err);
}

static void moved(struct cs_worker *w) {
    struct cs_err err;
    cs_err_set(
        &err, CS_ERR_RETRY, CS_CODE_NONE,
        "another consumer moved the partition on, or a rebuilt catalog was promoted; starting again from "
        "the stored position");
    flight_failed(w, w->flying->partition, false, &err);
}

// One step. True: more can follow at once.
static bool step(struct cs_worker *w, enum cs_flight_step *ret) {
    enum cs_flight_phase phase = w->flight.phase;
    struct cs_partition *p = w->flying->partition;
    const struct cs_stand *s = &p->stand;
    int64_t published = s->published;
    struct cs_err err;
    if (!cs_flight_advance(&w->flight, false, ret, &err)) {
        flight_failed(w, p, w->flight.phase == CS_FLIGHT_DECIDING, &err);
        return false;
    }
    if (s->published < published)
        cs_log(CS_LOG_WARN, "fewer outcomes are published than records of the topic claim",
               "partition=%d published=%lld claimed=%lld", (int)s->id, (long long)s->published,
               (long long)published);
    if (w->flight.phase != phase)
        measure_phase(w, phase);
    if (phase == CS_FLIGHT_DERIVED || phase == CS_FLIGHT_OUTCOMES)
        watch_stall(w, p, *ret == CS_FLIGHT_WAITS);
    if (phase != CS_FLIGHT_DECIDING || w->flight.phase != CS_FLIGHT_COMPARING ||
        cs_board_may_publish(w->x.c->board, &err))
        return phase < CS_FLIGHT_COMPARING && *ret == CS_FLIGHT_WENT_ON;
    flight_failed(w, p, false, &err);
    return false;
}

// Does what the batch in flight can do without waiting. True: it did something.
static bool fly(struct cs_worker *w) {
    enum cs_flight_step last = CS_FLIGHT_WAITS;
    bool some = false;
    if (!w->flying)
        return false;
    while (step(w, &last))
        some = true;
    if (w->flying && last == CS_FLIGHT_LANDED)
        landed(w);
    else if (w->flying && last == CS_FLIGHT_MOVED)
        moved(w);
    return some || last != CS_FLIGHT_WAITS;
}

// --- the turn

// Waits for any queue, the catalog's socket, or the backstop.
static void wait_for_work(struct cs_worker *w) {
    bool write = false;
    enum cs_flight_phase phase = w->flight.phase;
    bool catalog = phase == CS_FLIGHT_LOADING || phase == CS_FLIGHT_COMMITTING;
    int fd = catalog ? w->x.catalog->ops->fd(w->x.catalog, &write) : -1;
    struct pollfd fds[] = {{.fd = w->wake[0], .events = POLLIN},
                           {.fd = fd, .events = (short)(write ? POLLIN | POLLOUT : POLLIN)}};
    char bytes[256];
    if (poll(fds, fd >= 0 ? 2 : 1, BACKSTOP_MS) > 0 && fds[0].revents)
        while (read(w->wake[0], bytes, sizeof bytes) == (ssize_t)sizeof bytes)
            ;
}

// Partitions are taken away. What may be published already is finished, within a time limit.
static void on_revoke(void *arg) {
    struct cs_worker *w = arg;
    int64_t deadline = now_ms(w) + REVOKE_DRAIN_MS;
    while (w->flying && w->flight.phase > CS_FLIGHT_COMPARING && now_ms(w) < deadline)
        if (!fly(w))
            wait_for_work(w);
    for (struct cs_partition *p = w->group.partitions; p; p = p->next)
        drop(w, p, CS_PARTITION_STOPPED);
}

static bool is_due(const struct cs_partition *p, int64_t at_ms) {
    return p->state == CS_PARTITION_STARTING && at_ms >= p->retry_at_ms;
}

// Whether a partition waits for its start. Then no new flight begins: both need the catalog.
static bool start_due(const struct cs_worker *w) {
    for (const struct cs_partition *p = w->group.partitions; p; p = p->next)
        if (is_due(p, now_ms(w)))
            return true;
    return cs_group_assign_due(&w->group);
}

// Starts partitions that are due, and lets them be fetched once all are tried. Returns after a
// limited time, so that the group is served even if answers are slow.
static bool start_partitions(struct cs_worker *w) {
    struct cs_err err;
    if (w->flying || !start_due(w))
        return false;
    int64_t until_ms = now_ms(w) + START_FOR_MS;
    for (struct cs_partition *p = w->group.partitions; p && !atomic_load(&w->stopping); p = p->next) {
        if (!is_due(p, now_ms(w)))
            continue;
        if (cs_partition_start(&w->x, p, &err))
            w->group.assign_due = true;
        else
            partition_failed(w, p, &err);
        if (now_ms(w) > until_ms)
            return true;
    }
    if (cs_group_assign_due(&w->group))
        cs_group_assign(&w->group);
    return true;
}

// Checks idle partitions: is the catalog still there? A commit would notice, but without new events
// there is none. So we ask whether Redis lost its catalog, or went back in time.
static void look_at_idle(struct cs_worker *w) {
    int64_t began_ms = now_ms(w);
    struct cs_err err;
    if (w->flying || began_ms < w->look_due_ms)
        return;
    w->look_due_ms = began_ms + LOOK_EVERY_MS;
    for (struct cs_partition *p = w->group.partitions; p; p = p->next)
        if (p->state == CS_PARTITION_RUNNING && now_ms(w) < began_ms + START_FOR_MS &&
            !cs_partition_look(&w->x, p, &err))
            partition_failed(w, p, &err);
}

// The API reads more of the catalog than verdicts do. What it found damaged is made again, unless
// that was done meanwhile.
static void look_at_damage(struct cs_worker *w) {
    for (struct cs_partition *p = w->group.partitions; p; p = p->next) {
        int64_t damaged = cs_board_damage(w->x.c->board, p->stand.id);
        struct cs_board_entry e;
        struct cs_err err;
        if (!damaged || p->damaged_ms || p->state != CS_PARTITION_RUNNING)
            continue;
        cs_board_get(w->x.c->board, p->stand.id, &e);
        if (damaged != p->stand.generation) {
            cs_board_damaged(w->x.c->board, p->stand.id, 0, NULL);
            continue;
        }
        cs_err_set(&err, CS_ERR_DAMAGED, CS_CODE_NONE, "%s", e.damage);
        partition_failed(w, p, &err);
    }
}

static bool sweep(struct cs_worker *w) {
    struct cs_err err;
    if (w->flying)
        return false;
    for (struct cs_partition *p = w->group.partitions; p; p = p->next) {
        if (!p->sweeping || p->state != CS_PARTITION_RUNNING)
            continue;
        if (!cs_partition_sweep(&w->x, p, &err))
            partition_failed(w, p, &err);
        return true;
    }
    return false;
}

// Measures one of the partitions without progress, in turns: they report nothing by themselves.
static void measure(struct cs_worker *w) {
    int64_t at_ms = now_ms(w);
    struct cs_partition *next = NULL;
    if (at_ms < w->measure_due_ms)
        return;
    w->measure_due_ms = at_ms + MEASURE_EVERY_MS;
    for (struct cs_partition *p = w->group.partitions; p; p = p->next)
        if (p->state != CS_PARTITION_RUNNING && (!next || p->measured_ms < next->measured_ms))
            next = p;
    if (!next)
        return;
    next->measured_ms = at_ms;
    if (!cs_partition_measure(&w->x, next))
        w->measure_due_ms = now_ms(w) + MEASURE_LATER_MS;
}

static bool serve_group(struct cs_worker *w) {
    struct cs_partition *p = NULL;
    struct cs_err err;
    if (cs_group_serve(&w->group, &p, &err))
        return true;
    if (p)
        partition_failed(w, p, &err);
    else
        fail(w, &err);
    return p;
}

static bool fill_batches(struct cs_worker *w) {
    struct cs_partition *p = NULL;
    struct cs_err err;
    bool some = true;
    if (!cs_batches_work(&w->batches, w->group.partitions, w->flying, &some, &p, &err)) {
        partition_failed(w, p, &err);
        return true;
    }
    return some;
}

static void turn(struct cs_worker *w, bool stopping) {
    bool works = serve_group(w) && !stopping;
    bool some = works && start_partitions(w);
    some = fly(w) || some;
    if (works) {
        look_at_damage(w);
        some = sweep(w) || some;
        if (!start_due(w))
            some = launch(w) || some;
        some = fill_batches(w) || some;
    }
    cs_group_store_offsets(&w->group, false);
    if (works)
        measure(w);
    if (works && !some)
        look_at_idle(w);
    if (!some && !w->failed)
        wait_for_work(w);
}

// Before each turn: it may wait for a limited time. After that it counts as stuck.
static void beat(struct cs_worker *w) {
    int64_t busy_ms = 2 * w->x.c->settings->redis_timeout_ms + BROKER_BUSY_MS;
    cs_liveness_beat(&w->liveness, busy_ms + (start_due(w) ? START_BUSY_MS : 0));
}

// --- start and end

// The clients for Kafka.
struct clients {
    struct cs_publisher *publisher;
    struct cs_topic *outcomes;
    rd_kafka_t *rk;
};

static void clients_clear(struct clients *c) {
    cs_topic_free(c->outcomes);
    cs_publisher_free(c->publisher);
    if (c->rk)
        rd_kafka_destroy(c->rk);
}
CS_DEFINE_AUTO_CLEAR(struct clients, clients_clear)

static bool make_clients(struct cs_worker *w, struct clients *ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = w->x.c->settings;
    char client_id[64];
    snprintf(client_id, sizeof client_id, "certsync-consumer-%d-out", w->index);
    struct cs_publish_kafka_options publish = {&s->kafka, client_id, s->events_topic, s->outcomes_topic,
                                               w->wake[1]};
    struct cs_topic_options outcomes = {&s->kafka, client_id, s->outcomes_topic, w->wake[1], false};
    w->tls = atomic_load(w->x.c->kafka_tls);
    return cs_publish_kafka_new(&publish, &ret->publisher, err) &&
           cs_topic_kafka_new(&outcomes, &ret->outcomes, err) && cs_group_client(&w->group, &ret->rk, err);
}

static bool use_clients(struct cs_worker *w, struct clients *c, struct cs_err *err) {
    w->x.publisher = CS_TAKE(c->publisher);
    w->x.outcomes = CS_TAKE(c->outcomes);
    w->x.rk = CS_TAKE(c->rk);
    w->env = (struct cs_flight_env){
        .apply = {.rules = {.crypto = w->x.crypto,
                            .deployment = w->x.c->settings->deployment,
                            .partition_count = w->x.c->partition_count,
                            .root = cs_key_cache_root(w->x.keys)},
                  .service = w->x.c->service,
                  .service_kid = w->x.c->service_kid,
                  .keys = w->x.keys,
                  .batch_memory = cs_settings_batch_memory(w->x.c->settings)},
        .catalog = w->x.catalog,
        .publisher = w->x.publisher,
        .outcomes = w->x.outcomes,
        .outcomes_name = w->x.c->settings->outcomes_topic,
    };
    return cs_group_join(&w->group, err);
}

// Kafka's TLS files changed. New clients are made first; then the old ones go. Work under way is
// finished if possible. Otherwise the next owner of the partition finds it in the topics, as after
// any rebalance.
static void renew_clients(struct cs_worker *w) {
    CS_AUTO(clients_clear) struct clients made = {0};
    struct cs_err err;
    if (!make_clients(w, &made, &err)) {
        cs_log_err(CS_LOG_WARN, "the clients with the changed files could not be made", &err, "worker=%d",
                   w->index);
        return;
    }
    cs_liveness_beat(&w->liveness, START_BUSY_MS);
    cs_group_leave(&w->group, false, "the connections to Kafka are made anew with the changed certificates");
    cs_topic_free(w->x.outcomes);
    cs_publisher_free(w->x.publisher);
    w->x.outcomes = NULL;
    w->x.publisher = NULL;
    if (!use_clients(w, &made, &err))
        fail(w, &err);
    cs_log(CS_LOG_INFO, "connections to Kafka are made anew with the changed files", "worker=%d", w->index);
}

static void run(struct cs_worker *w) {
    while (!w->failed) {
        bool stopping = atomic_load(&w->stopping);
        if (stopping && w->stop_deadline_ms == 0)
            w->stop_deadline_ms = now_ms(w) + w->x.c->settings->drain_timeout_ms;
        if (stopping &&
            (!w->flying || w->flight.phase <= CS_FLIGHT_COMPARING || now_ms(w) > w->stop_deadline_ms))
            return;
        beat(w);
        if (!stopping && w->tls != atomic_load(w->x.c->kafka_tls))
            renew_clients(w);
        turn(w, stopping);
    }
}

static bool make_adapters(struct cs_worker *w, struct cs_err *err) {
    CS_AUTO(clients_clear) struct clients made = {0};
    if (!cs_crypto_new(&w->x.crypto, err))
        return false;
    cs_crypto_tune(w->x.crypto, cs_clock_thread_ns);
    return cs_key_cache_new(w->x.crypto, w->x.c->root_spki, &w->x.keys, err) &&
           cs_catalog_redis_new(&w->x.c->redis, w->x.c->settings->redis_namespace, w->x.c->service,
                                cs_settings_log_id(w->x.c->settings), &w->x.catalog, err) &&
           make_clients(w, &made, err) && use_clients(w, &made, err);
}

static void end(struct cs_worker *w) {
    cs_group_leave(&w->group, true, "the process is stopping");
    cs_board_settle(w->x.c->board, w->index);
    cs_batches_clear(&w->batches);
    cs_flight_clear(&w->flight);
    cs_topic_free(w->x.outcomes);
    cs_publisher_free(w->x.publisher);
    cs_catalog_free(w->x.catalog);
    cs_key_cache_free(w->x.keys);
    cs_crypto_free(w->x.crypto);
}

static void *thread_main(void *arg) {
    struct cs_worker *w = arg;
    struct cs_err err;
    char name[16];
    snprintf(name, sizeof name, "worker-%d", w->index);
    prctl(PR_SET_NAME, name);
    if (make_adapters(w, &err))
        run(w);
    else
        fail(w, &err);
    cs_liveness_rest(&w->liveness); // the end has its own deadline
    end(w);
    atomic_store(&w->finished, true);
    w->on_end(w->on_end_arg, w->failed ? &w->failure : NULL);
    return NULL;
}

static bool open_pipe(struct cs_worker *w, struct cs_err *err) {
    if (pipe(w->wake) == 0 && fcntl(w->wake[0], F_SETFL, O_NONBLOCK) == 0 &&
        fcntl(w->wake[1], F_SETFL, O_NONBLOCK) == 0) {
        w->x.wake_fd = w->wake[1];
        return true;
    }
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "pipe: %s", strerror(errno));
}

// The main thread handles signals.
static bool start_thread(struct cs_worker *w, struct cs_err *err) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->thread_started = code == 0;
    return code == 0 || cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "starting a thread: %s", strerror(code));
}

bool cs_worker_start(const struct cs_consumer *c, const struct cs_worker_metrics *metrics, int index,
                     cs_worker_end_fn on_end, void *arg, struct cs_worker **ret, struct cs_err *err) {
    CS_AUTO(cs_worker_free) struct cs_worker *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->x = (struct cs_worker_context){.c = c, .m = metrics};
    w->group = (struct cs_group){.x = &w->x, .index = index, .on_revoke = on_revoke, .arg = w};
    w->batches.x = &w->x;
    cs_flight_init(&w->flight, &w->env);
    w->index = index;
    w->workers = cs_settings_workers(c->settings, c->partition_count);
    w->on_end = on_end;
    w->on_end_arg = arg;
    w->wake[0] = w->wake[1] = -1;
    if (!open_pipe(w, err) || !start_thread(w, err))
        return false;
    *ret = CS_TAKE(w);
    return true;
}

void cs_worker_stop(struct cs_worker *w) {
    atomic_store(&w->stopping, true);
    if (write(w->wake[1], "", 1) < 0) {
        // The pipe is full: the worker wakes all the same.
    }
}

int64_t cs_worker_overdue_ms(const struct cs_worker *w) {
    return cs_liveness_overdue_ms(&w->liveness);
}

bool cs_worker_finished(const struct cs_worker *w) {
    return atomic_load(&w->finished);
}

void cs_worker_free(struct cs_worker *w) {
    if (!w)
        return;
    if (w->thread_started) {
        cs_worker_stop(w);
        pthread_join(w->thread, NULL);
    }
    for (size_t i = 0; i < 2; i++)
        if (w->wake[i] >= 0)
            close(w->wake[i]);
    free(w);
}
