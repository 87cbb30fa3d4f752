// SPDX-License-Identifier: Apache-2.0
//
// The lists: what they show, filters, orders, and pages that miss nothing and show nothing twice.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "catalog/heard.h"
#include "worker/board_metrics.h"

#define MANY 130

static struct af *f;
static struct fx_key *agent, *beta;
static const char *token, *beta_token;
static struct cs_board_metrics *board_metrics;

// Many uploads of one certificate each would take long to make; one certificate may have many names.
static void upload(struct fx_key *by, const char *account, const char *name, const struct fx_cert *cert) {
    struct cs_event ev = fx_upload(f->fx, account, by, fx_uuid(f->fx), name, cert);
    assert_applied(fx_send(f->fx, by, &ev));
}

static void raise_limit(const char *account) {
    struct cs_event ev = fx_event(f->fx, CS_EVENT_ACCOUNT_UPDATE, account, f->fx->admin, account);
    ev.data.account.has_certificates = true;
    ev.data.account.limit_certificates = 100000;
    assert_applied(fx_send(f->fx, f->fx->admin, &ev));
}

static int setup(void **state) {
    (void)state;
    f = af_new();
    struct fx *fx = f->fx;
    fx_account(fx, "acme", "owner-1", CS_SITE_CN, true);
    fx_account(fx, "beta", "owner-1", CS_SITE_CN, true);
    raise_limit("acme");
    agent =
        fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_READ | CS_CAN_SHARE | CS_CAN_CSR | CS_CAN_DELETE, "*");
    beta = fx_agent(fx, "beta", CS_CAN_UPLOAD | CS_CAN_READ | CS_CAN_SHARE, "*");
    struct fx_cert *same = fx_cert(fx, (struct fx_cert_how){.cn = "same.example.com"});
    for (int i = 0; i < MANY; i++) // all of these expire together
        upload(agent, "acme", fx_text(fx, "same-%03d", (i * 37) % MANY), same);
    static const int days[] = {5, 10, 29, 31, 60, 200, 400};
    for (size_t i = 0; i < CS_ARRAY_LEN(days); i++)
        upload(agent, "acme", fx_text(fx, "days-%03d", days[i]),
               fx_cert(fx, (struct fx_cert_how){.cn = "d.example.com",
                                                .lasts_s = days[i] * FX_DAY + 3600 + FX_DAY}));
    fx_official(fx, "acme", "official-1");
    const char *shared = fx_official(fx, "acme", "official-2");
    assert_verdict(fx_share(fx, "acme", agent, shared, "beta"), PENDING, NONE);
    fx_deliver_all(fx);
    const char *pending = fx_official(fx, "acme", "official-3");
    assert_verdict(fx_share(fx, "acme", agent, pending, "beta"), PENDING, NONE);
    struct cs_event pair =
        fx_upload_sm2(fx, "acme", agent, fx_uuid(fx), "guomi",
                      fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "digitalSignature"}),
                      fx_cert(fx, (struct fx_cert_how){.type = "SM2", .usage = "keyEncipherment"}));
    assert_applied(fx_send(fx, agent, &pair));
    upload(beta, "beta", "own", fx_cert(fx, (struct fx_cert_how){.cn = "own.example.com"}));
    af_commit(f);
    token = af_token(f, agent, "acme");
    beta_token = af_token(f, beta, "beta");
    af_start(f);
    struct cs_err err;
    assert_true(
        cs_board_metrics_new(f->consumer.metrics, f->consumer.board, &f->clock.clock, &board_metrics, &err));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    af_stop(f);
    cs_board_metrics_free(board_metrics);
    af_free(f);
    return 0;
}

// All items of all pages of a listing, as an array that the caller drops.
static json_t *collect(const char *tok, const char *path, const char *list, int *ret_pages) {
    json_t *all = json_array();
    char cursor[1200] = "";
    int pages = 0;
    do {
        CS_AUTO(af_answer_clear)
        struct af_answer a = af_get(f, tok, "%s%s%s", path, cursor[0] ? "&cursor=" : "", cursor);
        assert_status(a, 200);
        assert_string_equal(a.type, "application/json");
        assert_int_equal(json_array_extend(all, json_object_get(a.json, list)), 0);
        snprintf(cursor, sizeof cursor, "%s", af_text(a.json, "next"));
        assert_true(++pages < 500);
    } while (cursor[0]);
    if (ret_pages)
        *ret_pages = pages;
    return all;
}

