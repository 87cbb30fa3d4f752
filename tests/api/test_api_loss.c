// SPDX-License-Identifier: Apache-2.0
//
// Redis loses the catalogs, or comes back with those of yesterday: until they have caught up with what was
// published every endpoint answers 503 with Retry-After, from the first request on. Nobody is told that he is
// unknown, sees yesterday as today, or gets in with a key that was revoked since.
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api_fixture.h"

#define RECEIVE_MS 30000
#define HELD       "certsync_api_held_partitions"

static struct af *f;
static struct fx_key *agent, *thief;
static const char *event, *event_before;
static const char *token, *thief_token;

static const char *const paths[] = {"/v1/accounts/acme/certificates",
                                    "/v1/accounts/acme/certificates?sort=expires",
                                    "/v1/accounts/acme/certificates/www",
                                    "/v1/accounts/acme/certificates/none",
                                    "/v1/accounts/acme/csrs",
                                    "/v1/accounts/acme/shares",
                                    "/v1/accounts/acme/agents",
                                    "/v1/accounts/acme/outcomes",
                                    "/v1/accounts/acme/outcomes/%s",
                                    "/v1/accounts/acme/outcomes/%s?wait=1"};

static const char *upload(const char *name) {
    struct fx_cert *cert = fx_cert(f->fx, (struct fx_cert_how){.cn = "www.example.com"});
    struct cs_event ev = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), name, cert);
    assert_applied(fx_send(f->fx, agent, &ev));
    return fx_text(f->fx, "%s", ev.id);
}

static void command(const char *text) {
    redisReply *r = redisCommand(f->ctx, text);
    assert_non_null(r);
    assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
    freeReplyObject(r);
}

// A deployment whose Redis has a snapshot of "yesterday", from before the thief's key was revoked.
static int setup(void **state) {
    (void)state;
    f = af_new();
    fx_account(f->fx, "acme", "owner-1", CS_SITE_CN, true);
    agent = fx_agent(f->fx, "acme", CS_CAN_UPLOAD | CS_CAN_READ, "*");
    thief = fx_agent(f->fx, "acme", CS_CAN_UPLOAD | CS_CAN_READ, "*");
    event_before = upload("www");
    af_commit(f);
    command("SAVE");
    struct cs_event ev = fx_event(f->fx, CS_EVENT_AGENT_REVOKE, "acme", f->fx->admin, thief->kid);
    assert_applied(fx_send(f->fx, f->fx->admin, &ev));
    event = upload("later");
    af_commit(f);
    token = af_token(f, agent, "acme");
    thief_token = af_token(f, thief, "acme");
    af_start(f);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    af_stop(f);
    af_free(f);
    return 0;
}

static void all_held(void) {
    for (size_t i = 0; i < CS_ARRAY_LEN(paths); i++) {
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, paths[i], event_before);
        assert_problem(a, 503, "");
        assert_int_equal(a.retry_after_s, 1);
        CS_AUTO(af_answer_clear) struct af_answer b = af_get(f, thief_token, paths[i], event_before);
        assert_problem(b, 503, "");
    }
}

// Who asks need not wait until the API looks by itself.
static void all_well(void) {
    for (int64_t end = af_now_ms() + RECEIVE_MS; af_metric(f, HELD) > 0;) {
        assert_true(af_now_ms() < end);
        CS_AUTO(af_answer_clear) struct af_answer any = af_get(f, token, "%s", paths[0]);
        usleep(2000);
    }
    CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "/v1/accounts/acme/outcomes/%s", event);
    assert_status(a, 200);
    CS_AUTO(af_answer_clear) struct af_answer b = af_get(f, thief_token, "/v1/accounts/acme/certificates");
    assert_problem(b, 403, "event.revoked_signer");
}

static int send_wait(const char *id) {
    int fd = af_connect(f);
    char text[2048];
    int len =
        snprintf(text, sizeof text,
                 "GET /v1/accounts/acme/outcomes/%s?wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
                 "%s\r\n\r\n",
                 id, token);
    assert_int_equal(send(fd, text, (size_t)len, MSG_NOSIGNAL), len);
    return fd;
}

static void test_emptied(void **state) {
    (void)state;
    all_well();
    command("FLUSHALL");
    all_held(); // the first request after it, too
    // Asking over and over does not let anybody in.
    for (int i = 0; i < 50; i++) {
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "%s", paths[0]);
        assert_problem(a, 503, "");
    }
    CS_AUTO(af_answer_clear) struct af_answer health = af_get(f, NULL, "/healthz");
    assert_status(health, 200);
    af_commit(f);
    all_well();
}

