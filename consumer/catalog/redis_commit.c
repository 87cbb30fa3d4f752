// SPDX-License-Identifier: Apache-2.0
//
// The transaction of a commit: MULTI, everything that changed with its witnesses, the position,
// EXEC. It runs only if nobody touched the position since the load (WATCH). What an index holds is
// asked before it, where its witness needs that.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/redis_internal.h"

// The end of a commit: tells those who wait for the live catalog, or extends the lease of a rebuilt
// one.
static void put_ending(struct redis_catalog *c, const struct cs_position *to) {
    bool live = c->stand == CS_ON_LIVE;
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
    put_ending(c, &c->to);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
    c->under_way = CS_COMMITTING;
    return cs_redis_send(c->link, err);
}

bool cs_redis_catalog_commit_begin(struct cs_catalog *base, int32_t partition, const struct cs_state *state,
                                   const struct cs_position *from, const struct cs_position *to,
                                   struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    size_t questions = 0;
    c->failed = false;
    if (!c->watching)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "nothing was loaded before the commit");
    if (!cs_redis_go_on(c, err))
        return false;
    c->refused = c->partition != partition || c->stand == CS_ON_NEXT || !cs_position_equal(from, &c->loaded);
    if (c->refused)
        return true;
    c->to = *to;
    cs_buf_reset(&c->position);
    cs_position_encode(&c->position, to);
    if (!cs_buf_ok(&c->position, err) || !cs_redis_writer_take(c->writer, partition, state, err))
        return false;
    const struct cs_redis_place at = cs_redis_place_of(c);
    cs_redis_writer_ask(c->writer, &at, &questions);
    if (questions == 0)
        return send_commit(c, err);
    c->under_way = CS_ASKING;
    return cs_redis_send(c->link, err);
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
