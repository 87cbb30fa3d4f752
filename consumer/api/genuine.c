// SPDX-License-Identifier: Apache-2.0
//
// Whatever a call gets from Redis is authenticated here, before the step that asked for it sees it
// (catalog/authentic.h). The keys are those of the question itself, so that no endpoint can forget
// one.
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "catalog/witness_query.h"

// ---- the question

// The arguments of a command ("$3\r\nGET\r\n"...).
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

// The key within the partition, without what comes before it in Redis.
static bool take_key(struct api_asked *asked, struct args *a, size_t prefix_len) {
    struct cs_bytes arg;
    if (!next_arg(a, &arg) || arg.len < prefix_len || arg.len - prefix_len > CS_STATE_KEY_MAX)
        return false;
    cs_buf_put(&asked->keys, arg.data + prefix_len, arg.len - prefix_len);
    cs_buf_putc(&asked->keys, '\0');
    asked->keys_len++;
    return true;
}

static bool unforeseen(struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the API asks Redis in a form that it cannot check");
}

static bool verb_of(struct cs_bytes word, enum api_verb *ret) {
    static const struct {
        const char *word;
        enum api_verb verb;
    } verbs[] = {{"GET", API_GET},
                 {"MGET", API_MGET},
                 {"ZRANGEBYLEX", API_MEMBERS},
                 {"ZRANGEBYSCORE", API_MEMBERS_AND_SCORES},
                 {"ZREVRANGEBYSCORE", API_MEMBERS_AND_SCORES}}; // WITHSCORES
    for (size_t i = 0; i < CS_ARRAY_LEN(verbs); i++) {
        *ret = verbs[i].verb;
        if (cs_bytes_equal(word, (struct cs_bytes){(const uint8_t *)verbs[i].word, strlen(verbs[i].word)}))
            return true;
    }
    return false;
}

bool api_asked_read(struct cs_api *api, struct api_asked *asked, struct cs_err *err) {
    const char *text = (const char *)asked->command.data;
    const char *first = asked->command.len > 0 ? memchr(text, '$', asked->command.len) : NULL;
    struct args args = {first, text + asked->command.len};
    struct cs_bytes word;
    size_t prefix_len = api_prefix(api, asked->partition, asked->beside ? 0 : asked->generation).len;
    cs_buf_reset(&asked->keys);
    asked->keys_len = 0;
    if (!first || !next_arg(&args, &word) || !verb_of(word, &asked->verb) ||
        !take_key(asked, &args, prefix_len))
        return unforeseen(err);
    while (asked->verb == API_MGET && args.at < args.end)
        if (!take_key(asked, &args, prefix_len))
            return unforeseen(err);
    return cs_buf_ok(&asked->keys, err);
}

bool api_asked_witnesses(struct cs_api *api, struct api_asked *asked, bool all, struct cs_err *err) {
    struct cs_witnesses *ws = &asked->witnesses;
    struct cs_bytes ignored;
    const char *key = (const char *)asked->keys.data;
    cs_witnesses_reset(ws);
    int64_t now_ms = cs_clock_mono_ms(api->consumer->clock);
    asked->known = 0;
    if (asked->beside) // nothing witnesses it
        return true;
    for (size_t i = 0; i < asked->keys_len; i++, key += strlen(key) + 1) {
        struct cs_witness *w = NULL;
        if (!cs_witnesses_add(ws, api->authentic, asked->partition, key, &w, err))
            return false;
        w->known =
            !all && asked->seen.stand != 0 &&
            api_known_find(api->known, asked->partition, asked->seen.stand, &w->place, now_ms, &ignored);
        asked->known += w->known;
    }
    return cs_witnesses_sort(ws, err);
}

void api_put_witnesses(struct cs_api *api, const struct api_asked *asked, struct cs_buf *commands) {
    if (api_is_index(asked)) {
        cs_redis_put(commands, 2);
        cs_redis_put_text(commands, "ZCARD");
        api_put_key_of(commands, api, asked->partition, asked->generation, (const char *)asked->keys.data);
    }
    (void)cs_witnesses_ask(&asked->witnesses, api_prefix(api, asked->partition, asked->generation), commands);
}

// ---- the answer

// *doc without its packing. What is unpacked takes the place of what is stored: hiredis lends the reply
// for the time of its callback, and frees its text with free().
static bool unpack(struct cs_api *api, const char *key, redisReply *reply, struct cs_bytes *doc,
                   struct cs_err *err) {
    struct cs_bytes stored = *doc;
    if (!cs_unpack(api->packer, key, stored, doc, err))
        return cs_err_prepend(err, "document %s", key);
    if (doc->data == stored.data)
        return true;
    char *text = malloc(doc->len + 1);
    if (!text)
        return cs_err_oom(err);
    memcpy(text, doc->data, doc->len);
    free(reply->str);
    reply->str = text;
    reply->len = doc->len;
    *doc = (struct cs_bytes){(const uint8_t *)text, doc->len};
    return true;
}

