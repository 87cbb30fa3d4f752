// SPDX-License-Identifier: Apache-2.0
//
// Which witnesses are known, and until when.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "api/known.h"

#define NOW 5000

static struct cs_place place_of(uint32_t set, uint32_t n) {
    struct cs_place p = {.bucket = (uint8_t)n};
    memcpy(p.name, &set, sizeof set);
    memcpy(p.name + sizeof set, &n, sizeof n);
    return p;
}

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static struct api_known *new (void) {
    struct api_known *k = NULL;
    struct cs_err err;
    assert_true(api_known_new(&k, &err));
    return k;
}

// A stand, a partition and a place that are not the same, and what is absent.
static void test_what(void **state) {
    (void)state;
    CS_AUTO(api_known_free) struct api_known *k = new ();
    struct cs_place one = place_of(5, 1), two = place_of(5, 2);
    struct cs_bytes found;
    assert_false(api_known_find(k, 0, 1, &one, NOW, &found));
    api_known_put(k, 0, 1, &one, NOW, text("abcdef"));
    api_known_put(k, 0, 1, &two, NOW, (struct cs_bytes){0});
    assert_true(api_known_find(k, 0, 1, &one, NOW, &found));
    assert_true(cs_bytes_equal(found, text("abcdef")));
    assert_true(api_known_find(k, 0, 1, &two, NOW, &found));
    assert_null(found.data);
    assert_false(api_known_find(k, 1, 1, &one, NOW, &found));
    assert_false(api_known_find(k, 0, 2, &one, NOW, &found));
    struct cs_place other_bucket = one;
    other_bucket.bucket++;
    assert_false(api_known_find(k, 0, 1, &other_bucket, NOW, &found));
    api_known_put(k, 0, 2, &one, NOW, text("-12345678901234567890")); // longer than any number
    assert_false(api_known_find(k, 0, 2, &one, NOW, &found));
    api_known_put(k, 0, 2, &one, NOW, text("12345678901234567890"));
    assert_true(api_known_find(k, 0, 2, &one, NOW, &found));
    assert_int_equal(found.len, 20);
    assert_false(api_known_find(k, 0, 1, &one, NOW, &found)); // it was replaced
}

// What is old is asked for by one question alone, and its answer makes it new.
static void test_age(void **state) {
    (void)state;
    CS_AUTO(api_known_free) struct api_known *k = new ();
    struct cs_place one = place_of(5, 1);
    struct cs_bytes found;
    const int64_t later = NOW + API_KNOWN_MS;
    api_known_put(k, 0, 1, &one, NOW, text("abcdef"));
    assert_true(api_known_find(k, 0, 1, &one, later - 1, &found));
    assert_false(api_known_find(k, 0, 1, &one, later, &found));
    assert_true(api_known_find(k, 0, 1, &one, later, &found));
    assert_true(api_known_recall(k, 0, 1, &one, &found));
    assert_true(cs_bytes_equal(found, text("abcdef")));
    assert_false(api_known_recall(k, 0, 2, &one, &found));
    // Its answer did not come: the next one asks.
    assert_false(api_known_find(k, 0, 1, &one, later + API_KNOWN_MS, &found));
    api_known_put(k, 0, 1, &one, later + API_KNOWN_MS + 5, text("ghijkl"));
    assert_true(api_known_find(k, 0, 1, &one, later + 2 * API_KNOWN_MS, &found));
    assert_true(cs_bytes_equal(found, text("ghijkl")));
}

// What is of an earlier stand goes first; then one makes place for another.
static void test_full(void **state) {
    (void)state;
    CS_AUTO(api_known_free) struct api_known *k = new ();
    struct cs_place all[API_KNOWN_WAYS + 2];
    struct cs_bytes found;
    for (uint32_t i = 0; i < CS_ARRAY_LEN(all); i++)
        all[i] = place_of(5 + i * API_KNOWN_SETS, i); // of one set
    for (size_t i = 0; i < API_KNOWN_WAYS; i++)
        api_known_put(k, 3, i == 1 ? 7 : 8, &all[i], NOW, text("x"));
    api_known_put(k, 3, 8, &all[API_KNOWN_WAYS], NOW, text("y"));
    assert_false(api_known_find(k, 3, 7, &all[1], NOW, &found));
    for (size_t i = 0; i <= API_KNOWN_WAYS; i++)
        assert_int_equal(api_known_find(k, 3, 8, &all[i], NOW, &found), i != 1);
    api_known_put(k, 4, 1, &all[API_KNOWN_WAYS + 1], NOW,
                  text("z")); // another partition's stand says nothing
    assert_true(api_known_find(k, 4, 1, &all[API_KNOWN_WAYS + 1], NOW, &found));
    size_t left = 0;
    for (size_t i = 0; i <= API_KNOWN_WAYS; i++)
        left += api_known_find(k, 3, 8, &all[i], NOW, &found);
    assert_int_equal(left, API_KNOWN_WAYS - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what), cmocka_unit_test(test_age),
                                       cmocka_unit_test(test_full)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
