// SPDX-License-Identifier: Apache-2.0
//
// Every publisher: the same cases over memory and over Kafka (librdkafka's mock cluster); then the cursor,
// which reads back what Kafka's published.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <poll.h>

#include "certsync/runtime/clock.h"
#include "cursor.h"
#include "mock_kafka.h"
#include "publish.h"

#define EVENTS     "cert.events"
#define OUTCOMES   "cert.outcomes"
#define PARTITIONS 8
#define WAIT_MS    10000

static struct mock_kafka mock;
static int next_partition; // each case has its own

static int64_t now_ms(void) {
    return cs_clock_mono_ms(cs_clock_real());
}

static void must(bool ok, const struct cs_err *err) {
    if (!ok)
        fail_msg("%s", err->msg);
}

static int setup_memory(void **state) {
    struct cs_err err;
    must(cs_publish_memory_new((struct cs_publisher **)state, &err), &err);
    return 0;
}

static struct cs_publisher *open_kafka(void) {
    struct cs_err err;
    struct cs_publisher *p = NULL;
    struct cs_publish_kafka_options o = {&mock.settings, "test", EVENTS, OUTCOMES, -1};
    must(cs_publish_kafka_new(&o, &p, &err), &err);
    return p;
}

static int setup_kafka(void **state) {
    *state = open_kafka();
    return 0;
}

static int teardown(void **state) {
    cs_publisher_free(*state);
    return 0;
}

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static void put(struct cs_publisher *p, enum cs_publish_topic topic, int32_t partition, const char *value) {
    struct cs_err err;
    const struct cs_header headers[] = {{"content-type", text("application/json")},
                                        {"certsync-sig", text("c2ln")}};
    struct cs_publish_message m = {topic,       partition, text("acme"),
                                   text(value), headers,   topic == CS_PUBLISH_EVENTS ? 2 : 1};
    must(p->ops->send(p, &m, &err), &err);
}

static void wait_all(struct cs_publisher *p) {
    struct cs_err err;
    size_t pending = 1;
    int64_t end = now_ms() + WAIT_MS;
    while (pending > 0) {
        must(p->ops->pending(p, &pending, &err), &err);
        assert_true(now_ms() < end);
        if (pending > 0)
            poll(NULL, 0, 1);
    }
}

// --- both

static void test_acknowledges_all(void **state) {
    struct cs_publisher *p = *state;
    struct cs_err err;
    size_t pending = 7;
    must(p->ops->pending(p, &pending, &err), &err);
    assert_int_equal(pending, 0);
    for (int batch = 0; batch < 3; batch++) {
        for (int i = 0; i < 200; i++)
            put(p, i % 10 ? CS_PUBLISH_OUTCOMES : CS_PUBLISH_EVENTS, 0, "{\"n\":1,}");
        wait_all(p);
        must(p->ops->pending(p, &pending, &err), &err);
        assert_int_equal(pending, 0);
    }
}

static void test_abandoned_does_not_count(void **state) {
    struct cs_publisher *p = *state;
    struct cs_err err;
    size_t pending = 7;
    for (int i = 0; i < 50; i++)
        put(p, CS_PUBLISH_OUTCOMES, 1, "{\"n\":1,}");
    p->ops->abandon(p);
    must(p->ops->pending(p, &pending, &err), &err);
    assert_int_equal(pending, 0);
    put(p, CS_PUBLISH_OUTCOMES, 1, "{\"n\":2,}");
    wait_all(p);
}

// --- memory

