// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "catalog/hot.h"
#include "sim.h"
#include "worker/outcome_chain.h"

// An error that whoever fails must set.
#define UNSET                                                                                                \
    { .kind = CS_ERR_FATAL, .msg = "it failed without an error" }

// Whatever met a fault must say so.
static void went_on(struct sim *s, const char *what) {
    if (s->struck)
        violation(s, "%s goes on after an error", what);
}

static void check_why(struct sim *s, const char *what, const struct cs_err *err) {
    if (!s->struck && err->kind == CS_ERR_RETRY && !strstr(err->msg, "got the offsets"))
        violation(s, "%s fails without a fault: %s", what, err->msg);
}

static void failed(struct sim_worker *w, int32_t p, const struct cs_err *err) {
    struct sim *s = w->s;
    tell(s, "worker %d, partition %d: %s", w->index, (int)p, err->msg);
    if (strstr(err->msg, "got the offsets") && !w->publisher.misplaced)
        violation(s, "worker %d looks again at outcomes that stand where they should: %s", w->index,
                  err->msg);
    if (w->flying == p) {
        cs_flight_abandon(&w->flight);
        w->flying = -1;
    }
    cs_stand_forget(&w->stand[p]);
    w->state[p] = STARTING;
    if (err->kind == CS_ERR_RETRY)
        return;
    w->state[p] = STOPPED;
    if (s->damaged != p || s->damage_n == 0)
        violation(s, "worker %d stops partition %d: %s", w->index, (int)p, err->msg);
}

// Whether root corrected what it works on. It does not hear of it at once.
static bool hears(struct sim_worker *w, int32_t p) {
    const struct cs_epochs *mine = &w->stand[p].epochs;
    struct cs_err err = {.kind = CS_ERR_RETRY, .msg = "a correction came"};
    if (mine->len == w->s->corrections_len || chance(w->s, 700))
        return false;
    w->s->struck = 1;
    failed(w, p, &err);
    return true;
}

// The records that nobody could take for an outcome are counted.
static void check_foreign(struct sim *s, int32_t p, const struct cs_cursor_tail *tail) {
    const struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][p];
    int64_t n = 0;
    int64_t first = -1;
    for (int64_t i = tail->from; i < tail->end; i++)
        if (l->records[i].foreign && n++ == 0)
            first = i;
    if (tail->foreign != n || tail->foreign_at != first)
        violation(s, "%lld foreign records are counted, from %lld on, and not %lld from %lld",
                  (long long)tail->foreign, (long long)tail->foreign_at, (long long)n, (long long)first);
}

// How far the outcomes go, or (copies may hide it) the records in it; and no more is read than is
// needed.
static void check_tail(struct sim *s, int32_t p, const struct cs_cursor_tail *tail, int64_t mine) {
    const struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][p];
    size_t ignored = 0;
    bool whole = tail->found && (tail->from < mine || mine == 0);
    int64_t last = whole ? published(s, p, &ignored) : 0;
    for (int64_t i = tail->from; i < tail->end && !whole; i++) {
        int64_t n = l->records[i].planted || set_aside(s, p, l->records[i].value)
                        ? 0
                        : cs_outcome_number(l->records[i].value);
        last = n > last ? n : last;
    }
    if (tail->last != last)
        violation(s, "the outcomes of partition %d are said to go to %lld, and not to %lld", (int)p,
                  (long long)tail->last, (long long)last);
    if (mine == 0 && tail->from == 0 && tail->end > 0 && !tail->found)
        violation(s, "the outcomes of partition %d begin where the catalog does, and are not followed",
                  (int)p);
    int64_t short_tail = tail->end - CS_CURSOR_TAIL;
    if (tail->from != (short_tail > 0 ? short_tail : 0) && tail->from != (mine > 1 ? mine - 1 : 0))
        violation(s, "the outcomes of partition %d are read from %lld on, with %lld committed", (int)p,
                  (long long)tail->from, (long long)mine);
}

