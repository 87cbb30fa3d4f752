// SPDX-License-Identifier: Apache-2.0
//
// Notices: which follow from an outcome, their ids, their form, who wants them; signatures of webhooks;
// addresses; distances.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <time.h>

#include "fetch/address.h"
#include "notify/courier_internal.h"
#include "notify/webhook.h"

struct seen {
    size_t len;
    struct cs_notice all[8];
};

static void see(void *arg, const struct cs_notice *n) {
    struct seen *s = arg;
    assert_true(s->len < CS_ARRAY_LEN(s->all));
    s->all[s->len++] = *n;
}

static struct cs_crypto *crypto;

static int setup(void **state) {
    struct cs_err err;
    (void)state;
    return cs_crypto_new(&crypto, &err) ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    cs_crypto_free(crypto);
    return 0;
}

static struct cs_outcome outcome(enum cs_event_type type, enum cs_status status, enum cs_code code) {
    return (struct cs_outcome){.n = 7,
                               .log_id = "prod_1a2b3c4d",
                               .type = type,
                               .account = "acme",
                               .kid = "0123456789abcdef0123456789abcdef",
                               .event = "01a22da4-d1a6-7c85-90db-d7a1b88d7dd2",
                               .partition = 3,
                               .time_ms = 1796062071310,
                               .verdict = {.status = status,
                                           .code = code,
                                           .name = "www",
                                           .label = "web-1",
                                           .subject = "01a22da4-d1a6-7c85-90db-d7a1b88d7dd3",
                                           .version = 2}};
}

// The kinds that an outcome makes, as text with a blank behind each.
static const char *kinds_of(const struct cs_outcome *o, char out[200]) {
    struct seen s = {0};
    size_t at = 0;
    out[0] = '\0';
    cs_notices_of_outcome(crypto, o, see, &s);
    for (size_t i = 0; i < s.len; i++)
        at += (size_t)snprintf(out + at, 200 - at, "%s ", cs_notice_kind_name(s.all[i].kind));
    return out;
}

static void which_outcomes_are_told(void **state) {
    static const struct {
        enum cs_event_type type;
        enum cs_status status;
        enum cs_code code;
        const char *kinds;
    } cases[] = {
        {CS_EVENT_CERTIFICATE_DELETE, CS_STATUS_APPLIED, CS_CODE_NONE, "certificate.deleted "},
        {CS_EVENT_CERTIFICATE_DELETE, CS_STATUS_DUPLICATE, CS_CODE_NONE, ""},
        {CS_EVENT_CERTIFICATE_DELETE, CS_STATUS_REJECTED, CS_CODE_EVENT_FORBIDDEN, "event.refused "},
        {CS_EVENT_CERTIFICATE_UPLOAD, CS_STATUS_APPLIED, CS_CODE_NONE, ""},
        {CS_EVENT_CERTIFICATE_UPLOAD, CS_STATUS_REJECTED, CS_CODE_EVENT_REVOKED_SIGNER, "event.refused "},
        // Nobody proved to have sent these, or anybody may copy them.
        {CS_EVENT_CERTIFICATE_UPLOAD, CS_STATUS_REJECTED, CS_CODE_EVENT_UNKNOWN_SIGNER, ""},
        {CS_EVENT_CERTIFICATE_UPLOAD, CS_STATUS_REJECTED, CS_CODE_EVENT_BAD_SIGNATURE, ""},
        {CS_EVENT_NONE, CS_STATUS_REJECTED, CS_CODE_EVENT_MALFORMED, ""},
        {CS_EVENT_CERTIFICATE_UPLOAD, CS_STATUS_REJECTED, CS_CODE_EVENT_REPLAYED, ""},
        {CS_EVENT_CERTIFICATE_SHARE, CS_STATUS_PENDING, CS_CODE_NONE, ""},
        {CS_EVENT_CERTIFICATE_UNSHARE, CS_STATUS_APPLIED, CS_CODE_NONE, "share.ended "},
        {CS_EVENT_SHARE_OFFER, CS_STATUS_APPLIED, CS_CODE_NONE, "share.received "},
        {CS_EVENT_SHARE_OFFER, CS_STATUS_APPLIED, CS_CODE_SHARE_CLOSED, ""},
        {CS_EVENT_SHARE_OFFER, CS_STATUS_REJECTED, CS_CODE_EVENT_FORBIDDEN, ""},
        {CS_EVENT_SHARE_WITHDRAW, CS_STATUS_APPLIED, CS_CODE_NONE, "share.ended "},
        {CS_EVENT_SHARE_WITHDRAW, CS_STATUS_APPLIED, CS_CODE_SHARE_CLOSED, ""},
        {CS_EVENT_SHARE_ANSWER, CS_STATUS_APPLIED, CS_CODE_NONE, ""},
    };
    char out[200];
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_outcome o = outcome(cases[i].type, cases[i].status, cases[i].code);
        assert_string_equal(kinds_of(&o, out), cases[i].kinds);
    }
}

