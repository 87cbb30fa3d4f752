// SPDX-License-Identifier: Apache-2.0
//
// Before anything is judged: are Kafka and Redis there, are the topics what they must be, do they belong to
// this deployment. Each failure is one sentence that says how to mend it.
#pragma once

#include "settings.h"

struct cs_preflight {
    int32_t partition_count;
};
// Waits up to consumer.preflight_timeout for brokers and Redis. root_spki: as in the settings. Errors:
// CONFIG, or RETRY where somebody did not answer in time.
CS_MUST_USE bool cs_preflight(const struct cs_consumer_settings *s, struct cs_bytes root_spki,
                              struct cs_preflight *ret, struct cs_err *err);

// The part of it that is about Redis: every primary is there, writable, new enough, keeps what it is given, and is
// of the kind that redis.mode says. Waits up to timeout_ms.
CS_MUST_USE bool cs_preflight_redis(const struct cs_consumer_settings *s, int64_t timeout_ms,
                                    struct cs_err *err);
