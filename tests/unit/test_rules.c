// SPDX-License-Identifier: Apache-2.0
//
// The envelope of every event, root's events, and what stops the consumer.
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

static struct fx_cert *any_cert(struct fx *fx) {
    return fx_cert(fx, (struct fx_cert_how){0});
}

static const struct cs_verdict *upload(struct fx *fx, struct fx_key *by, const char *name) {
    struct cs_event ev = fx_upload(fx, "acme", by, NULL, name, any_cert(fx));
    return fx_send(fx, by, &ev);
}

static void dump_all(struct fx *fx, struct cs_buf *b) {
    cs_buf_init(b, (size_t)64 << 20);
    for (int32_t i = 0; i < fx->partitions; i++)
        fx_dump(fx->partition[i].state, b);
}

// Asserts that nothing has changed since the dump, which is cleared.
static void assert_same(struct fx *fx, struct cs_buf *before) {
    struct cs_buf after;
    dump_all(fx, &after);
    assert_string_equal((const char *)before->data, (const char *)after.data);
    cs_buf_clear(before);
    cs_buf_clear(&after);
}

// ---- the envelope

static void bytes_that_are_no_event(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    int32_t p = fx_partition_of(fx, "acme");
    struct cs_buf before;
    dump_all(fx, &before);
    struct fx_record *record = fx_record_of(fx, k, "acme", (struct cs_bytes){(const uint8_t *)"{}", 2});
    const struct cs_verdict *v = fx_judge(fx, p, record);
    assert_rejected(v, EVENT_MALFORMED);
    assert_true(strlen(v->detail) > 0);
    assert_false(v->signer_known);
    assert_string_equal(v->subject, "");
    record->r.headers_len = 0;
    assert_rejected(fx_judge(fx, p, record), EVENT_UNSIGNED);
    assert_same(fx, &before);
}

static void misrouted_and_foreign_events_change_nothing(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    struct cs_event ev = fx_upload(fx, "acme", k, NULL, "one", any_cert(fx));
    struct fx_record *record = fx_record(fx, k, &ev);
    struct cs_buf before;
    dump_all(fx, &before);
    const struct cs_verdict *v = fx_judge(fx, 1 - fx_partition_of(fx, "acme"), record);
    assert_rejected(v, EVENT_MISROUTED);
    assert_false(v->signer_known);
    assert_string_equal(v->subject, ev.subject);
    strcpy(ev.log_id, "another.example_0a1b2c3d");
    v = fx_judge(fx, fx_partition_of(fx, "acme"), fx_record(fx, k, &ev));
    assert_rejected(v, EVENT_DEPLOYMENT);
    strcpy(ev.log_id, FX_DEPLOYMENT "_0a1b2c3e");
    v = fx_judge(fx, fx_partition_of(fx, "acme"), fx_record(fx, k, &ev));
    assert_rejected(v, EVENT_INCARNATION);
    assert_false(v->signer_known);
    assert_same(fx, &before);
    // Its number was not used up.
    assert_applied(fx_judge(fx, fx_partition_of(fx, "acme"), record));
}

