// SPDX-License-Identifier: Apache-2.0
//
// What is remembered of verified tokens, and for how long.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/verified.h"

#define NOW 1795435200

struct one {
    uint8_t sha256[32];
    struct cs_token token;
    struct cs_spki key;
};

// In the set of that number; n tells one from another.
static struct one make(uint8_t set, uint32_t n, int64_t expires_s) {
    struct one o = {
        .sha256 = {set}, .token = {.issued_s = NOW - 10, .expires_s = expires_s}, .key = {.len = 91}};
    memcpy(o.sha256 + 1, &n, sizeof n);
    memcpy(o.key.data, &n, sizeof n);
    snprintf(o.token.kid, sizeof o.token.kid, "%032x", n);
    return o;
}

static void add(struct cs_verified *v, const struct one *o) {
    cs_verified_add(v, o->sha256, &o->token, &o->key, NOW);
}

static bool knows(const struct cs_verified *v, const struct one *o, int64_t now_s) {
    const struct cs_token *t = cs_verified_find(v, o->sha256, now_s);
    if (t)
        assert_string_equal(t->kid, o->token.kid);
    return t != NULL;
}

static struct cs_verified *new (void) {
    struct cs_verified *v = NULL;
    struct cs_err err;
    assert_true(cs_verified_new(&v, &err));
    return v;
}

static void test_time(void **state) {
    (void)state;
    CS_AUTO(cs_verified_free) struct cs_verified *v = new ();
    struct one o = make(7, 1, NOW + 120);
    assert_false(knows(v, &o, NOW));
    add(v, &o);
    assert_true(knows(v, &o, NOW));
    assert_true(knows(v, &o, NOW + 120 + CS_TOKEN_SKEW_S - 1));
    assert_false(knows(v, &o, NOW + 120 + CS_TOKEN_SKEW_S));
    assert_false(knows(v, &o, NOW - 1)); // the clock was set back
}

// A kid that has another key now; a part of a key; a token that was never added.
static void test_key(void **state) {
    (void)state;
    CS_AUTO(cs_verified_free) struct cs_verified *v = new ();
    struct one o = make(7, 1, NOW + 120), other = make(7, 2, NOW + 120);
    assert_false(cs_verified_by(v, o.sha256, &o.key));
    add(v, &o);
    assert_true(cs_verified_by(v, o.sha256, &o.key));
    assert_false(cs_verified_by(v, o.sha256, &other.key));
    assert_false(cs_verified_by(v, other.sha256, &o.key));
    struct cs_spki less = o.key, none = {0};
    less.len--;
    assert_false(cs_verified_by(v, o.sha256, &less));
    assert_false(cs_verified_by(v, other.sha256, &none));
    // It is read anew with the other key: only that one counts from then on.
    cs_verified_add(v, o.sha256, &o.token, &other.key, NOW);
    assert_true(cs_verified_by(v, o.sha256, &other.key));
    assert_false(cs_verified_by(v, o.sha256, &o.key));
}

static void test_full(void **state) {
    (void)state;
    CS_AUTO(cs_verified_free) struct cs_verified *v = new ();
    struct one all[CS_VERIFIED_WAYS + 1];
    for (uint32_t i = 0; i <= CS_VERIFIED_WAYS; i++) // the third ends first
        all[i] = make(7, i, i == 2 ? NOW + 50 : NOW + 100 + i);
    for (size_t i = 0; i < CS_VERIFIED_WAYS; i++)
        add(v, &all[i]);
    add(v, &all[0]); // again: takes no second place
    for (size_t i = 0; i < CS_VERIFIED_WAYS; i++)
        assert_true(knows(v, &all[i], NOW));
    add(v, &all[CS_VERIFIED_WAYS]);
    for (size_t i = 0; i <= CS_VERIFIED_WAYS; i++)
        assert_int_equal(knows(v, &all[i], NOW), i != 2);
    struct one elsewhere = make(8, 9, NOW + 300);
    add(v, &elsewhere);
    assert_true(knows(v, &elsewhere, NOW) && knows(v, &all[CS_VERIFIED_WAYS], NOW));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_key),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
