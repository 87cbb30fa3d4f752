// SPDX-License-Identifier: Apache-2.0
#include "worker/counting.h"

#include <stdlib.h>

#include "catalog/catalog.h"
#include "catalog/census.h"
#include "certsync/runtime/log.h"

struct cs_counting {
    const struct cs_consumer *c;
    struct cs_catalog *catalog; // for positions
    struct cs_census_taker *taker;
    struct cs_state *nothing;
};

bool cs_counting_new(const struct cs_consumer *c, struct cs_counting **ret, struct cs_err *err) {
    const char *name_space = c->settings->redis_namespace;
    CS_AUTO(cs_counting_free) struct cs_counting *n = calloc(1, sizeof *n);
    if (!n)
        return cs_err_oom(err);
    n->c = c;
    if (!cs_catalog_redis_new(&c->redis, name_space, c->service, c->log_id, &n->catalog, err) ||
        !cs_census_new(&c->redis, name_space, c->service, c->log_id, &n->taker, err) ||
        !cs_state_new(false, &n->nothing, err))
        return false;
    *ret = CS_TAKE(n);
    return true;
}

void cs_counting_free(struct cs_counting *n) {
    if (!n)
        return;
    cs_state_free(n->nothing);
    cs_census_free(n->taker);
    cs_catalog_free(n->catalog);
    free(n);
}

// The live generation, which has come as far as this process has seen it. 0: not so (err RETRY), or an error.
static int64_t generation_of(struct cs_counting *n, int32_t partition, struct cs_err *err) {
    struct cs_board_entry before;
    struct cs_position now;
    cs_board_get(n->c->board, partition, &before);
    if (!cs_catalog_load(n->catalog, partition, n->nothing, &now, err))
        return 0;
    n->catalog->ops->cancel(n->catalog);
    if (now.next_offset < before.next_offset) {
        cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "Redis holds less than was committed");
        return 0;
    }
    return n->catalog->ops->generation(n->catalog, partition);
}

static bool count(struct cs_counting *n, int32_t partition, struct cs_census *ret, struct cs_err *err) {
    int64_t generation = generation_of(n, partition, err);
    int64_t now_s = cs_clock_wall_ms(n->c->clock) / 1000;
    if (generation == 0 || !cs_census_take(n->taker, partition, generation, now_s, ret, err))
        return false;
    int64_t after = generation_of(n, partition, err);
    return after == generation ||
           (after != 0 && cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "another generation became live"));
}

// Where nothing is known, nothing is told: no number of before.
static void look_at(struct cs_counting *n, int32_t partition) {
    struct cs_board_certificates told = {.known = false};
    struct cs_board_entry e;
    struct cs_census census;
    struct cs_err err;
    cs_board_get(n->c->board, partition, &e);
    if (e.state == CS_BOARD_ELSEWHERE)
        return;
    if (e.state == CS_BOARD_RUNNING && count(n, partition, &census, &err)) {
        told = (struct cs_board_certificates){
            .known = true, .valid = census.valid, .expired = census.expired, .worker = e.owner};
        for (size_t i = 0; i < CS_CENSUS_WITHIN; i++)
            told.within[i] = census.within[i];
    } else if (e.state == CS_BOARD_RUNNING && err.kind != CS_ERR_RETRY) {
        cs_log_err(CS_LOG_WARN, "certificates are not counted", &err, "partition=%d", (int)partition);
    }
    cs_board_certificates(n->c->board, partition, &told);
}

void cs_counting_look(struct cs_counting *n) {
    for (int32_t p = 0; p < n->c->partition_count; p++)
        look_at(n, p);
}
