// SPDX-License-Identifier: Apache-2.0
#include "worker/flight.h"

#include <string.h>

#include "catalog/hot.h"
#include "certsync/base/text.h"
#include "certsync/runtime/fault.h"

#ifndef CS_FLIGHT_LOADS // tests/sim has less of all these
// For one record: each load finds something, or the rules ask in circles.
#define CS_FLIGHT_LOADS 10000
// Messages and bytes that the producer gets before it acknowledges. It holds a copy of them.
#define CS_FLIGHT_AT_ONCE      10000
#define CS_FLIGHT_AT_ONCE_SIZE ((size_t)8 * 1024 * 1024)
#endif

// --- where a partition stands

void cs_stand_clear(struct cs_stand *s) {
    cs_cursor_close(s->stream);
    cs_cursor_proofs_close(s->proofs);
    cs_state_free(s->hot);
    *s = (struct cs_stand){.id = s->id, .epochs = s->epochs};
}

void cs_stand_forget(struct cs_stand *s) {
    cs_cursor_close(s->stream);
    cs_cursor_proofs_close(s->proofs);
    s->stream = NULL;
    s->proofs = NULL;
    if (s->hot)
        cs_state_forget(s->hot);
}

bool cs_stand_load(struct cs_stand *s, struct cs_catalog *catalog, const char *log_id, int32_t partitions,
                   struct cs_err *err) {
    struct cs_bytes doc;
    if (!s->hot && !cs_hot_new(&s->hot, err))
        return false;
    cs_stand_forget(s);
    (void)cs_state_get(s->hot, cs_key_system(CS_NEW_KEY), &doc);
    if (!cs_catalog_load(catalog, s->id, s->hot, &s->position, err))
        return false;
    s->generation = catalog->ops->generation(catalog, s->id);
    if (cs_state_get(s->hot, cs_key_system(CS_NEW_KEY), &doc) != CS_FOUND ||
        cs_catalog_check_system(doc, log_id, partitions, err))
        return true;
    err->kind = CS_ERR_FATAL; // waiting does not change what the catalog was made with
    return false;
}

bool cs_stand_is_stale(const struct cs_stand *s, bool *ret_older) {
    int64_t epoch = cs_epoch_of(&s->epochs, s->id, s->position.outcomes);
    *ret_older = epoch < s->position.epoch;
    return epoch != s->position.epoch;
}

bool cs_stand_follow(struct cs_stand *s, const struct cs_cursor_tail *tail, const char *outcomes_name,
                     struct cs_err *err) {
    int64_t mine = s->position.outcomes;
    if (tail->last == 0 && tail->superseded == 0 && mine > 0 && tail->unmarked > 0)
        return cs_chain_unmarked(outcomes_name, s->id, tail->unmarked, err);
    if (tail->last < mine)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "topic %s ends with outcome %lld, the catalog stands at %lld: outcomes were lost, "
                          "or the topic was "
                          "made anew; restore the topic, or reset both and let them be made again",
                          outcomes_name, (long long)tail->last, (long long)mine);
    if (!tail->found && mine > 0 && (tail->other || tail->from < mine))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "outcome %lld in topic %s is not the one that the catalog stands on: a fork, or "
                          "the catalog belongs to "
                          "other topics",
                          (long long)mine, outcomes_name);
    s->outcomes_end = tail->end;
    s->published = tail->last;
    s->reach = tail->superseded;
    return true;
}

bool cs_stand_hold(struct cs_stand *s, struct cs_crypto *crypto, const struct cs_checkpoint *p,
                   const char *checkpoints_name, struct cs_err *err) {
    struct cs_hash root;
    s->checkpoint = (struct cs_checkpoint_stand){.newest = *p};
    cs_merkle_root(crypto, &s->position.edge, s->position.outcomes, &root);
    return p->size == 0 || p->size != s->position.outcomes || cs_hash_equal(&root, &p->root) ||
           cs_checkpoint_fork(checkpoints_name, p, err);
}

