// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/secret.h"
#include "certsync/runtime/log.h"

#define RETRY_AFTER_S "1"
#define RESTARTS_MAX  5 // promotions that one call survives

int64_t api_now_s(const struct cs_api *api) {
    return cs_clock_wall_ms(api->consumer->clock) / 1000;
}

static void release(struct api_call *call) {
    if (call->state)
        call->state_free(call->state);
    cs_buf_clear(&call->asked.command);
    cs_buf_clear(&call->asked.keys);
    cs_witnesses_free(&call->asked.witnesses);
    free(call);
}

static void call_free(struct api_call *call) {
    if (call->prev)
        call->prev->list_next = call->list_next;
    else
        call->api->calls = call->list_next;
    if (call->list_next)
        call->list_next->prev = call->prev;
    release(call);
}

void api_call_settle(struct api_call *call) {
    if (!call->req && !call->next && !call->waiter && !call->older && !call->search)
        call_free(call);
}

void api_calls_free(struct cs_api *api) {
    for (struct api_call *call = CS_TAKE(api->calls), *next; call; call = next) {
        next = call->list_next;
        release(call);
    }
}

// The client has left, or the server ends. A question under way goes on; nobody reads its reply.
static void on_cancel(struct cs_http_request *req, void *arg) {
    (void)req;
    struct api_call *call = arg;
    call->req = NULL;
    if (call->waiter)
        api_wait_unpark(call);
    if (call->older)
        api_older_leave(call);
    if (call->search)
        api_follow_leave(call);
    api_call_settle(call);
}

static bool query_known(const struct api_endpoint *endpoint, const char *name) {
    for (size_t i = 0; endpoint->query[i]; i++)
        if (strcmp(endpoint->query[i], name) == 0)
            return true;
    return false;
}

// An unknown parameter, or one that is given twice, is more likely a mistake than meant to do
// nothing.
static bool check_query(struct api_call *call) {
    size_t n = cs_http_query_count(call->req);
    for (size_t i = 0; i < n; i++) {
        const char *name = cs_http_query_name(call->req, i);
        if (!query_known(call->endpoint, name)) {
            char shown[CS_SECRET_QUOTE_SIZE];
            cs_secret_quote(name, strlen(name), shown, sizeof shown);
            api_problem(call, 400, NULL, "There is no query parameter \"%s\" here.", shown);
            return false;
        }
        for (size_t k = 0; k < i; k++)
            if (strcmp(cs_http_query_name(call->req, k), name) == 0) {
                api_problem(call, 400, NULL, "The query parameter \"%s\" is given twice.", name);
                return false;
            }
    }
    return true;
}

