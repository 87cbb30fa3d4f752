// SPDX-License-Identifier: Apache-2.0
//
// What every catalog must do: the same cases over memory and over a real Redis.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <hiredis/hiredis.h>

#include "catalog/catalog.h"
#include "certsync/model/key.h"
#include "redis/access.h"
#include "redis_server.h"

#define PARTITION 3

// A store with two handles on it: two consumers that both believe to own the partition.
struct fixture {
    struct cs_memory_store *store;
    struct redis_server *redis;
    char name_space[32];
    struct cs_catalog *a, *b;
};

static struct redis_server server;
static int namespaces;
static struct cs_privkey *service;

static struct cs_redis_access access_of(const char *url, int64_t timeout_ms) {
    struct cs_redis_access a = {.seeds_len = 1, .timeout_ms = timeout_ms, .ca_file = server.ca_file};
    struct cs_err err;
    assert_true(cs_redis_target_parse(url, &a.seeds[0], &err));
    return a;
}

static struct cs_catalog *open_redis(const char *name_space, int64_t timeout_ms) {
    struct cs_redis_access a = access_of(server.url, timeout_ms);
    struct cs_catalog *c = NULL;
    struct cs_err err;
    assert_true(cs_catalog_redis_new(&a, name_space, service, "test", &c, &err));
    return c;
}

static int setup_memory(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct cs_err err;
    assert_true(cs_memory_store_new(&f->store, &err));
    assert_true(cs_catalog_memory_new(f->store, &f->a, &err));
    assert_true(cs_catalog_memory_new(f->store, &f->b, &err));
    *state = f;
    return 0;
}

static int setup_redis(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->redis = &server;
    snprintf(f->name_space, sizeof f->name_space, "t%d", ++namespaces);
    f->a = open_redis(f->name_space, 5000);
    f->b = open_redis(f->name_space, 5000);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    cs_catalog_free(f->a);
    cs_catalog_free(f->b);
    cs_memory_store_free(f->store);
    free(f);
    return 0;
}

// --- helpers

static struct cs_bytes text(const char *s) {
    return (struct cs_bytes){(const uint8_t *)s, strlen(s)};
}

static struct cs_state *new_state(void) {
    struct cs_state *s = NULL;
    struct cs_err err;
    assert_true(cs_state_new(false, &s, &err));
    return s;
}

static struct cs_position position(int64_t n) {
    struct cs_position p = {.next_offset = n, .outcomes = n * 2, .derived = n * 3};
    memset(p.record_sha256, (int)n, sizeof p.record_sha256);
    memset(p.chain_sha256, (int)n + 1, sizeof p.chain_sha256);
    return p;
}

static void load(struct cs_catalog *c, struct cs_state *s, struct cs_position *ret) {
    struct cs_err err;
    bool moved = true;
    assert_true(c->ops->load_begin(c, PARTITION, s, &err));
    assert_true(c->ops->load_end(c, ret, &moved, &err));
    assert_false(moved);
}

static bool commit_moved(struct cs_catalog *c, struct cs_state *s, struct cs_position from,
                         struct cs_position to) {
    struct cs_err err;
    bool moved = true;
    assert_true(c->ops->commit_begin(c, PARTITION, s, &from, &to, &err));
    assert_true(c->ops->commit_end(c, &moved, &err));
    return moved;
}

static void keep(struct cs_state *s) {
    struct cs_err err;
    assert_true(cs_state_keep(s, &err));
}

static void expect_doc(struct cs_state *s, const char *key, const char *want) {
    struct cs_bytes v = {0};
    enum cs_look look = cs_state_get(s, key, &v);
    if (!want) {
        assert_int_equal(look, CS_ABSENT);
        return;
    }
    assert_int_equal(look, CS_FOUND);
    assert_int_equal(v.len, strlen(want));
    assert_memory_equal(v.data, want, v.len);
}

// Members as "name=score name=score".
static void expect_index(struct cs_state *s, const char *key, const char *want) {
    const struct cs_member *m = NULL;
    size_t n = 0;
    char got[4096] = "";
    assert_int_not_equal(cs_state_list(s, key, &m, &n), CS_NEEDED);
    for (size_t i = 0; i < n; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s=%lld", i ? " " : "", m[i].name,
                 (long long)m[i].score);
    assert_string_equal(got, want);
}

// The partition as a fresh handle would see it.
static struct cs_state *fresh(struct fixture *f, const char *const *docs, const char *const *indexes,
                              struct cs_position *at) {
    struct cs_state *s = new_state();
    struct cs_bytes ignored;
    const struct cs_member *members = NULL;
    size_t n = 0;
    for (; docs && *docs; docs++)
        assert_int_equal(cs_state_get(s, *docs, &ignored), CS_NEEDED);
    for (; indexes && *indexes; indexes++)
        assert_int_equal(cs_state_list(s, *indexes, &members, &n), CS_NEEDED);
    load(f->b, s, at);
    f->b->ops->cancel(f->b);
    return s;
}

struct dump {
    char text[65536];
};
static bool dump_doc(void *arg, const char *key, struct cs_bytes v) {
    struct dump *d = arg;
    size_t n = strlen(d->text);
    snprintf(d->text + n, sizeof d->text - n, "%s:%.*s\n", key, (int)v.len, (const char *)v.data);
    return true;
}
static bool dump_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct dump *d = arg;
    size_t len = strlen(d->text);
    len += (size_t)snprintf(d->text + len, sizeof d->text - len, "%s:", key);
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(d->text + len, sizeof d->text - len, " %s=%lld", members[i].name,
                                (long long)members[i].score);
    snprintf(d->text + len, sizeof d->text - len, "\n");
    return true;
}
// --- cases

static void test_empty(void **state) {
    struct fixture *f = *state;
    struct cs_position at = position(9);
    struct cs_position zero = {0};
    struct cs_state *s = fresh(f, (const char *[]){"account/a", NULL}, (const char *[]){"keys/a", NULL}, &at);
    assert_true(cs_position_equal(&at, &zero));
    expect_doc(s, "account/a", NULL);
    expect_index(s, "keys/a", "");
    cs_state_free(s);
}

