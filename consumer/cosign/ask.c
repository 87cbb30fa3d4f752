// SPDX-License-Identifier: Apache-2.0
#include "cosign/ask.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "fetch/fetch.h"

#define ANSWER_MAX   16384 // bytes; a cosignature has about 200
#define QUESTION_MAX (CS_NOTE_MAX + 64 * 64)
#define SIZE_TYPE    "text/x.tlog.size"

struct cs_cosigner {
    struct cs_crypto *crypto;
    const struct cs_witness_settings *s;
    struct cs_note_key key;
    struct cs_fetch *fetch;
    char *url;
    struct cs_buf question;
};

const char *cs_cosign_result_name(enum cs_cosign_result r) {
    switch (r) {
    case CS_COSIGN_COSIGNED:
        return "cosigned";
    case CS_COSIGN_OTHER_SIZE:
        return "other_size";
    case CS_COSIGN_AWAY:
        return "away";
    case CS_COSIGN_REFUSED:
        return "refused";
    case CS_COSIGN_BAD_ANSWER:
        return "bad_answer";
    case CS_COSIGN_FORK:
        return "fork";
    }
    return "";
}

static void set(struct cs_cosign_answer *ret, enum cs_cosign_result result, enum cs_err_kind kind,
                const char *text) {
    ret->result = result;
    cs_err_set(&ret->err, kind, CS_CODE_NONE, "%s", text);
}

// False: there is no whole answer, and *ret says why.
static bool transfer(struct cs_cosigner *w, long *ret_status, struct cs_cosign_answer *ret) {
    static const char *const headers[] = {"Content-Type: text/plain; charset=utf-8"};
    struct cs_err err;
    if (cs_fetch_post(w->fetch, w->url, headers, CS_ARRAY_LEN(headers), cs_buf_bytes(&w->question),
                      ret_status, &err))
        return true;
    if (err.kind == CS_ERR_REJECT)
        set(ret, CS_COSIGN_BAD_ANSWER, CS_ERR_REJECT, "its answer is larger than any cosignature");
    else
        set(ret, CS_COSIGN_AWAY, err.kind, err.msg);
    return false;
}

bool cs_cosigner_new(struct cs_crypto *crypto, const struct cs_witness_settings *s, int64_t timeout_ms,
                     const atomic_bool *stopping, struct cs_cosigner **ret, struct cs_err *err) {
    CS_AUTO(cs_cosigner_free) struct cs_cosigner *w = calloc(1, sizeof *w);
    static const char below[] = "/add-checkpoint";
    if (!w)
        return cs_err_oom(err);
    w->crypto = crypto;
    w->s = s;
    cs_buf_init(&w->question, QUESTION_MAX);
    if (!cs_settings_witness_key(crypto, s->key, &w->key, err))
        return cs_err_prepend(err, "[witness %s] key", s->name);
    size_t len = strlen(s->url);
    while (len > 0 && s->url[len - 1] == '/')
        len--;
    w->url = malloc(len + sizeof below);
    if (!w->url)
        return cs_err_oom(err);
    memcpy(w->url, s->url, len);
    memcpy(w->url + len, below, sizeof below);
    const struct cs_fetch_options options = {s->ca, timeout_ms, stopping, ANSWER_MAX, false};
    if (!cs_fetch_new(&options, &w->fetch, err))
        return false;
    *ret = CS_TAKE(w);
    return true;
}

void cs_cosigner_free(struct cs_cosigner *w) {
    if (!w)
        return;
    cs_fetch_free(w->fetch);
    cs_buf_clear(&w->question);
    free(w->url);
    free(w);
}

const struct cs_note_key *cs_cosigner_key(const struct cs_cosigner *w) {
    return &w->key;
}

const char *cs_cosigner_name(const struct cs_cosigner *w) {
    return w->s->name;
}

// --- what it answers

static void put_question(struct cs_cosigner *w, const struct cs_cosign_question *q) {
    char text[45] = "";
    cs_buf_reset(&w->question);
    cs_buf_printf(&w->question, "old %" PRId64 "\n", q->old);
    for (size_t i = 0; i < q->path->len; i++) {
        cs_base64_encode(q->path->hashes[i].sha256, sizeof q->path->hashes[i].sha256, text);
        cs_buf_printf(&w->question, "%.44s\n", text);
    }
    cs_buf_putc(&w->question, '\n');
    cs_buf_put(&w->question, q->note.data, q->note.len);
}

