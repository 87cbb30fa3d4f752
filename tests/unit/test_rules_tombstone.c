// SPDX-License-Identifier: Apache-2.0
//
// Tombstones: an id is used once, for as long as an event of before could be accepted; then it is forgotten.
// That each tombstone has its place in the queue, fx_check_invariants says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "share_family.h"

#define KEPT_MS (CS_EVENT_AGE_MAX_MS + INT64_C(1) * FX_DAY * 1000)

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    fx_account(fx, "acme", "acme-inc", CS_SITE_CN, true);
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    fx_deliver_all(*state);
    fx_check_invariants(*state);
    fx_free(*state);
    return 0;
}

static bool is_there(struct fx *fx, const char *account, const char *kind, const char *id) {
    return fx_doc(fx, account, fx_text(fx, "%s/%s/%s", kind, account, id)).data != NULL;
}

static const struct cs_verdict *send(struct fx *fx, struct fx_key *by, enum cs_event_type type,
                                     const char *subject) {
    struct cs_event ev = fx_event(fx, type, "acme", by, subject);
    return fx_send(fx, by, &ev);
}

static const char *deleted(struct fx *fx, struct fx_key *agent, const char *name) {
    struct cs_event ev =
        fx_upload(fx, "acme", agent, NULL, name, fx_cert(fx, (struct fx_cert_how){.lasts_s = 900 * FX_DAY}));
    assert_applied(fx_send(fx, agent, &ev));
    assert_applied(send(fx, agent, CS_EVENT_CERTIFICATE_DELETE, ev.subject));
    return fx_text(fx, "%s", ev.subject);
}

static void what_is_deleted(void **state) {
    struct fx *fx = *state;
    struct fx_key *agent = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_CSR, "*");
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.lasts_s = 900 * FX_DAY});
    const char *id = deleted(fx, agent, "gone");
    struct cs_event csr = fx_csr(fx, "acme", agent, NULL, "asked", fx_cert_key_only(fx, "P-256"));
    assert_applied(fx_send(fx, agent, &csr));
    assert_applied(send(fx, agent, CS_EVENT_CSR_DELETE, csr.subject));
    fx->now_ms += KEPT_MS;
    struct cs_event ev = fx_upload(fx, "acme", agent, id, "gone", cert);
    assert_rejected(fx_send(fx, agent, &ev), CERTIFICATE_ID_USED);
    assert_true(is_there(fx, "acme", "csr", csr.subject));
    fx_check_invariants(fx);
    // A refused event takes them away, too, and is judged without them.
    fx->now_ms++;
    assert_rejected(send(fx, agent, CS_EVENT_CERTIFICATE_DELETE, id), CERTIFICATE_NOT_FOUND);
    assert_false(is_there(fx, "acme", "cert", id));
    assert_false(is_there(fx, "acme", "csr", csr.subject));
    assert_null(fx_doc(fx, "acme", "tombstones").data);
    ev = fx_upload(fx, "acme", agent, id, "gone", cert);
    assert_applied(fx_send(fx, agent, &ev));
}

// Few at once, the oldest first; those that came later stay.
static void many(void **state) {
    struct fx *fx = *state;
    struct fx_key *agent = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_DELETE, "*");
    const char *ids[10];
    for (int i = 0; i < 10; i++)
        ids[i] = deleted(fx, agent, "many");
    fx->now_ms += KEPT_MS;
    const char *late = deleted(fx, agent, "late");
    fx->now_ms++;
    const char *next = deleted(fx, agent, "next"); // two events
    for (int i = 0; i < 10; i++)
        assert_false(is_there(fx, "acme", "cert", ids[i]));
    assert_true(is_there(fx, "acme", "cert", late));
    assert_true(is_there(fx, "acme", "cert", next));
    fx_check_invariants(fx);
    for (int i = 0; i < 10; i++)
        ids[i] = deleted(fx, agent, "again");
    fx->now_ms += KEPT_MS + 1;
    assert_rejected(send(fx, agent, CS_EVENT_CERTIFICATE_DELETE, NULL), CERTIFICATE_NOT_FOUND);
    assert_false(is_there(fx, "acme", "cert", next)); // late, next, and six more
    assert_false(is_there(fx, "acme", "cert", ids[5]));
    assert_true(is_there(fx, "acme", "cert", ids[6]));
    fx_check_invariants(fx);
    // A copy, and what a clock that went back lets in, take nothing.
    fx->now_ms -= KEPT_MS;
    assert_rejected(send(fx, agent, CS_EVENT_CERTIFICATE_DELETE, NULL), CERTIFICATE_NOT_FOUND);
    assert_true(is_there(fx, "acme", "cert", ids[6]));
    fx->now_ms = FX_NOW_MS;
}

static void closed_shares(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    const char *share = fx_text(fx, "%s", fx_peek(fx)->data.offer.share);
    fx_deliver_all(fx);
    assert_applied(fx_unshare(fx, f.owner, f.owner_key, f.certificate, f.recipient));
    fx_deliver_all(fx);
    assert_true(is_there(fx, f.owner, "share", share));
    fx->now_ms += KEPT_MS + 1;
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    assert_false(is_there(fx, f.owner, "share", share));
    fx_deliver_all(fx);
    fx->now_ms = FX_NOW_MS;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_deleted),
        cmocka_unit_test(many),
        cmocka_unit_test(closed_shares),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
