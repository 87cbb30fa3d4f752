// SPDX-License-Identifier: Apache-2.0
#include "daemon/outcome_poller.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "certsync/base/text.h"
#include "certsync/runtime/liveness.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "certsync/runtime/wakeup.h"
#include "daemon/register.h"

#define PAGE         "250"
#define PAGE_MAX     250
#define PAUSE_MS     1000
#define PAUSE_MAX_MS 30000

#define WAIT_S          5   // how long the API may wait for one answer; the end of the program waits as long
#define UNKNOWN_MAX     8   // events that are not judged yet: mostly the later ones are not either
#define QUICK_MS        200 // an answer that came sooner did not wait
#define IDLE_STEP_MS    1000
#define IDLE_MAX_MS     30000
#define NOTHING_MS      60000
#define POLICY_MS       300000
#define PUBLISH_LOCK_MS 60000

struct question {
    struct question *next;
    char name[CS_NAME_MAX + 1];
};
struct cs_outcome_poller {
    struct cs_session session; // a copy with a context and an API client of its own
    struct cs_outcome_poller_hooks hooks;
    struct cs_spool *spool;
    pthread_t thread;
    bool started;
    size_t cursor;     // where the next pass over open events begins
    int64_t idle;      // passes without an answer
    int64_t met_ms;    // monotonic: when the API was last asked which log it serves
    int64_t policy_ms; // the same: what the account's policy is
    struct cs_wakeup wakeup;
    struct cs_liveness liveness;
    // Under the wakeup's lock:
    bool ended, list_wanted, key_wanted;
    struct question *questions;
    struct cs_link link;
};

static bool read_hash(const json_t *item, uint8_t out[32]) {
    const char *s = json_string_value(json_object_get(item, "fingerprint"));
    return s && strlen(s) == 64 && cs_hex_decode(s, 64, out);
}

// An SM2 pair has its fingerprints one level down.
static bool read_identity(struct cs_crypto *c, const json_t *item, uint8_t out[32]) {
    const json_t *leaves = json_object_get(item, "leaves");
    uint8_t leaf[32], encrypt[32];
    if (!leaves)
        return read_hash(item, out);
    if (!read_hash(json_array_get(leaves, 0), leaf) || !read_hash(json_array_get(leaves, 1), encrypt))
        return false;
    cs_register_identity(c, leaf, encrypt, out);
    return true;
}

// An own certificate; those of others that are shared in are none.
static bool read_entry(struct cs_crypto *c, const json_t *item, struct cs_catalog_entry *e) {
    const char *name = json_string_value(json_object_get(item, "name"));
    const char *id = json_string_value(json_object_get(item, "id"));
    const char *source = json_string_value(json_object_get(item, "source"));
    const char *ends = json_string_value(json_object_get(item, "ends"));
    const json_t *leaves = json_object_get(item, "leaves");
    const char *from =
        json_string_value(json_object_get(leaves ? json_array_get(leaves, 0) : item, "not_before"));
    *e = (struct cs_catalog_entry){0};
    if (!name || strlen(name) >= sizeof e->name || !id || !cs_uuid_valid(id, strlen(id)) || !source ||
        strcmp(source, "shared") == 0 || !from || !cs_time_parse(from, strlen(from), &e->not_before_s))
        return false;
    if (!ends || !cs_time_parse(ends, strlen(ends), &e->ends_s))
        e->ends_s = 0;
    memcpy(e->name, name, strlen(name) + 1);
    memcpy(e->id, id, sizeof e->id);
    if (!read_identity(c, item, e->sha256))
        memset(e->sha256, 0, sizeof e->sha256);
    return true;
}

static bool get(struct cs_outcome_poller *t, const struct cs_buf *path, json_t **ret, struct cs_err *err) {
    cs_liveness_beat(&t->liveness, t->session.settings->api_timeout_ms);
    return cs_buf_ok(path, err) && cs_session_client(&t->session, err) &&
           cs_client_get(t->session.client, (const char *)path->data, 0, ret, err);
}

