// SPDX-License-Identifier: Apache-2.0
#include "catalog/heard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/authentic.h"
#include "redis/key.h"
#include "redis/route.h"

#define DOC_MAX 1024 // bytes of a document: a version is at most CS_NAME_MAX characters

struct cs_heard_store {
    struct cs_redis_route *route;
    struct cs_authentic *authentic;
    struct cs_buf doc;
    char name_space[CS_NAMESPACE_MAX];
    // The partition of the question under way:
    int32_t partition;
    struct cs_redis_link *link;
    char prefix[CS_PREFIX_MAX];
    size_t prefix_len;
};

const char *cs_heard_key(cs_key ret, const char *account, const char *kid) {
    snprintf(ret, sizeof(cs_key), CS_BEAT_PREFIX "%s/%s", account, kid);
    return ret;
}

bool cs_heard_take(struct cs_authentic *a, int32_t partition, const char *account, const char *kid,
                   struct cs_bytes value, struct cs_heard *ret) {
    cs_key key;
    struct cs_err ignored;
    return cs_authentic_beside(a, partition, cs_heard_key(key, account, kid), &value) &&
           cs_heard_decode(value, ret, &ignored);
}

bool cs_heard_store_new(const struct cs_redis_access *access, const char *name_space,
                        const struct cs_privkey *service, const char *log_id, struct cs_heard_store **ret,
                        struct cs_err *err) {
    CS_AUTO(cs_heard_store_free) struct cs_heard_store *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    cs_buf_init(&s->doc, DOC_MAX);
    snprintf(s->name_space, sizeof s->name_space, "%s", name_space);
    if (!cs_redis_route_new(access, &s->route, err) || !cs_authentic_new(service, log_id, &s->authentic, err))
        return false;
    *ret = CS_TAKE(s);
    return true;
}

void cs_heard_store_free(struct cs_heard_store *s) {
    if (!s)
        return;
    cs_redis_route_free(s->route);
    cs_authentic_free(s->authentic);
    cs_buf_clear(&s->doc);
    free(s);
}

// --- questions

static bool begin(struct cs_heard_store *s, int32_t partition, struct cs_err *err) {
    s->partition = partition;
    s->prefix_len = cs_redis_prefix(s->prefix, s->name_space, partition, 0);
    return cs_redis_route_link(s->route, partition, &s->link, err);
}

static void put_key(struct cs_heard_store *s, const char *key) {
    cs_redis_arg_joined(s->link, s->prefix, s->prefix_len, key);
}

static void put_command(struct cs_heard_store *s, size_t args, const char *name, const char *key) {
    cs_redis_command(s->link, args);
    cs_redis_arg_text(s->link, name);
    put_key(s, key);
}

