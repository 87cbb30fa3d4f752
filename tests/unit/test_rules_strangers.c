// SPDX-License-Identifier: Apache-2.0
//
// What strangers cost: whoever is not let in has the catalog say whose key it is, and no more.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

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

// What a decision asks for beyond what it was given; joined by spaces.
static const char *asked_for(struct fx *fx, struct cs_state *s) {
    const struct cs_needed *needed = NULL;
    const char *text = "";
    size_t n = cs_state_needed(s, &needed);
    for (size_t i = 0; i < n; i++)
        text = fx_text(fx, "%s%s%s%s", text, i ? " " : "", needed[i].index ? "index:" : "", needed[i].key);
    return text;
}

static bool fill_from(struct fx *fx, struct cs_state *s) {
    const struct cs_needed *needed = NULL;
    struct cs_err err;
    size_t n = cs_state_needed(s, &needed);
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        struct cs_bytes v = fx_doc(fx, "acme", needed[i].key);
        ok = ok && !needed[i].index && cs_state_fill_needed(s, i, v, &err);
    }
    cs_state_needed_clear(s);
    return ok;
}

// Decides from an empty working set. The code; *ret_asked: what was asked for in the end, round by round.
static enum cs_code decide_cold(struct fx *fx, struct fx_record *record, bool touch, const char **ret_asked,
                                bool *ret_examined) {
    CS_AUTO(cs_state_free) struct cs_state *s = NULL;
    struct cs_err err;
    assert_true(cs_state_new(false, &s, &err));
    record->r.partition = fx_partition_of(fx, "acme");
    record->r.timestamp_ms = fx->now_ms;
    struct cs_prepared *p = fx_prepare(fx, &record->r);
    struct cs_rule_context ctx = fx_context(fx, record->r.partition);
    struct cs_decision d = {{0}, {0}};
    bool needed = true;
    *ret_asked = "";
    while (needed) {
        if (!touch || !cs_decide_touch(&ctx, s, &record->r, p))
            assert_true(cs_decide(&ctx, s, &record->r, p, &d, &needed, &err));
        if (needed) {
            *ret_asked = fx_text(fx, "%s[%s]", *ret_asked, asked_for(fx, s));
            assert_true(fill_from(fx, s));
        }
    }
    enum cs_code code = d.verdict.code;
    *ret_examined = p->examined;
    cs_decision_clear(&d);
    cs_prepared_free(p);
    return code;
}

// Nothing of what they send is examined, no document that it names is read.
static void strangers_cost_a_look_up(void **state) {
    struct fx *fx = *state;
    struct fx_key *stranger = fx_key_new(fx), *gone = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_SHARE, "*");
    struct cs_event revoke = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, gone->kid);
    assert_applied(fx_send(fx, fx->admin, &revoke));
    for (int touch = 0; touch < 2; touch++)
        for (int kind = 0; kind < 3; kind++) {
            struct fx_key *by = kind == 2 ? gone : stranger;
            struct cs_event ev =
                kind == 1 ? fx_event(fx, CS_EVENT_CERTIFICATE_SHARE, "acme", by, NULL)
                          : fx_upload(fx, "acme", by, NULL, "name", fx_cert(fx, (struct fx_cert_how){0}));
            if (kind == 1)
                strcpy(ev.data.share.to, "other");
            const char *asked = NULL;
            bool examined = true;
            enum cs_code code = decide_cold(fx, fx_record(fx, by, &ev), touch, &asked, &examined);
            const char *signer =
                fx_text(fx, "[system trust/%s key/acme/%s stream/acme/%s]", by->kid, by->kid, by->kid);
            assert_int_equal(code, by == gone ? CS_CODE_EVENT_REVOKED_SIGNER : CS_CODE_EVENT_UNKNOWN_SIGNER);
            assert_false(examined);
            assert_string_equal(asked, signer);
            // Signed by somebody else than it says.
            struct fx_key *known = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_SHARE, "*");
            ev = fx_upload(fx, "acme", known, NULL, "name", fx_cert(fx, (struct fx_cert_how){0}));
            code = decide_cold(fx, fx_record(fx, stranger, &ev), touch, &asked, &examined);
            assert_int_equal(code, CS_CODE_EVENT_BAD_SIGNATURE);
            assert_false(examined);
            assert_string_equal(asked, fx_text(fx, "[system trust/%s key/acme/%s stream/acme/%s]", known->kid,
                                               known->kid, known->kid));
        }
}

