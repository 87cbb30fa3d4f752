// SPDX-License-Identifier: Apache-2.0
//
// Who may say what: rights, accounts, agents' keys and join tokens.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "rules/rules_table.h"

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    fx_account(fx, "acme", "acme-inc", CS_SITE_CN, true);
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    fx_check_invariants(*state);
    fx_free(*state);
    return 0;
}

static struct fx_cert *any_cert(struct fx *fx) {
    return fx_cert(fx, (struct fx_cert_how){0});
}

static const struct cs_verdict *upload(struct fx *fx, struct fx_key *by, const char *name) {
    struct cs_event ev = fx_upload(fx, "acme", by, NULL, name, any_cert(fx));
    return fx_send(fx, by, &ev);
}

// ---- rights

// Of certificates, requests and shares.
static void fill_certificate_data(struct fx *fx, struct cs_event *ev) {
    static struct cs_leaf leaf = {.serial = "01", .key_type = CS_KEY_P256};
    if (ev->type == CS_EVENT_CERTIFICATE_UPLOAD || ev->type == CS_EVENT_CERTIFICATE_ISSUE) {
        strcpy(ev->data.upload.name, "rights");
        ev->data.upload.replace = true;
        ev->data.upload.algorithm = CS_ALGORITHM_INTERNATIONAL;
        ev->data.upload.source = CS_SOURCE_OFFICIAL;
        ev->data.upload.parts = 1;
        fx_fill_part(fx, ev, 0, any_cert(fx), CS_ROLE_SINGLE);
    } else if (ev->type == CS_EVENT_CERTIFICATE_UPDATE) {
        ev->data.upload.has_note = true;
    } else if (ev->type == CS_EVENT_CERTIFICATE_SEEN || ev->type == CS_EVENT_CERTIFICATE_GONE) {
        strcpy(ev->data.installed.place, "/etc/ssl/www.pem");
    } else if (ev->type == CS_EVENT_CERTIFICATE_SHARE || ev->type == CS_EVENT_CERTIFICATE_UNSHARE) {
        strcpy(ev->data.share.to, "other");
    } else if (ev->type == CS_EVENT_CSR_ADD) {
        fx_fill_csr(fx, ev, "rights", fx_cert_key_only(fx, "P-256"));
    } else if (ev->type == CS_EVENT_SHARE_OFFER) {
        strcpy(ev->data.offer.share, fx_uuid(fx));
        strcpy(ev->data.offer.owner_account, "other");
        strcpy(ev->data.offer.owner, "somebody");
        ev->data.offer.site = CS_SITE_CN;
        ev->data.offer.version = 1;
        leaf.subject = leaf.issuer = (char *)(uintptr_t)fx_text(fx, "CN=x");
        ev->data.offer.certificate = (struct cs_cert_summary){.name = "n",
                                                              .algorithm = CS_ALGORITHM_INTERNATIONAL,
                                                              .source = CS_SOURCE_TEST,
                                                              .version = 1,
                                                              .leaves_len = 1,
                                                              .leaves = {leaf}};
    } else if (ev->type == CS_EVENT_SHARE_WITHDRAW) {
        strcpy(ev->data.withdraw.share, fx_uuid(fx));
        strcpy(ev->data.withdraw.owner_account, "other");
        ev->data.withdraw.code = CS_CODE_SHARE_CLOSED;
    } else if (ev->type == CS_EVENT_SHARE_ANSWER) {
        strcpy(ev->data.answer.share, fx_uuid(fx));
        strcpy(ev->data.answer.recipient, "other");
        ev->data.answer.reply = CS_REPLY_ACCEPTED;
    }
}

