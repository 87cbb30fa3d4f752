// SPDX-License-Identifier: Apache-2.0
#include "catalog/changes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/authentic.h"
#include "redis/key.h"
#include "redis/route.h"

struct cs_changes {
    struct cs_redis_route *route;
    struct cs_authentic *authentic;
    char name_space[CS_NAMESPACE_MAX];
};

const char *cs_changes_key(cs_key ret, unsigned place) {
    snprintf(ret, sizeof(cs_key), CS_CHANGES_PREFIX "%u", place);
    return ret;
}

static bool put_key(void *arg, const struct cs_change *change) {
    struct cs_buf *out = arg;
    bool document = change->kind == CS_CHANGE_PUT || change->kind == CS_CHANGE_DELETE;
    if (document && (cs_key_is(change->key, CS_KIND_CERT) || cs_key_is(change->key, CS_KIND_SHARED_IN)))
        cs_buf_printf(out, "%s\n", change->key);
    return true;
}

void cs_changes_encode(struct cs_buf *out, int64_t generation, int64_t from, int64_t to,
                       const struct cs_state *state) {
    cs_buf_printf(out, "%" PRId64 " %" PRId64 " %" PRId64 "\n", generation, from, to);
    cs_state_changes(state, put_key, out);
}

bool cs_changes_new(const struct cs_redis_access *access, const char *name_space,
                    const struct cs_privkey *service, const char *log_id, struct cs_changes **ret,
                    struct cs_err *err) {
    CS_AUTO(cs_changes_free) struct cs_changes *c = calloc(1, sizeof *c);
    if (!c)
        return cs_err_oom(err);
    snprintf(c->name_space, sizeof c->name_space, "%s", name_space);
    if (!cs_redis_route_new(access, &c->route, err) || !cs_authentic_new(service, log_id, &c->authentic, err))
        return false;
    *ret = CS_TAKE(c);
    return true;
}

void cs_changes_free(struct cs_changes *c) {
    if (!c)
        return;
    cs_redis_route_free(c->route);
    cs_authentic_free(c->authentic);
    free(c);
}

struct entry {
    int64_t generation, from, to;
    struct cs_bytes keys; // each with a line end
};

static bool read_entry(struct cs_changes *c, int32_t partition, unsigned place, const redisReply *r,
                       struct entry *ret) {
    int used = 0;
    cs_key key;
    if (r->type != REDIS_REPLY_STRING)
        return false;
    struct cs_bytes text = {(const uint8_t *)r->str, r->len};
    // The reply ends with a NUL, so the numbers' end is found.
    if (!cs_authentic_beside(c->authentic, partition, cs_changes_key(key, place), &text) ||
        sscanf((const char *)text.data, "%" SCNd64 " %" SCNd64 " %" SCNd64 "%n", &ret->generation, &ret->from,
               &ret->to, &used) != 3 ||
        (size_t)used >= text.len)
        return false;
    used++; // the line's end
    ret->keys = (struct cs_bytes){text.data + used, text.len - (size_t)used};
    return true;
}

static void take_keys(struct cs_buf *out, struct cs_bytes keys) {
    for (size_t i = 0; i < keys.len; i++)
        cs_buf_putc(out, keys.data[i] == '\n' ? '\0' : (char)keys.data[i]);
}

static bool ask(struct cs_changes *c, int32_t partition, const redisReply **ret, struct cs_err *err) {
    struct cs_redis_link *link = NULL;
    redisReply *const *replies = NULL;
    char prefix[CS_PREFIX_MAX];
    cs_key key;
    size_t n = 0;
    bool ignored = false;
    if (!cs_redis_route_link(c->route, partition, &link, err))
        return false;
    size_t prefix_len = cs_redis_prefix(prefix, c->name_space, partition, 0);
    cs_redis_command(link, 1 + CS_CHANGES_KEPT);
    cs_redis_arg_text(link, "MGET");
    for (unsigned i = 0; i < CS_CHANGES_KEPT; i++)
        cs_redis_arg_joined(link, prefix, prefix_len, cs_changes_key(key, i));
    if (!cs_redis_send(link, err) || !cs_redis_route_finish(c->route, &replies, &n, err))
        return false;
    if (replies[0]->type == REDIS_REPLY_ERROR)
        return cs_redis_route_refused(c->route, replies[0], "read what changed", &ignored, err);
    *ret = replies[0];
    return true;
}

static int by_end(const void *a, const void *b) {
    const struct entry *x = a, *y = b;
    return x->to < y->to ? -1 : x->to > y->to;
}

bool cs_changes_since(struct cs_changes *c, int32_t partition, int64_t generation, int64_t *at,
                      struct cs_buf *keys, struct cs_err *err) {
    const redisReply *list = NULL;
    struct entry entries[CS_CHANGES_KEPT];
    size_t n = 0;
    if (!ask(c, partition, &list, err))
        return false;
    for (unsigned i = 0; i < CS_CHANGES_KEPT && i < list->elements; i++) {
        struct entry *e = &entries[n];
        n += read_entry(c, partition, i, list->element[i], e) && e->generation == generation && e->to > *at;
    }
    qsort(entries, n, sizeof entries[0], by_end);
    for (size_t i = 0; i < n && entries[i].from <= *at; i++) {
        take_keys(keys, entries[i].keys);
        *at = entries[i].to;
    }
    return cs_buf_ok(keys, err);
}
