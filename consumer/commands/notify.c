// SPDX-License-Identifier: Apache-2.0
//
// notify: the process that tells people and programs what happens. Beside run, and as many as wanted:
// the sections of the settings are shared among them.
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/filewatch.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/tls_expiry.h"
#include "commands/commands.h"
#include "notify/notify.h"
#include "worker/preflight.h"

#define LOOK_MS   500
#define EXTEND_MS 30000
#define DRAIN_MS  20000

struct notifier {
    const struct cs_cli *cli;
    struct cs_consumer_settings *settings;
    struct cs_redis_access redis;
    struct cs_crypto *crypto;
    struct cs_service_keys service;
    uint8_t *root_spki;
    size_t root_spki_len;
    struct cs_preflight found;
    struct cs_metrics *metrics;
    struct cs_loop *loop;
    atomic_int kafka_tls;
    struct cs_filewatch *kafka_tls_watch;
    struct cs_notify *notify;
    struct cs_timer *timer;
    bool ready; // was told
    char told[600];
};

static void on_drain(void *arg) {
    struct notifier *n = arg;
    cs_log_msg(CS_LOG_INFO, "stopping");
    cs_notify_stop(n->notify); // what is under way is broken off: it comes again
    cs_loop_done(n->loop);
}

static bool healthy(void *arg) {
    const struct notifier *n = arg;
    return cs_notify_alive(n->notify);
}

static void on_reload(void *arg) {
    const struct notifier *n = arg;
    struct cs_consumer_settings *s = NULL;
    struct cs_err err;
    if (!cs_consumer_settings_load(n->cli, &s, &err)) {
        cs_log_err(CS_LOG_ERROR, "the settings were not read again: everything stays as it was", &err,
                   "signal=SIGHUP");
        return;
    }
    const char *fixed = cs_settings_first_fixed_change(&cs_consumer_settings_table, n->settings, s);
    if (fixed)
        cs_log(CS_LOG_WARN, "a changed setting takes effect after a restart", "setting=%s", fixed);
    cs_log_set_level((enum cs_log_level)s->log_level);
    cs_settings_free(&cs_consumer_settings_table, s);
    cs_log_msg(CS_LOG_INFO, "settings read again");
}

// READY once each section is served, and the state for people.
static void look(void *arg) {
    struct notifier *n = arg;
    char why[600], text[700];
    bool ready = cs_notify_ready(n->notify, why, sizeof why);
    if (ready && !n->ready) {
        cs_log(CS_LOG_INFO, "ready", "log=%s partitions=%d notices=%zu", n->found.log_id,
               (int)n->found.partition_count, n->settings->notices.count);
        cs_notify("READY=1");
        n->ready = true;
    }
    if (ready)
        cs_notify_summary(n->notify, why, sizeof why);
    if (strcmp(why, n->told) == 0)
        return;
    memcpy(n->told, why, sizeof why);
    for (char *c = why; *c; c++) // a line ends a word for systemd
        if (*c == '\n')
            *c = ' ';
    snprintf(text, sizeof text, "STATUS=%s", why);
    cs_notify(text);
}

static bool on_kafka_tls(void *arg, struct cs_err *err) {
    struct notifier *n = arg;
    if (!cs_kafka_tls_usable(&n->settings->kafka, err))
        return false;
    atomic_fetch_add(&n->kafka_tls, 1);
    return true;
}

static bool watch_kafka_tls(struct notifier *n, struct cs_err *err) {
    const char *files[CS_KAFKA_TLS_FILES];
    cs_kafka_tls_files(&n->settings->kafka, files);
    struct cs_filewatch_options o = {.loop = n->loop,
                                     .paths = files,
                                     .path_count = CS_KAFKA_TLS_FILES,
                                     .what = "kafka.ssl_ca, kafka.ssl_certificate, kafka.ssl_key",
                                     .on_change = on_kafka_tls,
                                     .arg = n};
    return (!files[0][0] && !files[1][0]) || cs_filewatch_new(&o, &n->kafka_tls_watch, err);
}

