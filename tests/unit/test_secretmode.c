// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "certsync/runtime/secretmode.h"

#define OWN      10001u
#define FS_GROUP 20001u // as Kubernetes' fsGroup: a supplementary group of the process
#define USERS    100u   // a group that the process is not in

#define OTHERS "others can read this private key; run: chmod 600"
#define WRITE  "its group can change this private key"
#define OWNER  "root does not own it"
#define GROUP  "which this process is not in"

static void test_who_may_read(void **state) {
    (void)state;
    static const struct {
        unsigned mode;
        uid_t uid;
        gid_t gid;
        const char *fault; // NULL: private enough
    } rows[] = {
        {0600, OWN, OWN, NULL},
        {0400, OWN, USERS, NULL},
        {0700, OWN, OWN, NULL},
        {0600, 0, 0, NULL},
        {0400, 4242, USERS, NULL},
        // A Secret's volume: root and the pod's fsGroup; the setgid bit and execute bits tell nothing.
        {0440, 0, FS_GROUP, NULL},
        {0640, 0, FS_GROUP, NULL},
        {0440, 0, OWN, NULL},
        {0550, 0, FS_GROUP, NULL},
        {02440, 0, FS_GROUP, NULL},
        // Without an fsGroup, and systemd's credentials, whose access list shows as the group's bits.
        {0440, 0, 0, NULL},
        {0440, OWN, 0, NULL},
        {0440, 0, USERS, GROUP},
        {0640, 0, USERS, GROUP},
        {0440, OWN, FS_GROUP, OWNER},
        {0640, OWN, OWN, OWNER},
        {0640, 4242, FS_GROUP, OWNER},
        {0660, 0, FS_GROUP, WRITE},
        {0620, 0, FS_GROUP, WRITE},
        {0660, 0, 0, WRITE},
        {0660, OWN, OWN, WRITE},
        {0644, 0, 0, OTHERS},
        {0444, 0, FS_GROUP, OTHERS},
        {0604, OWN, OWN, OTHERS},
        {0602, OWN, OWN, OTHERS},
        {0601, OWN, OWN, OTHERS},
        {0666, 0, FS_GROUP, OTHERS},
        {0777, OWN, OWN, OTHERS},
    };
    static const gid_t groups[] = {OWN, 5, FS_GROUP};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stat st = {.st_mode = S_IFREG | rows[i].mode, .st_uid = rows[i].uid, .st_gid = rows[i].gid};
        const char *fault = cs_secret_mode_fault(&st, groups, 3);
        if (!fault != !rows[i].fault || (fault && !strstr(fault, rows[i].fault)))
            fail_msg("row %zu, mode %o: %s", i, rows[i].mode, fault ? fault : "taken");
    }
}

// The process' own groups are the ones that the system knows.
static void test_this_process(void **state) {
    (void)state;
    gid_t groups[256];
    int n = getgroups(256, groups);
    assert_true(n >= 0);
    groups[n++] = getegid();
    gid_t foreign = 1;
    for (int i = 0; i < n; i++) {
        struct stat st = {.st_mode = S_IFREG | 0440, .st_uid = 0, .st_gid = groups[i]};
        assert_null(cs_secret_mode(&st));
        if (groups[i] >= foreign)
            foreign = groups[i] + 1;
    }
    struct stat st = {.st_mode = S_IFREG | 0440, .st_uid = 0, .st_gid = foreign};
    assert_non_null(strstr(cs_secret_mode(&st), GROUP));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_who_may_read),
                                       cmocka_unit_test(test_this_process)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
