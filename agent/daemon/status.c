// SPDX-License-Identifier: Apache-2.0
// The status file, which certsync status shows, and heartbeats, which tell the platform the same in
// short.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/runtime/fileio.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/tls_expiry.h"
#include "daemon/internal.h"

#define PROBLEMS_MAX 200

static json_t *time_of(int64_t ms) {
    char text[CS_TIME_TEXT_SIZE];
    cs_time_format(ms / 1000, text);
    return json_string(text);
}

static json_t *link_of(const struct cs_link *l) {
    json_t *o = json_object();
    json_object_set_new(o, "state", json_string(!l->tried ? "unknown" : l->ok ? "ok" : "failing"));
    if (l->tried)
        json_object_set_new(o, "since", time_of(l->since_ms));
    if (l->error[0])
        json_object_set_new(o, "error", json_string(l->error));
    if (l->code != CS_CODE_NONE) {
        json_object_set_new(o, "code", json_string(cs_code_name(l->code)));
        json_object_set_new(o, "hint", json_string(cs_code_hint(l->code)));
    }
    return o;
}

static json_t *problem_of(const struct cs_item *item, const struct cs_fault *fault) {
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(item->name));
    json_object_set_new(o, "section", json_string(item->section->name));
    json_object_set_new(o, "certificate", json_string(item->certificate));
    json_object_set_new(o, "state", json_string(fault->state));
    json_object_set_new(o, "since", time_of(item->since_ms));
    if (fault->code != CS_CODE_NONE) {
        json_object_set_new(o, "code", json_string(cs_code_name(fault->code)));
        json_object_set_new(o, "hint", json_string(cs_code_hint(fault->code)));
    }
    if (fault->message[0])
        json_object_set_new(o, "message", json_string(fault->message));
    return o;
}

static void log_end(struct cs_item *item, const struct cs_fault *fault) {
    if ((fault->code != CS_CODE_CERT_EXPIRED && fault->code != CS_CODE_CHAIN_EXPIRED) || item->told_end)
        return;
    cs_log(CS_LOG_WARN, "expired", "name=%s certificate=%s code=%s", item->name, item->certificate,
           cs_code_name(fault->code));
    item->told_end = true;
}

static void put_items(struct cs_engine *e, json_t *o) {
    size_t counts[CS_ITEM_STATES] = {0}, total = 0;
    json_t *problems = json_array(), *by_state = json_object();
    struct cs_fault fault;
    size_t outside = 0;
    json_t *policy = json_array();
    e->next_end_s = INT64_MAX;
    for (size_t i = 0; i < e->reg.n; i++) {
        struct cs_item *item = e->reg.items[i];
        if (!item->section)
            continue;
        counts[item->state]++;
        if (item->state == CS_ITEM_REGISTERED && item->policy != CS_CODE_NONE && outside++ < PROBLEMS_MAX)
            json_array_append_new(policy,
                                  json_pack("{s:s, s:s, s:s}", "name", item->name, "code",
                                            cs_code_name(item->policy), "message", item->policy_detail));
        if (!engine_fault(e, item, &fault)) {
            int64_t ends_s = cs_item_ends(item);
            if (ends_s > 0 && ends_s < e->next_end_s)
                e->next_end_s = ends_s;
            continue;
        }
        log_end(item, &fault);
        if (total++ < PROBLEMS_MAX)
            json_array_append_new(problems, problem_of(item, &fault));
    }
    for (int s = CS_ITEM_NEW; s < CS_ITEM_STATES; s++)
        json_object_set_new(by_state, cs_item_state_name((enum cs_item_state)s),
                            json_integer((json_int_t)counts[s]));
    json_object_set_new(o, "certificates", by_state);
    json_object_set_new(o, "policy", policy);
    json_object_set_new(o, "policy_total", json_integer((json_int_t)outside));
    json_object_set_new(o, "problems", problems);
    json_object_set_new(o, "problems_total", json_integer((json_int_t)total));
}

struct count {
    size_t certificates, registered, waiting, failed;
};

