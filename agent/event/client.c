// SPDX-License-Identifier: Apache-2.0
#include "event/client.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "certsync/base/json_write.h"
#include "certsync/base/text.h"
#include "certsync/model/ident.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/mask.h"

#define ANSWER_MAX     ((size_t)32 * 1024 * 1024)
#define TOKEN_LIFE_S   300
#define TOKEN_RENEW_S  240 // so that a token is still good when it arrives
#define TOKEN_PART_MAX 1024
#define ALL_ACCOUNTS   "*"

struct cs_client {
    struct cs_client_options o;
    CURL *curl;
    bool for_all; // tokens say "*"
    char *token;
    int64_t token_until_s;
    char *url;
    struct cs_buf answer;
    long status;
    char code[64];
    cs_log_id log; // that the last answer named
    bool foreign_log, same_log;
    char curl_error[CURL_ERROR_SIZE];
};

// --- tokens --------------------------------------------------------------------------------------

static void put_part(struct cs_buf *token, const struct cs_buf *json) {
    char text[TOKEN_PART_MAX * 2];
    cs_buf_put(token, text, cs_base64url_encode(json->data, json->len, text));
}

static void put_header(const struct cs_client *c, struct cs_buf *json) {
    cs_json_begin(json, '{');
    cs_json_str(json, "alg", "ES256");
    cs_json_str(json, "typ", "JWT");
    cs_json_str(json, "kid", c->o.kid);
    cs_json_end(json, '}');
}

static void put_claims(const struct cs_client *c, int64_t now_s, struct cs_buf *json) {
    cs_json_begin(json, '{');
    cs_json_str(json, "iss", c->o.kid);
    cs_json_str(json, "sub", c->for_all ? ALL_ACCOUNTS : c->o.account);
    cs_json_str(json, "aud", c->o.deployment);
    cs_json_int(json, "iat", now_s);
    cs_json_int(json, "exp", now_s + TOKEN_LIFE_S);
    cs_json_end(json, '}');
}

// Signed here: libraries for it want the private key's bytes, and a key in a TPM does not give
// them.
static bool sign_token(const struct cs_client *c, int64_t now_s, char **ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf header, claims, token;
    uint8_t sig[CS_ES256_SIG_LEN];
    char text[CS_ES256_SIG_LEN * 2];
    cs_buf_init(&header, TOKEN_PART_MAX);
    cs_buf_init(&claims, TOKEN_PART_MAX);
    cs_buf_init(&token, (size_t)TOKEN_PART_MAX * 4);
    put_header(c, &header);
    put_claims(c, now_s, &claims);
    if (!cs_buf_ok(&header, err) || !cs_buf_ok(&claims, err))
        return false;
    put_part(&token, &header);
    cs_buf_putc(&token, '.');
    put_part(&token, &claims);
    if (!cs_buf_ok(&token, err) || !cs_es256_sign(c->o.crypto, c->o.key, cs_buf_bytes(&token), sig, err))
        return false;
    cs_buf_putc(&token, '.');
    cs_buf_put(&token, text, cs_base64url_encode(sig, sizeof sig, text));
    *ret = strdup((const char *)token.data);
    return *ret ? true : cs_err_oom(err);
}

static bool fresh_token(struct cs_client *c, struct cs_err *err) {
    int64_t now_s = cs_clock_wall_ms(c->o.clock) / 1000;
    char *token;
    if (c->token && now_s < c->token_until_s && now_s >= c->token_until_s - TOKEN_LIFE_S)
        return true;
    if (!sign_token(c, now_s, &token, err))
        return cs_err_prepend(err, "the token for the API cannot be signed");
    free(c->token);
    c->token = token;
    c->token_until_s = now_s + TOKEN_RENEW_S;
    return true;
}

static void forget_token(struct cs_client *c) {
    free(c->token);
    c->token = NULL;
}

bool cs_client_token(struct cs_client *c, bool for_all, const char **ret, int64_t *ret_expires_s,
                     struct cs_err *err) {
    forget_token(c);
    c->for_all = for_all;
    if (!fresh_token(c, err))
        return false;
    *ret = c->token;
    *ret_expires_s = c->token_until_s - TOKEN_RENEW_S + TOKEN_LIFE_S;
    return true;
}