void api_call_start(struct cs_http_request *req, const struct api_endpoint *endpoint) {
    struct cs_api *api = cs_http_arg(req);
    struct api_call *call = calloc(1, sizeof *call);
    if (!call) {
        cs_http_problem(req, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->api = api;
    call->req = req;
    cs_http_set_header(req, CS_LOG_HEADER, api->consumer->log_id);
    call->endpoint = endpoint;
    cs_buf_init(&call->asked.command, API_COMMAND_MAX);
    cs_buf_init(&call->asked.keys, API_COMMAND_MAX);
    call->list_next = api->calls;
    if (call->list_next)
        call->list_next->prev = call;
    api->calls = call;
    cs_http_on_cancel(req, on_cancel, call);
    const char *account = cs_http_param(req, "account");
    if (cs_account_valid(account, strlen(account))) {
        memcpy(call->account, account, strlen(account) + 1);
        call->partition = cs_partition_of(account, api->consumer->partition_count);
    }
    if (endpoint->access == API_DEPLOYMENT)
        call->partition = api_page_partition(call, endpoint->cursor);
    call->generation = api->generations[call->partition];
    call->begun_ms = cs_clock_mono_ms(api->consumer->clock);
    if (check_query(call))
        api_auth_begin(call);
    api_call_settle(call);
}

// ---- questions

static int64_t generation_for(const struct api_call *call, int32_t partition) {
    return partition == call->partition ? call->generation : call->api->generations[partition];
}

struct cs_bytes api_prefix(struct cs_api *api, int32_t partition, int64_t generation) {
    struct api_prefix *prefix = &api->prefixes[partition];
    const char *name_space = api->consumer->settings->redis_namespace;
    if (prefix->slot_len == 0 || (generation != 0 && generation != prefix->generation)) {
        prefix->generation = generation;
        prefix->slot_len = cs_redis_prefix(prefix->text, name_space, partition, 0);
        prefix->len = cs_redis_prefix(prefix->text, name_space, partition, generation);
    }
    return (struct cs_bytes){(const uint8_t *)prefix->text, generation == 0 ? prefix->slot_len : prefix->len};
}

void api_put_key_of(struct cs_buf *command, struct cs_api *api, int32_t partition, int64_t generation,
                    const char *key) {
    // Names and ids are bounded: a longer text is no key of ours.
    struct cs_bytes name = {(const uint8_t *)key, strnlen(key, CS_STATE_KEY_MAX)};
    cs_redis_put_joined(command, api_prefix(api, partition, generation), name);
}

void api_put_key(struct cs_buf *command, const struct api_call *call, int32_t partition, const char *key) {
    api_put_key_of(command, call->api, partition, generation_for(call, partition), key);
}

int64_t api_generation(const redisReply *reply) {
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_NIL))
        return 0;
    return reply->type == REDIS_REPLY_NIL ? 1 : strtoll(reply->str, NULL, 10);
}

static void on_error_reply(struct api_call *call, const redisReply *reply) {
    static const char *const passing[] = {"LOADING",  "MASTERDOWN",  "BUSY",
                                          "TRYAGAIN", "CLUSTERDOWN", "READONLY"};
    for (size_t i = 0; i < CS_ARRAY_LEN(passing); i++)
        if (strncmp(reply->str, passing[i], strlen(passing[i])) == 0) {
            api_redis_away(call);
            return;
        }
    cs_log(CS_LOG_ERROR, "Redis refused a read of the API", "error=%s request=%s", reply->str,
           cs_http_request_id(call->req));
    api_problem(call, 500, NULL, "%s", "The catalog cannot be read; the server's log says why.");
}

// Another generation is live than the one that was read. Begins again with that one.
static void begin_anew(struct api_call *call) {
    if (call->state)
        call->state_free(call->state);
    call->state = NULL;
    call->generation = call->api->generations[call->partition];
    if (++call->restarts > RESTARTS_MAX)
        api_busy(call, "The catalog is being replaced; ask again.");
    else
        api_auth_begin(call);
}

// What Redis answered to one transaction.
struct answer {
    const redisReply *reply; // to the question; NULL: Redis is away
    int64_t generation;      // the live one; 0: not known
    const redisReply *position;
    redisReply *const *beside; // to api_put_witnesses
    size_t beside_n;
};

static bool send_question(struct api_call *call, bool all, struct cs_err *err);

// Once more, with all witnesses: the catalog has moved since those were read that are known, or what
// was read now does not fit them.
static void ask_all(struct api_call *call, api_step next) {
    struct cs_err err;
    call->next = next;
    if (send_question(call, true, &err))
        return;
    call->next = NULL;
    api_redis_away(call);
}

static void take_genuine(struct api_call *call, api_step next, const struct answer *a, uint64_t stand) {
    struct cs_err err;
    struct api_asked *asked = &call->asked;
    bool begun = a->position->type == REDIS_REPLY_STRING;
    if (asked->beside) {
        next(call, a->reply);
    } else if (asked->known > 0 && stand != asked->seen.stand) {
        ask_all(call, next);
    } else if (api_genuine(call->api, asked, a->reply, begun, a->beside, a->beside_n, &err)) {
        api_asked_keep(call->api, asked, stand);
        next(call, a->reply);
    } else if (asked->known > 0) {
        ask_all(call, next);
    } else {
        api_not_genuine(call, asked->partition, asked->generation, &err);
    }
}