static void conclusions_are_told_each(void **state) {
    struct cs_conclusion ends[] = {
        {.event = "01a22da4-d1a6-7c85-90db-d7a1b88d7dd4", .status = CS_STATUS_APPLIED},
        {.event = "01a22da4-d1a6-7c85-90db-d7a1b88d7dd5",
         .status = CS_STATUS_REJECTED,
         .code = CS_CODE_SHARE_SITE}};
    struct cs_outcome o = outcome(CS_EVENT_SHARE_ANSWER, CS_STATUS_APPLIED, CS_CODE_NONE);
    struct seen s = {0};
    (void)state;
    o.verdict.concludes = ends;
    o.verdict.concludes_len = 2;
    cs_notices_of_outcome(crypto, &o, see, &s);
    assert_int_equal(s.len, 2);
    assert_int_equal(s.all[0].kind, CS_NOTICE_SHARED);
    assert_int_equal(s.all[1].kind, CS_NOTICE_SHARE_REFUSED);
    assert_string_equal(s.all[1].event, ends[1].event);
    assert_non_null(strstr(s.all[1].text, cs_code_sentence(CS_CODE_SHARE_SITE)));
    assert_string_not_equal(s.all[0].id, s.all[1].id);
}

static void an_id_follows_from_the_place(void **state) {
    struct cs_outcome o = outcome(CS_EVENT_CERTIFICATE_DELETE, CS_STATUS_APPLIED, CS_CODE_NONE);
    struct seen s = {0};
    (void)state;
    cs_notices_of_outcome(crypto, &o, see, &s);
    o.verdict.name[0] = 'x'; // what it says is no part of it
    cs_notices_of_outcome(crypto, &o, see, &s);
    o.n = 8;
    cs_notices_of_outcome(crypto, &o, see, &s);
    o.n = 7;
    o.partition = 2;
    cs_notices_of_outcome(crypto, &o, see, &s);
    memcpy(o.log_id, "prod_ffffffff", sizeof "prod_ffffffff");
    cs_notices_of_outcome(crypto, &o, see, &s);
    assert_string_equal(s.all[0].id, s.all[1].id);
    for (size_t i = 1; i < s.len; i++)
        for (size_t k = i + 1; k < s.len; k++)
            assert_string_not_equal(s.all[i].id, s.all[k].id);
    assert_true(cs_uuid_valid(s.all[0].id, strlen(s.all[0].id)));
}

static void the_form(void **state) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    struct cs_outcome o = outcome(CS_EVENT_CERTIFICATE_DELETE, CS_STATUS_REJECTED, CS_CODE_EVENT_FORBIDDEN);
    struct seen s = {0};
    char expected[1500];
    (void)state;
    cs_buf_init(&b, 4096);
    cs_notices_of_outcome(crypto, &o, see, &s);
    cs_notice_encode(&b, o.log_id, &s.all[0]);
    snprintf(
        expected, sizeof expected,
        "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"//prod_1a2b3c4d/partitions/3\","
        "\"type\":\"certsync.notice.event.refused.v1\",\"subject\":\"01a22da4-d1a6-7c85-90db-d7a1b88d7dd3\","
        "\"time\":\"2026-11-30T18:07:51.310Z\",\"datacontenttype\":\"application/json\",\"data\":{\"text\":"
        "\"certificate.delete of www in account acme was refused, sent by web-1 "
        "(0123456789abcdef0123456789abcdef): %s\",\"account\":\"acme\",\"name\":\"www\",\"version\":2,"
        "\"event_type\":\"certsync.certificate.delete.v1\",\"event\":\"01a22da4-d1a6-7c85-90db-"
        "d7a1b88d7dd2\","
        "\"kid\":\"0123456789abcdef0123456789abcdef\",\"label\":\"web-1\",\"code\":\"event.forbidden\","
        "\"reason\":\"%s\",\"hint\":\"%s\",\"outcome\":7}}",
        s.all[0].id, cs_code_sentence(CS_CODE_EVENT_FORBIDDEN), cs_code_sentence(CS_CODE_EVENT_FORBIDDEN),
        cs_code_hint(CS_CODE_EVENT_FORBIDDEN));
    assert_string_equal((const char *)b.data, expected);
}

