// SPDX-License-Identifier: Apache-2.0
//
// Paths on which others may plant links, hard links and FIFOs, and swap what they planted at any moment.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certsync/runtime/fileio.h"
#include "certsync/runtime/path.h"

#define NOBODY 65534

static char dir[] = "/tmp/test_path.XXXXXX";

static int set_up(void **state) {
    (void)state;
    strcpy(strrchr(dir, '.') + 1, "XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    umask(0022);
    return 0;
}

static int tear_down(void **state) {
    char command[64];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return chdir("/") == 0 && system(command) == 0 ? 0 : -1;
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static const char *absolute(const char *path) {
    static char out[PATH_MAX];
    snprintf(out, sizeof out, "%s/%s", dir, path);
    return out;
}

// 0, or the errno; also that what was opened is what the kernel's own open() finds.
static int try_open(const char *path, const struct cs_path_links *links, char link[PATH_MAX]) {
    int fd = cs_path_open(path, O_RDONLY | O_NONBLOCK, links, link);
    if (fd < 0)
        return errno;
    struct stat st, wanted;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(stat(path, &wanted), 0);
    assert_true(st.st_ino == wanted.st_ino && st.st_dev == wanted.st_dev);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    close(fd);
    return 0;
}

static void a_path_is_walked_as_the_kernel_does(void **state) {
    (void)state;
    char link[PATH_MAX];
    assert_int_equal(mkdir("a", 0755), 0);
    assert_int_equal(mkdir("a/b", 0755), 0);
    put("a/b/file", "x");
    assert_int_equal(symlink("b", "a/link"), 0);
    assert_int_equal(symlink("../a/b/file", "a/file"), 0);
    assert_int_equal(symlink(absolute("a/b"), "a/absolute"), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    assert_int_equal(symlink("a/b/", "slash"), 0);
    static const struct {
        const char *path;
        int plain, no_links; // errno
        const char *link;    // which link is said where links are refused
    } rows[] = {
        {"a/b/file", 0, 0, ""},
        {"a/b", 0, 0, ""},
        {"a/b/", 0, 0, ""},
        {".", 0, 0, ""},
        {"/", 0, 0, ""},
        {"//tmp/", 0, 0, ""},
        {"/../..", 0, 0, ""},
        {"./a/.././a//b/./file", 0, 0, ""},
        {"a/link", 0, ELOOP, "./a/link"},
        {"a/link/", 0, ELOOP, "./a/link"},
        {"a/link/file", 0, ELOOP, "./a/link"},
        {"a/link/../b/file", 0, ELOOP, "./a/link"},
        {"a/absolute/file", 0, ELOOP, "./a/absolute"},
        {"a/file", 0, ELOOP, "./a/file"},
        {"slash/file", 0, ELOOP, "./slash"},
        {"slash", 0, ELOOP, "./slash"},
        {"loop", ELOOP, ELOOP, "./loop"},
        {"dangling", ENOENT, ELOOP, "./dangling"},
        {"missing", ENOENT, ENOENT, ""},
        {"missing/file", ENOENT, ENOENT, ""},
        {"a/b/file/", ENOTDIR, ENOTDIR, ""},
        {"a/file/", ENOTDIR, ELOOP, "./a/file"},
        {"a/b/file/x", ENOTDIR, ENOTDIR, ""},
        {"", ENOENT, ENOENT, ""},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        static const struct cs_path_links any = {.follow = true, .any_owner = true}, none = {0};
        int plain = try_open(rows[i].path, &any, link), strict = try_open(rows[i].path, &none, link);
        if (plain != rows[i].plain || strict != rows[i].no_links || strcmp(link, rows[i].link) != 0)
            fail_msg("%s: %s; without links: %s (%s)", rows[i].path, strerror(plain), strerror(strict), link);
    }
    char longest[PATH_MAX + 8];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(try_open(longest, &(struct cs_path_links){0}, link), ENAMETOOLONG);
    longest[NAME_MAX + 1] = '\0';
    assert_int_equal(try_open(longest, &(struct cs_path_links){0}, link), ENAMETOOLONG);
}

static void links_of_others_are_not_followed(void **state) {
    (void)state;
    char link[PATH_MAX];
    struct cs_err err;
    int fd = -1;
    if (geteuid() != 0) {
        print_message("not root: links of another user cannot be made here\n");
        skip();
    }
    assert_int_equal(mkdir("etc", 0755), 0);
    put("etc/shadow", "secret");
    assert_int_equal(symlink("etc", "theirs"), 0);
    assert_int_equal(lchown("theirs", NOBODY, NOBODY), 0);
    assert_int_equal(symlink("etc", "ours"), 0);
    const uid_t nobody = NOBODY;
    const struct cs_path_links roots = {.follow = true}, both = {true, false, &nobody, 1};
    assert_int_equal(try_open("theirs/shadow", &roots, link), ELOOP);
    assert_string_equal(link, "./theirs");
    assert_int_equal(try_open("ours/shadow", &roots, link), 0);
    assert_int_equal(try_open("theirs/shadow", &both, link), 0);
    // Root writes to no place that another user chose.
    const struct cs_bytes x = {(const uint8_t *)"x", 1};
    assert_false(cs_dir_open("theirs", &fd, &err));
    assert_non_null(strstr(err.msg, "name the real path"));
    assert_false(cs_file_write("theirs/a", x, 0644, &err));
    assert_false(cs_file_create("theirs/b", x, 0644, &err));
    assert_false(cs_file_write_given("theirs/c", x, 0644, &err));
    assert_false(cs_file_open_own("theirs/shadow", O_RDWR, 0600, &fd, &err));
    assert_false(cs_file_remove("theirs/shadow", &err));
    assert_false(cs_file_move("theirs/shadow", "d", &err));
    assert_false(cs_dir_make("theirs/e/f", 0700, &err));
    assert_true(cs_file_write("ours/a", x, 0644, &err));
    assert_true(cs_file_remove("ours/a", &err));
    assert_int_equal(rmdir("etc") == 0 ? 0 : errno, ENOTEMPTY);
    struct stat st;
    assert_int_equal(stat("etc/shadow", &st), 0);
    assert_int_equal(st.st_size, 6);
}

static void what_somebody_planted_is_not_written_to(void **state) {
    (void)state;
    put("secret", "secret");
    assert_int_equal(mkdir("spool", 0700), 0);
    assert_int_equal(symlink("../secret", "spool/link"), 0);
    assert_int_equal(symlink("../new", "spool/dangling"), 0);
    assert_int_equal(link("secret", "spool/hard"), 0);
    assert_int_equal(mkfifo("spool/fifo", 0600), 0);
    assert_int_equal(mkdir("spool/directory", 0700), 0);
    static const struct {
        const char *name;
        int code;
    } rows[] = {{"link", ELOOP},       {"dangling", ELOOP}, {"hard", EMLINK}, {"fifo", EMLINK},
                {"directory", EISDIR}, {"plain", 0},        {"plain", 0}};
    int spool = open("spool", O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        int fd = cs_path_open_own(spool, rows[i].name, O_RDWR, 0640), code = fd < 0 ? errno : 0;
        if (code != rows[i].code)
            fail_msg("%s: %s", rows[i].name, strerror(code));
        if (fd >= 0)
            close(fd);
    }
    assert_int_equal(access("new", F_OK), -1);
    struct stat st;
    assert_int_equal(fstatat(spool, "plain", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(cs_path_mkdir(spool, "link", 0700), -1);
    assert_int_equal(errno, EEXIST);
    close(spool);
}

static uid_t owner_of(const char *path) {
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st.st_uid;
}

static void what_root_makes_for_a_user_is_given_to_him(void **state) {
    (void)state;
    struct cs_err err;
    int fd;
    if (geteuid() != 0) {
        print_message("not root: nothing can be given away here\n");
        skip();
    }
    const struct cs_bytes x = {(const uint8_t *)"x", 1};
    assert_int_equal(mkdir("home", 0755), 0);
    assert_int_equal(chown("home", NOBODY, NOBODY), 0);
    assert_true(cs_dir_make("home/spool/key", 0700, &err));
    assert_int_equal(owner_of("home/spool"), NOBODY);
    assert_int_equal(owner_of("home/spool/key"), NOBODY);
    assert_true(cs_file_open_own("home/spool/lock", O_RDWR, 0600, &fd, &err));
    close(fd);
    assert_int_equal(owner_of("home/spool/lock"), NOBODY);
    assert_true(cs_file_write_given("home/spool/status", x, 0640, &err));
    assert_int_equal(owner_of("home/spool/status"), NOBODY);
    // Of root's own nothing is given away: not a key that root makes there, nor what was there before.
    assert_true(cs_file_create("home/root.key", x, 0600, &err));
    assert_int_equal(owner_of("home/root.key"), 0);
    put("home/before", "x");
    assert_true(cs_file_open_own("home/before", O_RDWR, 0600, &fd, &err));
    close(fd);
    assert_int_equal(owner_of("home/before"), 0);
    assert_true(cs_dir_make("mine/spool", 0700, &err));
    assert_int_equal(owner_of("mine/spool"), 0);
}

// Each makes the directories that are missing, and works in them at once.
static void processes_make_a_directory_side_by_side(void **state) {
    (void)state;
    enum { ROUNDS = 100, PROCESSES = 4 };
    for (int round = 0; round < ROUNDS; round++) {
        char directory[64], file[96];
        pid_t pids[PROCESSES];
        snprintf(directory, sizeof directory, "side-%d/key", round);
        for (int i = 0; i < PROCESSES; i++) {
            pids[i] = fork();
            assert_true(pids[i] >= 0);
            if (pids[i] > 0)
                continue;
            struct cs_err err;
            snprintf(file, sizeof file, "%s/%d", directory, i);
            bool ok = cs_dir_make(directory, 0700, &err);
            int fd = ok ? open(file, O_CREAT | O_EXCL | O_WRONLY, 0600) : -1;
            if (fd < 0)
                fprintf(stderr, "%s\n", ok ? strerror(errno) : err.msg);
            _exit(fd < 0);
        }
        for (int i = 0; i < PROCESSES; i++) {
            int status;
            assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
            assert_int_equal(status, 0);
        }
        for (int i = 0; i < PROCESSES; i++) { // nobody's directory took the place of another's
            snprintf(file, sizeof file, "%s/%d", directory, i);
            assert_int_equal(access(file, F_OK), 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_path_is_walked_as_the_kernel_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_of_others_are_not_followed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_somebody_planted_is_not_written_to, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_root_makes_for_a_user_is_given_to_him, set_up, tear_down),
        cmocka_unit_test_setup_teardown(processes_make_a_directory_side_by_side, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
