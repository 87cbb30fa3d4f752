// SPDX-License-Identifier: Apache-2.0
#include "redis/async.h"

#include <hiredis/alloc.h>
#include <hiredis/async.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The adapter is a header with functions. We use only some, and it does not satisfy our warnings.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wconversion"
#include <hiredis/adapters/libevent.h>
#pragma GCC diagnostic pop

#include "certsync/runtime/clock.h"
#include "certsync/runtime/log.h"
#include "redis/tls.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000
#define STEADY_MS                                                                                            \
    5000 // a connection that lasted so long is back; one that does not is made anew less and less often

enum state { AWAY, CONNECTING, READY };

// A command that waits for its answer. The oldest is first: Redis answers in order.
struct pending {
    struct cs_redis_async *owner;
    void (*fn)(const redisReply *reply, void *arg);
    void *arg;
    int64_t since_ms;
    struct pending *next;
};

struct cs_redis_async {
    struct cs_loop *loop;
    struct cs_redis_target target;
    char *username, *password, *ca_file;
    const char *purpose;
    int64_t timeout_ms;
    bool must_be_primary;
    void (*on_state)(void *arg, bool ready);
    void *arg;

    redisAsyncContext *ac; // NULL while AWAY
    enum state state;
    bool freeing;
    bool told; // it was told that it is away: once for each reason, not at each attempt
    char why[200];
    int64_t ready_since_ms;
    int64_t backoff_ms;
    int64_t connecting_since_ms;
    int64_t heard_ms; // the last answer
    struct pending *head, *tail;
    struct cs_timer *retry; // the next attempt
    struct cs_timer *watch; // looks at deadlines
    struct ssl_ctx_st *tls;
};

static int64_t now_ms(void) {
    return cs_clock_mono_ms(cs_clock_real());
}

// ---- the connection's life

static void lost(struct cs_redis_async *r, const char *why) {
    bool was_ready = r->state == READY;
    r->ac = NULL;
    r->state = AWAY;
    if (r->freeing)
        return;
    if (!r->told || strncmp(r->why, why, sizeof r->why - 1) != 0)
        cs_log(CS_LOG_WARN, "Redis is away", "purpose=%s error=%s", r->purpose, why);
    r->told = true;
    snprintf(r->why, sizeof r->why, "%s", why);
    cs_timer_reset(r->retry, r->backoff_ms);
    r->backoff_ms = r->backoff_ms * 2 < BACKOFF_MAX_MS ? r->backoff_ms * 2 : BACKOFF_MAX_MS;
    if (was_ready)
        r->on_state(r->arg, false);
}

// Ends the connection. Callbacks that are due run with NULL.
static void drop(struct cs_redis_async *r, const char *why) {
    redisAsyncContext *ac = r->ac;
    if (!ac)
        return;
    ac->data = NULL; // on_disconnect then has nothing to say
    redisAsyncFree(ac);
    lost(r, why);
}

static void on_disconnect(const redisAsyncContext *ac, int status) {
    struct cs_redis_async *r = ac->data;
    if (r)
        lost(r, status == REDIS_OK ? "closed" : cs_redis_why(&r->ac->c));
}

static void on_connect(const redisAsyncContext *ac, int status) {
    struct cs_redis_async *r = ac->data;
    // After a failed connect hiredis frees the context. It calls on_disconnect only for connected
    // ones.
    if (r && status != REDIS_OK)
        lost(r, cs_redis_why(&r->ac->c));
}

// An answer of the handshake. hiredis walks its callbacks here, so the context cannot be freed.
// redisAsyncFree in a callback only marks it.
static void on_login(redisAsyncContext *ac, void *reply, void *arg) {
    struct cs_redis_async *r = ac->data;
    const redisReply *answer = reply;
    const char *what = arg;
    if (!r || !answer || r->freeing || answer->type != REDIS_REPLY_ERROR)
        return;
    char why[256];
    snprintf(why, sizeof why, "%s: %s", what, answer->str);
    drop(r, why);
}

static void on_role(redisAsyncContext *ac, void *reply, void *arg) {
    on_login(ac, reply, arg);
    struct cs_redis_async *r = ac->data;
    const redisReply *answer = reply;
    if (!r || !answer || r->freeing)
        return;
    if (answer->type != REDIS_REPLY_ARRAY || answer->elements == 0 || !answer->element[0]->str ||
        strcmp(answer->element[0]->str, "master") != 0)
        drop(r, "it is not the primary");
}

static void on_ping(redisAsyncContext *ac, void *reply, void *arg) {
    on_login(ac, reply, arg);
    struct cs_redis_async *r = ac->data;
    if (!r || !reply || r->freeing)
        return;
    r->state = READY;
    r->ready_since_ms = now_ms();
    r->on_state(r->arg, true);
}

static void note_steady(struct cs_redis_async *r, int64_t now) {
    if (r->state != READY || now - r->ready_since_ms < STEADY_MS)
        return;
    r->backoff_ms = BACKOFF_MIN_MS;
    if (r->told)
        cs_log(CS_LOG_INFO, "Redis is back", "purpose=%s", r->purpose);
    r->told = false;
}