// With corrections that the catalog was not made with: an empty one takes its place.
static bool load(struct sim_worker *w, struct cs_stand *stand, struct cs_err *err) {
    bool older = false;
    bool moved = false;
    int64_t generation = 0;
    if (!cs_stand_load(stand, w->catalog, FX_LOG, PARTITIONS, err))
        return false;
    if (!cs_stand_is_stale(stand, &older))
        return true;
    if (older)
        violation(w->s, "a catalog stands on corrections that nobody made");
    tell(w->s, "worker %d makes the catalog of partition %d anew", w->index, (int)stand->id);
    generation = w->catalog->ops->generation(w->catalog, stand->id);
    return w->catalog->ops->renew(w->catalog, stand->id, generation ? generation : 1, &moved, err) &&
           cs_stand_load(stand, w->catalog, FX_LOG, PARTITIONS, err);
}

static void start(struct sim_worker *w, int32_t p) {
    struct cs_stand *stand = &w->stand[p];
    struct cs_cursor_tail tail;
    struct cs_err err = UNSET;
    w->s->struck = 0;
    w->s->impatient = chance(w->s, w->s->faults);
    stand->id = p;
    stand->epochs = epochs_of(w->s);
    const struct cs_cursor_source from = {w->env.outcomes, w->env.apply.rules.crypto, w->env.marks,
                                          stand->epochs};
    if (!load(w, stand, &err) ||
        !cs_cursor_tail(&from, p, &stand->position, w->s->checkpoints[p].size, w->s->impatient ? -1 : 60000,
                        &tail, &err) ||
        !cs_stand_follow(stand, &tail, "cert.outcomes", &err) ||
        !cs_stand_hold(stand, w->env.apply.rules.crypto, &w->s->checkpoints[p], "cert.checkpoints", &err)) {
        check_why(w->s, "a start", &err);
        failed(w, p, &err);
        return;
    }
    went_on(w->s, "a start");
    w->state[p] = RUNNING;
    w->publisher.due[p] = tail.end;
    if (w->s->damage_n == 0) {
        check_foreign(w->s, p, &tail);
        check_tail(w->s, p, &tail, stand->position.outcomes);
    }
    tell(w->s, "worker %d starts partition %d at %lld, outcomes %lld of %lld", w->index, (int)p,
         (long long)stand->position.next_offset, (long long)stand->position.outcomes,
         (long long)stand->published);
}

// With nothing to do: whether the catalog is where it was left.
static void look(struct sim_worker *w, int32_t p) {
    struct cs_position now;
    struct cs_state *nothing = NULL;
    struct cs_err err = UNSET;
    bool ok = cs_state_new(false, &nothing, &err) && cs_catalog_load(w->catalog, p, nothing, &now, &err);
    if (ok && (!cs_position_equal(&now, &w->stand[p].position) ||
               w->catalog->ops->generation(w->catalog, p) != w->stand[p].generation))
        ok = cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "the catalog was moved");
    cs_state_free(nothing);
    if (!ok)
        failed(w, p, &err);
}

static void launch(struct sim_worker *w, int32_t p) {
    struct sim *s = w->s;
    const struct sim_log *l = &s->logs[CS_PUBLISH_EVENTS][p];
    int64_t next = w->stand[p].position.next_offset;
    size_t n = 0;
    struct cs_err err = UNSET;
    for (size_t most = 1 + draw(s, BATCH); n < most && (size_t)next + n < l->len; n++) {
        const struct sim_record *r = &l->records[(size_t)next + n];
        w->records[n] = (struct cs_batch_record){
            .record = r->event->record, .prepared = r->event->prepared, .sender_time = r->sender_time};
        w->records[n].record.offset = next + (int64_t)n;
    }
    if (n == 0) {
        look(w, p);
        return;
    }
    w->flying = p;
    tell(s, "worker %d takes %zu records of partition %d from %lld on", w->index, n, (int)p, (long long)next);
    s->struck = 0;
    if (!cs_flight_begin(&w->flight, &w->stand[p], w->records, n, NULL, &err))
        failed(w, p, &err);
    else
        went_on(s, "a take-off");
}

