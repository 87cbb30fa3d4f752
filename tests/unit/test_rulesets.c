// SPDX-License-Identifier: Apache-2.0
//
// The seam for rulesets: a book that knows a ruleset 2 which is only for this test, and a log that crosses the switch. Under it
// a rule comes, one goes, a member of data and a type are read that ruleset 1 does not know. The log is judged again in every way in
// which a consumer may have prepared it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "rules/rules_table.h"

#define RECORDS_MAX 32

// ---- ruleset 2 of this test

static bool no_name_begins_with_x(struct cs_judge *j) {
    return j->ruleset == 2 && j->f.name && j->f.name[0] != 'x';
}

static bool no_cascade(struct cs_judge *j) {
    assert_int_equal(j->ruleset, 1);
    return !j->ev->data.del.cascade;
}

#define X(when, group, code, function, sentence) {when, ON_##group, CS_CODE_##code, function},
static const struct cs_rule envelope_rules[] = {CS_RULES_ENVELOPE(X)};
static const struct cs_rule event_rules[] = {
    CS_RULES_EVENT(X){SINCE(2), ON(CERTIFICATE_UPLOAD), CS_CODE_NAME_INVALID, no_name_begins_with_x},
    {DURING(1, 1), ON(CERTIFICATE_DELETE), CS_CODE_DELETE_SHARED, no_cascade},
};
static const struct cs_rule offer_rules[] = {CS_RULES_OFFER(X)};
#undef X

static bool read_reason(struct cs_reader *r, const struct cs_field *f, void *base) {
    struct cs_string reason;
    (void)f, (void)base;
    return cs_read_string(r, "a string", &reason);
}
static const struct cs_field_type type_reason = {read_reason, NULL, NULL};
static const struct cs_field delete_rows[] = {
    {CS_FIELD("cascade", struct cs_event, data.del.cascade), .type = &cs_type_bool, .optional = true},
    {CS_FIELD_NAMED("reason"), .type = &type_reason, .optional = true, .since = 2},
};
static const struct cs_fields delete_data = {CS_FIELDS(delete_rows)};

struct world {
    struct fx *fx;
    struct fx_key *agent;
    struct cs_event_kind kinds[CS_EVENT_TYPE_END];
    struct cs_rulebook book;
    size_t len;
    struct cs_record records[RECORDS_MAX];
    char *outcomes[RECORDS_MAX];
};

static void keep(struct fx *fx, int32_t partition, const struct cs_record *r,
                 const struct cs_bytes *outcome) {
    struct world *w = fx->arg;
    (void)partition;
    assert_true(w->len < RECORDS_MAX);
    w->records[w->len] = *r;
    w->outcomes[w->len++] = strndup((const char *)outcome->data, outcome->len);
}

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    memcpy(w->kinds, cs_event_kinds, sizeof w->kinds);
    w->kinds[CS_EVENT_CERTIFICATE_DELETE].data = &delete_data;
    w->kinds[CS_EVENT_CSR_DELETE].since = 2;
    w->book = (struct cs_rulebook){.latest = 2,
                                   .kinds = w->kinds,
                                   .envelope = {envelope_rules, CS_ARRAY_LEN(envelope_rules)},
                                   .event = {event_rules, CS_ARRAY_LEN(event_rules)},
                                   .offer = {offer_rules, CS_ARRAY_LEN(offer_rules)}};
    w->fx = fx_new(1);
    w->fx->book = &w->book;
    w->fx->on_decided = keep;
    w->fx->arg = w;
    fx_begin(w->fx);
    fx_account(w->fx, "acme", "acme-inc", CS_SITE_CN, true);
    w->agent = fx_agent(w->fx, "acme", CS_CAN_ALL & ~CS_CAN_ENROLL, "*");
    *state = w;
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    fx_free(w->fx);
    for (size_t i = 0; i < w->len; i++)
        free(w->outcomes[i]);
    free(w);
    return 0;
}

// ---- the log

static const char *upload(struct world *w, const char *name, const struct cs_verdict **ret) {
    const char *id = fx_uuid(w->fx);
    struct cs_event ev =
        fx_upload(w->fx, "acme", w->agent, id, name, fx_cert(w->fx, (struct fx_cert_how){0}));
    *ret = fx_send(w->fx, w->agent, &ev);
    return id;
}

static const struct cs_verdict *send_delete(struct world *w, const char *id, bool cascade) {
    struct cs_event ev = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", w->agent, id);
    ev.data.del.cascade = cascade;
    return fx_send(w->fx, w->agent, &ev);
}

