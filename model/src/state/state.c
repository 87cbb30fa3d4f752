// SPDX-License-Identifier: Apache-2.0
//
// Documents and indexes are in hash tables; their order shows nowhere outside. Writes go straight
// into the tables. What takes them back is kept until cs_state_keep or cs_state_drop.
#include "certsync/model/state.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/event.h"
#include "state/state_internal.h"

#define DECODED_SIZE 512 // of an account, an agent or a trusted key, about

bool cs_state_new(bool complete, struct cs_state **ret, struct cs_err *err) {
    struct cs_state *s = calloc(1, sizeof(*s));
    if (!s)
        return cs_err_oom(err);
    s->complete = complete;
    cs_buf_init(&s->scratch, CS_STATE_DOCUMENT_MAX);
    *ret = s;
    return true;
}

void cs_state_set_stays(struct cs_state *s, bool (*stays)(const char *key)) {
    assert(s->docs.len == 0 && s->passing.len == 0);
    s->stays = stays;
}

static void free_value(const struct doc *d, struct value *v) {
    if (!v)
        return;
    free(v->decoded);
    if (!d->passing)
        free(v);
}

// Allocated bytes, with malloc's own. For a document that comes again also its decoded form.
static size_t size_of_doc(const struct doc *d) {
    size_t decoded = d->passing ? 0 : DECODED_SIZE;
    return sizeof(*d) + d->keyed.len + 16 + (d->value ? sizeof(*d->value) + d->value->len + 16 + decoded : 0);
}

static void set_value(struct cs_state *s, struct doc *d, struct value *v) {
    s->held -= d->passing ? 0 : size_of_doc(d);
    d->value = v;
    s->held += d->passing ? 0 : size_of_doc(d);
}

static struct doc *doc_at(const struct cs_keyed_table *t, size_t i) {
    return (struct doc *)(void *)t->items[i];
}

static struct index *index_at(const struct cs_state *s, size_t i) {
    return (struct index *)(void *)s->indexes.items[i];
}

void cs_state_forget_passing(struct cs_state *s) {
    assert(!s->staging && s->needed_len == 0 && s->dirty_len == 0);
    for (size_t i = 0; i < s->passing.len; i++) {
        const struct doc *d = doc_at(&s->passing, i);
        free_value(d, d->value);
    }
    cs_keyed_empty(&s->passing);
    cs_region_reset(&s->passing_memory);
}

void cs_state_forget(struct cs_state *s) {
    assert(!s->staging);
    cs_state_changes_clear(s);
    s->needed_len = 0;
    cs_state_forget_passing(s);
    for (size_t i = 0; i < s->docs.len; i++) {
        struct doc *d = doc_at(&s->docs, i);
        free_value(d, d->value);
        free(d);
    }
    cs_keyed_empty(&s->docs);
    s->held = 0;
    for (size_t i = 0; i < s->indexes.len; i++)
        cs_index_free(s, index_at(s, i));
    cs_keyed_empty(&s->indexes);
    s->out_of_memory = false;
}

void cs_state_free(struct cs_state *s) {
    if (!s)
        return;
    if (s->staging)
        cs_state_drop(s);
    cs_state_forget(s);
    cs_keyed_free(&s->docs);
    cs_keyed_free(&s->passing);
    cs_region_free(&s->passing_memory);
    cs_keyed_free(&s->indexes);
    cs_region_free(&s->members);
    free(s->ops);
    free(s->undo);
    free(s->dirty);
    free(s->needed);
    cs_buf_clear(&s->scratch);
    free(s);
}

struct cs_buf *cs_state_scratch(struct cs_state *s) {
    return &s->scratch;
}

static struct doc *find_doc(const struct cs_state *s, const struct cs_keyed *key, bool passing) {
    return cs_keyed_find(passing ? &s->passing : &s->docs, key);
}

// The entry of a document. A new entry knows nothing of it yet. NULL: out of memory.
static struct doc *doc_of(struct cs_state *s, const char *key) {
    struct cs_keyed keyed = cs_keyed_of(key);
    bool passing = s->stays && !s->stays(key);
    assert(keyed.len <= CS_STATE_KEY_MAX);
    struct doc *d = find_doc(s, &keyed, passing);
    if (d)
        return d;
    size_t size = sizeof(*d) + keyed.len + 1;
    d = cs_region_take(passing ? &s->passing_memory : NULL, size);
    if (!d) {
        s->out_of_memory = true;
        return NULL;
    }
    *d = (struct doc){.keyed = keyed, .known = s->complete, .passing = passing};
    memcpy(d->key, key, keyed.len + 1);
    d->keyed.key = d->key;
    if (!cs_keyed_add(passing ? &s->passing : &s->docs, &d->keyed)) {
        s->out_of_memory = true;
        if (!passing)
            free(d);
        return NULL;
    }
    s->held += passing ? 0 : size_of_doc(d);
    return d;
}

