// SPDX-License-Identifier: Apache-2.0
//
// Calls that wait for an outcome. Each partition has a watch. While a call waits there, the watch
// subscribes to the partition's channel (on a connection of its own). After each commit that it
// hears of, it looks up the outcomes of all waiting calls together. Looks of one watch never
// overlap and begin at least LOOK_GAP_MS apart: their number does not grow with calls times
// commits. Without messages it looks every BACKSTOP_TICKS.
//
// hiredis 0.14 loses a channel's callback when it is subscribed again before the UNSUBSCRIBE is
// confirmed. Therefore a watch's subscription has states.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"

#define BATCH          128 // events in one MGET
#define LOOK_GAP_MS    10
#define TICK_MS        100
#define BACKSTOP_TICKS 10   // ticks until a look without a message
#define LINGER_MS      5000 // a channel stays subscribed after the last one left

enum subscription { OFF, ASKED, ON, LEAVING };

struct watch;
struct api_waiter {
    struct api_call *call;
    struct watch *watch;
    cs_uuid event;
    int64_t until_ms;
    uint64_t pass; // the last pass that took it
    size_t slot;   // its place in the batch under way, plus one; 0: none
    struct api_waiter *prev, *next;
};

struct watch {
    struct api_waits *all;
    int32_t partition;
    struct api_waiter *head;
    size_t count;
    enum subscription subscription;
    uint64_t heard;
    int64_t left_ms; // when the last call left
    // A look: passes over all waiting calls, in batches.
    bool looking, again;
    int64_t look_ms;
    uint64_t pass;
    int64_t generation; // the generation that the batch reads
    struct api_seen seen;
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
    int32_t watch_count;
    struct watch watches[];
};

static int64_t now_ms(const struct api_waits *w) {
    return cs_clock_mono_ms(w->api->consumer->clock);
}

static void look(struct watch *watch);

// ---- subscriptions

static void on_channel(const redisReply *reply, void *arg) {
    struct watch *watch = arg;
    const char *what = api_elements(reply) >= 2 ? reply->element[0]->str : NULL;
    if (!what) { // the connection is lost, and with it all subscriptions
        watch->subscription = OFF;
        return;
    }
    if (strcmp(what, "unsubscribe") == 0) {
        watch->subscription = OFF; // on_tick subscribes again if a call came in the meantime
        return;
    }
    if (strcmp(what, "subscribe") == 0)
        watch->subscription = ON;
    watch->heard++;
    look(watch);
}

static void channel_of(const struct watch *watch, char *out, size_t size) {
    char slot[CS_PREFIX_MAX];
    cs_redis_prefix(slot, watch->all->api->consumer->settings->redis_namespace, watch->partition, 0);
    snprintf(out, size, "%s" CS_MOVED_CHANNEL, slot);
}

static void want_channel(struct watch *watch) {
    char channel[128];
    channel_of(watch, channel, sizeof channel);
    if (watch->subscription == OFF &&
        cs_redis_pool_subscribe(watch->all->channels, channel, on_channel, watch))
        watch->subscription = ASKED;
}

static void leave_channel(struct watch *watch) {
    char channel[128];
    channel_of(watch, channel, sizeof channel);
    if (watch->subscription == ON && cs_redis_pool_unsubscribe(watch->all->channels, channel))
        watch->subscription = LEAVING;
}

static void on_channels_state(void *arg, bool ready) {
    struct api_waits *w = arg;
    for (int32_t p = 0; ready && p < w->watch_count; p++)
        if (w->watches[p].count > 0)
            want_channel(&w->watches[p]);
}

// ---- those who wait

static void start_ticking(struct api_waits *w) {
    if (!w->ticking)
        cs_timer_reset(w->tick, TICK_MS);
    w->ticking = true;
}

uint64_t api_wait_heard(const struct api_waits *w, int32_t partition) {
    return w->watches[partition].heard;
}

