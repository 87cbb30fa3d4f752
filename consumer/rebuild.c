// SPDX-License-Identifier: Apache-2.0
//
// One batch is in flight (load, decide, compare, commit) while the next one is read and prepared.
#include "rebuild.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/text.h"
#include "certsync/runtime/clock.h"
#include "hot.h"
#include "keycache.h"
#include "rebuild_batch.h"
#include "redis_access.h"

#define LEASE_MS       10000 // after a SIGKILL another rebuild waits this long
#define CLAIM_PAUSE_MS 200
#define CLAIM_SLACK_MS 2000  // a lease that is not renewed has ended by then
#define ROUNDS_MAX     10000 // of loading for one record: each finds something, or the rules ask in circles

struct cs_rebuilder {
    struct cs_rebuild_env *env;
    struct cs_crypto *crypto;
    struct cs_key_cache *keys;
    struct cs_privkey *key; // of derived events, which go nowhere
    cs_kid kid;
    struct cs_log *events, *outcomes;
    struct cs_catalog *catalog;
    struct cs_rebuild_reader reader;
    struct cs_rebuild_batch batches[2];
    struct cs_rebuild_batch *flight, *filling;
    struct cs_apply apply;
    struct cs_state *hot; // documents of `position`
    size_t hot_max;       // bytes that stay of them
    bool begun;
    int32_t partition;
    struct cs_position position; // committed
};

static bool make_key(struct cs_rebuilder *r, struct cs_err *err) {
    uint8_t *spki = NULL;
    size_t len = 0;
    if (!cs_privkey_generate(CS_KEY_P256, 0, &r->key, err) || !cs_privkey_spki(r->key, &spki, &len, err))
        return false;
    cs_kid_of_spki(r->crypto, (struct cs_bytes){spki, len}, r->kid);
    free(spki);
    return true;
}

bool cs_rebuilder_over(struct cs_rebuild_env *env, struct cs_log *events, struct cs_log *outcomes,
                       struct cs_catalog *catalog, struct cs_rebuilder **ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = env->settings;
    CS_AUTO(cs_rebuilder_free) struct cs_rebuilder *r = calloc(1, sizeof *r);
    if (!r) {
        cs_log_free(events);
        cs_log_free(outcomes);
        cs_catalog_free(catalog);
        return cs_err_oom(err);
    }
    r->env = env;
    r->events = events;
    r->outcomes = outcomes;
    r->catalog = catalog;
    r->hot_max = (size_t)s->cache_bytes / (size_t)cs_settings_workers(s, env->partitions);
    cs_apply_init(&r->apply);
    if (!cs_crypto_new(&r->crypto, err))
        return false;
    cs_crypto_tune(r->crypto, cs_clock_thread_ns);
    if (!cs_key_cache_new(r->crypto, env->root_spki, &r->keys, err) || !make_key(r, err) ||
        !cs_hot_new(&r->hot, err))
        return false;
    for (size_t i = 0; i < 2; i++)
        if (!cs_rebuild_batch_init(&r->batches[i], (size_t)s->batch_records, err))
            return false;
    r->flight = &r->batches[0];
    r->filling = &r->batches[1];
    r->reader = (struct cs_rebuild_reader){.events = events,
                                           .outcomes = outcomes,
                                           .crypto = r->crypto,
                                           .keys = r->keys,
                                           .deployment = s->deployment,
                                           .partitions = env->partitions};
    *ret = CS_TAKE(r);
    return true;
}

bool cs_rebuilder_new(struct cs_rebuild_env *env, struct cs_rebuilder **ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = env->settings;
    CS_AUTO(cs_log_free) struct cs_log *events = NULL;
    CS_AUTO(cs_log_free) struct cs_log *outcomes = NULL;
    CS_AUTO(cs_catalog_free) struct cs_catalog *catalog = NULL;
    return cs_log_open_kafka(&s->kafka, s->events_topic, &events, err) &&
           cs_log_open_kafka(&s->kafka, s->outcomes_topic, &outcomes, err) &&
           cs_settings_catalog(s, &catalog, err) &&
           cs_rebuilder_over(env, CS_TAKE(events), CS_TAKE(outcomes), CS_TAKE(catalog), ret, err);
}

void cs_rebuilder_free(struct cs_rebuilder *r) {
    if (!r)
        return;
    for (size_t i = 0; i < 2; i++)
        cs_rebuild_batch_clear(&r->batches[i]);
    cs_state_free(r->hot);
    cs_catalog_free(r->catalog);
    cs_log_free(r->events);
    cs_log_free(r->outcomes);
    cs_apply_clear(&r->apply);
    cs_privkey_free(r->key);
    cs_key_cache_free(r->keys);
    cs_crypto_free(r->crypto);
    free(r);
}

