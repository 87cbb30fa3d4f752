// SPDX-License-Identifier: Apache-2.0
//
// Who wrote a record of cert.outcomes. Anybody who may write to the topic can put a record there
// that fits in form and chain. So each record of a consumer carries a mark, in the header
// certsync-mark:
//
//   <first 8 digits of the service key's id>.<MAC as base64url, 22 characters>
//
// The MAC (certsync/model/mac.h) is over partition, key and value. Its secret is derived from the
// service's private key and the log's id: nobody else can make one, and it is worth nothing in
// another partition or log. It says who wrote, not when: a record can be copied with its mark, and
// counts only once (outcome_chain.h).
//
// Whoever has no service key (an auditor) sees only whether there is a mark. One thread.
#pragma once

#include "certsync/model/prepare.h"
#include "worker/keyfile.h"

#define CS_OUTCOME_MARK_HEADER "certsync-mark"
#define CS_OUTCOME_MARK_KID    8
#define CS_OUTCOME_MARK_LEN    (CS_OUTCOME_MARK_KID + 1 + 22)
#define CS_OUTCOME_MARK_SIZE   (CS_OUTCOME_MARK_LEN + 1)

struct cs_outcome_marks;
// log_id: what tells this log from others. The keys are not kept. CONFIG, FATAL: as cs_mac_root.
CS_MUST_USE bool cs_outcome_marks_new(struct cs_crypto *crypto, const struct cs_service_keys *service,
                                      const char *log_id, struct cs_outcome_marks **ret, struct cs_err *err);
void cs_outcome_marks_free(struct cs_outcome_marks *m);
CS_DEFINE_AUTO(struct cs_outcome_marks, cs_outcome_marks_free)

// The mark of a record, NUL-terminated. key: an account, or empty.
void cs_outcome_mark(const struct cs_outcome_marks *m, int32_t partition, struct cs_bytes key,
                     struct cs_bytes value, char ret[CS_OUTCOME_MARK_SIZE]);

enum cs_outcome_writer {
    CS_WRITER_NONE, // it carries no mark, or more than one
    // Its mark names this service key, or an earlier one that is known, and is not of it; or earlier
    // ones are known, and it names none of them.
    CS_WRITER_FALSE,
    // Its mark names a service key that is not known, and no earlier one is. m NULL: any key.
    CS_WRITER_OTHER,
    CS_WRITER_EARLIER, // who had an earlier service key wrote it
    CS_WRITER_OWN,     // who has the service key wrote it
};
// m: NULL where there is no service key.
enum cs_outcome_writer cs_outcome_writer(const struct cs_outcome_marks *m, const struct cs_record *r);