static void unknown_signers(void **state) {
    struct fx *fx = *state;
    struct fx_key *stranger = fx_key_new(fx);
    struct cs_buf before;
    dump_all(fx, &before);
    const struct cs_verdict *v = upload(fx, stranger, "one");
    assert_rejected(v, EVENT_UNKNOWN_SIGNER);
    assert_false(v->signer_known);
    assert_same(fx, &before);
    // An agent of another account is a stranger.
    fx_account(fx, "other", "other-ltd", CS_SITE_CN, true);
    struct fx_key *theirs = fx_agent(fx, "other", CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
    assert_rejected(upload(fx, theirs, "one"), EVENT_UNKNOWN_SIGNER);
    // Also in an account that there is not.
    struct cs_event ev = fx_upload(fx, "nobody", theirs, NULL, "one", any_cert(fx));
    assert_rejected(fx_send(fx, theirs, &ev), EVENT_UNKNOWN_SIGNER);
}

// The same answer where preparation knew the key and where only the catalog does.
static void bad_signatures(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    for (int told = 0; told < 2; told++) {
        fx->tell_keys = told;
        struct cs_event ev = fx_upload(fx, "acme", k, NULL, fx_text(fx, "bad-%d", told), any_cert(fx));
        struct fx_record *record = fx_record(fx, k, &ev), *other = fx_record(fx, fx->admin, &ev);
        struct fx_record forged = *record;
        forged.r.headers = forged.headers;
        forged.headers[1] = other->headers[1];
        struct cs_buf before;
        dump_all(fx, &before);
        const struct cs_verdict *v = fx_judge(fx, fx_partition_of(fx, "acme"), &forged);
        assert_rejected(v, EVENT_BAD_SIGNATURE);
        assert_false(v->signer_known);
        assert_same(fx, &before);
        v = fx_judge(fx, fx_partition_of(fx, "acme"), record);
        assert_applied(v);
        assert_true(v->signer_known);
        // Root's signature is looked at in the same two ways.
        ev = fx_event(fx, CS_EVENT_SYSTEM_RULESET, "", fx->root, FX_DEPLOYMENT);
        ev.data.ruleset.ruleset = 1;
        assert_rejected(fx_judge(fx, 0, fx_record(fx, k, &ev)), EVENT_BAD_SIGNATURE);
    }
    fx->tell_keys = false;
}

static const struct cs_pubkey *wrong_key(void *arg, const char *account, const char *kid) {
    (void)account;
    (void)kid;
    return arg;
}

// A cache that answers with another key for the kid decides nothing. With a region, what was left out is still there
// when other records were prepared since.
static void stale_key_cache(struct fx *fx, const char *name, struct cs_region *region) {
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    struct cs_event ev = fx_upload(fx, "acme", k, NULL, name, any_cert(fx));
    struct fx_record *record = fx_record(fx, k, &ev);
    record->r.partition = fx_partition_of(fx, "acme");
    record->r.offset = fx->partition[record->r.partition].offset++;
    struct cs_prepared *p = NULL;
    struct cs_prepared *other = NULL;
    struct cs_err err;
    assert_true(cs_prepare(fx->crypto, FX_LOG, fx->partitions, CS_RULESET_LATEST, &record->r, wrong_key,
                           fx->admin->pub, region, &p, &err));
    assert_true(cs_prepare(fx->crypto, FX_LOG, fx->partitions, CS_RULESET_LATEST, &record->r, NULL, NULL,
                           region, &other, &err));
    cs_prepared_free(other);
    assert_true(p->sig_checked);
    assert_false(p->sig_good);
    assert_int_equal(p->leaves_len, 0);
    struct cs_rule_context ctx = fx_context(fx, record->r.partition);
    struct cs_decision d;
    bool needed = false;
    assert_true(cs_decide(&ctx, fx->partition[record->r.partition].state, &record->r, p, &d, &needed, &err));
    assert_applied(&d.verdict);
    assert_non_null(fx_doc(fx, "acme", fx_text(fx, "cert/acme/%s", ev.subject)).data);
    cs_decision_clear(&d);
    cs_prepared_free(p);
}

static void a_stale_key_cache_is_overruled(void **state) {
    struct cs_region region = {0};
    stale_key_cache(*state, "stale", NULL);
    stale_key_cache(*state, "stale-too", &region);
    cs_region_free(&region);
}

static void revoked_and_rotated_signers(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_READ, "rot-*");
    assert_applied(upload(fx, k, "rot-1"));
    struct fx_key *next = fx_key_new(fx);
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", k, next->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
    assert_applied(fx_send(fx, k, &ev));
    const struct cs_verdict *v = upload(fx, k, "rot-2");
    assert_rejected(v, EVENT_REVOKED_SIGNER);
    assert_true(v->signer_known);
    // The next key is what the old one was.
    assert_applied(upload(fx, next, "rot-2"));
    assert_rejected(upload(fx, next, "other"), EVENT_FORBIDDEN);
    assert_true(fx_in_index(fx, "acme", "keys/acme", next->kid, NULL));
    struct cs_agent old, now;
    struct cs_err err;
    assert_true(cs_agent_decode(fx_doc(fx, "acme", fx_text(fx, "key/acme/%s", k->kid)), &old, &err));
    assert_true(cs_agent_decode(fx_doc(fx, "acme", fx_text(fx, "key/acme/%s", next->kid)), &now, &err));
    assert_int_equal(old.state, CS_AGENT_ROTATED);
    assert_string_equal(old.rotated_to, next->kid);
    assert_string_equal(now.enrolled_by, k->kid);
    assert_int_equal(now.can, CS_CAN_UPLOAD | CS_CAN_READ);

    ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, next->kid);
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_rejected(upload(fx, next, "rot-3"), EVENT_REVOKED_SIGNER);
    ev = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", fx->admin, next->kid);
    assert_verdict(fx_send(fx, fx->admin, &ev), APPLIED, UNCHANGED);
    // Neither comes back.
    ev = fx_enroll(fx, "acme", fx->admin, next, CS_CAN_UPLOAD, "*");
    assert_rejected(fx_send(fx, fx->admin, &ev), AGENT_EXISTS);
    ev = fx_enroll(fx, "acme", fx->admin, k, CS_CAN_UPLOAD, "*");
    assert_rejected(fx_send(fx, fx->admin, &ev), AGENT_EXISTS);
}

