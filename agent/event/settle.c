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

const json_t *cs_end_said(const json_t *outcome, const char *member) {
    return json_object_get(json_object_get(outcome, "data"), member);
}

int64_t cs_end_sequence(const json_t *outcome) {
    const json_t *text = cs_end_said(outcome, "sequence");
    int64_t n = 0;
    return cs_sequence_parse(json_string_value(text), json_string_length(text), &n) ? n : 0;
}

void cs_end_read(json_t *doc, int64_t seq, struct cs_end *ret) {
    const json_t *outcome = json_object_get(doc, "outcome"), *final = json_object_get(doc, "final");
    struct cs_end e = {.doc = doc};
    const json_t *last = json_is_object(final) ? final : json_object_get(outcome, "data");
    e.ending = ending_of(json_string_value(json_object_get(last, "status")));
    copy_string(e.code_name, sizeof e.code_name, json_object_get(last, "code"));
    copy_string(e.detail, sizeof e.detail, json_object_get(last, "detail"));
    copy_string(e.subject, sizeof e.subject, json_object_get(outcome, "subject"));
    e.code = cs_code_from_name(e.code_name, strlen(e.code_name));
    e.version = json_integer_value(cs_end_said(outcome, "version"));
    e.watermark = json_integer_value(cs_end_said(outcome, "watermark"));
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

static void put_answer(json_t *doc, const struct cs_event *const *events, size_t n, struct cs_end *ret) {
    const char *id = json_string_value(cs_end_said(json_object_get(doc, "outcome"), "event"));
    for (size_t i = 0; id && i < n; i++)
        if (strcmp(events[i]->id, id) == 0) {
            cs_end_clear(&ret[i]);
            cs_end_read(json_incref(doc), events[i]->seq, &ret[i]);
        }
}

bool cs_ends_ask(struct cs_session *s, const char *account, const struct cs_event *const *events, size_t n,
                 struct cs_end *ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    json_t *answer;
    size_t i;
    json_t *doc;
    cs_buf_init(&path, 8192);
    cs_client_put_account(&path, account, "/outcomes");
    for (i = 0; i < n; i++) {
        cs_buf_putc(&path, i == 0 ? '/' : ',');
        cs_buf_puts(&path, events[i]->id);
    }
    if (!cs_buf_ok(&path, err) || !cs_session_client(s, err) ||
        !cs_client_get(s->client, (const char *)path.data, 0, &answer, err))
        return false;
    for (i = 0; i < n; i++)
        ret[i] = (struct cs_end){.ending = CS_ENDING_UNKNOWN};
    json_array_foreach(json_object_get(answer, "outcomes"), i, doc) put_answer(doc, events, n, ret);
    json_decref(answer);
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

#define GROUP CS_ENDS_MAX // events that are loaded and ended together

struct pass {
    struct cs_settle *settle;
    int64_t *again; // numbers that must be signed again
    // The group:
    struct cs_spool_entry entries[GROUP];
    struct cs_end ends[GROUP]; // UNKNOWN: ask
    bool answered[GROUP];      // by the question for several
    struct cs_spool_item marks[GROUP];
    size_t n, marks_n;
    bool told; // the question for several was asked
};

static void drop(struct pass *p, int64_t seq) {
    p->settle->removed++;
    p->marks[p->marks_n++] = (struct cs_spool_item){.seq = seq, .state = CS_SPOOL_ENDED};
}

// Asks for those after event i in one question. If that fails, the questions for single ones report
// why.
static void ask_for_others(struct pass *p, size_t i) {
    const struct cs_settle *t = p->settle;
    const struct cs_event *events[GROUP];
    size_t at[GROUP], n = 0;
    const char *account = p->entries[i].event->account;
    struct cs_end ends[GROUP] = {0};
    struct cs_err ignored;
    for (size_t k = i + 1; k < p->n; k++) {
        const struct cs_spool_entry *e = &p->entries[k];
        if (!e->event || e->everywhere || strcmp(e->event->account, account) != 0)
            continue;
        at[n] = k;
        events[n++] = e->event;
    }
    if (n == 0 || !cs_ends_ask(t->session, account, events, n, ends, &ignored))
        return;
    for (size_t k = 0; k < n; k++) {
        p->ends[at[k]] = ends[k];
        p->answered[at[k]] = true;
    }
}

static bool ask(struct pass *p, size_t i, struct cs_end *ret, struct cs_err *err) {
    struct cs_settle *t = p->settle;
    if (p->ends[i].ending != CS_ENDING_UNKNOWN) {
        *ret = p->ends[i];
        p->ends[i] = (struct cs_end){.ending = CS_ENDING_UNKNOWN};
        return true;
    }
    t->is_unknown = p->answered[i];
    if (!t->policy->ask(t, &p->entries[i], ret, err))
        return false;
    if (t->policy->together && !p->told)
        ask_for_others(p, i);
    p->told = true;
    return true;
}

// An event for a log that this host worked with before: nobody takes it, and nobody keeps an
// outcome of it.
static bool of_another_log(const struct pass *p, const struct cs_spool_entry *e, struct cs_end *ret) {
    const struct cs_session *s = p->settle->session;
    if (e->everywhere || !s->log_id[0] || strcmp(e->event->log_id, s->log_id) == 0)
        return false;
    *ret = (struct cs_end){.ending = CS_ENDING_REJECTED, .code = CS_CODE_EVENT_INCARNATION};
    snprintf(ret->code_name, sizeof ret->code_name, "%s", cs_code_name(ret->code));
    return true;
}

static bool settle_event(struct pass *p, size_t i, struct cs_err *err) {
    struct cs_settle *t = p->settle;
    const struct cs_spool_entry *e = &p->entries[i];
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    if (e->everywhere) {
        if (t->policy->drop_silent)
            drop(p, e->item.seq);
        return true;
    }
    if (!of_another_log(p, e, &end) && !ask(p, i, &end, err))
        return false;
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
        p->again[t->replayed++] = e->item.seq;
        return true;
    case CS_ENDING_REJECTED:
        t->rejected++;
        break;
    case CS_ENDING_APPLIED:
        t->applied++;
        break;
    }
    t->unknown = 0;
    t->policy->on_end(t, e->event, &end);
    drop(p, e->item.seq);
    return true;
}

// Loads the group. The place of an event that is gone stays empty.
static bool load_group(struct pass *p, const struct cs_spool_item *items, size_t n, size_t from,
                       struct cs_err *err) {
    const struct cs_settle *t = p->settle;
    if (!cs_spool_lock(t->spool, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < p->n; i++) {
        int64_t seq = items[(t->first + from + i) % n].seq;
        switch (cs_spool_load(t->spool, t->session->crypto, seq, &p->entries[i], err)) {
        case CS_SPOOL_FAILED:
            ok = false;
            break;
        case CS_SPOOL_QUARANTINED: // it was published, but its outcome will not be reported
            cs_log_err(CS_LOG_ERROR, "spool file damaged", err, "number=%" PRId64, seq);
            break;
        case CS_SPOOL_LOADED:
        case CS_SPOOL_GONE:
            break;
        }
    }
    cs_spool_unlock(t->spool);
    return ok;
}

static int by_seq(const void *a, const void *b) {
    const struct cs_spool_item *x = a, *y = b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

// Removes ended events from the spool, also if the pass stops here.
static bool end_group(struct pass *p, bool ok, struct cs_err *err) {
    struct cs_err failed;
    qsort(p->marks, p->marks_n, sizeof p->marks[0], by_seq);
    if (!cs_spool_mark(p->settle->spool, p->marks, p->marks_n, ok ? err : &failed))
        ok = false;
    for (size_t i = 0; i < p->n; i++) {
        cs_spool_entry_clear(&p->entries[i]);
        cs_end_clear(&p->ends[i]);
        p->answered[i] = false;
    }
    p->n = p->marks_n = 0;
    p->told = false;
    return ok;
}

// *ret_go_on false: the policy stops the pass.
static bool settle_group(struct pass *p, const struct cs_spool_item *items, size_t n, size_t from,
                         bool *ret_go_on, struct cs_err *err) {
    struct cs_settle *t = p->settle;
    bool ok = load_group(p, items, n, from, err);
    for (size_t i = 0; ok && i < p->n; i++) {
        *ret_go_on = t->policy->go_on(t);
        if (!*ret_go_on)
            break;
        t->loaded++;
        ok = !p->entries[i].event || settle_event(p, i, err);
    }
    return end_group(p, ok, err);
}

static bool settle_all(struct pass *p, const struct cs_spool_item *items, size_t n, struct cs_err *err) {
    struct cs_settle *t = p->settle;
    size_t max = t->max > 0 && t->max < n ? t->max : n;
    bool more = true;
    for (size_t i = 0; more && i < max; i += GROUP) {
        p->n = max - i < GROUP ? max - i : GROUP;
        if (!settle_group(p, items, n, i, &more, err))
            return false;
    }
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
    struct pass *p = calloc(1, sizeof *p);
    int64_t *again = calloc(t->published + 1, sizeof *again);
    bool ok = p && again ? true : cs_err_oom(err);
    if (ok) {
        p->settle = t;
        p->again = again;
        ok = settle_all(p, items, t->published, err);
    }
    free(p);
    free(again);
    free(items);
    return ok;
}
