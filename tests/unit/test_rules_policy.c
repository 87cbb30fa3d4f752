// SPDX-License-Identifier: Apache-2.0
//
// The account's policy and the hosts that a key may register: what each demand takes, what it refuses and
// with which words; and that it never touches what is there.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/policy.h"
#include "fixture.h"

#define UPLOADS (CS_CAN_UPLOAD | CS_CAN_CSR)

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

// The policy is this now, and nothing else.
static void demand(struct fx *fx, const struct cs_policy *p) {
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    struct cs_event_account *a = &ev.data.account;
    a->has_keys_allowed = a->has_days = a->has_issuers = a->has_dns = a->has_wildcards = true;
    a->policy = *p;
    assert_applied(fx_send(fx, fx->admin, &ev));
}

static const struct cs_verdict *upload(struct fx *fx, struct fx_key *by, const char *name,
                                       const struct fx_cert *cert) {
    struct cs_event ev = fx_upload(fx, "acme", by, NULL, name, cert);
    return fx_send(fx, by, &ev);
}

static struct cs_policy_keys keys(const char *one, const char *two) {
    struct cs_policy_keys k = {0};
    assert_true(cs_policy_keys_add(&k, one, strlen(one)));
    if (two)
        assert_true(cs_policy_keys_add(&k, two, strlen(two)));
    return k;
}

static void names_of_keys(void **state) {
    static const char *const bad[] = {"",         "RSA",       "RSA-",      "RSA-1024",  "RSA-2047",
                                      "RSA-8193", "RSA-16384", "RSA-02048", "RSA--2048", "RSA-2048 ",
                                      "P-224",    "p-256",     "X25519",    "EC",        "DSA",
                                      "ed25519",  "RSA-999"};
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        struct cs_policy_keys k = {0};
        if (cs_policy_keys_add(&k, bad[i], strlen(bad[i])))
            fail_msg("%s", bad[i]);
        assert_int_equal(k.types, 0);
    }
    struct cs_policy_keys k = keys("RSA-2048", "SM2");
    assert_false(cs_policy_keys_add(&k, "RSA-4096", 8)); // a type once
    assert_false(cs_policy_keys_add(&k, "SM2", 3));
    assert_int_equal(k.rsa_bits, 2048);
}

static void issuers(void **state) {
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    static const char *const good[] = {"spki:" HEX, "name:CN=x", "name:*O=Example*", "name:O=M\xc3\xbcller"};
    static const char *const bad[] = {
        "",
        "spki:",
        "spki:0",
        "spki:" HEX "0",
        "name:",
        "name:*",
        "name:***",
        "Name:CN=x",
        "CN=x",
        "name:a\nb",
        "name:\x7f",
        "name:\xff",
        "spki:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"};
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(good); i++)
        if (!cs_policy_issuer_valid(good[i], strlen(good[i])))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++)
        if (cs_policy_issuer_valid(bad[i], strlen(bad[i])))
            fail_msg("%s", bad[i]);
}

static void types_of_keys(void **state) {
    struct fx *fx = *state;
    struct fx_key *by = fx_agent(fx, "acme", UPLOADS, "*");
    const struct fx_cert *p256 = fx_cert(fx, (struct fx_cert_how){0});
    const struct fx_cert *p384 = fx_cert(fx, (struct fx_cert_how){.type = "P-384"});
    demand(fx, &(struct cs_policy){.keys = keys("P-384", "RSA-3072")});
    const struct cs_verdict *v = upload(fx, by, "a", p256);
    assert_rejected(v, POLICY_KEY);
    assert_string_equal(v->detail, "It is P-256; allowed: RSA-3072 P-384");
    assert_applied(upload(fx, by, "a", p384));
    struct cs_event request = fx_csr(fx, "acme", by, NULL, "r", fx_cert_key_only(fx, "P-256"));
    assert_rejected(fx_send(fx, by, &request), POLICY_KEY);
    char detail[CS_POLICY_DETAIL_SIZE] = "";
    struct cs_policy p = {.keys = keys("RSA-3072", NULL)};
    assert_true(cs_policy_key_fits(&p, CS_KEY_RSA, 3072, detail));
    assert_true(cs_policy_key_fits(&p, CS_KEY_RSA, 8192, detail));
    assert_false(cs_policy_key_fits(&p, CS_KEY_RSA, 2048, detail));
    assert_string_equal(detail, "It is RSA-2048; allowed: RSA-3072");
    assert_false(cs_policy_key_fits(&p, CS_KEY_P256, 256, detail));
}

