// SPDX-License-Identifier: Apache-2.0
//
// Which certificates of a partition end soon, from the catalog in Redis: the list of accounts, and of
// each account's index `expiry` only the stretch that is asked for. So a look costs as much as there
// are accounts, and certificates that are near their end; not as there are certificates. Members of an
// index that are not certsync's own are passed over: the workers find such damage. One thread.
//
// Errors: RETRY, CONFIG.
#pragma once

#include "certsync/model/entry.h"
#include "redis/access.h"

struct cs_expiring;
CS_MUST_USE bool cs_expiring_new(const struct cs_redis_access *access, const char *name_space,
                                 const struct cs_privkey *service, const char *log_id,
                                 struct cs_expiring **ret, struct cs_err *err);
void cs_expiring_free(struct cs_expiring *x);
CS_DEFINE_AUTO(struct cs_expiring, cs_expiring_free)

struct cs_expiring_one {
    cs_account_id account, owner; // owner "": its own
    cs_uuid certificate;
    cs_name name;
    int64_t ends_s;
};
// Calls fn for each certificate that ends in from_s <= end < to_s. It stops where fn returns false, with
// fn's error.
CS_MUST_USE bool cs_expiring_each(struct cs_expiring *x, int32_t partition, int64_t from_s, int64_t to_s,
                                  bool (*fn)(void *arg, const struct cs_expiring_one *one,
                                             struct cs_err *err),
                                  void *arg, struct cs_err *err);

// Whole days count from noon to noon, local time: the end of the day that now_s is in. What ends in one
// night lies in one such day.
int64_t cs_expiring_day_ends(int64_t now_s);
// Whether a certificate that ends at ends_s is to be told of before_ms before that (0: at its end).
bool cs_expiring_is_due(int64_t ends_s, int64_t before_ms, int64_t now_s);
