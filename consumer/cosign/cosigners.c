// SPDX-License-Identifier: Apache-2.0
#include "cosign/cosigners.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "certsync/runtime/wakeup.h"
#include "cosign/standing.h"
#include "worker/publish.h"

#define TICK_MS        500
#define PAUSE_AT_MOST  16 // times checkpoint.witness_every
#define SLOW_MS        1000
#define ACKNOWLEDGE_MS 10000
#define LOOK_MS        20
#define CLIENT         "certsync-consumer-witnesses"

struct slot { // a witness and a partition
    struct cs_standing standing;
    int64_t due_ms, pause_ms;
    int64_t since_s;     // when this process got the partition
    int64_t published_s; // time of the newest cosignature that is published; 0: none
    bool fresh;          // cosigned, and not published yet
    bool failing;        // what is told last; then:
    bool own;            // it was our own log that could not be read
    enum cs_cosign_result told;
};

struct one { // witness
    struct cs_cosigner *w;
    int64_t retry_ms, pause_ms; // while it is away, no partition's is asked for
    bool away;                  // that was told
    struct cs_series *results[CS_COSIGN_RESULTS];
    struct cs_series *forks, *age;
    _Atomic int64_t oldest_s; // of all partitions' published cosignatures; 0: there are none to be had
};

struct cs_cosigners {
    const struct cs_consumer *c;
    pthread_t thread;
    bool started;
    struct cs_wakeup wakeup;
    atomic_bool stopping; // besides, for a question that is under way
    struct cs_crypto *crypto;
    struct cs_note_signer *signer;
    struct cs_outcome_marks *marks;
    int tls; // *c->kafka_tls when the clients were made
    struct cs_topic *outcomes, *checkpoints;
    struct cs_publisher *publisher;
    struct one all[CS_WITNESSES_MAX];
    size_t len;
    bool *held;               // by partition
    struct cs_epochs *epochs; // the corrections with which each was taken
    struct slot *slots;       // len for each partition
};

static int64_t now_ms(const struct cs_cosigners *x) {
    return cs_clock_mono_ms(x->c->clock);
}

static int64_t now_s(const struct cs_cosigners *x) {
    return cs_clock_wall_ms(x->c->clock) / 1000;
}

static int64_t next_pause(const struct cs_cosigners *x, int64_t pause_ms) {
    int64_t every_ms = x->c->settings->witness_every_ms;
    if (pause_ms == 0)
        return every_ms;
    return pause_ms * 2 < every_ms * PAUSE_AT_MOST ? pause_ms * 2 : every_ms * PAUSE_AT_MOST;
}

// --- clients of Kafka

static bool open_clients(struct cs_cosigners *x, struct cs_err *err) {
    const struct cs_consumer_settings *s = x->c->settings;
    CS_AUTO(cs_topic_free) struct cs_topic *outcomes = NULL;
    CS_AUTO(cs_topic_free) struct cs_topic *checkpoints = NULL; // freed first: it borrows
    struct cs_topic_options options = {&s->kafka, CLIENT, s->outcomes_topic, -1, true};
    struct cs_publish_kafka_options publish = {
        &s->kafka, CLIENT, s->events_topic, s->outcomes_topic, s->checkpoints_topic, -1};
    struct cs_publisher *publisher = NULL;
    int tls = atomic_load(x->c->kafka_tls);
    if (!cs_topic_kafka_new(&options, &outcomes, err) ||
        !cs_topic_kafka_beside(outcomes, s->checkpoints_topic, &checkpoints, err) ||
        !cs_publish_kafka_new(&publish, &publisher, err))
        return false;
    cs_topic_free(x->checkpoints);
    cs_topic_free(x->outcomes);
    cs_publisher_free(x->publisher);
    x->outcomes = CS_TAKE(outcomes);
    x->checkpoints = CS_TAKE(checkpoints);
    x->publisher = publisher;
    x->tls = tls;
    return true;
}

static void renew_clients(struct cs_cosigners *x) {
    struct cs_err err;
    if (x->tls != atomic_load(x->c->kafka_tls) && !open_clients(x, &err))
        cs_log_err(CS_LOG_WARN, "the client with the changed files could not be made", &err, "client=%s",
                   CLIENT);
}

// --- what came of a question

static void log_failure(const struct cs_cosigners *x, const struct one *o, const struct slot *s,
                        const struct cs_err *err) {
    bool fork = !s->own && s->told == CS_COSIGN_FORK;
    cs_log_err(fork ? CS_LOG_ERROR : CS_LOG_WARN,
               s->own ? "what a witness needs could not be read"
               : fork ? "a fork: a witness has cosigned another past of this log than the one that is here"
                      : "a witness does not cosign",
               err, "witness=%s partition=%d url=%s", cs_cosigner_name(o->w),
               (int)s->standing.place.chain.partition,
               cs_settings_witness(x->c->settings, (size_t)(o - x->all))->url);
}

