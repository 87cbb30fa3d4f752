// SPDX-License-Identifier: Apache-2.0
#include "commands/places.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/json_write.h"
#include "log/find.h"

#define LEAD 64 // outcomes that must follow each other before one of them counts

// How far around an id's time: hosts' clocks and queues; a host that was away, or in a wrong time
// zone.
static const struct {
    int64_t before_ms, after_ms;
} rings[] = {{5000, 30000}, {INT64_C(3600000), INT64_C(24) * 3600000}};

static int64_t clamp(int64_t offset, const struct cs_bounds *b) {
    return offset < b->low ? b->low : offset > b->high ? b->high : offset;
}

bool cs_places_of_time(struct cs_operator *op, struct cs_log *log, int64_t since_ms, int64_t until_ms,
                       struct cs_bounds *ret, bool *ret_known, struct cs_err *err) {
    const struct cs_bounds *all = log == op->events ? op->event_bounds : op->outcome_bounds;
    int64_t *from = calloc((size_t)op->partitions, sizeof *from);
    int64_t *to = calloc((size_t)op->partitions, sizeof *to);
    bool ok = (from && to) || cs_err_oom(err);
    *ret_known = log->ops->at_time && (op->options->events || !op->settings->allow_create_time);
    if (ok && *ret_known)
        ok = log->ops->at_time(log, since_ms > 0 ? since_ms : 0, from, err) &&
             (until_ms == INT64_MAX || log->ops->at_time(log, until_ms + 1, to, err));
    for (int32_t p = 0; ok && p < op->partitions; p++) {
        ret[p] = all[p];
        if (!*ret_known || p >= log->partitions)
            continue;
        ret[p].low = clamp(from[p], &all[p]);
        ret[p].high = until_ms == INT64_MAX ? all[p].high : clamp(to[p], &all[p]);
        if (ret[p].high < ret[p].low)
            ret[p].high = ret[p].low;
    }
    free(from);
    free(to);
    return ok;
}

bool cs_places_scan(struct cs_operator *op, struct cs_log *log, int32_t partition, int64_t from, int64_t end,
                    cs_scan_fn fn, void *arg, struct cs_err *err) {
    bool ended = partition >= log->partitions || from >= end;
    if (!ended && !log->ops->start(log, partition, from, end, err))
        return false;
    while (!ended) {
        struct cs_record r;
        if (!log->ops->next(log, &r, &ended, err) || (!ended && !fn(arg, &r, err)))
            return false;
        cs_progress_step(&op->progress);
    }
    return true;
}

// Reads what a wider ring has more. A ring that came out narrower (a broker's clock was set back) is
// no reason to read anything twice.
static bool widen(struct cs_operator *op, const struct cs_bounds *ring, struct cs_bounds *read, cs_scan_fn fn,
                  void *arg, struct cs_err *err) {
    for (int32_t p = 0; p < op->partitions; p++) {
        struct cs_bounds was = read[p];
        if (was.high < 0) // nothing yet
            was = (struct cs_bounds){ring[p].low, ring[p].low};
        read[p].low = ring[p].low < was.low ? ring[p].low : was.low;
        read[p].high = ring[p].high > was.high ? ring[p].high : was.high;
        if (!cs_places_scan(op, op->events, p, read[p].low, was.low, fn, arg, err) ||
            !cs_places_scan(op, op->events, p, was.high, read[p].high, fn, arg, err))
            return false;
    }
    return true;
}

bool cs_places_near(struct cs_operator *op, const char *event_id, cs_scan_fn fn, bool (*found)(void *arg),
                    void *arg, struct cs_bounds *ret_read, const char **ret_why, struct cs_err *err) {
    int64_t time_ms = 0;
    bool timed = cs_uuid_time_ms(event_id, &time_ms), known = timed;
    struct cs_bounds *ring = calloc((size_t)op->partitions, sizeof *ring);
    bool ok = ring || cs_err_oom(err);
    for (int32_t p = 0; p < op->partitions; p++)
        ret_read[p] = (struct cs_bounds){-1, -1};
    for (size_t i = 0; ok && known && i < CS_ARRAY_LEN(rings) && !found(arg); i++)
        ok = cs_places_of_time(op, op->events, time_ms - rings[i].before_ms, time_ms + rings[i].after_ms,
                               ring, &known, err) &&
             (!known || widen(op, ring, ret_read, fn, arg, err));
    *ret_why = NULL;
    if (ok && !found(arg)) {
        *ret_why = !timed   ? "its id tells no time"
                   : !known ? "this log does not tell which record came when"
                            : "it is not near the time in its id";
        ok = widen(op, op->event_bounds, ret_read, fn, arg, err);
    }
    free(ring);
    return ok;
}

// --- outcomes

