// SPDX-License-Identifier: Apache-2.0
//
// Arrays on the heap that grow: a pointer, the number of items that it has room for (both zero at first), and
// usually how many are in use, which is the caller's to count:
//     if (!CS_GROW(&l->items, &l->cap, l->len + 1))
//         return cs_err_oom(err);
//     l->items[l->len++] = item;
//
// The caller owns the array: free(l->items). Items move as they are, with all that they own, so nobody keeps
// a pointer to one across a growth. The room at least doubles, so that n additions cost O(n). New room is not initialised.
// Failure: false, out of memory or more bytes than a size_t holds. Array and room are as they were.
#pragma once

#include "certsync/base/err.h"

// Room for `want` items at least. items: T **; cap: size_t *.
#define CS_GROW(items, cap, want) cs_grow((items), (cap), (want), sizeof **(items))
// The same with new room zeroed, for arrays whose places are all in use.
#define CS_GROW_ZEROED(items, cap, want) cs_grow_zeroed((items), (cap), (want), sizeof **(items))

// What the macros call, with the size of an item.
CS_MUST_USE bool cs_grow(void *items, size_t *cap, size_t want, size_t item_size);
CS_MUST_USE bool cs_grow_zeroed(void *items, size_t *cap, size_t want, size_t item_size);
