// SPDX-License-Identifier: Apache-2.0
//
// certificate.update: what changes of a certificate without a new version.
#define _GNU_SOURCE // memmem
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"

static struct fx_key *agent; // may do everything to every name

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    fx_account(fx, "acme", "acme-inc", CS_SITE_CN, true);
    fx_account(fx, "sister", "acme-inc", CS_SITE_CN, true);
    agent = fx_agent(fx, "acme", CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
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

static const char *uploaded(struct fx *fx, const char *name, const struct fx_cert *cert, size_t n) {
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, name, cert);
    ev.data.upload.part[0].chain_len = n;
    assert_applied(fx_send(fx, agent, &ev));
    return fx_text(fx, "%s", ev.subject);
}

static struct cs_event begun(struct fx *fx, const char *id) {
    return fx_event(fx, CS_EVENT_CERTIFICATE_UPDATE, "acme", agent, id);
}

static const struct cs_verdict *rename_by(struct fx *fx, struct fx_key *by, const char *id,
                                          const char *name) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_UPDATE, "acme", by, id);
    ev.data.upload.has_name = true;
    strcpy(ev.data.upload.name, name);
    return fx_send(fx, by, &ev);
}

static const struct cs_verdict *say(struct fx *fx, const char *id, const char *contact, const char *note) {
    struct cs_event ev = begun(fx, id);
    ev.data.upload.has_contact = contact != NULL;
    ev.data.upload.has_note = note != NULL;
    strcpy(ev.data.upload.contact, contact ? contact : "");
    strcpy(ev.data.upload.note, note ? note : "");
    return fx_send(fx, agent, &ev);
}

static const struct cs_verdict *tag(struct fx *fx, const char *id, size_t n) {
    struct cs_event ev = begun(fx, id);
    ev.data.upload.has_tags = true;
    ev.data.upload.tags.len = n;
    for (size_t i = 0; i < n; i++)
        strcpy(ev.data.upload.tags.tag[i], fx_text(fx, "tag:%zu", i));
    return fx_send(fx, agent, &ev);
}

static const struct cs_verdict *chain(struct fx *fx, const char *id, const struct fx_cert *cert, size_t n) {
    struct cs_event ev = begun(fx, id);
    ev.data.upload.parts = 1;
    ev.data.upload.part[0].chain_len = n;
    for (size_t i = 0; i < n; i++)
        ev.data.upload.part[0].chain[i].bytes = cert->chain[i];
    return fx_send(fx, agent, &ev);
}

static struct cs_certificate certificate(struct fx *fx, const char *id) {
    struct cs_certificate c;
    struct cs_err err;
    assert_true(cs_certificate_decode(fx_doc(fx, "acme", fx_text(fx, "cert/acme/%s", id)), &c, &err));
    return c;
}

static struct cs_account account(struct fx *fx) {
    struct cs_account a;
    struct cs_err err;
    assert_true(cs_account_decode(fx_doc(fx, "acme", "account/acme"), &a, &err));
    return a;
}

static void limit(struct fx *fx, int64_t tags, int64_t bytes) {
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_tags = ev.data.account.has_bytes = true;
    ev.data.account.limit_tags = tags;
    ev.data.account.limit_bytes = bytes;
    assert_applied(fx_send(fx, fx->admin, &ev));
}

static void words_and_tags(void **state) {
    struct fx *fx = *state;
    const char *id = uploaded(fx, "words", any_cert(fx), 1);
    fx->now_ms += 1000;
    const struct cs_verdict *v = say(fx, id, "web team", "until the shop moves");
    assert_applied(v);
    assert_string_equal(v->detail, "changed: contact, note");
    assert_string_equal(v->name, "words");
    assert_int_equal(v->version, 1);
    assert_verdict(say(fx, id, "web team", NULL), APPLIED, UNCHANGED);
    assert_applied(tag(fx, id, 2));
    assert_verdict(tag(fx, id, 2), APPLIED, UNCHANGED);
    CS_AUTO(cs_certificate_clear) struct cs_certificate c = certificate(fx, id);
    assert_string_equal(c.contact, "web team");
    assert_string_equal(c.note, "until the shop moves");
    assert_string_equal(c.by, agent->kid);
    assert_int_equal(c.summary.tags.len, 2);
    assert_int_equal(c.summary.version, 1);
    assert_int_equal(c.old_len, 0);
    assert_int_equal(c.updated_ms, fx->now_ms);
    assert_int_equal(account(fx).tags, 2);
    // An empty value takes away. What is not named stays, also with the next version.
    assert_applied(tag(fx, id, 0));
    assert_applied(say(fx, id, NULL, ""));
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, "words", any_cert(fx));
    ev.data.upload.replace = true;
    assert_applied(fx_send(fx, agent, &ev));
    CS_AUTO(cs_certificate_clear) struct cs_certificate now = certificate(fx, id);
    assert_int_equal(now.summary.tags.len, 0);
    assert_string_equal(now.contact, "web team");
    assert_string_equal(now.note, "");
    assert_int_equal(now.summary.version, 2);
    assert_int_equal(account(fx).tags, 0);
    fx->now_ms = FX_NOW_MS;
}