// Data that is well-formed, for an event of any type; fresh: a key that nobody knows.
static void fill_data(struct fx *fx, struct cs_event *ev, const struct fx_key *fresh) {
    switch (ev->type) {
    case CS_EVENT_SYSTEM_GENESIS:
        strcpy(ev->data.genesis.deployment, FX_DEPLOYMENT);
        strcpy(ev->data.genesis.nonce, FX_NONCE);
        ev->data.genesis.partitions = 2;
        ev->data.genesis.ruleset = 1;
        break;
    case CS_EVENT_SYSTEM_RULESET:
        ev->data.ruleset.ruleset = 1;
        break;
    case CS_EVENT_TRUST_ADD:
        ev->data.trust.key.bytes = cs_pubkey_spki(fresh->pub);
        ev->data.trust.role = CS_TRUST_ADMIN;
        break;
    case CS_EVENT_TRUST_REMOVE:
        ev->data.trust.role = CS_TRUST_ADMIN;
        break;
    case CS_EVENT_ACCOUNT_REGISTER:
    case CS_EVENT_ACCOUNT_UPDATE:
        ev->data.account = (struct cs_event_account){.has_site = true,
                                                     .has_owner = true,
                                                     .has_verified = true,
                                                     .site = CS_SITE_CN,
                                                     .owner = "acme-inc",
                                                     .verified = true};
        break;
    case CS_EVENT_AGENT_ENROLL:
        ev->data.enroll.can = CS_CAN_READ;
        strcpy(ev->data.enroll.names, "*");
        // fall through
    case CS_EVENT_AGENT_ROTATE:
        ev->data.enroll.key.bytes = cs_pubkey_spki(fresh->pub);
        break;
    case CS_EVENT_NONE:
    case CS_EVENT_AGENT_REVOKE:
        break;
    case CS_EVENT_CERTIFICATE_UPLOAD:
    case CS_EVENT_CERTIFICATE_ISSUE:
    case CS_EVENT_CERTIFICATE_UPDATE:
    case CS_EVENT_CERTIFICATE_SEEN:
    case CS_EVENT_CERTIFICATE_GONE:
    case CS_EVENT_CERTIFICATE_DELETE:
    case CS_EVENT_CERTIFICATE_SHARE:
    case CS_EVENT_CERTIFICATE_UNSHARE:
    case CS_EVENT_CSR_ADD:
    case CS_EVENT_CSR_DELETE:
    case CS_EVENT_SHARE_OFFER:
    case CS_EVENT_SHARE_WITHDRAW:
    case CS_EVENT_SHARE_ANSWER:
        fill_certificate_data(fx, ev);
        break;
    }
}

static const char *subject_of(enum cs_event_type type, const struct fx_key *fresh) {
    if (type <= CS_EVENT_SYSTEM_RULESET)
        return FX_DEPLOYMENT;
    if (type == CS_EVENT_ACCOUNT_REGISTER || type == CS_EVENT_ACCOUNT_UPDATE)
        return "acme";
    return type <= CS_EVENT_AGENT_ROTATE ? fresh->kid : NULL;
}

// Whether the right to send this type is what is missing.
static bool is_forbidden(struct fx *fx, enum cs_event_type type, struct fx_key *by) {
    struct fx_key *fresh = fx_key_new(fx);
    bool of_root = type <= CS_EVENT_TRUST_REMOVE;
    struct cs_event ev = fx_event(fx, type, of_root ? "" : "acme", by, subject_of(type, fresh));
    fill_data(fx, &ev, fresh);
    const struct cs_verdict *v = fx_judge(fx, fx_partition_of(fx, "acme"), fx_record(fx, by, &ev));
    assert_true(v->signer_known);
    return v->code == CS_CODE_EVENT_FORBIDDEN;
}

static struct fx_key *trusted(struct fx *fx, enum cs_trust_role role) {
    struct fx_key *k = fx_key_new(fx);
    struct cs_event ev = fx_event(fx, CS_EVENT_TRUST_ADD, "", fx->root, k->kid);
    ev.data.trust.role = role;
    ev.data.trust.key.bytes = cs_pubkey_spki(k->pub);
    assert_applied(fx_judge(fx, fx_partition_of(fx, "acme"), fx_record(fx, fx->root, &ev)));
    return k;
}

