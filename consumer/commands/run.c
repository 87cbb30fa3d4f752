// SPDX-License-Identifier: Apache-2.0
//
// run: the daemon. One struct owns everything; it starts in order and ends in reverse.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api.h"
#include "api/published.h"
#include "certsync/runtime/filewatch.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/process_metrics.h"
#include "certsync/runtime/tls_expiry.h"
#include "commands/commands.h"
#include "cosign/cosigners.h"
#include "worker/board_metrics.h"
#include "worker/consumer.h"
#include "worker/heartbeats.h"
#include "worker/inspector.h"
#include "worker/keyfile.h"
#include "worker/loud.h"
#include "worker/preflight.h"
#include "worker/worker.h"

#define READY_CHECK_MS 100
#define IDLE_CHECK_MS  50
#define EXTEND_MS      30000

struct daemon {
    const struct cs_cli *cli;
    struct cs_consumer_settings *settings;
    struct cs_consumer c;
    struct cs_crypto *crypto;
    struct cs_service_keys service;
    uint8_t *root_spki;
    struct cs_worker_metrics worker_metrics;
    struct cs_board_metrics *board_metrics;
    struct cs_worker **workers;
    _Atomic size_t workers_len; // any thread asks whether they are alive
    size_t workers_ended;
    struct cs_api *api;
    struct cs_inspector *inspector;
    struct cs_cosigners *cosigners;
    struct cs_heartbeats *heartbeats;
    struct cs_process_metrics *process_metrics;
    atomic_int kafka_tls;
    struct cs_filewatch *kafka_tls_watch;
    struct cs_timer *ready_timer;
    int64_t extend_at_ms; // not before
    struct cs_timer *idle_timer;
    bool failed;
    struct cs_err failure;
};

// --- the end

static bool api_idle(const struct daemon *d) {
    return !d->api || cs_api_idle(d->api);
}

static void check_done(void *arg) {
    struct daemon *d = arg;
    if (cs_loop_draining(d->c.loop) && d->workers_ended == d->workers_len && api_idle(d))
        cs_loop_done(d->c.loop);
}

static void on_drain(void *arg) {
    struct daemon *d = arg;
    cs_log_msg(CS_LOG_INFO, "stopping");
    for (size_t i = 0; i < d->workers_len; i++)
        cs_worker_stop(d->workers[i]);
    if (d->api)
        cs_api_stop(d->api);
    d->idle_timer = cs_timer_new(d->c.loop, 0, IDLE_CHECK_MS, check_done, d);
}

struct ended { // from a worker's thread to the loop
    struct daemon *daemon;
    bool failed;
    struct cs_err err;
};

static void worker_ended(void *arg) {
    struct ended *e = arg;
    struct daemon *d = e->daemon;
    d->workers_ended++;
    if (e->failed) {
        cs_log_err(CS_LOG_ERROR, "a worker cannot go on", &e->err, "workers=%zu", d->workers_len);
        if (!d->failed)
            d->failure = e->err;
        d->failed = true;
        cs_loop_stop(d->c.loop); // a process that does only a part of its work is better restarted
    }
    free(e);
    check_done(d);
}

static void on_worker_end(void *arg, const struct cs_err *err) {
    struct daemon *d = arg;
    struct ended *e = malloc(sizeof *e);
    if (!e)
        abort(); // otherwise nobody would learn that the worker ended
    *e = (struct ended){.daemon = d, .failed = err != NULL};
    if (err)
        e->err = *err;
    if (!cs_loop_post(d->c.loop, worker_ended, e))
        free(e);
}

// --- while it runs

static void tell_state(const struct daemon *d) {
    char text[128];
    snprintf(text, sizeof text, "STATUS=Judging: %d partitions, %zu workers", (int)d->c.partition_count,
             d->workers_len);
    cs_notify(text);
}

// Whether the workers are alive. Any thread.
static bool alive(void *arg) {
    const struct daemon *d = arg;
    for (size_t i = 0; i < d->workers_len; i++) {
        int64_t overdue_ms = cs_worker_overdue_ms(d->workers[i]);
        if (overdue_ms > 0) {
            cs_log(CS_LOG_ERROR, "a worker hangs; the watchdog is not fed", "worker=%zu overdue_ms=%" PRId64,
                   i, overdue_ms);
            return false;
        }
    }
    return true;
}

