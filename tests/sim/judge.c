// SPDX-License-Identifier: Apache-2.0
//
// What must hold, as tests/chaos has it: each record has one outcome, as it is judged by itself,
// numbered and chained; each derived event appears, once in effect; catalogs and positions are what
// the log makes of them; nothing is committed that is not published. The judge decides record by
// record over a complete catalog: no batches, no loading, no working set.
#define _GNU_SOURCE // memmem
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "worker/outcome_chain.h"

static bool same(struct cs_bytes a, struct cs_bytes b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static struct cs_bytes text_bytes(const char *text) {
    return (struct cs_bytes){(const uint8_t *)text, strlen(text)};
}

// --- the plain judge

static bool has(struct cs_bytes doc, const char *text) {
    return memmem(doc.data, doc.len, text, strlen(text));
}

static void put_doc(struct cs_state *state, const char *key, struct cs_bytes outcome,
                    const struct cs_conclusion *c, const char *by, int64_t n) {
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_outcome_doc_encode(&b, outcome, c, by, n);
    cs_state_put(state, key, cs_buf_bytes(&b));
    cs_buf_clear(&b);
}

static bool waits(struct cs_bytes doc) {
    return has(doc, "\"data\":{\"status\":\"pending\"") && !has(doc, "},\"final\":{");
}

// Takes the oldest out one by one: no trim.
static void keep_newest(struct cs_state *state, const char *account, const char *member, int64_t n) {
    cs_key index, key;
    const struct cs_member *members = NULL;
    size_t count = 0;
    cs_state_add(state, cs_key_outcomes(index, account), member, n);
    while (cs_state_list(state, index, &members, &count) == CS_FOUND && count > CS_OUTCOMES_KEPT) {
        char oldest[CS_UUID_LEN + sizeof "/awaited"];
        snprintf(oldest, sizeof oldest, "%s", members[0].name);
        if (!strstr(oldest, "/awaited"))
            cs_state_delete(state, cs_key_outcome(key, account, oldest));
        cs_state_remove(state, index, oldest);
    }
}

// The newest outcome of an event is kept, but for one that waits. A copy's stands beside it.
static void keep_outcome(struct cs_state *state, const struct cs_event *ev, struct cs_bytes outcome,
                         int64_t n) {
    cs_key key, index;
    struct cs_bytes there;
    char member[CS_UUID_LEN + sizeof "/awaited"];
    bool copy = has(outcome, "\"status\":\"rejected\",\"code\":\"event.replayed\"") ||
                has(outcome, "\"status\":\"rejected\",\"code\":\"event.revoked_signer\"");
    snprintf(member, sizeof member, "%s%s", ev->id, copy ? "/again" : "");
    cs_key_outcome(key, ev->account, member);
    if (ev->type == CS_EVENT_CERTIFICATE_SHARE && cs_state_get(state, key, &there) == CS_FOUND &&
        waits(there))
        return;
    put_doc(state, key, outcome, NULL, NULL, 0);
    if (has(outcome, "\"data\":{\"status\":\"pending\"")) {
        cs_state_remove(state, cs_key_outcomes(index, ev->account), member);
        snprintf(member, sizeof member, "%s/awaited", ev->id);
    }
    keep_newest(state, ev->account, member, n);
}

static void conclude(struct cs_state *state, const struct cs_conclusion *c, const char *by, int64_t n) {
    static const size_t around = sizeof "{\"outcome\":" - 1;
    cs_key key;
    struct cs_bytes doc;
    cs_key_outcome(key, c->account, c->event);
    if (cs_state_get(state, key, &doc) != CS_FOUND || !waits(doc))
        return;
    size_t len = doc.len - around - 1;
    uint8_t *copy = malloc(len);
    memcpy(copy, doc.data + around, len);
    put_doc(state, key, (struct cs_bytes){copy, len}, c, by, n);
    char awaited[CS_UUID_LEN + sizeof "/awaited"];
    snprintf(awaited, sizeof awaited, "%s/awaited", c->event);
    cs_state_remove(state, cs_key_outcomes(key, c->account), awaited);
    keep_newest(state, c->account, c->event, n);
    free(copy);
}

static struct cs_bytes encoded(struct sim *s, const struct cs_outcome *o) {
    struct cs_buf b;
    cs_buf_init(&b, 1 << 20);
    cs_outcome_encode(&b, o);
    struct cs_bytes copy = arena_bytes(s, cs_buf_bytes(&b));
    cs_buf_clear(&b);
    return copy;
}

static void keep_derived(struct sim *s, struct sim_oracle *o, struct cs_event *ev) {
    struct cs_buf b;
    struct cs_err err;
    size_t n = o->derived_len++;
    o->position.derived++;
    o->derived_epoch[n] = o->position.epoch;
    o->derived_seq[n] = o->position.derived;
    ev->seq = o->position.derived;
    memcpy(ev->kid, s->pool->service_kid, sizeof ev->kid);
    cs_buf_init(&b, 1 << 20);
    if (!cs_event_encode(ev, &b, &err))
        abort();
    o->derived[n] = arena_bytes(s, cs_buf_bytes(&b));
    o->derived_to[n] = cs_partition_of(ev->account, PARTITIONS);
    o->derived_at[n] = o->position.outcomes;
    cs_buf_clear(&b);
}

static void oracle_record(struct sim *s, struct sim_oracle *o, int32_t partition, int64_t offset) {
    CS_AUTO(cs_decision_clear) struct cs_decision d = {0};
    const struct sim_event *e = s->logs[CS_PUBLISH_EVENTS][partition].records[offset].event;
    const struct cs_event *ev = e->prepared->event;
    struct cs_rule_context ctx = fx_context(s->pool->fx, partition);
    ctx.book = s->book;
    ctx.epoch = epoch_of(s, partition, o->position.outcomes + 1);
    struct cs_record r = e->record;
    struct cs_err err;
    bool needed = false;
    r.offset = offset;
    if (!cs_decide(&ctx, o->state, &r, e->prepared, &d, &needed, &err) || needed)
        abort();
    struct cs_outcome out = {.n = ++o->position.outcomes,
                             .verdict = d.verdict,
                             .partition = partition,
                             .epoch = ctx.epoch,
                             .offset = offset,
                             .time_ms = r.timestamp_ms};
    snprintf(out.log_id, sizeof out.log_id, "%s", ctx.log_id);
    cs_outcome_set_id(ctx.crypto, &out);
    if (ev) {
        out.type = ev->type;
        out.seq = ev->seq;
        memcpy(out.event, ev->id, sizeof out.event);
        memcpy(out.account, ev->account, sizeof out.account);
        memcpy(out.kid, ev->kid, sizeof out.kid);
    }
    memcpy(out.record_sha256, e->prepared->record_sha256, 32);
    memcpy(out.prev_sha256, o->position.chain_sha256, 32);
    struct cs_bytes value = encoded(s, &out);
    o->outcomes[out.n - 1] = value;
    o->accounts[out.n - 1] = ev ? ev->account : "";
    cs_crypto_sha256(ctx.crypto, value, o->position.chain_sha256);
    struct cs_hash leaf;
    cs_merkle_leaf(ctx.crypto, value, &leaf);
    cs_merkle_append(ctx.crypto, &o->position.edge, out.n - 1, &leaf);
    memcpy(o->position.record_sha256, e->prepared->record_sha256, 32);
    o->position.next_offset = offset + 1;
    if (ctx.epoch != o->position.epoch)
        o->position.derived = 0;
    o->position.epoch = ctx.epoch;
    cs_state_begin(o->state);
    if (ev && ev->account[0] && d.verdict.signer_known && d.verdict.status != CS_STATUS_DUPLICATE &&
        !d.verdict.leaves_nothing && !(cs_event_origin(ev) >= 0 && d.verdict.status == CS_STATUS_REJECTED))
        keep_outcome(o->state, ev, value, out.n);
    for (size_t i = 0; i < d.verdict.concludes_len; i++)
        conclude(o->state, &d.verdict.concludes[i], ev->id, out.n);
    if (!cs_state_keep(o->state, &err))
        abort();
    cs_state_changes_clear(o->state);
    for (size_t i = 0; i < d.derived.len; i++)
        keep_derived(s, o, d.derived.events[i]);
}

void oracle_run(struct sim *s, struct sim_oracle *o, int32_t partition, int64_t end,
                const struct sim_oracle *from) {
    struct cs_err err;
    if (from && from->position.next_offset > end)
        from = NULL;
    *o = from ? *from : (struct sim_oracle){.state = NULL};
    if (!cs_state_new(true, &o->state, &err))
        abort();
    if (from)
        state_copy(from->state, o->state);
    cs_state_changes_clear(o->state);
    for (int64_t i = o->position.next_offset; i < end; i++)
        oracle_record(s, o, partition, i);
}

void oracle_free(struct sim_oracle *o) {
    cs_state_free(o->state);
    o->state = NULL;
}

// --- what is committed

// Where the damaged outcome does not count (its key tells that no consumer wrote it), the right one
// is published.
static bool is_published_again(const struct sim *s, const struct sim_log *l) {
    for (size_t i = 0; i < l->len && s->damage == FORGED_KEY; i++)
        if (!l->records[i].foreign && cs_outcome_number(l->records[i].value) == s->damage_n)
            return true;
    return false;
}

void judge_committed(struct sim *s, int32_t partition, const struct cs_position *at) {
    const struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][partition];
    uint8_t sha256[32];
    if (s->damaged == partition && s->damage_n && s->damage < CIRCLES && at->outcomes >= s->damage_n &&
        !is_published_again(s, l))
        violation(s, "partition %d is committed up to outcome %lld, but %lld is damaged", (int)partition,
                  (long long)at->outcomes, (long long)s->damage_n);
    for (size_t i = l->len; i-- > 0;) {
        if (cs_outcome_number(l->records[i].value) != at->outcomes)
            continue;
        cs_crypto_sha256(s->pool->fx->crypto, l->records[i].value, sha256);
        if (memcmp(sha256, at->chain_sha256, 32) == 0)
            return;
    }
    violation(s, "partition %d is committed up to outcome %lld, which is not published", (int)partition,
              (long long)at->outcomes);
}

