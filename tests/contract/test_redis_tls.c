// SPDX-License-Identifier: Apache-2.0
//
// Both kinds of connections say why TLS with Redis failed. hiredis alone says "Success".
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <event2/event.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/log.h"
#include "redis/async.h"
#include "redis/link.h"
#include "redis_server.h"

#define PATIENCE_MS 60000

// Accepts, takes what a client says, answers (or not), and closes.
struct stranger {
    pid_t pid;
    int port;
};

static struct redis_server server, strict;
static struct stranger mute, plain, alerting;

static void start_stranger(struct stranger *s, struct cs_bytes answer) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
    assert_int_equal(listen(fd, 10), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    s->port = ntohs(a.sin_port);
    s->pid = fork();
    if (s->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            char said[4096];
            int c = accept(fd, NULL, NULL);
            if (recv(c, said, sizeof said, 0) > 0)
                (void)!write(c, answer.data, answer.len);
            close(c);
        }
    }
    close(fd);
    assert_true(s->pid > 0);
}

static void end_stranger(struct stranger *s) {
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
}

static int start(void **state) {
    (void)state;
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 48}; // RFC 8446 section 6: fatal, unknown_ca
    static const uint8_t text[] = "-ERR unknown command\r\n";
    start_stranger(&mute, (struct cs_bytes){text, 0});
    start_stranger(&plain, (struct cs_bytes){text, sizeof text - 1});
    start_stranger(&alerting, (struct cs_bytes){alert, sizeof alert});
    return redis_server_start(&server, NULL) &&
                   redis_server_start(&strict, (const char *[]){"--tls-auth-clients", "yes", NULL})
               ? 0
               : -1;
}

static int stop(void **state) {
    (void)state;
    end_stranger(&mute);
    end_stranger(&plain);
    end_stranger(&alerting);
    redis_server_stop(&server);
    redis_server_stop(&strict);
    return 0;
}

static struct cs_redis_target target(int port) {
    struct cs_redis_target t;
    struct cs_err err;
    char url[64];
    snprintf(url, sizeof url, "rediss://127.0.0.1:%d", port);
    assert_true(cs_redis_target_parse(url, &t, &err));
    return t;
}

// What it ends with is no reason.
static bool is_empty(const char *text) {
    return strstr(text, "Success") || strstr(text, "no reason");
}

static void link_says(int port, const char *ca_file, enum cs_err_kind kind, const char *why) {
    struct cs_redis_target t = target(port);
    struct cs_redis_link_options o = {.target = &t, .ca_file = ca_file, .timeout_ms = PATIENCE_MS};
    CS_AUTO(cs_redis_link_free) struct cs_redis_link *l = NULL;
    struct cs_err err;
    assert_true(cs_redis_link_new(&o, &l, &err));
    assert_false(cs_redis_connect(l, &err));
    if (!strstr(err.msg, why) || is_empty(err.msg))
        fail_msg("no \"%s\" in: %s", why, err.msg);
    assert_int_equal(err.kind, kind);
}

static void keep_line(const char *line, size_t len, void *arg) {
    char *kept = arg; // of 1024 bytes
    snprintf(kept, 1024, "%.*s", (int)len, line);
}

static void keep_ready(void *arg, bool ready) {
    *(bool *)arg |= ready;
}

// Runs until a line was logged, or the connection is ready.
static bool async_ready(int port, const char *ca_file, char line[1024]) {
    struct cs_loop_hooks hooks = {0};
    struct cs_redis_target t = target(port);
    struct cs_loop *loop = NULL;
    struct cs_redis_async *r = NULL;
    struct cs_err err;
    bool ready = false;
    line[0] = '\0';
    cs_log_set_sink(keep_line, line);
    assert_true(cs_loop_new(&hooks, &loop, &err));
    struct cs_redis_async_options o = {.loop = loop,
                                       .target = &t,
                                       .ca_file = ca_file,
                                       .timeout_ms = PATIENCE_MS,
                                       .purpose = "API",
                                       .on_state = keep_ready,
                                       .arg = &ready};
    assert_true(cs_redis_async_new(&o, &r, &err));
    int64_t end_ms = cs_clock_mono_ms(cs_clock_real()) + PATIENCE_MS;
    while (!line[0] && !ready && cs_clock_mono_ms(cs_clock_real()) < end_ms)
        event_base_loop(cs_loop_base(loop), EVLOOP_ONCE);
    cs_redis_async_free(r);
    cs_loop_free(loop);
    cs_log_set_sink(NULL, NULL);
    return ready;
}

static void async_says(int port, const char *ca_file, const char *why) {
    char line[1024];
    assert_false(async_ready(port, ca_file, line));
    if (!strstr(line, "Redis is away") || !strstr(line, why) || is_empty(line))
        fail_msg("no \"%s\" in: %s", why, line);
}

static void both_say(int port, const char *ca_file, enum cs_err_kind kind, const char *why) {
    link_says(port, ca_file, kind, why);
    async_says(port, ca_file, why);
}

static char *beside(const char *name) {
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", getenv("CS_TEST_REDIS_TLS"), name);
    return path;
}

static void the_reason_is_said(void **state) {
    (void)state;
    both_say(server.tls_port, beside("ca-root.pem"), CS_ERR_RETRY,
             "TLS with Redis failed: its certificate: self-signed certificate in certificate chain; check "
             "redis.ca");
    both_say(alerting.port, server.ca_file, CS_ERR_RETRY, "alert unknown ca");
    // It wants a client certificate, and misses it after the handshake: an alert, or a reset.
    both_say(strict.tls_port, server.ca_file, CS_ERR_RETRY, "");
    both_say(plain.port, server.ca_file, CS_ERR_RETRY, "TLS with Redis failed: wrong version number");
    both_say(mute.port, server.ca_file, CS_ERR_RETRY, "TLS with Redis failed: unexpected eof");
    both_say(server.tls_port, beside("no-such-file"), CS_ERR_CONFIG, "/no-such-file: ");
    both_say(server.tls_port, beside("ca-root.key"), CS_ERR_CONFIG, "check redis.ca");
}

// One failure does not make the thread's other connections fail.
static void a_failure_is_its_own(void **state) {
    (void)state;
    struct cs_redis_target t = target(server.tls_port);
    struct cs_redis_link_options o = {.target = &t, .ca_file = server.ca_file, .timeout_ms = PATIENCE_MS};
    CS_AUTO(cs_redis_link_free) struct cs_redis_link *l = NULL;
    struct cs_err err;
    char line[1024];
    redisReply *const *replies = NULL;
    size_t n = 0;
    assert_true(cs_redis_link_new(&o, &l, &err));
    assert_true(cs_redis_connect(l, &err));
    async_says(server.tls_port, beside("ca-root.pem"), "self-signed");
    cs_redis_command(l, 1);
    cs_redis_arg_text(l, "PING");
    assert_true(cs_redis_send(l, &err));
    assert_true(cs_redis_finish(l, &replies, &n, &err));
    assert_string_equal(replies[0]->str, "PONG");
    assert_true(async_ready(server.tls_port, server.ca_file, line));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reason_is_said),
        cmocka_unit_test(a_failure_is_its_own),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
