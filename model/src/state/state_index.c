// SPDX-License-Identifier: Apache-2.0
//
// Indexes: a hash by name and an array in order (score, then bytes of the name) over the same
// entries.
#include "certsync/model/state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "state/state_internal.h"

static int compare(int64_t score, const char *name, const struct cs_member *m) {
    if (score != m->score)
        return score < m->score ? -1 : 1;
    return strcmp(name, m->name);
}

// Position of the first member that is not before (score, name).
static size_t position_of(const struct index *x, int64_t score, const char *name) {
    size_t low = 0, high = x->len;
    // Most are added at the end: outcomes, seen.
    if (high > 0 && compare(score, name, &x->members[high - 1]) > 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(score, name, &x->members[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct entry *find_entry(const struct index *x, const char *name) {
    return cs_keyed_get(&x->by_name, name);
}

static void take_out(struct index *x, const struct entry *e) {
    size_t i = position_of(x, e->score, e->name);
    assert(i < x->len && x->members[i].name == e->name);
    memmove(&x->members[i], &x->members[i + 1], (x->len - i - 1) * sizeof(*x->members));
    x->len--;
}

static void put_in(struct index *x, const struct entry *e) {
    size_t i = position_of(x, e->score, e->name);
    memmove(&x->members[i + 1], &x->members[i], (x->len - i) * sizeof(*x->members));
    x->members[i] = (struct cs_member){e->name, e->score};
    x->len++;
}

// Allocated bytes, with malloc's own, and what the hash by name and the array take.
static size_t size_of_entry(size_t name_len) {
    return sizeof(struct entry) + name_len + 1 + 16 + 3 * sizeof(struct cs_keyed_slot) + sizeof(void *) +
           sizeof(struct cs_member);
}

static size_t size_of_index(const struct index *x) {
    return sizeof(*x) + x->keyed.len + 1 + 16 + 2 * sizeof(void *);
}

static bool set_member(struct cs_state *s, struct index *x, const char *name, int64_t score) {
    struct cs_keyed keyed = cs_keyed_of(name);
    struct entry *e = cs_keyed_find(&x->by_name, &keyed);
    if (e) {
        if (e->score == score)
            return true;
        take_out(x, e);
        e->score = score;
        put_in(x, e);
        return true;
    }
    if (!cs_state_fits(s, CS_GROW(&x->members, &x->cap, x->len + 1)))
        return false;
    e = malloc(sizeof(*e) + keyed.len + 1);
    if (!e) {
        s->out_of_memory = true;
        return false;
    }
    *e = (struct entry){.keyed = keyed, .score = score};
    e->keyed.key = memcpy(e->name, name, keyed.len + 1);
    if (!cs_keyed_add(&x->by_name, &e->keyed)) {
        s->out_of_memory = true;
        free(e);
        return false;
    }
    put_in(x, e);
    s->indexes_held += size_of_entry(keyed.len);
    return true;
}

static void free_entry(struct cs_state *s, struct entry *e) {
    s->indexes_held -= size_of_entry(e->keyed.len);
    free(e);
}

static void drop_entry(struct cs_state *s, struct index *x, struct entry *e) {
    cs_keyed_remove(&x->by_name, &e->keyed);
    free_entry(s, e);
}

static void unset_member(struct cs_state *s, struct index *x, const char *name) {
    struct entry *e = find_entry(x, name);
    if (!e)
        return;
    take_out(x, e);
    drop_entry(s, x, e);
}

static void empty(struct cs_state *s, struct index *x) {
    for (size_t i = 0; i < x->by_name.len; i++)
        free_entry(s, (struct entry *)(void *)x->by_name.items[i]);
    cs_keyed_free(&x->by_name);
    x->len = 0;
}

void cs_index_free(struct cs_state *s, struct index *x) {
    empty(s, x);
    s->indexes_held -= size_of_index(x);
    free(x->members);
    free(x);
}

static struct index *find_index(const struct cs_state *s, const struct cs_keyed *key) {
    return cs_keyed_find(&s->indexes, key);
}

static struct index *index_of(struct cs_state *s, const char *key) {
    struct cs_keyed keyed = cs_keyed_of(key);
    assert(keyed.len <= CS_STATE_KEY_MAX);
    struct index *x = find_index(s, &keyed);
    if (x)
        return x;
    x = malloc(sizeof(*x) + keyed.len + 1);
    if (!x) {
        s->out_of_memory = true;
        return NULL;
    }
    *x = (struct index){.keyed = keyed, .known = s->complete};
    memcpy(x->key, key, keyed.len + 1);
    x->keyed.key = x->key;
    if (!cs_keyed_add(&s->indexes, &x->keyed)) {
        s->out_of_memory = true;
        free(x);
        return NULL;
    }
    s->indexes_held += size_of_index(x);
    return x;
}

// FOUND: *ret is the index, and it is known. NEEDED also means that memory ran out; that is sticky.
static enum cs_look look(struct cs_state *s, const char *key, struct index **ret) {
    struct index *x = NULL;
    if (s->complete) { // a look leaves no trace
        struct cs_keyed keyed = cs_keyed_of(key);
        x = find_index(s, &keyed);
        if (!x)
            return CS_ABSENT;
    } else if (!(x = index_of(s, key))) {
        return CS_NEEDED;
    }
    if (!x->known) {
        cs_state_note(s, x->key, true, &x->noted);
        return CS_NEEDED;
    }
    *ret = x;
    return x->len > 0 ? CS_FOUND : CS_ABSENT;
}

enum cs_look cs_state_list(struct cs_state *s, const char *key, const struct cs_member **ret, size_t *ret_n) {
    struct index *x = NULL;
    enum cs_look found = look(s, key, &x);
    if (found == CS_FOUND) {
        *ret = x->members;
        *ret_n = x->len;
    }
    return found;
}

enum cs_look cs_state_member(struct cs_state *s, const char *key, const char *member, int64_t *ret_score) {
    struct index *x = NULL;
    enum cs_look found = look(s, key, &x);
    if (found != CS_FOUND)
        return found;
    const struct entry *e = find_entry(x, member);
    if (!e)
        return CS_ABSENT;
    *ret_score = e->score;
    return CS_FOUND;
}

// Takes off the lowest members, and remembers them in the operation.
static bool trim(struct cs_state *s, struct index *x, struct op *op) {
    size_t n = x->len > op->keep ? x->len - op->keep : 0;
    if (n == 0)
        return true;
    op->trimmed = calloc(n, sizeof(*op->trimmed));
    if (!op->trimmed) {
        s->out_of_memory = true;
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char *name = strdup(x->members[i].name);
        if (!name) {
            s->out_of_memory = true;
            return false;
        }
        op->trimmed[i] = (struct cs_member){name, x->members[i].score};
        op->trimmed_len = i + 1;
    }
    for (size_t i = 0; i < n; i++)
        drop_entry(s, x, find_entry(x, op->trimmed[i].name));
    memmove(x->members, &x->members[n], (x->len - n) * sizeof(*x->members));
    x->len -= n;
    return true;
}

static bool carry_out(struct cs_state *s, struct op *op) {
    struct index *x = op->index;
    if (op->kind != CS_CHANGE_TRIM) {
        const struct entry *e = find_entry(x, op->member);
        op->had = e != NULL;
        op->old_score = e ? e->score : 0;
    }
    if (op->kind == CS_CHANGE_ADD && !set_member(s, x, op->member, op->score))
        return false;
    if (op->kind == CS_CHANGE_REMOVE)
        unset_member(s, x, op->member);
    if (op->kind == CS_CHANGE_TRIM && !trim(s, x, op))
        return false;
    op->done = true;
    return true;
}

void cs_op_revert(struct cs_state *s, struct op *op) {
    if (!op->done)
        return;
    if (op->kind == CS_CHANGE_TRIM) {
        for (size_t i = 0; i < op->trimmed_len; i++)
            (void)set_member(s, op->index, op->trimmed[i].name, op->trimmed[i].score);
    } else if (op->had) {
        (void)set_member(s, op->index, op->member, op->old_score);
    } else {
        unset_member(s, op->index, op->member);
    }
}

void cs_op_settle(struct op *op) {
    for (size_t i = 0; i < op->trimmed_len; i++)
        free((void *)(uintptr_t)op->trimmed[i].name);
    free(op->trimmed);
    op->trimmed = NULL;
    op->trimmed_len = 0;
}

// True where a known index shows that the write changes nothing. A removal also says that the
// member's document does not go with it.
static bool is_idle(const struct op *op, const char *member) {
    const struct index *x = op->index;
    if (!x->known || (op->kind == CS_CHANGE_REMOVE && cs_key_of_trimmed(CS_NEW_KEY, x->key, member)))
        return false;
    if (op->kind == CS_CHANGE_TRIM)
        return x->len <= op->keep;
    const struct entry *e = find_entry(x, member);
    return op->kind == CS_CHANGE_ADD ? e && e->score == op->score : !e;
}

// Whether the stage said something else of a member after the trim that took it off.
static bool said_later(const struct cs_state *s, size_t trim, const char *member) {
    const struct index *x = s->ops[trim].index;
    if (find_entry(x, member))
        return true;
    for (size_t i = trim + 1; i < s->ops_len; i++)
        if (s->ops[i].index == x && s->ops[i].kind == CS_CHANGE_REMOVE &&
            strcmp(s->ops[i].member, member) == 0)
            return true;
    return false;
}

void cs_ops_take_documents(struct cs_state *s) {
    cs_key key;
    for (size_t i = s->ops_mark; i < s->ops_len; i++)
        for (size_t k = 0; k < s->ops[i].trimmed_len; k++) {
            const char *member = s->ops[i].trimmed[k].name;
            if (cs_key_of_trimmed(key, s->ops[i].index->key, member) && !said_later(s, i, member))
                cs_state_delete(s, key);
        }
}

static const char *copy_text(struct cs_state *s, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = cs_region_take(&s->members, size);
    return copy ? memcpy(copy, text, size) : NULL;
}

static void write_index(struct cs_state *s, const char *key, struct op op, const char *member) {
    assert(s->staging);
    op.index = index_of(s, key);
    if (!op.index || is_idle(&op, member))
        return;
    if (!cs_state_fits(s, CS_GROW(&s->ops, &s->ops_cap, s->ops_len + 1)))
        return;
    if (member && !(op.member = copy_text(s, member))) {
        s->out_of_memory = true;
        return;
    }
    s->ops[s->ops_len++] = op;
    if (op.index->known)
        (void)carry_out(s, &s->ops[s->ops_len - 1]); // a failure is sticky
}

void cs_state_add(struct cs_state *s, const char *key, const char *member, int64_t score) {
    write_index(s, key, (struct op){.kind = CS_CHANGE_ADD, .score = score}, member);
}

void cs_state_remove(struct cs_state *s, const char *key, const char *member) {
    write_index(s, key, (struct op){.kind = CS_CHANGE_REMOVE}, member);
}

void cs_state_trim(struct cs_state *s, const char *key, size_t keep_highest) {
    write_index(s, key, (struct op){.kind = CS_CHANGE_TRIM, .keep = keep_highest}, NULL);
}

// The catalog does not know the writes that are not committed yet. They are carried out on top.
bool cs_state_fill_index(struct cs_state *s, const char *key, const struct cs_member *members, size_t n,
                         struct cs_err *err) {
    struct index *x = index_of(s, key);
    if (!x)
        return cs_err_oom(err);
    if (x->known)
        return true;
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        ok = set_member(s, x, members[i].name, members[i].score);
    for (size_t i = 0; i < s->ops_len && ok; i++) {
        struct op *op = &s->ops[i];
        if (op->index == x)
            ok = carry_out(s, op);
        if (!s->staging || i < s->ops_mark)
            cs_op_settle(op);
    }
    if (!ok) {
        empty(s, x);
        return cs_err_oom(err);
    }
    x->known = true;
    return true;
}

// A trim can be left out if a later trim keeps as many, nothing is removed between them, and scores
// that are added between only rise (state.h asks this of a trimmed index). Then the later trim
// takes off all that the first would. So a busy sender's index is trimmed once a batch.
void cs_ops_merge(const struct cs_state *s) {
    for (size_t i = 0; i < s->ops_len; i++)
        s->ops[i].index->later_keep = SIZE_MAX;
    for (size_t i = s->ops_len; i-- > 0;) {
        struct op *op = &s->ops[i];
        struct index *x = op->index;
        op->merged = false;
        switch (op->kind) {
        case CS_CHANGE_TRIM:
            op->merged = x->later_keep == op->keep;
            x->later_keep = op->keep;
            x->later_score = INT64_MAX;
            break;
        case CS_CHANGE_ADD:
            if (op->score > x->later_score || (op->had && op->old_score > op->score))
                x->later_keep = SIZE_MAX;
            x->later_score = op->score;
            break;
        case CS_CHANGE_PUT:
        case CS_CHANGE_DELETE:
        case CS_CHANGE_REMOVE:
            x->later_keep = SIZE_MAX;
            break;
        }
    }
}
