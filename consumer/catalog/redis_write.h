// SPDX-License-Identifier: Apache-2.0
//
// A state's changes as few Redis commands: documents in MSET and UNLINK, indexes (redis_index.h),
// and the witnesses of both. Internal to the Redis catalog.
#pragma once

#include "catalog/packed.h"
#include "catalog/redis_index.h"

struct cs_redis_writer; // kept between commits for its memory
// Both are borrowed: authentic marks what is written, packer gives documents the form that is stored.
CS_MUST_USE bool cs_redis_writer_new(struct cs_authentic *authentic, struct cs_packer *packer,
                                     struct cs_redis_writer **ret, struct cs_err *err);
void cs_redis_writer_free(struct cs_redis_writer *w);
CS_DEFINE_AUTO(struct cs_redis_writer, cs_redis_writer_free)
// Takes the changes. The state must stay as it is until the last was put.
CS_MUST_USE bool cs_redis_writer_take(struct cs_redis_writer *w, int32_t partition,
                                      const struct cs_state *state, struct cs_err *err);
// Appends what must be asked first; *ret_n commands, which may be 0. Their answers go to _told.
void cs_redis_writer_ask(const struct cs_redis_writer *w, const struct cs_redis_place *at, size_t *ret_n);
CS_MUST_USE bool cs_redis_writer_told(struct cs_redis_writer *w, int32_t partition,
                                      redisReply *const *replies, struct cs_err *err);
// Appends the commands: the changes, and the position (empty: none). first: the generation has nothing yet.
CS_MUST_USE bool cs_redis_writer_put(struct cs_redis_writer *w, const struct cs_redis_place *to,
                                     struct cs_bytes position, bool first, struct cs_err *err);
