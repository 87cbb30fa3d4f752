// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/region.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__ // every piece in a block of its own, and none used again: so that misuse is seen
#define BLOCK_SIZE ((size_t)1)
#define KEPT_MAX   ((size_t)0)
#else
#define BLOCK_SIZE ((size_t)64 * 1024)
#define KEPT_MAX   ((size_t)256 * 1024)
#endif

struct cs_region_block {
    struct cs_region_block *next;
    size_t size;
    alignas(max_align_t) unsigned char data[];
};

// Makes current a block that size bytes fit into: one that is there, or a new one.
static bool turn_over(struct cs_region *r, size_t size) {
    struct cs_region_block **link = r->current ? &r->current->next : &r->first;
    if (!*link || (*link)->size < size) {
        size_t data = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        struct cs_region_block *b = malloc(sizeof(*b) + data);
        if (!b)
            return false;
        b->size = data;
        b->next = *link;
        *link = b;
    }
    r->current = *link;
    r->used = 0;
    return true;
}

void *cs_region_take(struct cs_region *r, size_t size) {
    size_t align = alignof(max_align_t);
    if (!r)
        return malloc(size);
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + align - 1) / align * align;
    if ((!r->current || r->current->size - r->used < size) && !turn_over(r, size))
        return NULL;
    void *taken = r->current->data + r->used;
    r->used += size;
    r->taken += size;
    return taken;
}

void *cs_region_take_zeroed(struct cs_region *r, size_t size) {
    void *taken = cs_region_take(r, size);
    return taken ? memset(taken, 0, size) : NULL;
}

static void free_from(struct cs_region_block *b) {
    while (b) {
        struct cs_region_block *next = b->next;
        free(b);
        b = next;
    }
}

void cs_region_reset(struct cs_region *r) {
    size_t kept = 0;
    struct cs_region_block **link = &r->first;
    while (*link && kept + (*link)->size <= KEPT_MAX) {
        kept += (*link)->size;
        link = &(*link)->next;
    }
    free_from(*link);
    *link = NULL;
    r->current = NULL;
    r->used = 0;
    r->taken = 0;
}

void cs_region_free(struct cs_region *r) {
    free_from(r->first);
    *r = (struct cs_region){0};
}
