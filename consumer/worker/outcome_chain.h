// SPDX-License-Identifier: Apache-2.0
//
// Which records of cert.outcomes count. Anybody who may write to the topic can put a record there,
// so a number alone proves nothing. Number n is the first record after that of n-1 that names the
// hash of n-1's value. Every reader (worker, rebuild, verify, explain, rejected) uses this, so all
// see one history.
//
// To fit into the chain is no proof: a reader of the topic can compute the next link. Readers also
// compare outcomes with their own decisions.
#pragma once

#include "certsync/model/key.h"

struct cs_chain_record {
    int64_t offset;
    struct cs_bytes key;
    struct cs_bytes value;
};

enum cs_chain_link {
    CS_CHAIN_NEXT,    // the next number
    CS_CHAIN_COPY,    // an earlier number again: a paused old owner may publish it later
    CS_CHAIN_FOREIGN, // no consumer wrote it; counts for nothing
    CS_CHAIN_BROKEN, // a consumer may have written it, but it does not follow: outcomes were lost, or it is of another history
};

struct cs_chain {
    int32_t partition;
    int64_t last;       // number of the last one that counts
    uint8_t sha256[32]; // of its value; zeros before number 1
    int64_t foreign;    // records that were foreign
    int64_t foreign_at; // offset of the first of them; -1: none
};
// last, sha256: where the reader is; NULL means the zeros of the begin.
void cs_chain_begin(struct cs_chain *c, int32_t partition, int64_t last, const uint8_t sha256[32]);
// What kind of record it is, and its number if it has one (else -1). CS_CHAIN_NEXT moves the chain
// on.
enum cs_chain_link cs_chain_take(struct cs_chain *c, struct cs_crypto *crypto,
                                 const struct cs_chain_record *r, int64_t *ret_n);

// The number of a record that a consumer may have written at this place, judged by the record
// alone: it reads as an outcome of the partition, its key is its account, and there is room before
// it for so many outcomes and events. -1: no consumer wrote it.
int64_t cs_chain_plausible(const struct cs_chain_record *r, int32_t partition);

// The number in an outcome's JSON, which must begin as CS_OUTCOME_HEAD says; else -1.
int64_t cs_outcome_number(struct cs_bytes value);

// "the record at offset … is outcome 9, which does not follow outcome 6": FATAL. Always false.
bool cs_chain_broken(const struct cs_chain *c, const char *topic, int64_t offset, int64_t n,
                     struct cs_err *err);