static bool dump_doc(void *arg, const char *key, struct cs_bytes value) {
    cs_buf_put(arg, (const uint8_t *)key, strlen(key) + 1);
    cs_buf_put(arg, value.data, value.len);
    return true;
}

static bool dump_index(void *arg, const char *key, const struct cs_member *members, size_t n) {
    if (n == 0)
        return true;
    cs_buf_put(arg, (const uint8_t *)key, strlen(key) + 1);
    for (size_t i = 0; i < n; i++) {
        cs_buf_put(arg, (const uint8_t *)members[i].name, strlen(members[i].name) + 1);
        cs_buf_put(arg, (const uint8_t *)&members[i].score, sizeof members[i].score);
    }
    return true;
}

static void compare_positions(struct sim *s, int32_t p, const struct cs_position *is,
                              const struct cs_position *must) {
    if (!cs_position_equal(is, must))
        violation(s,
                  "partition %d stands at offset %lld, outcome %lld, derived %lld, and not at %lld, %lld, "
                  "%lld (or its hashes differ)",
                  (int)p, (long long)is->next_offset, (long long)is->outcomes, (long long)is->derived,
                  (long long)must->next_offset, (long long)must->outcomes, (long long)must->derived);
}

static void compare_states(struct sim *s, int32_t p, struct cs_catalog *c, const struct cs_state *must) {
    struct cs_buf mine;
    struct cs_buf theirs;
    struct cs_err err;
    cs_buf_init(&mine, 1 << 24);
    cs_buf_init(&theirs, 1 << 24);
    cs_state_each(must, dump_doc, dump_index, &mine);
    if (!c->ops->each(c, p, dump_doc, dump_index, &theirs, &err))
        abort();
    if (!same(cs_buf_bytes(&mine), cs_buf_bytes(&theirs)))
        violation(s, "the catalog of partition %d is not what its log makes of it", (int)p);
    cs_buf_clear(&mine);
    cs_buf_clear(&theirs);
}

