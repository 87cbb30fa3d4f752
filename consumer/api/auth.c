// SPDX-License-Identifier: Apache-2.0
//
// Who asks, and what that key may see. Each request looks up the key, so that a revocation counts
// at once. The account's partition holds all keys that may be trusted there.
//
// A key that the account does not know always gets the same answer, as far as time tells after the
// same work. It must not learn whether the account exists, or whether the kid is enrolled.
#include <string.h>

#include "api/internal.h"
#include "certsync/runtime/log.h"

// A valid key of nobody. Unknown kids are verified against it, so that they take as long.
static const struct cs_spki decoy = {
    .len = 91,
    .data = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
             0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1,
             0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d,
             0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe,
             0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b,
             0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5},
};

// What the catalog says of the token's kid.
struct known {
    bool trusted, enrolled; // at most one; neither: unknown
    struct cs_trust_key trust;
    struct cs_agent agent;
};

static bool read_known(const redisReply *reply, struct known *ret, struct cs_err *err) {
    struct cs_bytes trust = api_bytes(reply->element[0]), agent = api_bytes(reply->element[1]);
    if (trust.data) {
        ret->trusted = true;
        return cs_trust_key_decode(trust, &ret->trust, err);
    }
    if (agent.data) {
        ret->enrolled = true;
        return cs_agent_decode(agent, &ret->agent, err);
    }
    return true;
}

static void refuse(struct api_call *call, int status, enum cs_code code, const char *sentence) {
    cs_log(CS_LOG_INFO, "request refused", "status=%d code=%s kid=%s account=%s peer=%s request=%s", status,
           cs_code_name(code), call->token.kid, call->account, cs_http_peer(call->req),
           cs_http_request_id(call->req));
    api_problem(call, status, cs_code_name(code), "%s", sentence);
}

static void refuse_revoked(struct api_call *call) {
    refuse(call, 403, CS_CODE_EVENT_REVOKED_SIGNER, "The token's key was revoked or replaced.");
}

static void refuse_forbidden(struct api_call *call) {
    refuse(call, 403, CS_CODE_EVENT_FORBIDDEN, "The token's key has no right to see this.");
}

// Enrolled keys: all but single outcomes and what it may register itself needs the right `read`. A rotated key may still learn what
// became of the events that it sent, above all of its own rotation. A join token ends with its
// time.
static bool admit_agent(struct api_call *call, const struct cs_agent *agent) {
    enum api_access access = call->endpoint->access;
    bool expired = agent->expires_s != 0 && agent->expires_s < api_now_s(call->api);
    call->role = API_AGENT;
    call->own_events_only = agent->state == CS_AGENT_ROTATED;
    if (agent->state == CS_AGENT_REVOKED || (call->own_events_only && access != API_OUTCOME)) {
        refuse_revoked(call);
        return false;
    }
    bool may = access == API_OUTCOME || access == API_POLICY ||
               (access != API_SEALED_KEY && (agent->can & CS_CAN_READ));
    // An agent speaks only for its own account. So its token must name that.
    if (!may || expired || strcmp(call->token.sub, call->account) != 0) {
        refuse_forbidden(call);
        return false;
    }
    return true;
}

static bool role_may(enum cs_trust_role role, enum api_access access) {
    switch (role) {
    case CS_TRUST_ADMIN:
    case CS_TRUST_AUDITOR:
        return access != API_SEALED_KEY;
    case CS_TRUST_CUSTODIAN:
        return access == API_CERTIFICATES || access == API_SEALED_KEY;
    case CS_TRUST_ISSUER:
        return access == API_OUTCOME || access == API_POLICY;
    case CS_TRUST_SERVICE:
        return false;
    }
    return false;
}

static bool admit_trusted(struct api_call *call, const struct cs_trust_key *trust) {
    if (trust->removed_ms != 0) {
        refuse_revoked(call);
        return false;
    }
    if (!role_may(trust->role, call->endpoint->access)) {
        refuse_forbidden(call);
        return false;
    }
    call->role = trust->role == CS_TRUST_CUSTODIAN ? API_CUSTODIAN
                 : trust->role == CS_TRUST_ISSUER  ? API_ISSUER
                 : trust->role == CS_TRUST_AUDITOR ? API_AUDITOR
                                                   : API_ADMIN;
    call->own_events_only = trust->role == CS_TRUST_ISSUER;
    return true;
}

