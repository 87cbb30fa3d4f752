// SPDX-License-Identifier: Apache-2.0
//
// Files that are replaced in each of the ways in which that is done: what is new is taken up, what cannot be used
// is told once.
#define _GNU_SOURCE // memmem
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/filewatch.h"
#include "certsync/runtime/log.h"

#define PERIOD_MS   20
#define DEADLINE_MS 10000

struct fixture {
    struct cs_loop *loop;
    struct cs_filewatch *watch;
    char dir[64], a[96], b[96];
    int calls, taken, warnings;
    bool refuse;
    int (*until)(struct fixture *f);
    int64_t deadline_ms;
    int polls; // of the test's own timer, which is slower than the watch's
};

static bool on_change(void *arg, struct cs_err *err) {
    struct fixture *f = arg;
    f->calls++;
    char a[16] = "", b[16] = "";
    FILE *in = fopen(f->a, "r");
    if (in && !fgets(a, sizeof a, in))
        a[0] = '\0';
    if (in)
        fclose(in);
    in = fopen(f->b, "r");
    if (in && !fgets(b, sizeof b, in))
        b[0] = '\0';
    if (in)
        fclose(in);
    // As a certificate and its key: they belong together where they say the same.
    if (f->refuse || !a[0] || strcmp(a, b) != 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s does not belong to %s", f->b, f->a);
    f->taken = atoi(a);
    return true;
}

static void on_line(const char *line, size_t len, void *arg) {
    struct fixture *f = arg;
    if (memmem(line, len, "stay in use", 11))
        f->warnings++;
}

static void put(const char *path, const char *text) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    fclose(out);
}

static void on_tick(void *arg) {
    struct fixture *f = arg;
    f->polls++;
    assert_true(cs_clock_mono_ms(cs_clock_real()) < f->deadline_ms);
    if (f->until(f))
        cs_loop_done(f->loop);
}

// Runs the loop until the condition holds.
static void run_until(struct fixture *f, int (*until)(struct fixture *f)) {
    f->until = until;
    f->polls = 0;
    f->deadline_ms = cs_clock_mono_ms(cs_clock_real()) + DEADLINE_MS;
    struct cs_timer *tick = cs_timer_new(f->loop, 0, PERIOD_MS + 5, on_tick, f);
    cs_loop_run(f->loop);
    cs_timer_free(tick);
}

static int ten_polls(struct fixture *f) {
    return f->polls >= 10;
}

static int took_1(struct fixture *f) {
    return f->taken == 1;
}
static int took_2(struct fixture *f) {
    return f->taken == 2;
}
static int took_3(struct fixture *f) {
    return f->taken == 3;
}
static int warned(struct fixture *f) {
    return f->warnings > 0;
}

