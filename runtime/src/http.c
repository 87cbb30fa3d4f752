// SPDX-License-Identifier: Apache-2.0
//
// Starts and ends the server.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http_internal.h"

#define DEFAULT_HEADER_MAX ((size_t)16 * 1024)
#define DEFAULT_BODY_MAX   ((size_t)1024 * 1024)
#define DEFAULT_CONN_MAX   256
#define DEFAULT_HEADER_MS  3000
#define DEFAULT_REQUEST_MS 10000
#define DEFAULT_IDLE_MS    60000
#define DEFAULT_REPLY_MS   30000

static void set_defaults(struct cs_http_options *o) {
    o->max_header_bytes = o->max_header_bytes ? o->max_header_bytes : DEFAULT_HEADER_MAX;
    o->max_body_bytes = o->max_body_bytes ? o->max_body_bytes : DEFAULT_BODY_MAX;
    o->max_connections = o->max_connections ? o->max_connections : DEFAULT_CONN_MAX;
    o->request_timeout_ms = o->request_timeout_ms ? o->request_timeout_ms : DEFAULT_REQUEST_MS;
    o->header_timeout_ms = o->header_timeout_ms ? o->header_timeout_ms : DEFAULT_HEADER_MS;
    if (o->header_timeout_ms > o->request_timeout_ms)
        o->header_timeout_ms = o->request_timeout_ms;
    o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : DEFAULT_IDLE_MS;
    o->reply_timeout_ms = o->reply_timeout_ms ? o->reply_timeout_ms : DEFAULT_REPLY_MS;
}

bool http_setting_failed(struct cs_err *err, const char *setting) {
    return setting && *setting ? cs_err_prepend(err, "%s", setting) : false;
}

static bool copy_texts(struct cs_http_server *s, const struct cs_http_options *o) {
    bool tls = o->tls_cert_file && *o->tls_cert_file;
    s->listen = strdup(o->listen);
    if (tls) {
        s->tls_cert_file = strdup(o->tls_cert_file);
        s->tls_key_file = strdup(o->tls_key_file ? o->tls_key_file : "");
    }
    s->options.listen = s->listen;
    s->options.tls_cert_file = s->tls_cert_file;
    s->options.tls_key_file = s->tls_key_file;
    return s->listen && (!tls || (s->tls_cert_file && s->tls_key_file));
}

static bool start_listening(struct cs_http_server *s, struct cs_err *err) {
    int fd = -1;
    bool in_use;
    if (!http_listen(s->listen, &fd, &s->port, &s->unix_path, &in_use, err))
        return http_setting_failed(err, s->options.listen_setting);
    s->listener =
        evconnlistener_new(s->base, http_on_accept, s, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!s->listener) {
        close(fd);
        return cs_err_oom(err);
    }
    evconnlistener_set_error_cb(s->listener, http_on_accept_error);
    return http_sweep_start(s) || cs_err_oom(err);
}

bool cs_http_server_new(struct event_base *base, const struct cs_http_options *options,
                        struct cs_http_server **ret_server, struct cs_err *err) {
    struct cs_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    s->base = base;
    s->options = *options;
    set_defaults(&s->options);
    bool ok = copy_texts(s, options) || cs_err_oom(err);
    ok = ok && (!s->tls_cert_file || http_tls_new(&s->options, &s->tls, err));
    ok = ok && start_listening(s, err);
    if (!ok) {
        cs_http_server_free(s);
        return false;
    }
    *ret_server = s;
    return true;
}

bool cs_http_server_try(const struct cs_http_options *o, bool *ret_in_use, struct cs_err *err) {
    SSL_CTX *tls = NULL;
    char *unix_path = NULL;
    int fd = -1, port;
    if (o->tls_cert_file && *o->tls_cert_file && !http_tls_new(o, &tls, err))
        return false;
    SSL_CTX_free(tls);
    bool ok = http_listen(o->listen, &fd, &port, &unix_path, ret_in_use, err);
    if (ok)
        close(fd);
    if (unix_path)
        unlink(unix_path);
    free(unix_path);
    return ok || *ret_in_use || http_setting_failed(err, o->listen_setting);
}

void cs_http_server_free(struct cs_http_server *s) {
    if (!s)
        return;
    s->stopping = true;
    if (s->listener)
        evconnlistener_free(s->listener);
    s->listener = NULL;
    http_conns_free(s);
    if (s->unix_path)
        unlink(s->unix_path);
    SSL_CTX_free(s->tls);
    free(s->unix_path);
    free(s->listen);
    free(s->tls_cert_file);
    free(s->tls_key_file);
    free(s);
}

void cs_http_server_stop(struct cs_http_server *s) {
    s->stopping = true;
    evconnlistener_disable(s->listener);
    http_conns_stop(s);
}

int cs_http_server_port(const struct cs_http_server *s) {
    return s->port;
}

size_t cs_http_server_open_requests(const struct cs_http_server *s) {
    return s->request_count;
}

size_t cs_http_server_connections(const struct cs_http_server *s) {
    return s->conn_count;
}

bool cs_http_server_reload_tls(struct cs_http_server *s, struct cs_err *err) {
    SSL_CTX *fresh = NULL;
    if (!s->tls)
        return true;
    if (!http_tls_new(&s->options, &fresh, err))
        return false;
    SSL_CTX_free(s->tls); // connections hold their own reference
    s->tls = fresh;
    return true;
}