// With the member that ruleset 2 brings.
static const struct cs_verdict *send_delete_with_reason(struct world *w, const char *id) {
    struct cs_event ev = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", w->agent, id);
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf value;
    cs_buf_init(&value, CS_EVENT_MAX);
    assert_true(cs_event_encode(&ev, &value, &err));
    assert_string_equal((const char *)value.data + value.len - 3, "{}}");
    value.len -= 2;
    cs_buf_puts(&value, "\"reason\":\"old\"}}");
    uint8_t *kept = fx_alloc(w->fx, value.len);
    memcpy(kept, value.data, value.len);
    return fx_judge(w->fx, 0, fx_record_of(w->fx, w->agent, "acme", (struct cs_bytes){kept, value.len}));
}

static const struct cs_verdict *send_csr_delete(struct world *w) {
    struct cs_event ev = fx_event(w->fx, CS_EVENT_CSR_DELETE, "acme", w->agent, NULL);
    return fx_send(w->fx, w->agent, &ev);
}

static const struct cs_verdict *send_ruleset(struct world *w, int64_t ruleset) {
    struct cs_event ev = fx_event(w->fx, CS_EVENT_SYSTEM_RULESET, "", w->fx->root, FX_DEPLOYMENT);
    ev.data.ruleset.ruleset = ruleset;
    return fx_judge(w->fx, 0, fx_record(w->fx, w->fx->root, &ev));
}

// ---- judged again

struct again {
    int64_t ruleset; // what preparation was told
    bool keys;       // whether it knew the senders' keys, so that contents are examined ahead
};

static const struct cs_pubkey *look_up(void *arg, const char *account, const char *kid) {
    const struct fx *fx = arg;
    (void)account;
    for (size_t i = 0; i < fx->keys_len; i++)
        if (strcmp(fx->keys[i]->kid, kid) == 0)
            return fx->keys[i]->pub;
    return NULL;
}

// As a worker does it: all is prepared, then headers are let go of, then it is judged. How many are as they were.
static size_t judge_again(struct world *w, const struct cs_rulebook *book, struct again how,
                          struct cs_err *err) {
    struct fx *fx = w->fx;
    struct cs_prepared *prepared[RECORDS_MAX] = {NULL};
    struct fx_partition again = {.offset = 0};
    struct cs_rule_context ctx = fx_context(fx, 0);
    size_t done = 0;
    ctx.book = book;
    assert_true(cs_state_new(true, &again.state, err));
    for (size_t i = 0; i < w->len; i++)
        assert_true(cs_prepare_by(book ? book : &cs_rulebook, fx->crypto, FX_LOG, 1, how.ruleset,
                                  &w->records[i], how.keys ? look_up : NULL, fx, NULL, &prepared[i], err));
    for (; done < w->len; done++) {
        struct cs_record r = w->records[done];
        CS_AUTO(cs_decision_clear) struct cs_decision d = {0};
        CS_AUTO(cs_buf_clear) struct cs_buf outcome;
        bool needed = false;
        cs_buf_init(&outcome, 1 << 20);
        r.headers = NULL;
        r.headers_len = 0;
        if (!cs_decide(&ctx, again.state, &r, prepared[done], &d, &needed, err))
            break;
        assert_false(needed);
        fx_apply(&again, fx->crypto, 0, &r, prepared[done], &d, &outcome);
        assert_string_equal((const char *)outcome.data, w->outcomes[done]);
    }
    for (size_t i = 0; i < w->len; i++)
        cs_prepared_free(prepared[i]);
    cs_state_free(again.state);
    return done;
}

static void a_log_crosses_the_switch(void **state) {
    struct world *w = *state;
    const struct cs_verdict *v = NULL;
    struct cs_err err;

    const char *first = upload(w, "x-one", &v);
    assert_applied(v);
    const char *second = upload(w, "two", &v);
    assert_applied(v);
    assert_rejected(send_delete(w, first, true), DELETE_SHARED);
    assert_rejected(send_delete_with_reason(w, first), EVENT_MALFORMED);
    assert_rejected(send_csr_delete(w), EVENT_UNKNOWN_TYPE);
    assert_rejected(send_ruleset(w, 3), SYSTEM_RULESET);

    size_t before = w->len;
    assert_applied(send_ruleset(w, 2));

    upload(w, "x-two", &v);
    assert_rejected(v, NAME_INVALID);
    upload(w, "three", &v);
    assert_applied(v);
    assert_applied(send_delete(w, first, true));
    assert_applied(send_delete_with_reason(w, second));
    assert_rejected(send_csr_delete(w), CSR_NOT_FOUND);

    static const struct again ways[] = {{1, false}, {1, true}, {2, false}, {2, true}};
    for (size_t i = 0; i < CS_ARRAY_LEN(ways); i++)
        assert_int_equal(judge_again(w, &w->book, ways[i], &err), w->len);
    // A release without ruleset 2 judges nothing beyond the switch.
    w->book.latest = 1;
    assert_int_equal(judge_again(w, &w->book, (struct again){1, true}, &err), before);
    assert_int_equal(err.kind, CS_ERR_CONFIG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_log_crosses_the_switch, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
