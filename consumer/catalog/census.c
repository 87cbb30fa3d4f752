// SPDX-License-Identifier: Apache-2.0
#include "catalog/census.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/authentic.h"
#include "redis/key.h"
#include "redis/route.h"

#define DAY_S        INT64_C(86400)
#define ACCOUNTS_MAX 200 // of one question
#define BOUNDS       (CS_CENSUS_WITHIN + 1)
#define COMMANDS     (BOUNDS + 2) // of one account

const int cs_census_days[CS_CENSUS_WITHIN] = {1, 7, 14, 30};

struct cs_census_taker {
    struct cs_redis_route *route;
    struct cs_authentic *authentic;
    char name_space[CS_NAMESPACE_MAX];
    // The question under way:
    int32_t partition;
    struct cs_redis_link *link;
    char prefix[CS_PREFIX_MAX];
    size_t prefix_len;
    size_t accounts_len;
    char accounts[ACCOUNTS_MAX][CS_ACCOUNT_MAX + CS_MEMBER_MARK_SIZE];
};

bool cs_census_new(const struct cs_redis_access *access, const char *name_space,
                   const struct cs_privkey *service, const char *log_id, struct cs_census_taker **ret,
                   struct cs_err *err) {
    CS_AUTO(cs_census_free) struct cs_census_taker *t = calloc(1, sizeof *t);
    if (!t)
        return cs_err_oom(err);
    snprintf(t->name_space, sizeof t->name_space, "%s", name_space);
    if (!cs_redis_route_new(access, &t->route, err) || !cs_authentic_new(service, log_id, &t->authentic, err))
        return false;
    *ret = CS_TAKE(t);
    return true;
}

void cs_census_free(struct cs_census_taker *t) {
    if (!t)
        return;
    cs_redis_route_free(t->route);
    cs_authentic_free(t->authentic);
    free(t);
}

static void put(struct cs_census_taker *t, size_t args, const char *name, const char *key) {
    cs_redis_command(t->link, args);
    cs_redis_arg_text(t->link, name);
    cs_redis_arg_joined(t->link, t->prefix, t->prefix_len, key);
}

