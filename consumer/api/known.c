// SPDX-License-Identifier: Apache-2.0
#include "api/known.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 20 // a number has at most as many digits

struct known {
    uint64_t stand; // 0: free
    int32_t partition;
    struct cs_place place;
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

bool api_known_find(const struct api_known *k, int32_t partition, uint64_t stand,
                    const struct cs_place *place, struct cs_bytes *ret) {
    const struct known *set = k->sets[set_of(place)];
    for (size_t i = 0; i < API_KNOWN_WAYS; i++) {
        if (!is_at(&set[i], partition, place) || set[i].stand != stand)
            continue;
        *ret = set[i].there ? (struct cs_bytes){set[i].value, set[i].len} : (struct cs_bytes){0};
        return true;
    }
    return false;
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
                   struct cs_bytes value) {
    if (value.len > VALUE_MAX)
        return;
    struct known *e = choose(k, partition, stand, place);
    *e = (struct known){.stand = stand,
                        .partition = partition,
                        .place = *place,
                        .there = value.data != NULL,
                        .len = (uint8_t)value.len};
    if (value.len > 0)
        memcpy(e->value, value.data, value.len);
}
