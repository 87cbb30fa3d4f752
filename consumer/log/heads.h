// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints that a partition's outcomes are held against while they are read: those that somebody
// verified before and kept in a file, and those that are published in cert.checkpoints. All are
// signed with the log's checkpoint key.
//
// The file is a text: signed notes (certsync/model/checkpoint.h), each followed by an empty line. Of
// each size class of each partition one is kept, so it stays small, and a difference is bounded by
// two sizes.
#pragma once

#include "certsync/model/checkpoint.h"
#include "certsync/model/correction.h"
#include "log/reader.h"

struct cs_heads;
// log_id is copied. epochs: the log's corrections; borrowed. Each epoch of a partition has checkpoints of
// its own. Those of an epoch that no correction brings count as others.
CS_MUST_USE bool cs_heads_new(struct cs_crypto *crypto, const struct cs_note_key *key, const char *log_id,
                              int32_t partitions, const struct cs_epochs *epochs, struct cs_heads **ret,
                              struct cs_err *err);
void cs_heads_free(struct cs_heads *h);
CS_DEFINE_AUTO(struct cs_heads, cs_heads_free)

// A witness whose cosignatures count in what is read from now on. Returns its index; the same key has the
// same one. CONFIG: too many.
#define CS_HEADS_WITNESSES 16
CS_MUST_USE bool cs_heads_witness(struct cs_heads *h, const struct cs_note_key *key, size_t *ret,
                                  struct cs_err *err);
size_t cs_heads_witnesses(const struct cs_heads *h);
const struct cs_note_key *cs_heads_witness_key(const struct cs_heads *h, size_t witness);

// Reads the file that cs_heads_write wrote; there may be none yet. CONFIG: it is no such file, or of
// another log, or not signed with this key.
CS_MUST_USE bool cs_heads_read(struct cs_heads *h, const char *path, struct cs_err *err);
// Reads what is published for a partition now. Records that are not the log's are only counted.
CS_MUST_USE bool cs_heads_read_log(struct cs_heads *h, struct cs_log *checkpoints, int32_t partition,
                                   struct cs_err *err);

struct cs_head_fault {
    const char *kind; // "rewritten", "cut"
    char text[512];
};
// A partition belongs to one thread, with its own crypto. One call for each size of an epoch, in order: the edge of the tree of the first `size` outcomes. False: there
// is a checkpoint of that size, and it is of other outcomes.
bool cs_heads_step(struct cs_heads *h, struct cs_crypto *crypto, int32_t partition, int64_t epoch,
                   int64_t size, const struct cs_merkle_edge *edge, struct cs_head_fault *ret);
// After the last outcome of a partition's epoch, number `size`. False: a checkpoint says that there are more.
bool cs_heads_end(struct cs_heads *h, int32_t partition, int64_t epoch, int64_t size,
                  struct cs_head_fault *ret);
// The largest checkpoint of a partition that a witness has cosigned, and when it last did so. False:
// none.
struct cs_head_cosigned {
    int64_t size;
    int64_t time_s;
};
bool cs_heads_cosigned(const struct cs_heads *h, int32_t partition, size_t witness,
                       struct cs_head_cosigned *ret);
// Whether there is any checkpoint of a partition's newest epoch.
bool cs_heads_any(const struct cs_heads *h, int32_t partition);
// Writes what has held. A file is replaced.
CS_MUST_USE bool cs_heads_write(const struct cs_heads *h, const char *path, struct cs_err *err);

struct cs_heads_count {
    int64_t kept;      // were read from the file
    int64_t published; // were read from the topic
    int64_t others;    // records of the topic that are not the log's
    int64_t written;   // would be written
};
void cs_heads_count(const struct cs_heads *h, struct cs_heads_count *ret);
void cs_heads_key(const struct cs_heads *h, struct cs_note_key *ret);
// The newest published checkpoint of a partition's newest epoch with at least `least` and at most `most` outcomes,
// as its note; one that a witness has cosigned where there is any, since it proves more; data is NULL if there is none. Borrowed.
struct cs_bytes cs_heads_note(const struct cs_heads *h, int32_t partition, int64_t least, int64_t most,
                              struct cs_checkpoint *ret);
