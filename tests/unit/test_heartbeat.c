// SPDX-License-Identifier: Apache-2.0
//
// Heartbeats: their form, and what their bytes, their place and the catalog say of them.
#include "certsync/model/heartbeat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"

static int setup(void **state) {
    *state = fx_new(4);
    return 0;
}

static int teardown(void **state) {
    fx_free(*state);
    return 0;
}

static struct cs_heartbeat beat_of(struct fx *fx, const struct fx_key *k) {
    struct cs_heartbeat h = {
        .time_s = fx_now_s(fx),
        .seq = fx->now_ms,
        .host = {.version = "1.0", .certificates = 3, .last_scan_s = 1795435140, .spool = 2}};
    snprintf(h.id, sizeof h.id, "%s", fx_uuid(fx));
    snprintf(h.log_id, sizeof h.log_id, "%s", FX_LOG);
    snprintf(h.account, sizeof h.account, "acme");
    snprintf(h.kid, sizeof h.kid, "%s", k->kid);
    return h;
}

static struct cs_bytes encoded(struct fx *fx, const struct cs_heartbeat *h) {
    struct cs_buf b;
    struct cs_err err;
    cs_buf_init(&b, CS_HEARTBEAT_MAX);
    if (!cs_heartbeat_encode(h, &b, &err))
        fail_msg("%s", err.msg);
    uint8_t *copy = fx_alloc(fx, b.len + 1);
    memcpy(copy, b.data, b.len);
    struct cs_bytes ret = {copy, b.len};
    cs_buf_clear(&b);
    return ret;
}

static struct fx_record *record_of(struct fx *fx, struct fx_key *k, const struct cs_heartbeat *h) {
    struct fx_record *r = fx_record_of(fx, k, h->account, encoded(fx, h));
    r->r.partition = fx_partition_of(fx, h->account);
    r->r.timestamp_ms = fx->now_ms;
    return r;
}

static void assert_end(struct fx *fx, const struct fx_record *r, enum cs_heartbeat_end end) {
    struct cs_heartbeat_read read;
    assert_string_equal(cs_heartbeat_end_name(cs_heartbeat_read(&r->r, FX_LOG, fx->partitions, &read)),
                        cs_heartbeat_end_name(end));
}

static void what_is_written_is_read(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_key_new(fx);
    struct cs_heartbeat h = beat_of(fx, k), again;
    struct cs_err err;
    assert_true(cs_heartbeat_decode(encoded(fx, &h), &again, &err));
    assert_string_equal(again.kid, k->kid);
    assert_string_equal(again.account, "acme");
    assert_string_equal(again.log_id, FX_LOG);
    assert_int_equal(again.seq, fx->now_ms);
    assert_int_equal(again.host.certificates, 3);
    assert_int_equal(again.host.last_scan_s, 1795435140);
    // It is no event, and an event is no heartbeat.
    struct cs_event *ev = NULL;
    assert_false(cs_event_decode(encoded(fx, &h), &ev, &err));
    assert_int_equal(err.code, CS_CODE_EVENT_UNKNOWN_TYPE);
    struct cs_event revoke = fx_event(fx, CS_EVENT_AGENT_REVOKE, "acme", k, k->kid);
    assert_end(fx, fx_record(fx, k, &revoke), CS_HEARTBEAT_MALFORMED);
}

// Each with one text of a good one replaced.
static void malformed(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_key_new(fx), *other = fx_key_new(fx);
    const char *const bad[][2] = {
        {"\"1.0\",\"type\"", "\"2.0\",\"type\""},
        {"agent.heartbeat", "agent.heartbeet"},
        {"/accounts/acme", ""},
        {"\"version\":\"1.0\"", "\"version\":\"\""},
        {"\"certificates\":3", "\"certificates\":-1"},
        {"\"certificates\":3", "\"certificates\":3,\"more\":1"},
        {"\"spool\":2", "\"spool\":2.5"},
        {",\"spool\":2", ""},
        {"\"subject\"", "\"subject\":\"a\",\"subject\""},
        {fx_text(fx, "\"subject\":\"%s\"", k->kid), fx_text(fx, "\"subject\":\"%s\"", other->kid)},
        {"{\"specversion\"", "[{\"specversion\""},
    };
    struct cs_heartbeat h = beat_of(fx, k);
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        struct cs_bytes good = encoded(fx, &h);
        const char *text = (const char *)good.data, *at = strstr(text, bad[i][0]);
        assert_non_null(at);
        const char *edited =
            fx_text(fx, "%.*s%s%s", (int)(at - text), text, bad[i][1], at + strlen(bad[i][0]));
        struct fx_record *r =
            fx_record_of(fx, k, "acme", (struct cs_bytes){(const uint8_t *)edited, strlen(edited)});
        assert_end(fx, r, CS_HEARTBEAT_MALFORMED);
    }
    struct fx_record *r = record_of(fx, k, &h);
    r->r.value.data = NULL;
    assert_end(fx, r, CS_HEARTBEAT_MALFORMED);
    r = record_of(fx, k, &h);
    r->r.headers_len = 1; // no signature
    assert_end(fx, r, CS_HEARTBEAT_MALFORMED);
    r = record_of(fx, k, &h);
    r->headers[0].name = "content"; // no content-type
    assert_end(fx, r, CS_HEARTBEAT_MALFORMED);
    char *large = fx_alloc(fx, 300000);
    memset(large, ' ', 300000);
    struct cs_bytes good = encoded(fx, &h);
    memcpy(large, good.data, good.len);
    r = fx_record_of(fx, k, "acme", (struct cs_bytes){(const uint8_t *)large, CS_HEARTBEAT_MAX});
    r->r.timestamp_ms = fx->now_ms;
    r->r.partition = fx_partition_of(fx, "acme");
    assert_end(fx, r, CS_HEARTBEAT_TAKEN); // white space at the end is JSON's
    r->r.value.len = CS_HEARTBEAT_MAX + 1;
    assert_end(fx, r, CS_HEARTBEAT_MALFORMED);
    r->r.value.len = 300000;
    assert_end(fx, r, CS_HEARTBEAT_MALFORMED);
}

