// SPDX-License-Identifier: Apache-2.0
#include "redis/pool.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/log.h"
#include "redis/discovery_thread.h"

#define MOVES_MAX   8    // for one question
#define WAIT_MAX_MS 1000 // for one question, while a cluster changes
#define SOON_MS     20   // between looks while an answer is awaited
#define AWAY_MS     300  // between searches while a primary is away
#define SENTINELS_MS                                                                                         \
    2000 // between questions to the sentinels while all is well: one that was cut off looks well

struct node {
    struct cs_redis_pool *pool;
    struct cs_redis_target target;
    struct cs_redis_async *conn;
};

// A question to a cluster. It may have to go to another node.
struct question {
    struct cs_redis_pool *pool;
    struct cs_buf command;
    struct cs_buf beside; // sent in one transaction with it; empty: nothing
    uint16_t slot;
    struct cs_redis_target at; // the node that was asked
    bool ask;                  // sent to the node that an ASK named
    struct cs_redis_target ask_at;
    int moves;
    int64_t until_ms;
    void (*fn)(const redisReply *reply, void *arg);
    void *arg;
    struct question *next; // of those that wait
};

struct cs_redis_pool {
    struct cs_loop *loop;
    struct cs_redis_access access;
    bool one;
    const char *purpose;
    void (*on_state)(void *arg, bool ready);
    void *arg;
    bool freeing;
    atomic_bool ready;
    struct cs_redis_discovery *discovery; // NULL: plain mode, nothing to discover
    struct cs_redis_map *map;             // NULL: not known yet
    unsigned turn;                        // for a pool of one: which primary it has
    bool told;                            // it was told that no primary is found
    int64_t ask_at_ms;
    struct node **nodes;
    size_t len, cap;
    struct question *waiting;
    struct cs_timer *tick;
};

static int64_t now_ms(void) {
    return cs_clock_mono_ms(cs_clock_real());
}

// --- connections

static void search(struct cs_redis_pool *p, int64_t in_ms) {
    int64_t at_ms = now_ms() + in_ms;
    if (p->discovery && at_ms < p->ask_at_ms)
        p->ask_at_ms = at_ms;
    if (p->discovery)
        cs_timer_reset(p->tick, in_ms < SOON_MS ? in_ms : SOON_MS);
}

static void note_ready(struct cs_redis_pool *p) {
    bool ready = p->map && p->len > 0 && !p->freeing;
    for (size_t i = 0; ready && i < p->len; i++)
        ready = p->nodes[i]->conn && cs_redis_async_ready(p->nodes[i]->conn);
    atomic_store(&p->ready, ready);
}

static void on_node(void *arg, bool ready) {
    struct node *n = arg;
    struct cs_redis_pool *p = n->pool;
    if (p->freeing)
        return;
    if (!ready)
        search(p, 0);
    note_ready(p);
    p->on_state(p->arg, cs_redis_pool_ready(p));
}

static struct node *find_node(const struct cs_redis_pool *p, const struct cs_redis_target *t) {
    for (size_t i = 0; i < p->len; i++)
        if (cs_redis_target_equal(&p->nodes[i]->target, t))
            return p->nodes[i];
    return NULL;
}

static bool make_node(struct cs_redis_pool *p, const struct cs_redis_target *t, struct node **ret,
                      struct cs_err *err) {
    struct node *n = NULL;
    if (!CS_GROW(&p->nodes, &p->cap, p->len + 1))
        return cs_err_oom(err);
    n = calloc(1, sizeof *n);
    if (!n)
        return cs_err_oom(err);
    *n = (struct node){.pool = p, .target = *t};
    struct cs_redis_async_options o = {.loop = p->loop,
                                       .target = t,
                                       .username = p->access.username,
                                       .password = p->access.password,
                                       .ca_file = p->access.ca_file,
                                       .timeout_ms = p->access.timeout_ms,
                                       .must_be_primary = p->access.mode == CS_REDIS_SENTINEL,
                                       .purpose = p->purpose,
                                       .on_state = on_node,
                                       .arg = n};
    if (!cs_redis_async_new(&o, &n->conn, err)) {
        free(n);
        return false;
    }
    p->nodes[p->len++] = n;
    note_ready(p);
    *ret = n;
    return true;
}

static struct node *node_at(struct cs_redis_pool *p, const struct cs_redis_target *t) {
    struct node *n = find_node(p, t);
    struct cs_err err;
    if (!n && !make_node(p, t, &n, &err))
        cs_log_err(CS_LOG_ERROR, "no connection to Redis", &err, "purpose=%s", p->purpose);
    return n;
}

static void free_node(struct node *n) {
    cs_redis_async_free(n->conn);
    free(n);
}

static bool is_wanted(const struct cs_redis_pool *p, const struct cs_redis_target *t) {
    size_t all = cs_redis_map_len(p->map);
    for (size_t i = 0; i < all; i++)
        if ((!p->one || i == p->turn % all) && cs_redis_target_equal(cs_redis_map_at(p->map, i), t))
            return true;
    return false;
}

