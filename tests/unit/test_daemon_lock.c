// SPDX-License-Identifier: Apache-2.0
//
// Who is told to reload: the process that holds the lock, whatever files say.
#include "agent_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/daemon.h"

struct holding {
    pid_t pid;
    int said; // 'L': it holds the lock; 'H': SIGHUP came; 'U': the test's own signal came
};

static void child(const struct cs_session *s, const char *other, int out) {
    struct cs_err err;
    sigset_t both;
    int fd = -1, got;
    sigemptyset(&both);
    sigaddset(&both, SIGHUP);
    sigaddset(&both, SIGUSR1);
    sigprocmask(SIG_BLOCK, &both, NULL);
    if (other) { // some other program's lock
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        fd = open(other, O_RDWR | O_CREAT, 0600);
        if (fcntl(fd, F_SETLK, &whole) < 0)
            _exit(1);
    } else if (!cs_daemon_lock(s, &fd, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        _exit(1);
    }
    (void)!write(out, "L", 1);
    sigwait(&both, &got); // of two that wait the lower number comes first: SIGHUP
    (void)!write(out, got == SIGHUP ? "H" : "U", 1);
    _exit(0);
}

static struct holding hold(const struct cs_session *s, const char *other) {
    int fds[2];
    char what = 0;
    assert_int_equal(pipe(fds), 0);
    struct holding h = {fork(), fds[0]};
    if (h.pid == 0)
        child(s, other, fds[1]);
    close(fds[1]);
    assert_int_equal(read(h.said, &what, 1), 1);
    assert_int_equal(what, 'L');
    return h;
}

// Ends it; whether it had been told to reload.
static bool was_told(const struct holding *h) {
    char what = 0;
    kill(h->pid, SIGUSR1);
    assert_int_equal(read(h->said, &what, 1), 1);
    assert_int_equal(waitpid(h->pid, NULL, 0), h->pid);
    close(h->said);
    return what == 'H';
}

// -1: it cannot be told.
static int running(const struct cs_session *s) {
    struct cs_err err;
    bool yes;
    return cs_daemon_running(s, &yes, &err) ? yes : -1;
}

static void only_who_holds_the_lock_is_told(void **state) {
    (void)state;
    struct agent_fixture *f = agent_fixture_new();
    struct cs_agent_settings settings = {.spool = f->dir};
    struct cs_session s = {.settings = &settings, .account = "acme"};
    char lock[PATH_MAX], other[PATH_MAX], status[PATH_MAX];
    struct cs_err err;
    int fd = -1;
    ASSERT_OK(cs_daemon_path(&s, CS_DAEMON_LOCK, lock, sizeof lock, &err), err);
    ASSERT_OK(cs_daemon_path(&s, CS_DAEMON_STATUS, status, sizeof status, &err), err);
    snprintf(other, sizeof other, "%s/other", f->dir);
    assert_int_equal(running(&s), 0);
    assert_false(cs_daemon_reload(&s));

    struct holding h = hold(&s, NULL);
    assert_int_equal(running(&s), 1);
    assert_false(cs_daemon_lock(&s, &fd, &err));
    assert_non_null(strstr(err.msg, "another certsync agent runs"));
    assert_true(cs_daemon_reload(&s));
    assert_true(was_told(&h));
    assert_int_equal(running(&s), 0); // the lock went with it
    assert_false(cs_daemon_reload(&s));

    // Another process, named by a status file that somebody wrote, or holding what a planted link leads to.
    struct holding bystander = hold(&s, other);
    FILE *out = fopen(status, "w");
    fprintf(out, "{\"pid\": %d}", (int)bystander.pid);
    fclose(out);
    assert_false(cs_daemon_reload(&s));
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(symlink("other", lock), 0);
    assert_false(cs_daemon_reload(&s));
    assert_int_equal(running(&s), -1);
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(link(other, lock), 0);
    assert_false(cs_daemon_reload(&s));
    assert_false(was_told(&bystander));
    assert_int_equal(unlink(lock), 0);
    assert_int_equal(mkfifo(lock, 0600), 0); // does not hold us
    assert_int_equal(running(&s), -1);
    assert_false(cs_daemon_lock(&s, &fd, &err));
    agent_fixture_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(only_who_holds_the_lock_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
