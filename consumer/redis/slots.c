// SPDX-License-Identifier: Apache-2.0
#include "redis/slots.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"

#define NOBODY        UINT16_MAX
#define PRIMARIES_MAX 1024 // a cluster has at most about 1000 nodes

struct cs_redis_map {
    struct cs_redis_target *primaries;
    size_t len, cap;
    uint16_t of_slot[CS_REDIS_SLOTS];
};

uint16_t cs_redis_crc16(const char *data, size_t len) {
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)(uint8_t)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000u) ? (crc << 1 ^ 0x1021u) & 0xffffu : crc << 1 & 0xffffu;
    }
    return (uint16_t)crc;
}

uint16_t cs_redis_slot_of_key(const char *key, size_t len) {
    const char *open = memchr(key, '{', len);
    if (open) {
        size_t rest = len - (size_t)(open + 1 - key);
        const char *close = memchr(open + 1, '}', rest);
        if (close && close > open + 1)
            return cs_redis_crc16(open + 1, (size_t)(close - open - 1)) % CS_REDIS_SLOTS;
    }
    return cs_redis_crc16(key, len) % CS_REDIS_SLOTS;
}

uint16_t cs_redis_slot_of_partition(int32_t partition) {
    char tag[16];
    int n = snprintf(tag, sizeof tag, "%" PRId32, partition);
    return cs_redis_crc16(tag, (size_t)n) % CS_REDIS_SLOTS;
}

bool cs_redis_target_equal(const struct cs_redis_target *a, const struct cs_redis_target *b) {
    return a->transport == b->transport && a->port == b->port && a->database == b->database &&
           strcmp(a->host, b->host) == 0;
}

bool cs_redis_map_new(struct cs_redis_map **ret, struct cs_err *err) {
    struct cs_redis_map *m = calloc(1, sizeof *m);
    if (!m)
        return cs_err_oom(err);
    memset(m->of_slot, 0xff, sizeof m->of_slot); // NOBODY
    *ret = m;
    return true;
}

void cs_redis_map_free(struct cs_redis_map *m) {
    if (!m)
        return;
    free(m->primaries);
    free(m);
}

size_t cs_redis_map_len(const struct cs_redis_map *m) {
    return m->len;
}

const struct cs_redis_target *cs_redis_map_at(const struct cs_redis_map *m, size_t i) {
    return &m->primaries[i];
}

int cs_redis_map_of_slot(const struct cs_redis_map *m, uint16_t slot) {
    uint16_t i = m->of_slot[slot % CS_REDIS_SLOTS];
    return i == NOBODY ? -1 : i;
}

static bool add_primary(struct cs_redis_map *m, const struct cs_redis_target *t, uint16_t *ret,
                        struct cs_err *err) {
    for (size_t i = 0; i < m->len; i++)
        if (cs_redis_target_equal(&m->primaries[i], t)) {
            *ret = (uint16_t)i;
            return true;
        }
    if (m->len == PRIMARIES_MAX)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the Redis Cluster names more than %d primaries",
                          PRIMARIES_MAX);
    if (!CS_GROW(&m->primaries, &m->cap, m->len + 1))
        return cs_err_oom(err);
    m->primaries[m->len] = *t;
    *ret = (uint16_t)m->len++;
    return true;
}

bool cs_redis_map_copy(const struct cs_redis_map *m, struct cs_redis_map **ret, struct cs_err *err) {
    CS_AUTO(cs_redis_map_free) struct cs_redis_map *copy = NULL;
    uint16_t ignored = 0;
    if (!cs_redis_map_new(&copy, err))
        return false;
    for (size_t i = 0; i < m->len; i++) // in the same order: the indexes must stay right
        if (!add_primary(copy, &m->primaries[i], &ignored, err))
            return false;
    memcpy(copy->of_slot, m->of_slot, sizeof copy->of_slot);
    *ret = CS_TAKE(copy);
    return true;
}

bool cs_redis_map_set_one(struct cs_redis_map *m, const struct cs_redis_target *t, struct cs_err *err) {
    uint16_t i = 0;
    m->len = 0;
    if (!add_primary(m, t, &i, err))
        return false;
    memset(m->of_slot, 0, sizeof m->of_slot);
    return true;
}

