// SPDX-License-Identifier: Apache-2.0
//
// Certificates of an account: every code of upload, issue and delete, and what is in the catalog afterwards.
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

// A custodian's key that nobody trusts; or the trusted one, while that one is in use.
static struct cs_privkey *stranger;
static uint8_t *stranger_spki;
static size_t stranger_len;

static int setup(void **state) {
    struct fx *fx = fx_new(2);
    fx_begin(fx);
    fx_account(fx, "acme", "acme-inc", CS_SITE_CN, true);
    struct cs_err err;
    assert_true(cs_privkey_generate(CS_KEY_X25519, 0, &stranger, &err));
    assert_true(cs_privkey_spki(stranger, &stranger_spki, &stranger_len, &err));
    agent = fx_agent(fx, "acme", CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
    *state = fx;
    return 0;
}

static int teardown(void **state) {
    fx_check_invariants(*state);
    cs_privkey_free(stranger);
    free(stranger_spki);
    fx_free(*state);
    return 0;
}

static struct fx_cert *any_cert(struct fx *fx) {
    return fx_cert(fx, (struct fx_cert_how){0});
}

static const struct cs_verdict *upload(struct fx *fx, const char *id, const char *name,
                                       const struct fx_cert *cert) {
    struct cs_event ev = fx_upload(fx, "acme", agent, id, name, cert);
    return fx_send(fx, agent, &ev);
}

static const struct cs_verdict *replace(struct fx *fx, const char *name, const struct fx_cert *cert,
                                        bool force) {
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, name, cert);
    ev.data.upload.replace = true;
    ev.data.upload.force = force;
    return fx_send(fx, agent, &ev);
}

static const struct cs_verdict *delete (struct fx *fx, const char *id) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, id);
    return fx_send(fx, agent, &ev);
}

static struct cs_certificate certificate(struct fx *fx, const char *id) {
    struct cs_certificate c;
    struct cs_err err;
    struct cs_bytes doc = fx_doc(fx, "acme", fx_text(fx, "cert/acme/%s", id));
    assert_non_null(doc.data);
    assert_true(cs_certificate_decode(doc, &c, &err));
    return c;
}

static int64_t count(struct fx *fx) {
    struct cs_account a;
    struct cs_err err;
    assert_true(cs_account_decode(fx_doc(fx, "acme", "account/acme"), &a, &err));
    return a.certificates;
}

static bool holds(struct cs_bytes doc, const char *text) {
    return doc.data && memmem(doc.data, doc.len, text, strlen(text));
}

// ---- upload

static void upload_makes_a_certificate(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.cn = "shop.example.com"});
    const char *id = fx_uuid(fx);
    int64_t before = count(fx);
    struct cs_event ev = fx_upload(fx, "acme", agent, id, "shop", cert);
    ev.data.upload.tags.len = 1;
    strcpy(ev.data.upload.tags.tag[0], "env=prod");
    const struct cs_verdict *v = fx_send(fx, agent, &ev);
    assert_applied(v);
    assert_string_equal(v->subject, id);
    assert_int_equal(v->version, 1);
    assert_int_equal(count(fx), before + 1);
    struct cs_certificate c = certificate(fx, id);
    assert_string_equal(c.summary.name, "shop");
    assert_int_equal(c.summary.source, CS_SOURCE_UPLOADED);
    assert_int_equal(c.summary.version, 1);
    assert_int_equal(c.summary.notes, 0);
    assert_string_equal(c.summary.tags.tag[0], "env=prod");
    assert_int_equal(c.summary.leaves_len, 1);
    assert_memory_equal(c.summary.leaves[0].sha256, cert->leaf->sha256, 32);
    assert_int_equal(c.summary.leaves[0].key_type, CS_KEY_P256);
    assert_string_equal(c.summary.leaves[0].names[0], "shop.example.com");
    assert_string_equal(c.by, agent->kid);
    assert_int_equal(c.created_ms, fx->now_ms);
    cs_certificate_clear(&c);
    int64_t score = 0;
    assert_true(fx_in_index(fx, "acme", "expiry/acme", fx_text(fx, "shop/c/%s", id), &score));
    assert_int_equal(score, cert->leaf->not_after_s);
    struct cs_bytes material = fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id));
    assert_true(holds(material, fx_text(fx, "\"key_subject\":\"%s\",\"role\":\"single\"", id)));
}

