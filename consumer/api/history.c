// SPDX-License-Identifier: Apache-2.0
//
// GET …/certificates/{id}/history: what was decided about a certificate, in the order of the log, also after its end.
//
// The catalog holds the newest outcomes of an account. Where these reach back to before the certificate was, or to the
// page's cursor, they have it all. Otherwise the page is read from the log: from the time of the certificate's id, or
// of the last outcome of the page before, on. A page reads a bounded piece, so it may be short.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"
#include "worker/apply.h"

#define WINDOW_LAST "999"               // place of the window's oldest outcome, from the newest on
#define SKEW_MS     (INT64_C(86400000)) // that a host's clock may be ahead of the broker's
#define CURSOR      'H'
_Static_assert(CS_OUTCOMES_KEPT == 1000, "as the text says");

struct history {
    cs_uuid id;
    struct api_page page; // score: the last outcome that was looked at; member: its time
    int64_t after_ms;
    int64_t oldest; // the window begins with this number
    int64_t count;
    size_t chunk_len;
    int64_t scores[API_DOCS_MAX];
    struct cs_buf json;
};

static void history_free(void *state) {
    struct history *h = state;
    cs_buf_clear(&h->json);
    free(h);
}

static void not_found(struct api_call *call) {
    api_not_found(call, CS_CODE_CERTIFICATE_NOT_FOUND);
}

static void answer(struct api_call *call, bool more) {
    struct history *h = call->state;
    if (h->count == 0 && !more && !h->page.has_cursor) {
        not_found(call);
        return;
    }
    cs_json_end(&h->json, ']');
    if (more)
        api_page_put_next(&h->json, call, CURSOR, &h->page);
    cs_json_end(&h->json, '}');
    api_answer(call, &h->json);
}

static void pass(struct history *h, int64_t n, int64_t ms) {
    h->page.score = n;
    h->after_ms = ms;
    snprintf(h->page.member, sizeof h->page.member, "%" PRId64, ms);
}

// ---- from the log

static void on_log(struct api_call *call, const struct cs_buf *docs, bool all,
                   const struct cs_past_history *found) {
    struct history *h = call->state;
    for (size_t i = 0; i < found->found; i++, h->count++)
        cs_json_put_raw(&h->json, cs_buf_bytes(&docs[i]));
    if (found->last > h->page.score)
        pass(h, found->last, found->last_ms);
    answer(call, found->full || !all);
}

static void ask_log(struct api_call *call) {
    struct history *h = call->state;
    int64_t since_ms = h->after_ms, id_ms = 0;
    if (!h->page.has_cursor && cs_uuid_time_ms(h->id, &id_ms))
        since_ms = id_ms > SKEW_MS ? id_ms - SKEW_MS : 0;
    api_older_history(call, h->id, h->page.score, (size_t)h->page.limit, since_ms, on_log);
}

// ---- from the window

static void ask_window(struct api_call *call);

static bool take(struct history *h, struct cs_bytes doc, int64_t n, struct cs_err *err) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_bytes outcome;
    bool ignored;
    if (!doc.data)
        return true;
    if (!cs_outcome_doc_split(doc, &outcome, &ignored) || !cs_outcome_decode(outcome, &o, err))
        return false;
    if (strcmp(o.verdict.subject, h->id) == 0) {
        cs_json_put_raw(&h->json, doc);
        h->count++;
    }
    pass(h, n, o.time_ms);
    return true;
}

static void on_documents(struct api_call *call, const redisReply *reply) {
    struct history *h = call->state;
    struct cs_err err;
    for (size_t i = 0; i < h->chunk_len && i < api_elements(reply) && h->count < h->page.limit; i++)
        if (!take(h, api_bytes(reply->element[i]), h->scores[i], &err)) {
            api_unreadable(call, &err);
            return;
        }
    if (h->count == h->page.limit || h->json.len > API_PAGE_BYTES)
        answer(call, true);
    else
        ask_window(call);
}

static void on_members(struct api_call *call, const redisReply *reply) {
    struct history *h = call->state;
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    h->chunk_len = api_elements(reply) / 2;
    if (h->chunk_len == 0) {
        answer(call, false);
        return;
    }
    cs_redis_put(&command, h->chunk_len + 1);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < h->chunk_len; i++) {
        cs_key member;
        h->scores[i] = strtoll(reply->element[2 * i + 1]->str, NULL, 10);
        cs_member_outcome_read(member, reply->element[2 * i]->str);
        api_put_key(&command, call, call->partition, cs_key_outcome(CS_NEW_KEY, call->account, member));
    }
    api_ask(call, &command, on_documents);
}

