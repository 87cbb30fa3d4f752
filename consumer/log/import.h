// SPDX-License-Identifier: Apache-2.0
//
// What an import needs to know of an export before it writes anything: whether the log in it is whole,
// and as it was judged.
#pragma once

#include "log/corrections_log.h"
#include "log/export_files.h"
#include "worker/outcome_mark.h"

struct cs_import_part {
    int64_t events, outcomes; // records; offsets are 0 to these
    int64_t judged;           // events that have an outcome: they come first
};
struct cs_import_check {
    struct cs_import_part *parts; // by partition; owned
    size_t largest;               // bytes of the largest record's key, headers and value
    int64_t foreign;              // records among the outcomes that no consumer wrote
};
void cs_import_check_clear(struct cs_import_check *c);
CS_DEFINE_AUTO_CLEAR(struct cs_import_check, cs_import_check_clear)

// Each partition begins with the genesis record of the deployment. Offsets have no gap, since a new
// topic gives none. Outcomes are one chain, and each names the SHA-256 of its record. What was judged
// is not judged again: that is for verify. step: called for each record. CONFIG.
// marks: NULL where there is no service key.
struct cs_import_source {
    const struct cs_export *x;
    struct cs_log *events, *outcomes; // of it
    const struct cs_outcome_marks *marks;
    struct cs_epochs epochs; // its corrections; they must have been carried out
};
CS_MUST_USE bool cs_import_check(const struct cs_import_source *from, struct cs_crypto *crypto,
                                 void (*step)(void *arg), void *arg, struct cs_import_check *ret,
                                 struct cs_err *err);