// Connects to the primaries of the map, and to no others.
static void follow_map(struct cs_redis_pool *p) {
    size_t all = cs_redis_map_len(p->map);
    for (size_t i = p->len; i-- > 0;) {
        struct node *n = p->nodes[i];
        if (is_wanted(p, &n->target))
            continue;
        p->nodes[i] = p->nodes[--p->len];
        free_node(n); // questions there end with NULL
    }
    for (size_t i = 0; i < all; i++)
        if (!p->one || i == p->turn % all)
            (void)node_at(p, cs_redis_map_at(p->map, i));
    note_ready(p);
}

bool cs_redis_pool_ready(const struct cs_redis_pool *p) {
    return atomic_load(&p->ready);
}

// --- questions

static void question_free(struct question *q) {
    cs_buf_clear(&q->command);
    cs_buf_clear(&q->beside);
    free(q);
}

static void end_question(struct question *q, const redisReply *reply) {
    q->fn(reply, q->arg);
    question_free(q);
}

static void wait_some(struct question *q) {
    struct cs_redis_pool *p = q->pool;
    q->next = p->waiting;
    p->waiting = q;
    cs_timer_reset(p->tick, SOON_MS);
}

static void on_answer(const redisReply *reply, void *arg);
static void ignore(const redisReply *reply, void *arg) {
    (void)reply;
    (void)arg;
}

// Sends the question to the right node. False: no node can be asked now.
static bool put_question(struct question *q) {
    struct cs_redis_pool *p = q->pool;
    int i = q->ask || !p->map ? -1 : cs_redis_map_of_slot(p->map, q->slot);
    if (!q->ask && i < 0) {
        search(p, 0);
        return false;
    }
    struct node *n = node_at(p, q->ask ? &q->ask_at : cs_redis_map_at(p->map, (size_t)i));
    if (!n || !cs_redis_async_ready(n->conn))
        return false;
    q->at = n->target;
    if (q->ask) {
        CS_AUTO(cs_buf_clear) struct cs_buf asking;
        cs_buf_init(&asking, 64);
        cs_redis_put(&asking, 1);
        cs_redis_put_text(&asking, "ASKING");
        if (!cs_redis_async_send(n->conn, &asking, ignore, NULL))
            return false;
    }
    if (q->beside.len > 0) // an ASKING covers a whole transaction
        return cs_redis_async_send_both(n->conn, &q->command, &q->beside, on_answer, q);
    return cs_redis_async_send(n->conn, &q->command, on_answer, q);
}

static bool says(const redisReply *reply, const char *word) {
    return strncmp(reply->str, word, strlen(word)) == 0;
}

// Whether to ask again after an error, and where.
static bool learn(struct question *q, const redisReply *reply) {
    struct cs_redis_pool *p = q->pool;
    struct cs_redis_redirect to;
    struct cs_err ignored;
    q->ask = false;
    if (cs_redis_redirect_parse(reply->str, &q->at, &to)) {
        q->ask = to.ask;
        q->ask_at = to.to;
        return q->moves++ < MOVES_MAX && (to.ask || cs_redis_map_move(p->map, &to, &ignored));
    }
    if (says(reply, "CLUSTERDOWN"))
        search(p, 0);
    return says(reply, "CLUSTERDOWN") || says(reply, "TRYAGAIN");
}

static void on_answer(const redisReply *reply, void *arg) {
    struct question *q = arg;
    if (!reply || reply->type != REDIS_REPLY_ERROR || q->pool->freeing) {
        end_question(q, reply);
        return;
    }
    bool redirected = says(reply, "MOVED") || says(reply, "ASK");
    if (!learn(q, reply) || now_ms() >= q->until_ms)
        end_question(q, redirected ? NULL : reply); // a redirection is no answer
    else if (!redirected || !put_question(q))
        wait_some(q);
}

static void ask_those_who_wait(struct cs_redis_pool *p) {
    struct question *all = CS_TAKE(p->waiting);
    while (all) {
        struct question *q = all;
        all = q->next;
        if (put_question(q))
            continue;
        if (now_ms() >= q->until_ms)
            end_question(q, NULL);
        else
            wait_some(q);
    }
}

static void copy_command(struct cs_buf *to, const struct cs_buf *from) {
    cs_buf_init(to, from->len + 1);
    cs_buf_put(to, from->data, from->len);
}

static bool ask_cluster(struct cs_redis_pool *p, int32_t partition, const struct cs_buf *command,
                        const struct cs_buf *beside, void (*fn)(const redisReply *reply, void *arg),
                        void *arg) {
    struct question *q = calloc(1, sizeof *q);
    if (!q)
        return false;
    *q = (struct question){.pool = p,
                           .slot = cs_redis_slot_of_partition(partition),
                           .until_ms = now_ms() + WAIT_MAX_MS,
                           .fn = fn,
                           .arg = arg};
    copy_command(&q->command, command);
    if (beside)
        copy_command(&q->beside, beside);
    if (!q->command.failed && !q->beside.failed && put_question(q))
        return true;
    question_free(q);
    return false;
}

