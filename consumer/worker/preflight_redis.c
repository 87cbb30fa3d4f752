// SPDX-License-Identifier: Apache-2.0
//
// What Redis must be and allow before a worker starts, and while it runs.
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "redis/key.h"
#include "redis/route.h"
#include "worker/preflight.h"

#define VERSION_MIN      602 // 6.2: ZMSCORE
#define VERSION_MIN_TEXT "6.2"
#define PAUSE_MS         200

struct facts { // of INFO; "" if the server does not say
    char version[32];
    char policy[32];
    char role[32];
    char kind[32];
    char evicted[32];
};

// Reads "name:value\r\n" of INFO.
static void info_field(const char *info, const char *name, char out[32]) {
    size_t len = strlen(name);
    out[0] = '\0';
    for (const char *line = info; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ':')
            snprintf(out, 32, "%.*s", (int)strcspn(line + len + 1, "\r\n"), line + len + 1);
    }
}

static bool read_facts(struct cs_redis_route *r, struct cs_redis_link *link, struct facts *ret,
                       struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    cs_redis_command(link, 1);
    cs_redis_arg_text(link, "INFO");
    if (!cs_redis_send(link, err) || !cs_redis_route_finish(r, &replies, &n, err))
        return false;
    if (replies[0]->type == REDIS_REPLY_ERROR)
        return cs_redis_route_refused(r, replies[0], "tell about itself (INFO)", NULL, err);
    info_field(replies[0]->str, "redis_version", ret->version);
    info_field(replies[0]->str, "maxmemory_policy", ret->policy);
    info_field(replies[0]->str, "role", ret->role);
    info_field(replies[0]->str, "redis_mode", ret->kind);
    info_field(replies[0]->str, "evicted_keys", ret->evicted);
    return true;
}

static const char *place(const struct cs_redis_target *t, char out[300]) {
    if (t->transport == CS_REDIS_UNIX)
        snprintf(out, 300, "%s", t->host);
    else
        snprintf(out, 300, "%s:%d", t->host, t->port);
    return out;
}

static bool check_kind(const struct facts *f, enum cs_redis_mode mode, const char *at, struct cs_err *err) {
    if (strcmp(f->kind, "sentinel") == 0)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "the server at %s is a sentinel: set redis.mode = sentinel and redis.sentinel_master", at);
    if (mode != CS_REDIS_CLUSTER && strcmp(f->kind, "cluster") == 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the Redis at %s is a node of a Redis Cluster: set redis.mode = cluster", at);
    return true;
}

static bool check_facts(const struct facts *f, enum cs_redis_mode mode, const struct cs_redis_target *target,
                        struct cs_err *err) {
    char at[300];
    place(target, at);
    char *rest = NULL;
    long version = strtol(f->version, &rest, 10) * 100;
    version += *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;
    if (!check_kind(f, mode, at, err))
        return false;
    if (version > 0 && version < VERSION_MIN)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "Redis at %s has version %s: use %s or newer", at,
                          f->version, VERSION_MIN_TEXT);
    if (strcmp(f->role, "slave") == 0)
        return mode == CS_REDIS_PLAIN
                   ? cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                                "the Redis at %s is a replica, which takes no writes: point redis.url at the "
                                "primary",
                                at)
                   : cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the Redis at %s is no longer the primary",
                                at);
    if (f->policy[0] && strcmp(f->policy, "noeviction") != 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the Redis at %s may throw keys away (maxmemory-policy %s): set it to noeviction",
                          at, f->policy);
    return true;
}

