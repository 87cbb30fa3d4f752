// SPDX-License-Identifier: Apache-2.0
#include "cosign/ask.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "certsync/base/text.h"

#define ANSWER_MAX   16384 // bytes; a cosignature has about 200
#define QUESTION_MAX (CS_NOTE_MAX + 64 * 64)
#define SIZE_TYPE    "text/x.tlog.size"
#define CURL_HTTP    "http,https"

struct cs_cosigner {
    struct cs_crypto *crypto;
    const struct cs_witness_settings *s;
    struct cs_note_key key;
    int64_t timeout_ms;
    const atomic_bool *stopping;
    CURL *curl;
    char *url;
    struct curl_slist *headers;
    struct cs_buf question, answer;
    char curl_error[CURL_ERROR_SIZE];
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

// --- HTTP

static size_t on_data(char *data, size_t size, size_t n, void *arg) {
    struct cs_cosigner *w = arg;
    cs_buf_put(&w->answer, data, size * n);
    return w->answer.failed ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct cs_cosigner *w = arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return w->stopping && atomic_load(w->stopping);
}

static void set_options(struct cs_cosigner *w) {
    curl_easy_reset(w->curl); // keeps the connection
    curl_easy_setopt(w->curl, CURLOPT_URL, w->url);
    curl_easy_setopt(w->curl, CURLOPT_HTTPHEADER, w->headers);
    curl_easy_setopt(w->curl, CURLOPT_PROTOCOLS_STR, CURL_HTTP);
    curl_easy_setopt(w->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(w->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(w->curl, CURLOPT_USERAGENT, "certsync-consumer/" CERTSYNC_VERSION);
    curl_easy_setopt(w->curl, CURLOPT_POSTFIELDS, (const char *)w->question.data);
    curl_easy_setopt(w->curl, CURLOPT_POSTFIELDSIZE, (long)w->question.len);
    curl_easy_setopt(w->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)w->timeout_ms);
    curl_easy_setopt(w->curl, CURLOPT_TIMEOUT_MS, (long)w->timeout_ms);
    curl_easy_setopt(w->curl, CURLOPT_ERRORBUFFER, w->curl_error);
    curl_easy_setopt(w->curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(w->curl, CURLOPT_WRITEDATA, w);
    curl_easy_setopt(w->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(w->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(w->curl, CURLOPT_XFERINFODATA, w);
    if (w->s->ca[0])
        curl_easy_setopt(w->curl, CURLOPT_CAINFO, w->s->ca);
#if LIBCURL_VERSION_NUM >= 0x075700
    // Read for each connection. libcurl would keep the CA file for a day, and it may be renewed.
    curl_easy_setopt(w->curl, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
}

static void set(struct cs_cosign_answer *ret, enum cs_cosign_result result, enum cs_err_kind kind,
                const char *text) {
    ret->result = result;
    cs_err_set(&ret->err, kind, CS_CODE_NONE, "%s", text);
}

// False: there is no whole answer, and *ret says why.
static bool transfer(struct cs_cosigner *w, long *ret_status, struct cs_cosign_answer *ret) {
    char text[600];
    cs_buf_reset(&w->answer);
    w->curl_error[0] = '\0';
    set_options(w);
    CURLcode code = curl_easy_perform(w->curl);
    if (code == CURLE_OK && curl_easy_getinfo(w->curl, CURLINFO_RESPONSE_CODE, ret_status) == CURLE_OK)
        return true;
    if (w->answer.failed) {
        set(ret, CS_COSIGN_BAD_ANSWER, CS_ERR_REJECT, "its answer is larger than any cosignature");
        return false;
    }
    snprintf(text, sizeof text, "it does not answer: %s",
             w->curl_error[0] ? w->curl_error : curl_easy_strerror(code));
    set(ret, CS_COSIGN_AWAY,
        code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ? CS_ERR_CONFIG
                                                                                   : CS_ERR_RETRY,
        text);
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
    w->timeout_ms = timeout_ms;
    w->stopping = stopping;
    cs_buf_init(&w->question, QUESTION_MAX);
    cs_buf_init(&w->answer, ANSWER_MAX);
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
    // libcurl would ask first whether a large question is welcome, and wait for the answer.
    w->headers = curl_slist_append(NULL, "Expect:");
    if (!w->headers)
        return cs_err_oom(err);
    struct curl_slist *more = curl_slist_append(w->headers, "Content-Type: text/plain; charset=utf-8");
    if (!more || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(w->curl = curl_easy_init()))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "libcurl cannot be set up");
    *ret = CS_TAKE(w);
    return true;
}

void cs_cosigner_free(struct cs_cosigner *w) {
    if (!w)
        return;
    curl_easy_cleanup(w->curl);
    curl_slist_free_all(w->headers);
    cs_buf_clear(&w->question);
    cs_buf_clear(&w->answer);
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
        !cs_note_find(w->crypto, text, cs_buf_bytes(&w->answer), &w->key, &line, &time_s, &ret->err)) {
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
    char *type = NULL;
    struct cs_bytes body = cs_buf_bytes(&w->answer);
    int64_t n = 0;
    if (curl_easy_getinfo(w->curl, CURLINFO_CONTENT_TYPE, &type) != CURLE_OK || !type ||
        strncmp(type, SIZE_TYPE, sizeof SIZE_TYPE - 1) != 0 || body.len < 2 || body.len > 17 ||
        body.data[body.len - 1] != '\n' || (body.data[0] == '0' && body.len > 2))
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
    size_t len = w->answer.len < 80 ? w->answer.len : 80;
    cs_text_escape(w->answer.data ? (const char *)w->answer.data : "", len, body, sizeof body);
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
