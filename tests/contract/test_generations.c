// SPDX-License-Identifier: Apache-2.0
//
// Generations of a catalog: a rebuild beside the live one, and its promotion. The same cases over memory and
// over a real Redis.
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "catalog/catalog.h"
#include "certsync/model/key.h"
#include "redis/access.h"
#include "redis_server.h"

#define PARTITION      3
#define LEASE_MS       60000
#define SHORT_LEASE_MS 1500 // what is done under it is done by then, also on a machine that has much to do

// A worker, a rebuild and somebody else, each with a handle on one store.
struct fixture {
    struct cs_memory_store *store;
    struct cs_catalog *worker, *rebuild, *other;
    struct cs_position live, next; // where the worker and the rebuild stand
};

static struct redis_server server;
static int namespaces;
static struct cs_privkey *service;

static struct cs_catalog *open_redis(const char *name_space) {
    struct cs_redis_access a = {.seeds_len = 1, .timeout_ms = 5000, .ca_file = server.ca_file};
    struct cs_catalog *c = NULL;
    struct cs_err err;
    assert_true(cs_redis_target_parse(server.url, &a.seeds[0], &err));
    assert_true(cs_catalog_redis_new(&a, name_space, service, "test", &c, &err));
    return c;
}

static int setup_memory(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    struct cs_err err;
    assert_true(cs_memory_store_new(&f->store, &err));
    assert_true(cs_catalog_memory_new(f->store, &f->worker, &err));
    assert_true(cs_catalog_memory_new(f->store, &f->rebuild, &err));
    assert_true(cs_catalog_memory_new(f->store, &f->other, &err));
    *state = f;
    return 0;
}

static int setup_redis(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    char name_space[32];
    snprintf(name_space, sizeof name_space, "g%d", ++namespaces);
    f->worker = open_redis(name_space);
    f->rebuild = open_redis(name_space);
    f->other = open_redis(name_space);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    cs_catalog_free(f->worker);
    cs_catalog_free(f->rebuild);
    cs_catalog_free(f->other);
    cs_memory_store_free(f->store);
    free(f);
    return 0;
}

// --- helpers

static struct cs_position position(int64_t n) {
    struct cs_position p = {.next_offset = n, .outcomes = n, .derived = 0};
    memset(p.record_sha256, (int)n, sizeof p.record_sha256);
    memset(p.chain_sha256, (int)n + 1, sizeof p.chain_sha256);
    return p;
}

static struct cs_state *new_state(void) {
    struct cs_state *s = NULL;
    struct cs_err err;
    assert_true(cs_state_new(false, &s, &err));
    return s;
}

static bool load_moved(struct cs_catalog *c, struct cs_state *s, struct cs_position *ret) {
    struct cs_err err;
    bool moved = true;
    assert_true(c->ops->load_begin(c, PARTITION, s, &err));
    assert_true(c->ops->load_end(c, ret, &moved, &err));
    return moved;
}

static bool commit_moved(struct cs_catalog *c, const struct cs_state *s, struct cs_position from,
                         struct cs_position to) {
    struct cs_err err;
    bool moved = true;
    assert_true(c->ops->commit_begin(c, PARTITION, s, &from, &to, &err));
    assert_true(c->ops->commit_end(c, &moved, &err));
    return moved;
}

// One commit that sets a document and an index member: the handle goes on to `to`.
static bool write_moved(struct cs_catalog *c, const char *value, struct cs_position to) {
    struct cs_state *s = new_state();
    struct cs_err err;
    struct cs_position at;
    bool moved = load_moved(c, s, &at);
    if (!moved) {
        cs_state_begin(s);
        cs_state_put(s, "doc", (struct cs_bytes){(const uint8_t *)value, strlen(value)});
        cs_state_add(s, "index", value, to.next_offset);
        assert_true(cs_state_keep(s, &err));
        moved = commit_moved(c, s, at, to);
    } else {
        c->ops->cancel(c);
    }
    cs_state_free(s);
    return moved;
}

