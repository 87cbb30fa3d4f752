// SPDX-License-Identifier: Apache-2.0
//
// What commits leave of what they changed, against a real Redis: who follows learns all of it, or that it is not all.
#include "catalog/changes.h"

#include <hiredis/hiredis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "catalog/catalog.h"
#include "fixture.h"
#include "redis_server.h"

#define NAMESPACE "changes"
#define PARTITION 3

static struct redis_server server;

static struct {
    struct fx *fx;
    struct cs_redis_access access;
    struct cs_catalog *catalog;
    struct cs_changes *changes;
    redisContext *redis;
    struct cs_position at;
} b;

static struct cs_catalog *new_catalog(void) {
    struct cs_catalog *c = NULL;
    struct cs_err err;
    assert_true(cs_catalog_redis_new(&b.access, NAMESPACE, b.fx->service->priv, FX_LOG, &c, &err));
    return c;
}

static int setup(void **state) {
    struct cs_err err;
    (void)state;
    redis_server_flush(&server);
    memset(&b, 0, sizeof b);
    b.fx = fx_new(4);
    b.access = (struct cs_redis_access){.seeds_len = 1, .timeout_ms = 2000, .ca_file = server.ca_file};
    assert_true(cs_redis_target_parse(server.url, &b.access.seeds[0], &err));
    b.redis = redisConnectUnix(server.socket);
    assert_true(b.redis && !b.redis->err);
    b.catalog = new_catalog();
    assert_true(cs_changes_new(&b.access, NAMESPACE, b.fx->service->priv, FX_LOG, &b.changes, &err));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cs_changes_free(b.changes);
    cs_catalog_free(b.catalog);
    redisFree(b.redis);
    fx_free(b.fx);
    return 0;
}

static void others(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = redisvCommand(b.redis, fmt, ap);
    va_end(ap);
    assert_non_null(r);
    assert_int_not_equal(r->type, REDIS_REPLY_ERROR);
    freeReplyObject(r);
}

// One commit of two outcomes that changes these documents.
static void commit(const char *const *keys, size_t n) {
    CS_AUTO(cs_state_free) struct cs_state *s = NULL;
    struct cs_err err;
    struct cs_position from, to;
    bool moved = true;
    assert_true(cs_state_new(false, &s, &err));
    cs_state_begin(s);
    for (size_t i = 0; i < n; i++)
        cs_state_put(s, keys[i], (struct cs_bytes){(const uint8_t *)"{}", 2});
    cs_state_add(s, cs_key_accounts(CS_NEW_KEY), "acme", 0);
    assert_true(cs_state_keep(s, &err));
    assert_true(b.catalog->ops->load_begin(b.catalog, PARTITION, s, &err));
    assert_true(b.catalog->ops->load_end(b.catalog, &from, &moved, &err) && !moved);
    to = from;
    to.next_offset += 2;
    to.outcomes += 2;
    assert_true(b.catalog->ops->commit_begin(b.catalog, PARTITION, s, &from, &to, &err));
    if (!b.catalog->ops->commit_end(b.catalog, &moved, &err))
        fail_msg("%s", err.msg);
    assert_false(moved);
    b.at = to;
}

static void commit_one(const char *key) {
    commit(&key, 1);
}

// Where whoever stands at `at` gets to, and by which keys (with blanks between).
static void expect(int64_t at, int64_t reached, const char *keys) {
    CS_AUTO(cs_buf_clear) struct cs_buf found;
    struct cs_err err;
    char text[4096] = "";
    cs_buf_init(&found, 1 << 20);
    assert_true(cs_changes_since(b.changes, PARTITION, 1, &at, &found, &err));
    for (size_t i = 0; i < found.len; i++)
        text[i] = found.data[i] ? (char)found.data[i] : ' ';
    if (keys)
        assert_string_equal(text, keys);
    assert_int_equal(at, reached);
}

static void test_follows(void **state) {
    (void)state;
    static const char *const both[] = {"cert/acme/two", "shared-in/acme/beta/three", "outcome/acme/x",
                                       "name/acme/n"};
    expect(0, 0, "");
    commit_one("cert/acme/one");
    commit(both, CS_ARRAY_LEN(both));
    commit_one("key/acme/none");
    expect(0, 6, "cert/acme/one cert/acme/two shared-in/acme/beta/three ");
    expect(2, 6, "cert/acme/two shared-in/acme/beta/three ");
    expect(4, 6, "");
    expect(6, 6, "");
    expect(9, 9, "");
    // From the middle of a commit, as after a Redis that went back: all of it.
    expect(1, 6, "cert/acme/one cert/acme/two shared-in/acme/beta/three ");
}

// The newest CS_CHANGES_KEPT commits are there. Whoever stands before them is told so.
static void test_ends(void **state) {
    (void)state;
    for (int i = 0; i < CS_CHANGES_KEPT + 3; i++)
        commit_one("cert/acme/one");
    expect(0, 0, "");
    expect(4, 4, "");
    expect(6, b.at.outcomes, NULL);
}

static void test_another_worker(void **state) {
    (void)state;
    for (int i = 0; i < 5; i++)
        commit_one("cert/acme/one");
    cs_catalog_free(b.catalog);
    b.catalog = new_catalog();
    commit_one("cert/acme/two"); // at the place of the oldest
    expect(0, 0, "");
    expect(10, 12, "cert/acme/two ");
    expect(2, 12, NULL);
}

static void test_damage(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++)
        commit_one("cert/acme/one");
    others("DEL " NAMESPACE ":{3}:changes/2");
    expect(0, 4, "cert/acme/one cert/acme/one ");
    expect(6, 12, "cert/acme/one cert/acme/one cert/acme/one ");
    others("SET " NAMESPACE ":{3}:changes/3 %s", "1 6 8\n0123456789");
    expect(6, 6, "");
    others("COPY " NAMESPACE ":{3}:changes/4 " NAMESPACE
           ":{3}:changes/3 REPLACE"); // the mark is of its place
    expect(6, 6, "");
    others("SET " NAMESPACE ":{3}:changes/5 x");
    expect(8, 10, "cert/acme/one ");
    others("DEL " NAMESPACE ":{3}:changes/4");
    others("RPUSH " NAMESPACE ":{3}:changes/4 x y");
    others("DEL " NAMESPACE ":{3}:changes/6");
    others("RPUSH " NAMESPACE ":{3}:changes/6 x");
    expect(8, 8, "");
    commit_one("cert/acme/after"); // whatever lies there does not hold up a commit
    expect(12, 14, "cert/acme/after ");
}

// A generation that was filled in another way is not followed, but read.
static void test_generations(void **state) {
    (void)state;
    struct cs_err err;
    bool moved = true;
    commit_one("cert/acme/one");
    assert_true(b.catalog->ops->renew(b.catalog, PARTITION, 1, &moved, &err) && !moved);
    expect(0, 2, "cert/acme/one ");
    commit_one("cert/acme/two");
    CS_AUTO(cs_buf_clear) struct cs_buf found;
    int64_t at = 0;
    cs_buf_init(&found, 4096);
    int64_t generation = b.catalog->ops->generation(b.catalog, PARTITION);
    assert_int_not_equal(generation, 1);
    assert_true(cs_changes_since(b.changes, PARTITION, generation, &at, &found, &err));
    assert_string_equal((const char *)found.data, "cert/acme/two");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_follows, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_another_worker, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_generations, setup, teardown),
    };
    if (!redis_server_start(&server, NULL))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
