// SPDX-License-Identifier: Apache-2.0
//
// Heartbeats against a real Redis: which count, what is remembered of them, and what becomes of that where
// somebody else writes to Redis.
#include "worker/hearing.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "catalog/authentic.h"
#include "fixture.h"
#include "redis_server.h"

#define NAMESPACE "heard"

static struct redis_server server;

struct bed {
    struct fx *fx;
    struct cs_hearing h;
    struct cs_authentic *authentic;
    redisContext *redis;
    int32_t partition; // of acme
    struct cs_position position;
    int64_t offset;
};

static int setup(void **state) {
    struct bed *b = calloc(1, sizeof *b);
    struct cs_err err;
    struct cs_redis_access access = {.seeds_len = 1, .timeout_ms = 2000, .ca_file = server.ca_file};
    redis_server_flush(&server);
    b->fx = fx_new(4);
    b->partition = fx_partition_of(b->fx, "acme");
    b->redis = redisConnectUnix(server.socket);
    assert_true(b->redis && !b->redis->err);
    assert_true(cs_redis_target_parse(server.url, &access.seeds[0], &err));
    b->h = (struct cs_hearing){.log_id = FX_LOG, .partition_count = 4, .crypto = b->fx->crypto};
    const struct cs_privkey *service = b->fx->service->priv;
    assert_true(cs_key_cache_new(b->fx->crypto, cs_pubkey_spki(b->fx->root->pub), &b->h.keys, &err));
    assert_true(cs_catalog_redis_new(&access, NAMESPACE, service, FX_LOG, &b->h.catalog, &err));
    assert_true(cs_heard_store_new(&access, NAMESPACE, service, FX_LOG, &b->h.store, &err));
    assert_true(cs_authentic_new(service, FX_LOG, &b->authentic, &err));
    *state = b;
    return 0;
}

static int teardown(void **state) {
    struct bed *b = *state;
    cs_authentic_free(b->authentic);
    cs_heard_store_free(b->h.store);
    cs_catalog_free(b->h.catalog);
    cs_key_cache_free(b->h.keys);
    redisFree(b->redis);
    fx_free(b->fx);
    free(b);
    return 0;
}

// One command of somebody else.
static long long others(struct bed *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = redisvCommand(b->redis, fmt, ap);
    va_end(ap);
    assert_non_null(r);
    assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
    long long n = r->type == REDIS_REPLY_INTEGER  ? r->integer
                  : r->type == REDIS_REPLY_STRING ? (long long)r->len
                                                  : 0;
    freeReplyObject(r);
    return n;
}

static void commit(struct bed *b, struct cs_state *s) {
    struct cs_err err;
    struct cs_position at, to = b->position;
    bool moved = true;
    assert_true(b->h.catalog->ops->load_begin(b->h.catalog, b->partition, s, &err));
    assert_true(b->h.catalog->ops->load_end(b->h.catalog, &at, &moved, &err) && !moved);
    to.next_offset++;
    assert_true(b->h.catalog->ops->commit_begin(b->h.catalog, b->partition, s, &at, &to, &err));
    assert_true(b->h.catalog->ops->commit_end(b->h.catalog, &moved, &err) && !moved);
    b->position = to;
}

// The catalog has this key, in this state.
static void put_agent(struct bed *b, const struct fx_key *k, struct cs_agent a) {
    CS_AUTO(cs_state_free) struct cs_state *s = NULL;
    struct cs_err err;
    struct cs_bytes spki = cs_pubkey_spki(k->pub);
    struct cs_buf doc;
    cs_buf_init(&doc, 4096);
    a.uses_left = -1;
    a.key.len = spki.len;
    memcpy(a.key.data, spki.data, spki.len);
    strcpy(a.names, "*");
    memcpy(a.enrolled_by, b->fx->admin->kid, sizeof a.enrolled_by);
    a.enrolled_ms = 1;
    cs_agent_encode(&doc, &a);
    assert_true(cs_state_new(false, &s, &err));
    cs_state_begin(s);
    cs_state_put(s, cs_key_agent(CS_NEW_KEY, "acme", k->kid), cs_buf_bytes(&doc));
    assert_true(cs_state_keep(s, &err));
    commit(b, s);
    cs_buf_clear(&doc);
}

static struct fx_key *host(struct bed *b) {
    struct fx_key *k = fx_key_new(b->fx);
    put_agent(b, k, (struct cs_agent){.state = CS_AGENT_ENROLLED, .can = CS_CAN_UPLOAD});
    return k;
}