static void expect(struct cs_catalog *c, const char *value, int64_t at, int64_t generation) {
    struct cs_state *s = new_state();
    struct cs_bytes v = {0};
    struct cs_position is;
    struct cs_position want = at ? position(at) : (struct cs_position){0};
    struct cs_err err;
    assert_int_equal(cs_state_get(s, "doc", &v), CS_NEEDED);
    assert_true(cs_catalog_load(c, PARTITION, s, &is, &err));
    assert_true(cs_position_equal(&is, &want));
    assert_int_equal(c->ops->generation(c, PARTITION), generation);
    assert_int_equal(cs_state_get(s, "doc", &v), value ? CS_FOUND : CS_ABSENT);
    if (value) {
        assert_int_equal(v.len, strlen(value));
        assert_memory_equal(v.data, value, v.len);
    }
    cs_state_free(s);
}

static bool claim(struct cs_catalog *c, int64_t generation) {
    struct cs_err err;
    bool claimed = false;
    int64_t left_ms = -1;
    assert_true(c->ops->claim(c, PARTITION, generation, LEASE_MS, &claimed, &left_ms, &err));
    assert_true(claimed || left_ms > 0);
    return claimed;
}

static bool promote_moved(struct cs_catalog *c, int64_t live, int64_t next) {
    struct cs_position at = position(live);
    struct cs_position to = position(next);
    struct cs_err err;
    bool moved = true;
    assert_true(c->ops->promote(c, PARTITION, &at, &to, &moved, &err));
    return moved;
}

static struct cs_generations generations(struct cs_catalog *c) {
    struct cs_generations g;
    struct cs_err err;
    assert_true(c->ops->generations(c, PARTITION, &g, &err));
    return g;
}

static bool count_doc(void *arg, const char *key, struct cs_bytes v) {
    assert_string_equal(key, "doc");
    assert_non_null(v.data);
    *(int *)arg += 1;
    return true;
}
static bool count_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    assert_string_equal(key, "index");
    assert_non_null(members);
    *(int *)arg += 100 * (int)n;
    return true;
}
// A hundred for each member of the index, one for the document.
static int count(struct cs_catalog *c) {
    int n = 0;
    struct cs_err err;
    assert_true(c->ops->each(c, PARTITION, count_doc, count_index, &n, &err));
    return n;
}

// --- cases

static void test_beside_the_live_one(void **state) {
    struct fixture *f = *state;
    assert_false(write_moved(f->worker, "live", position(5)));
    struct cs_generations g = generations(f->other);
    assert_int_equal(g.live, 1);
    assert_int_equal(g.next, 0);
    assert_true(claim(f->rebuild, 2));
    expect(f->rebuild, NULL, 0, 2);
    assert_false(write_moved(f->rebuild, "rebuilt", position(1)));
    assert_false(write_moved(f->rebuild, "rebuilt", position(2)));
    assert_false(write_moved(f->worker, "more", position(6)));
    expect(f->rebuild, "rebuilt", 2, 2);
    expect(f->worker, "more", 6, 1);
    assert_int_equal(count(f->rebuild), 101);
    assert_int_equal(count(f->worker), 201);
    g = generations(f->other);
    assert_int_equal(g.live, 1);
    assert_int_equal(g.next, 2);
    assert_int_equal(g.live_position.next_offset, 6);
    assert_int_equal(g.next_position.next_offset, 2);
}

static void test_view_of_the_next(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_err err;
    f->other->ops->view(f->other, CS_VIEW_NEXT);
    assert_false(cs_catalog_load(f->other, PARTITION, s, &at, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "rebuilt", position(3)));
    assert_false(write_moved(f->worker, "live", position(4)));
    expect(f->other, "rebuilt", 3, 2);
    assert_int_equal(count(f->other), 101);
    assert_true(write_moved(f->other, "not mine", position(9))); // a view writes nothing
    f->other->ops->view(f->other, CS_VIEW_LIVE);
    expect(f->other, "live", 4, 1);
    cs_state_free(s);
}

