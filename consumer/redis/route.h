// SPDX-License-Identifier: Apache-2.0
//
// The connections of one thread to the primaries: which one a partition's keys are at, found anew
// when it changed. The same for one server, sentinels and a cluster.
//
//     cs_redis_route_link(r, partition, &link, &err); … commands, cs_redis_send(link, &err);
//     cs_redis_route_finish(r, &replies, &n, &err);
//     for each error reply: cs_redis_route_refused(…)
//
// A primary that hangs costs its own partitions the timeout, the others of this thread at most a
// short trial every few seconds: what is asked of it meanwhile fails at once (RETRY).
#pragma once

#include "redis/access.h"
#include "redis/link.h"
#include "redis/slots.h"

struct cs_redis_route;
// access is copied, what it borrows must outlive the route. Connects to nobody yet.
CS_MUST_USE bool cs_redis_route_new(const struct cs_redis_access *access, struct cs_redis_route **ret,
                                    struct cs_err *err);
void cs_redis_route_free(struct cs_redis_route *r);
CS_DEFINE_AUTO(struct cs_redis_route, cs_redis_route_free)

// The connected link of the primary that holds the partition, ready for commands; valid until the
// next call of this or the next function. Blocks as cs_redis_connect and cs_redis_discover do.
// RETRY, CONFIG.
CS_MUST_USE bool cs_redis_route_link(struct cs_redis_route *r, int32_t partition, struct cs_redis_link **ret,
                                     struct cs_err *err);
// For what concerns every primary: asks who they are now (*ret_n of them), then the link of each.
CS_MUST_USE bool cs_redis_route_primaries(struct cs_redis_route *r, size_t *ret_n, struct cs_err *err);
CS_MUST_USE bool cs_redis_route_primary(struct cs_redis_route *r, size_t i, struct cs_redis_link **ret,
                                        struct cs_err *err);
// cs_redis_finish of the link that was given last.
CS_MUST_USE bool cs_redis_route_finish(struct cs_redis_route *r, redisReply *const **ret, size_t *ret_n,
                                       struct cs_err *err);
// Sets err from an error reply of that link, and learns from it where the keys are. *ret_moved
// true: the slot is at another primary now, the same can be asked there at once. A slot that is on
// its way (ASK, TRYAGAIN) is RETRY: a transaction needs all its keys at one node. Always false.
bool cs_redis_route_refused(struct cs_redis_route *r, const redisReply *reply, const char *what,
                            bool *ret_moved, struct cs_err *err);