// --- requests ------------------------------------------------------------------------------------

static size_t on_data(char *data, size_t size, size_t n, void *arg) {
    struct cs_client *c = arg;
    cs_buf_put(&c->answer, data, size * n);
    return c->answer.failed ? 0 : size * n;
}

// "Certsync-Log: ID"; a form that is none is ignored.
static size_t on_header(char *data, size_t size, size_t n, void *arg) {
    static const char name[] = CS_LOG_HEADER ":";
    struct cs_client *c = arg;
    size_t len = size * n, at = sizeof name - 1;
    if (len <= at || strncasecmp(data, name, at) != 0)
        return len;
    while (at < len && data[at] == ' ')
        at++;
    size_t end = len;
    while (end > at && strchr(" \r\n", data[end - 1]))
        end--;
    if (cs_log_id_valid(data + at, end - at)) {
        memset(c->log, 0, sizeof c->log);
        memcpy(c->log, data + at, end - at);
    }
    return len;
}

bool cs_client_new(const struct cs_client_options *options, struct cs_client **ret, struct cs_err *err) {
    if (!options->url[0])
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "no API is configured; set api.url (CERTSYNC_API_URL) to the address of certsync-consumer");
    CS_AUTO(cs_client_free) struct cs_client *c = calloc(1, sizeof *c);
    if (!c)
        return cs_err_oom(err);
    c->o = *options;
    c->for_all = !options->account[0];
    cs_buf_init(&c->answer, ANSWER_MAX);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(c->curl = curl_easy_init()))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "libcurl cannot be set up");
    c->url = strdup(options->url);
    if (!c->url)
        return cs_err_oom(err);
    for (size_t len = strlen(c->url); len > 0 && c->url[len - 1] == '/'; len--)
        c->url[len - 1] = '\0';
    *ret = CS_TAKE(c);
    return true;
}

void cs_client_free(struct cs_client *c) {
    if (!c)
        return;
    curl_easy_cleanup(c->curl);
    free(c->token);
    cs_buf_clear(&c->answer);
    free(c->url);
    free(c);
}

bool cs_client_foreign_log(const struct cs_client *c) {
    return c->foreign_log;
}

bool cs_client_same_log(const struct cs_client *c) {
    return c->same_log;
}

void cs_client_set_timeout(struct cs_client *c, int64_t timeout_ms) {
    c->o.timeout_ms = timeout_ms;
}

int cs_client_status(const struct cs_client *c) {
    return (int)c->status;
}

const char *cs_client_code(const struct cs_client *c) {
    return c->code;
}

// At least a millisecond: for libcurl 0 means no limit.
static int64_t bounded(const struct cs_client *c, int64_t timeout_ms) {
    int64_t left_ms = c->o.deadline_ms - cs_clock_mono_ms(c->o.clock);
    if (left_ms > timeout_ms)
        return timeout_ms;
    return left_ms > 0 ? left_ms : 1;
}

// CURLE_OK where the transfer was complete, whatever its status.
static CURLcode transfer(struct cs_client *c, const char *url, const char *authorization, int64_t wait_ms) {
    struct curl_slist *headers = curl_slist_append(NULL, authorization);
    if (!headers)
        return CURLE_OUT_OF_MEMORY;
    cs_buf_reset(&c->answer);
    c->curl_error[0] = '\0';
    c->log[0] = '\0';
    curl_easy_reset(c->curl); // keeps the connections
    curl_easy_setopt(c->curl, CURLOPT_URL, url);
    curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_USERAGENT, "certsync/" CERTSYNC_VERSION);
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)bounded(c, c->o.timeout_ms));
    curl_easy_setopt(c->curl, CURLOPT_TIMEOUT_MS, (long)bounded(c, c->o.timeout_ms + wait_ms));
    curl_easy_setopt(c->curl, CURLOPT_ERRORBUFFER, c->curl_error);
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c->curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c->curl, CURLOPT_HEADERDATA, c);
    curl_easy_setopt(c->curl, CURLOPT_TCP_NODELAY, 1L);
    if (c->o.ca[0])
        curl_easy_setopt(c->curl, CURLOPT_CAINFO, c->o.ca);
