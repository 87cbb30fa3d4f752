// SPDX-License-Identifier: Apache-2.0
//
// One batch is decided and committed while the next one is read and prepared.
#include "log/rebuild.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/hot.h"
#include "catalog/restore.h"
#include "certsync/runtime/clock.h"
#include "log/open_catalog.h"
#include "log/rebuild_batch.h"
#include "worker/flight.h"
#include "worker/keycache.h"

#define LEASE_MS       10000      // after a SIGKILL another rebuild waits as long
#define CLAIM_SLACK_MS 2000       // a lease that is not renewed has ended by then
#ifndef CS_REBUILD_CLAIM_PAUSE_MS // tests/sim has none
#define CS_REBUILD_CLAIM_PAUSE_MS 200
#endif

struct cs_rebuilder {
    struct cs_rebuild_env *env;
    struct cs_crypto *crypto;
    struct cs_key_cache *keys;
    struct cs_privkey *key; // for derived events, which are thrown away
    cs_kid kid;
    struct cs_outcome_marks *marks;
    struct cs_log *events, *outcomes;
    struct cs_catalog *catalog;
    struct cs_rebuild_reader reader;
    struct cs_rebuild_batch batches[2];
    struct cs_rebuild_batch *flying, *filling;
    struct cs_flight_env flight_env;
    struct cs_flight flight;
    struct cs_stand stand; // all outcomes are published
    size_t hot_max;        // bytes of its documents to keep
    int64_t generation;
    struct cs_snapshot_dir snapshots;
    struct cs_restored restored; // what it began with
    int64_t below;               // snapshots of so many outcomes, and more, are not taken
    bool begun;
};

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
    cs_flight_init(&r->flight, &r->flight_env);
    if (!cs_crypto_new(&r->crypto, err))
        return false;
    cs_crypto_tune(r->crypto, cs_clock_thread_ns);
    if (!cs_key_cache_new(r->crypto, env->root_spki, &r->keys, err) ||
        !cs_privkey_generate(CS_KEY_P256, 0, &r->key, err) ||
        (env->service && !cs_outcome_marks_new(r->crypto, env->service, env->log_id, &r->marks, err)))
        return false;
    cs_privkey_kid(r->crypto, r->key, r->kid);
    for (size_t i = 0; i < 2; i++)
        if (!cs_rebuild_batch_init(&r->batches[i], (size_t)s->batch_records, err))
            return false;
    r->flying = &r->batches[0];
    r->filling = &r->batches[1];
    r->reader = (struct cs_rebuild_reader){.events = events,
                                           .outcomes = outcomes,
                                           .crypto = r->crypto,
                                           .keys = r->keys,
                                           .marks = r->marks,
                                           .log_id = env->log_id,
                                           .partitions = env->partitions};
    r->flight_env = (struct cs_flight_env){
        .apply = {.rules = {.crypto = r->crypto,
                            .log_id = env->log_id,
                            .partition_count = env->partitions,
                            .root = cs_key_cache_root(r->keys)},
                  .service = r->key,
                  .service_kid = r->kid,
                  .keys = r->keys,
                  .batch_memory = cs_settings_batch_memory(s)},
        .catalog = catalog,
        .outcomes_name = outcomes->name,
    };
    if (env->snapshots) {
        r->snapshots = *env->snapshots;
        r->snapshots.crypto = r->crypto;
    }
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
           cs_catalog_of(s, env->log_id, &catalog, err) &&
           cs_rebuilder_over(env, CS_TAKE(events), CS_TAKE(outcomes), CS_TAKE(catalog), ret, err);
}

void cs_rebuilder_free(struct cs_rebuilder *r) {
    if (!r)
        return;
    for (size_t i = 0; i < 2; i++)
        cs_rebuild_batch_clear(&r->batches[i]);
    cs_stand_clear(&r->stand);
    cs_catalog_free(r->catalog);
    cs_log_free(r->events);
    cs_log_free(r->outcomes);
    cs_flight_clear(&r->flight);
    cs_privkey_free(r->key);
    cs_outcome_marks_free(r->marks);
    cs_key_cache_free(r->keys);
    cs_crypto_free(r->crypto);
    free(r);
}

const struct cs_position *cs_rebuilder_position(const struct cs_rebuilder *r) {
    return &r->stand.position;
}

int64_t cs_rebuilder_generation(const struct cs_rebuilder *r) {
    return r->catalog->ops->generation(r->catalog, r->stand.id);
}

struct cs_catalog *cs_rebuilder_catalog(struct cs_rebuilder *r) {
    return r->catalog;
}

// --- begin and end