static bool all_alive(void *arg) {
    const struct daemon *d = arg;
    int64_t overdue_ms = d->api ? cs_api_overdue_ms(d->api) : 0;
    if (overdue_ms > 0)
        cs_log(CS_LOG_ERROR, "a thread of the API hangs; the watchdog is not fed", "overdue_ms=%" PRId64,
               overdue_ms);
    return overdue_ms == 0 && alive(arg);
}

// systemd waits for READY only for a time. A start that makes progress asks for more.
static void extend_start(int64_t ms, const char *waits_for) {
    char text[700];
    snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%" PRId64 "\nSTATUS=Starting: %s", ms * 1000, waits_for);
    cs_notify(text);
}

static void refuse_reload(const struct cs_err *err) {
    char text[CS_ERR_MSG_MAX + 64];
    cs_log_err(CS_LOG_ERROR, "the settings were not read again: everything stays as it was", err,
               "signal=SIGHUP");
    snprintf(text, sizeof text, "STATUS=The settings were not read again: %s", err->msg);
    cs_notify(text);
}

// All or nothing. The API's certificate comes first, because only it can be refused.
static void on_reload(void *arg) {
    struct daemon *d = arg;
    struct cs_consumer_settings *s = NULL;
    struct cs_err err;
    if (!cs_consumer_settings_load(d->cli, &s, &err)) {
        refuse_reload(&err);
        return;
    }
    if (d->api && !cs_api_reload_tls(d->api, &err)) {
        refuse_reload(&err);
        cs_settings_free(&cs_consumer_settings_table, s);
        return;
    }
    const char *fixed = cs_settings_first_fixed_change(&cs_consumer_settings_table, d->settings, s);
    if (fixed)
        cs_log(CS_LOG_WARN, "a changed setting takes effect after a restart", "setting=%s", fixed);
    cs_log_set_level((enum cs_log_level)s->log_level);
    cs_settings_free(&cs_consumer_settings_table, s);
    cs_log_msg(CS_LOG_INFO, "settings read again");
    tell_state(d);
}

static void check_ready(void *arg) {
    struct daemon *d = arg;
    char why[600];
    bool ready = d->api ? cs_api_ready(d->api, why, sizeof why) : cs_board_ready(d->c.board, why, sizeof why);
    if (!ready) {
        int64_t now_ms = cs_clock_mono_ms(d->c.clock);
        if (now_ms >= d->extend_at_ms && alive(d)) {
            extend_start(EXTEND_MS, why);
            d->extend_at_ms = now_ms + EXTEND_MS / 10;
        }
        return;
    }
    cs_log(CS_LOG_INFO, "ready", "log=%s partitions=%d workers=%zu", d->c.log_id, (int)d->c.partition_count,
           d->workers_len);
    cs_notify("READY=1");
    tell_state(d);
    cs_timer_free(d->ready_timer);
    d->ready_timer = NULL;
}

// --- the files of Kafka's TLS

static void tell_expiry(struct daemon *d) {
    const char *files[CS_KAFKA_TLS_FILES];
    cs_kafka_tls_files(&d->settings->kafka, files);
    for (size_t i = 0; i < CS_KAFKA_TLS_FILES; i++)
        if (files[i][0])
            cs_tls_expiry_set(d->c.tls_expiry, files[i]); // a key has none
}

static bool on_kafka_tls(void *arg, struct cs_err *err) {
    struct daemon *d = arg;
    if (!cs_kafka_tls_usable(&d->settings->kafka, err))
        return false;
    tell_expiry(d);
    atomic_fetch_add(&d->kafka_tls, 1);
    return true;
}

