// SPDX-License-Identifier: Apache-2.0
//
// The index of certificates against what is plainly there: random certificates come, change and go, and what each
// question finds is what a look at every one of them finds, in the same order, page by page.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/index.h"

#define MOST  4000
#define NOW_S INT64_C(1800000000)
#define DAY_S 86400

#define ASSERT_OK(call, err)                                                                                 \
    if (!(call))                                                                                             \
    fail_msg("%s", (err).msg)

struct thing {
    bool there;
    struct api_hit hit;
    struct cs_cert_summary s;
};
static struct {
    uint64_t random;
    size_t len;
    struct thing things[MOST];
    struct api_index *x;
} w;

static unsigned draw(unsigned n) { // xorshift64
    w.random ^= w.random << 13;
    w.random ^= w.random >> 7;
    w.random ^= w.random << 17;
    return (unsigned)(w.random >> 33) % n;
}

static char *text(const char *fmt, unsigned n) {
    char out[128];
    snprintf(out, sizeof out, fmt, n);
    return strdup(out);
}

static void fill_leaf(struct cs_leaf *leaf, unsigned i) {
    static const enum cs_key_type types[] = {CS_KEY_P256, CS_KEY_RSA, CS_KEY_ED25519};
    static const char *const issuers[] = {"CN=Common CA,O=Acme\\, Inc.,C=DE", "CN=Rare CA",
                                          "O=Other,CN=Common CA"};
    memcpy(leaf->sha256, &i, sizeof i);
    snprintf(leaf->serial, sizeof leaf->serial, "%06x", i);
    leaf->not_before_s = NOW_S - DAY_S * (int64_t)draw(100) + 5 * DAY_S;
    leaf->not_after_s = NOW_S + DAY_S * ((int64_t)draw(400) - 40);
    leaf->key_type = types[draw(3)];
    leaf->key_bits = leaf->key_type == CS_KEY_RSA ? 2048 + 1024 * (int)draw(2) : 256;
    leaf->issuer = strdup(issuers[draw(20) == 0 ? 1 : draw(2) * 2]);
    leaf->names_len = leaf->names_total = 1 + draw(2);
    leaf->names = calloc(leaf->names_len, sizeof *leaf->names);
    for (size_t n = 0; n < leaf->names_len; n++)
        leaf->names[n] =
            draw(10) == 0 ? text("*.Zone%u.example", draw(40)) : text("host.zone%u.example", draw(40));
}

static void fill(struct thing *t, unsigned i) {
    cs_cert_summary_clear(&t->s);
    t->s = (struct cs_cert_summary){.algorithm = draw(9) == 0 ? CS_ALGORITHM_SM2 : CS_ALGORITHM_INTERNATIONAL,
                                    .source = draw(4) == 0 ? CS_SOURCE_OFFICIAL : CS_SOURCE_UPLOADED,
                                    .version = 1};
    snprintf(t->s.name, sizeof t->s.name, "%s-%u%s", draw(2) ? "Web" : "db", draw(300),
             draw(30) ? "" : ".needle");
    t->s.leaves_len = t->s.algorithm == CS_ALGORITHM_SM2 ? 2 : 1;
    for (size_t l = 0; l < t->s.leaves_len; l++)
        fill_leaf(&t->s.leaves[l], i * 2 + (unsigned)l);
    t->s.tags.len = draw(3);
    for (size_t n = 0; n < t->s.tags.len; n++)
        snprintf(t->s.tags.tag[n], sizeof t->s.tags.tag[n], "tag-%u", draw(n == 0 ? 3 : 500));
    memcpy(t->hit.name, t->s.name, sizeof t->hit.name);
    t->hit.ends_s = cs_summary_ends(&t->s);
}

static void make(unsigned i) {
    struct thing *t = &w.things[i];
    unsigned a = draw(7) == 0 ? draw(50) : 0;
    snprintf(t->hit.account, sizeof t->hit.account, "account-%u", a);
    t->hit.partition = (int32_t)a % 4;
    snprintf(t->hit.owner, sizeof t->hit.owner, "%s", draw(10) == 0 ? "owner" : "");
    snprintf(t->hit.id, sizeof t->hit.id, "%08x-0000-7000-8000-000000000000", i);
    fill(t, i);
}