// One odd certificate each: the code is that of the first rule it breaks.
static void odd_certificates(void **state) {
    struct fx *fx = *state;
    const struct {
        enum cs_code code;
        struct fx_cert_how how;
    } rows[] = {
        {CS_CODE_CERT_IS_CA, {.ca = true, .usage = "keyCertSign"}},
        {CS_CODE_CERT_ALGORITHM, {.type = "SM2"}},
        {CS_CODE_CERT_NO_NAME, {.cn = ""}},
        {CS_CODE_CERT_WEAK_SIGNATURE, {.sha1 = true}},
        {CS_CODE_CERT_NOT_YET_VALID, {.begins_s = 60}},
        {CS_CODE_CERT_EXPIRED, {.begins_s = -2 * FX_DAY, .lasts_s = FX_DAY}},
        {CS_CODE_NONE, {.begins_s = -2 * FX_DAY, .lasts_s = 2 * FX_DAY}}, // until this very second
        {CS_CODE_NONE, {.type = "P-384"}},
        {CS_CODE_NONE, {.type = "ED25519"}},
        {CS_CODE_NONE, {.cn = "", .dns = "only.example.com"}},
        {CS_CODE_CERT_WEAK_KEY, {.type = "P-224"}},
        {CS_CODE_CERT_EXPLICIT_CURVE, {.type = "explicit"}},
        {CS_CODE_CERT_NOT_V3, {.v1 = true}},
        {CS_CODE_NONE, {.intermediate = true}},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        const struct cs_verdict *v = upload(fx, NULL, fx_text(fx, "odd-%zu", i), fx_cert(fx, rows[i].how));
        if (v->code != rows[i].code)
            fail_msg("row %zu: %s", i, cs_code_name(v->code));
    }
}

static void a_validity_that_begins_this_second(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.begins_s = 10});
    fx->now_ms += 9999;
    assert_rejected(upload(fx, NULL, "begins", cert), CERT_NOT_YET_VALID);
    fx->now_ms += 1;
    assert_applied(upload(fx, NULL, "begins", cert));
    fx->now_ms = FX_NOW_MS;
}

static void odd_bytes(void **state) {
    struct fx *fx = *state;
    struct fx_cert *good = any_cert(fx);
    struct fx_cert cut = *good, after = *good;
    cut.chain[0].len--;
    uint8_t *longer = fx_alloc(fx, good->chain[0].len + 1);
    memcpy(longer, good->chain[0].data, good->chain[0].len);
    after.chain[0] = (struct cs_bytes){longer, good->chain[0].len + 1};
    assert_rejected(upload(fx, NULL, "bytes", &cut), CERT_MALFORMED);
    assert_rejected(upload(fx, NULL, "bytes", &after), CERT_MALFORMED);
    struct fx_cert many = *good;
    for (many.chain_len = 2; many.chain_len < 10; many.chain_len++)
        many.chain[many.chain_len] = good->chain[1];
    assert_rejected(upload(fx, NULL, "bytes", &many), CHAIN_STRAY); // ten are read
    many.chain[many.chain_len++] = good->chain[1];
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, "bytes", &many);
    // The codec writes ten at most: the eleventh comes by hand.
    ev.data.upload.part[0].chain_len = 10;
    struct fx_record *record = fx_record(fx, agent, &ev);
    char *value = fx_alloc(fx, 2 * record->r.value.len);
    const char *text = (const char *)record->r.value.data, *chain = "\"chain\":[";
    const char *at = (const char *)memmem(text, record->r.value.len, chain, strlen(chain)) + strlen(chain);
    size_t one = (size_t)(strchr(at, ',') + 1 - at), head = (size_t)(at - text);
    memcpy(value, text, head + one);
    memcpy(value + head + one, at, record->r.value.len - head);
    record = fx_record_of(fx, agent, "acme", (struct cs_bytes){(uint8_t *)value, record->r.value.len + one});
    assert_rejected(fx_judge(fx, fx_partition_of(fx, "acme"), record), CERT_TOO_MANY);
}