// Called before the first client reads them, so that later changes are seen.
static bool watch_kafka_tls(struct daemon *d, struct cs_err *err) {
    const char *files[CS_KAFKA_TLS_FILES];
    cs_kafka_tls_files(&d->settings->kafka, files);
    struct cs_filewatch_options o = {.loop = d->c.loop,
                                     .paths = files,
                                     .path_count = CS_KAFKA_TLS_FILES,
                                     .what = "kafka.ssl_ca, kafka.ssl_certificate, kafka.ssl_key",
                                     .on_change = on_kafka_tls,
                                     .arg = d};
    d->c.kafka_tls = &d->kafka_tls;
    tell_expiry(d);
    return (!files[0][0] && !files[1][0]) || cs_filewatch_new(&o, &d->kafka_tls_watch, err);
}

// --- the start

static bool make_metrics(struct daemon *d, struct cs_err *err) {
    d->c.metrics = cs_metrics_new();
    if (!d->c.metrics)
        return cs_err_oom(err);
    d->c.tls_expiry = cs_tls_expiry_metric(d->c.metrics);
    cs_worker_metrics_init(&d->worker_metrics, d->c.metrics);
    if (!cs_loud_new(d->c.metrics, &d->worker_metrics.loud, err))
        return false;
    if (!cs_process_metrics_new(d->c.metrics, "certsync-consumer", &d->process_metrics, err))
        return false;
    return cs_board_metrics_new(d->c.metrics, d->c.board, d->c.clock, &d->board_metrics, err);
}

static bool read_keys(struct daemon *d, struct cs_err *err) {
    size_t root_len = 0;
    if (!cs_crypto_new(&d->crypto, err) || !cs_service_keys_read(d->crypto, d->settings, &d->service, err) ||
        !cs_keyfile_spki(d->crypto, d->settings->root_key, &d->root_spki, &root_len, err))
        return false;
    cs_privkey_kid(d->crypto, d->service.own, d->c.service_kid);
    d->c.service = d->service.own;
    d->c.service_keys = &d->service;
    d->c.root_spki = (struct cs_bytes){d->root_spki, root_len};
    return true;
}

// Whoever judges must know them before the first outcome.
static bool read_corrections(struct daemon *d, struct cs_err *err) {
    const struct cs_consumer_settings *s = d->settings;
    const struct cs_corrections_of of = {d->c.log_id, d->c.root_spki, d->c.partition_count};
    struct cs_topic_options options = {&s->kafka, "certsync-consumer-corrections", s->corrections_topic, -1,
                                       .headers = true};
    CS_AUTO(cs_topic_free) struct cs_topic *topic = NULL;
    return cs_corrections_new(&of, &d->c.corrections, err) && cs_topic_kafka_new(&options, &topic, err) &&
           cs_corrections_read(d->c.corrections, topic, s->preflight_timeout_ms, err);
}

static bool make_shared(struct daemon *d, struct cs_err *err) {
    struct cs_preflight found;
    struct cs_loop_hooks hooks = {.on_drain = on_drain,
                                  .on_reload = on_reload,
                                  .is_healthy = all_alive,
                                  .arg = d,
                                  .drain_timeout_ms = d->settings->drain_timeout_ms + 5000};
    d->c.settings = d->settings;
    d->c.clock = cs_clock_real();
    d->c.alive = alive;
    d->c.alive_arg = d;
    extend_start(d->settings->preflight_timeout_ms + EXTEND_MS, "brokers and Redis are asked");
    if (!cs_settings_raise_files(d->settings, err) || !read_keys(d, err) ||
        !cs_settings_redis(d->settings, &d->c.redis, err) ||
        !cs_preflight(d->settings, d->c.root_spki, &found, err))
        return false;
    d->c.partition_count = found.partition_count;
    memcpy(d->c.log_id, found.log_id, sizeof found.log_id);
    return read_corrections(d, err) && cs_board_new(d->c.partition_count, &d->c.board, err) &&
           make_metrics(d, err) && cs_loop_new(&hooks, &d->c.loop, err);
}

