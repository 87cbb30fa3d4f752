// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/log.h"
#include "settler_internal.h"

#define WAIT_S       5   // asked of the API at a time; an end of the program waits for it
#define UNKNOWN_MAX  8   // not judged yet: those after it are neither, as a rule
#define QUICK_MS     200 // an answer that came sooner was no waiting
#define IDLE_STEP_MS 1000
#define IDLE_MAX_MS  30000
#define NOTHING_MS   60000

struct pass {
    struct cs_settler *t;
    const struct cs_spool_item *items; // what is published
    size_t n;
    size_t settled, unknown, open;
    bool waited;
    int64_t *again; // numbers that must be signed again
    size_t again_len;
    int64_t watermark;
};

static void tell_end(const struct pass *p, const struct cs_event *ev, const struct cs_end *end) {
    struct cs_settled_end e = {
        .type = ev->type, .ending = end->ending, .code = end->code, .version = end->version};
    memcpy(e.event, ev->id, sizeof e.event);
    memcpy(e.code_name, end->code_name, sizeof e.code_name);
    memcpy(e.detail, end->detail, sizeof e.detail);
    if (cs_uuid_valid(end->subject, strlen(end->subject)))
        memcpy(e.subject, end->subject, sizeof e.subject);
    p->t->hooks.on_end(p->t->hooks.arg, &e);
}

static bool ended(struct pass *p, const struct cs_event *ev, const struct cs_end *end, struct cs_err *err) {
    tell_end(p, ev, end);
    p->settled++;
    p->unknown = 0;
    return cs_spool_remove(p->t->spool, ev->seq, err);
}

// A heartbeat that was applied leaves no outcome, and the next one says more. One that is the last stays
// until then, so that a refusal (another host with this key) is seen.
static bool is_last(const struct pass *p, int64_t seq) {
    return p->n > 0 && p->items[p->n - 1].seq == seq;
}

static bool settle_heartbeat(struct pass *p, const struct cs_event *ev, struct cs_err *err) {
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    cs_pulse_beat(&p->t->pulse, p->t->session.settings->api_timeout_ms);
    if (!cs_submit_ask(&p->t->session, ev->account, ev->id, ev->seq, 0, &end, err))
        return false;
    if (end.ending == CS_ENDING_REPLAYED && end.watermark > p->watermark)
        p->watermark = end.watermark;
    if (end.ending == CS_ENDING_UNKNOWN && is_last(p, ev->seq))
        return true;
    if (end.ending == CS_ENDING_UNKNOWN)
        end.ending = CS_ENDING_APPLIED;
    if (end.ending == CS_ENDING_APPLIED || end.ending == CS_ENDING_REJECTED)
        tell_end(p, ev, &end);
    p->settled++;
    return cs_spool_remove(p->t->spool, ev->seq, err);
}

static bool settle_entry(struct pass *p, const struct cs_event *ev, struct cs_err *err) {
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    int64_t wait_s = p->waited || p->settled > 0 ? 0 : WAIT_S;
    const struct cs_clock *clock = p->t->session.clock;
    int64_t before = cs_clock_mono_ms(clock);
    cs_pulse_beat(&p->t->pulse, p->t->session.settings->api_timeout_ms + wait_s * 1000);
    if (!cs_submit_ask(&p->t->session, ev->account, ev->id, ev->seq, wait_s, &end, err))
        return false;
    bool slow = cs_clock_mono_ms(clock) - before >= QUICK_MS;
    switch (end.ending) {
    case CS_ENDING_UNKNOWN:
        p->waited |= slow;
        p->unknown++;
        return true;
    case CS_ENDING_PENDING:
        p->open++;
        return true;
    case CS_ENDING_REPLAYED:
        p->again[p->again_len++] = ev->seq;
        if (end.watermark > p->watermark)
            p->watermark = end.watermark;
        return true;
    case CS_ENDING_APPLIED:
    case CS_ENDING_REJECTED:
        break;
    }
    return ended(p, ev, &end, err);
}

