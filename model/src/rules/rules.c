// SPDX-License-Identifier: Apache-2.0
//
// How a record is judged: facts, rules in order, effect. The rules themselves stand in
// rules_table.h.
#include "certsync/model/rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "rules/rules_internal.h"
#include "rules/rules_table.h"

_Static_assert(CS_EVENT_TYPE_END <= 64, "each type has its bit");

#define X(when, group, code, function, sentence) {when, ON_##group, CS_CODE_##code, function},
static const struct cs_rule envelope_rules[] = {CS_RULES_ENVELOPE(X)};
static const struct cs_rule event_rules[] = {CS_RULES_EVENT(X)};
static const struct cs_rule offer_rules[] = {CS_RULES_OFFER(X)};
#undef X

const struct cs_rulebook cs_rulebook = {
    .latest = CS_RULESET_LATEST,
    .kinds = cs_event_kinds,
    .envelope = {envelope_rules, CS_ARRAY_LEN(envelope_rules)},
    .event = {event_rules, CS_ARRAY_LEN(event_rules)},
    .offer = {offer_rules, CS_ARRAY_LEN(offer_rules)},
};

static const struct cs_rulebook *book_of(const struct cs_rule_context *ctx) {
    return ctx->book ? ctx->book : &cs_rulebook;
}

