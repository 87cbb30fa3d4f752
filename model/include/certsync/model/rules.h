// SPDX-License-Identifier: Apache-2.0
//
// The rules: what an event does to a catalog, and whether it may. A decision reads only the working
// set, the prepared event, the record's broker timestamp and the root key: no clock, no setting, no
// randomness. The same log gives the same decisions.
//
// The rules are in one ordered table (rules_table.h); the first broken rule gives the verdict. The
// types are in event_types.h. The order for every event: bytes (prepare.h), system.order (nothing
// but genesis before genesis), signer known, signature, not revoked, sequence, right, account, then
// the type's own rules. An event that fails one of the first six is not examined further, and costs
// only the look-up of its signer.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/outcome.h"
#include "certsync/model/prepare.h"
#include "certsync/model/state.h"

struct cs_rulebook; // internal

struct cs_rule_context {
    struct cs_crypto *crypto;
    const char *log_id;
    int32_t partition;
    int32_t partition_count;
    int64_t epoch;                  // of the outcome that is decided (correction.h)
    const struct cs_pubkey *root;   // P-256
    const struct cs_rulebook *book; // NULL: this release's; tests give one that knows more rulesets
};

// A derived event that a decision emits. The consumer signs it, and publishes it to the partition
// of event->account. Its id is a UUIDv8 of SHA-256("certsync.derived.v1", log id, source event id, n, and the
// epoch if it is not 0). Its
// time is the record's timestamp. seq and kid are filled in at publishing (seq = derived number,
// kid = service key).
struct cs_derived {
    size_t len;
    struct cs_event **events; // owned
};

struct cs_decision {
    struct cs_verdict verdict;
    struct cs_derived derived;
};
void cs_decision_clear(struct cs_decision *d);
CS_DEFINE_AUTO_CLEAR(struct cs_decision, cs_decision_clear)

// Decides one record against state. True with *ret_needed false: state keeps the changes, and *ret
// is filled. True with *ret_needed true: state is as before, and says what it needs. False: FATAL
// (memory, or a document that cannot be read), or CONFIG for a validly signed system.ruleset above
// CS_RULESET_LATEST (stop before anything is judged).
CS_MUST_USE bool cs_decide(const struct cs_rule_context *ctx, struct cs_state *state,
                           const struct cs_record *r, struct cs_prepared *p, struct cs_decision *ret,
                           bool *ret_needed, struct cs_err *err);

// Notes in state what deciding this record reads, as far as the loaded documents tell. It decides
// and writes nothing. True: something is needed. A worker calls it for each record of a batch
// before it decides the first one, loads, and calls it again for those that answered true. So a
// batch costs a few loads, not one for each record. It is only a help: cs_decide notes what is
// still missing. It also examines signature and content, if that was not done.
bool cs_decide_touch(const struct cs_rule_context *ctx, struct cs_state *state, const struct cs_record *r,
                     struct cs_prepared *p);

// The rule book for people: each rule's types, code and sentence, in the order of checking. Who may
// send a type is a rule, too.
struct cs_rule_info {
    // 1 << type for each type that it checks; all bits: every event; 0: the types that sender may
    // send
    uint64_t types;
    int sender; // internal
    enum cs_code code;
    // the first and the last ruleset that has it; INT64_MAX: no end yet
    int64_t since, last;
    const char *sentence;
};
const struct cs_rule_info *cs_rules_list(size_t *ret_n);
bool cs_rule_applies(const struct cs_rule_info *rule, enum cs_event_type t);
// "certificate.upload, csr.add"; "every event"; nothing where no type has it (yet).
void cs_rule_types(const struct cs_rule_info *rule, struct cs_buf *out);