static json_t *certificates(const char *query) {
    return collect(token, fx_text(f->fx, "/v1/accounts/acme/certificates?%s", query), "certificates", NULL);
}

static size_t count(const char *query) {
    json_t *all = certificates(query);
    size_t n = json_array_size(all);
    json_decref(all);
    return n;
}

#define TOTAL (MANY + 7 + 3 + 1)

static void assert_ordered(const json_t *all, const char *member, size_t expected) {
    assert_int_equal(json_array_size(all), expected);
    for (size_t i = 1; i < json_array_size(all); i++)
        assert_true(strcmp(af_text(json_array_get(all, i - 1), member),
                           af_text(json_array_get(all, i), member)) <= 0);
}

static void assert_unique(const json_t *all) {
    json_t *seen = json_object();
    for (size_t i = 0; i < json_array_size(all); i++) {
        const char *id = af_text(json_array_get(all, i), "id");
        assert_null(json_object_get(seen, id));
        json_object_set_new(seen, id, json_true());
    }
    json_decref(seen);
}

static void test_orders(void **state) {
    (void)state;
    static const int limits[] = {1, 7, 49, 50, 51, 100, 1000};
    for (size_t i = 0; i < CS_ARRAY_LEN(limits); i++) {
        json_t *by_name = certificates(fx_text(f->fx, "limit=%d", limits[i]));
        assert_ordered(by_name, "name", TOTAL);
        assert_unique(by_name);
        json_decref(by_name);
        json_t *by_expiry = certificates(fx_text(f->fx, "sort=expires&limit=%d", limits[i]));
        assert_ordered(by_expiry, "not_after", TOTAL);
        assert_unique(by_expiry);
        json_decref(by_expiry);
    }
}

static void test_filters(void **state) {
    (void)state;
    static const char *const orders[] = {"sort=name", "sort=expires&limit=9"};
    for (size_t i = 0; i < CS_ARRAY_LEN(orders); i++) {
        const char *o = orders[i];
        assert_int_equal(count(fx_text(f->fx, "%s&name=days-", o)), 7);
        assert_int_equal(count(fx_text(f->fx, "%s&name=days-0", o)), 5);
        assert_int_equal(count(fx_text(f->fx, "%s&name=nothing", o)), 0);
        assert_int_equal(count(fx_text(f->fx, "%s&source=official", o)), 3);
        assert_int_equal(count(fx_text(f->fx, "%s&source=uploaded", o)), TOTAL - 3);
        assert_int_equal(count(fx_text(f->fx, "%s&source=shared", o)), 0);
        assert_int_equal(count(fx_text(f->fx, "%s&algorithm=sm2", o)), 1);
        assert_int_equal(count(fx_text(f->fx, "%s&status=expiring", o)), 3);
        assert_int_equal(count(fx_text(f->fx, "%s&status=expiring&within=61", o)), 5);
        assert_int_equal(count(fx_text(f->fx, "%s&status=valid", o)), TOTAL - 3);
        assert_int_equal(count(fx_text(f->fx, "%s&status=expired", o)), 0);
        assert_int_equal(count(fx_text(f->fx, "%s&status=valid&name=days-&source=uploaded", o)), 4);
    }
    // The wall clock moves, and the same catalog says something else.
    atomic_store(&f->clock.wall_ms, FX_NOW_MS + INT64_C(40) * FX_DAY * 1000);
    token = af_token(f, agent, "acme");
    assert_int_equal(count("status=expired"), 4);
    assert_int_equal(count("sort=expires&status=expired"), 4);
    assert_int_equal(count("sort=expires&status=expiring&name=days-"), 1);
    CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "/v1/accounts/acme/certificates/days-005");
    assert_status(a, 200);
    assert_string_equal(af_text(a.json, "status"), "expired");
    assert_int_equal(af_int(a.json, "days_left"), -35);
    atomic_store(&f->clock.wall_ms, FX_NOW_MS - INT64_C(10) * FX_DAY * 1000);
    token = af_token(f, agent, "acme");
    assert_int_equal(count("status=not-yet-valid"), TOTAL);
    atomic_store(&f->clock.wall_ms, FX_NOW_MS);
    token = af_token(f, agent, "acme");
}

