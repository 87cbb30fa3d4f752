// SPDX-License-Identifier: Apache-2.0
#include "log/compare.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/buf.h"
#include "certsync/base/keyed.h"

#define GENERATIONS_MAX 3 // promotions that one reading survives
#define PIECE           ((size_t)64 * 1024)

struct item {
    struct cs_keyed keyed;
    uint8_t sha256[32]; // the live catalog's, when it was read
    bool live;          // the live catalog had it
    bool index;
    bool replayed; // the replay has it now
    bool matched;  // it was equal at one moment from A to B
    char key[];
};

struct cs_compare {
    struct cs_crypto *crypto;
    struct cs_position before, after;
    struct cs_keyed_table items;
    size_t keys;
    bool began;
    struct cs_buf text; // of an index, one piece at a time
    bool oom;
};

// Hashes the pieces one after the other, each with the hash of those before it.
static void hash_index(struct cs_compare *c, const struct cs_member *members, size_t n, uint8_t ret[32]) {
    memset(ret, 0, 32);
    for (size_t i = 0; i < n;) {
        cs_buf_reset(&c->text);
        cs_buf_put(&c->text, ret, 32);
        for (; i < n && c->text.len < PIECE; i++) {
            cs_buf_put(&c->text, members[i].name, strlen(members[i].name) + 1);
            cs_buf_put(&c->text, &members[i].score, sizeof members[i].score);
        }
        c->oom |= c->text.failed;
        cs_crypto_sha256(c->crypto, cs_buf_bytes(&c->text), ret);
    }
}

static struct item *add(struct cs_compare *c, const char *key, bool index) {
    struct cs_keyed keyed = cs_keyed_of(key);
    struct item *i = calloc(1, sizeof *i + keyed.len + 1);
    if (i) {
        i->keyed = keyed;
        i->keyed.key = memcpy(i->key, key, keyed.len + 1);
        i->index = index;
    }
    if (i && cs_keyed_add(&c->items, &i->keyed))
        return i;
    free(i);
    c->oom = true;
    return NULL;
}

static bool live_doc(void *arg, const char *key, struct cs_bytes value) {
    struct cs_compare *c = arg;
    struct item *i = add(c, key, false);
    if (!i)
        return false;
    i->live = true;
    cs_crypto_sha256(c->crypto, value, i->sha256);
    c->keys++;
    return true;
}

static bool live_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct cs_compare *c = arg;
    struct item *i = add(c, key, true);
    if (!i)
        return false;
    i->live = true;
    hash_index(c, members, n, i->sha256);
    c->keys++;
    return true;
}

static bool read_position(struct cs_catalog *catalog, int32_t partition, struct cs_position *ret,
                          struct cs_err *err) {
    struct cs_state *none = NULL;
    if (!cs_state_new(false, &none, err))
        return false;
    // The position may move between the two reads of one load.
    bool ok = false;
    for (int i = 0; !ok && i < 100; i++) {
        ok = cs_catalog_load(catalog, partition, none, ret, err);
        if (!ok && err->kind != CS_ERR_RETRY)
            break;
    }
    cs_state_free(none);
    return ok;
}

static void forget(struct cs_compare *c) {
    for (size_t i = 0; i < c->items.len; i++)
        free(c->items.items[i]);
    cs_keyed_empty(&c->items);
    c->keys = 0;
}

// If another generation was promoted meanwhile, what was read before is of no use.
bool cs_compare_new(struct cs_crypto *crypto, struct cs_catalog *catalog, int32_t partition,
                    struct cs_compare **ret, struct cs_err *err) {
    CS_AUTO(cs_compare_free) struct cs_compare *c = calloc(1, sizeof *c);
    if (!c)
        return cs_err_oom(err);
    c->crypto = crypto;
    cs_buf_init(&c->text, PIECE + 2 * CS_STATE_KEY_MAX);
    int64_t generation = 0;
    for (int i = 0; generation != catalog->ops->generation(catalog, partition) || generation == 0; i++) {
        if (i == GENERATIONS_MAX)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                              "rebuilt catalogs of partition %d are promoted while it is read",
                              (int)partition);
        forget(c);
        if (!read_position(catalog, partition, &c->before, err))
            return false;
        generation = catalog->ops->generation(catalog, partition);
        if (!catalog->ops->each(catalog, partition, live_doc, live_index, c, err) ||
            !read_position(catalog, partition, &c->after, err))
            return false;
        if (c->oom)
            return cs_err_oom(err);
    }
    *ret = CS_TAKE(c);
    return true;
}