void api_wait_park(struct api_call *call, const char *event, int64_t until_ms, uint64_t heard) {
    struct api_waits *w = call->api->waits;
    struct watch *watch = &w->watches[call->partition];
    if (call->api->stopping) {
        api_busy(call, "The server is stopping; ask again.");
        return;
    }
    struct api_waiter *waiter = w->count < w->max ? calloc(1, sizeof *waiter) : NULL;
    if (!waiter) {
        api_busy(call, "Too many requests wait for outcomes; ask again.");
        return;
    }
    *waiter = (struct api_waiter){.call = call, .watch = watch, .until_ms = until_ms, .next = watch->head};
    memcpy(waiter->event, event, sizeof waiter->event);
    if (waiter->next)
        waiter->next->prev = waiter;
    watch->head = waiter;
    watch->count++;
    w->count++;
    cs_series_adjust(w->api->waiting, 1);
    call->waiter = waiter;
    want_channel(watch);
    if (watch->heard != heard) // it may have been decided since the question
        look(watch);
    start_ticking(w);
}

void api_wait_unpark(struct api_call *call) {
    struct api_waiter *waiter = CS_TAKE(call->waiter);
    struct watch *watch = waiter->watch;
    if (waiter->slot > 0)
        watch->batch[waiter->slot - 1] = NULL;
    if (waiter->prev)
        waiter->prev->next = waiter->next;
    else
        watch->head = waiter->next;
    if (waiter->next)
        waiter->next->prev = waiter->prev;
    if (--watch->count == 0)
        watch->left_ms = now_ms(watch->all);
    watch->all->count--;
    cs_series_adjust(watch->all->api->waiting, -1);
    free(waiter);
}

// ---- looking

static void next_batch(struct watch *watch);

static void look_at(struct api_waiter *waiter, redisReply *const replies[2]) {
    struct api_call *call = waiter->call;
    struct watch *watch = waiter->watch;
    struct api_found found;
    struct cs_bytes docs[2];
    struct cs_err err;
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++) {
        cs_key member, key;
        cs_member_outcome(member, waiter->event, i == 0 ? CS_OUTCOME_OWN : CS_OUTCOME_AGAIN);
        ok = api_genuine_doc(call->api, watch->partition, cs_key_outcome(key, call->account, member),
                             replies[i], &docs[i], &err);
    }
    ok = ok && api_outcome_look(call, docs[0], docs[1], &found, &err);
    if (ok && !(found.exists && found.final))
        return;
    api_wait_unpark(call);
    if (ok)
        api_outcome_answer(call, found.doc);
    else
        api_not_genuine(call, watch->partition, watch->generation, &err);
    api_call_settle(call);
}

static void on_batch(const redisReply *reply, void *arg) {
    struct watch *watch = arg;
    int64_t *believed = &watch->all->api->generations[watch->partition];
    size_t keys = 2 * watch->batch_len;
    bool answered = api_elements(reply) == keys + 2;
    int64_t generation = answered ? api_generation(reply->element[keys]) : 0;
    bool same = answered && generation == watch->generation;
    uint64_t ignored;
    bool ok = same && api_is_fresh(watch->all->api, watch->partition, generation, &watch->seen,
                                   reply->element[keys + 1], &ignored);
    if (answered && generation > 0 && !same) {
        *believed = generation;
        watch->again = true; // the same again, with the other generation
    }
    for (size_t i = 0; i < watch->batch_len; i++) {
        struct api_waiter *waiter = watch->batch[i];
        if (!waiter)
            continue;
        waiter->slot = 0;
        if (ok)
            look_at(waiter, &reply->element[2 * i]);
    }
    watch->batch_len = 0;
    if (ok) {
        next_batch(watch);
        return;
    }
    watch->looking = false; // the next message, the backstop, or Redis' return looks again
    if (answered && watch->again)
        look(watch);
}

static void take_batch(struct watch *watch) {
    for (struct api_waiter *w = watch->head; w && watch->batch_len < BATCH; w = w->next) {
        if (w->pass == watch->pass)
            continue;
        w->pass = watch->pass;
        watch->batch[watch->batch_len++] = w;
        w->slot = watch->batch_len;
    }
}

static void drop_batch(struct watch *watch) {
    for (size_t i = 0; i < watch->batch_len; i++)
        watch->batch[i]->slot = 0;
    watch->batch_len = 0;
    watch->looking = false;
}

