// SPDX-License-Identifier: Apache-2.0
//
// The transaction of a commit: MULTI, everything that changed with its witnesses, the position,
// EXEC. It runs only if nobody touched the position since the load (WATCH). What an index holds is
// asked before it, where its witness needs that.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/changes.h"
#include "catalog/redis_internal.h"
#include "certsync/base/grow.h"

static bool put_changes(struct redis_catalog *c, struct cs_err *err) {
    uint8_t mark[CS_MARK_LEN];
    cs_key key;
    struct cs_bytes entry = cs_buf_bytes(&c->changes);
    cs_changes_key(key, c->turns[c->partition]++ % CS_CHANGES_KEPT);
    if (!cs_authentic_beside_mark(c->authentic, c->partition, key, entry, mark, err))
        return false;
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "SET"); // whatever may be there
    cs_redis_put_slot_key(c, key);
    cs_redis_arg_marked(c->link, entry, (struct cs_bytes){mark, sizeof mark});
    return true;
}

static void put_restored(struct redis_catalog *c) {
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "SET");
    cs_redis_put_slot_key(c, CS_RESTORED_KEY);
    cs_redis_arg(c->link, cs_buf_bytes(&c->restored));
}

// The end of a commit: tells those who wait for the live catalog, or extends the lease of a rebuilt
// one.
static void put_ending(struct redis_catalog *c, const struct cs_position *to) {
    bool live = c->stand == CS_ON_LIVE;
    if (c->restored.len > 0)
        put_restored(c);
    cs_redis_command(c->link, live ? 3 : 5);
    cs_redis_arg_text(c->link, live ? "PUBLISH" : "SET");
    cs_redis_put_slot_key(c, live ? CS_MOVED_CHANNEL : CS_CLAIM_KEY);
    if (live) {
        cs_redis_arg_int(c->link, to->outcomes);
        return;
    }
    cs_redis_arg_text(c->link, c->token);
    cs_redis_arg_text(c->link, "PX");
    cs_redis_arg_int(c->link, c->lease_ms);
}

static bool send_commit(struct redis_catalog *c, struct cs_err *err) {
    if (!cs_redis_go_on(c, err))
        return false;
    const struct cs_redis_place to = cs_redis_place_of(c);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "MULTI");
    if (!cs_redis_writer_put(c->writer, &to, cs_buf_bytes(&c->position), !c->begun, err))
        return false;
    if (c->stand == CS_ON_LIVE && c->changes.len > 0 && !put_changes(c, err))
        return false;
    put_ending(c, &c->to);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
    c->under_way = CS_COMMITTING;
    return cs_redis_send(c->link, err);
}

// What the changes are, and what must be asked before they are sent.
static bool begin(struct redis_catalog *c, const struct cs_state *state, struct cs_err *err) {
    size_t questions = 0;
    if (!cs_redis_writer_take(c->writer, c->partition, state, err))
        return false;
    const struct cs_redis_place at = cs_redis_place_of(c);
    cs_redis_writer_ask(c->writer, &at, &questions);
    if (questions == 0)
        return send_commit(c, err);
    c->under_way = CS_ASKING;
    return cs_redis_send(c->link, err);
}

bool cs_redis_catalog_commit_begin(struct cs_catalog *base, int32_t partition, const struct cs_state *state,
                                   const struct cs_position *from, const struct cs_position *to,
                                   struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    c->failed = false;
    if (!c->watching)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "nothing was loaded before the commit");
    if (!cs_redis_go_on(c, err))
        return false;
    c->refused = c->partition != partition || c->stand == CS_ON_NEXT || !cs_position_equal(from, &c->loaded);
    if (c->refused)
        return true;
    c->to = *to;
    if (!CS_GROW_ZEROED(&c->turns, &c->turns_cap, (size_t)partition + 1))
        return cs_err_oom(err);
    cs_buf_reset(&c->restored);
    cs_buf_reset(&c->position);
    cs_position_encode(&c->position, to);
    cs_buf_reset(&c->changes);
    cs_changes_encode(&c->changes, cs_redis_catalog_generation(base, partition), from->outcomes, to->outcomes,
                      state);
    return cs_buf_ok(&c->position, err) && cs_buf_ok(&c->changes, err) && begin(c, state, err);
}