static void start(struct fixture *f) {
    struct cs_err err;
    memset(f, 0, sizeof *f);
    snprintf(f->dir, sizeof f->dir, "/tmp/test_filewatch.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->a, sizeof f->a, "%s/a", f->dir);
    snprintf(f->b, sizeof f->b, "%s/b", f->dir);
    assert_true(cs_loop_new(&(struct cs_loop_hooks){0}, &f->loop, &err));
    cs_log_set_sink(on_line, f);
}

static void watch(struct fixture *f) {
    struct cs_err err;
    const char *const paths[] = {f->a, NULL, "", f->b};
    struct cs_filewatch_options o = {.loop = f->loop,
                                     .paths = paths,
                                     .path_count = CS_ARRAY_LEN(paths),
                                     .what = "two files",
                                     .period_ms = PERIOD_MS,
                                     .on_change = on_change,
                                     .arg = f};
    assert_true(cs_filewatch_new(&o, &f->watch, &err));
}

static void stop(struct fixture *f) {
    cs_filewatch_free(f->watch);
    cs_loop_free(f->loop);
    cs_log_set_sink(NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", f->dir);
    assert_int_equal(system(command), 0);
}

// What stays as it is, is touched, or is written again with the same content is no change.
static void test_same(void **state) {
    (void)state;
    struct fixture f;
    start(&f);
    put(f.a, "0");
    put(f.b, "0");
    watch(&f);
    run_until(&f, ten_polls);
    put(f.a, "0");
    assert_int_equal(utimensat(AT_FDCWD, f.b, NULL, 0), 0);
    run_until(&f, ten_polls);
    assert_int_equal(f.calls, 0);
    stop(&f);
}

static void write_in_place(struct fixture *f, const char *text) {
    put(f->a, text);
    put(f->b, text);
}
static void rename_over(struct fixture *f, const char *text) {
    char next[128];
    snprintf(next, sizeof next, "%s/next", f->dir);
    put(next, text);
    assert_int_equal(rename(next, f->a), 0);
    put(next, text);
    assert_int_equal(rename(next, f->b), 0);
}
// As cp -p and tar do it: size and mtime are those of before.
static void keep_times(struct fixture *f, const char *text) {
    struct stat a, b;
    assert_int_equal(stat(f->a, &a), 0);
    assert_int_equal(stat(f->b, &b), 0);
    write_in_place(f, text);
    assert_int_equal(utimensat(AT_FDCWD, f->a, (struct timespec[]){a.st_atim, a.st_mtim}, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, f->b, (struct timespec[]){b.st_atim, b.st_mtim}, 0), 0);
}
static void remove_and_make(struct fixture *f, const char *text) {
    unlink(f->a);
    unlink(f->b);
    run_until(f, warned);
    write_in_place(f, text);
}

static void test_ways(void **state) {
    (void)state;
    static void (*const ways[])(struct fixture * f, const char *text) = {write_in_place, rename_over,
                                                                         keep_times, remove_and_make};
    for (size_t i = 0; i < CS_ARRAY_LEN(ways); i++) {
        struct fixture f;
        start(&f);
        write_in_place(&f, "0");
        watch(&f);
        ways[i](&f, "1"); // within the tick of the watch's own first look
        run_until(&f, took_1);
        ways[i](&f, "2");
        run_until(&f, took_2);
        run_until(&f, ten_polls);
        assert_int_equal(f.taken, 2);
        stop(&f);
    }
}

// a -> ..data/a, ..data -> ..1: Kubernetes makes ..2 and renames a new link over ..data.
static void test_kubernetes(void **state) {
    (void)state;
    struct fixture f;
    start(&f);
    for (int version = 0; version <= 2; version++) {
        char dir[128], file[160], text[8];
        snprintf(text, sizeof text, "%d", version);
        snprintf(dir, sizeof dir, "%s/..%d", f.dir, version);
        assert_int_equal(mkdir(dir, 0700), 0);
        snprintf(file, sizeof file, "%s/a", dir);
        put(file, text);
        snprintf(file, sizeof file, "%s/b", dir);
        put(file, text);
        snprintf(file, sizeof file, "%s/..tmp", f.dir);
        assert_int_equal(symlink(strrchr(dir, '/') + 1, file), 0);
        snprintf(dir, sizeof dir, "%s/..data", f.dir);
        assert_int_equal(rename(file, dir), 0);
        if (version == 0) {
            assert_int_equal(symlink("..data/a", f.a), 0);
            assert_int_equal(symlink("..data/b", f.b), 0);
            watch(&f);
        } else {
            run_until(&f, version == 1 ? took_1 : took_2);
        }
    }
    assert_int_equal(f.warnings, 0);
    stop(&f);
}

// The certificate comes first, its key later: told once, and taken up when both are there. Back to the old: well.
static void test_half(void **state) {
    (void)state;
    struct fixture f;
    start(&f);
    write_in_place(&f, "0");
    watch(&f);
    put(f.a, "1");
    run_until(&f, warned);
    run_until(&f, ten_polls);
    assert_int_equal(f.warnings, 1);
    assert_int_equal(f.calls, 1);
    put(f.b, "1");
    run_until(&f, took_1);
    put(f.b, "x"); // a second time is told again
    f.warnings = 0;
    run_until(&f, warned);
    put(f.b, "1");
    run_until(&f, ten_polls);
    int calls = f.calls;
    run_until(&f, ten_polls);
    run_until(&f, ten_polls); // longer than CS_FILEWATCH_RETRY: what is in use is not tried again
    assert_int_equal(f.calls, calls);
    assert_int_equal(f.warnings, 1);
    stop(&f);
}

static void stop_refusing(void *arg) {
    ((struct fixture *)arg)->refuse = false;
}

// It was the process that could not, and not the files: tried again without a further change.
static void test_retry(void **state) {
    (void)state;
    struct fixture f;
    start(&f);
    write_in_place(&f, "0");
    watch(&f);
    f.refuse = true;
    write_in_place(&f, "3");
    run_until(&f, warned);
    struct cs_timer *t = cs_timer_new(f.loop, 0, 0, stop_refusing, &f);
    run_until(&f, took_3);
    assert_int_equal(f.warnings, 1);
    cs_timer_free(t);
    stop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same), cmocka_unit_test(test_ways),  cmocka_unit_test(test_kubernetes),
        cmocka_unit_test(test_half), cmocka_unit_test(test_retry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
