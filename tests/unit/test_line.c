// SPDX-License-Identifier: Apache-2.0
//
// A record as a line: whatever bytes a record has, they come back, and the line is JSON in UTF-8.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "certsync/base/text.h"
#include "log/line.h"

static struct cs_bytes bytes(const char *data, size_t len) {
    return (struct cs_bytes){(const uint8_t *)data, len};
}

static void same(struct cs_bytes a, struct cs_bytes b) {
    assert_int_equal(!a.data, !b.data); // null is not the same as empty
    assert_true(cs_bytes_equal(a, b));
}

static void round_trip(const struct cs_record *r) {
    struct cs_buf b;
    struct cs_line_room room = {0};
    struct cs_record back;
    cs_buf_init(&b, (size_t)1024 * 1024);
    cs_line_put(&b, "a topic", r);
    assert_false(b.failed);
    assert_int_equal(b.data[b.len - 1], '\n');
    assert_null(memchr(b.data, '\n', b.len - 1));
    assert_true(cs_utf8_valid(b.data, b.len));
    struct cs_bytes line = {b.data, b.len - 1};
    assert_true(cs_line_read(&room, line, true, &back));
    assert_int_equal(back.partition, r->partition);
    assert_int_equal(back.offset, r->offset);
    assert_true(cs_line_read(&room, line, false, &back));
    assert_int_equal(back.partition, r->partition);
    assert_int_equal(back.offset, r->offset);
    assert_int_equal(back.timestamp_ms, r->timestamp_ms);
    same(back.key, r->key);
    same(back.value, r->value);
    assert_int_equal(back.headers_len, r->headers_len);
    for (size_t i = 0; i < r->headers_len; i++) {
        assert_string_equal(back.headers[i].name, r->headers[i].name);
        same(back.headers[i].value, r->headers[i].value);
    }
    for (size_t cut = 0; cut < line.len; cut++) // a line that was cut is none
        assert_false(cs_line_read(&room, bytes((const char *)line.data, cut), false, &back));
    cs_line_room_clear(&room);
    cs_buf_clear(&b);
}

static void test_bytes(void **state) {
    char all[256];
    (void)state;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (char)i;
    const struct cs_bytes values[] = {
        {0},
        bytes("", 0),
        bytes("{\"a\":\"b\\n\"}", 11),
        bytes("\0", 1),
        bytes("\xff", 1),
        bytes("\xc3\xa4\xe2\x80\xa8\xf0\x9f\x94\x91", 9),
        bytes(all, sizeof all),
        bytes(all, 128), // each of these is UTF-8
        bytes("\"\\\r\n\t\x7f", 6),
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(values); i++)
        for (size_t k = 0; k < CS_ARRAY_LEN(values); k++) {
            struct cs_header headers[] = {{"content-type", values[k]}, {"", values[i]}, {"n\xe9", {0}}};
            struct cs_record r = {.partition = (int32_t)i,
                                  .offset = (int64_t)1 << 40,
                                  .timestamp_ms = i % 2 ? 1763899200385 : -1,
                                  .key = values[k],
                                  .value = values[i],
                                  .headers = headers,
                                  .headers_len = k % 4};
            round_trip(&r);
        }
}

// What kcat writes: members in its order, other members, bytes that are no UTF-8.
static void test_kcat(void **state) {
    static const char line[] = "{\"topic\":\"cert.events\",\"partition\":2,\"offset\":7,\"tstype\":"
                               "\"logappend\",\"ts\":12,\"broker\":0,"
                               "\"headers\":[\"a\",\"\xff\"],\"key\":null,\"payload\":\"x\\u00e9\"}";
    struct cs_line_room room = {0};
    struct cs_record r;
    (void)state;
    assert_true(cs_line_read(&room, bytes(line, sizeof line - 1), false, &r));
    assert_int_equal(r.timestamp_ms, 12);
    assert_null(r.key.data);
    same(r.value, bytes("x\xc3\xa9", 3));
    same(r.headers[0].value, bytes("\xff", 1));
    cs_line_room_clear(&room);
}

static void test_no_line(void **state) {
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "{\"partition\":1,\"offset\":1,\"ts\":1,\"headers\":[],\"key\":null}",
        "{\"partition\":-1,\"offset\":1,\"ts\":1,\"headers\":[],\"key\":null,\"payload\":null}",
        "{\"partition\":10000,\"offset\":1,\"ts\":1,\"headers\":[],\"key\":null,\"payload\":null}",
        "{\"partition\":1,\"offset\":-1,\"ts\":1,\"headers\":[],\"key\":null,\"payload\":null}",
        "{\"partition\":1,\"offset\":1,\"ts\":1,\"headers\":[\"a\"],\"key\":null,\"payload\":null}",
        "{\"partition\":1,\"offset\":1,\"ts\":1,\"headers\":{},\"key\":null,\"payload\":null}",
        "{\"partition\":1,\"offset\":1,\"ts\":1,\"headers\":[],\"key\":{\"base64\":\"!\"},\"payload\":null}",
        "{\"partition\":1,\"offset\":1,\"ts\":1,\"headers\":[],\"key\":{\"hex\":\"00\"},\"payload\":null}",
        "{\"partition\":1,\"offset\":1,\"ts\":1,\"headers\":[],\"key\":{\"base64\":\"AA==\",\"payload\":"
        "null}",
    };
    struct cs_line_room room = {0};
    struct cs_record r;
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(texts); i++)
        assert_false(cs_line_read(&room, bytes(texts[i], strlen(texts[i])), false, &r));
    cs_line_room_clear(&room);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_kcat),
        cmocka_unit_test(test_no_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
