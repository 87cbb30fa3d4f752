// SPDX-License-Identifier: Apache-2.0
//
// explain: what it found of one event, and how it is told.
#pragma once

#include "catalog/snapshots.h"
#include "commands/operator.h"

struct explain_options {
    struct cs_operator_options log;
    const char *event;
};

struct place { // a record of the event, or a step of its share
    int32_t partition;
    int64_t offset, time_ms;
    bool main; // the event itself; there may be several such records
    enum cs_event_type type;
    cs_uuid id;
    cs_account_id account;
    cs_account_id other; // the other one of a share; "": none
    char *outcome;       // JSON; owned; NULL: none yet
};

struct explain {
    struct cs_operator op;
    const struct explain_options *o;
    cs_uuid share; // "": it is about no share
    size_t places_len, places_cap;
    struct place *places;
    const struct place *main; // the first record of the event
    struct cs_buf b;
    bool json;
    // While the log is replayed up to the event.
    bool told;
    bool differs;   // its outcome from the published one
    int64_t judged; // records; 0: all up to it
    int64_t records;
    int64_t from;                            // outcomes of the snapshot that they come after; 0: none
    const struct cs_snapshot_dir *snapshots; // NULL: none are used
    const char *why_all;                     // all of the log was read to find it; NULL: only a part
    bool all_outcomes;                       // of a partition were read to find one
};

// Tells the record and what was made of it; nothing that was told before counts. The state has its changes.
void cs_explain_tell(struct explain *x, const struct cs_record *r, const struct cs_event *ev,
                     const struct cs_replayed *mine);
// Then: what was judged for it, all records of the event, or steps of its share, and outcomes of it that were
// set aside.
CS_MUST_USE bool cs_explain_tell_way(struct explain *x, struct cs_err *err);