// The lease of a killed rebuild ends. A living one renews its lease: then it lasts longer than it
// did.
static bool claim(struct cs_rebuilder *r, int64_t generation, struct cs_err *err) {
    const struct cs_clock *clock = cs_clock_real();
    int64_t deadline_ms = cs_clock_mono_ms(clock) + LEASE_MS + CLAIM_SLACK_MS;
    int64_t before_ms = INT64_MAX;
    for (;;) {
        bool claimed = false;
        int64_t left_ms = 0;
        if (!r->catalog->ops->claim(r->catalog, r->stand.id, generation, LEASE_MS, &claimed, &left_ms, err))
            return false;
        if (claimed)
            return true;
        if (left_ms > before_ms || cs_clock_mono_ms(clock) > deadline_ms)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "another rebuild is at work on partition %d: let it come to its end, or end it",
                              (int)r->stand.id);
        if (atomic_load(&r->env->stopping))
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "stopped");
        before_ms = left_ms;
        poll(NULL, 0, CS_REBUILD_CLAIM_PAUSE_MS);
    }
}

static bool take_stand(struct cs_rebuilder *r, struct cs_err *err) {
    if (!claim(r, r->generation, err))
        return false;
    r->begun = true;
    r->stand.published = INT64_MAX;
    r->stand.epochs = r->reader.epochs = r->env->epochs;
    if (!cs_stand_load(&r->stand, r->catalog, r->env->log_id, r->env->partitions, err))
        return false;
    bool older = false;
    return !cs_stand_is_stale(&r->stand, &older) ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "what was rebuilt of partition %d stands on outcomes from before a correction of root; "
                      "begin again with --afresh",
                      (int)r->stand.id);
}

// To remove much may take longer than a lease. So the claim is taken again after it.
static bool empty(struct cs_rebuilder *r, struct cs_err *err) {
    return r->catalog->ops->reset(r->catalog, r->stand.id, err) && take_stand(r, err);
}

// A generation without a position that has something was filled in part: a restore was interrupted.
static bool take_stand_or_empty(struct cs_rebuilder *r, struct cs_err *err) {
    struct cs_generations g;
    struct cs_err ignored;
    if (take_stand(r, err))
        return true;
    if (err->kind != CS_ERR_DAMAGED || !r->catalog->ops->generations(r->catalog, r->stand.id, &g, &ignored) ||
        g.next_position.next_offset > 0)
        return false;
    return empty(r, err);
}

static void refused(void *arg, const char *path, const char *why) {
    const struct cs_rebuilder *r = arg;
    if (r->env->refused)
        r->env->refused(r->env->arg, path, why);
}

// What it was made of is read again; this must be there.
static bool is_place(void *arg, const struct cs_position *at, struct cs_err *err) {
    struct cs_rebuilder *r = arg;
    struct cs_err why;
    if (cs_rebuild_reader_start(&r->reader, r->stand.id, at, &why))
        return true;
    if (why.kind == CS_ERR_FATAL)
        return cs_err_set(err, CS_ERR_REJECT, CS_CODE_NONE,
                          "its last record or outcome is not in this log: the topic was made anew, cut or "
                          "rewritten, or the snapshot is of another one");
    *err = why;
    return false;
}

static bool may_go_on(void *arg, struct cs_err *err) {
    const struct cs_rebuilder *r = arg;
    return !atomic_load(&r->env->stopping) || cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "stopped");
}

// Whoever makes it live may publish what rests on it. So enough is compared behind it.
static bool restore(struct cs_rebuilder *r, struct cs_err *err) {
    struct cs_snapshot s;
    int64_t low = 0, high = 0, checked = r->env->settings->snapshot_checked;
    if (!r->outcomes->ops->bounds(r->outcomes, r->stand.id, &low, &high, err))
        return false;
    const struct cs_restore how = {
        .dir = &r->snapshots,
        .catalog = r->catalog,
        .partition = r->stand.id,
        .epochs = r->env->epochs,
        .most = high - checked < r->below - 1 ? high - checked : r->below - 1,
        .until = high,
        .is_place = is_place,
        .go_on = may_go_on,
        .refused = refused,
        .arg = r,
    };
    if (!cs_restore(&how, &s, err))
        return false;
    if (s.at.size == 0)
        return true;
    if (r->env->took)
        r->env->took(r->env->arg, r->stand.id, s.at.size);
    return take_stand(r, err) && r->catalog->ops->restored(r->catalog, r->stand.id, &r->restored, err);
}

bool cs_rebuilder_begin(struct cs_rebuilder *r, int32_t partition, int64_t generation, struct cs_err *err) {
    if (r->stand.id != partition || r->generation != generation)
        r->below = INT64_MAX;
    r->stand.id = partition;
    r->generation = generation;
    r->begun = false;
    if (!take_stand_or_empty(r, err) || !r->catalog->ops->restored(r->catalog, partition, &r->restored, err))
        return false;
    if (r->stand.position.next_offset == 0)
        r->restored = (struct cs_restored){0};
    if (r->env->whole && r->restored.outcomes > 0) {
        r->restored = (struct cs_restored){0};
        return empty(r, err);
    }
    bool fills = r->env->snapshots && !r->env->whole && r->stand.position.next_offset == 0;
    return !fills || restore(r, err);
}

int64_t cs_rebuilder_restored(const struct cs_rebuilder *r) {
    return r->restored.outcomes;
}

// Drops what is under way.
static void forget(struct cs_rebuilder *r) {
    cs_flight_abandon(&r->flight);
    cs_rebuild_batch_empty(r->flying);
    cs_rebuild_batch_empty(r->filling);
    cs_stand_forget(&r->stand);
}

