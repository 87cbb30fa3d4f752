// SPDX-License-Identifier: Apache-2.0
//
// Connections. Input becomes requests, one at a time, in order. Output is waited for.
#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "http_internal.h"

#define SWEEP_MS      200
#define IDLE_SWEEP_MS 1000
#define LINGER_MS     1000
#define SLOW_MS       1000 // a client that takes its answer slower than this may be closed for another

int64_t http_now_us(void) {
    struct timespec ts = {0};
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t now_ms(void) {
    return http_now_us() / 1000;
}

// ---- states

static bool is_busy(enum conn_state state) {
    return state == CONN_HANDLING || state == CONN_WRITING;
}

static void list_remove(struct http_conn *c) {
    if (is_busy(c->state))
        atomic_fetch_sub(&c->server->busy_count, 1);
    struct http_list *list = &c->server->conns[c->state];
    if (c->prev)
        c->prev->next = c->next;
    else
        list->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    else
        list->last = c->prev;
    c->prev = c->next = NULL;
}

static void list_add(struct http_conn *c) {
    if (is_busy(c->state))
        atomic_fetch_add(&c->server->busy_count, 1);
    struct http_list *list = &c->server->conns[c->state];
    c->prev = list->last;
    if (c->prev)
        c->prev->next = c;
    else
        list->first = c;
    list->last = c;
}

static int64_t time_in(const struct cs_http_options *o, enum conn_state state) {
    switch (state) {
    case CONN_IDLE:
        return o->idle_timeout_ms;
    case CONN_HEAD:
        return o->header_timeout_ms;
    case CONN_BODY:
    case CONN_WRITING:
        return o->request_timeout_ms;
    case CONN_HANDLING:
        return o->reply_timeout_ms;
    case CONN_LINGER:
        break;
    }
    return LINGER_MS;
}

static void enter(struct http_conn *c, enum conn_state state) {
    c->state = state;
    c->deadline_ms = now_ms() + time_in(&c->server->options, state);
    list_add(c);
}

static void set_state(struct http_conn *c, enum conn_state state) {
    list_remove(c);
    enter(c, state);
}

void http_accept_again(struct cs_http_server *s) {
    struct cs_http_server *first = s->first;
    pthread_mutex_lock(&first->lock);
    if (first->paused && !first->stopping && first->listener)
        evconnlistener_enable(first->listener);
    first->paused = false;
    pthread_mutex_unlock(&first->lock);
}

static void pause_accepting(struct cs_http_server *first) {
    pthread_mutex_lock(&first->lock);
    first->paused = true;
    evconnlistener_disable(first->listener);
    pthread_mutex_unlock(&first->lock);
}

static bool is_paused(struct cs_http_server *first) {
    pthread_mutex_lock(&first->lock);
    bool paused = first->paused;
    pthread_mutex_unlock(&first->lock);
    return paused;
}

static void conn_free(struct http_conn *c) {
    struct cs_http_server *s = c->server;
    if (c->request)
        http_request_cancel(c->request, 0);
    list_remove(c);
    atomic_fetch_sub(&s->conn_count, 1);
    http_message_free(c->message);
    bufferevent_free(c->bev); // closes
    free(c);
    // Others may wait in the backlog.
    http_accept_again(s);
}

static struct evbuffer *input_of(const struct http_conn *c) {
    return bufferevent_get_input(c->bev);
}

static void throw_input_away(struct http_conn *c) {
    evbuffer_drain(input_of(c), evbuffer_get_length(input_of(c)));
}

// ---- coming in

static void refuse(struct http_conn *c, const char *method, const struct http_refusal *refusal) {
    http_refuse(c, method, refusal);
    throw_input_away(c); // the rest is no request
}

// False: more is needed, or it was refused.
static bool read_head(struct http_conn *c) {
    const struct cs_http_options *o = &c->server->options;
    struct http_refusal refusal = {0};
    const char *method = NULL;
    size_t len = evbuffer_get_length(input_of(c));
    len = len < o->max_header_bytes ? len : o->max_header_bytes;
    const uint8_t *data = evbuffer_pullup(input_of(c), (ev_ssize_t)len);
    if (!data)
        return false;
    enum http_step step = http_head_scan(&c->scan, data, len, o->max_header_bytes, &refusal);
    if (step == HTTP_STEP_MORE)
        return false;
    if (step == HTTP_STEP_REFUSED || !http_head_parse(data + c->scan.start, c->scan.at - c->scan.start,
                                                      o->max_body_bytes, &c->message, &method, &refusal)) {
        refuse(c, method, &refusal);
        return false;
    }
    evbuffer_drain(input_of(c), c->scan.at);
    c->scan = (struct http_scan){0};
    c->chunks = (struct http_chunks){0};
    return true;
}

static enum http_step read_plain(struct http_conn *c, struct http_refusal *refusal) {
    struct cs_buf *body = &c->message->body;
    while (body->len < c->message->content_length && evbuffer_get_length(input_of(c)) > 0) {
        size_t n = evbuffer_get_contiguous_space(input_of(c)), left = c->message->content_length - body->len;
        n = n < left ? n : left;
        cs_buf_put(body, evbuffer_pullup(input_of(c), (ev_ssize_t)n), n);
        evbuffer_drain(input_of(c), n);
    }
    if (body->failed) {
        *refusal = (struct http_refusal){503, "The server is out of memory."};
        return HTTP_STEP_REFUSED;
    }
    return body->len == c->message->content_length ? HTTP_STEP_DONE : HTTP_STEP_MORE;
}

static enum http_step read_chunks(struct http_conn *c, struct http_refusal *refusal) {
    enum http_step step = HTTP_STEP_MORE;
    while (step == HTTP_STEP_MORE && evbuffer_get_length(input_of(c)) > 0) {
        size_t n = evbuffer_get_contiguous_space(input_of(c)), eaten = 0;
        const uint8_t *data = evbuffer_pullup(input_of(c), (ev_ssize_t)n);
        step = http_chunks_eat(&c->chunks, data, n, &eaten, &c->message->body, refusal);
        evbuffer_drain(input_of(c), eaten);
    }
    return step;
}

// False: more is needed, or it was refused.
static bool read_body(struct http_conn *c) {
    struct http_refusal refusal = {0};
    enum http_step step = c->message->chunked ? read_chunks(c, &refusal) : read_plain(c, &refusal);
    if (step == HTTP_STEP_REFUSED)
        refuse(c, c->message->method, &refusal);
    return step == HTTP_STEP_DONE;
}

static void take_head(struct http_conn *c) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    set_state(c, CONN_BODY);
    if (c->message->expects_continue && evbuffer_get_length(input_of(c)) == 0 &&
        (c->message->chunked || c->message->content_length > 0))
        bufferevent_write(c->bev, go_on, sizeof go_on - 1);
}

