// SPDX-License-Identifier: Apache-2.0
#include "catalog/redis_index.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"

// Members of one command, so that Redis serves others between.
#define RUN_LENGTH 512
#define NONE       UINT32_MAX
#define GONE_MAX   ((size_t)256 * 1024 * 1024)

struct change {
    struct cs_change change;
    uint32_t next;  // of the same key, in the order of making
    uint32_t entry; // its member's
};
// A member that is touched, or that a trim may take off.
struct entry {
    const char *member; // borrowed from the state, or from a reply
    char mark[CS_MEMBER_MARK_SIZE];
    uint64_t secret;
    bool was, is; // a member, before and after
    bool trimmed; // what happened to it last is that a trim took it off
    int64_t old_score, score;
};
struct key {
    const char *key;
    uint32_t first, last;        // changes
    uint32_t entries, entries_n; // sorted by name
    size_t adds, keep;           // members that come; fewest that a trim keeps, SIZE_MAX: no trim
};

struct cs_index_changes {
    struct cs_authentic *authentic;
    struct change *changes;
    size_t changes_len, changes_cap;
    struct key *keys;
    size_t keys_len, keys_cap;
    uint32_t *slots; // hash table over keys; a power of two
    size_t slots_len;
    struct entry *entries;
    size_t entries_len, entries_cap;
    struct entry *lowest; // that a trim may take off, without those above
    size_t lowest_len, lowest_cap;
    struct entry **sorted;
    size_t sorted_cap;
    struct cs_buf gone; // keys of documents that go with members, each with its NUL
};

bool cs_index_changes_new(struct cs_authentic *authentic, struct cs_index_changes **ret, struct cs_err *err) {
    struct cs_index_changes *x = calloc(1, sizeof *x);
    if (!x)
        return cs_err_oom(err);
    x->authentic = authentic;
    cs_buf_init(&x->gone, GONE_MAX);
    *ret = x;
    return true;
}

void cs_index_changes_free(struct cs_index_changes *x) {
    if (!x)
        return;
    free(x->changes);
    free(x->keys);
    free(x->slots);
    free(x->entries);
    free(x->lowest);
    free(x->sorted);
    cs_buf_clear(&x->gone);
    free(x);
}

// Two keys of one state are equal if they have the same address.
static size_t hash_place(const char *key) {
    return (size_t)(((uint64_t)(uintptr_t)key * 0x9E3779B97F4A7C15u) >> 32);
}

static bool rehash(struct cs_index_changes *x) {
    size_t want = x->slots_len ? x->slots_len : 512;
    while (want < (x->keys_len + 1) * 2)
        want *= 2;
    if (want != x->slots_len) {
        uint32_t *slots = realloc(x->slots, want * sizeof *slots);
        if (!slots)
            return false;
        x->slots = slots;
        x->slots_len = want;
    }
    memset(x->slots, 0xff, want * sizeof *x->slots); // NONE
    for (size_t i = 0; i < x->keys_len; i++) {
        size_t at = hash_place(x->keys[i].key) & (want - 1);
        while (x->slots[at] != NONE)
            at = (at + 1) & (want - 1);
        x->slots[at] = (uint32_t)i;
    }
    return true;
}

bool cs_index_changes_reset(struct cs_index_changes *x) {
    x->changes_len = x->keys_len = x->entries_len = 0;
    cs_buf_reset(&x->gone);
    return rehash(x);
}

static struct key *find_key(struct cs_index_changes *x, const char *key) {
    if ((x->keys_len + 1) * 2 > x->slots_len && !rehash(x))
        return NULL;
    size_t at = hash_place(key) & (x->slots_len - 1);
    for (; x->slots[at] != NONE; at = (at + 1) & (x->slots_len - 1))
        if (x->keys[x->slots[at]].key == key)
            return &x->keys[x->slots[at]];
    if (!CS_GROW(&x->keys, &x->keys_cap, x->keys_len + 1))
        return NULL;
    x->slots[at] = (uint32_t)x->keys_len;
    x->keys[x->keys_len] = (struct key){.key = key, .first = NONE, .last = NONE, .keep = SIZE_MAX};
    return &x->keys[x->keys_len++];
}

