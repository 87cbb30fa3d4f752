// SPDX-License-Identifier: Apache-2.0
//
// Generations in Redis: which there are, claim, lease, promote, and the empty one that replaces a
// damaged one.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "catalog/redis_internal.h"
#include "certsync/base/text.h"

#define CLAIM_ATTEMPTS 5

bool cs_redis_ask(struct redis_catalog *c, const char *what, redisReply *const **ret, size_t *ret_n,
                  struct cs_err *err) {
    if (!cs_redis_send(c->link, err) || !cs_redis_route_finish(c->route, ret, ret_n, err))
        return false;
    for (size_t i = 0; i < *ret_n; i++)
        if ((*ret)[i]->type == REDIS_REPLY_ERROR)
            return cs_redis_refused(c, (*ret)[i], what, err);
    return true;
}

bool cs_redis_read_generation(const redisReply *r, int64_t absent, int64_t *ret, struct cs_err *err) {
    char *end = NULL;
    if (r->type == REDIS_REPLY_NIL) {
        *ret = absent;
        return true;
    }
    long long n = r->type == REDIS_REPLY_STRING ? strtoll(r->str, &end, 10) : 0;
    if (n < 1 || !end || *end)
        return cs_err_set(err, CS_ERR_DAMAGED, CS_CODE_NONE,
                          "the catalog in Redis is damaged: it holds no number of a generation where one "
                          "should be (\"gen\" or \"next\"). Something else wrote to Redis");
    *ret = n;
    return true;
}

const char *cs_redis_fence_key(const struct redis_catalog *c) {
    switch (c->stand) {
    case CS_ON_LIVE:
        return CS_GENERATION_KEY;
    case CS_ON_NEXT:
        return CS_NEXT_KEY;
    case CS_ON_CLAIMED:
        return CS_CLAIM_KEY;
    }
    return CS_GENERATION_KEY;
}

bool cs_redis_fence_check(struct redis_catalog *c, const redisReply *fence, bool *ret_holds,
                          struct cs_err *err) {
    int64_t n = 0;
    if (c->stand == CS_ON_CLAIMED) {
        struct cs_bytes value = cs_redis_reply_bytes(fence);
        *ret_holds = value.len == strlen(c->token) && memcmp(value.data, c->token, value.len) == 0;
        return true;
    }
    if (!cs_redis_read_generation(fence, c->stand == CS_ON_LIVE ? 1 : 0, &n, err))
        return false;
    if (n == 0)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "there is no rebuilt catalog of partition %d; make one with: certsync-consumer rebuild",
            (int)c->partition);
    // A handle that knows nothing yet has read the first generation.
    int64_t believed = c->known[c->partition] ? c->known[c->partition] : 1;
    *ret_holds = n == believed;
    c->known[c->partition] = n;
    return true;
}

int64_t cs_redis_catalog_generation(const struct cs_catalog *base, int32_t partition) {
    const struct redis_catalog *c = (const struct redis_catalog *)base;
    return (size_t)partition < c->known_cap ? c->known[partition] : 0;
}

static void forget(struct redis_catalog *c) {
    if (c->known)
        memset(c->known, 0, c->known_cap * sizeof *c->known);
}

void cs_redis_catalog_view(struct cs_catalog *base, enum cs_catalog_view view) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    base->ops->cancel(base);
    c->stand = view == CS_VIEW_LIVE ? CS_ON_LIVE : CS_ON_NEXT;
    forget(c);
}

static void put_position_of(struct redis_catalog *c, int64_t generation) {
    char prefix[CS_PREFIX_MAX];
    size_t len = cs_redis_prefix(prefix, c->name_space, c->partition, generation);
    cs_redis_arg_joined(c->link, prefix, len, CS_POSITION_KEY);
}

// WATCH and MGET of the keys that describe the generations. replies[1] has gen, next and claim, in
// this order.
static bool watch_generations(struct redis_catalog *c, redisReply *const **ret, size_t *ret_n,
                              struct cs_err *err) {
    if (!cs_redis_open(c, err))
        return false;
    for (size_t i = 0; i < 2; i++) {
        cs_redis_command(c->link, 4);
        cs_redis_arg_text(c->link, i == 0 ? "WATCH" : "MGET");
        cs_redis_put_slot_key(c, CS_GENERATION_KEY);
        cs_redis_put_slot_key(c, CS_NEXT_KEY);
        cs_redis_put_slot_key(c, CS_CLAIM_KEY);
    }
    cs_redis_command(c->link, 2);
    cs_redis_arg_text(c->link, "PTTL");
    cs_redis_put_slot_key(c, CS_CLAIM_KEY);
    c->watching = true;
    return cs_redis_ask(c, "look at the generations", ret, ret_n, err);
}