// --- load, decide

void cs_flight_init(struct cs_flight *f, const struct cs_flight_env *env) {
    *f = (struct cs_flight){.env = env};
    cs_apply_init(&f->apply);
}

void cs_flight_clear(struct cs_flight *f) {
    cs_apply_clear(&f->apply);
}

static bool begin_load(struct cs_flight *f, struct cs_err *err) {
    struct cs_catalog *c = f->env->catalog;
    f->phase = CS_FLIGHT_LOADING;
    return c->ops->load_begin(c, f->stand->id, f->stand->hot, err);
}

bool cs_flight_begin(struct cs_flight *f, struct cs_stand *stand, const struct cs_batch_record *records,
                     size_t len, const struct cs_published_outcome *beside, struct cs_err *err) {
    f->stand = stand;
    f->records = records;
    f->len = len;
    f->beside = beside;
    f->loads = f->loads_at = f->compared = f->timed = f->handed_over = f->sent = f->derived = 0;
    f->cut = false;
    cs_apply_begin(&f->env->apply, &f->apply, &stand->position, stand->hot, records, len);
    return begin_load(f, err);
}

void cs_flight_abandon(struct cs_flight *f) {
    const struct cs_flight_env *env = f->env;
    if (f->phase == CS_FLIGHT_NONE)
        return;
    env->catalog->ops->cancel(env->catalog);
    if (env->publisher)
        env->publisher->ops->abandon(env->publisher);
    cs_state_forget(f->stand->hot); // it may hold decisions that were not committed
    f->phase = CS_FLIGHT_NONE;
}

static bool finish_load(struct cs_flight *f, enum cs_flight_step *ret, struct cs_err *err) {
    struct cs_catalog *c = f->env->catalog;
    struct cs_position position;
    bool moved = false;
    if (!c->ops->load_end(c, &position, &moved, err))
        return false;
    if (moved || !cs_position_equal(&position, &f->apply.from)) {
        *ret = CS_FLIGHT_MOVED;
        return true;
    }
    cs_fault_point("after_load");
    f->phase = CS_FLIGHT_DECIDING;
    return true;
}

// The records before one that cannot be judged are still published and committed.
static bool decide(struct cs_flight *f, struct cs_err *err) {
    struct cs_apply_context ctx = f->env->apply;
    struct cs_apply *a = &f->apply;
    bool needed = false;
    ctx.rules.partition = f->stand->id;
    ctx.epochs = f->stand->epochs;
    ctx.checkpoint = &f->stand->checkpoint.newest;
    if (!cs_apply_decide(&ctx, a, f->stand->hot, f->records, f->len, &needed, err)) {
        if (a->torn || a->decided == 0)
            return false;
        f->cut = true;
        f->cut_err = *err;
    }
    if (f->cut || !needed) {
        f->phase = CS_FLIGHT_COMPARING;
        return true;
    }
    if (a->decided > f->loads_at)
        f->loads = 0;
    f->loads_at = a->decided;
    if (++f->loads > CS_FLIGHT_LOADS)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "the rules do not come to an end with what they need");
    return begin_load(f, err);
}

// --- compare

static struct cs_bytes account_of(const struct cs_applied_outcome *o) {
    return (struct cs_bytes){(const uint8_t *)o->account, strlen(o->account)};
}

static void short_hash(const struct cs_flight *f, struct cs_bytes value, char ret[17]) {
    uint8_t sha256[32];
    cs_crypto_sha256(f->env->apply.rules.crypto, value, sha256);
    cs_hex_encode(sha256, 8, ret);
}

