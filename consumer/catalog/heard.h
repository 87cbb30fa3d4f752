// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of hosts' heartbeats (certsync/model/heartbeat.h). It lies in Redis beside a
// partition's catalogs, and belongs to no generation: no verdict rests on it, nobody compares it,
// and the next heartbeat brings back what is lost.
//
//   <namespace>:{<partition>}:beat/<account>/<kid>  struct cs_heard with a mark (authentic.h); gone
//                                                   30 days after the host's last heartbeat
//   <namespace>:{<partition>}:beats                 index "<account>/<kid>", score = at_ms
//
// A document with a false mark counts as absent. The index has no marks. It is for counting, and
// cs_heard_list holds it against the documents. Errors: RETRY (Redis is away: ask again), CONFIG,
// FATAL, DAMAGED (cs_heard_reset). One thread.
#pragma once

#include "certsync/model/heartbeat.h"
#include "certsync/model/keys.h"
#include "redis/access.h"

#define CS_HEARD_FOR_MS (30 * INT64_C(86400000))
#define CS_HEARD_MAX    256 // hosts of one question

struct cs_heard_host {
    cs_account_id account;
    cs_kid kid;
    bool known; // heard says something
    struct cs_heard heard;
};

struct cs_authentic;
// The key of a host's document, within its partition; and "<account>/<kid>" of the index.
const char *cs_heard_key(cs_key ret, const char *account, const char *kid);
// A document as Redis has it. False: there is none that counts.
bool cs_heard_take(struct cs_authentic *a, int32_t partition, const char *account, const char *kid,
                   struct cs_bytes value, struct cs_heard *ret);

struct cs_heard_store;
// access is copied. What it borrows must outlive the store. Does not connect yet.
CS_MUST_USE bool cs_heard_store_new(const struct cs_redis_access *access, const char *name_space,
                                    const struct cs_privkey *service, const char *log_id,
                                    struct cs_heard_store **ret, struct cs_err *err);
void cs_heard_store_free(struct cs_heard_store *s);
CS_DEFINE_AUTO(struct cs_heard_store, cs_heard_store_free)

// All of one partition; n is at most CS_HEARD_MAX.
// Fills known and heard of each host.
CS_MUST_USE bool cs_heard_read(struct cs_heard_store *s, int32_t partition, struct cs_heard_host *hosts,
                               size_t n, struct cs_err *err);
// Writes what is known, in this order.
CS_MUST_USE bool cs_heard_write(struct cs_heard_store *s, int32_t partition,
                                const struct cs_heard_host *hosts, size_t n, struct cs_err *err);
// Removes hosts.
CS_MUST_USE bool cs_heard_forget(struct cs_heard_store *s, int32_t partition,
                                 const struct cs_heard_host *hosts, size_t n, struct cs_err *err);
// Removes the index: something else wrote a key of another kind there (the errors are DAMAGED).
CS_MUST_USE bool cs_heard_reset(struct cs_heard_store *s, int32_t partition, struct cs_err *err);
// CS_HEARD_MAX hosts of the index, from place `from` on, those of whom nothing was heard for longest
// first. *ret_listed: how many members that were; 0: there are no more. What is no host's name, has
// no document or another time is put right in the index; *ret_gone of them left it. Those with a
// document are in hosts (*ret_n).
CS_MUST_USE bool cs_heard_list(struct cs_heard_store *s, int32_t partition, size_t from,
                               struct cs_heard_host hosts[CS_HEARD_MAX], size_t *ret_n, size_t *ret_listed,
                               size_t *ret_gone, struct cs_err *err);
