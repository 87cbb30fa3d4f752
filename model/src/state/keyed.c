// SPDX-License-Identifier: Apache-2.0
#include "state/keyed.h"

#include <stdlib.h>
#include <string.h>

// Every decision looks up about 30 keys of 40 to 100 bytes.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "certsync/base/grow.h"

#define SLOTS_MIN 64

struct cs_keyed cs_keyed_of(const char *key) {
    size_t len = strlen(key);
    return (struct cs_keyed){key, (uint32_t)len, (uint32_t)XXH3_64bits(key, len)};
}

struct cs_keyed *cs_keyed_find(const struct cs_keyed_table *t, const struct cs_keyed *key) {
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
    t->items[t->len++] = item;
    put_in(t, item);
    return true;
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
