// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/buf.h"
#include "certsync/model/state.h"

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static struct cs_state *make(bool complete) {
    struct cs_err err;
    struct cs_state *s = NULL;
    assert_true(cs_state_new(complete, &s, &err));
    return s;
}

static void keep(struct cs_state *s) {
    struct cs_err err;
    assert_true(cs_state_keep(s, &err));
}

static void fill(struct cs_state *s, const char *key, const char *value) {
    struct cs_err err;
    assert_true(cs_state_fill(s, key, value ? text(value) : (struct cs_bytes){NULL, 0}, &err));
}

static void assert_doc(struct cs_state *s, const char *key, const char *expected) {
    struct cs_bytes v;
    assert_int_equal(cs_state_get(s, key, &v), expected ? CS_FOUND : CS_ABSENT);
    if (expected) {
        assert_int_equal(v.len, strlen(expected));
        assert_memory_equal(v.data, expected, v.len);
    }
}

// Members as "name:score name:score".
static void assert_list(struct cs_state *s, const char *key, const char *expected) {
    const struct cs_member *m = NULL;
    size_t n = 0;
    assert_int_equal(cs_state_list(s, key, &m, &n), *expected ? CS_FOUND : CS_ABSENT);
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_buf_puts(&b, "");
    for (size_t i = 0; i < n; i++)
        cs_buf_printf(&b, "%s%s:%" PRId64, i ? " " : "", m[i].name, m[i].score);
    assert_string_equal(b.data ? (const char *)b.data : "", expected);
    cs_buf_clear(&b);
}

static bool print_change(void *arg, const struct cs_change *c) {
    struct cs_buf *b = arg;
    switch (c->kind) {
    case CS_CHANGE_PUT:
        cs_buf_printf(b, "put %s=%.*s\n", c->key, (int)c->value.len, (const char *)c->value.data);
        break;
    case CS_CHANGE_DELETE:
        cs_buf_printf(b, "delete %s\n", c->key);
        break;
    case CS_CHANGE_ADD:
        cs_buf_printf(b, "add %s %s %" PRId64 "\n", c->key, c->member, c->score);
        break;
    case CS_CHANGE_REMOVE:
        cs_buf_printf(b, "remove %s %s\n", c->key, c->member);
        break;
    case CS_CHANGE_TRIM:
        cs_buf_printf(b, "trim %s %zu\n", c->key, c->keep);
        break;
    }
    return true;
}

static void assert_changes(struct cs_state *s, const char *expected) {
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    assert_true(cs_state_changes(s, print_change, &b));
    assert_string_equal(b.data ? (const char *)b.data : "", expected);
    size_t lines = 0;
    for (const char *p = expected; *p; p++)
        lines += *p == '\n';
    assert_int_equal(cs_state_changes_count(s), lines);
    cs_buf_clear(&b);
}

static void complete_knows_what_is_absent(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(true);
    assert_doc(s, "a", NULL);
    assert_list(s, "i", "");
    int64_t score = 0;
    assert_int_equal(cs_state_member(s, "i", "m", &score), CS_ABSENT);
    const struct cs_needed *needed = NULL;
    assert_int_equal(cs_state_needed(s, &needed), 0);
}

static void incomplete_notes_once_in_order(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    struct cs_bytes v;
    const struct cs_member *m = NULL;
    size_t n = 0;
    int64_t score = 0;
    assert_int_equal(cs_state_get(s, "b", &v), CS_NEEDED);
    assert_int_equal(cs_state_list(s, "i", &m, &n), CS_NEEDED);
    assert_int_equal(cs_state_get(s, "a", &v), CS_NEEDED);
    assert_int_equal(cs_state_get(s, "b", &v), CS_NEEDED);
    assert_int_equal(cs_state_member(s, "i", "m", &score), CS_NEEDED);
    const struct cs_needed *needed = NULL;
    assert_int_equal(cs_state_needed(s, &needed), 3);
    assert_string_equal(needed[0].key, "b");
    assert_false(needed[0].index);
    assert_string_equal(needed[1].key, "i");
    assert_true(needed[1].index);
    assert_string_equal(needed[2].key, "a");
    cs_state_needed_clear(s);
    assert_int_equal(cs_state_needed(s, &needed), 0);
    assert_int_equal(cs_state_get(s, "b", &v), CS_NEEDED);
    assert_int_equal(cs_state_needed(s, &needed), 1);

    struct cs_err err;
    fill(s, "b", "1");
    fill(s, "a", NULL);
    assert_true(cs_state_fill_index(
        s, "i", (const struct cs_member[]){{"z", 1}, {"y", 1}, {"x", 2}, {"w", 0}}, 4, &err));
    assert_doc(s, "b", "1");
    assert_doc(s, "a", NULL);
    assert_list(s, "i", "w:0 y:1 z:1 x:2");
    assert_int_equal(cs_state_member(s, "i", "x", &score), CS_FOUND);
    assert_int_equal(score, 2);
    assert_changes(s, ""); // loading is no change
}

