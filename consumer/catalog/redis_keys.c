// SPDX-License-Identifier: Apache-2.0
//
// All keys of a generation, walked over with SCAN: for verify, diff and show.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/redis_internal.h"
#include "certsync/base/grow.h"
#include "certsync/base/region.h"

#define SCAN_COUNT   "1000"
#define EACH_AT_ONCE 500
#define PIECES_TRIES 3
#define ABSENT_KEY   "absent" // nobody writes it
#define KEYS_MAX     ((size_t)256 * 1024 * 1024)

int64_t cs_redis_generation_of(const char *key, const char **ret_rest) {
    static const char *const whole[] = {CS_GENERATION_KEY, CS_NEXT_KEY, CS_CLAIM_KEY, CS_RESTORED_KEY,
                                        CS_BEATS_KEY};
    char *end = NULL;
    *ret_rest = key;
    for (size_t i = 0; i < CS_ARRAY_LEN(whole); i++)
        if (strcmp(key, whole[i]) == 0)
            return 0;
    if (strncmp(key, CS_BEAT_PREFIX, sizeof CS_BEAT_PREFIX - 1) == 0 ||
        strncmp(key, CS_NOTE_PREFIX, sizeof CS_NOTE_PREFIX - 1) == 0 ||
        strncmp(key, CS_CHANGES_PREFIX, sizeof CS_CHANGES_PREFIX - 1) == 0)
        return 0;
    if (key[0] != 'g' || key[1] < '1' || key[1] > '9')
        return 1;
    long long n = strtoll(key + 1, &end, 10);
    if (*end != ':')
        return 1;
    *ret_rest = end + 1;
    return n;
}

bool cs_redis_scan(struct redis_catalog *c, const char *prefix, char cursor[CS_SWEEP_CURSOR],
                   const redisReply **ret, struct cs_err *err) {
    char pattern[CS_PREFIX_MAX + 2];
    snprintf(pattern, sizeof pattern, "%s*", prefix);
    redisReply *const *replies = NULL;
    size_t n = 0;
    const char *const args[] = {"SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT};
    cs_redis_command(c->link, CS_ARRAY_LEN(args));
    for (size_t i = 0; i < CS_ARRAY_LEN(args); i++)
        cs_redis_arg_text(c->link, args[i]);
    if (!cs_redis_ask(c, "scan", &replies, &n, err))
        return false;
    const redisReply *r = replies[0];
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2)
        return cs_redis_refused(c, r, "scan", err);
    snprintf(cursor, CS_SWEEP_CURSOR, "%s", r->element[0]->str);
    *ret = r->element[1];
    return true;
}

bool cs_redis_scan_partition(struct redis_catalog *c, const char *prefix, char cursor[CS_SWEEP_CURSOR],
                             struct cs_buf *keys, struct cs_err *err) {
    const redisReply *found = NULL;
    if (!cs_redis_open(c, err) || !cs_redis_scan(c, prefix, cursor, &found, err))
        return false;
    for (size_t i = 0; i < found->elements; i++) {
        const redisReply *key = found->element[i];
        if (key->len >= c->slot_len)
            cs_buf_put(keys, key->str + c->slot_len, key->len - c->slot_len + 1); // with its NUL
    }
    return cs_buf_ok(keys, err);
}

// SCAN lists the keys of one node. It is complete if that node has the whole slot. While keys move
// to or from another node, a key that is nowhere gives an error (ASK, MOVED).
static bool slot_is_whole(struct redis_catalog *c, struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t n = 0;
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_command(c->link, 2);
    cs_redis_arg_text(c->link, "GET");
    cs_redis_put_slot_key(c, ABSENT_KEY);
    return cs_redis_ask(c, "read all of a partition", &replies, &n, err);
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// All keys of the generation except the position and the witnesses, sorted, each once. *ret_keys point into text.
static bool list_keys(struct redis_catalog *c, struct cs_buf *text, const char ***ret_keys, size_t *ret_n,
                      struct cs_err *err) {
    char cursor[CS_SWEEP_CURSOR] = "0";
    do {
        if (!cs_redis_scan_partition(c, c->prefix, cursor, text, err))
            return false;
    } while (strcmp(cursor, "0") != 0);
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++)
        n += text->data[i] == 0;
    const char **keys = calloc(n + 1, sizeof *keys);
    if (!keys)
        return cs_err_oom(err);
    const char *at = (const char *)text->data;
    size_t mine = 0;
    for (size_t i = 0; i < n; i++, at += strlen(at) + 1) {
        const char *key = NULL;
        if (cs_redis_generation_of(at, &key) == c->known[c->partition] && strcmp(key, CS_POSITION_KEY) != 0 &&
            strncmp(key, CS_WITNESS_PREFIX, sizeof CS_WITNESS_PREFIX - 1) != 0)
            keys[mine++] = key;
    }
    qsort(keys, mine, sizeof *keys, compare_keys);
    size_t kept = 0; // SCAN may name a key twice
    for (size_t i = 0; i < mine; i++)
        if (kept == 0 || strcmp(keys[kept - 1], keys[i]) != 0)
            keys[kept++] = keys[i];
    *ret_keys = keys;
    *ret_n = kept;
    return true;
}

