// SPDX-License-Identifier: Apache-2.0
#include "catalog/redis_write.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"

// Bounds of one command, so that Redis serves others between. Inside MULTI they only bound its
// parsing buffer.
#define MSET_KEYS  512
#define RUN_LENGTH 512
#define NONE       UINT32_MAX

struct index_change {
    struct cs_change change;
    uint32_t next; // of the same key, in the order of making
};
struct index_key {
    const char *key;
    uint32_t first, last;
};

struct cs_redis_writer {
    struct cs_authentic *authentic;
    struct cs_change *documents; // PUT and DELETE
    size_t documents_len, documents_cap;
    struct index_change *changes;
    size_t changes_len, changes_cap;
    struct index_key *keys;
    size_t keys_len, keys_cap;
    uint32_t *slots; // hash table over keys; a power of two
    size_t slots_len;
    bool failed;
};

bool cs_redis_writer_new(struct cs_authentic *authentic, struct cs_redis_writer **ret, struct cs_err *err) {
    struct cs_redis_writer *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->authentic = authentic;
    *ret = w;
    return true;
}

void cs_redis_writer_free(struct cs_redis_writer *w) {
    if (!w)
        return;
    free(w->documents);
    free(w->changes);
    free(w->keys);
    free(w->slots);
    free(w);
}

