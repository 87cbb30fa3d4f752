// SPDX-License-Identifier: Apache-2.0
//
// Who may see what, and what those who may not are told.
#include <stdio.h>
#include <string.h>

#include "api_fixture.h"

#define CERTIFICATES "/v1/accounts/%s/certificates"

static struct af *f;
static struct fx_key *reader, *writer, *other_reader, *auditor, *custodian;
static const char *cert_id;

static void trust(struct fx_key *key, enum cs_trust_role role) {
    for (int32_t p = 0; p < AF_PARTITIONS; p++) {
        struct cs_event ev = fx_event(f->fx, CS_EVENT_TRUST_ADD, "", f->fx->root, key->kid);
        ev.data.trust.role = role;
        ev.data.trust.key.bytes = cs_pubkey_spki(key->pub);
        assert_applied(fx_judge(f->fx, p, fx_record(f->fx, f->fx->root, &ev)));
    }
}

static int setup(void **state) {
    (void)state;
    f = af_new();
    fx_account(f->fx, "acme", "owner-1", CS_SITE_CN, true);
    fx_account(f->fx, "beta", "owner-1", CS_SITE_CN, true);
    reader = fx_agent(f->fx, "acme", CS_CAN_UPLOAD | CS_CAN_READ, "*");
    writer = fx_agent(f->fx, "acme", CS_CAN_UPLOAD, "*");
    other_reader = fx_agent(f->fx, "beta", CS_CAN_READ, "*");
    auditor = fx_key_new(f->fx);
    custodian = fx_key_new(f->fx);
    trust(auditor, CS_TRUST_AUDITOR);
    trust(custodian, CS_TRUST_CUSTODIAN);
    cert_id = fx_official(f->fx, "acme", "www");
    af_commit(f);
    af_start(f);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    af_stop(f);
    af_free(f);
    return 0;
}

static void test_agent(void **state) {
    (void)state;
    CS_AUTO(af_answer_clear)
    struct af_answer a = af_get(f, af_token(f, reader, "acme"), CERTIFICATES, "acme");
    assert_status(a, 200);
    assert_int_equal(json_array_size(json_object_get(a.json, "certificates")), 1);
    CS_AUTO(af_answer_clear)
    struct af_answer w = af_get(f, af_token(f, writer, "acme"), CERTIFICATES, "acme");
    assert_problem(w, 403, "event.forbidden");
    // Outcomes of single events are for every enrolled key.
    CS_AUTO(af_answer_clear)
    struct af_answer o =
        af_get(f, af_token(f, writer, "acme"), "/v1/accounts/acme/outcomes/%s", fx_uuid(f->fx));
    assert_problem(o, 404, "outcome.unknown");
    CS_AUTO(af_answer_clear)
    struct af_answer l = af_get(f, af_token(f, writer, "acme"), "/v1/accounts/acme/outcomes");
    assert_problem(l, 403, "event.forbidden");
    // An agent's token names its account.
    CS_AUTO(af_answer_clear) struct af_answer any = af_get(f, af_token(f, reader, "*"), CERTIFICATES, "acme");
    assert_problem(any, 403, "event.forbidden");
}

// One answer for whoever is not known: the account may exist or not, the kid may be enrolled or not.
static void test_foreign(void **state) {
    (void)state;
    struct fx_key *stranger = fx_key_new(f->fx);
    CS_AUTO(af_answer_clear)
    struct af_answer exists = af_get(f, af_token(f, stranger, "acme"), CERTIFICATES, "acme");
    assert_problem(exists, 401, "event.unknown_signer");
    CS_AUTO(af_answer_clear)
    struct af_answer not_there = af_get(f, af_token(f, stranger, "nobody"), CERTIFICATES, "nobody");
    CS_AUTO(af_answer_clear)
    struct af_answer neighbour = af_get(f, af_token(f, other_reader, "acme"), CERTIFICATES, "acme");
    const char *forged =
        af_token_of(f, (struct af_token){.key = stranger, .sub = "acme", .kid = reader->kid});
    CS_AUTO(af_answer_clear) struct af_answer forgery = af_get(f, forged, CERTIFICATES, "acme");
    CS_AUTO(af_answer_clear)
    struct af_answer any = af_get(f, af_token(f, stranger, "*"), CERTIFICATES, "acme");
    CS_AUTO(af_answer_clear)
    struct af_answer odd =
        af_get(f, af_token(f, stranger, "*"), "/v1/accounts/%%2e%%2e%%2f{0}*/certificates");
    assert_string_equal(exists.text, not_there.text);
    assert_string_equal(exists.text, neighbour.text);
    assert_string_equal(exists.text, forgery.text);
    assert_string_equal(exists.text, any.text);
    assert_string_equal(exists.text, odd.text);
    CS_AUTO(af_answer_clear)
    struct af_answer sub = af_get(f, af_token(f, other_reader, "beta"), CERTIFICATES, "acme");
    assert_problem(sub, 403, "event.forbidden");
    CS_AUTO(af_answer_clear)
    struct af_answer sub2 = af_get(f, af_token(f, other_reader, "beta"), CERTIFICATES, "nobody");
    assert_string_equal(sub.text, sub2.text);
}

