// SPDX-License-Identifier: Apache-2.0
//
// Which accounts are loud: those that brought most events are shown, as counters that never fall.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "worker/loud.h"

static const char *shown(struct cs_metrics *m, const char *account) {
    static char line[200];
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_metrics_render(m, &b);
    char *at = strstr((char *)b.data, account);
    snprintf(line, sizeof line, "%.*s", at ? (int)strcspn(at, "\n") : 0, at ? at : "");
    cs_buf_clear(&b);
    return line;
}

static size_t count(struct cs_metrics *m) {
    struct cs_buf b;
    size_t n = 0;
    cs_buf_init(&b, 1 << 20);
    cs_metrics_render(m, &b);
    for (const char *at = (char *)b.data; (at = strstr(at, "certsync_account_events_total{")); at++)
        n++;
    cs_buf_clear(&b);
    return n;
}

static void the_loudest_are_shown(void **state) {
    (void)state;
    CS_AUTO(cs_metrics_free) struct cs_metrics *m = cs_metrics_new();
    struct cs_loud *l = NULL;
    struct cs_err err;
    char account[32];
    assert_true(cs_loud_new(m, &l, &err));
    assert_int_equal(count(m), 0);
    for (int i = 1; i <= 25; i++) {
        snprintf(account, sizeof account, "account-%02d", i);
        cs_loud_count(l, account, i);
    }
    cs_loud_count(l, "", 1000); // of no account
    cs_loud_count(NULL, "account-01", 1);
    assert_int_equal(count(m), CS_LOUD_SHOWN);
    assert_string_equal(shown(m, "account-25"), "account-25\"} 25");
    assert_string_equal(shown(m, "account-06"), "account-06\"} 6");
    assert_string_equal(shown(m, "account-05"), "");
    cs_loud_count(l, "account-05", 100); // now it is loud, and another makes room
    cs_loud_count(l, CS_LOUD_UNPROVEN, 50);
    assert_int_equal(count(m), CS_LOUD_SHOWN);
    assert_string_equal(shown(m, "account-05"), "account-05\"} 105");
    assert_string_equal(shown(m, "(unproven)"), "(unproven)\"} 50");
    assert_string_equal(shown(m, "account-06"), "");
    cs_loud_count(l, "account-06", 60); // it comes back as a counter that did not fall
    assert_string_equal(shown(m, "account-06"), "account-06\"} 66");
    cs_loud_free(l);
}

// Names that come once each push nobody out who is loud, and take no more memory than a bound.
static void a_flood_of_names_hides_nobody(void **state) {
    (void)state;
    CS_AUTO(cs_metrics_free) struct cs_metrics *m = cs_metrics_new();
    struct cs_loud *l = NULL;
    struct cs_err err;
    char account[32];
    assert_true(cs_loud_new(m, &l, &err));
    for (int i = 0; i < 5 * CS_LOUD_COUNTED; i++) {
        snprintf(account, sizeof account, "flood-%d", i);
        cs_loud_count(l, account, 1);
        cs_loud_count(l, "loud", 1);
    }
    snprintf(account, sizeof account, "loud\"} %d", 5 * CS_LOUD_COUNTED);
    assert_string_equal(shown(m, "loud\""), account);
    assert_int_equal(count(m), CS_LOUD_SHOWN);
    cs_loud_free(l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loudest_are_shown),
        cmocka_unit_test(a_flood_of_names_hides_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