// Two keys of one state are equal if they have the same address.
static size_t hash_place(const char *key) {
    return (size_t)(((uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u) >> 32);
}

static bool rehash(struct cs_redis_writer *w) {
    size_t want = w->slots_len ? w->slots_len : 512;
    while (want < (w->keys_len + 1) * 2)
        want *= 2;
    if (want != w->slots_len) {
        uint32_t *slots = realloc(w->slots, want * sizeof *slots);
        if (!slots)
            return false;
        w->slots = slots;
        w->slots_len = want;
    }
    memset(w->slots, 0xff, want * sizeof *w->slots); // NONE
    for (size_t i = 0; i < w->keys_len; i++) {
        size_t at = hash_place(w->keys[i].key) & (want - 1);
        while (w->slots[at] != NONE)
            at = (at + 1) & (want - 1);
        w->slots[at] = (uint32_t)i;
    }
    return true;
}

static struct index_key *find_key(struct cs_redis_writer *w, const char *key) {
    if ((w->keys_len + 1) * 2 > w->slots_len && !rehash(w))
        return NULL;
    size_t at = hash_place(key) & (w->slots_len - 1);
    for (; w->slots[at] != NONE; at = (at + 1) & (w->slots_len - 1))
        if (w->keys[w->slots[at]].key == key)
            return &w->keys[w->slots[at]];
    if (!CS_GROW(&w->keys, &w->keys_cap, w->keys_len + 1))
        return NULL;
    w->slots[at] = (uint32_t)w->keys_len;
    w->keys[w->keys_len] = (struct index_key){.key = key, .first = NONE, .last = NONE};
    return &w->keys[w->keys_len++];
}

static bool collect_index(struct cs_redis_writer *w, const struct cs_change *change) {
    struct index_key *k = find_key(w, change->key);
    if (!k || !CS_GROW(&w->changes, &w->changes_cap, w->changes_len + 1))
        return false;
    uint32_t at = (uint32_t)w->changes_len++;
    w->changes[at] = (struct index_change){.change = *change, .next = NONE};
    if (k->last == NONE)
        k->first = at;
    else
        w->changes[k->last].next = at;
    k->last = at;
    return true;
}

static bool collect(void *arg, const struct cs_change *change) {
    struct cs_redis_writer *w = arg;
    bool ok = false;
    switch (change->kind) {
    case CS_CHANGE_PUT:
    case CS_CHANGE_DELETE:
        ok = CS_GROW(&w->documents, &w->documents_cap, w->documents_len + 1);
        if (ok)
            w->documents[w->documents_len++] = *change;
        break;
    case CS_CHANGE_ADD:
    case CS_CHANGE_REMOVE:
    case CS_CHANGE_TRIM:
        ok = collect_index(w, change);
        break;
    }
    w->failed = !ok;
    return ok;
}

// Where the changes of one commit go.
struct target {
    struct cs_redis_link *l;
    const char *prefix;
    size_t prefix_len;
    int32_t partition;
};

static void put_key(const struct target *to, const char *key) {
    cs_redis_arg_joined(to->l, to->prefix, to->prefix_len, key);
}

static bool put_value(struct cs_redis_writer *w, const struct target *to, const struct cs_change *d,
                      struct cs_err *err) {
    uint8_t mark[CS_MARK_LEN];
    if (!cs_authentic_mark(w->authentic, to->partition, d->key, d->value, mark, err))
        return false;
    cs_redis_arg_marked(to->l, d->value, (struct cs_bytes){mark, sizeof mark});
    return true;
}

static bool put_documents(struct cs_redis_writer *w, const struct target *to, enum cs_change_kind kind,
                          struct cs_err *err) {
    bool put = kind == CS_CHANGE_PUT;
    size_t left = 0;
    for (size_t i = 0; i < w->documents_len; i++)
        left += w->documents[i].kind == kind;
    size_t room = 0;
    for (size_t i = 0; i < w->documents_len; i++) {
        const struct cs_change *d = &w->documents[i];
        if (d->kind != kind)
            continue;
        if (room == 0) {
            room = left < MSET_KEYS ? left : MSET_KEYS;
            left -= room;
            cs_redis_command(to->l, 1 + room * (put ? 2 : 1));
            cs_redis_arg_text(to->l, put ? "MSET" : "UNLINK");
        }
        put_key(to, d->key);
        if (put && !put_value(w, to, d, err))
            return false;
        room--;
    }
    return true;
}

static void put_trim(const struct target *to, const char *key, size_t keep) {
    cs_redis_command(to->l, 4);
    cs_redis_arg_text(to->l, "ZREMRANGEBYRANK");
    put_key(to, key);
    cs_redis_arg_int(to->l, 0);
    cs_redis_arg_int(to->l, -(int64_t)keep - 1);
}

// A run of additions, or of removals, from `*at`, which becomes the change after it.
static bool put_run(struct cs_redis_writer *w, const struct target *to, uint32_t *at, struct cs_err *err) {
    const struct cs_change *c = &w->changes[*at].change;
    size_t n = 0;
    uint32_t end = *at;
    for (; end != NONE && n < RUN_LENGTH && w->changes[end].change.kind == c->kind;
         end = w->changes[end].next)
        n++;
    bool add = c->kind == CS_CHANGE_ADD;
    cs_redis_command(to->l, 2 + n * (add ? 2 : 1));
    cs_redis_arg_text(to->l, add ? "ZADD" : "ZREM");
    put_key(to, c->key);
    for (; *at != end; *at = w->changes[*at].next) {
        const struct cs_change *m = &w->changes[*at].change;
        char mark[CS_MEMBER_MARK_SIZE];
        if (add)
            cs_redis_arg_int(to->l, m->score);
        if (!cs_authentic_member_mark(w->authentic, to->partition, m->key, m->member, mark, err))
            return false;
        cs_redis_arg_joined(to->l, m->member, strlen(m->member), mark);
    }
    return true;
}

// One key's changes in order: a command for each run of one kind. The state has dropped trims that
// a later one makes superfluous.
static bool put_index(struct cs_redis_writer *w, const struct target *to, const struct index_key *k,
                      struct cs_err *err) {
    uint32_t at = k->first;
    while (at != NONE) {
        const struct cs_change *c = &w->changes[at].change;
        if (c->kind != CS_CHANGE_TRIM) {
            if (!put_run(w, to, &at, err))
                return false;
            continue;
        }
        put_trim(to, k->key, c->keep);
        at = w->changes[at].next;
    }
    return true;
}

bool cs_redis_writer_put(struct cs_redis_writer *w, struct cs_redis_link *l, const char *prefix,
                         size_t prefix_len, int32_t partition, const struct cs_state *state,
                         struct cs_err *err) {
    const struct target to = {l, prefix, prefix_len, partition};
    w->documents_len = w->changes_len = w->keys_len = 0;
    w->failed = false;
    if (!rehash(w))
        return cs_err_oom(err);
    cs_state_changes(state, collect, w);
    if (w->failed)
        return cs_err_oom(err);
    if (!put_documents(w, &to, CS_CHANGE_PUT, err) || !put_documents(w, &to, CS_CHANGE_DELETE, err))
        return false;
    for (size_t i = 0; i < w->keys_len; i++)
        if (!put_index(w, &to, &w->keys[i], err))
            return false;
    return true;
}