static void test_item(void **state) {
    (void)state;
    json_t *all = certificates("name=official-2");
    const json_t *o = json_array_get(all, 0);
    assert_string_equal(af_text(o, "source"), "official");
    assert_string_equal(af_text(o, "status"), "valid");
    assert_int_equal(af_int(o, "version"), 1);
    assert_int_equal(af_int(o, "shares_total"), 1);
    const json_t *share = json_array_get(json_object_get(o, "shares"), 0);
    assert_string_equal(af_text(share, "to"), "beta");
    assert_string_equal(af_text(share, "state"), "open");
    assert_int_equal(af_int(share, "version"), 1);
    assert_int_equal(strlen(af_text(o, "fingerprint")), 64);
    assert_string_equal(af_text(o, "key_type"), "P-256");
    assert_int_equal(af_int(o, "key_bits"), 256);
    assert_true(af_int(o, "days_left") > 80);
    assert_int_equal(strlen(af_text(o, "not_after")), 20);
    json_decref(all);
    all = certificates("name=official-3");
    assert_string_equal(
        af_text(json_array_get(json_object_get(json_array_get(all, 0), "shares"), 0), "state"), "pending");
    json_decref(all);
    all = certificates("algorithm=sm2");
    const json_t *leaves = json_object_get(json_array_get(all, 0), "leaves");
    assert_int_equal(json_array_size(leaves), 2);
    assert_string_equal(af_text(json_array_get(leaves, 0), "use"), "sign");
    assert_string_equal(af_text(json_array_get(leaves, 1), "use"), "encrypt");
    json_decref(all);
    // The recipient's side.
    all = collect(beta_token, "/v1/accounts/beta/certificates?sort=name", "certificates", NULL);
    assert_int_equal(json_array_size(all), 2);
    o = json_array_get(all, 0);
    assert_string_equal(af_text(o, "name"), "official-2");
    assert_string_equal(af_text(o, "source"), "shared");
    assert_string_equal(af_text(o, "owner_account"), "acme");
    assert_string_equal(af_text(o, "owner_source"), "official");
    assert_int_equal(json_array_size(json_object_get(o, "shares")), 0);
    json_decref(all);
    all = collect(beta_token, "/v1/accounts/beta/certificates?source=shared", "certificates", NULL);
    assert_int_equal(json_array_size(all), 1);
    json_decref(all);
}

// Pages by expiry while members go and come: what stays is seen once.
static void test_pages_while_changing(void **state) {
    (void)state;
    json_t *seen = json_object();
    char cursor[1200] = "";
    int removed = 0;
    int32_t acme = fx_partition_of(f->fx, "acme");
    do {
        CS_AUTO(af_answer_clear)
        struct af_answer a = af_get(f, token, "/v1/accounts/acme/certificates?sort=expires&limit=10%s%s",
                                    cursor[0] ? "&cursor=" : "", cursor);
        assert_status(a, 200);
        const json_t *items = json_object_get(a.json, "certificates");
        for (size_t i = 0; i < json_array_size(items); i++) {
            const char *name = af_text(json_array_get(items, i), "name");
            assert_null(json_object_get(seen, name));
            json_object_set_new(seen, name, json_true());
        }
        snprintf(cursor, sizeof cursor, "%s", af_text(a.json, "next"));
        // What was shown last goes, and one that was shown before it.
        size_t n = json_array_size(items);
        for (size_t k = 1; k <= 2 && n >= k; k++) {
            const json_t *o = json_array_get(items, n - k);
            const char *member = fx_text(f->fx, "%s/c/%s", af_text(o, "name"), af_text(o, "id"));
            removed += af_remove(f, acme, "expiry/acme", member);
        }
    } while (cursor[0]);
    assert_true(removed > 20);
    assert_int_equal(json_object_size(seen), TOTAL);
    json_decref(seen);
    af_commit_partition(f, acme);
}

// A filter that discards nearly all ends its page early, and the pages together still find all.
static void test_bounded_work(void **state) {
    (void)state;
    int32_t acme = fx_partition_of(f->fx, "acme");
    // Members without a document, as if each were deleted between two questions.
    for (int i = 0; i < 5000; i++)
        af_add(f, acme, "view/acme",
               fx_text(f->fx, "aaa-%05d/c/%s", i, "00000000-0000-4000-8000-000000000000"), 0);
    int pages = 0;
    json_t *all = collect(token, "/v1/accounts/acme/certificates?algorithm=sm2", "certificates", &pages);
    assert_int_equal(json_array_size(all), 1);
    assert_true(pages >= 3);
    json_decref(all);
    af_commit_partition(f, acme);
}

