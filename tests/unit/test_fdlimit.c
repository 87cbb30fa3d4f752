// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certsync/runtime/fdlimit.h"

static struct rlimit limit_now(void) {
    struct rlimit r;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &r), 0);
    return r;
}

// Each row in a process of its own: the hard limit does not come back.
static void test_limit(void **state) {
    (void)state;
    static const struct {
        rlim_t soft, hard;
        uint64_t needed;
        bool ok;
    } rows[] = {{48, 48, 48, true},
                {48, 48, 49, false},
                {48, 300, 300, true},
                {48, 300, 10, true},
                {48, 300, 301, false}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            struct cs_err err = {0};
            struct rlimit r = {rows[i].soft, rows[i].hard};
            if (setrlimit(RLIMIT_NOFILE, &r) < 0)
                _exit(1);
            bool ok = cs_fd_limit_raise(rows[i].needed, "api.max_connections 7", &err);
            bool right = ok == rows[i].ok;
            if (ok)
                right = right && limit_now().rlim_cur == rows[i].hard;
            else
                right = right && err.kind == CS_ERR_CONFIG && strstr(err.msg, "api.max_connections 7") &&
                        strstr(err.msg, rows[i].needed == 49 ? " 48 " : " 300 ") &&
                        strstr(err.msg, rows[i].needed == 49 ? " 49 " : " 301 ");
            _exit(right ? 0 : 2);
        }
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (status != 0)
            fail_msg("row %zu: status %d", i, status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
