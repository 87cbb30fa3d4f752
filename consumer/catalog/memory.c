// SPDX-License-Identifier: Apache-2.0
#include "catalog/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"

struct memory_generation {
    int64_t number;
    struct cs_state *state; // complete
    struct cs_position position;
    uint64_t version; // counts commits and resets: a WATCH sees these
    struct cs_restored restored;
    bool filling; // it was restored in part
};

struct memory_partition {
    struct memory_generation **generations;
    size_t count, cap;
    int64_t live, next;                 // next 0: none
    const struct memory_catalog *claim; // the handle that writes the next one
    uint64_t version;                   // counts promotions
};

struct cs_memory_store {
    struct memory_partition *partitions; // by number; all zero until somebody uses it
    size_t cap;
};

struct memory_catalog {
    struct cs_catalog base;
    struct cs_memory_store *store;
    enum { ON_LIVE, ON_NEXT, ON_CLAIMED } stand;
    int64_t *known; // the generation that it uses, by partition
    size_t known_cap;
    int32_t partition;      // of the load or commit under way
    struct cs_state *state; // of a load under way
    struct memory_generation *loading;
    bool watching;
    uint64_t watched, watched_partition;
    bool moved; // the answer of a commit under way
};

bool cs_memory_store_new(struct cs_memory_store **ret, struct cs_err *err) {
    struct cs_memory_store *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    *ret = s;
    return true;
}

static void generation_free(struct memory_generation *g) {
    if (g)
        cs_state_free(g->state);
    free(g);
}

void cs_memory_store_free(struct cs_memory_store *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->cap; i++) {
        for (size_t k = 0; k < s->partitions[i].count; k++)
            generation_free(s->partitions[i].generations[k]);
        free(s->partitions[i].generations);
    }
    free(s->partitions);
    free(s);
}

static struct memory_partition *partition_of(struct memory_catalog *m, int32_t partition,
                                             struct cs_err *err) {
    struct cs_memory_store *s = m->store;
    size_t want = (size_t)partition + 1;
    if (!CS_GROW_ZEROED(&s->partitions, &s->cap, want) || !CS_GROW_ZEROED(&m->known, &m->known_cap, want)) {
        cs_err_oom(err);
        return NULL;
    }
    struct memory_partition *p = &s->partitions[partition];
    if (p->live == 0)
        p->live = 1;
    return p;
}

// The generation of this number. It is made empty if it is not there.
static struct memory_generation *generation_of(struct memory_partition *p, int64_t number,
                                               struct cs_err *err) {
    for (size_t i = 0; i < p->count; i++)
        if (p->generations[i]->number == number)
            return p->generations[i];
    struct memory_generation *g = calloc(1, sizeof *g);
    if (!g || !cs_state_new(true, &g->state, err) || !CS_GROW(&p->generations, &p->cap, p->count + 1)) {
        generation_free(g);
        cs_err_oom(err);
        return NULL;
    }
    g->number = number;
    p->generations[p->count++] = g;
    return g;
}

// The generation that the handle uses. NULL with CONFIG where there is no next one.
static struct memory_generation *stand_on(struct memory_catalog *m, int32_t partition, struct cs_err *err) {
    struct memory_partition *p = partition_of(m, partition, err);
    if (!p)
        return NULL;
    if (m->stand != ON_CLAIMED)
        m->known[partition] = m->stand == ON_LIVE ? p->live : p->next;
    if (m->known[partition] == 0) {
        cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                   "there is no rebuilt catalog of partition %d; make one with: certsync-consumer rebuild",
                   (int)partition);
        return NULL;
    }
    return generation_of(p, m->known[partition], err);
}

static bool memory_load_begin(struct cs_catalog *c, int32_t partition, struct cs_state *state,
                              struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_generation *g = stand_on(m, partition, err);
    if (!g)
        return false;
    // As with WATCH, a second load of the same batch keeps the first watch.
    if (!m->watching || m->partition != partition) {
        m->watched = g->version;
        m->watched_partition = m->store->partitions[partition].version;
        m->watching = true;
    }
    m->partition = partition;
    m->state = state;
    m->loading = g;
    return true;
}