static bool log_in(struct cs_redis_async *r) {
    redisAsyncContext *ac = r->ac;
    bool ok = true;
    if (r->username[0])
        ok = redisAsyncCommand(ac, on_login, "AUTH", "AUTH %s %s", r->username, r->password) == REDIS_OK;
    else if (r->password[0])
        ok = redisAsyncCommand(ac, on_login, "AUTH", "AUTH %s", r->password) == REDIS_OK;
    if (ok && r->target.database)
        ok = redisAsyncCommand(ac, on_login, "SELECT", "SELECT %d", r->target.database) == REDIS_OK;
    if (ok && r->must_be_primary)
        ok = redisAsyncCommand(ac, on_role, "ROLE", "ROLE") == REDIS_OK;
    return ok && redisAsyncCommand(ac, on_ping, "PING", "PING") == REDIS_OK;
}

// Resolving a name blocks. Addresses and sockets never block.
static void begin(void *arg) {
    struct cs_redis_async *r = arg;
    bool is_unix = r->target.transport == CS_REDIS_UNIX;
    redisAsyncContext *ac =
        is_unix ? redisAsyncConnectUnix(r->target.host) : redisAsyncConnect(r->target.host, r->target.port);
    if (!ac || ac->err) {
        char why[128];
        snprintf(why, sizeof why, "%s", ac ? ac->errstr : "out of memory");
        if (ac)
            redisAsyncFree(ac);
        lost(r, why);
        return;
    }
    ac->data = r;
    r->ac = ac;
    r->state = CONNECTING;
    r->connecting_since_ms = now_ms();
    redisAsyncSetConnectCallback(ac, on_connect);
    redisAsyncSetDisconnectCallback(ac, on_disconnect);
    struct cs_err err;
    if (!cs_redis_tls_begin(&ac->c, &r->target, r->ca_file, &r->tls, &err))
        drop(r, err.msg);
    else if (redisLibeventAttach(ac, cs_loop_base(r->loop)) != REDIS_OK || !log_in(r))
        drop(r, "the connection cannot be set up");
    else if (!is_unix)
        (void)redisEnableKeepAlive(&ac->c); // deadlines notice a lost peer as well
}

static void on_watch(void *arg) {
    struct cs_redis_async *r = arg;
    int64_t now = now_ms();
    note_steady(r, now);
    bool late = r->state == CONNECTING && now - r->connecting_since_ms >= r->timeout_ms;
    if (r->state == READY && r->head) {
        // While answers arrive, Redis is not slow: we are, with what we do with them.
        int64_t since = r->head->since_ms > r->heard_ms ? r->head->since_ms : r->heard_ms;
        late = now - since >= r->timeout_ms;
    }
    if (!late)
        return;
    char why[64];
    snprintf(why, sizeof why, "no answer within %lld ms", (long long)r->timeout_ms);
    drop(r, why);
}

static char *copy(const char *s) {
    return strdup(s ? s : "");
}

bool cs_redis_async_new(const struct cs_redis_async_options *options, struct cs_redis_async **ret,
                        struct cs_err *err) {
    struct cs_redis_async *r = calloc(1, sizeof *r);
    if (!r)
        return cs_err_oom(err);
    r->loop = options->loop;
    r->target = *options->target;
    r->username = copy(options->username);
    r->password = copy(options->password);
    r->ca_file = copy(options->ca_file);
    r->purpose = options->purpose;
    r->timeout_ms = options->timeout_ms;
    r->must_be_primary = options->must_be_primary;
    r->on_state = options->on_state;
    r->arg = options->arg;
    r->backoff_ms = BACKOFF_MIN_MS;
    int64_t period_ms = r->timeout_ms / 8 < 10 ? 10 : r->timeout_ms / 8;
    r->retry = cs_timer_new(r->loop, 0, 0, begin, r);
    r->watch = cs_timer_new(r->loop, period_ms, period_ms, on_watch, r);
    if (!r->username || !r->password || !r->ca_file || !r->retry || !r->watch) {
        cs_redis_async_free(r);
        return cs_err_oom(err);
    }
    *ret = r;
    return true;
}

void cs_redis_async_free(struct cs_redis_async *r) {
    if (!r)
        return;
    r->freeing = true;
    drop(r, "");
    cs_timer_free(r->retry);
    cs_timer_free(r->watch);
    cs_redis_tls_free(r->tls);
    free(r->username);
    free(r->password);
    free(r->ca_file);
    free(r);
}

bool cs_redis_async_ready(const struct cs_redis_async *r) {
    return r->state == READY && !r->freeing;
}

// ---- commands

static void on_reply(redisAsyncContext *ac, void *reply, void *arg) {
    (void)ac;
    struct pending *p = arg;
    struct cs_redis_async *r = p->owner;
    r->heard_ms = now_ms();
    r->head = p->next;
    if (!r->head)
        r->tail = NULL;
    p->fn(reply, p->arg);
    free(p);
}

