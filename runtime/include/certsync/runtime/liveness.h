// SPDX-License-Identifier: Apache-2.0
//
// Signs of life of threads. Before the process tells anybody that it is alive, it asks whether its
// threads still give signs. The loop's own thread may run while a worker hangs, so it alone proves
// little.
//
// With each sign, a thread says how long its next work may take. Every thread also has some
// patience on top. A thread that has ended, or that waits until somebody wakes it, is at rest. Any
// thread may call all functions.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cs_liveness {
    _Atomic int64_t due_ms; // monotonic; 0: at rest
};

void cs_liveness_beat(struct cs_liveness *l, int64_t busy_ms);
void cs_liveness_rest(struct cs_liveness *l);
// How long the next sign is overdue; 0: it is not.
int64_t cs_liveness_overdue_ms(const struct cs_liveness *l);

// The watchdog's own time (WATCHDOG_USEC of this process, see sd_watchdog_enabled(3)), 0 where
// there is none.
int64_t cs_watchdog_ms(void);
