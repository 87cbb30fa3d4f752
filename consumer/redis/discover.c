// SPDX-License-Identifier: Apache-2.0
#include "redis/discover.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "redis/link.h"

#define ASK_TIMEOUT_MS 1000 // for one server: there are others
#define ASK_ALL_MS     5000 // then the rest waits for the next time, which begins with another server

static bool not_a_cluster(const struct cs_redis_target *t, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "redis.mode is cluster, but the Redis at %s:%d is not a node of a cluster: set redis.mode = "
        "plain, or name nodes of the cluster in redis.url",
        t->host, t->port);
}

static bool not_a_sentinel(const struct cs_redis_target *t, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "redis.mode is sentinel, but the server at %s:%d is not a sentinel: name the sentinels in "
        "redis.url (their port is mostly 26379), or set redis.mode to what that server is",
        t->host, t->port);
}

static bool take_cluster(struct cs_redis_map *map, const redisReply *reply, const struct cs_redis_target *t,
                         struct cs_err *err) {
    if (reply->type != REDIS_REPLY_ERROR)
        return cs_redis_map_set_slots(map, reply, t, err);
    if (strstr(reply->str, "cluster support disabled") || strstr(reply->str, "unknown command"))
        return not_a_cluster(t, err);
    return cs_redis_error(err, reply, "tell the cluster's slots (CLUSTER SLOTS)");
}

static bool take_sentinel(const struct cs_redis_access *a, struct cs_redis_map *map, const redisReply *reply,
                          const struct cs_redis_target *t, struct cs_err *err) {
    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "unknown command"))
        return not_a_sentinel(t, err);
    if (reply->type == REDIS_REPLY_ERROR)
        return cs_redis_error(err, reply, "tell where the primary is (SENTINEL get-master-addr-by-name)");
    if (reply->type == REDIS_REPLY_NIL)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the sentinel at %s:%d knows no primary named %s: correct redis.sentinel_master",
                          t->host, t->port, a->sentinel_master);
    struct cs_redis_target primary = *t;
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2 || !reply->element[0]->str ||
        !reply->element[1]->str || (size_t)reply->element[0]->len >= sizeof primary.host)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the sentinel at %s:%d answers in an unknown form",
                          t->host, t->port);
    strcpy(primary.host, reply->element[0]->str);
    primary.port = (int)strtol(reply->element[1]->str, NULL, 10);
    return cs_redis_map_set_one(map, &primary, err);
}

static bool ask(const struct cs_redis_access *a, const struct cs_redis_target *t, struct cs_redis_map *map,
                struct cs_err *err) {
    bool sentinel = a->mode == CS_REDIS_SENTINEL;
    struct cs_redis_target at = *t;
    struct cs_redis_link_options options = {
        .target = &at,
        .username = sentinel ? a->sentinel_username : a->username,
        .password = sentinel ? a->sentinel_password : a->password,
        .ca_file = a->ca_file,
        .timeout_ms = a->timeout_ms < ASK_TIMEOUT_MS ? a->timeout_ms : ASK_TIMEOUT_MS,
    };
    CS_AUTO(cs_redis_link_free) struct cs_redis_link *link = NULL;
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (sentinel)
        at.database = 0; // sentinels have none
    if (!cs_redis_link_new(&options, &link, err) || !cs_redis_connect(link, err))
        return false;
    cs_redis_command(link, sentinel ? 3 : 2);
    cs_redis_arg_text(link, sentinel ? "SENTINEL" : "CLUSTER");
    cs_redis_arg_text(link, sentinel ? "get-master-addr-by-name" : "SLOTS");
    if (sentinel)
        cs_redis_arg_text(link, a->sentinel_master);
    if (!cs_redis_send(link, err) || !cs_redis_finish(link, &replies, &n, err))
        return false;
    return sentinel ? take_sentinel(a, map, replies[0], t, err) : take_cluster(map, replies[0], t, err);
}

// A fault that a person must correct is told before one that another server is away.
static void keep_worst(struct cs_err *worst, const struct cs_err *why) {
    if (!worst->kind || (why->kind == CS_ERR_CONFIG && worst->kind != CS_ERR_CONFIG))
        *worst = *why;
}

static bool ask_all(const struct cs_redis_access *a, const struct cs_redis_map *known, unsigned turn,
                    struct cs_redis_map *map, struct cs_err *err) {
    size_t primaries = a->mode == CS_REDIS_CLUSTER && known ? cs_redis_map_len(known) : 0;
    size_t all = primaries + a->seeds_len;
    struct cs_err worst = {0};
    int64_t until_ms = cs_clock_mono_ms(cs_clock_real()) + ASK_ALL_MS;
    for (size_t i = 0; i < all && (i == 0 || cs_clock_mono_ms(cs_clock_real()) < until_ms); i++) {
        size_t at = (i + turn) % all;
        struct cs_err why;
        if (ask(a, at < primaries ? cs_redis_map_at(known, at) : &a->seeds[at - primaries], map, &why))
            return true;
        keep_worst(&worst, &why);
    }
    *err = worst;
    return cs_err_prepend(err, a->mode == CS_REDIS_CLUSTER ? "looking for the nodes of the Redis Cluster"
                                                           : "asking the sentinels for the primary");
}

bool cs_redis_discover(const struct cs_redis_access *a, const struct cs_redis_map *known, unsigned turn,
                       struct cs_redis_map **ret, struct cs_err *err) {
    CS_AUTO(cs_redis_map_free) struct cs_redis_map *map = NULL;
    if (!cs_redis_map_new(&map, err))
        return false;
    bool found = a->mode == CS_REDIS_PLAIN ? cs_redis_map_set_one(map, &a->seeds[0], err)
                                           : ask_all(a, known, turn, map, err);
    if (found)
        *ret = CS_TAKE(map);
    return found;
}
