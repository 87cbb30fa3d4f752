// SPDX-License-Identifier: Apache-2.0
//
// How Redis is reached, by the settings redis.*: one server (plain), the primary that sentinels
// name (sentinel), or the primaries of a Redis Cluster (cluster). redis.url lists the first servers
// to ask: the server itself, sentinels, or some nodes of the cluster.
#pragma once

#include "redis/target.h"

// as cs_redis_mode_names
enum cs_redis_mode { CS_REDIS_PLAIN, CS_REDIS_SENTINEL, CS_REDIS_CLUSTER };

#define CS_REDIS_SEEDS_MAX 16

struct cs_redis_access {
    enum cs_redis_mode mode;
    struct cs_redis_target seeds[CS_REDIS_SEEDS_MAX]; // all of one transport and database
    size_t seeds_len;
    // Borrowed, from the settings; "" or NULL: none.
    const char *sentinel_master; // the sentinels' name for the primary
    const char *sentinel_username, *sentinel_password;
    const char *username, *password;
    const char *ca_file;
    int64_t timeout_ms; // of connecting, and of each wait for an answer
};

// Reads the seeds from urls (redis.url) into access; its other members are set already. CONFIG:
// what is wrong with redis.url, redis.mode or redis.sentinel_master.
CS_MUST_USE bool cs_redis_access_seeds(struct cs_redis_access *access, const char *urls, struct cs_err *err);