static void test_bad_queries(void **state) {
    (void)state;
    static const char *const bad[] = {"limit=0",
                                      "limit=1001",
                                      "limit=x",
                                      "limit=",
                                      "status=old",
                                      "source=me",
                                      "algorithm=rsa",
                                      "sort=size",
                                      "within=-1",
                                      "name=a/b",
                                      "nmae=x",
                                      "cursor=zz",
                                      "cursor=6e",
                                      "limit=1&limit=2",
                                      "name=%00",
                                      "cursor=6e303a303a",
                                      "cursor=6f303a303a78"};
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) {
        CS_AUTO(af_answer_clear)
        struct af_answer a = af_get(f, token, "/v1/accounts/acme/certificates?%s", bad[i]);
        assert_problem(a, 400, "");
    }
    // A cursor of one question is none of another.
    CS_AUTO(af_answer_clear)
    struct af_answer page = af_get(f, token, "/v1/accounts/acme/certificates?limit=1");
    CS_AUTO(af_answer_clear)
    struct af_answer mixed =
        af_get(f, token, "/v1/accounts/acme/certificates?sort=expires&cursor=%s", af_text(page.json, "next"));
    assert_problem(mixed, 400, "");
    CS_AUTO(af_answer_clear)
    struct af_answer filtered =
        af_get(f, token, "/v1/accounts/acme/certificates?status=valid&cursor=%s", af_text(page.json, "next"));
    assert_problem(filtered, 400, "");
    CS_AUTO(af_answer_clear)
    struct af_answer next =
        af_get(f, token, "/v1/accounts/acme/certificates?cursor=%s&limit=5", af_text(page.json, "next"));
    assert_status(next, 200);
}

static void test_csrs(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct cs_event ev = fx_csr(f->fx, "acme", agent, fx_uuid(f->fx), fx_text(f->fx, "csr-%d", i),
                                    fx_cert_key_only(f->fx, "P-256"));
        assert_applied(fx_send(f->fx, agent, &ev));
        if (i == 1) {
            struct cs_event del = fx_event(f->fx, CS_EVENT_CSR_DELETE, "acme", agent, ev.subject);
            assert_applied(fx_send(f->fx, agent, &del));
        }
    }
    af_commit(f);
    json_t *all = collect(token, "/v1/accounts/acme/csrs?limit=1", "csrs", NULL);
    assert_int_equal(json_array_size(all), 2);
    const json_t *o = json_array_get(all, 1);
    assert_string_equal(af_text(o, "name"), "csr-2");
    assert_true(cs_uuid_valid(af_text(o, "id"), strlen(af_text(o, "id"))));
    assert_true(strlen(af_text(o, "csr")) > 100);
    assert_null(json_object_get(o, "key")); // the sealed key is the custodian's
    assert_string_equal(af_text(o, "key_type"), "P-256");
    json_decref(all);
    all = collect(token, "/v1/accounts/acme/csrs?name=csr-0", "csrs", NULL);
    assert_int_equal(json_array_size(all), 1);
    json_decref(all);
}

static void test_shares(void **state) {
    (void)state;
    CS_AUTO(af_answer_clear) struct af_answer owner = af_get(f, token, "/v1/accounts/acme/shares");
    assert_status(owner, 200);
    const json_t *out = json_object_get(owner.json, "out");
    assert_int_equal(json_array_size(out), 2);
    assert_int_equal(json_array_size(json_object_get(owner.json, "in")), 0);
    bool open = false, pending = false;
    for (size_t i = 0; i < 2; i++) {
        const json_t *o = json_array_get(out, i);
        assert_string_equal(af_text(o, "to"), "beta");
        open = open ||
               (strcmp(af_text(o, "state"), "open") == 0 && strcmp(af_text(o, "name"), "official-2") == 0);
        pending = pending || (strcmp(af_text(o, "state"), "pending") == 0 &&
                              strcmp(af_text(o, "name"), "official-3") == 0);
    }
    assert_true(open && pending);
    CS_AUTO(af_answer_clear) struct af_answer recipient = af_get(f, beta_token, "/v1/accounts/beta/shares");
    assert_status(recipient, 200);
    const json_t *in = json_object_get(recipient.json, "in");
    assert_int_equal(json_array_size(in), 1);
    assert_string_equal(af_text(json_array_get(in, 0), "owner_account"), "acme");
    assert_string_equal(af_text(json_array_get(in, 0), "name"), "official-2");
    json_t *all = collect(token, "/v1/accounts/acme/shares?limit=1", "out", NULL);
    assert_int_equal(json_array_size(all), 2);
    json_decref(all);
}