static bool fill_one(const struct memory_generation *p, struct cs_state *state, size_t i,
                     const struct cs_needed *needed, struct cs_err *err) {
    if (needed->index) {
        const struct cs_member *members = NULL;
        size_t n = 0;
        if (cs_state_list(p->state, needed->key, &members, &n) != CS_FOUND)
            n = 0;
        return cs_state_fill_index(state, needed->key, members, n, err);
    }
    struct cs_bytes value = {0};
    if (cs_state_get(p->state, needed->key, &value) != CS_FOUND)
        value = (struct cs_bytes){0};
    return cs_state_fill_needed(state, i, value, err);
}

// Whether what the handle watches is unchanged, and it still has its claim.
static bool still_stands(const struct memory_catalog *m, const struct memory_generation *g) {
    const struct memory_partition *p = &m->store->partitions[m->partition];
    return g->version == m->watched && p->version == m->watched_partition &&
           (m->stand != ON_CLAIMED || p->claim == m);
}

static bool memory_load_end(struct cs_catalog *c, struct cs_position *ret, bool *ret_moved,
                            struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_generation *p = m->loading;
    const struct cs_needed *needed = NULL;
    *ret = p->position;
    *ret_moved = !still_stands(m, p);
    if (*ret_moved)
        return true;
    if (p->filling)
        return cs_err_set(err, CS_ERR_DAMAGED, CS_CODE_NONE,
                          "the catalog of partition %d was restored in part", (int)m->partition);
    size_t n = cs_state_needed(m->state, &needed);
    for (size_t i = 0; i < n; i++)
        if (!fill_one(p, m->state, i, &needed[i], err))
            return false;
    cs_state_needed_clear(m->state);
    m->state = NULL;
    return true;
}

static bool apply_change(void *arg, const struct cs_change *change) {
    struct cs_state *s = arg;
    switch (change->kind) {
    case CS_CHANGE_PUT:
        cs_state_put(s, change->key, change->value);
        break;
    case CS_CHANGE_DELETE:
        cs_state_delete(s, change->key);
        break;
    case CS_CHANGE_ADD:
        cs_state_add(s, change->key, change->member, change->score);
        break;
    case CS_CHANGE_REMOVE:
        cs_state_remove(s, change->key, change->member);
        break;
    case CS_CHANGE_TRIM:
        cs_state_trim(s, change->key, change->keep);
        break;
    }
    return true;
}

static bool memory_commit_begin(struct cs_catalog *c, int32_t partition, const struct cs_state *state,
                                const struct cs_position *from, const struct cs_position *to,
                                struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_generation *p = m->loading;
    (void)err;
    m->moved = !m->watching || m->partition != partition || m->stand == ON_NEXT || !still_stands(m, p) ||
               !cs_position_equal(&p->position, from);
    m->watching = false;
    if (m->moved)
        return true;
    cs_state_begin(p->state);
    cs_state_changes(state, apply_change, p->state);
    if (!cs_state_keep(p->state, err))
        return false;
    cs_state_changes_clear(p->state);
    p->position = *to;
    p->version++;
    return true;
}

static bool memory_commit_end(struct cs_catalog *c, bool *ret_moved, struct cs_err *err) {
    (void)err;
    *ret_moved = ((struct memory_catalog *)c)->moved;
    return true;
}

static bool memory_poll(struct cs_catalog *c) {
    (void)c;
    return true;
}

static int memory_fd(struct cs_catalog *c, bool *ret_write) {
    (void)c;
    *ret_write = false;
    return -1;
}

static void memory_cancel(struct cs_catalog *c) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    m->watching = false;
    m->state = NULL;
}