bool cs_index_changes_add(struct cs_index_changes *x, const struct cs_change *change) {
    struct key *k = find_key(x, change->key);
    if (!k || !CS_GROW(&x->changes, &x->changes_cap, x->changes_len + 1))
        return false;
    uint32_t at = (uint32_t)x->changes_len++;
    x->changes[at] = (struct change){.change = *change, .next = NONE, .entry = NONE};
    if (k->last == NONE)
        k->first = at;
    else
        x->changes[k->last].next = at;
    k->last = at;
    if (change->kind == CS_CHANGE_ADD)
        k->adds++;
    if (change->kind == CS_CHANGE_TRIM && change->keep < k->keep)
        k->keep = change->keep;
    return true;
}

// ---- the members that are touched

static int by_name(const void *a, const void *b) {
    const struct change *const *x = a, *const *y = b;
    return strcmp((*x)->change.member, (*y)->change.member);
}

static bool add_entry(struct cs_index_changes *x, struct key *k, int32_t partition, const char *member,
                      struct cs_err *err) {
    if (!CS_GROW(&x->entries, &x->entries_cap, x->entries_len + 1))
        return cs_err_oom(err);
    struct entry *e = &x->entries[x->entries_len];
    *e = (struct entry){.member = member};
    if (!cs_authentic_member_mark(x->authentic, partition, k->key, member, e->mark, &e->secret, err))
        return false;
    x->entries_len++;
    k->entries_n++;
    return true;
}

static bool gather_key(struct cs_index_changes *x, struct key *k, int32_t partition, struct change **some,
                       struct cs_err *err) {
    size_t n = 0;
    k->entries = (uint32_t)x->entries_len;
    for (uint32_t i = k->first; i != NONE; i = x->changes[i].next)
        if (x->changes[i].change.kind != CS_CHANGE_TRIM)
            some[n++] = &x->changes[i];
    if (n > 1)
        qsort(some, n, sizeof(struct change *), by_name);
    for (size_t i = 0; i < n; i++) {
        if ((i == 0 || by_name(&some[i - 1], &some[i]) != 0) &&
            !add_entry(x, k, partition, some[i]->change.member, err))
            return false;
        some[i]->entry = (uint32_t)x->entries_len - 1;
    }
    return true;
}

bool cs_index_changes_gather(struct cs_index_changes *x, int32_t partition, struct cs_err *err) {
    struct change **some = calloc(x->changes_len + 1, sizeof(struct change *));
    bool ok = some != NULL || cs_err_oom(err);
    for (size_t i = 0; ok && i < x->keys_len; i++)
        ok = gather_key(x, &x->keys[i], partition, some, err);
    free(some);
    return ok;
}

// ---- what Redis has

static size_t runs_of(const struct key *k) {
    return (k->entries_n + RUN_LENGTH - 1) / RUN_LENGTH;
}

static void put_member(const struct cs_redis_place *to, const struct entry *e) {
    cs_redis_arg_joined(to->l, e->member, strlen(e->member), e->mark);
}

// The last of the lowest members that trims can take off: with each addition one more.
static void ask_lowest(const struct key *k, const struct cs_redis_place *at) {
    int64_t stay = k->keep > k->adds ? (int64_t)(k->keep - k->adds) : 0;
    cs_redis_command(at->l, 2);
    cs_redis_arg_text(at->l, "ZCARD");
    cs_redis_place_key(at, k->key);
    cs_redis_command(at->l, 5);
    cs_redis_arg_text(at->l, "ZRANGE");
    cs_redis_place_key(at, k->key);
    cs_redis_arg_int(at->l, 0);
    cs_redis_arg_int(at->l, -stay - 1);
    cs_redis_arg_text(at->l, "WITHSCORES");
}

