// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define GONE (-1) // another rebuild: its lease has run out

struct catalog {
    struct cs_catalog base;
    struct cs_catalog *inner;
    struct sim *s;
    bool rebuild;         // others go on during its steps
    bool answered;        // what is under way
    int rival;            // another rebuild has the claim, and is asked so often
    bool rival_lives;     // and renews it at last
    struct cs_state *own; // loaded instead of what was asked for
};

#define INNER(c) (((struct catalog *)(c))->inner)
#define SIM(c)   (((struct catalog *)(c))->s)

static void others(struct cs_catalog *c) {
    if (((struct catalog *)c)->rebuild)
        meanwhile(SIM(c));
}

// After an error a handle is idle.
static bool fails(struct cs_catalog *c, const char *what, struct cs_err *err) {
    if (!fault(SIM(c), what, err))
        return false;
    INNER(c)->ops->cancel(INNER(c));
    return true;
}

// What begins something returns at once; its end waits.
static void begins(struct cs_catalog *c) {
    ((struct catalog *)c)->answered = false;
}

static void ends(struct cs_catalog *c) {
    const struct catalog *self = (struct catalog *)c;
    if (!self->rebuild && !self->answered && !SIM(c)->may_wait)
        violation(SIM(c), "it waits for the catalog, and was told not to");
}

static bool load_begin(struct cs_catalog *c, int32_t partition, struct cs_state *state, struct cs_err *err) {
    struct catalog *self = (struct catalog *)c;
    const struct sim *s = SIM(c);
    begins(c);
    if (s->damage == CIRCLES && s->damage_n && s->damaged == partition && !self->rebuild)
        state = self->own;
    return !fails(c, "a load does not begin", err) &&
           INNER(c)->ops->load_begin(INNER(c), partition, state, err);
}

static bool load_end(struct cs_catalog *c, struct cs_position *ret, bool *ret_moved, struct cs_err *err) {
    others(c);
    ends(c);
    return !fails(c, "a load fails", err) && INNER(c)->ops->load_end(INNER(c), ret, ret_moved, err);
}

static bool commit_begin(struct cs_catalog *c, int32_t partition, const struct cs_state *state,
                         const struct cs_position *from, const struct cs_position *to, struct cs_err *err) {
    others(c);
    begins(c);
    return !fails(c, "a commit is refused", err) &&
           INNER(c)->ops->commit_begin(INNER(c), partition, state, from, to, err);
}

// The commit may have happened.
static bool commit_end(struct cs_catalog *c, bool *ret_moved, struct cs_err *err) {
    ends(c);
    return !fails(c, "the answer to a commit is lost", err) &&
           INNER(c)->ops->commit_end(INNER(c), ret_moved, err);
}

static bool catalog_poll(struct cs_catalog *c) {
    bool *answered = &((struct catalog *)c)->answered;
    *answered |= SIM(c)->healing || chance(SIM(c), 700);
    return *answered;
}

static void cancel(struct cs_catalog *c) {
    INNER(c)->ops->cancel(INNER(c));
}

static bool reset(struct cs_catalog *c, int32_t partition, struct cs_err *err) {
    return INNER(c)->ops->reset(INNER(c), partition, err);
}

static int64_t generation(const struct cs_catalog *c, int32_t partition) {
    const struct catalog *self = (const struct catalog *)c;
    return self->inner->ops->generation(self->inner, partition);
}

static bool generations(struct cs_catalog *c, int32_t partition, struct cs_generations *ret,
                        struct cs_err *err) {
    return !fails(c, "generations are not told", err) &&
           INNER(c)->ops->generations(INNER(c), partition, ret, err);
}

static bool restored(struct cs_catalog *c, int32_t partition, struct cs_restored *ret, struct cs_err *err) {
    return !fails(c, "what it was restored from cannot be read", err) &&
           INNER(c)->ops->restored(INNER(c), partition, ret, err);
}

// The lease of one that was killed runs out. One that lives renews it: it lasts longer than it did.
static bool rival_has_it(struct catalog *self, int64_t lease_ms, int64_t *ret_left_ms) {
    struct sim *s = self->s;
    if (s->rival)
        violation(s, "another rebuild lives, and is asked again for its claim");
    if (self->rival == 0 && chance(s, 2 * s->faults)) {
        self->rival = 1 + (int)draw(s, 4);
        self->rival_lives = self->rival > 1 && draw(s, 2);
        tell(s, "  another rebuild %s", self->rival_lives ? "is at work" : "was killed");
        for (size_t i = 0; i < REBUILDERS && draw(s, 3) == 0; i++)
            atomic_store(&s->rebuilders[i].env.stopping, true); // while it waits
    }
    if (self->rival <= 0) {
        self->rival = 0;
        return false;
    }
    *ret_left_ms = --self->rival * 200 + 1;
    s->rival = self->rival == 0 && self->rival_lives;
    if (s->rival)
        *ret_left_ms = lease_ms;
    else if (self->rival == 0)
        self->rival = GONE;
    return true;
}

