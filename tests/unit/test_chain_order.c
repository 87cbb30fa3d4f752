// SPDX-License-Identifier: Apache-2.0
//
// A set of certificates has one verdict and one order, whatever order it comes in: every permutation of each set is
// put to the agent's side, and of each set that is good every permutation to the consumer's, which takes one of them.
#include "certs.h"

#include "certsync/model/cert.h"
#include "certsync/model/codes.h"

static struct cs_crypto *crypto;

// The set, its canonical order, or the code that every order of it gets and the subject of the certificate at fault.
static const struct row {
    const char *set, *canonical;
    enum cs_code code;
    const char *named;
} rows[] = {
    {"self", "self", CS_CODE_NONE, NULL},
    {"p256 ca-sub", "p256 ca-sub", CS_CODE_NONE, NULL},
    {"p256 ca-sub ca-root", "p256 ca-sub ca-root", CS_CODE_NONE, NULL},
    // A CA that is there as a root and signed by an older one: the root ends the shorter path.
    {"by-x1 x1-int x1", "by-x1 x1-int x1", CS_CODE_NONE, NULL},
    {"by-x1 x1-int x1-cross", "by-x1 x1-int x1-cross", CS_CODE_NONE, NULL},
    {"by-x1 x1-int x1-cross ca-root", "by-x1 x1-int x1-cross ca-root", CS_CODE_NONE, NULL},
    {"by-x1 x1-int x1 x1-cross", "by-x1 x1-int x1 x1-cross", CS_CODE_NONE, NULL},
    {"by-x1 x1-int x1 x1-cross ca-root", "by-x1 x1-int x1 x1-cross ca-root", CS_CODE_NONE, NULL},
    // An intermediate that two roots signed: two whole paths. The later one of the twins stands first.
    {"by-twin twin-a twin-b", "by-twin twin-b twin-a", CS_CODE_NONE, NULL},
    {"by-twin twin-a twin-b ca-root", "by-twin twin-a ca-root twin-b", CS_CODE_NONE, NULL},
    {"by-twin twin-a twin-b ca-root ca-rsa", "by-twin twin-b ca-rsa twin-a ca-root", CS_CODE_NONE, NULL},
    // Two roots that signed each other, as a rotation leaves them; with and without the roots themselves.
    {"by-x1 x1-int x1-cross ca-root-cross", "by-x1 x1-int x1-cross ca-root-cross", CS_CODE_NONE, NULL},
    {"by-x1 x1-int x1 x1-cross ca-root ca-root-cross", "by-x1 x1-int x1 x1-cross ca-root ca-root-cross",
     CS_CODE_NONE, NULL},
    // A way that leads nowhere beside one that holds: path length 0 forbids ca-below under the one ca-sub.
    {"by-below ca-below ca-sub ca-sub-long", NULL, CS_CODE_CHAIN_STRAY, "CN=Example Sub CA"},
    {"by-below ca-below ca-sub-long ca-root", "by-below ca-below ca-sub-long ca-root", CS_CODE_NONE, NULL},
    {"by-below ca-below ca-sub ca-root", NULL, CS_CODE_CHAIN_BROKEN, "CN=Example Sub CA"},
    {"by-x1 x1-int ca-root", NULL, CS_CODE_CHAIN_STRAY, "CN=Example Root"},
    {"by-x1 x1 x1-cross", NULL, CS_CODE_CHAIN_STRAY, "CN=Example X1"},
    {"by-x1 x1-int x1 ca-rsa", NULL, CS_CODE_CHAIN_STRAY, "CN=Example RSA Root"},
    {"p256 ca-impostor", NULL, CS_CODE_CHAIN_BROKEN, "CN=Example Sub CA"},
    {"p256 ca-impostor ca-sub", NULL, CS_CODE_CHAIN_STRAY, "CN=Example Sub CA"},
    {"p256 ca-impostor ca-root", NULL, CS_CODE_CHAIN_BROKEN, "CN=Example Sub CA"},
    {"p256 other ca-sub", NULL, CS_CODE_CHAIN_STRAY, "CN=other.example.com"},
    {"p256 p256-newer ca-sub", NULL, CS_CODE_CHAIN_STRAY, "CN=www.example.com"},
    {"by-nosign ca-nosign", NULL, CS_CODE_CHAIN_BROKEN, "CN=Example No-Sign CA"},
    {"ca-sub ca-root", NULL, CS_CODE_CERT_IS_CA, NULL},
    // One name, and each signed by each: more forks than a real set has.
    {"by-knot knot-1 knot-2 knot-3 knot-4 knot-5", NULL, CS_CODE_CHAIN_STRAY, "CN=Example Knot"},
};

