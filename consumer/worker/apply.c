// SPDX-License-Identifier: Apache-2.0
#include "worker/apply.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "worker/checkpoints.h"

// One record never yields so much. batch_memory ends a batch long before.
#define VALUES_MAX  ((size_t)1024 * 1024 * 1024)
#define SCRATCH_MAX ((size_t)1024 * 1024)
#ifndef CS_APPLY_LOAD_KEYS // tests/sim has less of all these
// For one load. An index counts as many documents.
#define CS_APPLY_LOAD_KEYS    4096
#define CS_APPLY_INDEX_WEIGHT 512
#define CS_APPLY_VALUES_KEPT  ((size_t)8 * 1024 * 1024) // kept for the next batch
#endif

void cs_apply_init(struct cs_apply *a) {
    *a = (struct cs_apply){0};
    cs_buf_init(&a->values, VALUES_MAX);
    cs_buf_init(&a->scratch, SCRATCH_MAX);
}

void cs_apply_clear(struct cs_apply *a) {
    cs_buf_clear(&a->values);
    cs_buf_clear(&a->scratch);
    free(a->outcomes);
    free(a->derived);
    free(a->touched);
    cs_apply_init(a);
}

static bool load_is_large(const struct cs_state *state) {
    const struct cs_needed *needed = NULL;
    size_t n = cs_state_needed(state, &needed);
    size_t weight = n;
    for (size_t i = 0; i < n && weight < CS_APPLY_LOAD_KEYS; i++)
        weight += needed[i].index ? CS_APPLY_INDEX_WEIGHT : 0;
    return weight >= CS_APPLY_LOAD_KEYS;
}

void cs_apply_begin(const struct cs_apply_context *ctx, struct cs_apply *a, const struct cs_position *from,
                    struct cs_state *state, const struct cs_batch_record *records, size_t n) {
    a->from = *from;
    a->to = *from;
    a->decided = 0;
    a->torn = false;
    if (a->touched)
        memset(a->touched, 0, a->touched_cap * sizeof *a->touched);
    a->outcomes_len = 0;
    a->derived_len = 0;
    if (a->values.cap > CS_APPLY_VALUES_KEPT)
        cs_buf_clear(&a->values);
    cs_buf_reset(&a->values);
    a->held = a->held_before_load = cs_state_held(state);
    a->loaded = 0;
    for (size_t i = 0; i < n && !load_is_large(state); i++)
        (void)cs_decide_touch(&ctx->rules, state, &records[i].record, records[i].prepared);
}

bool cs_outcome_doc_split(struct cs_bytes doc, struct cs_bytes *ret_outcome, bool *ret_final) {
    static const char start[] = "{\"outcome\":";
    size_t at = sizeof start - 1;
    if (doc.len < at + 3 || memcmp(doc.data, start, at) != 0 || doc.data[at] != '{')
        return false;
    size_t depth = 0;
    bool in_text = false;
    for (size_t i = at; i < doc.len; i++) {
        uint8_t c = doc.data[i];
        if (in_text && c == '\\')
            i++;
        else if (c == '"')
            in_text = !in_text;
        else if (!in_text && (c == '{' || c == '['))
            depth++;
        else if (!in_text && (c == '}' || c == ']') && --depth == 0) {
            *ret_outcome = (struct cs_bytes){doc.data + at, i + 1 - at};
            *ret_final = i + 1 < doc.len && doc.data[i + 1] == ',';
            return true;
        }
    }
    return false;
}

// Whether the outcomes so far are those that a published checkpoint is of.
static bool check_checkpoint(const struct cs_apply_context *ctx, const struct cs_position *at,
                             struct cs_err *err) {
    const struct cs_checkpoint *p = ctx->checkpoint;
    struct cs_hash root;
    if (!p || p->size != at->outcomes)
        return true;
    cs_merkle_root(ctx->rules.crypto, &at->edge, at->outcomes, &root);
    return cs_hash_equal(&root, &p->root) || cs_checkpoint_fork(ctx->checkpoints_name, p, err);
}

static int64_t next_epoch(const struct cs_apply_context *ctx, const struct cs_apply *a) {
    return cs_epoch_of(&ctx->epochs, ctx->rules.partition, a->to.outcomes + 1);
}

