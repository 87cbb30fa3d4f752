// SPDX-License-Identifier: Apache-2.0
//
// An empty generation of a partition's catalog is filled with the newest snapshot that is good, in place of
// judging all records again. The file is read twice, so any size fits in memory: first it must be whole and
// what its signed statement says; then it is written, piece by piece, with the position last.
//
// Only judging proves a snapshot. Whoever has the service key can sign another catalog. So whoever restores
// compares what is published behind the snapshot (cs_restored, catalog.h) before anything that rests on it
// is published, and takes an older one where that differs.
#pragma once

#include "catalog/catalog.h"
#include "catalog/snapshots.h"

struct cs_restore {
    const struct cs_snapshot_dir *dir;
    struct cs_catalog *catalog; // it has loaded the generation
    int32_t partition;
    struct cs_epochs epochs; // the log's corrections
    int64_t most;            // a snapshot of more outcomes is not taken
    int64_t until;           // how many are published
    // Whether a position is of this log; REJECT: it is not. NULL: it is not asked.
    bool (*is_place)(void *arg, const struct cs_position *at, struct cs_err *err);
    // Before the first piece: from now on nobody else may write the generation. NULL: nobody does.
    bool (*own)(void *arg, struct cs_err *err);
    // From time to time; false: it ends there. NULL: nobody is asked.
    bool (*go_on)(void *arg, struct cs_err *err);
    void (*refused)(void *arg, const char *path, const char *why);
    void *arg;
};
// ret->at.size 0: there was none to take, and nothing was written. RETRY, also where the generation became
// another one's meanwhile.
CS_MUST_USE bool cs_restore(const struct cs_restore *r, struct cs_snapshot *ret, struct cs_err *err);
