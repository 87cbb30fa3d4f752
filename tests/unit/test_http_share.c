// SPDX-License-Identifier: Apache-2.0
//
// One address, several servers in loops and threads of their own.
#include "http_fixture.h"

#define SERVERS 3
#define WHO     "GET /who HTTP/1.1\r\nHost: h\r\n\r\n"
#define HOLD    "GET /holding HTTP/1.1\r\nHost: h\r\n\r\n"

struct one {
    int number;
    struct cs_loop *loop;
    struct cs_http_server *server;
    pthread_t thread;
    bool ended;
    struct cs_http_request *held[16]; // only touched in its thread
    size_t held_len;
    _Atomic int holding, cancelled;
};

static void on_who(struct cs_http_request *req, void *arg) {
    char text[32];
    snprintf(text, sizeof text, "server %d!", ((struct one *)arg)->number);
    cs_http_reply(req, 200, "text/plain", (struct cs_bytes){(const uint8_t *)text, strlen(text)});
}

static void on_gone(struct cs_http_request *req, void *arg) {
    struct one *o = arg;
    for (size_t i = 0; i < o->held_len; i++)
        if (o->held[i] == req)
            o->held[i] = NULL;
    atomic_fetch_add(&o->cancelled, 1);
}

static void on_holding(struct cs_http_request *req, void *arg) {
    struct one *o = arg;
    assert_true(o->held_len < CS_ARRAY_LEN(o->held));
    o->held[o->held_len++] = req;
    cs_http_on_cancel(req, on_gone, o);
    atomic_fetch_add(&o->holding, 1);
}

static const struct cs_http_route own_routes[] = {{"GET", "/who", on_who}, {"GET", "/holding", on_holding}};

static void *run_one(void *arg) {
    (void)cs_loop_run(((struct one *)arg)->loop);
    return NULL;
}

static void start_all(struct one all[SERVERS], size_t max_connections) {
    struct cs_err err;
    for (int i = 0; i < SERVERS; i++) {
        all[i] = (struct one){.number = i};
        assert_true(cs_loop_new_plain(&all[i].loop, &err));
    }
    struct cs_http_options o = {.listen = "127.0.0.1:0",
                                .routes = own_routes,
                                .route_count = CS_ARRAY_LEN(own_routes),
                                .max_connections = max_connections,
                                .arg = &all[0]};
    assert_true(cs_http_server_new(cs_loop_base(all[0].loop), &o, &all[0].server, &err));
    for (int i = 1; i < SERVERS; i++)
        assert_true(
            cs_http_server_share(all[0].server, cs_loop_base(all[i].loop), &all[i], &all[i].server, &err));
    for (int i = 0; i < SERVERS; i++)
        assert_int_equal(pthread_create(&all[i].thread, NULL, run_one, &all[i]), 0);
}

static void done(void *arg) {
    cs_loop_done(arg);
}

static void end_thread(struct one *o) {
    if (!o->ended)
        assert_true(cs_loop_post(o->loop, done, o->loop));
    if (!o->ended)
        pthread_join(o->thread, NULL);
    o->ended = true;
}

static void end_all(struct one all[SERVERS]) {
    for (int i = 0; i < SERVERS; i++)
        end_thread(&all[i]);
    for (int i = SERVERS; i-- > 0;)
        cs_http_server_free(all[i].server);
    for (int i = 0; i < SERVERS; i++)
        cs_loop_free(all[i].loop);
}

static void answer_all(void *arg) {
    struct one *o = arg;
    for (size_t i = 0; i < o->held_len; i++)
        if (o->held[i])
            cs_http_reply(o->held[i], 200, "text/plain", (struct cs_bytes){(const uint8_t *)"late.", 5});
    o->held_len = 0;
}

// Who answers over this connection; -1: it was closed instead.
static int who(int fd) {
    char out[1024];
    if (!put(fd, WHO, strlen(WHO)))
        return -1;
    get(fd, out, sizeof out, "!");
    const char *at = strstr(out, "server ");
    return at ? atoi(at + 7) : -1;
}

static void until(struct one all[SERVERS], size_t (*what)(const struct cs_http_server *s), size_t value) {
    for (int64_t end = now_ms() + DEADLINE_MS;;) {
        size_t sum = 0;
        for (int i = 0; i < SERVERS; i++)
            sum += what(all[i].server);
        if (sum == value)
            return;
        assert_true(now_ms() < end);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

static int holding(struct one all[SERVERS]) {
    int sum = 0;
    for (int i = 0; i < SERVERS; i++)
        sum += atomic_load(&all[i].holding);
    return sum;
}

static void until_holding(struct one all[SERVERS], int value) {
    for (int64_t end = now_ms() + DEADLINE_MS; holding(all) < value;) {
        assert_true(now_ms() < end);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
}

// Each has its part of the connections, and a connection stays where it is.
static void test_spread(void **state) {
    (void)state;
    struct one all[SERVERS];
    int fds[2 * SERVERS], served[SERVERS] = {0};
    start_all(all, 64);
    int port = cs_http_server_port(all[0].server);
    for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++) {
        fds[i] = dial(port);
        int at = who(fds[i]);
        assert_in_range(at, 0, SERVERS - 1);
        served[at]++;
        assert_int_equal(who(fds[i]), at);
    }
    for (int i = 0; i < SERVERS; i++)
        assert_int_equal(served[i], 2);
    // Where two have left, the next two are served.
    int left = who(fds[0]);
    for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++)
        if (who(fds[i]) == left) {
            close(fds[i]);
            fds[i] = -1;
        }
    until(all, cs_http_server_connections, CS_ARRAY_LEN(fds) - 2);
    for (int i = 0; i < 2; i++) {
        int fd = dial(port);
        assert_int_equal(who(fd), left);
        close(fd);
        until(all, cs_http_server_connections, CS_ARRAY_LEN(fds) - 2);
    }
    for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    until(all, cs_http_server_connections, 0);
    end_all(all);
}

// max_connections is of all together; fewer than there are servers, too.
static void test_full(void **state) {
    (void)state;
    for (size_t most = 1; most <= 7; most += 3) {
        struct one all[SERVERS];
        int fds[20];
        start_all(all, most);
        int port = cs_http_server_port(all[0].server);
        for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++) // silent ones
            fds[i] = dial(port);
        int good = dial(port);
        assert_in_range(who(good), 0, SERVERS - 1);
        size_t open = 0;
        for (int i = 0; i < SERVERS; i++)
            open += cs_http_server_connections(all[i].server);
        assert_in_range(open, 1, most + 1);
        for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++)
            close(fds[i]);
        close(good);
        until(all, cs_http_server_connections, 0);
        end_all(all);
    }
}

