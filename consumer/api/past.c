// SPDX-License-Identifier: Apache-2.0
#include "api/past.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/model/outcome.h"
#include "worker/apply.h"

#define RIVAL_LINKS 8

// What is known of an event. An outcome of a copy tells something of it only where there is no other.
enum kind { NOTHING, OF_COPY, PENDING, FINAL };

bool cs_past_begin(struct cs_past_search *s, const struct cs_past_log *log, const struct cs_past_question *q,
                   bool whole, struct cs_buf *docs, struct cs_err *err) {
    *s = (struct cs_past_search){.log = *log, .question = q, .docs = docs, .begun = whole, .linked = whole};
    cs_chain_begin(&s->chain, log->marks, &log->epochs, q->partition, 0, NULL, log->proven);
    s->chain.known_only = !whole;
    s->kind = calloc(q->n, sizeof *s->kind);
    return s->kind || cs_err_oom(err);
}

void cs_past_end(struct cs_past_search *s) {
    free(s->kind);
    s->kind = NULL;
}

bool cs_past_done(const struct cs_past_search *s) {
    if (s->question->history)
        return s->question->history->full;
    for (size_t i = 0; i < s->question->n; i++)
        if (s->kind[i] != FINAL)
            return false;
    return s->idle >= CS_PAST_LEAD;
}

static bool found_any(const struct cs_past_search *s) {
    for (size_t i = 0; i < s->question->n; i++)
        if (s->kind[i] != NOTHING)
            return true;
    return false;
}

static size_t find(const struct cs_past_search *s, const char *event) {
    size_t i = 0;
    while (i < s->question->n && strcmp(s->question->events[i], event) != 0)
        i++;
    return i;
}

static void put(struct cs_past_search *s, size_t i, enum kind kind, struct cs_bytes outcome) {
    cs_buf_reset(&s->docs[i]);
    cs_outcome_doc_encode(&s->docs[i], outcome, NULL, NULL, 0);
    s->kind[i] = (unsigned char)kind;
    s->idle = 0;
}

// How a share ended that the search has seen begin.
static bool conclude(struct cs_past_search *s, size_t i, const struct cs_outcome *by,
                     const struct cs_conclusion *c, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf copy;
    struct cs_bytes outcome;
    bool final = false;
    cs_buf_init(&copy, s->docs[i].max);
    cs_buf_put(&copy, s->docs[i].data, s->docs[i].len);
    if (!cs_buf_ok(&copy, err))
        return false;
    if (!cs_outcome_doc_split(cs_buf_bytes(&copy), &outcome, &final))
        return true;
    cs_buf_reset(&s->docs[i]);
    cs_outcome_doc_encode(&s->docs[i], outcome, c, by->event, by->n);
    s->kind[i] = FINAL;
    s->idle = 0;
    return true;
}

// What a catalog keeps no outcome of: copies that changed nothing, and what came of no proven sender.
static bool is_kept(const struct cs_verdict *v) {
    return v->status != CS_STATUS_DUPLICATE && v->code != CS_CODE_EVENT_UNSIGNED &&
           v->code != CS_CODE_EVENT_UNKNOWN_SIGNER && v->code != CS_CODE_EVENT_BAD_SIGNATURE;
}

// Takes an outcome where it is of the history. Each has a place of its own, also copies of an event.
static void look_at_history(struct cs_past_search *s, const struct cs_outcome *o, int64_t n,
                            struct cs_bytes value) {
    struct cs_past_history *h = s->question->history;
    if (strcmp(o->verdict.subject, h->subject) == 0 && n > h->after && is_kept(&o->verdict)) {
        h->full = h->found == s->question->n;
        if (h->full)
            return;
        memcpy(s->question->events[h->found], o->event, sizeof s->question->events[0]);
        put(s, h->found++, o->verdict.status == CS_STATUS_PENDING ? PENDING : FINAL, value);
    }
}

