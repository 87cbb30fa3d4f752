// SPDX-License-Identifier: Apache-2.0
//
// Makes catalogs again in their next generation (catalog.h), partition by partition, from offset 0 or
// from a snapshot (catalog/restore.h), while the live ones serve. This build judges each record, and compares each verdict with the
// published one, byte for byte. A rebuild publishes nothing, goes as far as the published outcomes,
// and so proves the whole chain, or what comes behind the snapshot. A snapshot from which the published
// outcomes do not come is given up, for an older one or offset 0. After an interruption it continues with
// what the next generation has.
//
// A rebuilder belongs to one thread and has one partition at a time: begin, follow (again and
// again), promote if wanted, end. Errors: RETRY (Kafka or Redis away: begin again), CONFIG (another
// rebuild is at work, a log of another deployment), FATAL (a fork, a log that was made anew, or
// that lost records).
#pragma once

#include <stdatomic.h>

#include "catalog/catalog.h"
#include "catalog/snapshots.h"
#include "certsync/model/correction.h"
#include "log/reader.h"
#include "settings.h"
#include "worker/keyfile.h"

// Shared by all rebuilders of a process.
struct cs_rebuild_env {
    const struct cs_consumer_settings *settings;
    const char *log_id; // borrowed
    struct cs_bytes root_spki;
    const struct cs_service_keys *service; // whose marks outcomes carry; NULL: every mark is taken for good
    int32_t partitions;
    struct cs_epochs epochs;                 // the log's corrections; borrowed
    const struct cs_snapshot_dir *snapshots; // NULL: none are used. Its crypto is not used.
    bool whole;                              // from offset 0, also where what is there came from a snapshot
    // Any thread. A snapshot is taken; or it is not used, and why. NULL: nobody is told.
    void (*took)(void *arg, int32_t partition, int64_t outcomes);
    void (*refused)(void *arg, const char *path, const char *why);
    void *arg;
    atomic_llong judged;  // events so far, over all partitions
    atomic_bool stopping; // any thread: a rebuilder stops at the next batch (RETRY)
};

struct cs_rebuilder;
CS_MUST_USE bool cs_rebuilder_new(struct cs_rebuild_env *env, struct cs_rebuilder **ret, struct cs_err *err);
// The same with logs and a catalog that the caller opened. The rebuilder takes them, also on
// failure.
CS_MUST_USE bool cs_rebuilder_over(struct cs_rebuild_env *env, struct cs_log *events, struct cs_log *outcomes,
                                   struct cs_catalog *catalog, struct cs_rebuilder **ret, struct cs_err *err);
void cs_rebuilder_free(struct cs_rebuilder *r);
CS_DEFINE_AUTO(struct cs_rebuilder, cs_rebuilder_free)

// Claims a generation of a partition, and continues with what is in it. Waits for the claim of a
// killed rebuild; CONFIG if that one is alive. Checks that what is there was made from this log.
CS_MUST_USE bool cs_rebuilder_begin(struct cs_rebuilder *r, int32_t partition, int64_t generation,
                                    struct cs_err *err);
// Judges and commits what is published and not yet in the next generation, up to the end at the
// time of the call.
CS_MUST_USE bool cs_rebuilder_follow(struct cs_rebuilder *r, struct cs_err *err);
// Makes the next generation the live one, if it is at most max_behind events behind. *ret_behind:
// how many it was behind. *ret_done false: that was too much, or the live one moved just now.
CS_MUST_USE bool cs_rebuilder_promote(struct cs_rebuilder *r, int64_t max_behind, int64_t *ret_behind,
                                      bool *ret_done, struct cs_err *err);
// How many outcomes the snapshot is of that it began with; 0: it began at offset 0.
int64_t cs_rebuilder_restored(const struct cs_rebuilder *r);
const struct cs_position *cs_rebuilder_position(const struct cs_rebuilder *r);
int64_t cs_rebuilder_generation(const struct cs_rebuilder *r); // the one that it writes
// Gives the claim back. The work that was done stays.
void cs_rebuilder_end(struct cs_rebuilder *r);
struct cs_catalog *cs_rebuilder_catalog(struct cs_rebuilder *r);
