// SPDX-License-Identifier: Apache-2.0
//
// Values whose type the specification leaves open, held against OpenSSL: what it refuses must not get into history, where the next
// reader would be OpenSSL.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>
#include <openssl/asn1.h>
#include <openssl/err.h>

#include "der.h"

static bool openssl_takes(const uint8_t *data, size_t len) {
    const uint8_t *p = data;
    ASN1_TYPE *any = d2i_ASN1_TYPE(NULL, &p, (long)len);
    bool taken = any && p == data + len;
    ASN1_TYPE_free(any);
    ERR_clear_error();
    return taken;
}

static void every_tag_that_we_take_is_read_by_openssl(void **state) {
    (void)state;
    static const char *const contents[] = {"",
                                           "\x00",
                                           "\x01",
                                           "\x07",
                                           "\xFF",
                                           "\x80",
                                           "\x00\x00",
                                           "\x00\x7F",
                                           "\x00\x80",
                                           "\xFF\x80",
                                           "\x2A\x03",
                                           "\x80\x01",
                                           "A",
                                           "AB",
                                           "ABC",
                                           "ABCD",
                                           "\x30\x00",
                                           "\x04\x00",
                                           "\x05\x00\x05\x00",
                                           "700101000000Z",
                                           "19700101000000Z"};
    static const size_t lens[] = {0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 3, 4, 2, 2, 4, 13, 15};
    size_t taken = 0;
    for (unsigned tag = 0; tag < 256; tag++) {
        for (size_t i = 0; i < CS_ARRAY_LEN(contents); i++) {
            uint8_t der[32] = {(uint8_t)tag, (uint8_t)lens[i]};
            memcpy(der + 2, contents[i], lens[i]);
            struct der d = der_of((struct cs_bytes){der, 2 + lens[i]});
            struct der_value v;
            bool ours = der_next(&d, &v) && der_done(&d) && der_any_valid(&v);
            taken += ours;
            if (ours && !openssl_takes(der, 2 + lens[i]))
                fail_msg("tag 0x%02x with content %zu is taken here, and refused by OpenSSL", tag, i);
        }
    }
    assert_true(taken > 1000);
}

// Of OpenSSL only 3.3 and newer refuse the short ones, and the next reader may be one of those.
static void a_time_has_its_seconds(void **state) {
    (void)state;
    static const struct {
        uint8_t tag;
        const char *content;
        bool valid;
    } rows[] = {
        {DER_UTC_TIME, "", false},
        {DER_UTC_TIME, "7001010000Z", false},
        {DER_UTC_TIME, "700101000000Z", true},
        {DER_GENERALIZED_TIME, "", false},
        {DER_GENERALIZED_TIME, "197001010000Z", false},
        {DER_GENERALIZED_TIME, "19700101000000Z", true},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        struct cs_bytes content = {(const uint8_t *)rows[i].content, strlen(rows[i].content)};
        assert_int_equal(der_any_valid(&(struct der_value){.tag = rows[i].tag, .content = content}),
                         rows[i].valid);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_tag_that_we_take_is_read_by_openssl),
                                       cmocka_unit_test(a_time_has_its_seconds)};
    return cmocka_run_group_tests_name("der", tests, NULL, NULL);
}