enum { ROOT = 1, ADMIN = 2, ISSUER = 4, SERVICE = 8, AGENT = 16, ANY_AGENT = 32 };
static const struct {
    enum cs_event_type type;
    unsigned who;
    unsigned can; // the one right that an agent needs
} may_send[] = {
    {CS_EVENT_SYSTEM_GENESIS, ROOT, 0},
    {CS_EVENT_SYSTEM_RULESET, ROOT, 0},
    {CS_EVENT_TRUST_ADD, ROOT, 0},
    {CS_EVENT_TRUST_REMOVE, ROOT, 0},
    {CS_EVENT_ACCOUNT_REGISTER, ADMIN, 0},
    {CS_EVENT_ACCOUNT_UPDATE, ADMIN, 0},
    {CS_EVENT_AGENT_ENROLL, ADMIN, 0}, // and join tokens, below
    {CS_EVENT_AGENT_REVOKE, ADMIN, 0},
    {CS_EVENT_AGENT_ROTATE, ANY_AGENT, 0},
    {CS_EVENT_CERTIFICATE_UPLOAD, AGENT, CS_CAN_UPLOAD},
    {CS_EVENT_CERTIFICATE_ISSUE, ISSUER, 0},
    {CS_EVENT_CERTIFICATE_UPDATE, AGENT, CS_CAN_UPLOAD},
    {CS_EVENT_CERTIFICATE_SEEN, AGENT, CS_CAN_UPLOAD},
    {CS_EVENT_CERTIFICATE_GONE, AGENT, CS_CAN_UPLOAD},
    {CS_EVENT_CERTIFICATE_DELETE, AGENT, CS_CAN_DELETE},
    {CS_EVENT_CERTIFICATE_SHARE, AGENT, CS_CAN_SHARE},
    {CS_EVENT_CERTIFICATE_UNSHARE, AGENT, CS_CAN_SHARE},
    {CS_EVENT_CSR_ADD, AGENT, CS_CAN_CSR},
    {CS_EVENT_CSR_DELETE, AGENT, CS_CAN_CSR},
    {CS_EVENT_SHARE_OFFER, SERVICE, 0},
    {CS_EVENT_SHARE_WITHDRAW, SERVICE, 0},
    {CS_EVENT_SHARE_ANSWER, SERVICE, 0},
};

static bool held_against_pattern(enum cs_event_type type) {
    bool held = false;
    for (size_t i = 0; i < cs_rulebook.event.len; i++) {
        const struct cs_rule *r = &cs_rulebook.event.rules[i];
        held = held || (r->holds == cs_rule_pattern && (r->types >> type & 1) &&
                        r->since == CS_RULESET_FIRST && r->last == INT64_MAX);
    }
    return held;
}

// Every type of the list has a sender, and stands in the table above; what has none may be sent by nobody. What an
// agent's key sends by its right is held against the key's pattern, too, and where it names nothing no pattern covers it.
static void every_type_says_who_may_send_it(void **state) {
    (void)state;
    for (int t = CS_EVENT_NONE + 1; t < CS_EVENT_TYPE_END; t++) {
        enum cs_event_type type = (enum cs_event_type)t;
        const struct cs_event_sender *s = &cs_event_senders[t];
        size_t rows = 0;
        for (size_t i = 0; i < CS_ARRAY_LEN(may_send); i++)
            rows += may_send[i].type == type;
        if (rows != 1)
            fail_msg("%s has %zu rows in may_send", cs_event_type_name(type), rows);
        assert_int_not_equal(s->sender, CS_SENDER_NOBODY);
        assert_int_equal(s->sender == CS_SENDER_RIGHT, s->right != 0);
        assert_int_equal(s->sender == CS_SENDER_RIGHT, held_against_pattern(type));
        assert_int_equal(s->sender == CS_SENDER_SERVICE, cs_event_is_derived(type));
    }
}

static void no_pattern_covers_what_has_no_name(void **state) {
    (void)state;
    struct cs_judge j = {0};
    CS_COPY(j.f.agent.names, "*");
    assert_false(cs_rule_pattern(&j));
    j.f.name = "a";
    assert_true(cs_rule_pattern(&j));
}

static void what_names_no_sender_is_refused_to_everybody(void **state) {
    (void)state;
    const struct cs_event ev = {.type = CS_EVENT_NONE}; // the row that nothing was written into
    for (int signer = CS_SIGNER_NONE; signer <= CS_SIGNER_AGENT; signer++) {
        for (int role = 0; role <= CS_TRUST_CUSTODIAN; role++) {
            struct cs_judge j = {.ev = &ev};
            j.f.signer = (enum cs_signer)signer;
            j.f.role = (enum cs_trust_role)role;
            j.f.agent.can = CS_CAN_ALL;
            assert_false(cs_rule_may_send(&j));
        }
    }
}

