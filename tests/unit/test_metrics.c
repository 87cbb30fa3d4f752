// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/metrics.h"

static void check_render(struct cs_metrics *m, const char *expected) {
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, 1 << 20);
    cs_metrics_render(m, &out);
    assert_false(out.failed);
    assert_string_equal(out.data ? (const char *)out.data : "", expected);
}

static void test_render(void **state) {
    (void)state;
    CS_AUTO(cs_metrics_free) struct cs_metrics *m = cs_metrics_new();
    static const char *const labels[] = {"status", "code", NULL};
    static const double bounds[] = {0.1, 1, 10};
    check_render(m, "");
    struct cs_metric *c = cs_metrics_counter(m, "cs_events_total", "Events.\nAnd \\ more.", labels);
    struct cs_metric *g = cs_metrics_gauge(m, "cs_lag", "Lag.", NULL);
    struct cs_metric *h = cs_metrics_histogram(m, "cs_batch_seconds", "Time.", NULL, bounds, 3);
    cs_series_inc(cs_metric_2(c, "applied", ""));
    cs_series_add(cs_metric_2(c, "rejected", "a\"b\\c\nd"), 41);
    cs_series_inc(cs_metric_2(c, "rejected", "a\"b\\c\nd"));
    cs_series_set(cs_metric_0(g), -2.5);
    cs_series_adjust(cs_metric_0(g), 1);
    static const double seen[] = {0.05, 0.1, 0.5, 5, 100};
    for (size_t i = 0; i < CS_ARRAY_LEN(seen); i++)
        cs_series_observe(cs_metric_0(h), seen[i]);
    check_render(m, "# HELP cs_events_total Events.\\nAnd \\\\ more.\n# TYPE cs_events_total counter\n"
                    "cs_events_total{status=\"applied\",code=\"\"} 1\n"
                    "cs_events_total{status=\"rejected\",code=\"a\\\"b\\\\c\\nd\"} 42\n"
                    "# HELP cs_lag Lag.\n# TYPE cs_lag gauge\ncs_lag -1.5\n"
                    "# HELP cs_batch_seconds Time.\n# TYPE cs_batch_seconds histogram\n"
                    "cs_batch_seconds_bucket{le=\"0.1\"} 2\ncs_batch_seconds_bucket{le=\"1\"} 3\n"
                    "cs_batch_seconds_bucket{le=\"10\"} 4\ncs_batch_seconds_bucket{le=\"+Inf\"} 5\n"
                    "cs_batch_seconds_sum 105.65000000000001\ncs_batch_seconds_count 5\n");
    assert_true(fabs(cs_series_value(cs_metric_0(h)) - 5) < 1e-9);
}

static void test_hide(void **state) {
    (void)state;
    CS_AUTO(cs_metrics_free) struct cs_metrics *m = cs_metrics_new();
    static const char *const labels[] = {"partition", NULL};
    struct cs_metric *g = cs_metrics_gauge(m, "cs_lag", "Lag.", labels);
    cs_series_set(cs_metric_1(g, "0"), 5);
    cs_series_set(cs_metric_1(g, "1"), 6);
    cs_series_hide(cs_metric_1(g, "0"));
    check_render(m, "# HELP cs_lag Lag.\n# TYPE cs_lag gauge\ncs_lag{partition=\"1\"} 6\n");
    cs_series_set(cs_metric_1(g, "0"), INFINITY);
    check_render(
        m,
        "# HELP cs_lag Lag.\n# TYPE cs_lag gauge\ncs_lag{partition=\"0\"} +Inf\ncs_lag{partition=\"1\"} 6\n");
}

static void test_too_many_series(void **state) {
    (void)state;
    CS_AUTO(cs_metrics_free) struct cs_metrics *m = cs_metrics_new();
    static const char *const labels[] = {"account", NULL};
    struct cs_metric *c = cs_metrics_counter(m, "cs_a_total", "A.", labels);
    for (int i = 0; i < CS_METRIC_SERIES_MAX + 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "a%d", i);
        cs_series_inc(cs_metric_1(c, name));
    }
    assert_int_equal((int)cs_series_value(cs_metric_1(c, "other")), 50);
    assert_int_equal((int)cs_series_value(cs_metric_1(c, "a0")), 1);
}

static void test_null(void **state) {
    (void)state;
    struct cs_metric *c = cs_metrics_counter(NULL, "x_total", "X.", NULL);
    assert_null(c);
    cs_series_inc(cs_metric_0(c));
    cs_series_set(cs_metric_1(NULL, "a"), 1);
    cs_series_observe(NULL, 1);
    cs_series_hide(NULL);
    assert_true(cs_series_value(NULL) == 0);
    cs_metrics_on_render(NULL, NULL, NULL);
    cs_metrics_free(NULL);
}

static void on_render(void *arg) {
    cs_series_adjust(arg, 1);
}

static void test_hooks(void **state) {
    (void)state;
    CS_AUTO(cs_metrics_free) struct cs_metrics *m = cs_metrics_new();
    struct cs_series *s = cs_metric_0(cs_metrics_gauge(m, "cs_age_seconds", "Age.", NULL));
    cs_metrics_on_render(m, on_render, s);
    check_render(m, "# HELP cs_age_seconds Age.\n# TYPE cs_age_seconds gauge\ncs_age_seconds 1\n");
    check_render(m, "# HELP cs_age_seconds Age.\n# TYPE cs_age_seconds gauge\ncs_age_seconds 2\n");
}

struct shared {
    struct cs_metrics *m;
    struct cs_metric *c, *g, *h;
};

static void *hammer(void *arg) {
    struct shared *s = arg;
    for (int i = 0; i < 20000; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i % 50);
        cs_series_inc(cs_metric_1(s->c, name));
        cs_series_adjust(cs_metric_0(s->g), 1);
        cs_series_observe(cs_metric_0(s->h), (i % 2) ? 0.5 : 2);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    static const char *const labels[] = {"p", NULL};
    struct shared s = {.m = cs_metrics_new()};
    s.c = cs_metrics_counter(s.m, "cs_x_total", "X.", labels);
    s.g = cs_metrics_gauge(s.m, "cs_y", "Y.", NULL);
    s.h = cs_metrics_histogram(s.m, "cs_z_seconds", "Z.", NULL, cs_metrics_seconds_bounds,
                               cs_metrics_seconds_bound_count);
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &s), 0);
    for (int i = 0; i < 20; i++) { // rendering meanwhile
        CS_AUTO(cs_buf_clear) struct cs_buf out;
        cs_buf_init(&out, 1 << 20);
        cs_metrics_render(s.m, &out);
        assert_false(out.failed);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    double total = 0;
    for (int i = 0; i < 50; i++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", i);
        total += cs_series_value(cs_metric_1(s.c, name));
    }
    assert_true(total == 80000);
    assert_true(cs_series_value(cs_metric_0(s.g)) == 80000);
    assert_true(cs_series_value(cs_metric_0(s.h)) == 80000);
    cs_metrics_free(s.m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_render), cmocka_unit_test(test_hide),  cmocka_unit_test(test_too_many_series),
        cmocka_unit_test(test_null),   cmocka_unit_test(test_hooks), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
