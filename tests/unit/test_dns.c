// SPDX-License-Identifier: Apache-2.0
//
// Patterns of hosts: their form, what they cover, what lies within what. Each table is the rule.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "certsync/model/dns.h"

#define LABEL_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"
#define NAME_253 LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_61
#define LABEL_61 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffg"

static void forms(void **state) {
    static const char *const valid[] = {
        "www.example.com",
        "*.example.com",
        "**.example.com",
        "localhost",
        "a",
        "*.com",
        "_dmarc.example",
        "xn--mnchen.test",
        "1.example",
        "1a",
        "IP:*",
        "IP:192.0.2.1",
        "IP:2001:db8::1",
        "a-b.c_d.example",
        LABEL_63,
        NAME_253,
        "0.0.0.a",
        "**." NAME_253,
        "IP:::1",
        "*.a",
        "IP:::",
        "IP:0.0.0.0",
    };
    static const char *const invalid[] = {
        "",
        "*",
        "**",
        "***.a",
        "*.",
        "**.",
        "*.*.a",
        "a.*.b",
        "w*.a",
        "*w.a",
        "a..b",
        ".a",
        "a.",
        "-a.b",
        "a-.b",
        "A.example",
        "a b",
        "m\xc3\xbcnchen",
        "a/b",
        "a:443",
        "192.0.2.1",
        "1",
        "a.1",
        "*.1",
        "IP:",
        "IP:1.2.3",
        "IP:1.2.3.4.5",
        "IP:01.2.3.4",
        "IP:2001:DB8::1",
        "IP:2001:db8:0::1",
        "IP:a.b",
        "ip:1.2.3.4",
        "IP:192.0.2.0/24",
        "IP:1.*",
        LABEL_63 "x",
        NAME_253 "x",
        "https://a.example",
        "a\nb",
        "**.*.a",
        "*.**.a",
        "@",
    };
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(valid); i++)
        if (!cs_dns_pattern_valid(valid[i], strlen(valid[i])))
            fail_msg("%s", valid[i]);
    for (size_t i = 0; i < CS_ARRAY_LEN(invalid); i++)
        if (cs_dns_pattern_valid(invalid[i], strlen(invalid[i])))
            fail_msg("%s", invalid[i]);
    assert_false(cs_dns_pattern_valid("a\0b", 3));
}

static void what_is_covered(void **state) {
    static const struct {
        const char *patterns, *name;
        bool covered;
    } rows[] = {
        {"www.example.com", "www.example.com", true},
        {"www.example.com", "WWW.Example.COM", true},
        {"www.example.com", "www.example.co", false},
        {"www.example.com", "xwww.example.com", false},
        {"www.example.com", "a.www.example.com", false},
        {"www.example.com", "www.example.com.", false},
        {"www.example.com", "*.example.com", false},
        {"www.example.com", "w*.example.com", false},
        {"*.example.com", "www.example.com", true},
        {"*.example.com", "*.example.com", true},
        {"*.example.com", "w*.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", ".example.com", false},
        {"*.example.com", "a.b.example.com", false},
        {"*.example.com", "*.b.example.com", false},
        {"*.example.com", "www.example.com.", false},
        {"*.example.com", "wwwexample.com", false},
        {"*.example.com", "www.example.com.evil.test", false},
        {"*.example.com", "*.com", false},
        {"*.example.com", "a.*.example.com", false},
        {"**.example.com", "www.example.com", true},
        {"**.example.com", "a.b.c.example.com", true},
        {"**.example.com", "*.example.com", true},
        {"**.example.com", "*.b.example.com", true},
        {"**.example.com", "a.*.example.com", false},
        {"**.example.com", "a..example.com", false},
        {"**.example.com", "example.com", false},
        {"**.example.com", "notexample.com", false},
        {"**.com", "*.example.com", true},
        {"*.com", "*.com", true},
        {"*.com", "*.example.com", false},
        {"a.test\nb.test", "b.test", true},
        {"a.test\nb.test", "a.test", true},
        {"a.test\nb.test", "c.test", false},
        {"a.test\nb.test", "a.test\nb.test", false},
        {"*.a.test\n*.b.test", "*.b.test", true},
        {"xn--mnchen-3ya.test", "XN--MNCHEN-3YA.test", true},
        {"IP:192.0.2.1", "192.0.2.1", false},
        {"IP:*", "www.example.com", false},
        {"IP:*", "IP:1.2.3.4", false},
        {"a.test", "", false},
        {"*.test", "*", false},
        {"**.test", "*.", false},
        {"", "a.test", false},
    };
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        if (cs_dns_covers(rows[i].patterns, rows[i].name) != rows[i].covered)
            fail_msg("%s: %s", rows[i].patterns, rows[i].name);
    assert_true(cs_dns_covers_address("a.test\nIP:192.0.2.1", "192.0.2.1"));
    assert_false(cs_dns_covers_address("IP:192.0.2.1", "192.0.2.10"));
    assert_false(cs_dns_covers_address("IP:192.0.2.10", "192.0.2.1"));
    assert_true(cs_dns_covers_address("IP:*", "2001:db8::1"));
    assert_true(cs_dns_covers_address("IP:2001:db8::1", "2001:db8::1"));
    assert_false(cs_dns_covers_address("**.test\n1.test", "192.0.2.1"));
}

static void what_lies_within(void **state) {
    static const struct {
        const char *inner, *outer;
        bool within;
    } rows[] = {
        {"", "", true},
        {"a.test", "", true},
        {"", "a.test", false},
        {"a.test", "a.test", true},
        {"a.test", "*.test", true},
        {"*.test", "a.test", false},
        {"*.test", "*.test", true},
        {"*.test", "**.test", true},
        {"**.test", "*.test", false},
        {"**.test", "**.test", true},
        {"**.a.test", "**.test", true},
        {"*.a.test", "**.test", true},
        {"*.a.test", "*.test", false},
        {"**.test", "**.a.test", false},
        {"**.xa.test", "**.a.test", false},
        {"**.a.test", "*.test\na.test", false},
        {"a.test\nb.test", "*.test", true},
        {"a.test\nb.other", "*.test", false},
        {"IP:192.0.2.1", "IP:*", true},
        {"IP:*", "IP:192.0.2.1", false},
        {"IP:*", "IP:*", true},
        {"IP:*", "**.test", false},
        {"IP:192.0.2.1", "IP:192.0.2.1", true},
    };
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        if (cs_dns_within(rows[i].inner, rows[i].outer) != rows[i].within)
            fail_msg("%s in %s", rows[i].inner, rows[i].outer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(what_is_covered),
        cmocka_unit_test(what_lies_within),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