bool api_genuine_doc(struct cs_api *api, int32_t partition, const char *key, const redisReply *reply,
                     struct cs_bytes *ret, struct cs_err *err) {
    *ret = api_bytes(reply);
    return cs_authentic_doc(api->authentic, partition, key, ret, err) &&
           unpack(api, key, (redisReply *)(uintptr_t)reply, ret, err);
}

static bool cut_doc(struct cs_api *api, int32_t partition, const char *key, redisReply *reply,
                    struct cs_bytes witness, struct cs_err *err) {
    struct cs_bytes doc = api_bytes(reply);
    if (!cs_authentic_fact(api->authentic, partition, key, &doc, witness, err))
        return false;
    if (!doc.data)
        return true;
    if (!unpack(api, key, reply, &doc, err))
        return false;
    reply->len = doc.len;
    reply->str[doc.len] = '\0';
    return true;
}

static bool cut_members(struct cs_api *api, const struct api_asked *asked, const redisReply *reply,
                        struct cs_err *err) {
    const char *key = (const char *)asked->keys.data;
    size_t stride = asked->verb == API_MEMBERS_AND_SCORES ? 2 : 1;
    uint64_t ignored = 0;
    for (size_t i = 0; i < api_elements(reply); i += stride) {
        redisReply *member = reply->element[i];
        if (!cs_authentic_member(api->authentic, asked->partition, key, member->str, member->len, &ignored,
                                 err))
            return false;
        member->len -= CS_MEMBER_MARK_LEN;
    }
    return true;
}

// A part of an index was read. Its witness still tells how many members the whole has.
static bool check_count(const struct api_asked *asked, const redisReply *card, struct cs_err *err) {
    const char *key = (const char *)asked->keys.data;
    int64_t number = 0;
    if (card->type != REDIS_REPLY_INTEGER)
        return cs_witness_index_differs(asked->partition, key, err);
    return cs_witness_number(asked->partition, key, asked->witnesses.list[0].value, &number, err) &&
           (CS_WITNESS_COUNT(number) == CS_WITNESS_COUNT((int64_t)card->integer) ||
            cs_witness_index_differs(asked->partition, key, err));
}

// Those that were not asked for. One may have been forgotten meanwhile.
static bool recall(struct cs_api *api, struct api_asked *asked, struct cs_err *err) {
    for (size_t i = 0; asked->known > 0 && i < asked->witnesses.len; i++) {
        struct cs_witness *w = &asked->witnesses.list[i];
        if (w->known &&
            !api_known_recall(api->known, asked->partition, asked->seen.stand, &w->place, &w->value))
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "a witness is not known any more");
    }
    return true;
}

static bool cut_docs(struct cs_api *api, const struct api_asked *asked, const redisReply *reply,
                     struct cs_err *err) {
    const struct cs_witness *w = asked->witnesses.list;
    const char *key = (const char *)asked->keys.data;
    if (asked->verb == API_GET)
        return cut_doc(api, asked->partition, key, (redisReply *)(uintptr_t)reply, w[0].value, err);
    for (size_t i = 0; i < api_elements(reply) && i < asked->witnesses.len; i++, key += strlen(key) + 1)
        if (!cut_doc(api, asked->partition, key, reply->element[i], w[i].value, err))
            return false;
    return true;
}

bool api_genuine(struct cs_api *api, struct api_asked *asked, const redisReply *reply, bool begun,
                 redisReply *const *beside, size_t beside_n, struct cs_err *err) {
    bool index = api_is_index(asked);
    if (index && beside_n == 0)
        return unforeseen(err);
    if (!cs_witnesses_take(&asked->witnesses, asked->partition, begun, beside + index, beside_n - index,
                           err) ||
        !recall(api, asked, err))
        return false;
    if (index)
        return check_count(asked, beside[0], err) && cut_members(api, asked, reply, err);
    return cut_docs(api, asked, reply, err);
}

void api_asked_keep(struct cs_api *api, const struct api_asked *asked, uint64_t stand) {
    int64_t now_ms = cs_clock_mono_ms(api->consumer->clock);
    for (size_t i = 0; stand != 0 && i < asked->witnesses.len; i++) {
        const struct cs_witness *w = &asked->witnesses.list[i];
        if (!w->known)
            api_known_put(api->known, asked->partition, stand, &w->place, now_ms, w->value);
    }
}