static void staged_is_seen_then_kept_or_dropped(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(true);
    cs_state_begin(s);
    cs_state_put(s, "a", text("1"));
    cs_state_put(s, "gone", text("x"));
    cs_state_add(s, "i", "m", 5);
    cs_state_add(s, "i", "n", 4);
    assert_doc(s, "a", "1");
    keep(s);
    cs_state_begin(s);
    cs_state_put(s, "a", text("2"));
    cs_state_put(s, "a", text("3"));
    cs_state_delete(s, "gone");
    cs_state_put(s, "new", text("n"));
    cs_state_add(s, "i", "m", 1);
    cs_state_remove(s, "i", "n");
    cs_state_add(s, "i", "o", 9);
    cs_state_trim(s, "i", 1);
    cs_state_add(s, "j", "m", 1);
    assert_doc(s, "a", "3");
    assert_doc(s, "gone", NULL);
    assert_list(s, "i", "o:9");
    cs_state_drop(s);
    assert_doc(s, "a", "1");
    assert_doc(s, "gone", "x");
    assert_doc(s, "new", NULL);
    assert_list(s, "i", "n:4 m:5");
    assert_list(s, "j", "");
    assert_changes(s, "put a=1\nput gone=x\nadd i m 5\nadd i n 4\n");
}

static void changes_are_net_and_in_order(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    for (int i = 0; i < 2; i++) {
        cs_state_begin(s);
        cs_state_put(s, "b", text(i ? "2" : "1"));
        cs_state_put(s, "a", text("1"));
        if (i)
            cs_state_delete(s, "a");
        cs_state_add(s, "i", i ? "n" : "m", i);
        cs_state_remove(s, "j", "m");
        cs_state_trim(s, "i", 8);
        keep(s);
    }
    // The trims are merged; everything else stands as it was made.
    assert_changes(s, "put b=2\ndelete a\nadd i m 0\nremove j m\nadd i n 1\nremove j m\ntrim i 8\n");
    cs_state_changes_clear(s);
    assert_changes(s, "");
    assert_doc(s, "b", "2");
}

static void trims_merge_only_over_rising_adds(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    cs_state_begin(s);
    cs_state_trim(s, "removed", 2);
    cs_state_remove(s, "removed", "m");
    cs_state_trim(s, "removed", 2);
    cs_state_trim(s, "falling", 2);
    cs_state_add(s, "falling", "a", 9);
    cs_state_add(s, "falling", "b", 3);
    cs_state_trim(s, "falling", 2);
    cs_state_trim(s, "other", 2);
    cs_state_trim(s, "other", 3);
    cs_state_trim(s, "many", 2);
    cs_state_trim(s, "many", 2);
    cs_state_add(s, "many", "a", 1);
    cs_state_add(s, "many", "b", 1);
    cs_state_trim(s, "many", 2);
    keep(s);
    assert_changes(s, "trim removed 2\nremove removed m\ntrim removed 2\n"
                      "trim falling 2\nadd falling a 9\nadd falling b 3\ntrim falling 2\n"
                      "trim other 2\ntrim other 3\nadd many a 1\nadd many b 1\ntrim many 2\n");
}

static void idle_writes_to_a_known_index_are_no_change(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    assert_true(cs_state_fill_index(s, "i", (const struct cs_member[]){{"m", 1}}, 1, &err));
    cs_state_begin(s);
    cs_state_add(s, "i", "m", 1);
    cs_state_remove(s, "i", "n");
    cs_state_trim(s, "i", 1);
    keep(s);
    assert_changes(s, "");
}

