// SPDX-License-Identifier: Apache-2.0
//
// An API that answers by script, for the tests of the command certsync: the account in the path says what
// happens.
#pragma once

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "agent_fixture.h"
#include "certsync/base/text.h"
#include "certsync/runtime/http.h"
#include "certsync/runtime/loop.h"

// 18 bytes, as public CAs have them.
#define AGENT_API_SERIAL "04c3a2f10b9d8e7766554433221100ffeedd"
#define AGENT_API_ID     "01932e8a-0000-7000-8000-000000000001"

struct agent_api {
    struct cs_loop *loop;
    struct cs_http_server *server;
    pthread_t thread;
    uint8_t spki[128]; // of the key that signs tokens
    size_t spki_len;
    char kid[64];
    _Atomic int asked;      // outcome requests
    _Atomic int bad_tokens; // requests without a good token
    _Atomic int log;        // which log it serves: unit_0a1b2c3d, unit_0a1b2c3e, or (2) it does not say
};

static inline void agent_api_json(struct cs_http_request *req, const char *text) {
    cs_http_reply(req, 200, "application/json", (struct cs_bytes){(const uint8_t *)text, strlen(text)});
}

static inline json_t *agent_api_part(const char *text, size_t len) {
    uint8_t bytes[4096];
    size_t n;
    return len < sizeof bytes && cs_base64url_decode(text, len, bytes, &n)
               ? json_loadb((const char *)bytes, n, JSON_REJECT_DUPLICATES, NULL)
               : NULL;
}

static inline bool agent_api_is(const json_t *o, const char *name, const char *text) {
    const char *s = json_string_value(json_object_get(o, name));
    return s && strcmp(s, text) == 0;
}

static inline bool agent_api_signed(const struct agent_api *api, const char *token, const char *dot) {
    struct cs_err err;
    struct cs_crypto *crypto = NULL;
    struct cs_pubkey *key = NULL;
    uint8_t sig[CS_ES256_SIG_LEN + 4];
    size_t n;
    bool ok =
        cs_base64url_decode(dot + 1, strnlen(dot + 1, 86), sig, &n) && n == CS_ES256_SIG_LEN &&
        cs_crypto_new(&crypto, &err) &&
        cs_pubkey_new(crypto, (struct cs_bytes){api->spki, api->spki_len}, &key, &err) &&
        cs_es256_verify(crypto, key, (struct cs_bytes){(const uint8_t *)token, (size_t)(dot - token)}, sig);
    cs_pubkey_free(key);
    cs_crypto_free(crypto);
    return ok;
}

// iss, kid: the key; sub: the account of the path, or "*"; aud; at most five minutes.
static inline bool agent_api_token_ok(struct agent_api *api, const struct cs_http_request *req) {
    const char *token = cs_http_bearer(req), *first = token ? strchr(token, '.') : NULL;
    const char *second = first ? strchr(first + 1, '.') : NULL;
    json_auto_t *header = second ? agent_api_part(token, (size_t)(first - token)) : NULL;
    json_auto_t *claims = second ? agent_api_part(first + 1, (size_t)(second - first - 1)) : NULL;
    int64_t life = json_integer_value(json_object_get(claims, "exp")) -
                   json_integer_value(json_object_get(claims, "iat"));
    bool ok =
        second && agent_api_signed(api, token, second) && agent_api_is(header, "alg", "ES256") &&
        agent_api_is(header, "kid", api->kid) && agent_api_is(claims, "iss", api->kid) &&
        agent_api_is(claims, "aud", "unit") &&
        (agent_api_is(claims, "sub", "*") || agent_api_is(claims, "sub", cs_http_param(req, "account"))) &&
        life > 0 && life <= 300;
    if (!ok)
        atomic_fetch_add(&api->bad_tokens, 1);
    return ok;
}

static inline void agent_api_log(struct cs_http_request *req, void *arg) {
    struct agent_api *api = arg;
    static const char *const logs[] = {"unit_0a1b2c3d", "unit_0a1b2c3e", ""};
    const char *log = logs[atomic_load(&api->log)];
    char text[200];
    snprintf(text, sizeof text, "{\"deployment\":\"unit\",\"log\":\"%s\",\"partitions\":2}", log);
    cs_http_set_header(req, CS_LOG_HEADER, log[0] ? log : "no log");
    agent_api_json(req, text);
}