static void every_kind_can_be_asked_for(void **state) {
    (void)state;
    for (int k = 0; k < CS_NOTICE_KIND_COUNT; k++)
        assert_true(cs_settings_notice_word(cs_notice_kind_word((enum cs_notice_kind)k)));
    assert_false(cs_settings_notice_word(""));
    assert_false(cs_settings_notice_word("shar"));
    assert_false(cs_settings_notice_word("deletion, share"));
}

static void who_wants_it(void **state) {
    char on_[] = "deletion", billing[] = "billing-*", acme[] = "acme", com[] = "*.example.com";
    char *on[] = {on_}, *accounts[] = {billing, acme}, *names[] = {com};
    const struct cs_notice_settings s = {.on = {on, 1}, .accounts = {accounts, 2}, .names = {names, 1}};
    struct cs_notice n = {.kind = CS_NOTICE_DELETED, .account = "acme", .name = "www.example.com"};
    (void)state;
    assert_true(cs_notice_is_wanted(&s, &n));
    memcpy(n.account, "billing-eu", sizeof "billing-eu");
    assert_true(cs_notice_is_wanted(&s, &n));
    memcpy(n.account, "other", sizeof "other");
    assert_false(cs_notice_is_wanted(&s, &n));
    memcpy(n.account, "acme", sizeof "acme");
    memcpy(n.name, "www.example.org", sizeof "www.example.org");
    assert_false(cs_notice_is_wanted(&s, &n));
    n.name[0] = '\0';
    assert_true(cs_notice_is_wanted(&s, &n));
    n.kind = CS_NOTICE_REFUSED;
    assert_false(cs_notice_is_wanted(&s, &n));
}