// A heartbeat of k that `by` signed.
static struct cs_hearing_record beat_by(struct bed *b, const struct fx_key *k, struct fx_key *by,
                                        int64_t seq) {
    struct cs_heartbeat h = {
        .time_s = fx_now_s(b->fx), .seq = seq, .host = {.version = "1.0", .certificates = 3}};
    struct cs_buf value;
    struct cs_err err;
    cs_buf_init(&value, CS_HEARTBEAT_MAX);
    strcpy(h.id, fx_uuid(b->fx));
    strcpy(h.log_id, FX_LOG);
    strcpy(h.account, "acme");
    memcpy(h.kid, k->kid, sizeof h.kid);
    assert_true(cs_heartbeat_encode(&h, &value, &err));
    uint8_t *copy = fx_alloc(b->fx, value.len);
    memcpy(copy, value.data, value.len);
    struct fx_record *r = fx_record_of(b->fx, by, "acme", (struct cs_bytes){copy, value.len});
    cs_buf_clear(&value);
    r->r.partition = b->partition;
    r->r.offset = b->offset++;
    r->r.timestamp_ms = b->fx->now_ms;
    return (struct cs_hearing_record){.record = r->r};
}

static struct cs_hearing_record beat(struct bed *b, struct fx_key *k, int64_t seq) {
    return beat_by(b, k, k, seq);
}

static void take(struct bed *b, struct cs_hearing_record *records, size_t n) {
    struct cs_err err;
    bool catalog;
    if (!cs_hearing_take(&b->h, b->partition, records, n, &catalog, &err))
        fail_msg("%s", err.msg);
}

static void assert_takes(struct bed *b, struct cs_hearing_record record, enum cs_heartbeat_end end) {
    take(b, &record, 1);
    assert_string_equal(cs_heartbeat_end_name(record.end), cs_heartbeat_end_name(end));
}

static bool heard(struct bed *b, const struct fx_key *k, struct cs_heard *ret) {
    struct cs_heard_host one = {.account = "acme"};
    struct cs_err err;
    memcpy(one.kid, k->kid, sizeof one.kid);
    assert_true(cs_heard_read(b->h.store, b->partition, &one, 1, &err));
    if (one.known)
        *ret = one.heard;
    return one.known;
}

static void review(struct bed *b) {
    struct cs_err err;
    bool catalog;
    size_t at = 0, rounds = 0;
    do {
        if (!cs_hearing_review(&b->h, b->partition, &at, &catalog, &err))
            fail_msg("%s", err.msg);
    } while (at > 0 && ++rounds < 20);
    assert_int_equal(at, 0);
}

static long long listed(struct bed *b) {
    return others(b, "ZCARD " NAMESPACE ":{%d}:beats", b->partition);
}

// --- the tests

static void the_newest_wins(void **state) {
    struct bed *b = *state;
    struct fx_key *k = host(b);
    struct cs_heard at;
    int64_t now = b->fx->now_ms;
    assert_false(heard(b, k, &at));
    assert_takes(b, beat(b, k, now), CS_HEARTBEAT_TAKEN);
    assert_true(heard(b, k, &at));
    assert_int_equal(at.at_ms, now);
    assert_int_equal(at.seq, now);
    assert_int_equal(at.host.certificates, 3);
    b->fx->now_ms += 1000;
    assert_takes(b, beat(b, k, now), CS_HEARTBEAT_OLD); // the same again, a second later
    assert_takes(b, beat(b, k, now - 1), CS_HEARTBEAT_OLD);
    assert_true(heard(b, k, &at) && at.at_ms == now);
    // Within one batch, too, whatever their order.
    struct cs_hearing_record three[] = {beat(b, k, now + 2), beat(b, k, now + 1), beat(b, k, now + 3)};
    take(b, three, 3);
    assert_int_equal(three[0].end, CS_HEARTBEAT_TAKEN);
    assert_int_equal(three[1].end, CS_HEARTBEAT_OLD);
    assert_int_equal(three[2].end, CS_HEARTBEAT_TAKEN);
    assert_true(heard(b, k, &at) && at.seq == now + 3);
    long long left_ms = others(b, "PTTL " NAMESPACE ":{%d}:beat/acme/%s", b->partition, k->kid);
    assert_in_range(left_ms, CS_HEARD_FOR_MS - 60000, CS_HEARD_FOR_MS);
}

