// SPDX-License-Identifier: Apache-2.0
#include "api/known.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 20 // a number has at most as many digits

struct known {
    uint64_t stand; // 0: free
    int32_t partition;
    struct cs_place place;
    int64_t read_ms;
    bool there;
    uint8_t len;
    uint8_t value[VALUE_MAX];
};

struct api_known {
    unsigned turn; // which way of a full set is taken next
    struct known sets[API_KNOWN_SETS][API_KNOWN_WAYS];
};

bool api_known_new(struct api_known **ret, struct cs_err *err) {
    struct api_known *k = calloc(1, sizeof *k);
    if (!k)
        return cs_err_oom(err);
    *ret = k;
    return true;
}

void api_known_free(struct api_known *k) {
    free(k);
}

// Places follow from the keys by a secret: nobody can choose keys of one set.
static size_t set_of(const struct cs_place *place) {
    uint32_t n;
    memcpy(&n, place->name, sizeof n);
    return n % API_KNOWN_SETS;
}

static bool is_at(const struct known *e, int32_t partition, const struct cs_place *place) {
    return e->stand != 0 && e->partition == partition && e->place.bucket == place->bucket &&
           memcmp(e->place.name, place->name, sizeof place->name) == 0;
}

static struct known *look(struct known *set, int32_t partition, uint64_t stand,
                          const struct cs_place *place) {
    for (size_t i = 0; i < API_KNOWN_WAYS; i++)
        if (is_at(&set[i], partition, place) && set[i].stand == stand)
            return &set[i];
    return NULL;
}

static struct cs_bytes value_of(const struct known *e) {
    return e->there ? (struct cs_bytes){e->value, e->len} : (struct cs_bytes){0};
}

bool api_known_find(struct api_known *k, int32_t partition, uint64_t stand, const struct cs_place *place,
                    int64_t now_ms, struct cs_bytes *ret) {
    struct known *e = look(k->sets[set_of(place)], partition, stand, place);
    if (!e)
        return false;
    if (now_ms - e->read_ms >= API_KNOWN_MS) {
        e->read_ms = now_ms; // this one asks; the others need not
        return false;
    }
    *ret = value_of(e);
    return true;
}

bool api_known_recall(const struct api_known *k, int32_t partition, uint64_t stand,
                      const struct cs_place *place, struct cs_bytes *ret) {
    struct known *set = (struct known *)(uintptr_t)k->sets[set_of(place)];
    const struct known *e = look(set, partition, stand, place);
    if (e)
        *ret = value_of(e);
    return e != NULL;
}

// Its own place, a free one, or one of an earlier stand of the same partition; else in turn.
static struct known *choose(struct api_known *k, int32_t partition, uint64_t stand,
                            const struct cs_place *place) {
    struct known *set = k->sets[set_of(place)], *old = NULL;
    for (size_t i = 0; i < API_KNOWN_WAYS; i++) {
        if (is_at(&set[i], partition, place))
            return &set[i];
        if (set[i].stand == 0 || (set[i].partition == partition && set[i].stand < stand))
            old = &set[i];
    }
    return old ? old : &set[k->turn++ % API_KNOWN_WAYS];
}

void api_known_put(struct api_known *k, int32_t partition, uint64_t stand, const struct cs_place *place,
                   int64_t now_ms, struct cs_bytes value) {
    if (value.len > VALUE_MAX)
        return;
    struct known *e = choose(k, partition, stand, place);
    *e = (struct known){.stand = stand,
                        .partition = partition,
                        .place = *place,
                        .read_ms = now_ms,
                        .there = value.data != NULL,
                        .len = (uint8_t)value.len};
    if (value.len > 0)
        memcpy(e->value, value.data, value.len);
}
