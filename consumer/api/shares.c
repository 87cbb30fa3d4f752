// SPDX-License-Identifier: Apache-2.0
//
// GET …/shares: the open and pending shares of an account, both ends. In steps of API_DOCS_MAX: the
// index's members ("in/<share id>", "out/<share id>"), their states, then the certificates that
// these name.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"

struct end { // one share, from its state document
    bool out, known;
    struct cs_share share; // out
    struct cs_share_in in; // in
};

struct shares {
    struct api_page page;
    int64_t left;
    bool exhausted;
    size_t chunk_len;
    struct end chunk[API_DOCS_MAX];
    struct cs_buf out, in; // the items of each list
};

static void shares_free(void *state) {
    struct shares *s = state;
    cs_buf_clear(&s->out);
    cs_buf_clear(&s->in);
    free(s);
}

static void on_index(struct api_call *call, const redisReply *reply);
static void on_states(struct api_call *call, const redisReply *reply);
static void on_certificates(struct api_call *call, const redisReply *reply);

static int64_t chunk_size(const struct shares *s) {
    return s->left < API_DOCS_MAX ? s->left : API_DOCS_MAX;
}

static void ask_index(struct api_call *call, const struct shares *s) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 4096);
    api_page_put_lex(&command, call, &s->page, CS_KIND_SHARES, "", chunk_size(s) + 1);
    api_ask(call, &command, on_index);
}

static void finish(struct api_call *call, const struct shares *s) {
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, API_BODY_MAX);
    cs_json_begin(&json, '{');
    cs_json_name(&json, "out");
    cs_json_begin(&json, '[');
    cs_buf_put(&json, s->out.data, s->out.len);
    cs_json_end(&json, ']');
    cs_json_name(&json, "in");
    cs_json_begin(&json, '[');
    cs_buf_put(&json, s->in.data, s->in.len);
    cs_json_end(&json, ']');
    if (!s->exhausted)
        api_page_put_next(&json, call, 's', &s->page);
    cs_json_end(&json, '}');
    json.failed = json.failed || s->out.failed || s->in.failed;
    api_answer(call, &json);
}

static void next_step(struct api_call *call, const struct shares *s) {
    if (!s->exhausted && s->left > 0 && s->out.len + s->in.len < API_PAGE_BYTES)
        ask_index(call, s);
    else
        finish(call, s);
}

static void on_index(struct api_call *call, const redisReply *reply) {
    struct shares *s = call->state;
    size_t n = api_elements(reply), take = (size_t)chunk_size(s);
    s->exhausted = n <= take;
    s->chunk_len = n < take ? n : take;
    if (s->chunk_len == 0) {
        next_step(call, s);
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, s->chunk_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < s->chunk_len; i++) {
        const char *member = reply->element[i]->str;
        bool out;
        const char *id = cs_member_share_read(member, &out);
        s->chunk[i] = (struct end){.out = out};
        api_put_key(&command, call, call->partition,
                    cs_key_make(CS_NEW_KEY, out ? CS_KIND_SHARE : CS_KIND_SHARE_IN, call->account, id, NULL));
    }
    s->page.has_cursor = true;
    snprintf(s->page.member, sizeof s->page.member, "%s", reply->element[s->chunk_len - 1]->str);
    api_ask(call, &command, on_states);
}

static bool read_state(struct end *e, struct cs_bytes doc, struct cs_err *err) {
    e->known = doc.data != NULL;
    if (!e->known)
        return true;
    return e->out ? cs_share_decode(doc, &e->share, err) : cs_share_in_decode(doc, &e->in, err);
}

static void on_states(struct api_call *call, const redisReply *reply) {
    struct shares *s = call->state;
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    cs_redis_put(&command, s->chunk_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < s->chunk_len; i++) {
        struct end *e = &s->chunk[i];
        struct cs_bytes doc = i < api_elements(reply) ? api_bytes(reply->element[i]) : (struct cs_bytes){0};
        if (!read_state(e, doc, &err)) {
            api_unreadable(call, &err);
            return;
        }
        if (e->out)
            api_put_key(&command, call, call->partition,
                        cs_key_cert(CS_NEW_KEY, call->account, e->share.certificate));
        else
            api_put_key(&command, call, call->partition,
                        cs_key_shared_in(CS_NEW_KEY, call->account, e->in.owner_account, e->in.certificate));
    }
    api_ask(call, &command, on_certificates);
}

static bool put_out(struct cs_buf *b, const struct cs_share *share, struct cs_bytes doc, struct cs_err *err) {
    CS_AUTO(cs_certificate_clear) struct cs_certificate cert = {0};
    if (!cs_certificate_decode(doc, &cert, err))
        return false;
    if (cert.deleted || share->state == CS_SHARE_CLOSED)
        return true;
    cs_json_begin(b, '{');
    cs_json_str(b, "share", share->id);
    cs_json_str(b, "certificate", share->certificate);
    cs_json_str(b, "name", cert.summary.name);
    cs_json_str(b, "to", share->to);
    cs_json_str(b, "state", share->state == CS_SHARE_OPEN ? "open" : "pending");
    cs_json_int(b, "version", share->version);
    cs_json_int(b, "accepted", share->accepted);
    api_put_time_ms(b, "created", share->created_ms);
    api_put_time_ms(b, "updated", share->updated_ms);
    cs_json_end(b, '}');
    return true;
}

static bool put_in(struct cs_buf *b, const struct cs_share_in *state, struct cs_bytes doc,
                   struct cs_err *err) {
    CS_AUTO(cs_shared_in_clear) struct cs_shared_in in = {0};
    if (!cs_shared_in_decode(doc, &in, err))
        return false;
    if (!state->open || strcmp(in.share, state->id) != 0)
        return true;
    cs_json_begin(b, '{');
    cs_json_str(b, "share", state->id);
    cs_json_str(b, "certificate", state->certificate);
    cs_json_str(b, "name", in.summary.name);
    cs_json_str(b, "owner_account", state->owner_account);
    cs_json_str(b, "owner_source", cs_source_name(in.summary.source));
    cs_json_str(b, "state", "open");
    cs_json_int(b, "version", in.summary.version);
    api_put_time_ms(b, "created", in.created_ms);
    api_put_time_ms(b, "updated", in.updated_ms);
    cs_json_end(b, '}');
    return true;
}

static void on_certificates(struct api_call *call, const redisReply *reply) {
    struct shares *s = call->state;
    struct cs_err err;
    for (size_t i = 0; i < s->chunk_len && i < api_elements(reply); i++) {
        const struct end *e = &s->chunk[i];
        struct cs_bytes doc = api_bytes(reply->element[i]);
        if (!e->known || !doc.data)
            continue;
        if (e->out ? !put_out(&s->out, &e->share, doc, &err) : !put_in(&s->in, &e->in, doc, &err)) {
            api_unreadable(call, &err);
            return;
        }
    }
    s->left -= (int64_t)s->chunk_len;
    next_step(call, s);
}

void api_shares(struct api_call *call, const redisReply *reply) {
    (void)reply;
    struct shares *s = calloc(1, sizeof *s);
    if (!s) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = s;
    call->state_free = shares_free;
    cs_buf_init(&s->out, API_BODY_MAX / 4);
    cs_buf_init(&s->in, API_BODY_MAX / 4);
    if (!api_page_read(call, 's', &s->page))
        return;
    s->left = s->page.limit;
    ask_index(call, s);
}
