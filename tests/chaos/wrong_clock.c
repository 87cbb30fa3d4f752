// SPDX-License-Identifier: Apache-2.0
//
// A library for LD_PRELOAD under which a program believes that it is CHAOS_CLOCK_S seconds later (or,
// with a minus, earlier) than it is. Intervals, and times to wait until, stay right, as they do where a
// machine's clock is wrong. (libfaketime 0.9.10 does not know cnd_timedwait, on which librdkafka waits.)
#define _GNU_SOURCE // RTLD_NEXT
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>

#define SAME_CLOCK_S (400L * 86400L) // times of CLOCK_MONOTONIC are further away than this from those shown

typedef int clock_gettime_fn(clockid_t, struct timespec *);
typedef int timedwait_fn(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
typedef int cnd_timedwait_fn(cnd_t *, mtx_t *, const struct timespec *);

static time_t offset_s;
static clock_gettime_fn *real_clock_gettime;
static timedwait_fn *real_timedwait;
static cnd_timedwait_fn *real_cnd_timedwait;

__attribute__((constructor)) static void start(void) {
    const char *text = getenv("CHAOS_CLOCK_S");
    offset_s = text ? strtol(text, NULL, 10) : 0;
    *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    *(void **)&real_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    *(void **)&real_cnd_timedwait = dlsym(RTLD_NEXT, "cnd_timedwait");
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real_clock_gettime)
        start(); // somebody's constructor came first
    int r = real_clock_gettime(clock, now);
    if (r == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset_s;
    return r;
}

int timespec_get(struct timespec *now, int base) {
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec t;
    (void)zone;
    int r = clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = (suseconds_t)(t.tv_nsec / 1000);
    return r;
}

time_t time(time_t *ret) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (ret)
        *ret = t.tv_sec;
    return t.tv_sec;
}

// The kernel waits by the right clock.
static struct timespec until_of(const struct timespec *until) {
    struct timespec now, right = *until;
    clock_gettime(CLOCK_REALTIME, &now);
    if (labs(until->tv_sec - now.tv_sec) < SAME_CLOCK_S)
        right.tv_sec -= offset_s;
    return right;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    struct timespec right = until_of(until);
    return real_timedwait(cond, mutex, &right);
}

int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *until) {
    struct timespec right = until_of(until);
    return real_cnd_timedwait(cond, mutex, &right);
}