// The live generation is looked at only to be replaced. A damaged position stands nowhere: whatever
// was made again is further.
static bool read_live_position(struct redis_catalog *c, const redisReply *r, struct cs_position *ret,
                               struct cs_err *err) {
    if (cs_redis_read_position(c, r, ret, err))
        return true;
    *ret = (struct cs_position){0};
    return err->kind == CS_ERR_DAMAGED;
}

bool cs_redis_catalog_generations(struct cs_catalog *base, int32_t partition, struct cs_generations *ret,
                                  struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    struct cs_generations g = {0};
    base->ops->cancel(base);
    if (!cs_redis_stand(c, partition, err) || !watch_generations(c, &replies, &n, err) ||
        !cs_redis_read_generation(replies[1]->element[0], 1, &g.live, err) ||
        !cs_redis_read_generation(replies[1]->element[1], 0, &g.next, err))
        return false;
    base->ops->cancel(base);
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_command(c->link, g.next ? 3 : 2);
    cs_redis_arg_text(c->link, "MGET");
    put_position_of(c, g.live);
    if (g.next)
        put_position_of(c, g.next);
    if (!cs_redis_ask(c, "read the positions", &replies, &n, err) ||
        !read_live_position(c, replies[0]->element[0], &g.live_position, err) ||
        (g.next && !cs_redis_read_position(c, replies[0]->element[1], &g.next_position, err)))
        return false;
    *ret = g;
    return true;
}

static bool make_token(struct redis_catalog *c, struct cs_err *err) {
    uint8_t random[(CS_CLAIM_TOKEN_SIZE - 1) / 2];
    if (c->token[0])
        return true;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the kernel gives no random bytes");
    cs_hex_encode(random, sizeof random, c->token);
    return true;
}

static void put_claim(struct redis_catalog *c, int64_t generation, int64_t lease_ms) {
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "MULTI");
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "SET");
    cs_redis_put_slot_key(c, CS_NEXT_KEY);
    cs_redis_arg_int(c->link, generation);
    cs_redis_command(c->link, 5);
    cs_redis_arg_text(c->link, "SET");
    cs_redis_put_slot_key(c, CS_CLAIM_KEY);
    cs_redis_arg_text(c->link, c->token);
    cs_redis_arg_text(c->link, "PX");
    cs_redis_arg_int(c->link, lease_ms);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
}

struct claim {
    int64_t generation;
    int64_t lease_ms;
    int64_t left_ms; // of another's lease
    bool claimed, again;
};

static bool try_claim(struct redis_catalog *c, struct claim *claim, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    int64_t live = 0;
    claim->again = false;
    if (!watch_generations(c, &replies, &n, err) ||
        !cs_redis_read_generation(replies[1]->element[0], 1, &live, err))
        return false;
    if (claim->generation <= live)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "generation %" PRId64 " of partition %d is live, or was", claim->generation,
                          (int)c->partition);
    struct cs_bytes holder = cs_redis_reply_bytes(replies[1]->element[2]);
    if (holder.data && (holder.len != strlen(c->token) || memcmp(holder.data, c->token, holder.len) != 0)) {
        claim->left_ms = replies[2]->type == REDIS_REPLY_INTEGER ? replies[2]->integer : 0;
        return true;
    }
    if (!cs_redis_go_on(c, err))
        return false;
    put_claim(c, claim->generation, claim->lease_ms);
    c->watching = false;
    if (!cs_redis_ask(c, "claim the next generation", &replies, &n, err))
        return false;
    claim->again = replies[n - 1]->type == REDIS_REPLY_NIL;
    claim->claimed = !claim->again;
    return true;
}

bool cs_redis_catalog_claim(struct cs_catalog *base, int32_t partition, int64_t generation, int64_t lease_ms,
                            bool *ret_claimed, int64_t *ret_left_ms, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    struct claim claim = {.generation = generation, .lease_ms = lease_ms, .again = true};
    base->ops->cancel(base);
    if (!cs_redis_stand(c, partition, err) || !make_token(c, err))
        return false;
    for (int i = 0; claim.again && i < CLAIM_ATTEMPTS; i++)
        if (!try_claim(c, &claim, err))
            return false;
    base->ops->cancel(base);
    *ret_claimed = claim.claimed;
    *ret_left_ms = claim.left_ms;
    if (!claim.claimed)
        return true;
    if (c->stand != CS_ON_CLAIMED)
        forget(c);
    c->stand = CS_ON_CLAIMED;
    c->lease_ms = lease_ms;
    c->known[partition] = claim.generation;
    return true;
}