// The catalog as it is must be what the log makes of it up to its position.
void judge_catalog(struct sim *s, int32_t partition, enum cs_catalog_view view) {
    struct cs_state *nothing = NULL;
    struct cs_position at;
    struct sim_oracle o;
    struct cs_err err;
    s->admin->ops->view(s->admin, view);
    if (!cs_state_new(false, &nothing, &err))
        abort();
    if (!cs_catalog_load(s->admin, partition, nothing, &at, &err)) {
        violation(s, "no catalog of partition %d: %s", (int)partition, err.msg);
    } else if (at.next_offset > (int64_t)s->logs[CS_PUBLISH_EVENTS][partition].len) {
        violation(s, "partition %d stands behind the end of its log", (int)partition);
    } else {
        oracle_run(s, &o, partition, at.next_offset, base_of(s, partition));
        compare_positions(s, partition, &at, &o.position);
        compare_states(s, partition, s->admin, o.state);
        oracle_free(&o);
    }
    cs_state_free(nothing);
    s->admin->ops->view(s->admin, CS_VIEW_LIVE);
}

// --- at rest

static void judge_outcomes(struct sim *s, int32_t partition, const struct sim_oracle *o) {
    const struct sim_log *l = &s->logs[CS_PUBLISH_OUTCOMES][partition];
    int64_t last = 0;
    for (size_t i = 0; i < l->len; i++) {
        const struct sim_record *r = &l->records[i];
        int64_t n = cs_outcome_number(r->value);
        if (r->foreign || set_aside(s, partition, r->value))
            continue;
        if (n < 1 || n > last + 1) {
            violation(s, "outcomes %d@%zu: number %lld comes after %lld", (int)partition, i, (long long)n,
                      (long long)last);
            return;
        }
        if (n > o->position.outcomes) {
            violation(s, "outcomes %d@%zu: number %lld, for %lld records", (int)partition, i, (long long)n,
                      (long long)o->position.outcomes);
            return;
        }
        if (!same(r->value, o->outcomes[n - 1]) || !same(r->key, text_bytes(o->accounts[n - 1])))
            violation(s, "outcomes %d@%zu: number %lld is not what its record is judged to be",
                      (int)partition, i, (long long)n);
        last = n > last ? n : last;
    }
    if (last != o->position.outcomes)
        violation(s, "partition %d has outcomes up to %lld for %lld records", (int)partition, (long long)last,
                  (long long)o->position.outcomes);
}

