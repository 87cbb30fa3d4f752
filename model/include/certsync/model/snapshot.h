// SPDX-License-Identifier: Apache-2.0
//
// A snapshot: a partition's whole catalog at one position, from which one may go on judging. Its
// bytes are a function of the log:
//
//   certsync snapshot 1
//   <log id>/partitions/<p>/snapshot       the origin: /epochs/<e> is before /snapshot if the epoch
//                                          of the position (correction.h) is not 0
//   {"next_offset":…}                      the position (entry.h)
//   'd' key value                          for each document and index, in byte order of the keys;
//   'i' key count (member score)…          a document before the index of the same key
//   'e'                                    the end; nothing follows
//
// Keys and members have their length in 2 bytes before them, values theirs in 4; counts have 4 bytes,
// scores 8. All are big-endian, scores in two's complement.
//
// The statement says what was snapshot. It is a signed note (note.h) by the key that signs
// checkpoints. Its first three lines are a checkpoint's (checkpoint.h), with another origin:
//
//   <log id>/partitions/<p>/snapshot
//   1234                           how many outcomes
//   <base64>                       root of their tree
//   next_offset 1234
//   catalog <base64>               SHA-256 of the snapshot's bytes
//
//   — <log id> <signature>
//
// It proves who said it, and only judging proves that it is true. Who signed two statements of the same
// outcomes of an epoch with different catalogs has shown that one of them is a lie.
#pragma once

#include "certsync/model/checkpoint.h"
#include "certsync/model/entry.h"
#include "certsync/model/state.h"

struct cs_snapshot {
    struct cs_checkpoint at; // with the snapshot's origin
    int64_t epoch;           // of the position; cs_snapshot_of and cs_snapshot_is_of set it
    int64_t next_offset;
    struct cs_hash catalog;
};
void cs_snapshot_origin(const char *log_id, int32_t partition, int64_t epoch, char out[CS_ORIGIN_MAX + 1]);
// Whether a statement is of that partition. Then its epoch is known.
bool cs_snapshot_is_of(struct cs_snapshot *s, const char *log_id, int32_t partition);
// What the statement says of a catalog with these bytes at this position.
void cs_snapshot_of(struct cs_crypto *c, const char *origin, const struct cs_position *at,
                    const uint8_t sha256[32], struct cs_snapshot *ret);
bool cs_snapshot_equal(const struct cs_snapshot *a, const struct cs_snapshot *b);
// Appends the note.
CS_MUST_USE bool cs_snapshot_sign(struct cs_crypto *c, const struct cs_note_signer *s,
                                  const struct cs_snapshot *v, struct cs_buf *b, struct cs_err *err);
// A note as a statement that the key has signed. REJECT.
CS_MUST_USE bool cs_snapshot_open(struct cs_crypto *c, struct cs_bytes note, const struct cs_note_key *k,
                                  struct cs_snapshot *ret, struct cs_err *err);

// Gives the snapshot of a state to put, piece by piece. The state must be complete, with nothing staged.
CS_MUST_USE bool cs_snapshot_write(const struct cs_state *state, const char *origin,
                                   const struct cs_position *at,
                                   bool (*put)(void *arg, struct cs_bytes piece, struct cs_err *err),
                                   void *arg, struct cs_err *err);
// What of a snapshot is wanted, by its key. It is asked in the order of the keys. The rest is only checked.
struct cs_snapshot_filter {
    bool (*wants)(void *arg, const char *key);
    void *arg;
    // NULL: what is wanted fills the state. Else the state is not complete, and what is wanted becomes its
    // changes; after each document or index this may take them and forget them. So any size fits in memory.
    bool (*taken)(void *arg, struct cs_state *state, struct cs_err *err);
};
// Fills a state, complete and empty, with a snapshot of that origin. take gives the next len bytes, or what is
// left. filter: NULL: all is wanted. Only one form of each catalog is taken. REJECT: what is wrong; then the
// state holds a part.
CS_MUST_USE bool cs_snapshot_read(struct cs_state *state, const char *origin,
                                  bool (*take)(void *arg, uint8_t *to, size_t len, size_t *ret_len,
                                               struct cs_err *err),
                                  void *arg, const struct cs_snapshot_filter *filter, struct cs_position *ret,
                                  struct cs_err *err);