#define SET_MAX 6

struct set {
    struct cs_cert *certs[SET_MAX];
    size_t n;
};

static void set_load(const char *names, struct set *ret) {
    ret->n = 0;
    while (*names) {
        char name[32];
        size_t len = strcspn(names, " ");
        assert_true(len < sizeof name && ret->n < SET_MAX);
        memcpy(name, names, len);
        name[len] = '\0';
        ret->certs[ret->n++] = test_cert(crypto, name);
        names += len + (names[len] == ' ');
    }
}

static void set_clear(struct set *s) {
    for (size_t i = 0; i < s->n; i++)
        cs_cert_free(s->certs[i]);
}

static bool same_order(const struct set *a, const struct set *b) {
    for (size_t i = 0; i < a->n; i++)
        if (memcmp(a->certs[i]->sha256, b->certs[i]->sha256, 32) != 0)
            return false;
    return a->n == b->n;
}

static void agent(const struct row *row, const struct set *given, struct cs_bytes key,
                  const struct set *canonical) {
    struct set copy = *given; // the certificates stay given's: nothing is there twice
    struct cs_err err = {0};
    bool ok = cs_chain_order(crypto, copy.certs, &copy.n, key, &err);
    if (ok != (row->code == CS_CODE_NONE) || (!ok && err.code != row->code))
        fail_msg("%s: %s", row->set, ok ? "accepted" : err.msg);
    if (ok ? !same_order(&copy, canonical) : row->named && !strstr(err.msg, row->named))
        fail_msg("%s: another order, or another certificate: %s", row->set, err.msg);
}

// Every other order of a good set is chain.order, of a bad one it is the set's own code.
static bool consumer(const struct row *row, const struct set *given, const struct set *canonical) {
    struct cs_chain_facts facts;
    enum cs_code code = cs_chain_check(crypto, given->certs, given->n, &facts);
    enum cs_code want = row->code                      ? row->code
                        : same_order(given, canonical) ? CS_CODE_NONE
                                                       : CS_CODE_CHAIN_ORDER;
    if (code != want)
        fail_msg("%s: %s, not %s", row->set, cs_code_name(code), cs_code_name(want));
    return code == CS_CODE_NONE;
}

// Heap's permutations, one at a time; false at the end.
struct heap {
    size_t c[SET_MAX], i;
};

static bool next_order(struct heap *h, struct set *s) {
    for (; h->i < s->n; h->c[h->i++] = 0) {
        if (h->c[h->i] >= h->i)
            continue;
        size_t from = h->i % 2 == 0 ? 0 : h->c[h->i];
        struct cs_cert *t = s->certs[from];
        s->certs[from] = s->certs[h->i];
        s->certs[h->i] = t;
        h->c[h->i]++;
        h->i = 0;
        return true;
    }
    return false;
}

static void try_all(const struct row *row) {
    struct set set, canonical = {.n = 0};
    struct heap heap = {.i = 0};
    size_t accepted = 0, orders = 0;
    set_load(row->set, &set);
    if (row->canonical)
        set_load(row->canonical, &canonical);
    const struct cs_cert *leaf = set.certs[0];
    do {
        orders++;
        if (row->code !=
            CS_CODE_CERT_IS_CA) // with its key a CA certificate could be the leaf, and is refused later
            agent(row, &set, leaf->spki, &canonical);
        agent(row, &set, (struct cs_bytes){0}, &canonical);
        if (set.certs[0] == leaf && row->code != CS_CODE_CERT_IS_CA)
            accepted += consumer(row, &set, &canonical);
    } while (next_order(&heap, &set));
    assert_int_equal(accepted, row->code == CS_CODE_NONE);
    size_t factorial = 1;
    for (size_t i = 2; i <= set.n; i++)
        factorial *= i;
    assert_int_equal(orders, factorial);
    set_clear(&set);
    set_clear(&canonical);
}

static void every_order_of_a_set_has_one_verdict(void **state) {
    (void)state;
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        try_all(&rows[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_order_of_a_set_has_one_verdict)};
    crypto = test_crypto();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cs_crypto_free(crypto);
    return failed;
}
