// SPDX-License-Identifier: Apache-2.0
//
// The oldest share of each partition that waits for an answer, for /readyz and the metrics: looked up every few
// seconds, first which generation of the catalog is live, then the first member of its index.
#include <stdlib.h>

#include "api_internal.h"

#define LOOK_EVERY_MS 3000

struct lane {
    struct api_pending *all;
    int32_t partition;
    bool asking;
};

struct api_pending {
    struct cs_api *api;
    struct cs_timer *timer;
    int32_t lane_count;
    struct lane lanes[];
};

static void on_oldest(const redisReply *reply, void *arg) {
    struct lane *lane = arg;
    struct cs_board *board = lane->all->api->consumer->board;
    lane->asking = false;
    if (!reply || reply->type != REDIS_REPLY_ARRAY)
        return; // nothing is known anew
    int64_t since_ms = reply->elements == 2 ? (int64_t)strtod(reply->element[1]->str, NULL) : 0;
    cs_board_share(board, lane->partition, since_ms);
}

static void on_generation(const redisReply *reply, void *arg) {
    struct lane *lane = arg;
    struct cs_api *api = lane->all->api;
    int64_t generation = api_generation(reply);
    CS_AUTO(cs_buf_clear) struct cs_buf command;
    cs_buf_init(&command, 512);
    cs_redis_put(&command, 5);
    cs_redis_put_text(&command, "ZRANGE");
    api_put_key_of(&command, api, lane->partition, generation, "pending");
    cs_redis_put_text(&command, "0");
    cs_redis_put_text(&command, "0");
    cs_redis_put_text(&command, "WITHSCORES");
    lane->asking =
        generation > 0 && cs_redis_pool_send(api->redis, lane->partition, &command, on_oldest, lane);
}

static void look(void *arg) {
    struct api_pending *p = arg;
    for (int32_t i = 0; i < p->lane_count; i++) {
        struct lane *lane = &p->lanes[i];
        struct cs_board_entry e;
        cs_board_get(p->api->consumer->board, i, &e);
        if (lane->asking || e.state == CS_BOARD_ELSEWHERE)
            continue;
        CS_AUTO(cs_buf_clear) struct cs_buf command;
        cs_buf_init(&command, 512);
        cs_redis_put(&command, 2);
        cs_redis_put_text(&command, "GET");
        api_put_key_of(&command, p->api, i, 0, "gen");
        lane->asking = cs_redis_pool_send(p->api->redis, i, &command, on_generation, lane);
    }
}

bool api_pending_new(struct cs_api *api, struct api_pending **ret, struct cs_err *err) {
    int32_t n = api->consumer->partition_count;
    struct api_pending *p = calloc(1, sizeof *p + (size_t)n * sizeof p->lanes[0]);
    if (!p)
        return cs_err_oom(err);
    p->api = api;
    p->lane_count = n;
    for (int32_t i = 0; i < n; i++)
        p->lanes[i] = (struct lane){.all = p, .partition = i};
    p->timer = cs_timer_new(api->consumer->loop, LOOK_EVERY_MS, LOOK_EVERY_MS, look, p);
    if (!p->timer) {
        free(p);
        return cs_err_oom(err);
    }
    *ret = p;
    return true;
}

void api_pending_free(struct api_pending *p) {
    if (!p)
        return;
    cs_timer_free(p->timer);
    free(p);
}
