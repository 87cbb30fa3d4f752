// SPDX-License-Identifier: Apache-2.0
//
// Outcomes found in a stretch of cert.outcomes: only what follows the chain counts, copies hide nothing,
// and a share is told with its end.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/past.h"
#include "certsync/model/outcome.h"
#include "worker/apply.h"

#define EVENT  "01a20846-fe00-7000-8000-000000000001"
#define SHARE  "01a20846-fe00-7000-8000-000000000002"
#define OTHER  "01a20846-fe00-7000-8000-000000000003"
#define ANSWER "01a20846-fe00-7000-8000-000000000004"

static struct cs_crypto *crypto;
static struct cs_outcome_marks *marks;

struct log {
    struct cs_record records[200];
    struct cs_header headers[200];
    char marks[200][CS_OUTCOME_MARK_SIZE];
    size_t len;
    int64_t n;
    uint8_t prev[32];
};

static int setup(void **state) {
    struct log *l = calloc(1, sizeof *l);
    struct cs_err err;
    if (!crypto) {
        CS_AUTO(cs_service_keys_clear) struct cs_service_keys keys = {0};
        assert_true(cs_crypto_new(&crypto, &err) && cs_privkey_generate(CS_KEY_P256, 0, &keys.own, &err));
        assert_true(cs_outcome_marks_new(crypto, &keys, "prod_1a2b3c4d", &marks, &err));
    }
    *state = l;
    return 0;
}

static void clear(struct log *l) {
    for (size_t i = 0; i < l->len; i++)
        free((void *)(uintptr_t)l->records[i].value.data);
    l->len = 0;
}

static int teardown(void **state) {
    clear(*state);
    free(*state);
    return 0;
}

struct said {
    const char *account, *event;
    enum cs_status status;
    enum cs_code code;
    const char *concludes;
    bool forged;   // it does not follow the one before
    bool unmarked; // it follows, but no consumer wrote it
    const char *subject;
};

static void add_record(struct log *l, const char *account, struct cs_buf *value, bool marked) {
    struct cs_record *r = &l->records[l->len];
    *r = (struct cs_record){.partition = 2,
                            .offset = (int64_t)l->len + 1000,
                            .key = {(const uint8_t *)account, strlen(account)},
                            .value = {value->data, value->len},
                            .headers = &l->headers[l->len],
                            .headers_len = marked};
    cs_outcome_mark(marks, 2, r->key, r->value, l->marks[l->len]);
    l->headers[l->len] =
        (struct cs_header){CS_OUTCOME_MARK_HEADER, {(const uint8_t *)l->marks[l->len], CS_OUTCOME_MARK_LEN}};
    l->len++;
}

static void say(struct log *l, struct said what) {
    struct cs_conclusion concluded = {.status = CS_STATUS_APPLIED};
    struct cs_outcome o = {.n = l->n + 1,
                           .verdict = {.status = what.status, .code = what.code, .signer_known = true},
                           .type = CS_EVENT_CERTIFICATE_SHARE,
                           .seq = 7,
                           .partition = 2,
                           .offset = l->n,
                           .time_ms = 1000};
    snprintf(o.log_id, sizeof o.log_id, "%s", "prod_1a2b3c4d");
    snprintf(o.event, sizeof o.event, "%s", what.event);
    snprintf(o.account, sizeof o.account, "%s", what.account);
    snprintf(o.kid, sizeof o.kid, "%s", "0123456789abcdef0123456789abcdef");
    snprintf(o.verdict.subject, sizeof o.verdict.subject, "%s", what.subject ? what.subject : "");
    if (what.concludes) {
        snprintf(concluded.event, sizeof concluded.event, "%s", what.concludes);
        o.verdict.concludes = &concluded;
        o.verdict.concludes_len = 1;
    }
    if (!what.forged)
        memcpy(o.prev_sha256, l->prev, 32);
    cs_outcome_set_id(crypto, &o);
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_outcome_encode(&b, &o);
    add_record(l, what.account, &b, !what.unmarked);
    if (what.forged || what.unmarked)
        return;
    cs_crypto_sha256(crypto, cs_buf_bytes(&b), l->prev);
    l->n = o.n;
}

static void say_others(struct log *l, int n) {
    for (int i = 0; i < n; i++)
        say(l, (struct said){"acme", OTHER, CS_STATUS_APPLIED, 0, NULL, false, false, NULL});
}

