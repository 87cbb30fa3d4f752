// SPDX-License-Identifier: Apache-2.0
//
// A server in a thread of its own with handlers of every kind, and a blocking client with a deadline: for the
// tests of the HTTP server.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "certsync/base/json_write.h"
#include "certsync/runtime/http.h"
#include "certsync/runtime/loop.h"

#define DEADLINE_MS 60000

struct fixture {
    struct cs_loop *loop;
    struct cs_http_server *server;
    pthread_t thread;
    struct cs_http_request *held; // only touched in the loop's thread
    _Atomic int held_count, cancelled, exchanges, last_status;
    _Atomic size_t last_body_len;
    char last_route[64];
};

static inline int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// Waits until the counter has at least this value.
static inline void wait_for(_Atomic int *counter, int value) {
    int64_t end = now_ms() + DEADLINE_MS;
    while (atomic_load(counter) < value) {
        assert_true(now_ms() < end);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

// ---- handlers

static inline void on_echo(struct cs_http_request *req, void *arg) {
    (void)arg;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 65536);
    cs_json_begin(&b, '{');
    cs_json_str(&b, "name", cs_http_param(req, "name"));
    const char *q = cs_http_query(req, "q");
    cs_json_str(&b, "q", q ? q : "(none)");
    cs_json_int(&b, "queries", (int64_t)cs_http_query_count(req));
    const char *bearer = cs_http_bearer(req);
    cs_json_str(&b, "bearer", bearer ? bearer : "(none)");
    cs_json_str(&b, "peer", cs_http_peer(req));
    cs_json_end(&b, '}');
    cs_http_reply_json(req, 200, &b);
}

static inline void on_body(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    atomic_store(&f->last_body_len, cs_http_body(req).len);
    cs_http_reply(req, 201, "text/plain", (struct cs_bytes){(const uint8_t *)"stored", 6});
}

static inline void on_problem(struct cs_http_request *req, void *arg) {
    (void)arg;
    cs_http_problem(req, 403, "event.forbidden", "not for \"%s\"", "you");
}

static inline void on_held_cancel(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    assert_ptr_equal(req, f->held);
    f->held = NULL;
    atomic_fetch_add(&f->cancelled, 1);
}

static inline void on_hold(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    f->held = req;
    cs_http_on_cancel(req, on_held_cancel, f);
    atomic_fetch_add(&f->held_count, 1);
}

static inline void on_keep(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    f->held = req; // without on_cancel: it stays ours
    atomic_fetch_add(&f->held_count, 1);
}

static inline void on_big(struct cs_http_request *req, void *arg) {
    (void)arg;
    static uint8_t big[4 << 20];
    memset(big, 'x', sizeof big);
    cs_http_reply(req, 200, "application/octet-stream", (struct cs_bytes){big, sizeof big});
}

static inline void on_header(struct cs_http_request *req, void *arg) {
    (void)arg;
    cs_http_set_header(req, "X-Good", "yes");
    cs_http_set_header(req, "X-Bad", "a\r\nSet-Cookie: b");
    cs_http_set_header(req, "Cache-Control", "max-age=5");
    cs_http_reply(req, 200, "text/plain", (struct cs_bytes){NULL, 0});
}

static const struct cs_http_route routes[] = {
    {"GET", "/echo/{name}", on_echo}, {"POST", "/body", on_body},      {"GET", "/problem", on_problem},
    {"GET", "/hold", on_hold},        {"GET", "/keep", on_keep},       {"GET", "/big", on_big},
    {"GET", "/header", on_header},    {"DELETE", "/body", on_problem},
};

static inline void on_exchange(const struct cs_http_exchange *x, void *arg) {
    struct fixture *f = arg;
    snprintf(f->last_route, sizeof f->last_route, "%s", x->route);
    atomic_store(&f->last_status, x->status);
    atomic_fetch_add(&f->exchanges, 1);
}

// ---- the server in its thread

static inline void on_drain(void *arg) {
    struct fixture *f = arg;
    cs_http_server_free(f->server);
    f->server = NULL;
    cs_loop_done(f->loop);
}

static inline void *run(void *arg) {
    struct fixture *f = arg;
    cs_loop_run(f->loop);
    return NULL;
}

static inline void start(struct fixture *f, struct cs_http_options o) {
    struct cs_err err;
    memset(f, 0, sizeof *f);
    struct cs_loop_hooks hooks = {.on_drain = on_drain, .arg = f};
    assert_true(cs_loop_new(&hooks, &f->loop, &err));
    o.listen = o.listen ? o.listen : "127.0.0.1:0";
    o.routes = routes;
    o.route_count = CS_ARRAY_LEN(routes);
    o.arg = f;
    o.on_exchange = on_exchange;
    if (!cs_http_server_new(cs_loop_base(f->loop), &o, &f->server, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(pthread_create(&f->thread, NULL, run, f), 0);
}

static inline void stop(struct fixture *f) {
    cs_loop_stop(f->loop);
    pthread_join(f->thread, NULL);
    cs_loop_free(f->loop);
}

// Runs fn in the loop's thread and waits for it.
struct call {
    void (*fn)(struct fixture *f, void *arg);
    struct fixture *f;
    void *arg;
    sem_t done;
};
static inline void do_call(void *arg) {
    struct call *c = arg;
    c->fn(c->f, c->arg);
    sem_post(&c->done);
}
static inline void in_loop(struct fixture *f, void (*fn)(struct fixture *f, void *arg), void *arg) {
    struct call c = {.fn = fn, .f = f, .arg = arg};
    sem_init(&c.done, 0, 0);
    assert_true(cs_loop_post(f->loop, do_call, &c));
    sem_wait(&c.done);
    sem_destroy(&c.done);
}

static inline void answer_held(struct fixture *f, void *arg) {
    (void)arg;
    struct cs_http_request *req = f->held;
    f->held = NULL;
    cs_http_reply(req, 200, "text/plain", (struct cs_bytes){(const uint8_t *)"late", 4});
}

static inline void count_conns(struct fixture *f, void *arg) {
    *(size_t *)arg = cs_http_server_connections(f->server);
}

static inline void count_open(struct fixture *f, void *arg) {
    *(size_t *)arg = cs_http_server_open_requests(f->server);
}

// ---- the client

static inline int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval tv = {.tv_sec = DEADLINE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

// False where the server has closed already.
static inline bool put(int fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

static inline void puts_to(int fd, const char *text) {
    assert_true(put(fd, text, strlen(text)));
}

// Reads to the end of the connection, or until the text has `until` in it. Returns the length.
static inline size_t get(int fd, char *out, size_t size, const char *until) {
    size_t len = 0;
    out[0] = '\0';
    while (len < size - 1 && !(until && strstr(out, until))) {
        ssize_t n = recv(fd, out + len, size - 1 - len, 0);
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("the server neither answered nor closed: \"%s\"", out);
        if (n <= 0)
            break;
        len += (size_t)n;
        out[len] = '\0';
    }
    return len;
}

static inline void ask(struct fixture *f, const char *request, char *out, size_t size) {
    int fd = dial(cs_http_server_port(f->server));
    puts_to(fd, request);
    get(fd, out, size, NULL);
    close(fd);
}
