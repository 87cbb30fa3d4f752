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
        evconnlistener_new(s->base, http_on_accept, s,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_THREADSAFE, 0, fd);
    if (!s->listener) {
        close(fd);
        return cs_err_oom(err);
    }
    evconnlistener_set_error_cb(s->listener, http_on_accept_error);
    return http_sweep_start(s) || cs_err_oom(err);
}

static struct cs_http_server *new_server(struct event_base *base, struct cs_http_server *first) {
    struct cs_http_server *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->base = base;
    s->first = first ? first : s;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->given_lock, NULL);
    return s;
}

bool cs_http_server_new(struct event_base *base, const struct cs_http_options *options,
                        struct cs_http_server **ret_server, struct cs_err *err) {
    struct cs_http_server *s = new_server(base, NULL);
    if (!s)
        return cs_err_oom(err);
    s->options = *options;
    set_defaults(&s->options);
    s->max_conns = s->options.max_connections;
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

// Each has an equal part of the places; of what is left over, the first ones have one more.
static void share_places(struct cs_http_server *first) {
    size_t n = first->sharing_count + 1, all = first->options.max_connections, i = 1;
    first->max_conns = all / n + (all % n > 0);
    for (struct cs_http_server *s = first->sharing; s; s = s->next, i++)
        s->max_conns = all / n + (i < all % n);
}

bool cs_http_server_share(struct cs_http_server *first, struct event_base *base, void *arg,
                          struct cs_http_server **ret_server, struct cs_err *err) {
    struct cs_http_server *s = new_server(base, first), **end = &first->sharing;
    if (!s)
        return cs_err_oom(err);
    s->options = first->options;
    s->options.arg = arg;
    s->woken = event_new(base, -1, EV_PERSIST, http_on_given, s);
    if (!s->woken || event_add(s->woken, NULL) < 0 || !http_sweep_start(s)) {
        cs_http_server_free(s);
        return cs_err_oom(err);
    }
    while (*end)
        end = &(*end)->next;
    *end = s;
    first->sharing_count++;
    share_places(first);
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

static void free_given(struct cs_http_server *s) {
    for (struct http_given *g = s->given, *next; g; g = next) {
        next = g->next;
        close(g->fd);
        free(g);
    }
    if (s->woken)
        event_free(s->woken);
}

void cs_http_server_free(struct cs_http_server *s) {
    if (!s)
        return;
    s->stopping = true;
    if (s->listener)
        evconnlistener_free(s->listener);
    s->listener = NULL;
    http_conns_free(s);
    free_given(s);
    if (s->unix_path)
        unlink(s->unix_path);
    SSL_CTX_free(s->tls);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->given_lock);
    free(s->unix_path);
    free(s->listen);
    free(s->tls_cert_file);
    free(s->tls_key_file);
    free(s);
}

void cs_http_server_stop(struct cs_http_server *s) {
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    if (s->listener)
        evconnlistener_disable(s->listener);
    pthread_mutex_unlock(&s->lock);
    http_conns_stop(s);
}

int cs_http_server_port(const struct cs_http_server *s) {
    return s->port;
}

size_t cs_http_server_open_requests(const struct cs_http_server *s) {
    return atomic_load(&s->busy_count);
}

size_t cs_http_server_connections(const struct cs_http_server *s) {
    return atomic_load(&s->conn_count);
}

bool cs_http_server_reload_tls(struct cs_http_server *s, struct cs_err *err) {
    SSL_CTX *fresh = NULL, *old = NULL;
    if (!s->tls_cert_file)
        return true;
    if (!http_tls_new(&s->options, &fresh, err))
        return false;
    pthread_mutex_lock(&s->lock);
    old = s->tls;
    s->tls = fresh;
    pthread_mutex_unlock(&s->lock);
    SSL_CTX_free(old); // connections hold their own reference
    return true;
}
