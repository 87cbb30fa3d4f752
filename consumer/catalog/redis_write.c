// SPDX-License-Identifier: Apache-2.0
#include "catalog/redis_write.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "redis/key.h"

// Bounds of one command, so that Redis serves others between. Inside MULTI they only bound its
// parsing buffer.
#define MSET_KEYS 512

struct cs_redis_writer {
    struct cs_authentic *authentic;
    struct cs_packer *packer;
    struct cs_change *documents; // PUT and DELETE
    size_t documents_len, documents_cap;
    struct cs_index_changes *indexes;
    struct cs_witnesses witnesses;
    bool failed;
};

bool cs_redis_writer_new(struct cs_authentic *authentic, struct cs_packer *packer,
                         struct cs_redis_writer **ret, struct cs_err *err) {
    CS_AUTO(cs_redis_writer_free) struct cs_redis_writer *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->authentic = authentic;
    w->packer = packer;
    if (!cs_index_changes_new(authentic, &w->indexes, err))
        return false;
    *ret = CS_TAKE(w);
    return true;
}

void cs_redis_writer_free(struct cs_redis_writer *w) {
    if (!w)
        return;
    free(w->documents);
    cs_index_changes_free(w->indexes);
    cs_witnesses_free(&w->witnesses);
    free(w);
}

static bool collect(void *arg, const struct cs_change *change) {
    struct cs_redis_writer *w = arg;
    bool ok = false;
    switch (change->kind) {
    case CS_CHANGE_PUT:
    case CS_CHANGE_DELETE:
        ok = CS_GROW(&w->documents, &w->documents_cap, w->documents_len + 1);
        if (ok)
            w->documents[w->documents_len++] = *change;
        break;
    case CS_CHANGE_ADD:
    case CS_CHANGE_REMOVE:
    case CS_CHANGE_TRIM:
        ok = cs_index_changes_add(w->indexes, change);
        break;
    }
    w->failed = !ok;
    return ok;
}

bool cs_redis_writer_take(struct cs_redis_writer *w, int32_t partition, const struct cs_state *state,
                          struct cs_err *err) {
    w->documents_len = 0;
    w->failed = false;
    cs_witnesses_reset(&w->witnesses);
    if (!cs_index_changes_reset(w->indexes))
        return cs_err_oom(err);
    cs_state_changes(state, collect, w);
    if (w->failed)
        return cs_err_oom(err);
    return cs_index_changes_gather(w->indexes, partition, err);
}

void cs_redis_writer_ask(const struct cs_redis_writer *w, const struct cs_redis_place *at, size_t *ret_n) {
    cs_index_changes_ask(w->indexes, at, ret_n);
}

bool cs_redis_writer_told(struct cs_redis_writer *w, int32_t partition, redisReply *const *replies,
                          struct cs_err *err) {
    return cs_index_changes_told(w->indexes, partition, replies, &w->witnesses, err);
}

// A value with its mark, and the rest of its MAC for its witness.
static bool put_value(struct cs_redis_writer *w, const struct cs_redis_place *to, const char *key,
                      struct cs_bytes value, struct cs_err *err) {
    struct cs_mark mark;
    struct cs_witness *witness = NULL;
    if (!cs_authentic_mark(w->authentic, to->partition, key, value, &mark, err) ||
        !cs_witnesses_add(&w->witnesses, w->authentic, to->partition, key, &witness, err))
        return false;
    witness->what = CS_WITNESS_SET;
    memcpy(witness->mark, mark.witness, sizeof witness->mark);
    cs_redis_arg_marked(to->l, value, (struct cs_bytes){mark.mark, sizeof mark.mark});
    return true;
}

// What stays as it is for long: its bytes count. Others are written anew with every few events, or
// fall out of a window: their time counts.
static bool is_lasting(const char *key) {
    static const enum cs_kind lasting[] = {CS_KIND_CERT, CS_KIND_MATERIAL, CS_KIND_ISSUER, CS_KIND_CSR};
    for (size_t i = 0; i < CS_ARRAY_LEN(lasting); i++)
        if (cs_key_is(key, lasting[i]))
            return true;
    return false;
}

static bool put_document(struct cs_redis_writer *w, const struct cs_redis_place *to,
                         const struct cs_change *d, struct cs_err *err) {
    struct cs_witness *witness = NULL;
    struct cs_bytes stored;
    cs_redis_place_key(to, d->key);
    if (d->kind == CS_CHANGE_PUT)
        return cs_pack(w->packer, d->key, d->value, is_lasting(d->key), &stored, err) &&
               put_value(w, to, d->key, stored, err);
    if (!cs_witnesses_add(&w->witnesses, w->authentic, to->partition, d->key, &witness, err))
        return false;
    witness->what = CS_WITNESS_DROP;
    return true;
}

