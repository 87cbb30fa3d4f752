// SPDX-License-Identifier: Apache-2.0
//
// Those who wait for an outcome. Each partition is a lane: while somebody waits there, its channel is
// subscribed (a connection of its own), and whenever a commit is heard the outcomes of all who wait in the
// lane are looked up together. Looks of a lane never overlap and begin at least LOOK_GAP_MS apart, so that
// many who wait and many commits cannot multiply. A slow look is the backstop where no message came.
//
// hiredis 0.14 loses a channel's callback when it is subscribed again before the UNSUBSCRIBE is confirmed:
// hence the states of a lane's subscription.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "redis/key.h"

#define BATCH          256 // outcomes in one MGET
#define LOOK_GAP_MS    10
#define TICK_MS        100
#define BACKSTOP_TICKS 10   // a look without a message
#define LINGER_MS      5000 // a channel stays subscribed after the last one left

enum subscription { OFF, ASKED, ON, LEAVING };

struct lane;
struct api_waiter {
    struct api_call *call;
    struct lane *lane;
    cs_uuid event;
    int64_t until_ms;
    uint64_t pass; // last pass that took it
    size_t slot;   // its place in the batch under way, plus one; 0: none
    struct api_waiter *prev, *next;
};

struct lane {
    struct api_waits *all;
    int32_t partition;
    struct api_waiter *head;
    size_t count;
    enum subscription subscription;
    uint64_t heard;
    int64_t left_ms; // when the last one left
    // A look: passes over all who wait, in batches.
    bool looking, again;
    int64_t look_ms;
    uint64_t pass;
    int64_t generation; // that the batch reads
    size_t batch_len;
    struct api_waiter *batch[BATCH];
    struct cs_timer *due;
};

struct api_waits {
    struct cs_api *api;
    struct cs_redis_pool *channels;
    struct cs_timer *tick;
    bool ticking;
    unsigned ticks;
    size_t count, max;
    struct cs_series *gauge;
    int32_t lane_count;
    struct lane lanes[];
};

static int64_t now_ms(const struct api_waits *w) {
    return cs_clock_mono_ms(w->api->consumer->clock);
}

static void look(struct lane *lane);

// ---- subscriptions

static void on_channel(const redisReply *reply, void *arg) {
    struct lane *lane = arg;
    const char *what = api_elements(reply) >= 2 ? reply->element[0]->str : NULL;
    if (!what) { // the connection is gone, and all subscriptions with it
        lane->subscription = OFF;
        return;
    }
    if (strcmp(what, "unsubscribe") == 0) {
        lane->subscription = OFF; // on_tick subscribes again where somebody came meanwhile
        return;
    }
    if (strcmp(what, "subscribe") == 0)
        lane->subscription = ON;
    lane->heard++;
    look(lane);
}

static void channel_of(const struct lane *lane, char *out, size_t size) {
    char slot[CS_PREFIX_MAX];
    cs_redis_prefix(slot, lane->all->api->consumer->settings->redis_namespace, lane->partition, 0);
    snprintf(out, size, "%s" CS_MOVED_CHANNEL, slot);
}

static void want_channel(struct lane *lane) {
    char channel[128];
    channel_of(lane, channel, sizeof channel);
    if (lane->subscription == OFF && cs_redis_pool_subscribe(lane->all->channels, channel, on_channel, lane))
        lane->subscription = ASKED;
}

static void leave_channel(struct lane *lane) {
    char channel[128];
    channel_of(lane, channel, sizeof channel);
    if (lane->subscription == ON && cs_redis_pool_unsubscribe(lane->all->channels, channel))
        lane->subscription = LEAVING;
}

static void on_channels_state(void *arg, bool ready) {
    struct api_waits *w = arg;
    for (int32_t p = 0; ready && p < w->lane_count; p++)
        if (w->lanes[p].count > 0)
            want_channel(&w->lanes[p]);
}

// ---- those who wait

static void start_ticking(struct api_waits *w) {
    if (!w->ticking)
        cs_timer_reset(w->tick, TICK_MS);
    w->ticking = true;
}

uint64_t api_wait_heard(const struct api_waits *w, int32_t partition) {
    return w->lanes[partition].heard;
}

