// SPDX-License-Identifier: Apache-2.0
#include "daemon/bell.h"

#include <signal.h>
#include <string.h>
#include <time.h>

void cs_bell_init(struct cs_bell *b) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&b->lock, NULL);
    b->rung = b->stop = false;
}

void cs_bell_destroy(struct cs_bell *b) {
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
}

void cs_bell_ring(struct cs_bell *b) {
    pthread_mutex_lock(&b->lock);
    b->rung = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

void cs_bell_stop(struct cs_bell *b) {
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

bool cs_bell_stopped(struct cs_bell *b) {
    pthread_mutex_lock(&b->lock);
    bool stop = b->stop;
    pthread_mutex_unlock(&b->lock);
    return stop;
}

bool cs_bell_wait(struct cs_bell *b, int64_t pause_ms, bool heed) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(pause_ms / 1000);
    until.tv_nsec += (long)(pause_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&b->lock);
    while (!b->stop && !(heed && b->rung) && pthread_cond_timedwait(&b->cond, &b->lock, &until) == 0)
        ;
    b->rung = false;
    bool go_on = !b->stop;
    pthread_mutex_unlock(&b->lock);
    return go_on;
}

bool cs_thread_new(pthread_t *ret, void *(*fn)(void *), void *arg, struct cs_err *err) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(ret, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code == 0
               ? true
               : cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "no thread can be had: %s", strerror(code));
}
