// SPDX-License-Identifier: Apache-2.0
//
// GET …/csrs, …/agents and …/outcomes, /v1/accounts and /v1/trust. Each reads one index, and one
// document for each member, in steps of API_DOCS_MAX. A page that belongs to no account is of one
// partition; the cursor's score names it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "catalog/heard.h"
#include "certsync/base/json_write.h"

struct list_kind {
    char cursor;
    const char *array; // name of the list in the answer
    enum cs_kind index;
    bool by_number;      // scores are rising numbers, newest first; else by the bytes of members
    bool each_partition; // the list goes on in the next partition
    // The key of a member's document: "<document>/<account>/<what id answers>"; without an account
    // "<document>/<…>".
    enum cs_kind document;
    const char *(*id)(cs_key ret, const char *member); // may be of member itself
    bool heard; // members are kids: what was heard of each is read, too
    // Puts one item; nothing for a tombstone. heard: NULL where nothing was. False: the document
    // cannot be read.
    bool (*put)(struct cs_buf *json, const char *member, struct cs_bytes doc, const struct cs_heard *heard,
                struct cs_err *err);
};

struct list {
    const struct list_kind *kind;
    char prefix[CS_NAME_MAX + 1];
    struct api_page page;
    int64_t left; // items that the page still has room for
    bool exhausted;
    size_t chunk_len;
    char chunk[API_DOCS_MAX][API_MEMBER_MAX + 1];
    bool known[API_DOCS_MAX]; // something was heard of them
    struct cs_heard heard[API_DOCS_MAX];
    struct cs_buf json;
};

static void list_free(void *state) {
    struct list *l = state;
    cs_buf_clear(&l->json);
    free(l);
}

static void on_index(struct api_call *call, const redisReply *reply);
static void on_heard(struct api_call *call, const redisReply *reply);
static void on_documents(struct api_call *call, const redisReply *reply);

static int64_t chunk_size(const struct list *l) {
    return l->left < API_DOCS_MAX ? l->left : API_DOCS_MAX;
}

static void put_newest_first(struct cs_buf *command, const struct api_call *call, const struct list *l) {
    char from[32] = "+inf";
    if (l->page.has_cursor)
        snprintf(from, sizeof from, "(%lld", (long long)l->page.score);
    cs_redis_put(command, 8);
    cs_redis_put_text(command, "ZREVRANGEBYSCORE");
    api_put_key(command, call, call->partition,
                cs_key_make(CS_NEW_KEY, l->kind->index, call->account, NULL, NULL));
    cs_redis_put_text(command, from);
    cs_redis_put_text(command, "-inf");
    cs_redis_put_text(command, "WITHSCORES");
    cs_redis_put_text(command, "LIMIT");
    cs_redis_put_int(command, 0);
    cs_redis_put_int(command, chunk_size(l) + 1);
}

static void ask_index(struct api_call *call, const struct list *l) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 4096);
    // One more than needed shows whether there is a next page.
    if (l->kind->by_number)
        put_newest_first(&command, call, l);
    else
        api_page_put_lex(&command, call, &l->page, l->kind->index, l->prefix, chunk_size(l) + 1);
    api_ask(call, &command, on_index);
}

static void next_step(struct api_call *call, struct list *l) {
    if (!l->exhausted && l->left > 0 && l->json.len < API_PAGE_BYTES) {
        ask_index(call, l);
        return;
    }
    cs_json_end(&l->json, ']');
    bool more = !l->exhausted;
    if (l->kind->each_partition)
        l->page.score = call->partition;
    if (l->kind->each_partition && l->exhausted &&
        call->partition + 1 < call->api->consumer->partition_count) {
        l->page = (struct api_page){.score = call->partition + 1};
        more = true;
    }
    if (more)
        api_page_put_next(&l->json, call, l->kind->cursor, &l->page);
    cs_json_end(&l->json, '}');
    api_answer(call, &l->json);
}

static void ask_documents(struct api_call *call, const struct list *l) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, l->chunk_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < l->chunk_len; i++) {
        cs_key room;
        const char *id = l->kind->id(room, l->chunk[i]);
        api_put_key(&command, call, call->partition,
                    call->account[0] ? cs_key_make(CS_NEW_KEY, l->kind->document, call->account, id, NULL)
                                     : cs_key_make(CS_NEW_KEY, l->kind->document, id, NULL, NULL));
    }
    api_ask(call, &command, on_documents);
}

