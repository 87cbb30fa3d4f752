// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "certsync/model/ident.h"

static const char *longest(size_t len) {
    static char s[400];
    memset(s, 'a', len);
    s[len] = '\0';
    return s;
}

static void forms(void **state) {
    (void)state;
    static const struct {
        const char *s;
        bool deployment, account, owner, tag, pattern, international, sm2;
    } rows[] = {
        {"", false, false, false, false, false, false, false},
        {"a", true, true, true, true, true, true, true},
        {"9-b", true, true, true, true, true, true, true},
        {"prod.example", true, true, true, true, true, true, false},
        {"a_b", false, true, true, true, true, true, true},
        {"Abc", false, false, true, true, true, true, true},
        {"-a", false, false, false, false, true, true, true},
        {".a", false, false, false, false, true, true, false},
        {"a*", false, false, false, false, true, false, false},
        {"a:b", false, false, true, true, false, false, false},
        {"a@b", false, false, true, false, false, false, false},
        {"a=b/c", false, false, false, true, false, false, false},
        {"a b", false, false, false, false, false, false, false},
        {"a\n", false, false, false, false, false, false, false},
        {"\xC3\xBC", false, false, false, false, false, false, false},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        const char *s = rows[i].s;
        size_t n = strlen(s);
        assert_int_equal(cs_deployment_valid(s, n), rows[i].deployment);
        assert_int_equal(cs_account_valid(s, n), rows[i].account);
        assert_int_equal(cs_owner_valid(s, n), rows[i].owner);
        assert_int_equal(cs_tag_valid(s, n), rows[i].tag);
        assert_int_equal(cs_pattern_valid(s, n), rows[i].pattern);
        assert_int_equal(cs_name_valid(s, n, CS_ALGORITHM_INTERNATIONAL), rows[i].international);
        assert_int_equal(cs_name_valid(s, n, CS_ALGORITHM_SM2), rows[i].sm2);
    }
    // A NUL inside is never allowed, although strchr would find one.
    assert_false(cs_account_valid("a\0b", 3));
    assert_false(cs_name_valid("a\0b", 3, CS_ALGORITHM_INTERNATIONAL));
}

static void log_ids(void **state) {
    (void)state;
    static const struct {
        const char *s;
        bool valid;
    } rows[] = {
        {"prod_0a1b2c3d", true},   {"a.b-c_00000000", true},
        {"prod", false},           {"", false},
        {"_0a1b2c3d", false},      {"prod_0a1b2c3", false},
        {"prod_0a1b2c3d4", false}, {"prod_0A1B2C3D", false},
        {"prod_0a1b2c3g", false},  {"prod.0a1b2c3d", false},
        {"pr_od_0a1b2c3d", false}, {"prod_0a1b2c3d/", false},
        {"prod_0a1b2c3d ", false},
    };
    cs_log_id made;
    cs_deployment_id name;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        assert_int_equal(cs_log_id_valid(rows[i].s, strlen(rows[i].s)), rows[i].valid);
    cs_log_id_make("prod", "0a1b2c3d4e5f60718293a4b5c6d7e8f9", made);
    assert_string_equal(made, "prod_0a1b2c3d");
    cs_log_id_make(longest(63), "0a1b2c3d4e5f60718293a4b5c6d7e8f9", made);
    assert_int_equal(strlen(made), CS_LOG_ID_MAX);
    assert_true(cs_log_id_valid(made, strlen(made)));
    cs_log_id_deployment("prod_0a1b2c3d", name);
    assert_string_equal(name, "prod");
    cs_log_id_deployment("prod", name);
    assert_string_equal(name, "prod");
    assert_true(cs_log_id_is_of("prod_0a1b2c3d", "prod"));
    assert_false(cs_log_id_is_of("prod_0a1b2c3d", "pro"));
    assert_false(cs_log_id_is_of("prod_0a1b2c3d", "prod_0a1b2c3d"));
    assert_true(cs_nonce_valid("0a1b2c3d4e5f60718293a4b5c6d7e8f9", 32));
    assert_false(cs_nonce_valid("0a1b2c3d4e5f60718293a4b5c6d7e8f", 31));
    assert_false(cs_nonce_valid("0A1b2c3d4e5f60718293a4b5c6d7e8f9", 32));
}

static void lengths(void **state) {
    (void)state;
    assert_true(cs_deployment_valid(longest(63), 63));
    assert_false(cs_deployment_valid(longest(64), 64));
    assert_true(cs_account_valid(longest(63), 63));
    assert_false(cs_account_valid(longest(64), 64));
    assert_true(cs_owner_valid(longest(127), 127));
    assert_false(cs_owner_valid(longest(128), 128));
    assert_true(cs_tag_valid(longest(63), 63));
    assert_false(cs_tag_valid(longest(64), 64));
    assert_true(cs_pattern_valid(longest(255), 255));
    assert_false(cs_pattern_valid(longest(256), 256));
    assert_true(cs_name_valid(longest(128), 128, CS_ALGORITHM_SM2));
    assert_false(cs_name_valid(longest(129), 129, CS_ALGORITHM_SM2));
}