// Handles the input up to the next request. That one waits until the answer of this one is sent.
static void process(struct http_conn *c) {
    if (c->state == CONN_IDLE && evbuffer_get_length(input_of(c)) > 0)
        set_state(c, CONN_HEAD);
    if (c->state == CONN_HEAD && read_head(c))
        take_head(c);
    if (c->state == CONN_BODY && read_body(c)) {
        set_state(c, CONN_HANDLING);
        http_request_start(c, CS_TAKE(c->message));
    }
}

static void on_read(struct bufferevent *bev, void *arg) {
    (void)bev;
    struct http_conn *c = arg;
    if (c->state == CONN_LINGER || c->close)
        throw_input_away(c);
    else
        process(c);
}

// ---- going out

void http_conn_answered(struct http_conn *c, bool close) {
    c->close = c->close || close;
    c->request = NULL;
    set_state(c, CONN_WRITING);
}

// Lets the client read the answer while it still sends. To close at once would reset the
// connection.
static void linger(struct http_conn *c) {
    SSL *ssl = bufferevent_openssl_get_ssl(c->bev);
    if (ssl)
        SSL_shutdown(ssl); // sends our end, and does not wait for the client's
    ERR_clear_error();
    if (c->eof || shutdown(bufferevent_getfd(c->bev), SHUT_WR) < 0) {
        conn_free(c);
        return;
    }
    throw_input_away(c);
    set_state(c, CONN_LINGER);
}

static void on_written(struct bufferevent *bev, void *arg) {
    struct http_conn *c = arg;
    if (c->state != CONN_WRITING || evbuffer_get_length(bufferevent_get_output(bev)) > 0)
        return;
    if (c->close || c->eof || c->server->stopping) {
        linger(c);
        return;
    }
    set_state(c, CONN_IDLE);
    process(c);
}

static void on_event(struct bufferevent *bev, short what, void *arg) {
    (void)bev;
    struct http_conn *c = arg;
    if (what & BEV_EVENT_CONNECTED) // the handshake is done
        return;
    c->eof = true;
    bool half = what & BEV_EVENT_EOF; // it may still read
    if (!half || (c->state != CONN_HANDLING && c->state != CONN_WRITING))
        conn_free(c);
    // If not: the answer under way is the last. One that is still being made has until the next
    // sweep.
}