static void chains(void **state) {
    struct fx *fx = *state;
    struct fx_cert *good = any_cert(fx);
    struct fx_cert bad = *good;
    bad.chain[1] = fx_other_ca(fx, true);
    assert_rejected(upload(fx, NULL, "chain", &bad), CHAIN_BROKEN);
    bad.chain[1] = fx_other_ca(fx, false);
    assert_rejected(upload(fx, NULL, "chain", &bad), CHAIN_STRAY);
    struct fx_cert order = *fx_cert(fx, (struct fx_cert_how){.intermediate = true});
    struct cs_bytes root = order.chain[2];
    order.chain[2] = order.chain[1];
    order.chain[1] = root;
    assert_rejected(upload(fx, NULL, "chain", &order), CHAIN_ORDER);
    // Incomplete chains are noted, or refused where the account wants them whole.
    const char *id = fx_uuid(fx);
    struct fx_cert *alone = fx_cert(fx, (struct fx_cert_how){.alone = true});
    assert_applied(upload(fx, id, "chain", alone));
    struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.notes, CS_NOTE(CHAIN_INCOMPLETE));
    cs_certificate_clear(&c);
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_incomplete_chain = ev.data.account.reject_incomplete_chain = true;
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_rejected(replace(fx, "chain", fx_cert(fx, (struct fx_cert_how){.alone = true}), false),
                    CHAIN_INCOMPLETE);
    assert_applied(replace(fx, "chain", any_cert(fx), false));
    ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_incomplete_chain = true;
    assert_applied(fx_send(fx, fx->admin, &ev));
}

// Names without end fill no document, and no offer of a share.
static void long_names_are_counted_only(void **state) {
    struct fx *fx = *state;
    const char *id = fx_uuid(fx);
    struct fx_cert *s =
        fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "digitalSignature", .uri_len = 60000});
    struct fx_cert *e =
        fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyEncipherment", .uri_len = 30000});
    struct cs_event ev = fx_upload_sm2(fx, "acme", agent, id, "long_names", s, e);
    ev.type = CS_EVENT_CERTIFICATE_ISSUE;
    ev.data.upload.source = CS_SOURCE_OFFICIAL;
    ev.seq = ++fx->issuer->seq;
    strcpy(ev.kid, fx->issuer->kid);
    fx_fill_part(fx, &ev, 0, s, CS_ROLE_SM2_SIGN);
    fx_fill_part(fx, &ev, 1, e, CS_ROLE_SM2_ENCRYPT);
    assert_applied(fx_send(fx, fx->issuer, &ev));
    struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.leaves[0].names_total, 2);
    assert_int_equal(c.summary.leaves[0].names_len, 1);
    assert_int_equal(c.summary.leaves[1].names_len, 2);
    cs_certificate_clear(&c);
    assert_verdict(fx_share(fx, "acme", agent, id, "nobody"), PENDING, NONE);
    fx_deliver_all(fx);
}

static void swap_custodian(struct fx *fx) {
    struct cs_privkey *key = fx->custodian;
    uint8_t *spki = fx->custodian_spki;
    size_t len = fx->custodian_spki_len;
    fx->custodian = stranger;
    fx->custodian_spki = stranger_spki;
    fx->custodian_spki_len = stranger_len;
    stranger = key;
    stranger_spki = spki;
    stranger_len = len;
}

