// SPDX-License-Identifier: Apache-2.0
#include "spool/drain.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/fault.h"

#define BATCH_EVENTS 128
#define BATCH_BYTES  ((size_t)4 * 1024 * 1024)

struct batch {
    struct cs_drain *drain;
    struct cs_spool_entry entries[BATCH_EVENTS];
    struct cs_spool_item marks[BATCH_EVENTS]; // of acknowledged events; state 0 of the others
    size_t n;
    size_t bytes;
};

static void batch_clear(struct batch *b) {
    for (size_t i = 0; i < b->n; i++)
        cs_spool_entry_clear(&b->entries[i]);
    memset(b->marks, 0, sizeof b->marks);
    b->n = 0;
    b->bytes = 0;
}

static void on_acked(void *arg, size_t index, int32_t partition, int64_t offset) {
    struct batch *b = arg;
    b->drain->published++;
    cs_fault_point("produced");
    b->marks[index] = (struct cs_spool_item){b->entries[index].item.seq, CS_SPOOL_SENT, partition, offset};
}

// A mark that cannot be written loses nothing: the same bytes are sent once more.
static bool mark(struct batch *b, struct cs_err *err) {
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->marks[i].state == CS_SPOOL_SENT)
            b->marks[n++] = b->marks[i];
    return cs_spool_mark(b->drain->spool, b->marks, n, err);
}

static int64_t left_ms(const struct cs_drain *d, int64_t deadline_ms) {
    int64_t left = deadline_ms - cs_clock_mono_ms(d->clock);
    return left > 0 ? left : 0;
}

static bool publish_batch(struct cs_drain *d, struct batch *b, int64_t deadline_ms, struct cs_err *err) {
    int32_t partitions;
    if (b->n == 0)
        return true;
    if (!d->publisher->partitions(d->publisher, left_ms(d, deadline_ms), &partitions, err))
        return false;
    if (d->on_sending)
        d->on_sending(d->arg);
    struct cs_publish_record *records = calloc(b->n, sizeof *records);
    if (!records)
        return cs_err_oom(err);
    for (size_t i = 0; i < b->n; i++)
        records[i] = (struct cs_publish_record){b->entries[i].event->account, -1, b->entries[i].value,
                                                b->entries[i].sig};
    cs_fault_point("before-produce");
    bool ok = d->publisher->publish(d->publisher, records, b->n, left_ms(d, deadline_ms), on_acked, b, err);
    cs_fault_point("published");
    free(records);
    struct cs_err failed;
    if (!mark(b, ok ? err : &failed))
        ok = false;
    batch_clear(b);
    return ok;
}

struct everywhere {
    struct cs_drain *drain;
    int64_t seq;
    const struct cs_publish_record *records;
    bool failed;
    struct cs_err err;
};

static void on_partition_acked(void *arg, size_t index, int32_t partition, int64_t offset) {
    struct everywhere *e = arg;
    (void)index;
    if (!cs_spool_ack(e->drain->spool, e->seq, partition, offset, &e->err))
        e->failed = true;
}

// Publishes the same bytes to every partition that has not acknowledged them.
static bool publish_everywhere(struct cs_drain *d, const struct cs_spool_entry *entry, int64_t deadline_ms,
                               struct cs_err *err) {
    int32_t partitions;
    if (!d->publisher->partitions(d->publisher, left_ms(d, deadline_ms), &partitions, err))
        return false;
    if (d->on_sending)
        d->on_sending(d->arg);
    bool *acked = calloc((size_t)partitions, sizeof *acked);
    struct cs_publish_record *records = calloc((size_t)partitions, sizeof *records);
    struct everywhere e = {.drain = d, .seq = entry->item.seq, .records = records};
    bool ok =
        acked && records ? cs_spool_acks(d->spool, entry->item.seq, acked, partitions, err) : cs_err_oom(err);
    size_t n = 0;
    for (int32_t p = 0; ok && p < partitions; p++)
        if (!acked[p])
            records[n++] = (struct cs_publish_record){NULL, p, entry->value, entry->sig};
    ok = ok && d->publisher->publish(d->publisher, records, n, left_ms(d, deadline_ms), on_partition_acked,
                                     &e, err);
    free(acked);
    free(records);
    if (ok && e.failed) {
        *err = e.err;
        ok = false;
    }
    if (ok)
        d->published++;
    return ok && cs_spool_sent(d->spool, entry->item.seq, -1, 0, err);
}