// What the indexes hold has been answered, or is waited for. Then the commit itself is sent.
bool cs_redis_catalog_go_on_committing(struct redis_catalog *c, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    c->under_way = CS_NOTHING;
    if (!cs_redis_route_finish(c->route, &replies, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (replies[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_refused(c, replies[i], "look at the indexes", err);
    return cs_redis_writer_told(c->writer, c->partition, replies, err) && send_commit(c, err);
}

// EXEC ran, but one of its commands failed and the others took effect. The partition's keys do not
// fit its position.
static bool damaged(const struct redis_catalog *c, const redisReply *r, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_DAMAGED, CS_CODE_NONE,
                      "the catalog in Redis is damaged: a commit of partition %d was taken only in part "
                      "(%.200s). Something else writes under \"%s\"",
                      (int)c->partition, r->str ? r->str : "", c->prefix);
}

bool cs_redis_catalog_commit_end(struct cs_catalog *base, bool *ret_moved, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (c->refused) {
        cs_redis_catalog_cancel(base);
        *ret_moved = true;
        return true;
    }
    if (c->failed) {
        *err = c->failure;
        return false;
    }
    if (c->under_way == CS_ASKING && !cs_redis_catalog_go_on_committing(c, err))
        return false;
    c->under_way = CS_NOTHING;
    c->watching = false;
    if (!cs_redis_route_finish(c->route, &replies, &n, err))
        return false;
    // If a command cannot be queued, EXEC refuses all. Then nothing has changed.
    for (size_t i = 0; i + 1 < n; i++)
        if (replies[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_refused(c, replies[i], "queue a commit", err);
    const redisReply *exec = replies[n - 1];
    if (exec->type == REDIS_REPLY_ERROR)
        return cs_redis_refused(c, exec, "commit", err);
    if (exec->type == REDIS_REPLY_NIL) {
        *ret_moved = true;
        return true;
    }
    for (size_t i = 0; i < exec->elements; i++)
        if (exec->element[i]->type == REDIS_REPLY_ERROR)
            return damaged(c, exec->element[i], err);
    if (exec->elements != n - 2)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "Redis answered %zu of %zu commands of a commit",
                          exec->elements, n - 2);
    *ret_moved = false;
    return true;
}

// ---- a whole catalog, piece by piece

static bool watch_empty(struct redis_catalog *c, bool *ret_moved, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    bool holds = false;
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_put_fence(c, "WATCH");
    cs_redis_put_fence(c, "MGET");
    c->watching = true;
    if (!cs_redis_ask(c, "look at the position", &replies, &n, err) ||
        !cs_redis_fence_check(c, replies[1]->element[0], &holds, err))
        return false;
    *ret_moved = !holds || replies[1]->element[1]->type != REDIS_REPLY_NIL;
    return true;
}

bool cs_redis_catalog_restore(struct cs_catalog *base, int32_t partition, const struct cs_state *piece,
                              bool first, const struct cs_position *to, const struct cs_restored *from,
                              bool *ret_moved, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    cs_redis_catalog_cancel(base);
    c->refused = c->failed = false;
    *ret_moved = c->stand == CS_ON_NEXT;
    if (*ret_moved)
        return true;
    if (!cs_redis_stand(c, partition, err) || !watch_empty(c, ret_moved, err))
        return false;
    if (*ret_moved) {
        cs_redis_catalog_cancel(base);
        return true;
    }
    cs_buf_reset(&c->position);
    cs_buf_reset(&c->changes); // those who follow read all of it
    cs_buf_reset(&c->restored);
    c->to = to ? *to : (struct cs_position){0};
    if (to) {
        cs_position_encode(&c->position, to);
        cs_buf_printf(&c->restored, "%" PRId64 " %" PRId64 " %" PRId64, c->known[partition], from->outcomes,
                      from->until);
    }
    c->begun = !first;
    return cs_buf_ok(&c->position, err) && cs_buf_ok(&c->restored, err) && cs_redis_go_on(c, err) &&
           begin(c, piece, err) && cs_redis_catalog_commit_end(base, ret_moved, err);
}

bool cs_redis_catalog_restored(struct cs_catalog *base, int32_t partition, struct cs_restored *ret,
                               struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    int64_t generation = 0, used = 0;
    struct cs_restored found = {0};
    cs_redis_catalog_cancel(base);
    if (!cs_redis_stand(c, partition, err) || !cs_redis_open(c, err))
        return false;
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "MGET"); // what is no string reads as nil
    cs_redis_put_slot_key(c, CS_RESTORED_KEY);
    cs_redis_put_slot_key(c, cs_redis_fence_key(c));
    if (!cs_redis_ask(c, "read what a catalog was restored from", &replies, &n, err))
        return false;
    const redisReply *r = replies[0]->element[0];
    if (c->stand == CS_ON_CLAIMED)
        used = c->known[partition];
    else if (!cs_redis_read_generation(replies[0]->element[1], c->stand == CS_ON_LIVE ? 1 : 0, &used, err))
        return false;
    if (r->type != REDIS_REPLY_STRING ||
        sscanf(r->str, "%" SCNd64 " %" SCNd64 " %" SCNd64, &generation, &found.outcomes, &found.until) != 3 ||
        generation != used)
        found = (struct cs_restored){0};
    *ret = found;
    return true;
}
