// SPDX-License-Identifier: Apache-2.0
//
// Decides one batch of a partition: verdicts become numbered and chained outcomes, outcome
// documents in the working set, and signed derived events. Pure except for the signing: everything
// is a function of the position, the working set and the records. Nothing is published or committed
// here.
#pragma once

#include "certsync/model/checkpoint.h"
#include "certsync/model/codes.h"
#include "certsync/model/correction.h"
#include "certsync/model/rules.h"
#include "certsync/model/sign.h"
#include "worker/keycache.h"

struct cs_batch_record { // one record and what prepare made of it; owned by the caller
    struct cs_record record;
    struct cs_prepared *prepared;
    bool sender_time; // its time is not the broker's: only a published outcome proves it
};

struct cs_applied_outcome {
    int64_t n;
    size_t at, len;      // of its JSON in values
    const char *account; // key of its record; borrowed from the batch's event, or ""
    enum cs_status status;
    enum cs_code code;
    size_t concludes;
    bool proven; // who sent it // how many earlier outcomes, pending until now, it ends
};

struct cs_applied_derived {
    int64_t outcome_n; // of the outcome that it comes with
    int32_t partition; // where it goes
    cs_account_id account;
    size_t at, len; // of its JSON in values
    size_t sig_len;
    char sig[(CS_EVENT_SIG_MAX + 2) / 3 * 4]; // base64, not terminated
};

struct cs_apply_context {
    struct cs_rule_context rules;     // its epoch is set for each record
    struct cs_epochs epochs;          // the log's corrections
    const struct cs_privkey *service; // signs derived events
    const char *service_kid;
    struct cs_key_cache *keys; // learns the keys of senders; may be NULL
    // A batch ends early, between two records, if its results, or the documents it loaded, take
    // more bytes than this. Its first record is always decided. Where a batch ends changes no
    // verdict. 0: never.
    size_t batch_memory;
    bool verdicts_only; // documents of outcomes are not kept: no rule reads them
    // A checkpoint of the partition that was published, and where (for the message). An outcome
    // with its number must make its root; otherwise FATAL. NULL: none.
    const struct cs_checkpoint *checkpoint;
    const char *checkpoints_name;
};

struct cs_apply {
    struct cs_position from; // where the batch begins
    struct cs_position to;   // where what was decided ends
    size_t decided;          // how many records were
    // Bytes of the working set: when the batch began, that were loaded since, and when the last
    // load began.
    size_t held, loaded, held_before_load;
    bool torn; // a failure left part of a record in the working set: nothing of it may be committed
    struct cs_buf values;
    struct cs_applied_outcome *outcomes;
    size_t outcomes_len, outcomes_cap;
    struct cs_applied_derived *derived;
    size_t derived_len, derived_cap;
    struct cs_buf scratch;
    bool *touched; // by record: what it reads is known as far as it can be
    size_t touched_cap;
};

void cs_apply_init(struct cs_apply *a);
void cs_apply_clear(struct cs_apply *a);
CS_DEFINE_AUTO_CLEAR(struct cs_apply, cs_apply_clear)
// Begins a batch; keeps the memory of the last one. Notes in state what the records will probably
// need, as far as one load should bring it. (A complete working set needs nothing: n may be 0
// then.)
void cs_apply_begin(const struct cs_apply_context *ctx, struct cs_apply *a, const struct cs_position *from,
                    struct cs_state *state, const struct cs_batch_record *records, size_t n);

// Decides records[a->decided] and on. True with *ret_needed: state says what must be loaded; call
// again with the same records, also after a load of only a part (catalog.h). True without:
// a->decided records are decided. These are all, or as many as batch_memory allows; the rest is for
// another batch. False: FATAL, RETRY (judged already) or CONFIG (unknown ruleset) at
// records[a->decided]. The records before it are good, and may be committed unless a->torn.
CS_MUST_USE bool cs_apply_decide(const struct cs_apply_context *ctx, struct cs_apply *a,
                                 struct cs_state *state, const struct cs_batch_record *records, size_t n,
                                 bool *ret_needed, struct cs_err *err);

static inline struct cs_bytes cs_apply_value(const struct cs_apply *a, size_t at, size_t len) {
    return (struct cs_bytes){a->values.data + at, len};
}

// Splits the outcome document {"outcome":{…},"final":…?}: the view of the outcome in it, and
// whether it is concluded.
bool cs_outcome_doc_split(struct cs_bytes doc, struct cs_bytes *ret_outcome, bool *ret_final);
