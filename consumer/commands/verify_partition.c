// SPDX-License-Identifier: Apache-2.0
//
// One partition is proven: its outcomes, its records, and if asked its catalog.
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/base/text.h"
#include "commands/verify.h"

// Always returns false. err only carries the text; the fault is reported.
static bool CS_PRINTF(5, 6)
    fail(struct verify *v, struct cs_err *err, const char *kind, int64_t offset, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(v->fault.text, sizeof v->fault.text, fmt, args);
    va_end(args);
    v->fault.kind = kind;
    v->fault.partition = v->partition;
    v->fault.offset = offset;
    v->fault.n = v->last;
    v->fault.outcome_offset = v->outcome_offset;
    return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "%s", v->fault.text);
}

// The same for a fault without an outcome.
#define fail_place(v, ...) ((v)->last = 0, (v)->outcome_offset = -1, fail((v), __VA_ARGS__))

// --- snapshots

static bool bad_snapshot(struct verify *v, const struct cs_snapshot *s, const char *what,
                         struct cs_err *err) {
    const struct cs_snapshot_dir dir = {.path = v->op.settings->snapshot_dir};
    char path[CS_SNAPSHOT_PATH];
    return cs_snapshot_path(&dir, v->partition, s, "note", path, err) &&
           fail(v, err, "snapshot", v->event_offset,
                "%s is signed with the service key, and %s: it was written by somebody else "
                "who has the key, or by a build that judges otherwise; do not use it",
                path, what);
}

// The epoch whose chain a snapshot is held against: of what counts now, the newest one.
static int64_t chain_of(const struct verify *v, const struct cs_snapshot *s) {
    return s->epoch < cs_epoch_of(&v->op.epochs, v->partition, s->at.size) ? s->epoch : v->old_len;
}

// The next one that is held against this chain, if it has no more than this number of outcomes.
static const struct cs_snapshot *next_snapshot(const struct verify *v, int64_t chain, int64_t outcomes,
                                               size_t *next) {
    const struct cs_snapshot_list *l = v->shared->snapshots ? &v->shared->snapshots[v->partition] : NULL;
    while (l && *next < l->len && chain_of(v, &l->items[*next]) != chain)
        ++*next;
    return l && *next < l->len && l->items[*next].at.size <= outcomes ? &l->items[(*next)++] : NULL;
}

// What comes of the records up to it, no right build can say any more. But it is of outcomes that were published.
static bool check_old_snapshot(struct verify *v, int64_t epoch, int64_t n, struct cs_err *err) {
    struct verify_epoch *old = &v->old[epoch];
    const struct cs_snapshot *s = next_snapshot(v, epoch, n, &old->next_snapshot);
    struct cs_hash root;
    if (!s)
        return true;
    v->old_snapshots++;
    cs_merkle_root(v->op.crypto, &old->edge, n, &root);
    return cs_hash_equal(&s->at.root, &root) || bad_snapshot(v, s, "is of other outcomes", err);
}

static bool check_snapshot(struct verify *v, struct cs_err *err) {
    const struct cs_position *at = cs_replay_position(v->op.replay);
    const struct cs_snapshot *s = next_snapshot(v, v->old_len, at->outcomes, &v->next_snapshot);
    struct cs_snapshot mine;
    if (!s)
        return true;
    if (s->epoch != at->epoch)
        return bad_snapshot(v, s, "is of an epoch that no correction brings", err);
    if (!cs_snapshot_look(v->op.crypto, v->op.log_id, v->partition, cs_replay_state(v->op.replay), at, &mine,
                          err))
        return false;
    v->snapshots++;
    if (!cs_hash_equal(&s->at.root, &mine.at.root) || s->next_offset != mine.next_offset)
        return bad_snapshot(v, s, "is of other outcomes", err);
    return cs_hash_equal(&s->catalog, &mine.catalog) ||
           bad_snapshot(v, s, "says another catalog than what comes of the records up to it", err);
}

