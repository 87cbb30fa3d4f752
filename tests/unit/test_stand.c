// SPDX-License-Identifier: Apache-2.0
//
// What a partition's catalog says of what is published, at its start: go on, or why not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "worker/flight.h"

static const struct {
    const char *name;
    int64_t mine; // outcomes that the catalog stands on
    struct cs_cursor_tail tail;
    const char *words; // NULL: it goes on
} cases[] = {
    {"nothing yet", 0, {.last = 0}, NULL},
    {"nothing yet, and somebody else's records", 0, {.last = 0, .foreign = 3, .unmarked = 3}, NULL},
    {"as far as the catalog", 7, {.last = 7, .found = true, .end = 9}, NULL},
    {"ahead of the catalog", 7, {.last = 8, .found = true, .end = 10}, NULL},
    {"begins after the catalog's own", 7, {.last = 9, .from = 8, .end = 9}, NULL},
    {"ends before the catalog's own", 7, {.last = 6}, "outcomes were lost"},
    {"all are gone", 1, {.last = 0}, "outcomes were lost"},
    {"some are gone, and somebody else's records are there",
     7,
     {.last = 6, .unmarked = 1},
     "outcomes were lost"},
    {"an earlier build's",
     7,
     {.last = 0, .unmarked = 7},
     "holds 7 outcomes without the mark of a service key"},
    {"another outcome with its number", 7, {.last = 9, .from = 8, .other = true}, "a fork"},
    {"its own is not among those that were read", 7, {.last = 9, .from = 6}, "a fork"},
};

static void each_case(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_stand s = {.position.outcomes = cases[i].mine};
        struct cs_err err = {0};
        bool goes_on = cs_stand_follow(&s, &cases[i].tail, "cert.outcomes", &err);
        if (goes_on != !cases[i].words || (cases[i].words && !strstr(err.msg, cases[i].words)))
            fail_msg("%s: %s", cases[i].name, goes_on ? "goes on" : err.msg);
        if (goes_on) {
            assert_int_equal(s.published, cases[i].tail.last);
            assert_int_equal(s.outcomes_end, cases[i].tail.end);
        } else {
            assert_int_equal(err.kind, CS_ERR_FATAL);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_case)};
    return cmocka_run_group_tests_name("stand", tests, NULL, NULL);
}
