// SPDX-License-Identifier: Apache-2.0
//
// The same certificate again: what changes its entry, and what does not.
#define _GNU_SOURCE // memmem
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
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

static bool holds(struct cs_bytes doc, const char *text) {
    return doc.data && memmem(doc.data, doc.len, text, strlen(text));
}

static size_t chain_of(struct fx *fx, const char *id) {
    struct cs_material m;
    struct cs_err err;
    assert_true(cs_material_decode(fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id)), &m, &err));
    return m.part[0].issuers_len + 1;
}

static struct cs_certificate certificate(struct fx *fx, const char *id) {
    struct cs_certificate c;
    struct cs_err err;
    assert_true(cs_certificate_decode(fx_doc(fx, "acme", fx_text(fx, "cert/acme/%s", id)), &c, &err));
    return c;
}

// The upload of a certificate with the first n of its chain.
static struct cs_event with_chain(struct fx *fx, const char *name, const struct fx_cert *cert, size_t n) {
    struct fx_cert part = *cert;
    part.chain_len = n;
    return fx_upload(fx, "acme", agent, NULL, name, &part);
}

static const struct cs_verdict *again(struct fx *fx, const char *name, const struct fx_cert *cert, size_t n) {
    struct cs_event ev = with_chain(fx, name, cert, n);
    return fx_send(fx, agent, &ev);
}

static void a_chain_that_is_more_complete_is_taken(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.intermediate = true});
    assert_int_equal(cert->chain_len, 3);
    struct cs_event ev = with_chain(fx, "grows", cert, 1);
    assert_applied(fx_send(fx, agent, &ev));
    const char *id = fx_text(fx, "%s", ev.subject);
    struct cs_bytes before = fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id));
    const char *key = fx_text(fx, "%.*s", 60, (const char *)memmem(before.data, before.len, "\"key\":\"", 7));
    static const struct {
        size_t sent, held;
        const char *detail; // NULL: unchanged
    } steps[] = {
        {1, 1, NULL}, {2, 2, "changed: chain"},
        {2, 2, NULL}, {3, 3, "changed: chain"},
        {3, 3, NULL}, {2, 3, NULL},
        {1, 3, NULL},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(steps); i++) {
        fx->now_ms += 1000;
        const struct cs_verdict *v = again(fx, "grows", cert, steps[i].sent);
        if (steps[i].detail) {
            assert_applied(v);
            assert_string_equal(v->detail, steps[i].detail);
        } else {
            assert_verdict(v, APPLIED, UNCHANGED);
            assert_int_equal(v->detail[0] != '\0',
                             steps[i].sent < steps[i].held); // what was not taken is said
        }
        assert_string_equal(v->subject, id);
        assert_int_equal(v->version, 1);
        assert_int_equal(chain_of(fx, id), steps[i].held);
        CS_AUTO(cs_certificate_clear) struct cs_certificate c = certificate(fx, id);
        assert_int_equal((c.summary.notes & CS_NOTE(CHAIN_INCOMPLETE)) != 0, steps[i].held == 1);
        assert_int_equal(c.summary.version, 1);
        assert_int_equal(c.old_len, 0);
        assert_int_equal(c.updated_ms == fx->now_ms, steps[i].detail != NULL);
        // The sealed key, and whom it was sealed for, are those of the first upload.
        assert_true(holds(fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id)), key));
        assert_true(holds(fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id)),
                          fx_text(fx, "\"key_subject\":\"%s\"", id)));
    }
    // A shorter one where that is meant.
    ev = with_chain(fx, "grows", cert, 2);
    ev.data.upload.force = true;
    const struct cs_verdict *v = fx_send(fx, agent, &ev);
    assert_applied(v);
    assert_string_equal(v->detail, "changed: chain");
    assert_int_equal(chain_of(fx, id), 2);
    fx->now_ms = FX_NOW_MS;
}

