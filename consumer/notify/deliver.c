// SPDX-License-Identifier: Apache-2.0
//
// What is due goes to the receiver. One that is away pauses the whole section, at growing distances.
// One notice that is refused gets a growing distance of its own, so it holds nobody up; a row of such
// pauses the section, too.
#include <inttypes.h>
#include <string.h>

#include "certsync/runtime/fault.h"
#include "certsync/runtime/log.h"
#include "notify/courier_internal.h"

#define REFUSED_ROW 3

int64_t cs_courier_distance(const struct cs_consumer_settings *s, int64_t failures) {
    int64_t ms = s->notify_retry_first_ms;
    for (int64_t i = 1; i < failures && ms < s->notify_retry_longest_ms; i++)
        ms *= 2;
    return ms < s->notify_retry_longest_ms ? ms : s->notify_retry_longest_ms;
}

void courier_tell(struct cs_courier *c, enum courier_trouble trouble, const struct cs_err *err) {
    bool well = trouble == COURIER_WELL;
    bool was = c->trouble != COURIER_WELL;
    c->trouble = trouble;
    bool news =
        cs_note_board_set(&c->board, well ? CS_NOTE_WORKING : CS_NOTE_WAITING, well ? NULL : err->msg);
    if (!news)
        return;
    if (!well)
        cs_log_err(CS_LOG_WARN, "notices are not delivered; they are kept, and tried again", err, "notice=%s",
                   c->section->name);
    else if (was)
        cs_log(CS_LOG_INFO, "notices are delivered again", "notice=%s", c->section->name);
}

int64_t courier_waiting(const struct cs_courier *c) {
    int64_t n = 0;
    for (int32_t p = 0; p < c->o.partition_count; p++)
        n += c->partitions[p].waiting;
    return n;
}

static bool done(struct cs_courier *c, int32_t p, const struct cs_note_entry *e, struct cs_err *err) {
    bool lost = false;
    if (!cs_note_done(c->store, p, &e, 1, &c->partitions[p].waiting, &lost, err))
        return false;
    if (lost)
        courier_lost(c);
    return true;
}

void courier_tell_dropped(struct cs_courier *c, const char *id, const char *account, struct cs_bytes text,
                          const struct cs_err *why) {
    cs_log_err(CS_LOG_ERROR, "a notice is dropped: it could not be delivered within notify.keep", why,
               "notice=%s id=%s account=%s text=%.*s", c->section->name, id, account, (int)text.len,
               (const char *)text.data);
    cs_series_inc(c->board.dropped);
}

// It could not be delivered for too long.
static bool drop(struct cs_courier *c, int32_t p, const struct cs_note_entry *e, const struct cs_err *why,
                 struct cs_err *err) {
    courier_tell_dropped(c, e->id, e->account, e->text, why);
    return done(c, p, e, err);
}

static bool is_too_old(const struct cs_courier *c, const struct cs_note_entry *e) {
    return courier_wall_ms(c) - e->made_ms > c->o.settings->notify_keep_ms;
}

void courier_pause(struct cs_courier *c, int64_t asked_ms) {
    const struct cs_consumer_settings *s = c->o.settings;
    int64_t next_ms = c->pause_ms ? c->pause_ms * 2 : s->notify_retry_first_ms;
    c->pause_ms = next_ms < s->notify_retry_longest_ms ? next_ms : s->notify_retry_longest_ms;
    int64_t wait_ms = asked_ms < s->notify_retry_longest_ms ? asked_ms : s->notify_retry_longest_ms;
    c->not_before_ms = courier_mono_ms(c) + (wait_ms > c->pause_ms ? wait_ms : c->pause_ms);
}

static bool away(struct cs_courier *c, int32_t p, const struct cs_note_entry *e, const struct cs_delivered *d,
                 struct cs_err *err) {
    if (atomic_load(&c->stopping))
        return true; // that broke it off
    cs_series_inc(c->board.away);
    courier_pause(c, d->wait_ms);
    courier_tell(c, COURIER_AWAY, &d->err);
    return !is_too_old(c, e) || drop(c, p, e, &d->err, err);
}

