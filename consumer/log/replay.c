// SPDX-License-Identifier: Apache-2.0
#include "log/replay.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"

struct cs_replay {
    struct cs_crypto *crypto;
    struct cs_key_cache *keys;
    struct cs_privkey *key; // for derived events, which are thrown away
    cs_kid kid;
    struct cs_state *state;
    struct cs_prepared *prepared; // of the record judged last
    struct cs_position position;
    struct cs_apply apply;
    struct cs_apply_context context;
};

bool cs_replay_new(const struct cs_replay_options *options, struct cs_replay **ret, struct cs_err *err) {
    CS_AUTO(cs_replay_free) struct cs_replay *r = calloc(1, sizeof *r);
    if (!r)
        return cs_err_oom(err);
    cs_apply_init(&r->apply);
    if (!cs_crypto_new(&r->crypto, err))
        return false;
    cs_crypto_tune(r->crypto, cs_clock_thread_ns);
    if (!cs_key_cache_new(r->crypto, options->root_spki, &r->keys, err) ||
        !cs_state_new(true, &r->state, err) || !cs_privkey_generate(CS_KEY_P256, 0, &r->key, err))
        return false;
    cs_privkey_kid(r->crypto, r->key, r->kid);
    r->context = (struct cs_apply_context){
        .epochs = options->epochs,
        .rules = {.crypto = r->crypto,
                  .log_id = options->log_id,
                  .partition_count = options->partition_count,
                  .root = cs_key_cache_root(r->keys)},
        .service = r->key,
        .service_kid = r->kid,
        .keys = r->keys,
        .verdicts_only = options->verdicts_only,
    };
    *ret = CS_TAKE(r);
    return true;
}

void cs_replay_free(struct cs_replay *r) {
    if (!r)
        return;
    cs_apply_clear(&r->apply);
    cs_prepared_free(r->prepared);
    cs_state_free(r->state);
    cs_privkey_free(r->key);
    cs_key_cache_free(r->keys);
    cs_crypto_free(r->crypto);
    free(r);
}

void cs_replay_begin(struct cs_replay *r, int32_t partition) {
    r->context.rules.partition = partition;
    cs_state_forget(r->state);
    r->position = (struct cs_position){0};
}

void cs_replay_resume(struct cs_replay *r, const struct cs_position *at) {
    r->position = *at;
}

bool cs_replay_record(struct cs_replay *r, const struct cs_record *record, struct cs_replayed *ret,
                      struct cs_err *err) {
    const struct cs_rule_context *rules = &r->context.rules;
    bool needed = false;
    cs_prepared_free(r->prepared);
    r->prepared = NULL;
    cs_state_changes_clear(r->state);
    if (!cs_prepare(r->crypto, rules->log_id, rules->partition_count, cs_key_cache_ruleset(r->keys), record,
                    cs_key_cache_lookup, r->keys, NULL, &r->prepared, err))
        return false;
    struct cs_batch_record one = {.record = *record, .prepared = r->prepared};
    cs_apply_begin(&r->context, &r->apply, &r->position, r->state, &one, 0);
    if (!cs_apply_decide(&r->context, &r->apply, r->state, &one, 1, &needed, err))
        return cs_err_prepend(err, "partition %d", (int)rules->partition);
    r->position = r->apply.to;
    *ret = (struct cs_replayed){
        .prepared = r->prepared,
        .outcome = r->apply.outcomes[0],
        .outcome_json = cs_apply_value(&r->apply, r->apply.outcomes[0].at, r->apply.outcomes[0].len),
        .derived_len = r->apply.derived_len,
        .derived = r->apply.derived,
    };
    return true;
}

void cs_replay_number(struct cs_replay *r, int64_t n, const uint8_t prev_sha256[32]) {
    r->position.outcomes = n - 1;
    memcpy(r->position.chain_sha256, prev_sha256, 32);
}

struct cs_bytes cs_replay_derived_json(const struct cs_replay *r, const struct cs_applied_derived *d) {
    return cs_apply_value(&r->apply, d->at, d->len);
}

struct cs_state *cs_replay_state(struct cs_replay *r) {
    return r->state;
}

const struct cs_position *cs_replay_position(const struct cs_replay *r) {
    return &r->position;
}

struct cs_crypto *cs_replay_crypto(struct cs_replay *r) {
    return r->crypto;
}

const char *cs_replay_kid(const struct cs_replay *r) {
    return r->kid;
}
