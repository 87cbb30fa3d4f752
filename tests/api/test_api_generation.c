// SPDX-License-Identifier: Apache-2.0
//
// Catalogs that are replaced, again and again, under an API that is asked all the while: it shows all of a
// catalog, always, although each old one is removed as soon as another is live.
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "certsync/runtime/clock.h"

#define NAMES    60
#define REQUESTS 150

#define PATIENCE_MS 120000

static struct af *f;
static struct fx_key *agent, *beta;
static const char *token, *beta_token, *event, *shared;

static int setup(void **state) {
    (void)state;
    f = af_new();
    struct fx *fx = f->fx;
    fx_account(fx, "acme", "owner-1", CS_SITE_CN, true);
    fx_account(fx, "beta", "owner-1", CS_SITE_CN, true);
    agent = fx_agent(fx, "acme", CS_CAN_UPLOAD | CS_CAN_READ | CS_CAN_SHARE, "*");
    beta = fx_agent(fx, "beta", CS_CAN_READ, "*");
    struct fx_cert *cert = fx_cert(fx, (struct fx_cert_how){.cn = "same.example.com"});
    for (int i = 0; i < NAMES; i++) {
        struct cs_event ev = fx_upload(fx, "acme", agent, fx_uuid(fx), fx_text(fx, "n%02d", i), cert);
        event = fx_text(fx, "%s", ev.id);
        assert_applied(fx_send(fx, agent, &ev));
    }
    shared = fx_official(fx, "acme", "official");
    assert_verdict(fx_share(fx, "acme", agent, shared, "beta"), PENDING, NONE);
    fx_deliver_all(fx);
    af_commit(f);
    token = af_token(f, agent, "acme");
    beta_token = af_token(f, beta, "beta");
    af_start(f);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    af_stop(f);
    af_free(f);
    return 0;
}

// --- promotions

struct promoter {
    redisContext *ctx;
    redisReply *keys[AF_PARTITIONS]; // of the first generation
    atomic_int requests;             // that were answered
    atomic_bool ended;
    atomic_int live;
};

static redisReply *ask(struct promoter *p, const char *command) {
    redisReply *r = redisCommand(p->ctx, command);
    assert_non_null(r);
    assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
    return r;
}

static void name_of(char out[512], const char *first, int generation) {
    const char *rest = strstr(first, "}:") + 2;
    if (generation == 1)
        snprintf(out, 512, "%s", first);
    else
        snprintf(out, 512, "%.*sg%d:%s", (int)(rest - first), first, generation, rest);
}

static void each_key(struct promoter *p, int partition, const char *command, int from, int to) {
    const redisReply *keys = p->keys[partition];
    char text[1200], a[512], b[512];
    for (size_t i = 0; i < keys->elements; i++) {
        name_of(a, keys->element[i]->str, from);
        name_of(b, keys->element[i]->str, to);
        snprintf(text, sizeof text, "%s %s %s", command, a, from == to ? "" : b);
        assert_int_equal(redisAppendCommand(p->ctx, text), REDIS_OK);
    }
    for (size_t i = 0; i < keys->elements; i++) {
        void *r = NULL;
        assert_int_equal(redisGetReply(p->ctx, &r), REDIS_OK);
        assert_int_equal(((redisReply *)r)->integer, 1);
        freeReplyObject(r);
    }
}

static void promote(struct promoter *p) {
    char text[128];
    int next = p->live + 1;
    for (int partition = 0; partition < AF_PARTITIONS; partition++) {
        each_key(p, partition, "COPY", p->live, next);
        snprintf(text, sizeof text, "SET " AF_NAMESPACE ":{%d}:gen %d", partition, next);
        freeReplyObject(ask(p, text));
        each_key(p, partition, "UNLINK", p->live, p->live);
    }
    p->live = next;
}

static void *run_promoter(void *arg) {
    struct promoter *p = arg;
    int seen = -1;
    while (!atomic_load(&p->ended)) {
        int requests = atomic_load(&p->requests);
        if (requests ==
            seen) { // once a request at most: one that is overtaken all the time is told to come again
            sched_yield();
            continue;
        }
        seen = requests;
        promote(p);
    }
    return NULL;
}

static void start_promoter(struct promoter *p, pthread_t *thread) {
    *p = (struct promoter){.ctx = redisConnectUnix(f->server.socket), .live = 1};
    assert_non_null(p->ctx);
    char text[64];
    for (int partition = 0; partition < AF_PARTITIONS; partition++) {
        snprintf(text, sizeof text, "KEYS " AF_NAMESPACE ":{%d}:*", partition);
        p->keys[partition] = ask(p, text);
    }
    assert_int_equal(pthread_create(thread, NULL, run_promoter, p), 0);
}

// --- cases

static void ask_all(int i) {
    CS_AUTO(af_answer_clear)
    struct af_answer list =
        af_get(f, token, "/v1/accounts/acme/certificates?limit=1000&sort=%s", i % 2 ? "name" : "expires");
    assert_status(list, 200);
    assert_int_equal(json_array_size(json_object_get(list.json, "certificates")), NAMES + 1);
    CS_AUTO(af_answer_clear)
    struct af_answer one = af_get(f, beta_token, "/v1/accounts/beta/certificates/official");
    assert_status(one, 200);
    assert_int_equal(json_array_size(json_object_get(one.json, "chain")), 1); // which lies with its owner
    CS_AUTO(af_answer_clear)
    struct af_answer outcome = af_get(f, token, "/v1/accounts/acme/outcomes/%s", event);
    assert_status(outcome, 200);
    CS_AUTO(af_answer_clear) struct af_answer shares = af_get(f, token, "/v1/accounts/acme/shares");
    assert_status(shares, 200);
    assert_int_equal(json_array_size(json_object_get(shares.json, "out")), 1);
}

static void test_replaced_all_the_while(void **state) {
    (void)state;
    static struct promoter p;
    pthread_t thread;
    start_promoter(&p, &thread);
    int rounds = 0;
    int64_t deadline = cs_clock_mono_ms(cs_clock_real()) + PATIENCE_MS;
    // On a machine with much else to do it may be the promotions that take their time.
    for (; rounds < REQUESTS || atomic_load(&p.live) <= REQUESTS / 4; rounds++) {
        assert_true(cs_clock_mono_ms(cs_clock_real()) < deadline);
        ask_all(rounds);
        atomic_fetch_add(&p.requests, 1);
    }
    atomic_store(&p.ended, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    print_message("%d promotions under %d rounds of requests\n", p.live - 1, rounds);
    // A wait that began before a promotion ends with what comes after it.
    struct cs_event ev = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), "late",
                                   fx_cert(f->fx, (struct fx_cert_how){.cn = "late.example.com"}));
    int fd = af_send(f, token, fx_text(f->fx, "/v1/accounts/acme/outcomes/%s?wait=30", ev.id));
    af_wait_metric(f, "certsync_api_waiting_requests", 1, 1);
    assert_applied(fx_send(f->fx, agent, &ev));
    af_commit_partition(f, fx_partition_of(f->fx, "acme")); // back to the first generation
    char body[4096];
    assert_int_equal(af_receive(fd, 20000, body, sizeof body), 200);
    assert_non_null(strstr(body, ev.id));
    for (int i = 0; i < AF_PARTITIONS; i++)
        freeReplyObject(p.keys[i]);
    redisFree(p.ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replaced_all_the_while)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