static void sequence(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    k->seq = 4; // the first number need not be 1, and that is no gap
    struct cs_event first = fx_upload(fx, "acme", k, NULL, "seq-1", any_cert(fx));
    const struct cs_verdict *v = fx_send(fx, k, &first);
    assert_applied(v);
    assert_int_equal(v->gap, 0);
    v = upload(fx, k, "seq-2");
    assert_applied(v);
    assert_int_equal(v->gap, 0);
    k->seq += 3;
    v = upload(fx, k, "seq-3"); // 10
    assert_applied(v);
    assert_int_equal(v->gap, 3);

    // The very same record again is a duplicate, at any later time.
    struct cs_buf before;
    dump_all(fx, &before);
    struct fx_record *again = fx_record(fx, k, &first);
    v = fx_judge(fx, fx_partition_of(fx, "acme"), again);
    assert_verdict(v, DUPLICATE, NONE);
    assert_true(v->signer_known);
    assert_int_equal(v->concludes_len, 0);
    assert_same(fx, &before);

    // Another event with a used number is not.
    k->seq = 7;
    struct cs_event late = fx_upload(fx, "acme", k, NULL, "seq-4", any_cert(fx));
    v = fx_send(fx, k, &late);
    assert_rejected(v, EVENT_REPLAYED);
    assert_int_equal(v->watermark, 10);
    assert_true(v->signer_known);
    assert_null(fx_doc(fx, "acme", "name/acme/seq-4").data);
    k->seq = 9;
    assert_rejected(upload(fx, k, "seq-4"), EVENT_REPLAYED);
    assert_applied(upload(fx, k, "seq-4"));
}