static void trusted_keys_have_the_rights_of_their_role(void **state) {
    struct fx *fx = *state;
    const struct {
        struct fx_key *k;
        unsigned who;
    } signers[] = {{fx->root, ROOT},
                   {fx->admin, ADMIN},
                   {fx->issuer, ISSUER},
                   {fx->service, SERVICE},
                   {trusted(fx, CS_TRUST_AUDITOR), 0},
                   {trusted(fx, CS_TRUST_CUSTODIAN), 0}};
    for (size_t i = 0; i < CS_ARRAY_LEN(may_send); i++)
        for (size_t s = 0; s < CS_ARRAY_LEN(signers); s++)
            if (is_forbidden(fx, may_send[i].type, signers[s].k) != !(may_send[i].who & signers[s].who))
                fail_msg("%s, signer %zu", cs_event_type_name(may_send[i].type), s);
    fx_deliver_all(fx);
}

static void agents_have_the_rights_they_were_given(void **state) {
    struct fx *fx = *state;
    const unsigned all = CS_CAN_ALL & ~CS_CAN_ENROLL;
    for (size_t i = 0; i < CS_ARRAY_LEN(may_send); i++) {
        enum cs_event_type type = may_send[i].type;
        unsigned can = may_send[i].can;
        if (type <= CS_EVENT_TRUST_REMOVE)
            continue; // names no account, so that no agent signs it
        bool without = is_forbidden(fx, type, fx_agent(fx, "acme", all & ~can, "*"));
        assert_int_equal(without, !(may_send[i].who & ANY_AGENT));
        if (can)
            assert_false(is_forbidden(fx, type, fx_agent(fx, "acme", can, "*")));
    }
}

static void accounts(void **state) {
    struct fx *fx = *state;
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_REGISTER, "acme", fx->admin, "acme");
    ev.data.account = (struct cs_event_account){.has_site = true,
                                                .has_owner = true,
                                                .has_verified = true,
                                                .site = CS_SITE_INTL,
                                                .owner = "me",
                                                .verified = true};
    assert_rejected(fx_send(fx, fx->admin, &ev), ACCOUNT_EXISTS);
    ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "nobody", fx->admin, "nobody");
    ev.data.account.has_verified = true;
    assert_rejected(fx_send(fx, fx->admin, &ev), ACCOUNT_UNKNOWN);
    struct fx_key *k = fx_key_new(fx);
    ev = fx_enroll(fx, "nobody", fx->admin, k, CS_CAN_READ, "*");
    assert_rejected(fx_send(fx, fx->admin, &ev), ACCOUNT_UNKNOWN);
    ev = fx_issue(fx, "nobody", NULL, "one", any_cert(fx));
    assert_rejected(fx_send(fx, fx->issuer, &ev), ACCOUNT_UNKNOWN);

    // Limits: what is not said is the default, or stays.
    fx_account(fx, "limits", "acme-inc", CS_SITE_CN, false);
    struct cs_account a;
    struct cs_err err;
    assert_true(cs_account_decode(fx_doc(fx, "limits", "account/limits"), &a, &err));
    assert_int_equal(a.limit_certificates, CS_LIMIT_CERTIFICATES);
    assert_int_equal(a.limit_shares, CS_LIMIT_SHARES);
    assert_false(a.reject_incomplete_chain);
    ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "limits", fx->admin, "limits");
    ev.data.account.has_shares = ev.data.account.has_incomplete_chain = true;
    ev.data.account.limit_shares = 7;
    ev.data.account.reject_incomplete_chain = true;
    fx->now_ms += 1000;
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_true(cs_account_decode(fx_doc(fx, "limits", "account/limits"), &a, &err));
    assert_int_equal(a.limit_certificates, CS_LIMIT_CERTIFICATES);
    assert_int_equal(a.limit_shares, 7);
    assert_true(a.reject_incomplete_chain);
    assert_int_equal(a.site, CS_SITE_CN);
    assert_string_equal(a.owner, "acme-inc");
    assert_false(a.verified);
    assert_int_equal(a.updated_ms, fx->now_ms);
    assert_int_equal(a.created_ms, fx->now_ms - 1000);
    fx->now_ms -= 1000;
}

