// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/liveness.h"
#include "certsync/runtime/loop.h"

struct fixture {
    struct cs_loop *loop;
    struct cs_timer *timer;
    int drains, reloads, ticks, posts;
    int signals_left; // sent by the timer
    int signal;
    bool done_at_drain;
    bool healthy;
    int order[64];
    pthread_t loop_thread;
};

static void on_drain(void *arg) {
    struct fixture *f = arg;
    f->drains++;
    if (f->done_at_drain)
        cs_loop_done(f->loop);
}

static void on_reload(void *arg) {
    struct fixture *f = arg;
    f->reloads++;
    cs_loop_stop(f->loop);
}

static bool is_healthy(void *arg) {
    return ((struct fixture *)arg)->healthy;
}

static void send_signal(void *arg) {
    struct fixture *f = arg;
    if (f->signals_left-- > 0)
        kill(getpid(), f->signal);
}

static void new_loop(struct fixture *f, int64_t drain_ms) {
    struct cs_err err;
    memset(f, 0, sizeof *f);
    f->healthy = true;
    struct cs_loop_hooks hooks = {.on_drain = on_drain,
                                  .on_reload = on_reload,
                                  .is_healthy = is_healthy,
                                  .arg = f,
                                  .drain_timeout_ms = drain_ms};
    assert_true(cs_loop_new(&hooks, &f->loop, &err));
}

static void test_ends(void **state) {
    (void)state;
    static const struct {
        int signal, signals;
        bool done;
        int64_t drain_ms;
        enum cs_loop_end end;
    } rows[] = {
        {SIGTERM, 1, true, 10000, CS_LOOP_DRAINED}, {SIGINT, 1, true, 10000, CS_LOOP_DRAINED},
        {SIGTERM, 1, false, 50, CS_LOOP_DEADLINE},  {SIGTERM, 2, false, 10000, CS_LOOP_FORCED},
        {SIGINT, 5, false, 10000, CS_LOOP_FORCED},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct fixture f;
        new_loop(&f, rows[i].drain_ms);
        f.signal = rows[i].signal;
        f.signals_left = rows[i].signals;
        f.done_at_drain = rows[i].done;
        f.timer = cs_timer_new(f.loop, 0, 5, send_signal, &f);
        assert_int_equal(cs_loop_run(f.loop), rows[i].end);
        assert_int_equal(f.drains, 1);
        assert_true(cs_loop_draining(f.loop));
        cs_timer_free(f.timer);
        cs_loop_free(f.loop);
    }
}

static void test_no_hooks(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_loop *loop = NULL;
    assert_true(cs_loop_new(&(struct cs_loop_hooks){0}, &loop, &err));
    cs_loop_stop(loop); // before the run
    assert_int_equal(cs_loop_run(loop), CS_LOOP_DRAINED);
    cs_loop_free(loop);
    cs_loop_free(NULL);
}

static void test_reload(void **state) {
    (void)state;
    struct fixture f;
    new_loop(&f, 0);
    f.signal = SIGHUP;
    f.signals_left = 1;
    f.done_at_drain = true;
    f.timer = cs_timer_new(f.loop, 0, 0, send_signal, &f);
    assert_int_equal(cs_loop_run(f.loop), CS_LOOP_DRAINED);
    assert_int_equal(f.reloads, 1);
    cs_timer_free(f.timer);
    cs_loop_free(f.loop);
}

static void on_tick(void *arg) {
    struct fixture *f = arg;
    if (++f->ticks == 3) {
        cs_timer_free(f->timer); // in its own callback
        f->timer = NULL;
        cs_loop_done(f->loop);
    }
}

static void test_timer(void **state) {
    (void)state;
    struct fixture f;
    new_loop(&f, 0);
    int64_t start = cs_clock_mono_ms(cs_clock_real());
    f.timer = cs_timer_new(f.loop, 20, 10, on_tick, &f);
    struct cs_timer *never = cs_timer_new(f.loop, 3600000, 0, on_tick, &f);
    assert_int_equal(cs_loop_run(f.loop), CS_LOOP_DRAINED);
    assert_int_equal(f.ticks, 3);
    assert_true(cs_clock_mono_ms(cs_clock_real()) - start >= 38);
    cs_loop_free(f.loop);
    cs_timer_free(never); // after its loop
}

struct numbered {
    struct fixture *f;
    int n;
};
static struct numbered numbered[32];

static void on_post(void *arg) {
    struct numbered *p = arg;
    assert_true(pthread_equal(pthread_self(), p->f->loop_thread));
    p->f->order[p->f->posts++] = p->n;
    if (p->f->posts == 32)
        cs_loop_done(p->f->loop);
}

static void *poster(void *arg) {
    struct fixture *f = arg;
    for (int i = 16; i < 32; i++) {
        numbered[i] = (struct numbered){f, i};
        if (!cs_loop_post(f->loop, on_post, &numbered[i]))
            abort();
    }
    return NULL;
}

static void test_posts(void **state) {
    (void)state;
    struct fixture f;
    pthread_t thread;
    new_loop(&f, 0);
    f.loop_thread = pthread_self();
    for (int i = 0; i < 16; i++) { // before the run
        numbered[i] = (struct numbered){&f, i};
        assert_true(cs_loop_post(f.loop, on_post, &numbered[i]));
    }
    assert_int_equal(pthread_create(&thread, NULL, poster, &f), 0);
    assert_int_equal(cs_loop_run(f.loop), CS_LOOP_DRAINED);
    pthread_join(thread, NULL);
    assert_int_equal(f.posts, 32);
    for (int i = 0; i < 32; i++)
        assert_int_equal(f.order[i], i);
    // What is left is dropped, not leaked.
    assert_true(cs_loop_post(f.loop, on_post, &numbered[0]));
    cs_loop_free(f.loop);
    assert_int_equal(f.posts, 32);
}

