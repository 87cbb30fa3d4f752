// SPDX-License-Identifier: Apache-2.0
//
// Threads beside the main one.
#pragma once

#include <pthread.h>

#include "certsync/base/err.h"

// A thread that leaves all signals to the main thread. FATAL where the system gives none: then there is
// nothing to join.
CS_MUST_USE bool cs_thread_new(pthread_t *ret, void *(*fn)(void *), void *arg, struct cs_err *err);