static void test_commit_is_seen(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "account/a", text("{\"x\":\"\\u0000\"}"));
    cs_state_put(s, "cert/a/1", text("bytes \x01\xff\r\n$5\r\n"));
    cs_state_put(s, "empty", (struct cs_bytes){(const uint8_t *)"", 0});
    cs_state_add(s, "keys/a", "k2", 0);
    cs_state_add(s, "keys/a", "k1", 0);
    cs_state_add(s, "expiry/a", "x", 9007199254740991);
    cs_state_add(s, "expiry/a", "y", -5);
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    struct cs_state *seen = fresh(f, (const char *[]){"account/a", "cert/a/1", "empty", NULL},
                                  (const char *[]){"keys/a", "expiry/a", NULL}, &at);
    struct cs_position want = position(1);
    assert_true(cs_position_equal(&at, &want));
    expect_doc(seen, "account/a", "{\"x\":\"\\u0000\"}");
    expect_doc(seen, "cert/a/1", "bytes \x01\xff\r\n$5\r\n");
    expect_doc(seen, "empty", "");
    expect_index(seen, "keys/a", "k1=0 k2=0");
    expect_index(seen, "expiry/a", "y=-5 x=9007199254740991");
    cs_state_free(seen);
    cs_state_free(s);
}

static void test_overwrite_and_delete(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "d/1", text("one"));
    cs_state_put(s, "d/2", text("two"));
    cs_state_add(s, "i", "a", 1);
    cs_state_add(s, "i", "b", 2);
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    cs_state_changes_clear(s);
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "d/1", text("uno"));
    cs_state_delete(s, "d/2");
    cs_state_delete(s, "d/3");
    cs_state_remove(s, "i", "a");
    cs_state_remove(s, "i", "never");
    cs_state_add(s, "i", "b", 7);
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(2)));
    struct cs_state *seen =
        fresh(f, (const char *[]){"d/1", "d/2", "d/3", NULL}, (const char *[]){"i", NULL}, &at);
    expect_doc(seen, "d/1", "uno");
    expect_doc(seen, "d/2", NULL);
    expect_doc(seen, "d/3", NULL);
    expect_index(seen, "i", "b=7");
    cs_state_free(seen);
    cs_state_free(s);
}

// The order of changes of one index matters.
static void test_index_order(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_add(s, "i", "a", 1);
    cs_state_remove(s, "i", "a");
    cs_state_add(s, "i", "b", 1);
    cs_state_add(s, "i", "a", 3);
    cs_state_add(s, "i", "c", 2);
    cs_state_remove(s, "i", "b");
    cs_state_add(s, "j", "z", 1); // between, of another
    cs_state_add(s, "i", "b", 9);
    cs_state_trim(s, "i", 2);
    cs_state_add(s, "i", "d", 0);
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    struct cs_state *seen = fresh(f, NULL, (const char *[]){"i", "j", NULL}, &at);
    expect_index(seen, "i", "d=0 a=3 b=9");
    expect_index(seen, "j", "z=1");
    cs_state_free(seen);
    cs_state_free(s);
}

// As `seen` is kept: an addition and a trim for each event.
static void test_trim_after_each(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    char member[16];
    for (int batch = 0; batch < 3; batch++) {
        load(f->a, s, &at);
        for (int i = 0; i < 10; i++) {
            cs_state_begin(s);
            snprintf(member, sizeof member, "e%02d", batch * 10 + i);
            cs_state_add(s, "seen", member, batch * 10 + i);
            cs_state_trim(s, "seen", 4);
            keep(s);
        }
        assert_false(commit_moved(f->a, s, at, position(batch + 1)));
        cs_state_changes_clear(s);
    }
    struct cs_state *seen = fresh(f, NULL, (const char *[]){"seen", NULL}, &at);
    expect_index(seen, "seen", "e26=26 e27=27 e28=28 e29=29");
    cs_state_free(seen);
    cs_state_free(s);
}

static void put_outcome(struct cs_state *s, const char *event, const char *member, int64_t score) {
    char key[64];
    cs_state_begin(s);
    snprintf(key, sizeof key, "outcome/acme/%s", event);
    cs_state_put(s, key, text(event));
    cs_state_add(s, "outcomes/acme", member, score);
    cs_state_trim(s, "outcomes/acme", 3);
    keep(s);
}

static void expect_outcomes(struct fixture *f, const char *index, const char *there, const char *gone) {
    struct cs_position at;
    char key[64] = "outcome/acme/eX";
    char *name = strchr(key, 'X');
    for (const char *p = there; *p; p++) {
        *name = *p;
        struct cs_state *s = fresh(f, (const char *[]){key, NULL}, NULL, &at);
        expect_doc(s, key, key + sizeof "outcome/acme/" - 1);
        cs_state_free(s);
    }
    for (const char *p = gone; *p; p++) {
        *name = *p;
        struct cs_state *s = fresh(f, (const char *[]){key, NULL}, NULL, &at);
        expect_doc(s, key, NULL);
        cs_state_free(s);
    }
    struct cs_state *s = fresh(f, NULL, (const char *[]){"outcomes/acme", NULL}, &at);
    expect_index(s, "outcomes/acme", index);
    cs_state_free(s);
}

