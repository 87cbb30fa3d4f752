// SPDX-License-Identifier: Apache-2.0
//
// Where Redis is: "unix:///run/redis.sock", "redis://host[:port]" or "rediss://host[:port]", each
// with an optional "/<database>" ("?db=<n>" for Unix sockets). No user and no password: those are
// settings of their own.
#pragma once

#include "certsync/base/err.h"

enum cs_redis_transport { CS_REDIS_UNIX = 1, CS_REDIS_TCP, CS_REDIS_TLS };

struct cs_redis_target {
    enum cs_redis_transport transport;
    char host[256]; // name or address, without brackets; the path of a Unix socket
    int port;
    int database;
};

// CONFIG: what is wrong with the URL, or that this build has no TLS for Redis (hiredis before 1.0).
CS_MUST_USE bool cs_redis_target_parse(const char *url, struct cs_redis_target *ret, struct cs_err *err);