#if LIBCURL_VERSION_NUM >= 0x075700
    // Read for each connection. libcurl would keep the CA file for a day, and it may be renewed.
    curl_easy_setopt(c->curl, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
    CURLcode code = curl_easy_perform(c->curl);
    if (code == CURLE_OK)
        curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &c->status);
    curl_slist_free_all(headers);
    return code;
}

static bool transport_error(const struct cs_client *c, CURLcode code, struct cs_err *err) {
    const char *text = c->curl_error[0] ? c->curl_error : curl_easy_strerror(code);
    char url[300];
    cs_mask_text(c->url, url, sizeof url, true);
    switch ((int)code) {
    case CURLE_OUT_OF_MEMORY:
        return cs_err_oom(err);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "api.url %s: %s", url, text);
    case CURLE_SSL_CACERT_BADFILE:
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "api.ca %s: %s", c->o.ca, text);
    case CURLE_PEER_FAILED_VERIFICATION:
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the API at %s: %s; set api.ca to the file with the CA certificate that signed the "
                          "API's certificate",
                          url, text);
    default:
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the API at %s does not answer: %s", url, text);
    }
}

// What it says is of no use, and what is sent would come to where nobody takes it.
static bool same_log(struct cs_client *c, struct cs_err *err) {
    if (!c->log[0])
        return true;
    c->same_log = strcmp(c->log, c->o.log_id) == 0;
    c->foreign_log = c->o.log_id[0] && !c->same_log;
    return !c->foreign_log ||
           cs_err_set(
               err, CS_ERR_CONFIG, CS_CODE_NONE,
               "the API at %s serves log %s, but this host works with log %s, so nothing is sent: if api.url "
               "leads to another cluster, correct it; if the topics were made anew, say id = %s under "
               "[deployment] in the settings, and have this host's key enrolled again",
               c->url, c->log, c->o.log_id, c->log);
}

static bool get_once(struct cs_client *c, const char *path, int64_t wait_ms, struct cs_err *err) {
    c->status = 0;
    c->code[0] = '\0';
    if (!fresh_token(c, err))
        return false;
    CS_AUTO(cs_buf_clear) struct cs_buf url, header;
    cs_buf_init(&url, 16384);
    cs_buf_init(&header, 16384);
    cs_buf_printf(&url, "%s%s", c->url, path);
    cs_buf_printf(&header, "Authorization: Bearer %s", c->token);
    if (!cs_buf_ok(&url, err) || !cs_buf_ok(&header, err))
        return false;
    CURLcode code = transfer(c, (const char *)url.data, (const char *)header.data, wait_ms);
    return code == CURLE_OK ? same_log(c, err) : transport_error(c, code, err);
}

// A problem (RFC 9457): our code if it has one, and its detail.
static bool problem(struct cs_client *c, const json_t *body, struct cs_err *err) {
    const char *code = json_string_value(json_object_get(body, "code"));
    const char *detail = json_string_value(json_object_get(body, "detail"));
    const char *title = json_string_value(json_object_get(body, "title"));
    char text[400];
    if (code)
        snprintf(c->code, sizeof c->code, "%s", code);
    enum cs_code known = code ? cs_code_from_name(code, strlen(code)) : CS_CODE_NONE;
    if (!detail || !detail[0])
        detail = known != CS_CODE_NONE ? cs_code_sentence(known) : title;
    if (!detail)
        detail = "no reason given";
    cs_text_escape(detail, strlen(detail), text, sizeof text);
    bool later = c->status >= 500 || c->status == 429;
    return cs_err_set(err, later ? CS_ERR_RETRY : CS_ERR_REJECT, known, "the API answers %ld: %s", c->status,
                      text);
}