static json_t *section_of(const struct cs_section *section, const struct cs_findings *f,
                          const struct count *n) {
    json_t *texts = json_array();
    for (size_t i = 0; i < f->n && i < CS_FINDINGS_KEPT; i++)
        if (f->texts[i])
            json_array_append_new(texts, json_string(f->texts[i]));
    size_t failed = n->failed + f->n;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:I}", "name", section->name, "certificates",
                     (json_int_t)n->certificates, "registered", (json_int_t)n->registered, "waiting",
                     (json_int_t)n->waiting, "failed", (json_int_t)failed, "problems", texts,
                     "problems_total", (json_int_t)f->n);
}

static void put_sections(const struct cs_engine *e, json_t *o) {
    struct count counts[CS_WATCH_SECTIONS_MAX] = {0};
    struct cs_fault fault;
    json_t *sections = json_array();
    for (size_t i = 0; i < e->reg.n; i++) {
        const struct cs_item *item = e->reg.items[i];
        if (!item->section || item->gone_ms > 0)
            continue;
        struct count *n = &counts[item->section - e->sections.items];
        bool wrong = engine_fault(e, item, &fault);
        n->certificates++;
        n->registered += item->state == CS_ITEM_REGISTERED && !wrong;
        n->waiting += wrong && fault.passing;
        n->failed += wrong && !fault.passing;
    }
    for (size_t i = 0; i < e->sections.n; i++)
        json_array_append_new(sections, section_of(&e->sections.items[i], &e->findings[i], &counts[i]));
    json_object_set_new(o, "sections", sections);
    json_object_set_new(o, "failed", json_integer((json_int_t)engine_failed(e)));
}

static size_t put_spool(struct cs_engine *e, json_t *o) {
    struct cs_spool_item *items;
    struct cs_err err;
    size_t n = 0, unsent = 0;
    int64_t oldest = 0;
    json_t *spool = json_object();
    if (cs_spool_list(e->spool, &items, &n, &err)) {
        for (size_t i = 0; i < n; i++) {
            unsent += items[i].state == CS_SPOOL_NEW;
            if (items[i].state == CS_SPOOL_SENT && oldest == 0)
                oldest = items[i].seq;
        }
        free(items);
        json_object_set_new(spool, "events", json_integer((json_int_t)n));
        json_object_set_new(spool, "to_publish", json_integer((json_int_t)unsent));
    } else {
        json_object_set_new(spool, "error", json_string(err.msg));
    }
    if (oldest != e->unjudged_seq) {
        e->unjudged_seq = oldest;
        e->unjudged_ms = engine_now(e);
    }
    if (e->blocked[0])
        json_object_set_new(spool, "blocked", json_string(e->blocked));
    json_object_set_new(o, "spool", spool);
    return unsent;
}

// When the certificate ends that this host shows to Kafka.
static json_t *kafka_of(const struct cs_engine *e) {
    json_t *o = link_of(&e->last_kafka);
    const char *path = e->session.settings->kafka.ssl_certificate;
    int64_t end_s = 0;
    if (path[0] && cs_tls_first_end(path, &end_s))
        json_object_set_new(o, "certificate_ends", time_of(end_s * 1000));
    return o;
}

static json_t *beat_of(const struct cs_beat_stand *beat) {
    json_t *o = json_object();
    json_object_set_new(o, "sent", beat->sent_ms ? time_of(beat->sent_ms) : json_null());
    if (beat->error[0])
        json_object_set_new(o, "error", json_string(beat->error));
    return o;
}

