// SPDX-License-Identifier: Apache-2.0
#include "log/import.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/event.h"
#include "certsync/model/outcome.h"
#include "worker/outcome_chain.h"

struct check {
    const struct cs_export *x;
    const struct cs_outcome_marks *marks;
    struct cs_epochs epochs;
    struct cs_crypto *crypto;
    struct cs_log *events, *outcomes;
    void (*step)(void *arg);
    void *arg;
    struct cs_import_check *ret;
    int32_t partition;
    struct cs_chain chain;
    int64_t set_aside; // the highest number that a correction took back
};

void cs_import_check_clear(struct cs_import_check *c) {
    free(c->parts);
    *c = (struct cs_import_check){0};
}

static bool refuse(const struct check *c, const char *part, int64_t offset, const char *what,
                   struct cs_err *err) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "%s cannot be imported: %s of partition %d, offset %" PRId64 ": %s", c->x->dir, part,
                      (int)c->partition, offset, what);
}

static void measure(struct check *c, const struct cs_record *r) {
    size_t bytes = r->key.len + r->value.len;
    for (size_t i = 0; i < r->headers_len; i++)
        bytes += strlen(r->headers[i].name) + r->headers[i].value.len;
    if (bytes > c->ret->largest)
        c->ret->largest = bytes;
    c->step(c->arg);
}

// The next record, which must be at this offset.
static bool next(struct check *c, struct cs_log *log, int64_t offset, struct cs_record *ret, bool *ret_end,
                 struct cs_err *err) {
    if (!log->ops->next(log, ret, ret_end, err))
        return false;
    if (*ret_end)
        return true;
    measure(c, ret);
    return ret->offset == offset ||
           refuse(c, log->name, offset,
                  "there is no record at this offset, and a new topic gives its offsets without a gap: "
                  "transactions, compaction or a deletion made the gap",
                  err);
}

static bool check_genesis(struct check *c, const struct cs_record *r, struct cs_err *err) {
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err why;
    if (!r->value.data || !cs_event_decode(r->value, &ev, &why) || ev->type != CS_EVENT_SYSTEM_GENESIS)
        return refuse(c, "events", r->offset, "it is not a genesis record, with which each partition begins",
                      err);
    if (strcmp(ev->log_id, c->x->log_id) != 0 || ev->data.genesis.partitions != c->x->partitions)
        return refuse(c, "events", r->offset,
                      "the genesis record is of another log, or of another number of partitions, than "
                      "the manifest says",
                      err);
    return true;
}

// The next outcome that counts. *ret_at: the offset after it.
static bool next_outcome(struct check *c, int64_t *at, struct cs_outcome *ret, bool *ret_end,
                         struct cs_err *err) {
    for (;;) {
        struct cs_record r;
        struct cs_err why;
        int64_t n = 0;
        if (!next(c, c->outcomes, *at, &r, ret_end, err))
            return false;
        if (*ret_end)
            return !cs_chain_is_unmarked(&c->chain, c->outcomes->name, err) ||
                   cs_err_prepend(err, "%s cannot be imported", c->x->dir);
        ++*at;
        switch (cs_chain_take(&c->chain, c->crypto, &r, &n)) {
        case CS_CHAIN_NEXT:
            return cs_outcome_decode(r.value, ret, &why) || refuse(c, "outcomes", r.offset, why.msg, err);
        case CS_CHAIN_SUPERSEDED:
            c->set_aside = n > c->set_aside ? n : c->set_aside;
            break;
        case CS_CHAIN_NEWER:
            return refuse(c, "outcomes", r.offset,
                          "the outcome is of an epoch that no correction in the export brings", err);
        case CS_CHAIN_BROKEN:
            return refuse(c, "outcomes", r.offset,
                          "the chain is broken: this outcome does not follow the one before it", err);
        case CS_CHAIN_COPY:
            break;
        case CS_CHAIN_FOREIGN:
            c->ret->foreign++;
            break;
        }
    }
}

static bool check_event(struct check *c, const struct cs_record *r, int64_t *outcome_at, bool *outcomes_end,
                        struct cs_import_part *part, struct cs_err *err) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    uint8_t sha256[32];
    if (r->offset == 0 && !check_genesis(c, r, err))
        return false;
    if (!*outcomes_end && !next_outcome(c, outcome_at, &o, outcomes_end, err))
        return false;
    if (*outcomes_end)
        return true;
    cs_record_sha256(c->crypto, r, sha256);
    if (o.offset != r->offset || memcmp(sha256, o.record_sha256, 32) != 0)
        return refuse(
            c, "events", r->offset,
            "the record is not the one that was judged: its outcome names another SHA-256 or offset", err);
    part->judged++;
    return true;
}

static bool check_partition(struct check *c, int32_t p, struct cs_err *err) {
    struct cs_import_part *part = &c->ret->parts[p];
    bool end = false;
    bool outcomes_end = false;
    c->partition = p;
    c->set_aside = 0;
    cs_chain_begin(&c->chain, c->marks, &c->epochs, p, 0, NULL, 0);
    if (!c->outcomes->ops->start(c->outcomes, p, 0, INT64_MAX, err) ||
        !c->events->ops->start(c->events, p, 0, INT64_MAX, err))
        return false;
    for (;;) {
        struct cs_record r;
        if (!next(c, c->events, part->events, &r, &end, err))
            return false;
        if (end)
            break;
        if (!check_event(c, &r, &part->outcomes, &outcomes_end, part, err))
            return false;
        part->events++;
    }
    if (part->events == 0)
        return refuse(c, "events", 0, "the partition is empty: a deployment's first record is in each", err);
    CS_AUTO(cs_outcome_clear) struct cs_outcome more = {0};
    if (!outcomes_end && !next_outcome(c, &part->outcomes, &more, &outcomes_end, err))
        return false;
    if (!outcomes_end)
        return refuse(c, "outcomes", part->outcomes - 1,
                      "it is of a record that is not in the export: events are missing", err);
    return c->chain.last >= c->set_aside ||
           refuse(c, "outcomes", part->outcomes - 1,
                  "a correction of root is not carried out yet: outcomes that it takes back are not judged "
                  "anew. Let a consumer of the old cluster do that, then export again",
                  err);
}

bool cs_import_check(const struct cs_import_source *from, struct cs_crypto *crypto, void (*step)(void *arg),
                     void *arg, struct cs_import_check *ret, struct cs_err *err) {
    const struct cs_export *x = from->x;
    struct check c = {.x = x,
                      .marks = from->marks,
                      .epochs = from->epochs,
                      .crypto = crypto,
                      .events = from->events,
                      .outcomes = from->outcomes,
                      .step = step};
    c.arg = arg;
    c.ret = ret;
    *ret = (struct cs_import_check){.parts = calloc((size_t)x->partitions, sizeof *ret->parts)};
    if (!ret->parts)
        return cs_err_oom(err);
    for (int32_t p = 0; p < x->partitions; p++)
        if (!check_partition(&c, p, err))
            return false;
    return true;
}