static void what_counts_for_nothing(void **state) {
    struct bed *b = *state;
    struct fx_key *k = host(b), *stranger = fx_key_new(b->fx), *token = fx_key_new(b->fx), *gone = host(b);
    struct cs_heard at;
    int64_t now = b->fx->now_ms;
    put_agent(b, token,
              (struct cs_agent){.state = CS_AGENT_ENROLLED,
                                .can = CS_CAN_ENROLL,
                                .has_grant = true,
                                .grant_can = CS_CAN_READ,
                                .grant_names = "*"});
    put_agent(b, gone, (struct cs_agent){.state = CS_AGENT_REVOKED, .can = CS_CAN_READ, .ended_ms = 2});
    assert_takes(b, beat(b, stranger, now), CS_HEARTBEAT_UNKNOWN_KEY);
    assert_takes(b, beat(b, token, now), CS_HEARTBEAT_TOKEN);
    assert_takes(b, beat(b, gone, now), CS_HEARTBEAT_ENDED_KEY);
    assert_takes(b, beat_by(b, k, stranger, now), CS_HEARTBEAT_BAD_SIGNATURE);
    struct cs_hearing_record r = beat(b, k, now);
    r.sender_time = true;
    assert_takes(b, r, CS_HEARTBEAT_SENDER_TIME);
    r = beat(b, k, now);
    r.record.value = (struct cs_bytes){(const uint8_t *)"garbage", 7};
    assert_takes(b, r, CS_HEARTBEAT_MALFORMED);
    // One from far ahead does not silence the host.
    assert_takes(b, beat(b, k, now + INT64_C(86400000)), CS_HEARTBEAT_CLOCK);
    assert_false(heard(b, k, &at));
    assert_int_equal(listed(b), 0);
    // Bad ones among good ones take nothing from these. A forged one is not the host's newest.
    struct cs_hearing_record mixed[] = {beat_by(b, k, stranger, now + 5), r, beat(b, k, now),
                                        beat(b, gone, now)};
    take(b, mixed, 4);
    assert_int_equal(mixed[0].end, CS_HEARTBEAT_BAD_SIGNATURE);
    assert_int_equal(mixed[1].end, CS_HEARTBEAT_MALFORMED);
    assert_int_equal(mixed[2].end, CS_HEARTBEAT_TAKEN);
    assert_int_equal(mixed[3].end, CS_HEARTBEAT_ENDED_KEY);
    assert_int_equal(listed(b), 1);
}

// A load brings a part of what is asked for: all the same, each is judged.
static void many_hosts_at_once(void **state) {
    struct bed *b = *state;
    enum { HOSTS = 40 };
    struct cs_hearing_record records[HOSTS];
    struct fx_key *keys[HOSTS];
    struct cs_heard at;
    for (size_t i = 0; i < HOSTS; i++) {
        keys[i] = host(b);
        records[i] = beat(b, keys[i], b->fx->now_ms);
    }
    cs_catalog_redis_load_bytes(b->h.catalog, 1);
    take(b, records, HOSTS);
    for (size_t i = 0; i < HOSTS; i++) {
        assert_int_equal(records[i].end, CS_HEARTBEAT_TAKEN);
        assert_true(heard(b, keys[i], &at));
    }
    assert_int_equal(listed(b), HOSTS);
}

static void what_was_lost_comes_back(void **state) {
    struct bed *b = *state;
    struct fx_key *k = host(b);
    struct cs_heard at;
    int64_t now = b->fx->now_ms;
    assert_takes(b, beat(b, k, now), CS_HEARTBEAT_TAKEN);
    others(b, "DEL " NAMESPACE ":{%d}:beat/acme/%s", b->partition, k->kid);
    others(b, "DEL " NAMESPACE ":{%d}:beats", b->partition);
    assert_false(heard(b, k, &at));
    review(b);
    assert_takes(b, beat(b, k, now + 1), CS_HEARTBEAT_TAKEN);
    assert_true(heard(b, k, &at));
    assert_int_equal(listed(b), 1);
}

