// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/secretmode.h"

#include <stdlib.h>
#include <unistd.h>

#define KUBERNETES "in Kubernetes give its volume defaultMode: 0440"

static bool holds(const gid_t *groups, size_t len, gid_t group) {
    for (size_t i = 0; i < len; i++)
        if (groups[i] == group)
            return true;
    return false;
}

const char *cs_secret_mode_fault(const struct stat *st, const gid_t *groups, size_t groups_len) {
    if ((st->st_mode & 0007) != 0)
        return "others can read this private key; run: chmod 600 on it; " KUBERNETES;
    if ((st->st_mode & 0020) != 0)
        return "its group can change this private key; run: chmod 600 on it; " KUBERNETES;
    if ((st->st_mode & 0040) == 0 || st->st_gid == 0)
        return NULL;
    if (st->st_uid != 0)
        return "others can read this private key (its group, and root does not own it); run: chmod 600 on it";
    if (!holds(groups, groups_len, st->st_gid))
        return "others can read this private key (its group, which this process is not in); run: chmod 600 "
               "on it";
    return NULL;
}

const char *cs_secret_mode(const struct stat *st) {
    // Without the list the effective group alone counts: too strict, never too lax.
    int n = getgroups(0, NULL);
    gid_t *groups = calloc((size_t)(n < 0 ? 0 : n) + 1, sizeof *groups);
    if (!groups) {
        gid_t own = getegid();
        return cs_secret_mode_fault(st, &own, 1);
    }
    n = n > 0 ? getgroups(n, groups) : 0;
    size_t len = n < 0 ? 0 : (size_t)n;
    groups[len++] = getegid(); // POSIX leaves open whether the list has it
    const char *fault = cs_secret_mode_fault(st, groups, len);
    free(groups);
    return fault;
}