void cs_rebuilder_end(struct cs_rebuilder *r) {
    struct cs_err ignored; // the lease ends by itself
    if (r->begun && !r->catalog->ops->release(r->catalog, r->stand.id, &ignored))
        r->catalog->ops->cancel(r->catalog);
    r->begun = false;
    forget(r);
}

// --- a batch

static bool claim_lost(const struct cs_rebuilder *r, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_RETRY, CS_CODE_NONE,
        "the claim on the rebuilt catalog of partition %d was lost: Redis lost its data, or gave no "
        "answer for too long",
        (int)r->stand.id);
}

static bool full(const struct cs_rebuilder *r) {
    const struct cs_rebuild_batch *b = r->filling;
    return b->len == b->cap || b->bytes >= (size_t)r->env->settings->batch_bytes;
}

// Waits until the flight has ended. Reads and prepares records while the catalog works, or until
// the batch is full.
static bool land(struct cs_rebuilder *r, struct cs_err *err) {
    enum cs_flight_step step = CS_FLIGHT_WENT_ON;
    while (step != CS_FLIGHT_LANDED) {
        bool meanwhile = !r->reader.end && !full(r);
        if (!cs_flight_advance(&r->flight, !meanwhile, &step, err))
            return false;
        if (step == CS_FLIGHT_WAITS && !cs_rebuild_reader_add(&r->reader, r->filling, err))
            return false;
        if (step == CS_FLIGHT_MOVED)
            return claim_lost(r, err);
    }
    return true;
}

static bool fly(struct cs_rebuilder *r, struct cs_err *err) {
    struct cs_rebuild_batch *b = r->filling;
    struct cs_flight *f = &r->flight;
    r->filling = r->flying;
    r->flying = b;
    while (b->at < b->len) { // in parts, if much comes of it
        if (!cs_flight_begin(f, &r->stand, b->records + b->at, b->len - b->at, b->published + b->at, err) ||
            !land(r, err))
            return false;
        b->at += f->apply.decided;
        atomic_fetch_add(&r->env->judged, (long long)f->apply.decided);
        cs_hot_keep(r->stand.hot, r->hot_max);
        if (f->cut) {
            *err = f->cut_err;
            return false;
        }
    }
    cs_rebuild_batch_empty(b);
    return true;
}

static bool run(struct cs_rebuilder *r, struct cs_err *err) {
    if (!cs_rebuild_reader_start(&r->reader, r->stand.id, &r->stand.position, err))
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

static bool compared_enough(const struct cs_rebuilder *r, struct cs_err *err) {
    int64_t compared = r->stand.position.outcomes - r->restored.outcomes;
    int64_t checked = r->env->settings->snapshot_checked;
    return r->restored.outcomes == 0 || compared >= checked ||
           cs_err_set(err, CS_ERR_DAMAGED, CS_CODE_NONE,
                      "only %" PRId64
                      " outcomes are published behind it, and so many must be compared: %" PRId64
                      " (snapshot.checked)",
                      compared, checked);
}

// The snapshot that it began with is in doubt: an older one is taken, or offset 0. If the fault is not the
// snapshot's, it comes again.
static bool doubt(struct cs_rebuilder *r, struct cs_err *err) {
    char path[CS_SNAPSHOT_PATH] = "";
    bool of_snapshot = err->kind == CS_ERR_FATAL || err->kind == CS_ERR_DAMAGED;
    const struct cs_snapshot taken = {.at.size = r->restored.outcomes,
                                      .epoch =
                                          cs_epoch_of(&r->env->epochs, r->stand.id, r->restored.outcomes)};
    struct cs_err ignored;
    if (!of_snapshot || !r->env->snapshots || r->restored.outcomes == 0 ||
        r->stand.position.outcomes >= r->restored.until)
        return false;
    if (cs_snapshot_path(&r->snapshots, r->stand.id, &taken, "snap", path, &ignored))
        refused(r, path, err->msg);
    r->below = r->restored.outcomes;
    return empty(r, err) && cs_rebuilder_begin(r, r->stand.id, r->generation, err);
}

bool cs_rebuilder_follow(struct cs_rebuilder *r, struct cs_err *err) {
    for (;;) {
        if (run(r, err) && compared_enough(r, err))
            return true;
        r->catalog->ops->cancel(r->catalog);
        forget(r);
        if (!doubt(r, err))
            return false;
    }
}

bool cs_rebuilder_promote(struct cs_rebuilder *r, int64_t max_behind, int64_t *ret_behind, bool *ret_done,
                          struct cs_err *err) {
    struct cs_generations g;
    bool moved = false;
    *ret_done = false;
    if (!r->catalog->ops->generations(r->catalog, r->stand.id, &g, err))
        return false;
    *ret_behind = g.live_position.next_offset - r->stand.position.next_offset;
    if (*ret_behind > max_behind)
        return true;
    if (!r->catalog->ops->promote(r->catalog, r->stand.id, &g.live_position, &r->stand.position, &moved, err))
        return false;
    *ret_done = !moved;
    if (!moved)
        r->begun = false; // the claim ended with it
    return true;
}