static bool prepare(struct notifier *n, struct cs_err *err) {
    const struct cs_consumer_settings *s = n->settings;
    const struct cs_loop_hooks hooks = {.on_drain = on_drain,
                                        .on_reload = on_reload,
                                        .is_healthy = healthy,
                                        .arg = n,
                                        .drain_timeout_ms = DRAIN_MS};
    char text[128];
    if (s->notices.count == 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the settings have no [notice NAME] section: nobody is to be told of anything; add "
                          "one, or do not run notify");
    snprintf(text, sizeof text, "EXTEND_TIMEOUT_USEC=%lld\nSTATUS=Starting: brokers and Redis are asked",
             (long long)(s->preflight_timeout_ms + EXTEND_MS) * 1000);
    cs_notify(text);
    if (!cs_crypto_new(&n->crypto, err) || !cs_service_keys_read(n->crypto, s, &n->service, err) ||
        !cs_keyfile_spki(n->crypto, s->root_key, &n->root_spki, &n->root_spki_len, err) ||
        !cs_settings_redis(s, &n->redis, err) ||
        !cs_preflight(s, (struct cs_bytes){n->root_spki, n->root_spki_len}, &n->found, err))
        return false;
    n->metrics = cs_metrics_new();
    return (n->metrics || cs_err_oom(err)) && cs_loop_new(&hooks, &n->loop, err) && watch_kafka_tls(n, err);
}

static bool start(struct notifier *n, struct cs_err *err) {
    if (!prepare(n, err))
        return false;
    const struct cs_courier_options o = {.settings = n->settings,
                                         .redis = &n->redis,
                                         .service = &n->service,
                                         .log_id = n->found.log_id,
                                         .root_spki = {n->root_spki, n->root_spki_len},
                                         .partition_count = n->found.partition_count,
                                         .clock = cs_clock_real(),
                                         .kafka_tls = &n->kafka_tls};
    if (!cs_notify_start(&o, n->loop, n->metrics, &n->notify, err))
        return false;
    n->timer = cs_timer_new(n->loop, 0, LOOK_MS, look, n);
    return n->timer || cs_err_oom(err);
}

static void end(struct notifier *n) {
    cs_timer_free(n->timer);
    cs_notify_free(n->notify);
    cs_filewatch_free(n->kafka_tls_watch);
    cs_loop_free(n->loop);
    cs_metrics_free(n->metrics);
    free(n->root_spki);
    cs_service_keys_clear(&n->service);
    cs_crypto_free(n->crypto);
    cs_settings_free(&cs_consumer_settings_table, n->settings);
}

static int run_notify(const struct cs_cli *cli) {
    struct notifier n = {.cli = cli};
    struct cs_err err;
    int code = CS_EXIT_OK;
    if (!cs_consumer_settings_load(cli, &n.settings, &err))
        return cs_consumer_failure(cli, &err);
    cs_log_set_level((enum cs_log_level)n.settings->log_level);
    cs_log_hook_libevent();
    if (!start(&n, &err)) {
        cs_consumer_failure(cli, &err);
        code = cs_consumer_exit_code(&err);
    } else if (cs_loop_run(n.loop) != CS_LOOP_DRAINED) {
        code = CS_EXIT_FAILED;
    }
    end(&n);
    return code;
}

const struct cs_command cs_cmd_notify = {
    .name = "notify",
    .summary = "Tell people and programs what happens, as the [notice NAME] sections say",
    .description =
        "Runs until SIGTERM, beside run, here or on another machine. It follows the outcomes, and delivers "
        "what "
        "each [notice NAME] section of the settings asks for: at least once, also where it is killed or the "
        "receiver is away. A second delivery of a notice has the same id. Where several processes run, they "
        "share "
        "the sections.\n\n"
        "At notify.listen it tells its metrics (/metrics), whether it lives (/healthz), and the state of "
        "each "
        "section (/readyz). SIGHUP reads log.level again.",
    .run = run_notify,
};