// The difference of both times counts, as `openssl req -days 100` makes it.
static void lifetimes(void **state) {
    struct fx *fx = *state;
    struct fx_key *by = fx_agent(fx, "acme", UPLOADS, "*");
    demand(fx, &(struct cs_policy){.days = 100});
    struct fx_cert_how how = {.begins_s = -FX_DAY, .lasts_s = 100 * FX_DAY};
    assert_applied(upload(fx, by, "a", fx_cert(fx, how)));
    how.lasts_s++;
    const struct cs_verdict *v = upload(fx, by, "b", fx_cert(fx, how));
    assert_rejected(v, POLICY_LIFETIME);
    assert_string_equal(v->detail, "It is valid for 101 days; allowed: 100");
}

static void who_issued(void **state) {
    struct fx *fx = *state;
    struct fx_key *by = fx_agent(fx, "acme", UPLOADS, "*");
    const struct fx_cert *whole = fx_cert(fx, (struct fx_cert_how){0});
    const struct fx_cert *alone = fx_cert(fx, (struct fx_cert_how){.alone = true});
    struct cs_policy p = {0};
    struct cs_err err;
    struct cs_cert *ca;
    char hex[65];
    assert_true(cs_cert_parse(fx->crypto, fx->ca, &ca, &err));
    cs_hex_encode(ca->spki_sha256, 32, hex);
    snprintf(p.issuers, sizeof p.issuers, "name:CN=Nobody\nspki:%s", hex);
    demand(fx, &p);
    assert_applied(upload(fx, by, "whole", whole));
    assert_rejected(upload(fx, by, "alone", alone), POLICY_ISSUER); // nothing proves it
    snprintf(p.issuers, sizeof p.issuers, "name:%s", ca->subject_name);
    demand(fx, &p);
    assert_applied(upload(fx, by, "alone", alone));
    snprintf(p.issuers, sizeof p.issuers, "name:CN=Nobody*");
    demand(fx, &p);
    assert_rejected(upload(fx, by, "more", fx_cert(fx, (struct fx_cert_how){0})), POLICY_ISSUER);
    // The leaf is no issuer of itself.
    cs_hex_encode(whole->leaf->spki_sha256, 32, hex);
    snprintf(p.issuers, sizeof p.issuers, "spki:%s", hex);
    demand(fx, &p);
    assert_rejected(upload(fx, by, "self", fx_cert(fx, (struct fx_cert_how){.same_key = whole})),
                    POLICY_ISSUER);
    cs_cert_free(ca);
}

// What a certificate names, under the same patterns as policy of the account and as patterns of the key.
static void hosts(void **state) {
    static const struct {
        const char *cn, *dns, *detail;
        bool covered;
    } rows[] = {
        {"x", "www.example.com", NULL, true},
        {"x", "www.example.com,DNS:mail.example.com", NULL, true},
        {"x", "www.example.com,DNS:www.other.test", "Not covered: www.other.test", false},
        {"x", "WWW.EXAMPLE.COM", NULL, true},
        {"x", "*.example.com", NULL, true},
        {"x", "*.example.com,DNS:example.com", "Not covered: example.com", false},
        {"x", "www.example.com,IP:192.0.2.1", NULL, true},
        {"x", "www.example.com,IP:192.0.2.2", "Not covered: IP:192.0.2.2", false},
        {"x", "www.example.com,IP:2001:db8::1", "Not covered: IP:2001:db8::1", false},
        {"x", "www.example.com,email:a@other.test,URI:https://other.test/", NULL, true},
        {"www.other.test", "www.example.com", NULL, true}, // clients do not look at it
        {"www.example.com", "", NULL, true},               // they do here
        {"Somebody", "", "Not covered: Somebody", false},
        {"Jane Doe", "", "", false},
        {"www.other.test", "", "Not covered: www.other.test", false},
    };
    struct fx *fx = *state;
    struct cs_policy p = {.dns = "*.example.com\nIP:192.0.2.1"};
    struct fx_key *free = fx_agent(fx, "acme", UPLOADS, "*"), *bound = fx_key_new(fx);
    struct cs_event ev = fx_enroll(fx, "acme", fx->admin, bound, UPLOADS, "*");
    memcpy(ev.data.enroll.dns, p.dns, sizeof p.dns);
    assert_applied(fx_send(fx, fx->admin, &ev));
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        const struct fx_cert *c = fx_cert(fx, (struct fx_cert_how){.cn = rows[i].cn, .dns = rows[i].dns});
        for (int by_policy = 0; by_policy < 2; by_policy++) {
            const char *name = fx_text(fx, "c%zu-%d", i, by_policy);
            demand(fx, by_policy ? &p : &(struct cs_policy){0});
            const struct cs_verdict *v = upload(fx, by_policy ? free : bound, name, c);
            enum cs_code code = by_policy ? CS_CODE_POLICY_DNS : CS_CODE_POLICY_AGENT_DNS;
            if (v->code != (rows[i].covered ? CS_CODE_NONE : code))
                fail_msg("%s %s: %s", rows[i].cn, rows[i].dns, cs_code_name(v->code));
            assert_string_equal(v->detail, rows[i].detail ? rows[i].detail : "");
        }
    }
    demand(fx, &(struct cs_policy){0});
    struct cs_event request = fx_csr(fx, "acme", bound, NULL, "r", fx_cert_key_only(fx, "P-256"));
    assert_applied(fx_send(fx, bound, &request)); // www.example.com
}

