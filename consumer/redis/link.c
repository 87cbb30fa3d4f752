// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE // sendmmsg
#include "redis/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/clock.h"
#include "redis/reply.h"
#include "redis/tls.h"

#define OUT_MAX ((size_t)256 * 1024 * 1024)
// How much of the pipeline hiredis holds at a time with TLS. After each partial write it moves the
// rest to the front of its buffer.
#define CHUNK ((size_t)64 * 1024)

struct cs_redis_link {
    struct cs_redis_target target;
    char *username;
    char *password;
    char *ca_file;
    int64_t timeout_ms;
    bool must_be_primary;
    redisContext *ctx;
    struct ssl_ctx_st *tls;
    struct cs_buf out;
    size_t out_at;                   // sent, or given to hiredis
    bool flushed;                    // hiredis' own buffer is empty; always without TLS
    size_t commands;                 // written
    size_t expected;                 // replies of what was sent
    struct cs_redis_room room;       // of the replies
    size_t bounded_from, bounded_to; // replies that may use only the room that is left
    redisReply **replies;
    size_t replies_len;
    size_t replies_cap;
    int64_t moved_ms; // when bytes last went out or came in
    bool broken;
    bool hung;
    char why[160]; // it broke
};

static char *copy_text(const char *s) {
    return strdup(s ? s : "");
}

bool cs_redis_link_new(const struct cs_redis_link_options *options, struct cs_redis_link **ret,
                       struct cs_err *err) {
    CS_AUTO(cs_redis_link_free) struct cs_redis_link *l = calloc(1, sizeof *l);
    if (!l)
        return cs_err_oom(err);
    cs_buf_init(&l->out, OUT_MAX);
    l->target = *options->target;
    l->username = copy_text(options->username);
    l->password = copy_text(options->password);
    l->ca_file = copy_text(options->ca_file);
    l->timeout_ms = options->timeout_ms;
    l->must_be_primary = options->must_be_primary;
    if (!l->username || !l->password || !l->ca_file)
        return cs_err_oom(err);
    *ret = CS_TAKE(l);
    return true;
}

static void drop_replies(struct cs_redis_link *l) {
    cs_region_reset(&l->room.region);
    l->replies_len = 0;
    l->expected = 0;
}

void cs_redis_close(struct cs_redis_link *l) {
    cs_buf_reset(&l->out);
    l->out_at = 0;
    l->commands = 0;
    if (l->ctx)
        redisFree(l->ctx);
    l->ctx = NULL;
    drop_replies(l);
}

void cs_redis_link_free(struct cs_redis_link *l) {
    if (!l)
        return;
    cs_redis_close(l);
    cs_redis_tls_free(l->tls);
    if (l->password)
        explicit_bzero(l->password, strlen(l->password));
    free(l->username);
    free(l->password);
    free(l->ca_file);
    free(l->replies);
    cs_region_free(&l->room.region);
    cs_buf_clear(&l->out);
    free(l);
}

bool cs_redis_connected(const struct cs_redis_link *l) {
    return l->ctx && !l->broken;
}
int cs_redis_fd(const struct cs_redis_link *l) {
    return cs_redis_connected(l) ? l->ctx->fd : -1;
}

const struct cs_redis_target *cs_redis_link_target(const struct cs_redis_link *l) {
    return &l->target;
}
bool cs_redis_hung(const struct cs_redis_link *l) {
    return l->hung;
}

static int64_t now_ms(void) {
    return cs_clock_mono_ms(cs_clock_real());
}