static void keys_that_cannot_be_enrolled(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_READ, "*"), *fresh = fx_key_new(fx);
    const struct fx_key *taken[] = {k, fx->admin, fx->root, fx->service};
    for (size_t i = 0; i < CS_ARRAY_LEN(taken); i++) {
        struct cs_event ev = fx_enroll(fx, "acme", fx->admin, taken[i], CS_CAN_READ, "*");
        assert_rejected(fx_send(fx, fx->admin, &ev), AGENT_EXISTS);
        ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", k, taken[i]->kid);
        ev.data.enroll.key.bytes = cs_pubkey_spki(taken[i]->pub);
        assert_rejected(fx_send(fx, k, &ev), AGENT_EXISTS);
    }
    struct cs_event ev = fx_enroll(fx, "acme", fx->admin, fresh, CS_CAN_READ, "*");
    strcpy(ev.subject, k->kid); // somebody else's id
    const struct cs_verdict *v = fx_send(fx, fx->admin, &ev);
    assert_rejected(v, EVENT_MALFORMED);
    assert_string_equal(v->detail, "subject: not the key's id");
    ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, fresh->kid);
    assert_rejected(fx_send(fx, fx->admin, &ev), AGENT_UNKNOWN);
    // The same key may be of two accounts.
    fx_account(fx, "second", "acme-inc", CS_SITE_CN, true);
    ev = fx_enroll(fx, "second", fx->admin, k, CS_CAN_READ, "*");
    assert_applied(fx_send(fx, fx->admin, &ev));
}

static struct fx_key *join_token(struct fx *fx, int64_t uses, int64_t expires_s, unsigned can,
                                 const char *names) {
    struct fx_key *token = fx_key_new(fx);
    struct cs_event ev = fx_enroll(fx, "acme", fx->admin, token, CS_CAN_ENROLL, "*");
    ev.data.enroll.uses = uses;
    ev.data.enroll.expires_s = expires_s;
    ev.data.enroll.has_grant = true;
    ev.data.enroll.grant_can = can;
    strcpy(ev.data.enroll.grant_names, names);
    assert_applied(fx_send(fx, fx->admin, &ev));
    return token;
}

static const struct cs_verdict *join(struct fx *fx, struct fx_key *token, unsigned can, const char *names) {
    struct cs_event ev = fx_enroll(fx, "acme", token, fx_key_new(fx), can, names);
    if (can & CS_CAN_ENROLL) {
        ev.data.enroll.has_grant = true;
        strcpy(ev.data.enroll.grant_names, "*");
    }
    return fx_send(fx, token, &ev);
}

static void join_tokens(void **state) {
    struct fx *fx = *state;
    unsigned grant = CS_CAN_UPLOAD | CS_CAN_READ;
    struct fx_key *token = join_token(fx, 0, 0, grant, "*.example.com");
    static const struct {
        unsigned can;
        const char *names;
        bool may;
    } rows[] = {
        {CS_CAN_UPLOAD, "*.example.com", true},
        {CS_CAN_UPLOAD | CS_CAN_READ, "www.example.com", true},
        {0, "www.example.com", true},
        {CS_CAN_DELETE, "www.example.com", false},
        {CS_CAN_UPLOAD | CS_CAN_DELETE, "www.example.com", false},
        {CS_CAN_ENROLL, "www.example.com", false},
        {CS_CAN_UPLOAD | CS_CAN_ENROLL, "*.example.com", false},
        {CS_CAN_UPLOAD, "www.example.org", false},
        {CS_CAN_UPLOAD, "*", false},
        {CS_CAN_UPLOAD, "w*.example.com", false}, // narrower, but patterns are not compared
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        const struct cs_verdict *v = join(fx, token, rows[i].can, rows[i].names);
        if (rows[i].may)
            assert_applied(v);
        else
            assert_rejected(v, EVENT_FORBIDDEN);
    }
    token = join_token(fx, 0, 0, CS_CAN_ALL, "*");
    assert_applied(join(fx, token, CS_CAN_ALL & ~CS_CAN_ENROLL, "w*.example.com"));
    assert_rejected(join(fx, token, CS_CAN_ENROLL, "*"), EVENT_FORBIDDEN); // whatever was granted
    // A token does nothing else.
    assert_rejected(upload(fx, token, "one"), EVENT_FORBIDDEN);
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", token, token->kid);
    assert_rejected(fx_send(fx, token, &ev), EVENT_FORBIDDEN);
}

