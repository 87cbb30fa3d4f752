// SPDX-License-Identifier: Apache-2.0
//
// One batch on its way: load, decide, compare, publish, commit. Whoever has the batch drives the
// flight, step by step: a worker's turn (turn.c), a rebuild (rebuild.c), the simulation
// (tests/sim). A flight has no thread and no clock, logs nothing, and does not decide what follows
// an error: it is given up (cs_flight_abandon), and its partition begins again where the catalog
// stands.
//
// Publishing goes before committing, and what was published before is compared, not published
// again. Both rest on this: the same records judged on the same position give the same bytes.
#pragma once

#include "catalog/catalog.h"
#include "worker/apply.h"
#include "worker/checkpoints.h"
#include "worker/cursor.h"
#include "worker/publish.h"

// Where a partition stands. Owned by who works on it.
struct cs_stand {
    int32_t id;
    struct cs_epochs epochs;     // the corrections that it is judged with
    struct cs_position position; // committed
    int64_t generation;          // of the catalog
    struct cs_state *hot;        // documents of the position that are held
    // number of the last outcome that is published, as far as is known
    int64_t published;
    // The same of outcomes that a correction set aside; 0: none was seen.
    int64_t reach;
    struct cs_checkpoint_stand checkpoint;
    int64_t outcomes_end;            // offset that the next outcome should get; -1: not known
    struct cs_cursor_stream *stream; // published outcomes behind the position; NULL: not open
    struct cs_cursor_proofs *proofs; // outcomes that were set aside; NULL: not open
};
// Frees what it holds.
void cs_stand_clear(struct cs_stand *s);
// What was decided and is not committed is thrown away; the stream, too.
void cs_stand_forget(struct cs_stand *s);
// Whether the catalog was made with other corrections than those of the stand: then it must be made
// again from the log. *ret_older: with corrections that the stand does not have.
bool cs_stand_is_stale(const struct cs_stand *s, bool *ret_older);
// Reads the position from the catalog. Waits. FATAL: the catalog is of another log, or of a
// ruleset that this release does not know.
CS_MUST_USE bool cs_stand_load(struct cs_stand *s, struct cs_catalog *catalog, const char *log_id,
                               int32_t partitions, struct cs_err *err);
// Notes how far outcomes are published. They may be ahead of the catalog, never behind, and what
// both have must be the same: otherwise FATAL.
CS_MUST_USE bool cs_stand_follow(struct cs_stand *s, const struct cs_cursor_tail *tail,
                                 const char *outcomes_name, struct cs_err *err);

// Takes the newest published checkpoint. The outcomes that it is of must be those that the catalog
// stands on, here or as soon as it gets there: otherwise FATAL. (If they were lost, they are made
// again, and must be the same.)
CS_MUST_USE bool cs_stand_hold(struct cs_stand *s, struct cs_crypto *crypto, const struct cs_checkpoint *p,
                               const char *checkpoints_name, struct cs_err *err);

// What flights work with; borrowed.
struct cs_flight_env {
    struct cs_apply_context apply; // its partition is set by the flight
    struct cs_catalog *catalog;
    struct cs_publisher *publisher;       // NULL: nothing is published (a rebuild)
    struct cs_topic *outcomes;            // NULL: each batch brings what was published
    const struct cs_outcome_marks *marks; // of what is published; NULL: nothing is, and nothing is read
    const char *outcomes_name;            // for messages
};

enum cs_flight_phase {
    CS_FLIGHT_NONE,
    CS_FLIGHT_LOADING,
    CS_FLIGHT_DECIDING,
    CS_FLIGHT_COMPARING,
    CS_FLIGHT_DERIVED,  // derived events are under way
    CS_FLIGHT_OUTCOMES, // outcomes are under way
    CS_FLIGHT_COMMITTING,
};

struct cs_flight {
    const struct cs_flight_env *env;
    enum cs_flight_phase phase;
    struct cs_stand *stand;
    const struct cs_batch_record *records;
    size_t len;
    // what was published of each record; NULL: it is read
    const struct cs_published_outcome *beside;
    struct cs_apply apply;
    size_t loads, loads_at; // of loading since so many records are decided
    size_t compared;        // outcomes
    size_t timed;           // records whose time is known to be the broker's, or proven
    size_t handed_over;     // outcomes that the producer has now
    // of what is being published: derived events or outcomes, with those that were before
    size_t sent;
    size_t derived; // events that were sent
    // it ends before a record that cannot be judged. Once it has landed, this is why:
    bool cut;
    struct cs_err cut_err;
};
void cs_flight_init(struct cs_flight *f, const struct cs_flight_env *env);
void cs_flight_clear(struct cs_flight *f);

// Begins with prepared records that follow stand->position. All is borrowed until the flight has
// landed or is given up. After an error it must be given up, too.
CS_MUST_USE bool cs_flight_begin(struct cs_flight *f, struct cs_stand *stand,
                                 const struct cs_batch_record *records, size_t len,
                                 const struct cs_published_outcome *beside, struct cs_err *err);

enum cs_flight_step {
    CS_FLIGHT_WAITS, // for the catalog (LOADING, COMMITTING), published outcomes (COMPARING) or the producer
    CS_FLIGHT_WENT_ON, // call again
    CS_FLIGHT_MOVED,   // somebody else moved the position: what was decided is void, give it up
    CS_FLIGHT_LANDED, // apply.decided records are committed, and the stand is moved on; f->cut says whether it can go on
};
// One step. wait: for the catalog's answer where it is not there yet. Errors: where the phase is
// DECIDING they are about the next record; FATAL otherwise is a fork.
CS_MUST_USE bool cs_flight_advance(struct cs_flight *f, bool wait, enum cs_flight_step *ret,
                                   struct cs_err *err);
// Gives it up, in any phase. What is under way at the producer may be published yet.
void cs_flight_abandon(struct cs_flight *f);
