// SPDX-License-Identifier: Apache-2.0
//
// Where published outcomes are looked for: from which offset on, and what is found behind any number
// of records that no consumer wrote.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/outcome.h"
#include "worker/cursor.h"

#define LOG_ID    "test_0a1b2c3d"
#define OUTCOMES  3
#define STRANGERS (CS_CURSOR_TAIL + 100)

// A topic with one partition: OUTCOMES outcomes, then STRANGERS records by somebody else.
struct fixture {
    struct cs_topic topic;
    struct cs_crypto *crypto;
    struct cs_outcome_marks *marks;
    struct cs_buf values[OUTCOMES];
    uint8_t hashes[OUTCOMES][32];
    char mark[OUTCOMES][CS_OUTCOME_MARK_SIZE];
    struct cs_header headers[OUTCOMES];
    int64_t records, from; // from: where a stream was opened last
};
struct stream {
    struct cs_topic_stream base;
    int64_t at, end;
};

static bool bounds(struct cs_topic *t, int32_t partition, int64_t timeout_ms, int64_t *ret_low,
                   int64_t *ret_high, struct cs_err *err) {
    (void)partition;
    (void)timeout_ms;
    (void)err;
    *ret_low = 0;
    *ret_high = ((struct fixture *)t)->records;
    return true;
}

static bool open_stream(struct cs_topic *t, int32_t partition, int64_t from, int64_t end,
                        struct cs_topic_stream **ret, struct cs_err *err) {
    (void)err;
    struct stream *s = calloc(1, sizeof *s);
    assert_non_null(s);
    assert_true(from >= 0); // Kafka has other meanings for what is below
    ((struct fixture *)t)->from = from;
    *s = (struct stream){{t, partition}, from, end};
    *ret = &s->base;
    return true;
}

static bool next(struct cs_topic_stream *base, int timeout_ms, enum cs_topic_step *ret_step,
                 struct cs_record *ret, struct cs_err *err) {
    (void)timeout_ms;
    (void)err;
    struct stream *s = (struct stream *)base;
    struct fixture *f = (struct fixture *)base->topic;
    *ret_step = s->at < s->end ? CS_TOPIC_RECORD : CS_TOPIC_END;
    if (s->at >= s->end)
        return true;
    *ret = (struct cs_record){.offset = s->at, .value = {(const uint8_t *)"no outcome", 10}};
    if (s->at < OUTCOMES) {
        ret->value = cs_buf_bytes(&f->values[s->at]);
        ret->headers = &f->headers[s->at];
        ret->headers_len = 1;
    }
    s->at++;
    return true;
}

static void close_stream(struct cs_topic_stream *s) {
    free(s);
}

static void make_outcome(struct fixture *f, size_t i) {
    struct cs_outcome o = {
        .n = (int64_t)i + 1,
        .offset = (int64_t)i,
        .verdict = {.status = CS_STATUS_REJECTED, .code = CS_CODE_EVENT_MALFORMED},
    };
    struct cs_err err;
    snprintf(o.log_id, sizeof o.log_id, "%s", LOG_ID);
    cs_outcome_set_id(f->crypto, &o);
    if (i > 0)
        memcpy(o.prev_sha256, f->hashes[i - 1], sizeof o.prev_sha256);
    cs_buf_init(&f->values[i], 4096);
    cs_outcome_encode(&f->values[i], &o);
    assert_true(cs_buf_ok(&f->values[i], &err));
    struct cs_bytes value = cs_buf_bytes(&f->values[i]);
    cs_crypto_sha256(f->crypto, value, f->hashes[i]);
    cs_outcome_mark(f->marks, 0, (struct cs_bytes){0}, value, f->mark[i]);
    f->headers[i] =
        (struct cs_header){CS_OUTCOME_MARK_HEADER, {(const uint8_t *)f->mark[i], CS_OUTCOME_MARK_LEN}};
}

static int set_up(void **state) {
    static const struct cs_topic_ops ops = {bounds, open_stream, next, close_stream, NULL};
    struct fixture *f = calloc(1, sizeof *f);
    struct cs_service_keys service = {0};
    struct cs_err err;
    assert_non_null(f);
    f->topic = (struct cs_topic){&ops, "cert.outcomes"};
    f->records = OUTCOMES + STRANGERS;
    assert_true(cs_crypto_new(&f->crypto, &err));
    assert_true(cs_privkey_generate(CS_KEY_P256, 0, &service.own, &err));
    assert_true(cs_outcome_marks_new(f->crypto, &service, LOG_ID, &f->marks, &err));
    cs_service_keys_clear(&service);
    for (size_t i = 0; i < OUTCOMES; i++)
        make_outcome(f, i);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < OUTCOMES; i++)
        cs_buf_clear(&f->values[i]);
    cs_outcome_marks_free(f->marks);
    cs_crypto_free(f->crypto);
    free(f);
    return 0;
}

static struct cs_position at_outcome(const struct fixture *f, int64_t n) {
    struct cs_position at = {.next_offset = n, .outcomes = n};
    if (n > 0)
        memcpy(at.chain_sha256, f->hashes[n - 1], sizeof at.chain_sha256);
    return at;
}

// Whatever the catalog stands on, also on nothing, as after Redis was lost: what is published is found.
static void found_behind_strangers(void **state) {
    struct fixture *f = *state;
    struct cs_cursor_source from = {&f->topic, f->crypto, f->marks, {0}};
    for (int64_t n = 0; n <= OUTCOMES; n++) {
        struct cs_position at = at_outcome(f, n);
        struct cs_cursor_tail tail;
        struct cs_err err;
        assert_true(cs_cursor_tail(&from, 0, &at, 0, 1000, &tail, &err));
        assert_int_equal(tail.last, OUTCOMES);
        assert_true(tail.found);
        assert_int_equal(tail.foreign, STRANGERS);
        assert_int_equal(tail.foreign_at, OUTCOMES);
        assert_int_equal(tail.end, f->records);
    }
}

// Number n is never before offset n - 1: a log of millions is not read from its begin.
static void opened_at_the_catalogs_own(void **state) {
    struct fixture *f = *state;
    struct cs_cursor_source from = {&f->topic, f->crypto, f->marks, {0}};
    for (int64_t n = 0; n <= OUTCOMES; n++) {
        struct cs_position at = at_outcome(f, n);
        struct cs_cursor_stream *s = NULL;
        struct cs_err err;
        assert_true(cs_cursor_open(&from, 0, &at, 0, &s, &err));
        assert_int_equal(f->from, n > 0 ? n - 1 : 0);
        cs_cursor_close(s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(found_behind_strangers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(opened_at_the_catalogs_own, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
}