// Derived events of another epoch are others, and numbered anew.
static void move_epoch(struct cs_position *to, int64_t epoch) {
    if (to->epoch == epoch)
        return;
    to->epoch = epoch;
    to->derived = 0;
}

// Appends the outcome of one record to values, and moves the position.
static bool put_outcome(const struct cs_apply_context *ctx, struct cs_apply *a,
                        const struct cs_batch_record *r, const struct cs_verdict *verdict,
                        struct cs_err *err) {
    const struct cs_rule_context *rules = &ctx->rules;
    const struct cs_event *ev = r->prepared->event;
    if (!CS_GROW(&a->outcomes, &a->outcomes_cap, a->outcomes_len + 1))
        return cs_err_oom(err);
    struct cs_outcome o = {
        .n = a->to.outcomes + 1,
        .verdict = *verdict, // borrowed: the decision keeps its conclusions
        .partition = r->record.partition,
        .epoch = next_epoch(ctx, a),
        .offset = r->record.offset,
        .time_ms = r->record.timestamp_ms,
    };
    if (ev) {
        o.type = ev->type;
        o.seq = ev->seq;
        memcpy(o.event, ev->id, sizeof o.event);
        memcpy(o.account, ev->account, sizeof o.account);
        memcpy(o.kid, ev->kid, sizeof o.kid);
    }
    memcpy(o.log_id, rules->log_id, strnlen(rules->log_id, CS_LOG_ID_MAX)); // the rest is zero
    cs_outcome_set_id(rules->crypto, &o);
    memcpy(o.record_sha256, r->prepared->record_sha256, 32);
    memcpy(o.prev_sha256, a->to.chain_sha256, 32);
    size_t at = a->values.len;
    // The JSON writer puts a comma after a finished value. A line end keeps the outcomes apart.
    cs_outcome_encode(&a->values, &o);
    size_t len = a->values.len - at;
    cs_buf_putc(&a->values, '\n');
    if (!cs_buf_ok(&a->values, err))
        return false;
    a->outcomes[a->outcomes_len++] = (struct cs_applied_outcome){.n = o.n,
                                                                 .at = at,
                                                                 .len = len,
                                                                 .account = ev ? ev->account : "",
                                                                 .status = verdict->status,
                                                                 .code = verdict->code,
                                                                 .concludes = verdict->concludes_len,
                                                                 .proven = verdict->signer_known};
    struct cs_hash leaf;
    cs_merkle_leaf(rules->crypto, cs_apply_value(a, at, len), &leaf);
    cs_merkle_append(rules->crypto, &a->to.edge, a->to.outcomes, &leaf);
    cs_crypto_sha256(rules->crypto, cs_apply_value(a, at, len), a->to.chain_sha256);
    memcpy(a->to.record_sha256, r->prepared->record_sha256, 32);
    a->to.outcomes = o.n;
    move_epoch(&a->to, o.epoch);
    a->to.next_offset = r->record.offset + 1;
    return check_checkpoint(ctx, &a->to, err);
}

// Whether the document is of a share that waits for its answer.
static bool is_awaited(struct cs_bytes doc) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_bytes outcome;
    struct cs_err ignored;
    bool final;
    return cs_outcome_doc_split(doc, &outcome, &final) && !final &&
           cs_outcome_decode(outcome, &o, &ignored) && o.verdict.status == CS_STATUS_PENDING;
}

static void put_into_window(struct cs_state *state, const char *account, const char *event,
                            enum cs_outcome_place place, int64_t n) {
    const char *index = cs_key_outcomes(CS_NEW_KEY, account);
    cs_state_add(state, index, cs_member_outcome(CS_NEW_KEY, event, place), n);
    if (n > CS_OUTCOMES_KEPT) // or there have not been as many
        cs_state_trim(state, index, CS_OUTCOMES_KEPT);
}