static bool ask(struct cs_heard_store *s, const char *what, redisReply *const **ret, struct cs_err *err) {
    size_t n = 0;
    bool ignored = false;
    if (!cs_redis_send(s->link, err) || !cs_redis_route_finish(s->route, ret, &n, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if ((*ret)[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_route_refused(s->route, (*ret)[i], what, &ignored, err);
    return true;
}

static struct cs_bytes bytes_of(const redisReply *r) {
    if (r->type != REDIS_REPLY_STRING)
        return (struct cs_bytes){0};
    return (struct cs_bytes){(const uint8_t *)r->str, r->len};
}

bool cs_heard_read(struct cs_heard_store *s, int32_t partition, struct cs_heard_host *hosts, size_t n,
                   struct cs_err *err) {
    redisReply *const *replies = NULL;
    cs_key key;
    if (n == 0)
        return true;
    if (!begin(s, partition, err))
        return false;
    cs_redis_command(s->link, 1 + n);
    cs_redis_arg_text(s->link, "MGET");
    for (size_t i = 0; i < n; i++)
        put_key(s, cs_heard_key(key, hosts[i].account, hosts[i].kid));
    if (!ask(s, "read heartbeats", &replies, err))
        return false;
    const redisReply *all = replies[0];
    for (size_t i = 0; i < n; i++)
        hosts[i].known =
            i < all->elements && cs_heard_take(s->authentic, partition, hosts[i].account, hosts[i].kid,
                                               bytes_of(all->element[i]), &hosts[i].heard);
    return true;
}

static bool put_host(struct cs_heard_store *s, const struct cs_heard_host *h, struct cs_err *err) {
    uint8_t mark[CS_MARK_LEN];
    cs_key key, member;
    cs_buf_reset(&s->doc);
    cs_heard_encode(&s->doc, &h->heard);
    struct cs_bytes doc = {s->doc.data, s->doc.len};
    if (!cs_buf_ok(&s->doc, err) ||
        !cs_authentic_beside_mark(s->authentic, s->partition, cs_heard_key(key, h->account, h->kid), doc,
                                  mark, err))
        return false;
    put_command(s, 5, "SET", key);
    cs_redis_arg_marked(s->link, doc, (struct cs_bytes){mark, sizeof mark});
    cs_redis_arg_text(s->link, "PX");
    cs_redis_arg_int(s->link, CS_HEARD_FOR_MS);
    put_command(s, 4, "ZADD", CS_BEATS_KEY);
    cs_redis_arg_int(s->link, h->heard.at_ms);
    cs_redis_arg_text(s->link, cs_member_pair(member, h->account, h->kid));
    return true;
}

bool cs_heard_write(struct cs_heard_store *s, int32_t partition, const struct cs_heard_host *hosts, size_t n,
                    struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t some = 0;
    for (size_t i = 0; i < n; i++)
        some += hosts[i].known;
    if (some == 0)
        return true;
    if (!begin(s, partition, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (hosts[i].known && !put_host(s, &hosts[i], err)) {
            cs_redis_close(s->link);
            return false;
        }
    return ask(s, "write heartbeats", &replies, err);
}

bool cs_heard_forget(struct cs_heard_store *s, int32_t partition, const struct cs_heard_host *hosts, size_t n,
                     struct cs_err *err) {
    redisReply *const *replies = NULL;
    cs_key text;
    if (n == 0)
        return true;
    if (!begin(s, partition, err))
        return false;
    cs_redis_command(s->link, 1 + n);
    cs_redis_arg_text(s->link, "UNLINK");
    for (size_t i = 0; i < n; i++)
        put_key(s, cs_heard_key(text, hosts[i].account, hosts[i].kid));
    put_command(s, 2 + n, "ZREM", CS_BEATS_KEY);
    for (size_t i = 0; i < n; i++)
        cs_redis_arg_text(s->link, cs_member_pair(text, hosts[i].account, hosts[i].kid));
    return ask(s, "forget heartbeats", &replies, err);
}

bool cs_heard_reset(struct cs_heard_store *s, int32_t partition, struct cs_err *err) {
    redisReply *const *replies = NULL;
    if (!begin(s, partition, err))
        return false;
    put_command(s, 2, "UNLINK", CS_BEATS_KEY);
    return ask(s, "make the list of who was heard anew", &replies, err);
}

// --- the index

static bool read_member(struct cs_bytes member, struct cs_heard_host *ret) {
    const char *text = (const char *)member.data, *slash = memchr(text, '/', member.len);
    size_t len = slash ? (size_t)(slash - text) : 0, kid_len = slash ? member.len - len - 1 : 0;
    if (!slash || !cs_account_valid(text, len) || !cs_kid_valid(slash + 1, kid_len))
        return false;
    *ret = (struct cs_heard_host){.known = false};
    memcpy(ret->account, text, len);
    memcpy(ret->kid, slash + 1, kid_len);
    return true;
}

struct listed {
    bool named; // the member is a host's name, and at `at` of the hosts
    size_t at;
    int64_t score;
    struct cs_bytes member; // owned; anybody may have written it
};

static void listed_clear(struct listed *list, size_t n) {
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)list[i].member.data);
}

static bool read_index(struct cs_heard_store *s, size_t from, struct listed *list, size_t *ret_n,
                       struct cs_heard_host *hosts, size_t *ret_hosts, struct cs_err *err) {
    redisReply *const *replies = NULL;
    put_command(s, 5, "ZRANGE", CS_BEATS_KEY);
    cs_redis_arg_int(s->link, (int64_t)from);
    cs_redis_arg_int(s->link, (int64_t)(from + CS_HEARD_MAX) - 1);
    cs_redis_arg_text(s->link, "WITHSCORES");
    if (!ask(s, "read who was heard", &replies, err))
        return false;
    const redisReply *all = replies[0];
    size_t n = all->type == REDIS_REPLY_ARRAY ? all->elements / 2 : 0;
    for (size_t i = 0; i < n && i < CS_HEARD_MAX; i++) {
        struct listed *l = &list[*ret_n];
        const redisReply *member = all->element[2 * i];
        uint8_t *copy = malloc(member->len + 1);
        if (!copy)
            return cs_err_oom(err);
        memcpy(copy, member->str, member->len);
        *l = (struct listed){.member = {copy, member->len},
                             .score = (int64_t)strtod(all->element[2 * i + 1]->str, NULL),
                             .at = *ret_hosts};
        ++*ret_n;
        l->named = read_member(l->member, &hosts[*ret_hosts]);
        *ret_hosts += l->named;
    }
    return true;
}

// Who has no document leaves the index. Who has one has its time there.
static bool mend_index(struct cs_heard_store *s, const struct listed *list, size_t n,
                       const struct cs_heard_host *hosts, size_t *ret_gone, struct cs_err *err) {
    redisReply *const *replies = NULL;
    bool any = false;
    if (!begin(s, s->partition, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct cs_heard_host *h = list[i].named ? &hosts[list[i].at] : NULL;
        bool gone = !h || !h->known;
        *ret_gone += gone;
        if (!gone && h->heard.at_ms == list[i].score)
            continue;
        any = true;
        put_command(s, gone ? 3 : 4, gone ? "ZREM" : "ZADD", CS_BEATS_KEY);
        if (!gone)
            cs_redis_arg_int(s->link, h->heard.at_ms);
        cs_redis_arg(s->link, list[i].member);
    }
    return !any || ask(s, "put the list of who was heard right", &replies, err);
}

static size_t keep_known(struct cs_heard_host *hosts, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (hosts[i].known)
            hosts[kept++] = hosts[i];
    return kept;
}

bool cs_heard_list(struct cs_heard_store *s, int32_t partition, size_t from,
                   struct cs_heard_host hosts[CS_HEARD_MAX], size_t *ret_n, size_t *ret_listed,
                   size_t *ret_gone, struct cs_err *err) {
    struct listed list[CS_HEARD_MAX];
    size_t n = 0, named = 0;
    *ret_gone = 0;
    if (!begin(s, partition, err))
        return false;
    bool ok = read_index(s, from, list, &n, hosts, &named, err) &&
              cs_heard_read(s, partition, hosts, named, err) && mend_index(s, list, n, hosts, ret_gone, err);
    listed_clear(list, n);
    *ret_n = ok ? keep_known(hosts, named) : 0;
    *ret_listed = n;
    return ok;
}
