// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"

static void base64_vectors(void **state) {
    (void)state;
    // RFC 4648 section 10.
    static const struct {
        const char *plain, *text;
    } rows[] = {{"", ""},
                {"f", "Zg=="},
                {"fo", "Zm8="},
                {"foo", "Zm9v"},
                {"foob", "Zm9vYg=="},
                {"fooba", "Zm9vYmE="},
                {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        char out[16];
        uint8_t back[16];
        size_t len, n = strlen(rows[i].plain);
        assert_int_equal(cs_base64_encoded_len(n), strlen(rows[i].text));
        cs_base64_encode((const uint8_t *)rows[i].plain, n, out);
        assert_memory_equal(out, rows[i].text, strlen(rows[i].text));
        assert_true(cs_base64_decode(rows[i].text, strlen(rows[i].text), back, &len));
        assert_int_equal(len, n);
        assert_memory_equal(back, rows[i].plain, n);
    }
}

static void base64_refuses_what_is_not_canonical(void **state) {
    (void)state;
    static const char *const bad[] = {"Z",        "Zg",     "Zg=",      "Zg===",    "=",
                                      "====",     "Z===",   "Zh==",     "Zm9=",     "Zm8 ",
                                      " Zm8",     "Zm9v\n", "Zm9v\nZg", "Zm-v",     "Zm_v",
                                      "Zg==Zg==", "Zg=a",   "Z=g=",     "Zm9v====", "\xff\xff\xff\xff",
                                      "=m9v"};
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        uint8_t out[16];
        size_t len = 77;
        assert_false(cs_base64_decode(bad[i], strlen(bad[i]), out, &len));
        assert_int_equal(len, 77);
    }
    uint8_t out[3];
    size_t len;
    assert_false(cs_base64_decode("Zm\0v", 4, out, &len));
}

// Each byte at each place of a long text.
static void base64_knows_its_alphabet_everywhere(void **state) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[128];
    uint8_t out[sizeof text / 4 * 3];
    (void)state;
    for (size_t at = 0; at < sizeof text; at++) {
        memset(text, 'A', sizeof text);
        for (int c = 0; c < 256; c++) {
            size_t len;
            text[at] = (char)c;
            const char *in = c ? strchr(alphabet, c) : NULL;
            bool padded = c == '=' && at == sizeof text - 1;
            assert_int_equal(cs_base64_decode(text, sizeof text, out, &len), in || padded);
            if (!in)
                continue;
            assert_int_equal(len, sizeof out);
            uint32_t group =
                (uint32_t)out[at / 4 * 3] << 16 | (uint32_t)out[at / 4 * 3 + 1] << 8 | out[at / 4 * 3 + 2];
            assert_int_equal(group, (uint32_t)(in - alphabet) << (18 - 6 * (at % 4)));
        }
    }
}

static void base64_round_trips_every_byte_and_length(void **state) {
    (void)state;
    uint8_t data[300];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7 + i / 256);
    for (size_t n = 0; n <= sizeof data; n++) {
        // Exact sizes, so that a sanitizer sees a byte too much.
        size_t text_len = cs_base64_encoded_len(n), len;
        char *text = malloc(text_len + 1);
        uint8_t *back = malloc(cs_base64_decoded_max(text_len) + 1);
        assert_non_null(text);
        assert_non_null(back);
        cs_base64_encode(data, n, text);
        assert_true(cs_base64_decode(text, text_len, back, &len));
        assert_int_equal(len, n);
        assert_memory_equal(back, data, n);
        free(text);
        free(back);
    }
}

static void base64url_in_its_one_form(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len; // of the bytes; SIZE_MAX: refused
    } rows[] = {{"", 0},
                {"Zg", 1},
                {"Zm8", 2},
                {"Zm9v", 3},
                {"-_-_", 3},
                {"Zm9vYg", 4},
                {"Z", SIZE_MAX},
                {"Zg==", SIZE_MAX},
                {"Zh", SIZE_MAX},
                {"Zm9", SIZE_MAX},
                {"Zm9vZ", SIZE_MAX},
                {"+/+/", SIZE_MAX},
                {"Zm 9", SIZE_MAX},
                {"Zm9v=", SIZE_MAX},
                {"Zg=A", SIZE_MAX},
                {"ZgZg====", SIZE_MAX}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        uint8_t out[16];
        char again[32];
        size_t len = 77, n = strlen(rows[i].text);
        bool ok = cs_base64url_decode(rows[i].text, n, out, &len);
        assert_int_equal(ok, rows[i].len != SIZE_MAX);
        assert_int_equal(len, ok ? rows[i].len : 77);
        if (!ok)
            continue;
        assert_int_equal(cs_base64url_encode(out, len, again), n);
        assert_string_equal(again, rows[i].text);
    }
    uint8_t data[100];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 41 + 200);
    for (size_t n = 0; n <= sizeof data; n++) {
        char text[sizeof data * 2];
        size_t len, text_len = cs_base64url_encode(data, n, text);
        uint8_t *back = malloc(text_len / 4 * 3 + 2);
        assert_non_null(back);
        assert_true(cs_base64url_decode(text, text_len, back, &len));
        assert_int_equal(len, n);
        assert_memory_equal(back, data, n);
        free(back);
    }
}

