// SPDX-License-Identifier: Apache-2.0
//
// The event loop's connections to the primaries, one each (redis/async.h). They are for reads of
// single keys, or of several keys of one partition. The pool knows the primary of each partition
// and follows MOVED and ASK. While a cluster changes (TRYAGAIN, CLUSTERDOWN), it asks again for a
// moment. A thread looks for a lost or demoted primary (redis/discovery_thread.h). All in the
// loop's thread, but where it says otherwise.
#pragma once

#include "redis/access.h"
#include "redis/async.h"

struct cs_redis_pool;
struct cs_redis_pool_options {
    struct cs_loop *loop;
    const struct cs_redis_access *access; // copied; what it borrows must outlive the pool
    // a connection to one primary only, for subscriptions: a cluster tells all its nodes
    bool one;
    const char *purpose;                     // for the log
    void (*on_state)(void *arg, bool ready); // a connection came or went; ready: all are there
    void *arg;
};
CS_MUST_USE bool cs_redis_pool_new(const struct cs_redis_pool_options *options, struct cs_redis_pool **ret,
                                   struct cs_err *err);
// Callbacks that are due run with NULL first. on_state is not called any more.
void cs_redis_pool_free(struct cs_redis_pool *p);
bool cs_redis_pool_ready(const struct cs_redis_pool *p); // any thread

// As cs_redis_async_send, to the primary of the partition. Also NULL if the cluster could not
// answer in time.
CS_MUST_USE bool cs_redis_pool_send(struct cs_redis_pool *p, int32_t partition, const struct cs_buf *command,
                                    void (*fn)(const redisReply *reply, void *arg), void *arg);
// As cs_redis_async_send_both.
CS_MUST_USE bool cs_redis_pool_send_both(struct cs_redis_pool *p, int32_t partition,
                                         const struct cs_buf *command, const struct cs_buf *beside,
                                         void (*fn)(const redisReply *reply, void *arg), void *arg);
// As cs_redis_async_subscribe and _unsubscribe; for a pool of one.
CS_MUST_USE bool cs_redis_pool_subscribe(struct cs_redis_pool *p, const char *channel,
                                         void (*fn)(const redisReply *reply, void *arg), void *arg);
CS_MUST_USE bool cs_redis_pool_unsubscribe(struct cs_redis_pool *p, const char *channel);
