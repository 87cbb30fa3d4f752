// SPDX-License-Identifier: Apache-2.0
//
// What becomes of heartbeats (certsync/model/heartbeat.h): each is held against its bytes, its place
// and the catalog, a batch at a time, and the newest of each host is remembered (catalog/heard.h).
// Nothing is published about any of them. One thread.
#pragma once

#include "catalog/catalog.h"
#include "catalog/heard.h"
#include "worker/keycache.h"

// Borrowed for its life.
struct cs_hearing {
    struct cs_crypto *crypto;
    struct cs_catalog *catalog;
    struct cs_heard_store *store;
    struct cs_key_cache *keys;
    const char *log_id;
    int32_t partition_count;
};

// One record and what becomes of it.
struct cs_hearing_record {
    struct cs_record record;
    bool sender_time; // its time is not the broker's
    enum cs_heartbeat_end end;
    struct cs_heartbeat_read read; // of use unless end is MALFORMED or SENDER_TIME
    size_t host;                   // internal
};
// Up to CS_HEARD_MAX records of a partition, in their order. False: nothing of them counts yet (RETRY,
// CONFIG; DAMAGED: *ret_catalog says whether the catalog is, or what is remembered of hosts).
CS_MUST_USE bool cs_hearing_take(const struct cs_hearing *h, int32_t partition,
                                 struct cs_hearing_record *records, size_t n, bool *ret_catalog,
                                 struct cs_err *err);

// Forgets hosts whose keys have ended, a piece at a time: those from place *at on. *at is 0 at first,
// and again when all were looked at. Errors as above.
CS_MUST_USE bool cs_hearing_review(const struct cs_hearing *h, int32_t partition, size_t *at,
                                   bool *ret_catalog, struct cs_err *err);
