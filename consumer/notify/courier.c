// SPDX-License-Identifier: Apache-2.0
#include "notify/courier.h"

#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "notify/courier_internal.h"

#define TICK_MS       100
#define TRY_LEASE_MS  1000
#define RENEW_SHARE   4 // of the lease, after which it is renewed
#define PAUSE_MS      500
#define PAUSE_MOST_MS 30000
#define TOLD_EVERY_MS 1000
#define BUSY_MS       60000 // starting, with brokers that are slow

const char *cs_courier_name(const struct cs_courier *c) {
    return c->section->name;
}

struct cs_note_board *cs_courier_board(struct cs_courier *c) {
    return &c->board;
}

int64_t cs_courier_overdue_ms(const struct cs_courier *c) {
    return cs_liveness_overdue_ms(&c->liveness);
}

// --- the lease

static int64_t lease_ms(const struct cs_courier *c) {
    return c->o.settings->notify_lease_ms + c->o.settings->notify_timeout_ms;
}

void courier_lost(struct cs_courier *c) {
    if (c->held)
        cs_log(CS_LOG_WARN, "another process serves this section of notices now", "notice=%s",
               c->section->name);
    c->held = false;
    courier_end(c);
}

static bool renew(struct cs_courier *c, struct cs_err *err) {
    int64_t asked_ms = courier_mono_ms(c);
    bool held = false;
    if (!cs_note_lease(c->store, lease_ms(c), &held, err))
        return false;
    if (!held) {
        if (c->held)
            courier_lost(c);
        return true;
    }
    c->held = true;
    c->renewed_ms = asked_ms;
    c->held_until_ms = asked_ms + lease_ms(c);
    return true;
}

bool courier_has_lease(struct cs_courier *c, bool *ret, struct cs_err *err) {
    *ret = false;
    if (courier_mono_ms(c) - c->renewed_ms > c->o.settings->notify_lease_ms / RENEW_SHARE && !renew(c, err))
        return false;
    // A delivery must be over before another process may begin.
    *ret = c->held && courier_mono_ms(c) + c->o.settings->notify_timeout_ms < c->held_until_ms;
    return true;
}

// --- the thread

static void failed(struct cs_courier *c, const struct cs_err *err) {
    courier_end(c);
    c->retry_pause_ms = c->retry_pause_ms ? c->retry_pause_ms * 2 : PAUSE_MS;
    if (c->retry_pause_ms > PAUSE_MOST_MS)
        c->retry_pause_ms = PAUSE_MOST_MS;
    c->retry_at_ms = courier_mono_ms(c) + c->retry_pause_ms;
    if (cs_note_board_set(&c->board, CS_NOTE_FAILING, err->msg) && !atomic_load(&c->stopping))
        cs_log_err(CS_LOG_WARN, "notices cannot go on; nothing is lost, this is tried again", err,
                   "notice=%s", c->section->name);
}

static const char *broken(const struct cs_courier *c) {
    for (int32_t p = 0; p < c->o.partition_count; p++)
        if (c->partitions[p].broken)
            return "the outcomes of a partition do not follow each other (see the log): there are no notices "
                   "of it "
                   "until that is mended";
    return NULL;
}

static void began(struct cs_courier *c) {
    const char *why = broken(c);
    c->retry_pause_ms = 0;
    if (why)
        (void)cs_note_board_set(&c->board, CS_NOTE_FAILING, why);
    else if (c->trouble == COURIER_WELL && cs_note_board_set(&c->board, CS_NOTE_WORKING, NULL))
        cs_log(CS_LOG_INFO, "notices are followed", "notice=%s", c->section->name);
}

