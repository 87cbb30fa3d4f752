// SPDX-License-Identifier: Apache-2.0
//
// What needs no token: which log this is; and /healthz, /readyz and /metrics, for the machine's own
// monitoring.
#include <stdio.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"

#define METRICS_MAX ((size_t)16 << 20)
#define LOG_MAX     ((size_t)512 + (size_t)CS_CORRECTIONS_MAX * 120)

// That verdicts were set right, and which, is no secret; why is the operator's to tell.
static void put_corrections(struct cs_buf *json, const struct cs_consumer *c) {
    const struct cs_epochs all = cs_corrections_now(c->corrections);
    cs_json_name(json, "corrections");
    cs_json_begin(json, '[');
    for (size_t i = 0; i < all.len; i++) {
        const struct cs_correction *x = &all.list[i];
        const struct cs_epochs until = {all.list, i + 1};
        cs_json_begin(json, '{');
        cs_json_int(json, "partition", x->partition);
        cs_json_int(json, "epoch", cs_epoch_last(&until, x->partition));
        cs_json_int(json, "from", x->from);
        api_put_time_s(json, "time", x->time_s);
        cs_json_end(json, '}');
    }
    cs_json_end(json, ']');
}

// Which log it is. Hosts ask at first contact, when nobody may know their key yet.
void api_log(struct cs_http_request *req, void *arg) {
    (void)arg;
    const struct cs_consumer *c = ((const struct cs_api *)cs_http_arg(req))->consumer;
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, LOG_MAX);
    cs_json_begin(&json, '{');
    cs_json_str(&json, "deployment", c->settings->deployment);
    cs_json_str(&json, "log", c->log_id);
    cs_json_int(&json, "partitions", c->partition_count);
    put_corrections(&json, c);
    cs_json_end(&json, '}');
    cs_http_set_header(req, CS_LOG_HEADER, c->log_id);
    cs_http_reply_json(req, 200, &json);
}

// An answer shows that this loop runs. The other threads are asked.
void api_healthz(struct cs_http_request *req, void *arg) {
    (void)arg;
    const struct cs_api *api = cs_http_arg(req);
    const struct cs_consumer *c = api->consumer;
    bool workers = !c->alive || c->alive(c->alive_arg);
    if (!workers || cs_api_overdue_ms(api->first) > 0) {
        cs_http_problem(req, 503, NULL, "%s", workers ? "A thread of the API hangs." : "A worker hangs.");
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, 64);
    cs_json_begin(&json, '{');
    cs_json_str(&json, "status", "ok");
    cs_json_end(&json, '}');
    cs_http_reply_json(req, 200, &json);
}

static void put_offset(struct cs_buf *json, const char *name, int64_t v) {
    if (v >= 0)
        cs_json_int(json, name, v);
}

static void put_age(struct cs_buf *json, const char *name, int64_t now_ms, int64_t then_ms) {
    if (then_ms > 0)
        cs_json_int(json, name, now_ms > then_ms ? now_ms - then_ms : 0);
}

static void put_partition(struct cs_buf *json, int32_t partition, const struct cs_board_entry *e,
                          int64_t now_ms, int64_t wall_ms) {
    cs_json_begin(json, '{');
    cs_json_int(json, "partition", partition);
    cs_json_str(json, "state", cs_board_state_name(e->state));
    if (e->reason[0])
        cs_json_str(json, "reason", e->reason);
    if (e->state != CS_BOARD_ELSEWHERE) {
        put_offset(json, "next_offset", e->next_offset);
        put_offset(json, "end_offset", e->end_offset);
        put_offset(json, "lag", cs_board_lag(e));
        cs_json_int(json, "outcomes", e->outcomes);
        if (e->progress_ms > 0)
            cs_json_int(json, "idle_ms", now_ms > e->progress_ms ? now_ms - e->progress_ms : 0);
        if (e->foreign > 0)
            cs_json_int(json, "foreign_outcomes", e->foreign);
        put_age(json, "oldest_event_ms", wall_ms, e->oldest_ms);
        put_age(json, "oldest_pending_share_ms", wall_ms, e->share_ms);
    }
    cs_json_end(json, '}');
}

bool cs_api_ready(const struct cs_api *any, char *why, size_t why_size) {
    const struct cs_api *api = any->first;
    bool stopping = atomic_load(&api->stopping);
    if (!stopping && !cs_board_ready(api->consumer->board, why, why_size))
        return false;
    const char *reason = stopping                ? "the process is stopping"
                         : !api_redis_ready(api) ? "the API cannot reach Redis"
                         : !api_freshness_known(api->freshness)
                             ? "the API does not know yet how far outcomes are published"
                             : NULL;
    if (reason)
        snprintf(why, why_size, "%s", reason);
    return !reason;
}

void api_readyz(struct cs_http_request *req, void *arg) {
    (void)arg;
    const struct cs_api *api = cs_http_arg(req);
    const struct cs_consumer *c = api->consumer;
    char why[1024] = "";
    bool ready = cs_api_ready(api, why, sizeof why);
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, API_BODY_MAX);
    cs_json_begin(&json, '{');
    cs_json_bool(&json, "ready", ready);
    if (!ready)
        cs_json_str(&json, "reason", why);
    cs_json_str(&json, "redis", api_redis_ready(api) ? "connected" : "away");
    cs_json_name(&json, "partitions");
    cs_json_begin(&json, '[');
    int64_t now_ms = cs_clock_mono_ms(c->clock);
    int64_t wall_ms = cs_clock_wall_ms(c->clock);
    for (int32_t p = 0; p < cs_board_partitions(c->board); p++) {
        struct cs_board_entry e;
        cs_board_get(c->board, p, &e);
        put_partition(&json, p, &e, now_ms, wall_ms);
    }
    cs_json_end(&json, ']');
    cs_json_end(&json, '}');
    cs_http_reply_json(req, ready ? 200 : 503, &json);
}

void api_metrics(struct cs_http_request *req, void *arg) {
    (void)arg;
    const struct cs_api *api = cs_http_arg(req);
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, METRICS_MAX);
    cs_metrics_render(api->consumer->metrics, &text);
    if (text.failed)
        cs_http_problem(req, 500, NULL, "%s", "The metrics do not fit into memory.");
    else
        cs_http_reply(req, 200, CS_METRICS_CONTENT_TYPE, cs_buf_bytes(&text));
}
