// SPDX-License-Identifier: Apache-2.0
//
// One certificate by id and by name, its chain, and sealed keys for none but the custodian.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "certsync/base/text.h"

static struct af *f;
static struct fx_key *agent, *beta, *gamma_agent, *custodian;
static const char *token;

static void trust_custodian(void) {
    custodian = fx_key_new(f->fx);
    for (int32_t p = 0; p < AF_PARTITIONS; p++) {
        struct cs_event ev = fx_event(f->fx, CS_EVENT_TRUST_ADD, "", f->fx->root, custodian->kid);
        ev.data.trust.role = CS_TRUST_CUSTODIAN;
        ev.data.trust.key.bytes = cs_pubkey_spki(custodian->pub);
        assert_applied(fx_judge(f->fx, p, fx_record(f->fx, f->fx->root, &ev)));
    }
}

static int setup(void **state) {
    (void)state;
    f = af_new();
    fx_account(f->fx, "acme", "owner-1", CS_SITE_CN, true);
    fx_account(f->fx, "beta", "owner-1", CS_SITE_CN, true);
    fx_account(f->fx, "gamma", "owner-1", CS_SITE_CN, true);
    trust_custodian();
    agent = fx_agent(f->fx, "acme", CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
    beta = fx_agent(f->fx, "beta", CS_CAN_READ | CS_CAN_SHARE, "*");
    gamma_agent = fx_agent(f->fx, "gamma", CS_CAN_SHARE, "*");
    token = af_token(f, agent, "acme");
    af_start(f);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    af_stop(f);
    af_free(f);
    return 0;
}

static const char *base64_of(struct cs_bytes b) {
    char *text = fx_alloc(f->fx, cs_base64_encoded_len(b.len) + 1);
    cs_base64_encode(b.data, b.len, text);
    text[cs_base64_encoded_len(b.len)] = '\0';
    return text;
}

static void assert_chain(const json_t *item, size_t part, const struct fx_cert *cert) {
    const json_t *chain = json_array_get(json_object_get(item, "chain"), part);
    assert_int_equal(json_array_size(chain), cert->chain_len);
    for (size_t i = 0; i < cert->chain_len; i++)
        assert_string_equal(json_string_value(json_array_get(chain, i)), base64_of(cert->chain[i]));
}

static void test_own(void **state) {
    (void)state;
    struct fx_cert *cert =
        fx_cert(f->fx, (struct fx_cert_how){.cn = "www.example.com", .intermediate = true});
    struct cs_event ev = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), "www", cert);
    assert_applied(fx_send(f->fx, agent, &ev));
    af_commit(f);
    CS_AUTO(af_answer_clear)
    struct af_answer by_id = af_get(f, token, "/v1/accounts/acme/certificates/%s", ev.subject);
    CS_AUTO(af_answer_clear)
    struct af_answer by_name = af_get(f, token, "/v1/accounts/acme/certificates/www");
    assert_status(by_id, 200);
    assert_string_equal(by_id.text, by_name.text);
    assert_string_equal(af_text(by_id.json, "id"), ev.subject);
    assert_string_equal(af_text(by_id.json, "by"), agent->kid);
    assert_chain(by_id.json, 0, cert);
    assert_int_equal(json_array_size(json_object_get(by_id.json, "chain")), 1);
    // Not even in its sealed form does the key leave, but to the custodian.
    const char *sealed = base64_of(ev.data.upload.part[0].key.bytes);
    assert_null(strstr(by_id.text, sealed));
    CS_AUTO(af_answer_clear) struct af_answer list = af_get(f, token, "/v1/accounts/acme/certificates");
    assert_null(strstr(list.text, sealed));
    CS_AUTO(af_answer_clear)
    struct af_answer mine = af_get(f, token, "/v1/accounts/acme/certificates/%s/sealed-key", ev.subject);
    assert_problem(mine, 403, "event.forbidden");
    for (int i = 0; i < 2; i++) {
        CS_AUTO(af_answer_clear)
        struct af_answer s = af_get(f, af_token(f, custodian, "*"),
                                    "/v1/accounts/acme/certificates/%s/sealed-key", i ? "www" : ev.subject);
        assert_status(s, 200);
        const json_t *part = json_array_get(json_object_get(s.json, "parts"), 0);
        assert_string_equal(af_text(part, "key"), sealed);
        assert_string_equal(af_text(part, "role"), "single");
        assert_string_equal(af_text(part, "key_subject"), ev.subject);
        assert_string_equal(af_text(part, "leaf"), base64_of(cert->chain[0]));
        char spki[65];
        cs_hex_encode(cert->leaf->spki_sha256, 32, spki);
        assert_string_equal(af_text(part, "spki_sha256"), spki);
    }
}

