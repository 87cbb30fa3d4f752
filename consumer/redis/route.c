// SPDX-License-Identifier: Apache-2.0
#include "redis/route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/clock.h"
#include "redis/discover.h"

#define ASK_GAP_MS    100 // between two discoveries; at least ASK_SHARE times as long as the last one took
#define ASK_SHARE     4
#define BELIEVE_MS    2000 // an answer of sentinels: a deposed primary may go on for a while
#define HUNG_PAUSE_MS 2000 // how long a primary that hung is left alone
#define HUNG_TRIAL_MS 500  // its time to answer a PING after that

struct node {
    struct cs_redis_target target;
    struct cs_redis_link *link;
    bool hung;
    int64_t retry_at_ms; // if it hung
    char why[256];
};

struct cs_redis_route {
    struct cs_redis_access access;
    struct cs_redis_map *map; // NULL: not known yet
    bool stale;
    int64_t ask_at_ms;
    int64_t believe_until_ms; // INT64_MAX: while it answers
    unsigned turn;
    struct node *nodes;
    size_t len, cap;
    size_t current; // the node whose link was given last
};

static int64_t now_ms(void) {
    return cs_clock_mono_ms(cs_clock_real());
}

bool cs_redis_route_new(const struct cs_redis_access *access, struct cs_redis_route **ret,
                        struct cs_err *err) {
    struct cs_redis_route *r = calloc(1, sizeof *r);
    if (!r)
        return cs_err_oom(err);
    r->access = *access;
    *ret = r;
    return true;
}

void cs_redis_route_free(struct cs_redis_route *r) {
    if (!r)
        return;
    for (size_t i = 0; i < r->len; i++)
        cs_redis_link_free(r->nodes[i].link);
    free(r->nodes);
    cs_redis_map_free(r->map);
    free(r);
}

// --- who the primaries are

static bool is_primary(const struct cs_redis_map *m, const struct cs_redis_target *t) {
    for (size_t i = 0; i < cs_redis_map_len(m); i++)
        if (cs_redis_target_equal(cs_redis_map_at(m, i), t))
            return true;
    return false;
}

static void forget_others(struct cs_redis_route *r) {
    size_t kept = 0;
    for (size_t i = 0; i < r->len; i++) {
        if (is_primary(r->map, &r->nodes[i].target))
            r->nodes[kept++] = r->nodes[i];
        else
            cs_redis_link_free(r->nodes[i].link);
    }
    r->len = kept;
}

static bool discover(struct cs_redis_route *r, struct cs_err *err) {
    struct cs_redis_map *map = NULL;
    int64_t start_ms = now_ms();
    bool ok = cs_redis_discover(&r->access, r->map, r->turn++, &map, err);
    int64_t end_ms = now_ms();
    int64_t gap_ms = (end_ms - start_ms) * ASK_SHARE;
    r->ask_at_ms = end_ms + (gap_ms > ASK_GAP_MS ? gap_ms : ASK_GAP_MS);
    if (!ok)
        return false;
    cs_redis_map_free(r->map);
    r->map = map;
    r->stale = false;
    r->believe_until_ms = r->access.mode == CS_REDIS_SENTINEL ? end_ms + BELIEVE_MS : INT64_MAX;
    forget_others(r);
    return true;
}

// If nobody can tell, the known map stays: the primaries themselves may answer.
static bool look_up(struct cs_redis_route *r, struct cs_err *err) {
    struct cs_err ignored;
    if (!r->map)
        return discover(r, err);
    int64_t now = now_ms();
    if ((r->stale || now >= r->believe_until_ms) && now >= r->ask_at_ms)
        (void)discover(r, &ignored);
    return true;
}

// --- their links

static bool find_node(struct cs_redis_route *r, const struct cs_redis_target *t, size_t *ret,
                      struct cs_err *err) {
    for (*ret = 0; *ret < r->len; (*ret)++)
        if (cs_redis_target_equal(&r->nodes[*ret].target, t))
            return true;
    if (!CS_GROW(&r->nodes, &r->cap, r->len + 1))
        return cs_err_oom(err);
    struct cs_redis_link_options options = {.target = t,
                                            .username = r->access.username,
                                            .password = r->access.password,
                                            .ca_file = r->access.ca_file,
                                            .timeout_ms = r->access.timeout_ms,
                                            .must_be_primary = r->access.mode == CS_REDIS_SENTINEL};
    struct node n = {.target = *t};
    if (!cs_redis_link_new(&options, &n.link, err))
        return false;
    r->nodes[r->len++] = n;
    return true;
}

