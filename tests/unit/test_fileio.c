// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/runtime/fileio.h"

static char dir[] = "/tmp/test_fileio.XXXXXX";

static const char *in_dir(const char *name) {
    static char paths[4][256];
    static size_t next;
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", dir, name);
    return paths[next];
}

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static int entries(void) {
    int n = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_write_and_read(void **state) {
    (void)state;
    struct cs_err err;
    struct stat st;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 10);
    umask(0077);
    assert_true(cs_file_write(in_dir("a"), text("first"), 0644, &err));
    assert_true(cs_file_write(in_dir("a"), text("second"), 0640, &err));
    assert_int_equal(stat(in_dir("a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_true(cs_file_read(in_dir("a"), 0, &b, &err));
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "second", 6);
    // What does not fit is not put.
    assert_false(cs_file_read(in_dir("a"), 0, &b, &err));
    assert_non_null(strstr(err.msg, "longer than 4 bytes"));
    assert_int_equal(b.len, 6);
    assert_true(cs_file_write(in_dir("a"), text("four"), 0600, &err));
    assert_true(cs_file_read(in_dir("a"), CS_FILE_PRIVATE, &b, &err)); // exactly the rest
    assert_memory_equal(b.data, "secondfour", 10);
    assert_true(cs_file_write(in_dir("a"), text(""), 0600, &err));
    assert_true(cs_file_read(in_dir("a"), 0, &b, &err));
    assert_int_equal(b.len, 10);
    // create does not replace.
    assert_false(cs_file_create(in_dir("a"), text("x"), 0600, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "exists already"));
    assert_true(cs_file_create(in_dir("b"), text("x"), 0600, &err));
    assert_true(cs_file_remove(in_dir("b"), &err));
    assert_true(cs_file_remove(in_dir("b"), &err));
    assert_true(cs_file_remove(in_dir("a"), &err));
    assert_int_equal(entries(), 0); // no temporary file is left
}

static void test_faults(void **state) {
    (void)state;
    struct cs_err err;
    assert_true(cs_file_write(in_dir("plain"), text("x"), 0644, &err));
    assert_int_equal(symlink("plain", in_dir("link")), 0);
    assert_int_equal(symlink("nowhere", in_dir("dangling")), 0);
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_int_equal(mkdir(in_dir("sub"), 0700), 0);
    static const struct {
        const char *name;
        unsigned flags;
        const char *message; // NULL: succeeds
    } rows[] = {
        {"plain", 0, NULL},
        {"plain", CS_FILE_NOFOLLOW, NULL},
        {"plain", CS_FILE_PRIVATE, "others can read this private key; run: chmod 600"},
        {"link", 0, NULL},
        {"link", CS_FILE_NOFOLLOW, "it is a symbolic link"},
        {"dangling", 0, "check the path"},
        {"missing", 0, "check the path"},
        {"fifo", 0, "not a regular file"},
        {"sub", 0, "it is a directory"},
        {"plain/x", 0, "is not a directory"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        CS_AUTO(cs_buf_clear) struct cs_buf b;
        cs_buf_init(&b, 100);
        bool ok = cs_file_read(in_dir(rows[i].name), rows[i].flags, &b, &err);
        if (ok != !rows[i].message || (!ok && !strstr(err.msg, rows[i].message)))
            fail_msg("%s: %s", rows[i].name, ok ? "read" : err.msg);
        if (!ok)
            assert_int_equal(err.kind, CS_ERR_CONFIG);
    }
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 100);
    assert_false(cs_file_read("/dev/zero", 0, &b, &err));
    assert_false(cs_file_write(in_dir("no/such/dir"), text("x"), 0600, &err));
    assert_false(cs_file_write(in_dir("sub"), text("x"), 0600, &err));
    static const char *const names[] = {"plain", "link", "dangling", "fifo"};
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++)
        assert_int_equal(unlink(in_dir(names[i])), 0);
    assert_int_equal(rmdir(in_dir("sub")), 0);
    assert_int_equal(entries(), 0);
}

static void test_stdin(void **state) {
    (void)state;
    struct cs_err err;
    int fds[2], old = dup(STDIN_FILENO);
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 100);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "piped", 5), 5);
    close(fds[1]);
    assert_true(dup2(fds[0], STDIN_FILENO) >= 0);
    close(fds[0]);
    assert_true(cs_file_read("-", CS_FILE_STDIN, &b, &err));
    assert_int_equal(b.len, 5);
    dup2(old, STDIN_FILENO);
    close(old);
    assert_false(cs_file_read("-", 0, &b, &err)); // a file of that name
}

static void test_directories(void **state) {
    (void)state;
    struct cs_err err;
    struct stat st;
    umask(0077);
    assert_true(cs_dir_make(in_dir("a//b/c/"), 0755, &err));
    assert_true(cs_dir_make(in_dir("a/b/c"), 0700, &err));
    assert_int_equal(stat(in_dir("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_true(cs_file_write(in_dir("a/f"), text("x"), 0600, &err));
    assert_false(cs_dir_make(in_dir("a/f"), 0700, &err));
    assert_non_null(strstr(err.msg, "is not a directory"));
    assert_false(cs_dir_make("", 0700, &err));
    int fd;
    assert_true(cs_dir_open(in_dir("a"), &fd, &err));
    close(fd);
    assert_false(cs_dir_open(in_dir("a/f"), &fd, &err));
    unlink(in_dir("a/f"));
    rmdir(in_dir("a/b/c"));
    rmdir(in_dir("a/b"));
    rmdir(in_dir("a"));
}

static int set_up(void **state) {
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    return rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_write_and_read), cmocka_unit_test(test_faults),
                                       cmocka_unit_test(test_stdin), cmocka_unit_test(test_directories)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