// The newest outcome of an event is kept, but for one that is awaited. The rules have looked for that
// one already. After they decided, nothing needs a load.
static bool put_outcome_doc(struct cs_apply *a, struct cs_state *state, const struct cs_event *ev,
                            const struct cs_verdict *v, const struct cs_applied_outcome *o,
                            struct cs_err *err) {
    cs_key key;
    struct cs_bytes there;
    enum cs_outcome_place place = cs_verdict_is_of_copy(v) ? CS_OUTCOME_AGAIN : CS_OUTCOME_OWN;
    cs_key_outcome(key, ev->account, cs_member_outcome(CS_NEW_KEY, ev->id, place));
    if (ev->type == CS_EVENT_CERTIFICATE_SHARE && place == CS_OUTCOME_OWN &&
        cs_state_get(state, key, &there) == CS_FOUND && is_awaited(there))
        return true;
    cs_buf_reset(&a->scratch);
    cs_outcome_doc_encode(&a->scratch, cs_apply_value(a, o->at, o->len), NULL, NULL, 0);
    if (!cs_buf_ok(&a->scratch, err))
        return false;
    cs_state_put(state, key, cs_buf_bytes(&a->scratch));
    if (v->status == CS_STATUS_PENDING) { // no trim takes it
        cs_state_remove(state, cs_key_outcomes(key, ev->account), ev->id);
        place = CS_OUTCOME_AWAITED;
    }
    put_into_window(state, ev->account, ev->id, place, o->n);
    return true;
}

// Writes the final verdict into the document of a waiting share event. What is not awaited stays as
// it is.
static bool conclude(struct cs_apply *a, struct cs_state *state, const struct cs_event *by, int64_t n,
                     const struct cs_conclusion *c, struct cs_err *err) {
    const char *key = cs_key_outcome(CS_NEW_KEY, c->account, c->event);
    struct cs_bytes doc;
    struct cs_bytes outcome;
    bool final = false;
    if (cs_state_get(state, key, &doc) != CS_FOUND)
        return true;
    if (!cs_outcome_doc_split(doc, &outcome, &final))
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "the catalog holds a document that this release cannot read: %s", key);
    if (!is_awaited(doc))
        return true;
    cs_buf_reset(&a->scratch);
    cs_outcome_doc_encode(&a->scratch, outcome, c, by->id, n);
    if (!cs_buf_ok(&a->scratch, err))
        return false;
    cs_state_put(state, key, cs_buf_bytes(&a->scratch));
    cs_state_remove(state, cs_key_outcomes(CS_NEW_KEY, c->account),
                    cs_member_outcome(CS_NEW_KEY, c->event, CS_OUTCOME_AWAITED));
    put_into_window(state, c->account, c->event, CS_OUTCOME_OWN, n);
    return true;
}

static bool put_documents(struct cs_apply *a, struct cs_state *state, const struct cs_event *ev,
                          const struct cs_verdict *v, struct cs_err *err) {
    const struct cs_applied_outcome *o = &a->outcomes[a->outcomes_len - 1];
    bool keep = cs_outcome_is_kept(ev, v);
    if (!keep && v->concludes_len == 0)
        return true;
    cs_state_begin(state);
    bool ok = !keep || put_outcome_doc(a, state, ev, v, o, err);
    for (size_t i = 0; ok && i < v->concludes_len; i++)
        ok = conclude(a, state, ev, o->n, &v->concludes[i], err);
    if (!ok) {
        cs_state_drop(state);
        return false;
    }
    return cs_state_keep(state, err);
}

static bool put_derived(const struct cs_apply_context *ctx, struct cs_apply *a, struct cs_event *ev,
                        struct cs_err *err) {
    if (!CS_GROW(&a->derived, &a->derived_cap, a->derived_len + 1))
        return cs_err_oom(err);
    struct cs_applied_derived *d = &a->derived[a->derived_len];
    *d = (struct cs_applied_derived){.outcome_n = a->to.outcomes};
    ev->seq = ++a->to.derived;
    memcpy(ev->kid, ctx->service_kid, sizeof ev->kid);
    memcpy(d->account, ev->account, sizeof d->account);
    d->partition = cs_partition_of(ev->account, ctx->rules.partition_count);
    d->at = a->values.len;
    if (!cs_event_encode(ev, &a->values, err) || !cs_buf_ok(&a->values, err))
        return false;
    d->len = a->values.len - d->at;
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t sig_len = 0;
    if (!cs_event_sign(ctx->rules.crypto, ctx->service, cs_apply_value(a, d->at, d->len), sig, &sig_len, err))
        return false;
    cs_base64_encode(sig, sig_len, d->sig);
    d->sig_len = cs_base64_encoded_len(sig_len);
    cs_buf_putc(&a->values, '\n');
    a->derived_len++;
    return cs_buf_ok(&a->values, err);
}