static void keys_and_proofs(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = any_cert(fx), *other = any_cert(fx);
    const struct cs_encoded none = {{NULL, 0}, {NULL, 0}};
    struct cs_event good = fx_upload(fx, "acme", agent, NULL, "keys", cert), ev = good;
    struct cs_keyed_chain *part = &ev.data.upload.part[0];
    part->key = part->pop = none;
    assert_rejected(fx_send(fx, agent, &ev), KEY_MISSING);
#define AGAIN()                                                                                              \
    (ev = good, ev.seq = ++agent->seq, strcpy(ev.id, fx_uuid(fx)),                                           \
     fx_fill_part(fx, &ev, 0, cert, CS_ROLE_SINGLE))
    AGAIN();
    part->key = none;
    assert_rejected(fx_send(fx, agent, &ev), KEY_MISSING);
    AGAIN();
    part->pop = none;
    assert_rejected(fx_send(fx, agent, &ev), KEY_MISMATCH);
    AGAIN();
    part->csr = true;
    assert_rejected(fx_send(fx, agent, &ev), KEY_MANY);
    AGAIN();
    part->chain[0].bytes = other->chain[0]; // the proof is another certificate's
    assert_rejected(fx_send(fx, agent, &ev), KEY_MISMATCH);
    AGAIN();
    struct cs_event elsewhere = fx_upload(fx, "acme", agent, NULL, "keys", cert);
    part->pop = elsewhere.data.upload.part[0].pop; // made for another event
    assert_rejected(fx_send(fx, agent, &ev), KEY_MISMATCH);
    AGAIN();
    part->key.bytes = cert->chain[0]; // no sealed form
    assert_rejected(fx_send(fx, agent, &ev), KEY_MALFORMED);
#undef AGAIN
    swap_custodian(fx);
    assert_rejected(upload(fx, NULL, "keys", cert), KEY_MALFORMED); // nobody trusts that one
    swap_custodian(fx);
    assert_applied(upload(fx, NULL, "keys", cert));
}

static void names(void **state) {
    struct fx *fx = *state;
    static const char *const bad[] = {"", "a b", "a/b", "../x", "*", "a:b"};
    struct fx_cert *cert = any_cert(fx);
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++)
        assert_rejected(upload(fx, NULL, bad[i], cert), NAME_INVALID);
    assert_applied(upload(fx, NULL, "a.b-c_D9", cert));
}

static void patterns(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_agent(fx, "acme", CS_CAN_ALL & ~CS_CAN_ENROLL, "in-*");
    struct cs_event ev = fx_upload(fx, "acme", k, NULL, "out-1", any_cert(fx));
    assert_rejected(fx_send(fx, k, &ev), EVENT_FORBIDDEN);
    const char *id = fx_uuid(fx);
    ev = fx_upload(fx, "acme", k, id, "in-1", any_cert(fx));
    assert_applied(fx_send(fx, k, &ev));
    ev = fx_csr(fx, "acme", k, NULL, "out-1", fx_cert_key_only(fx, "P-256"));
    assert_rejected(fx_send(fx, k, &ev), EVENT_FORBIDDEN);
    // By id the name is looked up.
    const char *out = fx_uuid(fx), *csr = fx_uuid(fx), *official = fx_official(fx, "acme", "out-3");
    assert_applied(upload(fx, out, "out-2", any_cert(fx)));
    ev = fx_csr(fx, "acme", agent, csr, "out-2", fx_cert_key_only(fx, "P-256"));
    assert_applied(fx_send(fx, agent, &ev));
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, out);
    assert_rejected(fx_send(fx, k, &ev), EVENT_FORBIDDEN);
    ev = fx_event(fx, CS_EVENT_CSR_DELETE, "acme", k, csr);
    assert_rejected(fx_send(fx, k, &ev), EVENT_FORBIDDEN);
    assert_rejected(fx_share(fx, "acme", k, official, "other"), EVENT_FORBIDDEN);
    assert_rejected(fx_unshare(fx, "acme", k, official, "other"), EVENT_FORBIDDEN);
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, id);
    assert_applied(fx_send(fx, k, &ev));
    // What is not there is not there for anybody.
    ev = fx_event(fx, CS_EVENT_CERTIFICATE_DELETE, "acme", k, NULL);
    assert_rejected(fx_send(fx, k, &ev), CERTIFICATE_NOT_FOUND);
}