// ---- accepting

static void name_peer(const struct cs_http_server *first, const struct sockaddr *address,
                      char ret[HTTP_PEER_SIZE]) {
    const void *from = NULL;
    if (address->sa_family == AF_INET)
        from = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address->sa_family == AF_INET6)
        from = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (first->unix_path)
        memcpy(ret, "unix", sizeof "unix");
    else if (!from || !inet_ntop(address->sa_family, from, ret, HTTP_PEER_SIZE))
        ret[0] = '\0';
}

static struct bufferevent *new_bev(struct cs_http_server *s, evutil_socket_t fd) {
    struct cs_http_server *first = s->first;
    if (!first->tls_cert_file)
        return bufferevent_socket_new(s->base, fd, BEV_OPT_CLOSE_ON_FREE);
    pthread_mutex_lock(&first->lock);
    SSL *ssl = SSL_new(first->tls);
    pthread_mutex_unlock(&first->lock);
    if (!ssl)
        return NULL;
    struct bufferevent *bev =
        bufferevent_openssl_socket_new(s->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (!bev)
        SSL_free(ssl);
    return bev;
}

// Whether the client has sent bytes that were not read yet.
static bool has_news(const struct http_conn *c) {
    struct pollfd p = {.fd = bufferevent_getfd(c->bev), .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

// All places are taken. Idle connections are closed for new ones, the longest silent first. So
// clients that connect and say nothing take no place from those that ask, however many they are.
static bool make_way(struct cs_http_server *s) {
    static const enum conn_state order[] = {CONN_LINGER, CONN_IDLE, CONN_HEAD, CONN_BODY};
    for (size_t i = 0; i < CS_ARRAY_LEN(order); i++)
        for (struct http_conn *c = s->conns[order[i]].first; c; c = c->next)
            if (c->state == CONN_LINGER || !has_news(c)) {
                conn_free(c);
                return true;
            }
    struct http_conn *slow = s->conns[CONN_WRITING].first;
    if (!slow || now_ms() < slow->deadline_ms - s->options.request_timeout_ms + SLOW_MS)
        return false;
    conn_free(slow);
    return true;
}

static void give_up(struct cs_http_server *s, int fd) {
    evutil_closesocket(fd);
    atomic_fetch_sub(&s->conn_count, 1);
    http_accept_again(s);
}

// Serves a connection. Where no place was left, a silent one makes way. If none is silent, further
// ones wait in the backlog until a place is free.
static void serve(struct cs_http_server *s, int fd, const char *peer, bool full) {
    if (full && atomic_load(&s->conn_count) <= s->max_conns) // one has left meanwhile
        http_accept_again(s);
    else if (full)
        (void)make_way(s);
    struct http_conn *c = s->stopping ? NULL : calloc(1, sizeof *c);
    struct bufferevent *bev = c ? new_bev(s, fd) : NULL;
    if (!bev) {
        free(c);
        give_up(s, fd);
        return;
    }
    c->server = s;
    c->bev = bev;
    memcpy(c->peer, peer, sizeof c->peer);
    enter(c, CONN_HEAD);
    size_t most = s->options.max_header_bytes + s->options.max_body_bytes;
    bufferevent_setcb(bev, on_read, on_written, on_event, c);
    bufferevent_setwatermark(bev, EV_READ, 0, most); // for bytes that are sent ahead while an answer is made
    bufferevent_enable(bev, EV_READ | EV_WRITE);
    if (atomic_load(&s->conn_count) == 1)
        http_sweep_start(s);
}

// Who serves the next connection: whoever has the most places left, and of these the next in turn. If
// nobody has one, whoever has the fewest requests under way: there most likely a silent connection
// can make way.
static struct cs_http_server *choose(struct cs_http_server *first, bool *ret_full) {
    struct cs_http_server *best = NULL, *calm = first;
    struct cs_http_server *s = first->last ? first->last : first;
    size_t most = 0;
    for (size_t i = 0; i <= first->sharing_count; i++) {
        s = s == first ? first->sharing : s->next; // in a ring
        s = s ? s : first;
        size_t used = atomic_load(&s->conn_count);
        size_t left = used < s->max_conns ? s->max_conns - used : 0;
        if (left > most) {
            most = left;
            best = s;
        }
        if (s->max_conns > 0 && atomic_load(&s->busy_count) < atomic_load(&calm->busy_count))
            calm = s;
    }
    *ret_full = !best;
    first->last = best ? best : calm;
    return first->last;
}

static bool give(struct cs_http_server *s, int fd, const char *peer, bool full) {
    struct http_given *g = calloc(1, sizeof *g);
    if (!g)
        return false;
    g->fd = fd;
    g->full = full;
    memcpy(g->peer, peer, sizeof g->peer);
    pthread_mutex_lock(&s->given_lock);
    g->next = s->given;
    s->given = g;
    pthread_mutex_unlock(&s->given_lock);
    event_active(s->woken, EV_READ, 0);
    return true;
}

void http_on_given(evutil_socket_t fd, short what, void *server) {
    (void)fd;
    (void)what;
    struct cs_http_server *s = server;
    pthread_mutex_lock(&s->given_lock);
    struct http_given *all = CS_TAKE(s->given);
    pthread_mutex_unlock(&s->given_lock);
    for (struct http_given *g = all, *next; g; g = next) {
        next = g->next;
        serve(s, g->fd, g->peer, g->full);
        free(g);
    }
}

// While one is on its way to a server that has no place, no further ones are taken: that server
// says when.
void http_on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int len,
                    void *arg) {
    (void)listener;
    (void)len;
    struct cs_http_server *first = arg, *s = NULL;
    char peer[HTTP_PEER_SIZE] = "";
    bool full = false;
    name_peer(first, address, peer);
    s = choose(first, &full);
    atomic_fetch_add(&s->conn_count, 1);
    if (full)
        pause_accepting(first);
    if (s == first)
        serve(s, fd, peer, full);
    else if (!give(s, fd, peer, full))
        give_up(s, fd);
}

// Most likely there are no file descriptors left. Without a pause the loop would spin on the
// waiting connection. The next sweep accepts again.
void http_on_accept_error(struct evconnlistener *listener, void *server) {
    (void)listener;
    pause_accepting(server);
}

// ---- time

static void too_late(struct http_conn *c) {
    static const struct http_refusal refusal = {408, "The request did not come in time."};
    bool silent = c->state == CONN_HEAD && evbuffer_get_length(input_of(c)) == 0;
    switch (c->state) {
    case CONN_HEAD:
    case CONN_BODY:
        if (!silent) {
            refuse(c, c->message ? c->message->method : NULL, &refusal);
            return;
        }
        conn_free(c);
        return;
    case CONN_HANDLING:
        if (c->request)
            http_request_cancel(c->request, 503);
        return;
    case CONN_IDLE:
    case CONN_WRITING:
    case CONN_LINGER:
        conn_free(c);
        return;
    }
}

static void sweep_list(struct http_list *list, int64_t now) {
    for (struct http_conn *c = list->first, *next; c && now >= c->deadline_ms; c = next) {
        next = c->next; // handling one connection does not touch the state of another
        too_late(c);
    }
}

// Frees connections whose client left while an answer was made.
static void sweep_left(struct cs_http_server *s) {
    for (struct http_conn *c = s->conns[CONN_HANDLING].first, *next; c; c = next) {
        next = c->next;
        if (c->eof)
            conn_free(c);
    }
}

static void on_sweep(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct cs_http_server *s = arg;
    int64_t now = now_ms();
    sweep_left(s);
    for (size_t i = 0; i < CONN_STATES; i++)
        sweep_list(&s->conns[i], now);
    if (!s->stopping && is_paused(s->first) && (atomic_load(&s->conn_count) < s->max_conns || make_way(s)))
        http_accept_again(s);
    http_sweep_start(s);
}

bool http_sweep_start(struct cs_http_server *s) {
    if (!s->sweep)
        s->sweep = evtimer_new(s->base, on_sweep, s);
    int ms = atomic_load(&s->conn_count) > 0 ? SWEEP_MS : IDLE_SWEEP_MS;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    return s->sweep && evtimer_add(s->sweep, &tv) == 0;
}

// ---- the end

void http_conns_stop(struct cs_http_server *s) {
    for (struct http_conn *c = s->conns[CONN_IDLE].first, *next; c; c = next) {
        next = c->next;
        conn_free(c);
    }
    for (struct http_conn *c = s->conns[CONN_HEAD].first, *next; c; c = next) {
        next = c->next;
        if (evbuffer_get_length(input_of(c)) == 0)
            conn_free(c);
    }
}

void http_conns_free(struct cs_http_server *s) {
    for (size_t i = 0; i < CONN_STATES; i++)
        while (s->conns[i].first)
            conn_free(s->conns[i].first);
    if (s->sweep)
        event_free(s->sweep);
    s->sweep = NULL;
}