bool cs_redis_catalog_release(struct cs_catalog *base, int32_t partition, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    bool mine = false;
    base->ops->cancel(base);
    if (c->stand != CS_ON_CLAIMED)
        return true;
    if (!cs_redis_stand(c, partition, err) || !watch_generations(c, &replies, &n, err) ||
        !cs_redis_fence_check(c, replies[1]->element[2], &mine, err))
        return false;
    if (!mine || !cs_redis_go_on(c, err)) {
        base->ops->cancel(base);
        return !mine;
    }
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "MULTI");
    cs_redis_command(c->link, 2);
    cs_redis_arg_text(c->link, "UNLINK");
    cs_redis_put_slot_key(c, CS_CLAIM_KEY);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
    c->watching = false;
    return cs_redis_ask(c, "give a claim back", &replies, &n, err);
}

// WATCH of both positions. The generations are watched already. *ret_same: they are as given.
static bool watch_positions(struct redis_catalog *c, int64_t live_generation, const struct cs_position *live,
                            const struct cs_position *next, bool *ret_same, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    struct cs_position is_live;
    struct cs_position is_next;
    if (!cs_redis_go_on(c, err))
        return false;
    for (size_t i = 0; i < 2; i++) {
        cs_redis_command(c->link, 3);
        cs_redis_arg_text(c->link, i == 0 ? "WATCH" : "MGET");
        put_position_of(c, live_generation);
        cs_redis_put_key(c, CS_POSITION_KEY);
    }
    if (!cs_redis_ask(c, "watch the positions", &replies, &n, err) ||
        !read_live_position(c, replies[1]->element[0], &is_live, err) ||
        !cs_redis_read_position(c, replies[1]->element[1], &is_next, err))
        return false;
    *ret_same = cs_position_equal(&is_live, live) && cs_position_equal(&is_next, next);
    return true;
}

static bool switch_over(struct redis_catalog *c, const struct cs_position *next, bool *ret_moved,
                        struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (!cs_redis_go_on(c, err))
        return false;
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "MULTI");
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "SET");
    cs_redis_put_slot_key(c, CS_GENERATION_KEY);
    cs_redis_arg_int(c->link, c->known[c->partition]);
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "UNLINK");
    cs_redis_put_slot_key(c, CS_NEXT_KEY);
    cs_redis_put_slot_key(c, CS_CLAIM_KEY);
    cs_redis_command(c->link, 3);
    cs_redis_arg_text(c->link, "PUBLISH");
    cs_redis_put_slot_key(c, CS_MOVED_CHANNEL);
    cs_redis_arg_int(c->link, next->outcomes);
    cs_redis_command(c->link, 1);
    cs_redis_arg_text(c->link, "EXEC");
    c->watching = false;
    if (!cs_redis_ask(c, "promote a generation", &replies, &n, err))
        return false;
    *ret_moved = replies[n - 1]->type == REDIS_REPLY_NIL;
    return true;
}

bool cs_redis_catalog_promote(struct cs_catalog *base, int32_t partition, const struct cs_position *live,
                              const struct cs_position *next, bool *ret_moved, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    int64_t live_generation = 0;
    int64_t next_generation = 0;
    bool mine = false;
    bool same = false;
    base->ops->cancel(base);
    *ret_moved = true;
    if (c->stand != CS_ON_CLAIMED)
        return true;
    if (!cs_redis_stand(c, partition, err) || !watch_generations(c, &replies, &n, err) ||
        !cs_redis_read_generation(replies[1]->element[0], 1, &live_generation, err) ||
        !cs_redis_read_generation(replies[1]->element[1], 0, &next_generation, err) ||
        !cs_redis_fence_check(c, replies[1]->element[2], &mine, err))
        return false;
    if (mine && next_generation == c->known[partition] &&
        !watch_positions(c, live_generation, live, next, &same, err))
        return false;
    if (same)
        return switch_over(c, next, ret_moved, err);
    base->ops->cancel(base);
    return true;
}

// A number that cannot be read is damage, too, and is written over: nobody knows of a newer one.
static bool read_or(const redisReply *r, int64_t absent, int64_t unreadable, int64_t *ret,
                    struct cs_err *err) {
    if (cs_redis_read_generation(r, absent, ret, err))
        return true;
    *ret = unreadable;
    return err->kind == CS_ERR_DAMAGED;
}

bool cs_redis_catalog_renew(struct cs_catalog *base, int32_t partition, int64_t generation, bool *ret_moved,
                            struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    redisReply *const *replies = NULL;
    size_t n = 0;
    int64_t live = 0;
    int64_t next = 0;
    base->ops->cancel(base);
    if (!cs_redis_stand(c, partition, err) || !watch_generations(c, &replies, &n, err) ||
        !read_or(replies[1]->element[0], 1, generation, &live, err) ||
        !read_or(replies[1]->element[1], 0, 0, &next, err))
        return false;
    *ret_moved = live != generation;
    if (*ret_moved) {
        base->ops->cancel(base);
        return true;
    }
    c->known[partition] = (next > live ? next : live) + 1;
    return switch_over(c, &(struct cs_position){0}, ret_moved, err);
}