static void what_somebody_else_wrote_counts_as_absent(void **state) {
    struct bed *b = *state;
    struct fx_key *k = host(b), *other = host(b);
    struct cs_heard at;
    struct cs_err err;
    bool catalog = true;
    int64_t now = b->fx->now_ms;
    char key[128], of_other[128];
    snprintf(key, sizeof key, NAMESPACE ":{%d}:beat/acme/%s", b->partition, k->kid);
    snprintf(of_other, sizeof of_other, NAMESPACE ":{%d}:beat/acme/%s", b->partition, other->kid);
    assert_takes(b, beat(b, k, now), CS_HEARTBEAT_TAKEN);
    others(b, "SETRANGE %s 12 9", key); // the first digits of at_ms
    assert_false(heard(b, k, &at));
    review(b); // the index does not count it either
    assert_int_equal(listed(b), 0);
    assert_takes(b, beat(b, k, now), CS_HEARTBEAT_TAKEN); // no newer one is known
    others(b, "COPY %s %s REPLACE", key, of_other);
    assert_false(heard(b, other, &at)); // what is genuine elsewhere
    others(b, "SET %s short", key);
    assert_false(heard(b, k, &at));
    others(b, "DEL %s", key);
    others(b, "SADD %s x", key); // of another kind
    assert_false(heard(b, k, &at));
    assert_takes(b, beat(b, k, now), CS_HEARTBEAT_TAKEN);
    assert_true(heard(b, k, &at));
    // Names in the index that nobody has, one of them with bytes of any kind; and a wrong time.
    others(b, "ZADD " NAMESPACE ":{%d}:beats 5 nobody/%s", b->partition, k->kid);
    others(b, "ZADD " NAMESPACE ":{%d}:beats 6 %b", b->partition, "a\0b", (size_t)3);
    others(b, "ZADD " NAMESPACE ":{%d}:beats 7 acme/%s", b->partition, k->kid);
    review(b);
    assert_int_equal(listed(b), 1);
    assert_int_equal(
        others(b, "ZCOUNT " NAMESPACE ":{%d}:beats %lld %lld", b->partition, (long long)now, (long long)now),
        1);
    // An index of another kind is made anew.
    others(b, "DEL " NAMESPACE ":{%d}:beats", b->partition);
    others(b, "SET " NAMESPACE ":{%d}:beats x", b->partition);
    struct cs_hearing_record r = beat(b, k, now + 1);
    assert_false(cs_hearing_take(&b->h, b->partition, &r, 1, &catalog, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    assert_false(catalog);
    assert_true(cs_heard_reset(b->h.store, b->partition, &err));
    assert_takes(b, beat(b, k, now + 2), CS_HEARTBEAT_TAKEN);
    assert_int_equal(listed(b), 1);
}

static void a_damaged_catalog_is_told(void **state) {
    struct bed *b = *state;
    struct fx_key *k = host(b);
    struct cs_err err;
    bool catalog = false;
    others(b, "DEL " NAMESPACE ":{%d}:key/acme/%s", b->partition, k->kid);
    struct cs_hearing_record r = beat(b, k, b->fx->now_ms);
    assert_false(cs_hearing_take(&b->h, b->partition, &r, 1, &catalog, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    assert_true(catalog);
}

static void whose_key_ended_is_forgotten(void **state) {
    struct bed *b = *state;
    enum { HOSTS = CS_HEARD_MAX + 30 };
    struct fx_key *keys[HOSTS];
    struct cs_heard at;
    for (size_t i = 0; i < HOSTS; i++) {
        keys[i] = host(b);
        struct cs_hearing_record r = beat(b, keys[i], b->fx->now_ms);
        r.record.timestamp_ms += (int64_t)i;
        take(b, &r, 1);
        assert_int_equal(r.end, CS_HEARTBEAT_TAKEN);
    }
    for (size_t i = 0; i < HOSTS; i += 10)
        put_agent(b, keys[i],
                  (struct cs_agent){.state = i % 20 ? CS_AGENT_ROTATED : CS_AGENT_REVOKED,
                                    .can = CS_CAN_READ,
                                    .ended_ms = 3});
    review(b);
    for (size_t i = 0; i < HOSTS; i++)
        assert_int_equal(heard(b, keys[i], &at), i % 10 != 0);
    assert_int_equal(listed(b), HOSTS - (HOSTS + 9) / 10);
}

static bool no_doc(void *arg, const char *key, struct cs_bytes value) {
    (void)value;
    *(bool *)arg |= strncmp(key, "beat", 4) == 0;
    return true;
}

static bool no_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    (void)members;
    (void)n;
    *(bool *)arg |= strncmp(key, "beat", 4) == 0;
    return true;
}

// It lies beside the generations: nobody who walks over one sees it, and none takes it along when it goes.
static void beside_the_generations(void **state) {
    struct bed *b = *state;
    struct fx_key *k = host(b);
    struct cs_catalog *c = b->h.catalog;
    struct cs_heard at;
    struct cs_err err;
    bool seen = false, moved = true;
    int64_t removed = 0;
    assert_takes(b, beat(b, k, b->fx->now_ms), CS_HEARTBEAT_TAKEN);
    assert_true(c->ops->each(c, b->partition, no_doc, no_index, &seen, &err));
    assert_false(seen);
    assert_true(c->ops->renew(c, b->partition, 1, &moved, &err) && !moved);
    assert_true(c->ops->sweep(c, b->partition, &removed, &moved, &err) && !moved && removed > 0);
    assert_true(c->ops->sweep_all(c, 4, &removed, &err));
    assert_true(heard(b, k, &at));
    assert_int_equal(listed(b), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(the_newest_wins),
        T(what_counts_for_nothing),
        T(many_hosts_at_once),
        T(what_was_lost_comes_back),
        T(what_somebody_else_wrote_counts_as_absent),
        T(a_damaged_catalog_is_told),
        T(whose_key_ended_is_forgotten),
        T(beside_the_generations),
#undef T
    };
    if (!redis_server_start(&server, NULL))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
