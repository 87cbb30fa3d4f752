// SPDX-License-Identifier: Apache-2.0
//
// What verify found, and how it is told.
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "certsync/model/outcome.h"
#include "commands/operator.h"
#include "commands/resume.h"
#include "log/compare.h"
#include "log/derived_check.h"
#include "log/heads.h"

struct verify_options {
    struct cs_operator_options log;
    bool redis;
    bool complete;
    bool allow_stray;
    const char *since;            // file of checkpoints; NULL: none
    const char *checkpoints;      // dump; NULL: from Kafka
    const char *checkpoint_key;   // text; NULL: the service key's
    struct cs_cli_list witnesses; // keys of those that must have cosigned each partition
    int64_t witness_age_ms;
};

struct verify_fault {
    const char *kind; // NULL: none
    int32_t partition;
    int64_t offset;         // of cert.events; -1: none
    int64_t n;              // number of an outcome; 0: none
    int64_t outcome_offset; // of cert.outcomes; -1: none
    char text[1024];
    struct cs_buf published, judged; // both outcomes, if the verdict is wrong; else empty
};

// What all threads share.
struct verify_shared {
    pthread_mutex_t lock; // of derived, and the crypto that it uses
    struct cs_crypto *crypto;
    struct cs_derived_check *derived;
    struct cs_heads *heads; // each partition's is used by one thread; NULL: they are not looked at
    char why_no_heads[256]; // then: why
    // Statements of snapshots, by partition; NULL: they are not looked at.
    struct cs_snapshot_list *snapshots;
    size_t refused_snapshots;
    char why_no_snapshots[256];          // "": none were asked for
    size_t required[CS_HEADS_WITNESSES]; // of o->witnesses, as heads counts them
    // The ends at the start. Events before them have their cause in what is replayed. Outcomes
    // before them have their derived events in the log.
    struct cs_bounds *due_events, *due_outcomes;
    atomic_int next;     // the next partition that nobody has taken
    atomic_int fault_at; // the lowest partition with a fault; those above it need not be looked at
    atomic_bool stopping;
    atomic_int running;
    atomic_llong judged; // events
};

// The outcomes that counted in an epoch, while it was the newest.
struct verify_epoch {
    struct cs_chain chain;
    struct cs_merkle_edge edge;
    size_t next_snapshot; // of those that were made in it
};

// One thread's work: a partition at a time. The first one's counts are those of all in the end.
struct verify {
    struct cs_operator op;
    const struct verify_options *o;
    struct verify_shared *shared;
    struct cs_catalog *catalog;
    bool failed; // not by a fault
    struct cs_err err;
    struct verify_fault fault;
    // All partitions.
    int64_t events, outcomes, copies, unjudged, derived_events;
    int64_t foreign; // records of cert.outcomes that no consumer wrote; next, the first of them:
    int32_t foreign_partition;
    int64_t foreign_at;
    int64_t set_aside; // outcomes that corrections took back
    int64_t others;    // outcomes that another service key marked
    int64_t by_status[CS_STATUS_DUPLICATE + 1];
    int64_t waiting; // of those that were pending: how many have not ended
    int64_t keys;
    int64_t snapshots;     // that were compared
    int64_t old_snapshots; // of outcomes that corrections took back: only their root was compared
    size_t strays;
    // The partition under way.
    int32_t partition;
    int64_t events_before;  // of those before it
    int64_t event_offset;   // of the event whose outcome is read; -1: none
    int64_t last;           // number of the last outcome
    int64_t outcome_offset; // of its record
    uint8_t (*hashes)[32];  // of each number's first record, key and value
    size_t hashes_cap;
    struct cs_chain chain;
    size_t next_snapshot;
    // Its epochs before the newest one, of which outcomes count no longer.
    struct verify_epoch *old;
    int64_t old_len;
    struct cs_compare *compare;
    bool comparing, compared; // between the two positions; after them
};

// False: a fault (v->fault), or an error. It ends early where cs_verify_needless.
CS_MUST_USE bool cs_verify_partition(struct verify *v, int32_t p, struct cs_err *err);
// Whether another thread's finding makes this partition's needless.
bool cs_verify_needless(const struct verify *v);
// After all partitions: whether derived events are those that were decided.
CS_MUST_USE bool cs_verify_derived(struct verify *v, struct cs_err *err);
// The fault "unwitnessed" of a partition. Always false.
bool cs_verify_unwitnessed(struct verify *v, int32_t p, struct cs_err *err, const char *fmt, ...)
    CS_PRINTF(4, 5);
// Print it. Return the exit code.
int cs_verify_tell(const struct verify *v);
int cs_verify_tell_json(const struct verify *v);