static void failed(struct cs_cosigners *x, struct one *o, struct slot *s, bool own,
                   enum cs_cosign_result result, const struct cs_err *err) {
    bool told = s->failing && s->own == own && (own || s->told == result);
    s->failing = true;
    s->own = own;
    s->told = result;
    s->pause_ms = next_pause(x, s->pause_ms);
    s->due_ms = now_ms(x) + s->pause_ms;
    if (!told)
        log_failure(x, o, s, err);
}

static void is_away(struct cs_cosigners *x, struct one *o, const struct cs_err *err) {
    o->pause_ms = next_pause(x, o->pause_ms);
    o->retry_ms = now_ms(x) + o->pause_ms;
    if (!o->away && !atomic_load(&x->stopping))
        cs_log_err(CS_LOG_WARN, "a witness is away; nothing waits for it", err, "witness=%s url=%s",
                   cs_cosigner_name(o->w), cs_settings_witness(x->c->settings, (size_t)(o - x->all))->url);
    o->away = true;
}

static void answered(struct cs_cosigners *x, struct one *o, struct slot *s,
                     const struct cs_cosign_answer *answer) {
    cs_series_inc(o->results[answer->result]);
    if (answer->result == CS_COSIGN_AWAY) {
        is_away(x, o, &answer->err);
        return;
    }
    if (o->away)
        cs_log(CS_LOG_INFO, "a witness answers again", "witness=%s", cs_cosigner_name(o->w));
    o->away = false;
    o->pause_ms = 0;
    if (answer->result != CS_COSIGN_COSIGNED && answer->result != CS_COSIGN_OTHER_SIZE) {
        failed(x, o, s, false, answer->result, &answer->err);
        return;
    }
    s->due_ms = now_ms(x) + x->c->settings->witness_every_ms;
    s->pause_ms = 0;
    if (answer->result == CS_COSIGN_OTHER_SIZE) // another consumer has the partition, and leads it on
        return;
    s->fresh = true;
    if (s->failing)
        cs_log(CS_LOG_INFO, "a witness cosigns again", "witness=%s partition=%d", cs_cosigner_name(o->w),
               (int)s->standing.place.chain.partition);
    s->failing = false;
}

static void ask(struct cs_cosigners *x, struct one *o, struct slot *s, const struct slot *first,
                const struct cs_checkpoint *at, struct cs_bytes note) {
    const struct cs_standing_env env = {
        x->crypto,    x->marks,       x->epochs[s->standing.place.chain.partition],
        x->outcomes,  x->checkpoints, cs_note_signer_key(x->signer),
        x->c->log_id, &x->stopping};
    const struct cs_standing *others[CS_WITNESSES_MAX];
    struct cs_cosign_answer answer = {0};
    struct cs_err err;
    int64_t began_ms = now_ms(x);
    for (size_t i = 0; i < x->len; i++)
        others[i] = &first[i].standing;
    if (!cs_standing_ask(&env, o->w, &s->standing, others, x->len, at, note, now_s(x), &answer, &err)) {
        if (!atomic_load(&x->stopping))
            failed(x, o, s, true, answer.result, &err);
        return;
    }
    answered(x, o, s, &answer);
    // One that takes its time gets no more than half of ours.
    int64_t took_ms = now_ms(x) - began_ms;
    if (took_ms > SLOW_MS && answer.result != CS_COSIGN_AWAY)
        o->retry_ms = now_ms(x) + took_ms;
}

// --- publishing

static bool wait_acknowledged(struct cs_cosigners *x, struct cs_err *err) {
    int64_t deadline_ms = now_ms(x) + ACKNOWLEDGE_MS;
    size_t missing = 1;
    while (now_ms(x) < deadline_ms && !atomic_load(&x->stopping)) {
        if (!x->publisher->ops->pending(x->publisher, &missing, err))
            return false;
        if (missing == 0)
            return true;
        poll(NULL, 0, LOOK_MS);
    }
    x->publisher->ops->abandon(x->publisher);
    return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the brokers do not acknowledge it");
}

// Under the key of each witness that has just cosigned it; with the lines of all.
static bool send_cosigned(struct cs_cosigners *x, int32_t partition, struct slot *first, struct cs_bytes note,
                          struct cs_err *err) {
    char key[32 + CS_NOTE_NAME_MAX];
    for (size_t i = 0; i < x->len; i++) {
        if (!first[i].fresh)
            continue;
        int len = snprintf(key, sizeof key, "%" PRId32 "/witness/%s", partition,
                           cs_cosigner_key(x->all[i].w)->name);
        struct cs_publish_message m = {.topic = CS_PUBLISH_CHECKPOINTS,
                                       .partition = partition,
                                       .key = {(const uint8_t *)key, (size_t)len},
                                       .value = note};
        if (!x->publisher->ops->send(x->publisher, &m, err))
            return false;
    }
    return wait_acknowledged(x, err);
}