static bool end_snapshots(struct verify *v, struct cs_err *err) {
    for (int64_t e = 0; e <= v->old_len; e++) {
        const struct cs_snapshot *s =
            next_snapshot(v, e, INT64_MAX, e < v->old_len ? &v->old[e].next_snapshot : &v->next_snapshot);
        if (s)
            return bad_snapshot(v, s, "is of more outcomes than there are", err);
    }
    return true;
}

// --- outcomes

static void hash_outcome(struct verify *v, const struct cs_record *r, uint8_t ret[32]) {
    const struct cs_bytes parts[] = {r->key, {(const uint8_t *)"", 1}, r->value};
    cs_crypto_sha256_parts(v->op.crypto, parts, 3, ret);
}

static bool keep_hash(struct verify *v, const struct cs_record *r, struct cs_err *err) {
    if (!CS_GROW(&v->hashes, &v->hashes_cap, (size_t)v->last + 1))
        return cs_err_oom(err);
    hash_outcome(v, r, v->hashes[v->last]);
    return true;
}

// An outcome that does not follow: numbers are missing, or its hash differs.
static bool broken(struct verify *v, int64_t n, struct cs_err *err) {
    int64_t before = v->chain.last;
    char hex[65];
    v->last = n;
    if (n > before + 1 && v->chain.foreign > 0)
        return fail(
            v, err, "gap", -1,
            "outcome %" PRId64 " follows outcome %" PRId64
            ": those between are missing, or were altered: %" PRId64
            " records of the partition carry no mark of the service key, the first at offset %" PRId64,
            n, before, v->chain.foreign, v->chain.foreign_at);
    if (n > before + 1)
        return fail(v, err, "gap", -1,
                    "outcome %" PRId64 " follows outcome %" PRId64 ": those between are missing", n, before);
    cs_hex_encode(v->chain.sha256, 32, hex);
    return fail(v, err, "chain", v->event_offset,
                "the chain is broken: the outcome before it has the SHA-256 %s, which this one does not name",
                hex);
}

static bool check_copy(struct verify *v, const struct cs_record *r, int64_t n, struct cs_err *err) {
    uint8_t sha256[32];
    v->copies++;
    hash_outcome(v, r, sha256);
    if (memcmp(sha256, v->hashes[n - 1], 32) == 0)
        return true;
    v->last = n;
    return fail(v, err, "fork", -1, "outcome %" PRId64 " was published before with other contents", n);
}

static void note_foreign(struct verify *v, int64_t offset) {
    if (v->foreign++ > 0)
        return;
    v->foreign_partition = v->partition;
    v->foreign_at = offset;
}

static bool check_marked(struct verify *v, struct cs_err *err) {
    struct cs_err why;
    return !cs_chain_is_unmarked(&v->chain, v->op.outcomes->name, &why) ||
           fail_place(v, err, "unmarked", -1, "%s", why.msg);
}

// Nothing of an earlier epoch can be judged again: what judged it was wrong. But what was published stays,
// and what was signed of it must hold.
static bool take_old(struct verify *v, const struct cs_record *r, struct cs_err *err) {
    for (int64_t e = 0; e < v->old_len; e++) {
        struct verify_epoch *old = &v->old[e];
        struct cs_head_fault f;
        struct cs_hash leaf;
        int64_t n = 0;
        enum cs_chain_link link = cs_chain_take(&old->chain, v->op.crypto, r, &n);
        if (link == CS_CHAIN_BROKEN) {
            v->outcome_offset = r->offset;
            v->last = n;
            return fail(v, err, "gap", -1,
                        "outcome %" PRId64 " of epoch %" PRId64
                        ", which a correction set aside, does not follow outcome %" PRId64
                        " of that epoch: those between are missing, or were altered",
                        n, e, old->chain.last);
        }
        if (link != CS_CHAIN_NEXT)
            continue;
        cs_merkle_leaf(v->op.crypto, r->value, &leaf);
        cs_merkle_append(v->op.crypto, &old->edge, n - 1, &leaf);
        if (v->shared->heads &&
            !cs_heads_step(v->shared->heads, v->op.crypto, v->partition, e, n, &old->edge, &f))
            return fail(v, err, f.kind, -1, "epoch %" PRId64 ": %s", e, f.text);
        if (!check_old_snapshot(v, e, n, err))
            return false;
    }
    return true;
}

