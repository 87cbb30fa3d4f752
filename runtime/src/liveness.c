// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/liveness.h"

#include <stdlib.h>
#include <unistd.h>

#include "certsync/runtime/clock.h"

#define PATIENCE_MS 30000

int64_t cs_watchdog_ms(void) {
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
    // The time is meant for us if WATCHDOG_PID is not there or is ours.
    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    int64_t ms = strtoll(usec, NULL, 10) / 1000;
    return ms > 0 ? ms : 0;
}

static int64_t now_ms(void) {
    return cs_clock_mono_ms(cs_clock_real());
}

void cs_liveness_beat(struct cs_liveness *l, int64_t busy_ms) {
    int64_t patience_ms = cs_watchdog_ms();
    atomic_store(&l->due_ms, now_ms() + busy_ms + (patience_ms > 0 ? patience_ms : PATIENCE_MS));
}

void cs_liveness_rest(struct cs_liveness *l) {
    atomic_store(&l->due_ms, 0);
}

int64_t cs_liveness_overdue_ms(const struct cs_liveness *l) {
    int64_t due_ms = atomic_load(&l->due_ms), late_ms = now_ms() - due_ms;
    return due_ms == 0 || late_ms < 0 ? 0 : late_ms;
}