void cs_state_note(struct cs_state *s, const char *key, bool index, bool *noted) {
    if (*noted || !cs_state_fits(s, CS_GROW(&s->needed, &s->needed_cap, s->needed_len + 1)))
        return;
    s->needed[s->needed_len++] = (struct cs_needed){key, index};
    *noted = true;
}

enum cs_look cs_state_look(struct cs_state *s, const char *key, struct cs_bytes *ret, void ***ret_decoded) {
    struct doc *d = NULL;
    if (s->complete) { // a look leaves no trace
        struct cs_keyed keyed = cs_keyed_of(key);
        d = find_doc(s, &keyed, false);
        if (!d)
            return CS_ABSENT;
    } else if (!(d = doc_of(s, key))) {
        return CS_NEEDED;
    }
    if (!d->known) {
        cs_state_note(s, d->key, false, &d->noted);
        return CS_NEEDED;
    }
    if (!d->value)
        return CS_ABSENT;
    *ret = (struct cs_bytes){d->value->data, d->value->len};
    *ret_decoded = &d->value->decoded;
    return CS_FOUND;
}

enum cs_look cs_state_get(struct cs_state *s, const char *key, struct cs_bytes *ret) {
    void **ignored = NULL;
    return cs_state_look(s, key, ret, &ignored);
}

// ret_value: a copy of value for the document. NULL where value.data is NULL.
static bool copy_value(struct cs_state *s, const struct doc *d, struct cs_bytes value,
                       struct value **ret_value) {
    struct value *v = NULL;
    if (value.data) {
        size_t size = sizeof(*v) + value.len;
        v = cs_region_take(d->passing ? &s->passing_memory : NULL, size);
        if (!v)
            return false;
        v->decoded = NULL;
        v->len = value.len;
        memcpy(v->data, value.data, value.len);
    }
    *ret_value = v;
    return true;
}

static struct doc *write_doc(struct cs_state *s, const char *key, struct cs_bytes value) {
    assert(s->staging);
    struct doc *d = doc_of(s, key);
    struct value *v = NULL;
    if (!d || !cs_state_fits(s, CS_GROW(&s->undo, &s->undo_cap, s->undo_len + 1)) ||
        !cs_state_fits(s, CS_GROW(&s->dirty, &s->dirty_cap, s->dirty_len + 1)))
        return NULL;
    if (!copy_value(s, d, value, &v)) {
        s->out_of_memory = true;
        return NULL;
    }
    s->undo[s->undo_len++] = (struct undo){d, d->value, d->known, d->dirty};
    set_value(s, d, v);
    d->known = true;
    if (!d->dirty) {
        d->dirty = true;
        s->dirty[s->dirty_len++] = d;
    }
    return d;
}

void **cs_state_put(struct cs_state *s, const char *key, struct cs_bytes value) {
    assert(value.data);
    struct doc *d = write_doc(s, key, value);
    return d ? &d->value->decoded : NULL;
}

void cs_state_delete(struct cs_state *s, const char *key) {
    write_doc(s, key, (struct cs_bytes){NULL, 0});
}

void cs_state_begin(struct cs_state *s) {
    assert(!s->staging);
    s->staging = true;
    s->ops_mark = s->ops_len;
    s->dirty_mark = s->dirty_len;
    s->undo_len = 0;
}

bool cs_state_keep(struct cs_state *s, struct cs_err *err) {
    assert(s->staging);
    if (s->complete)
        cs_ops_take_documents(s);
    if (s->out_of_memory) {
        cs_state_drop(s);
        return cs_err_oom(err);
    }
    for (size_t i = 0; i < s->undo_len; i++)
        free_value(s->undo[i].doc, s->undo[i].value);
    for (size_t i = s->ops_mark; i < s->ops_len; i++)
        cs_op_settle(&s->ops[i]);
    s->undo_len = 0;
    s->staging = false;
    return true;
}

void cs_state_drop(struct cs_state *s) {
    assert(s->staging);
    s->out_of_memory = false; // what did not fit is gone; the undo may fail once more
    while (s->undo_len > 0) {
        struct undo *u = &s->undo[--s->undo_len];
        struct value *written = u->doc->value;
        set_value(s, u->doc, u->value);
        free_value(u->doc, written);
        u->doc->known = u->known;
        u->doc->dirty = u->dirty;
    }
    s->dirty_len = s->dirty_mark;
    while (s->ops_len > s->ops_mark) {
        struct op *op = &s->ops[--s->ops_len];
        cs_op_revert(s, op);
        cs_op_settle(op);
    }
    s->staging = false;
}

size_t cs_state_needed(const struct cs_state *s, const struct cs_needed **ret) {
    *ret = s->needed;
    return s->needed_len;
}

static struct doc *needed_doc(const struct cs_needed *n) {
    return (struct doc *)(void *)((uint8_t *)(uintptr_t)n->key - offsetof(struct doc, key));
}

