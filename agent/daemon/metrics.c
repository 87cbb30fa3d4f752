// SPDX-License-Identifier: Apache-2.0
#include "daemon/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/fileio.h"
#include "certsync/runtime/http.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/process_metrics.h"
#include "daemon/internal.h"

#define TEXT_MAX ((size_t)1 << 20)
#define DAY_S    INT64_C(86400)
#define WITHIN   4

struct cs_agent_metrics {
    struct cs_engine *const *engine;
    struct cs_metrics *own, *process;
    struct cs_process_metrics *process_metrics;
    struct cs_http_server *http;
    char *file;
    bool failing; // the file could not be written; told once
    struct cs_metric *certificates, *expiring, *link;
    struct cs_series *expired, *next_end, *failed, *policy, *spool, *attention, *scan, *written;
};

static struct cs_series *gauge(struct cs_metrics *r, const char *name, const char *help) {
    return cs_metric_0(cs_metrics_gauge(r, name, help, NULL));
}

static void make(struct cs_agent_metrics *m) {
    static const char *const by_state[] = {"state", NULL};
    static const char *const by_within[] = {"within", NULL};
    static const char *const by_to[] = {"to", NULL};
    m->certificates = cs_metrics_gauge(m->own, "certsync_agent_certificates",
                                       "Certificates that the sections of this host name, by what became of "
                                       "them.",
                                       by_state);
    m->expiring = cs_metrics_gauge(
        m->own, "certsync_agent_certificates_expiring",
        "Certificates of this host that end, or whose chain ends, within 1, 7, 14 or 30 days.", by_within);
    m->expired = gauge(m->own, "certsync_agent_certificates_expired",
                       "Certificates of this host that have expired, or whose chain has.");
    m->next_end = gauge(m->own, "certsync_agent_next_expiry_timestamp_seconds",
                        "When the next certificate of this host ends, in seconds since 1970.");
    m->failed = gauge(m->own, "certsync_agent_failed",
                      "Certificates and findings of sections that failed: certsync status names them.");
    m->policy = gauge(m->own, "certsync_agent_outside_policy",
                      "Certificates that are registered, and that the account's policy would refuse now.");
    m->spool = gauge(m->own, "certsync_agent_spool_events", "Events whose outcome is not known yet.");
    m->attention = gauge(m->own, "certsync_agent_attention",
                         "What is wrong with the daemon and what it needs: certsync status names it.");
    m->link = cs_metrics_gauge(m->own, "certsync_agent_link_up",
                               "Whether Kafka, or the API, answered when it was needed last.", by_to);
    m->scan = gauge(m->own, "certsync_agent_last_scan_timestamp_seconds",
                    "When all sections were looked through last, in seconds since 1970.");
    m->written = gauge(m->own, "certsync_agent_written_timestamp_seconds",
                       "When the daemon told this, in seconds since 1970. Long ago: it does not run.");
}

struct counted {
    int64_t by_state[CS_ITEM_STATES];
    int64_t within[WITHIN], expired, policy, next_end_s;
};

static struct counted count(const struct cs_engine *e) {
    static const int days[WITHIN] = {1, 7, 14, 30};
    struct counted c = {.next_end_s = 0};
    int64_t now_s = engine_wall(e) / 1000;
    for (size_t i = 0; i < e->reg.n; i++) {
        const struct cs_item *item = e->reg.items[i];
        int64_t ends_s = cs_item_ends(item);
        if (!item->section || item->gone_ms > 0)
            continue;
        c.by_state[item->state]++;
        c.policy += item->state == CS_ITEM_REGISTERED && item->policy != CS_CODE_NONE;
        if (ends_s == 0)
            continue;
        c.expired += ends_s <= now_s;
        for (size_t k = 0; k < WITHIN; k++)
            c.within[k] += ends_s > now_s && ends_s <= now_s + days[k] * DAY_S;
        if (ends_s > now_s && (c.next_end_s == 0 || ends_s < c.next_end_s))
            c.next_end_s = ends_s;
    }
    return c;
}

static void set_or_hide(struct cs_series *s, bool known, double v) {
    if (known)
        cs_series_set(s, v);
    else
        cs_series_hide(s);
}

static void put_link(const struct cs_agent_metrics *m, const char *to, const struct cs_link *l) {
    set_or_hide(cs_metric_1(m->link, to), l->tried, l->ok ? 1 : 0);
}

static void put_spool(struct cs_agent_metrics *m, const struct cs_engine *e) {
    struct cs_spool_item *items;
    struct cs_err ignored;
    size_t n = 0;
    bool known = cs_spool_list(e->spool, &items, &n, &ignored);
    set_or_hide(m->spool, known, (double)n);
    if (known)
        free(items);
}

