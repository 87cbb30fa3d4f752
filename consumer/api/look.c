// SPDX-License-Identifier: Apache-2.0
//
// What /readyz and the metrics tell of each partition's catalog: the oldest share that waits for an
// answer, and how many agents are heard of (catalog/heard.h). It asks every few seconds, one question
// at a time: first which generation of the catalog is live, then the ends of the indexes. The answers are
// short, however many shares and agents exist.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/internal.h"
#include "redis/key.h"

#define LOOK_EVERY_MS 3000

struct partition {
    struct api_look *all;
    int32_t number;
    bool asking;
    size_t question; // which of questions[] is under way
    int64_t generation;
    char since_ms[24]; // an agent that was last heard of before this is quiet
    struct cs_board_agents agents;
};

struct api_look {
    struct cs_api *api;
    struct cs_timer *timer;
    int32_t partition_count;
    struct partition partitions[];
};

// generation 0: beside the catalogs
static void put_index(struct cs_buf *command, const struct partition *partition, int64_t generation,
                      size_t words, const char *verb, const char *index) {
    cs_redis_put(command, words);
    cs_redis_put_text(command, verb);
    api_put_key_of(command, partition->all->api, partition->number, generation, index);
}

static void put_first(struct cs_buf *command, const struct partition *partition, int64_t generation,
                      const char *index) {
    put_index(command, partition, generation, 5, "ZRANGE", index);
    cs_redis_put_text(command, "0");
    cs_redis_put_text(command, "0");
    cs_redis_put_text(command, "WITHSCORES");
}

// The score of an index's first member. 0 without a member.
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

static void ask_generation(struct cs_buf *command, struct partition *partition) {
    cs_redis_put(command, 2);
    cs_redis_put_text(command, "GET");
    api_put_key_of(command, partition->all->api, partition->number, 0, CS_GENERATION_KEY);
}
static bool told_generation(const redisReply *reply, struct partition *partition) {
    partition->generation = api_generation(reply);
    return partition->generation > 0;
}

static void ask_share(struct cs_buf *command, struct partition *partition) {
    put_first(command, partition, partition->generation, cs_key_pending(CS_NEW_KEY));
}
static bool told_share(const redisReply *reply, struct partition *partition) {
    int64_t share_ms = 0;
    if (!first_score(reply, &share_ms))
        return false;
    cs_board_share(partition->all->api->consumer->board, partition->number, share_ms);
    return true;
}

static void ask_alive(struct cs_buf *command, struct partition *partition) {
    const struct cs_consumer *c = partition->all->api->consumer;
    snprintf(partition->since_ms, sizeof partition->since_ms, "%" PRId64,
             cs_clock_wall_ms(c->clock) - c->settings->api_quiet_after_ms);
    put_index(command, partition, 0, 4, "ZCOUNT", CS_BEATS_KEY);
    cs_redis_put_text(command, partition->since_ms);
    cs_redis_put_text(command, "+inf");
}
static bool told_alive(const redisReply *reply, struct partition *partition) {
    return number(reply, &partition->agents.alive);
}

static void ask_quiet(struct cs_buf *command, struct partition *partition) {
    char before[sizeof partition->since_ms + 1];
    snprintf(before, sizeof before, "(%s", partition->since_ms);
    put_index(command, partition, 0, 4, "ZCOUNT", CS_BEATS_KEY);
    cs_redis_put_text(command, "-inf");
    cs_redis_put_text(command, before);
}
static bool told_quiet(const redisReply *reply, struct partition *partition) {
    return number(reply, &partition->agents.quiet);
}

static void ask_oldest(struct cs_buf *command, struct partition *partition) {
    put_first(command, partition, 0, CS_BEATS_KEY);
}
static bool told_oldest(const redisReply *reply, struct partition *partition) {
    if (!first_score(reply, &partition->agents.oldest_ms))
        return false;
    partition->agents.known = true;
    cs_board_agents(partition->all->api->consumer->board, partition->number, &partition->agents);
    return true;
}

static const struct {
    void (*ask)(struct cs_buf *command, struct partition *partition);
    bool (*told)(const redisReply *reply, struct partition *partition); // false: this was no answer
} questions[] = {
    {ask_generation, told_generation}, {ask_share, told_share},   {ask_alive, told_alive},
    {ask_quiet, told_quiet},           {ask_oldest, told_oldest},
};

static void on_reply(const redisReply *reply, void *arg);

static void ask(struct partition *partition) {
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 512);
    questions[partition->question].ask(&command, partition);
    partition->asking =
        cs_redis_pool_send(partition->all->api->redis, partition->number, &command, on_reply, partition);
}

// Without an answer nothing changes. The next look begins from the start.
static void on_reply(const redisReply *reply, void *arg) {
    struct partition *partition = arg;
    partition->asking = false;
    if (reply && questions[partition->question].told(reply, partition) &&
        ++partition->question < CS_ARRAY_LEN(questions))
        ask(partition);
}

static void look(void *arg) {
    struct api_look *l = arg;
    for (int32_t i = 0; i < l->partition_count; i++) {
        struct partition *partition = &l->partitions[i];
        struct cs_board_entry e;
        cs_board_get(l->api->consumer->board, i, &e);
        if (partition->asking || e.state == CS_BOARD_ELSEWHERE)
            continue;
        partition->question = 0;
        ask(partition);
    }
}

bool api_look_new(struct cs_api *api, struct api_look **ret, struct cs_err *err) {
    int32_t n = api->consumer->partition_count;
    struct api_look *l = calloc(1, sizeof *l + (size_t)n * sizeof l->partitions[0]);
    if (!l)
        return cs_err_oom(err);
    l->api = api;
    l->partition_count = n;
    for (int32_t i = 0; i < n; i++)
        l->partitions[i] = (struct partition){.all = l, .number = i};
    l->timer = cs_timer_new(api->loop, LOOK_EVERY_MS, LOOK_EVERY_MS, look, l);
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