// As the thread that hears heartbeats remembers it.
static void hear(const struct fx_key *of, int64_t at_ms) {
    CS_AUTO(cs_heard_store_free) struct cs_heard_store *store = NULL;
    struct cs_heard_host host = {
        .account = "acme",
        .known = true,
        .heard = {.at_ms = at_ms, .seq = at_ms, .host = {.version = "1.0", .certificates = 3}}};
    struct cs_err err;
    memcpy(host.kid, of->kid, sizeof host.kid);
    assert_true(
        cs_heard_store_new(&f->consumer.redis, AF_NAMESPACE, f->fx->service->priv, FX_LOG, &store, &err));
    assert_true(cs_heard_write(store, fx_partition_of(f->fx, "acme"), &host, 1, &err));
}

static void test_agents(void **state) {
    (void)state;
    struct fx_key *gone = fx_agent(f->fx, "acme", CS_CAN_UPLOAD, "a*");
    struct cs_event ev = fx_event(f->fx, CS_EVENT_AGENT_REVOKE, "acme", f->fx->admin, gone->kid);
    assert_applied(fx_send(f->fx, f->fx->admin, &ev));
    af_commit(f);
    hear(agent, f->fx->now_ms);
    hear(gone, f->fx->now_ms); // what is remembered of a key that ended is not shown
    json_t *all = collect(token, "/v1/accounts/acme/agents?limit=1", "agents", NULL);
    assert_int_equal(json_array_size(all), 2);
    for (size_t i = 0; i < 2; i++) {
        const json_t *o = json_array_get(all, i);
        bool is_gone = strcmp(af_text(o, "kid"), gone->kid) == 0;
        assert_true(is_gone || strcmp(af_text(o, "kid"), agent->kid) == 0);
        assert_string_equal(af_text(o, "state"), is_gone ? "revoked" : "enrolled");
        assert_string_equal(af_text(o, "names"), is_gone ? "a*" : "*");
        assert_int_equal(json_array_size(json_object_get(o, "can")), is_gone ? 1 : 5);
        assert_int_equal(json_object_get(o, "ended") != NULL, is_gone);
        assert_int_equal(json_object_get(o, "heartbeat") != NULL, !is_gone);
        if (!is_gone)
            assert_int_equal(
                json_integer_value(json_object_get(json_object_get(o, "heartbeat"), "certificates")), 3);
    }
    json_decref(all);
}

// Nobody calls it damage, and the rest is answered.
static void test_a_heartbeat_that_somebody_else_wrote(void **state) {
    (void)state;
    int32_t p = fx_partition_of(f->fx, "acme");
    hear(agent, f->fx->now_ms);
    const char *key = fx_text(f->fx, AF_NAMESPACE ":{%d}:beat/acme/%s", (int)p, agent->kid);
    freeReplyObject(redisCommand(f->ctx, "SETRANGE %s 12 9", key));
    json_t *all = collect(token, "/v1/accounts/acme/agents", "agents", NULL);
    assert_true(json_array_size(all) >= 1);
    for (size_t i = 0; i < json_array_size(all); i++)
        if (strcmp(af_text(json_array_get(all, i), "kid"), agent->kid) == 0)
            assert_null(json_object_get(json_array_get(all, i), "heartbeat"));
    json_decref(all);
    struct cs_board_entry e;
    cs_board_get(f->consumer.board, p, &e);
    assert_int_equal(e.damaged, 0);
}

