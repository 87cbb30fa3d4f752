// SPDX-License-Identifier: Apache-2.0
//
// The form of outcomes is tested with the entries' (test_entry.c); here is what they say, and the document of
// an outcome.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "certsync/base/text.h"
#include "entry_samples.h"

static struct cs_bytes bytes_of(const char *text) {
    return (struct cs_bytes){(const uint8_t *)text, strlen(text)};
}

static void statuses(void **state) {
    (void)state;
    static const char *const names[] = {"applied", "pending", "rejected", "duplicate"};
    enum cs_status s = 0;
    for (unsigned i = 0; i < CS_ARRAY_LEN(names); i++) {
        assert_string_equal(cs_status_name((enum cs_status)(i + 1)), names[i]);
        assert_true(cs_status_parse(names[i], strlen(names[i]), &s));
        assert_int_equal(s, i + 1);
    }
    assert_false(cs_status_parse("appliedx", 8, &s));
    assert_false(cs_status_parse("", 0, &s));
    assert_string_equal(cs_status_name((enum cs_status)0), "");
    assert_string_equal(cs_status_name((enum cs_status)5), "");
}

static void what_an_outcome_says(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_outcome_clear) struct cs_outcome o;
    assert_true(cs_outcome_decode(bytes_of(entry_sample("outcome")->text), &o, &err));
    assert_int_equal(o.n, 12);
    assert_int_equal(o.verdict.status, CS_STATUS_REJECTED);
    assert_int_equal(o.verdict.code, CS_CODE_EVENT_REPLAYED);
    assert_string_equal(o.verdict.detail, "said twice");
    assert_int_equal(o.type, CS_EVENT_SHARE_ANSWER);
    assert_string_equal(o.event, SAMPLE_ID);
    assert_string_equal(o.account, "acme");
    assert_string_equal(o.kid, SAMPLE_KID);
    assert_string_equal(o.verdict.subject, SAMPLE_ID2);
    assert_int_equal(o.partition, 3);
    assert_int_equal(o.offset, 11);
    assert_int_equal(o.time_ms, INT64_C(1764000000007));
    assert_string_equal(o.log_id, "prod_0a1b2c3d");
    assert_string_equal(o.id, SAMPLE_ID2);
    assert_string_equal(o.verdict.label, "web-1");
    assert_string_equal(o.verdict.name, "www");
    assert_int_equal(o.verdict.leaves_len, 2);
    assert_string_equal(o.verdict.leaves[0].serial, "-80");
    assert_int_equal(o.verdict.leaves[0].sha256[31], 0x1f);
    assert_int_equal(o.verdict.leaves[0].not_after_s, INT64_C(1826971200));
    assert_int_equal(o.verdict.leaves[1].not_after_s, 0);
    assert_int_equal(o.record_sha256[31], 0x1f);
    assert_int_equal(o.seq, 42);
    assert_int_equal(o.verdict.watermark, 50);
    assert_int_equal(o.verdict.gap, 7);
    assert_int_equal(o.verdict.version, 2);
    assert_int_equal(o.verdict.concludes_len, 2);
    assert_string_equal(o.verdict.concludes[1].event, SAMPLE_ID2);
    assert_int_equal(o.verdict.concludes[1].status, CS_STATUS_REJECTED);
    assert_int_equal(o.verdict.concludes[1].code, CS_CODE_SHARE_CLOSED);
    assert_string_equal(o.verdict.concludes[1].account, "");
    assert_int_equal(o.prev_sha256[0], 0xff);
    assert_false(o.verdict.signer_known); // not written
}

// A record of which nothing is known but where it lies.
static void the_least_outcome(void **state) {
    (void)state;
    struct cs_outcome o = {.n = 1, .verdict = {.status = CS_STATUS_REJECTED, .code = CS_CODE_EVENT_UNSIGNED}};
    strcpy(o.log_id, "prod_0a1b2c3d");
    strcpy(o.id, SAMPLE_ID2);
    memset(o.prev_sha256, 0xff, 31);
    for (size_t i = 0; i < sizeof o.record_sha256; i++)
        o.record_sha256[i] = (uint8_t)i;
    struct cs_buf b;
    cs_buf_init(&b, 10000);
    cs_outcome_encode(&b, &o);
    assert_string_equal((const char *)b.data, entry_sample("outcome of noise")->text);
    cs_buf_clear(&b);
    cs_outcome_clear(&o);
}

