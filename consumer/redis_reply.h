// SPDX-License-Identifier: Apache-2.0
//
// Replies that hiredis' reader puts into a region, to be given back all at once: a commit of a thousand
// certificates has some ten thousand of them.
#pragma once

#include <hiredis/hiredis.h>

#include "certsync/model/region.h"

// What is read from here on lies in region (borrowed for the reader's life) and must not be given to
// freeReplyObject. RESP2 only.
void cs_redis_reply_into(redisReader *reader, struct cs_region *region);