static void tags_change_the_entry(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.intermediate = true});
    struct cs_event ev = with_chain(fx, "tagged", cert, 2);
    assert_applied(fx_send(fx, agent, &ev));
    const char *id = fx_text(fx, "%s", ev.subject);
    ev = with_chain(fx, "tagged", cert, 3);
    ev.data.upload.tags.len = 1;
    strcpy(ev.data.upload.tags.tag[0], "team:web");
    const struct cs_verdict *v = fx_send(fx, agent, &ev);
    assert_applied(v);
    assert_string_equal(v->detail, "changed: chain, tags");
    ev = with_chain(fx, "tagged", cert, 1);
    ev.data.upload.tags.len = 2;
    strcpy(ev.data.upload.tags.tag[0], "team:web");
    strcpy(ev.data.upload.tags.tag[1], "prod");
    v = fx_send(fx, agent, &ev);
    assert_applied(v);
    assert_string_equal(v->detail, "changed: tags"); // the shorter chain is not taken by the way
    assert_int_equal(chain_of(fx, id), 3);
    // Who names none leaves them: the daemon does not know what a person set. A renewal leaves them, too.
    assert_verdict(again(fx, "tagged", cert, 3), APPLIED, UNCHANGED);
    ev = fx_upload(fx, "acme", agent, NULL, "tagged", fx_cert(fx, (struct fx_cert_how){0}));
    ev.data.upload.replace = true;
    assert_applied(fx_send(fx, agent, &ev));
    CS_AUTO(cs_certificate_clear) struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.version, 2);
    assert_int_equal(c.summary.tags.len, 2);
}

// What it is shared with gets it, though the version stays; the same offer again changes nothing.
static void shares_learn_of_it(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.intermediate = true}), part = *cert;
    part.chain_len = 1;
    struct cs_event ev = fx_issue(fx, "acme", NULL, "shared", &part);
    assert_applied(fx_send(fx, fx->issuer, &ev));
    const char *id = fx_text(fx, "%s", ev.subject);
    assert_int_equal(fx_share(fx, "acme", agent, id, "sister")->status, CS_STATUS_PENDING);
    fx_deliver_all(fx);
    const char *entry = fx_text(fx, "shared-in/sister/acme/%s", id);
    assert_true(holds(fx_doc(fx, "sister", entry), "chain.incomplete"));
    ev = with_chain(fx, "shared", cert, 3); // by an agent, which has the key
    ev.data.upload.tags.len = 1;
    strcpy(ev.data.upload.tags.tag[0], "prod");
    assert_applied(fx_send(fx, agent, &ev));
    assert_int_equal(fx_waiting(fx), 1);
    fx_deliver_all(fx);
    assert_false(holds(fx_doc(fx, "sister", entry), "chain.incomplete"));
    assert_true(holds(fx_doc(fx, "sister", entry), "\"prod\""));
    assert_true(holds(fx_doc(fx, "sister", entry), "\"version\":1"));
    CS_AUTO(cs_certificate_clear) struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.source, CS_SOURCE_OFFICIAL);
}

// A certificate that found its key by a request keeps it, also when the request is gone.
static void by_a_request_that_is_gone(void **state) {
    struct fx *fx = *state;
    struct fx_cert *key = fx_cert_key_only(fx, "P-256");
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.same_key = key});
    struct cs_event add = fx_csr(fx, "acme", agent, NULL, "request", key);
    assert_applied(fx_send(fx, agent, &add));
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_UPLOAD, "acme", agent, NULL);
    strcpy(ev.data.upload.name, "matched");
    ev.data.upload.algorithm = CS_ALGORITHM_INTERNATIONAL;
    ev.data.upload.source = CS_SOURCE_UPLOADED;
    ev.data.upload.parts = 1;
    ev.data.upload.part[0].csr = true;
    ev.data.upload.part[0].chain_len = 1;
    ev.data.upload.part[0].chain[0].bytes = cert->chain[0];
    assert_applied(fx_send(fx, agent, &ev));
    const char *id = fx_text(fx, "%s", ev.subject);
    struct cs_event del = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", agent, add.subject);
    assert_applied(fx_send(fx, agent, &del));
    struct cs_event more = fx_event(fx, CS_EVENT_CERTIFICATE_UPLOAD, "acme", agent, NULL);
    more.data.upload = ev.data.upload;
    more.data.upload.part[0].chain_len = 2;
    more.data.upload.part[0].chain[1].bytes = cert->chain[1];
    assert_applied(fx_send(fx, agent, &more));
    assert_int_equal(chain_of(fx, id), 2);
    assert_true(holds(fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id)),
                      fx_text(fx, "\"key_subject\":\"%s\"", add.subject)));
}

static void an_issuer_does_not_make_it_official_by_the_way(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){0});
    assert_applied(again(fx, "mine", cert, 2));
    struct cs_event ev = fx_issue(fx, "acme", NULL, "mine", cert);
    assert_rejected(fx_send(fx, fx->issuer, &ev), REPLACE_SOURCE);
}

// How often the partition's chains name what follows the leaf in this one; 0 where it is not there.
static int64_t uses(struct fx *fx, const struct fx_cert *cert, size_t at) {
    uint8_t hash[32];
    cs_issuer_id id;
    struct cs_issuer issuer;
    struct cs_err err;
    cs_crypto_sha256(fx->crypto, cert->chain[at], hash);
    cs_hex_encode(hash, sizeof hash, id);
    struct cs_bytes doc = fx_doc(fx, "acme", fx_text(fx, "issuer/%s", id));
    if (!doc.data)
        return 0;
    assert_true(cs_issuer_decode(doc, &issuer, &err));
    return issuer.used;
}

