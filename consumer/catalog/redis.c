// SPDX-License-Identifier: Apache-2.0
//
// The catalog over Redis: a handle, and the load of documents and indexes between two reads of the
// position. What it reads is held against marks (authentic.h) and witnesses (witness_query.h).
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/redis_internal.h"
#include "catalog/witness_query.h"
#include "certsync/base/grow.h"

#define MGET_KEYS 1000
// Documents of one load, as they are stored: JSON has three times as much. The rest is asked for again.
#define LOAD_BYTES   ((size_t)6 * 1024 * 1024)
#define INDEX_PIECE  2000
#define FIRST_DOCS   2 // the replies before them are the fence's
#define MOVES_MAX    5
#define POSITION_MAX 4096
#define CHANGES_MAX  ((size_t)64 << 20)

bool cs_redis_stand(struct redis_catalog *c, int32_t partition, struct cs_err *err) {
    if (!CS_GROW_ZEROED(&c->known, &c->known_cap, (size_t)partition + 1))
        return cs_err_oom(err);
    c->partition = partition;
    c->slot_len = cs_redis_prefix(c->slot, c->name_space, partition, 0);
    c->prefix_len = cs_redis_prefix(c->prefix, c->name_space, partition, c->known[partition]);
    return true;
}

bool cs_redis_open(struct redis_catalog *c, struct cs_err *err) {
    c->link = NULL;
    return cs_redis_route_link(c->route, c->partition, &c->link, err);
}

bool cs_redis_go_on(struct redis_catalog *c, struct cs_err *err) {
    if (!c->link || !cs_redis_connected(c->link))
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the connection to Redis was lost");
    return cs_redis_connect(c->link, err);
}

bool cs_redis_refused(struct redis_catalog *c, const redisReply *reply, const char *what,
                      struct cs_err *err) {
    return cs_redis_route_refused(c->route, reply, what, NULL, err);
}

void cs_redis_put_key(struct redis_catalog *c, const char *key) {
    cs_redis_arg_joined(c->link, c->prefix, c->prefix_len, key);
}

void cs_redis_put_slot_key(struct redis_catalog *c, const char *key) {
    cs_redis_arg_joined(c->link, c->slot, c->slot_len, key);
}

void cs_redis_put_command(struct redis_catalog *c, const char *name, const char *key) {
    cs_redis_command(c->link, 2);
    cs_redis_arg_text(c->link, name);
    cs_redis_put_key(c, key);
}

void cs_redis_put_fence(struct redis_catalog *c, const char *name) {
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, name);
    cs_redis_put_slot_key(c, cs_redis_fence_key(c));
    cs_redis_put_key(c, CS_POSITION_KEY);
}

static const char *asked_key(const struct redis_catalog *c, size_t i) {
    const struct cs_needed *needed = NULL;
    (void)cs_state_needed(c->state, &needed);
    return needed[i].key;
}

struct cs_redis_place cs_redis_place_of(const struct redis_catalog *c) {
    return (struct cs_redis_place){c->link, c->prefix, c->prefix_len, c->partition};
}

// Where the witnesses of all that is asked for stand: documents, indexes, position.
static bool find_witnesses(struct redis_catalog *c, struct cs_err *err) {
    struct cs_witnesses *ws = &c->witnesses;
    bool ok = true;
    cs_witnesses_reset(ws);
    for (size_t i = 0; ok && i < c->docs_len; i++)
        ok = cs_witnesses_add(ws, c->authentic, c->partition, asked_key(c, c->docs[i]), NULL, err);
    for (size_t i = 0; ok && i < c->indexes_len; i++)
        ok = cs_witnesses_add(ws, c->authentic, c->partition, asked_key(c, c->indexes[i]), NULL, err);
    return ok && cs_witnesses_add(ws, c->authentic, c->partition, CS_POSITION_KEY, NULL, err) &&
           cs_witnesses_sort(ws, err);
}

// Sorts documents and indexes apart.
static bool sort_needed(struct redis_catalog *c, struct cs_err *err) {
    const struct cs_needed *needed = NULL;
    size_t n = cs_state_needed(c->state, &needed);
    size_t cap = c->asked_cap; // of both
    if (!CS_GROW(&c->docs, &cap, n) || !CS_GROW(&c->indexes, &c->asked_cap, n))
        return cs_err_oom(err);
    c->docs_len = c->indexes_len = 0;
    for (size_t i = 0; i < n; i++)
        if (needed[i].index)
            c->indexes[c->indexes_len++] = i;
        else
            c->docs[c->docs_len++] = i;
    return true;
}

