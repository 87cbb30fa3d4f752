// SPDX-License-Identifier: Apache-2.0
//
// The marks of outcomes against fixed texts, which tests/model_py/marks.py made: another program, by the
// documents. Whoever changes their form makes every published outcome a foreign record.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "certsync/base/text.h"
#include "worker/outcome_mark.h"

#define PARTITION 7
#define TRUE_MARK "f1d59449.JVpMsQOeA4cizAikgSACKw"

// PKCS#8 of the P-256 key whose private number is 0x0102…1f20.
static const char service_hex[] =
    "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"
    "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20a14403420004"
    "515c3d6eb9e396b904d3feca7f54fdcd0cc1e997bf375dca515ad0a6c3b4035f"
    "4536be3a50f318fbf9a5475902a221502bef0d57e08c53b2cc0a56f17d9f9354";

static struct cs_crypto *crypto;
static struct cs_outcome_marks *marks, *of_another_log, *of_another_key, *of_a_later_key;

static int set_up(void **state) {
    uint8_t der[sizeof service_hex / 2];
    struct cs_service_keys service = {0}, other = {0}, later = {0};
    struct cs_err err;
    (void)state;
    assert_true(cs_hex_decode(service_hex, sizeof service_hex - 1, der));
    assert_true(cs_crypto_new(&crypto, &err));
    assert_true(cs_privkey_from_pkcs8((struct cs_bytes){der, sizeof der}, &service.own, &err));
    assert_true(cs_privkey_generate(CS_KEY_P256, 0, &other.own, &err));
    later = (struct cs_service_keys){.own = other.own, .earlier = {service.own}, .earlier_len = 1};
    assert_true(cs_outcome_marks_new(crypto, &service, "example", &marks, &err));
    assert_true(cs_outcome_marks_new(crypto, &service, "example2", &of_another_log, &err));
    assert_true(cs_outcome_marks_new(crypto, &other, "example", &of_another_key, &err));
    assert_true(cs_outcome_marks_new(crypto, &later, "example", &of_a_later_key, &err));
    cs_service_keys_clear(&service);
    cs_service_keys_clear(&other);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    cs_outcome_marks_free(marks);
    cs_outcome_marks_free(of_another_log);
    cs_outcome_marks_free(of_another_key);
    cs_outcome_marks_free(of_a_later_key);
    cs_crypto_free(crypto);
    return 0;
}

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static void test_fixed(void **state) {
    static const struct {
        int32_t partition;
        const char *key, *value, *mark;
    } rows[] = {
        {7, "acme", "{\"n\":1}", TRUE_MARK},
        {7, "", "{\"n\":1}", "f1d59449.qFBhTAgCR172n_n8mmtFVw"},
        {8, "acme", "{\"n\":1}", "f1d59449.dP1xfwMAS_TZIGeKvKpqAw"},
        {7, "acm", "e{\"n\":1}", "f1d59449.YMzZ6SpKHqsef74JKCa0YQ"}, // the same bytes, divided otherwise
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char mark[CS_OUTCOME_MARK_SIZE];
        cs_outcome_mark(marks, rows[i].partition, text(rows[i].key), text(rows[i].value), mark);
        assert_string_equal(mark, rows[i].mark);
    }
}

static enum cs_outcome_writer writer_of(const struct cs_outcome_marks *m, struct cs_bytes key,
                                        const char *value, size_t n, const char *const marked[]) {
    struct cs_header headers[4] = {{"content-type", text("application/cloudevents+json")}};
    for (size_t i = 0; i < n; i++)
        headers[1 + i] =
            (struct cs_header){CS_OUTCOME_MARK_HEADER, marked[i] ? text(marked[i]) : (struct cs_bytes){0}};
    struct cs_record r = {
        .partition = PARTITION, .key = key, .value = text(value), .headers = headers, .headers_len = 1 + n};
    return cs_outcome_writer(m, &r);
}

#define WRITER(m, key, value, ...)                                                                           \
    writer_of(m, text(key), value, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),              \
              (const char *const[]){__VA_ARGS__})

static void test_writers(void **state) {
    static const char value[] = "{\"n\":1}";
    static char long_key[400];
    (void)state;
    memset(long_key, 'a', sizeof long_key - 1);
    assert_int_equal(WRITER(marks, "acme", value, TRUE_MARK), CS_WRITER_OWN);
    assert_int_equal(WRITER(of_another_log, "acme", value, TRUE_MARK), CS_WRITER_FALSE);
    assert_int_equal(WRITER(of_another_key, "acme", value, TRUE_MARK), CS_WRITER_OTHER);
    assert_int_equal(WRITER(of_a_later_key, "acme", value, TRUE_MARK), CS_WRITER_EARLIER);
    assert_int_equal(WRITER(of_a_later_key, "acme", "{\"n\":2}", TRUE_MARK), CS_WRITER_FALSE);
    assert_int_equal(WRITER(of_a_later_key, "acme", value, "00000000.JVpMsQOeA4cizAikgSACKw"),
                     CS_WRITER_FALSE);
    assert_int_equal(WRITER(NULL, "acme", value, TRUE_MARK), CS_WRITER_OTHER);
    assert_int_equal(WRITER(marks, "acme", "{\"n\":2}", TRUE_MARK), CS_WRITER_FALSE);
    assert_int_equal(WRITER(marks, "acmf", value, TRUE_MARK), CS_WRITER_FALSE);
    assert_int_equal(WRITER(marks, long_key, value, TRUE_MARK), CS_WRITER_FALSE);
    assert_int_equal(writer_of(marks, text("acme"), value, 0, NULL), CS_WRITER_NONE);
    assert_int_equal(WRITER(marks, "acme", value, TRUE_MARK, TRUE_MARK), CS_WRITER_NONE);
    assert_int_equal(WRITER(marks, "acme", value, NULL), CS_WRITER_NONE);
    // No form of one; to who has no key, too.
    static const char *const wrong[] = {"",
                                        "f1d59449.JVpMsQOeA4cizAikgSACK",
                                        "f1d59449.JVpMsQOeA4cizAikgSACKww",
                                        "F1D59449.JVpMsQOeA4cizAikgSACKw",
                                        "f1d59449:JVpMsQOeA4cizAikgSACKw",
                                        "f1d5944_.JVpMsQOeA4cizAikgSACKw",
                                        "f1d59449.JVpMsQOeA4cizAikgSACK=",
                                        "f1d59449..VpMsQOeA4cizAikgSACKw"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(WRITER(marks, "acme", value, wrong[i]), CS_WRITER_NONE);
        assert_int_equal(WRITER(NULL, "acme", value, wrong[i]), CS_WRITER_NONE);
    }
    // Each character counts.
    for (size_t i = 0; i < sizeof TRUE_MARK - 1; i++) {
        char mark[] = TRUE_MARK;
        mark[i] = mark[i] == '0' ? '1' : '0';
        enum cs_outcome_writer writer = WRITER(marks, "acme", value, mark);
        assert_int_equal(writer, i < CS_OUTCOME_MARK_KID    ? CS_WRITER_OTHER
                                 : i == CS_OUTCOME_MARK_KID ? CS_WRITER_NONE
                                                            : CS_WRITER_FALSE);
    }
    // A tombstone, and no key.
    struct cs_record nothing = {.partition = PARTITION};
    assert_int_equal(cs_outcome_writer(marks, &nothing), CS_WRITER_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fixed), cmocka_unit_test(test_writers)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