static void join_tokens_end(void **state) {
    struct fx *fx = *state;
    struct fx_key *twice = join_token(fx, 2, 0, CS_CAN_READ, "*");
    assert_rejected(join(fx, twice, CS_CAN_UPLOAD, "*"), EVENT_FORBIDDEN); // a refusal uses nothing up
    assert_applied(join(fx, twice, CS_CAN_READ, "*"));
    assert_applied(join(fx, twice, CS_CAN_READ, "*"));
    assert_rejected(join(fx, twice, CS_CAN_READ, "*"), EVENT_FORBIDDEN);

    int64_t end_s = fx_now_s(fx) + 60;
    struct fx_key *brief = join_token(fx, 0, end_s, CS_CAN_READ, "*");
    fx->now_ms = end_s * 1000 - 1;
    assert_applied(join(fx, brief, CS_CAN_READ, "*"));
    fx->now_ms = end_s * 1000;
    assert_rejected(join(fx, brief, CS_CAN_READ, "*"), EVENT_FORBIDDEN);
    fx->now_ms = FX_NOW_MS;

    struct fx_key *gone = join_token(fx, 0, 0, CS_CAN_READ, "*");
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, gone->kid);
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_rejected(join(fx, gone, CS_CAN_READ, "*"), EVENT_REVOKED_SIGNER);
}

// ---- how keys end

static const struct cs_verdict *rotate(struct fx *fx, struct fx_key *by, const struct fx_key *next) {
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", by, next->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
    return fx_send(fx, by, &ev);
}

static const struct cs_verdict *revoke(struct fx *fx, const struct fx_key *k) {
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, k->kid);
    return fx_send(fx, fx->admin, &ev);
}

static enum cs_agent_state state_of(struct fx *fx, const struct fx_key *k) {
    struct cs_agent a;
    struct cs_err err;
    assert_true(cs_agent_decode(fx_doc(fx, "acme", fx_text(fx, "key/acme/%s", k->kid)), &a, &err));
    return a.state;
}

// Whichever key of a line is revoked, none of it lives afterwards; the answer names those that it ended.
static void revocation_follows_rotation(void **state) {
    struct fx *fx = *state;
    enum { LENGTH = 4 };
    for (size_t named = 0; named < LENGTH; named++) {
        struct fx_key *line[LENGTH] = {fx_agent(fx, "acme", CS_CAN_UPLOAD, "*")};
        for (size_t i = 1; i < LENGTH; i++) {
            line[i] = fx_key_new(fx);
            assert_applied(rotate(fx, line[i - 1], line[i]));
        }
        struct fx_key *last = line[LENGTH - 1];
        const struct cs_verdict *v = revoke(fx, line[named]);
        assert_applied(v);
        assert_string_equal(v->detail, line[named] == last
                                           ? fx_text(fx, "ended: %s", last->kid)
                                           : fx_text(fx, "ended: %s, %s", line[named]->kid, last->kid));
        for (size_t i = 0; i < LENGTH; i++) {
            assert_int_equal(state_of(fx, line[i]),
                             i == named || line[i] == last ? CS_AGENT_REVOKED : CS_AGENT_ROTATED);
            assert_rejected(upload(fx, line[i], "revoked"), EVENT_REVOKED_SIGNER);
        }
        assert_rejected(rotate(fx, last, fx_key_new(fx)), EVENT_REVOKED_SIGNER);
        // A second time, each of the others ends itself alone, or changes nothing.
        for (size_t i = 0; i < LENGTH; i++) {
            v = revoke(fx, line[i]);
            if (i == named || line[i] == last)
                assert_verdict(v, APPLIED, UNCHANGED);
            else
                assert_string_equal(v->detail, fx_text(fx, "ended: %s", line[i]->kid));
        }
    }
}

