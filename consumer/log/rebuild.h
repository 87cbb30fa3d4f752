// SPDX-License-Identifier: Apache-2.0
//
// Catalogs made again from offset 0 into their next generation (catalog.h), partition by partition,
// while the live ones serve. Each record is judged by this build, and each verdict held against the
// published one, byte for byte: a rebuild publishes nothing, goes as far as the published outcomes
// go, and proves the whole chain on its way. What is in the next generation after an interruption
// is gone on with.
//
// A rebuilder belongs to one thread and has one partition at a time: begin, follow (again and
// again), promote where that is wanted, end. Errors: RETRY (Kafka or Redis away: begin again),
// CONFIG (another rebuild is at work, a log of another deployment), FATAL (a fork, a log that was
// deleted from or made anew).
#pragma once

#include <stdatomic.h>

#include "catalog/catalog.h"
#include "log/reader.h"
#include "settings.h"

// Shared by all rebuilders of a process.
struct cs_rebuild_env {
    const struct cs_consumer_settings *settings;
    struct cs_bytes root_spki;
    int32_t partitions;
    atomic_llong judged;  // events so far, over all partitions
    atomic_bool stopping; // any thread: a rebuilder stops at the next batch (RETRY)
};

struct cs_rebuilder;
CS_MUST_USE bool cs_rebuilder_new(struct cs_rebuild_env *env, struct cs_rebuilder **ret, struct cs_err *err);
// The same over logs and a catalog that the caller opened; they are the rebuilder's from here on,
// also where this fails.
CS_MUST_USE bool cs_rebuilder_over(struct cs_rebuild_env *env, struct cs_log *events, struct cs_log *outcomes,
                                   struct cs_catalog *catalog, struct cs_rebuilder **ret, struct cs_err *err);
void cs_rebuilder_free(struct cs_rebuilder *r);
CS_DEFINE_AUTO(struct cs_rebuilder, cs_rebuilder_free)

// Claims a generation of a partition, going on with what is in it, and waits for the claim of a
// rebuild that was killed; CONFIG where another one is alive. Checks that what is there was made
// from this log.
CS_MUST_USE bool cs_rebuilder_begin(struct cs_rebuilder *r, int32_t partition, int64_t generation,
                                    struct cs_err *err);
// Judges and commits what is published and not yet in the next generation, as far as it went when
// this was called.
CS_MUST_USE bool cs_rebuilder_follow(struct cs_rebuilder *r, struct cs_err *err);
// Makes the next generation the live one, if it is no more than max_behind events behind that one.
// *ret_behind: how many it was behind; *ret_done false where that was too much, or the live one
// moved on just now.
CS_MUST_USE bool cs_rebuilder_promote(struct cs_rebuilder *r, int64_t max_behind, int64_t *ret_behind,
                                      bool *ret_done, struct cs_err *err);
const struct cs_position *cs_rebuilder_position(const struct cs_rebuilder *r);
int64_t cs_rebuilder_generation(const struct cs_rebuilder *r); // that is written
// Gives the claim back. What was done stays.
void cs_rebuilder_end(struct cs_rebuilder *r);
struct cs_catalog *cs_rebuilder_catalog(struct cs_rebuilder *r);
