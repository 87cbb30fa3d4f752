// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"

// Under a sanitizer, too, malloc says no where it has not so much.
const char *__asan_default_options(void);
const char *__tsan_default_options(void);
const char *__asan_default_options(void) {
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void) {
    return "allocator_may_return_null=1";
}

struct odd { // of a size that is no power of two
    char bytes[7];
};

struct list {
    int *items;
    size_t len, cap;
};

static void items_stay_and_room_doubles(void **state) {
    (void)state;
    struct list l = {0};
    size_t moved = 0;
    for (int i = 0; i < 5000; i++) {
        size_t before = l.cap;
        assert_true(CS_GROW(&l.items, &l.cap, l.len + 1));
        assert_true(l.cap > l.len);
        moved += l.cap != before;
        l.items[l.len++] = i;
    }
    for (int i = 0; i < 5000; i++)
        assert_int_equal(l.items[i], i);
    assert_true(moved < 12);
    free(l.items);
}

static void many_at_once(void **state) {
    (void)state;
    struct odd *items = NULL;
    size_t cap = 0;
    assert_true(CS_GROW(&items, &cap, 0));
    assert_null(items); // nothing was asked for
    assert_true(CS_GROW(&items, &cap, 1001));
    assert_true(cap >= 1001);
    memset(items, 0x55, cap * sizeof *items); // a sanitizer sees room that is not there
    struct odd *there = items;
    size_t was = cap;
    assert_true(CS_GROW(&items, &cap, 1) && CS_GROW(&items, &cap, cap));
    assert_ptr_equal(items, there);
    assert_int_equal(cap, was);
    free(items);
}

static void items_may_be_pointers_and_arrays(void **state) {
    (void)state;
    const char **texts = NULL;
    uint8_t(*hashes)[32] = NULL;
    size_t texts_cap = 0, hashes_cap = 0;
    for (size_t i = 0; i < 100; i++) {
        assert_true(CS_GROW(&texts, &texts_cap, i + 1) && CS_GROW(&hashes, &hashes_cap, i + 1));
        texts[i] = i % 2 ? "odd" : "even";
        memset(hashes[i], (int)i, sizeof hashes[i]);
    }
    assert_string_equal(texts[7], "odd");
    assert_int_equal(hashes[99][31], 99);
    free(texts);
    free(hashes);
}

static void only_new_room_is_zeroed(void **state) {
    (void)state;
    struct odd *items = NULL;
    size_t cap = 0;
    for (size_t want = 3; want < 3000; want *= 3) {
        size_t before = cap;
        assert_true(CS_GROW_ZEROED(&items, &cap, want));
        for (size_t i = 0; i < cap; i++)
            for (size_t k = 0; k < sizeof *items; k++)
                assert_int_equal(items[i].bytes[k], i < before ? 0x55 : 0);
        memset(items, 0x55, cap * sizeof *items);
    }
    free(items);
}

static void what_cannot_be_had_changes_nothing(void **state) {
    (void)state;
    uint64_t *items = NULL;
    size_t cap = 0;
    assert_true(CS_GROW(&items, &cap, 10));
    items[9] = 7;
    const size_t wants[] = {
        SIZE_MAX,                     // times 8 is above a size_t
        SIZE_MAX / sizeof *items + 1, // wraps to 0 bytes
        SIZE_MAX / sizeof *items + 2, // wraps to 8 bytes
        SIZE_MAX / sizeof *items,     // no wrap, and more than malloc gives
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(wants); i++) {
        uint64_t *there = items;
        size_t was = cap;
        assert_false(CS_GROW(&items, &cap, wants[i]));
        assert_false(CS_GROW_ZEROED(&items, &cap, wants[i]));
        assert_ptr_equal(items, there);
        assert_int_equal(cap, was);
        assert_int_equal(items[9], 7);
    }
    // Twice the room would wrap: it is not what is asked malloc for.
    size_t large = SIZE_MAX / sizeof *items - 1;
    cap = large;
    assert_false(CS_GROW(&items, &cap, large + 1));
    assert_int_equal(cap, large);
    free(items);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_stay_and_room_doubles),        cmocka_unit_test(many_at_once),
        cmocka_unit_test(items_may_be_pointers_and_arrays),   cmocka_unit_test(only_new_room_is_zeroed),
        cmocka_unit_test(what_cannot_be_had_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