static bool end_old(struct verify *v, struct cs_err *err) {
    struct cs_head_fault f;
    for (int64_t e = 0; v->shared->heads && e < v->old_len; e++)
        if (!cs_heads_end(v->shared->heads, v->partition, e, v->old[e].chain.last, &f))
            return fail(v, err, f.kind, -1, "epoch %" PRId64 ": %s", e, f.text);
    return true;
}

// The next outcome that counts. Copies of earlier ones on the way must be identical.
static bool next_outcome(struct verify *v, struct cs_record *ret, bool *ret_end, struct cs_err *err) {
    struct cs_log *log = v->op.outcomes;
    for (;;) {
        int64_t n = 0;
        if (!log->ops->next(log, ret, ret_end, err))
            return false;
        if (*ret_end)
            return check_marked(v, err);
        if (!take_old(v, ret, err))
            return false;
        enum cs_chain_link link = cs_chain_take(&v->chain, v->op.crypto, ret, &n);
        if (link != CS_CHAIN_FOREIGN)
            v->outcome_offset = ret->offset;
        switch (link) {
        case CS_CHAIN_NEXT:
            if (!keep_hash(v, ret, err))
                return false;
            v->last = n;
            v->outcomes++;
            return true;
        case CS_CHAIN_COPY:
            if (!check_copy(v, ret, n, err))
                return false;
            break;
        case CS_CHAIN_FOREIGN:
            note_foreign(v, ret->offset);
            break;
        case CS_CHAIN_SUPERSEDED:
            break;
        case CS_CHAIN_NEWER:
            return cs_chain_broken(&v->chain, link, log->name, ret, n, err);
        case CS_CHAIN_BROKEN:
            return broken(v, n, err);
        }
    }
}

static bool check_fields(struct verify *v, const struct cs_record *published, const struct cs_record *event,
                         const struct cs_replayed *mine, struct cs_err *err) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_err why;
    char hex[65];
    if (!cs_outcome_decode(published->value, &o, &why))
        return fail(v, err, "not_an_outcome", -1, "the outcome cannot be read: %s", why.msg);
    if (o.partition != event->partition || o.offset != event->offset)
        return fail(v, err, "offset", event->offset,
                    "outcome %" PRId64 " is of the record at offset %" PRId64
                    " of partition %d, and should be of the one "
                    "at offset %" PRId64 ": each record has exactly one number",
                    o.n, o.offset, (int)o.partition, event->offset);
    if (memcmp(o.record_sha256, mine->prepared->record_sha256, 32) != 0) {
        cs_hex_encode(mine->prepared->record_sha256, 32, hex);
        return fail(v, err, "record", event->offset,
                    "the record is not the one that was judged: its SHA-256 is %s, the outcome names another",
                    hex);
    }
    return true;
}

static bool check_outcome(struct verify *v, const struct cs_record *published, const struct cs_record *event,
                          const struct cs_replayed *mine, struct cs_err *err) {
    if (!check_fields(v, published, event, mine, err))
        return false;
    if (published->value.len != mine->outcome_json.len ||
        memcmp(published->value.data, mine->outcome_json.data, mine->outcome_json.len) != 0) {
        cs_buf_put(&v->fault.published, published->value.data, published->value.len);
        cs_buf_put(&v->fault.judged, mine->outcome_json.data, mine->outcome_json.len);
        return fail(v, err, "verdict", event->offset,
                    "the published verdict is not what this build makes of the record: %s%s%s",
                    cs_status_name(mine->outcome.status), mine->outcome.code ? " " : "",
                    cs_code_name(mine->outcome.code));
    }
    size_t account_len = strlen(mine->outcome.account);
    if (published->key.len != account_len ||
        memcmp(published->key.data ? published->key.data : (const uint8_t *)"", mine->outcome.account,
               account_len) != 0)
        return fail(v, err, "key", event->offset, "the outcome's key is not the account \"%s\"",
                    mine->outcome.account);
    return true;
}

// --- catalogs

struct redis_fault {
    struct verify *v;
    struct cs_err *err;
};