static void ask_heard(struct api_call *call, const struct list *l) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, l->chunk_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < l->chunk_len; i++)
        api_put_key_of(&command, call->api, call->partition, 0,
                       cs_heard_key(CS_NEW_KEY, call->account, l->chunk[i]));
    api_ask_beside(call, &command, on_heard);
}

static void on_index(struct api_call *call, const redisReply *reply) {
    struct list *l = call->state;
    size_t stride = l->kind->by_number ? 2 : 1, n = api_elements(reply) / stride;
    size_t take = (size_t)chunk_size(l);
    l->exhausted = n <= take;
    l->chunk_len = n < take ? n : take;
    for (size_t i = 0; i < l->chunk_len; i++)
        snprintf(l->chunk[i], sizeof l->chunk[i], "%s", reply->element[i * stride]->str);
    if (l->chunk_len == 0) {
        next_step(call, l);
        return;
    }
    l->page.has_cursor = true;
    memcpy(l->page.member, l->chunk[l->chunk_len - 1], sizeof l->page.member);
    if (l->kind->by_number)
        l->page.score = strtoll(reply->element[(l->chunk_len - 1) * stride + 1]->str, NULL, 10);
    if (l->kind->heard)
        ask_heard(call, l);
    else
        ask_documents(call, l);
}

// A heartbeat that certsync did not write counts as none.
static void on_heard(struct api_call *call, const redisReply *reply) {
    struct list *l = call->state;
    for (size_t i = 0; i < l->chunk_len; i++)
        l->known[i] =
            i < api_elements(reply) && cs_heard_take(call->api->authentic, call->partition, call->account,
                                                     l->chunk[i], api_bytes(reply->element[i]), &l->heard[i]);
    ask_documents(call, l);
}

static void on_documents(struct api_call *call, const redisReply *reply) {
    struct list *l = call->state;
    struct cs_err err;
    for (size_t i = 0; i < api_elements(reply) && i < l->chunk_len; i++) {
        struct cs_bytes doc = api_bytes(reply->element[i]);
        if (doc.data && !l->kind->put(&l->json, l->chunk[i], doc, l->known[i] ? &l->heard[i] : NULL, &err)) {
            api_unreadable(call, &err);
            return;
        }
    }
    l->left -= (int64_t)l->chunk_len;
    next_step(call, l);
}

static void begin(struct api_call *call, const struct list_kind *kind) {
    const char *prefix = api_query(call, "name");
    struct list *l = calloc(1, sizeof *l);
    if (!l) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = l;
    call->state_free = list_free;
    l->kind = kind;
    cs_buf_init(&l->json, API_BODY_MAX);
    if (prefix && prefix[0]) {
        if (!cs_name_valid(prefix, strlen(prefix), CS_ALGORITHM_INTERNATIONAL)) {
            api_problem(call, 400, NULL, "%s",
                        "name must be the beginning of a name: letters, digits, '.', '_' and '-'.");
            return;
        }
        memcpy(l->prefix, prefix, strlen(prefix) + 1);
    }
    if (!api_page_read(call, kind->cursor, &l->page))
        return;
    l->left = l->page.limit;
    cs_json_begin(&l->json, '{');
    cs_json_name(&l->json, kind->array);
    cs_json_begin(&l->json, '[');
    ask_index(call, l);
}

// ---- certificate signing requests: the request is public, its sealed key stays here

static const char *after_slash(cs_key ret, const char *member) {
    (void)ret;
    const char *slash = strrchr(member, '/');
    return slash ? slash + 1 : member;
}

static bool put_csr(struct cs_buf *json, const char *member, struct cs_bytes doc,
                    const struct cs_heard *heard, struct cs_err *err) {
    (void)heard;
    (void)member;
    CS_AUTO(cs_csr_entry_clear) struct cs_csr_entry csr = {0};
    if (!cs_csr_entry_decode(doc, &csr, err))
        return false;
    if (csr.deleted)
        return true;
    cs_json_begin(json, '{');
    cs_json_str(json, "id", csr.id);
    cs_json_str(json, "name", csr.name);
    cs_json_str(json, "subject", csr.subject ? csr.subject : "");
    api_put_names(json, "names", csr.names, csr.names_len);
    cs_json_str(json, "key_type", cs_key_type_name(csr.key_type));
    cs_json_int(json, "key_bits", csr.key_bits);
    cs_json_name(json, "spki_sha256");
    cs_json_put_hex(json, (struct cs_bytes){csr.spki_sha256, sizeof csr.spki_sha256});
    cs_json_name(json, "csr");
    cs_json_put_base64(json, csr.der);
    api_put_time_ms(json, "created", csr.created_ms);
    if (csr.used.certificate[0]) {
        cs_json_name(json, "used");
        cs_json_begin(json, '{');
        cs_json_str(json, "certificate", csr.used.certificate);
        cs_json_str(json, "name", csr.used.name);
        cs_json_int(json, "version", csr.used.version);
        api_put_time_ms(json, "at", csr.used.at_ms);
        cs_json_end(json, '}');
    }
    cs_json_end(json, '}');
    return true;
}