static void node_failed(struct cs_redis_route *r, struct node *n, const struct cs_err *err) {
    r->stale = true;
    n->hung = cs_redis_hung(n->link);
    n->retry_at_ms = n->hung ? now_ms() + HUNG_PAUSE_MS : 0;
    snprintf(n->why, sizeof n->why, "%.255s", err->msg);
}

static bool connect_to(struct cs_redis_route *r, const struct cs_redis_target *t, struct cs_redis_link **ret,
                       struct cs_err *err) {
    size_t i = 0;
    if (!find_node(r, t, &i, err))
        return false;
    struct node *n = &r->nodes[i];
    if (now_ms() < n->retry_at_ms)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s", n->why);
    if (!cs_redis_connect_within(n->link, n->hung ? HUNG_TRIAL_MS : r->access.timeout_ms, err)) {
        node_failed(r, n, err);
        return false;
    }
    r->current = i;
    *ret = n->link;
    return true;
}

bool cs_redis_route_link(struct cs_redis_route *r, int32_t partition, struct cs_redis_link **ret,
                         struct cs_err *err) {
    uint16_t slot = cs_redis_slot_of_partition(partition);
    if (!look_up(r, err))
        return false;
    int i = cs_redis_map_of_slot(r->map, slot);
    if (i >= 0)
        return connect_to(r, cs_redis_map_at(r->map, (size_t)i), ret, err);
    r->stale = true;
    return cs_err_set(
        err, CS_ERR_RETRY, CS_CODE_NONE,
        "no primary of the Redis Cluster holds slot %d, where partition %d is: look at redis-cli "
        "--cluster check",
        (int)slot, (int)partition);
}

bool cs_redis_route_primaries(struct cs_redis_route *r, size_t *ret_n, struct cs_err *err) {
    if (!discover(r, err))
        return false;
    *ret_n = cs_redis_map_len(r->map);
    return true;
}

bool cs_redis_route_primary(struct cs_redis_route *r, size_t i, struct cs_redis_link **ret,
                            struct cs_err *err) {
    return connect_to(r, cs_redis_map_at(r->map, i), ret, err);
}

// --- what they answer

bool cs_redis_route_finish(struct cs_redis_route *r, redisReply *const **ret, size_t *ret_n,
                           struct cs_err *err) {
    struct node *n = &r->nodes[r->current];
    if (!cs_redis_finish(n->link, ret, ret_n, err)) {
        node_failed(r, n, err);
        return false;
    }
    n->hung = false;
    return true;
}

static bool redirected(struct cs_redis_route *r, const struct cs_redis_redirect *to, bool *ret_moved,
                       struct cs_err *err) {
    if (to->ask)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "slot %d of the Redis Cluster is on its way to %s:%d; wait until all its "
                          "keys are there",
                          (int)to->slot, to->to.host, to->to.port);
    if (!cs_redis_map_move(r->map, to, err))
        return false;
    // It may still watch a key. That would spoil the next transaction on it.
    cs_redis_close(r->nodes[r->current].link);
    *ret_moved = true;
    return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "slot %d of the Redis Cluster is at %s:%d now",
                      (int)to->slot, to->to.host, to->to.port);
}

bool cs_redis_route_refused(struct cs_redis_route *r, const redisReply *reply, const char *what,
                            bool *ret_moved, struct cs_err *err) {
    struct node *n = &r->nodes[r->current];
    struct cs_redis_redirect to;
    bool moved = false;
    if (r->access.mode == CS_REDIS_CLUSTER && reply->str &&
        cs_redis_redirect_parse(reply->str, &n->target, &to)) {
        redirected(r, &to, &moved, err);
    } else {
        cs_redis_error(err, reply, what);
        r->stale = r->stale || err->kind == CS_ERR_RETRY;
        if (reply->str && strncmp(reply->str, "READONLY", 8) == 0)
            cs_redis_close(n->link); // its role is asked for again
    }
    if (ret_moved)
        *ret_moved = moved;
    return false;
}
