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

#include "certsync/model/outcome.h"
#include "certsync/runtime/clock.h"
#include "mock_kafka.h"
#include "worker/checkpoints.h"
#include "worker/cursor.h"
#include "worker/flight.h"
#include "worker/publish.h"

#define EVENTS      "cert.events"
#define OUTCOMES    "cert.outcomes"
#define CHECKPOINTS "cert.checkpoints"
#define PARTITIONS  16
#define WAIT_MS     60000

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
    struct cs_publish_kafka_options o = {&mock.settings, "test", EVENTS, OUTCOMES, CHECKPOINTS, -1};
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

// mark: of outcomes; "" for none.
static void put_bytes(struct cs_publisher *p, enum cs_publish_topic topic, int32_t partition,
                      struct cs_bytes value, const char *mark) {
    struct cs_err err;
    bool event = topic == CS_PUBLISH_EVENTS;
    const struct cs_header headers[] = {
        {"content-type", text("application/cloudevents+json")},
        {event ? "certsync-sig" : CS_OUTCOME_MARK_HEADER, text(event ? "c2ln" : mark)}};
    struct cs_publish_message m = {topic, partition, text("acme"), value, headers, event || mark[0] ? 2 : 1};
    must(p->ops->send(p, &m, &err), &err);
}

static void put(struct cs_publisher *p, enum cs_publish_topic topic, int32_t partition, const char *value) {
    put_bytes(p, topic, partition, text(value), "");
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
    const struct cs_kept_message *list = NULL;
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

// --- the cursor

// What is in a partition of cert.outcomes, in order: outcomes that follow each other, and what somebody else put there.
#define LINKS_MAX 12
// Who marks: no one, this service key, the one before it, who has neither and names this one. A reader has
// no key, this one, or both.
enum writer { NOBODY, OWN, EARLIER, BOTH, LIAR };
struct topic {
    struct cs_crypto *crypto;
    struct cs_outcome_marks *marks[BOTH + 1];
    int32_t partition;
    int64_t proven;
    struct cs_epochs epochs;
    enum writer reader;
    size_t len;
    struct cs_buf values[LINKS_MAX];
    enum writer writers[LINKS_MAX];
    int64_t last;
    uint8_t sha256[LINKS_MAX + 1][32]; // by number
};

static void outcome_by(struct topic *t, enum writer writer, int64_t n, const char *detail) {
    t->writers[t->len] = writer;
    struct cs_buf *b = &t->values[t->len++];
    struct cs_outcome o = {.n = n,
                           .verdict.status = CS_STATUS_REJECTED,
                           .verdict.code = CS_CODE_EVENT_MALFORMED,
                           .account = "acme",
                           .partition = t->partition,
                           .offset = n + 3};
    strcpy(o.log_id, "prod_0a1b2c3d");
    cs_outcome_set_id(t->crypto, &o);
    snprintf(o.verdict.detail, sizeof o.verdict.detail, "%s", detail);
    memcpy(o.prev_sha256, t->sha256[n - 1], 32);
    cs_buf_init(b, 4096);
    cs_outcome_encode(b, &o);
    if (n > t->last && (writer == OWN || writer == EARLIER)) {
        cs_crypto_sha256(t->crypto, cs_buf_bytes(b), t->sha256[n]);
        t->last = n;
    }
}

static void outcome(struct topic *t, int64_t n, const char *detail) {
    outcome_by(t, OWN, n, detail);
}

static void foreign(struct topic *t, const char *value) {
    t->writers[t->len] = NOBODY;
    struct cs_buf *b = &t->values[t->len++];
    cs_buf_init(b, 4096);
    cs_buf_put(b, value, strlen(value));
}

static void topic_begin(struct topic *t) {
    struct cs_err err;
    *t = (struct topic){.partition = 2 + next_partition++, .reader = OWN};
    assert_in_range(t->partition, 2, PARTITIONS - 1);
    must(cs_crypto_new(&t->crypto, &err), &err);
    CS_AUTO(cs_service_keys_clear) struct cs_service_keys keys = {0};
    must(cs_privkey_generate(CS_KEY_P256, 0, &keys.own, &err), &err);
    must(cs_outcome_marks_new(t->crypto, &keys, "prod_0a1b2c3d", &t->marks[EARLIER], &err), &err);
    keys.earlier[0] = keys.own;
    keys.earlier_len = 1;
    must(cs_privkey_generate(CS_KEY_P256, 0, &keys.own, &err), &err);
    must(cs_outcome_marks_new(t->crypto, &keys, "prod_0a1b2c3d", &t->marks[BOTH], &err), &err);
    cs_privkey_free(keys.earlier[0]);
    keys.earlier_len = 0;
    must(cs_outcome_marks_new(t->crypto, &keys, "prod_0a1b2c3d", &t->marks[OWN], &err), &err);
}

static void mark_of(const struct topic *t, size_t i, char ret[CS_OUTCOME_MARK_SIZE]) {
    struct cs_bytes value = cs_buf_bytes(&t->values[i]);
    enum writer writer = t->writers[i];
    ret[0] = '\0';
    if (writer == NOBODY)
        return;
    cs_outcome_mark(t->marks[writer == LIAR ? OWN : writer], t->partition, text("acme"), value, ret);
    if (writer == LIAR)
        ret[CS_OUTCOME_MARK_LEN - 1] = ret[CS_OUTCOME_MARK_LEN - 1] == 'A' ? 'Q' : 'A';
}

static void topic_publish(const struct topic *t) {
    struct cs_publisher *p = open_kafka();
    for (size_t i = 0; i < t->len; i++) {
        char mark[CS_OUTCOME_MARK_SIZE];
        mark_of(t, i, mark);
        put_bytes(p, CS_PUBLISH_OUTCOMES, t->partition, cs_buf_bytes(&t->values[i]), mark);
    }
    wait_all(p);
    cs_publisher_free(p);
}

static void topic_end(struct topic *t) {
    for (size_t i = 0; i < t->len; i++)
        cs_buf_clear(&t->values[i]);
    for (size_t i = OWN; i <= BOTH; i++)
        cs_outcome_marks_free(t->marks[i]);
    cs_crypto_free(t->crypto);
}

static struct cs_position position(const struct topic *t, int64_t n) {
    struct cs_position p = {.outcomes = n};
    memcpy(p.chain_sha256, t->sha256[n], 32);
    return p;
}

static struct cs_topic *open_cursor(void) {
    struct cs_err err;
    struct cs_topic *c = NULL;
    struct cs_topic_options o = {&mock.settings, "test-cursor", OUTCOMES, -1, true};
    must(cs_topic_kafka_new(&o, &c, &err), &err);
    return c;
}

static struct cs_cursor_source source(const struct topic *t, struct cs_topic *c) {
    return (struct cs_cursor_source){c, t->crypto, t->marks[t->reader], t->epochs};
}

static struct cs_cursor_tail tail_at(const struct topic *t, int64_t n) {
    struct cs_topic *c = open_cursor();
    struct cs_cursor_source from = source(t, c);
    struct cs_position at = position(t, n);
    struct cs_cursor_tail tail;
    struct cs_err err;
    must(cs_cursor_tail(&from, t->partition, &at, t->proven, WAIT_MS, &tail, &err), &err);
    cs_topic_free(c);
    return tail;
}

// The step after waiting; false with *err where what comes does not follow.
static bool next(struct cs_cursor_stream *s, enum cs_cursor_step *ret_step, struct cs_published_outcome *ret,
                 struct cs_err *err) {
    int64_t end = now_ms() + WAIT_MS;
    for (;;) {
        if (!cs_cursor_next(s, ret_step, ret, err))
            return false;
        if (*ret_step != CS_CURSOR_WAIT)
            return true;
        assert_true(now_ms() < end);
        poll(NULL, 0, 1);
    }
}

// The stream after number `after` gives the values at these offsets (-1 ends the list), then the end; or what does not follow (ret_err).
static void expect_stream(const struct topic *t, int64_t after, const int64_t *offsets,
                          struct cs_err *ret_err) {
    struct cs_topic *c = open_cursor();
    struct cs_cursor_source from = source(t, c);
    struct cs_position at = position(t, after);
    struct cs_cursor_stream *s = NULL;
    struct cs_published_outcome o;
    enum cs_cursor_step step;
    struct cs_err err;
    must(cs_cursor_open(&from, t->partition, &at, t->proven, &s, &err), &err);
    for (; *offsets >= 0; offsets++) {
        struct cs_bytes want = cs_buf_bytes(&t->values[*offsets]);
        must(next(s, &step, &o, &err), &err);
        assert_int_equal(step, CS_CURSOR_OUTCOME);
        assert_int_equal(o.offset, *offsets);
        assert_int_equal(o.value.len, want.len);
        assert_memory_equal(o.value.data, want.data, want.len);
    }
    if (ret_err) {
        assert_false(next(s, &step, &o, ret_err));
    } else {
        must(next(s, &step, &o, &err), &err);
        assert_int_equal(step, CS_CURSOR_END);
    }
    cs_cursor_close(s);
    cs_topic_free(c);
}

#define STREAM(t, after, ...) expect_stream(t, after, (const int64_t[]){__VA_ARGS__, -1}, NULL)

// A paused old owner has published 2 and 3 again, later: the first of each counts.
static void test_cursor_repeated(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    outcome(&t, 1, "a");
    outcome(&t, 2, "a");
    outcome(&t, 3, "a");
    outcome(&t, 2, "b");
    outcome(&t, 3, "b");
    outcome(&t, 4, "a");
    outcome(&t, 3, "c");
    topic_publish(&t);
    for (int64_t n = 0; n <= 4; n++) {
        struct cs_cursor_tail tail = tail_at(&t, n);
        assert_int_equal(tail.last, 4);
        assert_true(tail.found);
        assert_int_equal(tail.foreign, 0);
    }
    STREAM(&t, 0, 0, 1, 2, 5);
    STREAM(&t, 2, 2, 5);
    topic_end(&t);
}

static void test_cursor_empty(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    struct cs_cursor_tail tail = tail_at(&t, 0);
    assert_int_equal(tail.last, 0);
    assert_int_equal(tail.foreign, 0);
    STREAM(&t, 0, -1);
    topic_end(&t);
}

static void test_cursor_gap(void **state) {
    (void)state;
    struct topic t;
    struct cs_err err;
    topic_begin(&t);
    outcome(&t, 1, "a");
    outcome(&t, 2, "a");
    outcome(&t, 3, "a");
    cs_buf_clear(&t.values[1]);
    t.values[1] = t.values[2]; // number 2 was lost
    t.len = 2;
    // Two more places, so that number 3 has room before it.
    foreign(&t, "hello");
    outcome(&t, 3, "a");
    topic_publish(&t);
    expect_stream(&t, 0, (const int64_t[]){0, -1}, &err);
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_non_null(strstr(err.msg, "is outcome 3, which does not follow outcome 1"));
    topic_end(&t);
}

// Whatever somebody else writes there moves nothing, wherever the reader stands: not the end, not what is compared.
static void test_cursor_foreign_records(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    foreign(&t, CS_OUTCOME_HEAD "0000000000000001\",\"data\":{\"status\":\"applied\"}}");
    outcome(&t, 1, "a");
    foreign(&t, "hello");
    outcome(&t, 2, "a");
    foreign(&t, CS_OUTCOME_HEAD "0000000999999999\"}");
    foreign(&t, CS_OUTCOME_HEAD "0000000999999999\",\"data\":{\"status\":\"applied\"}}");
    foreign(&t, "");
    outcome_by(&t, NOBODY, 9, "a"); // an outcome in form, of a number that has no room before it
    topic_publish(&t);
    for (int64_t n = 0; n <= 2; n++) {
        struct cs_cursor_tail tail = tail_at(&t, n);
        assert_int_equal(tail.last, 2);
        assert_true(tail.found);
        assert_true(tail.foreign >= 5);
    }
    assert_int_equal(tail_at(&t, 0).foreign, 6);
    assert_int_equal(tail_at(&t, 0).foreign_at, 0);
    STREAM(&t, 0, 1, 3);
    STREAM(&t, 1, 3);
    STREAM(&t, 2, -1);
    topic_end(&t);
}

// The catalog stands on an outcome that the topic has not.
static void test_cursor_another_history(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    outcome(&t, 1, "a");
    outcome(&t, 2, "a");
    topic_publish(&t);
    memset(t.sha256[2], 7, 32);
    struct cs_cursor_tail tail = tail_at(&t, 2);
    assert_false(tail.found);
    assert_true(tail.other);
    assert_int_equal(tail.last, 2);
    topic_end(&t);
}

// What fits in form and chain, and is put before, between and behind the true ones by who may write to
// the topic and has no service key.
static void test_cursor_planted(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    outcome_by(&t, NOBODY, 1, "planted");
    outcome_by(&t, LIAR, 1, "planted");
    outcome(&t, 1, "a");
    outcome_by(&t, NOBODY, 2, "a"); // the very outcome that will follow
    outcome_by(&t, EARLIER, 2, "planted");
    t.last = 1; // number 2 is yet to come
    outcome(&t, 2, "a");
    outcome_by(&t, NOBODY, 1, "a"); // a copy of a true one, without its mark
    outcome_by(&t, OWN, 1, "a");    // and with it
    outcome_by(&t, LIAR, 3, "planted");
    outcome_by(&t, NOBODY, 3, "planted");
    topic_publish(&t);
    for (int64_t n = 0; n <= 2; n++) {
        struct cs_cursor_tail tail = tail_at(&t, n);
        assert_int_equal(tail.last, 2);
        assert_true(tail.found);
        assert_int_equal(tail.foreign_at, 0);
        assert_int_equal(tail.others, 0);
        assert_int_equal(tail.foreign, 7);
        assert_int_equal(tail.unmarked, 4);
    }
    STREAM(&t, 0, 2, 5);
    STREAM(&t, 1, 5);
    STREAM(&t, 2, -1);
    topic_end(&t);
}

// The service key was exchanged: what the one before it marked counts up to the first one of the new one, and
// as far as a checkpoint of the new one reaches.
static void test_cursor_another_service_key(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    outcome_by(&t, EARLIER, 1, "a");
    outcome_by(&t, EARLIER, 2, "a");
    outcome_by(&t, EARLIER, 3, "planted"); // by who stole it, or says so, before the new one has marked any
    topic_publish(&t);
    static const enum writer readers[] = {OWN, BOTH};
    for (size_t i = 0; i < CS_ARRAY_LEN(readers); i++) {
        t.reader = readers[i];
        t.proven = 0;
        assert_int_equal(tail_at(&t, 0).last, 3);
        assert_int_equal(tail_at(&t, 0).others, t.reader == OWN ? 3 : 0);
        STREAM(&t, 0, 0, 1, 2);
        t.proven = 2;
        assert_int_equal(tail_at(&t, 0).last, 2);
        assert_int_equal(tail_at(&t, 2).last, 2);
        assert_int_equal(tail_at(&t, 2).foreign, 1);
        STREAM(&t, 0, 0, 1);
        STREAM(&t, 2, -1);
    }
    topic_end(&t);
}

// Whoever knows the earlier key is not led astray by what others said in its name, while it was the present one.
static void test_cursor_earlier_service_key(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    outcome_by(&t, EARLIER, 1, "a");
    outcome_by(&t, LIAR, 2, "planted");
    outcome_by(&t, EARLIER, 2, "a");
    outcome(&t, 3, "a");
    outcome_by(&t, EARLIER, 4, "planted");
    outcome_by(&t, EARLIER, 2, "a"); // late, by an old owner
    topic_publish(&t);
    t.reader = BOTH;
    for (int64_t n = 0; n <= 3; n++) {
        assert_int_equal(tail_at(&t, n).last, 3);
        assert_true(tail_at(&t, n).found);
    }
    assert_int_equal(tail_at(&t, 0).foreign, 3);
    STREAM(&t, 0, 0, 2, 3);
    STREAM(&t, 3, -1);
    topic_end(&t);
}

// Without a service key there is only whether there is a mark.
static void test_cursor_without_key(void **state) {
    (void)state;
    struct topic t;
    topic_begin(&t);
    outcome(&t, 1, "a");
    outcome_by(&t, NOBODY, 2, "planted");
    outcome(&t, 2, "a");
    topic_publish(&t);
    t.reader = NOBODY;
    for (int64_t n = 0; n <= 2; n++)
        assert_int_equal(tail_at(&t, n).last, 2);
    STREAM(&t, 0, 0, 2);
    topic_end(&t);
}

// An earlier build marked nothing: what to do is said, not that something is missing.
static void test_unmarked(void **state) {
    (void)state;
    struct topic t;
    struct cs_stand s = {.position.outcomes = 2};
    struct cs_err err;
    topic_begin(&t);
    outcome_by(&t, NOBODY, 1, "a");
    t.last = 0;
    topic_publish(&t);
    struct cs_cursor_tail tail = tail_at(&t, 0);
    assert_int_equal(tail.last, 0);
    assert_int_equal(tail.unmarked, 1);
    assert_false(cs_stand_follow(&s, &tail, OUTCOMES, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_non_null(strstr(err.msg, "without the mark of a service key (header certsync-mark)"));
    topic_end(&t);
}

static void test_outcome_number(void **state) {
    (void)state;
    assert_int_equal(cs_outcome_number(text(CS_OUTCOME_HEAD "0000000000000012\"")), 12);
    assert_int_equal(cs_outcome_number(text(CS_OUTCOME_HEAD "0000000000000000\",")), -1);
    assert_int_equal(cs_outcome_number(text(CS_OUTCOME_HEAD "-000000000000001\",")), -1);
    assert_int_equal(cs_outcome_number(text(CS_OUTCOME_HEAD "0000000000000012")), -1);
    assert_int_equal(cs_outcome_number(text(CS_OUTCOME_HEAD "9999999999999999\",")), -1);
    assert_int_equal(cs_outcome_number(text("{\"n\":1,")), -1);
    assert_int_equal(cs_outcome_number(text("")), -1);
}

// --- checkpoints

struct heads {
    struct cs_crypto *crypto;
    struct cs_note_signer *signer;
    struct cs_note_signer *stranger;
    struct cs_publisher *p;
    struct cs_topic *outcomes, *checkpoints;
};

static void heads_begin(struct heads *h) {
    struct cs_err err;
    CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *other = NULL;
    must(cs_crypto_new(&h->crypto, &err), &err);
    must(cs_privkey_generate(CS_KEY_P256, 0, &service, &err), &err);
    must(cs_privkey_generate(CS_KEY_P256, 0, &other, &err), &err);
    must(cs_checkpoint_signer(h->crypto, service, "prod", &h->signer, &err), &err);
    must(cs_checkpoint_signer(h->crypto, other, "prod", &h->stranger, &err), &err);
    h->p = open_kafka();
    h->outcomes = open_cursor();
    must(cs_topic_kafka_beside(h->outcomes, CHECKPOINTS, &h->checkpoints, &err), &err);
}

static void heads_end(struct heads *h) {
    cs_topic_free(h->checkpoints);
    cs_topic_free(h->outcomes);
    cs_publisher_free(h->p);
    cs_note_signer_free(h->signer);
    cs_note_signer_free(h->stranger);
    cs_crypto_free(h->crypto);
}

// Publishes a checkpoint of that many outcomes, whose root is all `fill`, and waits for its acknowledgement.
static void publish_head(struct heads *h, const struct cs_note_signer *signer, const char *log_id,
                         int32_t partition, int64_t size, int fill) {
    struct cs_checkpoint at = {.size = size};
    struct cs_err err;
    bool waits = true;
    int64_t done = 0;
    int64_t end = now_ms() + WAIT_MS;
    cs_checkpoint_origin(log_id, partition, 0, at.origin);
    memset(at.root.sha256, fill, 32);
    must(cs_checkpoints_send(h->p, h->crypto, signer, partition, 0, &at, &err), &err);
    assert_false(cs_checkpoints_send(h->p, h->crypto, signer, partition, 0, &at, &err)); // one at a time
    assert_int_equal(err.kind, CS_ERR_RETRY);
    while (waits) {
        must(h->p->ops->checkpointed(h->p, partition, &waits, &done, &err), &err);
        assert_true(now_ms() < end);
        poll(NULL, 0, 1);
    }
    assert_int_equal(done, size);
}

static struct cs_checkpoint newest_of(struct heads *h, int32_t partition, int64_t *ret_others) {
    struct cs_checkpoint at;
    struct cs_err err;
    must(cs_checkpoints_newest(h->checkpoints, h->crypto, cs_note_signer_key(h->signer), "prod", partition, 0,
                               WAIT_MS, &at, ret_others, &err),
         &err);
    return at;
}

static void test_checkpoints(void **state) {
    (void)state;
    struct heads h;
    int32_t mine = next_partition++;
    int64_t others = 0;
    heads_begin(&h);
    assert_int_equal(newest_of(&h, mine, &others).size, 0);
    // A batch that is under way does not mind them, nor they it.
    put(h.p, CS_PUBLISH_OUTCOMES, mine, "{}");
    publish_head(&h, h.signer, "prod", mine, 7, 1);
    wait_all(h.p);
    publish_head(&h, h.signer, "prod", mine, 9, 2);
    assert_int_equal(newest_of(&h, mine, &others).size, 9);
    assert_int_equal(others, 0);
    // An old owner's comes later; another key's, another log's and another partition's are none of ours.
    publish_head(&h, h.signer, "prod", mine, 8, 3);
    publish_head(&h, h.stranger, "prod", mine, 99, 4);
    publish_head(&h, h.signer, "test", mine, 99, 4);
    struct cs_checkpoint at = newest_of(&h, mine, &others);
    assert_int_equal(at.size, 9);
    assert_int_equal(at.root.sha256[0], 2);
    assert_int_equal(others, 2);
    heads_end(&h);
}

// What is published must be what a checkpoint says, as soon as the catalog gets there.
static void test_checkpoint_holds(void **state) {
    (void)state;
    struct cs_crypto *crypto = NULL;
    struct cs_checkpoint at = {.origin = "prod/partitions/0"};
    struct cs_stand s = {.published = 5};
    struct cs_hash leaf = {{1}};
    struct cs_err err;
    must(cs_crypto_new(&crypto, &err), &err);
    for (; s.position.outcomes < 3; s.position.outcomes++)
        cs_merkle_append(crypto, &s.position.edge, s.position.outcomes, &leaf);
    cs_merkle_root(crypto, &s.position.edge, 3, &at.root);
    must(cs_stand_hold(&s, crypto, &at, CHECKPOINTS, &err), &err); // none
    at.size = 3;
    must(cs_stand_hold(&s, crypto, &at, CHECKPOINTS, &err), &err);
    at.root.sha256[0] ^= 1;
    assert_false(cs_stand_hold(&s, crypto, &at, CHECKPOINTS, &err));
    assert_int_equal(err.kind, CS_ERR_FATAL);
    assert_non_null(strstr(err.msg, "a fork: topic cert.checkpoints"));
    at.size = 5; // it is looked at when the catalog gets there
    must(cs_stand_hold(&s, crypto, &at, CHECKPOINTS, &err), &err);
    cs_crypto_free(crypto);
}

#define IN_BOTH(fn)                                                                                          \
    {"memory: " #fn, fn, setup_memory, teardown, NULL}, {                                                    \
        "kafka: " #fn, fn, setup_kafka, teardown, NULL                                                       \
    }

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_BOTH(test_acknowledges_all),
        IN_BOTH(test_abandoned_does_not_count),
        {"memory: test_memory_keeps", test_memory_keeps, setup_memory, teardown, NULL},
        {"kafka: test_kafka_refuses", test_kafka_refuses, setup_kafka, teardown, NULL},
        cmocka_unit_test(test_cursor_repeated),
        cmocka_unit_test(test_cursor_empty),
        cmocka_unit_test(test_cursor_gap),
        cmocka_unit_test(test_cursor_foreign_records),
        cmocka_unit_test(test_cursor_another_history),
        cmocka_unit_test(test_cursor_planted),
        cmocka_unit_test(test_cursor_another_service_key),
        cmocka_unit_test(test_cursor_earlier_service_key),
        cmocka_unit_test(test_cursor_without_key),
        cmocka_unit_test(test_unmarked),
        cmocka_unit_test(test_outcome_number),
        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_checkpoint_holds),
    };
    mock_kafka_start(&mock, (const char *[]){EVENTS, OUTCOMES, CHECKPOINTS, NULL}, PARTITIONS);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mock_kafka_stop(&mock);
    return failed;
}