static void take_step(struct api_call *call, const struct answer *a) {
    api_step next = CS_TAKE(call->next);
    int32_t partition = call->asked.partition;
    bool same = a->generation == call->asked.generation;
    uint64_t stand = 0;
    if (a->generation > 0 && !same)
        call->api->generations[partition] = a->generation;
    if (!call->req) {
        // The client has left.
    } else if (!a->reply) {
        api_redis_away(call);
    } else if (a->reply->type == REDIS_REPLY_ERROR && strncmp(a->reply->str, "WRONGTYPE", 9) != 0) {
        on_error_reply(call, a->reply);
    } else if (a->generation == 0) {
        api_redis_away(call);
    } else if (!same) {
        begin_anew(call);
    } else if (!api_is_fresh(call->api, partition, a->generation, &call->asked.seen, a->position, &stand)) {
        api_busy(call, "The catalog has not caught up with what was decided; ask again.");
    } else {
        take_genuine(call, next, a, stand);
    }
    api_call_settle(call);
}

// The generation and the position are the last two answers to the MGET. That is alone, or the first
// of several; or the second, where the first is of an index.
static void on_answer(const redisReply *reply, void *arg) {
    struct api_call *call = arg;
    const struct api_asked *asked = &call->asked;
    struct answer a = {.reply = reply && reply->type == REDIS_REPLY_ERROR ? reply : NULL};
    bool index = api_is_index(asked);
    size_t n = api_elements(reply);
    const redisReply *mget = asked->alone ? reply : n > (size_t)index ? reply->element[index] : NULL;
    size_t keys = api_elements(mget);
    if (keys < 2) {
        take_step(call, &a);
        return;
    }
    redisReply documents = *mget; // without the two
    documents.elements = keys - 2;
    a.reply = index ? reply->element[0] : asked->verb == API_GET ? mget->element[0] : &documents;
    a.generation = api_generation(mget->element[keys - 2]);
    a.position = mget->element[keys - 1];
    if (!asked->alone) {
        a.beside = reply->element + index + 1;
        a.beside_n = n - index - 1;
    }
    take_step(call, &a);
}

// Appends generation and position to the keys of a GET or MGET.
static void put_documents(const struct api_call *call, struct cs_buf *out) {
    const struct api_asked *asked = &call->asked;
    const char *text = (const char *)asked->command.data;
    const char *verb = memchr(text, '$', asked->command.len);
    const char *keys = verb + (asked->verb == API_GET ? sizeof "$3\r\nGET\r\n" : sizeof "$4\r\nMGET\r\n") - 1;
    cs_redis_put(out, 1 + asked->keys_len + 2);
    cs_redis_put_text(out, "MGET");
    cs_buf_put(out, keys, asked->command.len - (size_t)(keys - text));
    api_put_freshness_keys(out, call->api, asked->partition, asked->generation);
}

// all: also the witnesses that are known.
static bool send_question(struct api_call *call, bool all, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf first;
    CS_AUTO(cs_buf_clear) struct cs_buf beside;
    struct api_asked *asked = &call->asked;
    struct cs_redis_pool *redis = call->api->redis;
    cs_buf_init(&first, API_COMMAND_MAX);
    cs_buf_init(&beside, API_COMMAND_MAX);
    asked->seen = api_seen_now(call->api, asked->partition);
    if (!api_asked_read(call->api, asked, err) || !api_asked_witnesses(call->api, asked, all, err))
        return false;
    if (api_is_index(asked)) {
        cs_buf_put(&first, asked->command.data, asked->command.len);
        cs_redis_put(&beside, 3);
        cs_redis_put_text(&beside, "MGET");
        api_put_freshness_keys(&beside, call->api, asked->partition, asked->generation);
    } else {
        put_documents(call, &first);
    }
    api_put_witnesses(call->api, asked, &beside);
    asked->alone = beside.len == 0 && !beside.failed;
    if (asked->alone) // one command is one moment
        return cs_redis_pool_send(redis, asked->partition, &first, on_answer, call);
    return cs_redis_pool_send_both(redis, asked->partition, &first, &beside, on_answer, call);
}