static bool redis_differs(void *arg, const char *key, bool index, enum cs_difference d) {
    static const char *const what[] = {"", "lacks", "has, and the replay has not,",
                                       "holds something else under"};
    struct redis_fault *f = arg;
    return fail_place(f->v, f->err, "catalog", cs_compare_after(f->v->compare)->next_offset - 1,
                      "the catalog in Redis %s the %s %s", what[d], index ? "index" : "document", key);
}

// What is not certsync's own is a fault that is told as such, with the key.
static bool damaged(struct verify *v, struct cs_err *err) {
    struct cs_err why = *err;
    return err->kind == CS_ERR_DAMAGED ? fail_place(v, err, "catalog", -1, "%s", why.msg) : false;
}

// Whether the replay is at one of the two positions between which the catalog was read.
static bool check_catalog(struct verify *v, struct cs_err *err) {
    const struct cs_position *here = cs_replay_position(v->op.replay);
    const struct cs_position *before = cs_compare_before(v->compare);
    const struct cs_position *after = cs_compare_after(v->compare);
    if (v->compared)
        return true;
    if (v->comparing && !cs_compare_step(v->compare, cs_replay_state(v->op.replay), err))
        return false;
    if (here->next_offset == before->next_offset) {
        if (!cs_position_equal(here, before))
            return fail_place(v, err, "position", here->next_offset - 1,
                              "the position in Redis is not the one that the replay has at this offset");
        v->comparing = true;
        if (!cs_compare_begin(v->compare, cs_replay_state(v->op.replay), err))
            return false;
    }
    if (!v->comparing || here->next_offset < after->next_offset)
        return true;
    v->compared = true;
    v->comparing = false;
    if (!cs_position_equal(here, after))
        return fail_place(v, err, "position", here->next_offset - 1,
                          "the position in Redis is not the one that the replay has at this offset");
    struct redis_fault f = {v, err};
    v->fault.kind = NULL;
    v->keys += (int64_t)cs_compare_keys(v->compare);
    return cs_compare_end(v->compare, redis_differs, &f, err) && !v->fault.kind;
}

// --- a partition

// A share event that the service signed. If it was published twice, the second may be refused only
// for its number.
static bool by_service(const struct verify *v, const struct cs_replayed *mine) {
    const struct cs_event *ev = mine->prepared->event;
    struct cs_bytes doc;
    struct cs_trust_key signer;
    struct cs_err ignored;
    if (!ev || !cs_event_is_derived(ev->type) ||
        (mine->outcome.status == CS_STATUS_REJECTED && mine->outcome.code != CS_CODE_EVENT_REPLAYED))
        return false;
    return cs_state_get(cs_replay_state(v->op.replay), cs_key_trust(CS_NEW_KEY, ev->kid), &doc) == CS_FOUND &&
           cs_trust_key_decode(doc, &signer, &ignored) && signer.role == CS_TRUST_SERVICE;
}

static bool note_emitted(struct verify *v, const struct cs_record *event, const struct cs_replayed *mine,
                         bool due, struct cs_err *err) {
    int64_t seq = cs_replay_position(v->op.replay)->derived - (int64_t)mine->derived_len;
    for (size_t i = 0; i < mine->derived_len; i++) {
        v->derived_events++;
        if (!cs_derived_check_emitted(v->shared->derived, event->partition,
                                      cs_replay_position(v->op.replay)->epoch, event->offset, ++seq,
                                      cs_replay_derived_json(v->op.replay, &mine->derived[i]),
                                      cs_replay_kid(v->op.replay), due, err))
            return false;
    }
    return true;
}

static bool note_derived(struct verify *v, const struct cs_record *event, const struct cs_replayed *mine,
                         bool due, struct cs_err *err) {
    struct verify_shared *all = v->shared;
    bool found = by_service(v, mine);
    if (mine->derived_len == 0 && !found)
        return true;
    pthread_mutex_lock(&all->lock);
    bool ok = note_emitted(v, event, mine, due, err) &&
              (!found || cs_derived_check_found(all->derived, event->partition, event->offset,
                                                mine->prepared->event, event->value,
                                                event->offset < all->due_events[event->partition].high, err));
    pthread_mutex_unlock(&all->lock);
    return ok;
}

