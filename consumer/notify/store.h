// SPDX-License-Identifier: Apache-2.0
//
// What a section of notices remembers, in Redis beside the catalogs (redis/key.h): it belongs to no
// generation, so a rebuild and a promotion leave it as it is.
//
//   notice/<section>/at          where in cert.outcomes the section is, and who serves it (holder)
//   notice/<section>/queue       entries that wait, by the time when they are due
//   notice/<section>/doc/<entry> what is to be delivered
//   notice/<section>/told        ids of notices that follow from a clock and were made, by the time when
//                                they may be forgotten
//   notice/<section>/lease       partition 0 only: which process serves the section
//
// All but the queue's members carry a mark (catalog/authentic.h); what is not certsync's own counts
// as absent.
//
// Every change is made in one transaction, and only while `at` names this process as the holder. So a
// process that was paused, and whose lease another one got, changes nothing any more; and what was
// read of the log and what follows from it are noted together or not at all. One thread.
//
// Errors: RETRY (Redis is away), CONFIG. *ret_lost: another process serves the section now.
#pragma once

#include "certsync/model/ident.h"
#include "certsync/model/key.h"
#include "redis/access.h"

struct cs_note_place {
    int64_t offset;     // of the next record of cert.outcomes
    int64_t n;          // number of the last outcome; 0: none
    uint8_t sha256[32]; // of its value
    int64_t since_ms;   // outcomes before this time are none of the section's
    int64_t broken_at;  // offset of the record that does not follow, which was told; -1: none
};

// "<notice id>", or "<notice id>.<number of the contact>".
#define CS_NOTE_ENTRY_MAX   (CS_UUID_LEN + 8)
#define CS_NOTE_CONTACT_MAX 320
#define CS_NOTE_DOC_MAX     16384
#define CS_NOTE_AT_ONCE     100
struct cs_note_entry {
    char entry[CS_NOTE_ENTRY_MAX + 1];
    cs_uuid id;
    int64_t made_ms, due_ms;
    int64_t tries;                         // how often it was refused
    char contact[CS_NOTE_CONTACT_MAX + 1]; // "": the section's only one
    cs_account_id account;
    int64_t told_until_ms; // cs_note_add: remembered as told so long; 0: not at all
    struct cs_bytes text;  // the sentence
    struct cs_bytes event; // the CloudEvent
};

struct cs_note_store;
CS_MUST_USE bool cs_note_store_new(const struct cs_redis_access *access, const char *name_space,
                                   const struct cs_privkey *service, const char *log_id, const char *section,
                                   struct cs_note_store **ret, struct cs_err *err);
void cs_note_store_free(struct cs_note_store *s);
CS_DEFINE_AUTO(struct cs_note_store, cs_note_store_free)

// Takes the lease, or renews it. *ret_held false: another process has it.
CS_MUST_USE bool cs_note_lease(struct cs_note_store *s, int64_t lease_ms, bool *ret_held, struct cs_err *err);
// Gives it back.
CS_MUST_USE bool cs_note_release(struct cs_note_store *s, struct cs_err *err);

// The place of a partition, and how many entries wait. *ret_found false: nothing is remembered.
CS_MUST_USE bool cs_note_read(struct cs_note_store *s, int32_t partition, struct cs_note_place *ret,
                              bool *ret_found, int64_t *ret_waiting, struct cs_err *err);
// Becomes the holder, at this place. Only with the lease.
CS_MUST_USE bool cs_note_begin(struct cs_note_store *s, int32_t partition, const struct cs_note_place *at,
                               struct cs_err *err);
// Adds entries, and moves the place. An entry that waits already stays as it is, but with this due time.
CS_MUST_USE bool cs_note_add(struct cs_note_store *s, int32_t partition, const struct cs_note_place *at,
                             const struct cs_note_entry *entries, size_t n, int64_t *ret_waiting,
                             bool *ret_lost, struct cs_err *err);
// The entries that are due at now_ms, the oldest first, at most CS_NOTE_AT_ONCE; *ret_next_ms: when the
// first of all is due (INT64_MAX: none waits). Texts live until the next call. An entry whose document
// is gone is taken out (*ret_gone counts such).
CS_MUST_USE bool cs_note_due(struct cs_note_store *s, int32_t partition, int64_t now_ms,
                             struct cs_note_entry ret[CS_NOTE_AT_ONCE], size_t *ret_n, int64_t *ret_next_ms,
                             size_t *ret_gone, struct cs_err *err);
// All entries from this place of the queue on, due or not, as cs_note_due gives them. *ret_listed: how
// many there were, with those that are gone.
CS_MUST_USE bool cs_note_list(struct cs_note_store *s, int32_t partition, int64_t from,
                              struct cs_note_entry ret[CS_NOTE_AT_ONCE], size_t *ret_n, size_t *ret_listed,
                              struct cs_err *err);
// Of each notice whether it was told; forgets what may be forgotten at now_ms. n up to CS_NOTE_AT_ONCE.
CS_MUST_USE bool cs_note_told(struct cs_note_store *s, int32_t partition, cs_uuid *ids, size_t n,
                              int64_t now_ms, bool *ret, struct cs_err *err);
// Gives entries another due time.
CS_MUST_USE bool cs_note_postpone(struct cs_note_store *s, int32_t partition,
                                  const struct cs_note_entry *const *entries, size_t n, int64_t due_ms,
                                  bool *ret_lost, struct cs_err *err);
// Takes entries out: they are delivered.
CS_MUST_USE bool cs_note_done(struct cs_note_store *s, int32_t partition,
                              const struct cs_note_entry *const *entries, size_t n, int64_t *ret_waiting,
                              bool *ret_lost, struct cs_err *err);
// Writes an entry again, with its new due_ms and tries.
CS_MUST_USE bool cs_note_later(struct cs_note_store *s, int32_t partition, const struct cs_note_entry *entry,
                               bool *ret_lost, struct cs_err *err);