static void test_yesterday(void **state) {
    (void)state;
    af_redis_kill(f);
    af_redis_start(f); // with the snapshot
    all_held();
    af_wait_metric(f, "certsync_api_redis_up", 1, 1);
    all_held();
    // Over more looks than one, and after what is published is known.
    af_wait_metric(f, HELD, 1, 1);
    all_held();
    af_commit(f);
    all_well();
}

// The snapshot is there when the API starts, which has seen nothing else.
static void test_started_on_yesterday(void **state) {
    (void)state;
    af_stop(f);
    af_redis_kill(f);
    af_redis_start(f);
    f->start_held = true;
    af_start(f);
    all_held();
    af_wait_metric(f, HELD, 1, 1);
    all_held();
    af_commit(f);
    all_well();
    af_stop(f);
    // And with an empty one.
    command("FLUSHALL");
    af_start(f);
    all_held();
    af_commit(f);
    all_well();
    f->start_held = false;
}

// As long as nobody knows what was published, nobody is answered.
static void test_unknown(void **state) {
    (void)state;
    af_stop(f);
    f->start_held = true;
    atomic_store(&f->published.away, true);
    af_start(f);
    all_held();
    cs_board_expect_workers(f->consumer.board, 1);
    cs_board_worker_joined(f->consumer.board, true);
    CS_AUTO(af_answer_clear) struct af_answer ready = af_get(f, NULL, "/readyz");
    assert_status(ready, 503);
    assert_non_null(strstr(af_text(ready.json, "reason"), "how far outcomes are published"));
    atomic_store(&f->published.away, false);
    all_well();
    CS_AUTO(af_answer_clear) struct af_answer again = af_get(f, NULL, "/readyz");
    assert_status(again, 200);
    f->start_held = false;
}

// Two partitions have no leader: the others are asked for all the same, and before those two again and again.
static void test_slow(void **state) {
    (void)state;
    af_stop(f);
    f->start_held = true;
    for (int32_t p = 0; p < AF_PARTITIONS; p++)
        atomic_store(&f->published.asked[p], 0);
    atomic_store(&f->published.first_slow, 2);
    af_start(f);
    af_wait_metric(f, HELD, 2, 2);
    int slow = atomic_load(&f->published.asked[0]) + atomic_load(&f->published.asked[1]);
    assert_in_range(slow, 2, 3);
    atomic_store(&f->published.first_slow, 0);
    all_well();
    f->start_held = false;
}

static int64_t position(int32_t p) {
    struct cs_position now;
    struct cs_err err;
    redisReply *r = redisCommand(f->ctx, "GET " AF_NAMESPACE ":{%d}:pos", (int)p);
    assert_non_null(r->str);
    assert_true(cs_position_decode((struct cs_bytes){(const uint8_t *)r->str, (size_t)r->len - CS_MARK_LEN},
                                   &now, &err));
    freeReplyObject(r);
    return now.outcomes;
}

static void set_position(int32_t p, int64_t outcomes) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    cs_buf_init(&b, 1024);
    cs_position_encode(&b, &(struct cs_position){.outcomes = outcomes});
    af_set(f, p, "pos", cs_buf_bytes(&b));
}

static void wait_asked(int32_t p, int times) {
    int64_t deadline_ms = af_now_ms() + RECEIVE_MS;
    while (atomic_load(&f->published.asked[p]) < times) {
        assert_true(af_now_ms() < deadline_ms);
        usleep(2000);
    }
}

