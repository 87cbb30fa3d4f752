// SPDX-License-Identifier: Apache-2.0
//
// The working set that rules read and write: documents (key -> JSON bytes) and indexes (key ->
// members with scores, ordered by score, then by bytes of the member). It is the batch's own
// in-memory catalog. A complete one is a whole catalog in memory.
//
// If a rule reads what the working set does not hold, that is noted as needed, and the answer is
// CS_NEEDED. The rule gives up (cs_decide says so). The caller loads what is noted, and decides
// again. So the rules themselves find out what a batch touches.
//
// cs_state_begin begins a stage of writes. cs_state_keep or cs_state_drop keeps or drops it as a
// whole; a read sees what was staged. One commit writes the changes that were kept since
// cs_state_changes_clear. Not thread-safe. Keys are NUL-terminated, at most CS_STATE_KEY_MAX bytes.
#pragma once

#include "certsync/base/buf.h"
#include "certsync/base/err.h"
#include "certsync/model/event.h"
#include "certsync/model/keys.h"

// The largest document: a certificate's material, whose base64 came in one event, or a certificate
// with CS_SHARES_MAX shares.
#define CS_STATE_DOCUMENT_MAX (2 * CS_EVENT_MAX)

enum cs_look {
    CS_FOUND = 1,
    CS_ABSENT,
    CS_NEEDED, // not loaded: noted
};

struct cs_member {
    const char *name; // NUL-terminated
    int64_t score;
};

struct cs_state;
// complete: what it does not hold does not exist, and nothing is ever needed (the memory catalog).
CS_MUST_USE bool cs_state_new(bool complete, struct cs_state **ret, struct cs_err *err);
void cs_state_free(struct cs_state *s);
CS_DEFINE_AUTO(struct cs_state, cs_state_free)

// Reads. *ret is borrowed until the next write or fill of the same key, or cs_state_forget.
enum cs_look cs_state_get(struct cs_state *s, const char *key, struct cs_bytes *ret);
// As cs_state_get. *ret_decoded is a place beside the document for its decoded form: NULL at first,
// then the malloc'ed memory that the caller leaves there. It is freed with the bytes, when they
// change or are forgotten. So a document that every event reads need not be decoded for every
// event.
enum cs_look cs_state_look(struct cs_state *s, const char *key, struct cs_bytes *ret, void ***ret_decoded);
// All members in order. *ret is borrowed until the next call on this state that changes anything.
enum cs_look cs_state_list(struct cs_state *s, const char *key, const struct cs_member **ret, size_t *ret_n);
// Whether member is in the index, and its score.
enum cs_look cs_state_member(struct cs_state *s, const char *key, const char *member, int64_t *ret_score);

// Writes, between begin and keep or drop. They never need a load: an index that was not loaded
// takes adds, removes and trims all the same. Out of memory is sticky; cs_state_keep reports it.
void cs_state_begin(struct cs_state *s);
// Copies value. Returns the place for its decoded form (cs_state_look); NULL: out of memory.
void **cs_state_put(struct cs_state *s, const char *key, struct cs_bytes value);
void cs_state_delete(struct cs_state *s, const char *key);
void cs_state_add(struct cs_state *s, const char *key, const char *member,
                  int64_t score); // or changes its score
void cs_state_remove(struct cs_state *s, const char *key, const char *member);
// A trimmed index must get members with rising scores only. Then the trims of one batch can be
// merged into the last. What goes with a member that is taken off (cs_key_of_trimmed) goes in the
// commit. A state that is not complete does not know which these are: nothing that is judged may
// depend on whether such a document is still there.
void cs_state_trim(struct cs_state *s, const char *key, size_t keep_highest);
CS_MUST_USE bool cs_state_keep(struct cs_state *s, struct cs_err *err);
void cs_state_drop(struct cs_state *s);

// Loading. Needed keys, each once, in the order of noting. Valid until a read notes more, or until
// they are cleared.
struct cs_needed {
    const char *key;
    bool index;
};
size_t cs_state_needed(const struct cs_state *s, const struct cs_needed **ret);
// Forgets the notes (after they were filled, or when the batch is thrown away).
void cs_state_needed_clear(struct cs_state *s);
// What the catalog holds; value.data NULL: absent. Does not count as a change.
CS_MUST_USE bool cs_state_fill_needed(struct cs_state *s, size_t i, struct cs_bytes value,
                                      struct cs_err *err); // needed[i], a document
CS_MUST_USE bool cs_state_fill(struct cs_state *s, const char *key, struct cs_bytes value,
                               struct cs_err *err);
CS_MUST_USE bool cs_state_fill_index(struct cs_state *s, const char *key, const struct cs_member *members,
                                     size_t n, struct cs_err *err);

// The kept changes, net: a document once, with its last value; index operations in the order they
// were made.
enum cs_change_kind { CS_CHANGE_PUT = 1, CS_CHANGE_DELETE, CS_CHANGE_ADD, CS_CHANGE_REMOVE, CS_CHANGE_TRIM };
struct cs_change {
    enum cs_change_kind kind;
    const char *key;       // the very same pointer for changes of the same document or index
    struct cs_bytes value; // PUT
    const char *member;    // ADD, REMOVE
    int64_t score;         // ADD
    size_t keep;           // TRIM; takes documents along (cs_key_of_trimmed)
};
// Calls fn for each; stops and returns false where fn does.
bool cs_state_changes(const struct cs_state *s, bool (*fn)(void *arg, const struct cs_change *change),
                      void *arg);
size_t cs_state_changes_count(const struct cs_state *s);
void cs_state_changes_clear(struct cs_state *s);
// Most of what a batch touches is never seen again. From now on, documents that stays(key) does not
// name live only until cs_state_forget_passing. Call it while nothing is held.
void cs_state_set_stays(struct cs_state *s, bool (*stays)(const char *key));
// Between batches: nothing is noted, staged or kept as a change.
void cs_state_forget_passing(struct cs_state *s);
// Memory for a document that is being written, kept between decisions. Reset it before you begin a
// document.
struct cs_buf *cs_state_scratch(struct cs_state *s);
// About how much memory documents, indexes and changes take, in bytes.
size_t cs_state_held(const struct cs_state *s);
// Drops everything held (a new batch that must load afresh). On a complete state: empties the
// catalog.
void cs_state_forget(struct cs_state *s);
// Every document and index in byte order of the keys, for comparison and dumps. Stops where fn
// returns false.
bool cs_state_each(const struct cs_state *s, bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                   bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n),
                   void *arg);
