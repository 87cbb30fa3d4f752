// SPDX-License-Identifier: Apache-2.0
#include "catalog/witness.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"

#define SHARE_BITS 18
#define NUMBER_MAX 20 // digits

void cs_witness_key(char ret[CS_WITNESS_KEY_SIZE], unsigned bucket) {
    snprintf(ret, CS_WITNESS_KEY_SIZE, CS_WITNESS_PREFIX "%02x", bucket & 0xff);
}

// Multiply and shift: nobody knows the secret, so nobody can say which scores give the same.
int64_t cs_witness_share(uint64_t secret, int64_t score) {
    uint64_t mixed = ((uint64_t)score + (secret << 1 | 1)) * (secret | 1);
    return (int64_t)(mixed >> (64 - SHARE_BITS)) * ((int64_t)1 << CS_WITNESS_COUNT_BITS) + 1;
}

void cs_witnesses_free(struct cs_witnesses *w) {
    free(w->list);
    free(w->order);
    *w = (struct cs_witnesses){0};
}

void cs_witnesses_reset(struct cs_witnesses *w) {
    w->len = 0;
}

bool cs_witnesses_add(struct cs_witnesses *w, struct cs_authentic *a, int32_t partition, const char *key,
                      struct cs_witness **ret, struct cs_err *err) {
    struct cs_witness one = {0};
    if (!CS_GROW(&w->list, &w->cap, w->len + 1))
        return cs_err_oom(err);
    if (!cs_authentic_place(a, partition, key, &one.place, err))
        return false;
    w->list[w->len] = one;
    if (ret)
        *ret = &w->list[w->len];
    w->len++;
    return true;
}

bool cs_witnesses_sort(struct cs_witnesses *w, struct cs_err *err) {
    uint32_t next[CS_WITNESS_BUCKETS];
    if (!CS_GROW(&w->order, &w->order_cap, w->len))
        return cs_err_oom(err);
    memset(w->begins, 0, sizeof w->begins);
    for (size_t i = 0; i < w->len; i++)
        w->begins[w->list[i].place.bucket + 1] += !w->list[i].known;
    for (size_t b = 0; b < CS_WITNESS_BUCKETS; b++) {
        w->begins[b + 1] += w->begins[b];
        next[b] = w->begins[b];
    }
    for (size_t i = 0; i < w->len; i++)
        if (!w->list[i].known)
            w->order[next[w->list[i].place.bucket]++] = (uint32_t)i;
    return true;
}

bool cs_witness_number(int32_t partition, const char *key, struct cs_bytes value, int64_t *ret,
                       struct cs_err *err) {
    char text[NUMBER_MAX + 2];
    char *end = NULL;
    *ret = 0;
    if (!value.data)
        return true;
    if (value.len == 0 || value.len >= sizeof text)
        return cs_witness_index_differs(partition, key, err);
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    *ret = strtoll(text, &end, 10);
    return *end == '\0' || cs_witness_index_differs(partition, key, err);
}

bool cs_witness_index_differs(int32_t partition, const char *key, struct cs_err *err) {
    return cs_authentic_damaged(err, partition, "index", key, "has not the members that certsync put there");
}

bool cs_witness_sentinel(int32_t partition, unsigned bucket, struct cs_bytes value, bool begun,
                         struct cs_err *err) {
    char key[CS_WITNESS_KEY_SIZE];
    const struct cs_bytes is = {(const uint8_t *)CS_WITNESS_IS, sizeof CS_WITNESS_IS - 1};
    cs_witness_key(key, bucket);
    if (begun && (!value.data || !cs_bytes_equal(value, is)))
        return cs_authentic_damaged(err, partition, "key", key, "is gone, or was altered");
    if (!begun && value.data)
        return cs_authentic_damaged(err, partition, "key", "pos", "is gone");
    return true;
}