static void hex_forms(void **state) {
    (void)state;
    assert_true(cs_kid_valid("00112233445566778899aabbccddeeff", 32));
    assert_false(cs_kid_valid("00112233445566778899aabbccddeefF", 32));
    assert_false(cs_kid_valid("00112233445566778899aabbccddeef", 31));
    static const struct {
        const char *s;
        bool valid;
    } uuids[] = {
        {"0192f1d0-1111-7abc-8def-0123456789ab", true},   {"0192f1d0-1111-4abc-bdef-0123456789ab", true},
        {"0192f1d0-1111-7abc-cdef-0123456789ab", false}, // variant
        {"0192f1d0-1111-7abc-7def-0123456789ab", false},  {"0192F1d0-1111-7abc-8def-0123456789ab", false},
        {"0192f1d0111117abc-8def-0123456789abc", false},  {"0192f1d0-1111-7abc-8def-0123456789a", false},
        {"0192f1d0-1111-7abc-8def-0123456789abc", false},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(uuids); i++)
        assert_int_equal(cs_uuid_valid(uuids[i].s, strlen(uuids[i].s)), uuids[i].valid);
}

static void wire_names(void **state) {
    (void)state;
    enum cs_algorithm a = 0;
    enum cs_source so = 0;
    enum cs_site si = 0;
    assert_true(cs_algorithm_parse("sm2", 3, &a) && a == CS_ALGORITHM_SM2);
    assert_true(cs_algorithm_parse("international", 13, &a) && a == CS_ALGORITHM_INTERNATIONAL);
    assert_false(cs_algorithm_parse("SM2", 3, &a));
    assert_true(cs_source_parse("shared", 6, &so) && so == CS_SOURCE_SHARED);
    assert_true(cs_source_parse("test", 4, &so) && so == CS_SOURCE_TEST);
    assert_false(cs_source_parse("", 0, &so));
    assert_true(cs_site_parse("cn", 2, &si) && si == CS_SITE_CN);
    assert_false(cs_site_parse("cnx", 3, &si));
    assert_int_equal(si, CS_SITE_CN);
    assert_string_equal(cs_algorithm_name(CS_ALGORITHM_INTERNATIONAL), "international");
    assert_string_equal(cs_source_name(CS_SOURCE_UPLOADED), "uploaded");
    assert_string_equal(cs_source_name(CS_SOURCE_OFFICIAL), "official");
    assert_string_equal(cs_site_name(CS_SITE_INTL), "intl");
    assert_string_equal(cs_site_name((enum cs_site)9), "");
}

static void patterns(void **state) {
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool matches;
    } rows[] = {
        {"*", "", true},
        {"*", "anything", true},
        {"", "", true},
        {"", "a", false},
        {"a", "a", true},
        {"a", "b", false},
        {"a", "aa", false},
        {"web-*", "web-1", true},
        {"web-*", "web-", true},
        {"web-*", "web", false},
        {"*.example.com", "www.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", "www.example.com.evil", false},
        {"a*b*c", "a-b-b-c", true},
        {"a*b*c", "acb", false},
        {"**", "x", true},
        {"*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        assert_int_equal(cs_pattern_matches(rows[i].pattern, rows[i].name), rows[i].matches);
}

static void uuids_are_made_as_rfc_9562_says(void **state) {
    (void)state;
    cs_uuid id;
    // RFC 9562 appendix A.6: unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
    const uint8_t random[10] = {0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
    cs_uuid_v7(INT64_C(0x017F22E279B0), random, id);
    assert_string_equal(id, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    assert_true(cs_uuid_valid(id, strlen(id)));
    // RFC 9562 appendix B.2: the first 16 bytes of a SHA-256.
    const uint8_t hash[16] = {0x5c, 0x14, 0x6b, 0x14, 0x3c, 0x52, 0x4a, 0xfd,
                              0x93, 0x8a, 0x37, 0x5d, 0x0d, 0xf1, 0xfb, 0xf6};
    int64_t time_ms = 0;
    assert_true(cs_uuid_time_ms(id, &time_ms));
    assert_int_equal(time_ms, INT64_C(0x017F22E279B0));
    cs_uuid_v8(hash, id);
    assert_string_equal(id, "5c146b14-3c52-8afd-938a-375d0df1fbf6");
    assert_false(cs_uuid_time_ms(id, &time_ms)); // a hash tells no time
    assert_false(cs_uuid_time_ms("", &time_ms));
}

static void murmur2_as_kafka(void **state) {
    (void)state;
    static const struct {
        const char *key;
        uint32_t hash;
    } rows[] = {
        // Kafka's UtilsTest.testMurmur2.
        {"21", (uint32_t)-973932308},
        {"foobar", (uint32_t)-790332482},
        {"a-little-bit-long-string", (uint32_t)-985981536},
        {"a-little-bit-longer-string", (uint32_t)-1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", (uint32_t)-58897971},
        {"abc", 479470107},
        // librdkafka's rdmurmur2.c.
        {"kafka", 0xd067cf64},
        {"giberish123456789", 0x8f552b0c},
        {"1234", 0x9fc97b14},
        {"234", 0xe7c009ca},
        {"34", 0x873930da},
        {"4", 0x5a4b5ca1},
        {"", 0x106e08d9},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        assert_int_equal(cs_murmur2(rows[i].key, strlen(rows[i].key)), rows[i].hash);
    assert_int_equal(cs_partition_of("foobar", 12), (-790332482 & 0x7fffffff) % 12);
    assert_int_equal(cs_partition_of("abc", 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(log_ids),
        cmocka_unit_test(lengths),
        cmocka_unit_test(hex_forms),
        cmocka_unit_test(wire_names),
        cmocka_unit_test(patterns),
        cmocka_unit_test(uuids_are_made_as_rfc_9562_says),
        cmocka_unit_test(murmur2_as_kafka),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