// By the time in its id, and the broker's. What is remembered stays a duplicate.
static void old_events(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_DELETE, "*");
    int32_t p = fx_partition_of(fx, "acme");
    struct cs_event taken = fx_upload(fx, "acme", k, NULL, "age-1", any_cert(fx));
    struct cs_event late = fx_upload(fx, "acme", k, NULL, "age-2", any_cert(fx));
    struct cs_event later = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, NULL);
    struct cs_event timeless = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, NULL);
    struct cs_event kept = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    timeless.id[14] = '4'; // a version that tells no time: the event's own counts
    struct cs_event made_now = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, NULL);
    made_now.id[14] = '4';
    made_now.time_s = (FX_NOW_MS + CS_EVENT_AGE_MAX_MS) / 1000;
    kept.data.account.has_verified = kept.data.account.verified = true;
    struct fx_record *first = fx_record(fx, k, &taken), *again = fx_record(fx, k, &later);
    assert_applied(fx_judge(fx, p, first));
    fx->now_ms = FX_NOW_MS + CS_EVENT_AGE_MAX_MS;
    assert_applied(fx_send(fx, k, &late));
    fx->now_ms++;
    const struct cs_verdict *v = fx_judge(fx, p, again);
    assert_rejected(v, EVENT_TOO_OLD);
    assert_true(v->signer_known);
    assert_string_equal(
        v->detail,
        "By its sender's clock it was made at 2026-11-23T12:00:00Z; it came at 2026-12-23T12:00:00Z.");
    assert_verdict(fx_judge(fx, p, again), DUPLICATE, NONE);
    assert_verdict(fx_judge(fx, p, first), DUPLICATE, NONE);
    assert_rejected(fx_send(fx, k, &timeless), EVENT_TOO_OLD);
    assert_rejected(fx_send(fx, k, &made_now), CERTIFICATE_NOT_FOUND);
    assert_rejected(fx_send(fx, fx->admin, &kept), EVENT_TOO_OLD);
    // Its number is used up, as that of others: none is missing.
    struct cs_event next = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, taken.subject);
    v = fx_send(fx, k, &next);
    assert_applied(v);
    assert_int_equal(v->gap, 0);
    fx->now_ms = FX_NOW_MS;
}

// Also a number of an event that was refused is used up: its reason was the event's own.
static void refused_events_move_the_watermark(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_READ, "*");
    struct cs_event ev = fx_upload(fx, "acme", k, NULL, "mark", any_cert(fx));
    struct fx_record *record = fx_record(fx, k, &ev);
    assert_rejected(fx_judge(fx, fx_partition_of(fx, "acme"), record), EVENT_FORBIDDEN);
    assert_verdict(fx_judge(fx, fx_partition_of(fx, "acme"), record), DUPLICATE, NONE);
    struct cs_stream stream;
    struct cs_err err;
    assert_true(cs_stream_decode(fx_doc(fx, "acme", fx_text(fx, "stream/acme/%s", k->kid)), &stream, &err));
    assert_int_equal(stream.seq, 1);
}

static void only_the_last_events_are_remembered(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_DELETE, "*");
    struct fx_record *records[CS_SEEN_MAX + 2];
    int32_t p = fx_partition_of(fx, "acme");
    for (size_t i = 0; i < CS_ARRAY_LEN(records); i++) {
        struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, NULL);
        records[i] = fx_record(fx, k, &ev);
        assert_rejected(fx_judge(fx, p, records[i]), CERTIFICATE_NOT_FOUND);
    }
    assert_rejected(fx_judge(fx, p, records[0]), EVENT_REPLAYED);
    assert_rejected(fx_judge(fx, p, records[1]), EVENT_REPLAYED);
    assert_verdict(fx_judge(fx, p, records[2]), DUPLICATE, NONE);
    assert_verdict(fx_judge(fx, p, records[CS_SEEN_MAX + 1]), DUPLICATE, NONE);
}

static void admins_numbers_have_no_gaps(void **state) {
    struct fx *fx = *state;
    fx->admin->seq += 10;
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_verified = ev.data.account.verified = true;
    const struct cs_verdict *v = fx_send(fx, fx->admin, &ev);
    assert_applied(v);
    assert_int_equal(v->gap, 0);
}

// ---- system and trust

static struct cs_event genesis(struct fx *fx, int32_t partitions, int64_t ruleset) {
    struct cs_event ev = fx_event(fx, CS_EVENT_SYSTEM_GENESIS, "", fx->root, FX_DEPLOYMENT);
    strcpy(ev.data.genesis.deployment, FX_DEPLOYMENT);
    strcpy(ev.data.genesis.nonce, FX_NONCE);
    ev.data.genesis.partitions = partitions;
    ev.data.genesis.ruleset = ruleset;
    return ev;
}