// *ret_pause_ms: until the next turn.
static bool turn(struct cs_courier *c, int64_t *ret_pause_ms, struct cs_err *err) {
    bool held = false;
    *ret_pause_ms = TICK_MS;
    cs_liveness_beat(&c->liveness, BUSY_MS);
    if (!c->held)
        c->renewed_ms = courier_mono_ms(c) - lease_ms(c); // tries it
    if (!courier_has_lease(c, &held, err))
        return false;
    if (!held) {
        *ret_pause_ms = TRY_LEASE_MS;
        (void)cs_note_board_set(&c->board, CS_NOTE_STANDING_BY, NULL);
        return true;
    }
    if (c->tls != atomic_load(c->o.kafka_tls))
        courier_end(c);
    if (!c->begun && !courier_begin(c, err))
        return false;
    if (!courier_follow(c, err) || (c->begun && !courier_look_at_expiry(c, err)) ||
        (c->begun && !courier_deliver(c, err)))
        return false;
    if (c->begun)
        began(c);
    return courier_tell_kafka(c, err);
}

static void *thread_main(void *arg) {
    struct cs_courier *c = arg;
    int64_t pause_ms = 0;
    struct cs_err err;
    prctl(PR_SET_NAME, "notices");
    do {
        pause_ms = TICK_MS;
        if (courier_mono_ms(c) >= c->retry_at_ms && !turn(c, &pause_ms, &err))
            failed(c, &err);
        cs_liveness_rest(&c->liveness);
    } while (cs_wakeup_wait(&c->wakeup, pause_ms, false));
    if (c->held && !cs_note_release(c->store, &err))
        cs_log_err(CS_LOG_INFO, "the lease of notices ends by itself", &err, "notice=%s", c->section->name);
    courier_end(c);
    return NULL;
}

static bool open_receiver(struct cs_courier *c, struct cs_err *err) {
    const struct cs_consumer_settings *s = c->o.settings;
    return cs_settings_notice_is_mail(c->section)
               ? cs_mailer_new(s, c->section, c->o.log_id, &c->stopping, &c->mailer, err)
               : cs_sink_new(s, c->section, &c->stopping, &c->sink, err);
}

bool cs_courier_start(const struct cs_courier_options *o, const struct cs_notice_settings *section,
                      struct cs_courier **ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = o->settings;
    struct cs_courier *made = calloc(1, sizeof *made);
    if (!made)
        return cs_err_oom(err);
    made->o = *o;
    made->section = section;
    cs_wakeup_init(&made->wakeup);
    cs_note_board_init(&made->board, o->metrics, section->name, o->clock);
    cs_buf_init(&made->batch.bytes, (size_t)64 << 20);
    CS_AUTO(cs_courier_free) struct cs_courier *c = made;
    c->partitions = calloc((size_t)o->partition_count, sizeof *c->partitions);
    if (!c->partitions)
        return cs_err_oom(err);
    if (!cs_crypto_new(&c->crypto, err) ||
        !cs_outcome_marks_new(c->crypto, o->service, o->log_id, &c->marks, err) ||
        !cs_corrections_new(&(struct cs_corrections_of){o->log_id, o->root_spki, o->partition_count},
                            &c->corrections, err) ||
        !cs_note_store_new(o->redis, s->redis_namespace, o->service->own, o->log_id, section->name, &c->store,
                           err) ||
        !open_receiver(c, err))
        return false;
    c->started = cs_thread_new(&c->thread, thread_main, c, err);
    if (!c->started)
        return false;
    *ret = CS_TAKE(c);
    return true;
}

void cs_courier_stop(struct cs_courier *c) {
    atomic_store(&c->stopping, true);
    cs_wakeup_stop(&c->wakeup);
}

void cs_courier_free(struct cs_courier *c) {
    if (!c)
        return;
    if (c->started) {
        cs_courier_stop(c);
        pthread_join(c->thread, NULL);
    }
    if (c->partitions)
        courier_end(c);
    cs_sink_free(c->sink);
    cs_mailer_free(c->mailer);
    cs_catalog_free(c->catalog);
    cs_expiring_free(c->expiring);
    cs_note_store_free(c->store);
    cs_corrections_free(c->corrections);
    cs_outcome_marks_free(c->marks);
    cs_crypto_free(c->crypto);
    cs_buf_clear(&c->batch.bytes);
    free(c->batch.entries);
    free(c->partitions);
    cs_note_board_clear(&c->board);
    cs_wakeup_destroy(&c->wakeup);
    free(c);
}