static void ids_are_used_once(void **state) {
    struct fx *fx = *state;
    const char *id = fx_uuid(fx);
    assert_applied(upload(fx, id, "id-1", any_cert(fx)));
    assert_rejected(upload(fx, id, "id-2", any_cert(fx)), CERTIFICATE_ID_USED);
    assert_applied(delete (fx, id));
    assert_rejected(upload(fx, id, "id-1", any_cert(fx)), CERTIFICATE_ID_USED);
    assert_applied(upload(fx, NULL, "id-1", any_cert(fx)));
}

static void quota(void **state) {
    struct fx *fx = *state;
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_certificates = true;
    ev.data.account.limit_certificates = count(fx) + 1;
    assert_applied(fx_send(fx, fx->admin, &ev));
    const char *id = fx_uuid(fx);
    assert_applied(upload(fx, id, "quota-1", any_cert(fx)));
    assert_rejected(upload(fx, NULL, "quota-2", any_cert(fx)), QUOTA_CERTIFICATES);
    ev = fx_issue(fx, "acme", NULL, "quota-2", any_cert(fx));
    assert_rejected(fx_send(fx, fx->issuer, &ev), QUOTA_CERTIFICATES);
    assert_applied(replace(fx, "quota-1", any_cert(fx), false)); // adds none
    assert_applied(delete (fx, id));
    assert_applied(upload(fx, NULL, "quota-2", any_cert(fx)));
    ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_certificates = true;
    ev.data.account.limit_certificates = 1000;
    assert_applied(fx_send(fx, fx->admin, &ev));
}

// ---- the same name again

static void unchanged(void **state) {
    struct fx *fx = *state;
    struct fx_cert *cert = any_cert(fx);
    const char *id = fx_uuid(fx);
    assert_applied(upload(fx, id, "same", cert));
    const struct cs_verdict *v = upload(fx, NULL, "same", cert); // another id, nothing said of replacing
    assert_verdict(v, APPLIED, UNCHANGED);
    assert_string_equal(v->subject, id);
    assert_int_equal(v->version, 1);
    assert_verdict(upload(fx, id, "same", cert), APPLIED, UNCHANGED);
    assert_verdict(replace(fx, "same", cert, true), APPLIED, UNCHANGED);
    assert_applied(upload(fx, NULL, "same-other-name", cert));
}

static void replacing(void **state) {
    struct fx *fx = *state;
    struct fx_cert *first = any_cert(fx), *second = any_cert(fx);
    const char *id = fx_uuid(fx);
    assert_applied(upload(fx, id, "next", first));
    assert_rejected(upload(fx, NULL, "next", second), NAME_TAKEN);
    struct cs_event ev = fx_upload(fx, "acme", agent, NULL, "next", second);
    ev.data.upload.replace = true;
    fx->now_ms += 1000;
    const struct cs_verdict *v = fx_send(fx, agent, &ev);
    assert_applied(v); // begins in the same second as the first: not older
    assert_string_equal(v->subject, id);
    assert_int_equal(v->version, 2);
    struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.version, 2);
    assert_memory_equal(c.summary.leaves[0].sha256, second->leaf->sha256, 32);
    assert_int_equal(c.old_len, 1);
    assert_int_equal(c.old[0].version, 1);
    assert_memory_equal(c.old[0].sha256, first->leaf->sha256, 32);
    assert_int_equal(c.created_ms, FX_NOW_MS);
    assert_int_equal(c.updated_ms, fx->now_ms);
    cs_certificate_clear(&c);
    // The key was sealed for the id of the event, which nobody else will use.
    assert_true(holds(fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id)),
                      fx_text(fx, "\"key_subject\":\"%s\"", ev.subject)));
    assert_null(fx_doc(fx, "acme", fx_text(fx, "cert/acme/%s", ev.subject)).data);
    fx->now_ms = FX_NOW_MS;
}

