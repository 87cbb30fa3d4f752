// SPDX-License-Identifier: Apache-2.0
#include "daemon/sender.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/liveness.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "certsync/runtime/wakeup.h"
#include "spool/drain.h"

#define TRY_MS       5000
#define TRY_MAX_MS   60000 // the cluster is slow, but there
#define PAUSE_MS     1000
#define PAUSE_MAX_MS 10000
#define BUSY_MS      60000
#define LOOK_MS      10000 // commands that spool do not wake us

struct cs_sender {
    struct cs_session session; // a copy with a context of its own
    struct cs_sender_hooks hooks;
    pthread_t thread;
    bool started;
    struct cs_wakeup wakeup;
    struct cs_liveness liveness;
    // Under the wakeup's lock:
    bool ended;
    struct cs_link link;
    char held[CS_ERR_MSG_MAX]; // why nothing may be published
    bool beat_due;
    struct cs_host_state host;
    struct cs_beat_stand beat;
    // The thread's own:
    int64_t beat_seq; // of the last heartbeat
};

void cs_link_set(struct cs_link *l, const struct cs_err *err, int64_t now_ms, const char *what) {
    bool ok = !err, changed = !l->tried || l->ok != ok;
    if (changed && ok && l->tried)
        cs_log(CS_LOG_INFO, "connected again", "to=%s", what);
    if (changed && !ok)
        cs_log_err(CS_LOG_WARN, "not connected", err, "to=%s", what);
    if (changed)
        l->since_ms = now_ms;
    l->tried = true;
    l->ok = ok;
    l->code = ok ? CS_CODE_NONE : err->code;
    snprintf(l->error, sizeof l->error, "%s", ok ? "" : err->msg);
}

static void on_damaged(void *arg, const struct cs_err *err) {
    (void)arg;
    cs_log_err(CS_LOG_ERROR, "spool file damaged", err, "spool=");
}

static void told(struct cs_sender *s, const struct cs_err *err) {
    pthread_mutex_lock(&s->wakeup.lock);
    cs_link_set(&s->link, err, cs_clock_wall_ms(s->session.clock), "kafka");
    pthread_mutex_unlock(&s->wakeup.lock);
}

static bool anything_new(struct cs_spool *spool, struct cs_err *err) {
    struct cs_spool_item *items;
    size_t n;
    bool found = false;
    if (!cs_spool_list(spool, &items, &n, err))
        return true; // the attempt reports what is wrong
    for (size_t i = 0; i < n && !found; i++)
        found = items[i].state == CS_SPOOL_NEW;
    free(items);
    return found;
}

static bool held(struct cs_sender *s) {
    pthread_mutex_lock(&s->wakeup.lock);
    bool yes = s->held[0];
    pthread_mutex_unlock(&s->wakeup.lock);
    return yes;
}

// --- heartbeats

static bool take_beat(struct cs_sender *s, struct cs_host_state *ret) {
    pthread_mutex_lock(&s->wakeup.lock);
    bool due = s->beat_due && !s->held[0];
    if (due)
        *ret = s->host;
    s->beat_due = s->beat_due && !due;
    pthread_mutex_unlock(&s->wakeup.lock);
    return due;
}