// Without their witnesses: an outcome never changes once it is final, so an old or a missing one only
// lets the call wait. At the end of its time it asks once more, with them (api_outcome_last).
static void next_batch(struct watch *watch) {
    struct cs_api *api = watch->all->api;
    take_batch(watch);
    if (watch->batch_len == 0) {
        watch->looking = false;
        if (watch->again)
            look(watch);
        return;
    }
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, API_COMMAND_MAX);
    watch->generation = api->generations[watch->partition];
    watch->seen = api_seen_now(api, watch->partition);
    cs_redis_put(&command, 2 * watch->batch_len + 3);
    cs_redis_put_text(&command, "MGET");
    for (size_t i = 0; i < watch->batch_len; i++)
        api_put_outcome_keys(&command, watch->batch[i]->call, watch->generation, watch->batch[i]->event);
    api_put_freshness_keys(&command, api, watch->partition, watch->generation);
    if (!cs_redis_pool_send(api->redis, watch->partition, &command, on_batch, watch))
        drop_batch(watch);
}

static void look(struct watch *watch) {
    int64_t now = now_ms(watch->all), since = now - watch->look_ms;
    if (watch->count == 0)
        return;
    if (watch->looking) {
        watch->again = true;
        return;
    }
    if (since < LOOK_GAP_MS) {
        cs_timer_reset(watch->due, LOOK_GAP_MS - since);
        return;
    }
    watch->looking = true;
    watch->again = false;
    watch->look_ms = now;
    watch->pass++;
    next_batch(watch);
}

static void on_due(void *arg) {
    look(arg);
}

void api_waits_redis(struct api_waits *w, bool ready) {
    for (int32_t p = 0; ready && p < w->watch_count; p++)
        look(&w->watches[p]);
}

// ---- time

static void expire(struct watch *watch, int64_t now) {
    for (struct api_waiter *w = watch->head, *next; w; w = next) {
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
    for (int32_t p = 0; p < w->watch_count; p++) {
        struct watch *watch = &w->watches[p];
        expire(watch, now);
        if (watch->count > 0) {
            want_channel(watch);
            if (backstop)
                look(watch);
        } else if (now - watch->left_ms >= LINGER_MS) {
            leave_channel(watch);
        }
        busy = busy || watch->count > 0 || watch->subscription != OFF;
    }
    w->ticking = false;
    if (busy)
        start_ticking(w);
}

// ---- life

static struct cs_timer *idle_timer(struct cs_loop *loop, void (*fn)(void *), void *arg) {
    // The timer must have a delay; nothing happens when it fires.
    return cs_timer_new(loop, TICK_MS, 0, fn, arg);
}

bool api_waits_new(struct cs_api *api, struct api_waits **ret, struct cs_err *err) {
    const struct cs_consumer *c = api->consumer;
    int32_t n = c->partition_count;
    struct api_waits *w = calloc(1, sizeof *w + (size_t)n * sizeof w->watches[0]);
    if (!w)
        return cs_err_oom(err);
    w->api = api;
    w->watch_count = n;
    // Some connections stay free for calls that do not wait.
    size_t threads = (size_t)cs_settings_api_threads(c->settings);
    w->max = (size_t)c->settings->api_max_connections / threads * 3 / 4 + 1;
    w->tick = idle_timer(api->loop, on_tick, w);
    bool ok = w->tick != NULL;
    for (int32_t p = 0; p < n; p++) {
        struct watch *watch = &w->watches[p];
        *watch = (struct watch){.all = w, .partition = p, .look_ms = now_ms(w) - LOOK_GAP_MS};
        watch->due = idle_timer(api->loop, on_due, watch);
        ok = ok && watch->due;
    }
    struct cs_redis_pool_options o = {.loop = api->loop,
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
    for (int32_t p = 0; p < w->watch_count; p++)
        while (w->watches[p].head) {
            struct api_call *call = w->watches[p].head->call;
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
    for (int32_t p = 0; p < w->watch_count; p++)
        cs_timer_free(w->watches[p].due);
    free(w);
}
