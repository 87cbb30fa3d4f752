// SPDX-License-Identifier: Apache-2.0
//
// Signs of life: a thread gives them, and whoever tells the world that the process is alive asks
// whether they still come. The loop's own thread may turn while a worker hangs, so its turning
// alone says little.
//
// A thread says with each sign by when the next one comes: what the coming work may take at most,
// beside the patience that every piece of work has. A thread that has ended, or waits for as long
// as nobody wakes it, is at rest. All functions may be called by any thread.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cs_pulse {
    _Atomic int64_t due_ms; // monotonic; 0: at rest
};

void cs_pulse_beat(struct cs_pulse *p, int64_t busy_ms);
void cs_pulse_rest(struct cs_pulse *p);
// How long the next sign is overdue; 0: it is not.
int64_t cs_pulse_overdue_ms(const struct cs_pulse *p);

// The watchdog's own time (WATCHDOG_USEC of this process, see sd_watchdog_enabled(3)), 0 where
// there is none.
int64_t cs_watchdog_ms(void);