static void test_promote(void **state) {
    struct fixture *f = *state;
    int64_t removed = 0;
    bool moved = true;
    struct cs_err err;
    assert_false(write_moved(f->worker, "live", position(5)));
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "rebuilt", position(5)));
    expect(f->worker, "live", 5, 1);
    assert_true(promote_moved(f->rebuild, 4, 5)); // the live one is not there any more
    assert_true(promote_moved(f->rebuild, 5, 4));
    assert_true(promote_moved(f->other, 5, 5)); // not its claim
    expect(f->worker, "live", 5, 1);
    assert_false(promote_moved(f->rebuild, 5, 5));
    expect(f->worker, "rebuilt", 5, 2);
    expect(f->other, "rebuilt", 5, 2);
    struct cs_generations g = generations(f->other);
    assert_int_equal(g.live, 2);
    assert_int_equal(g.next, 0);
    assert_true(f->other->ops->sweep(f->other, PARTITION, &removed, &moved, &err));
    assert_false(moved);
    assert_true(removed > 0);
    expect(f->worker, "rebuilt", 5, 2);
    assert_int_equal(count(f->worker), 101);
    assert_false(write_moved(f->worker, "on", position(6)));
    // The numbers go on.
    assert_false(f->rebuild->ops->claim(f->rebuild, PARTITION, 2, LEASE_MS, &moved, &removed, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_true(claim(f->rebuild, 3));
    expect(f->rebuild, NULL, 0, 3);
}

// A batch that was loaded before the promotion is thrown away, and so is one that is loaded under it.
static void test_promotion_fences_a_batch(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_state *late = new_state();
    struct cs_position at;
    struct cs_err err;
    bool moved = false;
    struct cs_bytes v;
    assert_false(write_moved(f->worker, "live", position(5)));
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "rebuilt", position(5)));
    assert_false(load_moved(f->worker, s, &at));
    assert_false(promote_moved(f->rebuild, 5, 5));
    cs_state_begin(s);
    cs_state_put(s, "doc", (struct cs_bytes){(const uint8_t *)"old", 3});
    assert_true(cs_state_keep(s, &err));
    assert_true(commit_moved(f->worker, s, at, position(6)));
    expect(f->other, "rebuilt", 5, 2);
    assert_int_equal(cs_state_get(late, "doc", &v), CS_NEEDED);
    assert_true(claim(f->rebuild, 3));
    assert_false(write_moved(f->rebuild, "again", position(5)));
    expect(f->worker, "rebuilt", 5, 2);
    assert_true(f->worker->ops->load_begin(f->worker, PARTITION, late, &err));
    // Memory answers at the end, Redis answered before: both must say so at the latest at the commit.
    assert_false(promote_moved(f->rebuild, 5, 5));
    assert_true(f->worker->ops->load_end(f->worker, &at, &moved, &err));
    cs_state_begin(late);
    cs_state_put(late, "doc", (struct cs_bytes){(const uint8_t *)"old", 3});
    assert_true(cs_state_keep(late, &err));
    assert_true(moved || commit_moved(f->worker, late, at, position(6)));
    f->worker->ops->cancel(f->worker);
    expect(f->other, "again", 5, 3);
    expect(f->worker, "again", 5, 3);
    cs_state_free(s);
    cs_state_free(late);
}

