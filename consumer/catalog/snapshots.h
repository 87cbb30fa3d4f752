// SPDX-License-Identifier: Apache-2.0
//
// A directory of snapshots (certsync/model/snapshot.h):
//
//   DIR/3/00000000000000004711.snap    the catalog of partition 3 after 4711 outcomes, as zstd
//   DIR/3/00000000000000004711.note    the statement: written last, so what has none does not count
//   DIR/3/00000000000000004711.1.snap  in epoch 1: root has had outcomes before it judged anew
//
// A file proves nothing by itself. The statement must be signed with the log's checkpoint key, and the
// file must have the hash that it says. One thread.
//
// Errors: REJECT (it is not what it should be, and says what), RETRY (disk), CONFIG (the path).
#pragma once

#include "certsync/model/correction.h"
#include "certsync/model/snapshot.h"

struct cs_snapshot_dir { // all is borrowed
    const char *path;
    struct cs_crypto *crypto;
    struct cs_note_key key;
    const char *log_id;
};

struct cs_snapshot_list { // of a partition, by number of outcomes, then by epoch, the smallest first
    struct cs_snapshot *items;
    size_t len, cap;
    size_t refused;
};
// The statements that count. refused: is told of each other one. A directory that is not there is empty.
CS_MUST_USE bool cs_snapshots_list(const struct cs_snapshot_dir *d, int32_t partition,
                                   void (*refused)(void *arg, const char *path, const char *why), void *arg,
                                   struct cs_snapshot_list *ret, struct cs_err *err);
void cs_snapshots_clear(struct cs_snapshot_list *l);
CS_DEFINE_AUTO_CLEAR(struct cs_snapshot_list, cs_snapshots_clear)

// Whether a statement is of outcomes that count. *ret_set_aside: root has had some of them judged anew since, so
// it is as true as before, and not wanted. REJECT: it is of an epoch that no correction brings.
CS_MUST_USE bool cs_snapshot_counts(const struct cs_epochs *epochs, int32_t partition,
                                    const struct cs_snapshot *s, bool *ret_set_aside, struct cs_err *err);

// Removes files of the list's snapshots, as of now: of each `stretch` of outcomes the newest stays, of `keep`
// stretches, and none that was set aside. So with 3 or more, one of them has at least `stretch` outcomes behind it. keep 0: all stay.
CS_MUST_USE bool cs_snapshots_thin(const struct cs_snapshot_dir *d, int32_t partition,
                                   const struct cs_snapshot_list *l, const struct cs_epochs *epochs,
                                   int64_t stretch, int64_t keep, int64_t *ret_removed, struct cs_err *err);

#define CS_SNAPSHOT_PATH 4096
// Of the snapshot's file, or of its statement (end: "snap", "note").
CS_MUST_USE bool cs_snapshot_path(const struct cs_snapshot_dir *d, int32_t partition,
                                  const struct cs_snapshot *s, const char *end, char ret[CS_SNAPSHOT_PATH],
                                  struct cs_err *err);

// Fills a state with the snapshot (cs_snapshot_read), and says its position. After a failure the state holds
// a part. Whether the position is of this log is not looked at. filter: NULL: all is wanted.
CS_MUST_USE bool cs_snapshot_load(const struct cs_snapshot_dir *d, int32_t partition,
                                  const struct cs_snapshot *s, const struct cs_snapshot_filter *filter,
                                  struct cs_state *state, struct cs_position *ret, struct cs_err *err);
// What a snapshot of a complete state at a position would be.
CS_MUST_USE bool cs_snapshot_look(struct cs_crypto *crypto, const char *log_id, int32_t partition,
                                  const struct cs_state *state, const struct cs_position *at,
                                  struct cs_snapshot *ret, struct cs_err *err);
// Writes it. *ret_bytes: of the file.
CS_MUST_USE bool cs_snapshot_save(const struct cs_snapshot_dir *d, const struct cs_note_signer *signer,
                                  int32_t partition, const struct cs_state *state,
                                  const struct cs_position *at, struct cs_snapshot *ret, int64_t *ret_bytes,
                                  struct cs_err *err);