static void an_index_filled_late_gets_what_was_written(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    cs_state_begin(s);
    cs_state_add(s, "i", "new", 3);
    cs_state_remove(s, "i", "old");
    cs_state_put(s, "d", text("new"));
    keep(s);
    fill(s, "d", "old"); // what was written since is newer
    assert_doc(s, "d", "new");
    const struct cs_member *m = NULL;
    size_t n = 0;
    assert_int_equal(cs_state_list(s, "i", &m, &n), CS_NEEDED);
    assert_true(cs_state_fill_index(s, "i", (const struct cs_member[]){{"old", 1}, {"other", 2}}, 2, &err));
    assert_list(s, "i", "other:2 new:3");
    assert_changes(s, "put d=new\nadd i new 3\nremove i old\n");
    cs_state_begin(s);
    cs_state_remove(s, "i", "other");
    cs_state_drop(s);
    assert_list(s, "i", "other:2 new:3");
}

static void a_dropped_write_leaves_unknown_what_was_unknown(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    cs_state_begin(s);
    cs_state_put(s, "d", text("1"));
    cs_state_add(s, "i", "m", 1);
    cs_state_drop(s);
    struct cs_bytes v;
    assert_int_equal(cs_state_get(s, "d", &v), CS_NEEDED);
    assert_changes(s, "");
    struct cs_err err;
    assert_true(cs_state_fill_index(s, "i", NULL, 0, &err));
    assert_list(s, "i", "");
}

static bool print_doc(void *arg, const char *key, struct cs_bytes value) {
    cs_buf_printf(arg, "%s=%.*s\n", key, (int)value.len, (const char *)value.data);
    return true;
}

static bool print_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    cs_buf_printf(arg, "%s:", key);
    for (size_t i = 0; i < n; i++)
        cs_buf_printf(arg, " %s", members[i].name);
    cs_buf_putc(arg, '\n');
    return true;
}

static bool stop_at_second(void *arg, const char *key, struct cs_bytes value) {
    (void)key;
    (void)value;
    return ++*(int *)arg < 2;
}

static void each_is_sorted_by_bytes_of_the_key(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(true);
    cs_state_begin(s);
    static const char *const keys[] = {"b", "a/2", "a", "a/10", "B", "z"};
    for (size_t i = 0; i < CS_ARRAY_LEN(keys); i++)
        cs_state_put(s, keys[i], text(keys[i]));
    cs_state_delete(s, "z");
    cs_state_add(s, "a/1", "y", 2);
    cs_state_add(s, "a/1", "x", 2);
    cs_state_add(s, "empty", "x", 2);
    cs_state_remove(s, "empty", "x");
    keep(s);
    struct cs_buf b;
    cs_buf_init(&b, 4096);
    assert_true(cs_state_each(s, print_doc, print_index, &b));
    assert_string_equal((const char *)b.data, "B=B\na=a\na/1: x y\na/10=a/10\na/2=a/2\nb=b\n");
    cs_buf_clear(&b);
    int seen = 0;
    assert_false(cs_state_each(s, stop_at_second, print_index, &seen));
    assert_int_equal(seen, 2);
    cs_state_forget(s);
    cs_buf_init(&b, 4096);
    assert_true(cs_state_each(s, print_doc, print_index, &b));
    assert_int_equal(b.len, 0);
    cs_buf_clear(&b);
}