// Whoever still believes in the old generation reads nothing of it, not even what is left.
static void test_load_after_a_promotion_is_moved(void **state) {
    struct fixture *f = *state;
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_bytes v;
    assert_false(write_moved(f->worker, "live", position(5)));
    expect(f->other, "live", 5, 1);
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "rebuilt", position(5)));
    assert_false(promote_moved(f->rebuild, 5, 5));
    assert_int_equal(cs_state_get(s, "doc", &v), CS_NEEDED);
    bool moved = load_moved(f->other, s, &at);
    const struct cs_needed *needed = NULL;
    assert_true(f->store || moved); // memory follows at once
    assert_int_equal(cs_state_needed(s, &needed), moved ? 1 : 0);
    assert_int_equal(f->other->ops->generation(f->other, PARTITION), 2);
    f->other->ops->cancel(f->other);
    cs_state_free(s);
}

static void test_a_second_rebuild_is_refused(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    assert_true(claim(f->rebuild, 2));
    assert_false(claim(f->other, 2));
    assert_false(claim(f->other, 3));
    assert_true(claim(f->rebuild, 2)); // its own
    assert_false(write_moved(f->rebuild, "rebuilt", position(1)));
    assert_true(f->rebuild->ops->release(f->rebuild, PARTITION, &err));
    // Given back: the other one goes on where this one was, and this one is fenced.
    assert_true(claim(f->other, 2));
    expect(f->other, "rebuilt", 1, 2);
    assert_true(write_moved(f->rebuild, "late", position(2)));
    assert_true(promote_moved(f->rebuild, 0, 1));
    assert_false(write_moved(f->other, "rebuilt", position(2)));
    // Giving back what one no longer has takes nothing from who has it.
    assert_true(f->rebuild->ops->release(f->rebuild, PARTITION, &err));
    assert_false(write_moved(f->other, "rebuilt", position(3)));
}

static void test_afresh(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    int64_t removed = 0;
    bool moved = true;
    assert_false(write_moved(f->worker, "live", position(5)));
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "bad", position(4)));
    assert_true(claim(f->rebuild, 3));
    expect(f->rebuild, NULL, 0, 3);
    assert_false(write_moved(f->rebuild, "good", position(1)));
    assert_true(f->other->ops->sweep(f->other, PARTITION, &removed, &moved, &err));
    assert_false(moved);
    assert_true(removed > 0);
    expect(f->rebuild, "good", 1, 3);
    expect(f->worker, "live", 5, 1);
    assert_true(f->rebuild->ops->reset(f->rebuild, PARTITION, &err));
    expect(f->rebuild, NULL, 0, 3);
    expect(f->worker, "live", 5, 1);
}

// The lease of a rebuild that was killed runs out.
static void test_a_lease_ends(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    bool claimed = false;
    int64_t left_ms = 0;
    assert_true(f->rebuild->ops->claim(f->rebuild, PARTITION, 2, SHORT_LEASE_MS, &claimed, &left_ms, &err));
    assert_true(claimed);
    assert_false(write_moved(f->rebuild, "rebuilt", position(1)));
    for (int i = 0; i < 200; i++) {
        assert_true(f->other->ops->claim(f->other, PARTITION, 2, LEASE_MS, &claimed, &left_ms, &err));
        if (claimed)
            break;
        assert_in_range(left_ms, 0, SHORT_LEASE_MS);
        poll(NULL, 0, (int)left_ms + 5);
    }
    assert_true(claimed);
    expect(f->other, "rebuilt", 1, 2);
    assert_true(write_moved(f->rebuild, "late", position(2)));
}

// Everything is gone while a rebuild is under way and a promotion was: both begin again, nobody writes on.
static void test_everything_is_lost(void **state) {
    struct fixture *f = *state;
    assert_false(write_moved(f->worker, "live", position(5)));
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "rebuilt", position(5)));
    assert_false(promote_moved(f->rebuild, 5, 5));
    expect(f->worker, "rebuilt", 5, 2);
    assert_true(claim(f->rebuild, 3));
    redis_server_flush(&server);
    assert_true(write_moved(f->rebuild, "late", position(1)));
    assert_true(write_moved(f->worker, "late", position(6)));
    expect(f->worker, NULL, 0, 1);
    assert_false(write_moved(f->worker, "anew", position(1)));
}

