// SPDX-License-Identifier: Apache-2.0
//
// How threads are woken and ended: one thread waits, others signal it.
#pragma once

#include <pthread.h>

#include "certsync/base/err.h"

struct cs_wakeup {
    pthread_mutex_t lock; // also guards what the two threads share
    pthread_cond_t cond;
    bool signalled;
    bool stop;
};
void cs_wakeup_init(struct cs_wakeup *w);
void cs_wakeup_destroy(struct cs_wakeup *w);
void cs_wakeup_signal(struct cs_wakeup *w);
void cs_wakeup_stop(struct cs_wakeup *w);
bool cs_wakeup_stopped(struct cs_wakeup *w);
// Waits until pause_ms are over, or until it is stopped, or (with heed) signalled. False: stopped.
bool cs_wakeup_wait(struct cs_wakeup *w, int64_t pause_ms, bool heed);