static void remove_certificate(struct fx *fx, const char *id) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, id);
    assert_applied(fx_send(fx, agent, &ev));
}

// Each is there once, as long as a chain names it. Every way by which a chain comes, changes or goes counts.
static void issuers_are_kept_once(void **state) {
    struct fx *fx = *state;
    struct fx_cert *with = fx_cert(fx, (struct fx_cert_how){.intermediate = true});
    struct fx_cert *other = fx_cert(fx, (struct fx_cert_how){.cn = "other.example.com"});
    assert_int_equal(other->chain_len, 2); // leaf and root
    int64_t root = uses(fx, with, 2);
    assert_int_equal(uses(fx, with, 1), 0);
    struct cs_event ev = with_chain(fx, "one", with, 3);
    assert_applied(fx_send(fx, agent, &ev));
    const char *one = fx_text(fx, "%s", ev.subject);
    assert_int_equal(uses(fx, with, 1), 1);
    assert_int_equal(uses(fx, with, 2), root + 1);
    ev = with_chain(fx, "two", with, 2);
    assert_applied(fx_send(fx, agent, &ev));
    const char *two = fx_text(fx, "%s", ev.subject);
    assert_int_equal(uses(fx, with, 1), 2);
    assert_int_equal(uses(fx, with, 2), root + 1);
    assert_applied(again(fx, "two", with, 3)); // a more complete chain
    assert_int_equal(uses(fx, with, 1), 2);
    assert_int_equal(uses(fx, with, 2), root + 2);
    assert_verdict(again(fx, "two", with, 3), APPLIED, UNCHANGED);
    assert_int_equal(uses(fx, with, 2), root + 2);
    ev = with_chain(fx, "one", other, 2); // another certificate
    ev.data.upload.replace = true;
    assert_applied(fx_send(fx, agent, &ev));
    assert_int_equal(uses(fx, with, 1), 1);
    assert_int_equal(uses(fx, with, 2), root + 2);
    remove_certificate(fx, two);
    assert_int_equal(uses(fx, with, 1), 0);
    assert_int_equal(uses(fx, with, 2), root + 1);
    remove_certificate(fx, one);
    assert_int_equal(uses(fx, with, 2), root);
}

// Chains name it, so its absence is no fact.
static void an_issuer_that_is_gone_is_damage(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.intermediate = true});
    struct cs_event ev = with_chain(fx, "lost", cert, 2);
    struct cs_state *catalog = fx->partition[fx_partition_of(fx, "acme")].state;
    uint8_t hash[32];
    cs_issuer_id id;
    struct cs_err err = {0};
    assert_applied(fx_send(fx, agent, &ev));
    cs_crypto_sha256(fx->crypto, cert->chain[1], hash);
    cs_hex_encode(hash, sizeof hash, id);
    const char *key = fx_text(fx, "issuer/%s", id);
    struct cs_bytes held = fx_doc(fx, "acme", key);
    const struct cs_bytes kept = {memcpy(fx_alloc(fx, held.len), held.data, held.len), held.len};
    cs_state_begin(catalog);
    cs_state_delete(catalog, key);
    assert_true(cs_state_keep(catalog, &err));
    struct cs_event gone = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, ev.subject);
    struct fx_record *record = fx_record(fx, agent, &gone);
    struct cs_rule_context ctx = fx_context(fx, fx_partition_of(fx, "acme"));
    CS_AUTO(cs_prepared_free) struct cs_prepared *prepared = fx_prepare(fx, &record->r);
    struct cs_decision decision = {0};
    bool needed = false;
    assert_false(cs_decide(&ctx, catalog, &record->r, prepared, &decision, &needed, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    assert_non_null(strstr(err.msg, key));
    cs_state_begin(catalog); // for the invariants
    (void)cs_state_put(catalog, key, kept);
    assert_true(cs_state_keep(catalog, &err));
    cs_state_changes_clear(catalog);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_that_is_more_complete_is_taken),
        cmocka_unit_test(issuers_are_kept_once),
        cmocka_unit_test(an_issuer_that_is_gone_is_damage),
        cmocka_unit_test(tags_change_the_entry),
        cmocka_unit_test(shares_learn_of_it),
        cmocka_unit_test(by_a_request_that_is_gone),
        cmocka_unit_test(an_issuer_does_not_make_it_official_by_the_way),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
