// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "certsync/base/json_write.h"

static void grows_to_its_maximum_and_no_further(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 1000);
    assert_null(b.data);
    for (int i = 0; i < 1000; i++)
        cs_buf_putc(&b, (char)('a' + i % 26));
    assert_true(cs_buf_ok(&b, &err));
    assert_int_equal(b.len, 1000);
    assert_int_equal(b.data[1000], 0);
    cs_buf_putc(&b, 'x');
    assert_false(cs_buf_ok(&b, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_non_null(strstr(err.msg, "1000"));
    assert_int_equal(b.len, 1000);
    cs_buf_reset(&b);
    assert_true(cs_buf_ok(&b, &err));
    assert_int_equal(b.len, 0);
    cs_buf_puts(&b, "again");
    assert_string_equal((char *)b.data, "again");
}

static void failure_is_sticky(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 4);
    cs_buf_puts(&b, "abc");
    cs_buf_puts(&b, "de");
    cs_buf_puts(&b, "f"); // would fit
    assert_int_equal(b.len, 3);
    assert_false(cs_buf_ok(&b, &err));
    cs_buf_clear(&b);
    cs_buf_printf(&b, "%d", 12345);
    assert_false(cs_buf_ok(&b, &err));
    cs_buf_clear(&b);
    cs_buf_printf(&b, "%d", 1234);
    assert_true(cs_buf_ok(&b, &err));
    assert_string_equal((char *)b.data, "1234");
}

static void writes_json(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 4096);
    cs_json_begin(&b, '{');
    cs_json_str(&b, "s", "a\"\\/\b\f\n\r\t\x01\x1f\x7f\xC3\xBC");
    cs_json_int(&b, "min", INT64_MIN);
    cs_json_int(&b, "max", INT64_MAX);
    cs_json_int(&b, "zero", 0);
    cs_json_bool(&b, "t", true);
    cs_json_bool(&b, "f", false);
    cs_json_name(&b, "list");
    cs_json_begin(&b, '[');
    cs_json_put_int(&b, 1);
    cs_json_put_bool(&b, true);
    cs_json_put_str(&b, "{");
    cs_json_put_strn(&b, "xyz", 2);
    cs_json_put_base64(&b, (struct cs_bytes){(const uint8_t *)"\xff\xfe", 2});
    cs_json_put_hex(&b, (struct cs_bytes){(const uint8_t *)"\xff\x0e", 2});
    cs_json_put_raw(&b, (struct cs_bytes){(const uint8_t *)"null", 4});
    cs_json_begin(&b, '{');
    cs_json_end(&b, '}');
    cs_json_begin(&b, '[');
    cs_json_end(&b, ']');
    cs_json_put_int(&b, -5);
    cs_json_end(&b, ']');
    cs_json_str(&b, "", "");
    cs_json_end(&b, '}');
    assert_true(cs_buf_ok(&b, &err));
    assert_string_equal(
        (char *)b.data,
        "{\"s\":\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xC3\xBC\",\"min\":-9223372036854775808,"
        "\"max\":9223372036854775807,\"zero\":0,\"t\":true,\"f\":false,\"list\":[1,true,\"{\",\"xy\","
        "\"//4=\",\"ff0e\",null,{},[],-5],\"\":\"\"}");
}

static void a_newline_parts_documents(void **state) {
    (void)state;
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 64);
    for (int i = 0; i < 2; i++) {
        cs_json_begin(&b, '[');
        cs_json_put_int(&b, i);
        cs_json_end(&b, ']');
        cs_buf_putc(&b, '\n');
    }
    assert_string_equal((char *)b.data, "[0]\n[1]\n");
    assert_int_equal(cs_buf_bytes(&b).len, 8);
}

static void json_limits_hold(void **state) {
    (void)state;
    struct cs_err err;
    for (size_t max = 0; max < 12; max++) {
        CS_AUTO(cs_buf_clear) struct cs_buf b;
        cs_buf_init(&b, max);
        cs_json_begin(&b, '[');
        cs_json_put_base64(&b, (struct cs_bytes){(const uint8_t *)"abcdef", 6}); // 10 characters with quotes
        cs_json_end(&b, ']');
        assert_int_equal(cs_buf_ok(&b, &err), max >= 12);
        assert_true(b.len <= max);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_its_maximum_and_no_further),
        cmocka_unit_test(failure_is_sticky),
        cmocka_unit_test(writes_json),
        cmocka_unit_test(a_newline_parts_documents),
        cmocka_unit_test(json_limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