static void log_and_place(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_key_new(fx);
    struct cs_heartbeat h = beat_of(fx, k);
    assert_end(fx, record_of(fx, k, &h), CS_HEARTBEAT_TAKEN);
    snprintf(h.log_id, sizeof h.log_id, FX_DEPLOYMENT "_0a1b2c3e");
    assert_end(fx, record_of(fx, k, &h), CS_HEARTBEAT_OTHER_LOG);
    h = beat_of(fx, k);
    struct fx_record *r = record_of(fx, k, &h);
    r->r.partition = (r->r.partition + 1) % fx->partitions;
    assert_end(fx, r, CS_HEARTBEAT_MISROUTED);
    r = record_of(fx, k, &h);
    r->r.key = (struct cs_bytes){(const uint8_t *)"other", 5};
    assert_end(fx, r, CS_HEARTBEAT_MISROUTED);
    r->r.key = (struct cs_bytes){NULL, 0};
    assert_end(fx, r, CS_HEARTBEAT_MISROUTED);
}

static void clocks(void **state) {
    struct fx *fx = *state;
    struct fx_key *k = fx_key_new(fx);
    static const struct {
        int64_t off_ms;
        enum cs_heartbeat_end end;
    } cases[] = {{CS_HEARTBEAT_AHEAD_MS, CS_HEARTBEAT_TAKEN},
                 {CS_HEARTBEAT_AHEAD_MS + 1, CS_HEARTBEAT_CLOCK},
                 {-CS_HEARTBEAT_BEHIND_MS, CS_HEARTBEAT_TAKEN},
                 {-CS_HEARTBEAT_BEHIND_MS - 1, CS_HEARTBEAT_CLOCK},
                 {CS_SEQ_MAX - 1 - FX_NOW_MS, CS_HEARTBEAT_CLOCK}};
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_heartbeat h = beat_of(fx, k);
        h.seq += cases[i].off_ms;
        assert_end(fx, record_of(fx, k, &h), cases[i].end);
    }
    struct cs_heartbeat h = beat_of(fx, k);
    struct fx_record *r = record_of(fx, k, &h);
    r->r.timestamp_ms = -1; // the broker told none
    assert_end(fx, r, CS_HEARTBEAT_CLOCK);
}

static void whose_key_counts(void **state) {
    (void)state;
    struct cs_agent a = {.state = CS_AGENT_ENROLLED, .can = CS_CAN_READ};
    assert_int_equal(cs_heartbeat_may(NULL, 5000), CS_HEARTBEAT_UNKNOWN_KEY);
    assert_int_equal(cs_heartbeat_may(&a, 5000), CS_HEARTBEAT_TAKEN);
    a.expires_s = 5;
    assert_int_equal(cs_heartbeat_may(&a, 4999), CS_HEARTBEAT_TAKEN);
    assert_int_equal(cs_heartbeat_may(&a, 5000), CS_HEARTBEAT_ENDED_KEY);
    a.expires_s = 0;
    a.can |= CS_CAN_ENROLL;
    assert_int_equal(cs_heartbeat_may(&a, 5000), CS_HEARTBEAT_TOKEN);
    a.state = CS_AGENT_REVOKED;
    assert_int_equal(cs_heartbeat_may(&a, 5000), CS_HEARTBEAT_ENDED_KEY);
    a.state = CS_AGENT_ROTATED;
    assert_int_equal(cs_heartbeat_may(&a, 5000), CS_HEARTBEAT_ENDED_KEY);
}

static void what_is_remembered(void **state) {
    (void)state;
    static const char text[] =
        "{\"at_ms\":1795435200000,\"seq\":1795435199990,\"version\":\"1.0\",\"certificates\":3,"
        "\"failed\":1,\"last_scan_s\":1795435140,\"spool\":2}";
    struct cs_heard heard;
    struct cs_err err;
    struct cs_buf b;
    cs_buf_init(&b, 1024);
    assert_true(cs_heard_decode((struct cs_bytes){(const uint8_t *)text, sizeof text - 1}, &heard, &err));
    assert_int_equal(heard.at_ms, 1795435200000);
    assert_int_equal(heard.host.failed, 1);
    cs_heard_encode(&b, &heard);
    assert_int_equal(b.len, sizeof text - 1);
    assert_memory_equal(b.data, text, b.len);
    cs_buf_clear(&b);
    assert_false(cs_heard_decode((struct cs_bytes){(const uint8_t *)text, sizeof text - 2}, &heard, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read), cmocka_unit_test(malformed),
        cmocka_unit_test(log_and_place),           cmocka_unit_test(clocks),
        cmocka_unit_test(whose_key_counts),        cmocka_unit_test(what_is_remembered),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