// A trim of outcomes takes their documents along, in the same commit: those that were there before,
// and those that came with it; not what is awaited, nor what was only removed from the index.
static void test_trim_takes_documents(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    load(f->a, s, &at);
    put_outcome(s, "e0", "e0", 1);
    put_outcome(s, "e1", "e1", 2);
    put_outcome(s, "e2", "e2", 3);
    put_outcome(s, "e3", "e3", 4);
    put_outcome(s, "e4", "e4", 5);
    assert_false(commit_moved(f->a, s, at, position(1)));
    expect_outcomes(f, "e2=3 e3=4 e4=5", "234", "01");
    cs_state_forget(s);
    load(f->a, s, &at);
    put_outcome(s, "e5", "e5", 6);
    put_outcome(s, "e6", "e6/awaited", 7);
    assert_false(commit_moved(f->a, s, at, position(2)));
    expect_outcomes(f, "e4=5 e5=6 e6/awaited=7", "456", "23");
    cs_state_forget(s);
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_remove(s, "outcomes/acme", "e4");
    keep(s);
    put_outcome(s, "e7", "e7", 8);
    put_outcome(s, "e8", "e8", 9);
    put_outcome(s, "e9", "e9", 10);
    assert_false(commit_moved(f->a, s, at, position(3)));
    expect_outcomes(f, "e7=8 e8=9 e9=10", "46789", "5");
    cs_state_forget(s);
    load(f->a, s, &at);
    put_outcome(s, "e0", "e0", 11); // e7 goes, and comes again
    put_outcome(s, "e7", "e7", 12);
    assert_false(commit_moved(f->a, s, at, position(4)));
    expect_outcomes(f, "e9=10 e0=11 e7=12", "90746", "8");
    struct dump d = {""};
    struct cs_err err = {0};
    assert_true(f->a->ops->each(f->a, PARTITION, dump_doc, dump_index, &d, &err)); // and its witnesses
    cs_state_free(s);
}

// A trim between falling scores is not the same as one at the end.
static void test_trim_falling(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_add(s, "i", "a", 5);
    cs_state_add(s, "i", "b", 6);
    cs_state_trim(s, "i", 1);
    cs_state_add(s, "i", "b", 1);
    cs_state_trim(s, "i", 2);
    cs_state_remove(s, "i", "c");
    cs_state_trim(s, "i", 3);
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    struct cs_state *seen = fresh(f, NULL, (const char *[]){"i", NULL}, &at);
    expect_index(seen, "i", "b=1");
    cs_state_free(seen);
    cs_state_free(s);
}

static void test_rival_between_load_and_commit(void **state) {
    struct fixture *f = *state;
    struct cs_state *mine = new_state();
    struct cs_state *theirs = new_state();
    struct cs_position at_a, at_b;
    load(f->a, mine, &at_a);
    load(f->b, theirs, &at_b);
    cs_state_begin(theirs);
    cs_state_put(theirs, "d", text("theirs"));
    keep(theirs);
    assert_false(commit_moved(f->b, theirs, at_b, position(1)));
    cs_state_begin(mine);
    cs_state_put(mine, "d", text("mine"));
    cs_state_add(mine, "i", "mine", 1);
    keep(mine);
    assert_true(commit_moved(f->a, mine, at_a, position(2)));
    struct cs_state *seen = fresh(f, (const char *[]){"d", NULL}, (const char *[]){"i", NULL}, &at_a);
    struct cs_position want = position(1);
    assert_true(cs_position_equal(&at_a, &want));
    expect_doc(seen, "d", "theirs");
    expect_index(seen, "i", "");
    cs_state_free(seen);
    cs_state_free(mine);
    cs_state_free(theirs);
}

// The rival wrote the very same position again: it was touched all the same.
static void test_rival_writes_same_position(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at_a, at_b;
    load(f->a, s, &at_a);
    load(f->b, s, &at_b);
    assert_false(commit_moved(f->b, s, at_b, at_b));
    assert_true(commit_moved(f->a, s, at_a, position(1)));
    cs_state_free(s);
}

static void test_commit_from_another_position(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    load(f->a, s, &at);
    assert_true(commit_moved(f->a, s, position(5), position(6)));
    load(f->a, s, &at);
    assert_false(commit_moved(f->a, s, at, position(1)));
    cs_state_free(s);
}

// Two loads of one batch: the first watch holds.
static void test_second_load_keeps_watch(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_state *theirs = new_state();
    struct cs_position at, at_b;
    struct cs_bytes ignored;
    struct cs_err err;
    bool moved = false;
    load(f->a, s, &at);
    load(f->b, theirs, &at_b);
    assert_false(commit_moved(f->b, theirs, at_b, position(1)));
    assert_int_equal(cs_state_get(s, "late", &ignored), CS_NEEDED);
    assert_true(f->a->ops->load_begin(f->a, PARTITION, s, &err));
    assert_true(f->a->ops->load_end(f->a, &at, &moved, &err));
    // Whether this load tells is the implementation's: the commit must.
    assert_true(commit_moved(f->a, s, at, position(2)));
    cs_state_free(s);
    cs_state_free(theirs);
}

static void test_cancel_forgets_watch(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at, at_b;
    load(f->a, s, &at);
    f->a->ops->cancel(f->a);
    load(f->b, s, &at_b);
    assert_false(commit_moved(f->b, s, at_b, position(1)));
    load(f->a, s, &at);
    assert_false(commit_moved(f->a, s, at, position(2)));
    cs_state_free(s);
}

static void test_partitions_are_apart(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_err err;
    bool moved = true;
    struct cs_position to = position(4);
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "d", text("3"));
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    cs_state_forget(s);
    struct cs_bytes v;
    assert_int_equal(cs_state_get(s, "d", &v), CS_NEEDED);
    assert_true(f->a->ops->load_begin(f->a, PARTITION + 30, s, &err));
    assert_true(f->a->ops->load_end(f->a, &at, &moved, &err));
    assert_int_equal(at.next_offset, 0);
    expect_doc(s, "d", NULL);
    assert_true(f->a->ops->commit_begin(f->a, PARTITION + 30, s, &at, &to, &err));
    assert_true(f->a->ops->commit_end(f->a, &moved, &err));
    assert_false(moved);
    assert_true(f->a->ops->reset(f->a, PARTITION + 30, &err));
    struct cs_state *seen = fresh(f, (const char *[]){"d", NULL}, NULL, &at);
    assert_int_equal(at.next_offset, 1);
    expect_doc(seen, "d", "3");
    cs_state_free(seen);
    cs_state_free(s);
}

static bool stop_at_once(void *arg, const char *key, struct cs_bytes v) {
    (void)key;
    (void)v;
    ++*(int *)arg;
    return false;
}

