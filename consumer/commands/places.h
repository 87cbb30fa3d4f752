// SPDX-License-Identifier: Apache-2.0
//
// Places in the log, found without reading it from its begin.
//
// An event's id (UUIDv7) tells when it was made, and the broker knows which record came when. So an
// event is looked for near its time first. It may have lain in a spool for long, or its sender's
// clock may be wrong: then more is read, in the end all.
#pragma once

#include "catalog/snapshots.h"
#include "commands/operator.h"

// For each partition, where the records of a log begin and end whose broker's time is from since_ms
// to until_ms (INT64_MAX: to the end). *ret_known false: the log cannot tell (kafka.allow_create_time: senders choose times).
CS_MUST_USE bool cs_places_of_time(struct cs_operator *op, struct cs_log *log, int64_t since_ms,
                                   int64_t until_ms, struct cs_bounds *ret, bool *ret_known,
                                   struct cs_err *err);

typedef bool (*cs_scan_fn)(void *arg, const struct cs_record *r, struct cs_err *err);
CS_MUST_USE bool cs_places_scan(struct cs_operator *op, struct cs_log *log, int32_t partition, int64_t from,
                                int64_t end, cs_scan_fn fn, void *arg, struct cs_err *err);

// Reads events of all partitions, nearest to the id's time first, until found(arg) is true. Each
// record is read once. *ret_read: the stretch of each partition that was read (room for all of them).
// If the id tells no time, all is read. *ret_why: why all had to be read (a part of a sentence,
// static); NULL: it was found near its time.
CS_MUST_USE bool cs_places_near(struct cs_operator *op, const char *event_id, cs_scan_fn fn,
                                bool (*found)(void *arg), void *arg, struct cs_bounds *ret_read,
                                const char **ret_why, struct cs_err *err);

// Begins to read the published outcomes before an offset of their topic: cs_operator_published goes
// on with *chain. The records there must follow each other. If they do not, it begins at the start.
CS_MUST_USE bool cs_places_published(struct cs_operator *op, int32_t partition, int64_t offset,
                                     struct cs_chain *chain, struct cs_err *err);

// Tells the outcomes that counted before a correction in the place of this one (its JSON), and the reason:
// as lines, or as the member "set_aside". Nothing where there is none.
CS_MUST_USE bool cs_put_set_aside(struct cs_operator *op, struct cs_bytes outcome, bool json,
                                  struct cs_buf *b, struct cs_err *err);

// Judges, of a partition, the records that an account's catalog rests on: its own, those of the root
// key, and those of keys that the root trusts. Others change nothing that its records are judged by.
// A key that signs for several accounts brings in those, too. account "": the records of the root.
//
// published: the outcome of the last record to judge. Then that one gets the same number. NULL: the
// numbers of outcomes mean nothing.
// A walk may begin again: then fn is told of the same records again.
struct cs_account_walk {
    const char *account;
    int32_t partition;
    const struct cs_moment *until; // as in cs_operator_walk
    const struct cs_outcome *published;
    const struct cs_snapshot_dir
        *snapshots; // it goes on from the newest that is before the moment; NULL: none
    cs_walk_fn fn;
    void *arg;
    int64_t from;                 // set: how many outcomes the snapshot is of; 0: none
    int64_t records, judged;      // set: how many there were up to the moment, and how many were judged
    int64_t last_offset, last_ms; // set: of the last record up to the moment; -1: none
};
CS_MUST_USE bool cs_places_walk(struct cs_operator *op, struct cs_account_walk *w, struct cs_err *err);