void api_csrs(struct api_call *call, const redisReply *reply) {
    static const struct list_kind kind = {.cursor = 'r',
                                          .array = "csrs",
                                          .index = CS_KIND_CSRS,
                                          .document = CS_KIND_CSR,
                                          .id = after_slash,
                                          .put = put_csr};
    (void)reply;
    begin(call, &kind);
}

// ---- enrolled keys

static const char *whole(cs_key ret, const char *member) {
    (void)ret;
    return member;
}

static const char *agent_state_name(enum cs_agent_state s) {
    switch (s) {
    case CS_AGENT_ENROLLED:
        return "enrolled";
    case CS_AGENT_REVOKED:
        return "revoked";
    case CS_AGENT_ROTATED:
        return "rotated";
    }
    return "";
}

static void put_join_token(struct cs_buf *json, const struct cs_agent *a) {
    if (a->uses_left >= 0)
        cs_json_int(json, "uses_left", a->uses_left);
    if (a->expires_s != 0)
        api_put_time_s(json, "expires", a->expires_s);
    if (!a->has_grant)
        return;
    cs_json_name(json, "grant");
    cs_json_begin(json, '{');
    api_put_can(json, "can", a->grant_can);
    cs_json_str(json, "names", a->grant_names);
    api_put_lines(json, "dns", a->grant_dns);
    cs_json_end(json, '}');
}

static void put_heartbeat(struct cs_buf *json, const struct cs_heard *heard) {
    const struct cs_host_state *host = &heard->host;
    cs_json_name(json, "heartbeat");
    cs_json_begin(json, '{');
    api_put_time_ms(json, "at", heard->at_ms);
    cs_json_str(json, "version", host->version);
    cs_json_int(json, "certificates", host->certificates);
    cs_json_int(json, "failed", host->failed);
    api_put_time_s(json, "last_scan", host->last_scan_s);
    cs_json_int(json, "spool", host->spool);
    cs_json_end(json, '}');
}

// The document does not hold the kid: its key has it.
static bool put_agent(struct cs_buf *json, const char *member, struct cs_bytes doc,
                      const struct cs_heard *heard, struct cs_err *err) {
    struct cs_agent a;
    if (!cs_agent_decode(doc, &a, err))
        return false;
    cs_json_begin(json, '{');
    cs_json_str(json, "kid", member);
    cs_json_str(json, "state", agent_state_name(a.state));
    cs_json_str(json, "label", a.label);
    api_put_can(json, "can", a.can);
    cs_json_str(json, "names", a.names);
    api_put_lines(json, "dns", a.dns);
    cs_json_name(json, "key");
    cs_json_put_base64(json, (struct cs_bytes){a.key.data, a.key.len});
    put_join_token(json, &a);
    cs_json_str(json, "enrolled_by", a.enrolled_by);
    api_put_time_ms(json, "enrolled", a.enrolled_ms);
    if (a.ended_ms != 0)
        api_put_time_ms(json, "ended", a.ended_ms);
    if (a.rotated_to[0])
        cs_json_str(json, "rotated_to", a.rotated_to);
    if (heard && a.state == CS_AGENT_ENROLLED) // of a key that ended, what is remembered goes soon
        put_heartbeat(json, heard);
    cs_json_end(json, '}');
    return true;
}

void api_agents(struct api_call *call, const redisReply *reply) {
    static const struct list_kind kind = {.cursor = 'a',
                                          .array = "agents",
                                          .index = CS_KIND_AGENTS,
                                          .document = CS_KIND_AGENT,
                                          .id = whole,
                                          .heard = true,
                                          .put = put_agent};
    (void)reply;
    begin(call, &kind);
}

// ---- what belongs to no account