// The example of the specification of Standard Webhooks.
static void a_signature_as_others_make_it(void **state) {
    static const char secret_text[] = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    static const char body[] = "{\"test\": 2432232314}";
    uint8_t secret[CS_WEBHOOK_SECRET_MAX];
    char signature[CS_WEBHOOK_SIGNATURE_SIZE];
    size_t len = 0;
    (void)state;
    assert_true(cs_webhook_secret(secret_text, sizeof secret_text - 1, secret, &len));
    assert_int_equal(len, 24);
    cs_webhook_sign((struct cs_bytes){secret, len}, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
                    (struct cs_bytes){(const uint8_t *)body, sizeof body - 1}, signature);
    assert_string_equal(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

static void secrets_that_are_none(void **state) {
    static const char *const bad[] = {"",
                                      "whsec_",
                                      "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                                      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
                                      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La", // 21 bytes
                                      "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa!w"};
    uint8_t secret[CS_WEBHOOK_SECRET_MAX];
    char long_one[6 + 92 + 1] = "whsec_"; // 69 bytes
    size_t len = 0;
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++)
        assert_false(cs_webhook_secret(bad[i], strlen(bad[i]), secret, &len));
    memset(long_one + 6, 'A', 92);
    assert_false(cs_webhook_secret(long_one, 6 + 92, secret, &len));
}

static void addresses(void **state) {
    static const struct {
        const char *text;
        bool is_public;
    } cases[] = {
        {"8.8.8.8", true},
        {"1.1.1.1", true},
        {"172.32.0.1", true},
        {"100.128.0.1", true},
        {"192.167.1.1", true},
        {"223.255.255.1", true},
        {"0.0.0.0", false},
        {"10.1.2.3", false},
        {"100.64.0.1", false},
        {"100.127.255.255", false},
        {"127.0.0.1", false},
        {"127.255.0.1", false},
        {"169.254.169.254", false},
        {"172.16.0.1", false},
        {"172.31.255.255", false},
        {"192.168.0.1", false},
        {"198.19.0.1", false},
        {"224.0.0.1", false},
        {"255.255.255.255", false},
        {"192.0.2.1", false},
        {"::1", false},
        {"::", false},
        {"fe80::1", false},
        {"fd00::1", false},
        {"ff02::1", false},
        {"2001:db8::1", false},
        {"2001::1", false},
        {"::ffff:127.0.0.1", false},
        {"::ffff:8.8.8.8", true},
        {"64:ff9b::10.0.0.1", false},
        {"64:ff9b::8.8.8.8", true},
        {"2002:7f00:1::", false},
        {"2002:808:808::", true},
        {"2606:4700::1111", true},
        {"2a00:1450::1", true},
        {"4000::1", false},
        {"64:ff9b:1::1", false},
    };
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct sockaddr_storage a = {0};
        struct sockaddr_in in = {.sin_family = AF_INET};
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
        if (inet_pton(AF_INET, cases[i].text, &in.sin_addr) == 1) {
            memcpy(&a, &in, sizeof in);
        } else {
            assert_int_equal(inet_pton(AF_INET6, cases[i].text, &in6.sin6_addr), 1);
            memcpy(&a, &in6, sizeof in6);
        }
        if (cs_address_is_public((const struct sockaddr *)&a) != cases[i].is_public)
            fail_msg("%s", cases[i].text);
    }
    assert_false(cs_address_is_public(&(struct sockaddr){.sa_family = AF_UNIX}));
}

static void distances_grow_to_a_limit(void **state) {
    const struct cs_consumer_settings s = {.notify_retry_first_ms = 5000, .notify_retry_longest_ms = 3600000};
    (void)state;
    assert_int_equal(cs_courier_distance(&s, 1), 5000);
    assert_int_equal(cs_courier_distance(&s, 2), 10000);
    assert_int_equal(cs_courier_distance(&s, 10), 2560000);
    assert_int_equal(cs_courier_distance(&s, 11), 3600000);
    assert_int_equal(cs_courier_distance(&s, INT64_MAX), 3600000);
}

// Berlin: the clocks are turned on 2026-10-25, so that day from noon to noon has 25 hours.
static void days_from_noon_to_noon(void **state) {
    static const struct {
        int64_t now_s, ends_s;
    } cases[] = {
        {1792835999, 1792836000}, // before noon of 2026-10-24
        {1792836000, 1792926000}, // at noon the next day begins
        {1792843200, 1792926000},
        {1792926000, 1793012400},
    };
    (void)state;
    assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
    tzset();
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++)
        assert_int_equal(cs_expiring_day_ends(cases[i].now_s), cases[i].ends_s);
}

static void what_ends_in_one_night_is_due_together(void **state) {
    const int64_t day_s = 86400, day_ms = day_s * 1000;
    const int64_t noon_s = 1792843200; // UTC
    (void)state;
    assert_int_equal(setenv("TZ", "UTC0", 1), 0);
    tzset();
    for (int64_t hour = 0; hour < 24; hour++) {
        int64_t ends_s = noon_s + 30 * day_s + hour * 3600;
        assert_true(cs_expiring_is_due(ends_s, 30 * day_ms, noon_s));
        assert_false(cs_expiring_is_due(ends_s, 30 * day_ms, noon_s - 1));
    }
    assert_false(cs_expiring_is_due(noon_s + 31 * day_s, 30 * day_ms, noon_s));
    // Hours are what they are; 0 is the end itself.
    assert_true(cs_expiring_is_due(noon_s + 6 * 3600, 6 * 3600000, noon_s));
    assert_false(cs_expiring_is_due(noon_s + 6 * 3600 + 1, 6 * 3600000, noon_s));
    assert_true(cs_expiring_is_due(noon_s, 0, noon_s));
    assert_false(cs_expiring_is_due(noon_s + 1, 0, noon_s));
}