// Whether another thread's finding makes this partition's needless.
bool cs_verify_needless(const struct verify *v) {
    return atomic_load(&v->shared->stopping) || atomic_load(&v->shared->fault_at) < v->partition;
}

static bool heads_fault(struct verify *v, const struct cs_head_fault *f, struct cs_err *err) {
    return fail(v, err, f->kind, v->event_offset, "%s", f->text);
}

static bool check_heads(struct verify *v, struct cs_err *err) {
    const struct cs_position *at = cs_replay_position(v->op.replay);
    struct cs_heads *heads = v->shared->heads;
    struct cs_head_fault f;
    return !heads ||
           cs_heads_step(heads, v->op.crypto, v->partition, v->old_len, at->outcomes, &at->edge, &f) ||
           heads_fault(v, &f, err);
}

static bool check_event(struct verify *v, const struct cs_record *event, bool *outcomes_end,
                        struct cs_err *err) {
    struct cs_replayed mine;
    struct cs_record published;
    if (cs_verify_needless(v))
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "stopped");
    if (!cs_replay_record(v->op.replay, event, &mine, err))
        return false;
    v->events++;
    v->event_offset = event->offset;
    v->by_status[mine.outcome.status]++;
    v->waiting += mine.outcome.status == CS_STATUS_PENDING;
    v->waiting -= (int64_t)mine.outcome.concludes;
    atomic_fetch_add(&v->shared->judged, 1);
    if (!*outcomes_end && !next_outcome(v, &published, outcomes_end, err))
        return false;
    bool judged = !*outcomes_end;
    if (judged &&
        (!check_outcome(v, &published, event, &mine, err) || !check_heads(v, err) || !check_snapshot(v, err)))
        return false;
    v->unjudged += !judged;
    if (!judged && v->o->complete)
        return fail_place(v, err, "no_outcome", event->offset, "the record has no outcome");
    return note_derived(v, event, &mine,
                        judged && published.offset < v->shared->due_outcomes[v->partition].high, err) &&
           (!v->compare || check_catalog(v, err));
}

static bool check_beginning(struct verify *v, struct cs_err *err) {
    const struct {
        const struct cs_log *log;
        int64_t low;
    } logs[] = {{v->op.events, v->op.event_bounds[v->partition].low},
                {v->op.outcomes, v->op.outcome_bounds[v->partition].low}};
    for (size_t i = 0; i < CS_ARRAY_LEN(logs); i++)
        if (logs[i].low > 0)
            return fail_place(v, err, "deleted", i == 0 ? 0 : -1,
                              "%s begins at offset %" PRId64 ": records were deleted", logs[i].log->name,
                              logs[i].low);
    return true;
}

// After all records were judged, only copies of outcomes may be left.
static bool check_rest(struct verify *v, bool outcomes_end, struct cs_err *err) {
    struct cs_record published;
    v->event_offset = -1;
    v->others += v->chain.others;
    v->set_aside += v->chain.superseded;
    if (!outcomes_end && !next_outcome(v, &published, &outcomes_end, err))
        return false;
    if (!outcomes_end)
        return fail(v, err, "no_record", -1, "outcome %" PRId64 " is of no record: %s ends before it",
                    v->last, v->op.events->name);
    struct cs_head_fault f;
    if (v->shared->heads && !cs_heads_end(v->shared->heads, v->partition, v->old_len, v->chain.last, &f))
        return heads_fault(v, &f, err);
    if (!end_old(v, err) || !end_snapshots(v, err))
        return false;
    if (v->compare && !v->compared)
        return fail_place(v, err, "position", cs_compare_after(v->compare)->next_offset,
                          "the catalog in Redis stands at offset %" PRId64 ", %s does not reach it",
                          cs_compare_after(v->compare)->next_offset, v->op.events->name);
    return true;
}

// How many outcomes this service key has signed checkpoints of.
static int64_t proven_of(const struct verify *v, int32_t p) {
    struct cs_checkpoint newest = {0};
    if (v->shared->heads && !v->o->checkpoint_key)
        (void)cs_heads_note(v->shared->heads, p, 1, INT64_MAX, &newest);
    return newest.size;
}

