// SPDX-License-Identifier: Apache-2.0
#include "fetch/fetch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "fetch/address.h"

#define CURL_HTTP "http,https"

struct cs_fetch {
    struct cs_fetch_options options;
    CURL *curl;
    struct cs_buf answer;
    struct curl_slist *headers;
    bool forbidden; // an address was not allowed
    char curl_error[CURL_ERROR_SIZE];
};

static size_t on_data(char *data, size_t size, size_t n, void *arg) {
    struct cs_fetch *f = arg;
    cs_buf_put(&f->answer, data, size * n);
    return f->answer.failed ? 0 : size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct cs_fetch *f = arg;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return f->options.stopping && atomic_load(f->options.stopping);
}

// The address is the one that is connected to: nobody can name another one between.
static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a) {
    struct cs_fetch *f = arg;
    (void)purpose;
    if (f->options.public_only && !cs_address_is_public(&a->addr)) {
        f->forbidden = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static void set_options(struct cs_fetch *f, const char *url) {
    curl_easy_reset(f->curl); // keeps the connections
    curl_easy_setopt(f->curl, CURLOPT_URL, url);
    curl_easy_setopt(f->curl, CURLOPT_FOLLOWLOCATION, 0L);
    if (f->options.public_only) // a proxy would resolve the name itself
        curl_easy_setopt(f->curl, CURLOPT_PROXY, "");
    curl_easy_setopt(f->curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(f->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(f->curl, CURLOPT_USERAGENT, "certsync-consumer/" CERTSYNC_VERSION);
    curl_easy_setopt(f->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)f->options.timeout_ms);
    curl_easy_setopt(f->curl, CURLOPT_TIMEOUT_MS, (long)f->options.timeout_ms);
    curl_easy_setopt(f->curl, CURLOPT_ERRORBUFFER, f->curl_error);
    curl_easy_setopt(f->curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(f->curl, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(f->curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(f->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(f->curl, CURLOPT_XFERINFODATA, f);
    curl_easy_setopt(f->curl, CURLOPT_OPENSOCKETFUNCTION, on_socket);
    curl_easy_setopt(f->curl, CURLOPT_OPENSOCKETDATA, f);
    if (f->options.ca && f->options.ca[0])
        curl_easy_setopt(f->curl, CURLOPT_CAINFO, f->options.ca);
#if LIBCURL_VERSION_NUM >= 0x075700
    // Read for each connection. libcurl would keep the CA file for a day, and it may be renewed.
    curl_easy_setopt(f->curl, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
}

static bool transfer(struct cs_fetch *f, struct cs_err *err) {
    cs_buf_reset(&f->answer);
    f->curl_error[0] = '\0';
    f->forbidden = false;
    CURLcode code = curl_easy_perform(f->curl);
    if (code == CURLE_OK)
        return true;
    if (f->answer.failed)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE, "its answer is larger than %zu bytes",
                          f->options.answer_max);
    if (f->forbidden)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "its address is of a private network, which is not allowed");
    bool trust = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE;
    return cs_err_set(err, trust ? CS_ERR_CONFIG : CS_ERR_RETRY, CS_CODE_NONE, "it does not answer: %s",
                      f->curl_error[0] ? f->curl_error : curl_easy_strerror(code));
}

bool cs_fetch_new(const struct cs_fetch_options *options, struct cs_fetch **ret, struct cs_err *err) {
    CS_AUTO(cs_fetch_free) struct cs_fetch *f = calloc(1, sizeof *f);
    if (!f)
        return cs_err_oom(err);
    f->options = *options;
    cs_buf_init(&f->answer, options->answer_max);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(f->curl = curl_easy_init()))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "libcurl cannot be set up");
    *ret = CS_TAKE(f);
    return true;
}

void cs_fetch_free(struct cs_fetch *f) {
    if (!f)
        return;
    curl_easy_cleanup(f->curl);
    curl_slist_free_all(f->headers);
    cs_buf_clear(&f->answer);
    free(f);
}

static bool add_header(struct cs_fetch *f, const char *line, struct cs_err *err) {
    struct curl_slist *more = curl_slist_append(f->headers, line);
    if (!more)
        return cs_err_oom(err);
    f->headers = more;
    return true;
}

static bool put_headers(struct cs_fetch *f, const char *first, const char *const *headers, size_t n,
                        struct cs_err *err) {
    curl_slist_free_all(f->headers);
    f->headers = NULL;
    if (first && !add_header(f, first, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!add_header(f, headers[i], err))
            return false;
    return true;
}

bool cs_fetch_post(struct cs_fetch *f, const char *url, const char *const *headers, size_t headers_len,
                   struct cs_bytes body, long *ret_status, struct cs_err *err) {
    // libcurl would ask first whether a large body is welcome, and wait for the answer.
    if (!put_headers(f, "Expect:", headers, headers_len, err))
        return false;
    set_options(f, url);
    curl_easy_setopt(f->curl, CURLOPT_PROTOCOLS_STR, CURL_HTTP);
    curl_easy_setopt(f->curl, CURLOPT_HTTPHEADER, f->headers);
    curl_easy_setopt(f->curl, CURLOPT_POSTFIELDS, (const char *)body.data);
    curl_easy_setopt(f->curl, CURLOPT_POSTFIELDSIZE, (long)body.len);
    if (!transfer(f, err))
        return false;
    *ret_status = 0;
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, ret_status);
    return true;
}

struct upload {
    struct cs_bytes rest;
};

static size_t on_read(char *out, size_t size, size_t n, void *arg) {
    struct upload *u = arg;
    size_t len = u->rest.len < size * n ? u->rest.len : size * n;
    memcpy(out, u->rest.data, len);
    u->rest = (struct cs_bytes){u->rest.data + len, u->rest.len - len};
    return len;
}

static bool send_mail(struct cs_fetch *f, const struct cs_fetch_mail *m, struct curl_slist *rcpt,
                      struct cs_err *err) {
    struct upload u = {m->message};
    set_options(f, m->url);
    curl_easy_setopt(f->curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
    curl_easy_setopt(f->curl, CURLOPT_USE_SSL, m->tls ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_NONE);
    if (m->username[0]) {
        curl_easy_setopt(f->curl, CURLOPT_USERNAME, m->username);
        curl_easy_setopt(f->curl, CURLOPT_PASSWORD, m->password);
    }
    curl_easy_setopt(f->curl, CURLOPT_MAIL_FROM, m->from);
    curl_easy_setopt(f->curl, CURLOPT_MAIL_RCPT, rcpt);
    curl_easy_setopt(f->curl, CURLOPT_UPLOAD, 1L);
    // A server that is gone must not hold up the goodbye (QUIT), which CURLOPT_TIMEOUT_MS does not limit.
    curl_easy_setopt(f->curl, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)((f->options.timeout_ms + 999) / 1000));
    curl_easy_setopt(f->curl, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(f->curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(f->curl, CURLOPT_READDATA, &u);
    return transfer(f, err);
}

bool cs_fetch_mail(struct cs_fetch *f, const struct cs_fetch_mail *m, struct cs_err *err) {
    struct curl_slist *rcpt = curl_slist_append(NULL, m->to);
    long status = 0;
    bool ok = rcpt ? send_mail(f, m, rcpt, err) : cs_err_oom(err);
    curl_easy_getinfo(f->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_reset(f->curl); // it must not point to what is freed
    curl_slist_free_all(rcpt);
    if (!ok && status >= 400 && status < 500)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "it answers %ld, which means: later", status);
    if (ok || status < 500 || status > 599)
        return ok;
    bool login = status == 530 || status == 534 || status == 535;
    return cs_err_set(err, login ? CS_ERR_CONFIG : CS_ERR_REJECT, CS_CODE_NONE, "it refuses: %s",
                      f->curl_error[0] ? f->curl_error : "it does not say why");
}

struct cs_bytes cs_fetch_body(const struct cs_fetch *f) {
    return cs_buf_bytes(&f->answer);
}

const char *cs_fetch_type(const struct cs_fetch *f) {
    char *type = NULL;
    return curl_easy_getinfo(f->curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type ? type : "";
}

int64_t cs_fetch_retry_after_s(const struct cs_fetch *f) {
    curl_off_t s = 0;
    return curl_easy_getinfo(f->curl, CURLINFO_RETRY_AFTER, &s) == CURLE_OK && s > 0 ? (int64_t)s : 0;
}
