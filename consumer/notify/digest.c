// SPDX-License-Identifier: Apache-2.0
//
// Notices by mail: once the first one for a contact is due, all that wait for that contact go in one
// mail, from all partitions. They leave the queues once the server has taken the mail.
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/fault.h"
#include "notify/courier_internal.h"

#define HELD_MAX ((size_t)64 << 20)
#define AT_ONCE  500 // entries that leave a queue in one transaction

struct waiting {
    struct cs_note_entry e; // without its event
    int32_t partition;
    size_t text_at; // in the digest's bytes
};
struct digest {
    struct waiting *list;
    size_t len, cap;
    struct cs_buf bytes;
    struct cs_mail_line *lines;
    const struct cs_note_entry **entries;
};

static void digest_clear(struct digest *d) {
    free(d->list);
    free(d->lines);
    free((void *)d->entries);
    cs_buf_clear(&d->bytes);
}

static bool any_due(struct cs_courier *c, bool *ret, struct cs_err *err) {
    *ret = false;
    for (int32_t p = 0; p < c->o.partition_count; p++) {
        struct courier_partition *t = &c->partitions[p];
        size_t n = 0, gone = 0;
        int64_t now_ms = courier_wall_ms(c);
        if (t->waiting == 0 || t->next_due_ms > now_ms)
            continue;
        if (!cs_note_due(c->store, p, now_ms, c->due, &n, &t->next_due_ms, &gone, err))
            return false;
        if (t->next_due_ms == INT64_MAX)
            t->waiting = 0;
        *ret |= n > 0;
    }
    return true;
}

static bool gather_partition(struct cs_courier *c, int32_t p, struct digest *d, struct cs_err *err) {
    size_t n = 0, listed = 0;
    int64_t from = 0;
    do {
        if (!cs_note_list(c->store, p, from, c->due, &n, &listed, err))
            return false;
        from += (int64_t)n; // those that are gone left the queue
        for (size_t i = 0; i < n && d->len < CS_MAIL_LINES; i++) {
            if (!CS_GROW(&d->list, &d->cap, d->len + 1))
                return cs_err_oom(err);
            d->list[d->len++] = (struct waiting){c->due[i], p, d->bytes.len};
            cs_buf_put(&d->bytes, c->due[i].text.data, c->due[i].text.len);
        }
        cs_liveness_beat(&c->liveness, 60000);
    } while (listed == CS_NOTE_AT_ONCE && d->len < CS_MAIL_LINES);
    return cs_buf_ok(&d->bytes, err);
}

// By contact, then account, partition and time.
static int compare(const void *a, const void *b) {
    const struct waiting *x = a, *y = b;
    int by = strcmp(x->e.contact, y->e.contact);
    if (by == 0)
        by = strcmp(x->e.account, y->e.account);
    if (by == 0)
        by = x->partition < y->partition ? -1 : x->partition > y->partition;
    if (by == 0)
        by = x->e.due_ms < y->e.due_ms ? -1 : x->e.due_ms > y->e.due_ms;
    return by;
}

// Runs fn for each partition's entries among n of one contact, in pieces.
static bool by_partition(struct cs_courier *c, struct digest *d, const struct waiting *first, size_t n,
                         bool (*fn)(struct cs_courier *c, int32_t p,
                                    const struct cs_note_entry *const *entries, size_t n, int64_t arg,
                                    struct cs_err *err),
                         int64_t arg, struct cs_err *err) {
    for (int32_t p = 0; p < c->o.partition_count; p++) {
        size_t some = 0;
        for (size_t i = 0; i < n && c->begun; i++) {
            if (first[i].partition == p)
                d->entries[some++] = &first[i].e;
            if (some > 0 && (some == AT_ONCE || i == n - 1)) {
                if (!fn(c, p, d->entries, some, arg, err))
                    return false;
                some = 0;
            }
        }
    }
    return true;
}

static bool take_out(struct cs_courier *c, int32_t p, const struct cs_note_entry *const *entries, size_t n,
                     int64_t arg, struct cs_err *err) {
    bool lost = false;
    (void)arg;
    if (!cs_note_done(c->store, p, entries, n, &c->partitions[p].waiting, &lost, err))
        return false;
    if (lost)
        courier_lost(c);
    return true;
}

static bool postpone(struct cs_courier *c, int32_t p, const struct cs_note_entry *const *entries, size_t n,
                     int64_t due_ms, struct cs_err *err) {
    bool lost = false;
    if (!cs_note_postpone(c->store, p, entries, n, due_ms, &lost, err))
        return false;
    if (lost)
        courier_lost(c);
    return true;
}

// What could not be delivered for too long leaves the queue, loudly.
static bool drop_old(struct cs_courier *c, struct digest *d, const struct waiting *first, size_t n,
                     const struct cs_err *why, struct cs_err *err) {
    int64_t now_ms = courier_wall_ms(c);
    for (size_t i = 0; i < n && c->begun; i++) {
        const struct cs_note_entry *e = &first[i].e;
        if (now_ms - e->made_ms <= c->o.settings->notify_keep_ms)
            continue;
        courier_tell_dropped(c, e->id, e->account,
                             (struct cs_bytes){d->bytes.data + first[i].text_at, e->text.len}, why);
        if (!take_out(c, first[i].partition, &e, 1, 0, err))
            return false;
    }
    return true;
}