static void test_each_and_reset(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_err err;
    struct dump d = {""};
    int calls = 0;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "b", text("2"));
    cs_state_put(s, "a/x", text("1"));
    cs_state_put(s, "a", text("0"));
    cs_state_add(s, "c", "m", 2);
    cs_state_add(s, "c", "l", 2);
    cs_state_add(s, "gone", "m", 2);
    cs_state_remove(s, "gone", "m");
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    assert_true(f->b->ops->each(f->b, PARTITION, dump_doc, dump_index, &d, &err));
    assert_string_equal(d.text, "a:0\na/x:1\nb:2\nc: l=2 m=2\n");
    assert_true(f->b->ops->each(f->b, PARTITION, stop_at_once, dump_index, &calls, &err));
    assert_int_equal(calls, 1);
    assert_true(f->b->ops->reset(f->b, PARTITION, &err));
    d.text[0] = '\0';
    assert_true(f->b->ops->each(f->b, PARTITION, dump_doc, dump_index, &d, &err));
    assert_string_equal(d.text, "");
    cs_state_free(s);
    s = fresh(f, (const char *[]){"b", NULL}, (const char *[]){"c", NULL}, &at);
    assert_int_equal(at.next_offset, 0);
    expect_doc(s, "b", NULL);
    expect_index(s, "c", "");
    cs_state_free(s);
}

// A reset is a touch: whoever loaded before it must not commit on top.
static void test_reset_under_a_batch(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_err err;
    load(f->a, s, &at);
    assert_false(commit_moved(f->a, s, at, position(1)));
    load(f->a, s, &at);
    assert_true(f->b->ops->reset(f->b, PARTITION, &err));
    assert_true(commit_moved(f->a, s, at, position(2)));
    cs_state_free(s);
}

static void test_many_at_once(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_bytes v;
    char key[64], value[64], member[64];
    enum { N = 6000 };
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "doc/%d", i);
        assert_int_equal(cs_state_get(s, key, &v), CS_NEEDED);
    }
    load(f->a, s, &at);
    cs_state_begin(s);
    char *big = malloc(100001);
    memset(big, 'x', 100000);
    big[100000] = '\0';
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "doc/%d", i);
        snprintf(value, sizeof value, "value %d", i);
        cs_state_put(s, key, i % 100 == 0 ? text(big) : text(value));
        snprintf(key, sizeof key, "index/%d", i % 7);
        snprintf(member, sizeof member, "member %05d", i);
        cs_state_add(s, key, member, i);
    }
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    cs_state_forget(s);
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "doc/%d", i);
        assert_int_equal(cs_state_get(s, key, &v), CS_NEEDED);
    }
    const struct cs_member *m = NULL;
    size_t n = 0;
    assert_int_equal(cs_state_list(s, "index/3", &m, &n), CS_NEEDED);
    load(f->a, s, &at);
    for (int i = 0; i < N; i++) {
        snprintf(key, sizeof key, "doc/%d", i);
        snprintf(value, sizeof value, "value %d", i);
        expect_doc(s, key, i % 100 == 0 ? big : value);
    }
    assert_int_equal(cs_state_list(s, "index/3", &m, &n), CS_FOUND);
    assert_int_equal(n, (N - 3 + 6) / 7);
    assert_string_equal(m[1].name, "member 00010");
    free(big);
    cs_state_free(s);
}

// --- what only Redis has

static void raw(const char *format, ...) {
    char command[256];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    char shell[512];
    snprintf(shell, sizeof shell, "redis-cli -s %s %s >/dev/null", server.socket, command);
    assert_int_equal(system(shell), 0);
}