void api_wait_park(struct api_call *call, const char *event, int64_t until_ms, uint64_t heard) {
    struct api_waits *w = call->api->waits;
    struct lane *lane = &w->lanes[call->partition];
    if (call->api->stopping) {
        api_busy(call, "The server is stopping; ask again.");
        return;
    }
    struct api_waiter *waiter = w->count < w->max ? calloc(1, sizeof *waiter) : NULL;
    if (!waiter) {
        api_busy(call, "Too many requests wait for outcomes; ask again.");
        return;
    }
    *waiter = (struct api_waiter){.call = call, .lane = lane, .until_ms = until_ms, .next = lane->head};
    memcpy(waiter->event, event, sizeof waiter->event);
    if (waiter->next)
        waiter->next->prev = waiter;
    lane->head = waiter;
    lane->count++;
    w->count++;
    cs_series_set(w->gauge, (double)w->count);
    call->waiter = waiter;
    want_channel(lane);
    if (lane->heard != heard) // it may have been decided between the question and now
        look(lane);
    start_ticking(w);
}

void api_wait_unpark(struct api_call *call) {
    struct api_waiter *waiter = CS_TAKE(call->waiter);
    struct lane *lane = waiter->lane;
    if (waiter->slot > 0)
        lane->batch[waiter->slot - 1] = NULL;
    if (waiter->prev)
        waiter->prev->next = waiter->next;
    else
        lane->head = waiter->next;
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    if (--lane->count == 0)
        lane->left_ms = now_ms(lane->all);
    lane->all->count--;
    cs_series_set(lane->all->gauge, (double)lane->all->count);
    free(waiter);
}

// ---- looking

static void next_batch(struct lane *lane);

static void look_at(struct api_waiter *waiter, struct cs_bytes doc) {
    struct api_call *call = waiter->call;
    struct api_found found;
    struct cs_err err;
    bool ok = api_outcome_look(call, doc, &found, &err);
    if (ok && !(found.exists && found.final))
        return;
    api_wait_unpark(call);
    if (ok)
        api_outcome_answer(call, doc);
    else
        api_unreadable(call, &err);
    api_call_settle(call);
}

static void on_batch(const redisReply *reply, void *arg) {
    struct lane *lane = arg;
    int64_t *believed = &lane->all->api->generations[lane->partition];
    bool answered = api_elements(reply) == lane->batch_len + 2;
    int64_t generation = answered ? api_generation(reply->element[lane->batch_len]) : 0;
    bool same = answered && generation == lane->generation;
    bool ok = same && api_standing(lane->all->api, lane->partition, reply->element[lane->batch_len + 1]);
    if (answered && generation > 0 && !same) {
        *believed = generation;
        lane->again = true; // the same once more, of the other generation
    }
    for (size_t i = 0; i < lane->batch_len; i++) {
        struct api_waiter *waiter = lane->batch[i];
        if (!waiter)
            continue;
        waiter->slot = 0;
        if (ok)
            look_at(waiter, api_bytes(reply->element[i]));
    }
    lane->batch_len = 0;
    if (ok) {
        next_batch(lane);
        return;
    }
    lane->looking = false; // the next message, the backstop or Redis coming back looks again
    if (answered && lane->again)
        look(lane);
}

static void take_batch(struct lane *lane) {
    for (struct api_waiter *w = lane->head; w && lane->batch_len < BATCH; w = w->next) {
        if (w->pass == lane->pass)
            continue;
        w->pass = lane->pass;
        lane->batch[lane->batch_len++] = w;
        w->slot = lane->batch_len;
    }
}

static void drop_batch(struct lane *lane) {
    for (size_t i = 0; i < lane->batch_len; i++)
        lane->batch[i]->slot = 0;
    lane->batch_len = 0;
    lane->looking = false;
}

static void next_batch(struct lane *lane) {
    struct cs_api *api = lane->all->api;
    take_batch(lane);
    if (lane->batch_len == 0) {
        lane->looking = false;
        if (lane->again)
            look(lane);
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    lane->generation = api->generations[lane->partition];
    cs_redis_put(&command, lane->batch_len + 3);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < lane->batch_len; i++)
        api_put_key_of(&command, api, lane->partition, lane->generation,
                       cs_key_outcome(CS_NEW_KEY, lane->batch[i]->call->account, lane->batch[i]->event));
    api_put_standing_keys(&command, api, lane->partition, lane->generation);
    if (!cs_redis_pool_send(api->redis, lane->partition, &command, on_batch, lane))
        drop_batch(lane);
}

