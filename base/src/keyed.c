// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/keyed.h"

#include <stdlib.h>
#include <string.h>

// Fast for short texts: each decision looks up about 30 keys of 40 to 100 bytes.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "certsync/base/grow.h"

#define SLOTS_MIN 16

struct cs_keyed cs_keyed_of(const char *key) {
    size_t len = strlen(key);
    return (struct cs_keyed){.key = key, .len = (uint32_t)len, .hash = (uint32_t)XXH3_64bits(key, len)};
}

void *cs_keyed_find(const struct cs_keyed_table *t, const struct cs_keyed *key) {
    if (t->slots_len == 0)
        return NULL;
    for (size_t at = key->hash & (t->slots_len - 1);; at = (at + 1) & (t->slots_len - 1)) {
        const struct cs_keyed_slot *slot = &t->slots[at];
        struct cs_keyed *item = slot->item;
        if (!item)
            return NULL;
        if (slot->hash == key->hash && item->len == key->len && memcmp(item->key, key->key, key->len) == 0)
            return item;
    }
}

void *cs_keyed_get(const struct cs_keyed_table *t, const char *key) {
    struct cs_keyed keyed = cs_keyed_of(key);
    return cs_keyed_find(t, &keyed);
}

static void put_in(struct cs_keyed_table *t, struct cs_keyed *item) {
    size_t at = item->hash & (t->slots_len - 1);
    while (t->slots[at].item)
        at = (at + 1) & (t->slots_len - 1);
    t->slots[at] = (struct cs_keyed_slot){item->hash, item};
}

static bool more_slots(struct cs_keyed_table *t) {
    size_t len = t->slots_len ? t->slots_len * 2 : SLOTS_MIN;
    struct cs_keyed_slot *slots = calloc(len, sizeof(*slots));
    if (!slots)
        return false;
    free(t->slots);
    t->slots = slots;
    t->slots_len = len;
    for (size_t i = 0; i < t->len; i++)
        put_in(t, t->items[i]);
    return true;
}

bool cs_keyed_add(struct cs_keyed_table *t, struct cs_keyed *item) {
    if (!CS_GROW(&t->items, &t->cap, t->len + 1))
        return false;
    if ((t->len + 1) * 2 > t->slots_len && !more_slots(t))
        return false;
    item->at = (uint32_t)t->len;
    t->items[t->len++] = item;
    put_in(t, item);
    return true;
}

// Knuth, The Art of Computer Programming, volume 3, section 6.4, algorithm R: later slots of the run
// move up, because a look ends at the first free one. None moves before the slot where its look begins.
void cs_keyed_remove(struct cs_keyed_table *t, const struct cs_keyed *item) {
    size_t mask = t->slots_len - 1, hole = item->hash & mask;
    while (t->slots[hole].item != item)
        hole = (hole + 1) & mask;
    for (size_t at = (hole + 1) & mask; t->slots[at].item; at = (at + 1) & mask) {
        size_t begins = t->slots[at].hash & mask;
        if (((at - begins) & mask) >= ((at - hole) & mask)) {
            t->slots[hole] = t->slots[at];
            hole = at;
        }
    }
    t->slots[hole].item = NULL;
    struct cs_keyed *last = t->items[--t->len];
    t->items[item->at] = last;
    last->at = item->at;
}

void cs_keyed_empty(struct cs_keyed_table *t) {
    if (t->len > 0)
        memset(t->slots, 0, t->slots_len * sizeof(*t->slots));
    t->len = 0;
}

void cs_keyed_free(struct cs_keyed_table *t) {
    free(t->items);
    free(t->slots);
    *t = (struct cs_keyed_table){0};
}