static struct timeval to_timeval(int64_t ms) {
    return (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
}

static const char *where(const struct cs_redis_link *l, char out[300]) {
    if (l->target.transport == CS_REDIS_UNIX)
        snprintf(out, 300, "%s", l->target.host);
    else
        snprintf(out, 300, "%s:%d", l->target.host, l->target.port);
    return out;
}

static bool starts_with(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool cs_redis_error(struct cs_err *err, const redisReply *reply, const char *what) {
    static const char *const retry[] = {"LOADING",    "BUSY",       "OOM",      "MISCONF",
                                        "READONLY",   "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN",
                                        "UNKILLABLE", "NOREPLICAS", "EXECABORT"};
    static const char *const config[] = {"NOAUTH",       "WRONGPASS",
                                         "NOPERM",       "ERR invalid password",
                                         "ERR AUTH",     "ERR Client sent AUTH",
                                         "ERR DB index", "ERR unknown command"};
    const char *text = reply->str ? reply->str : "";
    char escaped[256];
    snprintf(escaped, sizeof escaped, "%.200s", text);
    for (size_t i = 0; i < CS_ARRAY_LEN(retry); i++)
        if (starts_with(text, retry[i]))
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "Redis cannot %s now: %s", what, escaped);
    for (size_t i = 0; i < CS_ARRAY_LEN(config); i++)
        if (starts_with(text, config[i]))
            return cs_err_set(
                err, CS_ERR_CONFIG, CS_CODE_NONE,
                "Redis refused to %s: %s; check redis.username, redis.password and the user's rights", what,
                escaped);
    if (starts_with(text, "MOVED") || starts_with(text, "ASK"))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "this Redis is a node of a Redis Cluster that does not hold all slots (%s): set "
                          "redis.mode = cluster",
                          escaped);
    if (starts_with(text, "WRONGTYPE"))
        return cs_err_set(err, CS_ERR_DAMAGED, CS_CODE_NONE,
                          "the catalog in Redis is damaged: it cannot %s, because a key is of another kind "
                          "than certsync made it. Something else wrote to Redis",
                          what);
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "Redis answered an error to %s: %s", what, escaped);
}

// One command of the handshake, blocking.
static bool handshake(struct cs_redis_link *l, const char *what, struct cs_err *err, int argc,
                      const char **argv) {
    redisReply *reply = redisCommandArgv(l->ctx, argc, argv, NULL);
    if (!reply)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "Redis did not answer: %s", cs_redis_why(l->ctx));
    bool ok = reply->type != REDIS_REPLY_ERROR || cs_redis_error(err, reply, what);
    freeReplyObject(reply);
    return ok;
}

// A demoted server may not know it yet. But one that says so must not be written to.
static bool check_role(struct cs_redis_link *l, struct cs_err *err) {
    char at[300];
    redisReply *reply = redisCommand(l->ctx, "ROLE");
    bool ok = reply && reply->type == REDIS_REPLY_ARRAY && reply->elements > 0 && reply->element[0]->str &&
              strcmp(reply->element[0]->str, "master") == 0;
    if (reply && reply->type == REDIS_REPLY_ERROR)
        cs_redis_error(err, reply, "tell its role (ROLE)");
    else if (!ok)
        cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "Redis at %s is not the primary%s%s", where(l, at),
                   reply ? "" : ": ", reply ? "" : cs_redis_why(l->ctx));
    freeReplyObject(reply);
    return ok;
}

static bool log_in(struct cs_redis_link *l, struct cs_err *err) {
    if (!cs_redis_tls_begin(l->ctx, &l->target, l->ca_file, &l->tls, err))
        return false;
    if (l->username[0] && !handshake(l, "log in", err, 3, (const char *[]){"AUTH", l->username, l->password}))
        return false;
    if (!l->username[0] && l->password[0] &&
        !handshake(l, "log in", err, 2, (const char *[]){"AUTH", l->password}))
        return false;
    char number[16];
    snprintf(number, sizeof number, "%d", l->target.database);
    if (l->target.database &&
        !handshake(l, "select the database", err, 2, (const char *[]){"SELECT", number}))
        return false;
    if (!handshake(l, "answer", err, 1, (const char *[]){"PING"}) ||
        (l->must_be_primary && !check_role(l, err)))
        return false;
    // After this only cs_redis_finish blocks; it waits with poll(2).
    int flags = fcntl(l->ctx->fd, F_GETFL, 0);
    if (flags < 0 || fcntl(l->ctx->fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "fcntl: %s", strerror(errno));
    l->ctx->flags &= ~REDIS_BLOCK;
    cs_redis_reply_into(l->ctx->reader, &l->room);
    return true;
}

bool cs_redis_connect(struct cs_redis_link *l, struct cs_err *err) {
    return cs_redis_connect_within(l, l->timeout_ms, err);
}

bool cs_redis_connect_within(struct cs_redis_link *l, int64_t timeout_ms, struct cs_err *err) {
    if (cs_redis_connected(l)) {
        cs_buf_reset(&l->out);
        l->commands = 0;
        return true;
    }
    cs_redis_close(l);
    char at[300];
    int64_t start_ms = now_ms();
    timeout_ms = timeout_ms < l->timeout_ms ? timeout_ms : l->timeout_ms;
    struct timeval timeout = to_timeval(timeout_ms);
    l->ctx = l->target.transport == CS_REDIS_UNIX
                 ? redisConnectUnixWithTimeout(l->target.host, timeout)
                 : redisConnectWithTimeout(l->target.host, l->target.port, timeout);
    if (!l->ctx)
        return cs_err_oom(err);
    if (l->ctx->err || redisSetTimeout(l->ctx, timeout) != REDIS_OK)
        cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "Redis at %s cannot be reached: %s; is it running?",
                   where(l, at), cs_redis_why(l->ctx));
    else if (log_in(l, err)) {
        l->broken = l->hung = false;
        return true;
    }
    l->hung = now_ms() - start_ms >= timeout_ms;
    cs_redis_close(l);
    return false;
}

