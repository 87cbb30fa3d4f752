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

// hiredis lends the reply for the time of its callback: it may be shortened where it lies.
static bool cut_doc(struct cs_api *api, int32_t partition, const char *key, redisReply *reply,
                    struct cs_err *err) {
    struct cs_bytes doc;
    if (!api_genuine_doc(api, partition, key, reply, &doc, err))
        return false;
    if (!doc.data)
        return true;
    reply->len = doc.len;
    reply->str[doc.len] = '\0';
    return true;
}

static bool cut_members(struct cs_api *api, int32_t partition, const char *key, const redisReply *reply,
                        size_t stride, struct cs_err *err) {
    for (size_t i = 0; i < api_elements(reply); i += stride) {
        redisReply *member = reply->element[i];
        if (!cs_authentic_member(api->authentic, partition, key, member->str, member->len, err))
            return false;
        member->len -= CS_MEMBER_MARK_LEN;
    }
    return true;
}

static bool unforeseen(struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the API asks Redis in a form that it cannot check");
}

bool api_genuine(struct cs_api *api, const struct api_asked *asked, const redisReply *reply,
                 struct cs_err *err) {
    char prefix[CS_PREFIX_MAX];
    size_t prefix_len = cs_redis_prefix(prefix, api->consumer->settings->redis_namespace, asked->partition,
                                        asked->generation);
    const char *text = (const char *)asked->command.data, *end = text + asked->command.len;
    const char *first = memchr(text, '$', asked->command.len);
    struct args args = {first ? first : end, end};
    struct cs_bytes verb;
    cs_key key;
    if (!next_arg(&args, &verb) || !next_key(&args, prefix_len, key))
        return unforeseen(err);
    if (is(verb, "GET"))
        return cut_doc(api, asked->partition, key, (redisReply *)(uintptr_t)reply, err);
    if (is(verb, "ZRANGEBYLEX"))
        return cut_members(api, asked->partition, key, reply, 1, err);
    if (is(verb, "ZRANGEBYSCORE") || is(verb, "ZREVRANGEBYSCORE")) // WITHSCORES
        return cut_members(api, asked->partition, key, reply, 2, err);
    if (!is(verb, "MGET"))
        return unforeseen(err);
    for (size_t i = 0; i < api_elements(reply); i++) {
        if (i > 0 && !next_key(&args, prefix_len, key))
            return unforeseen(err);
        if (!cut_doc(api, asked->partition, key, reply->element[i], err))
            return false;
    }
    return true;
}