static void no_host(void **state) {
    struct fx *fx = *state;
    struct fx_key *by = fx_agent(fx, "acme", UPLOADS, "*");
    demand(fx, &(struct cs_policy){.dns = "**.example.com"});
    const struct fx_cert *c =
        fx_cert(fx, (struct fx_cert_how){.cn = "", .dns = "URI:https://a.example.com/"});
    const struct cs_verdict *v = upload(fx, by, "a", c);
    assert_rejected(v, POLICY_DNS);
    assert_string_equal(v->detail, "It names no host.");
}

static void wildcards(void **state) {
    struct fx *fx = *state;
    struct fx_key *by = fx_agent(fx, "acme", UPLOADS, "*");
    demand(fx, &(struct cs_policy){.no_wildcards = true});
    assert_applied(upload(fx, by, "a", fx_cert(fx, (struct fx_cert_how){0})));
    const struct cs_verdict *v =
        upload(fx, by, "b", fx_cert(fx, (struct fx_cert_how){.dns = "a.test,DNS:*.example.com"}));
    assert_rejected(v, POLICY_WILDCARD);
    assert_string_equal(v->detail, "A wildcard: *.example.com");
}

// More names than the catalog lists are looked at all the same.
static void the_last_of_many_names(void **state) {
    struct fx *fx = *state;
    struct fx_key *by = fx_agent(fx, "acme", UPLOADS, "*");
    char names[8192] = "n0.example.com";
    demand(fx, &(struct cs_policy){.dns = "*.example.com"});
    for (int i = 1; i <= CS_CERT_NAMES_MAX + 10; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), ",DNS:n%d.example.com", i);
    assert_applied(upload(fx, by, "a", fx_cert(fx, (struct fx_cert_how){.dns = names})));
    strcat(names, ",DNS:n.other.test");
    assert_rejected(upload(fx, by, "b", fx_cert(fx, (struct fx_cert_how){.dns = names})), POLICY_DNS);
}

static void what_is_there_stays(void **state) {
    struct fx *fx = *state;
    struct fx_key *by = fx_agent(fx, "acme", UPLOADS, "*");
    const struct fx_cert *old = fx_cert(fx, (struct fx_cert_how){0});
    const struct fx_cert *key = fx_cert_key_only(fx, "P-256");
    struct cs_event request = fx_csr(fx, "acme", by, NULL, "r", key);
    assert_applied(fx_send(fx, by, &request));
    assert_applied(upload(fx, by, "a", old));
    demand(fx, &(struct cs_policy){.keys = keys("SM2", NULL),
                                   .days = 1,
                                   .issuers = "name:CN=Nobody",
                                   .dns = "a.test",
                                   .no_wildcards = true});
    assert_verdict(upload(fx, by, "a", old), APPLIED, UNCHANGED);
    struct cs_event tagged = fx_upload(fx, "acme", by, NULL, "a", old);
    tagged.data.upload.tags.len = 1;
    strcpy(tagged.data.upload.tags.tag[0], "kept");
    assert_applied(fx_send(fx, by, &tagged));
    struct cs_event again = fx_csr_of(fx, "acme", by, NULL, "r", key, request.data.csr.csr.bytes);
    assert_verdict(fx_send(fx, by, &again), APPLIED, UNCHANGED);
    // Under another name it is new.
    assert_rejected(upload(fx, by, "b", old), POLICY_KEY);
    // Nothing is demanded any more.
    demand(fx, &(struct cs_policy){0});
    assert_applied(upload(fx, by, "b", old));
}