static bool start_old(struct verify *v, int32_t p, struct cs_err *err) {
    free(v->old);
    v->old_len = cs_epoch_last(&v->op.epochs, p);
    v->old = calloc((size_t)v->old_len + 1, sizeof *v->old);
    if (!v->old)
        return cs_err_oom(err);
    for (int64_t e = 0; e < v->old_len; e++) {
        const struct cs_epochs until = cs_epochs_until(&v->op.epochs, p, e);
        cs_chain_begin(&v->old[e].chain, v->op.marks, &until, p, 0, NULL, 0);
    }
    return true;
}

static bool start_partition(struct verify *v, int32_t p, struct cs_err *err) {
    struct cs_operator *op = &v->op;
    v->partition = p;
    v->events_before = v->events;
    v->last = 0;
    v->outcome_offset = -1;
    v->comparing = v->compared = false;
    v->next_snapshot = 0;
    if (!start_old(v, p, err))
        return false;
    cs_chain_begin(&v->chain, v->op.marks, &v->op.epochs, p, 0, NULL, proven_of(v, p));
    cs_compare_free(v->compare);
    v->compare = NULL;
    if (v->catalog) {
        // A catalog that is read now contains records that were not there when the bounds were
        // taken.
        if (!cs_compare_new(op->crypto, v->catalog, p, &v->compare, err))
            return damaged(v, err);
        if ((p < op->outcomes->partitions &&
             !op->outcomes->ops->bounds(op->outcomes, p, &op->outcome_bounds[p].low,
                                        &op->outcome_bounds[p].high, err)) ||
            (p < op->events->partitions && !op->events->ops->bounds(op->events, p, &op->event_bounds[p].low,
                                                                    &op->event_bounds[p].high, err)))
            return false;
    }
    cs_replay_begin(op->replay, p);
    return check_beginning(v, err);
}

bool cs_verify_partition(struct verify *v, int32_t p, struct cs_err *err) {
    struct cs_operator *op = &v->op;
    struct cs_record event;
    bool end = false;
    bool outcomes_end = p >= op->outcomes->partitions;
    if (!start_partition(v, p, err) || (v->compare && !check_catalog(v, err)))
        return false;
    if (!outcomes_end && !op->outcomes->ops->start(op->outcomes, p, 0, op->outcome_bounds[p].high, err))
        return false;
    end = p >= op->events->partitions;
    if (!end && !op->events->ops->start(op->events, p, 0, op->event_bounds[p].high, err))
        return false;
    while (!end) {
        if (!op->events->ops->next(op->events, &event, &end, err))
            return false;
        if (!end && !check_event(v, &event, &outcomes_end, err))
            return false;
    }
    return check_rest(v, outcomes_end, err);
}

bool cs_verify_derived(struct verify *v, struct cs_err *err) {
    struct cs_derived_finding f;
    if (!cs_derived_check_end(v->shared->derived, &f, &v->strays) ||
        (f.fault == CS_DERIVED_STRAY && v->o->allow_stray))
        return true;
    v->partition = f.partition;
    switch (f.fault) {
    case CS_DERIVED_LOST:
        return fail_place(v, err, "derived_lost", f.offset,
                          "the record emitted derived event %" PRId64
                          " of partition %d, which is nowhere in %s",
                          f.seq, (int)f.origin, v->op.events->name);
    case CS_DERIVED_STRAY:
        return fail_place(v, err, "derived_stray", f.offset,
                          "the service key signed this as derived event %" PRId64
                          " of partition %d, but no decision emitted "
                          "it (a stolen service key, or a dump that was taken while events came in)",
                          f.seq, (int)f.origin);
    case CS_DERIVED_DIFFERENT:
        return fail_place(v, err, "derived_different", f.offset,
                          "derived event %" PRId64 " of partition %d is not as it was decided", f.seq,
                          (int)f.origin);
    }
    return true;
}

bool cs_verify_unwitnessed(struct verify *v, int32_t p, struct cs_err *err, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    v->partition = p;
    return fail_place(v, err, "unwitnessed", -1, "%s", text);
}