static void older_ones_only_by_force(void **state) {
    struct fx *fx = *state;
    assert_applied(upload(fx, NULL, "older", any_cert(fx)));
    struct fx_cert *old = fx_cert(fx, (struct fx_cert_how){.begins_s = -2 * FX_DAY});
    assert_rejected(replace(fx, "older", old, false), REPLACE_OLDER);
    assert_applied(replace(fx, "older", old, true));
}

static void other_sources_and_algorithms_do_not_replace(void **state) {
    struct fx *fx = *state;
    fx_official(fx, "acme", "source");
    assert_rejected(replace(fx, "source", any_cert(fx), true), REPLACE_SOURCE);
    struct cs_event ev = fx_issue(fx, "acme", NULL, "source", any_cert(fx));
    ev.data.upload.source = CS_SOURCE_TEST;
    ev.data.upload.replace = true;
    assert_rejected(fx_send(fx, fx->issuer, &ev), REPLACE_SOURCE);
    ev = fx_issue(fx, "acme", NULL, "source", any_cert(fx));
    ev.data.upload.replace = true;
    assert_applied(fx_send(fx, fx->issuer, &ev));
    struct fx_cert *s = fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "digitalSignature"});
    struct fx_cert *e = fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyEncipherment"});
    assert_applied(upload(fx, NULL, "algorithm", any_cert(fx)));
    ev = fx_upload_sm2(fx, "acme", agent, NULL, "algorithm", s, e);
    ev.data.upload.replace = true;
    assert_rejected(fx_send(fx, agent, &ev), REPLACE_SOURCE);
}

static void only_so_many_old_versions_are_kept(void **state) {
    struct fx *fx = *state;
    const char *id = fx_uuid(fx);
    assert_applied(upload(fx, id, "history", any_cert(fx)));
    for (int i = 0; i < CS_OLD_VERSIONS_MAX + 2; i++)
        assert_applied(replace(fx, "history", any_cert(fx), false));
    struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.version, CS_OLD_VERSIONS_MAX + 3);
    assert_int_equal(c.old_len, CS_OLD_VERSIONS_MAX);
    for (size_t i = 0; i < c.old_len; i++)
        assert_int_equal(c.old[i].version, CS_OLD_VERSIONS_MAX + 2 - (int64_t)i);
    cs_certificate_clear(&c);
}

// ---- SM2