static void look(struct lane *lane) {
    int64_t now = now_ms(lane->all), since = now - lane->look_ms;
    if (lane->count == 0)
        return;
    if (lane->looking) {
        lane->again = true;
        return;
    }
    if (since < LOOK_GAP_MS) {
        cs_timer_reset(lane->due, LOOK_GAP_MS - since);
        return;
    }
    lane->looking = true;
    lane->again = false;
    lane->look_ms = now;
    lane->pass++;
    next_batch(lane);
}

static void on_due(void *arg) {
    look(arg);
}

void api_waits_redis(struct api_waits *w, bool ready) {
    for (int32_t p = 0; ready && p < w->lane_count; p++)
        look(&w->lanes[p]);
}

// ---- time

static void expire(struct lane *lane, int64_t now) {
    for (struct api_waiter *w = lane->head, *next; w; w = next) {
        struct api_call *call = w->call;
        next = w->next; // answering one frees no other
        if (now < w->until_ms)
            continue;
        api_wait_unpark(call);
        api_outcome_last(call);
        api_call_settle(call);
    }
}

static void on_tick(void *arg) {
    struct api_waits *w = arg;
    int64_t now = now_ms(w);
    bool backstop = ++w->ticks % BACKSTOP_TICKS == 0, busy = false;
    for (int32_t p = 0; p < w->lane_count; p++) {
        struct lane *lane = &w->lanes[p];
        expire(lane, now);
        if (lane->count > 0) {
            want_channel(lane);
            if (backstop)
                look(lane);
        } else if (now - lane->left_ms >= LINGER_MS) {
            leave_channel(lane);
        }
        busy = busy || lane->count > 0 || lane->subscription != OFF;
    }
    w->ticking = false;
    if (busy)
        start_ticking(w);
}

// ---- life

static struct cs_timer *idle_timer(struct cs_loop *loop, void (*fn)(void *), void *arg) {
    // It has to be made with a delay; nothing to do when it comes.
    return cs_timer_new(loop, TICK_MS, 0, fn, arg);
}

bool api_waits_new(struct cs_api *api, struct api_waits **ret, struct cs_err *err) {
    const struct cs_consumer *c = api->consumer;
    int32_t n = c->partition_count;
    struct api_waits *w = calloc(1, sizeof *w + (size_t)n * sizeof w->lanes[0]);
    if (!w)
        return cs_err_oom(err);
    w->api = api;
    w->lane_count = n;
    // Some connections stay free for those who do not wait.
    w->max = (size_t)c->settings->api_max_connections * 3 / 4 + 1;
    w->gauge = cs_metric_0(cs_metrics_gauge(c->metrics, "certsync_api_waiting_requests",
                                            "Requests that wait for an outcome.", NULL));
    w->tick = idle_timer(c->loop, on_tick, w);
    bool ok = w->tick != NULL;
    for (int32_t p = 0; p < n; p++) {
        struct lane *lane = &w->lanes[p];
        *lane = (struct lane){.all = w, .partition = p, .look_ms = now_ms(w) - LOOK_GAP_MS};
        lane->due = idle_timer(c->loop, on_due, lane);
        ok = ok && lane->due;
    }
    struct cs_redis_pool_options o = {.loop = c->loop,
                                      .access = &c->redis,
                                      .one = true,
                                      .purpose = "api-channels",
                                      .on_state = on_channels_state,
                                      .arg = w};
    ok = (ok || cs_err_oom(err)) && cs_redis_pool_new(&o, &w->channels, err);
    if (!ok) {
        api_waits_free(w);
        return false;
    }
    *ret = w;
    return true;
}

void api_waits_stop(struct api_waits *w) {
    for (int32_t p = 0; p < w->lane_count; p++)
        while (w->lanes[p].head) {
            struct api_call *call = w->lanes[p].head->call;
            api_wait_unpark(call);
            api_busy(call, "The server is stopping; ask again.");
            api_call_settle(call);
        }
}

void api_waits_free(struct api_waits *w) {
    if (!w)
        return;
    cs_redis_pool_free(w->channels);
    cs_timer_free(w->tick);
    for (int32_t p = 0; p < w->lane_count; p++)
        cs_timer_free(w->lanes[p].due);
    free(w);
}
