// SPDX-License-Identifier: Apache-2.0
//
// Everything that an account can make has a limit: one more is refused with its code, what has ended
// makes room, and what is there already needs none. That the counts are right, fx_check_invariants says.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "share_family.h"

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

static struct cs_account account(struct fx *fx, const char *id) {
    struct cs_account a;
    struct cs_err err;
    assert_true(cs_account_decode(fx_doc(fx, id, fx_text(fx, "account/%s", id)), &a, &err));
    return a;
}

// The account may have `more` than it has.
#define ALLOW(fx, id, name, more)                                                                            \
    do {                                                                                                     \
        struct cs_event change = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, id, (fx)->admin, id);                 \
        change.data.account.has_##name = true;                                                               \
        change.data.account.limit_##name = account(fx, id).name + (more);                                    \
        assert_applied(fx_send(fx, (fx)->admin, &change));                                                   \
    } while (0)

static void defaults(void **state) {
    struct cs_account a = account(*state, "acme");
    assert_int_equal(a.limit_certificates, 1000);
    assert_int_equal(a.limit_shares, 20);
    assert_int_equal(a.limit_requests, 100);
    assert_int_equal(a.limit_keys, 10000);
    assert_int_equal(a.limit_tokens, 1000);
    assert_int_equal(a.limit_shares_out, 1000);
    assert_int_equal(a.limit_shares_in, 1000);
    assert_int_equal(a.limit_tags, 10000);
    assert_int_equal(a.limit_bytes, 50000000);
}

static void requests(void **state) {
    struct fx *fx = *state;
    struct fx_key *agent = fx_agent(fx, "acme", CS_CAN_CSR, "*");
    struct fx_cert *key = fx_cert_key_only(fx, "P-256"), *other = fx_cert_key_only(fx, "P-256");
    ALLOW(fx, "acme", requests, 1);
    struct cs_event first = fx_csr(fx, "acme", agent, NULL, "first", key);
    assert_applied(fx_send(fx, agent, &first));
    assert_int_equal(account(fx, "acme").requests, 1);
    struct cs_event ev = fx_csr(fx, "acme", agent, NULL, "second", other);
    assert_rejected(fx_send(fx, agent, &ev), QUOTA_REQUESTS);
    struct cs_event again = fx_csr_of(fx, "acme", agent, NULL, "first", key, first.data.csr.csr.bytes);
    assert_verdict(fx_send(fx, agent, &again), APPLIED, UNCHANGED);
    struct cs_event gone = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", agent, first.subject);
    assert_applied(fx_send(fx, agent, &gone));
    assert_int_equal(account(fx, "acme").requests, 0);
    ev = fx_csr(fx, "acme", agent, NULL, "second", other);
    assert_applied(fx_send(fx, agent, &ev));
}

static const struct cs_verdict *enroll(struct fx *fx, struct fx_key *by, struct fx_key *whom, unsigned can,
                                       int64_t uses) {
    struct cs_event ev = fx_enroll(fx, "acme", by, whom, can, "*");
    if (can & CS_CAN_ENROLL) {
        ev.data.enroll.has_grant = true;
        ev.data.enroll.grant_can = CS_CAN_READ;
        strcpy(ev.data.enroll.grant_names, "*");
        ev.data.enroll.uses = uses;
    }
    return fx_send(fx, by, &ev);
}

static const struct cs_verdict *revoke(struct fx *fx, const struct fx_key *whom) {
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, whom->kid);
    return fx_send(fx, fx->admin, &ev);
}

static void keys_and_tokens(void **state) {
    struct fx *fx = *state;
    struct fx_key *host = fx_key_new(fx), *next = fx_key_new(fx), *another = fx_key_new(fx);
    struct fx_key *token = fx_key_new(fx), *second = fx_key_new(fx);
    int64_t before = account(fx, "acme").keys;
    ALLOW(fx, "acme", keys, 1);
    ALLOW(fx, "acme", tokens, 1);
    assert_applied(enroll(fx, fx->admin, token, CS_CAN_ENROLL, 2));
    assert_int_equal(account(fx, "acme").tokens, 1);
    assert_rejected(enroll(fx, fx->admin, second, CS_CAN_ENROLL, 1), QUOTA_TOKENS);
    assert_applied(enroll(fx, token, host, CS_CAN_READ, 0)); // a token is no key
    assert_int_equal(account(fx, "acme").keys, before + 1);
    assert_rejected(enroll(fx, token, another, CS_CAN_READ, 0), QUOTA_KEYS);
    // A rotation needs no room.
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", host, next->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
    assert_applied(fx_send(fx, host, &ev));
    assert_int_equal(account(fx, "acme").keys, before + 1);
    assert_applied(revoke(fx, host)); // ends the next one, too
    assert_int_equal(account(fx, "acme").keys, before);
    assert_verdict(revoke(fx, next), APPLIED, UNCHANGED);
    assert_int_equal(account(fx, "acme").keys, before);
    assert_applied(enroll(fx, token, another, CS_CAN_READ, 0));
    // The token is used up: it makes room, once.
    assert_int_equal(account(fx, "acme").tokens, 0);
    assert_applied(revoke(fx, token));
    assert_int_equal(account(fx, "acme").tokens, 0);
    assert_applied(enroll(fx, fx->admin, second, CS_CAN_ENROLL, 0));
    assert_applied(revoke(fx, second));
    assert_int_equal(account(fx, "acme").tokens, 0);
}

