// SPDX-License-Identifier: Apache-2.0
//
// redis.mode and redis.url together: what is taken, and what is said of the rest.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <string.h>

#include "settings.h"

static char *text(const char *s) {
    return (char *)(uintptr_t)s; // the settings own theirs, these are constant
}

static bool access_of(enum cs_redis_mode mode, const char *url, const char *master,
                      struct cs_redis_access *ret, struct cs_err *err) {
    struct cs_consumer_settings s = {.redis_mode = mode,
                                     .redis_url = text(url),
                                     .redis_sentinel_master = text(master),
                                     .redis_sentinel_username = text(""),
                                     .redis_sentinel_password = text(""),
                                     .redis_username = text(""),
                                     .redis_password = text(""),
                                     .redis_ca = text(""),
                                     .redis_timeout_ms = 1000};
    return cs_settings_redis(&s, ret, err);
}

static void test_good(void **state) {
    (void)state;
    struct cs_redis_access a;
    struct cs_err err;
    assert_true(access_of(CS_REDIS_PLAIN, "unix:///run/redis.sock?db=3", "", &a, &err));
    assert_int_equal(a.seeds_len, 1);
    assert_int_equal(a.seeds[0].database, 3);
    assert_true(access_of(CS_REDIS_CLUSTER, "redis://a:1, redis://b:2 ,redis://[::1]:3", "", &a, &err));
    assert_int_equal(a.seeds_len, 3);
    assert_string_equal(a.seeds[1].host, "b");
    assert_int_equal(a.seeds[2].port, 3);
    assert_true(access_of(CS_REDIS_SENTINEL, "redis://a:26379/4,redis://b:26379/4", "main", &a, &err));
    assert_int_equal(a.seeds[0].database, 4);
    assert_string_equal(a.sentinel_master, "main");
}

static void test_bad(void **state) {
    (void)state;
    static const struct {
        enum cs_redis_mode mode;
        const char *url, *master, *says;
    } cases[] = {
        {CS_REDIS_PLAIN, "redis://a,redis://b", "", "more than one address"},
        {CS_REDIS_PLAIN, "http://a", "", "the scheme is not known"},
        {CS_REDIS_CLUSTER, "redis://a,", "", "the scheme is not known"},
        {CS_REDIS_CLUSTER, "unix:///run/redis.sock", "", "no Unix socket"},
        {CS_REDIS_CLUSTER, "redis://a/1", "", "database 0 only"},
        {CS_REDIS_CLUSTER, "redis://a,unix:///b", "", "all addresses must be of one kind"},
        {CS_REDIS_SENTINEL, "redis://a/1,redis://b/2", "m", "the same database"},
        {CS_REDIS_SENTINEL, "redis://a", "", "needs redis.sentinel_master"},
        {CS_REDIS_SENTINEL, "unix:///run/redis.sock", "m", "no Unix socket"},
        {CS_REDIS_CLUSTER,
         "redis://a,redis://a,redis://a,redis://a,redis://a,redis://a,redis://a,redis://a,redis://a,redis://"
         "a,"
         "redis://a,redis://a,redis://a,redis://a,redis://a,redis://a,redis://a",
         "", "more than 16"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_redis_access a;
        struct cs_err err;
        assert_false(access_of(cases[i].mode, cases[i].url, cases[i].master, &a, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
        assert_non_null(strstr(err.msg, cases[i].says));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