static bool ask(struct cs_census_taker *t, redisReply *const **ret, size_t want, struct cs_err *err) {
    size_t n = 0;
    bool ignored = false;
    if (!cs_redis_send(t->link, err) || !cs_redis_route_finish(t->route, ret, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((*ret)[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_route_refused(t->route, (*ret)[i], "count certificates", &ignored, err);
    return n == want ||
           cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "Redis gave %zu answers to %zu questions", n, want);
}

// The accounts behind the last one of before, as they are stored; then without their marks.
static bool read_accounts(struct cs_census_taker *t, struct cs_err *err) {
    redisReply *const *replies = NULL;
    char from[sizeof t->accounts[0] + 2] = "-";
    const char *key = cs_key_accounts(CS_NEW_KEY);
    if (t->accounts_len > 0) // everything that begins with it and its mark's separator is it
        snprintf(from, sizeof from, "(%s\"", t->accounts[t->accounts_len - 1]);
    put(t, 7, "ZRANGEBYLEX", key);
    cs_redis_arg_text(t->link, from);
    cs_redis_arg_text(t->link, "+");
    cs_redis_arg_text(t->link, "LIMIT");
    cs_redis_arg_int(t->link, 0);
    cs_redis_arg_int(t->link, ACCOUNTS_MAX);
    t->accounts_len = 0;
    if (!ask(t, &replies, 1, err))
        return false;
    const redisReply *all = replies[0];
    for (size_t i = 0; i < all->elements && i < ACCOUNTS_MAX; i++) {
        const redisReply *member = all->element[i];
        uint64_t secret;
        char *to = t->accounts[i];
        if (member->len >= sizeof t->accounts[0])
            return cs_authentic_damaged(err, t->partition, "index", key, "has a member that is no account");
        memcpy(to, member->str, member->len + 1);
        if (!cs_authentic_member(t->authentic, t->partition, key, to, member->len, &secret, err))
            return false;
        t->accounts_len = i + 1;
    }
    return true;
}

static int64_t bound_s(int64_t now_s, size_t i) {
    return i == 0 ? now_s : now_s + cs_census_days[i - 1] * DAY_S;
}

// Members with a score up to each bound; all; what was shared in.
static void put_counts(struct cs_census_taker *t, const char *account, int64_t now_s) {
    cs_key key;
    for (size_t i = 0; i < BOUNDS; i++) {
        put(t, 4, "ZCOUNT", cs_key_expiry(key, account));
        cs_redis_arg_text(t->link, "-inf");
        cs_redis_arg_int(t->link, bound_s(now_s, i));
    }
    put(t, 2, "ZCARD", cs_key_expiry(key, account));
    put(t, 4, "ZLEXCOUNT", cs_key_shares(key, account));
    cs_redis_arg_text(t->link, "[in/");
    cs_redis_arg_text(t->link, "(in0");
}

struct counts {
    int64_t until[BOUNDS], all, shared;
};

static bool is_shared_in(const redisReply *member) {
    const char *kind = memchr(member->str, '/', member->len);
    return kind && (size_t)(member->str + member->len - kind) > 2 && kind[1] == 's';
}

// Leaves out what was shared in.
static bool subtract_shared(struct cs_census_taker *t, const char *account, int64_t now_s, struct counts *c,
                            struct cs_err *err) {
    redisReply *const *replies = NULL;
    put(t, 5, "ZRANGEBYSCORE", cs_key_expiry(CS_NEW_KEY, account));
    cs_redis_arg_text(t->link, "-inf");
    cs_redis_arg_int(t->link, bound_s(now_s, BOUNDS - 1));
    cs_redis_arg_text(t->link, "WITHSCORES");
    if (!ask(t, &replies, 1, err))
        return false;
    const redisReply *all = replies[0];
    for (size_t i = 0; i + 1 < all->elements; i += 2) {
        int64_t ends_s = (int64_t)strtod(all->element[i + 1]->str, NULL);
        for (size_t k = 0; is_shared_in(all->element[i]) && k < BOUNDS; k++)
            c->until[k] -= ends_s <= bound_s(now_s, k);
    }
    c->all -= c->shared;
    return true;
}

static void add(struct cs_census *to, const struct counts *c) {
    to->expired += c->until[0];
    to->valid += c->all - c->until[0];
    for (size_t i = 0; i < CS_CENSUS_WITHIN; i++)
        to->within[i] += c->until[i + 1] - c->until[0];
}

static bool count_some(struct cs_census_taker *t, int64_t now_s, struct cs_census *to, struct cs_err *err) {
    redisReply *const *replies = NULL;
    struct counts counts[ACCOUNTS_MAX];
    for (size_t i = 0; i < t->accounts_len; i++)
        put_counts(t, t->accounts[i], now_s);
    if (!ask(t, &replies, t->accounts_len * COMMANDS, err))
        return false;
    for (size_t i = 0; i < t->accounts_len; i++) {
        redisReply *const *of = replies + i * COMMANDS;
        for (size_t k = 0; k < BOUNDS; k++)
            counts[i].until[k] = of[k]->integer;
        counts[i].all = of[BOUNDS]->integer;
        counts[i].shared = of[BOUNDS + 1]->integer;
    }
    for (size_t i = 0; i < t->accounts_len; i++) {
        if (counts[i].shared > 0 && !subtract_shared(t, t->accounts[i], now_s, &counts[i], err))
            return false;
        add(to, &counts[i]);
    }
    return true;
}

bool cs_census_take(struct cs_census_taker *t, int32_t partition, int64_t generation, int64_t now_s,
                    struct cs_census *ret, struct cs_err *err) {
    struct cs_census census = {0};
    t->partition = partition;
    t->accounts_len = 0;
    if (!cs_redis_route_link(t->route, partition, &t->link, err))
        return false;
    t->prefix_len = cs_redis_prefix(t->prefix, t->name_space, partition, generation);
    do {
        if (!read_accounts(t, err) || (t->accounts_len > 0 && !count_some(t, now_s, &census, err)))
            return false;
    } while (t->accounts_len == ACCOUNTS_MAX);
    *ret = census;
    return true;
}
