// SPDX-License-Identifier: Apache-2.0
//
// The witnesses of what is read (witness.h): the question for them, which goes to Redis in one
// transaction with the values, or between two reads of the position; and its answers.
#pragma once

#include <hiredis/hiredis.h>

#include "catalog/witness.h"

// Appends one HMGET for each bucket of ws, which are sorted; returns how many. prefix: of the
// generation's keys (redis/key.h).
size_t cs_witnesses_ask(const struct cs_witnesses *ws, struct cs_bytes prefix, struct cs_buf *commands);
// Takes the answers to these: sets the values, which are borrowed from the replies. DAMAGED where a
// bucket cannot be read, or its sentinel is not as it must be (cs_witness_sentinel).
CS_MUST_USE bool cs_witnesses_take(struct cs_witnesses *ws, int32_t partition, bool begun,
                                   redisReply *const *replies, size_t n, struct cs_err *err);
