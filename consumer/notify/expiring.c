// SPDX-License-Identifier: Apache-2.0
#include "notify/expiring.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalog/authentic.h"
#include "certsync/model/keys.h"
#include "redis/key.h"
#include "redis/route.h"

#define ACCOUNTS_AT_ONCE 500
#define MEMBERS_AT_ONCE  1000 // of one account; more are asked for again
#define DAY_S            86400

struct cs_expiring {
    struct cs_redis_route *route;
    struct cs_authentic *authentic;
    char name_space[CS_NAMESPACE_MAX];
    int32_t partition;
    struct cs_redis_link *link;
    char prefix[CS_PREFIX_MAX]; // of the live generation
    size_t prefix_len;
    cs_account_id *accounts; // of one step
    struct cs_expiring_one *found;
    size_t found_len;
};

bool cs_expiring_new(const struct cs_redis_access *access, const char *name_space,
                     const struct cs_privkey *service, const char *log_id, struct cs_expiring **ret,
                     struct cs_err *err) {
    CS_AUTO(cs_expiring_free) struct cs_expiring *x = calloc(1, sizeof *x);
    if (!x)
        return cs_err_oom(err);
    snprintf(x->name_space, sizeof x->name_space, "%s", name_space);
    x->accounts = calloc(ACCOUNTS_AT_ONCE, sizeof *x->accounts);
    x->found = calloc(MEMBERS_AT_ONCE, sizeof *x->found);
    if (!x->accounts || !x->found)
        return cs_err_oom(err);
    if (!cs_redis_route_new(access, &x->route, err) || !cs_authentic_new(service, log_id, &x->authentic, err))
        return false;
    *ret = CS_TAKE(x);
    return true;
}

void cs_expiring_free(struct cs_expiring *x) {
    if (!x)
        return;
    cs_redis_route_free(x->route);
    cs_authentic_free(x->authentic);
    free(x->accounts);
    free(x->found);
    free(x);
}

// --- days

int64_t cs_expiring_day_ends(int64_t now_s) {
    time_t now = (time_t)now_s;
    struct tm tm;
    if (!localtime_r(&now, &tm))
        return now_s + DAY_S;
    tm.tm_hour = 12;
    tm.tm_min = tm.tm_sec = 0;
    tm.tm_isdst = -1;
    time_t noon = mktime(&tm);
    if (noon > now)
        return noon;
    tm.tm_mday++;
    tm.tm_hour = 12;
    tm.tm_isdst = -1;
    return mktime(&tm);
}

bool cs_expiring_is_due(int64_t ends_s, int64_t before_ms, int64_t now_s) {
    bool days = before_ms > 0 && before_ms % (DAY_S * INT64_C(1000)) == 0;
    return days ? ends_s < cs_expiring_day_ends(now_s) + before_ms / 1000
                : ends_s <= now_s + before_ms / 1000;
}

// --- questions

static bool begin(struct cs_expiring *x, struct cs_err *err) {
    return cs_redis_route_link(x->route, x->partition, &x->link, err);
}

