// SPDX-License-Identifier: Apache-2.0
//
// Batches, decided (worker/apply.h): what a log rarely brings, and what one load asks for. What logs bring has the simulation
// (tests/sim).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fixture.h"
#include "worker/apply.h"

#define RECORDS 40

// A partition in whose catalog a batch is decided.
struct world {
    struct fx *fx;
    struct cs_apply apply;
    struct cs_apply_context ctx;
    struct cs_key_cache *keys;
    struct cs_position position;
    struct cs_batch_record records[RECORDS];
    size_t len;
    struct fx_key *agent;
    const char *cert;
};

static int setup(void **state) {
    struct world *w = calloc(1, sizeof *w);
    struct cs_err err;
    w->fx = fx_new(1);
    fx_begin(w->fx);
    fx_account(w->fx, "acme", "owner", CS_SITE_CN, true);
    fx_account(w->fx, "beta", "owner", CS_SITE_CN, true);
    w->agent = fx_agent(w->fx, "acme", CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_SHARE, "*");
    w->cert = fx_official(w->fx, "acme", "www.example.com");
    const struct fx_partition *p = &w->fx->partition[0];
    w->position =
        (struct cs_position){.next_offset = p->offset, .outcomes = p->outcomes, .derived = p->derived};
    assert_true(cs_key_cache_new(w->fx->crypto, cs_pubkey_spki(w->fx->root->pub), &w->keys, &err));
    cs_apply_init(&w->apply);
    w->ctx = (struct cs_apply_context){.rules = fx_context(w->fx, 0),
                                       .service = w->fx->service->priv,
                                       .service_kid = w->fx->service->kid,
                                       .keys = w->keys};
    *state = w;
    return 0;
}

static void empty(struct world *w) {
    for (size_t i = 0; i < w->len; i++)
        cs_prepared_free(w->records[i].prepared);
    w->len = 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    empty(w);
    cs_apply_clear(&w->apply);
    cs_key_cache_free(w->keys);
    fx_free(w->fx);
    free(w);
    return 0;
}

static struct cs_state *catalog(struct world *w) {
    return w->fx->partition[0].state;
}

static void add(struct world *w, struct fx_key *by, const struct cs_event *ev) {
    struct cs_batch_record *to = &w->records[w->len];
    to->record = fx_record(w->fx, by, ev)->r;
    to->record.offset = w->position.next_offset + (int64_t)w->len++;
    to->prepared = fx_prepare(w->fx, &to->record);
}

static bool decide(struct world *w, struct cs_err *err) {
    bool needed = true;
    cs_apply_begin(&w->ctx, &w->apply, &w->position, catalog(w), w->records, w->len);
    bool ok = cs_apply_decide(&w->ctx, &w->apply, catalog(w), w->records, w->len, &needed, err);
    assert_true(!ok || !needed);
    cs_state_changes_clear(catalog(w));
    return ok;
}

