// SPDX-License-Identifier: Apache-2.0
#include "daemon/index.h"

#include <stdlib.h>

// FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
uint64_t cs_index_key(const char *text) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    return h;
}

static size_t bucket(const struct cs_index *x, uint64_t key) {
    return (size_t)(key ^ key >> 32) & (x->cap - 1);
}

void cs_index_clear(struct cs_index *x) {
    for (size_t i = 0; i < x->cap; i++)
        for (struct cs_index_entry *e = x->buckets[i], *next; e; e = next) {
            next = e->next;
            free(e);
        }
    free(x->buckets);
    *x = (struct cs_index){0};
}

static bool grow(struct cs_index *x) {
    struct cs_index wider = {.cap = x->cap ? x->cap * 2 : 64, .n = x->n};
    wider.buckets = calloc(wider.cap, sizeof *wider.buckets);
    if (!wider.buckets)
        return false;
    for (size_t i = 0; i < x->cap; i++)
        for (struct cs_index_entry *e = x->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = wider.buckets[bucket(&wider, e->key)];
            wider.buckets[bucket(&wider, e->key)] = e;
        }
    free(x->buckets);
    *x = wider;
    return true;
}

bool cs_index_put(struct cs_index *x, uint64_t key, void *value) {
    for (const struct cs_index_entry *e = cs_index_first(x, key); e; e = cs_index_next(e))
        if (e->value == value)
            return true;
    if (x->n >= x->cap && !grow(x))
        return false;
    struct cs_index_entry *e = malloc(sizeof *e);
    if (!e)
        return false;
    *e = (struct cs_index_entry){key, value, x->buckets[bucket(x, key)]};
    x->buckets[bucket(x, key)] = e;
    x->n++;
    return true;
}

void cs_index_remove(struct cs_index *x, uint64_t key, const void *value) {
    if (x->cap == 0)
        return;
    for (struct cs_index_entry **at = &x->buckets[bucket(x, key)]; *at; at = &(*at)->next) {
        struct cs_index_entry *e = *at;
        if (e->key == key && e->value == value) {
            *at = e->next;
            free(e);
            x->n--;
            return;
        }
    }
}

const struct cs_index_entry *cs_index_first(const struct cs_index *x, uint64_t key) {
    const struct cs_index_entry *e = x->cap ? x->buckets[bucket(x, key)] : NULL;
    while (e && e->key != key)
        e = e->next;
    return e;
}

const struct cs_index_entry *cs_index_next(const struct cs_index_entry *e) {
    uint64_t key = e->key;
    for (e = e->next; e && e->key != key;)
        e = e->next;
    return e;
}