// A number that rises, whatever the clock does.
static bool publish_beat(struct cs_sender *s, struct cs_publisher *publisher,
                         const struct cs_host_state *host, int64_t patience_ms, struct cs_err *err) {
    const struct cs_session *own = &s->session;
    int64_t now_ms = cs_clock_wall_ms(own->clock);
    struct cs_heartbeat h = {.time_s = now_ms / 1000, .host = *host};
    uint8_t sig[CS_EVENT_SIG_MAX];
    char text[(CS_EVENT_SIG_MAX + 2) / 3 * 4 + 1];
    size_t len = 0;
    CS_AUTO(cs_buf_clear) struct cs_buf value;
    cs_buf_init(&value, CS_HEARTBEAT_MAX);
    h.seq = now_ms > s->beat_seq ? now_ms : s->beat_seq + 1;
    snprintf(h.log_id, sizeof h.log_id, "%s", own->log_id);
    snprintf(h.account, sizeof h.account, "%s", own->account);
    snprintf(h.kid, sizeof h.kid, "%s", own->kid);
    if (!cs_compose_uuid(now_ms, h.id, err) || !cs_heartbeat_encode(&h, &value, err) ||
        !cs_event_sign(own->crypto, own->key, cs_buf_bytes(&value), sig, &len, err))
        return false;
    s->beat_seq = h.seq;
    cs_base64_encode(sig, len, text);
    struct cs_publish_record record = {.key = h.account,
                                       .partition = -1,
                                       .value = cs_buf_bytes(&value),
                                       .sig = {(const uint8_t *)text, cs_base64_encoded_len(len)}};
    return publisher->publish_to(publisher, own->settings->heartbeats_topic, &record, patience_ms, err);
}

// False: it is tried again soon. What a person must mend is not tried again before the next one.
static bool beat(struct cs_sender *s, struct cs_publisher *publisher, int64_t patience_ms) {
    struct cs_host_state host;
    struct cs_err err;
    if (!take_beat(s, &host))
        return true;
    cs_liveness_beat(&s->liveness, patience_ms);
    bool ok = publish_beat(s, publisher, &host, patience_ms, &err);
    bool again = !ok && err.kind == CS_ERR_RETRY;
    if (ok || again)
        told(s, ok ? NULL : &err);
    pthread_mutex_lock(&s->wakeup.lock);
    if (again && !s->beat_due) {
        s->beat_due = true;
        s->host = host;
    }
    if (ok)
        s->beat.sent_ms = cs_clock_wall_ms(s->session.clock);
    bool changed = strcmp(s->beat.error, ok ? "" : err.msg) != 0;
    snprintf(s->beat.error, sizeof s->beat.error, "%s", ok ? "" : err.msg);
    pthread_mutex_unlock(&s->wakeup.lock);
    if (!ok && !again && changed)
        cs_log_err(CS_LOG_WARN, "heartbeats cannot be sent; events are sent as before", &err, "topic=%s",
                   s->session.settings->heartbeats_topic);
    return !again;
}

static void run(struct cs_sender *s, struct cs_spool *spool, struct cs_publisher *publisher) {
    struct cs_drain d = {.spool = spool,
                         .crypto = s->session.crypto,
                         .publisher = publisher,
                         .clock = s->session.clock,
                         .on_damaged = on_damaged};
    int64_t pause = PAUSE_MS, patience = TRY_MS, busy_since_ms = 0;
    for (bool go_on = true; go_on;) {
        struct cs_err err;
        size_t before = d.published;
        bool failed = false;
        cs_liveness_beat(&s->liveness, patience);
        if (!held(s) && anything_new(spool, &err)) {
            failed = !cs_drain_run(&d, 0, cs_clock_mono_ms(d.clock) + patience, &err);
            busy_since_ms = !d.busy ? 0 : busy_since_ms ? busy_since_ms : cs_clock_mono_ms(d.clock);
            // A command that is publishing tells nothing about Kafka, unless it never ends.
            if (!d.busy || cs_clock_mono_ms(d.clock) >= busy_since_ms + BUSY_MS)
                told(s, failed ? &err : NULL);
        }
        if (!failed)
            failed = !beat(s, publisher, patience);
        if (d.published > before && s->hooks.on_published)
            s->hooks.on_published(s->hooks.arg, d.published - before);
        if (!failed || d.published > before) {
            pause = PAUSE_MS;
            patience = TRY_MS;
        }
        cs_liveness_beat(&s->liveness, LOOK_MS);
        go_on = cs_wakeup_wait(&s->wakeup, failed ? pause : LOOK_MS, !failed);
        if (failed) {
            pause = pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
            patience = patience * 2 < TRY_MAX_MS ? patience * 2 : TRY_MAX_MS;
        }
    }
    struct cs_link link;
    struct cs_err err;
    cs_liveness_rest(&s->liveness); // the end has its own deadline
    cs_sender_link(s, &link);
    if (!held(s) && (link.ok || !link.tried) &&
        !cs_drain_run(&d, 0, cs_clock_mono_ms(d.clock) + TRY_MS, &err))
        cs_log_err(CS_LOG_WARN, "not all could be published; it stays in the spool", &err, "spool=%s",
                   cs_spool_path(spool));
}