static struct fx_key *labelled(struct fx *fx, unsigned can, const char *names, const char *label) {
    struct fx_key *key = fx_key_new(fx);
    struct cs_event ev = fx_enroll(fx, "acme", fx->admin, key, can, names);
    strcpy(ev.data.enroll.label, label);
    assert_applied(fx_send(fx, fx->admin, &ev));
    return key;
}

// name "": none
static void expect_told(const struct cs_verdict *v, enum cs_code code, const char *label, const char *name,
                        int64_t version, const struct fx_cert *leaf) {
    assert_int_equal(v->code, code);
    assert_string_equal(v->label, label);
    assert_string_equal(v->name, name);
    assert_int_equal(v->version, version);
    assert_int_equal(v->leaves_len, leaf ? 1 : 0);
    if (!leaf)
        return;
    assert_memory_equal(v->leaves[0].sha256, leaf->leaf->sha256, 32);
    assert_true(v->leaves[0].serial[0] != '\0' && v->leaves[0].not_after_s > 0);
}

// An outcome says of whoever is proven who it was, and of a certificate that was taken which. Of strangers it says
// nothing that their record does not say, and to whoever may only send nothing that only the catalog knows.
static void what_outcomes_tell(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){0}), *next = fx_cert(fx, (struct fx_cert_how){0});
    struct fx_key *agent = labelled(fx, CS_CAN_UPLOAD | CS_CAN_DELETE, "*", "web-1");
    struct fx_key *narrow = labelled(fx, CS_CAN_UPLOAD | CS_CAN_DELETE, "mine-*", "web-2");
    struct fx_key *stranger = fx_key_new(fx);
    struct cs_event first = fx_upload(fx, "acme", agent, NULL, "told", cert), ev = first;
    expect_told(fx_send(fx, agent, &ev), CS_CODE_NONE, "web-1", "told", 1, cert);
    expect_told(fx_send(fx, agent, &first), CS_CODE_NONE, "web-1", "told", 0, NULL); // a duplicate
    ev = fx_upload(fx, "acme", agent, NULL, "told", cert);
    expect_told(fx_send(fx, agent, &ev), CS_CODE_UNCHANGED, "web-1", "told", 1, cert);
    ev = fx_upload(fx, "acme", agent, NULL, "told", next);
    expect_told(fx_send(fx, agent, &ev), CS_CODE_NAME_TAKEN, "web-1", "told", 0, next); // not what is there
    ev = fx_upload(fx, "acme", stranger, NULL, "told", next);
    expect_told(fx_send(fx, stranger, &ev), CS_CODE_EVENT_UNKNOWN_SIGNER, "", "", 0, NULL);
    ev = fx_upload(fx, "acme", agent, NULL, "told", next);
    expect_told(fx_send(fx, stranger, &ev), CS_CODE_EVENT_BAD_SIGNATURE, "", "", 0, NULL);
    // Whose pattern does not cover the certificate learns nothing of it.
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", narrow, first.subject);
    expect_told(fx_send(fx, narrow, &ev), CS_CODE_EVENT_FORBIDDEN, "web-2", "", 0, NULL);
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, first.subject);
    expect_told(fx_send(fx, agent, &ev), CS_CODE_NONE, "web-1", "told", 1, cert);
    ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, narrow->kid);
    assert_applied(fx_send(fx, fx->admin, &ev));
    ev = fx_upload(fx, "acme", narrow, NULL, "mine-1", next);
    expect_told(fx_send(fx, narrow, &ev), CS_CODE_EVENT_REVOKED_SIGNER, "web-2", "mine-1", 0, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_outcomes_tell),
        cmocka_unit_test(strangers_cost_a_look_up),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