// Something else writes under our keys: a commit that was taken in part is told, never passed over.
static void test_foreign_type(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_position to = position(1);
    struct cs_err err;
    bool moved = false;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_add(s, "i", "m", 1);
    keep(s);
    assert_true(f->a->ops->commit_begin(f->a, PARTITION, s, &at, &to, &err)); // it asks for "i"
    raw("SET '%s:{%d}:i' text", f->name_space, PARTITION);
    assert_false(f->a->ops->commit_end(f->a, &moved, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    assert_non_null(strstr(err.msg, "only in part"));
    cs_state_free(s);
    // Where it is seen before, nothing is written.
    s = new_state();
    raw("EVAL \"redis.call('flushall') redis.call('set',KEYS[1],'text')\" 1 '%s:{%d}:i'", f->name_space,
        PARTITION);
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_add(s, "i", "m", 1);
    keep(s);
    assert_true(f->a->ops->commit_begin(f->a, PARTITION, s, &at, &to, &err));
    assert_false(f->a->ops->commit_end(f->a, &moved, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    cs_state_forget(s);
    load(f->a, s, &at);
    assert_int_equal(at.next_offset, 0);
    cs_state_free(s);
}

// --- what something else did to Redis: it is noticed when it is read

// Two documents of each kind that a key can be of, and an index with two members. Again: other bytes, and a third member.
static void put_all(struct fixture *f, bool again) {
    struct cs_state *s = new_state();
    struct cs_position at;
    char key[64];
    load(f->a, s, &at);
    cs_state_begin(s);
    for (int kind = 0; kind < CS_KIND_COUNT; kind++)
        for (int i = 0; i < 2; i++) {
            bool index = kind >= CS_KIND_SEEN;
            snprintf(key, sizeof key, "%s/%d", cs_kind_text((enum cs_kind)kind), i);
            if (index)
                cs_state_add(s, key, again ? "c" : i ? "b" : "a", 5);
            else
                cs_state_put(s, key, text(again ? "{\"n\":2}" : i ? "{\"n\":1}" : "{\"n\":0}"));
        }
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(at.next_offset + 1)));
    cs_state_free(s);
}

static void put_everything(struct fixture *f) {
    put_all(f, false);
}

static void expect_kind(struct fixture *f, const char *key, bool index, enum cs_err_kind want) {
    struct cs_catalog *c = open_redis(f->name_space, 5000); // nothing is held of before
    struct cs_state *s = new_state();
    struct cs_bytes v;
    const struct cs_member *members;
    size_t n = 0;
    struct cs_position at;
    struct cs_err err = {0};
    bool moved = false;
    if (index)
        (void)cs_state_list(s, key, &members, &n);
    else
        (void)cs_state_get(s, key, &v);
    bool ok = c->ops->load_begin(c, PARTITION, s, &err) && c->ops->load_end(c, &at, &moved, &err);
    if (ok != !want || (!ok && err.kind != want))
        fail_msg("%s: %s", key, ok ? "taken" : err.msg);
    if (!ok) {
        assert_non_null(strstr(err.msg, "the catalog in Redis is damaged"));
        assert_null(strstr(err.msg, "{\"n\"")); // no bytes of a value
    }
    cs_catalog_free(c);
    cs_state_free(s);
}

static void expect_damage(struct fixture *f, const char *key, bool index) {
    expect_kind(f, key, index, CS_ERR_DAMAGED);
    // Whoever reads all of it sees it, too.
    struct dump d = {""};
    struct cs_err err = {0};
    struct cs_catalog *c = open_redis(f->name_space, 5000);
    assert_false(c->ops->each(c, PARTITION, dump_doc, dump_index, &d, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    cs_catalog_free(c);
}

// Runs a Lua script: KEYS[1] is the key, KEYS[2] another one of its kind.
static void tamper(struct fixture *f, const char *one, const char *two, const char *script) {
    redisContext *redis = redisConnectUnix(server.socket);
    char keys[2][160];
    assert_true(redis && !redis->err);
    snprintf(keys[0], sizeof keys[0], "%s:{%d}:%s", f->name_space, PARTITION, one);
    snprintf(keys[1], sizeof keys[1], "%s:{%d}:%s", f->name_space, PARTITION, two);
    redisReply *r = redisCommand(redis, "EVAL %s 2 %s %s", script, keys[0], keys[1]);
    assert_non_null(r);
    if (r->type != REDIS_REPLY_NIL)
        fail_msg("%s: %s", script, r->str ? r->str : "it returned something");
    freeReplyObject(r);
    redisFree(redis);
}

static void test_damaged_documents(void **state) {
    static const char *const scripts[] = {
        // altered: a byte of the document, of its mark, one more, one less
        "local v=redis.call('get',KEYS[1]) redis.call('set',KEYS[1],'['..string.sub(v,2))",
        "local v=redis.call('get',KEYS[1]) "
        "redis.call('set',KEYS[1],string.sub(v,1,-2)..string.char((string.byte(v,-1)+1)%256))",
        "redis.call('append',KEYS[1],'x')",
        "local v=redis.call('get',KEYS[1]) redis.call('set',KEYS[1],string.sub(v,1,-2))",
        // emptied, of the old form, shorter than a mark
        "redis.call('set',KEYS[1],'')",
        "local v=redis.call('get',KEYS[1]) redis.call('set',KEYS[1],string.sub(v,1,-17))",
        "redis.call('set',KEYS[1],'{}')",
        // another key's of the same kind
        "redis.call('set',KEYS[1],redis.call('get',KEYS[2]))",
    };
    struct fixture *f = *state;
    char one[64], two[64];
    put_everything(f);
    for (int kind = 0; kind < CS_KIND_SEEN; kind++)
        for (size_t i = 0; i < CS_ARRAY_LEN(scripts); i++) {
            const char *name = cs_kind_text((enum cs_kind)kind);
            snprintf(one, sizeof one, "%s/0", name);
            snprintf(two, sizeof two, "%s/1", name);
            if (kind > CS_KIND_SYSTEM && i > 0 && i + 1 < CS_ARRAY_LEN(scripts))
                continue; // one kind is enough for each way to alter
            tamper(f, one, "kept", "redis.call('copy',KEYS[1],KEYS[2])");
            tamper(f, one, two, scripts[i]);
            expect_damage(f, one, false);
            expect_kind(f, two, false, 0);
            tamper(f, "kept", one, "redis.call('rename',KEYS[1],KEYS[2])");
            expect_kind(f, one, false, 0);
        }
    // Planted where there was none; of another kind of key.
    tamper(f, "trust/new", "trust/0", "redis.call('set',KEYS[1],redis.call('get',KEYS[2]))");
    expect_damage(f, "trust/new", false);
    tamper(f, "trust/new", "account/0", "redis.call('set',KEYS[1],redis.call('get',KEYS[2]))");
    expect_damage(f, "trust/new", false);
}

static void test_damaged_indexes(void **state) {
    static const char *const scripts[] = {
        "redis.call('zadd',KEYS[1],5,'planted')",
        "redis.call('zadd',KEYS[1],5,'a')",                                      // of the old form
        "redis.call('zadd',KEYS[1],5,redis.call('zrange',KEYS[2],0,0)[1])",      // another index's
        "redis.call('zadd',KEYS[1],5,'z'..redis.call('zrange',KEYS[1],0,0)[1])", // another name, this mark
        "local m=redis.call('zrange',KEYS[1],0,0)[1] redis.call('zadd',KEYS[1],5,m..'x')",
        "redis.call('zadd',KEYS[1],5,'')",
    };
    struct fixture *f = *state;
    char one[64], two[64];
    put_everything(f);
    for (int kind = CS_KIND_SEEN; kind < CS_KIND_COUNT; kind++)
        for (size_t i = 0; i < CS_ARRAY_LEN(scripts); i++) {
            const char *name = cs_kind_text((enum cs_kind)kind);
            snprintf(one, sizeof one, "%s/0", name);
            snprintf(two, sizeof two, "%s/1", name);
            tamper(f, one, "kept", "redis.call('copy',KEYS[1],KEYS[2])");
            tamper(f, one, two, scripts[i]);
            expect_damage(f, one, true);
            tamper(f, "kept", one, "redis.call('rename',KEYS[1],KEYS[2])");
            expect_kind(f, one, true, 0);
        }
    raw("SET '%s:{%d}:%s' text", f->name_space, PARTITION, "keys/x");
    expect_kind(f, "keys/x", true, CS_ERR_DAMAGED); // a key of another kind
}

// One key, damaged in each of these ways, which a mark cannot show. What was there before put_all was called again is at "old/<key>".
static void expect_witness(struct fixture *f, const char *key, bool index, const char *const *scripts,
                           size_t n) {
    for (size_t i = 0; i < n; i++) {
        tamper(f, key, "", "redis.call('copy',KEYS[1],'kept')");
        tamper(f, key, "", scripts[i]);
        expect_damage(f, key, index);
        tamper(f, key, "", "redis.call('rename','kept',KEYS[1])");
        expect_kind(f, key, index, 0);
    }
}

// Deleted, or an older one put back; put back after it was deleted.
static void test_gone_and_old_documents(void **state) {
    static const char *const scripts[] = {
        "redis.call('del',KEYS[1])",
        "redis.call('copy','old/'..KEYS[1],KEYS[1],'replace')",
    };
    struct fixture *f = *state;
    char key[64];
    put_everything(f);
    raw("EVAL \"for _,k in ipairs(redis.call('keys','*')) do redis.call('copy',k,'old/'..k) end\" 0");
    put_all(f, true);
    for (int kind = 0; kind < CS_KIND_SEEN; kind++) {
        snprintf(key, sizeof key, "%s/0", cs_kind_text((enum cs_kind)kind));
        expect_witness(f, key, false, scripts, CS_ARRAY_LEN(scripts));
    }
    expect_witness(f, "pos", false, scripts, CS_ARRAY_LEN(scripts));
    struct cs_state *s = new_state();
    struct cs_position at;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_delete(s, "cert/0");
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(3)));
    expect_kind(f, "cert/0", false, 0);
    tamper(f, "cert/0", "", scripts[1]);
    expect_damage(f, "cert/0", false);
    cs_state_free(s);
}

// A member deleted, the whole index deleted, its older form put back, a score altered, one member in place of another.
static void test_gone_and_old_members(void **state) {
    static const char *const scripts[] = {
        "redis.call('zpopmin',KEYS[1])",
        "redis.call('del',KEYS[1])",
        "redis.call('copy','old/'..KEYS[1],KEYS[1],'replace')",
        "redis.call('zincrby',KEYS[1],1,redis.call('zrange',KEYS[1],0,0)[1])",
        "redis.call('zpopmax',KEYS[1]) "
        "redis.call('zadd',KEYS[1],5,redis.call('zrange','old/'..KEYS[1],1,1)[1])",
    };
    struct fixture *f = *state;
    char key[64];
    struct cs_position at;
    struct cs_state *s = new_state();
    put_everything(f);
    load(f->a, s, &at);
    cs_state_begin(s);
    for (int kind = CS_KIND_SEEN; kind < CS_KIND_COUNT; kind++) {
        snprintf(key, sizeof key, "%s/0", cs_kind_text((enum cs_kind)kind));
        cs_state_add(s, key, "gone", 5);
    }
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(2)));
    raw("EVAL \"for _,k in ipairs(redis.call('keys','*')) do redis.call('copy',k,'old/'..k) end\" 0");
    cs_state_begin(s);
    for (int kind = CS_KIND_SEEN; kind < CS_KIND_COUNT; kind++) {
        snprintf(key, sizeof key, "%s/0", cs_kind_text((enum cs_kind)kind));
        cs_state_remove(s, key, "gone");
        cs_state_add(s, key, "a", 5); // as it is
    }
    keep(s);
    load(f->a, s, &at);
    assert_false(commit_moved(f->a, s, at, position(3)));
    put_all(f, true);
    for (int kind = CS_KIND_SEEN; kind < CS_KIND_COUNT; kind++) {
        snprintf(key, sizeof key, "%s/0", cs_kind_text((enum cs_kind)kind));
        expect_witness(f, key, true, scripts, CS_ARRAY_LEN(scripts));
    }
    cs_state_free(s);
}