static struct cs_bytes text_of(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static void a_mail(void **state) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    char subject[300];
    const struct cs_mail_line lines[] = {{"acme", text_of("One."), "1"},
                                         {"acme", text_of("Two\r\nBcc: x"), "2"},
                                         {"beta", text_of("Three."), "3"},
                                         {"", text_of("Four."), "4"}};
    (void)state;
    cs_buf_init(&b, 4096);
    cs_mail_text("prod_1a2b3c4d", lines, 4, &b);
    assert_string_equal(
        (const char *)b.data,
        "4 notices of the certsync log prod_1a2b3c4d.\r\n\r\nAccount acme (2)\r\n- One.\r\n- Two??Bcc: "
        "x\r\n\r\nAccount beta (1)\r\n- Three.\r\n\r\nThe log (1)\r\n- Four.\r\n\r\nWhat to do about a "
        "notice: certsync show NAME, certsync codes CODE.\r\n");
    cs_mail_subject("prod_1a2b3c4d", lines, 4, subject, sizeof subject);
    assert_string_equal(subject, "[certsync prod_1a2b3c4d] 4 notices");
    // Nothing of a notice becomes a header.
    cs_mail_subject("prod_1a2b3c4d", &lines[1], 1, subject, sizeof subject);
    assert_null(strpbrk(subject, "\r\n"));
}

static void addresses_of_mail(void **state) {
    char to[] = "mailto:ops@example.com, certs+{account}@example.com ,x@{account}.example", name[] = "n";
    const struct cs_notice_settings s = {.name = name, .to = to};
    char out[CS_NOTICE_ADDRESS_MAX + 1];
    (void)state;
    assert_true(cs_settings_notice_is_mail(&s));
    assert_true(cs_settings_notice_address(&s, 0, "acme", out));
    assert_string_equal(out, "ops@example.com");
    assert_true(cs_settings_notice_address(&s, 1, "acme", out));
    assert_string_equal(out, "certs+acme@example.com");
    assert_true(cs_settings_notice_address(&s, 2, "acme", out));
    assert_string_equal(out, "x@acme.example");
    assert_false(cs_settings_notice_address(&s, 3, "acme", out));
}

static void an_id_of_an_end(void **state) {
    struct cs_notice_expiry x = {"acme", "",         "01a22da4-d1a6-7c85-90db-d7a1b88d7dd3",
                                 "www",  1800000000, 3600000};
    struct cs_notice a, b;
    (void)state;
    cs_notice_of_expiry(crypto, "prod_1a2b3c4d", 3, &x, 1799990000000, &a);
    cs_notice_of_expiry(crypto, "prod_1a2b3c4d", 3, &x, 1799995000000, &b); // looked at later
    assert_string_equal(a.id, b.id);
    assert_string_equal(a.text, "Certificate www of account acme ends in 2 hours, at 2027-01-15T08:00:00Z.");
    x.ends_s++; // renewed
    cs_notice_of_expiry(crypto, "prod_1a2b3c4d", 3, &x, 1799990000000, &b);
    assert_string_not_equal(a.id, b.id);
    x.ends_s--;
    x.before_ms = 0;
    cs_notice_of_expiry(crypto, "prod_1a2b3c4d", 3, &x, 1800000001000, &b);
    assert_string_not_equal(a.id, b.id);
    assert_int_equal(b.kind, CS_NOTICE_EXPIRED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(which_outcomes_are_told),
        cmocka_unit_test(conclusions_are_told_each),
        cmocka_unit_test(an_id_follows_from_the_place),
        cmocka_unit_test(the_form),
        cmocka_unit_test(every_kind_can_be_asked_for),
        cmocka_unit_test(who_wants_it),
        cmocka_unit_test(a_signature_as_others_make_it),
        cmocka_unit_test(secrets_that_are_none),
        cmocka_unit_test(addresses),
        cmocka_unit_test(distances_grow_to_a_limit),
        cmocka_unit_test(days_from_noon_to_noon),
        cmocka_unit_test(what_ends_in_one_night_is_due_together),
        cmocka_unit_test(a_mail),
        cmocka_unit_test(addresses_of_mail),
        cmocka_unit_test(an_id_of_an_end),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