// Whether the records from the first plausible one on follow each other. It becomes *chain.
static bool find_chain(struct cs_operator *op, int32_t partition, int64_t from, struct cs_chain *chain,
                       int64_t *ret_offset, bool *ret_found, struct cs_err *err) {
    struct cs_log *log = op->outcomes;
    struct cs_chain c;
    bool end = false;
    cs_chain_begin(&c, op->marks, &op->epochs, partition, 0, NULL, 0);
    c.known_only = true;
    *ret_found = false;
    if (!log->ops->start(log, partition, from, op->outcome_bounds[partition].high, err))
        return false;
    for (int i = 0; i < LEAD; i++) {
        struct cs_record r;
        int64_t n = 0;
        if (!log->ops->next(log, &r, &end, err))
            return false;
        if (end)
            break;
        if (c.last == 0) {
            if (!cs_chain_counts(&c, &r, &n))
                continue;
            c.last = n;
            cs_crypto_sha256(op->crypto, r.value, c.sha256);
            *chain = c;
            *ret_offset = r.offset;
            continue;
        }
        enum cs_chain_link kind = cs_chain_take(&c, op->crypto, &r, &n);
        if (kind != CS_CHAIN_NEXT && kind != CS_CHAIN_FOREIGN && kind != CS_CHAIN_SUPERSEDED)
            return true;
        *ret_found |= kind == CS_CHAIN_NEXT;
    }
    return true;
}

bool cs_places_published(struct cs_operator *op, int32_t partition, int64_t offset, struct cs_chain *chain,
                         struct cs_err *err) {
    struct cs_log *log = op->outcomes;
    int64_t base = 0;
    bool found = false;
    if (offset > LEAD && partition < log->partitions &&
        !find_chain(op, partition, offset - LEAD, chain, &base, &found, err))
        return false;
    if (!found) {
        *chain = (struct cs_chain){0};
        return true;
    }
    return log->ops->start(log, partition, base + 1, op->outcome_bounds[partition].high, err);
}

// --- before a correction

// The outcome of number n as it counted in an earlier epoch. *ret empty: that epoch had none.
static bool find_set_aside(struct cs_operator *op, int32_t partition, int64_t n, int64_t epoch,
                           struct cs_buf *ret, struct cs_err *err) {
    const struct cs_epochs until = cs_epochs_until(&op->epochs, partition, epoch);
    struct cs_log *log = op->outcomes;
    struct cs_chain chain;
    bool end = partition >= log->partitions;
    cs_buf_reset(ret);
    cs_chain_begin(&chain, op->marks, &until, partition, 0, NULL, 0);
    if (!end && !log->ops->start(log, partition, 0, op->outcome_bounds[partition].high, err))
        return false;
    while (!end && chain.last < n) {
        struct cs_record r;
        int64_t ignored = 0;
        if (!log->ops->next(log, &r, &end, err))
            return false;
        if (!end && cs_chain_take(&chain, op->crypto, &r, &ignored) == CS_CHAIN_NEXT && chain.last == n)
            cs_buf_put(ret, r.value.data, r.value.len);
    }
    return cs_buf_ok(ret, err);
}

static void put_one(struct cs_buf *b, bool json, int64_t epoch, const struct cs_correction *by,
                    struct cs_bytes outcome) {
    if (!json) {
        cs_buf_printf(b, "before   root had it judged anew: %s\n         epoch %" PRId64 ": ", by->reason,
                      epoch);
        cs_put_abridged(b, outcome, 80);
        cs_buf_putc(b, '\n');
        return;
    }
    cs_json_begin(b, '{');
    cs_json_int(b, "epoch", epoch);
    cs_json_str(b, "reason", by->reason);
    cs_json_name(b, "outcome");
    cs_json_put_raw(b, outcome);
    cs_json_end(b, '}');
}

bool cs_put_set_aside(struct cs_operator *op, struct cs_bytes outcome, bool json, struct cs_buf *b,
                      struct cs_err *err) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    CS_AUTO(cs_buf_clear) struct cs_buf was;
    cs_buf_init(&was, CS_EVENT_MAX);
    if (!cs_outcome_decode(outcome, &o, err))
        return false;
    if (o.epoch == 0)
        return true;
    if (json) {
        cs_json_name(b, "set_aside");
        cs_json_begin(b, '[');
    }
    for (int64_t e = 0; e < o.epoch; e++) {
        const struct cs_epochs until = cs_epochs_until(&op->epochs, o.partition, e);
        if (cs_epoch_of(&until, o.partition, o.n) != e) // that of an earlier one counted
            continue;
        if (!find_set_aside(op, o.partition, o.n, e, &was, err))
            return false;
        if (was.len > 0)
            put_one(b, json, e, cs_epoch_began(&op->epochs, o.partition, o.epoch), cs_buf_bytes(&was));
    }
    if (json)
        cs_json_end(b, ']');
    return true;
}