struct walk {
    bool (*doc)(void *arg, const char *key, struct cs_bytes value);
    bool (*index)(void *arg, const char *key, const struct cs_member *members, size_t n);
    void *arg;
    bool stopped;
    struct cs_all_witnesses *witnesses;
};

static void put_range(struct redis_catalog *c, const char *key, int64_t first, int64_t last) {
    cs_redis_command(c->link, 5);
    cs_redis_arg_text(c->link, "ZRANGE");
    cs_redis_put_key(c, key);
    cs_redis_arg_int(c->link, first);
    cs_redis_arg_int(c->link, last);
    cs_redis_arg_text(c->link, "WITHSCORES");
}

struct pieces {
    struct cs_region names;
    struct cs_member *members;
    size_t len, cap;
    int64_t number; // what they add to the index' witness
};

static void empty(struct pieces *p) {
    cs_region_reset(&p->names);
    p->len = 0;
    p->number = 0;
}

static bool add_piece(struct redis_catalog *c, const redisReply *r, const char *key, struct pieces *p,
                      struct cs_err *err) {
    size_t n = 0;
    int64_t number = 0;
    if (!cs_redis_read_members(c, r, key, &n, &number, err))
        return false;
    p->number += number;
    if (!CS_GROW(&p->members, &p->cap, p->len + n))
        return cs_err_oom(err);
    for (size_t i = 0; i < n; i++) {
        size_t size = strlen(c->members[i].name) + 1;
        char *name = cs_region_take(&p->names, size);
        if (!name)
            return cs_err_oom(err);
        p->members[p->len++] =
            (struct cs_member){memcpy(name, c->members[i].name, size), c->members[i].score};
    }
    return true;
}

// Reads a large index in pieces, so that Redis serves others between. *ret_moved: it changed
// meanwhile.
static bool read_pieces(struct redis_catalog *c, const char *key, struct pieces *p, bool *ret_moved,
                        struct cs_err *err) {
    redisReply *const *replies = NULL;
    size_t got = 0;
    size_t before = SIZE_MAX;
    if (!cs_redis_open(c, err))
        return false;
    cs_redis_put_command(c, "WATCH", key);
    while (p->len != before) {
        before = p->len;
        put_range(c, key, (int64_t)p->len, (int64_t)(p->len + c->piece) - 1);
        if (!cs_redis_ask(c, "read an index", &replies, &got, err) ||
            !add_piece(c, replies[got - 1], key, p, err) || !cs_redis_go_on(c, err))
            return false;
    }
    for (size_t i = 0; i < 2; i++) {
        cs_redis_command(c->link, 1);
        cs_redis_arg_text(c->link, i == 0 ? "MULTI" : "EXEC");
    }
    if (!cs_redis_ask(c, "see that an index stayed as it was", &replies, &got, err))
        return false;
    *ret_moved = replies[1]->type == REDIS_REPLY_NIL;
    return true;
}

// Values are read after the witnesses. A commit may come between: what does not fit is read again,
// together with its entry.
static bool walk_doc(struct redis_catalog *c, const redisReply *r, const char *key, struct walk *walk,
                     bool *ret_again, struct cs_err *err) {
    struct cs_bytes witness, doc;
    if (!cs_all_witnesses_take(c, walk->witnesses, key, &witness, err))
        return false;
    *ret_again = !cs_redis_read_doc(c, r, key, witness, &doc, err);
    if (*ret_again &&
        (err->kind != CS_ERR_DAMAGED || !cs_redis_read_again(c, key, false, &r, &witness, err) ||
         !cs_redis_read_doc(c, r, key, witness, &doc, err)))
        return false;
    if (doc.data)
        walk->stopped = !walk->doc(walk->arg, key, doc);
    return true;
}

static bool is_witnessed(struct redis_catalog *c, struct cs_bytes witness, const char *key, int64_t number,
                         struct cs_err *err) {
    int64_t expected = 0;
    return cs_witness_number(c->partition, key, witness, &expected, err) &&
           (number == expected || cs_witness_index_differs(c->partition, key, err));
}

// What a small index has, in c->members.
static bool check_index(struct redis_catalog *c, struct walk *walk, const char *key, int64_t number,
                        size_t *ret_n, bool *ret_again, struct cs_err *err) {
    struct cs_bytes witness;
    const redisReply *r = NULL;
    *ret_again = false;
    if (!cs_all_witnesses_take(c, walk->witnesses, key, &witness, err))
        return false;
    if (is_witnessed(c, witness, key, number, err))
        return true;
    *ret_again = true;
    return err->kind == CS_ERR_DAMAGED && cs_redis_read_again(c, key, true, &r, &witness, err) &&
           cs_redis_read_members(c, r, key, ret_n, &number, err) &&
           is_witnessed(c, witness, key, number, err);
}