static bool send_text(struct cs_redis_async *r, const char *command, size_t len,
                      void (*fn)(const redisReply *reply, void *arg), void *arg) {
    struct pending *p = NULL;
    if (!cs_redis_async_ready(r) || !(p = malloc(sizeof *p)))
        return false;
    *p = (struct pending){.owner = r, .fn = fn, .arg = arg, .since_ms = now_ms()};
    if (redisAsyncFormattedCommand(r->ac, on_reply, p, command, len) != REDIS_OK) {
        free(p);
        return false;
    }
    if (r->tail)
        r->tail->next = p;
    else
        r->head = p;
    r->tail = p;
    return true;
}

bool cs_redis_async_send(struct cs_redis_async *r, const struct cs_buf *command,
                         void (*fn)(const redisReply *reply, void *arg), void *arg) {
    return !command->failed && send_text(r, (const char *)command->data, command->len, fn, arg);
}

// ---- several commands in one

struct both {
    void (*fn)(const redisReply *reply, void *arg);
    void *arg;
    redisReply *error; // the first; owned
};

static void on_queued(const redisReply *reply, void *arg) {
    struct both *b = arg;
    if (reply && reply->type == REDIS_REPLY_ERROR && !b->error)
        b->error = cs_redis_take(reply);
}

static void on_both(const redisReply *reply, void *arg) {
    struct both *b = arg;
    b->fn(reply && b->error ? b->error : reply, b->arg);
    if (b->error)
        freeReplyObject(b->error);
    free(b);
}

static bool send_word(struct cs_redis_async *r, const char *word,
                      void (*fn)(const redisReply *reply, void *arg), void *arg) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 64);
    cs_redis_put(&command, 1);
    cs_redis_put_text(&command, word);
    return cs_redis_async_send(r, &command, fn, arg);
}

// The length of the command at the begin of text, which cs_redis_put and its like wrote.
static size_t command_len(const char *text) {
    char *at = NULL;
    for (unsigned long args = strtoul(text + 1, &at, 10); args > 0; args--) {
        char *arg = at + 3; // "\r\n$"
        size_t len = strtoul(arg, &at, 10);
        at += 2 + len;
    }
    return (size_t)(at + 2 - text);
}

static bool send_each(struct cs_redis_async *r, const struct cs_buf *commands, struct both *b) {
    for (size_t at = 0; at < commands->len;) {
        const char *one = (const char *)commands->data + at;
        size_t len = command_len(one);
        if (!send_text(r, one, len, on_queued, b))
            return false;
        at += len;
    }
    return true;
}

bool cs_redis_async_send_both(struct cs_redis_async *r, const struct cs_buf *command,
                              const struct cs_buf *beside, void (*fn)(const redisReply *reply, void *arg),
                              void *arg) {
    struct both *b = NULL;
    if (!cs_redis_async_ready(r) || command->failed || beside->failed || !(b = malloc(sizeof *b)))
        return false;
    *b = (struct both){.fn = fn, .arg = arg};
    if (!send_word(r, "MULTI", on_queued, b)) {
        free(b);
        return false;
    }
    if (cs_redis_async_send(r, command, on_queued, b) && send_each(r, beside, b) &&
        send_word(r, "EXEC", on_both, b))
        return true;
    // Out of memory. The commands sent cannot be taken back, and b must outlive them.
    drop(r, "out of memory");
    return false;
}

// After the callback, hiredis frees a reply by its type. For nil it frees nothing.
redisReply *cs_redis_take(const redisReply *reply) {
    redisReply *kept = malloc(sizeof *kept);
    if (!kept)
        return NULL;
    *kept = *reply;
    ((redisReply *)(uintptr_t)reply)->type = REDIS_REPLY_NIL;
    return kept;
}

// ---- channels

struct channel {
    void (*fn)(const redisReply *reply, void *arg);
    void *arg;
};

static void on_channel(redisAsyncContext *ac, void *reply, void *arg) {
    (void)ac;
    struct channel *c = arg;
    const redisReply *answer = reply;
    c->fn(answer, c->arg);
    // hiredis forgets the callback when UNSUBSCRIBE is confirmed, or with the connection.
    if (!answer || (answer->type == REDIS_REPLY_ARRAY && answer->elements > 0 && answer->element[0]->str &&
                    strcmp(answer->element[0]->str, "unsubscribe") == 0))
        free(c);
}

bool cs_redis_async_subscribe(struct cs_redis_async *r, const char *channel,
                              void (*fn)(const redisReply *reply, void *arg), void *arg) {
    struct channel *c = NULL;
    if (!cs_redis_async_ready(r) || !(c = malloc(sizeof *c)))
        return false;
    *c = (struct channel){fn, arg};
    if (redisAsyncCommand(r->ac, on_channel, c, "SUBSCRIBE %s", channel) == REDIS_OK)
        return true;
    free(c);
    return false;
}

bool cs_redis_async_unsubscribe(struct cs_redis_async *r, const char *channel) {
    return cs_redis_async_ready(r) &&
           redisAsyncCommand(r->ac, NULL, NULL, "UNSUBSCRIBE %s", channel) == REDIS_OK;
}
