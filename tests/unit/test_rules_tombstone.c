// SPDX-License-Identifier: Apache-2.0
//
// Tombstones: an id is used once, for as long as an event of before could be accepted; then it is forgotten. So
// is a key that has ended.
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

// ---- keys

static const struct cs_verdict *rotate(struct fx *fx, struct fx_key *by, const struct fx_key *next) {
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", by, next->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
    return fx_send(fx, by, &ev);
}

static const struct cs_verdict *vain(struct fx *fx, struct fx_key *by) {
    return send(fx, by, CS_EVENT_CERTIFICATE_DELETE, NULL);
}

// All that an account has of a key: its document, its place in the list, and what it has sent.
static bool is_kept(struct fx *fx, const struct fx_key *k) {
    struct cs_state *s = fx->partition[fx_partition_of(fx, "acme")].state;
    const struct cs_member *seen = NULL;
    size_t n = 0;
    int64_t score = 0;
    bool kept = is_there(fx, "acme", "key", k->kid);
    bool listed = cs_state_member(s, "keys/acme", k->kid, &score) == CS_FOUND;
    bool sent = is_there(fx, "acme", "stream", k->kid);
    assert_int_equal(cs_state_list(s, fx_text(fx, "seen/acme/%s", k->kid), &seen, &n),
                     sent ? CS_FOUND : CS_ABSENT);
    assert_int_equal(kept, listed);
    assert_true(kept || !sent);
    return kept;
}

static void ended_keys(void **state) {
    struct fx *fx = *state;
    enum { LENGTH = 4 };
    struct fx_key *line[LENGTH] = {fx_agent(fx, "acme", CS_CAN_DELETE, "*")};
    for (int i = 1; i < LENGTH; i++) {
        line[i] = fx_key_new(fx);
        assert_rejected(vain(fx, line[i - 1]), CERTIFICATE_NOT_FOUND);
        assert_applied(rotate(fx, line[i - 1], line[i]));
    }
    struct fx_key *alone = fx_agent(fx, "acme", CS_CAN_DELETE, "*"), *token = fx_key_new(fx),
                  *guest = fx_key_new(fx);
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", alone, NULL);
    struct fx_record *old = fx_record(fx, alone, &ev);
    assert_rejected(fx_judge(fx, fx_partition_of(fx, "acme"), old), CERTIFICATE_NOT_FOUND);
    assert_applied(send(fx, fx->admin, CS_EVENT_AGENT_REVOKE, alone->kid));
    ev = fx_enroll(fx, "acme", fx->admin, token, CS_CAN_ENROLL, "*");
    ev.data.enroll.uses = 1;
    ev.data.enroll.has_grant = true;
    ev.data.enroll.grant_can = CS_CAN_DELETE;
    strcpy(ev.data.enroll.grant_names, "*");
    assert_applied(fx_send(fx, fx->admin, &ev));
    ev = fx_enroll(fx, "acme", token, guest, CS_CAN_DELETE, "*");
    assert_applied(fx_send(fx, token, &ev));
    fx_check_invariants(fx);
    // A token that is used up, and revoked after that, has one tombstone.
    assert_applied(send(fx, fx->admin, CS_EVENT_AGENT_REVOKE, token->kid));
    fx_check_invariants(fx);

    fx->now_ms += KEPT_MS;
    assert_rejected(vain(fx, guest), CERTIFICATE_NOT_FOUND);
    assert_true(is_kept(fx, alone) && is_kept(fx, token) && is_kept(fx, line[1]));
    fx->now_ms++;
    assert_rejected(vain(fx, guest), CERTIFICATE_NOT_FOUND);
    assert_false(is_kept(fx, alone));
    assert_false(is_kept(fx, token));
    assert_false(is_kept(fx, line[1]));
    assert_false(is_kept(fx, line[2]));
    assert_true(is_kept(fx, line[0]) && is_kept(fx, line[3]) && is_kept(fx, guest));
    fx_check_invariants(fx);
    assert_rejected(vain(fx, line[1]), EVENT_UNKNOWN_SIGNER);
    assert_rejected(send(fx, fx->admin, CS_EVENT_AGENT_REVOKE, line[1]->kid), AGENT_UNKNOWN);

    // One that comes again begins anew, and what it had sent before is too old.
    ev = fx_enroll(fx, "acme", fx->admin, alone, CS_CAN_DELETE, "*");
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_rejected(fx_judge(fx, fx_partition_of(fx, "acme"), old), EVENT_TOO_OLD);

    // The first key of a line still ends the last one; then both go.
    assert_applied(send(fx, fx->admin, CS_EVENT_AGENT_REVOKE, line[0]->kid));
    assert_rejected(vain(fx, line[3]), EVENT_REVOKED_SIGNER);
    fx_check_invariants(fx);
    fx->now_ms += KEPT_MS + 1;
    assert_rejected(vain(fx, guest), CERTIFICATE_NOT_FOUND);
    assert_false(is_kept(fx, line[0]) || is_kept(fx, line[3]));
    fx_check_invariants(fx);
    fx->now_ms = FX_NOW_MS;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ended_keys), // before others have left tombstones of a later time
        cmocka_unit_test(what_is_deleted),
        cmocka_unit_test(many),
        cmocka_unit_test(closed_shares),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