bool cs_redis_pool_send(struct cs_redis_pool *p, int32_t partition, const struct cs_buf *command,
                        void (*fn)(const redisReply *reply, void *arg), void *arg) {
    if (command->failed || !p->map)
        return false;
    if (p->access.mode == CS_REDIS_CLUSTER)
        return ask_cluster(p, partition, command, NULL, fn, arg);
    return p->len > 0 && cs_redis_async_send(p->nodes[0]->conn, command, fn, arg);
}

bool cs_redis_pool_send_both(struct cs_redis_pool *p, int32_t partition, const struct cs_buf *command,
                             const struct cs_buf *beside, void (*fn)(const redisReply *reply, void *arg),
                             void *arg) {
    if (command->failed || beside->failed || !p->map)
        return false;
    if (p->access.mode == CS_REDIS_CLUSTER)
        return ask_cluster(p, partition, command, beside, fn, arg);
    return p->len > 0 && cs_redis_async_send_both(p->nodes[0]->conn, command, beside, fn, arg);
}

bool cs_redis_pool_subscribe(struct cs_redis_pool *p, const char *channel,
                             void (*fn)(const redisReply *reply, void *arg), void *arg) {
    return p->len > 0 && cs_redis_async_subscribe(p->nodes[0]->conn, channel, fn, arg);
}

bool cs_redis_pool_unsubscribe(struct cs_redis_pool *p, const char *channel) {
    return p->len > 0 && cs_redis_async_unsubscribe(p->nodes[0]->conn, channel);
}

// --- time

static void take_map(struct cs_redis_pool *p) {
    struct cs_redis_map *map = NULL;
    struct cs_err why = {0};
    if (!cs_redis_discovery_take(p->discovery, &map, &why)) {
        if (why.kind && !p->told)
            cs_log_err(CS_LOG_WARN, "the primary of Redis is not found", &why, "purpose=%s", p->purpose);
        p->told = p->told || why.kind;
        return;
    }
    p->told = false;
    cs_redis_map_free(p->map);
    p->map = map;
    if (p->one && p->len > 0 && !cs_redis_async_ready(p->nodes[0]->conn))
        p->turn++; // next time another server listens
    follow_map(p);
}

static void on_tick(void *arg) {
    struct cs_redis_pool *p = arg;
    int64_t next_ms = SENTINELS_MS;
    if (p->discovery)
        take_map(p);
    bool ready = cs_redis_pool_ready(p);
    bool watch = p->access.mode == CS_REDIS_SENTINEL;
    if (p->discovery && now_ms() >= p->ask_at_ms) {
        cs_redis_discovery_ask(p->discovery);
        p->ask_at_ms = now_ms() + (ready ? SENTINELS_MS : AWAY_MS);
    }
    if (ready && !watch)
        p->ask_at_ms = INT64_MAX;
    ask_those_who_wait(p);
    if (p->waiting || (p->discovery && cs_redis_discovery_asking(p->discovery)))
        next_ms = SOON_MS;
    else if (!ready)
        next_ms = AWAY_MS;
    if (p->discovery && (next_ms < SENTINELS_MS || watch))
        cs_timer_reset(p->tick, next_ms);
}

// --- life

bool cs_redis_pool_new(const struct cs_redis_pool_options *options, struct cs_redis_pool **ret,
                       struct cs_err *err) {
    struct cs_redis_pool *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    p->loop = options->loop;
    p->access = *options->access;
    p->one = options->one;
    p->purpose = options->purpose;
    p->on_state = options->on_state;
    p->arg = options->arg;
    p->tick = cs_timer_new(p->loop, 0, 0, on_tick, p);
    struct node *only = NULL;
    bool ok = p->tick || cs_err_oom(err);
    if (p->access.mode == CS_REDIS_PLAIN)
        ok = ok && cs_redis_discover(&p->access, NULL, 0, &p->map, err) &&
             make_node(p, &p->access.seeds[0], &only, err);
    else
        ok = ok && cs_redis_discovery_new(&p->access, &p->discovery, err);
    if (!ok) {
        cs_redis_pool_free(p);
        return false;
    }
    *ret = p;
    return true;
}

void cs_redis_pool_free(struct cs_redis_pool *p) {
    if (!p)
        return;
    p->freeing = true;
    note_ready(p);
    for (size_t i = 0; i < p->len; i++)
        free_node(p->nodes[i]);
    while (p->waiting) {
        struct question *q = p->waiting;
        p->waiting = q->next;
        end_question(q, NULL);
    }
    free(p->nodes);
    cs_timer_free(p->tick);
    cs_redis_discovery_free(p->discovery);
    cs_redis_map_free(p->map);
    free(p);
}
