// SPDX-License-Identifier: Apache-2.0
#include "catalog/witness_query.h"

#include <string.h>

#include "redis/command.h"

size_t cs_witnesses_ask(const struct cs_witnesses *ws, struct cs_bytes prefix, struct cs_buf *commands) {
    size_t asked = 0;
    for (unsigned b = 0; b < CS_WITNESS_BUCKETS; b++) {
        size_t n = cs_witnesses_of(ws, b);
        char key[CS_WITNESS_KEY_SIZE];
        if (n == 0)
            continue;
        cs_witness_key(key, b);
        cs_redis_put(commands, 3 + n);
        cs_redis_put_text(commands, "HMGET");
        cs_redis_put_joined(commands, prefix, (struct cs_bytes){(const uint8_t *)key, strlen(key)});
        cs_redis_put_text(commands, CS_WITNESS_SENTINEL);
        for (size_t i = 0; i < n; i++) {
            const struct cs_witness *w = cs_witnesses_at(ws, b, i);
            cs_redis_put_arg(commands, w->place.name, sizeof w->place.name);
        }
        asked++;
    }
    return asked;
}

static struct cs_bytes bytes_of(const redisReply *r) {
    if (r->type != REDIS_REPLY_STRING)
        return (struct cs_bytes){0};
    return (struct cs_bytes){(const uint8_t *)r->str, r->len};
}

bool cs_witnesses_take(struct cs_witnesses *ws, int32_t partition, bool begun, redisReply *const *replies,
                       size_t n, struct cs_err *err) {
    size_t at = 0;
    for (unsigned b = 0; b < CS_WITNESS_BUCKETS; b++) {
        size_t entries = cs_witnesses_of(ws, b);
        char key[CS_WITNESS_KEY_SIZE];
        if (entries == 0)
            continue;
        const redisReply *r = at < n ? replies[at++] : NULL;
        if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != entries + 1) {
            cs_witness_key(key, b);
            return cs_authentic_damaged(err, partition, "key", key, "cannot be read");
        }
        if (!cs_witness_sentinel(partition, b, bytes_of(r->element[0]), begun, err))
            return false;
        for (size_t i = 0; i < entries; i++)
            cs_witnesses_at(ws, b, i)->value = bytes_of(r->element[i + 1]);
    }
    return true;
}
