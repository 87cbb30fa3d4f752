// SPDX-License-Identifier: Apache-2.0
//
// The worker's thread and its clients: start, turns, end.
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "certsync/runtime/liveness.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "worker/turn.h"

struct cs_worker {
    struct cs_turn turn;
    int index;
    pthread_t thread;
    bool thread_started;
    atomic_bool stopping; // any thread
    atomic_bool finished; // any thread
    struct cs_liveness liveness;
    cs_worker_end_fn on_end;
    void *on_end_arg;
    int wake[2]; // pipe: [1] is written to by librdkafka and by cs_worker_stop
    int tls;     // *c->kafka_tls when the clients were made
    int64_t stop_deadline_ms;
};

// The clients for Kafka.
struct clients {
    struct cs_publisher *publisher;
    struct cs_topic *outcomes;
    struct cs_topic *checkpoints; // by the client of the outcomes
    rd_kafka_t *rk;
};

static void clients_clear(struct clients *c) {
    cs_topic_free(c->checkpoints);
    cs_topic_free(c->outcomes);
    cs_publisher_free(c->publisher);
    if (c->rk)
        rd_kafka_destroy(c->rk);
}
CS_DEFINE_AUTO_CLEAR(struct clients, clients_clear)

static bool make_clients(struct cs_worker *w, struct clients *ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = w->turn.x.c->settings;
    char client_id[64];
    snprintf(client_id, sizeof client_id, "certsync-consumer-%d-out", w->index);
    struct cs_publish_kafka_options publish = {
        &s->kafka, client_id, s->events_topic, s->outcomes_topic, s->checkpoints_topic, w->wake[1]};
    struct cs_topic_options outcomes = {&s->kafka, client_id, s->outcomes_topic, w->wake[1], true};
    w->tls = atomic_load(w->turn.x.c->kafka_tls);
    return cs_publish_kafka_new(&publish, &ret->publisher, err) &&
           cs_topic_kafka_new(&outcomes, &ret->outcomes, err) &&
           cs_topic_kafka_beside(ret->outcomes, s->checkpoints_topic, &ret->checkpoints, err) &&
           cs_group_client(&w->turn.group, &ret->rk, err);
}

static bool use_clients(struct cs_worker *w, struct clients *c, struct cs_err *err) {
    w->turn.x.publisher = CS_TAKE(c->publisher);
    w->turn.x.outcomes = CS_TAKE(c->outcomes);
    w->turn.x.checkpoints = CS_TAKE(c->checkpoints);
    w->turn.x.rk = CS_TAKE(c->rk);
    w->turn.env = (struct cs_flight_env){
        .apply = {.rules = {.crypto = w->turn.x.crypto,
                            .log_id = w->turn.x.c->log_id,
                            .partition_count = w->turn.x.c->partition_count,
                            .root = cs_key_cache_root(w->turn.x.keys)},
                  .service = w->turn.x.c->service,
                  .service_kid = w->turn.x.c->service_kid,
                  .keys = w->turn.x.keys,
                  .batch_memory = cs_settings_batch_memory(w->turn.x.c->settings),
                  .checkpoints_name = w->turn.x.c->settings->checkpoints_topic},
        .catalog = w->turn.x.catalog,
        .publisher = w->turn.x.publisher,
        .outcomes = w->turn.x.outcomes,
        .marks = w->turn.x.marks,
        .outcomes_name = w->turn.x.c->settings->outcomes_topic,
    };
    return cs_group_join(&w->turn.group, err);
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
    cs_liveness_beat(&w->liveness, CS_TURN_START_BUSY_MS);
    cs_group_leave(&w->turn.group, false,
                   "the connections to Kafka are made anew with the changed certificates");
    cs_topic_free(w->turn.x.checkpoints);
    cs_topic_free(w->turn.x.outcomes);
    cs_publisher_free(w->turn.x.publisher);
    w->turn.x.checkpoints = NULL;
    w->turn.x.outcomes = NULL;
    w->turn.x.publisher = NULL;
    if (!use_clients(w, &made, &err))
        cs_turn_fail(&w->turn, &err);
    cs_log(CS_LOG_INFO, "connections to Kafka are made anew with the changed files", "worker=%d", w->index);
}

