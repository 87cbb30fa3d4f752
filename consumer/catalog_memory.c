// SPDX-License-Identifier: Apache-2.0
#include "catalog.h"

#include <stdlib.h>
#include <string.h>

struct memory_partition {
    struct cs_state *state; // complete
    struct cs_position position;
    uint64_t version; // counts commits and resets: what a WATCH sees
};

struct cs_memory_store {
    size_t count;
    struct memory_partition *partitions;
};

struct memory_catalog {
    struct cs_catalog base;
    struct cs_memory_store *store;
    int32_t partition;      // of what is under way
    struct cs_state *state; // of a load under way
    bool watching;
    uint64_t watched;
    bool moved; // answer of a commit under way
};

bool cs_memory_store_new(struct cs_memory_store **ret, struct cs_err *err) {
    struct cs_memory_store *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    *ret = s;
    return true;
}

void cs_memory_store_free(struct cs_memory_store *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        cs_state_free(s->partitions[i].state);
    free(s->partitions);
    free(s);
}

static struct memory_partition *partition_of(struct cs_memory_store *s, int32_t partition,
                                             struct cs_err *err) {
    size_t want = (size_t)partition + 1;
    if (want > s->count) {
        struct memory_partition *grown = realloc(s->partitions, want * sizeof *grown);
        if (!grown) {
            cs_err_oom(err);
            return NULL;
        }
        memset(grown + s->count, 0, (want - s->count) * sizeof *grown);
        s->partitions = grown;
        s->count = want;
    }
    struct memory_partition *p = &s->partitions[partition];
    if (!p->state && !cs_state_new(true, &p->state, err))
        return NULL;
    return p;
}

static bool memory_load_begin(struct cs_catalog *c, int32_t partition, struct cs_state *state,
                              struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_partition *p = partition_of(m->store, partition, err);
    if (!p)
        return false;
    // As with WATCH, a second load of the same batch keeps the first watch.
    if (!m->watching || m->partition != partition) {
        m->watched = p->version;
        m->watching = true;
    }
    m->partition = partition;
    m->state = state;
    return true;
}

static bool fill_one(struct memory_partition *p, struct cs_state *state, const char *key, bool index,
                     struct cs_err *err) {
    if (index) {
        const struct cs_member *members = NULL;
        size_t n = 0;
        if (cs_state_list(p->state, key, &members, &n) != CS_FOUND)
            n = 0;
        return cs_state_fill_index(state, key, members, n, err);
    }
    struct cs_bytes value = {0};
    if (cs_state_get(p->state, key, &value) != CS_FOUND)
        value = (struct cs_bytes){0};
    return cs_state_fill(state, key, value, err);
}

// Notes are valid until the next fill only: takes copies.
static struct cs_needed *copy_needed(const struct cs_state *state, size_t *ret_n, char **ret_text) {
    const struct cs_needed *needed = NULL;
    size_t n = cs_state_needed(state, &needed);
    size_t text_len = 1;
    for (size_t i = 0; i < n; i++)
        text_len += strlen(needed[i].key) + 1;
    struct cs_needed *copy = calloc(n + 1, sizeof *copy);
    char *text = malloc(text_len);
    if (!copy || !text) {
        free(copy);
        free(text);
        return NULL;
    }
    char *at = text;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(needed[i].key) + 1;
        memcpy(at, needed[i].key, len);
        copy[i] = (struct cs_needed){at, needed[i].index};
        at += len;
    }
    *ret_n = n;
    *ret_text = text;
    return copy;
}

static bool memory_load_end(struct cs_catalog *c, struct cs_position *ret, bool *ret_moved,
                            struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_partition *p = &m->store->partitions[m->partition];
    size_t n = 0;
    char *text = NULL;
    struct cs_needed *needed = copy_needed(m->state, &n, &text);
    bool ok = needed != NULL || cs_err_oom(err);
    for (size_t i = 0; ok && i < n; i++)
        ok = fill_one(p, m->state, needed[i].key, needed[i].index, err);
    free(needed);
    free(text);
    if (!ok)
        return false;
    cs_state_needed_clear(m->state);
    m->state = NULL;
    *ret = p->position;
    *ret_moved = p->version != m->watched;
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
    struct memory_partition *p = partition_of(m->store, partition, err);
    if (!p)
        return false;
    m->moved = !m->watching || m->partition != partition || p->version != m->watched ||
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
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_partition *p = partition_of(m->store, partition, err);
    if (!p)
        return false;
    cs_state_forget(p->state);
    p->position = (struct cs_position){0};
    p->version++;
    return true;
}

static bool memory_each(struct cs_catalog *c, int32_t partition,
                        bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                        bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                        void *arg, struct cs_err *err) {
    struct memory_catalog *m = (struct memory_catalog *)c;
    struct memory_partition *p = partition_of(m->store, partition, err);
    if (!p)
        return false;
    cs_state_each(p->state, doc, index, arg); // its answer only says that a callback stopped it
    return true;
}

static void memory_free(struct cs_catalog *c) {
    free(c);
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
