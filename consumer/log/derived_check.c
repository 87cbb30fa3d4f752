// SPDX-License-Identifier: Apache-2.0
#include "log/derived_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/keyed.h"
#include "certsync/model/key.h"

struct item {
    struct cs_keyed keyed;
    char place[64]; // "<origin>/<epoch>/<seq>": who emitted it, and its number
    int32_t origin;
    int64_t epoch;
    int64_t seq;
    uint8_t emitted_sha256[32];
    uint8_t found_sha256[32];
    int32_t emitted_partition, found_partition;
    int64_t emitted_offset, found_offset;
    bool emitted, emitted_due;
    bool found, found_due;
    bool differs; // two copies differ
};

struct cs_derived_check {
    struct cs_crypto *crypto;
    struct cs_epochs epochs;
    struct cs_keyed_table items;
};

bool cs_derived_check_new(struct cs_crypto *crypto, const struct cs_epochs *epochs,
                          struct cs_derived_check **ret, struct cs_err *err) {
    struct cs_derived_check *c = calloc(1, sizeof *c);
    if (!c)
        return cs_err_oom(err);
    c->crypto = crypto;
    c->epochs = *epochs;
    *ret = c;
    return true;
}

void cs_derived_check_free(struct cs_derived_check *c) {
    if (!c)
        return;
    for (size_t i = 0; i < c->items.len; i++)
        free(c->items.items[i]);
    cs_keyed_free(&c->items);
    free(c);
}

static struct item *at(struct cs_derived_check *c, int32_t origin, int64_t epoch, int64_t seq) {
    char place[64];
    snprintf(place, sizeof place, "%d/%lld/%lld", (int)origin, (long long)epoch, (long long)seq);
    struct item *i = cs_keyed_get(&c->items, place);
    if (i || !(i = calloc(1, sizeof *i)))
        return i;
    memcpy(i->place, place, sizeof place);
    i->origin = origin;
    i->epoch = epoch;
    i->seq = seq;
    i->keyed = cs_keyed_of(i->place);
    if (cs_keyed_add(&c->items, &i->keyed))
        return i;
    free(i);
    return NULL;
}

// Hashes the value without its signer's kid. That stands once, in the source.
static void hash(struct cs_derived_check *c, struct cs_bytes value, const char *kid, uint8_t ret[32]) {
    struct cs_bytes parts[2] = {value, {0}};
    size_t len = strlen(kid);
    const uint8_t *end = value.data + value.len;
    for (const uint8_t *p = value.data;
         (size_t)(end - p) >= len && (p = memchr(p, kid[0], (size_t)(end - p) - len + 1)); p++) {
        if (memcmp(p, kid, len) == 0) {
            parts[0].len = (size_t)(p - value.data);
            parts[1] = (struct cs_bytes){p + len, (size_t)(end - p) - len};
            break;
        }
        if ((size_t)(end - p) <= len)
            break;
    }
    cs_crypto_sha256_parts(c->crypto, parts, parts[1].data ? 2 : 1, ret);
}

bool cs_derived_check_emitted(struct cs_derived_check *c, int32_t origin, int64_t epoch, int64_t offset,
                              int64_t seq, struct cs_bytes value, const char *kid, bool due,
                              struct cs_err *err) {
    struct item *i = at(c, origin, epoch, seq);
    if (!i)
        return cs_err_oom(err);
    hash(c, value, kid, i->emitted_sha256);
    i->emitted = true;
    i->emitted_due = due;
    i->emitted_partition = origin;
    i->emitted_offset = offset;
    return true;
}

bool cs_derived_check_found(struct cs_derived_check *c, int32_t partition, int64_t offset,
                            const struct cs_event *ev, struct cs_bytes value, bool due, struct cs_err *err) {
    struct item *i = at(c, cs_event_origin(ev), cs_event_epoch(ev), ev->seq);
    uint8_t sha256[32];
    if (!i)
        return cs_err_oom(err);
    hash(c, value, ev->kid, sha256);
    if (i->found) { // published again after a crash: it must be the same
        i->differs |= memcmp(sha256, i->found_sha256, 32) != 0;
        return true;
    }
    memcpy(i->found_sha256, sha256, 32);
    i->found = true;
    i->found_due = due;
    i->found_partition = partition;
    i->found_offset = offset;
    return true;
}

static int by_place(const void *left, const void *right) {
    const struct item *a = *(const struct item *const *)left, *b = *(const struct item *const *)right;
    if (a->origin != b->origin)
        return a->origin < b->origin ? -1 : 1;
    if (a->epoch != b->epoch)
        return a->epoch < b->epoch ? -1 : 1;
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

static enum cs_derived_fault fault_of(const struct cs_derived_check *c, const struct item *i) {
    if (i->differs || (i->emitted && i->found && memcmp(i->emitted_sha256, i->found_sha256, 32) != 0))
        return CS_DERIVED_DIFFERENT;
    if (i->emitted && !i->found && i->emitted_due)
        return CS_DERIVED_LOST;
    bool set_aside = i->epoch < cs_epoch_last(&c->epochs, i->origin);
    return i->found && !i->emitted && i->found_due && !set_aside ? CS_DERIVED_STRAY : 0;
}

bool cs_derived_check_end(struct cs_derived_check *c, struct cs_derived_finding *ret, size_t *ret_strays) {
    struct cs_derived_finding first = {0};
    *ret_strays = 0;
    if (c->items.len > 1)
        qsort(c->items.items, c->items.len, sizeof *c->items.items, by_place);
    for (size_t at = 0; at < c->items.len; at++) {
        const struct item *i = (struct item *)(void *)c->items.items[at];
        enum cs_derived_fault fault = fault_of(c, i);
        bool stray = fault == CS_DERIVED_STRAY;
        *ret_strays += stray;
        if (!fault || (first.fault && (stray || first.fault != CS_DERIVED_STRAY)))
            continue;
        first = (struct cs_derived_finding){fault,
                                            i->origin,
                                            i->epoch,
                                            i->seq,
                                            i->found ? i->found_partition : i->emitted_partition,
                                            i->found ? i->found_offset : i->emitted_offset};
    }
    *ret = first;
    return first.fault != 0;
}