static bool settle_one(struct pass *p, int64_t seq, struct cs_err *err) {
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry e = {0};
    switch (cs_spool_load(p->t->spool, p->t->session.crypto, seq, &e, err)) {
    case CS_SPOOL_LOADED:
        break;
    case CS_SPOOL_FAILED:
        return false;
    case CS_SPOOL_GONE:
        return true;
    case CS_SPOOL_QUARANTINED:
        cs_log_err(CS_LOG_ERROR, "spool file damaged", err, "number=%" PRId64, seq);
        return true;
    }
    if (e.everywhere) // no account, no outcome in the API
        return true;
    return e.event->type == CS_EVENT_AGENT_HEARTBEAT ? settle_heartbeat(p, e.event, err)
                                                     : settle_entry(p, e.event, err);
}

static int compare_seq(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

// What was refused as replayed, and all that is not published yet, keep their order above the watermark.
static bool sign_again(struct pass *p, struct cs_err *err) {
    struct cs_settler *t = p->t;
    struct cs_spool_item *items;
    size_t n;
    const struct cs_clock *clock = t->session.clock;
    if (!cs_spool_publish_lock(t->spool, clock, cs_clock_mono_ms(clock) + 60000, err))
        return false;
    bool ok = cs_spool_raise(t->spool, p->watermark, err) && cs_spool_list(t->spool, &items, &n, err);
    if (ok) {
        int64_t *seqs = calloc(p->again_len + n + 1, sizeof *seqs);
        size_t len = p->again_len;
        if (seqs)
            memcpy(seqs, p->again, len * sizeof *seqs);
        for (size_t i = 0; seqs && i < n; i++)
            if (items[i].state == CS_SPOOL_NEW)
                seqs[len++] = items[i].seq;
        if (seqs)
            qsort(seqs, len, sizeof *seqs, compare_seq);
        ok = seqs ? cs_spool_renumber(t->spool, t->session.crypto, t->session.key, seqs, len, p->watermark,
                                      NULL, err)
                  : cs_err_oom(err);
        free(seqs);
        free(items);
    }
    cs_spool_publish_unlock(t->spool);
    if (ok)
        t->hooks.on_replayed(t->hooks.arg, p->watermark, p->again_len);
    return ok;
}

static bool settle_all(struct pass *p, struct cs_err *err) {
    size_t first = p->n > 0 ? p->t->cursor % p->n : 0;
    for (size_t i = 0; i < p->n && p->unknown < UNKNOWN_MAX && !cs_bell_stopped(&p->t->bell); i++)
        if (!settle_one(p, p->items[(first + i) % p->n].seq, err))
            return false;
    return true;
}

static int64_t pause_after(struct pass *p) {
    struct cs_settler *t = p->t;
    if (p->settled > 0 || p->again_len > 0)
        t->idle = 0;
    else
        t->idle++;
    // Those in front may stay unknown for ever: the next pass begins behind them.
    t->cursor = p->settled > 0 || p->unknown < UNKNOWN_MAX ? 0 : t->cursor + UNKNOWN_MAX;
    if (p->n == 0)
        return NOTHING_MS;
    if (p->unknown == 0 && p->open == 0)
        return NOTHING_MS;
    if (p->settled > 0)
        return 0;
    int64_t pause = p->waited ? (t->idle - 1) * IDLE_STEP_MS : t->idle * IDLE_STEP_MS;
    return pause < IDLE_MAX_MS ? pause : IDLE_MAX_MS;
}

bool settle_pass(struct cs_settler *t, int64_t *ret_pause_ms, struct cs_err *err) {
    struct cs_spool_item *items;
    size_t n, sent = 0;
    if (!cs_spool_list(t->spool, &items, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (items[i].state == CS_SPOOL_SENT)
            items[sent++] = items[i];
    struct pass p = {.t = t, .items = items, .n = sent, .again = calloc(sent + 1, sizeof *p.again)};
    bool ok = p.again ? settle_all(&p, err) : cs_err_oom(err);
    if (ok && p.watermark > 0)
        ok = sign_again(&p, err);
    *ret_pause_ms = pause_after(&p);
    free(p.again);
    free(items);
    return ok;
}