static void names(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = any_cert(fx);
    const char *id = uploaded(fx, "old", cert, 1), *other = uploaded(fx, "other", any_cert(fx), 1);
    assert_rejected(rename_by(fx, agent, id, "other"), NAME_TAKEN);
    assert_rejected(rename_by(fx, agent, id, "no/slashes"), NAME_INVALID);
    assert_rejected(rename_by(fx, agent, id, ""), NAME_INVALID);
    assert_verdict(rename_by(fx, agent, id, "old"), APPLIED, UNCHANGED);
    struct fx_key *narrow = fx_agent(fx, "acme", CS_CAN_UPLOAD, "old*");
    struct fx_key *wide = fx_agent(fx, "acme", CS_CAN_READ, "*");
    assert_rejected(rename_by(fx, narrow, id, "new"), EVENT_FORBIDDEN);
    assert_rejected(rename_by(fx, narrow, other, "old2"), EVENT_FORBIDDEN);
    assert_rejected(rename_by(fx, wide, id, "new"), EVENT_FORBIDDEN);
    assert_applied(rename_by(fx, narrow, id, "old-2"));
    const struct cs_verdict *v = rename_by(fx, agent, id, "new");
    assert_applied(v);
    assert_string_equal(v->detail, "changed: name");
    assert_string_equal(v->name, "new");
    int64_t ends = 0;
    for (size_t i = 0; i < 2; i++) {
        const char *gone = i == 0 ? "old" : "old-2";
        assert_null(fx_doc(fx, "acme", fx_text(fx, "name/acme/%s", gone)).data);
        assert_false(fx_in_index(fx, "acme", "view/acme", fx_text(fx, "%s/c/%s", gone, id), NULL));
        assert_false(fx_in_index(fx, "acme", "expiry/acme", fx_text(fx, "%s/c/%s", gone, id), NULL));
    }
    assert_non_null(fx_doc(fx, "acme", "name/acme/new").data);
    assert_true(fx_in_index(fx, "acme", "view/acme", fx_text(fx, "new/c/%s", id), NULL));
    assert_true(fx_in_index(fx, "acme", "expiry/acme", fx_text(fx, "new/c/%s", id), &ends));
    assert_int_equal(ends, cert->leaf->not_after_s);
    assert_string_not_equal(uploaded(fx, "old", any_cert(fx), 1), id); // the old name is free
    assert_rejected(rename_by(fx, agent, NULL, "x"), CERTIFICATE_NOT_FOUND);
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, id);
    assert_applied(fx_send(fx, agent, &ev));
    assert_rejected(rename_by(fx, agent, id, "again"), CERTIFICATE_NOT_FOUND);
}

static void chains(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.intermediate = true}), *other = any_cert(fx);
    const char *id = uploaded(fx, "chain", cert, 1);
    int64_t bytes = account(fx).bytes;
    assert_rejected(chain(fx, id, other, other->chain_len), CHAIN_OTHER);
    struct cs_event stray = begun(fx, id);
    stray.data.upload.parts = 1;
    stray.data.upload.part[0].chain_len = 2;
    stray.data.upload.part[0].chain[0].bytes = cert->chain[0];
    stray.data.upload.part[0].chain[1].bytes = fx_other_ca(fx, false);
    assert_rejected(fx_send(fx, agent, &stray), CHAIN_STRAY);
    assert_verdict(chain(fx, id, cert, 1), APPLIED, UNCHANGED);
    assert_applied(chain(fx, id, cert, 3));
    CS_AUTO(cs_certificate_clear) struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.notes, 0);
    assert_int_equal(c.summary.version, 1);
    assert_string_equal(c.summary.name, "chain");
    assert_int_equal(account(fx).bytes, bytes + (int64_t)(cert->chain[1].len + cert->chain[2].len));
    assert_applied(chain(fx, id, cert, 2)); // a person says so: also a shorter one
    assert_int_equal(account(fx).bytes, bytes + (int64_t)cert->chain[1].len);
    limit(fx, 0, account(fx).bytes / 2);
    assert_rejected(chain(fx, id, cert, 3), QUOTA_BYTES);
    assert_rejected(tag(fx, id, 1), QUOTA_TAGS);
    assert_applied(say(fx, id, "no room is needed", NULL));
    limit(fx, 10000, 50000000);
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_incomplete_chain = ev.data.account.reject_incomplete_chain = true;
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_rejected(chain(fx, id, cert, 1), CHAIN_INCOMPLETE);
    assert_applied(tag(fx, id, 1));
    // Of an expired certificate, too: nothing is brought that was not there.
    fx->now_ms += 400 * FX_DAY * INT64_C(1000);
    assert_applied(chain(fx, id, cert, 3));
    fx->now_ms = FX_NOW_MS;
    ev.data.account.reject_incomplete_chain = false;
    ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_incomplete_chain = true;
    assert_applied(fx_send(fx, fx->admin, &ev));
}