static void ask(struct api_call *call, int32_t partition, const struct cs_buf *command, bool beside,
                api_step next) {
    struct cs_err err;
    call->asked.beside = beside;
    call->asked.partition = partition;
    call->asked.generation = generation_for(call, partition);
    call->next = next;
    cs_buf_reset(&call->asked.command);
    cs_buf_put(&call->asked.command, command->data, command->len);
    if (!command->failed && !call->asked.command.failed && send_question(call, false, &err))
        return;
    call->next = NULL;
    api_redis_away(call);
}

void api_ask_of(struct api_call *call, int32_t partition, const struct cs_buf *command, api_step next) {
    ask(call, partition, command, false, next);
}

void api_ask_beside(struct api_call *call, const struct cs_buf *command, api_step next) {
    ask(call, call->partition, command, true, next);
}

void api_ask(struct api_call *call, const struct cs_buf *command, api_step next) {
    api_ask_of(call, call->partition, command, next);
}

void api_ask_key(struct api_call *call, api_step next, const char *key) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 2048);
    cs_redis_put(&command, 2);
    cs_redis_put_text(&command, "GET");
    api_put_key(&command, call, call->partition, key);
    api_ask(call, &command, next);
}

struct cs_bytes api_bytes(const redisReply *reply) {
    if (!reply || reply->type != REDIS_REPLY_STRING)
        return (struct cs_bytes){0};
    return (struct cs_bytes){(const uint8_t *)reply->str, (size_t)reply->len};
}

size_t api_elements(const redisReply *reply) {
    return reply && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
}

const char *api_query(const struct api_call *call, const char *name) {
    return cs_http_query(call->req, name);
}

// ---- answers

void api_answer(struct api_call *call, const struct cs_buf *json) {
    struct cs_http_request *req = CS_TAKE(call->req);
    cs_http_reply_json(req, 200, json);
}

void api_problem(struct api_call *call, int status, const char *code, const char *fmt, ...) {
    char detail[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    struct cs_http_request *req = CS_TAKE(call->req);
    if (status == 401)
        cs_http_set_header(req, "WWW-Authenticate", "Bearer realm=\"certsync\"");
    if (status == 503)
        cs_http_set_header(req, "Retry-After", RETRY_AFTER_S);
    cs_http_problem(req, status, code, "%s", detail);
}

void api_not_found(struct api_call *call, enum cs_code code) {
    api_problem(call, 404, cs_code_name(code), "%s", cs_code_sentence(code));
}

void api_redis_away(struct api_call *call) {
    api_problem(call, 503, NULL, "%s", "The catalog cannot be reached at the moment; ask again.");
}

void api_busy(struct api_call *call, const char *why) {
    api_problem(call, 503, NULL, "%s", why);
}

void api_not_genuine(struct api_call *call, int32_t partition, int64_t generation, const struct cs_err *err) {
    if (err->kind != CS_ERR_DAMAGED) {
        api_unreadable(call, err);
        return;
    }
    api_found_damage(call->api, partition, generation, err);
    api_busy(call, "The catalog is damaged and is being made again; ask again.");
}

void api_unreadable(struct api_call *call, const struct cs_err *err) {
    cs_log_err(CS_LOG_ERROR, "the API cannot read a document of the catalog", err, "request=%s account=%s",
               cs_http_request_id(call->req), call->account);
    api_problem(call, 500, NULL, "%s",
                "The catalog holds a document that this release cannot read; the server's log says which.");
}