static void a_member_replaces_only_itself(void **state) {
    struct fx *fx = *state;
    struct cs_account a;
    struct cs_err err;
    demand(fx, &(struct cs_policy){.days = 90, .dns = "*.example.com", .keys = keys("P-256", NULL)});
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_days = true;
    ev.data.account.policy.days = 30;
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_true(cs_account_decode(fx_doc(fx, "acme", "account/acme"), &a, &err));
    assert_int_equal(a.policy.days, 30);
    assert_string_equal(a.policy.dns, "*.example.com");
    assert_int_equal(a.policy.keys.types, 1u << CS_KEY_P256);
    ev = fx_event(fx, CS_EVENT_ACCOUNT_UPDATE, "acme", fx->admin, "acme");
    ev.data.account.has_dns = true; // an empty list
    assert_applied(fx_send(fx, fx->admin, &ev));
    assert_true(cs_account_decode(fx_doc(fx, "acme", "account/acme"), &a, &err));
    assert_string_equal(a.policy.dns, "");
    assert_int_equal(a.policy.days, 30);
}

// A key goes on with its patterns, and a token hands on nothing wider than its own and its grant's.
static void no_wider_key(void **state) {
    static const struct {
        const char *token, *grant, *asked;
        bool good;
    } rows[] = {
        {"", "", "", true},
        {"", "", "a.test", true},
        {"", "*.test", "a.test", true},
        {"", "*.test", "*.test", true},
        {"", "*.test", "", false},
        {"", "*.test", "**.test", false},
        {"", "*.test", "a.test\na.other", false},
        {"*.test", "", "", false},
        {"*.test", "", "a.test", true},
        {"*.test", "**.test", "a.b.test", false},
        {"**.test", "a.test", "b.test", false},
    };
    struct fx *fx = *state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct fx_key *token = fx_key_new(fx), *host = fx_key_new(fx);
        struct cs_event ev = fx_enroll(fx, "acme", fx->admin, token, CS_CAN_ENROLL, "*");
        ev.data.enroll.has_grant = true;
        ev.data.enroll.grant_can = UPLOADS;
        strcpy(ev.data.enroll.grant_names, "*");
        strcpy(ev.data.enroll.dns, rows[i].token);
        strcpy(ev.data.enroll.grant_dns, rows[i].grant);
        assert_applied(fx_send(fx, fx->admin, &ev));
        ev = fx_enroll(fx, "acme", token, host, UPLOADS, "*");
        strcpy(ev.data.enroll.dns, rows[i].asked);
        const struct cs_verdict *v = fx_send(fx, token, &ev);
        if (v->code != (rows[i].good ? CS_CODE_NONE : CS_CODE_EVENT_FORBIDDEN))
            fail_msg("row %zu: %s", i, cs_code_name(v->code));
    }
    struct fx_key *first = fx_key_new(fx), *next = fx_key_new(fx);
    struct cs_event ev = fx_enroll(fx, "acme", fx->admin, first, UPLOADS, "*");
    strcpy(ev.data.enroll.dns, "a.test");
    assert_applied(fx_send(fx, fx->admin, &ev));
    ev = fx_event(fx, CS_EVENT_AGENT_ROTATE, "acme", first, next->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(next->pub);
    assert_applied(fx_send(fx, first, &ev));
    assert_rejected(upload(fx, next, "a", fx_cert(fx, (struct fx_cert_how){0})), POLICY_AGENT_DNS);
    assert_applied(upload(fx, next, "a", fx_cert(fx, (struct fx_cert_how){.dns = "a.test"})));
}

// An issuer's certificates are held against the account's policy, too.
static void issued(void **state) {
    struct fx *fx = *state;
    demand(fx, &(struct cs_policy){.days = 1});
    struct cs_event ev = fx_issue(fx, "acme", NULL, "o", fx_cert(fx, (struct fx_cert_how){0}));
    assert_rejected(fx_send(fx, fx->issuer, &ev), POLICY_LIFETIME);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_keys),
        cmocka_unit_test(issuers),
        TEST(types_of_keys),
        TEST(lifetimes),
        TEST(who_issued),
        TEST(hosts),
        TEST(no_host),
        TEST(wildcards),
        TEST(the_last_of_many_names),
        TEST(what_is_there_stays),
        TEST(a_member_replaces_only_itself),
        TEST(no_wider_key),
        TEST(issued),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
