// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/merkle.h"

#include <string.h>

bool cs_hash_equal(const struct cs_hash *a, const struct cs_hash *b) {
    return memcmp(a->sha256, b->sha256, sizeof a->sha256) == 0;
}

void cs_merkle_leaf(struct cs_crypto *c, struct cs_bytes bytes, struct cs_hash *ret) {
    static const uint8_t kind = 0;
    const struct cs_bytes parts[] = {{&kind, 1}, bytes};
    cs_crypto_sha256_parts(c, parts, bytes.len > 0 ? 2 : 1, ret->sha256);
}

// ret may be one of both.
static void node(struct cs_crypto *c, const struct cs_hash *left, const struct cs_hash *right,
                 struct cs_hash *ret) {
    uint8_t text[1 + 2 * sizeof left->sha256];
    text[0] = 1;
    memcpy(text + 1, left->sha256, sizeof left->sha256);
    memcpy(text + 1 + sizeof left->sha256, right->sha256, sizeof right->sha256);
    cs_crypto_sha256(c, (struct cs_bytes){text, sizeof text}, ret->sha256);
}

// --- the edge

size_t cs_merkle_edge_len(int64_t size) {
    size_t n = 0;
    for (uint64_t bits = (uint64_t)size; bits; bits &= bits - 1)
        n++;
    return n;
}

void cs_merkle_append(struct cs_crypto *c, struct cs_merkle_edge *e, int64_t size,
                      const struct cs_hash *leaf) {
    size_t at = cs_merkle_edge_len(size);
    struct cs_hash last = *leaf;
    for (int64_t bits = size; bits & 1; bits >>= 1) {
        at--;
        node(c, &e->roots[at], &last, &last);
    }
    e->roots[at] = last;
}

void cs_merkle_root(struct cs_crypto *c, const struct cs_merkle_edge *e, int64_t size, struct cs_hash *ret) {
    size_t at = cs_merkle_edge_len(size);
    struct cs_hash root;
    if (at == 0) {
        cs_crypto_sha256(c, (struct cs_bytes){(const uint8_t *)"", 0}, ret->sha256);
        return;
    }
    root = e->roots[--at];
    while (at-- > 0)
        node(c, &e->roots[at], &root, &root);
    *ret = root;
}

// --- proofs

static void root_of(struct cs_crypto *c, const struct cs_hash *leaves, int64_t n, struct cs_hash *ret) {
    struct cs_merkle_edge e;
    for (int64_t i = 0; i < n; i++)
        cs_merkle_append(c, &e, i, &leaves[i]);
    cs_merkle_root(c, &e, n, ret);
}

// The largest power of two that is smaller than n; n > 1.
static int64_t split_of(int64_t n) {
    int64_t k = 1;
    while (k * 2 < n)
        k *= 2;
    return k;
}

static void reverse(struct cs_merkle_path *p) {
    for (size_t i = 0; i < p->len / 2; i++) {
        struct cs_hash h = p->hashes[i];
        p->hashes[i] = p->hashes[p->len - 1 - i];
        p->hashes[p->len - 1 - i] = h;
    }
}

void cs_merkle_prove_leaf(struct cs_crypto *c, const struct cs_hash *leaves, int64_t size, int64_t index,
                          struct cs_merkle_path *ret) {
    ret->len = 0;
    while (size > 1) {
        int64_t k = split_of(size);
        if (index < k) {
            root_of(c, leaves + k, size - k, &ret->hashes[ret->len++]);
            size = k;
        } else {
            root_of(c, leaves, k, &ret->hashes[ret->len++]);
            leaves += k;
            index -= k;
            size -= k;
        }
    }
    reverse(ret);
}

// The next hash that is not known yet.
static void next_wanted(struct cs_merkle_growth *g) {
    while (g->at < g->path.len && g->wanted[g->at] == 0)
        g->at++;
    g->have = 0;
}

static void reverse_wanted(struct cs_merkle_growth *g) {
    reverse(&g->path);
    for (size_t i = 0; i < g->path.len / 2; i++) {
        int64_t n = g->wanted[i];
        g->wanted[i] = g->wanted[g->path.len - 1 - i];
        g->wanted[g->path.len - 1 - i] = n;
    }
}

