// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // POLLRDHUP
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "http_internal.h"

#define SWEEP_MS           200
#define IDLE_SWEEP_MS      1000
#define DEFAULT_HEADER_MAX ((size_t)16 * 1024)
#define DEFAULT_BODY_MAX   ((size_t)1024 * 1024)
#define DEFAULT_CONN_MAX   256
#define DEFAULT_REQUEST_MS 10000
#define DEFAULT_IDLE_MS    60000
#define DEFAULT_REPLY_MS   30000

int64_t http_now_us(void) {
    struct timespec ts = {0};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t http_now_ms(void) {
    return http_now_us() / 1000;
}

struct http_conn *http_conn_find(struct cs_http_server *server, struct bufferevent *bev) {
    struct http_conn *c = server->conns;
    while (c && c->bev != bev)
        c = c->next;
    return c;
}

void http_conn_set(struct http_conn *c, enum conn_state state) {
    const struct cs_http_options *o = &c->server->options;
    int64_t ms = 0;
    switch (state) {
    case CONN_READING:
    case CONN_WRITING:
        ms = o->request_timeout_ms;
        break;
    case CONN_HANDLING:
        ms = o->reply_timeout_ms;
        break;
    case CONN_IDLE:
        ms = c->server->stopping ? 0 : o->idle_timeout_ms;
        break;
    }
    c->state = state;
    c->deadline_ms = http_now_ms() + ms;
}

// Whether evhttp has let go of it: bufferevent_free takes the callbacks away at once.
static bool is_gone(const struct http_conn *c) {
    bufferevent_event_cb event_cb = NULL;
    bufferevent_getcb(c->bev, NULL, NULL, &event_cb, NULL);
    return event_cb == NULL;
}

void http_conn_shut(struct http_conn *c) {
    evutil_socket_t fd = bufferevent_getfd(c->bev);
    if (!c->shut && fd >= 0)
        shutdown(fd, SHUT_RDWR);
    c->shut = true;
}

// Slow clients learn why, where the connection is in a state in which that can be said.
static void say_timeout(struct http_conn *c) {
    static const char text[] =
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    evutil_socket_t fd = bufferevent_getfd(c->bev);
    bool quiet = evbuffer_get_length(bufferevent_get_output(c->bev)) == 0;
    if (c->state == CONN_READING && !c->server->tls && fd >= 0 && quiet && !c->poisoned &&
        send(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return; // it is being closed anyway
}

static void on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg) {
    (void)buffer;
    struct http_conn *c = arg;
    if (info->n_added > 0 && c->state == CONN_IDLE)
        http_conn_set(c, CONN_READING);
}

// Output while a request is still being read is evhttp's own: "100 Continue", or an error page, after which
// the rest of the refused request would be read as the next one.
static void on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg) {
    struct http_conn *c = arg;
    if (info->n_added == 0 || (c->state != CONN_READING && c->state != CONN_IDLE))
        return;
    char head[12] = "";
    evbuffer_copyout(buffer, head, sizeof head);
    if (memcmp(head + 9, "100", 3) != 0)
        c->poisoned = true;
}

static struct bufferevent *new_bev(struct cs_http_server *s) {
    if (!s->tls)
        return bufferevent_socket_new(s->base, -1, BEV_OPT_CLOSE_ON_FREE);
    SSL *ssl = SSL_new(s->tls);
    if (!ssl)
        return NULL;
    struct bufferevent *bev =
        bufferevent_openssl_socket_new(s->base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (!bev)
        SSL_free(ssl);
    return bev;
}

static void start_sweep(struct cs_http_server *s) {
    int ms = s->conns ? SWEEP_MS : IDLE_SWEEP_MS;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    evtimer_add(s->sweep, &tv);
}

// evhttp asks for the bufferevent of a connection that it has just accepted.
static struct bufferevent *on_accept(struct event_base *base, void *arg) {
    (void)base;
    struct cs_http_server *s = arg;
    struct http_conn *c = calloc(1, sizeof *c);
    struct bufferevent *bev = c ? new_bev(s) : NULL;
    if (!bev) {
        free(c);
        return NULL; // evhttp then makes one of its own, whose requests http_request_start refuses
    }
    bufferevent_incref(bev);
    *c = (struct http_conn){.server = s, .bev = bev, .next = s->conns};
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    s->conn_count++;
    http_conn_set(c, CONN_READING);
    evbuffer_add_cb(bufferevent_get_input(bev), on_input, c);
    evbuffer_add_cb(bufferevent_get_output(bev), on_output, c);
    if (s->conn_count >= s->options.max_connections) {
        evconnlistener_disable(s->listener);
        s->full = true;
    }
    if (s->conn_count == 1)
        start_sweep(s);
    return bev;
}

// Out of file descriptors, most likely: without a pause the loop would spin on the waiting connection. The
// next sweep goes on. (arg is evhttp's.)
static void on_accept_error(struct evconnlistener *listener, void *arg) {
    (void)arg;
    evconnlistener_disable(listener);
}

static void conn_free(struct http_conn *c) {
    struct cs_http_server *s = c->server;
    if (c->request)
        http_request_cancel(c->request, 0);
    evbuffer_remove_cb(bufferevent_get_input(c->bev), on_input, c);
    evbuffer_remove_cb(bufferevent_get_output(c->bev), on_output, c);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    s->conn_count--;
    bufferevent_decref(c->bev);
    free(c);
}

// evhttp does not read while a request is handled, so it would not see the client go.
static bool client_left(const struct http_conn *c) {
    struct pollfd p = {.fd = bufferevent_getfd(c->bev), .events = POLLRDHUP};
    return p.fd < 0 || (poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)));
}

