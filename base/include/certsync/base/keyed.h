// SPDX-License-Identifier: Apache-2.0
//
// Items by their keys, which are texts. Open addressing: a piece of each hash stands beside the
// pointer to its item. So a look reads one line of the table, and then the item.
//
// An item begins with a struct cs_keyed. The caller owns items and keys. Both stay where they are
// as long as the table has them.
//     struct thing { struct cs_keyed keyed; char key[40]; };
//     t->keyed = cs_keyed_of(t->key);
//     if (!cs_keyed_add(&table, &t->keyed)) ...
#pragma once

#include "certsync/base/err.h"

struct cs_keyed {
    const char *key; // NUL-terminated
    uint32_t len;
    uint32_t hash;
    uint32_t at; // its place among the items
};

struct cs_keyed_slot {
    uint32_t hash;
    struct cs_keyed *item; // NULL: free
};

// All zero at first.
struct cs_keyed_table {
    struct cs_keyed **items; // as they came, until one is taken out. For walking through them
    size_t len, cap;
    struct cs_keyed_slot *slots;
    size_t slots_len; // a power of two, at least twice len
};

// A key to look for, or what an item begins with.
struct cs_keyed cs_keyed_of(const char *key);
// The item with this key, or NULL.
void *cs_keyed_find(const struct cs_keyed_table *t, const struct cs_keyed *key);
void *cs_keyed_get(const struct cs_keyed_table *t, const char *key);
// Adds an item. Its key must not be there yet. False: out of memory; nothing has changed.
CS_MUST_USE bool cs_keyed_add(struct cs_keyed_table *t, struct cs_keyed *item);
// Takes out an item that is there. The last one takes its place among the items.
void cs_keyed_remove(struct cs_keyed_table *t, const struct cs_keyed *item);
// Takes out all items, and keeps the table's memory.
void cs_keyed_empty(struct cs_keyed_table *t);
void cs_keyed_free(struct cs_keyed_table *t);
