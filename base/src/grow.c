// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/grow.h"

#include <stdlib.h>

#define FIRST 16

// A void ** would be another type than the caller's T **: the pointer is copied out and in.
bool cs_grow(void *items, size_t *cap, size_t want, size_t item_size) {
    size_t most = SIZE_MAX / item_size;
    if (want <= *cap)
        return true;
    if (want > most)
        return false;
    size_t more = *cap > most / 2 ? most : *cap * 2;
    if (more < FIRST)
        more = FIRST;
    if (more < want)
        more = want;
    void *array = NULL;
    memcpy(&array, items, sizeof array);
    array = more > most ? NULL : realloc(array, more * item_size);
    if (!array)
        return false;
    memcpy(items, &array, sizeof array);
    *cap = more;
    return true;
}

bool cs_grow_zeroed(void *items, size_t *cap, size_t want, size_t item_size) {
    size_t before = *cap;
    if (!cs_grow(items, cap, want, item_size))
        return false;
    uint8_t *array = NULL;
    memcpy(&array, items, sizeof array);
    if (*cap > before)
        memset(array + before * item_size, 0, (*cap - before) * item_size);
    return true;
}
