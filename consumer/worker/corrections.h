// SPDX-License-Identifier: Apache-2.0
//
// The corrections of a log (certsync/model/correction.h), as the topic cert.corrections has them. It is
// read whole before anything is judged, and to its end again and again while a consumer runs.
//
// One thread reads. Any thread may look: the list only grows, and what is in it never changes.
#pragma once

#include "certsync/model/correction.h"
#include "worker/topic.h"

struct cs_corrections;
// What the list is held against; borrowed for its life.
struct cs_corrections_of {
    const char *log_id;
    struct cs_bytes root_spki;
    int32_t partition_count;
};
CS_MUST_USE bool cs_corrections_new(const struct cs_corrections_of *of, struct cs_corrections **ret,
                                    struct cs_err *err);
void cs_corrections_free(struct cs_corrections *c); // takes NULL
CS_DEFINE_AUTO(struct cs_corrections, cs_corrections_free)

// The corrections that were read. NULL: none.
struct cs_epochs cs_corrections_now(const struct cs_corrections *c);

// The next record of the topic. *ret_counts false: it counts for nothing, or a second time (then *why is
// empty), and *why says why. FATAL: there are more than CS_CORRECTIONS_MAX.
CS_MUST_USE bool cs_corrections_take(struct cs_corrections *c, const struct cs_record *r, bool *ret_counts,
                                     struct cs_err *why, struct cs_err *err);
// Reads on to the topic's present end, and logs what is found. RETRY, CONFIG; FATAL: records are gone.
CS_MUST_USE bool cs_corrections_read(struct cs_corrections *c, struct cs_topic *topic, int64_t timeout_ms,
                                     struct cs_err *err);
