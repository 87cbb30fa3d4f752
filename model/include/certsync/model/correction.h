// SPDX-License-Identifier: Apache-2.0
//
// Corrections: how verdicts that were wrong are set right, in the open. A published outcome stays for
// ever. Root may say that a partition's outcomes from number `from` on are judged anew: they are
// published again with the next epoch. Both stay readable, and the newer ones count.
//
// Corrections are no events: they lie beside the log, in a topic of their own, cert.corrections (one
// partition), since whoever replays the log must know of them before the first outcome.
//
// A record has the form of a record of cert.events: headers content-type and certsync-sig (sign.h),
// an empty key, and as value a CloudEvents 1.0 JSON object, decoded as strictly (event.h):
//
//   specversion "1.0", type "certsync.system.correction.v1", id, source "//<log id>/keys/<root's kid>",
//   subject the deployment's name, time, datacontenttype "application/json",
//   data {partition, from, reason}
//
// **Epochs.** The k-th correction of a partition, in the order of the topic, begins epoch k at its
// `from`. The epoch of number n is the highest that begins at n or before; 0 if there is none. Of each
// number the outcome with that epoch counts (worker/outcome_chain.h). So which outcomes count is a
// function of the list alone.
#pragma once

#include "certsync/model/prepare.h"

#define CS_CORRECTION_TYPE "certsync.system.correction.v1"
#define CS_CORRECTION_MAX  4096 // bytes of a value
#define CS_CORRECTIONS_MAX 1000 // that a log may have

struct cs_correction {
    cs_uuid id;
    cs_log_id log_id;
    cs_kid kid;
    int64_t time_s;
    int32_t partition;
    int64_t from; // at least 1
    char reason[CS_NAME_MAX + 1];
};
// Writes the record value, as decode reads it. REJECT event.malformed: decode would refuse it.
CS_MUST_USE bool cs_correction_encode(const struct cs_correction *c, struct cs_buf *out, struct cs_err *err);
// REJECT event.too_large, event.malformed.
CS_MUST_USE bool cs_correction_decode(struct cs_bytes value, struct cs_correction *ret, struct cs_err *err);
// A record as a correction of this log that root has signed. REJECT: why it counts for nothing.
CS_MUST_USE bool cs_correction_open(struct cs_crypto *crypto, const struct cs_pubkey *root,
                                    const char *log_id, int32_t partition_count, const struct cs_record *r,
                                    struct cs_correction *ret, struct cs_err *err);

// The corrections of a log, as far as they were read, in the order of the topic. A view: small, and
// copied as a value. Zeroed: there are none.
struct cs_epochs {
    const struct cs_correction *list; // borrowed; what it points to never changes
    size_t len;
};
// The epoch of number n of a partition's outcomes.
int64_t cs_epoch_of(const struct cs_epochs *e, int32_t partition, int64_t n);
// The newest epoch of a partition: how many corrections it has.
int64_t cs_epoch_last(const struct cs_epochs *e, int32_t partition);
// The list as it was when the partition had no later epoch than this one.
struct cs_epochs cs_epochs_until(const struct cs_epochs *e, int32_t partition, int64_t epoch);
// The correction with which an epoch of a partition began. NULL: there is none.
const struct cs_correction *cs_epoch_began(const struct cs_epochs *e, int32_t partition, int64_t epoch);