// A known index under random writes and drops, against a naive model.
#define NAMES 40
static void index_against_a_model(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(true);
    int64_t model[NAMES], before[NAMES];
    memset(model, 0, sizeof(model)); // 0: absent
    uint32_t random = 1;
    for (int round = 0; round < 4000; round++) {
        memcpy(before, model, sizeof(model));
        cs_state_begin(s);
        for (int i = 0; i < 5; i++) {
            random = random * 1664525u + 1013904223u;
            int who = (int)(random >> 24) % NAMES;
            int64_t score = (random >> 10) % 20 + 1;
            char name[8];
            snprintf(name, sizeof(name), "m%02d", who);
            if ((random >> 20) % 3 == 0) {
                cs_state_remove(s, "i", name);
                model[who] = 0;
            } else {
                cs_state_add(s, "i", name, score);
                model[who] = score;
            }
        }
        size_t count = 0;
        for (int i = 0; i < NAMES; i++)
            count += model[i] != 0;
        if (round % 7 == 0 && count > 10) {
            cs_state_trim(s, "i", 10);
            for (; count > 10; count--) {
                int lowest = -1;
                for (int i = 0; i < NAMES; i++)
                    if (model[i] && (lowest < 0 || model[i] < model[lowest]))
                        lowest = i;
                model[lowest] = 0;
            }
        }
        if (round % 3 == 0) {
            cs_state_drop(s);
            memcpy(model, before, sizeof(model));
        } else {
            keep(s);
        }
        struct cs_buf b;
        cs_buf_init(&b, 4096);
        cs_buf_puts(&b, "");
        for (int64_t score = 1; score <= 20; score++)
            for (int i = 0; i < NAMES; i++)
                if (model[i] == score)
                    cs_buf_printf(&b, "%sm%02d:%" PRId64, b.len ? " " : "", i, score);
        assert_list(s, "i", (const char *)b.data);
        cs_buf_clear(&b);
    }
}

static void **place_of(struct cs_state *s, const char *key) {
    struct cs_bytes v;
    void **place = NULL;
    assert_int_equal(cs_state_look(s, key, &v, &place), CS_FOUND);
    return place;
}

static void what_was_decoded_lives_as_long_as_the_bytes(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    fill(s, "a", "1");
    assert_null(*place_of(s, "a"));
    char *decoded = strdup("one");
    *place_of(s, "a") = decoded;
    assert_ptr_equal(*place_of(s, "a"), decoded);
    // Other bytes, and then the first ones again: what was staged takes nothing of theirs.
    cs_state_begin(s);
    cs_state_put(s, "a", text("2"));
    assert_null(*place_of(s, "a"));
    *place_of(s, "a") = strdup("two");
    cs_state_drop(s);
    assert_ptr_equal(*place_of(s, "a"), decoded);
    cs_state_begin(s);
    cs_state_put(s, "a", text("3"));
    keep(s);
    assert_null(*place_of(s, "a"));
    *place_of(s, "a") = strdup("three"); // freed with the state
}

static bool stays(const char *key) {
    return key[0] == 'k';
}

static void passing_documents_go_and_are_needed_again(void **state) {
    (void)state;
    CS_AUTO(cs_state_free) struct cs_state *s = make(false);
    struct cs_bytes v;
    cs_state_set_stays(s, stays);
    fill(s, "keep", "1");
    fill(s, "pass", "2");
    fill(s, "absent", NULL);
    size_t held = cs_state_held(s);
    cs_state_begin(s);
    cs_state_put(s, "kept too", text("3"));
    cs_state_put(s, "passes too", text("4"));
    keep(s);
    assert_true(cs_state_held(s) > held);
    cs_state_changes_clear(s);
    cs_state_forget_passing(s);
    assert_doc(s, "keep", "1");
    assert_doc(s, "kept too", "3");
    assert_int_equal(cs_state_get(s, "pass", &v), CS_NEEDED);
    assert_int_equal(cs_state_get(s, "passes too", &v), CS_NEEDED);
    assert_int_equal(cs_state_get(s, "absent", &v), CS_NEEDED);
    cs_state_needed_clear(s);
    cs_state_forget_passing(s);
    assert_doc(s, "keep", "1");
    cs_state_forget(s);
    assert_int_equal(cs_state_held(s), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_decoded_lives_as_long_as_the_bytes),
        cmocka_unit_test(passing_documents_go_and_are_needed_again),
        cmocka_unit_test(complete_knows_what_is_absent),
        cmocka_unit_test(incomplete_notes_once_in_order),
        cmocka_unit_test(staged_is_seen_then_kept_or_dropped),
        cmocka_unit_test(changes_are_net_and_in_order),
        cmocka_unit_test(trims_merge_only_over_rising_adds),
        cmocka_unit_test(idle_writes_to_a_known_index_are_no_change),
        cmocka_unit_test(an_index_filled_late_gets_what_was_written),
        cmocka_unit_test(a_dropped_write_leaves_unknown_what_was_unknown),
        cmocka_unit_test(each_is_sorted_by_bytes_of_the_key),
        cmocka_unit_test(index_against_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