// The decoy has signed nothing, so what it takes to find that out is not spared.
static bool is_signed_by(struct api_call *call, const struct cs_spki *key) {
    struct cs_api *api = call->api;
    if (cs_verified_by(api->verified, call->token_sha256, key))
        return true;
    cs_series_inc(api->verifications);
    if (!cs_token_signed_by(api->crypto, cs_http_bearer(call->req), key))
        return false;
    cs_verified_add(api->verified, call->token_sha256, &call->token, key, api_now_s(api));
    return true;
}

static void on_keys(struct api_call *call, const redisReply *reply) {
    struct cs_err err;
    struct known known = {0};
    if (api_elements(reply) != 3) {
        api_redis_away(call);
        return;
    }
    if (!read_known(reply, &known, &err)) {
        api_unreadable(call, &err);
        return;
    }
    const struct cs_spki *key = known.trusted ? &known.trust.key : known.enrolled ? &known.agent.key : &decoy;
    bool is_known = known.trusted || known.enrolled;
    if (!is_signed_by(call, key) || !is_known) {
        refuse(call, 401, CS_CODE_EVENT_UNKNOWN_SIGNER,
               call->endpoint->access == API_DEPLOYMENT
                   ? "The token is not signed by a trusted key: this is for admins and auditors."
                   : "The token is not signed by a key that is known in this account.");
        return;
    }
    bool admitted = known.trusted ? admit_trusted(call, &known.trust) : admit_agent(call, &known.agent);
    if (!admitted)
        return;
    if (call->endpoint->access != API_DEPLOYMENT && !api_bytes(reply->element[2]).data)
        api_not_found(call, CS_CODE_ACCOUNT_UNKNOWN);
    else
        call->endpoint->begin(call, NULL);
}

// What the token claims. False: answered.
static bool read_token(struct api_call *call) {
    struct cs_err err;
    struct cs_api *api = call->api;
    const char *text = cs_http_bearer(call->req);
    int64_t now_s = api_now_s(api);
    if (!text) {
        api_problem(call, 401, NULL, "%s", "Give a token: Authorization: Bearer TOKEN.");
        return false;
    }
    size_t len = strnlen(text, CS_TOKEN_MAX); // a longer one is refused
    cs_crypto_sha256(api->crypto, (struct cs_bytes){(const uint8_t *)text, len}, call->token_sha256);
    const struct cs_token *verified =
        text[len] == '\0' ? cs_verified_find(api->verified, call->token_sha256, now_s) : NULL;
    if (verified) {
        call->token = *verified;
        return true;
    }
    if (cs_token_read(text, api->consumer->settings->deployment, now_s, &call->token, &err))
        return true;
    if (err.kind == CS_ERR_REJECT)
        api_problem(call, 401, NULL, "Not accepted: %s.", err.msg);
    else
        api_problem(call, 500, NULL, "%s", err.msg);
    return false;
}

void api_auth_begin(struct api_call *call) {
    if (!read_token(call))
        return;
    if (strcmp(call->token.sub, CS_TOKEN_ANY) != 0 && strcmp(call->token.sub, call->account) != 0) {
        refuse(call, 403, CS_CODE_EVENT_FORBIDDEN, "The token is for another account.");
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 4096);
    cs_redis_put(&command, 4);
    cs_redis_put_text(&command, "MGET");
    api_put_key(&command, call, call->partition, cs_key_trust(CS_NEW_KEY, call->token.kid));
    api_put_key(&command, call, call->partition, cs_key_agent(CS_NEW_KEY, call->account, call->token.kid));
    api_put_key(&command, call, call->partition, cs_key_account(CS_NEW_KEY, call->account));
    api_ask(call, &command, on_keys);
}
