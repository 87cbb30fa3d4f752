// SPDX-License-Identifier: Apache-2.0
//
// One thread's connections to the primaries. It finds the one with a partition's keys, and finds it
// again after a change. The same for one server, sentinels and a cluster.
//
//     cs_redis_route_link(r, partition, &link, &err); … commands, cs_redis_send(link, &err);
//     cs_redis_route_finish(r, &replies, &n, &err);
//     for each error reply: cs_redis_route_refused(…)
//
// A primary that hangs costs its own partitions the timeout. The thread's other partitions lose at
// most a short trial every few seconds: questions to the hanging one fail at once meanwhile
// (RETRY).
#pragma once

#include "redis/access.h"
#include "redis/link.h"
#include "redis/slots.h"

struct cs_redis_route;
// access is copied. What it borrows must outlive the route. Does not connect yet.
CS_MUST_USE bool cs_redis_route_new(const struct cs_redis_access *access, struct cs_redis_route **ret,
                                    struct cs_err *err);
void cs_redis_route_free(struct cs_redis_route *r);
CS_DEFINE_AUTO(struct cs_redis_route, cs_redis_route_free)

// The connected link of the partition's primary, ready for commands. Valid until the next call of
// this function or the next one. Blocks as cs_redis_connect and cs_redis_discover do. RETRY,
// CONFIG.
CS_MUST_USE bool cs_redis_route_link(struct cs_redis_route *r, int32_t partition, struct cs_redis_link **ret,
                                     struct cs_err *err);
// For work on every primary: asks which they are now (*ret_n of them), then gives the link of each.
CS_MUST_USE bool cs_redis_route_primaries(struct cs_redis_route *r, size_t *ret_n, struct cs_err *err);
CS_MUST_USE bool cs_redis_route_primary(struct cs_redis_route *r, size_t i, struct cs_redis_link **ret,
                                        struct cs_err *err);
// cs_redis_finish of the link that was given last.
CS_MUST_USE bool cs_redis_route_finish(struct cs_redis_route *r, redisReply *const **ret, size_t *ret_n,
                                       struct cs_err *err);
// Sets err from an error reply of that link, and learns from it where the keys are. *ret_moved
// true: the slot is at another primary now; ask the same there at once. A slot on its way (ASK,
// TRYAGAIN) is RETRY: a transaction needs all its keys at one node. Always false.
bool cs_redis_route_refused(struct cs_redis_route *r, const redisReply *reply, const char *what,
                            bool *ret_moved, struct cs_err *err);