static void shares_out(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    const char *another = fx_official(fx, f.owner, "another");
    ALLOW(fx, f.owner, shares_out, 1);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    assert_rejected(fx_share(fx, f.owner, f.owner_key, another, f.recipient),
                    QUOTA_SHARES_OUT); // pending counts
    fx_deliver_all(fx);
    assert_rejected(fx_share(fx, f.owner, f.owner_key, another, f.recipient), QUOTA_SHARES_OUT);
    assert_applied(fx_unshare(fx, f.owner, f.owner_key, f.certificate, f.recipient));
    assert_int_equal(account(fx, f.owner).shares_out, 0);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, another, "nobody"), PENDING, NONE);
    fx_deliver_all(fx); // refused
    assert_int_equal(account(fx, f.owner).shares_out, 0);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, another, f.recipient), PENDING, NONE);
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f.owner, f.owner_key, another);
    ev.data.del.cascade = true;
    assert_applied(fx_send(fx, f.owner_key, &ev));
    assert_int_equal(account(fx, f.owner).shares_out, 0);
    fx_deliver_all(fx);
}

// Another account's offers fill nobody's space.
static void shares_in(void **state) {
    struct fx *fx = *state;
    struct family f;
    family_make(fx, &f);
    const char *another = fx_official(fx, f.owner, "another");
    ALLOW(fx, f.recipient, shares_in, 1);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, f.certificate, f.recipient), PENDING, NONE);
    fx_deliver_all(fx);
    assert_int_equal(account(fx, f.recipient).shares_in, 1);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, another, f.recipient), PENDING, NONE);
    assert_verdict(fx_deliver_next(fx), APPLIED, QUOTA_SHARES_IN);
    const struct cs_verdict *v = fx_deliver_next(fx);
    assert_int_equal(v->concludes[0].code, CS_CODE_QUOTA_SHARES_IN);
    assert_applied(family_renew(fx, &f, 0)); // what is there needs no room
    fx_deliver_all(fx);
    assert_int_equal(account(fx, f.recipient).shares_in, 1);
    ALLOW(fx, f.recipient, shares_in, -1); // nor where there are too many by now
    assert_applied(family_renew(fx, &f, 0));
    fx_deliver_all(fx);
    assert_int_equal(account(fx, f.recipient).shares_in, 1);
    struct cs_event ev =
        fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, f.recipient, f.recipient_key, f.certificate);
    strcpy(ev.data.del.from, f.owner);
    assert_applied(fx_send(fx, f.recipient_key, &ev));
    assert_int_equal(account(fx, f.recipient).shares_in, 0);
    fx_deliver_all(fx);
    ALLOW(fx, f.recipient, shares_in, 1);
    assert_verdict(fx_share(fx, f.owner, f.owner_key, another, f.recipient), PENDING, NONE);
    fx_deliver_all(fx);
    assert_applied(family_update(fx, f.recipient, CS_CODE_SHARE_SITE));
    assert_int_equal(account(fx, f.recipient).shares_in, 0);
}

static const struct cs_verdict *upload(struct fx *fx, struct fx_key *agent, const char *name,
                                       const struct fx_cert *cert, size_t tags) {
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, name, cert);
    ev.data.upload.replace = true;
    ev.data.upload.tags.len = tags;
    for (size_t i = 0; i < tags; i++)
        strcpy(ev.data.upload.tags.tag[i], fx_text(fx, "%s-%zu", fx_uuid(fx) + 24, i));
    return fx_send(fx, agent, &ev);
}

static struct fx_cert *with(struct fx *fx, size_t uri_len) {
    return fx_cert(fx, (struct fx_cert_how){.uri_len = uri_len});
}

static void tags(void **state) {
    struct fx *fx = *state;
    ALLOW(fx, "acme", keys, 1);
    struct fx_key *agent = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_DELETE, "*");
    struct fx_cert *a = with(fx, 0), *b = with(fx, 0);
    ALLOW(fx, "acme", tags, 3);
    assert_applied(upload(fx, agent, "a", a, 2));
    assert_int_equal(account(fx, "acme").tags, 2);
    assert_rejected(upload(fx, agent, "b", b, 2), QUOTA_TAGS);
    assert_applied(upload(fx, agent, "b", b, 1));
    assert_rejected(upload(fx, agent, "a", a, 3), QUOTA_TAGS); // the same certificate with more
    assert_rejected(upload(fx, agent, "a", with(fx, 0), 3), QUOTA_TAGS);
    assert_applied(upload(fx, agent, "a", a, 2)); // others, but not more
    ALLOW(fx, "acme", tags, -1);
    assert_applied(upload(fx, agent, "a", with(fx, 0), 0)); // keeps them
    assert_applied(upload(fx, agent, "a", with(fx, 0), 2));
    assert_int_equal(account(fx, "acme").tags, 3);
    assert_applied(upload(fx, agent, "a", with(fx, 0), 1));
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, "c", b);
    assert_applied(fx_send(fx, agent, &ev));
    const char *id = fx_text(fx, "%s", ev.subject);
    assert_rejected(upload(fx, agent, "c", b, 1), QUOTA_TAGS);
    ALLOW(fx, "acme", tags, 1);
    assert_applied(upload(fx, agent, "c", b, 1));
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, id);
    assert_applied(fx_send(fx, agent, &ev));
    assert_int_equal(account(fx, "acme").tags, 2);
}

