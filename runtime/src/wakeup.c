// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/wakeup.h"

#include <time.h>

void cs_wakeup_init(struct cs_wakeup *w) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->lock, NULL);
    w->signalled = w->stop = false;
}

void cs_wakeup_destroy(struct cs_wakeup *w) {
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->lock);
}

void cs_wakeup_signal(struct cs_wakeup *w) {
    pthread_mutex_lock(&w->lock);
    w->signalled = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

void cs_wakeup_stop(struct cs_wakeup *w) {
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

bool cs_wakeup_stopped(struct cs_wakeup *w) {
    pthread_mutex_lock(&w->lock);
    bool stop = w->stop;
    pthread_mutex_unlock(&w->lock);
    return stop;
}

bool cs_wakeup_wait(struct cs_wakeup *w, int64_t pause_ms, bool heed) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(pause_ms / 1000);
    until.tv_nsec += (long)(pause_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&w->lock);
    while (!w->stop && !(heed && w->signalled) && pthread_cond_timedwait(&w->cond, &w->lock, &until) == 0)
        ;
    w->signalled = false;
    bool go_on = !w->stop;
    pthread_mutex_unlock(&w->lock);
    return go_on;
}