static void put_witnesses(struct redis_catalog *c) {
    const struct cs_bytes prefix = {(const uint8_t *)c->prefix, c->prefix_len};
    size_t n = cs_witnesses_ask(&c->witnesses, prefix, cs_redis_written(c->link, 0));
    (void)cs_redis_written(c->link, n);
}

static bool send_load(struct redis_catalog *c, struct cs_err *err) {
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_put_fence(c, "WATCH");
    cs_redis_put_fence(c, "MGET");
    for (size_t i = 0; i < c->docs_len; i++) {
        if (i % MGET_KEYS == 0) {
            size_t left = c->docs_len - i;
            cs_redis_command(c->link, 1 + (left < MGET_KEYS ? left : MGET_KEYS));
            cs_redis_arg_text(c->link, "MGET");
        }
        cs_redis_put_key(c, asked_key(c, c->docs[i]));
    }
    for (size_t i = 0; i < c->indexes_len; i++) {
        cs_redis_command(c->link, 5);
        cs_redis_arg_text(c->link, "ZRANGE");
        cs_redis_put_key(c, asked_key(c, c->indexes[i]));
        cs_redis_arg_text(c->link, "0");
        cs_redis_arg_text(c->link, "-1");
        cs_redis_arg_text(c->link, "WITHSCORES");
    }
    put_witnesses(c);
    cs_redis_put_fence(c, "MGET");
    c->watching = true;
    c->under_way = CS_LOADING;
    size_t mgets = (c->docs_len + MGET_KEYS - 1) / MGET_KEYS;
    return cs_redis_send_bounded(c->link, FIRST_DOCS, mgets, c->load_bytes, err);
}

static bool redis_load_begin(struct cs_catalog *base, int32_t partition, struct cs_state *state,
                             struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    c->under_way = CS_NOTHING;
    c->watching = c->failed = false;
    c->state = state;
    return sort_needed(c, err) && cs_redis_stand(c, partition, err) && find_witnesses(c, err) &&
           send_load(c, err);
}

struct cs_bytes cs_redis_reply_bytes(const redisReply *r) {
    if (r->type != REDIS_REPLY_STRING)
        return (struct cs_bytes){0};
    return (struct cs_bytes){(const uint8_t *)r->str, r->len};
}

// A key of another kind than a string reads as nil, and an empty string as bytes without a mark.
bool cs_redis_read_doc(struct redis_catalog *c, const redisReply *r, const char *key, struct cs_bytes witness,
                       struct cs_bytes *ret, struct cs_err *err) {
    struct cs_bytes stored = cs_redis_reply_bytes(r);
    return cs_authentic_fact(c->authentic, c->partition, key, &stored, witness, err) &&
           (cs_unpack(c->packer, key, stored, ret, err) || cs_err_prepend(err, "document %s", key));
}

bool cs_redis_read_position(struct redis_catalog *c, const redisReply *r, struct cs_position *ret,
                            struct cs_err *err) {
    struct cs_bytes text = cs_redis_reply_bytes(r);
    if (!cs_authentic_doc(c->authentic, c->partition, CS_POSITION_KEY, &text, err))
        return false;
    if (!text.data) {
        *ret = (struct cs_position){0};
        return true;
    }
    return cs_position_decode(text, ret, err) || cs_err_prepend(err, "position");
}

static bool fill_docs(struct redis_catalog *c, const redisReply *r, size_t first, struct cs_err *err) {
    for (size_t i = 0; i < r->elements && first + i < c->docs_len; i++) {
        size_t at = c->docs[first + i];
        struct cs_bytes doc;
        if (r->element[i]->type != CS_REDIS_REPLY_LEFT_OUT &&
            (!cs_redis_read_doc(c, r->element[i], asked_key(c, at), c->witnesses.list[first + i].value, &doc,
                                err) ||
             !cs_state_fill_needed(c->state, at, doc, err)))
            return false;
    }
    return true;
}