void cs_index_changes_ask(const struct cs_index_changes *x, const struct cs_redis_place *at, size_t *ret_n) {
    *ret_n = 0;
    for (size_t i = 0; i < x->keys_len; i++) {
        const struct key *k = &x->keys[i];
        for (size_t from = 0; from < k->entries_n; from += RUN_LENGTH) {
            size_t n = k->entries_n - from < RUN_LENGTH ? k->entries_n - from : RUN_LENGTH;
            cs_redis_command(at->l, 2 + n);
            cs_redis_arg_text(at->l, "ZMSCORE");
            cs_redis_place_key(at, k->key);
            for (size_t m = 0; m < n; m++)
                put_member(at, &x->entries[k->entries + from + m]);
        }
        if (k->keep != SIZE_MAX)
            ask_lowest(k, at);
        *ret_n += runs_of(k) + (k->keep != SIZE_MAX ? 2 : 0);
    }
}

// Scores are integers below 2^53, which a double holds and Redis writes exactly.
static int64_t score_of(const redisReply *r) {
    return r->type == REDIS_REPLY_STRING ? (int64_t)strtod(r->str, NULL) : 0;
}

static void take_scores(struct cs_index_changes *x, const struct key *k, redisReply *const *replies) {
    for (size_t i = 0; i < k->entries_n; i++) {
        const redisReply *r = replies[i / RUN_LENGTH];
        struct entry *e = &x->entries[k->entries + i];
        e->was = e->is =
            i % RUN_LENGTH < r->elements && r->element[i % RUN_LENGTH]->type == REDIS_REPLY_STRING;
        e->old_score = e->score = e->was ? score_of(r->element[i % RUN_LENGTH]) : 0;
    }
}

static int entry_by_name(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return strcmp(x->member, y->member);
}

static bool take_lowest(struct cs_index_changes *x, const struct key *k, int32_t partition,
                        const redisReply *r, struct cs_err *err) {
    x->lowest_len = 0;
    if (!CS_GROW(&x->lowest, &x->lowest_cap, r->elements / 2))
        return cs_err_oom(err);
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        redisReply *name = r->element[i];
        struct entry e = {.was = true, .is = true, .score = score_of(r->element[i + 1])};
        e.old_score = e.score;
        if (!cs_authentic_member(x->authentic, partition, k->key, name->str, name->len, &e.secret, err))
            return false;
        e.member = name->str;
        if (k->entries_n == 0 || !bsearch(&e, &x->entries[k->entries], k->entries_n, sizeof e, entry_by_name))
            x->lowest[x->lowest_len++] = e;
    }
    return true;
}

// ---- what the changes do

static int by_order(const void *a, const void *b) {
    const struct entry *const *x = a, *const *y = b;
    if ((*x)->score != (*y)->score)
        return (*x)->score < (*y)->score ? -1 : 1;
    return strcmp((*x)->member, (*y)->member);
}

static bool trim(struct cs_index_changes *x, const struct key *k, size_t keep, int64_t *count,
                 struct cs_err *err) {
    size_t n = 0;
    if (*count <= 0 || (size_t)*count <= keep)
        return true;
    if (!CS_GROW(&x->sorted, &x->sorted_cap, k->entries_n + x->lowest_len))
        return cs_err_oom(err);
    for (size_t i = 0; i < k->entries_n; i++)
        if (x->entries[k->entries + i].is)
            x->sorted[n++] = &x->entries[k->entries + i];
    for (size_t i = 0; i < x->lowest_len; i++)
        if (x->lowest[i].is)
            x->sorted[n++] = &x->lowest[i];
    qsort(x->sorted, n, sizeof(struct entry *), by_order);
    for (size_t i = 0; i < n && (size_t)*count > keep; i++, --*count) {
        x->sorted[i]->is = false;
        x->sorted[i]->trimmed = true;
    }
    return true;
}

static bool play(struct cs_index_changes *x, const struct key *k, int64_t count, struct cs_err *err) {
    for (uint32_t i = k->first; i != NONE; i = x->changes[i].next) {
        const struct cs_change *c = &x->changes[i].change;
        if (c->kind == CS_CHANGE_TRIM) {
            if (!trim(x, k, c->keep, &count, err))
                return false;
            continue;
        }
        struct entry *e = &x->entries[x->changes[i].entry];
        bool add = c->kind == CS_CHANGE_ADD;
        count += (int)add - (int)e->is;
        e->is = add;
        e->trimmed = false;
        if (add)
            e->score = c->score;
    }
    return true;
}

