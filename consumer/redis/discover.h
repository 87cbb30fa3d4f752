// SPDX-License-Identifier: Apache-2.0
//
// Asks where the primaries are: sentinels with SENTINEL get-master-addr-by-name
// (https://redis.io/docs/reference/sentinel-clients/), nodes of a cluster with CLUSTER SLOTS.
// Blocks: at most a second or two for each address that it tries, and some seconds in all.
#pragma once

#include "redis/access.h"
#include "redis/slots.h"

// known: the last map, whose primaries are asked as well; may be NULL. turn: a number that differs
// from call to call, so that it does not always believe the same server. RETRY if nobody could
// tell. CONFIG if they are not what redis.mode says.
CS_MUST_USE bool cs_redis_discover(const struct cs_redis_access *a, const struct cs_redis_map *known,
                                   unsigned turn, struct cs_redis_map **ret, struct cs_err *err);