// ---- systemd

static char sock_dir[] = "/tmp/test_loop.XXXXXX";

static int listen_notify(char *path, size_t size) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(path, size, "%s/notify", sock_dir);
    unlink(path);
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    struct timeval tv = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    return fd;
}

static void expect(int fd, const char *text) {
    char got[256];
    ssize_t n = recv(fd, got, sizeof got - 1, 0);
    assert_true(n > 0);
    got[n] = '\0';
    if (strncmp(got, text, strlen(text)) != 0)
        fail_msg("got \"%s\", not \"%s\"", got, text);
}

static void expect_nothing(int fd) {
    char got[256];
    assert_true(recv(fd, got, sizeof got, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

static void test_notify(void **state) {
    (void)state;
    char path[128], pid[32];
    struct fixture f;
    unsetenv("NOTIFY_SOCKET");
    assert_true(cs_notify("READY=1"));
    setenv("NOTIFY_SOCKET", "/nonexistent/socket", 1);
    assert_false(cs_notify("READY=1"));
    setenv("NOTIFY_SOCKET", "relative", 1);
    assert_false(cs_notify("READY=1"));
    int fd = listen_notify(path, sizeof path);
    setenv("NOTIFY_SOCKET", path, 1);
    assert_true(cs_notify("READY=1\nSTATUS=x"));
    expect(fd, "READY=1\nSTATUS=x");
    // The loop's own: a reload, then the end.
    new_loop(&f, 0);
    f.signal = SIGHUP;
    f.signals_left = 1;
    f.done_at_drain = true;
    f.timer = cs_timer_new(f.loop, 0, 0, send_signal, &f);
    cs_loop_run(f.loop);
    expect(fd, "RELOADING=1\nMONOTONIC_USEC=");
    expect(fd, "READY=1");
    expect(fd, "STOPPING=1");
    expect_nothing(fd);
    cs_timer_free(f.timer);
    cs_loop_free(f.loop);
    // The watchdog: at half of its time, and only while healthy.
    setenv("WATCHDOG_USEC", "20000", 1);
    snprintf(pid, sizeof pid, "%ld", (long)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    new_loop(&f, 0);
    f.timer = cs_timer_new(f.loop, 20, 20, on_tick, &f);
    cs_loop_run(f.loop);
    expect(fd, "WATCHDOG=1");
    expect(fd, "WATCHDOG=1");
    cs_loop_free(f.loop);
    while (recv(fd, path, sizeof path, MSG_DONTWAIT) > 0)
        ;
    new_loop(&f, 0);
    f.healthy = false;
    f.timer = cs_timer_new(f.loop, 20, 20, on_tick, &f);
    cs_loop_run(f.loop);
    expect_nothing(fd);
    cs_loop_free(f.loop);
    setenv("WATCHDOG_PID", "1", 1); // another process
    new_loop(&f, 0);
    f.timer = cs_timer_new(f.loop, 20, 20, on_tick, &f);
    cs_loop_run(f.loop);
    expect_nothing(fd);
    cs_loop_free(f.loop);
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    unsetenv("NOTIFY_SOCKET");
    close(fd);
    snprintf(path, sizeof path, "%s/notify", sock_dir);
    unlink(path);
}

// A sign is believed in for the watchdog's time and what the work may take, then it is overdue.
static void test_liveness(void **state) {
    (void)state;
    struct cs_liveness p = {0};
    assert_int_equal(cs_liveness_overdue_ms(&p), 0);
    cs_liveness_beat(&p, 0);
    assert_int_equal(cs_liveness_overdue_ms(&p), 0); // 30 s without a watchdog
    setenv("WATCHDOG_USEC", "1000", 1);
    assert_int_equal(cs_watchdog_ms(), 1);
    cs_liveness_beat(&p, 600000);
    assert_int_equal(cs_liveness_overdue_ms(&p), 0);
    cs_liveness_beat(&p, 0);
    while (cs_liveness_overdue_ms(&p) == 0)
        ;
    cs_liveness_rest(&p);
    assert_int_equal(cs_liveness_overdue_ms(&p), 0);
    unsetenv("WATCHDOG_USEC");
    assert_int_equal(cs_watchdog_ms(), 0);
}

static void test_clock(void **state) {
    (void)state;
    const struct cs_clock *real = cs_clock_real();
    assert_true(cs_clock_wall_ms(real) > INT64_C(1600000000000));
    assert_true(cs_clock_mono_ms(real) <= cs_clock_mono_ms(real));
    struct cs_clock_fake fake;
    cs_clock_fake_init(&fake, 5000);
    int64_t mono = cs_clock_mono_ms(&fake.clock);
    cs_clock_fake_advance(&fake, 250);
    assert_int_equal(cs_clock_wall_ms(&fake.clock), 5250);
    cs_clock_fake_set_wall(&fake, 1);
    assert_int_equal(cs_clock_wall_ms(&fake.clock), 1);
    assert_int_equal(cs_clock_mono_ms(&fake.clock), mono + 250);
}

static int set_up(void **state) {
    (void)state;
    return mkdtemp(sock_dir) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(sock_dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_no_hooks), cmocka_unit_test(test_reload),
        cmocka_unit_test(test_timer),    cmocka_unit_test(test_posts),    cmocka_unit_test(test_notify),
        cmocka_unit_test(test_liveness), cmocka_unit_test(test_clock),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
