// SPDX-License-Identifier: Apache-2.0
//
// The log as a rebuild reads it: each record of cert.events with its published outcome
// (outcome_chain.h), prepared, in batches. Internal to rebuild.c.
#pragma once

#include "log/reader.h"
#include "worker/apply.h"
#include "worker/cursor.h"

struct cs_rebuild_batch {
    size_t len, cap, bytes;
    size_t at;                              // those before it are committed
    struct cs_batch_record *records;        // their bytes are `owned`
    struct cs_published_outcome *published; // of each record; its bytes are, too
    void **owned;
    struct cs_region memory; // of what is prepared
};
CS_MUST_USE bool cs_rebuild_batch_init(struct cs_rebuild_batch *b, size_t cap, struct cs_err *err);
void cs_rebuild_batch_empty(struct cs_rebuild_batch *b);
void cs_rebuild_batch_clear(struct cs_rebuild_batch *b);

struct cs_rebuild_reader {
    struct cs_log *events, *outcomes; // borrowed
    struct cs_crypto *crypto;
    struct cs_key_cache *keys;
    const struct cs_outcome_marks *marks; // NULL: every mark is taken for good
    struct cs_epochs epochs;
    const char *log_id;
    int32_t partition, partitions;
    struct cs_chain chain; // of the outcomes that were read
    bool end;
    // the outcomes end in what does not follow: all before it is good, then this is the error
    bool broken;
    struct cs_err why;
};
// From a position to where both topics end now. Reads again what the position was made of; that
// must be the same.
CS_MUST_USE bool cs_rebuild_reader_start(struct cs_rebuild_reader *r, int32_t partition,
                                         const struct cs_position *from, struct cs_err *err);
// Takes one more record into b, which has room. r->end if there is none.
CS_MUST_USE bool cs_rebuild_reader_add(struct cs_rebuild_reader *r, struct cs_rebuild_batch *b,
                                       struct cs_err *err);
