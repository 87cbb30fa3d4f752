// SPDX-License-Identifier: Apache-2.0
#include "redis/discovery_thread.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/thread.h"

struct cs_redis_discovery {
    struct cs_redis_access access;
    pthread_t thread;
    bool started;
    // Below: used under the lock.
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool stopping;
    bool asking;
    struct cs_redis_map *found;
    struct cs_err failure;
    // Used by the thread alone.
    unsigned turn;
    struct cs_redis_map *last; // the last map: its primaries are asked too
};

// Called with the lock, but asks without it.
static void ask(struct cs_redis_discovery *d) {
    struct cs_redis_map *map = NULL;
    struct cs_redis_map *copy = NULL;
    struct cs_err err = {0};
    pthread_mutex_unlock(&d->lock);
    bool ok =
        cs_redis_discover(&d->access, d->last, d->turn++, &map, &err) && cs_redis_map_copy(map, &copy, &err);
    if (ok) {
        cs_redis_map_free(d->last);
        d->last = copy;
    } else {
        cs_redis_map_free(map);
    }
    pthread_mutex_lock(&d->lock);
    d->asking = false;
    d->failure = err;
    if (!ok)
        return;
    d->failure.kind = 0;
    cs_redis_map_free(d->found);
    d->found = map;
}

static void *thread_main(void *arg) {
    struct cs_redis_discovery *d = arg;
    pthread_mutex_lock(&d->lock);
    while (!d->stopping) {
        if (d->asking)
            ask(d);
        else
            pthread_cond_wait(&d->work, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

bool cs_redis_discovery_new(const struct cs_redis_access *access, struct cs_redis_discovery **ret,
                            struct cs_err *err) {
    struct cs_redis_discovery *d = calloc(1, sizeof *d);
    if (!d)
        return cs_err_oom(err);
    d->access = *access;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->work, NULL);
    d->started = cs_thread_new(&d->thread, thread_main, d, err);
    if (!d->started) {
        cs_redis_discovery_free(d);
        return false;
    }
    *ret = d;
    return true;
}

void cs_redis_discovery_free(struct cs_redis_discovery *d) {
    if (!d)
        return;
    if (d->started) {
        pthread_mutex_lock(&d->lock);
        d->stopping = true;
        pthread_cond_signal(&d->work);
        pthread_mutex_unlock(&d->lock);
        pthread_join(d->thread, NULL);
    }
    pthread_mutex_destroy(&d->lock);
    pthread_cond_destroy(&d->work);
    cs_redis_map_free(d->found);
    cs_redis_map_free(d->last);
    free(d);
}

void cs_redis_discovery_ask(struct cs_redis_discovery *d) {
    pthread_mutex_lock(&d->lock);
    d->asking = true;
    pthread_cond_signal(&d->work);
    pthread_mutex_unlock(&d->lock);
}

bool cs_redis_discovery_asking(struct cs_redis_discovery *d) {
    pthread_mutex_lock(&d->lock);
    bool asking = d->asking;
    pthread_mutex_unlock(&d->lock);
    return asking;
}

bool cs_redis_discovery_take(struct cs_redis_discovery *d, struct cs_redis_map **ret,
                             struct cs_err *ret_err) {
    pthread_mutex_lock(&d->lock);
    struct cs_redis_map *found = CS_TAKE(d->found);
    if (!found && ret_err)
        *ret_err = d->failure;
    pthread_mutex_unlock(&d->lock);
    if (found)
        *ret = found;
    return found != NULL;
}
