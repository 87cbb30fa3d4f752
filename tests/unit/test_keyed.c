// SPDX-License-Identifier: Apache-2.0
//
// What a working set is made of: the table by key, and memory that is given back at once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// cmocka.h needs those above
#include <cmocka.h>

#include "certsync/base/err.h"
#include "certsync/base/keyed.h"
#include "certsync/base/region.h"

#define ITEMS 5000

struct item {
    struct cs_keyed keyed;
    char key[24];
};

static void name(struct item *it, int i) {
    snprintf(it->key, sizeof it->key, "cert/a%d/%d", i % 7, i);
    it->keyed = cs_keyed_of(it->key);
}

static void what_was_added_is_found(void **state) {
    (void)state;
    struct cs_keyed_table t = {0};
    struct item *items = calloc(ITEMS, sizeof *items), other;
    assert_non_null(items);
    for (int round = 0; round < 2; round++) { // the second one in memory that was used before
        for (int i = 0; i < ITEMS; i++) {
            name(&items[i], i);
            assert_null(cs_keyed_find(&t, &items[i].keyed));
            assert_true(cs_keyed_add(&t, &items[i].keyed));
        }
        for (int i = 0; i < ITEMS; i++) {
            name(&other, i); // the same key in another place
            assert_ptr_equal(cs_keyed_find(&t, &other.keyed), &items[i].keyed);
            assert_ptr_equal(t.items[i], &items[i].keyed);
        }
        name(&other, ITEMS);
        assert_null(cs_keyed_find(&t, &other.keyed));
        assert_int_equal(t.len, ITEMS);
        cs_keyed_empty(&t);
        assert_int_equal(t.len, 0);
    }
    cs_keyed_free(&t);
    free(items);
}

static void equal_hashes_are_told_apart(void **state) {
    (void)state;
    struct cs_keyed_table t = {0};
    struct cs_keyed a = {"a", 1, 7, 0}, b = {"b", 1, 7, 0}, longer = {"aa", 2, 7, 0}, c = {"c", 1, 7, 0};
    assert_true(cs_keyed_add(&t, &a) && cs_keyed_add(&t, &b) && cs_keyed_add(&t, &longer));
    assert_ptr_equal(cs_keyed_find(&t, &a), &a);
    assert_ptr_equal(cs_keyed_find(&t, &b), &b);
    assert_ptr_equal(cs_keyed_find(&t, &longer), &longer);
    assert_null(cs_keyed_find(&t, &c));
    cs_keyed_free(&t);
}

// Few items in a small table, their hashes close together: runs are long, and go around its end.
static void what_was_removed_is_gone_and_the_rest_found(void **state) {
    (void)state;
    enum { N = 24 };
    struct cs_keyed_table t = {0};
    struct item items[N];
    bool there[N] = {false};
    uint32_t seed = 1;
    size_t n = 0, most = 0;
    for (int i = 0; i < N; i++) {
        name(&items[i], i);
        items[i].keyed.hash = (uint32_t)(-6 + i / 3); // of -6 to 1, three each
    }
    for (int step = 0; step < 200000; step++) {
        seed = seed * 1664525 + 1013904223;
        size_t k = (seed >> 16) % N;
        if (there[k])
            cs_keyed_remove(&t, &items[k].keyed);
        else
            assert_true(cs_keyed_add(&t, &items[k].keyed));
        there[k] = !there[k];
        n = there[k] ? n + 1 : n - 1;
        most = n > most ? n : most;
        assert_int_equal(t.len, n);
        for (size_t i = 0; i < N; i++)
            assert_ptr_equal(cs_keyed_find(&t, &items[i].keyed), there[i] ? &items[i].keyed : NULL);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(t.items[i]->at, i);
    }
    assert_true(most > N * 3 / 4); // it grew in between
    cs_keyed_free(&t);
}

static void memory_is_apart_and_aligned(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 7, 16, 100, 4000, 60000, 70000, 1, 200000, 3};
    struct cs_region r = {0};
    uint8_t *taken[CS_ARRAY_LEN(sizes)];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < CS_ARRAY_LEN(sizes); i++) {
            taken[i] = cs_region_take(&r, sizes[i]);
            assert_non_null(taken[i]);
            assert_int_equal((uintptr_t)taken[i] % _Alignof(max_align_t), 0);
            memset(taken[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < CS_ARRAY_LEN(sizes); i++)
            for (size_t at = 0; at < sizes[i]; at++)
                assert_int_equal(taken[i][at], i + 1);
        cs_region_reset(&r);
    }
    assert_null(cs_region_take(&r, SIZE_MAX));
    assert_null(cs_region_take(&r, SIZE_MAX - 64));
    assert_non_null(cs_region_take(&r, 1));
    cs_region_free(&r);
    static const uint8_t zeros[100];
    uint8_t *heap = cs_region_take_zeroed(NULL, sizeof zeros);
    assert_non_null(heap);
    assert_memory_equal(heap, zeros, sizeof zeros);
    free(heap);
}

static void memory_is_used_again(void **state) {
    (void)state;
    struct cs_region r = {0};
    const void *first = cs_region_take(&r, 100);
    assert_non_null(cs_region_take(&r, (size_t)64 * 1024 * 1024)); // more than is kept
    cs_region_reset(&r);
    const void *again = cs_region_take(&r, 100);
#ifndef __SANITIZE_ADDRESS__ // see region.c
    assert_ptr_equal(again, first);
#endif
    assert_non_null(first);
    assert_non_null(again);
    cs_region_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_found),
        cmocka_unit_test(equal_hashes_are_told_apart),
        cmocka_unit_test(what_was_removed_is_gone_and_the_rest_found),
        cmocka_unit_test(memory_is_apart_and_aligned),
        cmocka_unit_test(memory_is_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
