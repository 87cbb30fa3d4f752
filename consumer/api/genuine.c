// SPDX-License-Identifier: Apache-2.0
//
// Whatever a call gets from Redis is authenticated here, before the step that asked for it sees it
// (catalog/authentic.h). The keys are those of the question itself, so that no endpoint can forget
// one.
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/runtime/log.h"
#include "redis/key.h"

// The arguments of a command as the question has them ("$3\r\nGET\r\n"...).
struct args {
    const char *at, *end;
};

static bool next_arg(struct args *a, struct cs_bytes *ret) {
    char *rest = NULL;
    if (a->end - a->at < 4 || *a->at != '$')
        return false;
    size_t len = strtoul(a->at + 1, &rest, 10);
    if (a->end - rest < 4 || len > (size_t)(a->end - rest) - 4)
        return false;
    *ret = (struct cs_bytes){(const uint8_t *)rest + 2, len};
    a->at = rest + 2 + len + 2;
    return true;
}

static bool is(struct cs_bytes arg, const char *word) {
    return cs_bytes_equal(arg, (struct cs_bytes){(const uint8_t *)word, strlen(word)});
}

// The key within the partition, without what comes before it in Redis.
static bool next_key(struct args *a, size_t prefix_len, cs_key ret) {
    struct cs_bytes arg;
    if (!next_arg(a, &arg) || arg.len < prefix_len || arg.len - prefix_len > CS_STATE_KEY_MAX)
        return false;
    memcpy(ret, arg.data + prefix_len, arg.len - prefix_len);
    ret[arg.len - prefix_len] = '\0';
    return true;
}

bool api_genuine_doc(struct cs_api *api, int32_t partition, const char *key, const redisReply *reply,
                     struct cs_bytes *ret, struct cs_err *err) {
    *ret = api_bytes(reply);
    return cs_authentic_doc(api->authentic, partition, key, ret, err);
}

// ---- what is asked along

struct question {
    struct args args; // after the first key
    size_t prefix_len;
    struct cs_bytes verb;
    cs_key key;
};

static bool unforeseen(struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the API asks Redis in a form that it cannot check");
}

static bool read_question(const struct cs_api *api, const struct api_asked *asked, struct question *ret,
                          struct cs_err *err) {
    char prefix[CS_PREFIX_MAX];
    const char *text = (const char *)asked->command.data, *end = text + asked->command.len;
    const char *first = memchr(text, '$', asked->command.len);
    ret->prefix_len = cs_redis_prefix(prefix, api->consumer->settings->redis_namespace, asked->partition,
                                      asked->generation);
    ret->args = (struct args){first ? first : end, end};
    return (next_arg(&ret->args, &ret->verb) && next_key(&ret->args, ret->prefix_len, ret->key)) ||
           unforeseen(err);
}

static void put_bucket(const struct cs_api *api, const struct api_asked *asked, unsigned bucket,
                       struct cs_buf *commands) {
    size_t n = cs_witnesses_of(&asked->witnesses, bucket);
    char key[CS_WITNESS_KEY_SIZE];
    if (n == 0)
        return;
    cs_witness_key(key, bucket);
    cs_redis_put(commands, 3 + n);
    cs_redis_put_text(commands, "HMGET");
    api_put_key_of(commands, api, asked->partition, asked->generation, key);
    cs_redis_put_text(commands, CS_WITNESS_SENTINEL);
    for (size_t i = 0; i < n; i++) {
        const struct cs_witness *w = cs_witnesses_at(&asked->witnesses, bucket, i);
        cs_redis_put_arg(commands, w->place.name, sizeof w->place.name);
    }
}

bool api_put_witnesses(struct cs_api *api, struct api_asked *asked, struct cs_buf *commands,
                       struct cs_err *err) {
    struct question q;
    struct cs_witnesses *ws = &asked->witnesses;
    cs_witnesses_reset(ws);
    if (!read_question(api, asked, &q, err))
        return false;
    asked->one = is(q.verb, "GET");
    asked->index = !asked->one && !is(q.verb, "MGET");
    do {
        if (!cs_witnesses_add(ws, api->authentic, asked->partition, q.key, NULL, err))
            return false;
    } while (!asked->index && next_key(&q.args, q.prefix_len, q.key));
    if (!cs_witnesses_sort(ws, err))
        return false;
    if (asked->index) {
        cs_redis_put(commands, 2);
        cs_redis_put_text(commands, "ZCARD");
        api_put_key_of(commands, api, asked->partition, asked->generation, q.key);
    }
    for (unsigned b = 0; b < CS_WITNESS_BUCKETS; b++)
        put_bucket(api, asked, b, commands);
    return true;
}