static struct index *needed_index(const struct cs_needed *n) {
    return (struct index *)(void *)((uint8_t *)(uintptr_t)n->key - offsetof(struct index, key));
}

void cs_state_needed_clear(struct cs_state *s) {
    for (size_t i = 0; i < s->needed_len; i++)
        if (s->needed[i].index)
            needed_index(&s->needed[i])->noted = false;
        else
            needed_doc(&s->needed[i])->noted = false;
    s->needed_len = 0;
}

static bool fill(struct cs_state *s, struct doc *d, struct cs_bytes value, struct cs_err *err) {
    if (d->known) // what was written since is newer
        return true;
    struct value *v = NULL;
    if (!copy_value(s, d, value, &v))
        return cs_err_oom(err);
    set_value(s, d, v);
    d->known = true;
    return true;
}

bool cs_state_fill_needed(struct cs_state *s, size_t i, struct cs_bytes value, struct cs_err *err) {
    assert(i < s->needed_len && !s->needed[i].index);
    return fill(s, needed_doc(&s->needed[i]), value, err);
}

bool cs_state_fill(struct cs_state *s, const char *key, struct cs_bytes value, struct cs_err *err) {
    struct doc *d = doc_of(s, key);
    return d ? fill(s, d, value, err) : cs_err_oom(err);
}

// Older versions of passing documents stay in the region until all of it is given back.
size_t cs_state_held(const struct cs_state *s) {
    return s->held + s->passing_memory.taken + s->indexes_held + s->members.taken +
           s->ops_len * sizeof(*s->ops);
}

bool cs_state_changes(const struct cs_state *s, bool (*fn)(void *arg, const struct cs_change *change),
                      void *arg) {
    assert(!s->staging);
    for (size_t i = 0; i < s->dirty_len; i++) {
        const struct doc *d = s->dirty[i];
        struct cs_change change = {.kind = d->value ? CS_CHANGE_PUT : CS_CHANGE_DELETE, .key = d->key};
        if (d->value)
            change.value = (struct cs_bytes){d->value->data, d->value->len};
        if (!fn(arg, &change))
            return false;
    }
    cs_ops_merge(s);
    for (size_t i = 0; i < s->ops_len; i++) {
        const struct op *op = &s->ops[i];
        if (op->merged)
            continue;
        struct cs_change change = {.kind = op->kind,
                                   .key = op->index->key,
                                   .member = op->member,
                                   .score = op->score,
                                   .keep = op->keep};
        if (!fn(arg, &change))
            return false;
    }
    return true;
}

static bool count_change(void *arg, const struct cs_change *change) {
    (void)change;
    ++*(size_t *)arg;
    return true;
}

size_t cs_state_changes_count(const struct cs_state *s) {
    size_t n = 0;
    return cs_state_changes(s, count_change, &n) ? n : 0;
}

void cs_state_changes_clear(struct cs_state *s) {
    assert(!s->staging);
    for (size_t i = 0; i < s->dirty_len; i++)
        s->dirty[i]->dirty = false;
    s->dirty_len = 0;
    for (size_t i = 0; i < s->ops_len; i++)
        cs_op_settle(&s->ops[i]);
    s->ops_len = 0;
    cs_region_reset(&s->members);
}

// One document or index, for sorting.
struct held {
    const char *key;
    const struct doc *doc;
    const struct index *index;
};

static int by_key(const void *a, const void *b) {
    const struct held *x = a, *y = b;
    int order = strcmp(x->key, y->key);
    return order ? order : (x->doc ? 0 : 1) - (y->doc ? 0 : 1);
}

bool cs_state_each(const struct cs_state *s, bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                   bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                   void *arg) {
    size_t n = 0;
    const struct cs_keyed_table *tables[] = {&s->docs, &s->passing};
    struct held *all = calloc(s->docs.len + s->passing.len + s->indexes.len + 1, sizeof(*all));
    if (!all)
        return false;
    for (size_t t = 0; t < CS_ARRAY_LEN(tables); t++)
        for (size_t i = 0; i < tables[t]->len; i++) {
            const struct doc *d = doc_at(tables[t], i);
            if (d->value)
                all[n++] = (struct held){d->key, d, NULL};
        }
    for (size_t i = 0; i < s->indexes.len; i++) {
        const struct index *x = index_at(s, i);
        if (x->known && x->len > 0)
            all[n++] = (struct held){x->key, NULL, x};
    }
    qsort(all, n, sizeof(*all), by_key);
    bool more = true;
    for (size_t i = 0; i < n && more; i++) {
        const struct held *h = &all[i];
        if (h->doc)
            more = doc(arg, h->key, (struct cs_bytes){h->doc->value->data, h->doc->value->len});
        else
            more = index(arg, h->key, h->index->members, h->index->len);
    }
    free(all);
    return more;
}
