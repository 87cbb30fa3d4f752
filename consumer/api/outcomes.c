// SPDX-License-Identifier: Apache-2.0
//
// GET …/outcomes/{event id}?wait=SECONDS: what became of one event. Without wait, the answer is
// what is known now. With it, the answer comes when the outcome is final, or at the end of the
// wait.
//
// GET …/outcomes/{event id},{event id},…: what is known now of those that are known.
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"
#include "worker/apply.h"

#define WAIT_TEXT_MAX 86400 // may be asked for; the setting limits it

#define IDS_MAX      100 // of one request
#define STRINGIFY(x) TEXT_OF(x)
#define TEXT_OF(x)   #x

struct question {
    cs_uuid event;
    int64_t until_ms; // monotonic; 0: no wait, or no more
    uint64_t heard;
};

bool api_outcome_look(const struct api_call *call, struct cs_bytes doc, struct api_found *ret,
                      struct cs_err *err) {
    struct cs_bytes outcome = {0};
    bool concluded = false;
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    *ret = (struct api_found){0};
    if (!doc.data)
        return true;
    if (!cs_outcome_doc_split(doc, &outcome, &concluded))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "outcome: not a document of this release");
    if (!cs_outcome_decode(outcome, &o, err))
        return cs_err_prepend(err, "outcome");
    ret->exists = !call->own_events_only || strcmp(o.kid, call->token.kid) == 0;
    ret->final = concluded || o.verdict.status != CS_STATUS_PENDING;
    return true;
}

void api_outcome_answer(struct api_call *call, struct cs_bytes doc) {
    if (!doc.data) {
        api_problem(call, 404, "outcome.unknown", "%s",
                    "No outcome of this event is known: it was not decided yet, or never arrived.");
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, API_BODY_MAX);
    cs_buf_put(&json, doc.data, doc.len);
    api_answer(call, &json);
}

static void on_outcome(struct api_call *call, const redisReply *reply) {
    const struct question *q = call->state;
    struct cs_bytes doc = api_bytes(reply);
    struct api_found found;
    struct cs_err err;
    if (!api_outcome_look(call, doc, &found, &err))
        api_unreadable(call, &err);
    else if (found.exists && (found.final || q->until_ms == 0))
        api_outcome_answer(call, doc);
    else if (q->until_ms == 0)
        api_outcome_answer(call, (struct cs_bytes){0});
    else
        api_wait_park(call, q->event, q->until_ms, q->heard);
}

static void ask(struct api_call *call) {
    struct question *q = call->state;
    q->heard = api_wait_heard(call->api->waits, call->partition);
    api_ask_key(call, on_outcome, cs_key_outcome(CS_NEW_KEY, call->account, q->event));
}

void api_outcome_last(struct api_call *call) {
    struct question *q = call->state;
    q->until_ms = 0;
    ask(call);
}

// ---- several

static void on_several(struct api_call *call, const redisReply *reply) {
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, API_BODY_MAX);
    cs_json_begin(&json, '{');
    cs_json_name(&json, "outcomes");
    cs_json_begin(&json, '[');
    for (size_t i = 0; i < api_elements(reply); i++) {
        struct cs_bytes doc = api_bytes(reply->element[i]);
        struct api_found found;
        struct cs_err err;
        if (!api_outcome_look(call, doc, &found, &err)) {
            api_unreadable(call, &err);
            return;
        }
        if (found.exists)
            cs_json_put_raw(&json, doc);
    }
    cs_json_end(&json, ']');
    cs_json_end(&json, '}');
    api_answer(call, &json);
}

static void ask_several(struct api_call *call, const char *events) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    size_t n = 1;
    for (const char *p = strchr(events, ','); p; p = strchr(p + 1, ','))
        n++;
    if (api_query(call, "wait")) {
        api_problem(call, 400, NULL, "%s", "One can wait for the outcome of one event, not of several.");
        return;
    }
    if (n > IDS_MAX) {
        api_problem(call, 400, NULL, "%s", "At most " STRINGIFY(IDS_MAX) " events can be asked for at once.");
        return;
    }
    cs_redis_put(&command, n + 1);
    cs_redis_put_text(&command, "MGET");
    for (const char *p = events, *end; p; p = *end ? end + 1 : NULL) {
        end = p + strcspn(p, ",");
        cs_uuid event;
        if (!cs_uuid_valid(p, (size_t)(end - p))) {
            api_problem(call, 400, NULL, "%s",
                        "An event id is a UUID in lower case; several have commas between them.");
            return;
        }
        memcpy(event, p, CS_UUID_LEN);
        event[CS_UUID_LEN] = '\0';
        api_put_key(&command, call, call->partition, cs_key_outcome(CS_NEW_KEY, call->account, event));
    }
    api_ask(call, &command, on_several);
}

void api_outcome(struct api_call *call, const redisReply *reply) {
    (void)reply;
    const char *event = cs_http_param(call->req, "event");
    if (strchr(event, ',')) {
        ask_several(call, event);
        return;
    }
    int64_t wait_s = 0, longest_s = call->api->consumer->settings->api_max_wait_s;
    if (!cs_uuid_valid(event, strlen(event))) {
        api_problem(call, 400, NULL, "%s", "An event id is a UUID in lower case.");
        return;
    }
    if (!api_query_int(call, "wait", 0, 0, WAIT_TEXT_MAX, &wait_s))
        return;
    struct question *q = calloc(1, sizeof *q);
    if (!q) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    call->state = q;
    call->state_free = free;
    memcpy(q->event, event, CS_UUID_LEN + 1);
    wait_s = wait_s < longest_s ? wait_s : longest_s;
    q->until_ms = wait_s > 0 ? call->begun_ms + wait_s * 1000 : 0;
    ask(call);
}