// ---- what is answered

static bool take_witnesses(struct api_asked *asked, bool begun, redisReply *const *beside, size_t n,
                           struct cs_err *err) {
    size_t at = 0;
    for (unsigned b = 0; b < CS_WITNESS_BUCKETS; b++) {
        size_t entries = cs_witnesses_of(&asked->witnesses, b);
        if (entries == 0)
            continue;
        if (at >= n || api_elements(beside[at]) != entries + 1)
            return cs_err_set(err, CS_ERR_DAMAGED, CS_CODE_NONE,
                              "the catalog in Redis is damaged: a witness of partition %d cannot be read",
                              (int)asked->partition);
        redisReply *const *values = beside[at++]->element;
        if (!cs_witness_sentinel(asked->partition, b, api_bytes(values[0]), begun, err))
            return false;
        for (size_t i = 0; i < entries; i++)
            cs_witnesses_at(&asked->witnesses, b, i)->value = api_bytes(values[i + 1]);
    }
    return true;
}

// hiredis lends the reply for the time of its callback: it may be shortened where it lies.
static bool cut_doc(struct cs_api *api, int32_t partition, const char *key, redisReply *reply,
                    struct cs_bytes witness, struct cs_err *err) {
    struct cs_bytes doc = api_bytes(reply);
    if (!cs_authentic_fact(api->authentic, partition, key, &doc, witness, err))
        return false;
    if (!doc.data)
        return true;
    reply->len = doc.len;
    reply->str[doc.len] = '\0';
    return true;
}

static bool cut_members(struct cs_api *api, int32_t partition, const char *key, const redisReply *reply,
                        size_t stride, struct cs_err *err) {
    uint64_t ignored = 0;
    for (size_t i = 0; i < api_elements(reply); i += stride) {
        redisReply *member = reply->element[i];
        if (!cs_authentic_member(api->authentic, partition, key, member->str, member->len, &ignored, err))
            return false;
        member->len -= CS_MEMBER_MARK_LEN;
    }
    return true;
}

// A part of an index was read. Its witness still tells how many members the whole has.
static bool check_count(const struct api_asked *asked, const char *key, const redisReply *card,
                        struct cs_err *err) {
    int64_t number = 0;
    if (card->type != REDIS_REPLY_INTEGER)
        return cs_witness_index_differs(asked->partition, key, err);
    return cs_witness_number(asked->partition, key, asked->witnesses.list[0].value, &number, err) &&
           (CS_WITNESS_COUNT(number) == CS_WITNESS_COUNT((int64_t)card->integer) ||
            cs_witness_index_differs(asked->partition, key, err));
}

static bool genuine_index(struct cs_api *api, const struct api_asked *asked, const struct question *q,
                          const redisReply *reply, const redisReply *card, struct cs_err *err) {
    if (!check_count(asked, q->key, card, err))
        return false;
    if (is(q->verb, "ZRANGEBYLEX"))
        return cut_members(api, asked->partition, q->key, reply, 1, err);
    if (is(q->verb, "ZRANGEBYSCORE") || is(q->verb, "ZREVRANGEBYSCORE")) // WITHSCORES
        return cut_members(api, asked->partition, q->key, reply, 2, err);
    return unforeseen(err);
}

bool api_genuine(struct cs_api *api, struct api_asked *asked, const redisReply *reply, bool begun,
                 redisReply *const *beside, size_t beside_n, struct cs_err *err) {
    struct question q;
    const struct cs_witness *w = asked->witnesses.list;
    if (!read_question(api, asked, &q, err))
        return false;
    if (asked->index && beside_n == 0)
        return unforeseen(err);
    if (!take_witnesses(asked, begun, beside + asked->index, beside_n - asked->index, err))
        return false;
    if (asked->index)
        return genuine_index(api, asked, &q, reply, beside[0], err);
    if (asked->one)
        return cut_doc(api, asked->partition, q.key, (redisReply *)(uintptr_t)reply, w[0].value, err);
    for (size_t i = 0; i < api_elements(reply) && i < asked->witnesses.len; i++) {
        if (i > 0 && !next_key(&q.args, q.prefix_len, q.key))
            return unforeseen(err);
        if (!cut_doc(api, asked->partition, q.key, reply->element[i], w[i].value, err))
            return false;
    }
    return true;
}
