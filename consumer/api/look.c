// SPDX-License-Identifier: Apache-2.0
//
// What /readyz and the metrics tell of each partition's catalog: the oldest share that waits for an answer, and
// how many agents are heard of. Looked up every few seconds, a question at a time: first which generation of the
// catalog is live, then the ends of its indexes. However many shares and agents there are, the answers are short.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/internal.h"
#include "redis/key.h"

#define LOOK_EVERY_MS 3000

struct lane {
    struct api_look *all;
    int32_t partition;
    bool asking;
    size_t question; // which of questions[] is under way
    int64_t generation;
    char since_ms[24]; // who was heard of before this is quiet
    struct cs_board_agents agents;
};

struct api_look {
    struct cs_api *api;
    struct cs_timer *timer;
    int32_t lane_count;
    struct lane lanes[];
};

static void put_index(struct cs_buf *command, const struct lane *lane, size_t words, const char *verb,
                      const char *index) {
    cs_redis_put(command, words);
    cs_redis_put_text(command, verb);
    api_put_key_of(command, lane->all->api, lane->partition, lane->generation, index);
}

static void put_first(struct cs_buf *command, const struct lane *lane, const char *index) {
    put_index(command, lane, 5, "ZRANGE", index);
    cs_redis_put_text(command, "0");
    cs_redis_put_text(command, "0");
    cs_redis_put_text(command, "WITHSCORES");
}

// The score of an index's first member; 0 where it has none.
static bool first_score(const redisReply *reply, int64_t *ret) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return false;
    *ret = reply->elements == 2 ? (int64_t)strtod(reply->element[1]->str, NULL) : 0;
    return true;
}

static bool number(const redisReply *reply, int64_t *ret) {
    if (reply->type != REDIS_REPLY_INTEGER)
        return false;
    *ret = reply->integer;
    return true;
}

static void ask_generation(struct cs_buf *command, struct lane *lane) {
    cs_redis_put(command, 2);
    cs_redis_put_text(command, "GET");
    api_put_key_of(command, lane->all->api, lane->partition, 0, CS_GENERATION_KEY);
}
static bool told_generation(const redisReply *reply, struct lane *lane) {
    lane->generation = api_generation(reply);
    return lane->generation > 0;
}

static void ask_share(struct cs_buf *command, struct lane *lane) {
    put_first(command, lane, cs_key_pending(CS_NEW_KEY));
}
static bool told_share(const redisReply *reply, struct lane *lane) {
    int64_t share_ms = 0;
    if (!first_score(reply, &share_ms))
        return false;
    cs_board_share(lane->all->api->consumer->board, lane->partition, share_ms);
    return true;
}

static void ask_alive(struct cs_buf *command, struct lane *lane) {
    const struct cs_consumer *c = lane->all->api->consumer;
    snprintf(lane->since_ms, sizeof lane->since_ms, "%" PRId64,
             cs_clock_wall_ms(c->clock) - c->settings->api_quiet_after_ms);
    put_index(command, lane, 4, "ZCOUNT", cs_key_heartbeats(CS_NEW_KEY));
    cs_redis_put_text(command, lane->since_ms);
    cs_redis_put_text(command, "+inf");
}
static bool told_alive(const redisReply *reply, struct lane *lane) {
    return number(reply, &lane->agents.alive);
}

static void ask_quiet(struct cs_buf *command, struct lane *lane) {
    char before[sizeof lane->since_ms + 1];
    snprintf(before, sizeof before, "(%s", lane->since_ms);
    put_index(command, lane, 4, "ZCOUNT", cs_key_heartbeats(CS_NEW_KEY));
    cs_redis_put_text(command, "-inf");
    cs_redis_put_text(command, before);
}
static bool told_quiet(const redisReply *reply, struct lane *lane) {
    return number(reply, &lane->agents.quiet);
}

static void ask_oldest(struct cs_buf *command, struct lane *lane) {
    put_first(command, lane, cs_key_heartbeats(CS_NEW_KEY));
}
static bool told_oldest(const redisReply *reply, struct lane *lane) {
    if (!first_score(reply, &lane->agents.oldest_ms))
        return false;
    lane->agents.known = true;
    cs_board_agents(lane->all->api->consumer->board, lane->partition, &lane->agents);
    return true;
}

static const struct {
    void (*ask)(struct cs_buf *command, struct lane *lane);
    bool (*told)(const redisReply *reply, struct lane *lane); // false: that was no answer
} questions[] = {
    {ask_generation, told_generation}, {ask_share, told_share},   {ask_alive, told_alive},
    {ask_quiet, told_quiet},           {ask_oldest, told_oldest},
};

static void on_reply(const redisReply *reply, void *arg);

static void ask(struct lane *lane) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 512);
    questions[lane->question].ask(&command, lane);
    lane->asking = cs_redis_pool_send(lane->all->api->redis, lane->partition, &command, on_reply, lane);
}

// Where there is no answer nothing is known anew; the next look begins from the start.
static void on_reply(const redisReply *reply, void *arg) {
    struct lane *lane = arg;
    lane->asking = false;
    if (reply && questions[lane->question].told(reply, lane) && ++lane->question < CS_ARRAY_LEN(questions))
        ask(lane);
}

static void look(void *arg) {
    struct api_look *l = arg;
    for (int32_t i = 0; i < l->lane_count; i++) {
        struct lane *lane = &l->lanes[i];
        struct cs_board_entry e;
        cs_board_get(l->api->consumer->board, i, &e);
        if (lane->asking || e.state == CS_BOARD_ELSEWHERE)
            continue;
        lane->question = 0;
        ask(lane);
    }
}

bool api_look_new(struct cs_api *api, struct api_look **ret, struct cs_err *err) {
    int32_t n = api->consumer->partition_count;
    struct api_look *l = calloc(1, sizeof *l + (size_t)n * sizeof l->lanes[0]);
    if (!l)
        return cs_err_oom(err);
    l->api = api;
    l->lane_count = n;
    for (int32_t i = 0; i < n; i++)
        l->lanes[i] = (struct lane){.all = l, .partition = i};
    l->timer = cs_timer_new(api->consumer->loop, LOOK_EVERY_MS, LOOK_EVERY_MS, look, l);
    if (!l->timer) {
        free(l);
        return cs_err_oom(err);
    }
    *ret = l;
    return true;
}

void api_look_free(struct api_look *l) {
    if (!l)
        return;
    cs_timer_free(l->timer);
    free(l);
}
