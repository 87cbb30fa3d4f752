// SPDX-License-Identifier: Apache-2.0
#include "notify/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/mac.h"
#include "certsync/runtime/fileio.h"
#include "fetch/fetch.h"
#include "notify/notice.h"

#define ANSWER_MAX  65536
#define FILE_MAX    8192
#define SECRETS_MAX 8
#define WHSEC       "whsec_"
// "webhook-signature: ", and a signature with a blank for each secret
#define SIGNATURES_MAX (32 + SECRETS_MAX * (CS_WEBHOOK_SIGNATURE_SIZE + 1))

struct webhook {
    struct cs_sink base;
    const struct cs_notice_settings *section;
    struct cs_fetch *fetch;
    struct cs_buf file;
};

bool cs_webhook_secret(const char *line, size_t len, uint8_t ret[CS_WEBHOOK_SECRET_MAX], size_t *ret_len) {
    static const size_t before = sizeof WHSEC - 1;
    uint8_t bytes[CS_WEBHOOK_SECRET_MAX + 3];
    size_t n = 0;
    if (len <= before || memcmp(line, WHSEC, before) != 0 ||
        cs_base64_decoded_max(len - before) > sizeof bytes ||
        !cs_base64_decode(line + before, len - before, bytes, &n) || n < 24 || n > CS_WEBHOOK_SECRET_MAX)
        return false;
    memcpy(ret, bytes, n);
    *ret_len = n;
    cs_mac_cleanse(bytes, sizeof bytes);
    return true;
}

void cs_webhook_sign(struct cs_bytes secret, const char *id, int64_t time_s, struct cs_bytes body,
                     char ret[CS_WEBHOOK_SIGNATURE_SIZE]) {
    char head[CS_NOTE_ENTRY_MAX + 32];
    uint8_t mac[CS_HMAC_LEN];
    int len = snprintf(head, sizeof head, "%s.%" PRId64 ".", id, time_s);
    cs_hmac_sha256(secret, (const struct cs_bytes[]){{(const uint8_t *)head, (size_t)len}, body}, 2, mac);
    memcpy(ret, "v1,", 3);
    cs_base64_encode(mac, sizeof mac, ret + 3);
    ret[CS_WEBHOOK_SIGNATURE_SIZE - 1] = '\0';
}

// --- files

static void forget(struct webhook *w) {
    if (w->file.data)
        cs_mac_cleanse(w->file.data, w->file.cap);
    cs_buf_reset(&w->file);
}

static bool read_file(struct webhook *w, const char *setting, const char *path, struct cs_err *err) {
    forget(w);
    return cs_file_read(path, CS_FILE_PRIVATE, &w->file, err) ||
           cs_err_prepend(err, "[notice %s] %s", w->section->name, setting);
}

// The next line that is not empty, without blanks around it. False: there is none.
static bool next_line(struct cs_bytes *rest, const char **ret, size_t *ret_len) {
    while (rest->len > 0) {
        const uint8_t *end = memchr(rest->data, '\n', rest->len);
        size_t len = end ? (size_t)(end - rest->data) : rest->len;
        const char *line = (const char *)rest->data;
        rest->data += len + (end != NULL);
        rest->len -= len + (end != NULL);
        while (len > 0 && (*line == ' ' || *line == '\t')) {
            line++;
            len--;
        }
        while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t' || line[len - 1] == '\r'))
            len--;
        *ret = line;
        *ret_len = len;
        if (len > 0)
            return true;
    }
    return false;
}

// Files are read for each try: what somebody changes counts from then on.
static bool read_url(struct webhook *w, char **ret, struct cs_err *err) {
    const struct cs_notice_settings *n = w->section;
    const char *line = NULL;
    size_t len = 0;
    if (n->to[0]) {
        *ret = strdup(n->to);
        return *ret || cs_err_oom(err);
    }
    if (!read_file(w, "url_file", n->url_file, err))
        return false;
    struct cs_bytes rest = cs_buf_bytes(&w->file);
    char *url = next_line(&rest, &line, &len) ? strndup(line, len) : NULL;
    forget(w);
    if (url && cs_settings_is_url(url, true)) {
        *ret = url;
        return true;
    }
    free(url);
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "[notice %s] url_file: the first line of %s is no URL; write https://HOST[:PORT][/PATH]", n->name,
        n->url_file);
}