static bool ask(struct cs_expiring *x, redisReply *const **ret, size_t *ret_n, struct cs_err *err) {
    bool ignored = false;
    if (!cs_redis_send(x->link, err) || !cs_redis_route_finish(x->route, ret, ret_n, err))
        return false;
    for (size_t i = 0; i < *ret_n; i++)
        if ((*ret)[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_route_refused(x->route, (*ret)[i], "read which certificates end", &ignored, err);
    return true;
}

static void put_key(struct cs_expiring *x, const char *key) {
    cs_redis_arg_joined(x->link, x->prefix, x->prefix_len, key);
}

static bool find_generation(struct cs_expiring *x, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    x->prefix_len = cs_redis_prefix(x->prefix, x->name_space, x->partition, 0);
    if (!begin(x, err))
        return false;
    cs_redis_command(x->link, 2);
    cs_redis_arg_text(x->link, "GET");
    put_key(x, CS_GENERATION_KEY);
    if (!ask(x, &replies, &n, err))
        return false;
    int64_t generation = replies[0]->type == REDIS_REPLY_STRING ? strtoll(replies[0]->str, NULL, 10) : 1;
    x->prefix_len = cs_redis_prefix(x->prefix, x->name_space, x->partition, generation);
    return true;
}

// A member without its mark, NUL-terminated in out. False: it is not certsync's own.
static bool take_member(struct cs_expiring *x, const redisReply *r, const char *key,
                        char out[CS_STATE_KEY_MAX + CS_MEMBER_MARK_SIZE]) {
    struct cs_err ignored;
    uint64_t secret = 0;
    if (r->type != REDIS_REPLY_STRING || r->len >= CS_STATE_KEY_MAX + CS_MEMBER_MARK_SIZE)
        return false;
    memcpy(out, r->str, r->len);
    out[r->len] = '\0';
    return cs_authentic_member(x->authentic, x->partition, key, out, r->len, &secret, &ignored);
}

// *ret_listed: how many members there were.
static bool read_accounts(struct cs_expiring *x, int64_t from, size_t *ret_n, size_t *ret_listed,
                          struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    cs_key key;
    char member[CS_STATE_KEY_MAX + CS_MEMBER_MARK_SIZE];
    if (!begin(x, err))
        return false;
    cs_redis_command(x->link, 4);
    cs_redis_arg_text(x->link, "ZRANGE");
    put_key(x, cs_key_accounts(key));
    cs_redis_arg_int(x->link, from);
    cs_redis_arg_int(x->link, from + ACCOUNTS_AT_ONCE - 1);
    if (!ask(x, &replies, &n, err))
        return false;
    *ret_n = 0;
    *ret_listed = replies[0]->elements;
    for (size_t i = 0; i < replies[0]->elements && i < ACCOUNTS_AT_ONCE; i++)
        if (take_member(x, replies[0]->element[i], key, member) && cs_account_valid(member, strlen(member)))
            memcpy(x->accounts[(*ret_n)++], member, strlen(member) + 1);
    return true;
}

static void put_range(struct cs_expiring *x, const char *account, int64_t from_s, int64_t to_s,
                      int64_t skip) {
    cs_key key;
    char end[32];
    cs_redis_command(x->link, 8);
    cs_redis_arg_text(x->link, "ZRANGEBYSCORE");
    put_key(x, cs_key_expiry(key, account));
    cs_redis_arg_int(x->link, from_s);
    snprintf(end, sizeof end, "(%" PRId64, to_s);
    cs_redis_arg_text(x->link, end);
    cs_redis_arg_text(x->link, "WITHSCORES");
    cs_redis_arg_text(x->link, "LIMIT");
    cs_redis_arg_int(x->link, skip);
    cs_redis_arg_int(x->link, MEMBERS_AT_ONCE);
}

// "<name>/c/<id>" or "<name>/s/<owner>/<id>".
static bool read_member(const char *account, char *member, int64_t ends_s, struct cs_expiring_one *ret) {
    char *kind = strchr(member, '/');
    *ret = (struct cs_expiring_one){.ends_s = ends_s};
    if (!kind || kind[1] == '\0' || kind[2] != '/')
        return false;
    *kind = '\0';
    char *id = kind + 3;
    if (kind[1] == 's') {
        char *owner = id;
        id = strchr(owner, '/');
        if (!id)
            return false;
        *id++ = '\0';
        snprintf(ret->owner, sizeof ret->owner, "%s", owner);
    }
    snprintf(ret->account, sizeof ret->account, "%s", account);
    snprintf(ret->name, sizeof ret->name, "%s", member);
    snprintf(ret->certificate, sizeof ret->certificate, "%s", id);
    return cs_uuid_valid(id, strlen(id));
}

static void take_range(struct cs_expiring *x, const char *account, const redisReply *r) {
    cs_key key;
    char member[CS_STATE_KEY_MAX + CS_MEMBER_MARK_SIZE];
    x->found_len = 0;
    cs_key_expiry(key, account);
    for (size_t i = 0; i + 1 < r->elements && x->found_len < MEMBERS_AT_ONCE; i += 2)
        if (take_member(x, r->element[i], key, member) &&
            read_member(account, member, (int64_t)strtod(r->element[i + 1]->str, NULL),
                        &x->found[x->found_len]))
            x->found_len++;
}

typedef bool (*each_fn)(void *arg, const struct cs_expiring_one *one, struct cs_err *err);

static bool tell(struct cs_expiring *x, each_fn fn, void *arg, struct cs_err *err) {
    for (size_t i = 0; i < x->found_len; i++)
        if (!fn(arg, &x->found[i], err))
            return false;
    return true;
}

// The rest of an account that has many.
static bool more(struct cs_expiring *x, const char *account, int64_t from_s, int64_t to_s, each_fn fn,
                 void *arg, struct cs_err *err) {
    for (int64_t skip = MEMBERS_AT_ONCE;; skip += MEMBERS_AT_ONCE) {
        redisReply *const *replies = NULL;
        size_t n = 0;
        if (!begin(x, err))
            return false;
        put_range(x, account, from_s, to_s, skip);
        if (!ask(x, &replies, &n, err))
            return false;
        size_t listed = replies[0]->elements / 2;
        take_range(x, account, replies[0]);
        if (!tell(x, fn, arg, err))
            return false;
        if (listed < MEMBERS_AT_ONCE)
            return true;
    }
}

// fn may ask Redis, but not by x.
static bool step(struct cs_expiring *x, size_t n, int64_t from_s, int64_t to_s, each_fn fn, void *arg,
                 struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t answers = 0;
    if (n == 0)
        return true;
    if (!begin(x, err))
        return false;
    for (size_t i = 0; i < n; i++)
        put_range(x, x->accounts[i], from_s, to_s, 0);
    if (!ask(x, &replies, &answers, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        size_t listed = replies[i]->elements / 2;
        take_range(x, x->accounts[i], replies[i]);
        if (!tell(x, fn, arg, err))
            return false;
        // The replies go with the next question: the accounts behind it are asked for anew.
        if (listed >= MEMBERS_AT_ONCE) {
            char account[CS_ACCOUNT_MAX + 1];
            snprintf(account, sizeof account, "%s", x->accounts[i]);
            memmove(x->accounts, x->accounts + i + 1, (n - i - 1) * sizeof *x->accounts);
            return more(x, account, from_s, to_s, fn, arg, err) &&
                   step(x, n - i - 1, from_s, to_s, fn, arg, err);
        }
    }
    return true;
}

bool cs_expiring_each(struct cs_expiring *x, int32_t partition, int64_t from_s, int64_t to_s, each_fn fn,
                      void *arg, struct cs_err *err) {
    size_t listed = ACCOUNTS_AT_ONCE, n = 0;
    x->partition = partition;
    if (!find_generation(x, err))
        return false;
    for (int64_t from = 0; listed == ACCOUNTS_AT_ONCE; from += ACCOUNTS_AT_ONCE)
        if (!read_accounts(x, from, &n, &listed, err) || !step(x, n, from_s, to_s, fn, arg, err))
            return false;
    return true;
}
