// SPDX-License-Identifier: Apache-2.0
// What earlier commands left in the spool: how published events ended, and which events are sent
// now; declared in submit.h.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/runtime/log.h"
#include "commands/submit.h"
#include "event/watch_outcomes.h"

#define WAIT_MAX_S    30   // how long the API may wait for one answer
#define KAFKA_WAIT_MS 2000 // time enough to read an outcome that is there

struct settling {
    bool wait;
};

// The words of the command itself, as far as the event tells them.
static void put_phrase(const struct cs_event *ev, char *out, size_t size) {
    const char *type = cs_event_type_name(ev->type);
    bool upload = ev->type == CS_EVENT_CERTIFICATE_UPLOAD || ev->type == CS_EVENT_CERTIFICATE_ISSUE;
    type += strncmp(type, "certsync.", 9) == 0 ? 9 : 0;
    type += strncmp(type, "certificate.", 12) == 0 ? 12 : 0;
    const char *version = strstr(type, ".v");
    int len = version ? (int)(version - type) : (int)strlen(type);
    if (upload)
        snprintf(out, size, "%.*s of \"%s\"", len, type, cs_shown(ev->data.upload.name));
    else if (ev->type == CS_EVENT_CSR_ADD)
        snprintf(out, size, "%.*s of \"%s\"", len, type, cs_shown(ev->data.csr.name));
    else
        snprintf(out, size, "%.*s of %s", len, type, ev->subject);
}

static void tell_rejected(const struct cs_session *s, const struct cs_event *ev, const struct cs_end *e) {
    if (s->globals->json || s->globals->quiet) {
        cs_log(CS_LOG_WARN, "an earlier event was rejected", "event=%s type=%s code=%s detail=%s", ev->id,
               cs_event_type_name(ev->type), e->code_name, e->detail);
        return;
    }
    char phrase[400];
    put_phrase(ev, phrase, sizeof phrase);
    fprintf(s->cli->err,
            "note: an earlier event was rejected meanwhile: %s (%s, number %" PRId64 "): %s%s%s\n", phrase,
            ev->id, ev->seq, e->code_name, e->detail[0] ? ". " : "", e->detail);
    cs_report_code(s->cli, e->code, "");
}

// Reads cert.outcomes: the API refuses this key, or keeps giving an older outcome of this id.
static bool ask_kafka(const struct cs_session *s, const struct cs_spool_entry *e, struct cs_end *ret) {
    struct cs_err err;
    CS_AUTO(cs_outcome_watch_free) struct cs_outcome_watch *watch = NULL;
    bool ok =
        cs_outcome_watch_new(s->settings, e->item.partition, e->item.offset, s->deadline_ms, &watch, &err) &&
        cs_outcome_watch_poll(watch, e->event->id, e->item.seq, KAFKA_WAIT_MS, ret, &err);
    if (!ok)
        cs_log_err(CS_LOG_INFO, "outcomes cannot be read from Kafka", &err, "topic=%s",
                   s->settings->outcomes_topic);
    return ok;
}

static bool ask(struct cs_settle *t, const struct cs_spool_entry *e, struct cs_end *ret, struct cs_err *err) {
    const struct settling *own = t->arg;
    int64_t left_ms = cs_session_left_ms(t->session);
    int64_t wait_s = own->wait && left_ms > 0 ? left_ms / 1000 + 1 : 0;
    bool ok = cs_end_ask(t->session, e->event->account, e->event->id, e->item.seq,
                         wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S, ret, err);
    if (!ok)
        return err->kind == CS_ERR_REJECT && ask_kafka(t->session, e, ret);
    bool older = ret->ending == CS_ENDING_UNKNOWN && ret->code == CS_CODE_EVENT_REPLAYED;
    struct cs_end newer;
    if (older && ask_kafka(t->session, e, &newer)) {
        cs_end_clear(ret);
        *ret = newer;
    }
    return true;
}

static bool go_on(const struct cs_settle *t) {
    (void)t;
    return true;
}

static void on_end(struct cs_settle *t, const struct cs_event *ev, const struct cs_end *end) {
    if (end->ending == CS_ENDING_REJECTED)
        tell_rejected(t->session, ev, end);
}

static void on_replayed(const struct cs_settle *t) {
    cs_log(CS_LOG_ERROR, CS_SUBMIT_REPLAYED, "kid=%s watermark=%" PRId64 " events=%zu", t->session->kid,
           t->watermark, t->replayed);
}

static const struct cs_settle_policy policy = {.drop_silent = true,
                                               .together = true,
                                               .go_on = go_on,
                                               .ask = ask,
                                               .on_end = on_end,
                                               .on_replayed = on_replayed};

bool cs_submit_settle(struct cs_session *s, struct cs_spool *spool, size_t max, bool wait,
                      struct cs_settled *ret, struct cs_err *err) {
    struct settling own = {.wait = wait};
    struct cs_settle t = {.session = s,
                          .spool = spool,
                          .policy = &policy,
                          .arg = &own,
                          .lock_deadline_ms = s->deadline_ms,
                          .max = max};
    bool ok = cs_settle_pass(&t, err);
    *ret = (struct cs_settled){t.applied, t.rejected, t.resigned};
    return ok;
}

// --- events that are sent with this command --------------------------------------------------------

#define EARLIER_MAX 10 // named; the rest is counted

static void name_earlier(const struct cs_session *s, const struct cs_event *ev, json_t *list) {
    char time[CS_TIME_TEXT_SIZE], phrase[400];
    cs_time_format(ev->time_s, time);
    put_phrase(ev, phrase, sizeof phrase);
    json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "seq", (json_int_t)ev->seq,
                                          "event", ev->id, "type", cs_event_type_name(ev->type), "account",
                                          ev->account, "subject", ev->subject, "time", time));
    if (!s->globals->json && json_array_size(list) <= EARLIER_MAX)
        fprintf(s->cli->err,
                "note: an earlier command left the %s in the spool (number %" PRId64
                ", %s); it goes out now\n",
                phrase, ev->seq, time);
}

json_t *cs_submit_earlier(struct cs_session *s, struct cs_spool *spool, int64_t below) {
    struct cs_spool_item *items;
    struct cs_err err;
    size_t n;
    json_t *list = json_array();
    if (!cs_spool_list(spool, &items, &n, &err)) { // publishing will report it
        json_decref(list);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
        bool earlier = items[i].state == CS_SPOOL_NEW && (below == 0 || items[i].seq < below);
        enum cs_spool_load loaded =
            earlier ? cs_spool_load(spool, s->crypto, items[i].seq, &e, &err) : CS_SPOOL_GONE;
        if (loaded == CS_SPOOL_LOADED)
            name_earlier(s, e.event, list);
        else if (loaded == CS_SPOOL_QUARANTINED)
            fprintf(s->cli->err, "warning: %s\n", err.msg);
    }
    free(items);
    size_t count = json_array_size(list);
    if (!s->globals->json && count > EARLIER_MAX)
        fprintf(s->cli->err, "note: and %zu more\n", count - EARLIER_MAX);
    if (count > 0)
        return list;
    json_decref(list);
    return NULL;
}