// The mail is not taken for this address: it is tried again once it has waited as long again.
static bool refused(struct cs_courier *c, struct digest *d, const struct waiting *first, size_t n,
                    const struct cs_err *why, struct cs_err *err) {
    const struct cs_consumer_settings *s = c->o.settings;
    int64_t now_ms = courier_wall_ms(c), oldest_ms = now_ms;
    for (size_t i = 0; i < n; i++)
        oldest_ms = first[i].e.made_ms < oldest_ms ? first[i].e.made_ms : oldest_ms;
    cs_series_inc(c->board.refused);
    courier_tell(c, COURIER_REFUSED, why);
    int64_t wait_ms = now_ms - oldest_ms;
    wait_ms = wait_ms < s->notify_retry_first_ms     ? s->notify_retry_first_ms
              : wait_ms > s->notify_retry_longest_ms ? s->notify_retry_longest_ms
                                                     : wait_ms;
    return by_partition(c, d, first, n, postpone, now_ms + wait_ms, err) &&
           drop_old(c, d, first, n, why, err);
}

// *ret_on false: the server is away.
static bool send_one(struct cs_courier *c, struct digest *d, const struct waiting *first, size_t n,
                     bool *ret_on, struct cs_err *err) {
    struct cs_delivered done;
    bool held = false;
    *ret_on = false;
    if (!courier_has_lease(c, &held, err))
        return false;
    if (!held || atomic_load(&c->stopping))
        return true;
    for (size_t i = 0; i < n; i++)
        d->lines[i] = (struct cs_mail_line){
            first[i].e.account, {d->bytes.data + first[i].text_at, first[i].e.text.len}, first[i].e.id};
    cs_liveness_beat(&c->liveness, 2 * c->o.settings->notify_timeout_ms + 60000);
    cs_mailer_send(c->mailer, first->e.contact, d->lines, n, courier_wall_ms(c) / 1000, &done);
    switch (done.what) {
    case CS_DELIVERED:
        cs_fault_point("notice_delivered");
        c->pause_ms = 0;
        cs_series_add(c->board.delivered, n);
        *ret_on = true;
        return by_partition(c, d, first, n, take_out, 0, err);
    case CS_DELIVERY_REFUSED:
        *ret_on = true;
        return refused(c, d, first, n, &done.err, err);
    case CS_DELIVERY_AWAY:
        break;
    }
    if (atomic_load(&c->stopping))
        return true;
    cs_series_inc(c->board.away);
    c->oldest_ms = first->e.made_ms;
    courier_pause(c, 0);
    courier_tell(c, COURIER_AWAY, &done.err);
    return drop_old(c, d, first, n, &done.err, err);
}

static bool send_all(struct cs_courier *c, struct digest *d, struct cs_err *err) {
    bool on = true;
    int64_t now_ms = courier_wall_ms(c);
    for (size_t i = 0; i < d->len && on && c->begun;) {
        const struct waiting *first = &d->list[i];
        size_t n = 0;
        bool due = false;
        for (; i < d->len && strcmp(d->list[i].e.contact, first->e.contact) == 0; i++, n++)
            due |= d->list[i].e.due_ms <= now_ms;
        if (due && !send_one(c, d, first, n, &on, err))
            return false;
    }
    return true;
}

bool courier_send_digests(struct cs_courier *c, struct cs_err *err) {
    struct digest d = {0};
    bool due = false;
    if (courier_mono_ms(c) < c->not_before_ms)
        return true;
    cs_buf_init(&d.bytes, HELD_MAX);
    bool ok = any_due(c, &due, err);
    for (int32_t p = 0; ok && due && p < c->o.partition_count && c->begun; p++)
        if (c->partitions[p].waiting > 0)
            ok = gather_partition(c, p, &d, err);
    if (ok && d.len > 0) {
        qsort(d.list, d.len, sizeof *d.list, compare);
        d.lines = calloc(d.len, sizeof *d.lines);
        d.entries = calloc(AT_ONCE, sizeof *d.entries);
        ok = d.lines && d.entries ? send_all(c, &d, err) : cs_err_oom(err);
    }
    for (int32_t p = 0; due && p < c->o.partition_count; p++)
        c->partitions[p].next_due_ms = 0; // looked at anew
    digest_clear(&d);
    bool away = courier_mono_ms(c) < c->not_before_ms;
    if (ok && c->begun && !away && c->trouble != COURIER_WELL &&
        (c->trouble == COURIER_AWAY || courier_waiting(c) == 0) && due)
        courier_tell(c, COURIER_WELL, NULL);
    if (c->begun)
        cs_note_board_waiting(&c->board, courier_waiting(c), c->trouble == COURIER_WELL ? 0 : c->oldest_ms);
    return ok;
}
