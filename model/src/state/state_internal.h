// SPDX-License-Identifier: Apache-2.0
//
// What state.c (documents, staging) and state_index.c (indexes) share.
#pragma once

#include "certsync/base/grow.h"
#include "certsync/base/keyed.h"
#include "certsync/base/region.h"
#include "certsync/model/state.h"

struct value {
    void *decoded; // what cs_state_look has been given to keep; owned
    size_t len;
    uint8_t data[];
};

struct doc {
    struct cs_keyed keyed;
    struct value *value; // NULL: absent (or not known)
    bool known;
    bool dirty;   // in the list of changes
    bool noted;   // in the list of needed
    bool passing; // it, and its values, lie in the region of what passes
    char key[];
};

struct entry { // a member of an index
    struct cs_keyed keyed;
    int64_t score;
    char name[];
};

struct index {
    struct cs_keyed keyed;
    struct cs_keyed_table by_name;
    struct cs_member *members; // in order; names belong to the entries
    size_t len;
    size_t cap;
    bool known;
    bool noted;
    // Scratch of cs_ops_merge: the trim that follows, and the lowest score that is added before it.
    size_t later_keep; // SIZE_MAX: none
    int64_t later_score;
    char key[];
};

// One write to an index. If the index was known, it was carried out, and this holds what takes it
// back.
struct op {
    enum cs_change_kind kind;
    struct index *index;
    const char *member; // lies in members of the state
    int64_t score;
    size_t keep;
    bool done;
    bool merged; // a later one says the same
    bool had;    // the member was there, with
    int64_t old_score;
    struct cs_member *trimmed; // names owned
    size_t trimmed_len;
};

struct undo {
    struct doc *doc;
    struct value *value;
    bool known;
    bool dirty;
};

struct cs_state {
    bool complete;
    bool staging;
    bool out_of_memory;
    bool (*stays)(const char *key); // NULL: all documents stay
    struct cs_keyed_table docs;     // those that stay
    struct cs_keyed_table passing;  // and the others
    struct cs_region passing_memory;
    size_t held; // bytes of documents that stay, with what it takes to keep them
    struct cs_keyed_table indexes;
    size_t indexes_held; // bytes of indexes and their members
    struct cs_buf scratch;
    struct cs_needed *needed;
    size_t needed_len, needed_cap;
    struct undo *undo; // of the documents written since begin
    size_t undo_len, undo_cap;
    struct doc **dirty;
    size_t dirty_len, dirty_cap, dirty_mark;
    struct op *ops;
    size_t ops_len, ops_cap, ops_mark;
    struct cs_region members; // what the operations name
};

// Returns whether there was memory; remembers it if there was none.
static inline bool cs_state_fits(struct cs_state *s, bool fits) {
    s->out_of_memory |= !fits;
    return fits;
}
// key: a document's or an index' own.
void cs_state_note(struct cs_state *s, const char *key, bool index, bool *noted);

void cs_index_free(struct cs_state *s, struct index *x);
// Of a complete state: deletes the documents that go with the members that the stage's trims took off.
void cs_ops_take_documents(struct cs_state *s);
void cs_op_settle(struct op *op);                     // it is kept: drops what would take it back
void cs_op_revert(struct cs_state *s, struct op *op); // takes it back
// Marks the trims that a later trim of the same index makes superfluous.
void cs_ops_merge(const struct cs_state *s);
