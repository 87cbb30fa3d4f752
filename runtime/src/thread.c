// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/thread.h"

#include <signal.h>
#include <string.h>

bool cs_thread_new(pthread_t *ret, void *(*fn)(void *), void *arg, struct cs_err *err) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(ret, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code == 0 || cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "starting a thread: %s", strerror(code));
}
