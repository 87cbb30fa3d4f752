// SPDX-License-Identifier: Apache-2.0
//
// Which records of cert.outcomes count. Anybody who may write to the topic can put a record there,
// so a number alone proves nothing. A record counts only if a consumer wrote it (outcome_mark.h), and
// of these number n is the first after that of n-1 that names the hash of n-1's value. Every reader
// (worker, API, rebuild, import, verify, explain, rejected, prove) uses this, so all see one history.
//
// The service key may be exchanged. Records that an earlier one marked count only up to the first one
// with the present key's mark, and up to the newest checkpoint that this key signed, if there is one: so
// whoever stole the earlier key can write no more. If the earlier keys are not known, what they marked
// cannot be told from what a stranger says they marked, and is taken in the same limits. Whoever has no
// service key at all takes every mark for good.
//
// Root may have had outcomes judged anew (certsync/model/correction.h). Then several outcomes of a number
// may count by all this. Of these the one with that number's epoch does; those of earlier epochs are
// passed over.
//
// Readers also compare outcomes with their own decisions.
#pragma once

#include "certsync/model/correction.h"
#include "worker/outcome_mark.h"

enum cs_chain_link {
    CS_CHAIN_NEXT,       // the next number
    CS_CHAIN_COPY,       // an earlier number again: a paused old owner may publish it later
    CS_CHAIN_SUPERSEDED, // a consumer wrote it, and by a correction it counts no longer
    CS_CHAIN_FOREIGN,    // no consumer wrote it; counts for nothing
    CS_CHAIN_BROKEN, // a consumer wrote it, but it does not follow: outcomes were lost, or it is of another history
    // A consumer wrote it with an epoch that no correction brings which is known here.
    CS_CHAIN_NEWER,
};

struct cs_chain {
    const struct cs_outcome_marks *marks; // borrowed; NULL: there is no service key
    struct cs_epochs epochs;
    int32_t partition;
    int64_t last;         // number of the last one that counts
    uint8_t sha256[32];   // of its value; zeros before number 1
    int64_t others_until; // marks of another key than the present one are taken up to this number
    bool known_only;      // set by a reader within the topic: marks of unknown keys are not taken
    int64_t superseded;   // records that a correction set aside
    int64_t earlier;      // records that were taken, with an earlier key's mark
    int64_t others;       // the same, with the mark of a key that is not known
    int64_t foreign;      // records that were foreign
    int64_t foreign_at;   // offset of the first of them; -1: none
    int64_t unmarked;     // of these: read as outcomes, and carry no mark
};
// epochs: the log's corrections; NULL: there are none. last, sha256: where the reader is; NULL means the zeros of the begin. proven: size of the newest
// checkpoint that this service key signed; 0: none, or not known.
void cs_chain_begin(struct cs_chain *c, const struct cs_outcome_marks *marks, const struct cs_epochs *epochs,
                    int32_t partition, int64_t last, const uint8_t sha256[32], int64_t proven);
// What kind of record it is, and its number if it has one (else -1). CS_CHAIN_NEXT moves the chain
// on.
enum cs_chain_link cs_chain_take(struct cs_chain *c, struct cs_crypto *crypto, const struct cs_record *r,
                                 int64_t *ret_n);

// For a reader that does not know yet where it is. Whether a consumer wrote the record, as far as is
// known, and its epoch is the one that counts; all records from the reader's begin on must come by, in order. The number of such a record is
// in *ret_n, else -1, and it is noted as foreign.
bool cs_chain_counts(struct cs_chain *c, const struct cs_record *r, int64_t *ret_n);

// The number of a record that a consumer may have written at this place, judged by its key and value
// alone: it reads as an outcome of the partition, its key is its account, and there is room before
// it for so many outcomes and events. -1: no consumer wrote it.
int64_t cs_chain_plausible(const struct cs_record *r, int32_t partition);

// The epoch in an outcome's JSON, which must end as certsync/model/outcome.h says; else 0.
int64_t cs_outcome_epoch(struct cs_bytes value);

// The number in an outcome's JSON, which must begin as CS_OUTCOME_HEAD says; else -1.
int64_t cs_outcome_number(struct cs_bytes value);

// "the record at offset … is outcome 9, which does not follow outcome 6": FATAL. Of one that is
// CS_CHAIN_NEWER: RETRY, since its correction may be read yet. Always false.
bool cs_chain_broken(const struct cs_chain *c, enum cs_chain_link link, const char *topic,
                     const struct cs_record *r, int64_t n, struct cs_err *err);
// Whether a partition was read from its begin to its end, holds outcomes, and none has a mark, also none that
// a correction set aside: then FATAL, with what to do.
bool cs_chain_is_unmarked(const struct cs_chain *c, const char *topic, struct cs_err *err);
// The same error, for so many records. Always false.
bool cs_chain_unmarked(const char *topic, int32_t partition, int64_t records, struct cs_err *err);