static void test_versions(void **state) {
    (void)state;
    struct cs_event ev = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), "renewed",
                                   fx_cert(f->fx, (struct fx_cert_how){.cn = "r.example.com"}));
    assert_applied(fx_send(f->fx, agent, &ev));
    struct fx_cert *next = fx_cert(f->fx, (struct fx_cert_how){.cn = "r.example.com", .begins_s = -3600});
    struct cs_event again = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), "renewed", next);
    again.data.upload.replace = true;
    assert_applied(fx_send(f->fx, agent, &again));
    af_commit(f);
    CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "/v1/accounts/acme/certificates/renewed");
    assert_status(a, 200);
    assert_int_equal(af_int(a.json, "version"), 2);
    assert_string_equal(af_text(a.json, "id"), ev.subject);
    assert_chain(a.json, 0, next);
    const json_t *old = json_object_get(a.json, "old_versions");
    assert_int_equal(json_array_size(old), 1);
    assert_int_equal(af_int(json_array_get(old, 0), "version"), 1);
}

static void test_pair(void **state) {
    (void)state;
    struct fx_cert *sign = fx_cert(f->fx, (struct fx_cert_how){.type = "SM2", .usage = "digitalSignature"});
    struct fx_cert *encrypt = fx_cert(f->fx, (struct fx_cert_how){.type = "SM2", .usage = "keyEncipherment"});
    struct cs_event ev = fx_upload_sm2(f->fx, "acme", agent, fx_uuid(f->fx), "guomi", sign, encrypt);
    assert_applied(fx_send(f->fx, agent, &ev));
    af_commit(f);
    CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "/v1/accounts/acme/certificates/guomi");
    assert_status(a, 200);
    assert_chain(a.json, 0, sign);
    assert_chain(a.json, 1, encrypt);
    const json_t *leaves = json_object_get(a.json, "leaves");
    assert_int_equal(json_array_size(leaves), 2);
    CS_AUTO(af_answer_clear)
    struct af_answer s =
        af_get(f, af_token(f, custodian, "*"), "/v1/accounts/acme/certificates/guomi/sealed-key");
    const json_t *parts = json_object_get(s.json, "parts");
    assert_int_equal(json_array_size(parts), 2);
    assert_string_equal(af_text(json_array_get(parts, 1), "leaf"), base64_of(encrypt->chain[0]));
}

static const char *share(const char *owner, struct fx_key *by, const char *name) {
    const char *id = fx_official(f->fx, owner, name);
    assert_verdict(fx_share(f->fx, owner, by, id, "beta"), PENDING, NONE);
    fx_deliver_all(f->fx);
    return id;
}