static bool memory_reset(struct cs_catalog *c, int32_t partition, struct cs_err *err) {
    struct memory_generation *g = stand_on((struct memory_catalog *)c, partition, err);
    if (!g)
        return false;
    cs_state_forget(g->state);
    g->position = (struct cs_position){0};
    g->restored = (struct cs_restored){0};
    g->filling = false;
    g->version++;
    return true;
}

static bool memory_each(struct cs_catalog *c, int32_t partition,
                        bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                        bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                        void *arg, struct cs_err *err) {
    struct memory_generation *g = stand_on((struct memory_catalog *)c, partition, err);
    if (!g)
        return false;
    cs_state_each(g->state, doc, index, arg); // false only says that a callback stopped it
    return true;
}

static int64_t memory_generation(const struct cs_catalog *c, int32_t partition) {
    const struct memory_catalog *m = (const struct memory_catalog *)c;
    return (size_t)partition < m->known_cap ? m->known[partition] : 0;
}

static bool memory_generations(struct cs_catalog *c, int32_t partition, struct cs_generations *ret,
                               struct cs_err *err) {
    struct memory_partition *p = partition_of((struct memory_catalog *)c, partition, err);
    struct memory_generation *live = p ? generation_of(p, p->live, err) : NULL;
    struct memory_generation *next = live && p->next ? generation_of(p, p->next, err) : NULL;
    if (!live || (p->next && !next))
        return false;
    *ret = (struct cs_generations){.live = p->live, .next = p->next, .live_position = live->position};
    if (next)
        ret->next_position = next->position;
    return true;
}

static void memory_view(struct cs_catalog *c, enum cs_catalog_view view) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    memory_cancel(c);
    m->stand = view == CS_VIEW_LIVE ? ON_LIVE : ON_NEXT;
}

// A lease never ends here: there is no clock. A handle that is freed gives its claims back.
static bool memory_claim(struct cs_catalog *c, int32_t partition, int64_t generation, int64_t lease_ms,
                         bool *ret_claimed, int64_t *ret_left_ms, struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_partition *p = partition_of(m, partition, err);
    if (!p)
        return false;
    memory_cancel(c);
    if (generation <= p->live)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "generation %lld of partition %d is live, or was",
                          (long long)generation, (int)partition);
    *ret_claimed = !p->claim || p->claim == m;
    *ret_left_ms = *ret_claimed ? 0 : lease_ms;
    if (!*ret_claimed)
        return true;
    p->next = generation;
    p->claim = m;
    m->stand = ON_CLAIMED;
    m->known[partition] = p->next;
    return true;
}

static bool memory_release(struct cs_catalog *c, int32_t partition, struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_partition *p = partition_of(m, partition, err);
    if (!p)
        return false;
    if (p->claim == m)
        p->claim = NULL;
    return true;
}

static bool memory_promote(struct cs_catalog *c, int32_t partition, const struct cs_position *live,
                           const struct cs_position *next, bool *ret_moved, struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_partition *p = partition_of(m, partition, err);
    struct cs_generations g;
    memory_cancel(c);
    if (!p || !memory_generations(c, partition, &g, err))
        return false;
    *ret_moved = m->stand != ON_CLAIMED || p->claim != m || g.next != m->known[partition] ||
                 !cs_position_equal(&g.live_position, live) || !cs_position_equal(&g.next_position, next);
    if (*ret_moved)
        return true;
    p->live = p->next;
    p->next = 0;
    p->claim = NULL;
    p->version++;
    return true;
}

static bool memory_sweep(struct cs_catalog *c, int32_t partition, int64_t *ret_removed, bool *ret_moved,
                         struct cs_err *err) {
    struct memory_partition *p = partition_of((struct memory_catalog *)c, partition, err);
    if (!p)
        return false;
    *ret_removed = 0;
    *ret_moved = false;
    for (size_t i = 0; i < p->count; i++) {
        struct memory_generation *g = p->generations[i];
        if (g->number == p->live || g->number == p->next || g->position.next_offset == 0)
            continue;
        cs_state_forget(g->state);
        g->position = (struct cs_position){0};
        g->version++;
        ++*ret_removed;
    }
    return true;
}

