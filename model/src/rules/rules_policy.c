// SPDX-License-Identifier: Apache-2.0
//
// What the account's admins let in (policy.h), and which hosts the sender's key may register.
#include "certsync/model/policy.h"

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

// A policy is about what is new. What is there already may be sent again: with a better chain, with tags.
static bool is_held(const struct cs_judge *j) {
    return j->ev->type == CS_EVENT_CSR_ADD ? cs_csr_is_there(j) : j->f.same_leaf;
}

static const struct cs_policy *policy(const struct cs_judge *j) {
    return &j->f.account.policy;
}

bool cs_rule_policy_key(struct cs_judge *j) {
    char *detail = j->ret->verdict.detail;
    if (is_held(j))
        return true;
    if (j->ev->type == CS_EVENT_CSR_ADD)
        return cs_policy_key_fits(policy(j), j->prepared->csr->key_type, j->prepared->csr->key_bits, detail);
    for (size_t i = 0; i < j->prepared->leaves_len; i++)
        if (!cs_policy_key_fits(policy(j), j->prepared->leaf[i]->key_type, j->prepared->leaf[i]->key_bits,
                                detail))
            return false;
    return true;
}

bool cs_rule_policy_lifetime(struct cs_judge *j) {
    for (size_t i = 0; i < j->prepared->leaves_len && !is_held(j); i++)
        if (!cs_policy_lifetime_fits(policy(j), j->prepared->leaf[i]->not_before_s,
                                     j->prepared->leaf[i]->not_after_s, j->ret->verdict.detail))
            return false;
    return true;
}

bool cs_rule_policy_issuer(struct cs_judge *j) {
    for (size_t i = 0; i < j->prepared->leaves_len && !is_held(j); i++) {
        const uint8_t(*spki)[32] = (const uint8_t(*)[32])j->prepared->issuer_spki_sha256[i];
        if (!cs_policy_issuer_fits(policy(j), j->prepared->leaf[i]->issuer_name, spki,
                                   j->ev->data.upload.part[i].chain_len - 1))
            return false;
    }
    return true;
}

// Both certificates of a pair, or the request: their number, and what each names.
static size_t hosts_len(const struct cs_judge *j) {
    return j->ev->type == CS_EVENT_CSR_ADD ? 1 : j->prepared->leaves_len;
}
static struct cs_hosts hosts_at(const struct cs_judge *j, size_t i) {
    return j->ev->type == CS_EVENT_CSR_ADD ? cs_hosts_of_csr(j->prepared->csr)
                                           : cs_hosts_of_cert(j->prepared->leaf[i]);
}

static bool all_covered(const struct cs_judge *j, const char *patterns) {
    for (size_t i = 0; i < hosts_len(j); i++)
        if (!cs_policy_hosts_fit(patterns, hosts_at(j, i), j->ret->verdict.detail))
            return false;
    return true;
}

bool cs_rule_policy_dns(struct cs_judge *j) {
    return is_held(j) || all_covered(j, policy(j)->dns);
}

bool cs_rule_policy_wildcard(struct cs_judge *j) {
    for (size_t i = 0; i < hosts_len(j) && !is_held(j); i++)
        if (!cs_policy_wildcards_fit(policy(j), hosts_at(j, i), j->ret->verdict.detail))
            return false;
    return true;
}

// A right, no policy: it is asked of what is there already, too. Issuers have no patterns.
bool cs_rule_policy_agent_dns(struct cs_judge *j) {
    return j->f.signer != CS_SIGNER_AGENT || all_covered(j, j->f.agent.dns);
}
