// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/clock.h"

#include <time.h>

static int64_t read_ms(clockid_t id) {
    struct timespec ts = {0};
    clock_gettime(id, &ts); // cannot fail for these two ids
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t real_wall_ms(const struct cs_clock *clock) {
    (void)clock;
    return read_ms(CLOCK_REALTIME);
}

static int64_t real_mono_ms(const struct cs_clock *clock) {
    (void)clock;
    return read_ms(CLOCK_MONOTONIC);
}

int64_t cs_clock_thread_ns(void) {
    struct timespec ts = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static const struct cs_clock real_clock = {.wall_ms = real_wall_ms, .mono_ms = real_mono_ms};

const struct cs_clock *cs_clock_real(void) {
    return &real_clock;
}

static int64_t fake_wall_ms(const struct cs_clock *clock) {
    return atomic_load(&((const struct cs_clock_fake *)clock)->wall);
}

static int64_t fake_mono_ms(const struct cs_clock *clock) {
    return atomic_load(&((const struct cs_clock_fake *)clock)->mono);
}

void cs_clock_fake_init(struct cs_clock_fake *f, int64_t wall_ms) {
    f->clock = (struct cs_clock){.wall_ms = fake_wall_ms, .mono_ms = fake_mono_ms};
    atomic_init(&f->wall, wall_ms);
    atomic_init(&f->mono, 1000);
}

void cs_clock_fake_advance(struct cs_clock_fake *f, int64_t ms) {
    atomic_fetch_add(&f->wall, ms);
    atomic_fetch_add(&f->mono, ms);
}

void cs_clock_fake_set_wall(struct cs_clock_fake *f, int64_t wall_ms) {
    atomic_store(&f->wall, wall_ms);
}