// A damaged catalog is replaced by an empty one in one step; a rebuild loses its claim, a batch its place, and the old one goes in pieces.
static void test_renew(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    bool moved = true;
    char cursor[CS_SWEEP_CURSOR] = "0";
    assert_false(write_moved(f->worker, "live", position(5)));
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "rebuilt", position(3)));
    assert_true(f->worker->ops->renew(f->worker, PARTITION, 7, &moved, &err));
    assert_true(moved); // that is not the live one
    expect(f->other, "live", 5, 1);
    assert_true(f->worker->ops->renew(f->worker, PARTITION, 1, &moved, &err));
    assert_false(moved);
    expect(f->other, NULL, 0, 3); // newer than the rebuild's
    assert_true(write_moved(f->rebuild, "late", position(4)));
    assert_false(write_moved(f->worker, "anew", position(1)));
    do
        assert_true(f->worker->ops->sweep_some(f->worker, PARTITION, cursor, &moved, &err));
    while (strcmp(cursor, "0") != 0);
    assert_false(moved);
    expect(f->other, "anew", 1, 3);
    int64_t removed = -1;
    assert_true(f->worker->ops->sweep(f->worker, PARTITION, &removed, &moved, &err));
    assert_int_equal(removed, 0);
}

// A piece of a whole catalog, with a document and a member of an index; then the last one with the position.
static bool restore_moved(struct cs_catalog *c, const char *value, bool first, int64_t to) {
    struct cs_state *s = new_state();
    struct cs_position at = position(to);
    const struct cs_restored from = {to, to + 7};
    struct cs_err err;
    bool moved = false;
    cs_state_begin(s);
    cs_state_put(s, first ? "doc" : "other", (struct cs_bytes){(const uint8_t *)value, strlen(value)});
    cs_state_add(s, "index", value, first ? 1 : 2);
    assert_true(cs_state_keep(s, &err));
    assert_true(c->ops->restore(c, PARTITION, s, first, to ? &at : NULL, to ? &from : NULL, &moved, &err));
    cs_state_free(s);
    return moved;
}

static int64_t restored(struct cs_catalog *c) {
    struct cs_restored r;
    struct cs_err err;
    assert_true(c->ops->restored(c, PARTITION, &r, &err));
    assert_int_equal(r.until, r.outcomes ? r.outcomes + 7 : 0);
    return r.outcomes;
}

static void expect_damaged(struct cs_catalog *c) {
    struct cs_state *s = new_state();
    struct cs_position at;
    struct cs_err err;
    assert_false(cs_catalog_load(c, PARTITION, s, &at, &err));
    assert_int_equal(err.kind, CS_ERR_DAMAGED);
    cs_state_free(s);
}

static void expect_index(struct cs_catalog *c, size_t want) {
    struct cs_state *s = new_state();
    struct cs_position at;
    const struct cs_member *members = NULL;
    size_t n = 0;
    struct cs_err err;
    assert_int_equal(cs_state_list(s, "index", &members, &n), CS_NEEDED);
    assert_true(cs_catalog_load(c, PARTITION, s, &at, &err));
    assert_int_equal(cs_state_list(s, "index", &members, &n), CS_FOUND);
    assert_int_equal(n, want);
    cs_state_free(s);
}

// Into an empty generation, in pieces; what was begun and not ended is no catalog; only one may do it.
static void test_restore(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    bool moved = true;
    expect(f->worker, NULL, 0, 1);
    assert_false(restore_moved(f->worker, "first", true, 0));
    expect_damaged(f->other);
    assert_true(f->other->ops->renew(f->other, PARTITION, 1, &moved, &err));
    assert_false(moved);
    assert_true(restore_moved(f->worker, "late", false, 8));
    expect(f->other, NULL, 0, 2);
    assert_int_equal(restored(f->other), 0);
    assert_false(restore_moved(f->other, "first", true, 0));
    assert_false(restore_moved(f->other, "second", false, 8));
    expect(f->worker, "first", 8, 2);
    expect_index(f->worker, 2);
    assert_int_equal(restored(f->worker), 8);
    assert_true(restore_moved(f->other, "third", false, 9)); // it is not empty any more
    assert_false(write_moved(f->worker, "on", position(9)));
    expect(f->other, "on", 9, 2);
    assert_int_equal(restored(f->other), 8);
    assert_true(f->other->ops->renew(f->other, PARTITION, 2, &moved, &err));
    expect(f->worker, NULL, 0, 3);
    assert_int_equal(restored(f->worker), 0);
}