static void before_genesis_nothing_counts(void **state) {
    (void)state;
    struct fx *fx = fx_new(1);
    struct fx_key *k = fx_key_new(fx);
    const struct cs_verdict *v = upload(fx, k, "one");
    assert_rejected(v, SYSTEM_ORDER);
    assert_false(v->signer_known);
    // The first record is gone: a genesis that comes later does not count.
    struct cs_event ev = genesis(fx, 1, 1);
    assert_rejected(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)), SYSTEM_ORDER);
    struct cs_buf dump;
    dump_all(fx, &dump);
    assert_int_equal(dump.len, 0);
    cs_buf_clear(&dump);
    fx_free(fx);
}

static void genesis_must_fit(void **state) {
    (void)state;
    struct fx *fx = fx_new(2);
    struct cs_event ev = genesis(fx, 3, 1);
    assert_rejected(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)), SYSTEM_ORDER);
    fx->partition[0].offset = 0;
    ev = genesis(fx, 2, 1);
    strcpy(ev.data.genesis.deployment, "another.example");
    assert_rejected(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)), SYSTEM_ORDER);
    fx->partition[0].offset = 0;
    ev = genesis(fx, 2, 1);
    ev.data.genesis.nonce[0] = 'f'; // the source's log is not the one that it makes
    assert_rejected(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)), SYSTEM_ORDER);
    fx->partition[0].offset = 0;
    struct fx_key *k = fx_key_new(fx);
    ev = genesis(fx, 2, 1);
    strcpy(ev.kid, k->kid);
    assert_rejected(fx_judge(fx, 0, fx_record(fx, k, &ev)), EVENT_UNKNOWN_SIGNER);
    fx->partition[0].offset = 0;
    ev = genesis(fx, 2, 1);
    assert_applied(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)));
    ev = genesis(fx, 2, 1);
    assert_rejected(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)), SYSTEM_ORDER);
    fx_free(fx);
}

static void trust(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_key_new(fx);
    int32_t p = fx_partition_of(fx, "acme");
    struct cs_event remove = fx_event(fx, CS_EVENT_TRUST_REMOVE, "", fx->root, k->kid);
    remove.data.trust.role = CS_TRUST_ADMIN;
    assert_rejected(fx_judge(fx, p, fx_record(fx, fx->root, &remove)), TRUST_UNKNOWN);
    struct cs_event add = fx_event(fx, CS_EVENT_TRUST_ADD, "", fx->root, k->kid);
    add.data.trust.role = CS_TRUST_ADMIN;
    add.data.trust.key.bytes = cs_pubkey_spki(k->pub);
    assert_applied(fx_judge(fx, p, fx_record(fx, fx->root, &add)));
    struct fx_key *agent = fx_key_new(fx);
    struct cs_event ev = fx_enroll(fx, "acme", k, agent, CS_CAN_READ, "*");
    assert_applied(fx_send(fx, k, &ev));
    add.seq = ++fx->root->seq;
    strcpy(add.id, fx_uuid(fx));
    assert_rejected(fx_judge(fx, p, fx_record(fx, fx->root, &add)), TRUST_EXISTS);
    remove = fx_event(fx, CS_EVENT_TRUST_REMOVE, "", fx->root, k->kid);
    remove.data.trust.role = CS_TRUST_ISSUER; // not its role
    assert_rejected(fx_judge(fx, p, fx_record(fx, fx->root, &remove)), TRUST_UNKNOWN);
    remove = fx_event(fx, CS_EVENT_TRUST_REMOVE, "", fx->root, k->kid);
    remove.data.trust.role = CS_TRUST_ADMIN;
    assert_applied(fx_judge(fx, p, fx_record(fx, fx->root, &remove)));
    remove = fx_event(fx, CS_EVENT_TRUST_REMOVE, "", fx->root, k->kid);
    remove.data.trust.role = CS_TRUST_ADMIN;
    assert_rejected(fx_judge(fx, p, fx_record(fx, fx->root, &remove)), TRUST_UNKNOWN);
    ev = fx_enroll(fx, "acme", k, fx_key_new(fx), CS_CAN_READ, "*");
    assert_rejected(fx_send(fx, k, &ev), EVENT_REVOKED_SIGNER);
    add.seq = ++fx->root->seq;
    strcpy(add.id, fx_uuid(fx));
    assert_rejected(fx_judge(fx, p, fx_record(fx, fx->root, &add)), TRUST_EXISTS);
    add = fx_event(fx, CS_EVENT_TRUST_ADD, "", fx->root, fx->root->kid);
    add.data.trust.role = CS_TRUST_ADMIN;
    add.data.trust.key.bytes = cs_pubkey_spki(fx->root->pub);
    assert_rejected(fx_judge(fx, p, fx_record(fx, fx->root, &add)), TRUST_EXISTS);
    add = fx_event(fx, CS_EVENT_TRUST_ADD, "", fx->root, fx_key_new(fx)->kid);
    add.data.trust.role = CS_TRUST_ADMIN;
    add.data.trust.key.bytes = cs_pubkey_spki(k->pub);
    assert_rejected(fx_judge(fx, p, fx_record(fx, fx->root, &add)), EVENT_MALFORMED);
}

