// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/merkle.h"

#define MOST 130

// The eight leaves, roots and proofs that implementations of RFC 6962 share. Here from
// https://github.com/transparency-dev/merkle, proof/verify_test.go (Apache-2.0).
static const char *const leaves[] = {
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"};
static const char *const roots[] = {
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};
static const char empty_root[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct vector {
    int64_t a, b; // index and size, or both sizes
    const char *path[4];
};
static const struct vector of_leaf[] = {
    {0, 1, {NULL}},
    {0,
     8,
     {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
    {5,
     8,
     {"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
    {2, 3, {"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
    {1,
     5,
     {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
};
static const struct vector of_growth[] = {
    {1, 1, {NULL}},
    {1,
     8,
     {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
    {6,
     8,
     {"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
    {2,
     5,
     {"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}},
    {6,
     7,
     {"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
};

struct fixture {
    struct cs_crypto *c;
    struct cs_hash leaf[MOST];
    struct cs_hash root[MOST + 1]; // by size
};

static struct cs_hash hash_of(const char *hex) {
    struct cs_hash h;
    assert_true(cs_hex_decode(hex, strlen(hex), h.sha256));
    return h;
}

// The first eight leaves are those of the vectors.
static int setup(void **state) {
    static struct fixture f;
    struct cs_merkle_edge edge = {0};
    struct cs_err err;
    assert_true(cs_crypto_new(&f.c, &err));
    cs_merkle_root(f.c, &edge, 0, &f.root[0]);
    for (int i = 0; i < MOST; i++) {
        uint8_t bytes[16] = {(uint8_t)i, 7};
        size_t len = 2;
        if (i < 8) {
            len = strlen(leaves[i]) / 2;
            assert_true(cs_hex_decode(leaves[i], len * 2, bytes));
        }
        cs_merkle_leaf(f.c, (struct cs_bytes){bytes, len}, &f.leaf[i]);
        cs_merkle_append(f.c, &edge, i, &f.leaf[i]);
        cs_merkle_root(f.c, &edge, i + 1, &f.root[i + 1]);
    }
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    cs_crypto_free(((struct fixture *)*state)->c);
    return 0;
}

static void test_roots(void **state) {
    const struct fixture *f = *state;
    struct cs_hash none = hash_of(empty_root);
    assert_true(cs_hash_equal(&f->root[0], &none));
    for (size_t n = 0; n < CS_ARRAY_LEN(roots); n++) {
        struct cs_hash want = hash_of(roots[n]);
        assert_true(cs_hash_equal(&f->root[n + 1], &want));
    }
}

static void same_path(const struct cs_merkle_path *p, const struct vector *v) {
    for (size_t i = 0; i < p->len; i++) {
        assert_non_null(v->path[i]);
        struct cs_hash want = hash_of(v->path[i]);
        assert_true(cs_hash_equal(&p->hashes[i], &want));
    }
    assert_null(v->path[p->len]);
}

static void test_published_proofs(void **state) {
    const struct fixture *f = *state;
    struct cs_merkle_path p;
    for (size_t i = 0; i < CS_ARRAY_LEN(of_leaf); i++) {
        cs_merkle_prove_leaf(f->c, f->leaf, of_leaf[i].b, of_leaf[i].a, &p);
        same_path(&p, &of_leaf[i]);
    }
    for (size_t i = 0; i < CS_ARRAY_LEN(of_growth); i++) {
        cs_merkle_prove_growth(f->c, f->leaf, of_growth[i].a, of_growth[i].b, &p);
        same_path(&p, &of_growth[i]);
    }
}

// Every way to bend a proof.
static void bend_leaf(const struct fixture *f, int64_t index, int64_t size,
                      const struct cs_merkle_path *good) {
    const struct cs_hash *leaf = &f->leaf[index];
    const struct cs_hash *root = &f->root[size];
    assert_true(cs_merkle_check_leaf(f->c, leaf, index, size, good, root));
    assert_false(cs_merkle_check_leaf(f->c, leaf, index + 1, size, good, root));
    assert_false(cs_merkle_check_leaf(f->c, leaf, index - 1, size, good, root));
    assert_false(cs_merkle_check_leaf(f->c, leaf, index ^ 2, size, good, root));
    assert_false(cs_merkle_check_leaf(f->c, leaf, index, 2 * size, good, root));
    assert_false(cs_merkle_check_leaf(f->c, &f->root[0], index, size, good, root));
    assert_false(cs_merkle_check_leaf(f->c, leaf, index, size, good, &f->root[0]));
    for (size_t i = 0; i < good->len; i++) {
        struct cs_merkle_path p = *good;
        p.hashes[i].sha256[i] ^= 8;
        assert_false(cs_merkle_check_leaf(f->c, leaf, index, size, &p, root));
    }
    struct cs_merkle_path p = *good;
    p.hashes[p.len++] = *root;
    assert_false(cs_merkle_check_leaf(f->c, leaf, index, size, &p, root));
    p.len -= 2;
    assert_true(good->len == 0 || !cs_merkle_check_leaf(f->c, leaf, index, size, &p, root));
}

static void test_every_leaf(void **state) {
    const struct fixture *f = *state;
    for (int64_t size = 1; size <= MOST; size++)
        for (int64_t index = 0; index < size; index++) {
            struct cs_merkle_path p;
            cs_merkle_prove_leaf(f->c, f->leaf, size, index, &p);
            if (size < 20)
                bend_leaf(f, index, size, &p);
            else
                assert_true(cs_merkle_check_leaf(f->c, &f->leaf[index], index, size, &p, &f->root[size]));
        }
}

static void bend_growth(const struct fixture *f, int64_t a, int64_t b, const struct cs_merkle_path *good) {
    const struct cs_hash *ra = &f->root[a];
    const struct cs_hash *rb = &f->root[b];
    assert_true(cs_merkle_check_growth(f->c, a, ra, b, rb, good));
    if (a == b || a == 0)
        return;
    assert_false(cs_merkle_check_growth(f->c, a + 1, ra, b, rb, good));
    assert_false(a > 1 && cs_merkle_check_growth(f->c, a - 1, ra, b, rb, good));
    assert_false(cs_merkle_check_growth(f->c, a, rb, b, ra, good));
    assert_false(cs_merkle_check_growth(f->c, a, ra, b, &f->root[0], good));
    assert_false(cs_merkle_check_growth(f->c, a, ra, b, rb, &(struct cs_merkle_path){0}));
    for (size_t i = 0; i < good->len; i++) {
        struct cs_merkle_path p = *good;
        p.hashes[i].sha256[i] ^= 16;
        assert_false(cs_merkle_check_growth(f->c, a, ra, b, rb, &p));
    }
    struct cs_merkle_path p = *good;
    p.hashes[p.len++] = *rb;
    assert_false(cs_merkle_check_growth(f->c, a, ra, b, rb, &p));
    p.len -= 2;
    assert_false(cs_merkle_check_growth(f->c, a, ra, b, rb, &p));
}

// RFC 6962 section 2.1 and 2.1.2, word by word: MTH(D[n]), and SUBPROOF(m, D[n], b).
static struct cs_hash mth(const struct fixture *f, int64_t from, int64_t n) {
    uint8_t text[65] = {1};
    struct cs_hash h;
    int64_t k = 1;
    if (n == 1)
        return f->leaf[from];
    while (2 * k < n)
        k *= 2;
    h = mth(f, from, k);
    memcpy(text + 1, h.sha256, 32);
    h = mth(f, from + k, n - k);
    memcpy(text + 33, h.sha256, 32);
    cs_crypto_sha256(f->c, (struct cs_bytes){text, sizeof text}, h.sha256);
    return h;
}

static void subproof(const struct fixture *f, int64_t m, int64_t from, int64_t n, bool b,
                     struct cs_merkle_path *ret) {
    int64_t k = 1;
    if (m == n) {
        if (!b)
            ret->hashes[ret->len++] = mth(f, from, n);
        return;
    }
    while (2 * k < n)
        k *= 2;
    subproof(f, m <= k ? m : m - k, m <= k ? from : from + k, m <= k ? k : n - k, m <= k && b, ret);
    ret->hashes[ret->len++] = m <= k ? mth(f, from + k, n - k) : mth(f, from, k);
}

// By the edge of the smaller tree and the leaves since.
static void test_growth_of_an_edge(void **state) {
    const struct fixture *f = *state;
    struct cs_merkle_edge edge = {0};
    for (int64_t a = 0; a <= MOST; a++) {
        for (int64_t b = a; b <= MOST; b++) {
            struct cs_merkle_path want = {0};
            struct cs_merkle_growth g;
            if (a > 0)
                subproof(f, a, 0, b, true, &want);
            cs_merkle_growth_begin(f->c, &g, &edge, a, b);
            for (int64_t i = a; i < b; i++)
                cs_merkle_growth_leaf(f->c, &g, &f->leaf[i]);
            assert_int_equal(g.path.len, want.len);
            assert_int_equal(g.at, want.len);
            for (size_t i = 0; i < want.len; i++)
                assert_true(cs_hash_equal(&g.path.hashes[i], &want.hashes[i]));
        }
        if (a < MOST)
            cs_merkle_append(f->c, &edge, a, &f->leaf[a]);
    }
}

static void test_every_growth(void **state) {
    const struct fixture *f = *state;
    for (int64_t b = 0; b <= MOST; b++)
        for (int64_t a = 0; a <= b; a++) {
            struct cs_merkle_path p;
            cs_merkle_prove_growth(f->c, f->leaf, a, b, &p);
            if (b < 20)
                bend_growth(f, a, b, &p);
            else
                assert_true(cs_merkle_check_growth(f->c, a, &f->root[a], b, &f->root[b], &p));
        }
}

static void test_no_such_tree(void **state) {
    const struct fixture *f = *state;
    const struct cs_merkle_path none = {0};
    assert_false(cs_merkle_check_leaf(f->c, &f->leaf[0], 0, 0, &none, &f->root[0]));
    assert_false(cs_merkle_check_leaf(f->c, &f->leaf[0], -1, 1, &none, &f->root[1]));
    assert_false(cs_merkle_check_growth(f->c, 2, &f->root[2], 1, &f->root[1], &none));
    assert_false(cs_merkle_check_growth(f->c, -1, &f->root[0], 1, &f->root[1], &none));
    assert_false(cs_merkle_check_growth(f->c, 3, &f->root[2], 3, &f->root[3], &none));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roots),        cmocka_unit_test(test_published_proofs),
        cmocka_unit_test(test_every_leaf),   cmocka_unit_test(test_every_growth),
        cmocka_unit_test(test_no_such_tree), cmocka_unit_test(test_growth_of_an_edge),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
