// SPDX-License-Identifier: Apache-2.0
//
// What is missing or old is noticed by witnesses (witness.h). Loads ask for those of their keys
// (witness_query.h); walks over all keys (redis_keys.c) read all of them here.
#include <stdlib.h>
#include <string.h>

#include "catalog/redis_internal.h"
#include "certsync/base/grow.h"

#define BUCKETS_AT_ONCE 16

// ---- all of them

struct one {
    struct cs_place place;
    bool seen;
    uint8_t len;
    uint8_t value[20]; // a number has at most as many digits
};
struct cs_all_witnesses {
    struct one *list; // sorted by place
    size_t len, cap;
};

void cs_all_witnesses_free(struct cs_all_witnesses *all) {
    if (all)
        free(all->list);
    free(all);
}

static int by_place(const void *a, const void *b) {
    const struct one *x = a, *y = b;
    return memcmp(&x->place, &y->place, sizeof x->place);
}

static bool take_bucket(struct redis_catalog *c, struct cs_all_witnesses *all, unsigned bucket,
                        const redisReply *r, struct cs_err *err) {
    struct cs_bytes sentinel = {0};
    if (!CS_GROW(&all->list, &all->cap, all->len + r->elements / 2))
        return cs_err_oom(err);
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        struct cs_bytes name = cs_redis_reply_bytes(r->element[i]);
        struct cs_bytes value = cs_redis_reply_bytes(r->element[i + 1]);
        struct one one = {.place.bucket = (uint8_t)bucket};
        char key[CS_WITNESS_KEY_SIZE];
        if (name.len == 0) {
            sentinel = value;
            continue;
        }
        cs_witness_key(key, bucket);
        if (name.len != sizeof one.place.name || value.len > sizeof one.value)
            return cs_authentic_damaged(err, c->partition, "key", key,
                                        "holds what certsync did not put there");
        memcpy(one.place.name, name.data, name.len);
        memcpy(one.value, value.data, value.len);
        one.len = (uint8_t)value.len;
        all->list[all->len++] = one;
    }
    return !c->begun || cs_witness_sentinel(c->partition, bucket, sentinel, true, err);
}

// Some buckets at once: not all replies are in memory together.
static bool read_buckets(struct redis_catalog *c, struct cs_all_witnesses *all, unsigned from,
                         struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (!cs_redis_open(c, err))
        return false;
    for (unsigned b = from; b < from + BUCKETS_AT_ONCE; b++) {
        char key[CS_WITNESS_KEY_SIZE];
        cs_witness_key(key, b);
        cs_redis_put_command(c, "HGETALL", key);
    }
    if (!cs_redis_ask(c, "read the witnesses", &replies, &n, err))
        return false;
    for (unsigned b = 0; b < BUCKETS_AT_ONCE; b++)
        if (!take_bucket(c, all, from + b, replies[b], err))
            return false;
    return true;
}

static bool read_begun(struct redis_catalog *c, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_put_command(c, "GET", CS_POSITION_KEY);
    if (!cs_redis_ask(c, "read the position", &replies, &n, err))
        return false;
    c->begun = replies[0]->type == REDIS_REPLY_STRING;
    return true;
}

bool cs_redis_all_witnesses(struct redis_catalog *c, struct cs_all_witnesses **ret, struct cs_err *err) {
    struct cs_all_witnesses *all = calloc(1, sizeof *all);
    struct cs_bytes ignored; // loads look at the position's
    bool ok = all ? read_begun(c, err) : cs_err_oom(err);
    for (unsigned b = 0; ok && b < CS_WITNESS_BUCKETS; b += BUCKETS_AT_ONCE)
        ok = read_buckets(c, all, b, err);
    if (ok && all->len > 0)
        qsort(all->list, all->len, sizeof *all->list, by_place);
    if (ok && (ok = cs_all_witnesses_take(c, all, CS_POSITION_KEY, &ignored, err)))
        *ret = all;
    else
        cs_all_witnesses_free(all);
    return ok;
}

bool cs_all_witnesses_take(struct redis_catalog *c, struct cs_all_witnesses *all, const char *key,
                           struct cs_bytes *ret, struct cs_err *err) {
    struct one wanted = {0};
    *ret = (struct cs_bytes){0};
    if (!cs_authentic_place(c->authentic, c->partition, key, &wanted.place, err))
        return false;
    struct one *found = all->len > 0 ? bsearch(&wanted, all->list, all->len, sizeof wanted, by_place) : NULL;
    if (found) {
        found->seen = true;
        *ret = (struct cs_bytes){found->value, found->len};
    }
    return true;
}

// Whether Redis still has this entry, with the same value.
static bool still_there(struct redis_catalog *c, const struct one *w, bool *ret, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    char key[CS_WITNESS_KEY_SIZE];
    cs_witness_key(key, w->place.bucket);
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "HGET");
    cs_redis_put_key(c, key);
    cs_redis_arg(c->link, (struct cs_bytes){w->place.name, sizeof w->place.name});
    if (!cs_redis_ask(c, "read a witness", &replies, &n, err))
        return false;
    *ret = cs_bytes_equal(cs_redis_reply_bytes(replies[0]), (struct cs_bytes){w->value, w->len});
    return true;
}

// An index without members left has no key, and the number 0. What was deleted meanwhile has no
// entry any more, or another.
bool cs_all_witnesses_seen(struct redis_catalog *c, const struct cs_all_witnesses *all, struct cs_err *err) {
    for (size_t i = 0; i < all->len; i++) {
        const struct one *w = &all->list[i];
        char key[CS_WITNESS_KEY_SIZE];
        bool there = false;
        if (w->seen || (w->len == 1 && w->value[0] == '0'))
            continue;
        if (!still_there(c, w, &there, err))
            return false;
        cs_witness_key(key, w->place.bucket);
        if (there)
            return cs_authentic_damaged(err, c->partition, "what an entry of", key,
                                        "speaks of is gone, a document or a whole index");
    }
    return true;
}

// ---- one of them, with what it speaks of

bool cs_redis_read_again(struct redis_catalog *c, const char *key, bool index, const redisReply **ret,
                         struct cs_bytes *ret_witness, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    struct cs_place place;
    char bucket[CS_WITNESS_KEY_SIZE];
    if (!cs_authentic_place(c->authentic, c->partition, key, &place, err) || !cs_redis_open(c, err))
        return false;
    cs_witness_key(bucket, place.bucket);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "MULTI");
    cs_redis_command(c->link, index ? 5 : 2);
    cs_redis_arg_text(c->link, index ? "ZRANGE" : "GET");
    cs_redis_put_key(c, key);
    for (size_t i = 0; index && i < 3; i++)
        cs_redis_arg_text(c->link, (const char *const[]){"0", "-1", "WITHSCORES"}[i]);
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "HGET");
    cs_redis_put_key(c, bucket);
    cs_redis_arg(c->link, (struct cs_bytes){place.name, sizeof place.name});
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
    if (!cs_redis_ask(c, "read a key with its witness", &replies, &n, err))
        return false;
    const redisReply *exec = replies[n - 1];
    if (exec->elements != 2 || exec->element[0]->type == REDIS_REPLY_ERROR)
        return cs_redis_refused(c, exec->elements == 2 ? exec->element[0] : exec, "read a key", err);
    *ret = exec->element[0];
    *ret_witness = cs_redis_reply_bytes(exec->element[1]);
    return true;
}