static bool fork_found(const struct cs_flight *f, const struct cs_applied_outcome *mine,
                       const struct cs_published_outcome *theirs, struct cs_err *err) {
    char mine_hash[17];
    char their_hash[17];
    short_hash(f, cs_apply_value(&f->apply, mine->at, mine->len), mine_hash);
    short_hash(f, theirs->value, their_hash);
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "a fork at outcome %lld: the event at offset %lld is judged %s%s%s now (SHA-256 %s…), "
                      "but %s offset %lld holds another one of it (SHA-256 %s…); certsync-consumer verify "
                      "shows both. The catalog is left as it is",
                      (long long)mine->n, (long long)f->records[mine - f->apply.outcomes].record.offset,
                      cs_status_name(mine->status), mine->code ? " " : "", cs_code_name(mine->code),
                      mine_hash, f->env->outcomes_name, (long long)theirs->offset, their_hash);
}

static bool next_published(struct cs_flight *f, enum cs_cursor_step *ret_step,
                           struct cs_published_outcome *ret, struct cs_err *err) {
    if (f->beside) {
        *ret = f->beside[f->compared];
        *ret_step = CS_CURSOR_OUTCOME;
        return true;
    }
    return cs_cursor_next(f->stand->stream, ret_step, ret, err);
}

// Published outcomes must equal the decided ones, byte for byte.
static bool compare(struct cs_flight *f, bool *ret_waits, struct cs_err *err) {
    const struct cs_apply *a = &f->apply;
    struct cs_stand *s = f->stand;
    for (; f->compared < a->outcomes_len && a->outcomes[f->compared].n <= s->published; f->compared++) {
        const struct cs_applied_outcome *mine = &a->outcomes[f->compared];
        struct cs_published_outcome theirs;
        enum cs_cursor_step step = CS_CURSOR_WAIT;
        if (!next_published(f, &step, &theirs, err))
            return false;
        *ret_waits = step == CS_CURSOR_WAIT;
        if (*ret_waits)
            return true;
        if (step == CS_CURSOR_END) { // before the number that records claimed: publish the rest
            s->published = mine->n - 1;
            return true;
        }
        if (!cs_bytes_equal(theirs.value, cs_apply_value(a, mine->at, mine->len)) ||
            !cs_bytes_equal(theirs.key, account_of(mine)))
            return fork_found(f, mine, &theirs, err);
    }
    return true;
}

// --- publish, commit

// Sends up to CS_FLIGHT_AT_ONCE messages, from f->sent on.
static bool send_outcomes(struct cs_flight *f, struct cs_err *err) {
    const struct cs_apply *a = &f->apply;
    struct cs_publisher *to = f->env->publisher;
    size_t bytes = 0;
    char mark[CS_OUTCOME_MARK_SIZE];
    const struct cs_header headers[] = {
        {"content-type", {(const uint8_t *)CS_OUTCOME_CONTENT_TYPE, sizeof CS_OUTCOME_CONTENT_TYPE - 1}},
        {CS_OUTCOME_MARK_HEADER, {(const uint8_t *)mark, CS_OUTCOME_MARK_LEN}},
    };
    f->handed_over = 0;
    for (; f->sent < a->outcomes_len && f->handed_over < CS_FLIGHT_AT_ONCE && bytes < CS_FLIGHT_AT_ONCE_SIZE;
         f->sent++) {
        const struct cs_applied_outcome *o = &a->outcomes[f->sent];
        if (o->n <= f->stand->published)
            continue;
        struct cs_publish_message m = {
            .topic = CS_PUBLISH_OUTCOMES,
            .partition = f->stand->id,
            .key = account_of(o),
            .value = cs_apply_value(a, o->at, o->len),
            .headers = headers,
            .headers_len = CS_ARRAY_LEN(headers),
        };
        cs_outcome_mark(f->env->marks, m.partition, m.key, m.value, mark);
        if (!to->ops->send(to, &m, err))
            return false;
        bytes += o->len;
        f->handed_over++;
    }
    return true;
}