static bool list_page(struct cs_outcome_poller *t, char *cursor, size_t size, bool *ret_more,
                      struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    struct cs_catalog_entry entries[PAGE_MAX];
    size_t i, n = 0;
    const json_t *item;
    json_t *page;
    cs_buf_init(&path, 16384);
    cs_client_put_account(&path, t->session.account, "/certificates");
    cs_client_put_query(&path, "limit", PAGE);
    cs_client_put_query(&path, "cursor", cursor);
    if (!get(t, &path, &page, err))
        return false;
    json_array_foreach(json_object_get(page, "certificates"), i, item) {
        if (n < PAGE_MAX && read_entry(t->session.crypto, item, &entries[n]))
            n++;
    }
    const char *next = json_string_value(json_object_get(page, "next"));
    *ret_more = next && strlen(next) < size && strcmp(next, cursor) != 0;
    snprintf(cursor, size, "%s", *ret_more ? next : "");
    json_decref(page);
    if (n > 0)
        t->hooks.on_entries(t->hooks.arg, entries, n);
    return true;
}

// An API that does not tell it holds nothing back: the consumer judges.
static bool learn_policy(struct cs_outcome_poller *t, struct cs_err *err) {
    struct cs_host_policy policy;
    cs_liveness_beat(&t->liveness, t->session.settings->api_timeout_ms);
    if (!cs_session_client(&t->session, err))
        return false;
    if (cs_host_policy_get(t->session.client, t->session.account, &policy, err))
        t->hooks.on_policy(t->hooks.arg, &policy);
    else if (err->kind == CS_ERR_RETRY && cs_client_status(t->session.client) != 200)
        return false;
    t->policy_ms = cs_clock_mono_ms(t->session.clock);
    return true;
}

static bool list(struct cs_outcome_poller *t, struct cs_err *err) {
    char cursor[8192] = "";
    if (!learn_policy(t, err))
        return false;
    for (bool more = true; more && !cs_wakeup_stopped(&t->wakeup);)
        if (!list_page(t, cursor, sizeof cursor, &more, err))
            return false;
    return true;
}

static bool answer(struct cs_outcome_poller *t, const char *name, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    struct cs_catalog_entry e;
    json_t *item;
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, t->session.account, "/certificates");
    cs_client_put_segment(&path, name);
    bool ok = get(t, &path, &item, err);
    if (!ok && (!t->session.client || cs_client_status(t->session.client) != 404))
        return false;
    bool there = ok && read_entry(t->session.crypto, item, &e);
    if (ok)
        json_decref(item);
    t->hooks.on_answer(t->hooks.arg, name, there ? &e : NULL);
    return true;
}

// Whether the API still lets this key in: asks for an outcome that nobody has. A host that has nothing
// to send would not learn otherwise that its key was revoked.
static bool try_key(struct cs_outcome_poller *t, struct cs_err *err) {
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    cs_uuid id;
    pthread_mutex_lock(&t->wakeup.lock);
    bool wanted = t->key_wanted;
    pthread_mutex_unlock(&t->wakeup.lock);
    if (!wanted)
        return true;
    cs_liveness_beat(&t->liveness, t->session.settings->api_timeout_ms);
    if (!cs_compose_uuid(cs_clock_wall_ms(t->session.clock), id, err))
        return false;
    if (!cs_end_ask(&t->session, t->session.account, id, 0, 0, &end, err) &&
        err->code != CS_CODE_EVENT_FORBIDDEN) // it is let in, and may not ask this
        return false;
    pthread_mutex_lock(&t->wakeup.lock);
    t->key_wanted = false;
    pthread_mutex_unlock(&t->wakeup.lock);
    return true;
}