// A batch ends early where it takes too much memory, and nowhere else.
static void check_division(struct sim_worker *w) {
    const struct cs_flight *f = &w->flight;
    size_t memory = w->env.apply.batch_memory;
    size_t must = memory == 1 ? 1 : f->len;
    if (!f->cut && f->apply.decided != must && (memory <= 1 || memory >= 1 << 20))
        violation(w->s, "worker %d decides %zu of %zu records with %zu bytes of memory", w->index,
                  f->apply.decided, f->len, memory);
}

// What is committed is published as a checkpoint now and then: every start and every replay is held
// against it, and nothing but damage may differ.
static void checkpoint(struct sim_worker *w, int32_t p) {
    const struct cs_position *at = &w->stand[p].position;
    struct cs_checkpoint *newest = &w->s->checkpoints[p];
    if (at->outcomes <= newest->size || w->stand[p].epochs.len < w->s->corrections_len || chance(w->s, 500))
        return;
    newest->size = at->outcomes;
    cs_merkle_root(w->env.apply.rules.crypto, &at->edge, at->outcomes, &newest->root);
    w->stand[p].checkpoint.newest = *newest;
}

static void landed(struct sim_worker *w, int32_t p) {
    struct cs_err err = w->flight.cut_err;
    bool cut = w->flight.cut;
    w->flying = -1;
    cs_hot_keep(w->stand[p].hot, w->hot_max);
    tell(w->s, "worker %d has committed partition %d up to %lld", w->index, (int)p,
         (long long)w->stand[p].position.next_offset);
    judge_committed(w->s, p, &w->stand[p].position);
    check_division(w);
    checkpoint(w, p);
    if (w->publisher.misplaced)
        violation(w->s, "worker %d commits on outcomes that stand elsewhere", w->index);
    if ((w->stand[p].stream != NULL) != (w->stand[p].position.outcomes < w->stand[p].published))
        violation(w->s, "worker %d, partition %d: it reads published outcomes where there are none, or none",
                  w->index, (int)p);
    if (!cut)
        return;
    err.kind = err.kind == CS_ERR_RETRY ? CS_ERR_RETRY : CS_ERR_FATAL;
    failed(w, p, &err);
}

// That one of two steps of a flight is another one is told, and where there is none it is waited.
static void check_progress(struct sim_worker *w, const struct cs_flight *before, enum cs_flight_step step) {
    const struct cs_flight *f = &w->flight;
    bool moved = f->phase != before->phase || f->compared != before->compared || f->sent != before->sent ||
                 f->loads != before->loads;
    if ((step == CS_FLIGHT_WENT_ON && !moved) || (step == CS_FLIGHT_WAITS && moved))
        violation(w->s, "worker %d says that it %s, in phase %d", w->index, moved ? "waits" : "goes on",
                  (int)f->phase);
}

static void fly(struct sim_worker *w) {
    static const char *const names[] = {"rests",   "loads",    "decides", "compares",
                                        "derived", "outcomes", "commits"};
    enum cs_flight_step step;
    struct cs_err err = UNSET;
    int32_t p = w->flying;
    struct cs_flight before = w->flight;
    w->s->struck = 0;
    w->s->may_wait = w->s->healing;
    bool ok = cs_flight_advance(&w->flight, w->s->healing, &step, &err);
    w->s->may_wait = true;
    if (!ok) {
        check_why(w->s, "a flight", &err);
        failed(w, p, &err);
        return;
    }
    went_on(w->s, "a flight");
    check_progress(w, &before, step);
    if (w->flight.phase != before.phase && step == CS_FLIGHT_WENT_ON)
        tell(w->s, "worker %d %s", w->index, names[w->flight.phase]);
    if (step == CS_FLIGHT_MOVED) {
        cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "the position was moved");
        failed(w, p, &err);
    } else if (step == CS_FLIGHT_LANDED) {
        landed(w, p);
    }
}

