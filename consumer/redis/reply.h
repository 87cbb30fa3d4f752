// SPDX-License-Identifier: Apache-2.0
//
// Replies that hiredis' reader puts into a region, so that they are freed all at once: a commit of
// a thousand certificates has about ten thousand of them.
#pragma once

#include <hiredis/hiredis.h>
#include <stdbool.h>

#include "certsync/base/region.h"

#define CS_REDIS_REPLY_LEFT_OUT (-1) // type of a reply that had no room

struct cs_redis_room {
    struct cs_region region;
    bool bounded; // what is read now: strings of an array are left out once
    size_t left;  // bytes are used up
};
// What is read from here on lies in room (borrowed while the reader lives). Do not give it to
// freeReplyObject. RESP2 only.
void cs_redis_reply_into(redisReader *reader, struct cs_redis_room *room);