// An agent's key that root trusts later speaks in that role only.
static void trust_goes_before_enrolment(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    struct cs_event add = fx_event(fx, CS_EVENT_TRUST_ADD, "", fx->root, k->kid);
    add.data.trust.role = CS_TRUST_ISSUER;
    add.data.trust.key.bytes = cs_pubkey_spki(k->pub);
    assert_applied(fx_judge(fx, fx_partition_of(fx, "acme"), fx_record(fx, fx->root, &add)));
    assert_rejected(upload(fx, k, "both"), EVENT_FORBIDDEN);
}

// ---- what stops the consumer

static bool decide(struct fx *fx, int32_t partition_count, const char *log_id, struct fx_record *record,
                   struct cs_err *err) {
    record->r.partition = 0;
    struct cs_prepared *p = fx_prepare(fx, &record->r);
    struct cs_rule_context ctx = fx_context(fx, 0);
    ctx.partition_count = partition_count;
    ctx.log_id = log_id;
    struct cs_decision d;
    bool needed = false;
    bool ok = cs_decide(&ctx, fx->partition[0].state, &record->r, p, &d, &needed, err);
    if (ok)
        cs_decision_clear(&d);
    cs_prepared_free(p);
    return ok;
}

static void rulesets(void **state) {
    struct fx *fx = *state;
    struct cs_err err;
    struct cs_event ev = fx_event(fx, CS_EVENT_SYSTEM_RULESET, "", fx->root, FX_DEPLOYMENT);
    ev.data.ruleset.ruleset = 1;
    assert_rejected(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)), SYSTEM_RULESET);
    ev.seq = ++fx->root->seq;
    strcpy(ev.id, fx_uuid(fx));
    ev.data.ruleset.ruleset = 3; // the next would be 2: refused under every release
    assert_rejected(fx_judge(fx, 0, fx_record(fx, fx->root, &ev)), SYSTEM_RULESET);
    ev.seq = ++fx->root->seq;
    strcpy(ev.id, fx_uuid(fx));
    ev.data.ruleset.ruleset = 2;
    struct cs_buf before;
    dump_all(fx, &before);
    struct fx_record *record = fx_record(fx, fx->root, &ev);
    assert_false(decide(fx, 2, FX_LOG, record, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_same(fx, &before);
    // A forged one stops nobody.
    struct fx_record *forged = fx_record(fx, fx->admin, &ev);
    assert_true(decide(fx, 2, FX_LOG, forged, &err));

    struct fx *young = fx_new(1);
    ev = genesis(young, 1, 2);
    assert_false(decide(young, 1, FX_LOG, fx_record(young, young->root, &ev), &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    fx_free(young);
}

// Settings that are not what the log says: no verdict may come of them.
static void wrong_settings(void **state) {
    struct fx *fx = *state;
    struct cs_err err;
    struct fx_record *record =
        fx_record_of(fx, fx->admin, "acme", (struct cs_bytes){(const uint8_t *)"{}", 2});
    assert_true(decide(fx, 2, FX_LOG, record, &err));
    assert_false(decide(fx, 3, FX_LOG, record, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_false(decide(fx, 2, "another.example", record, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
}

static void a_document_that_cannot_be_read(void **state) {
    (void)state;
    struct fx *fx = fx_new(1);
    fx_begin(fx);
    fx_account(fx, "acme", "acme-inc", CS_SITE_CN, true);
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_UPLOAD, "*");
    struct cs_err err;
    cs_state_begin(fx->partition[0].state);
    cs_state_put(fx->partition[0].state, "account/acme", (struct cs_bytes){(const uint8_t *)"{}", 2});
    assert_true(cs_state_keep(fx->partition[0].state, &err));
    struct cs_event ev = fx_upload(fx, "acme", k, NULL, "one", any_cert(fx));
    assert_false(decide(fx, 1, FX_LOG, fx_record(fx, k, &ev), &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_non_null(strstr(err.msg, "account/acme"));
    fx_free(fx);
}

// ---- the book

static void the_rule_book(void **state) {
    (void)state;
    size_t n = 0;
    const struct cs_rule_info *rules = cs_rules_list(&n);
    bool named[CS_CODE_COUNT] = {false};
    for (size_t i = 0; i < n; i++) {
        assert_in_range(rules[i].since, CS_RULESET_FIRST, CS_RULESET_LATEST);
        assert_true(rules[i].last >= rules[i].since);
        assert_true(strlen(rules[i].sentence) > 10);
        assert_int_equal(rules[i].sentence[strlen(rules[i].sentence) - 1], '.');
        CS_AUTO(cs_buf_clear) struct cs_buf types;
        cs_buf_init(&types, 4096);
        cs_rule_types(&rules[i], &types);
        assert_true(types.len > 0 || strcmp(rules[i].sentence, "Nobody may send it.") == 0);
        assert_true(cs_code_origin(rules[i].code) != CS_CODE_AGENT);
        named[rules[i].code] = true;
    }
    // Every code that a consumer can give has its rule, but for those that are no refusals (notes, too).
    for (int c = CS_CODE_NONE + 1; c < CS_CODE_COUNT; c++) {
        enum cs_code code = (enum cs_code)c;
        bool other = code == CS_CODE_UNCHANGED || code == CS_CODE_SHARE_CLOSED ||
                     cs_code_origin(code) == CS_CODE_AGENT || cs_code_origin(code) == CS_CODE_NOTE;
        if (named[c] == other)
            fail_msg("%s", cs_code_name(code));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_that_are_no_event),
        cmocka_unit_test(misrouted_and_foreign_events_change_nothing),
        cmocka_unit_test(unknown_signers),
        cmocka_unit_test(bad_signatures),
        cmocka_unit_test(a_stale_key_cache_is_overruled),
        cmocka_unit_test(revoked_and_rotated_signers),
        cmocka_unit_test(sequence),
        cmocka_unit_test(old_events),
        cmocka_unit_test(refused_events_move_the_watermark),
        cmocka_unit_test(only_the_last_events_are_remembered),
        cmocka_unit_test(admins_numbers_have_no_gaps),
        cmocka_unit_test(before_genesis_nothing_counts),
        cmocka_unit_test(genesis_must_fit),
        cmocka_unit_test(trust),
        cmocka_unit_test(trust_goes_before_enrolment),
        cmocka_unit_test(rulesets),
        cmocka_unit_test(wrong_settings),
        cmocka_unit_test(a_document_that_cannot_be_read),
        cmocka_unit_test(the_rule_book),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
