// SPDX-License-Identifier: Apache-2.0
// How an event ended: asking the API, and what follows for the spool; declared in submit.h.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/text.h"
#include "certsync/runtime/log.h"
#include "submit.h"
#include "watch_outcomes.h"

#define WAIT_MAX_S    30   // asked of the API at a time
#define KAFKA_WAIT_MS 2000 // an outcome that is there is read in this time

void cs_end_clear(struct cs_end *e) {
    json_decref(e->doc);
    *e = (struct cs_end){0};
}

static void copy_string(char *to, size_t size, const json_t *from) {
    const char *s = json_string_value(from);
    cs_text_escape(s ? s : "", s ? strlen(s) : 0, to, size);
}

static enum cs_ending ending_of(const char *status) {
    if (!status)
        return CS_ENDING_UNKNOWN;
    if (strcmp(status, "pending") == 0)
        return CS_ENDING_PENDING;
    if (strcmp(status, "rejected") == 0)
        return CS_ENDING_REJECTED;
    // A duplicate is the same event once more: it was applied then.
    return strcmp(status, "applied") == 0 || strcmp(status, "duplicate") == 0 ? CS_ENDING_APPLIED
                                                                              : CS_ENDING_UNKNOWN;
}

void cs_end_read(json_t *doc, int64_t seq, struct cs_end *ret) {
    const json_t *outcome = json_object_get(doc, "outcome"), *final = json_object_get(doc, "final");
    struct cs_end e = {.doc = doc};
    const json_t *last = json_is_object(final) ? final : outcome;
    e.ending = ending_of(json_string_value(json_object_get(last, "status")));
    copy_string(e.code_name, sizeof e.code_name, json_object_get(last, "code"));
    copy_string(e.detail, sizeof e.detail, json_object_get(last, "detail"));
    copy_string(e.subject, sizeof e.subject, json_object_get(outcome, "subject"));
    e.code = cs_code_from_name(e.code_name, strlen(e.code_name));
    e.version = json_integer_value(json_object_get(outcome, "version"));
    e.watermark = json_integer_value(json_object_get(outcome, "watermark"));
    if (e.ending == CS_ENDING_REJECTED && e.code == CS_CODE_EVENT_REPLAYED)
        e.ending = json_integer_value(json_object_get(outcome, "seq")) == seq ? CS_ENDING_REPLAYED
                                                                              : CS_ENDING_UNKNOWN;
    *ret = e;
}

bool cs_submit_ask(struct cs_session *s, const char *account, const char *event_id, int64_t seq,
                   int64_t wait_s, struct cs_end *ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    char wait[24];
    cs_buf_init(&path, 1024);
    cs_buf_puts(&path, "/v1/accounts");
    cs_client_put_segment(&path, account);
    cs_buf_puts(&path, "/outcomes");
    cs_client_put_segment(&path, event_id);
    snprintf(wait, sizeof wait, "%" PRId64, wait_s);
    cs_client_put_query(&path, "wait", wait_s > 0 ? wait : "");
    json_t *doc;
    if (!cs_buf_ok(&path, err) || !cs_session_client(s, err))
        return false;
    if (cs_client_get(s->client, (const char *)path.data, wait_s * 1000, &doc, err)) {
        cs_end_read(doc, seq, ret);
        return true;
    }
    // An account that is not there is said at once; an outcome that is not there may still come.
    if (cs_client_status(s->client) != 404 || err->code == CS_CODE_ACCOUNT_UNKNOWN)
        return false;
    *ret = (struct cs_end){.ending = CS_ENDING_UNKNOWN};
    return true;
}

// --- settling what earlier commands left -----------------------------------------------------------

static void tell_rejected(const struct cs_session *s, const struct cs_event *ev, const struct cs_end *e) {
    if (s->globals->json || s->globals->quiet) {
        cs_log(CS_LOG_WARN, "an earlier event was rejected", "event=%s type=%s code=%s", ev->id,
               cs_event_type_name(ev->type), e->code_name);
        return;
    }
    fprintf(s->cli->err, "note: an earlier event was rejected meanwhile: %s (%s, number %" PRId64 "): %s\n",
            cs_event_type_name(ev->type), ev->id, ev->seq, e->code_name);
    cs_report_code(s->cli, e->code, "");
}

struct settling {
    struct cs_session *session;
    struct cs_spool *spool;
    struct cs_settled *count;
    int64_t *again; // numbers that must be signed again
    size_t again_len;
    int64_t watermark;
    bool wait;
};

// From cert.outcomes itself, where the API does not talk to this key, or goes on with an older outcome of
// this id.
static bool ask_kafka(const struct settling *t, const struct cs_spool_entry *e, struct cs_end *ret) {
    struct cs_err err;
    CS_AUTO(cs_outcome_watch_free) struct cs_outcome_watch *watch = NULL;
    const struct cs_session *s = t->session;
    bool ok =
        cs_outcome_watch_new(s->settings, e->item.partition, e->item.offset, s->deadline_ms, &watch, &err) &&
        cs_outcome_watch_poll(watch, e->event->id, e->item.seq, KAFKA_WAIT_MS, ret, &err);
    if (!ok)
        cs_log_err(CS_LOG_INFO, "outcomes cannot be read from Kafka", &err, "topic=%s",
                   s->settings->outcomes_topic);
    return ok;
}