static bool refused(struct cs_courier *c, int32_t p, const struct cs_note_entry *e,
                    const struct cs_delivered *d, struct cs_err *err) {
    struct cs_note_entry again = *e;
    bool lost = false;
    cs_series_inc(c->board.refused);
    courier_tell(c, COURIER_REFUSED, &d->err);
    if (++c->refused_row >= REFUSED_ROW)
        courier_pause(c, 0);
    if (is_too_old(c, e))
        return drop(c, p, e, &d->err, err);
    again.tries++;
    again.due_ms = courier_wall_ms(c) + cs_courier_distance(c->o.settings, again.tries);
    if (!cs_note_later(c->store, p, &again, &lost, err))
        return false;
    if (lost)
        courier_lost(c);
    return true;
}

static bool delivered(struct cs_courier *c, int32_t p, const struct cs_note_entry *e, struct cs_err *err) {
    cs_fault_point("notice_delivered");
    c->pause_ms = 0;
    c->refused_row = 0;
    cs_series_inc(c->board.delivered);
    if (!done(c, p, e, err))
        return false;
    if (c->trouble == COURIER_AWAY || (c->trouble == COURIER_REFUSED && courier_waiting(c) == 0))
        courier_tell(c, COURIER_WELL, NULL);
    return true;
}

// *ret_on false: nothing more now.
static bool deliver_one(struct cs_courier *c, int32_t p, const struct cs_note_entry *e, bool *ret_on,
                        struct cs_err *err) {
    struct cs_delivered d;
    bool held = false;
    *ret_on = false;
    cs_liveness_beat(&c->liveness, 2 * c->o.settings->notify_timeout_ms);
    if (atomic_load(&c->stopping) || courier_mono_ms(c) < c->not_before_ms)
        return true;
    if (!courier_has_lease(c, &held, err))
        return false;
    if (!held)
        return true;
    c->sink->ops->send(c->sink, e, courier_wall_ms(c) / 1000, &d);
    bool ok = false;
    switch (d.what) {
    case CS_DELIVERED:
        ok = delivered(c, p, e, err);
        break;
    case CS_DELIVERY_AWAY:
        ok = away(c, p, e, &d, err);
        break;
    case CS_DELIVERY_REFUSED:
        ok = refused(c, p, e, &d, err);
        break;
    }
    *ret_on = ok && c->begun && d.what != CS_DELIVERY_AWAY;
    return ok;
}

static bool deliver_partition(struct cs_courier *c, int32_t p, bool *ret_on, struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    struct cs_note_entry *due = c->due;
    size_t n = 0, gone = 0;
    int64_t next_ms = 0;
    if (!cs_note_due(c->store, p, courier_wall_ms(c), due, &n, &next_ms, &gone, err))
        return false;
    t->waiting -= (int64_t)gone < t->waiting ? (int64_t)gone : t->waiting;
    t->next_due_ms = n > 0 ? 0 : next_ms;
    if (n == 0 && gone == 0 && next_ms == INT64_MAX)
        t->waiting = 0;
    for (size_t i = 0; i < n && *ret_on; i++) {
        if (c->oldest_ms == 0 || due[i].made_ms < c->oldest_ms)
            c->oldest_ms = due[i].made_ms;
        if (!deliver_one(c, p, &due[i], ret_on, err))
            return false;
    }
    return true;
}

bool courier_deliver(struct cs_courier *c, struct cs_err *err) {
    if (c->mailer)
        return courier_send_digests(c, err);
    bool on = courier_mono_ms(c) >= c->not_before_ms;
    if (on)
        c->oldest_ms = 0;
    for (int32_t p = 0; on && p < c->o.partition_count && c->begun; p++)
        if (c->partitions[p].waiting > 0 && c->partitions[p].next_due_ms <= courier_wall_ms(c) &&
            !deliver_partition(c, p, &on, err))
            return false;
    if (c->begun)
        cs_note_board_waiting(&c->board, courier_waiting(c), c->trouble == COURIER_WELL ? 0 : c->oldest_ms);
    return true;
}