static void sweep_conn(struct http_conn *c, int64_t now) {
    bool late = now >= c->deadline_ms;
    switch (c->state) {
    case CONN_HANDLING:
        if (c->request && client_left(c))
            http_request_cancel(c->request, 0);
        else if (c->request && late)
            http_request_cancel(c->request, 503);
        return;
    case CONN_READING:
        if (late || c->poisoned) {
            if (late)
                say_timeout(c);
            http_conn_shut(c);
        }
        return;
    case CONN_WRITING:
        if (late)
            http_conn_shut(c);
        return;
    case CONN_IDLE:
        if (late || c->server->full || c->server->stopping || c->poisoned)
            http_conn_shut(c);
        return;
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct cs_http_server *s = arg;
    int64_t now = http_now_ms();
    for (struct http_conn *c = s->conns, *next; c; c = next) {
        next = c->next; // freeing one frees no other
        if (is_gone(c))
            conn_free(c);
        else
            sweep_conn(c, now);
    }
    s->full = s->conn_count >= s->options.max_connections;
    if (!s->full && !s->stopping)
        evconnlistener_enable(s->listener);
    start_sweep(s);
}

static void set_defaults(struct cs_http_options *o) {
    o->max_header_bytes = o->max_header_bytes ? o->max_header_bytes : DEFAULT_HEADER_MAX;
    o->max_body_bytes = o->max_body_bytes ? o->max_body_bytes : DEFAULT_BODY_MAX;
    o->max_connections = o->max_connections ? o->max_connections : DEFAULT_CONN_MAX;
    o->request_timeout_ms = o->request_timeout_ms ? o->request_timeout_ms : DEFAULT_REQUEST_MS;
    o->idle_timeout_ms = o->idle_timeout_ms ? o->idle_timeout_ms : DEFAULT_IDLE_MS;
    o->reply_timeout_ms = o->reply_timeout_ms ? o->reply_timeout_ms : DEFAULT_REPLY_MS;
}

static bool copy_texts(struct cs_http_server *s, const struct cs_http_options *o) {
    bool tls = o->tls_cert_file && *o->tls_cert_file;
    s->listen = strdup(o->listen);
    if (tls) {
        s->tls_cert_file = strdup(o->tls_cert_file);
        s->tls_key_file = strdup(o->tls_key_file ? o->tls_key_file : "");
    }
    return s->listen && (!tls || (s->tls_cert_file && s->tls_key_file));
}

static bool start_http(struct cs_http_server *s, struct cs_err *err) {
    const struct cs_http_options *o = &s->options;
    s->http = evhttp_new(s->base);
    s->sweep = evtimer_new(s->base, on_sweep, s);
    if (!s->http || !s->sweep)
        return cs_err_oom(err);
    evhttp_set_max_headers_size(s->http, (ev_ssize_t)o->max_header_bytes);
    evhttp_set_max_body_size(s->http, (ev_ssize_t)o->max_body_bytes);
    // All that evhttp knows, so that what we do not serve is answered by us with 405.
    evhttp_set_allowed_methods(s->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
                                            EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |
                                            EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH);
    // Only a backstop: the sweep is what keeps the times.
    int64_t longest = o->idle_timeout_ms > o->reply_timeout_ms ? o->idle_timeout_ms : o->reply_timeout_ms;
    longest = longest > o->request_timeout_ms ? longest : o->request_timeout_ms;
    struct timeval tv = {.tv_sec = (time_t)(longest / 1000 + 30)};
    evhttp_set_timeout_tv(s->http, &tv);
    evhttp_set_bevcb(s->http, on_accept, s);
    evhttp_set_gencb(s->http, http_request_start, s);
    return true;
}

static bool start_listening(struct cs_http_server *s, struct cs_err *err) {
    int fd = -1;
    if (!http_listen(s->listen, &fd, &s->port, &s->unix_path, err))
        return false;
    s->listener =
        evconnlistener_new(s->base, NULL, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!s->listener) {
        close(fd);
        return cs_err_oom(err);
    }
    if (!evhttp_bind_listener(s->http, s->listener)) {
        evconnlistener_free(s->listener);
        s->listener = NULL;
        return cs_err_oom(err);
    }
    evconnlistener_set_error_cb(s->listener, on_accept_error);
    start_sweep(s);
    return true;
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
    ok = ok && (!s->tls_cert_file || http_tls_new(s->tls_cert_file, s->tls_key_file, &s->tls, err));
    ok = ok && start_http(s, err) && start_listening(s, err);
    if (!ok) {
        cs_http_server_free(s);
        return false;
    }
    *ret_server = s;
    return true;
}

void cs_http_server_free(struct cs_http_server *s) {
    if (!s)
        return;
    s->stopping = true;
    for (struct http_conn *c = s->conns; c; c = c->next) {
        if (c->request)
            http_request_cancel(c->request, 503);
    }
    if (s->http)
        evhttp_free(s->http); // with its listener and its connections
    for (struct http_conn *c = s->conns, *next; c; c = next) {
        next = c->next;
        conn_free(c);
    }
    if (s->sweep)
        event_free(s->sweep);
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
    for (struct http_conn *c = s->conns; c; c = c->next) {
        if (c->state == CONN_IDLE)
            http_conn_shut(c);
    }
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
    if (!http_tls_new(s->tls_cert_file, s->tls_key_file, &fresh, err))
        return false;
    SSL_CTX_free(s->tls); // connections hold their own reference
    s->tls = fresh;
    return true;
}
