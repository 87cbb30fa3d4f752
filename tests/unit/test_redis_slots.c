// SPDX-License-Identifier: Apache-2.0
//
// The hash slots of Redis Cluster: the specification's vectors, hash tags, the map that CLUSTER SLOTS gives, and
// redirections in every form that servers write them.
// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include <stdio.h>
#include <string.h>

#include "redis/slots.h"

static const struct cs_redis_target from = {.transport = CS_REDIS_TCP, .host = "10.0.0.1", .port = 7000};

static uint16_t slot(const char *key) {
    return cs_redis_slot_of_key(key, strlen(key));
}

// https://redis.io/docs/reference/cluster-spec/, appendix A and "Hash tags".
static void test_crc16(void **state) {
    (void)state;
    assert_int_equal(cs_redis_crc16("123456789", 9), 0x31C3);
    assert_int_equal(cs_redis_crc16("", 0), 0);
    assert_int_equal(slot("foo"), 12182); // as CLUSTER KEYSLOT answers
    assert_int_equal(slot("somekey"), 11058);
    assert_int_equal(slot("bar"), 5061);
}

static void test_hash_tags(void **state) {
    (void)state;
    assert_int_equal(slot("{user1000}.following"), slot("{user1000}.followers"));
    assert_int_equal(slot("{user1000}.following"), slot("user1000"));
    assert_int_equal(slot("foo{hash_tag}"), 2515); // as CLUSTER KEYSLOT answers
    // Empty: the whole key counts.
    assert_int_equal(slot("foo{}{bar}"), cs_redis_crc16("foo{}{bar}", 10) % CS_REDIS_SLOTS);
    assert_int_equal(slot("foo{bar"), cs_redis_crc16("foo{bar", 7) % CS_REDIS_SLOTS);
    // From the first '{' to the first '}' after it.
    assert_int_equal(slot("foo{{bar}}zap"), slot("{bar"));
    assert_int_equal(slot("foo{bar}{zap}"), slot("bar"));
    assert_int_equal(slot("}{bar}"), slot("bar"));
}

static void test_partitions(void **state) {
    (void)state;
    char key[64];
    for (int32_t p = 0; p < 1000; p += 7) {
        snprintf(key, sizeof key, "cs:{%d}:cert/acme/1", (int)p);
        assert_int_equal(cs_redis_slot_of_partition(p), slot(key));
    }
    assert_int_equal(cs_redis_slot_of_partition(0), 13907); // CLUSTER KEYSLOT {0}
}

// --- replies as hiredis makes them

static redisReply *reader(const char *resp) {
    redisReader *r = redisReaderCreate();
    void *reply = NULL;
    assert_int_equal(redisReaderFeed(r, resp, strlen(resp)), REDIS_OK);
    assert_int_equal(redisReaderGetReply(r, &reply), REDIS_OK);
    assert_non_null(reply);
    redisReaderFree(r);
    return reply;
}

static bool set_slots(struct cs_redis_map *m, const char *resp, struct cs_err *err) {
    redisReply *reply = reader(resp);
    bool ok = cs_redis_map_set_slots(m, reply, &from, err);
    freeReplyObject(reply);
    return ok;
}

static int port_of(const struct cs_redis_map *m, uint16_t s) {
    int i = cs_redis_map_of_slot(m, s);
    return i < 0 ? -1 : cs_redis_map_at(m, (size_t)i)->port;
}