const struct cs_position *cs_rebuilder_position(const struct cs_rebuilder *r) {
    return &r->position;
}

int64_t cs_rebuilder_generation(const struct cs_rebuilder *r) {
    return r->catalog->ops->generation(r->catalog, r->partition);
}

struct cs_catalog *cs_rebuilder_catalog(struct cs_rebuilder *r) {
    return r->catalog;
}

// --- begin and end

// The lease of one that was killed runs out; of one that is alive it is renewed, and seen to last longer than
// it did.
static bool claim(struct cs_rebuilder *r, int64_t generation, struct cs_err *err) {
    const struct cs_clock *clock = cs_clock_real();
    int64_t deadline_ms = cs_clock_mono_ms(clock) + LEASE_MS + CLAIM_SLACK_MS;
    int64_t before_ms = INT64_MAX;
    for (;;) {
        bool claimed = false;
        int64_t left_ms = 0;
        if (!r->catalog->ops->claim(r->catalog, r->partition, generation, LEASE_MS, &claimed, &left_ms, err))
            return false;
        if (claimed)
            return true;
        if (left_ms > before_ms || cs_clock_mono_ms(clock) > deadline_ms)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "another rebuild is at work on partition %d: let it come to its end, or end it",
                              (int)r->partition);
        if (atomic_load(&r->env->stopping))
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "stopped");
        before_ms = left_ms;
        poll(NULL, 0, CLAIM_PAUSE_MS);
    }
}

static bool read_position(struct cs_rebuilder *r, struct cs_err *err) {
    struct cs_bytes doc;
    cs_state_forget(r->hot);
    (void)cs_state_get(r->hot, "system", &doc);
    if (!cs_catalog_load(r->catalog, r->partition, r->hot, &r->position, err))
        return false;
    return cs_state_get(r->hot, "system", &doc) != CS_FOUND ||
           cs_catalog_check_system(doc, r->env->settings->deployment, r->env->partitions, err);
}

bool cs_rebuilder_begin(struct cs_rebuilder *r, int32_t partition, int64_t generation, struct cs_err *err) {
    r->partition = partition;
    r->begun = false;
    if (!claim(r, generation, err))
        return false;
    r->begun = true;
    return read_position(r, err);
}

void cs_rebuilder_end(struct cs_rebuilder *r) {
    struct cs_err ignored; // the lease runs out by itself
    if (r->begun && !r->catalog->ops->release(r->catalog, r->partition, &ignored))
        r->catalog->ops->cancel(r->catalog);
    r->begun = false;
    cs_rebuild_batch_empty(r->flight);
    cs_rebuild_batch_empty(r->filling);
    cs_state_forget(r->hot);
}

// --- a batch

static bool claim_lost(const struct cs_rebuilder *r, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_RETRY, CS_CODE_NONE,
        "the claim on the rebuilt catalog of partition %d was lost: Redis lost its data, or gave no "
        "answer for too long",
        (int)r->partition);
}

static bool full(const struct cs_rebuilder *r) {
    const struct cs_rebuild_batch *b = r->filling;
    return b->len == b->cap || b->bytes >= (size_t)r->env->settings->batch_bytes;
}

// Reads and prepares records while the catalog has something to do, or until the batch is full.
static bool work_meanwhile(struct cs_rebuilder *r, struct cs_err *err) {
    while (!r->reader.end && !full(r) && !r->catalog->ops->poll(r->catalog))
        if (!cs_rebuild_reader_add(&r->reader, r->filling, err))
            return false;
    return true;
}

static bool load(struct cs_rebuilder *r, struct cs_err *err) {
    struct cs_position position;
    bool moved = false;
    if (!r->catalog->ops->load_begin(r->catalog, r->partition, r->hot, err) || !work_meanwhile(r, err) ||
        !r->catalog->ops->load_end(r->catalog, &position, &moved, err))
        return false;
    return (!moved && cs_position_equal(&position, &r->apply.from)) || claim_lost(r, err);
}

static bool decide(struct cs_rebuilder *r, struct cs_err *err) {
    struct cs_apply_context ctx = {
        .rules = {.crypto = r->crypto,
                  .deployment = r->env->settings->deployment,
                  .partition = r->partition,
                  .partition_count = r->env->partitions,
                  .root = cs_key_cache_root(r->keys)},
        .service = r->key,
        .service_kid = r->kid,
        .keys = r->keys,
        .batch_memory = cs_settings_batch_memory(r->env->settings),
    };
    const struct cs_rebuild_batch *b = r->flight;
    for (size_t round = 0, before = 0; round < ROUNDS_MAX; round++) {
        bool needed = false;
        if (r->apply.decided > before) // as often as a batch has records
            round = 0;
        before = r->apply.decided;
        if (!cs_apply_decide(&ctx, &r->apply, r->hot, b->records + b->at, b->len - b->at, &needed, err))
            return false;
        if (!needed)
            return true;
        if (!load(r, err))
            return false;
    }
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the rules do not come to an end with what they need");
}