static void must_decide(struct world *w) {
    struct cs_err err;
    if (!decide(w, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(w->apply.decided, w->len);
    w->position = w->apply.to;
    empty(w);
}

static struct cs_event shares(struct world *w, enum cs_event_type type) {
    struct cs_event ev = fx_event(w->fx, type, "acme", w->agent, w->cert);
    strcpy(ev.data.share.to, "beta");
    return ev;
}

// --- the document of a share's event, when the share comes to its end

static void test_conclusions(void **state) {
    static const struct {
        const char *there; // NULL: the document is gone
        const char *error; // NULL: it stays as it is
    } cases[] = {
        {NULL, NULL},
        {"{\"outcome\":{\"n\":1},\"final\":{\"status\":\"applied\"}}", NULL},
        {"{\"outcome\":[]}", "a document that this release cannot read: outcome/acme/"},
        {"{\"outcome\":{\"n\":1}}", ""},
    };
    struct world *w = *state;
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_event share = shares(w, CS_EVENT_CERTIFICATE_SHARE);
        struct cs_event unshare = shares(w, CS_EVENT_CERTIFICATE_UNSHARE);
        struct cs_err err;
        struct cs_bytes doc;
        cs_key key;
        add(w, w->agent, &share);
        must_decide(w);
        cs_key_outcome(key, "acme", share.id);
        cs_state_begin(catalog(w));
        if (cases[i].there)
            cs_state_put(catalog(w), key,
                         (struct cs_bytes){(const uint8_t *)cases[i].there, strlen(cases[i].there)});
        else
            cs_state_delete(catalog(w), key);
        assert_true(cs_state_keep(catalog(w), &err));
        cs_state_changes_clear(catalog(w));
        add(w, w->agent, &unshare);
        bool refused = cases[i].error && cases[i].error[0];
        assert_int_equal(decide(w, &err), !refused);
        assert_int_equal(w->apply.torn, refused);
        assert_int_equal(w->apply.decided, refused ? 0 : 1);
        if (refused) {
            assert_int_equal(err.kind, CS_ERR_FATAL);
            assert_non_null(strstr(err.msg, cases[i].error));
        } else {
            w->position = w->apply.to;
        }
        empty(w);
        enum cs_look found = cs_state_get(catalog(w), key, &doc);
        assert_int_equal(found, cases[i].there ? CS_FOUND : CS_ABSENT);
        if (found == CS_FOUND && !cases[i].error)
            assert_memory_equal(doc.data, cases[i].there, doc.len);
    }
}

// --- what is decided already, and whose keys are known

static void test_judged_already(void **state) {
    struct world *w = *state;
    struct cs_event ev = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", w->agent, NULL);
    struct cs_err err;
    add(w, w->agent, &ev);
    w->records[0].record.offset--;
    assert_false(decide(w, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_int_equal(w->apply.outcomes_len, 0);
    assert_false(w->apply.torn);
}

static bool knows(struct world *w, const struct fx_key *k) {
    return cs_key_cache_lookup(w->keys, "acme", k->kid) != NULL;
}

static void test_keys(void **state) {
    struct world *w = *state;
    struct fx_key *stranger = fx_key_new(w->fx);
    struct cs_event ev = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", w->agent, NULL);
    struct cs_event strange = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", stranger, NULL);
    assert_false(knows(w, w->agent));
    add(w, w->agent, &ev);
    add(w, stranger, &strange);
    must_decide(w);
    assert_true(knows(w, w->agent));
    assert_false(knows(w, stranger));
    // Its key is known until the agent that may not send any more sends.
    struct cs_event revoke = fx_event(w->fx, CS_EVENT_AGENT_REVOKE, "acme", w->fx->admin, w->agent->kid);
    add(w, w->fx->admin, &revoke);
    must_decide(w);
    assert_true(knows(w, w->agent));
    ev = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", w->agent, NULL);
    add(w, w->agent, &ev);
    must_decide(w);
    assert_int_equal(w->apply.outcomes[0].code, CS_CODE_EVENT_REVOKED_SIGNER);
    assert_false(knows(w, w->agent));
}

// --- loads

static size_t needed_of(struct cs_state *s) {
    const struct cs_needed *needed = NULL;
    return cs_state_needed(s, &needed);
}

// Events of many accounts: what one of them needs no other one does.
static void add_many(struct world *w) {
    for (size_t i = 0; i < RECORDS; i++) {
        const char *account = fx_text(w->fx, "account%zu", i);
        struct cs_event ev = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, account, w->agent, NULL);
        add(w, w->agent, &ev);
    }
}

static size_t needed_begun(struct world *w, size_t n) {
    struct cs_state *s = NULL;
    struct cs_err err;
    assert_true(cs_state_new(false, &s, &err));
    cs_apply_begin(&w->ctx, &w->apply, &w->position, s, w->records, n);
    size_t n_needed = needed_of(s);
    cs_state_free(s);
    return n_needed;
}

static size_t needed_decided(struct world *w, size_t n) {
    struct cs_state *s = NULL;
    struct cs_err err;
    bool needed = false;
    assert_true(cs_state_new(false, &s, &err));
    cs_apply_begin(&w->ctx, &w->apply, &w->position, s, w->records, 0);
    assert_true(cs_apply_decide(&w->ctx, &w->apply, s, w->records, n, &needed, &err));
    assert_true(needed);
    size_t n_needed = needed_of(s);
    cs_state_free(s);
    return n_needed;
}

// One load brings what all records are seen to need: each here an account of its own, with its key and what
// that key sent.
static void test_loads(void **state) {
    struct world *w = *state;
    add_many(w);
    size_t one = needed_begun(w, 1);
    assert_int_equal(needed_begun(w, RECORDS), one + 2 * (RECORDS - 1));
    one = needed_decided(w, 1);
    assert_int_equal(needed_decided(w, RECORDS), one + 2 * (RECORDS - 1));
}

// The memory of a batch is kept for the next one, where it is not much.
static void test_memory(void **state) {
    static const uint8_t some[1024];
    struct world *w = *state;
    struct cs_event ev = fx_event(w->fx, CS_EVENT_CERTIFICATE_DELETE, "acme", w->agent, NULL);
    add(w, w->agent, &ev);
    must_decide(w);
    size_t cap = w->apply.values.cap;
    assert_in_range(cap, 1, 8 * 1024 * 1024);
    cs_apply_begin(&w->ctx, &w->apply, &w->position, catalog(w), w->records, 0);
    assert_int_equal(w->apply.values.cap, cap);
    for (size_t i = 0; i < 9 * 1024; i++)
        cs_buf_put(&w->apply.values, some, sizeof some);
    cs_apply_begin(&w->ctx, &w->apply, &w->position, catalog(w), w->records, 0);
    assert_int_equal(w->apply.values.cap, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_conclusions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judged_already, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
