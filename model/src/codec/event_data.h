// SPDX-License-Identifier: Apache-2.0
//
// What each type of event has as its subject and its data, internal to model/.
#pragma once

#include "certsync/model/event.h"
#include "codec/fields.h"

enum cs_event_subject {
    CS_SUBJECT_DEPLOYMENT, // the source's
    CS_SUBJECT_ACCOUNT,    // the source's
    CS_SUBJECT_KID,
    CS_SUBJECT_UUID,
};

// What reading and writing need of a row of event_types.h.
struct cs_event_kind {
    int64_t since; // ruleset
    bool account;  // whether the source names one
    enum cs_event_subject subject;
    const struct cs_fields *data; // members of struct cs_event
    bool derived;
    size_t origin, epoch, share, key; // offsets in struct cs_event; 0: none
};

extern const struct cs_event_kind cs_event_kinds[CS_EVENT_TYPE_END];

// Whether its data is data.upload.
bool cs_event_has_chains(const struct cs_event *ev);

// What a reader knows: rows by type (cs_event_kinds; tests of rulesets have others), and the
// ruleset in force.
struct cs_event_grammar {
    const struct cs_event_kind *kinds;
    int64_t ruleset;
};
// As cs_event_decode_view, which reads all that this release knows.
CS_MUST_USE bool cs_event_decode_by(struct cs_event_grammar g, struct cs_bytes value,
                                    struct cs_region *region, struct cs_region *scratch,
                                    struct cs_event **ret, struct cs_err *err);

// The member "source". account stays as it is where it names none.
CS_MUST_USE bool cs_event_source_parse(struct cs_string source, cs_log_id log_id, cs_account_id account,
                                       cs_kid kid);
void cs_event_source_write(struct cs_buf *b, const char *log_id, const char *account, const char *kid);

enum cs_event_type cs_event_type_of(struct cs_string name); // CS_EVENT_NONE where there is none
// REJECT cert.too_many: a chain that was only counted cannot be written.
CS_MUST_USE bool cs_event_data_check(const struct cs_event *ev, struct cs_err *err);
void cs_event_data_write(struct cs_buf *b, const struct cs_event *ev);