// Each rotation writes the first key of its line, and reads no more of it: a line may be of any length.
static void a_long_line_is_revoked_in_one_step(void **state) {
    struct fx *fx = *state;
    struct fx_key *first = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*"), *last = first;
    for (int i = 0; i < 60; i++) {
        struct fx_key *next = fx_key_new(fx);
        assert_applied(rotate(fx, last, next));
        last = next;
    }
    struct cs_agent a;
    struct cs_err err;
    assert_true(cs_agent_decode(fx_doc(fx, "acme", fx_text(fx, "key/acme/%s", first->kid)), &a, &err));
    assert_string_equal(a.latest, last->kid);
    const struct cs_verdict *v = revoke(fx, first);
    assert_applied(v);
    assert_non_null(strstr(v->detail, last->kid));
    assert_rejected(upload(fx, last, "revoked"), EVENT_REVOKED_SIGNER);
}

// Whoever finds a token, or keeps a key beyond its time, can neither keep it alive nor use it.
static void tokens_and_expired_keys_do_not_go_on(void **state) {
    struct fx *fx = *state;
    struct fx_key *token = join_token(fx, 0, 0, CS_CAN_READ, "*");
    assert_rejected(rotate(fx, token, fx_key_new(fx)), EVENT_FORBIDDEN);
    // A key with an end that may do more than enrol.
    int64_t end_s = fx_now_s(fx) + 60;
    struct fx_key *both = fx_key_new(fx);
    struct cs_event ev = fx_enroll(fx, "acme", fx->admin, both, CS_CAN_ENROLL | CS_CAN_UPLOAD, "*");
    ev.data.enroll.expires_s = end_s;
    ev.data.enroll.has_grant = true;
    ev.data.enroll.grant_can = CS_CAN_READ;
    strcpy(ev.data.enroll.grant_names, "*");
    assert_applied(fx_send(fx, fx->admin, &ev));
    fx->now_ms = end_s * 1000 - 1;
    assert_applied(upload(fx, both, "in-time"));
    fx->now_ms = end_s * 1000;
    assert_rejected(upload(fx, both, "too-late"), EVENT_FORBIDDEN);
    assert_rejected(join(fx, both, CS_CAN_READ, "*"), EVENT_FORBIDDEN);
    assert_rejected(rotate(fx, both, fx_key_new(fx)), EVENT_FORBIDDEN);
    fx->now_ms = FX_NOW_MS;
}

static void revoking_a_token_tells_of_what_it_enrolled(void **state) {
    struct fx *fx = *state;
    struct fx_key *token = join_token(fx, 0, 0, CS_CAN_READ, "*"),
                  *unused = join_token(fx, 3, 0, CS_CAN_READ, "*");
    assert_applied(join(fx, token, CS_CAN_READ, "*"));
    assert_applied(join(fx, token, CS_CAN_READ, "*"));
    const struct cs_verdict *v = revoke(fx, token);
    assert_applied(v);
    assert_string_equal(
        v->detail, fx_text(fx, "ended: %s; keys that it enrolled, which this does not end: 2", token->kid));
    v = revoke(fx, unused);
    assert_applied(v);
    assert_string_equal(v->detail, fx_text(fx, "ended: %s", unused->kid));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_says_who_may_send_it),
        cmocka_unit_test(no_pattern_covers_what_has_no_name),
        cmocka_unit_test(what_names_no_sender_is_refused_to_everybody),
        cmocka_unit_test(trusted_keys_have_the_rights_of_their_role),
        cmocka_unit_test(agents_have_the_rights_they_were_given),
        cmocka_unit_test(accounts),
        cmocka_unit_test(keys_that_cannot_be_enrolled),
        cmocka_unit_test(join_tokens),
        cmocka_unit_test(join_tokens_end),
        cmocka_unit_test(revocation_follows_rotation),
        cmocka_unit_test(a_long_line_is_revoked_in_one_step),
        cmocka_unit_test(tokens_and_expired_keys_do_not_go_on),
        cmocka_unit_test(revoking_a_token_tells_of_what_it_enrolled),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