static bool is_full(const struct batch *b) {
    return b->n == BATCH_EVENTS || b->bytes >= BATCH_BYTES;
}

// Takes one event into the batch. An event for every partition becomes *ret_alone.
static bool take(struct cs_drain *d, struct batch *b, int64_t seq, struct cs_spool_entry *ret_alone,
                 struct cs_err *err) {
    struct cs_spool_entry e = {0};
    switch (cs_spool_load(d->spool, d->crypto, seq, &e, err)) {
    case CS_SPOOL_GONE:
        return true;
    case CS_SPOOL_FAILED:
        return false;
    case CS_SPOOL_QUARANTINED:
        if (d->on_damaged)
            d->on_damaged(d->arg, err);
        return true;
    case CS_SPOOL_LOADED:
        break;
    }
    if (e.item.state != CS_SPOOL_NEW) {
        cs_spool_entry_clear(&e);
        return true;
    }
    if (e.everywhere) {
        *ret_alone = e;
        return true;
    }
    cs_fault_point("loaded");
    b->bytes += e.value.len;
    b->entries[b->n++] = e;
    return true;
}

// Fills the batch from items[*at] on.
static bool fill(struct cs_drain *d, struct batch *b, const struct cs_spool_item *items, size_t n, size_t *at,
                 struct cs_spool_entry *ret_alone, struct cs_err *err) {
    if (!cs_spool_lock(d->spool, err))
        return false;
    bool ok = true;
    while (ok && *at < n && !is_full(b) && !ret_alone->event)
        ok = take(d, b, items[(*at)++].seq, ret_alone, err);
    cs_spool_unlock(d->spool);
    return ok;
}

// Publishes the next batch, and the event that stands alone after it.
static bool publish_next(struct cs_drain *d, struct batch *b, const struct cs_spool_item *items, size_t n,
                         size_t *at, int64_t deadline_ms, struct cs_err *err) {
    CS_AUTO(cs_spool_entry_clear) struct cs_spool_entry alone = {0};
    return fill(d, b, items, n, at, &alone, err) && publish_batch(d, b, deadline_ms, err) &&
           (!alone.event || publish_everywhere(d, &alone, deadline_ms, err));
}

// One pass over the events that were there at its begin.
static bool pass(struct cs_drain *d, struct batch *b, int64_t upto, int64_t deadline_ms, size_t *ret_taken,
                 struct cs_err *err) {
    struct cs_spool_item *items;
    size_t n, taken = 0;
    *ret_taken = 0;
    if (!cs_spool_list(d->spool, &items, &n, err))
        return false;
    for (size_t i = 0; i < n && (upto == 0 || items[i].seq <= upto); i++)
        if (items[i].state == CS_SPOOL_NEW)
            items[taken++] = items[i];
    bool ok = true;
    for (size_t at = 0; ok && at < taken;)
        ok = publish_next(d, b, items, taken, &at, deadline_ms, err);
    free(items);
    batch_clear(b);
    *ret_taken = taken;
    return ok;
}

bool cs_drain_run(struct cs_drain *d, int64_t upto, int64_t deadline_ms, struct cs_err *err) {
    d->busy = !cs_spool_publish_lock(d->spool, d->clock, deadline_ms, err);
    if (d->busy)
        return false;
    struct batch *b = calloc(1, sizeof *b);
    bool ok = b || cs_err_oom(err);
    size_t taken = 1;
    if (b)
        b->drain = d;
    while (ok && taken > 0)
        ok = pass(d, b, upto, deadline_ms, &taken, err);
    free(b);
    cs_spool_publish_unlock(d->spool);
    return ok;
}