// From the root down. What is on the left of the smaller tree's end is a root of its edge: it is as
// large as the largest power of two that is left of the smaller tree. What is on the right is made of
// new leaves alone.
void cs_merkle_growth_begin(struct cs_crypto *c, struct cs_merkle_growth *g,
                            const struct cs_merkle_edge *edge, int64_t before, int64_t after) {
    size_t len = cs_merkle_edge_len(before);
    size_t used = 0; // roots of the edge
    *g = (struct cs_merkle_growth){0};
    if (before == 0)
        return;
    while (before < after) {
        int64_t k = split_of(after);
        if (before <= k) {
            g->wanted[g->path.len++] = after - k;
            after = k;
        } else {
            g->path.hashes[g->path.len++] = edge->roots[used++];
            before -= k;
            after -= k;
        }
    }
    if (used > 0) { // else the checker knows the root of what is left: it is that of the smaller tree
        struct cs_merkle_edge rest = {0};
        memcpy(rest.roots, edge->roots + used, (len - used) * sizeof rest.roots[0]);
        cs_merkle_root(c, &rest, after, &g->path.hashes[g->path.len++]);
    }
    reverse_wanted(g);
    next_wanted(g);
}

void cs_merkle_growth_leaf(struct cs_crypto *c, struct cs_merkle_growth *g, const struct cs_hash *leaf) {
    if (g->at == g->path.len) // a proof from nothing is empty
        return;
    cs_merkle_append(c, &g->edge, g->have++, leaf);
    if (g->have < g->wanted[g->at])
        return;
    cs_merkle_root(c, &g->edge, g->have, &g->path.hashes[g->at++]);
    next_wanted(g);
}

void cs_merkle_prove_growth(struct cs_crypto *c, const struct cs_hash *leaves, int64_t before, int64_t after,
                            struct cs_merkle_path *ret) {
    struct cs_merkle_edge edge = {0};
    struct cs_merkle_growth g;
    for (int64_t i = 0; i < before; i++)
        cs_merkle_append(c, &edge, i, &leaves[i]);
    cs_merkle_growth_begin(c, &g, &edge, before, after);
    for (int64_t i = before; i < after; i++)
        cs_merkle_growth_leaf(c, &g, &leaves[i]);
    *ret = g.path;
}

// --- checks

// Where the walk up is: the number of the node, and of the last node, of this level.
struct walk {
    uint64_t at, last;
};

static void up(struct walk *w) {
    w->at >>= 1;
    w->last >>= 1;
}

// Whether the next hash of a path is on the left. Then levels where the node has no sibling are
// passed over.
static bool is_left(struct walk *w) {
    if (!(w->at & 1) && w->at != w->last)
        return false;
    while (w->at && !(w->at & 1))
        up(w);
    return true;
}

bool cs_merkle_check_leaf(struct cs_crypto *c, const struct cs_hash *leaf, int64_t index, int64_t size,
                          const struct cs_merkle_path *path, const struct cs_hash *root) {
    struct walk w = {(uint64_t)index, (uint64_t)size - 1};
    struct cs_hash h = *leaf;
    if (index < 0 || index >= size)
        return false;
    for (size_t i = 0; i < path->len; i++) {
        if (w.last == 0)
            return false;
        if (is_left(&w))
            node(c, &path->hashes[i], &h, &h);
        else
            node(c, &h, &path->hashes[i], &h);
        up(&w);
    }
    return w.last == 0 && cs_hash_equal(&h, root);
}

bool cs_merkle_check_growth(struct cs_crypto *c, int64_t before, const struct cs_hash *root_before,
                            int64_t after, const struct cs_hash *root_after,
                            const struct cs_merkle_path *path) {
    struct walk w = {(uint64_t)before - 1, (uint64_t)after - 1};
    if (before < 0 || before > after)
        return false;
    if (before == 0 || before == after)
        return path->len == 0 && (before == 0 || cs_hash_equal(root_before, root_after));
    while (w.at & 1)
        up(&w);
    // Where the smaller tree is perfect, its root is the first hash, and is left out.
    size_t i = w.at ? 1 : 0;
    if (path->len < i + (w.last > 0))
        return false;
    struct cs_hash small = w.at ? path->hashes[0] : *root_before;
    struct cs_hash large = small;
    for (; i < path->len; i++) {
        if (w.last == 0)
            return false;
        if (is_left(&w)) {
            node(c, &path->hashes[i], &small, &small);
            node(c, &path->hashes[i], &large, &large);
        } else {
            node(c, &large, &path->hashes[i], &large);
        }
        up(&w);
    }
    return w.last == 0 && cs_hash_equal(&small, root_before) && cs_hash_equal(&large, root_after);
}