static void test_bad_tokens(void **state) {
    (void)state;
    const struct {
        struct af_token how;
        const char *part; // of the detail
    } cases[] = {
        {{.alg = "none"}, "not a signed"},
        {{.alg = "HS256"}, "ES256"},
        {{.iss = "00000000000000000000000000000000"}, "iss"},
        {{.aud = "elsewhere"}, "aud"},
        {{.kid = "x", .iss = "x"}, "kid"},
        {{.iat_s = -3600}, "expired"},
        {{.iat_s = 300}, "future"},
        {{.life_s = 301}, "300 seconds"},
        {{.life_s = -5}, "300 seconds"},
        {{.sub = "Not An Account"}, "sub"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct af_token how = cases[i].how;
        how.key = reader;
        how.sub = how.sub ? how.sub : "acme";
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, af_token_of(f, how), CERTIFICATES, "acme");
        assert_problem(a, 401, "");
        if (!strstr(a.text, cases[i].part))
            fprintf(stderr, "case %zu: %s\n", i, a.text);
        assert_non_null(strstr(a.text, cases[i].part));
    }
    CS_AUTO(af_answer_clear) struct af_answer none = af_get(f, NULL, CERTIFICATES, "acme");
    assert_problem(none, 401, "");
    const char *const garbage[] = {"x", "a.b.c", "..", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"};
    for (size_t i = 0; i < CS_ARRAY_LEN(garbage); i++) {
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, garbage[i], CERTIFICATES, "acme");
        assert_problem(a, 401, "");
    }
    // Clocks may be a minute apart.
    CS_AUTO(af_answer_clear)
    struct af_answer late =
        af_get(f, af_token_of(f, (struct af_token){.key = reader, .sub = "acme", .iat_s = -150}),
               CERTIFICATES, "acme");
    assert_status(late, 200);
    CS_AUTO(af_answer_clear)
    struct af_answer early =
        af_get(f, af_token_of(f, (struct af_token){.key = reader, .sub = "acme", .iat_s = 50}), CERTIFICATES,
               "acme");
    assert_status(early, 200);
}

static void test_roles(void **state) {
    (void)state;
    static const char *const paths[] = {"certificates", "csrs", "shares", "agents", "outcomes"};
    const struct {
        const struct fx_key *key;
        int expected[CS_ARRAY_LEN(paths)];
        int sealed;
    } roles[] = {
        {f->fx->admin, {200, 200, 200, 200, 200}, 403},   {auditor, {200, 200, 200, 200, 200}, 403},
        {custodian, {200, 403, 403, 403, 403}, 200},      {f->fx->issuer, {403, 403, 403, 403, 403}, 403},
        {f->fx->service, {403, 403, 403, 403, 403}, 403}, {reader, {200, 200, 200, 200, 200}, 403},
    };
    for (size_t r = 0; r < CS_ARRAY_LEN(roles); r++) {
        const char *token = af_token(f, roles[r].key, roles[r].key == reader ? "acme" : "*");
        for (size_t i = 0; i < CS_ARRAY_LEN(paths); i++) {
            CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "/v1/accounts/acme/%s", paths[i]);
            assert_status(a, roles[r].expected[i]);
        }
        CS_AUTO(af_answer_clear)
        struct af_answer s = af_get(f, token, "/v1/accounts/acme/certificates/%s/sealed-key", cert_id);
        assert_status(s, roles[r].sealed);
    }
    CS_AUTO(af_answer_clear)
    struct af_answer unknown = af_get(f, af_token(f, auditor, "*"), CERTIFICATES, "nobody");
    assert_problem(unknown, 404, "account.unknown");
    CS_AUTO(af_answer_clear)
    struct af_answer no_account =
        af_get(f, af_token(f, auditor, "*"), "/v1/accounts/%%2e%%2e%%2f{0}*/certificates");
    assert_problem(no_account, 404, "account.unknown");
    CS_AUTO(af_answer_clear)
    struct af_answer one = af_get(f, af_token(f, auditor, "acme"), CERTIFICATES, "acme");
    assert_status(one, 200);
}