static void *thread_main(void *arg) {
    struct cs_sender *s = arg;
    prctl(PR_SET_NAME, "sender");
    CS_AUTO(cs_spool_free) struct cs_spool *spool = NULL;
    CS_AUTO(cs_publisher_free) struct cs_publisher *publisher = NULL;
    struct cs_err err;
    const struct cs_agent_settings *set = s->session.settings;
    bool ok = cs_session_spool(&s->session, &spool, &err) &&
              cs_publisher_kafka(&set->kafka, set->events_topic, "certsync-agent", &publisher, &err);
    if (ok)
        run(s, spool, publisher);
    else
        told(s, &err);
    pthread_mutex_lock(&s->wakeup.lock);
    s->ended = true;
    pthread_mutex_unlock(&s->wakeup.lock);
    return NULL;
}

bool cs_sender_new(const struct cs_session *session, const struct cs_sender_hooks *hooks,
                   struct cs_sender **ret, struct cs_err *err) {
    struct cs_sender *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    s->session = *session;
    s->session.client = NULL;
    s->session.crypto = NULL;
    s->hooks = *hooks;
    memcpy(s->held, session->foreign_log, sizeof s->held);
    cs_wakeup_init(&s->wakeup);
    bool ok = cs_crypto_new(&s->session.crypto, err);
    s->started = ok && cs_thread_new(&s->thread, thread_main, s, err);
    if (!s->started) {
        cs_sender_free(s);
        return false;
    }
    *ret = s;
    return true;
}

void cs_sender_wake(struct cs_sender *s) {
    cs_wakeup_signal(&s->wakeup);
}

void cs_sender_beat(struct cs_sender *s, const struct cs_host_state *host) {
    pthread_mutex_lock(&s->wakeup.lock);
    s->host = *host;
    s->beat_due = true;
    pthread_mutex_unlock(&s->wakeup.lock);
    cs_wakeup_signal(&s->wakeup);
}

void cs_sender_beat_stand(struct cs_sender *s, struct cs_beat_stand *ret) {
    pthread_mutex_lock(&s->wakeup.lock);
    *ret = s->beat;
    pthread_mutex_unlock(&s->wakeup.lock);
}

void cs_sender_hold(struct cs_sender *s, const char *why) {
    pthread_mutex_lock(&s->wakeup.lock);
    snprintf(s->held, sizeof s->held, "%s", why);
    pthread_mutex_unlock(&s->wakeup.lock);
    cs_wakeup_signal(&s->wakeup);
}

void cs_sender_link(struct cs_sender *s, struct cs_link *ret) {
    pthread_mutex_lock(&s->wakeup.lock);
    *ret = s->link;
    pthread_mutex_unlock(&s->wakeup.lock);
}

void cs_sender_stop(struct cs_sender *s) {
    cs_wakeup_stop(&s->wakeup);
}

int64_t cs_sender_overdue_ms(const struct cs_sender *s) {
    return cs_liveness_overdue_ms(&s->liveness);
}

bool cs_sender_ended(struct cs_sender *s) {
    pthread_mutex_lock(&s->wakeup.lock);
    bool ended = s->ended;
    pthread_mutex_unlock(&s->wakeup.lock);
    return ended;
}

void cs_sender_free(struct cs_sender *s) {
    if (!s)
        return;
    cs_sender_stop(s);
    if (s->started)
        pthread_join(s->thread, NULL);
    cs_crypto_free(s->session.crypto);
    cs_wakeup_destroy(&s->wakeup);
    free(s);
}