// What a trim takes off, what is added twice, what is removed and was not there: the witness follows.
static void test_witness_of_changing_indexes(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    char name[32];
    unsigned seed = 5;
    load(f->a, s, &at);
    for (int64_t round = 1; round <= 60; round++) {
        cs_state_begin(s);
        for (int i = rand_r(&seed) % 40; i >= 0; i--) {
            snprintf(name, sizeof name, "m%d", rand_r(&seed) % 30);
            if (rand_r(&seed) % 4)
                cs_state_add(s, "any", name, rand_r(&seed) % 5);
            else
                cs_state_remove(s, "any", name);
            if (rand_r(&seed) % 10 == 0)
                cs_state_trim(s, "any", (size_t)rand_r(&seed) % 20);
            snprintf(name, sizeof name, "%lld", (long long)(round * 100 - i));
            cs_state_add(s, "trimmed", name, round * 100 - i);
            cs_state_trim(s, "trimmed", 25);
        }
        keep(s);
        assert_false(commit_moved(f->a, s, at, position(round)));
        cs_state_forget(s);
        expect_kind(f, "any", true, 0);
        expect_kind(f, "trimmed", true, 0);
        if (round % 3 == 0) // now and then the state knows what it changes
            (void)cs_state_list(s, "any", &(const struct cs_member *){0}, &(size_t){0});
        load(f->a, s, &at);
    }
    struct dump d = {""};
    struct cs_err err = {0};
    assert_true(f->a->ops->each(f->a, PARTITION, dump_doc, dump_index, &d, &err));
    tamper(f, "trimmed", "", "redis.call('zremrangebyrank',KEYS[1],0,0)");
    expect_damage(f, "trimmed", true);
    cs_state_free(s);
}