static void test_map(void **state) {
    (void)state;
    CS_AUTO(cs_redis_map_free) struct cs_redis_map *m = NULL;
    struct cs_err err;
    assert_true(cs_redis_map_new(&m, &err));
    assert_int_equal(port_of(m, 0), -1);
    // Two masters, one with two ranges and a replica; of a third the address is not known; the rest is nobody's.
    assert_true(set_slots(
        m,
        "*4\r\n"
        "*4\r\n:0\r\n:99\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n*2\r\n$1\r\nx\r\n:7009\r\n"
        "*3\r\n:100\r\n:200\r\n*3\r\n$0\r\n\r\n:7002\r\n$2\r\nid\r\n"
        "*3\r\n:16383\r\n:16383\r\n*3\r\n$9\r\n127.0.0.1\r\n:7001\r\n$2\r\nid\r\n"
        "*3\r\n:300\r\n:301\r\n*3\r\n$1\r\n?\r\n:7003\r\n$2\r\nid\r\n",
        &err));
    assert_int_equal(cs_redis_map_len(m), 2);
    assert_int_equal(port_of(m, 0), 7001);
    assert_int_equal(port_of(m, 99), 7001);
    assert_int_equal(port_of(m, 100), 7002);
    assert_int_equal(port_of(m, 201), -1);
    assert_int_equal(port_of(m, 300), -1);
    assert_int_equal(port_of(m, 16383), 7001);
    // An empty host is the one that answered.
    assert_string_equal(cs_redis_map_at(m, (size_t)cs_redis_map_of_slot(m, 100))->host, "10.0.0.1");
    CS_AUTO(cs_redis_map_free) struct cs_redis_map *copy = NULL;
    assert_true(cs_redis_map_copy(m, &copy, &err));
    assert_int_equal(port_of(copy, 100), 7002);
    assert_int_equal(port_of(copy, 201), -1);
}

static void test_map_is_not_what_it_should_be(void **state) {
    (void)state;
    static const char *const bad[] = {"*0\r\n", "+OK\r\n", "*1\r\n:1\r\n", "*1\r\n*2\r\n:0\r\n:5\r\n",
                                      "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$1\r\nx\r\n:99999\r\n"};
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        CS_AUTO(cs_redis_map_free) struct cs_redis_map *m = NULL;
        struct cs_err err;
        assert_true(cs_redis_map_new(&m, &err));
        assert_false(set_slots(m, bad[i], &err));
        assert_int_equal(err.kind, CS_ERR_RETRY);
    }
}

static void test_redirections(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool ok, ask;
        int slot, port;
        const char *host;
    } cases[] = {
        {"MOVED 3999 127.0.0.1:6381", true, false, 3999, 6381, "127.0.0.1"},
        {"ASK 16383 redis-3.example.com:6379", true, true, 16383, 6379, "redis-3.example.com"},
        {"MOVED 1 :7005", true, false, 1, 7005, "10.0.0.1"},
        {"MOVED 1 fd00::1:7005", true, false, 1, 7005, "fd00::1"}, // as Redis writes IPv6
        {"MOVED 1 [fd00::1]:7005", true, false, 1, 7005, "fd00::1"},
        {"MOVED 16384 127.0.0.1:6381", false, false, 0, 0, NULL},
        {"MOVED x 127.0.0.1:6381", false, false, 0, 0, NULL},
        {"MOVED 1 127.0.0.1", false, false, 0, 0, NULL},
        {"MOVED 1 127.0.0.1:0", false, false, 0, 0, NULL},
        {"MOVED 1 ?:7005", false, false, 0, 0, NULL},
        {"MOVED", false, false, 0, 0, NULL},
        {"ERR no", false, false, 0, 0, NULL},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_redis_redirect r;
        assert_int_equal(cs_redis_redirect_parse(cases[i].text, &from, &r), cases[i].ok);
        if (!cases[i].ok)
            continue;
        assert_int_equal(r.ask, cases[i].ask);
        assert_int_equal(r.slot, cases[i].slot);
        assert_int_equal(r.to.port, cases[i].port);
        assert_string_equal(r.to.host, cases[i].host);
        assert_int_equal(r.to.transport, CS_REDIS_TCP);
    }
}

static void test_moved_slot(void **state) {
    (void)state;
    CS_AUTO(cs_redis_map_free) struct cs_redis_map *m = NULL;
    struct cs_redis_redirect r;
    struct cs_err err;
    assert_true(cs_redis_map_new(&m, &err));
    assert_true(cs_redis_map_set_one(m, &from, &err));
    assert_int_equal(port_of(m, 5), 7000);
    assert_true(cs_redis_redirect_parse("MOVED 5 10.0.0.2:7001", &from, &r));
    assert_true(cs_redis_map_move(m, &r, &err));
    assert_int_equal(port_of(m, 4), 7000);
    assert_int_equal(port_of(m, 5), 7001);
    assert_int_equal(port_of(m, 6), 7000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc16),
        cmocka_unit_test(test_hash_tags),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_map_is_not_what_it_should_be),
        cmocka_unit_test(test_redirections),
        cmocka_unit_test(test_moved_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