// Something else wrote to Redis: nobody is answered from that, and the worker is told.
static void test_damaged(void **state) {
    (void)state;
    int32_t p = cs_partition_of("acme", AF_PARTITIONS);
    const char *at = fx_text(f->fx, AF_NAMESPACE ":{%d}:", (int)p);
    struct cs_place place;
    char bucket[CS_WITNESS_KEY_SIZE];
    struct cs_err err;
    assert_true(cs_authentic_place(f->authentic, p, cs_key_trust(CS_NEW_KEY, agent->kid), &place, &err));
    cs_witness_key(bucket, place.bucket);
    struct {
        const char *command, *path, *token;
    } const ways[] = {
        {fx_text(f->fx, "APPEND %saccount/acme x", at), paths[0], token},
        {fx_text(f->fx, "SETRANGE %skey/acme/%s 3 x", at, agent->kid), paths[0], token},
        {fx_text(f->fx, "SETRANGE %soutcome/acme/%s 3 x", at, event), fx_text(f->fx, paths[8], event), token},
        {fx_text(f->fx, "SETRANGE %soutcome/acme/%s 3 x", at, event), fx_text(f->fx, paths[9], event), token},
        {fx_text(f->fx, "ZADD %sview/acme 0 aaa/c/x", at), paths[0], token},
        {fx_text(f->fx, "ZADD %sexpiry/acme 0 aaa/c/x", at), paths[1], token},
        {fx_text(f->fx, "ZADD %scsrs/acme 0 a/b", at), paths[4], token},
        {fx_text(f->fx, "ZADD %sshares/acme 0 in/x", at), paths[5], token},
        {fx_text(f->fx, "ZADD %skeys/acme 0 x", at), paths[6], token},
        {fx_text(f->fx, "ZADD %soutcomes/acme 99 x", at), paths[7], token},
        // another key's document; a key that was revoked is made an admin's
        {fx_text(f->fx, "COPY %skey/acme/%s %skey/acme/%s REPLACE", at, agent->kid, at, thief->kid), paths[0],
         thief_token},
        {fx_text(f->fx, "SET %strust/%s {}0123456789abcdef", at, thief->kid), paths[0], thief_token},
        {fx_text(f->fx, "SETRANGE %spos 3 x", at), paths[0], token},
        // what only a witness tells: gone, a member less, an index of another kind of key
        {fx_text(f->fx, "DEL %saccount/acme", at), paths[0], token},
        {fx_text(f->fx, "DEL %sview/acme", at), paths[0], token},
        {fx_text(f->fx, "ZPOPMAX %sexpiry/acme", at), paths[1], token},
        // the last: a bucket of witnesses is lost, where there is nothing to witness, too
        {fx_text(f->fx, "DEL %s%s", at, bucket), paths[0], token},
    };
    cs_board_state(f->consumer.board, p, CS_BOARD_RUNNING, NULL);
    for (size_t i = 0; i < CS_ARRAY_LEN(ways); i++) {
        command(ways[i].command);
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, ways[i].token, "%s", ways[i].path);
        bool known = i + 1 == CS_ARRAY_LEN(ways); // it is, for up to a second
        for (int64_t end = af_now_ms() + RECEIVE_MS; known && a.status != 503;) {
            assert_true(af_now_ms() < end);
            usleep(20000);
            af_answer_clear(&a);
            a = af_get(f, ways[i].token, "%s", ways[i].path);
        }
        assert_problem(a, 503, "");
        assert_true(a.retry_after_s > 0);
        assert_int_equal(cs_board_damage(f->consumer.board, p), 1);
        all_held(); // until it is made again
        cs_board_damaged(f->consumer.board, p, 0, NULL);
        af_commit(f);
        all_well();
    }
    // A partition that another process has: that one mends it.
    cs_board_state(f->consumer.board, p, CS_BOARD_ELSEWHERE, NULL);
    command(ways[0].command);
    CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "%s", paths[0]);
    assert_problem(a, 503, "");
    assert_int_equal(cs_board_damage(f->consumer.board, p), 0);
    af_commit(f);
    all_well();
}

// The process ends while Kafka is asked.
static void test_stopped(void **state) {
    (void)state;
    af_stop(f);
    f->start_held = true;
    atomic_store(&f->published.asked[1], 0);
    atomic_store(&f->published.late, 1);
    af_start(f);
    wait_asked(1, 1);
    af_stop(f);
    f->start_held = false;
    af_start(f);
    all_well();
}

// A position that cannot be read holds its own partition, and not the process.
static void test_unreadable(void **state) {
    (void)state;
    af_stop(f);
    f->start_held = true;
    char text[128];
    snprintf(text, sizeof text, "SET " AF_NAMESPACE ":{%d}:pos damaged",
             (int)cs_partition_of("acme", AF_PARTITIONS));
    command(text);
    af_start(f);
    cs_board_expect_workers(f->consumer.board, 1);
    cs_board_worker_joined(f->consumer.board, true);
    af_wait_metric(f, HELD, 1, 1);
    all_held();
    CS_AUTO(af_answer_clear) struct af_answer ready = af_get(f, NULL, "/readyz");
    assert_status(ready, 200);
    af_commit(f);
    all_well();
    f->start_held = false;
}