#define X(when, group, code, function, sentence)                                                             \
    {ON_##group, CS_SENDER_NOBODY, CS_CODE_##code, when, sentence},
#define S(sender, function, sentence)                                                                        \
    {0, CS_SENDER_##sender, CS_CODE_EVENT_FORBIDDEN, SINCE(CS_RULESET_FIRST), sentence},
static const struct cs_rule_info book[] = {CS_RULES_ENVELOPE(X) CS_SENDERS(S) CS_RULES_EVENT(X)
                                               CS_RULES_OFFER(X)};
#undef S
#undef X

const struct cs_rule_info *cs_rules_list(size_t *ret_n) {
    *ret_n = CS_ARRAY_LEN(book);
    return book;
}

bool cs_rule_applies(const struct cs_rule_info *rule, enum cs_event_type t) {
    if (rule->types == 0)
        return t != CS_EVENT_NONE && cs_event_senders[t].sender == rule->sender;
    return rule->types >> t & 1;
}

void cs_rule_types(const struct cs_rule_info *rule, struct cs_buf *out) {
    if (rule->types == UINT64_MAX) {
        cs_buf_puts(out, "every event");
        return;
    }
    const char *between = "";
    for (int t = CS_EVENT_NONE + 1; t < CS_EVENT_TYPE_END; t++) {
        if (!cs_rule_applies(rule, (enum cs_event_type)t))
            continue;
        cs_buf_printf(out, "%s%s", between, cs_event_type_short((enum cs_event_type)t));
        between = ", ";
    }
}

// Of the rules in force for the event's type, the first one that it breaks. CS_CODE_NONE: it breaks
// none.
static enum cs_code first_broken(struct cs_judge *j, const struct cs_rules *rules) {
    enum cs_event_type type = j->ev ? j->ev->type : CS_EVENT_NONE;
    for (size_t i = 0; i < rules->len; i++) {
        const struct cs_rule *rule = &rules->rules[i];
        if (j->ruleset < rule->since || j->ruleset > rule->last || !(rule->types >> type & 1))
            continue;
        j->asked = rule->code;
        if (!rule->holds(j))
            return rule->code;
    }
    return CS_CODE_NONE;
}

enum cs_code cs_rules_offer(struct cs_judge *j) {
    return first_broken(j, &book_of(j->ctx)->offer);
}

// ---- rules of the envelope

bool cs_rule_bytes(struct cs_judge *j) {
    return j->prepared->code != j->asked;
}

bool cs_rule_order(struct cs_judge *j) {
    return j->f.has_system || (j->ev->type == CS_EVENT_SYSTEM_GENESIS && j->record->offset == 0);
}

bool cs_rule_signer(struct cs_judge *j) {
    return j->f.signer != CS_SIGNER_NONE;
}

static struct cs_bytes signer_spki(const struct cs_judge *j) {
    if (j->f.signer == CS_SIGNER_ROOT)
        return cs_pubkey_spki(j->ctx->root);
    return (struct cs_bytes){j->f.signer_key.data, j->f.signer_key.len};
}

static bool was_checked(const struct cs_judge *j) {
    struct cs_bytes spki = signer_spki(j);
    const struct cs_spki *checked = &j->prepared->sig_spki;
    return j->prepared->sig_checked && checked->len == spki.len &&
           memcmp(checked->data, spki.data, spki.len) == 0;
}

// Whether the prepared signature is of the signer that the catalog knows. Preparation may not have
// known that key, or have used another one from a stale cache. Then its result does not count, and
// the signature is checked here. False: FATAL.
static bool settle_signature(struct cs_judge *j, struct cs_prepared *p) {
    if (j->f.signer == CS_SIGNER_NONE || was_checked(j))
        return true;
    struct cs_bytes sig = {p->sig, p->sig_len}, spki = signer_spki(j);
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *own = NULL;
    const struct cs_pubkey *key = j->ctx->root;
    if (j->f.signer != CS_SIGNER_ROOT) {
        if (!cs_pubkey_new(j->ctx->crypto, spki, &own, j->err) && j->err->kind != CS_ERR_REJECT)
            return false;
        key = own;
    }
    // A custodian's X25519 key signs nothing.
    p->sig_good =
        key && cs_pubkey_type(key) == CS_KEY_P256 && cs_event_verify(j->ctx->crypto, key, p->value, sig);
    p->sig_checked = true;
    memcpy(p->sig_spki.data, spki.data, spki.len);
    p->sig_spki.len = spki.len;
    return true;
}

bool cs_rule_signature(struct cs_judge *j) {
    j->ret->verdict.signer_known = j->prepared->sig_good; // settled
    return j->prepared->sig_good;
}

bool cs_rule_not_revoked(struct cs_judge *j) {
    return !j->f.revoked;
}

bool cs_rule_sequence(struct cs_judge *j) {
    if (j->ev->seq > j->f.watermark || j->f.remembered)
        return true;
    j->ret->verdict.watermark = j->f.watermark;
    return false;
}

// Nobody needs to remember for ever what an old event could undo. Where the id tells no time, the event does.
bool cs_rule_not_too_old(struct cs_judge *j) {
    int64_t made_ms, came_ms = j->record->timestamp_ms;
    char made[CS_TIME_TEXT_SIZE], came[CS_TIME_TEXT_SIZE];
    if (!cs_uuid_time_ms(j->ev->id, &made_ms))
        made_ms = j->ev->time_s * 1000;
    if (made_ms + CS_EVENT_AGE_MAX_MS >= came_ms)
        return true;
    cs_time_format(made_ms / 1000, made);
    cs_time_format(j->now_s, came);
    struct cs_verdict *v = &j->ret->verdict;
    snprintf(v->detail, sizeof(v->detail), "By its sender's clock it was made at %s; it came at %s.", made,
             came);
    return false;
}

bool cs_rule_account(struct cs_judge *j) {
    return j->f.has_account;
}

// ---- judging

static void reject(struct cs_judge *j, enum cs_code code) {
    struct cs_verdict *v = &j->ret->verdict;
    v->status = CS_STATUS_REJECTED;
    v->code = code;
    if (code == CS_CODE_EVENT_MALFORMED)
        memcpy(v->detail, j->prepared->detail, sizeof(v->detail));
}

// Tells what the event itself says, and of a proven sender who he is. Of another sender it tells
// only what the record holds.
static void tell_sender(struct cs_judge *j) {
    struct cs_verdict *v = &j->ret->verdict;
    const struct cs_event *ev = j->ev;
    if (!v->signer_known)
        return;
    CS_COPY(v->label, j->f.label);
    if (v->name[0])
        return;
    if (ev->type == CS_EVENT_CERTIFICATE_UPLOAD || ev->type == CS_EVENT_CERTIFICATE_ISSUE)
        CS_COPY(v->name, ev->data.upload.name);
    else if (ev->type == CS_EVENT_CSR_ADD)
        CS_COPY(v->name, ev->data.csr.name);
}

// The sender's stream has come this far, also where the event is refused.
static void admit(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    if (j->f.signer == CS_SIGNER_AGENT && j->f.watermark > 0)
        j->ret->verdict.gap = ev->seq - j->f.watermark - 1;
    struct cs_stream stream = {ev->seq};
    cs_stream_encode(cs_judge_begin(j), &stream);
    cs_judge_put(j, cs_key_stream(CS_NEW_KEY, j->stream));
    const char *seen = cs_key_seen(CS_NEW_KEY, j->stream);
    cs_state_add(j->state, seen, ev->id, ev->seq);
    if (ev->seq > CS_SEEN_MAX) // or there have not been as many
        cs_state_trim(j->state, seen, CS_SEEN_MAX);
}

static cs_effect_fn *const effect[CS_EVENT_TYPE_END] = {
#define X(symbol, name, since, place, fields, sender, prepare, reads, effect, more)                          \
    [CS_EVENT_##symbol] = cs_effect_##effect,
    CS_EVENT_TYPES(X)
#undef X
};

static void stop(struct cs_judge *j, const char *fmt, int64_t theirs, int64_t ours) CS_PRINTF(2, 0);
static void stop(struct cs_judge *j, const char *fmt, int64_t theirs, int64_t ours) {
    char message[256];
    snprintf(message, sizeof(message), fmt, theirs, ours);
    cs_err_set(j->err, CS_ERR_CONFIG, CS_CODE_NONE, "%s", message);
    j->failed = true;
}

// The settings of this process must match the log before anything is judged.
static void check_settings(struct cs_judge *j) {
    const struct cs_system *s = &j->f.system;
    if (!j->f.has_system || cs_judge_stopped(j))
        return;
    if (strcmp(s->log_id, j->ctx->log_id) != 0) {
        cs_err_set(j->err, CS_ERR_CONFIG, CS_CODE_NONE,
                   "the catalog is of log %s, the topics are of log %s: give each a namespace of its own "
                   "(redis.namespace)",
                   s->log_id, j->ctx->log_id);
        j->failed = true;
    } else if (s->partitions != j->ctx->partition_count) {
        stop(j,
             "the log began with %" PRId64 " partitions, the topic has %" PRId64
             " now: topics must keep the number of partitions that they were made with",
             s->partitions, j->ctx->partition_count);
    } else if (s->ruleset > book_of(j->ctx)->latest) {
        stop(j,
             "the log is under ruleset %" PRId64 ", this release knows up to %" PRId64
             ": upgrade certsync-consumer",
             s->ruleset, book_of(j->ctx)->latest);
    }
}

// A validly signed switch to rules that this release does not have.
static void check_ruleset(struct cs_judge *j) {
    int64_t ruleset = 0;
    if (j->ev->type == CS_EVENT_SYSTEM_GENESIS)
        ruleset = j->ev->data.genesis.ruleset;
    else if (j->ev->type == CS_EVENT_SYSTEM_RULESET)
        ruleset = j->ev->data.ruleset.ruleset;
    if (ruleset > book_of(j->ctx)->latest)
        stop(j,
             "the log goes on under ruleset %" PRId64 ", this release knows up to %" PRId64
             ": upgrade certsync-consumer",
             ruleset, book_of(j->ctx)->latest);
}

// An outcome that is awaited is not written over: apply must know of it. Others are.
static void look_for_outcome(struct cs_judge *j) {
    struct cs_bytes value;
    const struct cs_verdict *v = &j->ret->verdict;
    if (j->ev && j->ev->type == CS_EVENT_CERTIFICATE_SHARE && cs_outcome_is_kept(j->ev, v) &&
        !cs_verdict_is_of_copy(v))
        (void)cs_judge_look(j, cs_key_outcome(CS_NEW_KEY, j->ev->account, j->ev->id), &value);
}

// The ruleset in force for this record. Usually it was prepared under that one. If a switch came
// between, it is prepared again. Genesis, and everything before it, is under the first ruleset.
static void settle_ruleset(struct cs_judge *j, struct cs_prepared *p) {
    j->ruleset = j->f.has_system ? j->f.system.ruleset : CS_RULESET_FIRST;
    if (!cs_judge_stopped(j) && p->ruleset != j->ruleset &&
        !cs_prepare_again(j->ctx, j->record, j->ruleset, p, j->err))
        j->failed = true;
    j->ev = p->event;
}

// Who sent it, and whether it counts: CS_CODE_NONE, and the judge has not stopped. Before that
// nothing else is read, and nothing of the content is examined.
static enum cs_code judge_envelope(struct cs_judge *j, struct cs_prepared *p) {
    j->f.has_system = cs_judge_read_system(j, cs_key_system(CS_NEW_KEY), &j->f.system);
    check_settings(j);
    settle_ruleset(j, p);
    if (p->code == CS_CODE_NONE && !j->failed) {
        cs_facts_signer(j);
        if (!cs_judge_stopped(j) && !settle_signature(j, p))
            j->failed = true;
    }
    return cs_judge_stopped(j) ? CS_CODE_NONE : first_broken(j, &book_of(j->ctx)->envelope);
}

// The facts of an event that counts.
static void gather(struct cs_judge *j, struct cs_prepared *p) {
    if (!cs_prepare_content(j->ctx->crypto, p, j->err))
        j->failed = true;
    else
        cs_facts_subject(j);
    cs_tombstones_touch(j);
}

static void judge_event(struct cs_judge *j, struct cs_prepared *p) {
    admit(j);
    enum cs_code broken = first_broken(j, &book_of(j->ctx)->event);
    if (broken == CS_CODE_NONE)
        broken = p->content_code; // a code that the table does not name
    if (broken != CS_CODE_NONE) {
        reject(j, broken);
        cs_judge_tell_brought(j);
        return;
    }
    check_ruleset(j);
    if (!cs_judge_stopped(j))
        effect[j->ev->type](j);
}

static void judge(struct cs_judge *j, struct cs_prepared *p) {
    struct cs_verdict *v = &j->ret->verdict;
    v->status = CS_STATUS_APPLIED;
    enum cs_code broken = judge_envelope(j, p);
    if (j->ev)
        memcpy(v->subject, j->ev->subject, sizeof(v->subject));
    if (cs_judge_stopped(j))
        return;
    if (broken != CS_CODE_NONE) {
        reject(j, broken);
    } else if (j->f.remembered) {
        v->status = CS_STATUS_DUPLICATE;
    } else {
        cs_tombstones_expire(j);
        gather(j, p);
        if (!cs_judge_stopped(j))
            judge_event(j, p);
    }
    tell_sender(j);
    look_for_outcome(j);
}

static void init_judge(struct cs_judge *j, const struct cs_rule_context *ctx, struct cs_state *state,
                       const struct cs_record *r, const struct cs_prepared *p, struct cs_decision *ret,
                       struct cs_err *err) {
    memset(j, 0, sizeof(*j));
    j->ctx = ctx;
    j->state = state;
    j->record = r;
    j->prepared = p;
    j->ev = p->event;
    // Rounded down, also before 1970.
    j->now_s = r->timestamp_ms / 1000 - (r->timestamp_ms % 1000 < 0);
    j->ret = ret;
    j->err = err;
    j->buf = cs_state_scratch(state);
}

static void clear_judge(struct cs_judge *j) {
    cs_facts_clear(&j->f);
}

bool cs_decide(const struct cs_rule_context *ctx, struct cs_state *state, const struct cs_record *r,
               struct cs_prepared *p, struct cs_decision *ret, bool *ret_needed, struct cs_err *err) {
    struct cs_judge j;
    CS_AUTO(cs_decision_clear) struct cs_decision decision;
    memset(&decision, 0, sizeof(decision));
    init_judge(&j, ctx, state, r, p, &decision, err);
    cs_state_begin(state);
    judge(&j, p);
    clear_judge(&j);
    if (j.failed || j.needed) {
        cs_state_drop(state);
        const struct cs_needed *needed = NULL;
        if (!j.failed && cs_state_needed(state, &needed) == 0)
            return cs_err_oom(err); // there was no memory even to note what is needed
        if (!j.failed)
            *ret_needed = true;
        return !j.failed;
    }
    if (!cs_state_keep(state, err))
        return false;
    *ret = decision;
    memset(&decision, 0, sizeof(decision));
    *ret_needed = false;
    return true;
}

bool cs_decide_touch(const struct cs_rule_context *ctx, struct cs_state *state, const struct cs_record *r,
                     struct cs_prepared *p) {
    struct cs_judge j;
    struct cs_err err;
    CS_AUTO(cs_decision_clear) struct cs_decision none;
    memset(&none, 0, sizeof(none));
    init_judge(&j, ctx, state, r, p, &none, &err);
    none.verdict.status = judge_envelope(&j, p) == CS_CODE_NONE ? CS_STATUS_APPLIED : CS_STATUS_REJECTED;
    // A good signature by a known key is enough: an earlier record of the batch may bring that key
    // in.
    none.verdict.signer_known = p->sig_checked && p->sig_good;
    if (none.verdict.signer_known && !j.failed && !j.f.revoked && !j.f.remembered)
        gather(&j, p);
    look_for_outcome(&j);
    bool needed = j.needed;
    clear_judge(&j);
    return needed;
}

void cs_decision_clear(struct cs_decision *d) {
    cs_verdict_clear(&d->verdict);
    for (size_t i = 0; i < d->derived.len; i++)
        cs_event_free(d->derived.events[i]);
    free(d->derived.events);
    memset(&d->derived, 0, sizeof(d->derived));
}