static void ask_window(struct api_call *call) {
    const struct history *h = call->state;
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    char from[32];
    cs_buf_init(&command, 2048);
    snprintf(from, sizeof from, "(%" PRId64, h->page.score);
    cs_redis_put(&command, 8);
    cs_redis_put_text(&command, "ZRANGEBYSCORE");
    api_put_key(&command, call, call->partition, cs_key_outcomes(CS_NEW_KEY, call->account));
    const char *const rest[] = {from, "+inf", "WITHSCORES", "LIMIT", "0"};
    for (size_t i = 0; i < CS_ARRAY_LEN(rest); i++)
        cs_redis_put_text(&command, rest[i]);
    cs_redis_put_int(&command, API_DOCS_MAX);
    api_ask(call, &command, on_members);
}

// ---- which of both

static void on_oldest(struct api_call *call, const redisReply *reply) {
    const struct history *h = call->state;
    CS_AUTO(cs_outcome_clear) struct cs_outcome oldest = {0};
    struct cs_bytes doc = api_bytes(reply), outcome;
    struct cs_err err;
    int64_t id_ms = 0;
    bool final;
    if (!doc.data || !cs_outcome_doc_split(doc, &outcome, &final) ||
        !cs_outcome_decode(outcome, &oldest, &err)) {
        api_busy(call, "The outcomes moved while they were read; ask again.");
        return;
    }
    // A share that was concluded later is in the window by that, and its own time says nothing.
    bool younger =
        oldest.n == h->oldest && cs_uuid_time_ms(h->id, &id_ms) && id_ms > oldest.time_ms + SKEW_MS;
    if (younger || (h->page.has_cursor && h->page.score + 1 >= h->oldest) || !call->api->consumer->past)
        ask_window(call);
    else
        ask_log(call);
}

static void on_window(struct api_call *call, const redisReply *reply) {
    struct history *h = call->state;
    cs_key member;
    if (api_elements(reply) < 2) { // it has room: nothing has left it
        ask_window(call);
        return;
    }
    h->oldest = strtoll(reply->element[1]->str, NULL, 10);
    cs_member_outcome_read(member, reply->element[0]->str);
    api_ask_key(call, on_oldest, cs_key_outcome(CS_NEW_KEY, call->account, member));
}

static void ask_which(struct api_call *call) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 2048);
    cs_redis_put(&command, 8);
    cs_redis_put_text(&command, "ZREVRANGEBYSCORE");
    api_put_key(&command, call, call->partition, cs_key_outcomes(CS_NEW_KEY, call->account));
    const char *const rest[] = {"+inf", "-inf", "WITHSCORES", "LIMIT", WINDOW_LAST, "1"};
    for (size_t i = 0; i < CS_ARRAY_LEN(rest); i++)
        cs_redis_put_text(&command, rest[i]);
    api_ask(call, &command, on_window);
}

// The id as a JSON string; ids need no escapes.
static void on_name(struct api_call *call, const redisReply *reply) {
    struct history *h = call->state;
    struct cs_bytes doc = api_bytes(reply);
    if (!doc.data || doc.len != CS_UUID_LEN + 2 || !cs_uuid_valid((const char *)doc.data + 1, CS_UUID_LEN)) {
        not_found(call);
        return;
    }
    memcpy(h->id, doc.data + 1, CS_UUID_LEN);
    h->id[CS_UUID_LEN] = '\0';
    ask_which(call);
}

void api_history(struct api_call *call, const redisReply *reply) {
    const char *wanted = cs_http_param(call->req, "id");
    (void)reply;
    struct history *h = calloc(1, sizeof *h);
    if (!h) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = h;
    call->state_free = history_free;
    cs_buf_init(&h->json, API_BODY_MAX);
    if (!api_page_read(call, CURSOR, &h->page))
        return;
    h->after_ms = strtoll(h->page.member, NULL, 10);
    cs_json_begin(&h->json, '{');
    cs_json_name(&h->json, "outcomes");
    cs_json_begin(&h->json, '[');
    if (cs_uuid_valid(wanted, strlen(wanted))) {
        memcpy(h->id, wanted, CS_UUID_LEN + 1);
        ask_which(call);
    } else if (cs_name_valid(wanted, strlen(wanted), CS_ALGORITHM_INTERNATIONAL)) {
        api_ask_key(call, on_name, cs_key_name(CS_NEW_KEY, call->account, wanted));
    } else {
        not_found(call);
    }
}
