// SPDX-License-Identifier: Apache-2.0
//
// How the daemon's threads are woken and ended: one waits at the bell, others ring it.
#pragma once

#include <pthread.h>

#include "certsync/base/err.h"

struct cs_bell {
    pthread_mutex_t lock; // also guards what belongs to the two threads together
    pthread_cond_t cond;
    bool rung;
    bool stop;
};
void cs_bell_init(struct cs_bell *b);
void cs_bell_destroy(struct cs_bell *b);
void cs_bell_ring(struct cs_bell *b);
void cs_bell_stop(struct cs_bell *b);
bool cs_bell_stopped(struct cs_bell *b);
// Until it rings (where that is heeded), or is stopped, or pause_ms are over. False: stopped.
bool cs_bell_wait(struct cs_bell *b, int64_t pause_ms, bool heed);
// A thread that leaves all signals to the main thread.
CS_MUST_USE bool cs_thread_new(pthread_t *ret, void *(*fn)(void *), void *arg, struct cs_err *err);
