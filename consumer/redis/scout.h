// SPDX-License-Identifier: Apache-2.0
//
// cs_redis_discover in a thread of its own, for a loop that must not block: asked for in the loop's
// thread, and looked at there until the answer has come.
#pragma once

#include "redis/discover.h"

struct cs_redis_scout;
// access is copied, what it borrows must outlive the scout.
CS_MUST_USE bool cs_redis_scout_new(const struct cs_redis_access *access, struct cs_redis_scout **ret,
                                    struct cs_err *err);
// Waits for a question that is under way.
void cs_redis_scout_free(struct cs_redis_scout *s);
CS_DEFINE_AUTO(struct cs_redis_scout, cs_redis_scout_free)
// Begins to ask, unless it is asking already.
void cs_redis_scout_ask(struct cs_redis_scout *s);
bool cs_redis_scout_asking(struct cs_redis_scout *s);
// The map that was found since the last call, which is the caller's then. False: none, and
// *ret_err, where it is not NULL, says why where the last question failed (kind 0: it did not).
CS_MUST_USE bool cs_redis_scout_take(struct cs_redis_scout *s, struct cs_redis_map **ret,
                                     struct cs_err *ret_err);