static void test_shared_in(void **state) {
    (void)state;
    const char *beta_token = af_token(f, beta, "beta");
    const char *id = share("acme", agent, "common");
    af_commit(f);
    CS_AUTO(af_answer_clear)
    struct af_answer by_name = af_get(f, beta_token, "/v1/accounts/beta/certificates/common");
    assert_status(by_name, 200);
    assert_string_equal(af_text(by_name.json, "source"), "shared");
    assert_string_equal(af_text(by_name.json, "owner_account"), "acme");
    assert_true(json_array_size(json_object_get(by_name.json, "chain")) > 0);
    CS_AUTO(af_answer_clear)
    struct af_answer by_id = af_get(f, beta_token, "/v1/accounts/beta/certificates/%s?owner=acme", id);
    assert_string_equal(by_id.text, by_name.text);
    CS_AUTO(af_answer_clear)
    struct af_answer no_owner = af_get(f, beta_token, "/v1/accounts/beta/certificates/%s", id);
    assert_problem(no_owner, 404, "certificate.not_found");
    CS_AUTO(af_answer_clear)
    struct af_answer not_theirs = af_get(f, beta_token, "/v1/accounts/beta/certificates/common?owner=gamma");
    assert_problem(not_theirs, 404, "certificate.not_found");
    // Two of one name need the owner said.
    share("gamma", gamma_agent, "common");
    af_commit(f);
    CS_AUTO(af_answer_clear)
    struct af_answer both = af_get(f, beta_token, "/v1/accounts/beta/certificates/common");
    assert_problem(both, 409, "");
    CS_AUTO(af_answer_clear)
    struct af_answer said = af_get(f, beta_token, "/v1/accounts/beta/certificates/common?owner=gamma");
    assert_status(said, 200);
    assert_string_equal(af_text(said.json, "owner_account"), "gamma");
    // The recipient's custodian finds no key there: it is the owner's.
    CS_AUTO(af_answer_clear)
    struct af_answer sealed =
        af_get(f, af_token(f, custodian, "*"), "/v1/accounts/beta/certificates/common/sealed-key");
    assert_problem(sealed, 404, "certificate.not_found");
    // The owner is a version ahead while the offer travels: the recipient's chain would be another's.
    struct fx_cert *next = fx_cert(f->fx, (struct fx_cert_how){.cn = "common.example.com", .begins_s = -60});
    struct cs_event ev = fx_issue(f->fx, "acme", fx_uuid(f->fx), "common", next);
    ev.data.upload.replace = true;
    assert_applied(fx_send(f->fx, f->fx->issuer, &ev));
    af_commit(f);
    CS_AUTO(af_answer_clear)
    struct af_answer behind = af_get(f, beta_token, "/v1/accounts/beta/certificates/common?owner=acme");
    assert_status(behind, 200);
    assert_int_equal(af_int(behind.json, "version"), 1);
    assert_null(json_object_get(behind.json, "chain"));
    fx_deliver_all(f->fx);
    af_commit(f);
    CS_AUTO(af_answer_clear)
    struct af_answer there = af_get(f, beta_token, "/v1/accounts/beta/certificates/common?owner=acme");
    assert_int_equal(af_int(there.json, "version"), 2);
    assert_chain(there.json, 0, next);
}

static void test_not_there(void **state) {
    (void)state;
    struct cs_event ev = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), "gone",
                                   fx_cert(f->fx, (struct fx_cert_how){.cn = "gone.example.com"}));
    assert_applied(fx_send(f->fx, agent, &ev));
    struct cs_event del = fx_event(f->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", agent, ev.subject);
    assert_applied(fx_send(f->fx, agent, &del));
    // A certificate whose name looks like an id.
    const char *odd = fx_text(f->fx, "%s", fx_uuid(f->fx));
    struct cs_event named = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), odd,
                                      fx_cert(f->fx, (struct fx_cert_how){.cn = "odd.example.com"}));
    assert_applied(fx_send(f->fx, agent, &named));
    af_commit(f);
    const char *const missing[] = {"gone", ev.subject, "never",  "%2e%2e%2f",
                                   "*",    "a%20b",    "www%0a", "%c3%a9"};
    for (size_t i = 0; i < CS_ARRAY_LEN(missing); i++) {
        CS_AUTO(af_answer_clear)
        struct af_answer a = af_get(f, token, "/v1/accounts/acme/certificates/%s", missing[i]);
        assert_problem(a, 404, "certificate.not_found");
    }
    char longest[400];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CS_AUTO(af_answer_clear)
    struct af_answer too_long = af_get(f, token, "/v1/accounts/acme/certificates/%s", longest);
    assert_problem(too_long, 404, "certificate.not_found");
    CS_AUTO(af_answer_clear)
    struct af_answer found = af_get(f, token, "/v1/accounts/acme/certificates/%s", odd);
    assert_status(found, 200);
    assert_string_equal(af_text(found.json, "name"), odd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own),       cmocka_unit_test(test_versions),  cmocka_unit_test(test_pair),
        cmocka_unit_test(test_shared_in), cmocka_unit_test(test_not_there),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
