// SPDX-License-Identifier: Apache-2.0
#include "notify/notify.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "certsync/base/json_write.h"
#include "certsync/runtime/http.h"
#include "certsync/runtime/log.h"

#define METRICS_MAX ((size_t)4 << 20)
#define BODY_MAX    ((size_t)1 << 20)

struct cs_notify {
    struct cs_courier_options o;
    struct cs_note_metrics metrics;
    struct cs_metrics *registry;
    struct cs_courier *couriers[CS_NOTICES_MAX];
    size_t len;
    struct cs_http_server *http;
};

static void state_of(const struct cs_notify *n, size_t i, struct cs_note_status *ret) {
    cs_note_board_get(cs_courier_board(n->couriers[i]), ret);
}

bool cs_notify_alive(const struct cs_notify *n) {
    for (size_t i = 0; i < n->len; i++) {
        int64_t overdue_ms = cs_courier_overdue_ms(n->couriers[i]);
        if (overdue_ms > 0) {
            cs_log(CS_LOG_ERROR, "a thread of notices hangs", "notice=%s overdue_ms=%" PRId64,
                   cs_courier_name(n->couriers[i]), overdue_ms);
            return false;
        }
    }
    return true;
}

bool cs_notify_ready(struct cs_notify *n, char *why, size_t why_size) {
    for (size_t i = 0; i < n->len; i++) {
        struct cs_note_status s;
        state_of(n, i, &s);
        if (s.state != CS_NOTE_STARTING && s.state != CS_NOTE_FAILING)
            continue;
        snprintf(why, why_size, "notices of [notice %s] cannot go on: %s", cs_courier_name(n->couriers[i]),
                 s.why[0] ? s.why : "they are starting");
        return false;
    }
    return true;
}

void cs_notify_summary(struct cs_notify *n, char *out, size_t out_size) {
    size_t bad = 0, first = 0;
    int64_t waiting = 0;
    struct cs_note_status s;
    for (size_t i = 0; i < n->len; i++) {
        state_of(n, i, &s);
        waiting += s.waiting;
        bool is_bad = s.state == CS_NOTE_WAITING || s.state == CS_NOTE_FAILING;
        if (is_bad && bad++ == 0)
            first = i;
    }
    if (bad == 0) {
        snprintf(out, out_size, "%zu sections of notices, %" PRId64 " notices wait", n->len, waiting);
        return;
    }
    state_of(n, first, &s);
    snprintf(out, out_size, "%zu of %zu sections cannot deliver, %" PRId64 " notices wait; %s: %.300s", bad,
             n->len, waiting, cs_courier_name(n->couriers[first]), s.why);
}

// --- HTTP

static void put_section(struct cs_buf *json, const char *name, const struct cs_note_status *s,
                        int64_t now_ms) {
    cs_json_begin(json, '{');
    cs_json_str(json, "notice", name);
    cs_json_str(json, "state", cs_note_state_name(s->state));
    if (s->why[0])
        cs_json_str(json, "reason", s->why);
    cs_json_int(json, "state_ms", now_ms > s->since_ms ? now_ms - s->since_ms : 0);
    if (s->state == CS_NOTE_WORKING || s->state == CS_NOTE_WAITING)
        cs_json_int(json, "waiting", s->waiting);
    if (s->oldest_ms > 0)
        cs_json_int(json, "oldest_ms", now_ms > s->oldest_ms ? now_ms - s->oldest_ms : 0);
    cs_json_end(json, '}');
}

static void readyz(struct cs_http_request *req, void *arg) {
    struct cs_notify *n = cs_http_arg(req);
    char why[1024] = "";
    bool ready = cs_notify_ready(n, why, sizeof why);
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    (void)arg;
    cs_buf_init(&json, BODY_MAX);
    cs_json_begin(&json, '{');
    cs_json_bool(&json, "ready", ready);
    if (!ready)
        cs_json_str(&json, "reason", why);
    cs_json_name(&json, "notices");
    cs_json_begin(&json, '[');
    for (size_t i = 0; i < n->len; i++) {
        struct cs_note_status s;
        state_of(n, i, &s);
        put_section(&json, cs_courier_name(n->couriers[i]), &s, cs_clock_wall_ms(n->o.clock));
    }
    cs_json_end(&json, ']');
    cs_json_end(&json, '}');
    cs_http_reply_json(req, ready ? 200 : 503, &json);
}

static void healthz(struct cs_http_request *req, void *arg) {
    static const char ok[] = "{\"status\":\"ok\"}";
    (void)arg;
    if (cs_notify_alive(cs_http_arg(req)))
        cs_http_reply(req, 200, "application/json", (struct cs_bytes){(const uint8_t *)ok, sizeof ok - 1});
    else
        cs_http_problem(req, 503, NULL, "%s", "A thread of notices hangs.");
}

static void metrics(struct cs_http_request *req, void *arg) {
    struct cs_notify *n = cs_http_arg(req);
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    (void)arg;
    cs_buf_init(&text, METRICS_MAX);
    cs_metrics_render(n->registry, &text);
    if (text.failed)
        cs_http_problem(req, 500, NULL, "%s", "The metrics do not fit into memory.");
    else
        cs_http_reply(req, 200, CS_METRICS_CONTENT_TYPE, cs_buf_bytes(&text));
}

static const struct cs_http_route routes[] = {
    {"GET", "/healthz", healthz}, {"GET", "/readyz", readyz}, {"GET", "/metrics", metrics}};

static bool listen_at(struct cs_notify *n, struct cs_loop *loop, struct cs_err *err) {
    const struct cs_http_options o = {.listen = n->o.settings->notify_listen,
                                      .listen_setting = "notify.listen",
                                      .routes = routes,
                                      .route_count = CS_ARRAY_LEN(routes),
                                      .max_connections = 16,
                                      .arg = n};
    return !o.listen[0] || cs_http_server_new(cs_loop_base(loop), &o, &n->http, err);
}

// --- start and end

static void on_render(void *arg) {
    struct cs_notify *n = arg;
    for (size_t i = 0; i < n->len; i++)
        cs_note_board_render(cs_courier_board(n->couriers[i]));
}

bool cs_notify_start(const struct cs_courier_options *o, struct cs_loop *loop, struct cs_metrics *registry,
                     struct cs_notify **ret, struct cs_err *err) {
    CS_AUTO(cs_notify_free) struct cs_notify *n = calloc(1, sizeof *n);
    if (!n)
        return cs_err_oom(err);
    n->o = *o;
    n->o.metrics = &n->metrics;
    n->registry = registry;
    cs_note_metrics_init(&n->metrics, registry);
    if (!listen_at(n, loop, err))
        return false;
    for (; n->len < o->settings->notices.count; n->len++)
        if (!cs_courier_start(&n->o, cs_settings_notice(o->settings, n->len), &n->couriers[n->len], err))
            return false;
    cs_metrics_on_render(registry, on_render, n);
    *ret = CS_TAKE(n);
    return true;
}

void cs_notify_stop(struct cs_notify *n) {
    for (size_t i = 0; i < n->len; i++)
        cs_courier_stop(n->couriers[i]);
    if (n->http)
        cs_http_server_stop(n->http);
}

void cs_notify_free(struct cs_notify *n) {
    if (!n)
        return;
    cs_http_server_free(n->http);
    for (size_t i = 0; i < n->len; i++)
        cs_courier_stop(n->couriers[i]);
    for (size_t i = 0; i < n->len; i++)
        cs_courier_free(n->couriers[i]);
    free(n);
}
