// SPDX-License-Identifier: Apache-2.0
#include "redis/scout.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct cs_redis_scout {
    struct cs_redis_access access;
    pthread_t thread;
    bool started;
    // Below: under the lock.
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool stopping;
    bool asking;
    struct cs_redis_map *found;
    struct cs_err failure;
    // The thread's own.
    unsigned turn;
    struct cs_redis_map *last; // found last: its primaries are asked too
};

// Holds the lock, but not while it asks.
static void ask(struct cs_redis_scout *s) {
    struct cs_redis_map *map = NULL;
    struct cs_redis_map *copy = NULL;
    struct cs_err err = {0};
    pthread_mutex_unlock(&s->lock);
    bool ok =
        cs_redis_discover(&s->access, s->last, s->turn++, &map, &err) && cs_redis_map_copy(map, &copy, &err);
    if (ok) {
        cs_redis_map_free(s->last);
        s->last = copy;
    } else {
        cs_redis_map_free(map);
    }
    pthread_mutex_lock(&s->lock);
    s->asking = false;
    s->failure = err;
    if (!ok)
        return;
    s->failure.kind = 0;
    cs_redis_map_free(s->found);
    s->found = map;
}

static void *thread_main(void *arg) {
    struct cs_redis_scout *s = arg;
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        if (s->asking)
            ask(s);
        else
            pthread_cond_wait(&s->work, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

bool cs_redis_scout_new(const struct cs_redis_access *access, struct cs_redis_scout **ret,
                        struct cs_err *err) {
    struct cs_redis_scout *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    s->access = *access;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, NULL);
    sigset_t all;
    sigset_t before;
    sigfillset(&all); // signals are the loop's
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&s->thread, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->started = code == 0;
    if (!s->started) {
        cs_redis_scout_free(s);
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "starting a thread: %s", strerror(code));
    }
    *ret = s;
    return true;
}

void cs_redis_scout_free(struct cs_redis_scout *s) {
    if (!s)
        return;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->stopping = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->work);
    cs_redis_map_free(s->found);
    cs_redis_map_free(s->last);
    free(s);
}

void cs_redis_scout_ask(struct cs_redis_scout *s) {
    pthread_mutex_lock(&s->lock);
    s->asking = true;
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
}

bool cs_redis_scout_asking(struct cs_redis_scout *s) {
    pthread_mutex_lock(&s->lock);
    bool asking = s->asking;
    pthread_mutex_unlock(&s->lock);
    return asking;
}

bool cs_redis_scout_take(struct cs_redis_scout *s, struct cs_redis_map **ret, struct cs_err *ret_err) {
    pthread_mutex_lock(&s->lock);
    struct cs_redis_map *found = CS_TAKE(s->found);
    if (!found && ret_err)
        *ret_err = s->failure;
    pthread_mutex_unlock(&s->lock);
    if (found)
        *ret = found;
    return found != NULL;
}