// Then the sender's next record can be verified before the catalog is read. A key that may not send
// is forgotten.
static void learn_keys(struct cs_key_cache *keys, const struct cs_prepared *p, const struct cs_verdict *v) {
    const struct cs_event *ev = p->event;
    if (!keys || !ev)
        return;
    if (v->code == CS_CODE_EVENT_UNKNOWN_SIGNER || v->code == CS_CODE_EVENT_REVOKED_SIGNER) {
        cs_key_cache_forget(keys, ev->kid);
    } else if (v->signer_known) {
        cs_key_cache_learn(keys, ev->kid, (struct cs_bytes){p->sig_spki.data, p->sig_spki.len});
        cs_key_cache_learn_from(keys, p);
    }
}

static bool decide_one(const struct cs_apply_context *ctx, struct cs_apply *a, struct cs_state *state,
                       const struct cs_batch_record *r, bool *ret_needed, struct cs_err *err) {
    CS_AUTO(cs_decision_clear) struct cs_decision d = {0};
    const struct cs_event *ev = r->prepared->event;
    if (r->record.offset < a->to.next_offset)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "this record was judged already");
    struct cs_rule_context rules = ctx->rules;
    rules.epoch = next_epoch(ctx, a);
    if (!cs_decide(&rules, state, &r->record, r->prepared, &d, ret_needed, err))
        return false;
    if (*ret_needed)
        return true;
    // From here on the working set changes: a failure leaves the record half done.
    a->torn = true;
    if (!put_outcome(ctx, a, r, &d.verdict, err) ||
        (!ctx->verdicts_only && !put_documents(a, state, ev, &d.verdict, err)))
        return false;
    for (size_t i = 0; i < d.derived.len; i++) {
        if (!put_derived(ctx, a, d.derived.events[i], err))
            return false;
        cs_event_free(d.derived.events[i]);
        d.derived.events[i] = NULL;
    }
    learn_keys(ctx->keys, r->prepared, &d.verdict);
    a->torn = false;
    return true;
}

// Notes in one round what the rest of the batch needs, as far as it can be seen. What these
// documents refer to is found in the next round.
static bool touch_rest(const struct cs_apply_context *ctx, struct cs_apply *a, struct cs_state *state,
                       const struct cs_batch_record *records, size_t n, struct cs_err *err) {
    if (!CS_GROW_ZEROED(&a->touched, &a->touched_cap, n))
        return cs_err_oom(err);
    for (size_t i = a->decided; i < n && !load_is_large(state); i++)
        if (!a->touched[i])
            a->touched[i] = !cs_decide_touch(&ctx->rules, state, &records[i].record, records[i].prepared);
    return true;
}

static size_t above(size_t from, size_t to) {
    return to > from ? to - from : 0;
}

// Bytes that the decided records produced: changes of the working set, outcomes, derived events.
static size_t produced(const struct cs_apply *a, const struct cs_state *state) {
    return above(a->held + a->loaded, cs_state_held(state)) + a->values.len +
           a->derived_len * sizeof *a->derived;
}

bool cs_apply_decide(const struct cs_apply_context *ctx, struct cs_apply *a, struct cs_state *state,
                     const struct cs_batch_record *records, size_t n, bool *ret_needed, struct cs_err *err) {
    size_t most = ctx->batch_memory ? ctx->batch_memory : SIZE_MAX;
    a->loaded += above(a->held_before_load, cs_state_held(state));
    while (a->decided < n && (a->decided == 0 || produced(a, state) <= most)) {
        bool needed = false;
        const struct cs_batch_record *r = &records[a->decided];
        if (!decide_one(ctx, a, state, r, &needed, err))
            return cs_err_prepend(err, "record at offset %lld", (long long)r->record.offset);
        if (needed && a->decided > 0 && a->loaded + produced(a, state) > most) {
            cs_state_needed_clear(state);
            break;
        }
        if (needed) {
            *ret_needed = true;
            bool ok = touch_rest(ctx, a, state, records, n, err);
            a->held_before_load = cs_state_held(state);
            return ok;
        }
        a->decided++;
    }
    *ret_needed = false;
    return true;
}