void cs_redis_command(struct cs_redis_link *l, size_t args) {
    cs_redis_put(&l->out, args);
    l->commands++;
}

void cs_redis_arg_joined(struct cs_redis_link *l, const char *prefix, size_t prefix_len, const char *rest) {
    cs_redis_put_joined(&l->out, (struct cs_bytes){(const uint8_t *)prefix, prefix_len},
                        (struct cs_bytes){(const uint8_t *)rest, strlen(rest)});
}

void cs_redis_arg(struct cs_redis_link *l, struct cs_bytes arg) {
    cs_redis_put_arg(&l->out, arg.data, arg.len);
}

void cs_redis_arg_marked(struct cs_redis_link *l, struct cs_bytes value, struct cs_bytes mark) {
    cs_redis_put_joined(&l->out, value, mark);
}

void cs_redis_arg_text(struct cs_redis_link *l, const char *text) {
    cs_redis_put_text(&l->out, text);
}

void cs_redis_arg_int(struct cs_redis_link *l, int64_t v) {
    cs_redis_put_int(&l->out, v);
}

struct cs_buf *cs_redis_written(struct cs_redis_link *l, size_t commands) {
    l->commands += commands;
    return &l->out;
}

size_t cs_redis_commands(const struct cs_redis_link *l) {
    return l->commands;
}

static bool broke(struct cs_redis_link *l, const char *why) {
    if (!l->broken)
        snprintf(l->why, sizeof l->why, "%s", why);
    l->broken = true;
    return true;
}

bool cs_redis_send(struct cs_redis_link *l, struct cs_err *err) {
    return cs_redis_send_bounded(l, 0, 0, 0, err);
}

bool cs_redis_send_bounded(struct cs_redis_link *l, size_t from, size_t n, size_t most, struct cs_err *err) {
    if (!cs_buf_ok(&l->out, err)) {
        cs_redis_close(l);
        return cs_err_prepend(err, "commands for Redis");
    }
    drop_replies(l);
    l->expected = l->commands;
    if (!CS_GROW(&l->replies, &l->replies_cap, l->expected))
        return cs_err_oom(err);
    l->commands = 0;
    l->bounded_from = from;
    l->bounded_to = from + n;
    l->room.left = most;
    l->out_at = 0;
    l->flushed = true;
    l->moved_ms = now_ms();
    cs_redis_advance(l);
    return true;
}

bool cs_redis_wants_write(const struct cs_redis_link *l) {
    return cs_redis_connected(l) && (!l->flushed || l->out_at < l->out.len);
}

// Writes through hiredis, because it does the TLS. False: nothing more can be sent now, or the
// connection broke.
static bool write_tls(struct cs_redis_link *l) {
    if (l->flushed) {
        size_t n = l->out.len - l->out_at < CHUNK ? l->out.len - l->out_at : CHUNK;
        if (redisAppendFormattedCommand(l->ctx, (const char *)l->out.data + l->out_at, n) != REDIS_OK)
            return !broke(l, cs_redis_why(l->ctx));
        l->out_at += n;
    }
    int done = 0;
    if (redisBufferWrite(l->ctx, &done) != REDIS_OK)
        return !broke(l, cs_redis_why(l->ctx));
    l->flushed = done != 0;
    return l->flushed;
}

// A Unix socket puts longer data into blocks of 32 KiB. Redis frees them on its own processor. So
// each new block takes memory that the kernel has not used lately. If a hypervisor takes such
// memory back, the first touch of a page costs 10 us: up to a tenth of all that an upload costs.
#define PIECE  ((size_t)3584) // with what the kernel adds, a page
#define PIECES 64