static bool memory_sweep_some(struct cs_catalog *c, int32_t partition, char cursor[CS_SWEEP_CURSOR],
                              bool *ret_moved, struct cs_err *err) {
    int64_t removed = 0;
    memcpy(cursor, "0", 2);
    return memory_sweep(c, partition, &removed, ret_moved, err);
}

static bool memory_sweep_all(struct cs_catalog *c, int32_t partitions, int64_t *ret_removed,
                             struct cs_err *err) {
    bool moved = false;
    *ret_removed = 0;
    for (int32_t p = 0; p < partitions; p++) {
        int64_t removed = 0;
        if (!memory_sweep(c, p, &removed, &moved, err))
            return false;
        *ret_removed += removed;
    }
    return true;
}

static bool memory_renew(struct cs_catalog *c, int32_t partition, int64_t generation, bool *ret_moved,
                         struct cs_err *err) {
    struct memory_partition *p = partition_of((struct memory_catalog *)c, partition, err);
    if (!p)
        return false;
    memory_cancel(c);
    *ret_moved = p->live != generation;
    if (*ret_moved)
        return true;
    p->live = (p->next > p->live ? p->next : p->live) + 1;
    p->next = 0;
    p->claim = NULL;
    p->version++;
    return true;
}

static bool memory_restore(struct cs_catalog *c, int32_t partition, const struct cs_state *piece, bool first,
                           const struct cs_position *to, const struct cs_restored *from, bool *ret_moved,
                           struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    int64_t used = memory_generation(c, partition);
    struct memory_generation *g = stand_on(m, partition, err);
    (void)first;
    if (!g)
        return false;
    memory_cancel(c);
    *ret_moved = g->number != used || g->position.next_offset > 0 || m->stand == ON_NEXT ||
                 (m->stand == ON_CLAIMED && m->store->partitions[partition].claim != m);
    if (*ret_moved)
        return true;
    cs_state_begin(g->state);
    cs_state_changes(piece, apply_change, g->state);
    if (!cs_state_keep(g->state, err))
        return false;
    cs_state_changes_clear(g->state);
    g->filling = !to;
    if (to) {
        g->position = *to;
        g->restored = *from;
    }
    g->version++;
    return true;
}

static bool memory_restored(struct cs_catalog *c, int32_t partition, struct cs_restored *ret,
                            struct cs_err *err) {
    struct memory_generation *g = stand_on((struct memory_catalog *)c, partition, err);
    if (!g)
        return false;
    *ret = g->restored;
    return true;
}

static void memory_free(struct cs_catalog *c) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    for (size_t i = 0; i < m->store->cap; i++)
        if (m->store->partitions[i].claim == m)
            m->store->partitions[i].claim = NULL;
    free(m->known);
    free(m);
}

static const struct cs_catalog_ops memory_ops = {
    .load_begin = memory_load_begin,
    .load_end = memory_load_end,
    .commit_begin = memory_commit_begin,
    .commit_end = memory_commit_end,
    .poll = memory_poll,
    .fd = memory_fd,
    .cancel = memory_cancel,
    .reset = memory_reset,
    .each = memory_each,
    .generation = memory_generation,
    .generations = memory_generations,
    .view = memory_view,
    .claim = memory_claim,
    .release = memory_release,
    .promote = memory_promote,
    .renew = memory_renew,
    .restore = memory_restore,
    .restored = memory_restored,
    .sweep = memory_sweep,
    .sweep_some = memory_sweep_some,
    .sweep_all = memory_sweep_all,
    .free = memory_free,
};

bool cs_catalog_memory_new(struct cs_memory_store *store, struct cs_catalog **ret, struct cs_err *err) {
    struct memory_catalog *m = calloc(1, sizeof *m);
    if (!m)
        return cs_err_oom(err);
    m->base.ops = &memory_ops;
    m->store = store;
    *ret = &m->base;
    return true;
}