static json_t *status_of(struct cs_engine *e, size_t *ret_unsent) {
    const struct cs_daemon *d = e->daemon;
    json_t *o = json_object();
    json_object_set_new(o, "version", json_string(CERTSYNC_VERSION));
    json_object_set_new(o, "pid", json_integer(getpid()));
    json_object_set_new(o, "log", json_string(e->session.log_id));
    json_object_set_new(o, "account", json_string(e->session.account));
    json_object_set_new(o, "kid", json_string(e->session.kid));
    json_object_set_new(o, "started", time_of(e->started_ms));
    json_object_set_new(o, "written", time_of(engine_wall(e)));
    json_object_set_new(o, "alive_ms", json_integer(engine_now(e)));
    json_object_set_new(o, "last_scan", e->last_scan_ms ? time_of(e->last_scan_ms) : json_null());
    json_object_set_new(o, "directories", json_integer((json_int_t)cs_watch_count(e->watch)));
    json_object_set_new(o, "all_watched", json_boolean(!e->unwatched[0]));
    json_object_set_new(o, "kafka", kafka_of(e));
    if (e->outcome_poller)
        json_object_set_new(o, "api", link_of(&e->last_api));
    if (e->session.settings->heartbeat_ms > 0)
        json_object_set_new(o, "heartbeat", beat_of(&e->last_beat));
    put_items(e, o);
    put_sections(e, o);
    *ret_unsent = put_spool(e, o);
    json_object_set_new(o, "attention", engine_attention(e));
    if (d->replayed_times > 0) {
        json_t *r = json_object();
        json_object_set_new(r, "times", json_integer(d->replayed_times));
        json_object_set_new(r, "watermark", json_integer(d->replayed_watermark));
        json_object_set_new(r, "last", time_of(d->replayed_ms));
        json_object_set_new(o, "replayed", r);
    }
    return o;
}

static bool link_changed(struct cs_link *last, const struct cs_link *now) {
    bool changed = last->tried != now->tried || last->ok != now->ok || strcmp(last->error, now->error) != 0;
    *last = *now;
    return changed;
}

// That one more was sent is not told before the next time.
static bool beat_changed(struct cs_engine *e) {
    struct cs_beat_stand now;
    cs_sender_beat_stand(e->sender, &now);
    bool changed = strcmp(now.error, e->last_beat.error) != 0 || !now.sent_ms != !e->last_beat.sent_ms;
    e->last_beat = now;
    return changed;
}

void engine_write_status(struct cs_engine *e) {
    struct cs_link kafka, api = {0};
    cs_sender_link(e->sender, &kafka);
    if (e->outcome_poller)
        cs_outcome_poller_link(e->outcome_poller, &api);
    bool changed = link_changed(&e->last_kafka, &kafka);
    changed |= link_changed(&e->last_api, &api);
    changed |= beat_changed(e);
    changed |= e->next_end_s <= engine_wall(e) / 1000; // a certificate has expired just now
    if (!changed && !e->changed && engine_now(e) < e->written_ms + CS_STATUS_PERIOD_MS)
        return;
    e->changed = false;
    e->written_ms = engine_now(e);
    char path[4096];
    struct cs_err err;
    size_t unsent = 0;
    json_t *o = status_of(e, &unsent);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    bool ok = text ? cs_daemon_path(&e->session, CS_DAEMON_STATUS, path, sizeof path, &err) &&
                         cs_file_write_given(path, (struct cs_bytes){(const uint8_t *)text, strlen(text)},
                                             0640, &err)
                   : cs_err_oom(&err);
    if (!ok)
        cs_log_err(CS_LOG_WARN, "the status cannot be written", &err, "account=%s", e->session.account);
    free(text);
    cs_agent_metrics_write(e->daemon->metrics);
    char state[200];
    snprintf(state, sizeof state, "STATUS=%zu certificate files, %zu failed, %zu events to publish%s",
             e->reg.n, engine_failed(e), unsent, kafka.tried && !kafka.ok ? ", Kafka does not answer" : "");
    cs_notify(state);
}

static int64_t spooled(const struct cs_engine *e) {
    struct cs_spool_item *items;
    struct cs_err ignored;
    size_t n;
    if (!cs_spool_list(e->spool, &items, &n, &ignored))
        return 0;
    free(items);
    return (int64_t)n;
}

void engine_beat(struct cs_engine *e) {
    struct cs_host_state host = {
        .failed = (int64_t)engine_failed(e), .last_scan_s = e->last_scan_ms / 1000, .spool = spooled(e)};
    if (e->stopping)
        return;
    snprintf(host.version, sizeof host.version, "%s", CERTSYNC_VERSION);
    for (size_t i = 0; i < e->reg.n; i++) {
        const struct cs_item *item = e->reg.items[i];
        host.certificates += item->section && item->gone_ms == 0;
    }
    cs_sender_beat(e->sender, &host);
    if (e->outcome_poller)
        cs_outcome_poller_try_key(e->outcome_poller);
}