// All wait for their answers: one more is served, further ones wait until there is a place.
static void test_busy(void **state) {
    (void)state;
    struct one all[SERVERS];
    int fds[SERVERS + 3];
    start_all(all, SERVERS);
    int port = cs_http_server_port(all[0].server);
    for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++) {
        fds[i] = dial(port);
        puts_to(fds[i], HOLD);
    }
    until_holding(all, SERVERS + 1);
    until(all, cs_http_server_open_requests, SERVERS + 1);
    assert_int_equal(holding(all), SERVERS + 1);
    char out[1024];
    for (size_t answered = 0; answered < CS_ARRAY_LEN(fds);) {
        for (int i = 0; i < SERVERS; i++)
            assert_true(cs_loop_post(all[i].loop, answer_all, &all[i]));
        for (size_t i = 0; i < CS_ARRAY_LEN(fds); i++) {
            struct timeval soon = {.tv_usec = 20000};
            if (fds[i] < 0 || setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof soon) != 0)
                continue;
            ssize_t n = recv(fds[i], out, sizeof out - 1, 0);
            if (n <= 0)
                continue;
            out[n] = '\0';
            assert_non_null(strstr(out, "late."));
            close(fds[i]);
            fds[i] = -1;
            answered++;
        }
    }
    until(all, cs_http_server_connections, 0);
    end_all(all);
}

static void stop_one(void *arg) {
    cs_http_server_stop(((struct one *)arg)->server);
}

// Idle connections end in each; a request under way is answered, and only then nothing is open.
static void test_stop(void **state) {
    (void)state;
    struct one all[SERVERS];
    int idle[SERVERS], held[SERVERS];
    char out[1024];
    start_all(all, 64);
    int port = cs_http_server_port(all[0].server);
    for (int i = 0; i < SERVERS; i++) {
        idle[i] = dial(port);
        assert_in_range(who(idle[i]), 0, SERVERS - 1);
        held[i] = dial(port);
        puts_to(held[i], HOLD);
    }
    until_holding(all, SERVERS);
    until(all, cs_http_server_open_requests, SERVERS); // the answers to the others are sent
    for (int i = 0; i < SERVERS; i++)
        assert_true(cs_loop_post(all[i].loop, stop_one, &all[i]));
    for (int i = 0; i < SERVERS; i++) {
        assert_int_equal(get(idle[i], out, sizeof out, NULL), 0);
        close(idle[i]);
    }
    until(all, cs_http_server_open_requests, SERVERS);
    for (int i = 0; i < SERVERS; i++)
        assert_true(cs_loop_post(all[i].loop, answer_all, &all[i]));
    for (int i = 0; i < SERVERS; i++) {
        get(held[i], out, sizeof out, NULL);
        assert_non_null(strstr(out, "late."));
        assert_non_null(strstr(out, "Connection: close"));
        close(held[i]);
    }
    until(all, cs_http_server_open_requests, 0);
    end_all(all);
}

// What is open at the end is cancelled, and a connection that nobody took yet is closed.
static void test_end(void **state) {
    (void)state;
    struct one all[SERVERS];
    int fds[SERVERS], cancelled = 0;
    char byte;
    start_all(all, 64);
    int port = cs_http_server_port(all[0].server);
    for (int i = 0; i < SERVERS; i++) {
        fds[i] = dial(port);
        puts_to(fds[i], HOLD);
    }
    until_holding(all, SERVERS);
    end_thread(&all[1]);
    int late[SERVERS]; // one of these is given to the server whose loop has ended
    for (int i = 0; i < SERVERS; i++)
        late[i] = dial(port);
    until(all, cs_http_server_connections, 2 * SERVERS);
    end_all(all);
    for (int i = 0; i < SERVERS; i++) {
        assert_true(recv(fds[i], &byte, 1, 0) <= 0);
        assert_true(recv(late[i], &byte, 1, 0) <= 0);
        close(fds[i]);
        close(late[i]);
        cancelled += atomic_load(&all[i].cancelled);
    }
    assert_int_equal(cancelled, SERVERS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spread), cmocka_unit_test(test_full), cmocka_unit_test(test_busy),
        cmocka_unit_test(test_stop),   cmocka_unit_test(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
