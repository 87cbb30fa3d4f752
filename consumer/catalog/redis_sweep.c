// SPDX-License-Identifier: Apache-2.0
//
// Removing what no generation needs any more, in pieces, so that Redis serves others between.
#include <stdlib.h>
#include <string.h>

#include "catalog/redis_internal.h"

#define REMOVE_AT_ONCE 500 // keys in one UNLINK
#define KEYS_MAX       ((size_t)256 * 1024 * 1024)

struct removal {
    struct redis_catalog *c;
    int64_t only;       // this generation; 0: those that are not live, not next, and not newer than both
    int64_t live, next; // as they were when it began
    int64_t removed;
    bool moved;
};

static bool goes(const struct removal *r, const char *key) {
    const char *rest = NULL;
    int64_t n = cs_redis_generation_of(key, &rest);
    if (r->only > 0) // the position goes last
        return n == r->only && strcmp(rest, CS_POSITION_KEY) != 0;
    int64_t newest = r->next > r->live ? r->next : r->live;
    return n > 0 && n != r->live && n != r->next && n < newest;
}

// Whether live and next have not changed. Watched from here on.
static bool still_stands(struct removal *r, struct cs_err *err) {
    struct redis_catalog *c = r->c;
    redisReply *const *replies = NULL;
    size_t n = 0;
    int64_t live = 0;
    int64_t next = 0;
    if (!cs_redis_open(c, err))
        return false;
    for (size_t i = 0; i < 2; i++) {
        cs_redis_command(c->link, 3);
        cs_redis_arg_text(c->link, i == 0 ? "WATCH" : "MGET");
        cs_redis_put_slot_key(c, CS_GENERATION_KEY);
        cs_redis_put_slot_key(c, CS_NEXT_KEY);
    }
    if (!cs_redis_ask(c, "look at the generations", &replies, &n, err) ||
        !cs_redis_read_generation(replies[1]->element[0], 1, &live, err) ||
        !cs_redis_read_generation(replies[1]->element[1], 0, &next, err))
        return false;
    r->moved = live != r->live || next != r->next;
    c->watching = true;
    return true;
}

// One piece: the keys from *at on, in one transaction that nothing can interrupt.
static bool remove_piece(struct removal *r, const struct cs_buf *keys, size_t *at, struct cs_err *err) {
    struct redis_catalog *c = r->c;
    const char *picked[REMOVE_AT_ONCE];
    size_t n = 0;
    redisReply *const *replies = NULL;
    size_t got = 0;
    for (; *at < keys->len && n < REMOVE_AT_ONCE; *at += strlen((const char *)keys->data + *at) + 1)
        if (goes(r, (const char *)keys->data + *at))
            picked[n++] = (const char *)keys->data + *at;
    if (n == 0)
        return true;
    if (!still_stands(r, err))
        return false;
    if (r->moved)
        return true;
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "MULTI");
    cs_redis_command(c->link, 1 + n);
    cs_redis_arg_text(c->link, "UNLINK");
    for (size_t i = 0; i < n; i++)
        cs_redis_put_slot_key(c, picked[i]);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
    c->watching = false;
    if (!cs_redis_ask(c, "remove keys", &replies, &got, err))
        return false;
    r->moved = replies[2]->type == REDIS_REPLY_NIL;
    if (!r->moved && replies[2]->element[0]->type == REDIS_REPLY_INTEGER)
        r->removed += replies[2]->element[0]->integer;
    return true;
}

static bool remove_some(struct removal *r, char cursor[CS_SWEEP_CURSOR], struct cs_err *err) {
    struct redis_catalog *c = r->c;
    CS_AUTO(cs_buf_clear) struct cs_buf keys;
    cs_buf_init(&keys, KEYS_MAX);
    if (!cs_redis_scan_partition(c, r->only > 0 ? c->prefix : c->slot, cursor, &keys, err))
        return false;
    for (size_t at = 0; at < keys.len && !r->moved;)
        if (!remove_piece(r, &keys, &at, err))
            return false;
    if (r->moved)
        memcpy(cursor, "0", 2);
    return true;
}

static bool remove_all(struct removal *r, struct cs_err *err) {
    char cursor[CS_SWEEP_CURSOR] = "0";
    do {
        if (!remove_some(r, cursor, err))
            return false;
    } while (strcmp(cursor, "0") != 0);
    return true;
}

static bool begin_removal(struct cs_catalog *base, int32_t partition, struct removal *r, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    struct cs_generations g;
    if (!cs_redis_catalog_generations(base, partition, &g, err))
        return false;
    *r = (struct removal){.c = c, .live = g.live, .next = g.next};
    return cs_redis_stand(c, partition, err);
}

bool cs_redis_catalog_sweep(struct cs_catalog *base, int32_t partition, int64_t *ret_removed, bool *ret_moved,
                            struct cs_err *err) {
    struct removal r;
    if (!begin_removal(base, partition, &r, err) || !remove_all(&r, err))
        return false;
    base->ops->cancel(base);
    *ret_removed = r.removed;
    *ret_moved = r.moved;
    return true;
}