// Bytes that were sent, or -1.
static ssize_t send_pieces(int fd, const uint8_t *data, size_t len) {
    struct mmsghdr m[PIECES];
    struct iovec piece[PIECES];
    unsigned n = 0;
    for (; n < PIECES && len > 0; n++) {
        piece[n] = (struct iovec){(void *)(uintptr_t)data, len < PIECE ? len : PIECE};
        m[n] = (struct mmsghdr){.msg_hdr = {.msg_iov = &piece[n], .msg_iovlen = 1}};
        data += piece[n].iov_len;
        len -= piece[n].iov_len;
    }
    int sent = sendmmsg(fd, m, n, MSG_NOSIGNAL);
    ssize_t bytes = sent < 0 ? -1 : 0;
    for (int i = 0; i < sent; i++) {
        bytes += m[i].msg_len;
        if (i + 1 < sent &&
            m[i].msg_len < piece[i].iov_len) { // the kernel may go on after a piece that it cut
            errno = EIO;
            return -1;
        }
    }
    return bytes;
}

// Without the copy that hiredis makes: a commit has some MiB.
static bool write_plain(struct cs_redis_link *l) {
    const uint8_t *rest = l->out.data + l->out_at;
    size_t len = l->out.len - l->out_at;
    ssize_t n = l->target.transport == CS_REDIS_UNIX ? send_pieces(l->ctx->fd, rest, len)
                                                     : send(l->ctx->fd, rest, len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EINTR || (errno != EAGAIN && errno != EWOULDBLOCK && !broke(l, strerror(errno)));
    l->out_at += (size_t)n;
    return true;
}

static void write_some(struct cs_redis_link *l) {
    while (cs_redis_wants_write(l)) {
        if (!(l->target.transport == CS_REDIS_TLS ? write_tls(l) : write_plain(l)))
            return;
        l->moved_ms = now_ms();
    }
    if (l->out_at > 0) {
        cs_buf_reset(&l->out);
        l->out_at = 0;
    }
}

static void take_replies(struct cs_redis_link *l) {
    while (l->replies_len < l->expected) {
        void *reply = NULL;
        l->room.bounded = l->replies_len >= l->bounded_from && l->replies_len < l->bounded_to;
        if (redisGetReplyFromReader(l->ctx, &reply) != REDIS_OK) {
            broke(l, cs_redis_why(l->ctx));
            return;
        }
        if (!reply)
            return;
        l->replies[l->replies_len++] = reply;
    }
}

static bool readable(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static void silent(struct cs_redis_link *l) {
    char text[64];
    snprintf(text, sizeof text, "no answer within %lld ms", (long long)l->timeout_ms);
    broke(l, text);
    l->hung = true;
}

bool cs_redis_advance(struct cs_redis_link *l) {
    if (!l->ctx || l->broken)
        return true;
    write_some(l);
    while (!l->broken && l->replies_len < l->expected && readable(l->ctx->fd)) {
        l->moved_ms = now_ms();
        if (redisBufferRead(l->ctx) != REDIS_OK)
            broke(l, cs_redis_why(l->ctx));
        else
            take_replies(l);
    }
    if (!l->broken && l->replies_len < l->expected && now_ms() - l->moved_ms >= l->timeout_ms)
        silent(l);
    return l->broken || l->replies_len == l->expected;
}

// Waits until it can read or write. False at the timeout.
static bool wait_some(struct cs_redis_link *l, int64_t timeout_ms) {
    struct pollfd p = {.fd = l->ctx->fd, .events = POLLIN};
    if (cs_redis_wants_write(l))
        p.events |= POLLOUT;
    int n = poll(&p, 1, (int)timeout_ms);
    return n > 0 || (n < 0 && errno == EINTR);
}

bool cs_redis_finish(struct cs_redis_link *l, redisReply *const **ret, size_t *ret_n, struct cs_err *err) {
    while (!cs_redis_advance(l)) {
        if (!wait_some(l, l->timeout_ms))
            silent(l);
    }
    if (!l->ctx || l->broken) {
        char at[300];
        cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the connection to Redis at %s is lost: %s", where(l, at),
                   l->ctx ? l->why : "closed");
        cs_redis_close(l);
        return false;
    }
    *ret = l->replies;
    *ret_n = l->replies_len;
    return true;
}
