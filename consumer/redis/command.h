// SPDX-License-Identifier: Apache-2.0
//
// Commands for Redis, written into a buffer (RESP2): the number of arguments first, then each.
#pragma once

#include "certsync/base/buf.h"

void cs_redis_put(struct cs_buf *command, size_t args);
void cs_redis_put_arg(struct cs_buf *command, const void *data, size_t len);
void cs_redis_put_text(struct cs_buf *command, const char *text);
void cs_redis_put_int(struct cs_buf *command, int64_t v);
// One argument of two parts.
void cs_redis_put_joined(struct cs_buf *command, struct cs_bytes a, struct cs_bytes b);