static void test_memory_keeps(void **state) {
    struct cs_publisher *p = *state;
    const struct cs_published *list = NULL;
    size_t pending = 0;
    struct cs_err err;
    cs_publish_memory_hold(p, true);
    put(p, CS_PUBLISH_EVENTS, 2, "value");
    must(p->ops->pending(p, &pending, &err), &err);
    assert_int_equal(pending, 1);
    cs_publish_memory_hold(p, false);
    wait_all(p);
    assert_int_equal(cs_publish_memory_list(p, &list), 1);
    assert_int_equal(list[0].topic, CS_PUBLISH_EVENTS);
    assert_int_equal(list[0].partition, 2);
    assert_memory_equal(list[0].value.data, "value", 5);
    assert_memory_equal(list[0].key.data, "acme", 4);
    assert_string_equal(list[0].headers[1].name, "certsync-sig");
    cs_publish_memory_fail(p, 1, CS_ERR_RETRY);
    put(p, CS_PUBLISH_EVENTS, 2, "taken");
    struct cs_publish_message m = {CS_PUBLISH_EVENTS, 2, text(""), text("refused"), NULL, 0};
    assert_false(p->ops->send(p, &m, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    put(p, CS_PUBLISH_EVENTS, 2, "taken again");
    assert_int_equal(cs_publish_memory_list(p, &list), 3);
}

// --- Kafka

// What Kafka refuses for good is an error of the batch, and the publisher goes on with the next.
static void test_kafka_refuses(void **state) {
    struct cs_publisher *p = *state;
    struct cs_err err;
    size_t pending = 1;
    int64_t end = now_ms() + WAIT_MS;
    put(p, CS_PUBLISH_OUTCOMES, PARTITIONS + 5, "{\"n\":1,}"); // no such partition
    while (p->ops->pending(p, &pending, &err)) {
        assert_true(now_ms() < end);
        poll(NULL, 0, 1);
    }
    assert_int_not_equal(err.kind, 0);
    put(p, CS_PUBLISH_OUTCOMES, 0, "{\"n\":1,}");
    wait_all(p);
}

// The cursor's partition, filled with outcomes of these numbers ("x": no outcome).
static int32_t fill(const char *const *values) {
    struct cs_publisher *p = open_kafka();
    int32_t partition = 2 + next_partition++;
    assert_in_range(partition, 2, PARTITIONS - 1);
    for (; *values; values++)
        put(p, CS_PUBLISH_OUTCOMES, partition, *values);
    wait_all(p);
    cs_publisher_free(p);
    return partition;
}

static struct cs_cursor *open_cursor(void) {
    struct cs_err err;
    struct cs_cursor *c = NULL;
    struct cs_cursor_options o = {&mock.settings, "test-cursor", OUTCOMES, -1};
    must(cs_cursor_new(&o, &c, &err), &err);
    return c;
}

// The next number; false with *err where it is not what belongs there.
static bool next(struct cs_cursor_stream *s, int64_t n, struct cs_published_outcome *ret,
                 struct cs_err *err) {
    int64_t end = now_ms() + WAIT_MS;
    bool ready = false;
    while (!ready) {
        assert_true(now_ms() < end);
        if (!cs_cursor_next(s, n, &ready, ret, err))
            return false;
        if (!ready)
            poll(NULL, 0, 1);
    }
    return true;
}

static void expect_next(struct cs_cursor_stream *s, int64_t n, const char *value, int64_t offset) {
    struct cs_err err;
    struct cs_published_outcome o;
    must(next(s, n, &o, &err), &err);
    assert_int_equal(o.value.len, strlen(value));
    assert_memory_equal(o.value.data, value, o.value.len);
    assert_int_equal(o.offset, offset);
}

// A paused old owner has published 2 and 3 again, later: the first of each counts, and the highest is the
// cursor.
static void test_cursor_repeated(void **state) {
    (void)state;
    int32_t p =
        fill((const char *[]){"{\"n\":1,\"a\"}", "{\"n\":2,\"a\"}", "{\"n\":3,\"a\"}", "{\"n\":2,\"b\"}",
                              "{\"n\":3,\"b\"}", "{\"n\":4,\"a\"}", "{\"n\":3,\"c\"}", NULL});
    struct cs_cursor *c = open_cursor();
    struct cs_crypto *crypto = NULL;
    struct cs_cursor_tail tail;
    struct cs_cursor_stream *s = NULL;
    struct cs_err err;
    uint8_t sha256[32];
    bool ready = true;
    struct cs_published_outcome o;
    must(cs_crypto_new(&crypto, &err), &err);
    must(cs_cursor_tail(c, crypto, p, 3, WAIT_MS, &tail, &err), &err);
    assert_int_equal(tail.last, 4);
    assert_true(tail.found);
    cs_crypto_sha256(crypto, text("{\"n\":3,\"a\"}"), sha256);
    assert_memory_equal(tail.found_sha256, sha256, 32);
    must(cs_cursor_open(c, p, 1, &s, &err), &err);
    expect_next(s, 1, "{\"n\":1,\"a\"}", 0);
    expect_next(s, 2, "{\"n\":2,\"a\"}", 1);
    expect_next(s, 3, "{\"n\":3,\"a\"}", 2);
    expect_next(s, 4, "{\"n\":4,\"a\"}", 5);
    must(cs_cursor_next(s, 5, &ready, &o, &err), &err);
    assert_false(ready);
    cs_cursor_close(s);
    // From the middle: number 3 cannot stand before offset 2.
    must(cs_cursor_open(c, p, 3, &s, &err), &err);
    expect_next(s, 3, "{\"n\":3,\"a\"}", 2);
    expect_next(s, 4, "{\"n\":4,\"a\"}", 5);
    cs_cursor_close(s);
    cs_cursor_free(c);
    cs_crypto_free(crypto);
}

static void test_cursor_empty(void **state) {
    (void)state;
    int32_t p = fill((const char *[]){NULL});
    struct cs_cursor *c = open_cursor();
    struct cs_crypto *crypto = NULL;
    struct cs_cursor_tail tail = {.last = 9};
    struct cs_err err;
    must(cs_crypto_new(&crypto, &err), &err);
    must(cs_cursor_tail(c, crypto, p, 0, WAIT_MS, &tail, &err), &err);
    assert_int_equal(tail.last, 0);
    assert_false(tail.found);
    cs_cursor_free(c);
    cs_crypto_free(crypto);
}

static void test_cursor_gap(void **state) {
    (void)state;
    int32_t p = fill((const char *[]){"{\"n\":1,\"a\"}", "{\"n\":3,\"a\"}", NULL});
    struct cs_cursor *c = open_cursor();
    struct cs_cursor_stream *s = NULL;
    struct cs_published_outcome o;
    struct cs_err err;
    must(cs_cursor_open(c, p, 1, &s, &err), &err);
    expect_next(s, 1, "{\"n\":1,\"a\"}", 0);
    assert_false(next(s, 2, &o, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    cs_cursor_close(s);
    cs_cursor_free(c);
}

static void test_cursor_foreign_record(void **state) {
    (void)state;
    int32_t p = fill((const char *[]){"{\"n\":1,\"a\"}", "hello", NULL});
    struct cs_cursor *c = open_cursor();
    struct cs_crypto *crypto = NULL;
    struct cs_cursor_tail tail;
    struct cs_err err;
    must(cs_crypto_new(&crypto, &err), &err);
    assert_false(cs_cursor_tail(c, crypto, p, 1, WAIT_MS, &tail, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_non_null(strstr(err.msg, "offset 1 "));
    cs_cursor_free(c);
    cs_crypto_free(crypto);
}

static void test_outcome_number(void **state) {
    (void)state;
    assert_int_equal(cs_outcome_number(text("{\"n\":12,\"status\"")), 12);
    assert_int_equal(cs_outcome_number(text("{\"n\":0,")), -1);
    assert_int_equal(cs_outcome_number(text("{\"n\":-1,")), -1);
    assert_int_equal(cs_outcome_number(text("{\"n\":1")), -1);
    assert_int_equal(cs_outcome_number(text("{\"n\":99999999999999999999,")), -1);
    assert_int_equal(cs_outcome_number(text("{\"m\":1,")), -1);
    assert_int_equal(cs_outcome_number(text("")), -1);
}

#define BOTH(fn)                                                                                             \
    {"memory: " #fn, fn, setup_memory, teardown, NULL}, {                                                    \
        "kafka: " #fn, fn, setup_kafka, teardown, NULL                                                       \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_acknowledges_all),
        BOTH(test_abandoned_does_not_count),
        {"memory: test_memory_keeps", test_memory_keeps, setup_memory, teardown, NULL},
        {"kafka: test_kafka_refuses", test_kafka_refuses, setup_kafka, teardown, NULL},
        cmocka_unit_test(test_cursor_repeated),
        cmocka_unit_test(test_cursor_empty),
        cmocka_unit_test(test_cursor_gap),
        cmocka_unit_test(test_cursor_foreign_record),
        cmocka_unit_test(test_outcome_number),
    };
    mock_kafka_start(&mock, (const char *[]){EVENTS, OUTCOMES, NULL}, PARTITIONS);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mock_kafka_stop(&mock);
    return failed;
}
