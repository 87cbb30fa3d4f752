// SPDX-License-Identifier: Apache-2.0
#include "fault.h"

#ifdef CERTSYNC_FAULTS
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void cs_fault_point(const char *name) {
    static atomic_long passed;
    const char *at = getenv("CERTSYNC_CRASH_AT");
    size_t len = strlen(name);
    if (!at || strncmp(at, name, len) != 0 || (at[len] != '\0' && at[len] != ':'))
        return;
    long which = at[len] == ':' ? strtol(at + len + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&passed, 1) + 1 >= which)
        raise(SIGKILL);
}
#else
typedef int cs_fault_nothing_here; // a translation unit must not be empty
#endif
