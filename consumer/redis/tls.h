// SPDX-License-Identifier: Apache-2.0
//
// TLS to Redis, and why a connection broke.
//
// hiredis has TLS from 1.0 on. In a build with an older one cs_redis_target_parse refuses
// rediss://, and cs_redis_tls_begin does nothing.
//
// When a TLS connection breaks, hiredis says what errno holds. Mostly that is 0: "Success". OpenSSL
// knows the reason. So ask cs_redis_why, and do not read errstr.
#pragma once

#include <hiredis/hiredis.h>

#include "certsync/base/err.h"
#include "redis/target.h"

struct ssl_ctx_st; // OpenSSL's SSL_CTX

// Begins TLS on a connection that was just made. Does nothing if the target has no TLS. ca_file: ""
// means the system's CAs. Sets c->privdata. *kept is NULL at first. It is made anew for each
// connection, because the CA file may have changed. If that file cannot be used, the old one is.
// Free it with cs_redis_tls_free. CONFIG: the CA file; RETRY: the peer.
CS_MUST_USE bool cs_redis_tls_begin(redisContext *c, const struct cs_redis_target *target,
                                    const char *ca_file, struct ssl_ctx_st **kept, struct cs_err *err);
void cs_redis_tls_free(struct ssl_ctx_st *kept);

// c->errstr. If TLS failed, it is OpenSSL's reason. Valid as long as c.
// Empties the thread's OpenSSL error queue. hiredis reads that queue for the next connection, too,
// and an old error in it would fail that one.
const char *cs_redis_why(redisContext *c);
