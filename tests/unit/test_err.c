// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/codes.h"

static void set_fills_all(void **state) {
    (void)state;
    struct cs_err err;
    assert_false(cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NAME_TAKEN, "port %d", 99));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_int_equal(err.code, CS_CODE_NAME_TAKEN);
    assert_string_equal(err.msg, "port 99");
    assert_false(cs_err_oom(&err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_string_equal(err.msg, "out of memory");
    assert_false(cs_err_reject(&err, CS_CODE_CERT_EXPIRED));
    assert_int_equal(err.kind, CS_ERR_REJECT);
    assert_int_equal(err.code, CS_CODE_CERT_EXPIRED);
    assert_string_equal(err.msg, "The certificate has expired.");
}

static void long_messages_are_cut_at_a_character(void **state) {
    (void)state;
    // Two, three and four byte characters at each alignment.
    const char *chars[] = {"\xC3\xBC", "\xE8\xAF\x81", "\xF0\x9F\x94\x91"};
    for (size_t c = 0; c < CS_ARRAY_LEN(chars); c++) {
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2 * CS_ERR_MSG_MAX] = "";
            memset(text, 'x', shift);
            for (size_t at = shift; at + 5 < sizeof text; at += strlen(chars[c]))
                memcpy(text + at, chars[c], strlen(chars[c]) + 1);
            struct cs_err err;
            cs_err_set(&err, CS_ERR_FATAL, CS_CODE_NONE, "%s", text);
            size_t len = strlen(err.msg);
            assert_true(cs_utf8_valid((uint8_t *)err.msg, len));
            assert_true(len <= CS_ERR_MSG_MAX - 1 && len > CS_ERR_MSG_MAX - 5);
            cs_err_prepend(&err, "%s", text);
            len = strlen(err.msg);
            assert_true(cs_utf8_valid((uint8_t *)err.msg, len));
            assert_true(len <= CS_ERR_MSG_MAX - 1 && len > CS_ERR_MSG_MAX - 9);
        }
    }
}

static void prepend_keeps_kind_code_and_message(void **state) {
    (void)state;
    struct cs_err err;
    cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "connection refused");
    assert_false(cs_err_prepend(&err, "redis %s:%d", "h", 1));
    assert_string_equal(err.msg, "redis h:1: connection refused");
    assert_int_equal(err.kind, CS_ERR_RETRY);
    // A long context never pushes the message out.
    char context[2 * CS_ERR_MSG_MAX];
    memset(context, 'c', sizeof context - 1);
    context[sizeof context - 1] = '\0';
    cs_err_prepend(&err, "%s", context);
    assert_int_equal(strlen(err.msg), CS_ERR_MSG_MAX - 1);
    assert_non_null(strstr(err.msg, "c: redis h:1: connection refused"));
}

static void kinds_have_names(void **state) {
    (void)state;
    assert_string_equal(cs_err_kind_name(CS_ERR_RETRY), "retry");
    assert_string_equal(cs_err_kind_name(CS_ERR_REJECT), "reject");
    assert_string_equal(cs_err_kind_name(CS_ERR_CONFIG), "config");
    assert_string_equal(cs_err_kind_name(CS_ERR_FATAL), "fatal");
}

static void codes_are_a_sound_table(void **state) {
    (void)state;
    for (int i = 1; i < CS_CODE_COUNT; i++) {
        enum cs_code code = (enum cs_code)i;
        const char *name = cs_code_name(code);
        assert_true(strlen(name) > 0);
        // Unique, so that the name leads back.
        assert_int_equal(cs_code_from_name(name, strlen(name)), code);
        size_t n = strlen(cs_code_sentence(code));
        assert_true(n > 0 && cs_code_sentence(code)[n - 1] == '.');
        assert_true(strlen(cs_code_hint(code)) > 0);
        assert_true(strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.") == strlen(name));
    }
    assert_string_equal(cs_code_name(CS_CODE_NONE), "");
    assert_string_equal(cs_code_sentence(CS_CODE_NONE), "");
    assert_string_equal(cs_code_name(CS_CODE_COUNT), "");
    assert_int_equal(cs_code_from_name("cert.expire", 11), CS_CODE_NONE);
    assert_int_equal(cs_code_from_name("cert.expiredX", 12), CS_CODE_CERT_EXPIRED);
    assert_int_equal(cs_code_from_name("", 0), CS_CODE_NONE);
    assert_int_equal(cs_code_origin(CS_CODE_KEY_ENCRYPTED), CS_CODE_AGENT);
    assert_int_equal(cs_code_origin(CS_CODE_NAME_TAKEN), CS_CODE_CONSUMER);
    assert_int_equal(cs_code_origin(CS_CODE_CERT_EXPIRED), CS_CODE_BOTH);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_all),
        cmocka_unit_test(long_messages_are_cut_at_a_character),
        cmocka_unit_test(prepend_keeps_kind_code_and_message),
        cmocka_unit_test(kinds_have_names),
        cmocka_unit_test(codes_are_a_sound_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