static int64_t difference(const struct entry *e) {
    if (e->was && e->is && e->old_score == e->score)
        return 0;
    return (e->is ? cs_witness_share(e->secret, e->score) : 0) -
           (e->was ? cs_witness_share(e->secret, e->old_score) : 0);
}

// Documents go with the members that the trims take off, also those that came in this very commit.
static void note_gone(struct cs_index_changes *x, const struct key *k, const struct entry *entries,
                      size_t n) {
    cs_key key;
    for (size_t i = 0; i < n; i++)
        if (entries[i].trimmed && cs_key_of_trimmed(key, k->key, entries[i].member))
            cs_buf_put(&x->gone, key, strlen(key) + 1);
}

bool cs_index_changes_told(struct cs_index_changes *x, int32_t partition, redisReply *const *replies,
                           struct cs_witnesses *witnesses, struct cs_err *err) {
    for (size_t i = 0; i < x->keys_len; i++) {
        const struct key *k = &x->keys[i];
        int64_t count = 0, change = 0;
        struct cs_witness *w = NULL;
        take_scores(x, k, replies);
        replies += runs_of(k);
        x->lowest_len = 0;
        if (k->keep != SIZE_MAX) {
            count = (*replies++)->integer;
            if (!take_lowest(x, k, partition, *replies++, err))
                return false;
        }
        if (!play(x, k, count, err))
            return false;
        if (k->keep != SIZE_MAX) {
            note_gone(x, k, x->entries + k->entries, k->entries_n);
            note_gone(x, k, x->lowest, x->lowest_len);
        }
        for (size_t e = 0; e < k->entries_n; e++)
            change += difference(&x->entries[k->entries + e]);
        for (size_t e = 0; e < x->lowest_len; e++)
            change += difference(&x->lowest[e]);
        if (change == 0)
            continue;
        if (!cs_witnesses_add(witnesses, x->authentic, partition, k->key, &w, err))
            return false;
        w->what = CS_WITNESS_CHANGE;
        w->change = change;
    }
    return cs_buf_ok(&x->gone, err);
}

struct cs_bytes cs_index_changes_gone(const struct cs_index_changes *x) {
    return cs_buf_bytes(&x->gone);
}

// ---- the commands

static void put_trim(const struct cs_redis_place *to, const char *key, size_t keep) {
    cs_redis_command(to->l, 4);
    cs_redis_arg_text(to->l, "ZREMRANGEBYRANK");
    cs_redis_place_key(to, key);
    cs_redis_arg_int(to->l, 0);
    cs_redis_arg_int(to->l, -(int64_t)keep - 1);
}

// A run of additions, or of removals, from `*at`, which becomes the change after it.
static void put_run(const struct cs_index_changes *x, const struct cs_redis_place *to, uint32_t *at) {
    const struct cs_change *c = &x->changes[*at].change;
    size_t n = 0;
    uint32_t end = *at;
    for (; end != NONE && n < RUN_LENGTH && x->changes[end].change.kind == c->kind;
         end = x->changes[end].next)
        n++;
    bool add = c->kind == CS_CHANGE_ADD;
    cs_redis_command(to->l, 2 + n * (add ? 2 : 1));
    cs_redis_arg_text(to->l, add ? "ZADD" : "ZREM");
    cs_redis_place_key(to, c->key);
    for (; *at != end; *at = x->changes[*at].next) {
        if (add)
            cs_redis_arg_int(to->l, x->changes[*at].change.score);
        put_member(to, &x->entries[x->changes[*at].entry]);
    }
}

// One key's changes in order: a command for each run of one kind. The state has dropped trims that
// a later one makes superfluous.
void cs_index_changes_put(const struct cs_index_changes *x, const struct cs_redis_place *to) {
    for (size_t i = 0; i < x->keys_len; i++)
        for (uint32_t at = x->keys[i].first; at != NONE;) {
            const struct cs_change *c = &x->changes[at].change;
            if (c->kind != CS_CHANGE_TRIM) {
                put_run(x, to, &at);
                continue;
            }
            put_trim(to, x->keys[i].key, c->keep);
            at = x->changes[at].next;
        }
}