static void sm2_pairs(void **state) {
    struct fx *fx = *state;
    struct fx_cert *s =
        fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "digitalSignature", .lasts_s = 50 * FX_DAY});
    struct fx_cert *e =
        fx_cert(fx, (struct fx_cert_how){
                        .type = "SM2", .usage = "keyEncipherment,dataEncipherment", .lasts_s = 40 * FX_DAY});
    struct fx_cert *same =
        fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyAgreement", .same_key = s});
    struct fx_cert *subject =
        fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyAgreement", .cn = "other.example.com"});
    struct fx_cert *late =
        fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyAgreement", .begins_s = 60});
    struct fx_cert *plain = any_cert(fx);
    const struct {
        const struct fx_cert *sign, *encrypt;
        enum cs_code code;
    } rows[] = {
        {e, s, CS_CODE_SM2_USAGE},
        {s, s, CS_CODE_SM2_USAGE},
        {s, same, CS_CODE_SM2_SAME_KEY},
        {s, subject, CS_CODE_SM2_SUBJECT},
        {s, plain, CS_CODE_CERT_ALGORITHM},
        {plain, e, CS_CODE_CERT_ALGORITHM},
        {s, late, CS_CODE_CERT_NOT_YET_VALID},
        {s, e, CS_CODE_NONE},
    };
    const char *id = fx_uuid(fx);
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_event ev = fx_upload_sm2(fx, "acme", agent, id, "sm2_pair", rows[i].sign, rows[i].encrypt);
        const struct cs_verdict *v = fx_send(fx, agent, &ev);
        if (v->code != rows[i].code)
            fail_msg("row %zu: %s", i, cs_code_name(v->code));
    }
    struct cs_certificate c = certificate(fx, id);
    assert_int_equal(c.summary.leaves_len, 2);
    cs_certificate_clear(&c);
    int64_t score = 0; // the one that ends first
    assert_true(fx_in_index(fx, "acme", "expiry/acme", fx_text(fx, "sm2_pair/c/%s", id), &score));
    assert_int_equal(score, e->leaf->not_after_s);
    struct cs_bytes material = fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id));
    assert_true(holds(material, "\"role\":\"sm2-sign\""));
    assert_true(holds(material, "\"role\":\"sm2-enc\""));
    struct cs_event ev = fx_upload_sm2(fx, "acme", agent, NULL, "sm2_pair", s, e);
    assert_verdict(fx_send(fx, agent, &ev), APPLIED, UNCHANGED);
    ev = fx_upload_sm2(fx, "acme", agent, NULL, "sm2.pair", s, e);
    assert_rejected(fx_send(fx, agent, &ev), NAME_INVALID);
    // Both keys are sealed to one custodian.
    ev = fx_upload_sm2(fx, "acme", agent, NULL, "sm2_other", s, e);
    swap_custodian(fx);
    fx_fill_part(fx, &ev, 0, s, CS_ROLE_SM2_SIGN);
    swap_custodian(fx);
    assert_rejected(fx_send(fx, agent, &ev), KEY_MALFORMED);
    // The proof of the second key counts as well.
    ev = fx_upload_sm2(fx, "acme", agent, NULL, "sm2_other", s, e);
    ev.data.upload.part[1].pop = ev.data.upload.part[0].pop;
    assert_rejected(fx_send(fx, agent, &ev), KEY_MISMATCH);
}

// ---- delete

static void delete_leaves_a_tombstone(void **state) {
    struct fx *fx = *state;
    const char *id = fx_uuid(fx);
    assert_rejected(delete (fx, id), CERTIFICATE_NOT_FOUND);
    int64_t before = count(fx);
    assert_applied(upload(fx, id, "gone", any_cert(fx)));
    const struct cs_verdict *v = delete (fx, id);
    assert_applied(v);
    assert_string_equal(v->subject, id);
    assert_int_equal(count(fx), before);
    struct cs_certificate c = certificate(fx, id);
    assert_true(c.deleted);
    cs_certificate_clear(&c);
    assert_null(fx_doc(fx, "acme", fx_text(fx, "material/acme/%s", id)).data);
    assert_null(fx_doc(fx, "acme", "name/acme/gone").data);
    assert_false(fx_in_index(fx, "acme", "view/acme", fx_text(fx, "gone/c/%s", id), NULL));
    assert_false(fx_in_index(fx, "acme", "expiry/acme", fx_text(fx, "gone/c/%s", id), NULL));
    assert_rejected(delete (fx, id), CERTIFICATE_NOT_FOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upload_makes_a_certificate),
        cmocka_unit_test(odd_certificates),
        cmocka_unit_test(a_validity_that_begins_this_second),
        cmocka_unit_test(odd_bytes),
        cmocka_unit_test(chains),
        cmocka_unit_test(long_names_are_counted_only),
        cmocka_unit_test(keys_and_proofs),
        cmocka_unit_test(names),
        cmocka_unit_test(patterns),
        cmocka_unit_test(ids_are_used_once),
        cmocka_unit_test(quota),
        cmocka_unit_test(unchanged),
        cmocka_unit_test(replacing),
        cmocka_unit_test(older_ones_only_by_force),
        cmocka_unit_test(other_sources_and_algorithms_do_not_replace),
        cmocka_unit_test(only_so_many_old_versions_are_kept),
        cmocka_unit_test(sm2_pairs),
        cmocka_unit_test(delete_leaves_a_tombstone),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
