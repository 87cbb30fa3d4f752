// SPDX-License-Identifier: Apache-2.0
//
// A state's changes as few Redis commands: documents in MSET and UNLINK, index changes grouped by
// key, each run of additions or removals in one ZADD or ZREM. Internal to the Redis catalog.
#pragma once

#include "catalog/authentic.h"
#include "certsync/model/state.h"
#include "redis/link.h"

struct cs_redis_writer; // kept between commits for its memory
// authentic: borrowed; marks what is written.
CS_MUST_USE bool cs_redis_writer_new(struct cs_authentic *authentic, struct cs_redis_writer **ret,
                                     struct cs_err *err);
void cs_redis_writer_free(struct cs_redis_writer *w);
CS_DEFINE_AUTO(struct cs_redis_writer, cs_redis_writer_free)
// Appends the commands to l. prefix: "<namespace>:{<p>}:".
CS_MUST_USE bool cs_redis_writer_put(struct cs_redis_writer *w, struct cs_redis_link *l, const char *prefix,
                                     size_t prefix_len, int32_t partition, const struct cs_state *state,
                                     struct cs_err *err);