static void put(unsigned i) {
    struct cs_err err;
    struct thing *t = &w.things[i];
    t->there = true;
    ASSERT_OK(api_index_put(w.x, t->hit.partition, t->hit.account, t->hit.owner, t->hit.id, &t->s, &err),
              err);
}

static void take_away(unsigned i) {
    struct cs_err err;
    struct thing *t = &w.things[i];
    t->there = false;
    ASSERT_OK(api_index_remove(w.x, t->hit.account, t->hit.owner, t->hit.id, &err), err);
}

static int by_name(const void *a, const void *b) {
    const struct api_hit *x = a, *y = b;
    int order = strcmp(x->account, y->account);
    order = order ? order : strcmp(x->name, y->name);
    order = order ? order : strcmp(x->id, y->id);
    return order ? order : strcmp(x->owner, y->owner);
}

static int by_expiry(const void *a, const void *b) {
    const struct api_hit *x = a, *y = b;
    return x->ends_s != y->ends_s ? (x->ends_s < y->ends_s ? -1 : 1) : by_name(a, b);
}

static size_t look_at_all(const struct api_index_query *q, struct api_hit *ret) {
    size_t n = 0;
    for (size_t i = 0; i < w.len; i++) {
        const struct thing *t = &w.things[i];
        if (t->there && (!q->account[0] || strcmp(q->account, t->hit.account) == 0) &&
            api_filter_passes(q->filter, &t->s, t->hit.owner[0] != '\0', NOW_S))
            ret[n++] = t->hit;
    }
    qsort(ret, n, sizeof *ret, q->by_expiry ? by_expiry : by_name);
    return n;
}

static void compare(struct api_index_query q) {
    static struct api_hit expected[MOST], hits[200];
    struct api_index_answer a = {.hits = hits};
    struct cs_err err;
    size_t n = look_at_all(&q, expected), seen = 0;
    struct api_hit after;
    q.count = true;
    do {
        ASSERT_OK(api_index_ask(w.x, &q, &a, &err), err);
        if (q.count) {
            assert_true(a.total_exact);
            assert_int_equal(a.total, n);
        }
        q.count = false;
        for (size_t i = 0; i < a.len; i++, seen++) {
            assert_in_range(seen, 0, n - 1);
            assert_string_equal(a.hits[i].id, expected[seen].id);
            assert_string_equal(a.hits[i].account, expected[seen].account);
            assert_int_equal(a.hits[i].partition, expected[seen].partition);
        }
        after = a.last;
        q.after = &after;
    } while (a.more);
    assert_int_equal(seen, n);
}

static void want(struct api_filter *f, const char *parameter, const char *value) {
    const char *problem = NULL;
    assert_true(api_filter_take(f, parameter, value, &problem));
    if (problem)
        fail_msg("%s=%s: %s", parameter, value, problem);
}

static void draw_filter(struct api_filter *f) {
    static const struct {
        const char *parameter, *value;
    } words[] = {{"dns", "host.zone7.example"},
                 {"dns", "*.ZONE7.example"},
                 {"dns", "any.zone3.example"},
                 {"issuer", "common ca"},
                 {"issuer", "Acme, Inc."},
                 {"issuer", "Rare CA"},
                 {"key_type", "rsa"},
                 {"key_type", "RSA-3072"},
                 {"tag", "tag-1"},
                 {"tag", "tag-77"},
                 {"part", "eb-1"},
                 {"part", "NEEDLE"},
                 {"serial", "00:00:0A"},
                 {"issuer", "CN=Rare CA"},
                 {"key_type", "P-256"}};
    static const char *const prefixes[] = {"Web", "db-2", "W", "nothing"};
    *f = (struct api_filter){.within_s = 30 * DAY_S};
    for (unsigned n = draw(3); n > 0; n--) {
        unsigned i = draw(CS_ARRAY_LEN(words));
        if (f->wanted_len < API_FILTERS_MAX)
            want(f, words[i].parameter, words[i].value);
    }
    if (draw(4) == 0)
        snprintf(f->prefix, sizeof f->prefix, "%s", prefixes[draw(CS_ARRAY_LEN(prefixes))]);
    f->has_status = draw(4) == 0;
    f->status = (enum api_status)(1 + draw(4));
    f->has_source = draw(6) == 0;
    f->source = draw(3) == 0 ? CS_SOURCE_SHARED : draw(2) ? CS_SOURCE_OFFICIAL : CS_SOURCE_UPLOADED;
    f->has_algorithm = draw(8) == 0;
    f->algorithm = CS_ALGORITHM_SM2;
}