static void publish(struct cs_cosigners *x, int32_t partition, struct slot *first,
                    const struct cs_checkpoint *at, struct cs_buf *note) {
    struct cs_err err;
    bool some = false;
    for (size_t i = 0; i < x->len; i++) {
        some |= first[i].fresh;
        if (cs_standing_cosigned(&first[i].standing, at))
            cs_buf_puts(note, first[i].standing.line);
    }
    if (!some)
        return;
    bool ok = cs_board_may_publish(x->c->board, &err) && cs_buf_ok(note, &err) &&
              send_cosigned(x, partition, first, cs_buf_bytes(note), &err);
    if (!ok && !atomic_load(&x->stopping))
        cs_log_err(CS_LOG_WARN, "a cosigned checkpoint could not be published; this is tried again", &err,
                   "topic=%s partition=%d", x->c->settings->checkpoints_topic, (int)partition);
    for (size_t i = 0; i < x->len; i++) {
        if (ok && first[i].fresh)
            first[i].published_s = first[i].standing.time_s;
        first[i].fresh = false;
    }
}

// --- rounds

static bool is_due(const struct cs_cosigners *x, const struct slot *first, size_t i) {
    return now_ms(x) >= x->all[i].retry_ms && now_ms(x) >= first[i].due_ms;
}

static void go_round(struct cs_cosigners *x, int32_t partition, struct slot *first,
                     const struct cs_board_entry *e) {
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    struct cs_checkpoint at = {.size = e->checkpointed};
    struct cs_err err;
    bool some = false;
    for (size_t i = 0; i < x->len; i++)
        some |= is_due(x, first, i);
    if (!some)
        return;
    cs_checkpoint_origin(x->c->log_id, partition, e->checkpoint_epoch, at.origin);
    memcpy(at.root.sha256, e->checkpoint_root, sizeof at.root.sha256);
    cs_buf_init(&note, CS_NOTE_MAX);
    if (!cs_checkpoint_sign(x->crypto, x->signer, &at, &note, &err)) {
        cs_log_err(CS_LOG_ERROR, "a checkpoint could not be signed", &err, "partition=%d", (int)partition);
        return;
    }
    for (size_t i = 0; i < x->len && !atomic_load(&x->stopping); i++)
        if (is_due(x, first, i))
            ask(x, &x->all[i], &first[i], first, &at, cs_buf_bytes(&note));
    publish(x, partition, first, &at, &note);
}

static void take_partition(struct cs_cosigners *x, int32_t partition, struct slot *first,
                           const struct cs_epochs *epochs) {
    x->held[partition] = true;
    x->epochs[partition] = *epochs;
    for (size_t i = 0; i < x->len; i++) {
        first[i] = (struct slot){.since_s = now_s(x)};
        cs_standing_begin(&first[i].standing, x->marks, epochs, partition);
    }
}

static void look(struct cs_cosigners *x) {
    for (int32_t p = 0; p < x->c->partition_count && !atomic_load(&x->stopping); p++) {
        struct slot *first = &x->slots[(size_t)p * x->len];
        struct cs_board_entry e;
        cs_board_get(x->c->board, p, &e);
        if (e.state == CS_BOARD_ELSEWHERE)
            x->held[p] = false;
        if (e.state != CS_BOARD_RUNNING || e.checkpointed <= 0)
            continue;
        const struct cs_epochs epochs = cs_corrections_now(x->c->corrections);
        int64_t epoch = cs_epoch_last(&epochs, p);
        if (epoch != e.checkpoint_epoch) // its worker does not know of the last correction yet
            continue;
        if (!x->held[p] || cs_epoch_last(&x->epochs[p], p) != epoch)
            take_partition(x, p, first, &epochs);
        go_round(x, p, first, &e);
    }
}

// --- metrics

static void note_state(struct cs_cosigners *x) {
    for (size_t i = 0; i < x->len; i++) {
        int64_t oldest_s = 0;
        int forks = 0;
        for (int32_t p = 0; p < x->c->partition_count; p++) {
            const struct slot *s = &x->slots[(size_t)p * x->len + i];
            int64_t at_s = s->published_s ? s->published_s : s->since_s;
            if (!x->held[p])
                continue;
            forks += s->failing && !s->own && s->told == CS_COSIGN_FORK;
            if (oldest_s == 0 || at_s < oldest_s)
                oldest_s = at_s;
        }
        atomic_store(&x->all[i].oldest_s, oldest_s);
        cs_series_set(x->all[i].forks, forks);
    }
}