static size_t find_derived(const struct sim_oracle *o, const struct cs_event *ev) {
    size_t n = 0;
    while (n < o->derived_len && (o->derived_seq[n] != ev->seq || o->derived_epoch[n] != cs_event_epoch(ev)))
        n++;
    return n;
}

// Each derived event that was decided is in the log, and none that was not; at most one copy takes
// effect.
static void judge_derived(struct sim *s, const struct sim_oracle *all) {
    size_t copies[PARTITIONS][128] = {{0}};
    for (int32_t p = 0; p < PARTITIONS; p++) {
        const struct sim_log *l = &s->logs[CS_PUBLISH_EVENTS][p];
        for (size_t i = 0; i < l->len; i++) {
            const struct cs_event *ev = l->records[i].event->prepared->event;
            if (!ev || strcmp(ev->kid, s->pool->service_kid) != 0)
                continue;
            bool known = false;
            for (int32_t from = 0; from < PARTITIONS; from++) {
                size_t n = find_derived(&all[from], ev);
                // What was decided before a correction stays.
                known |= cs_event_origin(ev) == from && cs_event_epoch(ev) < epoch_of(s, from, INT64_MAX);
                if (n == all[from].derived_len || all[from].derived_to[n] != p ||
                    !same(all[from].derived[n], l->records[i].event->record.value))
                    continue;
                known = true;
                bool effect = !has(all[p].outcomes[i], "\"status\":\"duplicate\"") &&
                              !has(all[p].outcomes[i], "\"status\":\"rejected\"");
                copies[from][n] += effect ? 1000 : 1;
            }
            if (!known)
                violation(s, "events %d@%zu: nobody emitted this", (int)p, i);
        }
    }
    for (int32_t p = 0; p < PARTITIONS; p++)
        for (size_t n = 0; n < all[p].derived_len; n++) {
            if (copies[p][n] == 0)
                violation(s, "derived event %lld of partition %d never appeared",
                          (long long)all[p].derived_seq[n], (int)p);
            if (copies[p][n] >= 2000)
                violation(s, "derived event %lld of partition %d took effect more than once",
                          (long long)all[p].derived_seq[n], (int)p);
        }
}

// Nothing waits for ever.
static void judge_shares(struct sim *s, int32_t partition, const struct sim_oracle *o) {
    const struct cs_member *members = NULL;
    size_t n = 0;
    if (cs_state_list(o->state, cs_key_pending(CS_NEW_KEY), &members, &n) == CS_FOUND && n > 0)
        violation(s, "share %s of partition %d is pending", members[0].name, (int)partition);
}

// What stands before a record that cannot be judged is committed, and nothing behind it.
static void judge_ruleset(struct sim *s) {
    struct cs_generations g;
    struct cs_err err;
    if (!s->admin->ops->generations(s->admin, s->damaged, &g, &err))
        abort();
    if (g.live_position.outcomes != s->damage_n - 1)
        violation(s, "partition %d stands at outcome %lld, and should before the unknown ruleset, at %lld",
                  (int)s->damaged, (long long)g.live_position.outcomes, (long long)s->damage_n - 1);
}

// Nothing is said of a record with its sender's time, nor of what stands behind it.
static void judge_sender_time(struct sim *s) {
    size_t ignored = 0;
    int64_t last = published(s, s->damaged, &ignored);
    if (last >= s->damage_n)
        violation(s,
                  "outcome %lld of partition %d is published, and the record of %lld has its sender's time",
                  (long long)last, (int)s->damaged, (long long)s->damage_n);
}

void judge_rest(struct sim *s) {
    struct sim_oracle all[PARTITIONS];
    for (int32_t p = 0; p < PARTITIONS; p++)
        if (s->damage != FOREIGN || s->damage_n == 0 || s->damaged != p)
            judge_catalog(s, p, CS_VIEW_LIVE);
    if (s->damage == RULESET && s->damage_n)
        judge_ruleset(s);
    if (s->damage == SENDER_TIME && s->damage_n)
        judge_sender_time(s);
    if (s->damage != UNHARMED && s->damage_n)
        return;
    for (int32_t p = 0; p < PARTITIONS; p++) {
        oracle_run(s, &all[p], p, (int64_t)s->logs[CS_PUBLISH_EVENTS][p].len, base_of(s, p));
        judge_outcomes(s, p, &all[p]);
        judge_shares(s, p, &all[p]);
    }
    judge_derived(s, all);
    for (int32_t p = 0; p < PARTITIONS; p++)
        oracle_free(&all[p]);
}
