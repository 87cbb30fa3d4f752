// SPDX-License-Identifier: Apache-2.0
//
// Compares the derived events that a replay emits with those in the log. Each that was decided must
// be there as decided, and no others. The signer differs (a replay has no service key): its kid is
// left out. Partitions come one after the other, so both sides are collected, and compared at the
// end.
#pragma once

#include "certsync/model/correction.h"
#include "certsync/model/event.h"

struct cs_derived_check;
// epochs: the log's corrections. What outcomes emitted that were set aside stays in the log, and is no stray.
CS_MUST_USE bool cs_derived_check_new(struct cs_crypto *crypto, const struct cs_epochs *epochs,
                                      struct cs_derived_check **ret, struct cs_err *err);
void cs_derived_check_free(struct cs_derived_check *c);
CS_DEFINE_AUTO(struct cs_derived_check, cs_derived_check_free)

// due: its outcome is published, so it must be in the log.
CS_MUST_USE bool cs_derived_check_emitted(struct cs_derived_check *c, int32_t origin, int64_t epoch,
                                          int64_t offset, int64_t seq, struct cs_bytes value, const char *kid,
                                          bool due, struct cs_err *err);
// A share event with a good signature of the service. due: it is old enough for its cause to be in
// the replay.
CS_MUST_USE bool cs_derived_check_found(struct cs_derived_check *c, int32_t partition, int64_t offset,
                                        const struct cs_event *ev, struct cs_bytes value, bool due,
                                        struct cs_err *err);

enum cs_derived_fault { CS_DERIVED_LOST = 1, CS_DERIVED_STRAY, CS_DERIVED_DIFFERENT };
struct cs_derived_finding {
    enum cs_derived_fault fault;
    int32_t origin;
    int64_t epoch;
    int64_t seq;
    // of the record that it is about: the cause where lost, otherwise the derived event
    int32_t partition;
    int64_t offset;
};
// The first finding in the order of (origin, epoch, seq); strays come after all others, and *ret_strays
// counts them. False if there is none.
bool cs_derived_check_end(struct cs_derived_check *c, struct cs_derived_finding *ret, size_t *ret_strays);