// The document does not hold the id: its key has it.
static bool put_account(struct cs_buf *json, const char *member, struct cs_bytes doc,
                        const struct cs_heard *heard, struct cs_err *err) {
    (void)heard;
    struct cs_account a;
    if (!cs_account_decode(doc, &a, err))
        return false;
    cs_json_begin(json, '{');
    cs_json_str(json, "account", member);
    cs_json_str(json, "site", cs_site_name(a.site));
    cs_json_str(json, "owner", a.owner);
    cs_json_bool(json, "verified", a.verified);
    cs_json_int(json, "certificates", a.certificates);
#define X(name, at_first, most, text) cs_json_int(json, #name, a.name);
    CS_ACCOUNT_COUNTS(X)
#undef X
    cs_json_name(json, "limits");
    cs_json_begin(json, '{');
    cs_json_int(json, "certificates", a.limit_certificates);
    cs_json_int(json, "shares", a.limit_shares);
#define X(name, at_first, most, text) cs_json_int(json, #name, a.limit_##name);
    CS_ACCOUNT_COUNTS(X)
#undef X
    cs_json_str(json, "incomplete_chain", a.reject_incomplete_chain ? "reject" : "note");
    cs_json_end(json, '}');
    cs_json_name(json, "policy");
    cs_policy_encode(json, &a.policy);
    api_put_time_ms(json, "created", a.created_ms);
    api_put_time_ms(json, "updated", a.updated_ms);
    cs_json_end(json, '}');
    return true;
}

void api_accounts(struct api_call *call, const redisReply *reply) {
    static const struct list_kind kind = {.cursor = API_CURSOR_ACCOUNTS,
                                          .array = "accounts",
                                          .index = CS_KIND_ACCOUNTS,
                                          .each_partition = true,
                                          .document = CS_KIND_ACCOUNT,
                                          .id = whole,
                                          .put = put_account};
    (void)reply;
    begin(call, &kind);
}

static void on_account(struct api_call *call, const redisReply *reply) {
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    struct cs_err err;
    struct cs_bytes doc = api_bytes(reply);
    cs_buf_init(&json, API_BODY_MAX);
    if (!doc.data)
        api_not_found(call, CS_CODE_ACCOUNT_UNKNOWN);
    else if (!put_account(&json, call->account, doc, NULL, &err))
        api_unreadable(call, &err);
    else
        api_answer(call, &json);
}

void api_account(struct api_call *call, const redisReply *reply) {
    (void)reply;
    api_ask_key(call, on_account, cs_key_account(CS_NEW_KEY, call->account));
}

static bool put_trust_key(struct cs_buf *json, const char *member, struct cs_bytes doc,
                          const struct cs_heard *heard, struct cs_err *err) {
    (void)heard;
    struct cs_trust_key t;
    if (!cs_trust_key_decode(doc, &t, err))
        return false;
    cs_json_begin(json, '{');
    cs_json_str(json, "kid", member);
    cs_json_str(json, "role", cs_trust_role_name(t.role));
    cs_json_str(json, "state", t.removed_ms ? "removed" : "trusted");
    cs_json_str(json, "label", t.label);
    cs_json_name(json, "key");
    cs_json_put_base64(json, (struct cs_bytes){t.key.data, t.key.len});
    api_put_time_ms(json, "added", t.added_ms);
    if (t.removed_ms)
        api_put_time_ms(json, "removed", t.removed_ms);
    cs_json_end(json, '}');
    return true;
}

// Root's records go to every partition. So one partition has them all.
void api_trust(struct api_call *call, const redisReply *reply) {
    static const struct list_kind kind = {.cursor = API_CURSOR_TRUST,
                                          .array = "trusted",
                                          .index = CS_KIND_TRUSTED,
                                          .document = CS_KIND_TRUST,
                                          .id = whole,
                                          .put = put_trust_key};
    (void)reply;
    begin(call, &kind);
}

// ---- outcomes, the newest first: the documents as they are

static bool put_outcome(struct cs_buf *json, const char *member, struct cs_bytes doc,
                        const struct cs_heard *heard, struct cs_err *err) {
    (void)heard;
    (void)member;
    (void)err;
    cs_json_put_raw(json, doc);
    return true;
}

void api_outcomes(struct api_call *call, const redisReply *reply) {
    static const struct list_kind kind = {.cursor = 'o',
                                          .array = "outcomes",
                                          .index = CS_KIND_OUTCOMES,
                                          .by_number = true,
                                          .document = CS_KIND_OUTCOME,
                                          .id = cs_member_outcome_read,
                                          .put = put_outcome};
    (void)reply;
    begin(call, &kind);
}