// Details are made by the decoder of events: all that it says must fit into an outcome.
static void a_malformed_events_detail(void **state) {
    (void)state;
    struct cs_err err;
    struct cs_event *ev = NULL;
    const char *bad =
        "{\"0\\u0007\\ud83d\\ude00\xc2\x85\xc3\xa9\\\"456789012345678901234567890123456789\":1}";
    assert_false(cs_event_decode(bytes_of(bad), &ev, &err));
    struct cs_outcome o = {.n = 1, .verdict = {.status = CS_STATUS_REJECTED, .code = err.code}}, again;
    strcpy(o.log_id, "prod_0a1b2c3d");
    strcpy(o.id, SAMPLE_ID2);
    strcpy(o.verdict.detail, err.msg);
    struct cs_buf b;
    cs_buf_init(&b, 10000);
    cs_outcome_encode(&b, &o);
    assert_true(cs_outcome_decode(cs_buf_bytes(&b), &again, &err));
    assert_string_equal(again.verdict.detail, o.verdict.detail);
    assert_string_equal(again.verdict.detail,
                        "0\\x07\xf0\x9f\x98\x80\\xC2\\x85\xc3\xa9\\x2245678901234567890: unknown member");
    cs_outcome_clear(&again);
    cs_buf_clear(&b);
}

// The id is that of its place, for whoever computes it: here with
// printf 'certsync.outcome.v1\0prod_0a1b2c3d\0%d\0%d\0' 3 12 | sha256sum, version 8, variant 10.
static void ids(void **state) {
    (void)state;
    struct cs_err err;
    CS_AUTO(cs_crypto_free) struct cs_crypto *c = NULL;
    assert_true(cs_crypto_new(&c, &err));
    struct cs_outcome o = {.n = 12, .partition = 3, .log_id = "prod_0a1b2c3d"};
    cs_outcome_set_id(c, &o);
    assert_string_equal(o.id, "c7e56b00-9681-891d-860b-d0047dc58f1a");
    cs_uuid before;
    memcpy(before, o.id, sizeof before);
    o.n = 2; // 3, 12 is not 31, 2
    o.partition = 31;
    cs_outcome_set_id(c, &o);
    assert_string_not_equal(o.id, before);
}

// A time has one form, whatever a record's was.
static void times(void **state) {
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {{0, "1970-01-01T00:00:00.000Z"},
                 {-1, "1970-01-01T00:00:00.000Z"},
                 {INT64_MIN, "1970-01-01T00:00:00.000Z"},
                 {INT64_C(1764000000999), "2025-11-24T16:00:00.999Z"},
                 {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
                 {INT64_MAX, "9999-12-31T23:59:59.999Z"}};
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        char text[CS_TIME_MS_TEXT_SIZE];
        int64_t again;
        cs_time_ms_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
        assert_true(cs_time_ms_parse(text, strlen(text), &again));
        char text_again[CS_TIME_MS_TEXT_SIZE];
        cs_time_ms_format(again, text_again);
        assert_string_equal(text_again, text);
    }
    static const char *const bad[] = {"2025-11-24T16:00:00Z",      "2025-11-24T16:00:00.1Z",
                                      "2025-11-24T16:00:00.1234Z", "2025-11-24T16:00:00.12aZ",
                                      "2025-11-24T16:00:00,123Z",  ""};
    int64_t ignored;
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++)
        assert_false(cs_time_ms_parse(bad[i], strlen(bad[i]), &ignored));
}

static void documents(void **state) {
    (void)state;
    struct cs_buf b;
    cs_buf_init(&b, 10000);
    cs_outcome_doc_encode(&b, bytes_of("{\"n\":3}"), NULL, NULL, 0);
    assert_string_equal((const char *)b.data, "{\"outcome\":{\"n\":3}}");
    cs_buf_reset(&b);
    struct cs_conclusion final = {.status = CS_STATUS_REJECTED, .code = CS_CODE_SHARE_OWNER};
    cs_outcome_doc_encode(&b, bytes_of("{\"n\":3}"), &final, SAMPLE_ID, 9);
    assert_string_equal((const char *)b.data, "{\"outcome\":{\"n\":3},\"final\":{\"status\":\"rejected\","
                                              "\"code\":\"share.owner\",\"by\":\"" SAMPLE_ID "\",\"n\":9}}");
    cs_buf_reset(&b);
    final = (struct cs_conclusion){.status = CS_STATUS_APPLIED};
    cs_outcome_doc_encode(&b, bytes_of("{\"n\":3}"), &final, SAMPLE_ID, 9);
    assert_string_equal((const char *)b.data,
                        "{\"outcome\":{\"n\":3},\"final\":{\"status\":\"applied\",\"by\":\"" SAMPLE_ID
                        "\",\"n\":9}}");
    cs_buf_clear(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses),
        cmocka_unit_test(what_an_outcome_says),
        cmocka_unit_test(the_least_outcome),
        cmocka_unit_test(a_malformed_events_detail),
        cmocka_unit_test(documents),
        cmocka_unit_test(ids),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