static void cosigned(struct cs_cosigner *w, const struct cs_cosign_question *q, int64_t now_s,
                     struct cs_cosign_answer *ret) {
    struct cs_bytes text;
    struct cs_bytes lines;
    struct cs_bytes line;
    int64_t time_s = 0;
    char what[160];
    if (!cs_note_split(q->note, &text, &lines, &ret->err) ||
        !cs_note_find(w->crypto, text, cs_fetch_body(w->fetch), &w->key, &line, &time_s, &ret->err)) {
        ret->result = CS_COSIGN_BAD_ANSWER;
        cs_err_prepend(&ret->err, "its answer is no cosignature of the checkpoint");
        return;
    }
    if (time_s < now_s - CS_COSIGN_CLOCK_S || time_s > now_s + CS_COSIGN_CLOCK_S) {
        snprintf(what, sizeof what,
                 "its cosignature is of another time, %" PRId64
                 " seconds from ours: its clock or ours is wrong, or it sends an old one",
                 time_s - now_s);
        set(ret, CS_COSIGN_BAD_ANSWER, CS_ERR_REJECT, what);
        return;
    }
    if (line.len >= sizeof ret->line) {
        set(ret, CS_COSIGN_BAD_ANSWER, CS_ERR_REJECT, "its cosignature is too long");
        return;
    }
    memcpy(ret->line, line.data, line.len);
    ret->line[line.len] = '\0';
    ret->time_s = time_s;
    ret->result = CS_COSIGN_COSIGNED;
}

// The size of a 409. False: it names none.
static bool read_size(struct cs_cosigner *w, int64_t *ret) {
    struct cs_bytes body = cs_fetch_body(w->fetch);
    int64_t n = 0;
    if (strncmp(cs_fetch_type(w->fetch), SIZE_TYPE, sizeof SIZE_TYPE - 1) != 0 || body.len < 2 ||
        body.len > 17 || body.data[body.len - 1] != '\n' || (body.data[0] == '0' && body.len > 2))
        return false;
    for (size_t i = 0; i + 1 < body.len; i++) {
        if (body.data[i] < '0' || body.data[i] > '9')
            return false;
        n = n * 10 + (body.data[i] - '0');
    }
    *ret = n;
    return n <= CS_MERKLE_SIZE_MAX;
}

static void conflict(struct cs_cosigner *w, const struct cs_cosign_question *q,
                     struct cs_cosign_answer *ret) {
    int64_t size = -1;
    bool named = read_size(w, &size);
    if (q->old > 0 && q->old == q->at->size && (!named || size == q->old)) {
        set(ret, CS_COSIGN_FORK, CS_ERR_FATAL,
            "it has cosigned a checkpoint of as many outcomes with another root");
    } else if (!named || (size == q->old && q->at->size > 0)) {
        set(ret, CS_COSIGN_BAD_ANSWER, CS_ERR_REJECT,
            "it says that it knows another size (409), and names none");
    } else {
        set(ret, CS_COSIGN_OTHER_SIZE, CS_ERR_RETRY, "it knows another size");
        ret->size = size;
    }
}

static void other_status(const struct cs_cosigner *w, long status, struct cs_cosign_answer *ret) {
    char text[400];
    char body[200];
    struct cs_bytes answer = cs_fetch_body(w->fetch);
    size_t len = answer.len < 80 ? answer.len : 80;
    cs_text_escape(answer.data ? (const char *)answer.data : "", len, body, sizeof body);
    bool away = status >= 500 || status == 429;
    bool refused = status == 400 || status == 401 || status == 403 || status == 404;
    snprintf(text, sizeof text, "it answers %ld: %s", status, body);
    if (status == 404 || status == 403)
        snprintf(text, sizeof text,
                 "it does not know %s (%ld): give the origin of each partition, and the key that "
                 "certsync-consumer checkpoint-key prints, to its operator",
                 status == 404 ? "this log" : "the log's checkpoint key", status);
    set(ret,
        away      ? CS_COSIGN_AWAY
        : refused ? CS_COSIGN_REFUSED
                  : CS_COSIGN_BAD_ANSWER,
        away ? CS_ERR_RETRY : CS_ERR_REJECT, text);
}

void cs_cosigner_ask(struct cs_cosigner *w, const struct cs_cosign_question *q, int64_t now_s,
                     struct cs_cosign_answer *ret) {
    long status = 0;
    *ret = (struct cs_cosign_answer){0};
    put_question(w, q);
    if (!cs_buf_ok(&w->question, &ret->err)) {
        ret->result = CS_COSIGN_AWAY;
        return;
    }
    if (!transfer(w, &status, ret))
        return;
    if (status == 200)
        cosigned(w, q, now_s, ret);
    else if (status == 409)
        conflict(w, q, ret);
    else if (status == 422 && q->old > 0)
        set(ret, CS_COSIGN_FORK, CS_ERR_FATAL,
            "what it cosigned before is no beginning of this log (422: the proof does not hold)");
    else
        other_status(w, status, ret);
}