// A bucket of witnesses that was lost is never "absent", also where Redis lost what it speaks of.
static void test_lost_witnesses(void **state) {
    struct fixture *f = *state;
    struct cs_err err = {0};
    struct cs_position at;
    struct cs_state *s = new_state();
    put_everything(f);
    raw("EVAL \"for _,k in ipairs(redis.call('keys','*:witness/*')) do redis.call('hdel',k,'') end\" 0");
    expect_damage(f, "cert/0", false);
    expect_damage(f, "cert/nobody", false);
    raw("EVAL \"for _,k in ipairs(redis.call('keys','*:witness/*')) do redis.call('del',k) end\" 0");
    expect_damage(f, "cert/0", false);
    expect_damage(f, "cert/nobody", false);
    expect_damage(f, "view/nobody", true);
    assert_false(cs_catalog_load(f->b, PARTITION, s, &at, &err)); // of the position alone
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    // All of it is lost: then it is empty, and made again.
    raw("FLUSHALL");
    expect_kind(f, "cert/0", false, 0);
    put_everything(f);
    // What is committed over it does not hide it.
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "cert/0", text("new"));
    keep(s);
    raw("EVAL \"for _,k in ipairs(redis.call('keys','*:witness/*')) do redis.call('del',k) end\" 0");
    assert_false(commit_moved(f->a, s, at, position(2)));
    expect_damage(f, "cert/0", false);
    cs_state_free(s);
}

