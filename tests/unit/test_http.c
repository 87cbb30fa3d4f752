// SPDX-License-Identifier: Apache-2.0
//
// The server against real clients over loopback: good ones, slow ones, huge ones, and ones that go away.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "certsync/runtime/http.h"
#include "certsync/runtime/loop.h"

#define DEADLINE_MS 10000

struct fixture {
    struct cs_loop *loop;
    struct cs_http_server *server;
    pthread_t thread;
    struct cs_http_request *held; // only touched in the loop's thread
    _Atomic int held_count, cancelled, exchanges, last_status;
    _Atomic size_t last_body_len;
    char last_route[64];
};

static int64_t now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

// Waits until the counter has at least this value.
static void wait_for(_Atomic int *counter, int value) {
    int64_t end = now_ms() + DEADLINE_MS;
    while (atomic_load(counter) < value) {
        assert_true(now_ms() < end);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

// ---- handlers

static void on_echo(struct cs_http_request *req, void *arg) {
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

static void on_body(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    atomic_store(&f->last_body_len, cs_http_body(req).len);
    cs_http_reply(req, 201, "text/plain", (struct cs_bytes){(const uint8_t *)"stored", 6});
}

static void on_problem(struct cs_http_request *req, void *arg) {
    (void)arg;
    cs_http_problem(req, 403, "event.forbidden", "not for \"%s\"", "you");
}

static void on_held_cancel(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    assert_ptr_equal(req, f->held);
    f->held = NULL;
    atomic_fetch_add(&f->cancelled, 1);
}

static void on_hold(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    f->held = req;
    cs_http_on_cancel(req, on_held_cancel, f);
    atomic_fetch_add(&f->held_count, 1);
}

static void on_keep(struct cs_http_request *req, void *arg) {
    struct fixture *f = arg;
    f->held = req; // without on_cancel: it stays ours
    atomic_fetch_add(&f->held_count, 1);
}

static void on_big(struct cs_http_request *req, void *arg) {
    (void)arg;
    static uint8_t big[4 << 20];
    memset(big, 'x', sizeof big);
    cs_http_reply(req, 200, "application/octet-stream", (struct cs_bytes){big, sizeof big});
}

static void on_header(struct cs_http_request *req, void *arg) {
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

static void on_exchange(const struct cs_http_exchange *x, void *arg) {
    struct fixture *f = arg;
    snprintf(f->last_route, sizeof f->last_route, "%s", x->route);
    atomic_store(&f->last_status, x->status);
    atomic_fetch_add(&f->exchanges, 1);
}

// ---- the server in its thread

static void on_drain(void *arg) {
    struct fixture *f = arg;
    cs_http_server_free(f->server);
    f->server = NULL;
    cs_loop_done(f->loop);
}

static void *run(void *arg) {
    struct fixture *f = arg;
    cs_loop_run(f->loop);
    return NULL;
}

static void start(struct fixture *f, struct cs_http_options o) {
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

static void stop(struct fixture *f) {
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
static void do_call(void *arg) {
    struct call *c = arg;
    c->fn(c->f, c->arg);
    sem_post(&c->done);
}
static void in_loop(struct fixture *f, void (*fn)(struct fixture *f, void *arg), void *arg) {
    struct call c = {.fn = fn, .f = f, .arg = arg};
    sem_init(&c.done, 0, 0);
    assert_true(cs_loop_post(f->loop, do_call, &c));
    sem_wait(&c.done);
    sem_destroy(&c.done);
}

static void answer_held(struct fixture *f, void *arg) {
    (void)arg;
    struct cs_http_request *req = f->held;
    f->held = NULL;
    cs_http_reply(req, 200, "text/plain", (struct cs_bytes){(const uint8_t *)"late", 4});
}

static void count_conns(struct fixture *f, void *arg) {
    *(size_t *)arg = cs_http_server_connections(f->server);
}

static void count_open(struct fixture *f, void *arg) {
    *(size_t *)arg = cs_http_server_open_requests(f->server);
}

// ---- the client

static int dial(int port) {
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
static bool put(int fd, const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        text += n;
        len -= (size_t)n;
    }
    return true;
}

static void puts_to(int fd, const char *text) {
    assert_true(put(fd, text, strlen(text)));
}

// Reads to the end of the connection, or until the text has `until` in it. Returns the length.
static size_t get(int fd, char *out, size_t size, const char *until) {
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

static void ask(struct fixture *f, const char *request, char *out, size_t size) {
    int fd = dial(cs_http_server_port(f->server));
    puts_to(fd, request);
    get(fd, out, size, NULL);
    close(fd);
}

// ---- tests

static void test_answers(void **state) {
    (void)state;
    static const struct {
        const char *request;
        const char *has[5];
        const char *has_not;
    } rows[] = {
        {"GET /echo/a%20b?q=c+d%2Fe&x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t.o.k\r\nConnection: "
         "close\r\n\r\n",
         {"HTTP/1.1 200 OK\r\n", "Content-Type: application/json\r\n",
          "\"name\":\"a b\",\"q\":\"c d/e\",\"queries\":2", "\"bearer\":\"t.o.k\",\"peer\":\"127.0.0.1\""},
         "html"},
        {"GET /echo/x HTTP/1.0\r\nX-Request-Id: my-id.1\r\n\r\n",
         {" 200 OK\r\n", "X-Request-Id: my-id.1\r\n", "Cache-Control: no-store\r\n",
          "X-Content-Type-Options: nosniff\r\n", "\"q\":\"(none)\""},
         NULL},
        {"GET /echo/x HTTP/1.1\r\nHost: h\r\nX-Request-Id: bad id\r\nConnection: close\r\n\r\n",
         {"X-Request-Id: "},
         "bad id"},
        {"HEAD /echo/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         {" 200 OK\r\n", "Content-Length: "},
         "{"},
        {"GET /problem HTTP/1.1\r\nHost: h\r\nX-Request-Id: r1\r\nConnection: close\r\n\r\n",
         {" 403 Forbidden\r\n", "Content-Type: application/problem+json\r\n",
          "{\"type\":\"about:blank\",\"title\":\"Forbidden\",\"status\":403,\"detail\":\"not for "
          "\\\"you\\\"\","
          "\"code\":\"event.forbidden\",\"request_id\":\"r1\"}"},
         NULL},
        {"GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         {" 404 Not Found\r\n", "\"status\":404"},
         NULL},
        {"GET /echo/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {" 404 Not Found\r\n"}, NULL},
        {"GET /echo/a/b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {" 404 Not Found\r\n"}, NULL},
        {"PUT /body HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
         {" 405 Method Not Allowed\r\n", "Allow: POST, DELETE\r\n"},
         NULL},
        {"POST /echo/a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
         {" 405 Method Not Allowed\r\n", "Allow: GET, HEAD\r\n"},
         NULL},
        {"OPTIONS /body HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         {" 204 No Content\r\n", "Allow: POST, DELETE\r\n"},
         NULL},
        {"GET /echo/%zz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {" 400 Bad Request\r\n"}, NULL},
        {"GET /echo/a%00b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {" 400 Bad Request\r\n"}, NULL},
        {"GET /echo/%ff HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {" 400 Bad Request\r\n"}, NULL},
        {"GET /echo/a%2 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {" 400 Bad Request\r\n"}, NULL},
        {"GET /header HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
         {"X-Good: yes\r\n", "Cache-Control: max-age=5\r\n"},
         "Set-Cookie"},
        {"POST /body HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: "
         "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
         {" 201 Created\r\n", "stored"},
         NULL},
        {"FOO /body HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", {"HTTP/1.1 501"}, " 200 "},
        {"not http at all\r\n\r\n", {"400"}, " 200 "},
        // Ways to smuggle a second request past a proxy.
        {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         {" 400 "},
         " 201 "},
        {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
         {" 400 "},
         " 201 "},
        {"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc", {" 400 "}, " 201 "},
        {"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
         {" 400 "},
         " 201 "},
    };
    struct fixture f;
    static char out[65536];
    start(&f, (struct cs_http_options){.request_timeout_ms = 2000});
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        ask(&f, rows[i].request, out, sizeof out);
        for (size_t h = 0; h < CS_ARRAY_LEN(rows[i].has) && rows[i].has[h]; h++) {
            if (!strstr(out, rows[i].has[h]))
                fail_msg("row %zu: no \"%s\" in \"%s\"", i, rows[i].has[h], out);
        }
        if (rows[i].has_not && strstr(out, rows[i].has_not))
            fail_msg("row %zu: \"%s\" in \"%s\"", i, rows[i].has_not, out);
    }
    stop(&f);
}

static void test_keep_alive_and_pipelining(void **state) {
    (void)state;
    struct fixture f;
    char out[65536];
    start(&f, (struct cs_http_options){0});
    int fd = dial(cs_http_server_port(f.server));
    puts_to(fd, "GET /echo/one HTTP/1.1\r\nHost: h\r\n\r\nGET /echo/two HTTP/1.1\r\nHost: h\r\n\r\n"
                "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    get(fd, out, sizeof out, "stored");
    const char *one = strstr(out, "\"one\""), *two = strstr(out, "\"two\"");
    assert_true(one && two && one < two);
    assert_int_equal(atomic_load(&f.last_body_len), 3);
    // Garbage behind a good request: the good one is answered, the garbage refused, the connection closed.
    puts_to(
        fd,
        "GET /echo/three HTTP/1.1\r\nHost: h\r\n\r\n\x01\x02garbage\r\n\r\nGET /echo/four HTTP/1.1\r\nHost: "
        "h\r\n\r\n");
    get(fd, out, sizeof out, NULL);
    assert_non_null(strstr(out, "\"three\""));
    assert_non_null(strstr(out, " 400 "));
    assert_null(strstr(out, "\"four\""));
    close(fd);
    stop(&f);
}

static void test_oversize(void **state) {
    (void)state;
    struct fixture f;
    static char out[65536], request[65536];
    start(&f, (struct cs_http_options){.max_header_bytes = 1024, .max_body_bytes = 1000});
    // A header above the limit.
    int n =
        snprintf(request, sizeof request, "GET /echo/x HTTP/1.1\r\nHost: h\r\nX-Long: %0*d\r\n\r\n", 4000, 7);
    int fd = dial(cs_http_server_port(f.server));
    put(fd, request, (size_t)n);
    get(fd, out, sizeof out, NULL);
    assert_null(strstr(out, " 200 "));
    close(fd);
    // A request line without an end.
    memset(request, 'a', sizeof request);
    fd = dial(cs_http_server_port(f.server));
    put(fd, request, sizeof request);
    get(fd, out, sizeof out, NULL);
    assert_null(strstr(out, " 200 "));
    close(fd);
    // A body that is announced too long, with a request hidden in it.
    fd = dial(cs_http_server_port(f.server));
    puts_to(
        fd,
        "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\nGET /echo/hidden HTTP/1.1\r\nHost: "
        "h\r\n\r\n");
    get(fd, out, sizeof out, NULL);
    assert_non_null(strstr(out, " 413 "));
    assert_null(strstr(out, "hidden"));
    close(fd);
    // The same in chunks.
    fd = dial(cs_http_server_port(f.server));
    puts_to(fd, "POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\nGET /echo/hidden "
                "HTTP/1.1\r\nHost: h\r\n\r\n");
    get(fd, out, sizeof out, NULL);
    assert_null(strstr(out, " 201 "));
    assert_null(strstr(out, "hidden"));
    close(fd);
    // Exactly the limit is taken.
    fd = dial(cs_http_server_port(f.server));
    n = snprintf(request, sizeof request,
                 "POST /body HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n%01000d",
                 1);
    assert_true(put(fd, request, (size_t)n));
    get(fd, out, sizeof out, NULL);
    assert_non_null(strstr(out, " 201 "));
    assert_int_equal(atomic_load(&f.last_body_len), 1000);
    close(fd);
    stop(&f);
}

// One byte at a time, more often than any inactivity timeout: ends all the same.
static void test_slowloris(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    start(&f, (struct cs_http_options){.request_timeout_ms = 600});
    int fd = dial(cs_http_server_port(f.server)), silent = dial(cs_http_server_port(f.server));
    int64_t begin = now_ms();
    static const char text[] = "GET /echo/slow HTTP/1.1\r\nX-A: ";
    bool open = true;
    for (size_t i = 0; open && now_ms() - begin < DEADLINE_MS; i++) {
        open = put(fd, i < sizeof text - 1 ? &text[i] : "a", 1);
        char c;
        // 20 ms between the bytes, by waiting for an answer that long.
        struct timeval tv = {.tv_usec = 20000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
        ssize_t n = recv(fd, &c, 1, MSG_PEEK);
        open = open && n < 0;
    }
    int64_t took = now_ms() - begin;
    assert_true(took >= 500 && took < 3000);
    get(fd, out, sizeof out, NULL);
    assert_non_null(strstr(out, "408"));
    close(fd);
    // One that says nothing at all goes the same way.
    get(silent, out, sizeof out, NULL);
    close(silent);
    // A body that never comes.
    fd = dial(cs_http_server_port(f.server));
    puts_to(fd, "POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    begin = now_ms();
    get(fd, out, sizeof out, NULL);
    assert_true(now_ms() - begin < 3000);
    assert_null(strstr(out, " 201 "));
    close(fd);
    // And the server is there for others.
    ask(&f, "GET /echo/ok HTTP/1.0\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "\"ok\""));
    stop(&f);
}

// A client that does not take its answer, and one that is idle.
static void test_slow_reader_and_idle(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    start(&f, (struct cs_http_options){.request_timeout_ms = 500, .idle_timeout_ms = 500});
    int fd = dial(cs_http_server_port(f.server));
    int small = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    puts_to(fd, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n");
    int idle = dial(cs_http_server_port(f.server));
    puts_to(idle, "GET /echo/x HTTP/1.1\r\nHost: h\r\n\r\n");
    get(idle, out, sizeof out, NULL); // to the end: the server closes it
    close(idle);
    int64_t end = now_ms() + DEADLINE_MS;
    size_t conns = 1;
    while (conns > 0) {
        assert_true(now_ms() < end);
        in_loop(&f, count_conns, &conns);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    close(fd);
    stop(&f);
}

static void test_many_connections(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    start(&f, (struct cs_http_options){.max_connections = 4, .request_timeout_ms = 700});
    int port = cs_http_server_port(f.server), fds[12];
    for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++)
        fds[i] = dial(port);
    // Twelve silent ones are in the way, four at a time; a good one gets through nevertheless.
    int64_t begin = now_ms();
    ask(&f, "GET /echo/ok HTTP/1.0\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "\"ok\""));
    assert_true(now_ms() - begin < DEADLINE_MS);
    for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++)
        close(fds[i]);
    // Idle connections make way at once when all places are taken.
    for (size_t i = 0; i < 4; i++) {
        fds[i] = dial(port);
        puts_to(fds[i], "GET /echo/idle HTTP/1.1\r\nHost: h\r\n\r\n");
        get(fds[i], out, sizeof out, "idle");
    }
    ask(&f, "GET /echo/ok HTTP/1.0\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "\"ok\""));
    for (size_t i = 0; i < 4; i++)
        close(fds[i]);
    stop(&f);
}

static void test_deferred(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    size_t open = 0;
    start(&f, (struct cs_http_options){0});
    int fd = dial(cs_http_server_port(f.server));
    puts_to(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&f.held_count, 1);
    in_loop(&f, count_open, &open);
    assert_int_equal(open, 1);
    in_loop(&f, answer_held, NULL);
    get(fd, out, sizeof out, "late");
    assert_non_null(strstr(out, " 200 OK\r\n"));
    assert_int_equal(atomic_load(&f.cancelled), 0);
    in_loop(&f, count_open, &open);
    assert_int_equal(open, 0);
    // The next one on the same connection: the client goes away.
    puts_to(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&f.held_count, 2);
    close(fd);
    wait_for(&f.cancelled, 1);
    wait_for(&f.exchanges, 2);
    assert_int_equal(atomic_load(&f.last_status), 0);
    assert_string_equal(f.last_route, "/hold");
    // Without on_cancel: the client goes away, the answer then goes nowhere and nothing breaks.
    fd = dial(cs_http_server_port(f.server));
    puts_to(fd, "GET /keep HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&f.held_count, 3);
    struct linger hard = {.l_onoff = 1}; // a reset
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    wait_for(&f.exchanges, 3);
    in_loop(&f, answer_held, NULL);
    ask(&f, "GET /echo/ok HTTP/1.0\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, "\"ok\""));
    stop(&f);
}

static void test_reply_timeout_and_stop(void **state) {
    (void)state;
    struct fixture f;
    char out[4096];
    start(&f, (struct cs_http_options){.reply_timeout_ms = 300});
    ask(&f, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n", out, sizeof out);
    assert_non_null(strstr(out, " 503 "));
    assert_int_equal(atomic_load(&f.cancelled), 1);
    // Open requests when the server ends: cancelled, and their memory is gone (as the sanitizers check).
    int fd = dial(cs_http_server_port(f.server));
    puts_to(fd, "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    wait_for(&f.held_count, 2);
    stop(&f);
    assert_int_equal(atomic_load(&f.cancelled), 2);
    close(fd);
}

static void test_unix_socket(void **state) {
    (void)state;
    struct fixture f;
    char out[4096], dir[] = "/tmp/test_http.XXXXXX", path[64], listen[80];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/s", dir);
    snprintf(listen, sizeof listen, "unix:%s", path);
    start(&f, (struct cs_http_options){.listen = listen});
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    puts_to(fd, "GET /echo/u HTTP/1.0\r\n\r\n");
    get(fd, out, sizeof out, NULL);
    assert_non_null(strstr(out, "\"peer\":\"unix\""));
    close(fd);
    // A second server must not take the socket away.
    struct cs_http_server *second = NULL;
    struct cs_err err;
    struct cs_http_options o = {.listen = listen, .routes = routes, .route_count = 1};
    assert_false(cs_http_server_new(cs_loop_base(f.loop), &o, &second, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    stop(&f);
    assert_int_equal(access(path, F_OK), -1);
    rmdir(dir);
}

static void test_bad_addresses(void **state) {
    (void)state;
    static const char *const rows[] = {
        "", "8080", "127.0.0.1", "127.0.0.1:", "::1:80", "127.0.0.1:http!", "unix:", "x:99999999"};
    struct cs_loop *loop = NULL;
    struct cs_err err;
    assert_true(cs_loop_new(&(struct cs_loop_hooks){0}, &loop, &err));
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_http_server *s = NULL;
        struct cs_http_options o = {.listen = rows[i], .routes = routes, .route_count = 1};
        assert_false(cs_http_server_new(cs_loop_base(loop), &o, &s, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
        assert_non_null(strstr(err.msg, "cannot listen on"));
    }
    cs_loop_free(loop);
}

// ---- TLS

static void write_pair(const char *dir, const char *cn, EVP_PKEY *other_key) {
    char path[128];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    assert_true(key && x);
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1,
                               -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_set_pubkey(x, key);
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    snprintf(path, sizeof path, "%s/cert.pem", dir);
    FILE *f = fopen(path, "w");
    assert_true(f && PEM_write_X509(f, x));
    fclose(f);
    snprintf(path, sizeof path, "%s/key.pem", dir);
    f = fopen(path, "w");
    assert_true(f && PEM_write_PrivateKey(f, other_key ? other_key : key, NULL, NULL, 0, NULL, NULL));
    fclose(f);
    X509_free(x);
    EVP_PKEY_free(key);
}

// Connects with TLS; NULL where the handshake fails.
static SSL *tls_dial(SSL_CTX *ctx, int port, int max_version, char *cn, size_t size) {
    SSL *ssl = SSL_new(ctx);
    int fd = dial(port);
    SSL_set_fd(ssl, fd);
    if (max_version)
        SSL_set_max_proto_version(ssl, max_version);
    if (SSL_connect(ssl) != 1) {
        SSL_free(ssl);
        close(fd);
        return NULL;
    }
    X509 *peer = SSL_get1_peer_certificate(ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, cn, (int)size);
    X509_free(peer);
    return ssl;
}

static void tls_close(SSL *ssl) {
    int fd = SSL_get_fd(ssl);
    SSL_free(ssl);
    close(fd);
}

static void tls_ask(SSL *ssl, const char *until) {
    static const char request[] = "GET /echo/tls HTTP/1.1\r\nHost: h\r\n\r\n";
    char out[4096] = "";
    size_t len = 0;
    assert_int_equal(SSL_write(ssl, request, sizeof request - 1), sizeof request - 1);
    while (!strstr(out, until)) {
        int n = SSL_read(ssl, out + len, (int)(sizeof out - 1 - len));
        assert_true(n > 0);
        len += (size_t)n;
        out[len] = '\0';
    }
}

struct reload {
    bool ok;
    struct cs_err err;
};
static void do_reload(struct fixture *f, void *arg) {
    struct reload *r = arg;
    r->ok = cs_http_server_reload_tls(f->server, &r->err);
}

static void test_tls(void **state) {
    (void)state;
    struct fixture f;
    char dir[] = "/tmp/test_http.XXXXXX", cert[64], key[64], cn[64];
    assert_non_null(mkdtemp(dir));
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    write_pair(dir, "first", NULL);
    start(&f,
          (struct cs_http_options){.tls_cert_file = cert, .tls_key_file = key, .request_timeout_ms = 1500});
    int port = cs_http_server_port(f.server);
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_security_level(ctx, 0);
    SSL *one = tls_dial(ctx, port, 0, cn, sizeof cn);
    assert_non_null(one);
    assert_string_equal(cn, "first");
    tls_ask(one, "\"tls\"");
    assert_null(tls_dial(ctx, port, TLS1_1_VERSION, cn, sizeof cn));
    // A pair that does not fit is not taken, not even in part.
    EVP_PKEY *other = EVP_EC_gen("P-256");
    write_pair(dir, "broken", other);
    EVP_PKEY_free(other);
    struct reload r = {.ok = true};
    in_loop(&f, do_reload, &r);
    assert_false(r.ok);
    assert_int_equal(r.err.kind, CS_ERR_CONFIG);
    SSL *two = tls_dial(ctx, port, 0, cn, sizeof cn);
    assert_non_null(two);
    assert_string_equal(cn, "first");
    // A good one is, and connections that are open live on.
    write_pair(dir, "second", NULL);
    in_loop(&f, do_reload, &r);
    assert_true(r.ok);
    SSL *three = tls_dial(ctx, port, TLS1_2_VERSION, cn, sizeof cn);
    assert_non_null(three);
    assert_string_equal(cn, "second");
    tls_ask(three, "\"tls\"");
    tls_ask(one, "\"tls\"");
    tls_close(one);
    tls_close(two);
    tls_close(three);
    // A client that never finishes its handshake is let go.
    char out[64];
    int fd = dial(port);
    puts_to(fd, "\x16\x03\x01");
    get(fd, out, sizeof out, NULL);
    close(fd);
    SSL_CTX_free(ctx);
    stop(&f);
    unlink(cert);
    unlink(key);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_keep_alive_and_pipelining),
        cmocka_unit_test(test_oversize),
        cmocka_unit_test(test_slowloris),
        cmocka_unit_test(test_slow_reader_and_idle),
        cmocka_unit_test(test_many_connections),
        cmocka_unit_test(test_deferred),
        cmocka_unit_test(test_reply_timeout_and_stop),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_bad_addresses),
        cmocka_unit_test(test_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