// The issuer learns what became of its own events, and of no others.
static void test_issuer(void **state) {
    (void)state;
    struct cs_event mine = fx_issue(f->fx, "acme", fx_uuid(f->fx), "issued",
                                    fx_cert(f->fx, (struct fx_cert_how){.cn = "issued.example.com"}));
    assert_applied(fx_send(f->fx, f->fx->issuer, &mine));
    struct cs_event theirs = fx_upload(f->fx, "acme", reader, fx_uuid(f->fx), "theirs",
                                       fx_cert(f->fx, (struct fx_cert_how){.cn = "theirs.example.com"}));
    assert_applied(fx_send(f->fx, reader, &theirs));
    af_commit(f);
    const char *token = af_token(f, f->fx->issuer, "*");
    CS_AUTO(af_answer_clear)
    struct af_answer own = af_get(f, token, "/v1/accounts/acme/outcomes/%s", mine.id);
    assert_status(own, 200);
    CS_AUTO(af_answer_clear)
    struct af_answer other = af_get(f, token, "/v1/accounts/acme/outcomes/%s", theirs.id);
    assert_problem(other, 404, "outcome.unknown");
    // Of several in one question, too.
    CS_AUTO(af_answer_clear)
    struct af_answer both =
        af_get(f, token, "/v1/accounts/acme/outcomes/%s,%s,%s", theirs.id, fx_uuid(f->fx), mine.id);
    assert_status(both, 200);
    const json_t *outcomes = json_object_get(both.json, "outcomes");
    assert_int_equal(json_array_size(outcomes), 1);
    assert_true(json_equal(json_array_get(outcomes, 0), own.json));
    CS_AUTO(af_answer_clear)
    struct af_answer all =
        af_get(f, af_token(f, reader, "acme"), "/v1/accounts/acme/outcomes/%s,%s", theirs.id, mine.id);
    outcomes = json_object_get(all.json, "outcomes");
    assert_int_equal(json_array_size(outcomes), 2);
    assert_true(json_equal(json_array_get(outcomes, 1), own.json)); // in the order of the question
}

static void test_several_outcomes(void **state) {
    (void)state;
    char ids[101 * 37 + 1] = "", path[sizeof ids + 64];
    const char *token = af_token(f, reader, "acme");
    for (size_t i = 0; i < 101; i++)
        snprintf(ids + i * 37, sizeof ids - i * 37, "%s,", fx_uuid(f->fx));
    static const struct {
        int len;
        const char *after;
        int status;
    } rows[] = {
        {100 * 37 - 1, "", 200}, {101 * 37 - 1, "", 400}, {2 * 37 - 1, "?wait=1", 400},  {2 * 37, "", 400},
        {2 * 37 - 2, "", 400},   {2 * 37 - 1, ",x", 400}, {2 * 37 - 1, "?limit=10", 400}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        snprintf(path, sizeof path, "/v1/accounts/acme/outcomes/%.*s%s", rows[i].len, ids, rows[i].after);
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "%s", path);
        assert_status(a, rows[i].status);
        if (a.status == 200)
            assert_int_equal(json_array_size(json_object_get(a.json, "outcomes")), 0);
    }
}

