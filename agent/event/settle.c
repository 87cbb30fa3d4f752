// SPDX-License-Identifier: Apache-2.0
#include "event/settle.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/runtime/log.h"

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
    // A duplicate is the same event again: the first one was applied.
    return strcmp(status, "applied") == 0 || strcmp(status, "duplicate") == 0 ? CS_ENDING_APPLIED
                                                                              : CS_ENDING_UNKNOWN;
}

int64_t cs_end_sequence(const json_t *outcome) {
    const json_t *text = json_object_get(outcome, "sequence");
    int64_t n = 0;
    return cs_sequence_parse(json_string_value(text), json_string_length(text), &n) ? n : 0;
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
        e.ending = cs_end_sequence(outcome) == seq ? CS_ENDING_REPLAYED : CS_ENDING_UNKNOWN;
    *ret = e;
}

bool cs_end_ask(struct cs_session *s, const char *account, const char *event_id, int64_t seq, int64_t wait_s,
                struct cs_end *ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    char wait[24];
    cs_buf_init(&path, 1024);
    cs_client_put_account(&path, account, "/outcomes");
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
    // A missing account is reported at once. A missing outcome may still come.
    if (cs_client_status(s->client) != 404 || err->code == CS_CODE_ACCOUNT_UNKNOWN)
        return false;
    *ret = (struct cs_end){.ending = CS_ENDING_UNKNOWN};
    return true;
}

// --- signing again -------------------------------------------------------------------------------

static int compare_seq(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

// `seqs`, and what is not published, by rising number.
static bool to_sign_again(struct cs_spool *spool, const int64_t *seqs, size_t n, int64_t **ret, size_t *ret_n,
                          struct cs_err *err) {
    struct cs_spool_item *items;
    size_t item_n;
    if (!cs_spool_list(spool, &items, &item_n, err))
        return false;
    int64_t *all = calloc(n + item_n + 1, sizeof *all);
    if (all && n > 0)
        memcpy(all, seqs, n * sizeof *all);
    for (size_t i = 0; all && i < item_n; i++)
        if (items[i].state == CS_SPOOL_NEW)
            all[n++] = items[i].seq;
    free(items);
    if (!all)
        return cs_err_oom(err);
    qsort(all, n, sizeof *all, compare_seq);
    *ret = all;
    *ret_n = n;
    return true;
}

static bool take_number(struct cs_event *own, const int64_t *old, const int64_t *new, size_t n,
                        struct cs_err *err) {
    for (size_t i = 0; i < n; i++) {
        if (old[i] == own->seq && new[i] > 0) {
            own->seq = new[i];
            return true;
        }
    }
    return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "event %s was taken over by another certsync",
                      own->id);
}

// Under the publish lock.
static bool sign_again(const struct cs_session *s, struct cs_spool *spool, const int64_t *seqs, size_t n,
                       int64_t watermark, struct cs_event *own, size_t *ret_n, struct cs_err *err) {
    int64_t *old = NULL, *new = NULL;
    if (!cs_spool_raise(spool, watermark, err) || !to_sign_again(spool, seqs, n, &old, &n, err))
        return false;
    new = calloc(n + 1, sizeof *new);
    bool ok = (new || cs_err_oom(err)) &&
              cs_spool_renumber(spool, s->crypto, s->key, old, n, watermark, new, err) &&
              (!own || take_number(own, old, new, n, err));
    free(old);
    free(new);
    *ret_n = ok ? n : 0;
    return ok;
}

bool cs_settle_sign_again(const struct cs_session *s, struct cs_spool *spool, int64_t lock_deadline_ms,
                          const int64_t *seqs, size_t n, int64_t watermark, struct cs_event *own,
                          size_t *ret_n, struct cs_err *err) {
    if (!cs_spool_publish_lock(spool, s->clock, lock_deadline_ms, err))
        return false;
    bool ok = sign_again(s, spool, seqs, n, watermark, own, ret_n, err);
    cs_spool_publish_unlock(spool);
    return ok;
}

// --- a pass --------------------------------------------------------------------------------------

struct pass {
    struct cs_settle *settle;
    int64_t last;   // the highest number that is published
    int64_t *again; // numbers that must be signed again
};

static bool drop(struct cs_settle *t, int64_t seq, struct cs_err *err) {
    t->removed++;
    return cs_spool_remove(t->spool, seq, err);
}

static bool settle_event(struct pass *p, const struct cs_spool_entry *e, struct cs_err *err) {
    struct cs_settle *t = p->settle;
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    bool heartbeat = e->event->type == CS_EVENT_AGENT_HEARTBEAT;
    if (e->everywhere || (heartbeat && t->policy->drop_silent))
        return t->policy->drop_silent ? drop(t, e->item.seq, err) : true;
    if (!t->policy->ask(t, e, &end, err))
        return false;
    if (heartbeat && end.ending == CS_ENDING_UNKNOWN) {
        if (e->item.seq == p->last)
            return true;
        end.ending = CS_ENDING_APPLIED;
    }
    switch (end.ending) {
    case CS_ENDING_UNKNOWN:
        t->unknown++;
        return true;
    case CS_ENDING_PENDING:
        t->pending++;
        return true;
    case CS_ENDING_REPLAYED:
        if (end.watermark > t->watermark)
            t->watermark = end.watermark;
        if (heartbeat) // the next heartbeat says more
            return drop(t, e->item.seq, err);
        p->again[t->replayed++] = e->item.seq;
        return true;
    case CS_ENDING_REJECTED:
        t->rejected++;
        break;
    case CS_ENDING_APPLIED:
        t->applied++;
        break;
    }
    if (!heartbeat)
        t->unknown = 0;
    t->policy->on_end(t, e->event, &end);
    return drop(t, e->item.seq, err);
}

static bool settle_one(struct pass *p, int64_t seq, struct cs_err *err) {
    struct cs_settle *t = p->settle;
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    t->loaded++;
    switch (cs_spool_load(t->spool, t->session->crypto, seq, &e, err)) {
    case CS_SPOOL_LOADED:
        return settle_event(p, &e, err);
    case CS_SPOOL_FAILED:
        return false;
    case CS_SPOOL_GONE:
        break;
    case CS_SPOOL_QUARANTINED: // it was published, but its outcome will not be reported
        cs_log_err(CS_LOG_ERROR, "spool file damaged", err, "number=%" PRId64, seq);
        break;
    }
    return true;
}

static bool settle_all(struct pass *p, const struct cs_spool_item *items, size_t n, struct cs_err *err) {
    struct cs_settle *t = p->settle;
    p->last = n > 0 ? items[n - 1].seq : 0;
    for (size_t i = 0; i < n && t->policy->go_on(t); i++)
        if (!settle_one(p, items[(t->first + i) % n].seq, err))
            return false;
    if (t->watermark == 0)
        return true;
    if (!cs_settle_sign_again(t->session, t->spool, t->lock_deadline_ms, p->again, t->replayed, t->watermark,
                              NULL, &t->resigned, err))
        return false;
    t->policy->on_replayed(t);
    return true;
}

bool cs_settle_pass(struct cs_settle *t, struct cs_err *err) {
    struct cs_spool_item *items;
    size_t n;
    if (!cs_spool_list(t->spool, &items, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (items[i].state == CS_SPOOL_SENT)
            items[t->published++] = items[i];
    struct pass p = {.settle = t, .again = calloc(t->published + 1, sizeof *p.again)};
    bool ok = p.again ? settle_all(&p, items, t->published, err) : cs_err_oom(err);
    free(p.again);
    free(items);
    return ok;
}
