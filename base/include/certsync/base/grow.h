// SPDX-License-Identifier: Apache-2.0
//
// Arrays on the heap that grow. An array is a pointer and the number of items that it has room for;
// both are zero at first. The caller counts how many are in use:
//     if (!CS_GROW(&l->items, &l->cap, l->len + 1))
//         return cs_err_oom(err);
//     l->items[l->len++] = item;
//
// The caller owns the array: free(l->items). Growth moves the items, so keep no pointer to an item
// across it. The room at least doubles: n additions cost O(n). New room is not initialised.
// False: out of memory, or more bytes than a size_t can count. Then nothing has changed.
#pragma once

#include "certsync/base/err.h"

// Room for `want` items at least. items: T **; cap: size_t *.
#define CS_GROW(items, cap, want) cs_grow((items), (cap), (want), sizeof **(items))
// The same with new room zeroed, for arrays whose places are all in use.
#define CS_GROW_ZEROED(items, cap, want) cs_grow_zeroed((items), (cap), (want), sizeof **(items))

// What the macros call, with the size of an item.
CS_MUST_USE bool cs_grow(void *items, size_t *cap, size_t want, size_t item_size);
CS_MUST_USE bool cs_grow_zeroed(void *items, size_t *cap, size_t want, size_t item_size);
