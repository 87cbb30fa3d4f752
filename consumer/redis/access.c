// SPDX-License-Identifier: Apache-2.0
#include "redis/access.h"

#include <string.h>

static bool bad(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s", what);
}

// One address of the list, without the spaces around it.
static bool take_seed(struct cs_redis_access *a, const char *text, size_t len, struct cs_err *err) {
    char url[512];
    while (len > 0 && text[0] == ' ') {
        text++;
        len--;
    }
    while (len > 0 && text[len - 1] == ' ')
        len--;
    if (len >= sizeof url || a->seeds_len == CS_REDIS_SEEDS_MAX)
        return bad(err, "redis.url: an address is too long, or there are more than 16");
    memcpy(url, text, len);
    url[len] = '\0';
    if (!cs_redis_target_parse(url, &a->seeds[a->seeds_len], err))
        return false;
    const struct cs_redis_target *t = &a->seeds[a->seeds_len++];
    if (t->transport != a->seeds[0].transport || t->database != a->seeds[0].database)
        return bad(err,
                   "redis.url: all addresses must be of one kind (redis:// or rediss://) and name the same "
                   "database");
    return true;
}

static bool take_seeds(struct cs_redis_access *a, const char *urls, struct cs_err *err) {
    for (const char *at = urls;; at++) {
        size_t len = strcspn(at, ",");
        if (!take_seed(a, at, len, err))
            return false;
        at += len;
        if (!*at)
            return true;
    }
}

static bool fits_mode(const struct cs_redis_access *a, struct cs_err *err) {
    bool is_unix = a->seeds[0].transport == CS_REDIS_UNIX;
    switch (a->mode) {
    case CS_REDIS_PLAIN:
        return a->seeds_len == 1 ||
               bad(err,
                   "redis.url lists more than one address: that takes redis.mode = sentinel (addresses of "
                   "sentinels) or redis.mode = cluster (addresses of nodes)");
    case CS_REDIS_SENTINEL:
        if (!a->sentinel_master[0])
            return bad(err,
                       "redis.mode = sentinel needs redis.sentinel_master: the name by which the sentinels "
                       "know the primary (sentinel monitor NAME …)");
        return !is_unix ||
               bad(err, "redis.mode = sentinel needs addresses of sentinels in redis.url, such as "
                        "redis://host:26379, no Unix socket");
    case CS_REDIS_CLUSTER:
        if (is_unix)
            return bad(
                err, "redis.mode = cluster needs addresses of nodes in redis.url, such as redis://host:6379, "
                     "no Unix socket");
        return a->seeds[0].database == 0 || bad(err, "redis.url: a cluster has database 0 only");
    }
    return false;
}

bool cs_redis_access_seeds(struct cs_redis_access *access, const char *urls, struct cs_err *err) {
    struct cs_redis_access a = *access;
    if (!take_seeds(&a, urls, err) || !fits_mode(&a, err))
        return false;
    *access = a;
    return true;
}