void cs_compare_free(struct cs_compare *c) {
    if (!c)
        return;
    forget(c);
    cs_keyed_free(&c->items);
    cs_buf_clear(&c->text);
    free(c);
}

const struct cs_position *cs_compare_before(const struct cs_compare *c) {
    return &c->before;
}

const struct cs_position *cs_compare_after(const struct cs_compare *c) {
    return &c->after;
}

size_t cs_compare_keys(const struct cs_compare *c) {
    return c->keys;
}

// What the replay has now. sha256 is NULL where it has nothing.
static void see(struct cs_compare *c, const char *key, bool index, const uint8_t *sha256) {
    struct item *i = cs_keyed_get(&c->items, key);
    if (!i) {
        if (!(i = add(c, key, index)))
            return;
        i->matched = c->began; // nothing had it before
    }
    i->replayed = sha256 != NULL;
    if (sha256 ? i->live && i->index == index && memcmp(i->sha256, sha256, 32) == 0 : !i->live)
        i->matched = true;
}

static bool see_doc(void *arg, const char *key, struct cs_bytes value) {
    struct cs_compare *c = arg;
    uint8_t sha256[32];
    cs_crypto_sha256(c->crypto, value, sha256);
    see(c, key, false, sha256);
    return !c->oom;
}

static bool see_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    struct cs_compare *c = arg;
    uint8_t sha256[32];
    if (n == 0) // Redis holds no empty index
        return true;
    hash_index(c, members, n, sha256);
    see(c, key, true, sha256);
    return !c->oom;
}

bool cs_compare_begin(struct cs_compare *c, const struct cs_state *state, struct cs_err *err) {
    bool ok = cs_state_each(state, see_doc, see_index, c);
    c->began = true;
    return ok || cs_err_oom(err);
}

struct step {
    struct cs_compare *c;
    struct cs_state *state;
};

static bool see_change(void *arg, const struct cs_change *change) {
    struct step *s = arg;
    struct cs_bytes value;
    const struct cs_member *members = NULL;
    size_t n = 0;
    switch (change->kind) {
    case CS_CHANGE_PUT:
    case CS_CHANGE_DELETE:
        if (cs_state_get(s->state, change->key, &value) == CS_FOUND)
            see_doc(s->c, change->key, value);
        else
            see(s->c, change->key, false, NULL);
        break;
    case CS_CHANGE_ADD:
    case CS_CHANGE_REMOVE:
    case CS_CHANGE_TRIM:
        if (cs_state_list(s->state, change->key, &members, &n) == CS_FOUND && n > 0)
            see_index(s->c, change->key, members, n);
        else
            see(s->c, change->key, true, NULL);
        break;
    }
    return !s->c->oom;
}

bool cs_compare_step(struct cs_compare *c, struct cs_state *state, struct cs_err *err) {
    struct step s = {c, state};
    return cs_state_changes(state, see_change, &s) || cs_err_oom(err);
}

const char *cs_difference_name(enum cs_difference d) {
    switch (d) {
    case CS_DIFFERENCE_MISSING:
        return "missing";
    case CS_DIFFERENCE_EXTRA:
        return "extra";
    case CS_DIFFERENCE_CHANGED:
        return "changed";
    }
    return "";
}

static int by_key(const void *a, const void *b) {
    return strcmp((*(const struct cs_keyed *const *)a)->key, (*(const struct cs_keyed *const *)b)->key);
}

bool cs_compare_end(struct cs_compare *c,
                    bool (*fn)(void *arg, const char *key, bool index, enum cs_difference d), void *arg,
                    struct cs_err *err) {
    if (c->oom)
        return cs_err_oom(err);
    if (c->items.len > 1)
        qsort(c->items.items, c->items.len, sizeof *c->items.items, by_key);
    for (size_t at = 0; at < c->items.len; at++) {
        const struct item *i = (struct item *)(void *)c->items.items[at];
        if (i->matched)
            continue;
        enum cs_difference d = !i->live      ? CS_DIFFERENCE_MISSING
                               : i->replayed ? CS_DIFFERENCE_CHANGED
                                             : CS_DIFFERENCE_EXTRA;
        if (!fn(arg, i->key, i->index, d))
            return true;
    }
    return true;
}