static void run(struct cs_worker *w) {
    while (!w->turn.failed) {
        bool stopping = atomic_load(&w->stopping);
        int64_t now_ms = cs_worker_now_ms(&w->turn.x);
        if (stopping && w->stop_deadline_ms == 0)
            w->stop_deadline_ms = now_ms + w->turn.x.c->settings->drain_timeout_ms;
        if (stopping && (!cs_turn_publishes(&w->turn) || now_ms > w->stop_deadline_ms))
            return;
        cs_liveness_beat(&w->liveness, cs_turn_busy_ms(&w->turn));
        if (!stopping && w->tls != atomic_load(w->turn.x.c->kafka_tls))
            renew_clients(w);
        cs_turn(&w->turn, stopping);
    }
}

static bool make_adapters(struct cs_worker *w, struct cs_err *err) {
    CS_AUTO(clients_clear) struct clients made = {0};
    if (!cs_crypto_new(&w->turn.x.crypto, err))
        return false;
    cs_crypto_tune(w->turn.x.crypto, cs_clock_thread_ns);
    return cs_checkpoint_signer(w->turn.x.crypto, w->turn.x.c->service, w->turn.x.c->log_id,
                                &w->turn.x.signer, err) &&
           cs_outcome_marks_new(w->turn.x.crypto, w->turn.x.c->service_keys, w->turn.x.c->log_id,
                                &w->turn.x.marks, err) &&
           cs_key_cache_new(w->turn.x.crypto, w->turn.x.c->root_spki, &w->turn.x.keys, err) &&
           cs_catalog_redis_new(&w->turn.x.c->redis, w->turn.x.c->settings->redis_namespace,
                                w->turn.x.c->service, w->turn.x.c->log_id, &w->turn.x.catalog, err) &&
           make_clients(w, &made, err) && use_clients(w, &made, err);
}

static void end(struct cs_worker *w) {
    cs_group_leave(&w->turn.group, true, "the process is stopping");
    cs_board_settle(w->turn.x.c->board, w->index);
    cs_batches_clear(&w->turn.batches);
    cs_flight_clear(&w->turn.flight);
    cs_topic_free(w->turn.x.checkpoints);
    cs_topic_free(w->turn.x.outcomes);
    cs_publisher_free(w->turn.x.publisher);
    cs_note_signer_free(w->turn.x.signer);
    cs_outcome_marks_free(w->turn.x.marks);
    cs_catalog_free(w->turn.x.catalog);
    cs_key_cache_free(w->turn.x.keys);
    cs_crypto_free(w->turn.x.crypto);
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
        cs_turn_fail(&w->turn, &err);
    cs_liveness_rest(&w->liveness); // the end has its own deadline
    end(w);
    atomic_store(&w->finished, true);
    w->on_end(w->on_end_arg, w->turn.failed ? &w->turn.failure : NULL);
    return NULL;
}

static bool open_pipe(struct cs_worker *w, struct cs_err *err) {
    if (pipe(w->wake) == 0 && fcntl(w->wake[0], F_SETFL, O_NONBLOCK) == 0 &&
        fcntl(w->wake[1], F_SETFL, O_NONBLOCK) == 0) {
        w->turn.x.wake_fd = w->wake[1];
        w->turn.woken_fd = w->wake[0];
        return true;
    }
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "pipe: %s", strerror(errno));
}

bool cs_worker_start(const struct cs_consumer *c, const struct cs_worker_metrics *metrics, int index,
                     cs_worker_end_fn on_end, void *arg, struct cs_worker **ret, struct cs_err *err) {
    CS_AUTO(cs_worker_free) struct cs_worker *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->turn.x =
        (struct cs_worker_context){.c = c, .m = metrics, .liveness = &w->liveness, .stopping = &w->stopping};
    w->turn.group =
        (struct cs_group){.x = &w->turn.x, .index = index, .on_revoke = cs_turn_revoked, .arg = &w->turn};
    w->turn.batches.x = &w->turn.x;
    cs_flight_init(&w->turn.flight, &w->turn.env);
    w->index = index;
    w->turn.workers = cs_settings_workers(c->settings, c->partition_count);
    w->on_end = on_end;
    w->on_end_arg = arg;
    w->turn.stopping = &w->stopping;
    w->wake[0] = w->wake[1] = -1;
    w->thread_started = open_pipe(w, err) && cs_thread_new(&w->thread, thread_main, w, err);
    if (!w->thread_started)
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
