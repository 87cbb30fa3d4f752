// SPDX-License-Identifier: Apache-2.0
//
// What each type of event has as its subject and its data, internal to model/.
#pragma once

#include "certsync/model/event.h"
#include "fields.h"

enum cs_event_subject {
    CS_SUBJECT_DEPLOYMENT, // the source's
    CS_SUBJECT_ACCOUNT,    // the source's
    CS_SUBJECT_KID,
    CS_SUBJECT_UUID,
};

// Of a row of event_types.h what reading and writing needs.
struct cs_event_kind {
    bool account; // whether the source names one
    enum cs_event_subject subject;
    const struct cs_fields *data; // members of struct cs_event
    bool derived, quiet;
    size_t origin, share, key; // offsets in struct cs_event; 0: none
};

enum cs_event_type cs_event_type_of(struct cs_string name); // CS_EVENT_NONE where there is none
// NULL for CS_EVENT_NONE and what is no type.
const struct cs_event_kind *cs_event_kind(enum cs_event_type t);
// REJECT cert.too_many: a chain that was only counted cannot be written.
CS_MUST_USE bool cs_event_data_check(const struct cs_event *ev, struct cs_err *err);
void cs_event_data_write(struct cs_buf *b, const struct cs_event *ev);
