// SPDX-License-Identifier: Apache-2.0
//
// Who may do what, and the keys of an account's agents.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "rules/rules_internal.h"
#include "rules/rules_table.h"

static bool trusted_as(const struct cs_judge *j, enum cs_trust_role role) {
    return j->f.signer == CS_SIGNER_TRUSTED && j->f.role == role;
}

// An enrolled key whose time is not over.
static bool is_agent(const struct cs_judge *j) {
    const struct cs_agent *a = &j->f.agent;
    return j->f.signer == CS_SIGNER_AGENT && (a->expires_s == 0 || j->now_s < a->expires_s);
}

static bool agent_can(const struct cs_judge *j, unsigned right) {
    return is_agent(j) && (j->f.agent.can & right) != 0;
}

static bool by_root(struct cs_judge *j) {
    return j->f.signer == CS_SIGNER_ROOT;
}

static bool by_admin(struct cs_judge *j) {
    return trusted_as(j, CS_TRUST_ADMIN);
}

static bool by_issuer(struct cs_judge *j) {
    return trusted_as(j, CS_TRUST_ISSUER);
}

static bool by_service(struct cs_judge *j) {
    return trusted_as(j, CS_TRUST_SERVICE);
}

// Admins do not upload: an account's agents bring what is in it. An upload that uses a request's
// key needs the right csr; a host whose last file may take the certificate along, the right delete.
static bool by_right(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    bool takes_csr = ev->type == CS_EVENT_CERTIFICATE_UPLOAD && ev->data.upload.part[0].csr;
    bool deletes = ev->type == CS_EVENT_CERTIFICATE_GONE && ev->data.installed.remove;
    return agent_can(j, cs_event_senders[ev->type].right) && (!takes_csr || agent_can(j, CS_CAN_CSR)) &&
           (!deletes || agent_can(j, CS_CAN_DELETE));
}

// The key that goes signs its rotation. A join token is no host: a finder could keep its rights by
// rotating it.
static bool by_itself(struct cs_judge *j) {
    return is_agent(j) && !(j->f.agent.can & CS_CAN_ENROLL);
}

// A join token grants what it was given, but never the right to grant.
static bool token_grants(const struct cs_agent *token, const struct cs_event_enroll *e) {
    if (!token->has_grant || (e->can & CS_CAN_ENROLL) || (e->can & ~token->grant_can))
        return false;
    if (!cs_dns_within(e->dns, token->grant_dns) || !cs_dns_within(e->dns, token->dns))
        return false;
    if (strcmp(e->names, token->grant_names) == 0 || strcmp(token->grant_names, "*") == 0)
        return true;
    return !strchr(e->names, '*') && cs_pattern_matches(token->grant_names, e->names);
}

// An admin enrols keys, or a join token does: while it lasts, up to its number of uses, within its
// grant.
static bool by_enroller(struct cs_judge *j) {
    if (trusted_as(j, CS_TRUST_ADMIN))
        return true;
    const struct cs_agent *token = &j->f.agent;
    return agent_can(j, CS_CAN_ENROLL) && token->uses_left != 0 && token_grants(token, &j->ev->data.enroll);
}

static bool by_nobody(struct cs_judge *j) {
    (void)j;
    return false;
}

#define BY(who)         .sender = CS_SENDER_##who
#define BY_RIGHT(which) .sender = CS_SENDER_RIGHT, .right = CS_CAN_##which
const struct cs_event_sender cs_event_senders[CS_EVENT_TYPE_END] = {
#define X(symbol, name, since, place, fields, sends, ...) [CS_EVENT_##symbol] = {sends},
    CS_EVENT_TYPES(X)
#undef X
};

bool cs_rule_may_send(struct cs_judge *j) {
    typedef bool may_fn(struct cs_judge * j);
    static may_fn *const may[] = {
#define X(sender, function, sentence) [CS_SENDER_##sender] = function,
        CS_SENDERS(X)
#undef X
    };
    return may[cs_event_senders[j->ev->type].sender](j);
}

// A key is enrolled once. One that was revoked or rotated does not come back as long as the account
// remembers it. Root's and trusted keys are no agents.
bool cs_rule_agent_new(struct cs_judge *j) {
    return !j->f.has_target && !j->f.subject_trusted;
}

bool cs_rule_agent_known(struct cs_judge *j) {
    return j->f.has_target;
}

bool cs_rule_quota_keys(struct cs_judge *j) {
    return (j->ev->data.enroll.can & CS_CAN_ENROLL) || j->f.account.keys < j->f.account.limit_keys;
}

// A token that this very event uses up makes no room: it enrols no token.
bool cs_rule_quota_tokens(struct cs_judge *j) {
    return !(j->ev->data.enroll.can & CS_CAN_ENROLL) || j->f.account.tokens < j->f.account.limit_tokens;
}

static void put_agent(struct cs_judge *j, const char *kid, const struct cs_agent *agent) {
    cs_agent_encode(cs_judge_begin(j), agent);
    cs_judge_put(j, cs_key_agent(CS_NEW_KEY, j->ev->account, kid));
}

// Whether the account's document counts the key, and as what: NULL where it has ended, or is a token
// that is used up.
static int64_t *counted_as(struct cs_judge *j, const struct cs_agent *agent) {
    if (agent->state != CS_AGENT_ENROLLED)
        return NULL;
    if (!(agent->can & CS_CAN_ENROLL))
        return &j->f.account.keys;
    return agent->uses_left != 0 ? &j->f.account.tokens : NULL;
}