static bool put_documents(struct cs_redis_writer *w, const struct cs_redis_place *to,
                          enum cs_change_kind kind, struct cs_err *err) {
    bool put = kind == CS_CHANGE_PUT;
    size_t left = 0;
    for (size_t i = 0; i < w->documents_len; i++)
        left += w->documents[i].kind == kind;
    size_t room = 0;
    for (size_t i = 0; i < w->documents_len; i++) {
        const struct cs_change *d = &w->documents[i];
        if (d->kind != kind)
            continue;
        if (room == 0) {
            room = left < MSET_KEYS ? left : MSET_KEYS;
            left -= room;
            cs_redis_command(to->l, 1 + room * (put ? 2 : 1));
            cs_redis_arg_text(to->l, put ? "MSET" : "UNLINK");
        }
        if (!put_document(w, to, d, err))
            return false;
        room--;
    }
    return true;
}

static size_t key_size(const char *key) {
    return strlen(key) + 1;
}

// The documents of trimmed members. One that was written before in this transaction goes, too: of its
// witness, the last that is said counts.
static bool put_gone(struct cs_redis_writer *w, const struct cs_redis_place *to, struct cs_err *err) {
    struct cs_bytes gone = cs_index_changes_gone(w->indexes);
    const char *end = (const char *)gone.data + gone.len;
    for (const char *at = (const char *)gone.data; at < end;) {
        size_t n = 0;
        for (const char *k = at; k < end && n < MSET_KEYS; k += key_size(k))
            n++;
        cs_redis_command(to->l, 1 + n);
        cs_redis_arg_text(to->l, "UNLINK");
        for (; n > 0; n--, at += key_size(at)) {
            struct cs_witness *witness = NULL;
            cs_redis_place_key(to, at);
            if (!cs_witnesses_add(&w->witnesses, w->authentic, to->partition, at, &witness, err))
                return false;
            witness->what = CS_WITNESS_DROP;
        }
    }
    return true;
}

// ---- the witnesses

static void put_name(const struct cs_redis_place *to, const struct cs_witness *witness) {
    cs_redis_arg(to->l, (struct cs_bytes){witness->place.name, sizeof witness->place.name});
}

static void put_command(const struct cs_redis_place *to, const char *command, unsigned bucket, size_t args) {
    char key[CS_WITNESS_KEY_SIZE];
    cs_witness_key(key, bucket);
    cs_redis_command(to->l, 2 + args);
    cs_redis_arg_text(to->l, command);
    cs_redis_place_key(to, key);
}

static void put_bucket(const struct cs_witnesses *ws, const struct cs_redis_place *to, unsigned bucket,
                       bool first) {
    size_t sets = first, drops = 0, n = cs_witnesses_of(ws, bucket);
    for (size_t i = 0; i < n; i++) {
        sets += cs_witnesses_at(ws, bucket, i)->what == CS_WITNESS_SET;
        drops += cs_witnesses_at(ws, bucket, i)->what == CS_WITNESS_DROP;
    }
    if (sets > 0)
        put_command(to, "HSET", bucket, 2 * sets);
    if (first) {
        cs_redis_arg_text(to->l, CS_WITNESS_SENTINEL);
        cs_redis_arg_text(to->l, CS_WITNESS_IS);
    }
    for (size_t i = 0; i < n; i++) {
        const struct cs_witness *w = cs_witnesses_at(ws, bucket, i);
        if (w->what != CS_WITNESS_SET)
            continue;
        put_name(to, w);
        cs_redis_arg(to->l, (struct cs_bytes){w->mark, sizeof w->mark});
    }
    if (drops > 0)
        put_command(to, "HDEL", bucket, drops);
    for (size_t i = 0; i < n; i++)
        if (cs_witnesses_at(ws, bucket, i)->what == CS_WITNESS_DROP)
            put_name(to, cs_witnesses_at(ws, bucket, i));
    for (size_t i = 0; i < n; i++) {
        const struct cs_witness *w = cs_witnesses_at(ws, bucket, i);
        if (w->what != CS_WITNESS_CHANGE)
            continue;
        put_command(to, "HINCRBY", bucket, 2);
        put_name(to, w);
        cs_redis_arg_int(to->l, w->change);
    }
}

static bool put_position(struct cs_redis_writer *w, const struct cs_redis_place *to, struct cs_bytes position,
                         struct cs_err *err) {
    cs_redis_command(to->l, 3);
    cs_redis_arg_text(to->l, "SET");
    cs_redis_place_key(to, CS_POSITION_KEY);
    return put_value(w, to, CS_POSITION_KEY, position, err);
}

bool cs_redis_writer_put(struct cs_redis_writer *w, const struct cs_redis_place *to, struct cs_bytes position,
                         bool first, struct cs_err *err) {
    if (!put_documents(w, to, CS_CHANGE_PUT, err) || !put_documents(w, to, CS_CHANGE_DELETE, err) ||
        !put_gone(w, to, err))
        return false;
    cs_index_changes_put(w->indexes, to);
    if (position.len > 0 && !put_position(w, to, position, err))
        return false;
    if (!cs_witnesses_sort(&w->witnesses, err))
        return false;
    for (unsigned b = 0; b < CS_WITNESS_BUCKETS; b++)
        if (first || cs_witnesses_of(&w->witnesses, b) > 0)
            put_bucket(&w->witnesses, to, b, first);
    return true;
}
