// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints (https://c2sp.org/tlog-checkpoint): the head of a partition's outcomes as a signed
// note (note.h):
//
//   <log id>/partitions/<p>        the origin; /epochs/<e> follows if the epoch is not 0
//   1234                           how many outcomes
//   <base64>                       root of the Merkle tree (merkle.h) over their values
//
//   — <log id> <signature>
//
// Leaf i is the value of outcome i+1, byte for byte. All partitions are signed with one key, named
// by the log's id and derived from the service's private key. So there is no second secret to keep,
// and one text (cs_note_key_text) verifies them all.
//
// Who signed a checkpoint cannot change what came before it without being shown: two checkpoints
// that do not fit together prove it.
//
// Proofs (https://c2sp.org/tlog-proof): that one outcome is in the tree of a checkpoint. "extra" is
// the outcome's value.
#pragma once

#include "certsync/model/ident.h"
#include "certsync/model/mac.h"
#include "certsync/model/merkle.h"
#include "certsync/model/note.h"

#define CS_ORIGIN_MAX CS_NOTE_NAME_MAX

struct cs_checkpoint {
    char origin[CS_ORIGIN_MAX + 1];
    int64_t size;
    struct cs_hash root;
};

// Each epoch (correction.h) has a tree of its own, of the outcomes that count in it.
void cs_checkpoint_origin(const char *log_id, int32_t partition, int64_t epoch, char out[CS_ORIGIN_MAX + 1]);
// Whether a checkpoint is of that partition; and of which epoch.
bool cs_checkpoint_is_of(const struct cs_checkpoint *p, const char *log_id, int32_t partition,
                         int64_t *ret_epoch);
// The key that signs the log's checkpoints. CONFIG, FATAL: as cs_mac_root.
CS_MUST_USE bool cs_checkpoint_signer(struct cs_crypto *c, const struct cs_privkey *service,
                                      const char *log_id, struct cs_note_signer **ret, struct cs_err *err);
// Appends the note.
CS_MUST_USE bool cs_checkpoint_sign(struct cs_crypto *c, const struct cs_note_signer *s,
                                    const struct cs_checkpoint *p, struct cs_buf *b, struct cs_err *err);
// A note's text as a checkpoint; lines behind the root are not read. REJECT if it is none.
CS_MUST_USE bool cs_checkpoint_parse(struct cs_bytes text, struct cs_checkpoint *ret, struct cs_err *err);
// A note as a checkpoint that the key has signed. REJECT.
CS_MUST_USE bool cs_checkpoint_open(struct cs_crypto *c, struct cs_bytes note, const struct cs_note_key *k,
                                    struct cs_checkpoint *ret, struct cs_err *err);
// Eight classes for each doubling of the size, rising. One checkpoint of each is enough for a thin
// history.
int cs_checkpoint_class(int64_t size);

#define CS_PROOF_MAX (2 * 1024 * 1024) // bytes of a proof that is read
struct cs_proof {
    struct cs_bytes value; // of the outcome; owned if cs_proof_parse made it
    int64_t index;         // the outcome's number - 1
    struct cs_merkle_path path;
    struct cs_bytes note; // the checkpoint; borrowed
};
void cs_proof_put(struct cs_buf *b, const struct cs_proof *p);
// Views into text but for the value. REJECT: what is wrong with the form.
CS_MUST_USE bool cs_proof_parse(struct cs_bytes text, struct cs_proof *ret, struct cs_err *err);
void cs_proof_clear(struct cs_proof *p); // of a parsed one
CS_DEFINE_AUTO_CLEAR(struct cs_proof, cs_proof_clear)
// Whether the key has signed the checkpoint, and the value is in its tree at that index. REJECT if
// not. It does not look into the value.
CS_MUST_USE bool cs_proof_check(struct cs_crypto *c, const struct cs_proof *p, const struct cs_note_key *k,
                                struct cs_checkpoint *ret, struct cs_err *err);