static bool ask(const struct settling *t, const struct cs_spool_entry *e, struct cs_end *ret,
                struct cs_err *err) {
    int64_t left_ms = cs_session_left_ms(t->session);
    int64_t wait_s = t->wait && left_ms > 0 ? left_ms / 1000 + 1 : 0;
    bool ok = cs_submit_ask(t->session, e->event->account, e->event->id, e->item.seq,
                            wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S, ret, err);
    if (!ok)
        return err->kind == CS_ERR_REJECT && ask_kafka(t, e, ret);
    bool older = ret->ending == CS_ENDING_UNKNOWN && ret->code == CS_CODE_EVENT_REPLAYED;
    struct cs_end newer;
    if (older && ask_kafka(t, e, &newer)) {
        cs_end_clear(ret);
        *ret = newer;
    }
    return true;
}

static bool settle_one(struct settling *t, int64_t seq, struct cs_err *err) {
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    switch (cs_spool_load(t->spool, t->session->crypto, seq, &e, err)) {
    case CS_SPOOL_LOADED:
        break;
    case CS_SPOOL_FAILED:
        return false;
    case CS_SPOOL_GONE:
        return true;
    case CS_SPOOL_QUARANTINED: // it was published: only its outcome will not be told
        cs_log_err(CS_LOG_WARN, "spool file damaged", err, "number=%" PRId64, seq);
        return true;
    }
    if (e.everywhere) // no account, no outcome in the API: every partition has it
        return cs_spool_remove(t->spool, seq, err);
    // A heartbeat that is applied leaves no outcome: there is nothing to wait for.
    if (e.event->type == CS_EVENT_AGENT_HEARTBEAT)
        return cs_spool_remove(t->spool, seq, err);
    if (!ask(t, &e, &end, err))
        return false;
    switch (end.ending) {
    case CS_ENDING_UNKNOWN:
    case CS_ENDING_PENDING:
        t->count->open++;
        return true;
    case CS_ENDING_REPLAYED:
        t->again[t->again_len++] = seq;
        if (end.watermark > t->watermark)
            t->watermark = end.watermark;
        return true;
    case CS_ENDING_REJECTED:
        t->count->rejected++;
        tell_rejected(t->session, e.event, &end);
        break;
    case CS_ENDING_APPLIED:
        t->count->applied++;
        break;
    }
    return cs_spool_remove(t->spool, seq, err);
}

static int compare_seq(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

// The replayed ones, and all that was not published yet, keep their order above the watermark.
static bool sign_again(struct settling *t, const struct cs_spool_item *items, size_t n, struct cs_err *err) {
    cs_log(CS_LOG_ERROR,
           "numbers of this key are used already: this host was restored or its key is on another host too; "
           "signing again",
           "kid=%s watermark=%" PRId64 " events=%zu", t->session->kid, t->watermark, t->again_len);
    if (!cs_spool_publish_lock(t->spool, t->session->clock, t->session->deadline_ms, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (items[i].state == CS_SPOOL_NEW)
            t->again[t->again_len++] = items[i].seq;
    qsort(t->again, t->again_len, sizeof *t->again, compare_seq);
    bool ok = cs_spool_renumber(t->spool, t->session->crypto, t->session->key, t->again, t->again_len,
                                t->watermark, NULL, err);
    cs_spool_publish_unlock(t->spool);
    t->count->resigned += t->again_len;
    return ok;
}

bool cs_submit_settle(struct cs_session *s, struct cs_spool *spool, int64_t except, size_t max, bool wait,
                      struct cs_settled *ret, struct cs_err *err) {
    struct cs_spool_item *items;
    size_t n, asked = 0;
    *ret = (struct cs_settled){0};
    if (!cs_spool_list(spool, &items, &n, err))
        return false;
    struct settling t = {.session = s, .spool = spool, .count = ret, .wait = wait};
    t.again = calloc(n ? n : 1, sizeof *t.again);
    bool ok = t.again || cs_err_oom(err);
    for (size_t i = 0; ok && i < n && asked < max; i++) {
        if (items[i].state != CS_SPOOL_SENT || items[i].seq == except)
            continue;
        asked++;
        ok = settle_one(&t, items[i].seq, err);
    }
    if (ok && t.again_len > 0)
        ok = sign_again(&t, items, n, err);
    free(t.again);
    free(items);
    return ok;
}

// --- what goes out by the way ----------------------------------------------------------------------

#define EARLIER_MAX 10 // named; the others are counted

static void name_earlier(const struct cs_session *s, const struct cs_event *ev, json_t *list) {
    char time[CS_TIME_TEXT_SIZE];
    cs_time_format(ev->time_s, time);
    json_array_append_new(list, json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "seq", (json_int_t)ev->seq,
                                          "event", ev->id, "type", cs_event_type_name(ev->type), "account",
                                          ev->account, "subject", ev->subject, "time", time));
    if (!s->globals->json && json_array_size(list) <= EARLIER_MAX)
        fprintf(s->cli->err,
                "note: an earlier command left %s of %s in the spool (number %" PRId64
                ", %s); it goes out now\n",
                cs_event_type_name(ev->type), ev->subject, ev->seq, time);
}

json_t *cs_submit_earlier(struct cs_session *s, struct cs_spool *spool, int64_t below) {
    struct cs_spool_item *items;
    struct cs_err err;
    size_t n;
    json_t *list = json_array();
    if (!cs_spool_list(spool, &items, &n, &err)) { // publishing will say it
        json_decref(list);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
        bool earlier = items[i].state == CS_SPOOL_NEW && (below == 0 || items[i].seq < below);
        enum cs_spool_load loaded =
            earlier ? cs_spool_load(spool, s->crypto, items[i].seq, &e, &err) : CS_SPOOL_GONE;
        if (loaded == CS_SPOOL_LOADED && e.event->type != CS_EVENT_AGENT_HEARTBEAT)
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