// A certificate that takes a request's key counts that key's bytes.
static void matched_key(struct fx *fx, struct fx_key *agent) {
    struct fx_cert *cert = with(fx, 0);
    struct cs_event add = fx_csr(fx, "acme", agent, NULL, "request", cert);
    assert_applied(fx_send(fx, agent, &add));
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_UPLOAD, "acme", agent, NULL);
    strcpy(ev.data.upload.name, "matched");
    ev.data.upload.algorithm = CS_ALGORITHM_INTERNATIONAL;
    ev.data.upload.source = CS_SOURCE_UPLOADED;
    ev.data.upload.parts = 1;
    ev.data.upload.part[0].csr = true;
    ev.data.upload.part[0].chain_len = 1;
    ev.data.upload.part[0].chain[0].bytes = cert->chain[0];
    int64_t size = (int64_t)(cert->chain[0].len + add.data.csr.key.bytes.len);
    ALLOW(fx, "acme", bytes, size - 1);
    assert_rejected(fx_send(fx, agent, &ev), QUOTA_BYTES);
    ALLOW(fx, "acme", bytes, size);
    ev.seq = ++agent->seq;
    strcpy(ev.id, fx_uuid(fx));
    assert_applied(fx_send(fx, agent, &ev));
    struct cs_event gone = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", agent, add.subject);
    assert_applied(fx_send(fx, agent, &gone));
    fx_check_invariants(fx);
}

static void bytes(void **state) {
    struct fx *fx = *state;
    ALLOW(fx, "acme", keys, 1);
    ALLOW(fx, "acme", requests, 1);
    struct fx_key *agent = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_CSR, "*");
    fx_deliver_all(fx); // of tests before
    int64_t before = account(fx, "acme").bytes;
    struct fx_cert *a = with(fx, 0);
    struct fx_cert shorter = *a;
    shorter.chain_len = 1;
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, "bytes", &shorter);
    assert_applied(fx_send(fx, agent, &ev));
    const char *id = fx_text(fx, "%s", ev.subject);
    size_t size = a->chain[0].len + ev.data.upload.part[0].key.bytes.len;
    assert_int_equal(account(fx, "acme").bytes - before, size);
    ALLOW(fx, "acme", bytes, 100);
    assert_rejected(upload(fx, agent, "more", with(fx, 0), 0), QUOTA_BYTES);
    struct cs_event csr = fx_csr(fx, "acme", agent, NULL, "asked", fx_cert_key_only(fx, "P-256"));
    assert_rejected(fx_send(fx, agent, &csr), QUOTA_BYTES);
    // What is there may grow a little, but not without end; its chain counts, too.
    assert_rejected(upload(fx, agent, "bytes", with(fx, 20000), 0), QUOTA_BYTES);
    ALLOW(fx, "acme", bytes, -(int64_t)size / 2);
    assert_rejected(upload(fx, agent, "bytes", a, 0), QUOTA_BYTES);
    assert_applied(upload(fx, agent, "bytes", &shorter, 1)); // not by a byte
    ALLOW(fx, "acme", bytes, 0);
    assert_applied(
        upload(fx, agent, "bytes", fx_cert(fx, (struct fx_cert_how){.alone = true, .uri_len = 9}), 0));
    assert_true(account(fx, "acme").bytes > account(fx, "acme").limit_bytes);
    ALLOW(fx, "acme", bytes, 30000);
    assert_applied(upload(fx, agent, "bytes", with(fx, 20000), 0));
    assert_rejected(upload(fx, agent, "more", with(fx, 20000), 0), QUOTA_BYTES);
    fx_check_invariants(fx);
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, id);
    assert_applied(fx_send(fx, agent, &ev));
    assert_int_equal(account(fx, "acme").bytes, before);
    assert_applied(upload(fx, agent, "more", with(fx, 20000), 0));
    matched_key(fx, agent);
    ALLOW(fx, "acme", bytes, 100000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),   cmocka_unit_test(requests),  cmocka_unit_test(keys_and_tokens),
        cmocka_unit_test(shares_out), cmocka_unit_test(shares_in), cmocka_unit_test(tags),
        cmocka_unit_test(bytes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