static void count(struct cs_judge *j, const struct cs_agent *agent, int by) {
    int64_t *n = counted_as(j, agent);
    if (!n)
        return;
    *n += by;
    cs_judge_put_account(j);
}

static void bury(struct cs_judge *j, const char *kid) {
    cs_tombstone_add(j, cs_key_agent(CS_NEW_KEY, j->ev->account, kid));
}

// The last key of a line ends. As long as it lived, the line's first key was needed to find it.
static void bury_line(struct cs_judge *j, const char *kid, const struct cs_agent *agent) {
    bury(j, kid);
    if (agent->first[0])
        bury(j, agent->first);
}

static void set_key(struct cs_agent *agent, struct cs_bytes spki) {
    agent->key.len = spki.len; // at most CS_SPKI_MAX: prepare.c
    memcpy(agent->key.data, spki.data, spki.len);
}

void cs_effect_enroll(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    const struct cs_event_enroll *e = &ev->data.enroll;
    struct cs_agent agent = {.state = CS_AGENT_ENROLLED,
                             .can = e->can,
                             .uses_left = e->uses > 0 ? e->uses : -1,
                             .expires_s = e->expires_s,
                             .has_grant = e->has_grant,
                             .grant_can = e->grant_can,
                             .enrolled_ms = j->record->timestamp_ms};
    set_key(&agent, e->key.bytes);
    CS_COPY(agent.names, e->names);
    CS_COPY(agent.dns, e->dns);
    CS_COPY(agent.label, e->label);
    CS_COPY(agent.grant_names, e->grant_names);
    CS_COPY(agent.grant_dns, e->grant_dns);
    CS_COPY(agent.enrolled_by, ev->kid);
    put_agent(j, ev->subject, &agent);
    count(j, &agent, 1);
    cs_state_add(j->state, cs_key_agents(CS_NEW_KEY, ev->account), ev->subject, 0);
    if (j->f.signer == CS_SIGNER_AGENT) {
        count(j, &j->f.agent, -1);
        j->f.agent.enrolled_keys++;
        if (j->f.agent.uses_left > 0 && --j->f.agent.uses_left == 0)
            bury_line(j, ev->kid, &j->f.agent);
        count(j, &j->f.agent, 1);
        put_agent(j, ev->kid, &j->f.agent);
    }
}

static void end_key(struct cs_judge *j, const char *kid, struct cs_agent *agent) {
    if (counted_as(j, agent)) // else it has a tombstone
        bury_line(j, kid, agent);
    count(j, agent, -1);
    agent->state = CS_AGENT_REVOKED;
    agent->ended_ms = j->record->timestamp_ms;
    put_agent(j, kid, agent);
}

// Revoking a rotated key also ends the living key of its line: who holds the old key may have made
// the new one. The answer names each. For a join token it says how many keys it let in; they belong
// to others and stay.
void cs_effect_revoke(struct cs_judge *j) {
    struct cs_agent *target = &j->f.target;
    struct cs_verdict *v = &j->ret->verdict;
    if (target->state == CS_AGENT_REVOKED) {
        v->code = CS_CODE_UNCHANGED;
        return;
    }
    if (target->state == CS_AGENT_ENROLLED || j->f.latest.state == CS_AGENT_ENROLLED)
        cs_installed_end_host(j, target->first[0] ? target->first : j->ev->subject);
    bool line_lives = target->state == CS_AGENT_ROTATED && j->f.latest.state == CS_AGENT_ENROLLED;
    end_key(j, j->ev->subject, target);
    int len = snprintf(v->detail, sizeof(v->detail), "ended: %s", j->ev->subject);
    if (line_lives) {
        end_key(j, j->f.latest_kid, &j->f.latest);
        snprintf(v->detail + len, sizeof(v->detail) - (size_t)len, ", %s", j->f.latest_kid);
    } else if (target->enrolled_keys > 0) {
        snprintf(v->detail + len, sizeof(v->detail) - (size_t)len,
                 "; keys that it enrolled, which this does not end: %" PRId64, target->enrolled_keys);
    }
}

// The line's first key knows the last one, so that a revocation finds it in one step.
static void note_latest(struct cs_judge *j, const char *latest) {
    struct cs_agent *first = j->f.first_kid[0] ? &j->f.first : &j->f.agent;
    CS_COPY(first->latest, latest);
    if (j->f.first_kid[0])
        put_agent(j, j->f.first_kid, first);
}

// The next key gets the old one's name, rights and patterns. The old key ends.
void cs_effect_rotate(struct cs_judge *j) {
    const struct cs_event *ev = j->ev;
    struct cs_agent next = j->f.agent, *old = &j->f.agent;
    set_key(&next, ev->data.enroll.key.bytes);
    CS_COPY(next.enrolled_by, ev->kid);
    if (next.first[0] == '\0')
        CS_COPY(next.first, ev->kid);
    else
        bury(j, ev->kid);
    note_latest(j, ev->subject);
    next.enrolled_ms = j->record->timestamp_ms;
    put_agent(j, ev->subject, &next);
    cs_state_add(j->state, cs_key_agents(CS_NEW_KEY, ev->account), ev->subject, 0);
    old->state = CS_AGENT_ROTATED;
    old->ended_ms = j->record->timestamp_ms;
    CS_COPY(old->rotated_to, ev->subject);
    put_agent(j, ev->kid, old);
}