// Lists and asks. What cannot be answered now stays wanted.
static bool work(struct cs_outcome_poller *t, struct cs_err *err) {
    pthread_mutex_lock(&t->wakeup.lock);
    bool list_wanted = t->list_wanted;
    struct question *q = t->questions;
    pthread_mutex_unlock(&t->wakeup.lock);
    if (list_wanted) {
        bool ok = list(t, err), denied = !ok && err->kind != CS_ERR_RETRY;
        t->hooks.on_listed(t->hooks.arg, ok ? NULL : err);
        pthread_mutex_lock(&t->wakeup.lock);
        t->list_wanted = !ok;
        pthread_mutex_unlock(&t->wakeup.lock);
        // A key without the right to read works with what the host remembers. A key that the API
        // refuses does not.
        bool shut_out = denied && t->session.client && cs_client_status(t->session.client) == 401;
        if (!ok && (!denied || shut_out))
            return false;
    }
    while (q) {
        if (!answer(t, q->name, err))
            return false;
        pthread_mutex_lock(&t->wakeup.lock);
        for (struct question **at = &t->questions; *at; at = &(*at)->next)
            if (*at == q) {
                *at = q->next;
                break;
            }
        struct question *next = t->questions;
        pthread_mutex_unlock(&t->wakeup.lock);
        free(q);
        q = next;
    }
    return true;
}

// --- how published events ended ------------------------------------------------------------------

struct pass {
    struct cs_outcome_poller *outcome_poller;
    struct cs_settled_end *ends; // not reported yet
    size_t n;
    bool waited; // one question waited for its answer: the others are asked without waiting
};

static bool ask(struct cs_settle *p, const struct cs_spool_entry *e, struct cs_end *ret, struct cs_err *err) {
    struct pass *own = p->arg;
    struct cs_outcome_poller *t = own->outcome_poller;
    int64_t wait_s = own->waited || p->removed > 0 ? 0 : WAIT_S;
    if (wait_s == 0 && p->is_unknown) {
        *ret = (struct cs_end){.ending = CS_ENDING_UNKNOWN};
        return true;
    }
    int64_t before = cs_clock_mono_ms(t->session.clock);
    cs_liveness_beat(&t->liveness, t->session.settings->api_timeout_ms + wait_s * 1000);
    if (!cs_end_ask(&t->session, e->event->account, e->event->id, e->item.seq, wait_s, ret, err))
        return false;
    if (ret->ending == CS_ENDING_UNKNOWN)
        own->waited |= cs_clock_mono_ms(t->session.clock) - before >= QUICK_MS;
    return true;
}

static bool go_on(const struct cs_settle *p) {
    struct pass *own = p->arg;
    return p->unknown < UNKNOWN_MAX && !cs_wakeup_stopped(&own->outcome_poller->wakeup);
}

static void tell_ends(struct pass *own) {
    if (own->n > 0)
        own->outcome_poller->hooks.on_ends(own->outcome_poller->hooks.arg, own->ends, own->n);
    own->n = 0;
}

static void on_end(struct cs_settle *p, const struct cs_event *ev, const struct cs_end *end) {
    struct pass *own = p->arg;
    struct cs_settled_end e = {
        .type = ev->type, .ending = end->ending, .code = end->code, .version = end->version};
    memcpy(e.event, ev->id, sizeof e.event);
    memcpy(e.code_name, end->code_name, sizeof e.code_name);
    memcpy(e.detail, end->detail, sizeof e.detail);
    if (cs_uuid_valid(end->subject, strlen(end->subject)))
        memcpy(e.subject, end->subject, sizeof e.subject);
    own->ends[own->n++] = e;
    if (own->n == CS_SETTLED_MAX)
        tell_ends(own);
}

static void on_replayed(const struct cs_settle *p) {
    const struct pass *own = p->arg;
    own->outcome_poller->hooks.on_replayed(own->outcome_poller->hooks.arg, p->watermark, p->replayed);
}

