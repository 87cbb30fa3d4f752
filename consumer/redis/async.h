// SPDX-License-Identifier: Apache-2.0
//
// One connection to Redis for the event loop (hiredis' async interface over libevent). It connects
// by itself, with login and PING: "ready" means that Redis answers. If the connection is lost, it
// connects again, after a growing pause. It counts as lost if an answer is due and none has come
// for timeout_ms.
//
// Every accepted command gets its callback exactly once: with the reply, or with NULL if the
// connection was lost first (the command may or may not have run). All in the loop's thread.
#pragma once

#include <hiredis/hiredis.h>

#include "certsync/base/buf.h"
#include "certsync/runtime/loop.h"
#include "redis/command.h"
#include "redis/target.h"

struct cs_redis_async;

struct cs_redis_async_options {
    struct cs_loop *loop;
    const struct cs_redis_target *target; // copied
    const char *username;                 // "" or NULL: none
    const char *password;
    const char *ca_file;  // for TLS
    int64_t timeout_ms;   // of connecting, and of each answer
    bool must_be_primary; // a server whose ROLE is another is left again
    const char *purpose;  // for the log
    void (*on_state)(void *arg, bool ready);
    void *arg;
};

// Begins to connect. Only out of memory fails.
CS_MUST_USE bool cs_redis_async_new(const struct cs_redis_async_options *options, struct cs_redis_async **ret,
                                    struct cs_err *err);
// Callbacks that are due run with NULL first. on_state is not called any more.
void cs_redis_async_free(struct cs_redis_async *r);
bool cs_redis_async_ready(const struct cs_redis_async *r);

// False, and fn never runs: not connected, or the buffer has failed. command is copied.
CS_MUST_USE bool cs_redis_async_send(struct cs_redis_async *r, const struct cs_buf *command,
                                     void (*fn)(const redisReply *reply, void *arg), void *arg);

// All in one transaction (MULTI). beside: one command, or several one after the other. fn gets the
// array of their replies, or Redis' first error.
CS_MUST_USE bool cs_redis_async_send_both(struct cs_redis_async *r, const struct cs_buf *command,
                                          const struct cs_buf *beside,
                                          void (*fn)(const redisReply *reply, void *arg), void *arg);

// Takes a reply out of its callback to keep it; a nil stays there. freeReplyObject frees it. NULL:
// out of memory.
redisReply *cs_redis_take(const redisReply *reply);

// SUBSCRIBE or UNSUBSCRIBE of one channel. A connection with subscriptions takes no other commands.
// fn runs for the confirmation of each, and for messages ({"subscribe"|"unsubscribe"|"message",
// channel, …}). It runs with NULL when the connection is lost; after that nothing is subscribed.
CS_MUST_USE bool cs_redis_async_subscribe(struct cs_redis_async *r, const char *channel,
                                          void (*fn)(const redisReply *reply, void *arg), void *arg);
CS_MUST_USE bool cs_redis_async_unsubscribe(struct cs_redis_async *r, const char *channel);
