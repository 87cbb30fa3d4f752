// SPDX-License-Identifier: Apache-2.0
//
// Memory that is taken piece by piece and given back all at once, and used again.
#pragma once

#include <stddef.h>

struct cs_region {
    struct cs_region_block *first, *current; // of a list; those after current are empty
    size_t used;                             // bytes of current
    size_t taken;                            // bytes given out and not yet given back
};

// size bytes that any object may lie in; NULL: out of memory. With r NULL they are from the heap,
// and the caller frees them.
void *cs_region_take(struct cs_region *r, size_t size);
// The same, zeroed.
void *cs_region_take_zeroed(struct cs_region *r, size_t size);
// Gives all of it back. Up to 256 KiB stay for the next use: each partition, each connection to
// Redis and each batch has a region.
void cs_region_reset(struct cs_region *r);
void cs_region_free(struct cs_region *r);