// Reads all of the log, or until it is done: *ret_read of it. What was found of EVENT and SHARE: texts,
// "" for nothing. False: it does not follow.
static bool search(const struct log *l, size_t from, bool whole, char event[4096], char share[4096],
                   size_t *ret_read) {
    cs_uuid events[2] = {EVENT, SHARE};
    struct cs_past_question q = {.partition = 2, .account = "acme", .n = 2, .events = events};
    struct cs_buf docs[2];
    struct cs_past_search s;
    struct cs_err err;
    cs_buf_init(&docs[0], 1 << 20);
    cs_buf_init(&docs[1], 1 << 20);
    struct cs_past_log log = {crypto, marks, {0}, "cert.outcomes", 0};
    assert_true(cs_past_begin(&s, &log, &q, whole, docs, &err));
    bool ok = true;
    size_t i = from;
    for (; ok && i < l->len && !cs_past_done(&s); i++)
        ok = cs_past_take(&s, &l->records[i], &err);
    *ret_read = i - from;
    snprintf(event, 4096, "%.*s", (int)docs[0].len, (const char *)docs[0].data);
    snprintf(share, 4096, "%.*s", (int)docs[1].len, (const char *)docs[1].data);
    cs_past_end(&s);
    cs_buf_clear(&docs[0]);
    cs_buf_clear(&docs[1]);
    return ok;
}

static void what_the_log_says(void **state) {
    struct log *l = *state;
    char event[4096], share[4096];
    size_t read = 0;
    say_others(l, 3);
    say(l, (struct said){"beta", EVENT, CS_STATUS_REJECTED, CS_CODE_NAME_TAKEN, NULL, false, false,
                         NULL}); // another's
    say(l,
        (struct said){"acme", EVENT, CS_STATUS_REJECTED, CS_CODE_EVENT_REPLAYED, NULL, false, false, NULL});
    say(l, (struct said){"acme", SHARE, CS_STATUS_PENDING, 0, NULL, false, false, NULL});
    assert_true(search(l, 0, true, event, share, &read)); // a copy, and no end yet
    assert_non_null(strstr(event, "event.replayed"));
    assert_non_null(strstr(share, "{\"outcome\":" CS_OUTCOME_HEAD));
    assert_null(strstr(share, "\"final\""));
    say(l, (struct said){"acme", EVENT, CS_STATUS_APPLIED, 0, NULL, false, false, NULL});
    say(l,
        (struct said){"acme", EVENT, CS_STATUS_REJECTED, CS_CODE_EVENT_REPLAYED, NULL, false, false, NULL});
    say(l, (struct said){"acme", ANSWER, CS_STATUS_APPLIED, 0, SHARE, false, false, NULL});
    say_others(l, 100);
    for (size_t from = 0; from < 4; from++) { // from the begin, or from somewhere
        assert_true(search(l, from, from == 0, event, share, &read));
        assert_non_null(strstr(event, "{\"outcome\":" CS_OUTCOME_HEAD));
        assert_non_null(strstr(event, "\"data\":{\"status\":\"applied\""));
        assert_non_null(strstr(share, "\"final\":{\"status\":\"applied\",\"by\":\"" ANSWER "\",\"n\":9}"));
        assert_int_equal(read + from, 9 + CS_PAST_LEAD); // the rest is not read
    }
    assert_true(search(l, 9, false, event, share, &read));
    assert_string_equal(event, "");
    assert_string_equal(share, "");
}

// Copies at the begin of the stretch are no reason to find nothing; records that follow nothing tell
// nothing.
static void what_does_not_count(void **state) {
    struct log *l = *state;
    char event[4096], share[4096];
    size_t read = 0;
    struct log early = {.len = 0};
    say_others(&early, 2);
    say_others(l, 2);                // the same bytes: numbers 1 and 2
    for (int64_t n = 0; n < 40; n++) // what is not in the stretch
        say_others(l, 1);
    size_t from = l->len;
    struct cs_buf copy;
    cs_buf_init(&copy, 1 << 20);
    cs_buf_put(&copy, early.records[1].value.data, early.records[1].value.len);
    add_record(l, "acme", &copy, true);
    say_others(l, 2);
    say(l, (struct said){"acme", EVENT, CS_STATUS_REJECTED, CS_CODE_NAME_TAKEN, NULL, true, false, NULL});
    clear(&early);
    bool ok = search(l, from, false, event, share, &read);
    assert_string_equal(event, ""); // whether it is an error or nothing, it is not told
    (void)ok;
    say(l, (struct said){"acme", EVENT, CS_STATUS_APPLIED, 0, NULL, false, false, NULL});
    ok = search(l, from, false, event, share, &read);
    assert_true(ok);
    assert_non_null(strstr(event, "\"data\":{\"status\":\"applied\""));
}

// What fits, and carries no mark of the service key, tells nothing: not at the begin of a stretch, and not in it.
static void what_was_planted(void **state) {
    struct log *l = *state;
    char event[4096], share[4096];
    size_t read = 0;
    for (int i = 0; i < 12; i++)
        say(l, (struct said){"acme", EVENT, CS_STATUS_REJECTED, CS_CODE_NAME_TAKEN, NULL, false, true, NULL});
    for (int i = 0; i < 3; i++) {
        say_others(l, 1);
        say(l, (struct said){"acme", EVENT, CS_STATUS_REJECTED, CS_CODE_NAME_TAKEN, NULL, false, true, NULL});
    }
    for (size_t from = 0; from < 14; from++) {
        assert_true(search(l, from, from == 0, event, share, &read));
        assert_string_equal(event, "");
    }
    say(l, (struct said){"acme", EVENT, CS_STATUS_APPLIED, 0, NULL, false, false, NULL});
    for (size_t from = 0; from < 14; from++) {
        assert_true(search(l, from, from == 0, event, share, &read));
        assert_non_null(strstr(event, "\"data\":{\"status\":\"applied\""));
    }
}