// Into a generation that is claimed; once it is emptied, nothing says that it was restored.
static void test_restore_the_next_one(void **state) {
    struct fixture *f = *state;
    struct cs_err err;
    assert_false(write_moved(f->worker, "live", position(5)));
    assert_true(claim(f->rebuild, 2));
    expect(f->rebuild, NULL, 0, 2);
    assert_false(restore_moved(f->rebuild, "first", true, 4));
    assert_int_equal(restored(f->rebuild), 4);
    expect(f->worker, "live", 5, 1);
    assert_int_equal(restored(f->worker), 0);
    assert_true(f->rebuild->ops->reset(f->rebuild, PARTITION, &err));
    expect(f->rebuild, NULL, 0, 2);
    assert_int_equal(restored(f->rebuild), 0);
    assert_false(restore_moved(f->rebuild, "again", true, 4));
    assert_false(write_moved(f->rebuild, "on", position(5)));
    assert_false(promote_moved(f->rebuild, 5, 5));
    expect(f->worker, "on", 5, 2);
}

// One pass takes the old generations of all partitions, and leaves what lives, what is being built, and the keys of others.
static void test_sweep_all(void **state) {
    struct fixture *f = *state;
    int64_t removed = 0;
    struct cs_err err;
    assert_false(write_moved(f->worker, "live", position(5)));
    assert_true(claim(f->rebuild, 2));
    assert_false(write_moved(f->rebuild, "rebuilt", position(5)));
    assert_true(f->other->ops->sweep_all(f->other, PARTITION + 1, &removed, &err));
    assert_int_equal(removed, 0); // both are needed
    assert_false(promote_moved(f->rebuild, 5, 5));
    assert_true(f->other->ops->sweep_all(f->other, PARTITION, &removed, &err));
    assert_int_equal(removed, 0); // this partition is not among them
    assert_true(f->other->ops->sweep_all(f->other, PARTITION + 1, &removed, &err));
    assert_true(removed > 0);
    expect(f->worker, "rebuilt", 5, 2);
    assert_true(f->other->ops->sweep_all(f->other, PARTITION + 1, &removed, &err));
    assert_int_equal(removed, 0);
    expect(f->other, "rebuilt", 5, 2);
    assert_false(write_moved(f->other, "on", position(6))); // the handle watches nothing any more
}

#define BOTH(fn)                                                                                             \
    {"memory: " #fn, fn, setup_memory, teardown, NULL}, {                                                    \
        "redis: " #fn, fn, setup_redis, teardown, NULL                                                       \
    }
#define REDIS(fn)                                                                                            \
    { "redis: " #fn, fn, setup_redis, teardown, NULL }

int main(void) {
    const struct CMUnitTest tests[] = {
        BOTH(test_beside_the_live_one),
        BOTH(test_view_of_the_next),
        BOTH(test_promote),
        BOTH(test_promotion_fences_a_batch),
        BOTH(test_load_after_a_promotion_is_moved),
        BOTH(test_a_second_rebuild_is_refused),
        BOTH(test_afresh),
        BOTH(test_renew),
        BOTH(test_sweep_all),
        BOTH(test_restore),
        BOTH(test_restore_the_next_one),
        REDIS(test_a_lease_ends),
        REDIS(test_everything_is_lost),
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