static void pairs(void **state) {
    struct fx *fx = *state;
    struct fx_cert *s = fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "digitalSignature"});
    struct fx_cert *e = fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyEncipherment"});
    struct cs_event ev = fx_upload_sm2(fx, "acme", agent, NULL, "pair", s, e);
    ev.data.upload.part[1].chain_len = 1;
    assert_applied(fx_send(fx, agent, &ev));
    const char *id = fx_text(fx, "%s", ev.subject);
    assert_rejected(rename_by(fx, agent, id, "has.dots"), NAME_INVALID);
    assert_rejected(chain(fx, id, s, s->chain_len), CERT_ALGORITHM); // the form of the other algorithm
    struct cs_event both = begun(fx, id);
    both.data.upload.algorithm = CS_ALGORITHM_SM2;
    both.data.upload.parts = 2;
    for (size_t i = 0; i < 2; i++) {
        const struct fx_cert *half = i == 0 ? s : e;
        both.data.upload.part[i].chain_len = half->chain_len;
        for (size_t k = 0; k < half->chain_len; k++)
            both.data.upload.part[i].chain[k].bytes = half->chain[k];
    }
    const struct cs_verdict *v = fx_send(fx, agent, &both);
    assert_applied(v);
    assert_string_equal(v->detail, "changed: chain");
    both.seq = ++agent->seq;
    strcpy(both.id, fx_uuid(fx));
    both.data.upload.part[1] = both.data.upload.part[0];
    assert_rejected(fx_send(fx, agent, &both), SM2_USAGE);
}

// Those that it is shared with get name, tags and chain; contact and note are the account's own.
static void shares(void **state) {
    struct fx *fx = *state;
    const char *id = fx_official(fx, "acme", "shared");
    assert_verdict(fx_share(fx, "acme", agent, id, "sister"), PENDING, NONE);
    fx_deliver_all(fx);
    assert_applied(say(fx, id, "not for others", NULL));
    assert_int_equal(fx_waiting(fx), 0);
    assert_applied(rename_by(fx, agent, id, "moved"));
    assert_int_equal(fx_waiting(fx), 1);
    fx_deliver_all(fx);
    assert_false(fx_in_index(fx, "sister", "view/sister", fx_text(fx, "shared/s/acme/%s", id), NULL));
    assert_false(fx_in_index(fx, "sister", "expiry/sister", fx_text(fx, "shared/s/acme/%s", id), NULL));
    assert_true(fx_in_index(fx, "sister", "view/sister", fx_text(fx, "moved/s/acme/%s", id), NULL));
    assert_true(fx_in_index(fx, "sister", "expiry/sister", fx_text(fx, "moved/s/acme/%s", id), NULL));
    struct cs_bytes in = fx_doc(fx, "sister", fx_text(fx, "shared-in/sister/acme/%s", id));
    assert_non_null(memmem(in.data, in.len, "\"name\":\"moved\"", 14));
    assert_null(memmem(in.data, in.len, "not for others", 14));
    // The rename and the end of the share are under way at once.
    assert_applied(rename_by(fx, agent, id, "moved-again"));
    assert_applied(fx_unshare(fx, "acme", agent, id, "sister"));
    fx_deliver_all(fx);
    assert_null(fx_doc(fx, "sister", fx_text(fx, "shared-in/sister/acme/%s", id)).data);
    assert_false(fx_in_index(fx, "sister", "view/sister", fx_text(fx, "moved-again/s/acme/%s", id), NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(words_and_tags, setup, teardown),
        cmocka_unit_test_setup_teardown(names, setup, teardown),
        cmocka_unit_test_setup_teardown(chains, setup, teardown),
        cmocka_unit_test_setup_teardown(pairs, setup, teardown),
        cmocka_unit_test_setup_teardown(shares, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