// Revocation counts with the next request.
static void test_revoked(void **state) {
    (void)state;
    struct fx_key *key = fx_agent(f->fx, "acme", CS_CAN_READ, "*");
    af_commit(f);
    const char *token = af_token(f, key, "acme");
    CS_AUTO(af_answer_clear) struct af_answer before = af_get(f, token, CERTIFICATES, "acme");
    assert_status(before, 200);
    struct cs_event ev = fx_event(f->fx, CS_EVENT_AGENT_REVOKE, "acme", f->fx->admin, key->kid);
    assert_applied(fx_send(f->fx, f->fx->admin, &ev));
    af_commit(f);
    CS_AUTO(af_answer_clear) struct af_answer after = af_get(f, token, CERTIFICATES, "acme");
    assert_problem(after, 403, "event.revoked_signer");
    // Who only knows the kid does not learn that it was revoked.
    CS_AUTO(af_answer_clear)
    struct af_answer forged =
        af_get(f, af_token_of(f, (struct af_token){.key = fx_key_new(f->fx), .sub = "acme", .kid = key->kid}),
               CERTIFICATES, "acme");
    assert_problem(forged, 401, "event.unknown_signer");
}

// A key that was rotated away still learns what became of its rotation.
static void test_rotated(void **state) {
    (void)state;
    struct fx_key *old = fx_agent(f->fx, "acme", CS_CAN_READ, "*"), *fresh = fx_key_new(f->fx);
    struct cs_event ev = fx_event(f->fx, CS_EVENT_AGENT_ROTATE, "acme", old, fresh->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(fresh->pub);
    assert_applied(fx_send(f->fx, old, &ev));
    af_commit(f);
    CS_AUTO(af_answer_clear)
    struct af_answer own = af_get(f, af_token(f, old, "acme"), "/v1/accounts/acme/outcomes/%s", ev.id);
    assert_status(own, 200);
    CS_AUTO(af_answer_clear)
    struct af_answer list = af_get(f, af_token(f, old, "acme"), CERTIFICATES, "acme");
    assert_problem(list, 403, "event.revoked_signer");
    CS_AUTO(af_answer_clear)
    struct af_answer next = af_get(f, af_token(f, fresh, "acme"), CERTIFICATES, "acme");
    assert_status(next, 200);
}

#define VERIFICATIONS "certsync_api_token_verifications_total"

// A token is verified once while it is valid. The catalog is asked each time: what it says of the
// key counts at once.
static void test_verified_once(void **state) {
    (void)state;
    struct fx_key *key = fx_agent(f->fx, "acme", CS_CAN_READ, "*");
    af_commit(f);
    const char *token = af_token(f, key, "acme");
    double before = af_metric(f, VERIFICATIONS);
    for (int i = 0; i < 3 * AF_THREADS; i++) {
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, CERTIFICATES, "acme");
        assert_status(a, 200);
    }
    assert_true(af_metric(f, VERIFICATIONS) == before + AF_THREADS); // each has its own memory
    // The same text with another signature is another token.
    char *other = strdup(token);
    assert_non_null(other);
    other[strlen(other) - 10] = other[strlen(other) - 10] == 'A' ? 'B' : 'A';
    CS_AUTO(af_answer_clear) struct af_answer forged = af_get(f, other, CERTIFICATES, "acme");
    assert_problem(forged, 401, "event.unknown_signer");
    free(other);
    // Under its kid the catalog has another key, as it may be after a promotion.
    int32_t partition = cs_partition_of("acme", AF_PARTITIONS);
    cs_key name;
    struct cs_err err;
    struct cs_bytes doc = fx_doc(f->fx, "acme", cs_key_agent(name, "acme", key->kid));
    struct cs_agent agent;
    assert_true(cs_agent_decode(doc, &agent, &err));
    struct cs_bytes spki = cs_pubkey_spki(fx_key_new(f->fx)->pub);
    memcpy(agent.key.data, spki.data, spki.len);
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 4096);
    cs_agent_encode(&b, &agent);
    af_set(f, partition, name, cs_buf_bytes(&b));
    CS_AUTO(af_answer_clear) struct af_answer replaced = af_get(f, token, CERTIFICATES, "acme");
    assert_problem(replaced, 401, "event.unknown_signer");
    af_commit(f); // as it was
    CS_AUTO(af_answer_clear) struct af_answer again = af_get(f, token, CERTIFICATES, "acme");
    assert_status(again, 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agent),         cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_bad_tokens),    cmocka_unit_test(test_roles),
        cmocka_unit_test(test_issuer),        cmocka_unit_test(test_several_outcomes),
        cmocka_unit_test(test_revoked),       cmocka_unit_test(test_rotated),
        cmocka_unit_test(test_verified_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
