// SPDX-License-Identifier: Apache-2.0
//
// GET …/outcomes/{event id}?wait=SECONDS: what became of one event. Without wait, the answer is
// what is known now. With it, the answer comes when the outcome is final, or at the end of the
// wait.
//
// GET …/outcomes/{event id},{event id},…: what is known now of those that are known.
//
// The catalog holds the newest outcomes of an account. For an event that it does not know, and that
// is older than these by its id, the log is asked: nobody must be told that his event is unknown
// only because it was long ago.
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "certsync/base/json_write.h"
#include "worker/apply.h"

#define WAIT_TEXT_MAX 86400 // may be asked for; the setting limits it

#define IDS_MAX      100 // of one request
#define STRINGIFY(x) TEXT_OF(x)
#define TEXT_OF(x)   #x
#define WINDOW_LAST  "999" // place of the window's oldest outcome, from the newest on
_Static_assert(CS_OUTCOMES_KEPT == 1000, "as the text says");

#define SKEW_MS 300000 // that a host's clock may be ahead of the broker's

struct question {
    bool several;
    cs_uuid event;
    int64_t until_ms; // monotonic; 0: no wait, or no more
    uint64_t heard;
    size_t asked_n;
    cs_uuid asked[IDS_MAX]; // several: in the order of asking
    int64_t oldest;         // number of the window's oldest
    size_t n;               // that the catalog does not know
    cs_uuid unknown[IDS_MAX];
    struct cs_buf json; // several: the answer so far
};

static void question_free(void *state) {
    struct question *q = state;
    cs_buf_clear(&q->json);
    free(q);
}

void api_put_outcome_keys(struct cs_buf *command, const struct api_call *call, int64_t generation,
                          const char *event) {
    for (enum cs_outcome_place place = CS_OUTCOME_OWN; place <= CS_OUTCOME_AGAIN; place++)
        api_put_key_of(
            command, call->api, call->partition, generation,
            cs_key_outcome(CS_NEW_KEY, call->account, cs_member_outcome(CS_NEW_KEY, event, place)));
}

