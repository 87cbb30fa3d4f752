// SPDX-License-Identifier: Apache-2.0
//
// GET …/policy: what the account's policy lets in, and what the key that asks may register. A host asks
// before it sends. Every living key may: also one without the right `read`, which sees nothing else here.
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"

void api_put_lines(struct cs_buf *json, const char *member, const char *lines) {
    if (lines[0] == '\0')
        return;
    cs_json_name(json, member);
    cs_json_begin(json, '[');
    for (size_t len; *lines; lines += len + (lines[len] == '\n')) {
        len = strcspn(lines, "\n");
        cs_json_put_strn(json, lines, len);
    }
    cs_json_end(json, ']');
}

// Keys of the trust are not enrolled here: they have no patterns.
static bool put_key(struct cs_buf *json, const char *kid, struct cs_bytes doc, struct cs_err *err) {
    struct cs_agent agent;
    if (!doc.data)
        return true;
    if (!cs_agent_decode(doc, &agent, err))
        return false;
    cs_json_name(json, "key");
    cs_json_begin(json, '{');
    cs_json_str(json, "kid", kid);
    api_put_can(json, "can", agent.can);
    cs_json_str(json, "names", agent.names);
    api_put_lines(json, "dns", agent.dns);
    cs_json_end(json, '}');
    return true;
}

static void on_documents(struct api_call *call, const redisReply *reply) {
    struct cs_err err;
    struct cs_account account;
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    if (api_elements(reply) != 2) {
        api_redis_away(call);
        return;
    }
    struct cs_bytes doc = api_bytes(reply->element[0]);
    if (!doc.data) {
        api_not_found(call, CS_CODE_ACCOUNT_UNKNOWN);
        return;
    }
    cs_buf_init(&json, API_BODY_MAX);
    bool ok = cs_account_decode(doc, &account, &err);
    if (ok) {
        cs_json_begin(&json, '{');
        cs_json_str(&json, "account", call->account);
        cs_json_str(&json, "incomplete_chain", account.reject_incomplete_chain ? "reject" : "note");
        cs_json_name(&json, "policy");
        cs_policy_encode(&json, &account.policy);
        ok = put_key(&json, call->token.kid, api_bytes(reply->element[1]), &err);
        cs_json_end(&json, '}');
    }
    if (ok)
        api_answer(call, &json);
    else
        api_unreadable(call, &err);
}

void api_policy(struct api_call *call, const redisReply *reply) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    (void)reply;
    cs_buf_init(&command, 4096);
    cs_redis_put(&command, 3);
    cs_redis_put_text(&command, "MGET");
    api_put_key(&command, call, call->partition, cs_key_account(CS_NEW_KEY, call->account));
    api_put_key(&command, call, call->partition, cs_key_agent(CS_NEW_KEY, call->account, call->token.kid));
    api_ask(call, &command, on_documents);
}