// An index that changes all the time is finally read at once.
static bool walk_large(struct redis_catalog *c, const char *key, struct walk *walk, struct cs_err *err) {
    struct pieces p = {.len = 0};
    bool moved = true;
    bool ok = true;
    for (int i = 0; ok && moved && i < PIECES_TRIES; i++) {
        empty(&p);
        ok = read_pieces(c, key, &p, &moved, err);
    }
    redisReply *const *replies = NULL;
    size_t got = 0;
    if (ok && moved && (ok = cs_redis_open(c, err))) {
        empty(&p);
        put_range(c, key, 0, -1);
        ok = cs_redis_ask(c, "read an index", &replies, &got, err) && add_piece(c, replies[0], key, &p, err);
    }
    size_t n = 0;
    bool again = false;
    ok = ok && check_index(c, walk, key, p.number, &n, &again, err);
    if (ok && (again ? n : p.len) > 0)
        walk->stopped = !walk->index(walk->arg, key, again ? c->members : p.members, again ? n : p.len);
    cs_region_free(&p.names);
    free(p.members);
    return ok;
}

// The type of each key, then the values. Of an index only the first piece.
static bool read_some(struct redis_catalog *c, const char *const *keys, size_t n, bool *ret_index,
                      redisReply *const **ret, struct cs_err *err) {
    size_t got = 0;
    if (!cs_redis_open(c, err))
        return false;
    for (size_t i = 0; i < n; i++)
        cs_redis_put_command(c, "TYPE", keys[i]);
    if (!cs_redis_ask(c, "tell a key's kind", ret, &got, err))
        return false;
    for (size_t i = 0; i < n; i++)
        ret_index[i] = (*ret)[i]->str && strcmp((*ret)[i]->str, "zset") == 0;
    for (size_t i = 0; i < n; i++)
        if (ret_index[i])
            put_range(c, keys[i], 0, (int64_t)c->piece - 1);
        else
            cs_redis_put_command(c, "GET", keys[i]);
    return cs_redis_ask(c, "read a key", ret, &got, err);
}

// Reads some keys at once; *ret says how many. Stops before a large index, or reads it alone.
static bool walk_some(struct redis_catalog *c, const char *const *keys, size_t n, struct walk *walk,
                      size_t *ret, struct cs_err *err) {
    bool index[EACH_AT_ONCE];
    redisReply *const *replies = NULL;
    if (!read_some(c, keys, n, index, &replies, err))
        return false;
    for (*ret = 0; *ret < n && !walk->stopped; ++*ret) {
        const redisReply *r = replies[*ret];
        const char *key = keys[*ret];
        size_t members = 0;
        int64_t number = 0;
        bool again = false;
        if (!index[*ret]) {
            if (!walk_doc(c, r, key, walk, &again, err))
                return false;
            if (!again)
                continue;
            ++*ret;
            return true; // the other replies are gone
        }
        if (!cs_redis_read_members(c, r, key, &members, &number, err))
            return false;
        if (members == c->piece && *ret > 0)
            return true; // a large index is read first in the next call
        if (members == c->piece) {
            *ret = 1;
            return walk_large(c, key, walk, err);
        }
        if (!check_index(c, walk, key, number, &members, &again, err))
            return false;
        if (members > 0)
            walk->stopped = !walk->index(walk->arg, key, c->members, members);
        if (again) { // the other replies are gone
            ++*ret;
            return true;
        }
    }
    return true;
}

bool cs_redis_catalog_each(struct cs_catalog *base, int32_t partition,
                           bool (*doc)(void *arg, const char *key, struct cs_bytes value),
                           bool (*index)(void *arg, const char *key, const struct cs_member *members,
                                         size_t n),
                           void *arg, struct cs_err *err) {
    struct redis_catalog *c = (struct redis_catalog *)base;
    struct walk walk = {.doc = doc, .index = index, .arg = arg};
    struct cs_state *none = NULL;
    struct cs_position ignored;
    // The generation of the last load is read. The positions are read before and after.
    if (cs_redis_catalog_generation(base, partition) == 0) {
        bool found = cs_state_new(false, &none, err) && cs_catalog_load(base, partition, none, &ignored, err);
        cs_state_free(none);
        if (!found)
            return false;
    }
    if (!cs_redis_stand(c, partition, err))
        return false;
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    cs_buf_init(&text, SIZE_MAX / 2); // a catalog may have any number of keys
    const char **keys = NULL;
    size_t n = 0;
    // The slot is whole before and after. The witnesses come first: what they speak of must be among
    // the keys, if it is still there at the end.
    bool ok = slot_is_whole(c, err) && cs_redis_all_witnesses(c, &walk.witnesses, err) &&
              list_keys(c, &text, &keys, &n, err) && slot_is_whole(c, err);
    size_t some = 0;
    for (size_t i = 0; ok && i < n && !walk.stopped; i += some)
        ok = walk_some(c, keys + i, n - i < EACH_AT_ONCE ? n - i : EACH_AT_ONCE, &walk, &some, err);
    ok = ok && (walk.stopped || cs_all_witnesses_seen(c, walk.witnesses, err));
    cs_all_witnesses_free(walk.witnesses);
    free(keys);
    return ok;
}
