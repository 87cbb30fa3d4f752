// SPDX-License-Identifier: Apache-2.0
//
// The Merkle tree of a transparency log: RFC 6962 section 2.1 over SHA-256. A leaf's hash is
// SHA-256(00 || bytes), a node's SHA-256(01 || left || right). The tree of n leaves is the largest
// perfect tree of fewer than n leaves on the left, and the tree of the rest on the right.
//
// Three ways to use it:
//   edge    who only appends keeps the roots of the perfect subtrees, at most one for each bit of
//           the size. That is enough to append, and for the root.
//   proofs  are made from all leaf hashes (32 bytes each). That a tree has grown can also be proven
//           from the smaller tree's edge and the leaves since, one after the other.
//   checks  need a proof and the roots alone: RFC 9162 sections 2.1.3.2 and 2.1.4.2.
//
// Sizes and indexes are below 2^53. Nothing here allocates.
#pragma once

#include "certsync/model/key.h"

struct cs_hash {
    uint8_t sha256[32];
};
bool cs_hash_equal(const struct cs_hash *a, const struct cs_hash *b);

#define CS_MERKLE_SIZE_MAX ((INT64_C(1) << 53) - 1)
#define CS_MERKLE_EDGE_MAX 53
#define CS_MERKLE_PATH_MAX 54

void cs_merkle_leaf(struct cs_crypto *c, struct cs_bytes bytes, struct cs_hash *ret);

// The roots of the perfect subtrees from left to right, the largest first. Its owner knows the size
// of the tree. Zeroed it is the edge of no leaves.
struct cs_merkle_edge {
    struct cs_hash roots[CS_MERKLE_EDGE_MAX];
};
// How many roots the edge of so many leaves has.
size_t cs_merkle_edge_len(int64_t size);
// Adds a leaf to the edge of so many leaves.
void cs_merkle_append(struct cs_crypto *c, struct cs_merkle_edge *e, int64_t size,
                      const struct cs_hash *leaf);
// The root of the whole tree. Without leaves: SHA-256 of nothing.
void cs_merkle_root(struct cs_crypto *c, const struct cs_merkle_edge *e, int64_t size, struct cs_hash *ret);

// Hashes in the order in which they are used: from the leaf up.
struct cs_merkle_path {
    size_t len;
    struct cs_hash hashes[CS_MERKLE_PATH_MAX];
};
// That leaf `index` is in the tree of the first `size` leaves. index < size.
void cs_merkle_prove_leaf(struct cs_crypto *c, const struct cs_hash *leaves, int64_t size, int64_t index,
                          struct cs_merkle_path *ret);
bool cs_merkle_check_leaf(struct cs_crypto *c, const struct cs_hash *leaf, int64_t index, int64_t size,
                          const struct cs_merkle_path *path, const struct cs_hash *root);
// That the tree of the first `before` leaves is the beginning of that of the first `after`.
// before <= after.
void cs_merkle_prove_growth(struct cs_crypto *c, const struct cs_hash *leaves, int64_t before, int64_t after,
                            struct cs_merkle_path *ret);
// The same for who has not all leaves: begin with the edge of the first `before`, give leaf `before`
// and those after it in order, `after - before` in all. Then path is the proof.
struct cs_merkle_growth {
    struct cs_merkle_path path;
    int64_t wanted[CS_MERKLE_PATH_MAX]; // how many leaves each hash is over; 0: it is known already
    size_t at;                          // the hash under way
    int64_t have;                       // its leaves so far
    struct cs_merkle_edge edge;         // of these
};
void cs_merkle_growth_begin(struct cs_crypto *c, struct cs_merkle_growth *g,
                            const struct cs_merkle_edge *edge, int64_t before, int64_t after);
void cs_merkle_growth_leaf(struct cs_crypto *c, struct cs_merkle_growth *g, const struct cs_hash *leaf);
bool cs_merkle_check_growth(struct cs_crypto *c, int64_t before, const struct cs_hash *root_before,
                            int64_t after, const struct cs_hash *root_after,
                            const struct cs_merkle_path *path);