static bool start_api(struct daemon *d, struct cs_err *err) {
    const struct cs_consumer_settings *s = d->settings;
    const struct cs_published_options published = {.kafka = &s->kafka,
                                                   .outcomes_topic = s->outcomes_topic,
                                                   .checkpoints_topic = s->checkpoints_topic,
                                                   .corrections = d->c.corrections,
                                                   .service = &d->service,
                                                   .log_id = d->c.log_id,
                                                   .partition_count = d->c.partition_count,
                                                   .files = d->c.kafka_tls};
    return !s->api_listen[0] ||
           (cs_published_kafka_new(&published, &d->c.published, err) &&
            cs_published_kafka_new(&published, &d->c.past, err) && cs_api_new(&d->c, &d->api, err));
}

static bool start_workers(struct daemon *d, struct cs_err *err) {
    int n = cs_settings_workers(d->settings, d->c.partition_count);
    d->workers = calloc((size_t)n, sizeof *d->workers);
    if (!d->workers)
        return cs_err_oom(err);
    cs_board_expect_workers(d->c.board, n);
    for (int i = 0; i < (int)n; i++) {
        if (!cs_worker_start(&d->c, &d->worker_metrics, i, on_worker_end, d, &d->workers[i], err))
            return false;
        d->workers_len++;
    }
    return true;
}

static bool start(struct daemon *d, struct cs_err *err) {
    if (!make_shared(d, err) || !watch_kafka_tls(d, err) || !start_api(d, err) || !start_workers(d, err) ||
        !cs_inspector_start(&d->c, &d->inspector, err) || !cs_cosigners_start(&d->c, &d->cosigners, err) ||
        !cs_heartbeats_start(&d->c, &d->heartbeats, err))
        return false;
    d->ready_timer = cs_timer_new(d->c.loop, 0, READY_CHECK_MS, check_ready, d);
    return d->ready_timer || cs_err_oom(err);
}

// Also after a start that failed half-way.
static void end(struct daemon *d) {
    cs_timer_free(d->ready_timer);
    cs_timer_free(d->idle_timer);
    for (size_t i = 0; i < d->workers_len; i++)
        cs_worker_stop(d->workers[i]);
    cs_api_free(d->api); // its threads ask whether workers are alive
    for (size_t i = 0; i < d->workers_len; i++)
        cs_worker_free(d->workers[i]);
    free(d->workers);
    cs_heartbeats_free(d->heartbeats);
    cs_inspector_free(d->inspector);
    cs_cosigners_free(d->cosigners);
    cs_published_free(d->c.published);
    cs_published_free(d->c.past);
    cs_filewatch_free(d->kafka_tls_watch);
    cs_loop_free(d->c.loop);
    cs_board_metrics_free(d->board_metrics);
    cs_process_metrics_free(d->process_metrics);
    cs_loud_free(d->worker_metrics.loud);
    cs_board_free(d->c.board);
    cs_corrections_free(d->c.corrections);
    cs_metrics_free(d->c.metrics);
    free(d->root_spki);
    cs_service_keys_clear(&d->service);
    cs_crypto_free(d->crypto);
    cs_settings_free(&cs_consumer_settings_table, d->settings);
}

static int run_run(const struct cs_cli *cli) {
    struct daemon d = {.cli = cli};
    struct cs_err err;
    if (!cs_consumer_settings_load(cli, &d.settings, &err))
        return cs_consumer_failure(cli, &err);
    cs_log_set_level((enum cs_log_level)d.settings->log_level);
    cs_log_hook_libevent();
    cs_consumer_keep_memory();
    int code = CS_EXIT_OK;
    if (!start(&d, &err)) {
        // At the next start Kafka or Redis may be back. Settings do not change by themselves.
        cs_consumer_failure(cli, &err);
        code = cs_consumer_exit_code(&err);
    } else {
        enum cs_loop_end how = cs_loop_run(d.c.loop);
        if (d.failed)
            code = cs_consumer_exit_code(&d.failure);
        else if (how != CS_LOOP_DRAINED)
            code = CS_EXIT_FAILED;
    }
    end(&d);
    return code;
}

const struct cs_command cs_cmd_run = {
    .name = "run",
    .summary = "Judge events and serve the catalogs (the default)",
    .description =
        "Runs until SIGTERM: the first finishes what is published already and ends, the second "
        "ends at once. SIGHUP reads "
        "log.level again. The API's certificate and key are taken up by themselves when they change.",
    .run = run_run,
};