static bool claim(struct cs_catalog *c, int32_t partition, int64_t number, int64_t lease_ms,
                  bool *ret_claimed, int64_t *ret_left_ms, struct cs_err *err) {
    *ret_claimed = false;
    if (rival_has_it((struct catalog *)c, lease_ms, ret_left_ms))
        return true;
    return !fails(c, "a claim fails", err) &&
           INNER(c)->ops->claim(INNER(c), partition, number, lease_ms, ret_claimed, ret_left_ms, err);
}

static bool release(struct cs_catalog *c, int32_t partition, struct cs_err *err) {
    return INNER(c)->ops->release(INNER(c), partition, err);
}

static bool promote(struct cs_catalog *c, int32_t partition, const struct cs_position *live,
                    const struct cs_position *next, bool *ret_moved, struct cs_err *err) {
    others(c);
    return !fails(c, "a promotion fails", err) &&
           INNER(c)->ops->promote(INNER(c), partition, live, next, ret_moved, err);
}

static bool renew(struct cs_catalog *c, int32_t partition, int64_t from, bool *ret_moved,
                  struct cs_err *err) {
    return !fails(c, "no empty generation is made", err) &&
           INNER(c)->ops->renew(INNER(c), partition, from, ret_moved, err);
}

static void catalog_free(struct cs_catalog *c) {
    cs_catalog_free(INNER(c));
    cs_state_free(((struct catalog *)c)->own);
    free(c);
}

struct cs_catalog *sim_catalog(struct sim *s, bool rebuild) {
    static const struct cs_catalog_ops ops = {.load_begin = load_begin,
                                              .restored = restored,
                                              .load_end = load_end,
                                              .commit_begin = commit_begin,
                                              .commit_end = commit_end,
                                              .poll = catalog_poll,
                                              .cancel = cancel,
                                              .reset = reset,
                                              .generation = generation,
                                              .generations = generations,
                                              .claim = claim,
                                              .release = release,
                                              .promote = promote,
                                              .renew = renew,
                                              .free = catalog_free};
    struct catalog *c = calloc(1, sizeof *c);
    struct cs_err err;
    if (!cs_state_new(false, &c->own, &err))
        abort();
    c->base.ops = &ops;
    c->s = s;
    c->rebuild = rebuild;
    if (!rebuild)
        catalog_on(&c->base, s->store);
    return &c->base;
}

void catalog_alone(struct cs_catalog *c) {
    ((struct catalog *)c)->rival = 0;
}

void catalog_on(struct cs_catalog *c, struct cs_memory_store *store) {
    struct cs_err err;
    cs_catalog_free(INNER(c));
    INNER(c) = NULL;
    catalog_alone(c);
    if (store && !cs_catalog_memory_new(store, &INNER(c), &err))
        abort();
}

// --- snapshots

static bool put_doc(void *to, const char *key, struct cs_bytes value) {
    cs_state_put(to, key, value);
    return true;
}

static bool put_index(void *to, const char *key, const struct cs_member *members, size_t n) {
    for (size_t i = 0; i < n; i++)
        cs_state_add(to, key, members[i].name, members[i].score);
    return true;
}

void state_copy(const struct cs_state *from, struct cs_state *to) {
    struct cs_err err;
    cs_state_begin(to);
    cs_state_each(from, put_doc, put_index, to);
    if (!cs_state_keep(to, &err))
        abort();
}

void store_snapshot(struct sim *s, int32_t partition) {
    struct sim_snapshot *to = &s->snapshots[partition][draw(s, SNAPSHOTS)];
    struct cs_state *nothing = NULL;
    struct cs_err err;
    if (!to->state && !cs_state_new(true, &to->state, &err))
        abort();
    cs_state_forget(to->state);
    cs_state_begin(to->state);
    if (!s->admin->ops->each(s->admin, partition, put_doc, put_index, to->state, &err) ||
        !cs_state_keep(to->state, &err) || !cs_state_new(false, &nothing, &err) ||
        !cs_catalog_load(s->admin, partition, nothing, &to->position, &err))
        abort();
    cs_state_changes_clear(to->state);
    cs_state_free(nothing);
}

void store_reset_next(struct sim *s, int32_t partition) {
    struct cs_generations g;
    struct cs_err err;
    if (!s->admin->ops->generations(s->admin, partition, &g, &err) || g.next == 0)
        return;
    tell(s, "the rebuilt catalog of partition %d is lost", (int)partition);
    s->admin->ops->view(s->admin, CS_VIEW_NEXT);
    store_reset(s, partition);
    s->admin->ops->view(s->admin, CS_VIEW_LIVE);
}

void store_reset(struct sim *s, int32_t partition) {
    struct cs_err err;
    if (!s->admin->ops->reset(s->admin, partition, &err))
        abort();
}

void store_restore(struct sim *s, int32_t partition, const struct cs_position *at,
                   const struct cs_state *state) {
    struct cs_position from;
    struct cs_state *changes = NULL;
    struct cs_catalog *c = s->admin;
    struct cs_err err;
    bool moved = false;
    store_reset(s, partition);
    if (!cs_state_new(false, &changes, &err) || !c->ops->load_begin(c, partition, changes, &err) ||
        !c->ops->load_end(c, &from, &moved, &err))
        abort();
    state_copy(state, changes);
    if (!c->ops->commit_begin(c, partition, changes, &from, at, &err) ||
        !c->ops->commit_end(c, &moved, &err) || moved)
        abort();
    cs_state_free(changes);
}