// The position says how far verdicts were applied, and what "derived" events were counted.
static void test_damaged_position(void **state) {
    static const char *const scripts[] = {
        "local v=redis.call('get',KEYS[1]) redis.call('set',KEYS[1],(string.gsub(v,'1','2',1)))",
        "redis.call('set',KEYS[1],'{}')",
        "redis.call('set',KEYS[1],redis.call('get',KEYS[2]))",
    };
    struct fixture *f = *state;
    struct cs_generations g;
    struct cs_err err;
    put_everything(f);
    for (size_t i = 0; i < CS_ARRAY_LEN(scripts); i++) {
        tamper(f, "pos", "kept", "redis.call('copy',KEYS[1],KEYS[2])");
        tamper(f, "pos", "account/0", scripts[i]);
        expect_kind(f, "account/0", false, CS_ERR_DAMAGED);
        // Who only wants to replace it can.
        assert_true(f->a->ops->generations(f->a, PARTITION, &g, &err));
        assert_int_equal(g.live_position.next_offset, 0);
        tamper(f, "kept", "pos", "redis.call('rename',KEYS[1],KEYS[2])");
        expect_kind(f, "account/0", false, 0);
    }
    // Another partition's documents, position and all.
    raw("eval \"for _,k in ipairs(redis.call('keys','%s:{%d}:*')) do "
        "redis.call('copy',k,(string.gsub(k,'{%d}','{7}'))) end\" 0",
        f->name_space, PARTITION, PARTITION);
    struct cs_state *s = new_state();
    assert_false(cs_catalog_load(f->b, 7, s, &g.live_position, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    cs_state_free(s);
}

// A consumer with another service key, or over another log, takes nothing.
static void test_another_key(void **state) {
    struct fixture *f = *state;
    struct cs_privkey *kept = service, *other = NULL;
    struct cs_redis_access a = access_of(server.url, 5000);
    struct cs_catalog *c = NULL;
    struct cs_position at;
    struct cs_state *s = new_state();
    struct cs_err err;
    put_everything(f);
    assert_true(cs_privkey_generate(CS_KEY_P256, 0, &other, &err));
    service = other;
    expect_damage(f, "account/0", false);
    service = kept;
    cs_privkey_free(other);
    expect_kind(f, "account/0", false, 0);
    assert_true(cs_catalog_redis_new(&a, f->name_space, service, "another", &c, &err));
    assert_false(cs_catalog_load(c, PARTITION, s, &at, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    assert_non_null(strstr(err.msg, "deployment.service_key"));
    cs_catalog_free(c);
    cs_state_free(s);
}

// Out of memory is refused before anything is written: RETRY, and nothing has changed.
static void test_out_of_memory(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_position to = position(1);
    struct cs_err err;
    bool moved = false;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "d", text("x"));
    keep(s);
    raw("CONFIG SET maxmemory 1");
    assert_true(f->a->ops->commit_begin(f->a, PARTITION, s, &at, &to, &err));
    assert_false(f->a->ops->commit_end(f->a, &moved, &err));
    raw("CONFIG SET maxmemory 0");
    assert_int_equal(err.kind, CS_ERR_RETRY);
    struct cs_state *seen = fresh(f, (const char *[]){"d", NULL}, NULL, &at);
    assert_int_equal(at.next_offset, 0);
    expect_doc(seen, "d", NULL);
    cs_state_free(seen);
    cs_state_free(s);
}

static void test_killed_connection(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_position to = position(1);
    struct cs_err err;
    bool moved = false;
    load(f->a, s, &at);
    raw("CLIENT KILL TYPE normal SKIPME yes");
    bool sent = f->a->ops->commit_begin(f->a, PARTITION, s, &at, &to, &err);
    assert_false(sent && f->a->ops->commit_end(f->a, &moved, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    f->a->ops->cancel(f->a);
    // The watch went with the connection: the batch must begin again.
    assert_false(f->a->ops->commit_begin(f->a, PARTITION, s, &at, &to, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    load(f->a, s, &at);
    assert_false(commit_moved(f->a, s, at, to));
    cs_state_free(s);
}

static void test_no_server(void **state) {
    (void)state;
    struct cs_redis_access a = access_of("unix:///nonexistent/redis.sock", 500);
    struct cs_err err;
    struct cs_catalog *c = NULL;
    struct cs_state *s = new_state();
    assert_true(cs_catalog_redis_new(&a, "x", service, "test", &c, &err));
    assert_false(c->ops->load_begin(c, PARTITION, s, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_true(c->ops->poll(c));
    cs_catalog_free(c);
    cs_state_free(s);
}

static void test_silent_server(void **state) {
    struct fixture *f = *state;
    struct cs_catalog *c = open_redis(f->name_space, 300);
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_err err;
    bool moved = false;
    load(c, s, &at);
    raw("CLIENT PAUSE 1500");
    assert_true(c->ops->load_begin(c, PARTITION, s, &err));
    assert_false(c->ops->load_end(c, &at, &moved, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    cs_catalog_free(c);
    cs_state_free(s);
}

static void test_password(void **state) {
    struct fixture *f = *state;
    struct cs_redis_access a = access_of(server.url, 500);
    struct cs_err err;
    struct cs_catalog *c = NULL;
    struct cs_state *s = new_state();
    raw("ACL SETUSER reader on '>secret' '~*' '&*' +@all");
    a.username = "reader";
    a.password = "wrong";
    assert_true(cs_catalog_redis_new(&a, f->name_space, service, "test", &c, &err));
    assert_false(c->ops->load_begin(c, PARTITION, s, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_null(strstr(err.msg, "wrong;"));
    cs_catalog_free(c);
    a.password = "secret";
    assert_true(cs_catalog_redis_new(&a, f->name_space, service, "test", &c, &err));
    struct cs_position at;
    load(c, s, &at);
    cs_catalog_free(c);
    cs_state_free(s);
}

// A load with too little room brings a part, at least one document; what is asked again brings the rest. Indexes come whole.
static void test_a_load_in_parts(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_bytes v;
    char key[32];
    enum { DOCS = 1500 };
    load(f->a, s, &at);
    cs_state_begin(s);
    for (int i = 0; i < DOCS; i++) {
        snprintf(key, sizeof key, "doc/%d", i);
        cs_state_put(s, key, text("0123456789"));
        cs_state_add(s, "index", key, i);
    }
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    cs_state_forget(s);
    cs_catalog_redis_load_bytes(f->a, 400 * (1 + 10 + 10) + 1); // with their forms and marks
    size_t left = DOCS;
    for (int round = 0; left > 0; round++) {
        const struct cs_needed *needed = NULL;
        const struct cs_member *members = NULL;
        size_t n = 0;
        for (int i = 0; i < DOCS; i++) {
            snprintf(key, sizeof key, "doc/%d", i);
            (void)cs_state_get(s, key, &v);
        }
        (void)cs_state_get(s, "none", &v);
        assert_int_equal(cs_state_needed(s, &needed), left + (round == 0));
        assert_int_equal(cs_state_list(s, "index", &members, &n), round == 0 ? CS_NEEDED : CS_FOUND);
        load(f->a, s, &at);
        assert_int_equal(cs_state_list(s, "index", &members, &n), CS_FOUND);
        assert_int_equal(n, DOCS);
        left -= left < 401 ? left : 401;
    }
    assert_int_equal(cs_state_get(s, "none", &v), CS_ABSENT);
    cs_state_forget(s);
    cs_catalog_redis_load_bytes(f->a, 1);
    (void)cs_state_get(s, "doc/1", &v);
    (void)cs_state_get(s, "doc/2", &v);
    load(f->a, s, &at);
    expect_doc(s, "doc/1", "0123456789");
    assert_int_equal(cs_state_get(s, "doc/2", &v), CS_NEEDED);
    cs_state_free(s);
}

// `each` reads a large index in pieces.
static void test_each_in_pieces(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_err err;
    load(f->a, s, &at);
    cs_state_begin(s);
    cs_state_put(s, "a", text("0"));
    cs_state_put(s, "d", text("1"));
    for (int i = 0; i < 7; i++) {
        char name[2] = {(char)('m' + i), '\0'};
        cs_state_add(s, "b", name, 100 - i);
        if (i < 4)
            cs_state_add(s, "c", name, i);
        if (i < 3)
            cs_state_add(s, "e", name, i);
    }
    keep(s);
    assert_false(commit_moved(f->a, s, at, position(1)));
    cs_state_free(s);
    for (size_t piece = 1; piece < 10; piece++) {
        struct dump d = {""};
        cs_catalog_redis_piece(f->b, piece);
        assert_true(f->b->ops->each(f->b, PARTITION, dump_doc, dump_index, &d, &err));
        assert_string_equal(
            d.text, "a:0\nb: s=94 r=95 q=96 p=97 o=98 n=99 m=100\nc: m=0 n=1 o=2 p=3\nd:1\ne: m=0 n=1 o=2\n");
    }
}

#define BOTH(fn)                                                                                             \
    {"memory: " #fn, fn, setup_memory, teardown, NULL}, {                                                    \
        "redis: " #fn, fn, setup_redis, teardown, NULL                                                       \
    }
#define REDIS(fn)                                                                                            \
    { "redis: " #fn, fn, setup_redis, teardown, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_empty),
        BOTH(test_commit_is_seen),
        BOTH(test_overwrite_and_delete),
        BOTH(test_index_order),
        BOTH(test_trim_after_each),
        BOTH(test_trim_takes_documents),
        BOTH(test_trim_falling),
        BOTH(test_rival_between_load_and_commit),
        BOTH(test_rival_writes_same_position),
        BOTH(test_commit_from_another_position),
        BOTH(test_second_load_keeps_watch),
        BOTH(test_cancel_forgets_watch),
        BOTH(test_partitions_are_apart),
        BOTH(test_each_and_reset),
        BOTH(test_reset_under_a_batch),
        BOTH(test_many_at_once),
        REDIS(test_a_load_in_parts),
        REDIS(test_each_in_pieces),
        REDIS(test_foreign_type),
        REDIS(test_damaged_documents),
        REDIS(test_damaged_indexes),
        REDIS(test_damaged_position),
        REDIS(test_gone_and_old_documents),
        REDIS(test_gone_and_old_members),
        REDIS(test_witness_of_changing_indexes),
        REDIS(test_lost_witnesses),
        REDIS(test_another_key),
        REDIS(test_out_of_memory),
        REDIS(test_killed_connection),
        REDIS(test_no_server),
        REDIS(test_silent_server),
        REDIS(test_password),
    };
    struct cs_err err;
    signal(SIGPIPE, SIG_IGN); // as the program does
    if (!cs_privkey_generate(CS_KEY_P256, 0, &service, &err) || !redis_server_start(&server, NULL))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    cs_privkey_free(service);
    return failed;
}