// A reply of ZRANGE WITHSCORES as members, borrowed from the reply.
bool cs_redis_read_members(struct redis_catalog *c, const redisReply *r, const char *key, size_t *ret_n,
                           int64_t *ret_number, struct cs_err *err) {
    size_t n = r->elements / 2;
    *ret_number = 0;
    if (!CS_GROW(&c->members, &c->members_cap, n))
        return cs_err_oom(err);
    for (size_t i = 0; i < n; i++) {
        // Scores are integers below 2^53, which a double holds and Redis writes exactly.
        double score = strtod(r->element[2 * i + 1]->str, NULL);
        redisReply *name = r->element[2 * i];
        uint64_t secret = 0;
        if (!cs_authentic_member(c->authentic, c->partition, key, name->str, name->len, &secret, err))
            return false;
        c->members[i] = (struct cs_member){name->str, (int64_t)score};
        *ret_number += cs_witness_share(secret, (int64_t)score);
    }
    *ret_n = n;
    return true;
}

static bool fill_index(struct redis_catalog *c, const redisReply *r, const char *key, struct cs_bytes witness,
                       struct cs_err *err) {
    size_t n = 0;
    int64_t number = 0, expected = 0;
    return cs_redis_read_members(c, r, key, &n, &number, err) &&
           cs_witness_number(c->partition, key, witness, &expected, err) &&
           (number == expected || cs_witness_index_differs(c->partition, key, err)) &&
           cs_state_fill_index(c->state, key, c->members, n, err);
}

// What was read, between two equal positions: so it is of one moment.
static bool fill(struct redis_catalog *c, redisReply *const *replies, size_t n, struct cs_err *err) {
    size_t mgets = (c->docs_len + MGET_KEYS - 1) / MGET_KEYS;
    redisReply *const *indexes = replies + FIRST_DOCS + mgets;
    const struct cs_witness *of_position = &c->witnesses.list[c->docs_len + c->indexes_len];
    const redisReply *position = replies[1]->element[1];
    struct cs_bytes text;
    c->begun = position->type == REDIS_REPLY_STRING;
    redisReply *const *witnesses = indexes + c->indexes_len;
    size_t witnesses_len = n - (size_t)(witnesses - replies) - 1; // the position again is the last
    if (!cs_witnesses_take(&c->witnesses, c->partition, c->begun, witnesses, witnesses_len, err) ||
        !cs_redis_read_doc(c, position, CS_POSITION_KEY, of_position->value, &text, err))
        return false;
    for (size_t i = 0; i < mgets; i++)
        if (!fill_docs(c, replies[FIRST_DOCS + i], i * MGET_KEYS, err))
            return false;
    for (size_t i = 0; i < c->indexes_len; i++)
        if (!fill_index(c, indexes[i], asked_key(c, c->indexes[i]), c->witnesses.list[c->docs_len + i].value,
                        err))
            return false;
    return true;
}

// An answer to put_fence. Sets *ret_moved if the fence has another value.
static bool read_fence(struct redis_catalog *c, const redisReply *r, struct cs_position *ret, bool *ret_moved,
                       struct cs_err *err) {
    bool holds = false;
    *ret = (struct cs_position){0};
    if (!cs_redis_fence_check(c, r->element[0], &holds, err))
        return false;
    *ret_moved |= !holds;
    return !holds || cs_redis_read_position(c, r->element[1], ret, err); // of the right generation only
}

// The answers to a load, without errors. If the slot moved to another node, that is asked. Errors
// are checked before anything is believed: while a slot moves, some of its keys look absent.
static bool finish_load(struct redis_catalog *c, redisReply *const **ret, size_t *ret_n, struct cs_err *err) {
    for (int moves = 0;; moves++) {
        bool moved = false;
        size_t i = 0;
        if (!cs_redis_route_finish(c->route, ret, ret_n, err))
            return false;
        while (i < *ret_n && (*ret)[i]->type != REDIS_REPLY_ERROR)
            i++;
        if (i == *ret_n)
            return true;
        cs_redis_route_refused(c->route, (*ret)[i], "read the catalog", &moved, err);
        if (!moved || moves == MOVES_MAX || !send_load(c, err))
            return false;
    }
}

static bool redis_load_end(struct cs_catalog *base, struct cs_position *ret, bool *ret_moved,
                           struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    bool ok = finish_load(c, &replies, &n, err);
    c->under_way = CS_NOTHING;
    if (!ok)
        return false;
    struct cs_position before;
    struct cs_position after;
    bool moved = false;
    if (!read_fence(c, replies[1], &before, &moved, err) ||
        !read_fence(c, replies[n - 1], &after, &moved, err))
        return false;
    moved |= !cs_position_equal(&before, &after);
    if (!moved && !fill(c, replies, n, err))
        return false;
    if (!moved)
        cs_state_needed_clear(c->state);
    c->loaded = before;
    *ret = before;
    *ret_moved = moved;
    return true;
}

