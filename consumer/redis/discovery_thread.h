// SPDX-License-Identifier: Apache-2.0
//
// cs_redis_discover in a thread of its own, for a loop that must not block. The loop's thread asks,
// and looks again until the answer has come.
#pragma once

#include "redis/discover.h"

struct cs_redis_discovery;
// access is copied. What it borrows must outlive the discovery.
CS_MUST_USE bool cs_redis_discovery_new(const struct cs_redis_access *access, struct cs_redis_discovery **ret,
                                        struct cs_err *err);
// Waits for a question that is under way.
void cs_redis_discovery_free(struct cs_redis_discovery *d);
CS_DEFINE_AUTO(struct cs_redis_discovery, cs_redis_discovery_free)
// Begins to ask, unless it is asking already.
void cs_redis_discovery_ask(struct cs_redis_discovery *d);
bool cs_redis_discovery_asking(struct cs_redis_discovery *d);
// The map that was found since the last call; the caller owns it then. False: there is none. Then
// *ret_err, where it is not NULL, says why the last question failed (kind 0: it did not fail).
CS_MUST_USE bool cs_redis_discovery_take(struct cs_redis_discovery *d, struct cs_redis_map **ret,
                                         struct cs_err *ret_err);