static bool send_derived(struct cs_flight *f, struct cs_err *err) {
    const struct cs_apply *a = &f->apply;
    struct cs_publisher *to = f->env->publisher;
    size_t bytes = 0;
    for (size_t n = 0; f->sent < a->derived_len && n < CS_FLIGHT_AT_ONCE && bytes < CS_FLIGHT_AT_ONCE_SIZE;
         f->sent++) {
        const struct cs_applied_derived *d = &a->derived[f->sent];
        // Outcomes are published after the derived events of their batch. So if an outcome is
        // published, they are, too.
        if (d->outcome_n <= f->stand->published)
            continue;
        const struct cs_header headers[] = {
            {"content-type", {(const uint8_t *)CS_CONTENT_TYPE, sizeof CS_CONTENT_TYPE - 1}},
            {CS_SIG_HEADER, {(const uint8_t *)d->sig, d->sig_len}},
        };
        struct cs_publish_message m = {
            .topic = CS_PUBLISH_EVENTS,
            .partition = d->partition,
            .key = {(const uint8_t *)d->account, strlen(d->account)},
            .value = cs_apply_value(a, d->at, d->len),
            .headers = headers,
            .headers_len = 2,
        };
        if (!to->ops->send(to, &m, err))
            return false;
        bytes += d->len;
        f->derived++;
        n++;
    }
    return true;
}

static bool begin_commit(struct cs_flight *f, struct cs_err *err) {
    struct cs_catalog *c = f->env->catalog;
    cs_fault_point("after_publish");
    f->phase = CS_FLIGHT_COMMITTING;
    return c->ops->commit_begin(c, f->stand->id, f->stand->hot, &f->apply.from, &f->apply.to, err);
}

static bool begin_outcomes(struct cs_flight *f, struct cs_err *err) {
    cs_fault_point("between_derived_and_outcomes");
    f->phase = CS_FLIGHT_OUTCOMES;
    f->sent = 0;
    return send_outcomes(f, err);
}

// No verdict may rest on a time that a sender chose. What was published before names the hash of its
// record, and the time is part of that. So the records of an imported log are proven as far as its
// outcomes go; also as far as outcomes go that a correction set aside.
static bool check_times(struct cs_flight *f, const struct cs_cursor_source *from, bool *ret_waits,
                        struct cs_err *err) {
    const struct cs_apply *a = &f->apply;
    struct cs_stand *s = f->stand;
    for (; f->timed < a->outcomes_len; f->timed++) {
        const struct cs_batch_record *r = &f->records[f->timed];
        enum cs_cursor_step step = CS_CURSOR_END;
        if (a->outcomes[f->timed].n <= s->published || !r->sender_time)
            continue;
        if (!cs_cursor_prove(from, s->id, a->outcomes[f->timed].n, r->prepared->record_sha256, &s->proofs,
                             &step, err))
            return false;
        *ret_waits = step == CS_CURSOR_WAIT;
        if (*ret_waits)
            return true;
        if (step == CS_CURSOR_END)
            return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, // the record cannot change any more
                              "the record at offset %lld carries its sender's time, not the broker's, and no "
                              "published outcome proves it: set message.timestamp.type=LogAppendTime on the "
                              "topic of events",
                              (long long)r->record.offset);
    }
    return true;
}

static bool advance_compare(struct cs_flight *f, enum cs_flight_step *ret, struct cs_err *err) {
    struct cs_stand *s = f->stand;
    size_t before = f->compared;
    bool waits = false;
    bool reads = f->apply.from.outcomes < s->published;
    const struct cs_cursor_source from = {f->env->outcomes, f->env->apply.rules.crypto, f->env->marks,
                                          s->epochs};
    if (reads && !f->beside && !s->stream &&
        !cs_cursor_open(&from, s->id, &f->apply.from, s->checkpoint.newest.size, &s->stream, err))
        return false;
    if (reads && !compare(f, &waits, err))
        return false;
    if (waits) {
        *ret = f->compared > before ? CS_FLIGHT_WENT_ON : CS_FLIGHT_WAITS;
        return true;
    }
    if (reads && f->apply.to.outcomes >= s->published) {
        cs_cursor_close(s->stream);
        s->stream = NULL;
    }
    if (!f->env->publisher)
        return begin_commit(f, err);
    if (!check_times(f, &from, &waits, err))
        return false;
    if (waits) {
        *ret = f->compared > before ? CS_FLIGHT_WENT_ON : CS_FLIGHT_WAITS;
        return true;
    }
    f->sent = 0;
    if (f->apply.derived_len == 0)
        return begin_outcomes(f, err);
    f->phase = CS_FLIGHT_DERIVED;
    return send_derived(f, err);
}

