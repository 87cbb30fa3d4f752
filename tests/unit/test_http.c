// SPDX-License-Identifier: Apache-2.0
//
// The server against real clients over loopback: good ones, slow ones, huge ones, and ones that go away.
#include "http_fixture.h"

#include <sys/un.h>

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
    assert_true(took >= 500 && took < DEADLINE_MS);
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
    assert_true(now_ms() - begin < DEADLINE_MS);
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
    static const char *const rows[] = {"",           "8080",       "127.0.0.1",
                                       "127.0.0.1:", "::1:80",     "127.0.0.1:http!",
                                       "unix:",      "x:99999999", "127.0.0.1:80800"};
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
