// SPDX-License-Identifier: Apache-2.0
//
// Items by their keys, with open addressing. A piece of each hash is beside the item's place, so a
// look-up touches one line of the table, then the item. Items are not owned. A single item cannot
// be removed.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What an item begins with.
struct cs_keyed {
    const char *key; // NUL-terminated
    uint32_t len;
    uint32_t hash;
};

struct cs_keyed_slot {
    uint32_t hash;
    struct cs_keyed *item; // NULL: free
};

struct cs_keyed_table {
    struct cs_keyed **items; // in the order they came
    size_t len, cap;
    struct cs_keyed_slot *slots;
    size_t slots_len; // a power of two, more than twice len; 0 at first
};

struct cs_keyed cs_keyed_of(const char *key);
// The item with this key, or NULL.
struct cs_keyed *cs_keyed_find(const struct cs_keyed_table *t, const struct cs_keyed *key);
// Adds an item, whose key is not there yet. False: out of memory, nothing changed.
bool cs_keyed_add(struct cs_keyed_table *t, struct cs_keyed *item);
// Drops all items, and keeps the table's memory.
void cs_keyed_empty(struct cs_keyed_table *t);
void cs_keyed_free(struct cs_keyed_table *t);