bool cs_client_get(struct cs_client *c, const char *path, int64_t wait_ms, json_t **ret, struct cs_err *err) {
    if (!get_once(c, path, wait_ms, err))
        return false;
    if ((c->status == 401 || c->status == 403) && c->o.account[0]) {
        // Perhaps it is a key of the other kind. If that fails no better, the first answer counts.
        struct cs_err ignored;
        c->for_all = !c->for_all;
        forget_token(c);
        bool better = get_once(c, path, wait_ms, &ignored) && c->status != 401 && c->status != 403;
        if (!better) {
            c->for_all = !c->for_all;
            forget_token(c);
            if (!get_once(c, path, wait_ms, err))
                return false;
        }
    }
    json_error_t json_error;
    json_t *body = json_loadb((const char *)(c->answer.data ? c->answer.data : (const uint8_t *)""),
                              c->answer.len, JSON_REJECT_DUPLICATES, &json_error);
    bool ok;
    if (c->status != 200)
        ok = problem(c, body, err);
    else if (!json_is_object(body))
        ok = cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                        "api.url %s: what answers there is not certsync-consumer's API", c->url);
    else
        ok = true;
    if (!ok) {
        json_decref(body);
        return false;
    }
    *ret = body;
    return true;
}

const char *cs_member_text(const json_t *item, const char *member) {
    const char *s = json_string_value(json_object_get(item, member));
    return s ? s : "";
}

static bool get_page(struct cs_client *c, const char *path, const char *cursor, json_t **ret,
                     struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf page;
    cs_buf_init(&page, 32768);
    cs_buf_puts(&page, path);
    cs_client_put_query(&page, "cursor", cursor);
    return cs_buf_ok(&page, err) && cs_client_get(c, (const char *)page.data, 0, ret, err);
}

bool cs_client_get_pages(struct cs_client *c, const char *path, const char *cursor, bool all,
                         const char *member, json_t **ret, struct cs_err *err) {
    json_t *first, *page;
    if (!get_page(c, path, cursor, &first, err))
        return false;
    json_t *items = json_object_get(first, member);
    for (const char *next; all && (next = json_string_value(json_object_get(first, "next")));) {
        if (!get_page(c, path, next, &page, err)) {
            json_decref(first);
            return false;
        }
        json_array_extend(items, json_object_get(page, member));
        json_object_del(first, "next");
        if (json_object_get(page, "next"))
            json_object_set(first, "next", json_object_get(page, "next"));
        json_decref(page);
    }
    *ret = first;
    return true;
}

bool cs_client_get_list(struct cs_client *c, const char *path, const char *member, json_t *all,
                        struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf pages;
    json_t *answer;
    cs_buf_init(&pages, 16384);
    cs_buf_puts(&pages, path);
    cs_client_put_query(&pages, "limit", "1000");
    if (!cs_buf_ok(&pages, err) ||
        !cs_client_get_pages(c, (const char *)pages.data, NULL, true, member, &answer, err))
        return false;
    json_array_extend(all, json_object_get(answer, member));
    json_decref(answer);
    return true;
}

static bool is_plain(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           (ch && strchr("-._~", ch));
}

static void put_escaped(struct cs_buf *path, const char *s) {
    for (; *s; s++) {
        if (is_plain(*s))
            cs_buf_putc(path, *s);
        else
            cs_buf_printf(path, "%%%02X", (unsigned)(unsigned char)*s);
    }
}

void cs_client_put_segment(struct cs_buf *path, const char *segment) {
    cs_buf_putc(path, '/');
    // "." and ".." would be steps in the path.
    bool dots = strcmp(segment, ".") == 0 || strcmp(segment, "..") == 0;
    if (dots)
        cs_buf_puts(path, strlen(segment) == 1 ? "%2E" : "%2E%2E");
    else
        put_escaped(path, segment);
}

void cs_client_put_account(struct cs_buf *path, const char *account, const char *below) {
    cs_buf_puts(path, "/v1/accounts");
    cs_client_put_segment(path, account);
    cs_buf_puts(path, below);
}

void cs_client_put_query(struct cs_buf *path, const char *name, const char *value) {
    if (!value || !value[0])
        return;
    cs_buf_putc(path, path->data && memchr(path->data, '?', path->len) ? '&' : '?');
    cs_buf_puts(path, name);
    cs_buf_putc(path, '=');
    put_escaped(path, value);
}