static bool look(const struct api_call *call, struct cs_bytes doc, struct api_found *ret,
                 struct cs_err *err) {
    struct cs_bytes outcome = {0};
    bool concluded = false;
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    *ret = (struct api_found){.doc = doc};
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

bool api_outcome_look(const struct api_call *call, struct cs_bytes own, struct cs_bytes again,
                      struct api_found *ret, struct cs_err *err) {
    return look(call, own, ret, err) && (ret->exists || look(call, again, ret, err));
}

void api_outcome_answer(struct api_call *call, struct cs_bytes doc) {
    CS_AUTO(cs_buf_clear) struct cs_buf json;
    cs_buf_init(&json, API_BODY_MAX);
    cs_buf_put(&json, doc.data, doc.len);
    api_answer(call, &json);
}

// ---- what the catalog does not know

static void answer_several(struct api_call *call, struct question *q) {
    cs_json_end(&q->json, ']');
    cs_json_end(&q->json, '}');
    api_answer(call, &q->json);
}

static void answer_without(struct api_call *call, bool all) {
    struct question *q = call->state;
    if (q->several)
        answer_several(call, q);
    else if (all)
        api_problem(call, 404, "outcome.unknown", "%s",
                    "No outcome of this event is known: it was not decided yet, or never arrived.");
    else
        api_problem(call, 404, "outcome.old", "%s",
                    "The outcome of this event is not among the newest of the account, and not near the time "
                    "of its id in the log. An operator finds it with: certsync-consumer explain EVENT");
}

static void on_older(struct api_call *call, const struct cs_buf *docs, bool all,
                     const struct cs_past_history *history) {
    (void)history;
    struct question *q = call->state;
    for (size_t i = 0; i < q->n; i++) {
        struct api_found found;
        struct cs_err err;
        if (docs[i].len == 0)
            continue;
        if (!look(call, cs_buf_bytes(&docs[i]), &found, &err)) {
            api_unreadable(call, &err);
            return;
        }
        if (found.exists && q->several)
            cs_json_put_raw(&q->json, found.doc);
        if (!found.exists || q->several)
            continue;
        api_outcome_answer(call, found.doc);
        return;
    }
    answer_without(call, all);
}

// The window's oldest outcome. What was made after it would be in the window, had it been decided.
static void on_oldest(struct api_call *call, const redisReply *reply) {
    struct question *q = call->state;
    CS_AUTO(cs_outcome_clear) struct cs_outcome oldest = {.time_ms = INT64_MAX - SKEW_MS};
    struct cs_bytes doc = api_bytes(reply), outcome;
    int64_t since_ms = INT64_MAX, time_ms = 0;
    size_t n = 0;
    bool final;
    struct cs_err err;
    if (doc.data &&
        (!cs_outcome_doc_split(doc, &outcome, &final) || !cs_outcome_decode(outcome, &oldest, &err))) {
        api_unreadable(call, &err);
        return;
    }
    if (oldest.n != q->oldest) // a share that was concluded later: its own time says nothing of the window
        oldest.time_ms = INT64_MAX - SKEW_MS;
    for (size_t i = 0; i < q->n; i++) {
        if (!cs_uuid_time_ms(q->unknown[i], &time_ms) || time_ms > oldest.time_ms + SKEW_MS)
            continue;
        memmove(q->unknown[n++], q->unknown[i], sizeof q->unknown[0]);
        since_ms = time_ms < since_ms ? time_ms : since_ms;
    }
    q->n = n;
    if (n == 0)
        answer_without(call, true);
    else
        api_older_ask(call, q->unknown, n, since_ms > SKEW_MS ? since_ms - SKEW_MS : 0, on_older);
}

static void on_window(struct api_call *call, const redisReply *reply) {
    struct question *q = call->state;
    cs_key member;
    if (api_elements(reply) < 2) { // it has room: nothing has left it
        answer_without(call, true);
        return;
    }
    q->oldest = strtoll(reply->element[1]->str, NULL, 10);
    cs_member_outcome_read(member, reply->element[0]->str);
    api_ask_key(call, on_oldest, cs_key_outcome(CS_NEW_KEY, call->account, member));
}

// Also answers where there is nothing that may be in the log.
static void ask_log(struct api_call *call) {
    const struct question *q = call->state;
    if (q->n == 0 || !call->api->consumer->past) {
        answer_without(call, true);
        return;
    }
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

// ---- one

static void on_outcome(struct api_call *call, const redisReply *reply) {
    struct question *q = call->state;
    struct api_found found;
    struct cs_err err;
    if (api_elements(reply) != 2 ||
        !api_outcome_look(call, api_bytes(reply->element[0]), api_bytes(reply->element[1]), &found, &err)) {
        api_unreadable(call, &err);
    } else if (found.exists && (found.final || q->until_ms == 0)) {
        api_outcome_answer(call, found.doc);
    } else if (q->until_ms != 0) {
        api_wait_park(call, q->event, q->until_ms, q->heard);
    } else if (found.doc.data) { // another's
        answer_without(call, true);
    } else {
        memcpy(q->unknown[0], q->event, sizeof q->event);
        q->n = 1;
        ask_log(call);
    }
}

static void ask(struct api_call *call) {
    struct question *q = call->state;
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 2048);
    q->heard = api_wait_heard(call->api->waits, call->partition);
    cs_redis_put(&command, 3);
    cs_redis_put_text(&command, "MGET");
    api_put_outcome_keys(&command, call, call->generation, q->event);
    api_ask(call, &command, on_outcome);
}

void api_outcome_last(struct api_call *call) {
    struct question *q = call->state;
    q->until_ms = 0;
    ask(call);
}

// ---- several

static void on_several(struct api_call *call, const redisReply *reply) {
    struct question *q = call->state;
    size_t n = api_elements(reply) / 2;
    cs_json_begin(&q->json, '{');
    cs_json_name(&q->json, "outcomes");
    cs_json_begin(&q->json, '[');
    for (size_t i = 0; i < n && i < q->asked_n; i++) {
        struct api_found found;
        struct cs_err err;
        if (!api_outcome_look(call, api_bytes(reply->element[2 * i]), api_bytes(reply->element[2 * i + 1]),
                              &found, &err)) {
            api_unreadable(call, &err);
            return;
        }
        if (found.exists)
            cs_json_put_raw(&q->json, found.doc);
        else if (!found.doc.data)
            memcpy(q->unknown[q->n++], q->asked[i], sizeof q->asked[i]);
    }
    ask_log(call);
}

static void ask_several(struct api_call *call, struct question *q, const char *events) {
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
    cs_redis_put(&command, 2 * n + 1);
    cs_redis_put_text(&command, "MGET");
    for (const char *p = events, *end; p; p = *end ? end + 1 : NULL) {
        end = p + strcspn(p, ",");
        char *event = q->asked[q->asked_n++];
        if (!cs_uuid_valid(p, (size_t)(end - p))) {
            api_problem(call, 400, NULL, "%s",
                        "An event id is a UUID in lower case; several have commas between them.");
            return;
        }
        memcpy(event, p, CS_UUID_LEN);
        event[CS_UUID_LEN] = '\0';
        api_put_outcome_keys(&command, call, call->generation, event);
    }
    api_ask(call, &command, on_several);
}

void api_outcome(struct api_call *call, const redisReply *reply) {
    (void)reply;
    const char *event = cs_http_param(call->req, "event");
    int64_t wait_s = 0, longest_s = call->api->consumer->settings->api_max_wait_s;
    bool several = strchr(event, ',') != NULL;
    if (!several && !cs_uuid_valid(event, strlen(event))) {
        api_problem(call, 400, NULL, "%s", "An event id is a UUID in lower case.");
        return;
    }
    if (!several && !api_query_int(call, "wait", 0, 0, WAIT_TEXT_MAX, &wait_s))
        return;
    struct question *q = calloc(1, sizeof *q);
    if (!q) {
        api_problem(call, 500, NULL, "%s", "The server is out of memory.");
        return;
    }
    cs_buf_init(&q->json, API_BODY_MAX);
    q->several = several;
    call->state = q;
    call->state_free = question_free;
    if (several) {
        ask_several(call, q, event);
        return;
    }
    memcpy(q->event, event, CS_UUID_LEN + 1);
    wait_s = wait_s < longest_s ? wait_s : longest_s;
    q->until_ms = wait_s > 0 ? call->begun_ms + wait_s * 1000 : 0;
    ask(call);
}