// After something was found, the log must go on as it should: what follows is its proof.
static void a_break_is_told(void **state) {
    struct log *l = *state;
    char event[4096], share[4096];
    size_t read = 0;
    say_others(l, 3);
    say(l, (struct said){"acme", EVENT, CS_STATUS_APPLIED, 0, NULL, false, false, NULL});
    l->n += 5; // outcomes were lost
    say_others(l, 1);
    assert_true(search(l, 0, true, event, share, &read)); // it may be forged
    say_others(l, 20);
    assert_false(search(l, 0, true, event, share, &read));
}

// One page: returns how many were found, whose numbers are in ret.
static size_t page(const struct log *l, struct cs_past_history *h, size_t room, int64_t *ret) {
    cs_uuid events[4] = {""};
    struct cs_past_question q = {
        .partition = 2, .account = "acme", .n = room, .events = events, .history = h};
    struct cs_buf docs[4];
    struct cs_past_search s;
    struct cs_err err;
    for (size_t i = 0; i < room; i++)
        cs_buf_init(&docs[i], 1 << 20);
    struct cs_past_log log = {crypto, marks, {0}, "cert.outcomes", 0};
    assert_true(cs_past_begin(&s, &log, &q, true, docs, &err));
    for (size_t i = 0; i < l->len && !cs_past_done(&s); i++)
        assert_true(cs_past_take(&s, &l->records[i], &err));
    cs_past_end(&s);
    for (size_t i = 0; i < room; i++) {
        CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
        struct cs_bytes outcome;
        bool final = false;
        if (i < h->found) {
            assert_true(cs_outcome_doc_split(cs_buf_bytes(&docs[i]), &outcome, &final));
            assert_true(cs_outcome_decode(outcome, &o, &err));
            assert_string_equal(o.verdict.subject, h->subject);
            assert_int_equal(final, o.verdict.status == CS_STATUS_PENDING);
            ret[i] = o.n;
        }
        cs_buf_clear(&docs[i]);
    }
    return h->found;
}

static void a_history(void **state) {
    struct log *l = *state;
    int64_t n[4];
    const char *subject = "01a20846-fe00-7000-8000-00000000000a";
    const struct said all[] = {
        {"acme", EVENT, CS_STATUS_APPLIED, .subject = subject},   // 1
        {"acme", OTHER, CS_STATUS_APPLIED, .subject = "another"}, // 2
        {"beta", OTHER, CS_STATUS_APPLIED, .subject = subject},   // 3: another's
        {"acme", EVENT, CS_STATUS_DUPLICATE, .subject = subject}, // 4: changed nothing
        {"acme", SHARE, CS_STATUS_PENDING, .subject = subject},   // 5
        {"acme", OTHER, CS_STATUS_REJECTED, CS_CODE_EVENT_BAD_SIGNATURE, .subject = subject}, // 6
        {"acme", ANSWER, CS_STATUS_APPLIED, .concludes = SHARE},                              // 7
        {"acme", EVENT, CS_STATUS_REJECTED, CS_CODE_EVENT_REPLAYED, .subject = subject},      // 8
        {"acme", OTHER, CS_STATUS_APPLIED, .unmarked = true, .subject = subject},             // nobody's
        {"acme", OTHER, CS_STATUS_REJECTED, CS_CODE_DELETE_SHARED, .subject = subject},       // 9
        {"acme", OTHER, CS_STATUS_APPLIED, .subject = "another"}};                            // 10
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++)
        say(l, all[i]);
    struct cs_past_history first = {.subject = subject};
    assert_int_equal(page(l, &first, 2, n), 2);
    assert_true(n[0] == 1 && n[1] == 5 && first.full && first.last == 7);
    struct cs_past_history next = {.subject = subject, .after = first.last};
    assert_int_equal(page(l, &next, 2, n), 2);
    assert_true(n[0] == 8 && n[1] == 9 && !next.full && next.last == 10);
    struct cs_past_history none = {.subject = subject, .after = 10};
    assert_int_equal(page(l, &none, 2, n), 0);
    assert_true(!none.full);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_history, setup, teardown),
        cmocka_unit_test_setup_teardown(what_the_log_says, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_planted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_break_is_told, setup, teardown),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cs_outcome_marks_free(marks);
    cs_crypto_free(crypto);
    return failed;
}
