// SPDX-License-Identifier: Apache-2.0
//
// One connection to Redis for pipelines. Commands are written into a buffer, and sent together
// without blocking. Their replies are collected while the caller does other work (RESP2,
// https://redis.io/docs/reference/protocol-spec/).
//
//     cs_redis_connect(l, &err);
//     cs_redis_command(l, 2); cs_redis_arg_text(l, "GET"); cs_redis_arg_text(l, "k");
//     cs_redis_send(l, &err);
//     while (!cs_redis_advance(l)) ...;
//     cs_redis_finish(l, &replies, &n, &err);
//
// A broken connection is closed at once. The next cs_redis_connect makes it again. One thread.
#pragma once

#include <hiredis/hiredis.h>

#include "certsync/base/buf.h"
#include "redis/command.h"
#include "redis/reply.h"
#include "redis/target.h"

struct cs_redis_link;
struct cs_redis_link_options {
    const struct cs_redis_target *target;
    const char *username; // "" or NULL: none
    const char *password;
    const char *ca_file;
    // of connecting; of a wait in which nothing arrives and nothing can be sent
    int64_t timeout_ms;
    bool must_be_primary; // a server whose ROLE is another is refused (RETRY)
};
CS_MUST_USE bool cs_redis_link_new(const struct cs_redis_link_options *options, struct cs_redis_link **ret,
                                   struct cs_err *err);
void cs_redis_link_free(struct cs_redis_link *l);
CS_DEFINE_AUTO(struct cs_redis_link, cs_redis_link_free)

// Connects if it is not connected: TLS, AUTH, SELECT, PING. Blocks up to the timeout (or the given
// one, if shorter). RETRY, CONFIG. Drops commands that were written before.
CS_MUST_USE bool cs_redis_connect(struct cs_redis_link *l, struct cs_err *err);
CS_MUST_USE bool cs_redis_connect_within(struct cs_redis_link *l, int64_t timeout_ms, struct cs_err *err);
const struct cs_redis_target *cs_redis_link_target(const struct cs_redis_link *l);
// Whether the last failure was silence: the server hangs, but is not gone.
bool cs_redis_hung(const struct cs_redis_link *l);
bool cs_redis_connected(const struct cs_redis_link *l);
void cs_redis_close(struct cs_redis_link *l);

void cs_redis_command(struct cs_redis_link *l, size_t args);
void cs_redis_arg(struct cs_redis_link *l, struct cs_bytes arg);
void cs_redis_arg_text(struct cs_redis_link *l, const char *text);
void cs_redis_arg_int(struct cs_redis_link *l, int64_t v);
void cs_redis_arg_joined(struct cs_redis_link *l, const char *prefix, size_t prefix_len, const char *rest);
void cs_redis_arg_marked(struct cs_redis_link *l, struct cs_bytes value,
                         struct cs_bytes mark); // one after the other
// The buffer of commands, for one who appends so many himself (redis/command.h).
struct cs_buf *cs_redis_written(struct cs_redis_link *l, size_t commands);
size_t cs_redis_commands(const struct cs_redis_link *l); // since the last send

// Begins to send all commands. Each must get one reply. FATAL if they did not fit into memory.
CS_MUST_USE bool cs_redis_send(struct cs_redis_link *l, struct cs_err *err);
// The same, with a limit for the replies to n commands from one on: strings in arrays are left out
// (CS_REDIS_REPLY_LEFT_OUT) after `most` bytes together. The first one is never left out.
CS_MUST_USE bool cs_redis_send_bounded(struct cs_redis_link *l, size_t from, size_t n, size_t most,
                                       struct cs_err *err);
// Sends and receives what is possible now. True: all replies are there, or the connection broke.
// Silence for longer than the timeout breaks it, too.
bool cs_redis_advance(struct cs_redis_link *l);
// Waits for the rest. The replies (as many as commands) belong to the link until the next send or
// close.
CS_MUST_USE bool cs_redis_finish(struct cs_redis_link *l, redisReply *const **ret, size_t *ret_n,
                                 struct cs_err *err);
int cs_redis_fd(const struct cs_redis_link *l); // -1: not connected
bool cs_redis_wants_write(const struct cs_redis_link *l);

// Sets err from an error reply: RETRY (loading, read-only, out of memory...), CONFIG (password,
// rights, cluster), DAMAGED (a key of another kind), FATAL. Always returns false.
bool cs_redis_error(struct cs_err *err, const redisReply *reply, const char *what);
