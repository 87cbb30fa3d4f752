// SPDX-License-Identifier: Apache-2.0
//
// Time as an effect: code that needs it takes a `const struct cs_clock *`, so that tests can set
// it. The real clock is thread-safe. The fake one may be read from any thread and set from one.
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct cs_clock {
    int64_t (*wall_ms)(const struct cs_clock *clock); // Unix time
    // never goes back; only differences mean something
    int64_t (*mono_ms)(const struct cs_clock *clock);
};

// CLOCK_REALTIME and CLOCK_MONOTONIC. Static; never freed.
const struct cs_clock *cs_clock_real(void);

// Processor time of the calling thread. It measures work, whatever else the machine does.
int64_t cs_clock_thread_ns(void);

static inline int64_t cs_clock_wall_ms(const struct cs_clock *clock) {
    return clock->wall_ms(clock);
}
static inline int64_t cs_clock_mono_ms(const struct cs_clock *clock) {
    return clock->mono_ms(clock);
}

// struct cs_clock_fake f; cs_clock_fake_init(&f, 1700000000000); use &f.clock;
// cs_clock_fake_advance(&f, 5000).
struct cs_clock_fake {
    struct cs_clock clock; // must be first
    _Atomic int64_t wall;
    _Atomic int64_t mono;
};
void cs_clock_fake_init(struct cs_clock_fake *f, int64_t wall_ms);
void cs_clock_fake_advance(struct cs_clock_fake *f, int64_t ms);       // both clocks
void cs_clock_fake_set_wall(struct cs_clock_fake *f, int64_t wall_ms); // the monotonic one stays