// The position goes on and back while an answer is under way: it is of before, and proves nothing.
static void test_late_answer(void **state) {
    (void)state;
    int32_t p = cs_partition_of("acme", AF_PARTITIONS);
    int64_t now = position(p);
    af_stop(f);
    f->start_held = true;
    set_position(p, now - 1);
    atomic_store(&f->published.last[p], now - 1);
    atomic_store(&f->published.asked[p], 0);
    atomic_store(&f->published.late, p);
    af_start(f);
    wait_asked(p, 1);
    atomic_store(&f->published.last[p], now);
    for (int64_t n = now; n >= now - 1; n--) {
        set_position(p, n);
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "%s", paths[0]);
        assert_problem(a, 503, "");
    }
    atomic_store(&f->published.late, -1);
    wait_asked(p, 2);
    CS_AUTO(af_answer_clear) struct af_answer b = af_get(f, token, "%s", paths[0]);
    assert_problem(b, 503, "");
    set_position(p, now);
    all_well();
    f->start_held = false;
}

// Part of the way is not all of it: the snapshot is written over what is there, by a replay under way.
static void test_half_way(void **state) {
    (void)state;
    int32_t p = cs_partition_of("acme", AF_PARTITIONS);
    int64_t last = position(p);
    for (int64_t n = 1; n <= last; n++) {
        set_position(p, n);
        if (n == last)
            break;
        CS_AUTO(af_answer_clear) struct af_answer a = af_get(f, token, "%s", paths[0]);
        assert_problem(a, 503, "");
    }
    all_well();
}

// Who waits through it learns the outcome once it is there again, and nothing before.
static void test_waiting(void **state) {
    (void)state;
    const char *next = NULL;
    struct fx_cert *cert = fx_cert(f->fx, (struct fx_cert_how){.cn = "next.example.com"});
    struct cs_event ev = fx_upload(f->fx, "acme", agent, fx_uuid(f->fx), "next", cert);
    next = fx_text(f->fx, "%s", ev.id);
    int fd = send_wait(next);
    af_wait_metric(f, "certsync_api_waiting_requests", 1, 1);
    command("FLUSHALL");
    af_wait_metric(f, HELD, 1, AF_PARTITIONS);
    assert_applied(fx_send(f->fx, agent, &ev));
    af_commit(f);
    assert_int_equal(af_receive(fd, RECEIVE_MS, NULL, 0), 200);
    close(fd);
    all_well();
}

// ---- answers that a newer one overtook

#define ASKERS 6
#define MOVES  2000

struct asker {
    pthread_t thread;
    atomic_bool *ended;
    int answers, others;
};

static void *run_asker(void *arg) {
    struct asker *a = arg;
    char text[4096], out[8192];
    int fd = af_connect(f), len = snprintf(text, sizeof text,
                                           "GET /v1/accounts/acme/outcomes/%s HTTP/1.1\r\nHost: "
                                           "x\r\nAuthorization: Bearer %s\r\n\r\n",
                                           event, token);
    while (!atomic_load(a->ended)) {
        if (send(fd, text, (size_t)len, MSG_NOSIGNAL) != len)
            break;
        int status = af_receive(fd, RECEIVE_MS, out, sizeof out);
        a->answers += status == 200;
        a->others += status != 200;
    }
    close(fd);
    return NULL;
}

// Each loop has a connection of its own to Redis. What one reads may be older than what another has
// read meanwhile: that is no step back, and nobody is told to come again.
static void test_overtaken(void **state) {
    (void)state;
    struct asker askers[ASKERS];
    atomic_bool ended = false;
    int32_t p = cs_partition_of("acme", AF_PARTITIONS);
    int answers = 0;
    all_well();
    int64_t from = position(p);
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.ended = &ended};
        assert_int_equal(pthread_create(&askers[i].thread, NULL, run_asker, &askers[i]), 0);
    }
    for (int64_t i = 1; i <= MOVES; i++)
        set_position(p, from + i);
    atomic_store(&ended, true);
    for (size_t i = 0; i < ASKERS; i++) {
        pthread_join(askers[i].thread, NULL);
        assert_int_equal(askers[i].others, 0);
        answers += askers[i].answers;
    }
    assert_true(answers >= ASKERS);
    print_message("%d answers while the position moved %d times\n", answers, MOVES);
    af_stop(f); // it has seen a higher position than that which follows
    af_commit(f);
    af_start(f);
    all_well();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_emptied),
        cmocka_unit_test(test_yesterday),
        cmocka_unit_test(test_half_way),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_started_on_yesterday),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_overtaken),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
