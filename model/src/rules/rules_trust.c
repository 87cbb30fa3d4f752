// SPDX-License-Identifier: Apache-2.0
//
// What root says: genesis, rulesets, trusted keys; and the accounts, which admins keep.
#include <string.h>

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

// The first record names the deployment, this incarnation of its log and the number of partitions,
// once.
bool cs_rule_genesis_fits(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    cs_log_id named;
    cs_log_id_make(ev->data.genesis.deployment, ev->data.genesis.nonce, named);
    return !j->f.has_system && strcmp(named, j->ctx->log_id) == 0 &&
           ev->data.genesis.partitions == j->ctx->partition_count && ev->data.genesis.ruleset >= 1;
}

void cs_effect_genesis(struct cs_judge *j) {
    struct cs_system system = {.partitions = j->ev->data.genesis.partitions,
                               .ruleset = j->ev->data.genesis.ruleset};
    CS_COPY(system.log_id, j->ev->log_id);
    cs_system_encode(cs_judge_begin(j), &system);
    cs_judge_put(j, cs_key_system(CS_NEW_KEY));
}

bool cs_rule_ruleset_next(struct cs_judge *j) {
    return j->ev->data.ruleset.ruleset == j->f.system.ruleset + 1;
}

void cs_effect_ruleset(struct cs_judge *j) {
    j->f.system.ruleset = j->ev->data.ruleset.ruleset;
    cs_system_encode(cs_judge_begin(j), &j->f.system);
    cs_judge_put(j, cs_key_system(CS_NEW_KEY));
}

// A key is trusted in one role, once. Root's key and removed keys are refused.
bool cs_rule_trust_new(struct cs_judge *j) {
    return !j->f.subject_trusted;
}

void cs_effect_trust_add(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_trust_key trust = {.role = ev->data.trust.role, .added_ms = j->record->timestamp_ms};
    trust.key.len = ev->data.trust.key.bytes.len; // at most CS_SPKI_MAX: prepare.c
    memcpy(trust.key.data, ev->data.trust.key.bytes.data, trust.key.len);
    CS_COPY(trust.label, ev->data.trust.label);
    cs_trust_key_encode(cs_judge_begin(j), &trust);
    cs_judge_put(j, cs_key_trust(CS_NEW_KEY, ev->subject));
    cs_state_add(j->state, cs_key_trusted(CS_NEW_KEY), ev->subject, 0);
}

bool cs_rule_trust_known(struct cs_judge *j) {
    const struct cs_trust_key *trust = &j->f.trust;
    return trust->key.len > 0 && trust->removed_ms == 0 && trust->role == j->ev->data.trust.role;
}

void cs_effect_trust_remove(struct cs_judge *j) {
    j->f.trust.removed_ms = j->record->timestamp_ms;
    cs_trust_key_encode(cs_judge_begin(j), &j->f.trust);
    cs_judge_put(j, cs_key_trust(CS_NEW_KEY, j->ev->subject));
}

bool cs_rule_account_new(struct cs_judge *j) {
    return !j->f.has_account;
}

static void change_policy(struct cs_policy *p, const struct cs_event_account *e) {
    if (e->has_keys_allowed)
        p->keys = e->policy.keys;
    if (e->has_days)
        p->days = e->policy.days;
    if (e->has_issuers)
        CS_COPY(p->issuers, e->policy.issuers);
    if (e->has_dns)
        CS_COPY(p->dns, e->policy.dns);
    if (e->has_wildcards)
        p->no_wildcards = e->policy.no_wildcards;
}

// What the event names replaces the old value. The rest stays.
static void change_account(struct cs_account *a, const struct cs_event_account *e) {
    if (e->has_site)
        a->site = e->site;
    if (e->has_owner)
        CS_COPY(a->owner, e->owner);
    if (e->has_verified)
        a->verified = e->verified;
    if (e->has_certificates)
        a->limit_certificates = e->limit_certificates;
    if (e->has_shares)
        a->limit_shares = e->limit_shares;
#define X(name, at_first, most, text)                                                                        \
    if (e->has_##name)                                                                                       \
        a->limit_##name = e->limit_##name;
    CS_ACCOUNT_COUNTS(X)
#undef X
    if (e->has_incomplete_chain)
        a->reject_incomplete_chain = e->reject_incomplete_chain;
    change_policy(&a->policy, e);
}

void cs_effect_account_register(struct cs_judge *j) {
    int64_t now_ms = j->record->timestamp_ms;
    j->f.account = (struct cs_account){.limit_certificates = CS_LIMIT_CERTIFICATES,
                                       .limit_shares = CS_LIMIT_SHARES,
#define X(name, at_first, most, text) .limit_##name = (at_first),
                                       CS_ACCOUNT_COUNTS(X)
#undef X
                                           .created_ms = now_ms,
                                       .updated_ms = now_ms};
    change_account(&j->f.account, &j->ev->data.account);
    cs_judge_put_account(j);
    cs_state_add(j->state, cs_key_accounts(CS_NEW_KEY), j->ev->account, 0);
}

// All shares were made between accounts of one verified owner on one site. Where that ends, they
// end.
static enum cs_code shares_end_by(const struct cs_account *before, const struct cs_account *after) {
    if (strcmp(before->owner, after->owner) != 0)
        return CS_CODE_SHARE_OWNER;
    if (before->site != after->site)
        return CS_CODE_SHARE_SITE;
    if (before->verified && !after->verified)
        return CS_CODE_SHARE_UNVERIFIED;
    return CS_CODE_NONE;
}

bool cs_account_ends_shares(const struct cs_account *before, const struct cs_event_account *change) {
    struct cs_account after = *before;
    change_account(&after, change);
    return shares_end_by(before, &after) != CS_CODE_NONE;
}

// What one event causes is bounded: outcome, derived events, and the documents read for them.
bool cs_rule_shares_may_end(struct cs_judge *j) {
    return j->f.ends_shares <= CS_SHARES_MAX;
}

void cs_effect_account_update(struct cs_judge *j) {
    struct cs_account before = j->f.account;
    change_account(&j->f.account, &j->ev->data.account);
    j->f.account.updated_ms = j->record->timestamp_ms;
    cs_judge_put_account(j);
    enum cs_code why = shares_end_by(&before, &j->f.account);
    if (why != CS_CODE_NONE)
        cs_shares_end(j, why);
}