bool cs_redis_catalog_sweep_some(struct cs_catalog *base, int32_t partition, char cursor[CS_SWEEP_CURSOR],
                                 bool *ret_moved, struct cs_err *err) {
    struct removal r;
    if (!begin_removal(base, partition, &r, err) || !remove_some(&r, cursor, err))
        return false;
    base->ops->cancel(base);
    *ret_moved = r.moved;
    return true;
}

bool cs_redis_catalog_reset(struct cs_catalog *base, int32_t partition, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    struct removal r;
    if (!begin_removal(base, partition, &r, err))
        return false;
    r.only = c->stand == CS_ON_LIVE ? r.live : c->stand == CS_ON_NEXT ? r.next : c->known[partition];
    c->known[partition] = r.only;
    if (!cs_redis_stand(c, partition, err) || !remove_all(&r, err))
        return false;
    base->ops->cancel(base);
    if (r.moved)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "another generation of partition %d was begun or promoted meanwhile",
                          (int)partition);
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "UNLINK");
    cs_redis_put_key(c, CS_POSITION_KEY);
    cs_redis_put_slot_key(c, CS_RESTORED_KEY);
    return cs_redis_ask(c, "remove the position", &replies, &n, err);
}

// --- of all partitions

#define HELD_MAX ((size_t)8 * 1024 * 1024) // bytes of keys that are collected before they are removed

// One pass over each server, however many partitions it holds. Keys are collected by partition, so
// that one transaction removes many.
struct pass {
    struct redis_catalog *c;
    int32_t partitions;
    struct removal *removals; // by partition
    struct cs_buf *keys;      // the same: found, and not removed yet
    size_t held;
};

static bool begin_pass(struct pass *s, struct cs_err *err) {
    s->removals = calloc((size_t)s->partitions, sizeof *s->removals);
    s->keys = calloc((size_t)s->partitions, sizeof *s->keys);
    if (!s->removals || !s->keys)
        return cs_err_oom(err);
    for (int32_t p = 0; p < s->partitions; p++) {
        cs_buf_init(&s->keys[p], KEYS_MAX);
        if (!begin_removal(&s->c->base, p, &s->removals[p], err))
            return false;
    }
    return true;
}

static bool remove_collected(struct pass *s, int32_t p, struct cs_err *err) {
    struct removal *r = &s->removals[p];
    if (!cs_redis_stand(s->c, p, err))
        return false;
    for (size_t at = 0; at < s->keys[p].len && !r->moved;)
        if (!remove_piece(r, &s->keys[p], &at, err))
            return false;
    s->held -= s->keys[p].len;
    cs_buf_reset(&s->keys[p]);
    s->c->base.ops->cancel(&s->c->base); // what it watches would spoil another partition's transaction
    return true;
}

// "<namespace>:{<partition>}:<key>". Keys of a partition that has moved stay for another sweep.
static bool collect(struct pass *s, size_t before, const redisReply *found, struct cs_err *err) {
    for (size_t i = 0; i < found->elements; i++) {
        const redisReply *key = found->element[i];
        char *end = NULL;
        if (key->len <= before || key->str[before] < '0' || key->str[before] > '9')
            continue;
        long p = strtol(key->str + before, &end, 10);
        if (p >= s->partitions || strncmp(end, "}:", 2) != 0 || s->removals[p].moved ||
            !goes(&s->removals[p], end + 2))
            continue;
        size_t len = strlen(end + 2) + 1;
        cs_buf_put(&s->keys[p], end + 2, len);
        s->held += len;
        if (!cs_buf_ok(&s->keys[p], err))
            return false;
    }
    return true;
}

static bool remove_all_collected(struct pass *s, struct cs_err *err) {
    for (int32_t p = 0; p < s->partitions; p++)
        if (s->keys[p].len > 0 && !remove_collected(s, p, err))
            return false;
    return true;
}

static bool pass_server(struct pass *s, size_t server, struct cs_err *err) {
    struct redis_catalog *c = s->c;
    char prefix[CS_PREFIX_MAX];
    char cursor[CS_SWEEP_CURSOR] = "0";
    int before = snprintf(prefix, sizeof prefix, "%s:{", c->name_space);
    do {
        const redisReply *found = NULL;
        if (!cs_redis_route_primary(c->route, server, &c->link, err) ||
            !cs_redis_scan(c, prefix, cursor, &found, err) || !collect(s, (size_t)before, found, err) ||
            (s->held > HELD_MAX && !remove_all_collected(s, err)))
            return false;
    } while (strcmp(cursor, "0") != 0);
    return remove_all_collected(s, err);
}

bool cs_redis_catalog_sweep_all(struct cs_catalog *base, int32_t partitions, int64_t *ret_removed,
                                struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    struct pass s = {.c = c, .partitions = partitions};
    size_t servers = 0;
    bool ok = begin_pass(&s, err) && cs_redis_route_primaries(c->route, &servers, err);
    for (size_t i = 0; ok && i < servers; i++)
        ok = pass_server(&s, i, err);
    base->ops->cancel(base);
    *ret_removed = 0;
    for (int32_t p = 0; p < partitions; p++) {
        *ret_removed += s.removals ? s.removals[p].removed : 0;
        if (s.keys)
            cs_buf_clear(&s.keys[p]);
    }
    free(s.removals);
    free(s.keys);
    return ok;
}
