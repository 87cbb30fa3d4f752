// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/fault.h"

#ifdef CERTSYNC_FAULTS
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Whether `at` is NAME or NAME:N.
static bool names(const char *at, const char *name) {
    size_t len = strlen(name);
    return strncmp(at, name, len) == 0 && (at[len] == '\0' || at[len] == ':');
}

void cs_fault_point(const char *name) {
    static atomic_long passed;
    const char *at = getenv("CERTSYNC_CRASH_AT");
    if (!at || (!names(at, name) && !names(at, "any")))
        return;
    const char *colon = strchr(at, ':');
    long which = colon ? strtol(colon + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&passed, 1) + 1 < which)
        return;
    fprintf(stderr, "killed at %s\n", name); // so that a test can count at which points it has been
    raise(SIGKILL);
}
#else
typedef int cs_fault_nothing_here; // a translation unit must not be empty
#endif