static void hex_both_ways(void **state) {
    (void)state;
    char out[9];
    uint8_t back[4];
    cs_hex_encode((const uint8_t *)"\x00\x9f\xa0\xff", 4, out);
    assert_string_equal(out, "009fa0ff");
    assert_true(cs_hex_decode("009fa0ff", 8, back));
    assert_memory_equal(back, "\x00\x9f\xa0\xff", 4);
    assert_false(cs_hex_decode("0", 1, back));
    assert_false(cs_hex_decode("AA", 2, back));
    assert_false(cs_hex_decode("0g", 2, back));
}

static void utf8_as_rfc_3629(void **state) {
    (void)state;
    static const struct {
        const char *s;
        bool valid;
    } rows[] = {
        {"", true},
        {"plain ascii of more than eight bytes", true},
        {"\xC2\x80", true},
        {"\xDF\xBF", true},
        {"\xE0\xA0\x80", true},
        {"\xED\x9F\xBF", true},
        {"\xEF\xBF\xBF", true},
        {"\xF0\x90\x80\x80", true},
        {"\xF4\x8F\xBF\xBF", true},
        {"12345678\xC3\xBC", true},
        {"\x80", false},
        {"\xC0\x80", false},
        {"\xC1\xBF", false},
        {"\xC2", false},
        {"\xE0\x9F\xBF", false},
        {"\xED\xA0\x80", false}, // surrogate
        {"\xF0\x8F\xBF\xBF", false},
        {"\xF4\x90\x80\x80", false}, // above U+10FFFF
        {"\xF5\x80\x80\x80", false},
        {"\xE8\xAF", false},
        {"12345678\xE8\xAF", false},
        {"\xFF", false},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        assert_int_equal(cs_utf8_valid((const uint8_t *)rows[i].s, strlen(rows[i].s)), rows[i].valid);
}

static void times(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
    } rows[] = {{"1970-01-01T00:00:00Z", 0},
                {"2000-02-29T23:59:59Z", 951868799},
                {"2026-11-23T12:00:00Z", 1795435200},
                {"2038-01-19T03:14:08Z", INT64_C(2147483648)},
                {"2100-03-01T00:00:00Z", INT64_C(4107542400)},
                {"9999-12-31T23:59:59Z", INT64_C(253402300799)}};
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        char out[CS_TIME_TEXT_SIZE];
        int64_t s = -1;
        cs_time_format(rows[i].s, out);
        assert_string_equal(out, rows[i].text);
        assert_true(cs_time_parse(rows[i].text, 20, &s));
        assert_int_equal(s, rows[i].s);
    }
    // Every day of 400 years leads back to itself.
    for (int64_t day = 0; day < 146097; day++) {
        char out[CS_TIME_TEXT_SIZE];
        int64_t s = -1;
        cs_time_format(day * 86400 + 1, out);
        assert_true(cs_time_parse(out, 20, &s) && s == day * 86400 + 1);
    }
    char out[CS_TIME_TEXT_SIZE];
    cs_time_format(-1, out);
    assert_string_equal(out, "1970-01-01T00:00:00Z");
    cs_time_format(INT64_MAX, out);
    assert_string_equal(out, "9999-12-31T23:59:59Z");
    int64_t s;
    assert_true(cs_time_parse("2026-11-23T12:00:00.123456Z", 27, &s));
    assert_int_equal(s, 1795435200);
}

static void times_that_are_none(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "2026-11-23",
        "2026-11-23T12:00:00",
        "2026-11-23t12:00:00Z",
        "2026-11-23T12:00:00z",
        "2026-11-23 12:00:00Z",
        "2026-11-23T12:00:00+00:00",
        "2026-11-23T12:00:00.Z",
        "2026-11-23T12:00:00.1",
        "2026-11-23T12:00:00ZZ",
        "1969-12-31T23:59:59Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "2026-04-00T00:00:00Z",
        "2026-04-30T24:00:00Z",
        "2026-04-30T23:60:00Z",
        "2026-04-30T23:59:60Z",
        "+026-04-30T23:59:00Z",
        "2026-4-030T23:59:00Z",
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        int64_t s = 5;
        assert_false(cs_time_parse(bad[i], strlen(bad[i]), &s));
        assert_int_equal(s, 5);
    }
}

static void escapes_for_messages(void **state) {
    (void)state;
    char out[64];
    const char in[] = "a\"\\\n\x7f\xC3\xBC\xff\xC2\x9B\xE8\xAF";
    cs_text_escape(in, sizeof in - 1, out, sizeof out);
    assert_string_equal(out, "a\\x22\\x5C\\x0A\\x7F\xC3\xBC\\xFF\\xC2\\x9B\\xE8\\xAF");
    // Cut between characters and escapes, never inside one.
    for (size_t size = 1; size < 40; size++) {
        cs_text_escape("\n\xC3\xBC\n\xE8\xAF\x81", 7, out, size);
        assert_true(strlen(out) < size);
        assert_true(cs_utf8_valid((uint8_t *)out, strlen(out)));
        size_t n = strlen(out);
        assert_true(n == 0 || n == 4 || n == 6 || n == 10 || n == 13);
    }
    out[0] = 'k';
    cs_text_escape("x", 1, out, 0);
    assert_int_equal(out[0], 'k');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_refuses_what_is_not_canonical),
        cmocka_unit_test(base64_knows_its_alphabet_everywhere),
        cmocka_unit_test(base64_round_trips_every_byte_and_length),
        cmocka_unit_test(base64url_in_its_one_form),
        cmocka_unit_test(hex_both_ways),
        cmocka_unit_test(utf8_as_rfc_3629),
        cmocka_unit_test(times),
        cmocka_unit_test(times_that_are_none),
        cmocka_unit_test(escapes_for_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