// host and port of a node. An empty host means the node that answers. "?" means no host.
static bool node_target(const char *host, size_t host_len, long long port, const struct cs_redis_target *from,
                        struct cs_redis_target *ret) {
    struct cs_redis_target t = *from;
    if (port < 1 || port > 65535 || host_len >= sizeof t.host || (host_len == 1 && host[0] == '?'))
        return false;
    if (host_len > 0) {
        memcpy(t.host, host, host_len);
        t.host[host_len] = '\0';
    }
    t.port = (int)port;
    *ret = t;
    return true;
}

// [first slot, last slot, [host, port, …] of the primary, those of the replicas…]
static bool take_range(struct cs_redis_map *m, const redisReply *range, const struct cs_redis_target *from,
                       struct cs_err *err) {
    struct cs_redis_target t;
    uint16_t index = 0;
    if (range->type != REDIS_REPLY_ARRAY || range->elements < 3 ||
        range->element[0]->type != REDIS_REPLY_INTEGER || range->element[1]->type != REDIS_REPLY_INTEGER)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "CLUSTER SLOTS has another form than is known");
    long long first = range->element[0]->integer;
    long long last = range->element[1]->integer;
    const redisReply *node = range->element[2];
    bool known = node->type == REDIS_REPLY_ARRAY && node->elements >= 2 &&
                 node->element[1]->type == REDIS_REPLY_INTEGER;
    const redisReply *host = known ? node->element[0] : NULL;
    if (!known || !node_target(host->str ? host->str : "", host->str ? (size_t)host->len : 0,
                               node->element[1]->integer, from, &t))
        return true; // a node without an address: nobody has its slots
    if (!add_primary(m, &t, &index, err))
        return false;
    for (long long s = first < 0 ? 0 : first; s <= last && s < CS_REDIS_SLOTS; s++)
        m->of_slot[s] = index;
    return true;
}

bool cs_redis_map_set_slots(struct cs_redis_map *m, const redisReply *slots,
                            const struct cs_redis_target *from, struct cs_err *err) {
    if (slots->type != REDIS_REPLY_ARRAY)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "CLUSTER SLOTS has another form than is known");
    m->len = 0;
    memset(m->of_slot, 0xff, sizeof m->of_slot); // NOBODY
    for (size_t i = 0; i < slots->elements; i++)
        if (!take_range(m, slots->element[i], from, err))
            return false;
    return m->len > 0 || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                    "no node of the Redis Cluster holds a slot yet; is it created?");
}

bool cs_redis_redirect_parse(const char *error, const struct cs_redis_target *from,
                             struct cs_redis_redirect *ret) {
    struct cs_redis_redirect r = {.ask = strncmp(error, "ASK ", 4) == 0};
    if (!r.ask && strncmp(error, "MOVED ", 6) != 0)
        return false;
    const char *at = error + (r.ask ? 4 : 6);
    char *end = NULL;
    long slot = strtol(at, &end, 10);
    if (end == at || *end != ' ' || slot < 0 || slot >= CS_REDIS_SLOTS)
        return false;
    const char *host = end + 1;
    const char *colon = strrchr(host, ':');
    if (!colon)
        return false;
    long long port = strtoll(colon + 1, &end, 10);
    size_t host_len = (size_t)(colon - host);
    if (host_len >= 2 && host[0] == '[' && host[host_len - 1] == ']') {
        host++;
        host_len -= 2;
    }
    r.slot = (uint16_t)slot;
    if (end == colon + 1 || (*end != '\0' && *end != ' ') || !node_target(host, host_len, port, from, &r.to))
        return false;
    *ret = r;
    return true;
}

bool cs_redis_map_move(struct cs_redis_map *m, const struct cs_redis_redirect *moved, struct cs_err *err) {
    uint16_t i = 0;
    if (!add_primary(m, &moved->to, &i, err))
        return false;
    m->of_slot[moved->slot] = i;
    return true;
}
