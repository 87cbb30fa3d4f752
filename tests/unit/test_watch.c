// SPDX-License-Identifier: Apache-2.0
//
// What inotify tells of each way in which files come and go.
#include "agent_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/watch.h"

struct fixture {
    struct agent_fixture *f;
    struct cs_watch *w;
    char seen[64][128]; // names that changed
    size_t seen_len;
    size_t changes;
    size_t lost;
};

static void on_change(void *arg, const char *directory, const char *name) {
    struct fixture *x = arg;
    assert_true(directory[0] == '/');
    x->changes++;
    if (x->seen_len < CS_ARRAY_LEN(x->seen))
        snprintf(x->seen[x->seen_len++], sizeof x->seen[0], "%s", name);
}

static void on_lost(void *arg, const char *why) {
    struct fixture *x = arg;
    assert_true(why[0]);
    x->lost++;
}

static int set_up(void **state) {
    struct fixture *x = calloc(1, sizeof *x);
    struct cs_err err;
    x->f = agent_fixture_new();
    ASSERT_OK(cs_watch_new(&(struct cs_watch_hooks){on_change, on_lost, x}, &x->w, &err), err);
    ASSERT_OK(cs_watch_add(x->w, x->f->dir, &err), err);
    *state = x;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *x = *state;
    cs_watch_free(x->w);
    agent_fixture_free(x->f);
    free(x);
    return 0;
}

static void path_of(const struct fixture *x, const char *name, char *out) {
    snprintf(out, PATH_MAX, "%s/%s", x->f->dir, name);
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

// Events are there as soon as the call that caused them returns.
static bool told(struct fixture *x, const char *name) {
    x->seen_len = 0;
    cs_watch_read(x->w);
    for (size_t i = 0; i < x->seen_len; i++)
        if (strcmp(x->seen[i], name) == 0)
            return true;
    return false;
}

static void test_every_way_of_changing(void **state) {
    struct fixture *x = *state;
    char a[PATH_MAX], b[PATH_MAX];
    path_of(x, "a", a);
    path_of(x, "b", b);
    assert_false(told(x, "a"));
    write_file(a, "new");
    assert_true(told(x, "a"));
    write_file(a, "in place");
    assert_true(told(x, "a"));
    write_file(b, "beside");
    assert_int_equal(rename(b, a), 0);
    assert_true(told(x, "a"));
    assert_int_equal(chmod(a, 0400), 0);
    assert_true(told(x, "a"));
    assert_int_equal(unlink(a), 0);
    assert_true(told(x, "a"));
    assert_int_equal(symlink("x", a), 0);
    assert_true(told(x, "a"));
    assert_int_equal(symlink("y", b), 0);
    assert_int_equal(rename(b, a), 0);
    assert_true(told(x, "a"));
    assert_int_equal(mkdir(b, 0700), 0);
    assert_true(told(x, "b"));
    assert_int_equal(x->lost, 0);
}

static void test_a_directory_that_goes_and_comes(void **state) {
    struct fixture *x = *state;
    struct cs_err err;
    char sub[PATH_MAX], file[PATH_MAX], away[PATH_MAX];
    path_of(x, "sub", sub);
    path_of(x, "sub/file", file);
    path_of(x, "away", away);
    assert_int_equal(mkdir(sub, 0700), 0);
    ASSERT_OK(cs_watch_add(x->w, sub, &err), err);
    ASSERT_OK(cs_watch_add(x->w, sub, &err), err); // a second time is nothing
    assert_int_equal(cs_watch_count(x->w), 2);
    assert_int_equal(rename(sub, away), 0);
    cs_watch_read(x->w);
    assert_true(x->lost > 0);
    assert_int_equal(cs_watch_count(x->w), 1);
    assert_false(cs_watch_add(x->w, sub, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_int_equal(mkdir(sub, 0700), 0);
    ASSERT_OK(cs_watch_add(x->w, sub, &err), err);
    write_file(file, "x");
    assert_true(told(x, "file"));
    unlink(file);
    x->lost = 0;
    assert_int_equal(rmdir(sub), 0);
    cs_watch_read(x->w);
    assert_true(x->lost > 0);
    assert_int_equal(cs_watch_count(x->w), 1);
}

// As where something was mounted over a watched directory: of that no event comes.
static void test_a_path_that_leads_elsewhere_is_watched_again(void **state) {
    struct fixture *x = *state;
    struct cs_err err;
    char link[PATH_MAX], one[PATH_MAX], two[PATH_MAX], file[PATH_MAX];
    path_of(x, "one", one);
    path_of(x, "two", two);
    path_of(x, "link", link);
    path_of(x, "two/file", file);
    assert_int_equal(mkdir(one, 0700), 0);
    assert_int_equal(mkdir(two, 0700), 0);
    assert_int_equal(symlink("one", link), 0);
    ASSERT_OK(cs_watch_add(x->w, link, &err), err);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("two", link), 0);
    write_file(file, "x");
    assert_false(told(x, "file"));
    cs_watch_renew(x->w);
    assert_int_equal(cs_watch_count(x->w), 2);
    write_file(file, "y");
    assert_true(told(x, "file"));
    for (const char *const *p = (const char *const[]){file, one, two, link, NULL}; *p; p++)
        assert_int_equal(remove(*p), 0);
}

static long max_queued(void) {
    long n = 16384;
    FILE *in = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    if (in) {
        if (fscanf(in, "%ld", &n) != 1)
            n = 16384;
        fclose(in);
    }
    return n;
}

// The kernel's own queue, filled.
static void test_overflow_is_told(void **state) {
    struct fixture *x = *state;
    char path[PATH_MAX];
    long n = max_queued();
    if (n > 100000)
        skip();
    path_of(x, "f", path);
    for (long i = 0; i < n / 2 + 10; i++) { // two kinds of event a turn: the same twice running is told once
        write_file(path, "x");
        assert_int_equal(unlink(path), 0);
    }
    while (poll(&(struct pollfd){.fd = cs_watch_fd(x->w), .events = POLLIN}, 1, 0) > 0)
        cs_watch_read(x->w);
    assert_int_equal(x->lost, 1);
    write_file(path, "after");
    assert_true(told(x, "f"));
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_every_way_of_changing),
        T(test_a_directory_that_goes_and_comes),
        T(test_a_path_that_leads_elsewhere_is_watched_again),
        T(test_overflow_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