static inline void agent_api_outcome(struct cs_http_request *req, void *arg) {
    struct agent_api *api = arg;
    const char *account = cs_http_param(req, "account");
    int n = atomic_fetch_add(&api->asked, 1);
    if (!agent_api_token_ok(api, req) || strcmp(account, "denied") == 0)
        cs_http_problem(req, 401, "event.unknown_signer",
                        "The token is not signed by a key that is known in this account.");
    else if (strcmp(account, "applied") == 0)
        agent_api_json(req, "{\"outcome\":{\"subject\":\"" AGENT_API_ID
                            "\",\"data\":{\"status\":\"applied\",\"version\":3,"
                            "\"sequence\":\"0000000000000001\"}}}");
    else if (strcmp(account, "unchanged") == 0)
        agent_api_json(req,
                       "{\"outcome\":{\"data\":{\"status\":\"applied\",\"code\":\"unchanged\",\"sequence\":"
                       "\"0000000000000001\"}}}");
    else if (strcmp(account, "rejected") == 0)
        agent_api_json(req,
                       "{\"outcome\":{\"data\":{\"status\":\"rejected\",\"code\":\"name.taken\",\"sequence\":"
                       "\"0000000000000001\"}}}");
    else if (strcmp(account, "newer") == 0)
        agent_api_json(req, "{\"outcome\":{\"data\":{\"status\":\"rejected\",\"code\":\"some.new_code\","
                            "\"detail\":\"a\\u001b[2Jb\"}}}");
    else if (strcmp(account, "later") == 0 && n < 2)
        cs_http_problem(req, 404, "outcome.unknown", "not yet");
    else if (strcmp(account, "later") == 0)
        agent_api_json(
            req, "{\"outcome\":{\"data\":{\"status\":\"pending\"}},\"final\":{\"status\":\"applied\"}}");
    else if (strcmp(account, "refused") == 0)
        agent_api_json(req,
                       "{\"outcome\":{\"data\":{\"status\":\"pending\"}},\"final\":{\"status\":\"rejected\","
                       "\"code\":\"share.owner\"}}");
    else if (strcmp(account, "pending") == 0)
        agent_api_json(req, "{\"outcome\":{\"data\":{\"status\":\"pending\"}}}");
    else if (strcmp(account, "replayed") == 0 &&
             n < 2) // of number 1, also when 1001 is asked for at first: an older outcome
        agent_api_json(
            req, "{\"outcome\":{\"data\":{\"status\":\"rejected\",\"code\":\"event.replayed\",\"sequence\":"
                 "\"0000000000000001\","
                 "\"watermark\":1000}}}");
    else if (strcmp(account, "replayed") == 0)
        agent_api_json(req,
                       "{\"outcome\":{\"data\":{\"status\":\"applied\",\"sequence\":\"0000000000001001\"}}}");
    else if (strcmp(account, "broken") == 0)
        cs_http_problem(req, 503, NULL, "Redis is away");
    else if (strcmp(account, "nonsense") == 0)
        cs_http_reply(req, 200, "text/html", (struct cs_bytes){(const uint8_t *)"<html>", 6});
    else
        cs_http_problem(req, 404, "outcome.unknown", "never");
}

static inline void agent_api_certificates(struct cs_http_request *req, void *arg) {
    if (!agent_api_token_ok(arg, req))
        cs_http_problem(req, 401, "event.unknown_signer", "no");
    else if (!cs_http_query(req, "cursor"))
        agent_api_json(req, "{\"certificates\":[{\"id\":\"" AGENT_API_ID
                            "\",\"name\":\"www\",\"source\":\"uploaded\",\"status\":\"expiring\",\"days_"
                            "left\":7,\"key_type\":\"RSA\",\"key_bits\":2048,"
                            "\"version\":2,\"names\":[\"www.example.com\",\"e\\u001b[31mvil\"],\"names_"
                            "total\":5}],\"next\":\"abc/+\"}");
    else
        agent_api_json(req, strcmp(cs_http_query(req, "cursor"), "abc/+") == 0
                                ? "{\"certificates\":[{\"name\":\"zzz\",\"source\":\"shared\",\"owner_"
                                  "account\":\"acme\",\"names\":[]}]}"
                                : "{\"certificates\":[]}");
}

