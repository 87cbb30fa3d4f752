// SPDX-License-Identifier: Apache-2.0
#include "redis/target.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_PORT 6379
#define DATABASE_MAX 65535
#define FORMS        "unix:///path/to/redis.sock, redis://host:port or rediss://host:port"

// The whole text, digits only, at most max.
static bool parse_number(const char *s, size_t len, int max, int *ret) {
    if (len == 0 || len > 6)
        return false;
    int v = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        v = v * 10 + (s[i] - '0');
    }
    if (v > max)
        return false;
    *ret = v;
    return true;
}

static bool bad(struct cs_err *err, const char *what) {
    // The URL is not repeated: it may contain a password.
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "redis.url: %s; write it as " FORMS, what);
}

static bool take_host(const char *s, size_t len, struct cs_redis_target *t, struct cs_err *err) {
    if (len == 0 || len >= sizeof t->host)
        return bad(err, "the host or path is empty or too long");
    memcpy(t->host, s, len);
    t->host[len] = '\0';
    return true;
}

static bool parse_unix(const char *rest, struct cs_redis_target *t, struct cs_err *err) {
    const char *query = strchr(rest, '?');
    size_t len = query ? (size_t)(query - rest) : strlen(rest);
    if (rest[0] != '/')
        return bad(err, "the path of a Unix socket must be absolute");
    if (query && (strncmp(query, "?db=", 4) != 0 ||
                  !parse_number(query + 4, strlen(query + 4), DATABASE_MAX, &t->database)))
        return bad(err, "what follows '?' must be db=NUMBER");
    return take_host(rest, len, t, err);
}

static bool parse_inet(const char *rest, struct cs_redis_target *t, struct cs_err *err) {
    if (strchr(rest, '@'))
        return bad(err, "user and password belong into redis.username and redis.password");
    const char *slash = strchr(rest, '/');
    size_t len = slash ? (size_t)(slash - rest) : strlen(rest);
    if (slash && slash[1] && !parse_number(slash + 1, strlen(slash + 1), DATABASE_MAX, &t->database))
        return bad(err, "what follows '/' must be the number of a database");
    const char *host = rest;
    size_t host_len = len;
    const char *after = NULL;
    if (rest[0] == '[') {
        const char *end = memchr(rest, ']', len);
        if (!end)
            return bad(err, "']' is missing");
        host = rest + 1;
        host_len = (size_t)(end - host);
        after = end + 1;
    } else {
        const char *colon = memchr(rest, ':', len);
        host_len = colon ? (size_t)(colon - rest) : len;
        after = rest + host_len;
    }
    t->port = DEFAULT_PORT;
    if (after < rest + len &&
        (*after != ':' || !parse_number(after + 1, (size_t)(rest + len - after - 1), 65535, &t->port) ||
         t->port == 0))
        return bad(err, "the port must be a number from 1 to 65535");
    return take_host(host, host_len, t, err);
}

bool cs_redis_target_parse(const char *url, struct cs_redis_target *ret, struct cs_err *err) {
    struct cs_redis_target t = {0};
    bool ok = false;
    if (strncmp(url, "unix://", 7) == 0) {
        t.transport = CS_REDIS_UNIX;
        ok = parse_unix(url + 7, &t, err);
    } else if (strncmp(url, "redis://", 8) == 0) {
        t.transport = CS_REDIS_TCP;
        ok = parse_inet(url + 8, &t, err);
    } else if (strncmp(url, "rediss://", 9) == 0) {
        t.transport = CS_REDIS_TLS;
        ok = parse_inet(url + 9, &t, err);
#ifndef CERTSYNC_REDIS_TLS
        if (ok)
            ok = cs_err_set(
                err, CS_ERR_CONFIG, CS_CODE_NONE,
                "redis.url: this build has no TLS for Redis (it needs hiredis 1.0 or newer); use a Unix "
                "socket, redis:// within a trusted network, or a TLS proxy such as stunnel beside it");
#endif
    } else {
        bad(err, "the scheme is not known");
    }
    if (ok)
        *ret = t;
    return ok;
}