static const struct cs_settle_policy policy = {
    .together = true, .go_on = go_on, .ask = ask, .on_end = on_end, .on_replayed = on_replayed};

static int64_t pause_after(struct cs_outcome_poller *t, const struct cs_settle *p, bool waited) {
    if (p->removed > 0 || p->replayed > 0)
        t->idle = 0;
    else
        t->idle++;
    // The first ones may stay unknown for ever. So the next pass begins behind them.
    t->cursor = p->removed > 0 || p->unknown < UNKNOWN_MAX ? 0 : t->cursor + UNKNOWN_MAX;
    if (p->unknown == 0 && p->pending == 0)
        return NOTHING_MS;
    if (p->removed > 0)
        return 0;
    int64_t pause = waited ? (t->idle - 1) * IDLE_STEP_MS : t->idle * IDLE_STEP_MS;
    return pause < IDLE_MAX_MS ? pause : IDLE_MAX_MS;
}

// One pass over the published events. *ret_pause_ms: when to look again.
static bool settle(struct cs_outcome_poller *t, int64_t *ret_pause_ms, struct cs_err *err) {
    struct pass own = {.outcome_poller = t, .ends = calloc(CS_SETTLED_MAX, sizeof *own.ends)};
    *ret_pause_ms = PAUSE_MS;
    if (!own.ends)
        return cs_err_oom(err);
    struct cs_settle p = {.session = &t->session,
                          .spool = t->spool,
                          .policy = &policy,
                          .arg = &own,
                          .lock_deadline_ms = cs_clock_mono_ms(t->session.clock) + PUBLISH_LOCK_MS,
                          .first = t->cursor};
    bool ok = cs_settle_pass(&p, err);
    tell_ends(&own);
    free(own.ends);
    *ret_pause_ms = pause_after(t, &p, own.waited);
    return ok;
}

static void told(struct cs_outcome_poller *t, const struct cs_err *err) {
    pthread_mutex_lock(&t->wakeup.lock);
    cs_link_set(&t->link, err, cs_clock_wall_ms(t->session.clock), "api");
    pthread_mutex_unlock(&t->wakeup.lock);
}

// Each minute, also where there is nothing else to ask: another log is noticed before more is sent.
static bool meet(struct cs_outcome_poller *t, struct cs_err *err) {
    json_t *answer;
    int64_t now = cs_clock_mono_ms(t->session.clock);
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 64);
    if (t->met_ms > 0 && now < t->met_ms + NOTHING_MS)
        return true;
    cs_buf_puts(&path, "/v1/log");
    if (!get(t, &path, &answer, err))
        return err->kind == CS_ERR_REJECT;
    json_decref(answer);
    t->met_ms = now;
    return now < t->policy_ms + POLICY_MS || learn_policy(t, err);
}

static void tell_log(struct cs_outcome_poller *t, const struct cs_err *err) {
    const struct cs_client *c = t->session.client;
    bool foreign = c && cs_client_foreign_log(c), same = c && cs_client_same_log(c);
    if (t->session.foreign_log[0] ? !same : !foreign)
        return;
    snprintf(t->session.foreign_log, sizeof t->session.foreign_log, "%s", foreign ? err->msg : "");
    t->hooks.on_log(t->hooks.arg, t->session.foreign_log);
}

static void run(struct cs_outcome_poller *t) {
    int64_t failing = PAUSE_MS, pause;
    for (bool go_on = true; go_on;) {
        struct cs_err err;
        bool ok = work(t, &err) && try_key(t, &err) && meet(t, &err);
        ok = settle(t, &pause, ok ? &err : &(struct cs_err){0}) && ok;
        tell_log(t, &err);
        bool asked = !ok || t->session.client;
        if (asked)
            told(t, ok ? NULL : &err);
        failing = ok ? PAUSE_MS : failing * 2 < PAUSE_MAX_MS ? failing * 2 : PAUSE_MAX_MS;
        pause = ok ? pause : failing;
        cs_liveness_beat(&t->liveness, pause);
        go_on = cs_wakeup_wait(&t->wakeup, pause, ok);
    }
}