static bool fork_found(const struct cs_rebuilder *r, size_t i, struct cs_err *err) {
    const struct cs_applied_outcome *mine = &r->apply.outcomes[i];
    return cs_err_set(
        err, CS_ERR_FATAL, CS_CODE_NONE,
        "outcome %" PRId64 ", of the event at offset %" PRId64
        ", is judged %s%s%s now, but %s offset %" PRId64
        " holds another one; certsync-consumer verify shows both. The live catalog is left as it is",
        mine->n, r->flight->records[r->flight->at + i].record.offset, cs_status_name(mine->status),
        mine->code ? " " : "", cs_code_name(mine->code), r->outcomes->name,
        r->flight->published[r->flight->at + i].offset);
}

static bool same(struct cs_bytes a, const void *b, size_t len) {
    return a.len == len && (len == 0 || memcmp(a.data, b, len) == 0);
}

// What was published must be what was decided now, byte for byte.
static bool compare(const struct cs_rebuilder *r, struct cs_err *err) {
    const struct cs_rebuild_batch *b = r->flight;
    for (size_t i = 0; i < r->apply.outcomes_len; i++) {
        const struct cs_applied_outcome *mine = &r->apply.outcomes[i];
        const struct cs_published_item *item = &b->published[b->at + i];
        if (!same(cs_apply_value(&r->apply, mine->at, mine->len), b->text.data + item->at, item->len) ||
            !same((struct cs_bytes){(const uint8_t *)mine->account, strlen(mine->account)},
                  b->text.data + item->key_at, item->key_len))
            return fork_found(r, i, err);
    }
    return true;
}

static bool commit(struct cs_rebuilder *r, struct cs_err *err) {
    bool moved = false;
    if (!r->catalog->ops->commit_begin(r->catalog, r->partition, r->hot, &r->apply.from, &r->apply.to, err) ||
        !work_meanwhile(r, err) || !r->catalog->ops->commit_end(r->catalog, &moved, err))
        return false;
    return !moved || claim_lost(r, err);
}

static void landed(struct cs_rebuilder *r) {
    struct cs_rebuild_batch *b = r->flight;
    r->position = r->apply.to;
    b->at += r->apply.decided;
    atomic_fetch_add(&r->env->judged, (long long)r->apply.decided);
    cs_hot_keep(r->hot, r->hot_max);
}

static bool fly(struct cs_rebuilder *r, struct cs_err *err) {
    struct cs_rebuild_batch *b = r->filling;
    r->filling = r->flight;
    r->flight = b;
    while (b->at < b->len) { // in parts, where much comes of it
        cs_apply_begin(&r->apply, &r->position, r->hot, b->records + b->at, b->len - b->at);
        if (!load(r, err) || !decide(r, err) || !compare(r, err) || !commit(r, err))
            return false;
        landed(r);
    }
    cs_rebuild_batch_empty(b);
    return true;
}

static bool run(struct cs_rebuilder *r, struct cs_err *err) {
    if (!cs_rebuild_reader_start(&r->reader, r->partition, &r->position, err))
        return false;
    while (!r->reader.end || r->filling->len > 0) {
        while (!r->reader.end && !full(r))
            if (!cs_rebuild_reader_add(&r->reader, r->filling, err))
                return false;
        if (r->filling->len > 0 && !fly(r, err))
            return false;
        if (atomic_load(&r->env->stopping))
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "stopped");
    }
    if (r->reader.broken)
        *err = r->reader.why;
    return !r->reader.broken;
}

bool cs_rebuilder_follow(struct cs_rebuilder *r, struct cs_err *err) {
    if (run(r, err))
        return true;
    r->catalog->ops->cancel(r->catalog);
    cs_rebuild_batch_empty(r->flight);
    cs_rebuild_batch_empty(r->filling);
    cs_state_forget(r->hot);
    return false;
}

bool cs_rebuilder_promote(struct cs_rebuilder *r, int64_t max_behind, int64_t *ret_behind, bool *ret_done,
                          struct cs_err *err) {
    struct cs_generations g;
    bool moved = false;
    *ret_done = false;
    if (!r->catalog->ops->generations(r->catalog, r->partition, &g, err))
        return false;
    *ret_behind = g.live_position.next_offset - r->position.next_offset;
    if (*ret_behind > max_behind)
        return true;
    if (!r->catalog->ops->promote(r->catalog, r->partition, &g.live_position, &r->position, &moved, err))
        return false;
    *ret_done = !moved;
    if (!moved)
        r->begun = false; // the claim ended with it
    return true;
}