// In the renderer's thread: the age grows also where this thread hangs.
static void on_render(void *arg) {
    struct cs_cosigners *x = arg;
    for (size_t i = 0; i < x->len; i++) {
        int64_t oldest_s = atomic_load(&x->all[i].oldest_s);
        if (oldest_s > 0)
            cs_series_set(x->all[i].age, (double)(now_s(x) - oldest_s));
        else
            cs_series_hide(x->all[i].age);
    }
}

static void make_metrics(struct cs_cosigners *x) {
    static const char *const by_result[] = {"witness", "result", NULL};
    static const char *const by_witness[] = {"witness", NULL};
    struct cs_metrics *m = x->c->metrics;
    struct cs_metric *asked = cs_metrics_counter(
        m, "certsync_witness_requests_total",
        "How often a witness was asked to cosign a checkpoint, by what came of it", by_result);
    struct cs_metric *forks = cs_metrics_gauge(
        m, "certsync_witness_forks", "Partitions of which a witness has cosigned another past", by_witness);
    struct cs_metric *age = cs_metrics_gauge(
        m, "certsync_witness_oldest_cosignature_seconds",
        "Time since the oldest of the newest cosignatures of all partitions of this process", by_witness);
    for (size_t i = 0; i < x->len; i++) {
        const char *name = cs_cosigner_name(x->all[i].w);
        for (int r = 0; r < CS_COSIGN_RESULTS; r++)
            x->all[i].results[r] = cs_metric_2(asked, name, cs_cosign_result_name((enum cs_cosign_result)r));
        x->all[i].forks = cs_metric_1(forks, name);
        x->all[i].age = cs_metric_1(age, name);
    }
}

// --- the thread

static void *thread_main(void *arg) {
    struct cs_cosigners *x = arg;
    prctl(PR_SET_NAME, "witnesses");
    do {
        renew_clients(x);
        look(x);
        note_state(x);
    } while (cs_wakeup_wait(&x->wakeup, TICK_MS, false));
    return NULL;
}

static bool open_witnesses(struct cs_cosigners *x, struct cs_err *err) {
    const struct cs_consumer_settings *s = x->c->settings;
    size_t partitions = (size_t)x->c->partition_count;
    if (!cs_crypto_new(&x->crypto, err) ||
        !cs_checkpoint_signer(x->crypto, x->c->service, x->c->log_id, &x->signer, err) ||
        !cs_outcome_marks_new(x->crypto, x->c->service_keys, x->c->log_id, &x->marks, err))
        return false;
    for (; x->len < s->witnesses.count; x->len++)
        if (!cs_cosigner_new(x->crypto, cs_settings_witness(s, x->len), s->witness_timeout_ms, &x->stopping,
                             &x->all[x->len].w, err))
            return false;
    x->held = calloc(partitions, sizeof *x->held);
    x->epochs = calloc(partitions, sizeof *x->epochs);
    x->slots = calloc(partitions * x->len, sizeof *x->slots);
    return (x->held && x->epochs && x->slots) || cs_err_oom(err);
}

bool cs_cosigners_start(const struct cs_consumer *c, struct cs_cosigners **ret, struct cs_err *err) {
    *ret = NULL;
    if (c->settings->witnesses.count == 0)
        return true;
    struct cs_cosigners *made = calloc(1, sizeof *made);
    if (!made)
        return cs_err_oom(err);
    made->c = c;
    cs_wakeup_init(&made->wakeup);
    CS_AUTO(cs_cosigners_free) struct cs_cosigners *x = made;
    if (!open_witnesses(x, err) || !open_clients(x, err))
        return false;
    make_metrics(x);
    x->started = cs_thread_new(&x->thread, thread_main, x, err);
    if (!x->started)
        return false;
    cs_metrics_on_render(c->metrics, on_render, x); // after all that can fail: the API may render already
    *ret = CS_TAKE(x);
    return true;
}

void cs_cosigners_free(struct cs_cosigners *x) {
    if (!x)
        return;
    if (x->started) {
        atomic_store(&x->stopping, true);
        cs_wakeup_stop(&x->wakeup);
        pthread_join(x->thread, NULL);
    }
    cs_topic_free(x->checkpoints);
    cs_topic_free(x->outcomes);
    cs_publisher_free(x->publisher);
    for (size_t i = 0; i < x->len; i++)
        cs_cosigner_free(x->all[i].w);
    cs_note_signer_free(x->signer);
    cs_outcome_marks_free(x->marks);
    cs_crypto_free(x->crypto);
    cs_wakeup_destroy(&x->wakeup);
    free(x->held);
    free(x->epochs);
    free(x->slots);
    free(x);
}