void worker_step(struct sim_worker *w) {
    if (w->frozen)
        return;
    if (w->flying >= 0) {
        fly(w);
        return;
    }
    int32_t p = (int32_t)draw(w->s, PARTITIONS);
    if (!w->owns[p])
        return;
    switch (w->state[p]) {
    case STARTING:
        start(w, p);
        break;
    case RUNNING:
        if (!hears(w, p))
            launch(w, p);
        break;
    case STOPPED:
        break;
    }
}

void worker_let_go(struct sim_worker *w, int32_t p) {
    if (w->flying == p) {
        cs_flight_abandon(&w->flight);
        w->flying = -1;
    }
    cs_stand_forget(&w->stand[p]);
    w->state[p] = STARTING;
}

void worker_begin(struct sim_worker *w) {
    static const size_t memory[] = {0, 1, 6000, 1 << 20};
    struct sim *s = w->s;
    struct fx *fx = s->pool->fx;
    w->flying = -1;
    w->frozen = false;
    w->hot_max = draw(s, 2) ? 0 : 1 << 20;
    w->catalog = sim_catalog(s, false);
    publisher_init(&w->publisher, s);
    w->env = (struct cs_flight_env){
        .apply = {.rules = {.crypto = fx->crypto,
                            .book = s->book,
                            .log_id = FX_LOG,
                            .partition_count = PARTITIONS,
                            .root = fx->root->pub},
                  .service = fx->service->priv,
                  .service_kid = s->pool->service_kid,
                  .batch_memory = memory[draw(s, CS_ARRAY_LEN(memory))]},
        .catalog = w->catalog,
        .publisher = &w->publisher.base,
        .outcomes = sim_topic(s),
        .marks = s->pool->marks,
        .outcomes_name = "cert.outcomes",
    };
    for (int32_t p = 0; p < PARTITIONS; p++) {
        w->owns[p] = draw(s, 3) > 0;
        w->state[p] = STARTING;
    }
}

void worker_end(struct sim_worker *w) {
    cs_flight_abandon(&w->flight);
    w->flying = -1;
    for (int32_t p = 0; p < PARTITIONS; p++)
        cs_stand_clear(&w->stand[p]);
    cs_catalog_free(w->catalog);
    cs_topic_free(w->env.outcomes);
}

// --- rebuilds

// Before the first outcome, what somebody else wrote looks like the log of an earlier build.
static bool only_foreign(const struct sim *s, int32_t p) {
    const struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][p];
    for (size_t i = 0; i < l->len; i++)
        if (!l->records[i].foreign)
            return false;
    return l->len > 0;
}

// Until there is no error, or it is another one than a fault of the simulation's.
static bool rebuild_tries(struct sim *s, struct sim_rebuilder *sr, int32_t p, int64_t generation) {
    struct cs_err err = UNSET;
    for (int i = 0; i < 8; i++) {
        atomic_store(&sr->env.stopping, i < 3 && chance(s, 2 * s->faults));
        size_t ignored = 0;
        int64_t must = published(s, p, &ignored);
        catalog_alone(sr->catalog);
        s->struck = 0;
        if (cs_rebuilder_begin(sr->r, p, generation, &err) && cs_rebuilder_follow(sr->r, &err)) {
            bool wrong = s->damaged == p && s->damage_n && (s->damage <= GAP || s->damage == DELETED);
            went_on(s, "a rebuild");
            if (wrong || cs_rebuilder_position(sr->r)->outcomes < must)
                violation(s, "a rebuild of partition %d ends well at outcome %lld, with %lld published%s",
                          (int)p, (long long)cs_rebuilder_position(sr->r)->outcomes, (long long)must,
                          wrong ? ", damaged" : "");
            return true;
        }
        tell(s, "  rebuild: %s", err.msg);
        // Meanwhile a correction came, and whoever made the live catalog anew took the number.
        if (s->corrections_len > 0 && strstr(err.msg, "is live, or was"))
            return false;
        if (err.kind == CS_ERR_CONFIG && s->rival) {
            s->rival = false;
            return false;
        }
        if (err.kind != CS_ERR_RETRY) {
            bool strange = strstr(err.msg, "without the mark of a service key") && only_foreign(s, p);
            if (!strange && (s->damaged != p || s->damage_n == 0))
                violation(s, "a rebuild of partition %d fails: %s", (int)p, err.msg);
            return false;
        }
        if (s->faults == 0 && !atomic_load(&sr->env.stopping))
            violation(s, "a rebuild of partition %d fails without a fault: %s", (int)p, err.msg);
        cs_rebuilder_end(sr->r);
    }
    return false;
}