static void ask_much(unsigned questions) {
    static const char *const accounts[] = {"", "account-0", "account-3", "account-none"};
    static const size_t limits[] = {3, 40, 200};
    for (unsigned i = 0; i < questions; i++) {
        struct api_filter f;
        draw_filter(&f);
        unsigned limit = draw(20) == 0 ? 0 : 1 + draw(2);
        compare((struct api_index_query){.filter = &f,
                                         .account = accounts[draw(CS_ARRAY_LEN(accounts))],
                                         .by_expiry = draw(2) == 0,
                                         .now_s = NOW_S,
                                         .limit = limits[limit]});
    }
}

static void test_random(void **state) {
    (void)state;
    struct cs_err err;
    w.random = 88172645463325252ULL;
    ASSERT_OK(api_index_new(&w.x, &err), err);
    ASSERT_OK(api_index_begin(w.x, &err), err);
    for (w.len = 0; w.len < MOST; w.len++) {
        make((unsigned)w.len);
        put((unsigned)w.len);
    }
    ASSERT_OK(api_index_end(w.x, &err), err);
    ask_much(40);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned n = 0; n < 500; n++) {
            unsigned i = draw(MOST);
            if (draw(3) == 0) {
                take_away(i);
                continue;
            }
            fill(&w.things[i], i); // another version, and another name
            put(i);
        }
        ask_much(15);
    }
    int64_t there = 0;
    for (size_t i = 0; i < w.len; i++)
        there += w.things[i].there;
    assert_int_equal(api_index_size(w.x), there);
    assert_true(api_index_bytes(w.x) > 0);
    for (int32_t p = 0; p < 4; p++) {
        ASSERT_OK(api_index_drop(w.x, p, &err), err);
        for (size_t i = 0; i < w.len; i++)
            w.things[i].there = w.things[i].there && w.things[i].hit.partition != p;
        ask_much(3);
    }
    assert_int_equal(api_index_size(w.x), 0);
    api_index_free(w.x);
    for (size_t i = 0; i < w.len; i++)
        cs_cert_summary_clear(&w.things[i].s);
}

static void test_values(void **state) {
    (void)state;
    static const struct {
        const char *parameter, *value;
        bool good;
    } cases[] = {{"part", "abc", true},
                 {"part", "ab", false},
                 {"part", "", false},
                 {"part", "a b c", false},
                 {"dns", "", false},
                 {"dns", "*", false},
                 {"dns", "*.", false},
                 {"dns", "*.*.a", false},
                 {"dns", "a..b", false},
                 {"dns", "a.b.", false},
                 {"dns", "*.com", true},
                 {"dns", "www.example.com", true},
                 {"dns", "a*.b", false},
                 {"issuer", "", false},
                 {"issuer", "x", true},
                 {"serial", "zz", false},
                 {"serial", "", false},
                 {"serial", "0", true},
                 {"serial", "-1f", true},
                 {"fingerprint", "12", false},
                 {"key_type", "", false},
                 {"key_type", "RSA 2048", false},
                 {"key_type", "none-such", true},
                 {"tag", "", false},
                 {"tag", "a b", false},
                 {"tag", "team=web", true}};
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct api_filter f = {.prefix = ""};
        const char *problem = NULL;
        assert_true(api_filter_take(&f, cases[i].parameter, cases[i].value, &problem));
        if ((problem == NULL) != cases[i].good)
            fail_msg("%s=%s", cases[i].parameter, cases[i].value);
    }
    static char huge[70000];
    memset(huge, 'a', sizeof huge - 1);
    for (size_t i = 0; api_filter_parameters[i]; i++) {
        struct api_filter f = {.prefix = ""};
        const char *problem = NULL;
        assert_true(api_filter_take(&f, api_filter_parameters[i], huge, &problem));
        assert_non_null(problem);
    }
    struct api_filter f = {.prefix = ""};
    const char *problem = NULL;
    assert_false(api_filter_take(&f, "status", "valid", &problem));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values), cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