void cs_redis_catalog_cancel(struct cs_catalog *base) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    struct cs_err err;
    if (c->link && c->under_way != CS_NOTHING)
        cs_redis_close(c->link);
    else if (c->watching && cs_redis_go_on(c, &err)) {
        cs_redis_command(c->link, 1);
        cs_redis_arg_text(c->link, "UNWATCH");
        if (!cs_redis_send(c->link, &err) || !cs_redis_route_finish(c->route, &replies, &n, &err))
            cs_redis_close(c->link);
    }
    c->under_way = CS_NOTHING;
    c->watching = c->failed = false;
    c->state = NULL;
}

static bool redis_poll(struct cs_catalog *base) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    if (c->under_way == CS_ASKING && cs_redis_advance(c->link))
        c->failed = !cs_redis_catalog_go_on_committing(c, &c->failure);
    return c->failed || c->under_way == CS_NOTHING || cs_redis_advance(c->link);
}

static int redis_fd(struct cs_catalog *base, bool *ret_write) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    if (c->under_way == CS_NOTHING)
        return -1;
    *ret_write = cs_redis_wants_write(c->link);
    return cs_redis_fd(c->link);
}

static void redis_free(struct cs_catalog *base) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    cs_redis_route_free(c->route);
    cs_redis_writer_free(c->writer);
    cs_authentic_free(c->authentic);
    cs_packer_free(c->packer);
    free(c->docs);
    free(c->indexes);
    free(c->members);
    cs_witnesses_free(&c->witnesses);
    cs_buf_clear(&c->position);
    cs_buf_clear(&c->restored);
    cs_buf_clear(&c->changes);
    free(c->turns);
    free(c->known);
    free(c);
}

static const struct cs_catalog_ops redis_ops = {
    .load_begin = redis_load_begin,
    .load_end = redis_load_end,
    .commit_begin = cs_redis_catalog_commit_begin,
    .commit_end = cs_redis_catalog_commit_end,
    .poll = redis_poll,
    .fd = redis_fd,
    .cancel = cs_redis_catalog_cancel,
    .reset = cs_redis_catalog_reset,
    .each = cs_redis_catalog_each,
    .generation = cs_redis_catalog_generation,
    .generations = cs_redis_catalog_generations,
    .view = cs_redis_catalog_view,
    .claim = cs_redis_catalog_claim,
    .release = cs_redis_catalog_release,
    .promote = cs_redis_catalog_promote,
    .renew = cs_redis_catalog_renew,
    .restore = cs_redis_catalog_restore,
    .restored = cs_redis_catalog_restored,
    .sweep = cs_redis_catalog_sweep,
    .sweep_some = cs_redis_catalog_sweep_some,
    .sweep_all = cs_redis_catalog_sweep_all,
    .free = redis_free,
};

void cs_catalog_redis_load_bytes(struct cs_catalog *base, size_t most) {
    ((struct redis_catalog *)base)->load_bytes = most;
}

void cs_catalog_redis_piece(struct cs_catalog *base, size_t members) {
    ((struct redis_catalog *)base)->piece = members;
}

bool cs_catalog_redis_new(const struct cs_redis_access *access, const char *name_space,
                          const struct cs_privkey *service, const char *log_id, struct cs_catalog **ret,
                          struct cs_err *err) {
    struct redis_catalog *c = calloc(1, sizeof *c);
    if (!c)
        return cs_err_oom(err);
    CS_AUTO(cs_catalog_free) struct cs_catalog *base = &c->base;
    c->base.ops = &redis_ops;
    c->load_bytes = LOAD_BYTES;
    c->piece = INDEX_PIECE;
    cs_buf_init(&c->position, POSITION_MAX);
    cs_buf_init(&c->restored, POSITION_MAX);
    cs_buf_init(&c->changes, CHANGES_MAX);
    if (strlen(name_space) >= sizeof c->name_space)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "redis.namespace is longer than %d characters",
                          CS_NAMESPACE_MAX - 1);
    snprintf(c->name_space, sizeof c->name_space, "%s", name_space);
    if (!cs_redis_route_new(access, &c->route, err) ||
        !cs_authentic_new(service, log_id, &c->authentic, err) || !cs_packer_new(&c->packer, err) ||
        !cs_redis_writer_new(c->authentic, c->packer, &c->writer, err))
        return false;
    *ret = CS_TAKE(base);
    return true;
}