static void try_promote(struct sim *s, struct cs_rebuilder *r, int32_t p, int64_t generation) {
    struct cs_err err = UNSET;
    struct cs_generations g;
    int64_t most = draw(s, 3);
    int64_t behind = -1;
    bool done = false;
    s->struck = 0;
    bool ok = cs_rebuilder_promote(r, most, &behind, &done, &err);
    if (ok)
        went_on(s, "a promotion");
    if (!ok || !s->admin->ops->generations(s->admin, p, &g, &err))
        return;
    tell(s, "  %lld behind: %s", (long long)behind, done ? "promoted" : "not promoted");
    if (done != (g.live == generation) || (done && behind > most))
        violation(s, "a promotion of partition %d, %lld behind, is told to be %s", (int)p, (long long)behind,
                  done ? "done" : "not done");
}

void rebuilder_make(struct sim *s, struct sim_rebuilder *r, int64_t batch, int64_t bytes, int64_t cache) {
    struct cs_err err = UNSET;
    r->settings = (struct cs_consumer_settings){
        .workers = 1, .batch_records = batch, .batch_bytes = bytes, .cache_bytes = cache};
    r->env = (struct cs_rebuild_env){.settings = &r->settings,
                                     .log_id = FX_LOG,
                                     .root_spki = cs_pubkey_spki(s->pool->fx->root->pub),
                                     .service = &s->pool->service,
                                     .partitions = PARTITIONS};
    r->catalog = sim_catalog(s, true);
    if (!cs_rebuilder_over(&r->env, sim_log_open(s, CS_PUBLISH_EVENTS), sim_log_open(s, CS_PUBLISH_OUTCOMES),
                           r->catalog, &r->r, &err))
        abort();
}

// Meanwhile a correction may have come, and whoever made the live catalog anew has a later number.
static bool is_next(struct sim *s, int32_t p, int64_t generation) {
    struct cs_generations g;
    struct cs_err err = UNSET;
    if (!s->admin->ops->generations(s->admin, p, &g, &err))
        abort();
    return g.next == generation || g.live < generation || s->corrections_len == 0;
}

void rebuild_whole(struct sim *s, struct sim_rebuilder *r, int32_t p) {
    struct cs_generations g;
    struct cs_err err = UNSET;
    tell(s, "partition %d is rebuilt", (int)p);
    catalog_on(r->catalog, s->store);
    r->env.epochs = epochs_of(s);
    if (!s->admin->ops->generations(s->admin, p, &g, &err))
        abort();
    // Whoever made the catalog anew took a number, too.
    bool stale = g.next <= g.live || g.next_position.epoch != epoch_of(s, p, g.next_position.outcomes);
    int64_t generation = g.next && !stale && draw(s, 4) ? g.next : (g.next > g.live ? g.next : g.live) + 1;
    if (rebuild_tries(s, r, p, generation) && is_next(s, p, generation)) {
        judge_catalog(s, p, CS_VIEW_NEXT);
        if (cs_rebuilder_generation(r->r) != generation)
            violation(s, "a rebuild of generation %lld stands on another", (long long)generation);
        if (draw(s, 3))
            try_promote(s, r->r, p, generation);
    }
    cs_rebuilder_end(r->r);
    catalog_on(r->catalog, NULL);
}
