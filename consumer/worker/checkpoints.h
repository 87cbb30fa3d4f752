// SPDX-License-Identifier: Apache-2.0
//
// The checkpoints of cert.checkpoints (certsync/model/checkpoint.h): what a worker publishes there,
// and the newest that was published, against which a partition's start and its replay are held.
//
// A record: key "<partition>/<class>" (cs_checkpoint_class; "/<epoch>" follows if it is not 0), value the signed note, in the
// partition's own partition of the topic. The topic is compacted. So of each class one stays, and
// history is thin. Records by other keys or of other logs count for nothing.
//
// Witnesses (cosign/cosigners.h) cosign them: key "<partition>/witness/<name of its key>", value the
// note with the lines of all witnesses that cosigned it, in the same partition. So of each witness the
// newest stays. For every reader these are checkpoints like the others.
//
// A worker publishes a partition's checkpoint after a commit, at most one a second, and none that is
// not of what is committed. It does not wait for the acknowledgement. What could not be published is
// tried again a second later; verdicts do not wait for it.
#pragma once

#include "certsync/model/checkpoint.h"
#include "worker/publish.h"
#include "worker/topic.h"

// Where a partition's checkpoints stand.
struct cs_checkpoint_stand {
    // The newest that is published: by this worker, or found at the start. size 0: none.
    struct cs_checkpoint newest;
    struct cs_checkpoint sent; // by this worker, and perhaps not acknowledged yet
    int64_t sent_ms;           // when; 0: it has not sent any
    bool failing;              // it could not be published, and that was reported
};

// Reads the newest checkpoint that the key signed for this epoch of the partition; waits for it. *ret_others: how
// many of the records that were read are not the log's. No checkpoint: ret->size is 0.
CS_MUST_USE bool cs_checkpoints_newest(struct cs_topic *checkpoints, struct cs_crypto *crypto,
                                       const struct cs_note_key *key, const char *log_id, int32_t partition,
                                       int64_t epoch, int64_t timeout_ms, struct cs_checkpoint *ret,
                                       int64_t *ret_others, struct cs_err *err);

// A record of the topic as a checkpoint of this log's partition, and its epoch. False: it is not one,
// and *why says what it is.
bool cs_checkpoint_of_record(struct cs_crypto *crypto, const struct cs_note_key *key, const char *log_id,
                             int32_t partition, struct cs_bytes value, struct cs_checkpoint *ret,
                             int64_t *ret_epoch, struct cs_err *why);

// "topic … holds a checkpoint of … outcomes with another root": FATAL. Always false.
bool cs_checkpoint_fork(const char *topic, const struct cs_checkpoint *published, struct cs_err *err);

// Signs and sends the checkpoint of so many outcomes.
CS_MUST_USE bool cs_checkpoints_send(struct cs_publisher *to, struct cs_crypto *crypto,
                                     const struct cs_note_signer *signer, int32_t partition, int64_t epoch,
                                     const struct cs_checkpoint *p, struct cs_err *err);
