// SPDX-License-Identifier: Apache-2.0
//
// Counts the certificates of the partitions that this process has and that are running (catalog/census.h),
// and tells the board. A partition of which the count is not known, or may be of yesterday, has none: it is
// another process' that counts it, or it waits, replays or is damaged, or Redis lost what it had.
#pragma once

#include "worker/consumer.h"

struct cs_counting;
// c must outlive it.
CS_MUST_USE bool cs_counting_new(const struct cs_consumer *c, struct cs_counting **ret, struct cs_err *err);
void cs_counting_free(struct cs_counting *n);
CS_DEFINE_AUTO(struct cs_counting, cs_counting_free)
// Counts all of them, once. One thread.
void cs_counting_look(struct cs_counting *n);