// Each kind of command that the workers, the API and the operators' commands use. They run in one
// transaction, which removes its keys at the end, so nobody else sees them.
#define K "\1" // stands for the key
static const char *const trial[][6] = {
    {"WATCH", K},
    {"UNWATCH"},
    {"MULTI"},
    {"SET", K, "1", "PX", "1000"},
    {"MSET", K, "1"},
    {"GET", K},
    {"MGET", K},
    {"PTTL", K},
    {"UNLINK", K},
    {"ZADD", K, "0", "a"},
    {"ZRANGE", K, "0", "-1", "WITHSCORES"},
    {"ZRANGEBYSCORE", K, "0", "1"},
    {"ZRANGEBYLEX", K, "-", "+"},
    {"ZREM", K, "b"},
    {"ZREMRANGEBYRANK", K, "0", "0"},
    {"ZMSCORE", K, "a"},
    {"ZCARD", K},
    {"ZCOUNT", K, "0", "1"},
    {"ZLEXCOUNT", K, "-", "+"},
    {"UNLINK", K},
    {"HSET", K, "a", "1"},
    {"HINCRBY", K, "a", "1"},
    {"HMGET", K, "a"},
    {"HGET", K, "a"},
    {"HGETALL", K},
    {"HDEL", K, "a"},
    {"PUBLISH", K, "1"},
    {"EXEC"},
    {"SCAN", "0", "MATCH", K, "COUNT", "1"},
    {"SUBSCRIBE", K},
    {"UNSUBSCRIBE", K},
};

static void put_trial(struct cs_redis_link *link, const char *key) {
    for (size_t i = 0; i < CS_ARRAY_LEN(trial); i++) {
        size_t args = 0;
        while (args < CS_ARRAY_LEN(trial[i]) && trial[i][args])
            args++;
        cs_redis_command(link, args);
        for (size_t k = 0; k < args; k++)
            cs_redis_arg_text(link, strcmp(trial[i][k], K) == 0 ? key : trial[i][k]);
    }
}

// The first command that was refused. A refused command makes its whole transaction fail: that
// command is named.
static bool check_rights(const struct cs_consumer_settings *s, struct cs_redis_route *r, struct cs_err *err) {
    struct cs_redis_link *link = NULL;
    redisReply *const *replies = NULL;
    char key[160];
    char what[64];
    size_t n = 0;
    char slot[CS_PREFIX_MAX];
    cs_redis_prefix(slot, s->redis_namespace, 0, 0);
    snprintf(key, sizeof key, "%scheck", slot);
    if (!cs_redis_route_link(r, 0, &link, err))
        return false;
    put_trial(link, key);
    if (!cs_redis_send(link, err) || !cs_redis_route_finish(r, &replies, &n, err))
        return false;
    for (size_t i = 0; i < n && i < CS_ARRAY_LEN(trial); i++) {
        if (replies[i]->type != REDIS_REPLY_ERROR)
            continue;
        snprintf(what, sizeof what, "run %s", trial[i][0]);
        return cs_redis_route_refused(r, replies[i], what, NULL, err);
    }
    return true;
}

static bool check_all(const struct cs_redis_access *access, struct cs_redis_route *r, int64_t *ret_evicted,
                      struct cs_err *err) {
    size_t n = 0;
    *ret_evicted = 0;
    if (!cs_redis_route_primaries(r, &n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct cs_redis_link *link = NULL;
        struct facts facts = {0};
        if (!cs_redis_route_primary(r, i, &link, err) || !read_facts(r, link, &facts, err))
            return false;
        *ret_evicted += strtoll(facts.evicted, NULL, 10);
        if (!check_facts(&facts, access->mode, cs_redis_link_target(link), err))
            return false;
    }
    return true;
}

bool cs_preflight_redis(const struct cs_consumer_settings *s, int64_t timeout_ms,
                        struct cs_preflight_redis *ret, struct cs_err *err) {
    *ret = (struct cs_preflight_redis){0};
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    struct cs_redis_access access;
    CS_AUTO(cs_redis_route_free) struct cs_redis_route *r = NULL;
    if (!cs_settings_redis(s, &access, err) || !cs_redis_route_new(&access, &r, err))
        return false;
    while (!check_all(&access, r, &ret->evicted, err) || (ret->rights = true, !check_rights(s, r, err))) {
        if (err->kind != CS_ERR_RETRY || cs_clock_mono_ms(cs_clock_real()) + PAUSE_MS >= deadline_ms)
            return false;
        ret->rights = false;
        poll(NULL, 0, PAUSE_MS); // Redis may be starting, too
    }
    return true;
}