// Whether the outcomes are directly after those before them: nobody else writes there. If not, the
// topic is read again before anything more is published or committed.
static bool check_places(struct cs_flight *f, struct cs_err *err) {
    struct cs_publisher *to = f->env->publisher;
    struct cs_stand *s = f->stand;
    int64_t first = -1;
    int64_t last = -1;
    if (f->handed_over == 0)
        return true;
    if (!to->ops->places(to, &first, &last)) {
        s->outcomes_end = -1;
        return true;
    }
    int64_t expected = s->outcomes_end >= 0 ? s->outcomes_end : first;
    s->outcomes_end = last + 1;
    if (first == expected && last - first == (int64_t)f->handed_over - 1)
        return true;
    return cs_err_set(
        err, CS_ERR_RETRY, CS_CODE_NONE,
        "%zu outcomes got the offsets %lld to %lld of topic %s, not those from %lld on: something else "
        "writes to the topic, or it was made anew; looking at it again",
        f->handed_over, (long long)first, (long long)last, f->env->outcomes_name, (long long)expected);
}

static bool advance_publish(struct cs_flight *f, enum cs_flight_step *ret, struct cs_err *err) {
    struct cs_publisher *to = f->env->publisher;
    bool derived = f->phase == CS_FLIGHT_DERIVED;
    size_t pending = 0;
    if (!to->ops->pending(to, &pending, err))
        return false;
    if (pending > 0) {
        *ret = CS_FLIGHT_WAITS;
        return true;
    }
    if (!derived && !check_places(f, err))
        return false;
    if (f->sent < (derived ? f->apply.derived_len : f->apply.outcomes_len))
        return derived ? send_derived(f, err) : send_outcomes(f, err);
    return derived ? begin_outcomes(f, err) : begin_commit(f, err);
}

static bool finish_commit(struct cs_flight *f, enum cs_flight_step *ret, struct cs_err *err) {
    struct cs_catalog *c = f->env->catalog;
    bool moved = false;
    if (!c->ops->commit_end(c, &moved, err))
        return false;
    if (moved) {
        *ret = CS_FLIGHT_MOVED;
        return true;
    }
    cs_fault_point("after_exec");
    f->stand->position = f->apply.to;
    f->phase = CS_FLIGHT_NONE;
    *ret = CS_FLIGHT_LANDED;
    return true;
}

bool cs_flight_advance(struct cs_flight *f, bool wait, enum cs_flight_step *ret, struct cs_err *err) {
    struct cs_catalog *c = f->env->catalog;
    bool answered =
        wait || (f->phase != CS_FLIGHT_LOADING && f->phase != CS_FLIGHT_COMMITTING) || c->ops->poll(c);
    *ret = CS_FLIGHT_WENT_ON;
    if (answered)
        switch (f->phase) {
        case CS_FLIGHT_NONE:
            break;
        case CS_FLIGHT_LOADING:
            return finish_load(f, ret, err);
        case CS_FLIGHT_DECIDING:
            return decide(f, err);
        case CS_FLIGHT_COMPARING:
            return advance_compare(f, ret, err);
        case CS_FLIGHT_DERIVED:
        case CS_FLIGHT_OUTCOMES:
            return advance_publish(f, ret, err);
        case CS_FLIGHT_COMMITTING:
            return finish_commit(f, ret, err);
        }
    *ret = CS_FLIGHT_WAITS;
    return true;
}