static void put(struct cs_agent_metrics *m, const struct cs_engine *e) {
    static const char *const within[WITHIN] = {"1d", "7d", "14d", "30d"};
    struct counted c = count(e);
    json_t *attention = engine_attention(e);
    for (int s = CS_ITEM_NEW; s < CS_ITEM_STATES; s++)
        cs_series_set(cs_metric_1(m->certificates, cs_item_state_name((enum cs_item_state)s)),
                      (double)c.by_state[s]);
    for (size_t k = 0; k < WITHIN; k++)
        cs_series_set(cs_metric_1(m->expiring, within[k]), (double)c.within[k]);
    cs_series_set(m->expired, (double)c.expired);
    set_or_hide(m->next_end, c.next_end_s > 0, (double)c.next_end_s);
    cs_series_set(m->failed, (double)engine_failed(e));
    cs_series_set(m->policy, (double)c.policy);
    put_spool(m, e);
    cs_series_set(m->attention, (double)json_array_size(attention));
    json_decref(attention);
    put_link(m, "kafka", &e->last_kafka);
    if (e->outcome_poller)
        put_link(m, "api", &e->last_api);
    set_or_hide(m->scan, e->last_scan_ms > 0, (double)e->last_scan_ms / 1000);
    cs_series_set(m->written, (double)engine_wall(e) / 1000);
}

static void on_metrics(struct cs_http_request *req, void *arg) {
    struct cs_agent_metrics *m = arg;
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, TEXT_MAX);
    if (!*m->engine) {
        cs_http_problem(req, 503, NULL, "%s", "The settings are read again.");
        return;
    }
    put(m, *m->engine);
    cs_metrics_render(m->own, &text);
    cs_metrics_render(m->process, &text);
    if (text.failed)
        cs_http_problem(req, 500, NULL, "%s", "The metrics do not fit into memory.");
    else
        cs_http_reply(req, 200, CS_METRICS_CONTENT_TYPE, cs_buf_bytes(&text));
}

static bool listen_at(struct cs_agent_metrics *m, struct cs_loop *loop, const char *address,
                      struct cs_err *err) {
    static const struct cs_http_route routes[] = {{"GET", "/metrics", on_metrics}};
    const struct cs_http_options o = {.listen = address,
                                      .listen_setting = "agent.metrics_listen",
                                      .routes = routes,
                                      .route_count = CS_ARRAY_LEN(routes),
                                      .arg = m,
                                      .max_connections = 8};
    return cs_http_server_new(cs_loop_base(loop), &o, &m->http, err);
}

static bool take_file(struct cs_agent_metrics *m, const char *path, struct cs_err *err) {
    size_t len = strlen(path);
    if (len < 5 || strcmp(path + len - 5, ".prom") != 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "agent.metrics_file: %s does not end in .prom; node_exporter reads no other files",
                          path);
    m->file = strdup(path);
    return m->file || cs_err_oom(err);
}

bool cs_agent_metrics_new(struct cs_loop *loop, const struct cs_agent_settings *settings,
                          struct cs_engine *const *engine, struct cs_agent_metrics **ret,
                          struct cs_err *err) {
    CS_AUTO(cs_agent_metrics_free) struct cs_agent_metrics *m = calloc(1, sizeof *m);
    if (!m)
        return cs_err_oom(err);
    m->engine = engine;
    m->own = cs_metrics_new();
    m->process = cs_metrics_new();
    if (!m->own || !m->process)
        return cs_err_oom(err);
    make(m);
    if (!cs_process_metrics_new(m->process, "certsync", &m->process_metrics, err) ||
        (settings->metrics_file[0] && !take_file(m, settings->metrics_file, err)) ||
        (settings->metrics_listen[0] && !listen_at(m, loop, settings->metrics_listen, err)))
        return false;
    *ret = CS_TAKE(m);
    return true;
}

void cs_agent_metrics_free(struct cs_agent_metrics *m) {
    struct cs_err err;
    if (!m)
        return;
    cs_http_server_free(m->http);
    if (m->file && !cs_file_remove(m->file, &err))
        cs_log_err(CS_LOG_WARN, "the file of metrics stays", &err, "file=%s", m->file);
    free(m->file);
    cs_process_metrics_free(m->process_metrics);
    cs_metrics_free(m->process);
    cs_metrics_free(m->own);
    free(m);
}

void cs_agent_metrics_write(struct cs_agent_metrics *m) {
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, TEXT_MAX);
    if (!m || !m->file || !*m->engine)
        return;
    put(m, *m->engine);
    cs_metrics_render(m->own, &text);
    bool ok = cs_buf_ok(&text, &err) && cs_file_write(m->file, cs_buf_bytes(&text), 0644, &err);
    if (!ok && !m->failing)
        cs_log_err(CS_LOG_WARN, "the metrics cannot be written", &err, "file=%s", m->file);
    m->failing = !ok;
}