// Those that never sent a heartbeat are neither.
static void test_agents_that_have_gone_quiet(void **state) {
    (void)state;
    int32_t p = fx_partition_of(f->fx, "acme");
    cs_board_state(f->consumer.board, p, CS_BOARD_RUNNING, NULL);
    struct fx_key *quiet = fx_agent(f->fx, "acme", CS_CAN_UPLOAD, "*"),
                  *barely = fx_agent(f->fx, "acme", CS_CAN_UPLOAD, "*");
    (void)fx_agent(f->fx, "acme", CS_CAN_READ, "*");
    af_commit(f);
    hear(quiet, f->fx->now_ms - 901000);
    hear(barely, f->fx->now_ms - 900000); // as long ago as it may be
    hear(agent, f->fx->now_ms);
    af_wait_metric(f, fx_text(f->fx, "certsync_partition_agents{partition=\"%d\",state=\"quiet\"}", (int)p),
                   1, 1);
    af_wait_metric(f, fx_text(f->fx, "certsync_partition_agents{partition=\"%d\",state=\"alive\"}", (int)p),
                   2, 2);
    af_wait_metric(f, fx_text(f->fx, "certsync_partition_oldest_heartbeat_seconds{partition=\"%d\"}", (int)p),
                   901, 901);
}

static void test_outcomes(void **state) {
    (void)state;
    json_t *all = collect(token, "/v1/accounts/acme/outcomes?limit=60", "outcomes", NULL);
    assert_true(json_array_size(all) > TOTAL);
    int64_t last = INT64_MAX;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *o = json_object_get(json_array_get(all, i), "outcome");
        int64_t n = 0;
        assert_true(cs_sequence_parse(af_text(o, "sequence"), CS_SEQUENCE_LEN, &n) && n < last);
        last = n;
        assert_string_equal(af_text(json_object_get(o, "data"), "account"), "acme");
    }
    json_decref(all);
}

// What belongs to no account, over all partitions: each once, and for nobody but admins and auditors.
static void test_accounts(void **state) {
    (void)state;
    const char *admin = af_token(f, f->fx->admin, "*");
    for (size_t limit = 1; limit <= 1000; limit *= 10) {
        json_t *all = collect(admin, fx_text(f->fx, "/v1/accounts?limit=%zu", limit), "accounts", NULL);
        assert_int_equal(json_array_size(all), 2);
        bool seen[2] = {false, false};
        for (size_t i = 0; i < 2; i++) {
            const json_t *o = json_array_get(all, i);
            bool acme = strcmp(af_text(o, "account"), "acme") == 0;
            seen[acme] = true;
            assert_string_equal(af_text(o, "owner"), "owner-1");
            assert_true(json_is_true(json_object_get(o, "verified")));
            assert_int_equal(af_int(json_object_get(o, "limits"), "certificates"), acme ? 100000 : 1000);
        }
        assert_true(seen[0] && seen[1]);
        json_decref(all);
    }
    CS_AUTO(af_answer_clear) struct af_answer by_agent = af_get(f, token, "/v1/accounts");
    assert_problem(by_agent, 403, "event.forbidden");
    CS_AUTO(af_answer_clear)
    struct af_answer by_agent_for_all = af_get(f, af_token(f, agent, "*"), "/v1/accounts");
    assert_problem(by_agent_for_all, 401, "event.unknown_signer");
    static const char *const bad[] = {"cursor=41393a303a", "cursor=6e303a303a78", "cursor=zz", "name=a",
                                      "limit=0"};
    for (size_t i = 0; i < CS_ARRAY_LEN(bad); i++) { // the first is a partition that is not there
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, admin, "/v1/accounts?%s", bad[i]);
        assert_problem(a, 400, "");
    }
}

static void test_trusted_keys(void **state) {
    (void)state;
    const char *admin = af_token(f, f->fx->admin, "*");
    json_t *all = collect(admin, "/v1/trust?limit=1", "trusted", NULL);
    bool found = false;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *o = json_array_get(all, i);
        assert_string_equal(af_text(o, "state"), "trusted");
        found |=
            strcmp(af_text(o, "kid"), f->fx->admin->kid) == 0 && strcmp(af_text(o, "role"), "admin") == 0;
    }
    assert_true(found && json_array_size(all) > 1);
    json_decref(all);
    CS_AUTO(af_answer_clear) struct af_answer by_agent = af_get(f, af_token(f, agent, "*"), "/v1/trust");
    assert_problem(by_agent, 401, "event.unknown_signer");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_item),
        cmocka_unit_test(test_pages_while_changing),
        cmocka_unit_test(test_bounded_work),
        cmocka_unit_test(test_bad_queries),
        cmocka_unit_test(test_csrs),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_agents),
        cmocka_unit_test(test_a_heartbeat_that_somebody_else_wrote),
        cmocka_unit_test(test_agents_that_have_gone_quiet),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_trusted_keys),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