static bool look(struct cs_past_search *s, struct cs_bytes value, int64_t n, struct cs_err *err) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_err ignored;
    if (!cs_outcome_decode(value, &o, &ignored))
        return true;
    if (s->question->history)
        look_at_history(s, &o, n, value);
    size_t i = find(s, o.event);
    enum kind kind = cs_verdict_is_of_copy(&o.verdict)       ? OF_COPY
                     : o.verdict.status == CS_STATUS_PENDING ? PENDING
                                                             : FINAL;
    if (!s->question->history && i < s->question->n && s->kind[i] <= OF_COPY &&
        o.verdict.status != CS_STATUS_DUPLICATE)
        put(s, i, kind, value);
    for (size_t k = 0; k < o.verdict.concludes_len; k++) {
        i = find(s, o.verdict.concludes[k].event);
        if (i < s->question->n && s->kind[i] == PENDING && !conclude(s, i, &o, &o.verdict.concludes[k], err))
            return false;
    }
    return true;
}

// The first record of a stretch cannot be checked, nor can one that does not follow.
static bool adopt(struct cs_past_search *s, const struct cs_record *r, struct cs_chain *chain) {
    struct cs_chain c;
    int64_t n = 0;
    cs_chain_begin(&c, s->log.marks, &s->log.epochs, s->question->partition, 0, NULL, s->log.proven);
    c.known_only = true;
    if (c.others_until > s->chain.others_until)
        c.others_until = s->chain.others_until;
    if (!cs_chain_counts(&c, r, &n))
        return false;
    c.last = n;
    cs_crypto_sha256(s->log.crypto, r->value, c.sha256);
    *chain = c;
    return true;
}

// A record that does not follow was forged, or those before it were copies. So many that follow each
// other show that it is the latter. Where something was found already, the log is not what it was.
static bool take_other(struct cs_past_search *s, const struct cs_record *r, int64_t n, struct cs_err *err) {
    int64_t ignored = 0;
    if (s->rival.last > 0 && cs_chain_take(&s->rival, s->log.crypto, r, &ignored) == CS_CHAIN_NEXT)
        s->rival_linked++;
    else
        s->rival_linked = adopt(s, r, &s->rival) ? 0 : -1;
    if (s->rival_linked < RIVAL_LINKS)
        return true;
    if (found_any(s))
        return cs_chain_broken(&s->chain, CS_CHAIN_BROKEN, s->log.topic, r, n, err);
    s->chain = s->rival;
    s->rival.last = 0;
    return true;
}

bool cs_past_take(struct cs_past_search *s, const struct cs_record *r, struct cs_err *err) {
    int64_t n = 0;
    if (!s->begun) {
        s->begun = adopt(s, r, &s->chain);
        return true;
    }
    enum cs_chain_link link = cs_chain_take(&s->chain, s->log.crypto, r, &n);
    if (link != CS_CHAIN_NEXT && s->linked == 0) { // then the one before may have been a copy
        (void)adopt(s, r, &s->chain);
        return true;
    }
    switch (link) {
    case CS_CHAIN_NEXT:
        break;
    case CS_CHAIN_COPY:
    case CS_CHAIN_SUPERSEDED:
    case CS_CHAIN_FOREIGN:
        return true;
    case CS_CHAIN_NEWER:
        return cs_chain_broken(&s->chain, link, s->log.topic, r, n, err);
    case CS_CHAIN_BROKEN:
        return take_other(s, r, n, err);
    }
    s->linked++;
    s->idle++;
    const char *account = s->question->account;
    struct cs_past_history *h = s->question->history;
    bool same = cs_bytes_equal(r->key, (struct cs_bytes){(const uint8_t *)account, strlen(account)});
    if (same && !look(s, r->value, n, err))
        return false;
    if (h && !h->full) {
        h->last = n;
        h->last_ms = r->timestamp_ms;
    }
    return true;
}
