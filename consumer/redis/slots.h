// SPDX-License-Identifier: Apache-2.0
//
// Which primary holds what: the hash slots of Redis Cluster, and the map from slots to primaries
// (https://redis.io/docs/reference/cluster-spec/). For one server, or the primary that sentinels
// name, the map gives it every slot. Pure: nothing is asked here.
#pragma once

#include <hiredis/hiredis.h>

#include "redis/target.h"

#define CS_REDIS_SLOTS 16384

// CRC16 as the specification has it: XMODEM, polynomial 0x1021, beginning with 0.
uint16_t cs_redis_crc16(const char *data, size_t len);
// The slot of a key. It hashes what stands between its first '{' and the next '}', or the whole key
// if that is empty or missing.
uint16_t cs_redis_slot_of_key(const char *key, size_t len);
// The slot of all keys of a partition: their hash tag is its number.
uint16_t cs_redis_slot_of_partition(int32_t partition);

struct cs_redis_map; // owned by its maker; not for two threads
CS_MUST_USE bool cs_redis_map_new(struct cs_redis_map **ret, struct cs_err *err);
void cs_redis_map_free(struct cs_redis_map *m);
CS_DEFINE_AUTO(struct cs_redis_map, cs_redis_map_free)
CS_MUST_USE bool cs_redis_map_copy(const struct cs_redis_map *m, struct cs_redis_map **ret,
                                   struct cs_err *err);
// The primaries, in the order of learning them.
size_t cs_redis_map_len(const struct cs_redis_map *m);
const struct cs_redis_target *cs_redis_map_at(const struct cs_redis_map *m, size_t i);
// Index of the primary of a slot; -1: none is known.
int cs_redis_map_of_slot(const struct cs_redis_map *m, uint16_t slot);
// One primary for everything.
CS_MUST_USE bool cs_redis_map_set_one(struct cs_redis_map *m, const struct cs_redis_target *t,
                                      struct cs_err *err);
// From the answer of `from` to CLUSTER SLOTS. The nodes are reached in the same way (transport).
// RETRY if the answer has another form, or names nobody.
CS_MUST_USE bool cs_redis_map_set_slots(struct cs_redis_map *m, const redisReply *slots,
                                        const struct cs_redis_target *from, struct cs_err *err);

// "MOVED 3999 127.0.0.1:6381" or "ASK 3999 [::1]:6381": an empty host is the one that answered.
struct cs_redis_redirect {
    bool ask;
    uint16_t slot;
    struct cs_redis_target to;
};
bool cs_redis_redirect_parse(const char *error, const struct cs_redis_target *from,
                             struct cs_redis_redirect *ret);
// What a MOVED says. It holds until the whole map is read again.
CS_MUST_USE bool cs_redis_map_move(struct cs_redis_map *m, const struct cs_redis_redirect *moved,
                                   struct cs_err *err);
bool cs_redis_target_equal(const struct cs_redis_target *a, const struct cs_redis_target *b);