// The header with a signature by each secret; "" where the section has no secret.
static bool put_signatures(struct webhook *w, const char *id, int64_t now_s, struct cs_bytes body,
                           char ret[SIGNATURES_MAX], struct cs_err *err) {
    const struct cs_notice_settings *n = w->section;
    const char *line = NULL;
    size_t len = 0, secrets = 0;
    ret[0] = '\0';
    if (!n->secret_file[0])
        return true;
    if (!read_file(w, "secret_file", n->secret_file, err))
        return false;
    struct cs_bytes rest = cs_buf_bytes(&w->file);
    size_t at = (size_t)snprintf(ret, SIGNATURES_MAX, "webhook-signature:");
    bool good = true;
    while (good && next_line(&rest, &line, &len)) {
        uint8_t secret[CS_WEBHOOK_SECRET_MAX];
        size_t secret_len = 0;
        good = secrets++ < SECRETS_MAX && cs_webhook_secret(line, len, secret, &secret_len);
        if (!good)
            break;
        ret[at++] = ' ';
        cs_webhook_sign((struct cs_bytes){secret, secret_len}, id, now_s, body, ret + at);
        at += CS_WEBHOOK_SIGNATURE_SIZE - 1;
        cs_mac_cleanse(secret, sizeof secret);
    }
    forget(w);
    return (good && secrets > 0) ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "[notice %s] secret_file: each line of %s must be whsec_ and the base64 of 24 to 64 "
                      "bytes, at most %d lines; make one with: echo whsec_$(openssl rand -base64 32)",
                      n->name, n->secret_file, SECRETS_MAX);
}

// --- a delivery

static void judge(const struct webhook *w, long status, struct cs_delivered *ret) {
    bool away = status == 408 || status == 425 || status == 429 || status >= 500;
    if (status >= 200 && status < 300) {
        ret->what = CS_DELIVERED;
        return;
    }
    ret->what = away ? CS_DELIVERY_AWAY : CS_DELIVERY_REFUSED;
    ret->wait_ms = away ? cs_fetch_retry_after_s(w->fetch) * 1000 : 0;
    if (status >= 300 && status < 400)
        cs_err_set(&ret->err, CS_ERR_CONFIG, CS_CODE_NONE,
                   "it answers %ld, a redirect, which is not followed: give the address itself", status);
    else
        cs_err_set(&ret->err, away ? CS_ERR_RETRY : CS_ERR_REJECT, CS_CODE_NONE, "it answers %ld", status);
}

static bool post(struct webhook *w, const struct cs_note_entry *e, int64_t now_s, long *ret_status,
                 struct cs_err *err) {
    char id[64], time[64], signatures[SIGNATURES_MAX];
    char *url = NULL;
    if (!put_signatures(w, e->id, now_s, e->event, signatures, err) || !read_url(w, &url, err))
        return false;
    snprintf(id, sizeof id, "webhook-id: %s", e->id);
    snprintf(time, sizeof time, "webhook-timestamp: %" PRId64, now_s);
    const char *const headers[] = {"Content-Type: " CS_NOTICE_CONTENT_TYPE "; charset=utf-8", id, time,
                                   signatures};
    bool ok = cs_fetch_post(w->fetch, url, headers, signatures[0] ? 4 : 3, e->event, ret_status, err);
    free(url);
    return ok;
}

static void webhook_send(struct cs_sink *base, const struct cs_note_entry *e, int64_t now_s,
                         struct cs_delivered *ret) {
    struct webhook *w = (struct webhook *)base;
    long status = 0;
    *ret = (struct cs_delivered){0};
    if (post(w, e, now_s, &status, &ret->err)) {
        judge(w, status, ret);
        return;
    }
    ret->what = CS_DELIVERY_AWAY;
    if (ret->err.kind == CS_ERR_REJECT) // it answered too much: nobody knows whether it took it
        ret->err.kind = CS_ERR_RETRY;
}

static void webhook_free(struct cs_sink *base) {
    struct webhook *w = (struct webhook *)base;
    cs_fetch_free(w->fetch);
    forget(w);
    cs_buf_clear(&w->file);
    free(w);
}

static const struct cs_sink_ops webhook_ops = {webhook_send, webhook_free};

bool cs_webhook_new(const struct cs_consumer_settings *s, const struct cs_notice_settings *section,
                    const atomic_bool *stopping, struct cs_sink **ret, struct cs_err *err) {
    struct webhook *w = calloc(1, sizeof *w);
    char ignored[SIGNATURES_MAX];
    char *url = NULL;
    if (!w)
        return cs_err_oom(err);
    CS_AUTO(cs_sink_free) struct cs_sink *base = &w->base;
    w->base.ops = &webhook_ops;
    w->section = section;
    cs_buf_init(&w->file, FILE_MAX);
    const struct cs_fetch_options options = {section->ca, s->notify_timeout_ms, stopping, ANSWER_MAX,
                                             !section->private_addresses};
    bool ok = cs_fetch_new(&options, &w->fetch, err) && read_url(w, &url, err) &&
              put_signatures(w, "", 0, (struct cs_bytes){0}, ignored, err);
    free(url);
    if (!ok)
        return false;
    *ret = CS_TAKE(base);
    return true;
}

bool cs_sink_new(const struct cs_consumer_settings *s, const struct cs_notice_settings *section,
                 const atomic_bool *stopping, struct cs_sink **ret, struct cs_err *err) {
    return cs_webhook_new(s, section, stopping, ret, err);
}
