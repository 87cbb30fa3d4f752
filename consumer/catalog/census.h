// SPDX-License-Identifier: Apache-2.0
//
// How many certificates a partition's accounts have, and when these end: for metrics. It reads the index of
// accounts, and of each account counts of its index `expiry`, no documents. So what it takes grows with the
// accounts, not with their certificates. What was shared in counts where it comes from, so that every
// certificate counts once in the whole deployment. (Where an account has shares of others, the members that
// end within 30 days are read, to leave those out.)
//
// The caller knows that the generation is there and as new as it must be: what is not in Redis counts as
// nothing. No verdict rests on these counts. One thread.
#pragma once

#include "certsync/model/key.h"
#include "certsync/model/keys.h"
#include "redis/access.h"

#define CS_CENSUS_WITHIN 4 // days: 1, 7, 14, 30
extern const int cs_census_days[CS_CENSUS_WITHIN];

struct cs_census {
    int64_t valid, expired;
    int64_t within[CS_CENSUS_WITHIN]; // of the valid ones, those that end within so many days
};

struct cs_census_taker;
// access is copied. What it borrows must outlive the taker. Does not connect yet.
CS_MUST_USE bool cs_census_new(const struct cs_redis_access *access, const char *name_space,
                               const struct cs_privkey *service, const char *log_id,
                               struct cs_census_taker **ret, struct cs_err *err);
void cs_census_free(struct cs_census_taker *t);
CS_DEFINE_AUTO(struct cs_census_taker, cs_census_free)
// RETRY, CONFIG, FATAL; DAMAGED: the index of accounts is not what certsync wrote.
CS_MUST_USE bool cs_census_take(struct cs_census_taker *t, int32_t partition, int64_t generation,
                                int64_t now_s, struct cs_census *ret, struct cs_err *err);