// Cursors as the consumer makes them: hexadecimal, as long as what was seen last. This one is of a long name.
#define AGENT_API_CURSOR                                                                                     \
    "6f313739353433353230303030303a303a30313933326538612d303030302d373030302d383030302d30"
#define AGENT_API_CURSOR_LONG                                                                                \
    AGENT_API_CURSOR AGENT_API_CURSOR AGENT_API_CURSOR AGENT_API_CURSOR AGENT_API_CURSOR AGENT_API_CURSOR    \
        AGENT_API_CURSOR

static inline void agent_api_outcomes(struct cs_http_request *req, void *arg) {
    const char *cursor = cs_http_query(req, "cursor");
    if (!agent_api_token_ok(arg, req))
        cs_http_problem(req, 401, "event.unknown_signer", "no");
    else if (!cursor)
        agent_api_json(req, "{\"outcomes\":[{\"outcome\":{\"subject\":\"first\",\"data\":{\"status\":"
                            "\"applied\"}}}],\"next\":\"" AGENT_API_CURSOR "\"}");
    else if (strcmp(cursor, AGENT_API_CURSOR) == 0) // empty pages come where a filter leaves nothing
        agent_api_json(req, "{\"outcomes\":[],\"next\":\"" AGENT_API_CURSOR_LONG "\"}");
    else
        agent_api_json(
            req,
            strcmp(cursor, AGENT_API_CURSOR_LONG) == 0
                ? "{\"outcomes\":[{\"outcome\":{\"subject\":\"third\",\"data\":{\"status\":\"rejected\"}}}]}"
                : "{\"outcomes\":[]}");
}

static inline void agent_api_certificate(struct cs_http_request *req, void *arg) {
    if (!agent_api_token_ok(arg, req))
        cs_http_problem(req, 401, "event.unknown_signer", "no");
    else if (strcmp(cs_http_param(req, "id"), "www") == 0)
        agent_api_json(req,
                       "{\"id\":\"" AGENT_API_ID "\",\"name\":\"www\",\"serial\":\"" AGENT_API_SERIAL "\"}");
    else
        cs_http_problem(req, 404, "certificate.not_found", "There is no such certificate in this account.");
}

static inline void *agent_api_main(void *arg) {
    struct agent_api *api = arg;
    cs_loop_run(api->loop);
    return NULL;
}

static inline void agent_api_start(struct agent_api *api) {
    static const struct cs_http_route routes[] = {
        {"GET", "/v1/log", agent_api_log},
        {"GET", "/v1/accounts/{account}/outcomes/{event}", agent_api_outcome},
        {"GET", "/v1/accounts/{account}/outcomes", agent_api_outcomes},
        {"GET", "/v1/accounts/{account}/certificates", agent_api_certificates},
        {"GET", "/v1/accounts/{account}/certificates/{id}", agent_api_certificate},
    };
    static const struct cs_loop_hooks hooks = {0};
    struct cs_err err;
    ASSERT_OK(cs_loop_new(&hooks, &api->loop, &err), err);
    struct cs_http_options o = {
        .listen = "127.0.0.1:0", .routes = routes, .route_count = CS_ARRAY_LEN(routes), .arg = api};
    ASSERT_OK(cs_http_server_new(cs_loop_base(api->loop), &o, &api->server, &err), err);
    assert_int_equal(pthread_create(&api->thread, NULL, agent_api_main, api), 0);
}

static inline void agent_api_stop(struct agent_api *api) {
    cs_loop_stop(api->loop);
    pthread_join(api->thread, NULL);
    cs_http_server_free(api->server);
    cs_loop_free(api->loop);
}