static void *thread_main(void *arg) {
    struct cs_outcome_poller *t = arg;
    struct cs_err err;
    prctl(PR_SET_NAME, "outcome-poller");
    if (cs_session_spool(&t->session, &t->spool, &err))
        run(t);
    else
        told(t, &err);
    cs_liveness_rest(&t->liveness);
    pthread_mutex_lock(&t->wakeup.lock);
    t->ended = true;
    pthread_mutex_unlock(&t->wakeup.lock);
    return NULL;
}

bool cs_outcome_poller_new(const struct cs_session *session, const struct cs_outcome_poller_hooks *hooks,
                           struct cs_outcome_poller **ret, struct cs_err *err) {
    struct cs_outcome_poller *t = calloc(1, sizeof *t);
    if (!t)
        return cs_err_oom(err);
    t->session = *session;
    t->session.client = NULL;
    t->session.crypto = NULL;
    t->hooks = *hooks;
    cs_wakeup_init(&t->wakeup);
    t->started = cs_crypto_new(&t->session.crypto, err) && cs_thread_new(&t->thread, thread_main, t, err);
    if (!t->started) {
        cs_outcome_poller_free(t);
        return false;
    }
    *ret = t;
    return true;
}

void cs_outcome_poller_wake(struct cs_outcome_poller *t) {
    cs_wakeup_signal(&t->wakeup);
}

void cs_outcome_poller_list(struct cs_outcome_poller *t) {
    pthread_mutex_lock(&t->wakeup.lock);
    t->list_wanted = true;
    pthread_mutex_unlock(&t->wakeup.lock);
    cs_wakeup_signal(&t->wakeup);
}

void cs_outcome_poller_try_key(struct cs_outcome_poller *t) {
    pthread_mutex_lock(&t->wakeup.lock);
    t->key_wanted = true;
    pthread_mutex_unlock(&t->wakeup.lock);
    cs_wakeup_signal(&t->wakeup);
}

bool cs_outcome_poller_ask(struct cs_outcome_poller *t, const char *name) {
    struct question *q = calloc(1, sizeof *q);
    if (!q)
        return false;
    snprintf(q->name, sizeof q->name, "%s", name);
    pthread_mutex_lock(&t->wakeup.lock);
    q->next = t->questions;
    t->questions = q;
    pthread_mutex_unlock(&t->wakeup.lock);
    cs_wakeup_signal(&t->wakeup);
    return true;
}

void cs_outcome_poller_link(struct cs_outcome_poller *t, struct cs_link *ret) {
    pthread_mutex_lock(&t->wakeup.lock);
    *ret = t->link;
    pthread_mutex_unlock(&t->wakeup.lock);
}

void cs_outcome_poller_stop(struct cs_outcome_poller *t) {
    cs_wakeup_stop(&t->wakeup);
}

int64_t cs_outcome_poller_overdue_ms(const struct cs_outcome_poller *t) {
    return cs_liveness_overdue_ms(&t->liveness);
}

bool cs_outcome_poller_ended(struct cs_outcome_poller *t) {
    pthread_mutex_lock(&t->wakeup.lock);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->wakeup.lock);
    return ended;
}

void cs_outcome_poller_free(struct cs_outcome_poller *t) {
    if (!t)
        return;
    cs_outcome_poller_stop(t);
    if (t->started)
        pthread_join(t->thread, NULL);
    for (struct question *q = t->questions, *next; q; q = next) {
        next = q->next;
        free(q);
    }
    cs_client_free(t->session.client);
    cs_spool_free(t->spool);
    cs_crypto_free(t->session.crypto);
    cs_wakeup_destroy(&t->wakeup);
    free(t);
}
