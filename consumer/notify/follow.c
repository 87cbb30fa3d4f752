// SPDX-License-Identifier: Apache-2.0
//
// A courier's places in cert.outcomes, and what follows from the records there.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "certsync/base/grow.h"
#include "certsync/runtime/log.h"
#include "notify/courier_internal.h"

#define ASK_MS        10000
#define RECORDS       1000 // read before the place is noted
#define SAVE_MS       5000 // a place that moved without a notice is noted so often
#define ENTRIES       200
#define BATCH_MAX     ((size_t)64 << 20)
#define FOLLOW_CLIENT "certsync-consumer-notify"

// --- where to begin

// Nobody remembers the section: it begins now. What the catalog has is a place in the chain.
static bool first_place(struct cs_courier *c, int32_t p, int64_t high, struct cs_note_place *ret,
                        struct cs_err *err) {
    CS_AUTO(cs_catalog_free) struct cs_catalog *catalog = NULL;
    CS_AUTO(cs_state_free) struct cs_state *state = NULL;
    struct cs_position at;
    if (!cs_catalog_redis_new(c->o.redis, c->o.settings->redis_namespace, c->o.service->own, c->o.log_id,
                              &catalog, err) ||
        !cs_state_new(false, &state, err) || !cs_catalog_load(catalog, p, state, &at, err))
        return false;
    *ret = (struct cs_note_place){.offset = at.outcomes < high ? at.outcomes : high,
                                  .n = at.outcomes,
                                  .since_ms = courier_wall_ms(c),
                                  .broken_at = -1};
    memcpy(ret->sha256, at.chain_sha256, sizeof ret->sha256);
    cs_log(CS_LOG_INFO, "notices begin here; what was before is not told",
           "notice=%s partition=%d offset=%" PRId64, c->section->name, (int)p, ret->offset);
    return true;
}

static bool begin_partition(struct cs_courier *c, int32_t p, const struct cs_note_place *told, bool was_told,
                            struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    bool found = false;
    int64_t low = 0, high = 0;
    *t = (struct courier_partition){.saved_ms = courier_mono_ms(c)};
    if (!cs_note_read(c->store, p, &t->at, &found, &t->waiting, err) ||
        !c->topic->ops->bounds(c->topic, p, ASK_MS, &low, &high, err))
        return false;
    // What Kafka was told of is delivered. Redis is behind it only where it lost something.
    if (was_told && (!found || told->offset > t->at.offset)) {
        cs_log(CS_LOG_WARN,
               "Redis has lost where notices are: they go on from where Kafka knows that they are delivered",
               "notice=%s partition=%d offset=%" PRId64, c->section->name, (int)p, told->offset);
        t->at = *told;
    } else if (!found && !first_place(c, p, high, &t->at, err)) {
        return false;
    }
    if (t->at.offset > high)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "%s partition %d ends at offset %" PRId64 ", but its notices stand at %" PRId64
                          ": it was truncated or made anew; restore it",
                          c->topic->name, (int)p, high, t->at.offset);
    const struct cs_epochs epochs = cs_corrections_now(c->corrections);
    cs_chain_begin(&t->chain, c->marks, &epochs, p, t->at.n, t->at.sha256, 0);
    t->marked = was_told ? told->offset : -1;
    t->saved_offset = t->at.offset;
    return cs_note_begin(c->store, p, &t->at, err) &&
           c->topic->ops->open(c->topic, p, t->at.offset, INT64_MAX, &t->stream, err);
}

static bool read_corrections(struct cs_courier *c, struct cs_err *err) {
    const struct cs_consumer_settings *s = c->o.settings;
    const struct cs_topic_options options = {&s->kafka, FOLLOW_CLIENT, s->corrections_topic, -1, true};
    CS_AUTO(cs_topic_free) struct cs_topic *topic = NULL;
    return cs_topic_kafka_new(&options, &topic, err) &&
           cs_corrections_read(c->corrections, topic, ASK_MS, err);
}

static bool open_topic(struct cs_courier *c, struct cs_err *err) {
    const struct cs_consumer_settings *s = c->o.settings;
    const struct cs_topic_options options = {&s->kafka, FOLLOW_CLIENT, s->outcomes_topic, -1, true};
    c->tls = atomic_load(c->o.kafka_tls);
    return read_corrections(c, err) && cs_topic_kafka_new(&options, &c->topic, err) &&
           cs_note_mark_new(s, c->section->name, c->o.partition_count, &c->mark, err);
}

bool courier_begin(struct cs_courier *c, struct cs_err *err) {
    size_t n = (size_t)c->o.partition_count;
    courier_end(c);
    if (!open_topic(c, err))
        return false;
    struct cs_note_place *told = calloc(n, sizeof *told);
    bool *was_told = calloc(n, sizeof *was_told);
    bool ok = (told && was_told) || cs_err_oom(err);
    ok = ok && cs_note_mark_read(c->mark, told, was_told, err);
    for (int32_t p = 0; ok && p < c->o.partition_count && !atomic_load(&c->stopping); p++)
        ok = begin_partition(c, p, &told[p], was_told[p], err);
    free(told);
    free(was_told);
    c->begun = ok && !atomic_load(&c->stopping);
    return ok;
}

void courier_end(struct cs_courier *c) {
    for (int32_t p = 0; p < c->o.partition_count; p++) {
        if (c->partitions[p].stream)
            c->topic->ops->close(c->partitions[p].stream);
        c->partitions[p].stream = NULL;
    }
    cs_topic_free(c->topic);
    cs_note_mark_free(c->mark);
    c->topic = NULL;
    c->mark = NULL;
    c->begun = false;
}

// --- notices of records

static bool add_entry(struct courier_batch *b, const struct cs_note_entry *e) {
    if (!CS_GROW(&b->entries, &b->cap, b->len + 1))
        return false;
    b->entries[b->len++] = *e;
    return true;
}

static void add_one(struct cs_courier *c, const struct cs_notice *n, const char *contact, size_t number,
                    int64_t told_until_ms) {
    struct courier_batch *b = &c->batch;
    int64_t now_ms = courier_wall_ms(c);
    struct cs_note_entry e = {.made_ms = now_ms, .due_ms = now_ms, .told_until_ms = told_until_ms};
    memcpy(e.id, n->id, sizeof e.id);
    memcpy(e.account, n->account, sizeof e.account);
    snprintf(e.entry, sizeof e.entry, "%s", n->id);
    if (contact) {
        snprintf(e.entry, sizeof e.entry, "%s.%zu", n->id, number);
        snprintf(e.contact, sizeof e.contact, "%s", contact);
        e.due_ms += c->section->digest_ms;
    }
    e.text.len = strlen(n->text);
    cs_buf_put(&b->bytes, n->text, e.text.len);
    size_t before = b->bytes.len;
    cs_notice_encode(&b->bytes, c->o.log_id, n);
    e.event.len = b->bytes.len - before;
    b->failed |= b->bytes.failed || !add_entry(b, &e);
}

// Their texts move while more are added: .data is set by place_texts.
void courier_batch_add(struct cs_courier *c, const struct cs_notice *n, int64_t told_until_ms) {
    char contact[CS_NOTICE_ADDRESS_MAX + 1];
    if (!cs_settings_notice_is_mail(c->section))
        add_one(c, n, NULL, 0, told_until_ms);
    for (size_t i = 0; cs_settings_notice_address(c->section, i, n->account, contact); i++)
        add_one(c, n, contact, i, told_until_ms);
    cs_series_inc(c->board.made[n->kind]);
}

struct taking {
    struct cs_courier *c;
    bool counts;
};

static void on_notice(void *arg, const struct cs_notice *n) {
    struct taking *t = arg;
    if (t->counts && cs_notice_is_wanted(t->c->section, n))
        courier_batch_add(t->c, n, 0);
}

static void place_texts(struct courier_batch *b) {
    const uint8_t *at = b->bytes.data;
    for (size_t i = 0; i < b->len; i++) {
        struct cs_note_entry *e = &b->entries[i];
        e->text.data = at;
        e->event.data = at + e->text.len;
        at += e->text.len + e->event.len;
    }
}

static void is_broken(struct cs_courier *c, int32_t p, const struct cs_record *r, const struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    struct taking all = {c, true};
    struct cs_notice n;
    t->broken = true;
    if (t->at.broken_at == r->offset)
        return; // told before
    t->at.broken_at = r->offset;
    cs_log_err(CS_LOG_ERROR, "outcomes do not follow each other: no notices of this partition any more", err,
               "notice=%s partition=%d", c->section->name, (int)p);
    cs_notice_of_broken(c->crypto, c->o.log_id, p, r->offset, courier_wall_ms(c), err->msg, &n);
    on_notice(&all, &n);
}

// An outcome that was told already, again. Where a correction had it judged anew, what follows names this one.
static void take_again(struct cs_courier *c, struct courier_partition *t, const struct cs_record *r,
                       int64_t n) {
    if (n != t->chain.last || cs_outcome_epoch(r->value) == 0)
        return;
    cs_crypto_sha256(c->crypto, r->value, t->chain.sha256);
    memcpy(t->at.sha256, t->chain.sha256, sizeof t->at.sha256);
}

static bool take_next(struct cs_courier *c, int32_t p, const struct cs_record *r, struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    if (!cs_outcome_decode(r->value, &o, err))
        return cs_err_prepend(err, "%s partition %d offset %" PRId64 " (made by a newer release?)",
                              c->topic->name, (int)p, r->offset);
    cs_notices_of_outcome(c->crypto, &o, on_notice, &(struct taking){c, o.time_ms >= t->at.since_ms});
    t->at.n = t->chain.last;
    memcpy(t->at.sha256, t->chain.sha256, sizeof t->at.sha256);
    return true;
}

static bool take(struct cs_courier *c, int32_t p, const struct cs_record *r, struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    int64_t n = 0;
    struct cs_err why;
    enum cs_chain_link link = cs_chain_take(&t->chain, c->crypto, r, &n);
    switch (link) {
    case CS_CHAIN_NEWER: // the corrections are read when it begins again
        return cs_chain_broken(&t->chain, link, c->topic->name, r, n, err);
    case CS_CHAIN_BROKEN:
        cs_chain_broken(&t->chain, link, c->topic->name, r, n, &why);
        is_broken(c, p, r, &why);
        return true;
    case CS_CHAIN_COPY:
        take_again(c, t, r, n);
        break;
    case CS_CHAIN_SUPERSEDED:
    case CS_CHAIN_FOREIGN:
        break;
    case CS_CHAIN_NEXT:
        if (!take_next(c, p, r, err))
            return false;
        break;
    }
    t->at.offset = r->offset + 1;
    return !c->batch.failed || cs_err_oom(err);
}

void courier_batch_begin(struct cs_courier *c) {
    c->batch.len = 0;
    c->batch.failed = false;
    cs_buf_reset(&c->batch.bytes);
}

bool courier_batch_end(struct cs_courier *c, int32_t p, struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    struct courier_batch *b = &c->batch;
    bool lost = false;
    if (b->failed)
        return cs_err_oom(err);
    place_texts(b);
    if (!cs_note_add(c->store, p, &t->at, b->entries, b->len, &t->waiting, &lost, err))
        return false;
    if (lost) {
        courier_lost(c);
        return true;
    }
    t->saved_offset = t->at.offset;
    t->saved_ms = courier_mono_ms(c);
    if (b->len > 0)
        t->next_due_ms = 0;
    return true;
}

static bool read_some(struct cs_courier *c, int32_t p, struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    for (int i = 0; i < RECORDS && c->batch.len < ENTRIES && !t->broken; i++) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record r;
        if (!t->stream->topic->ops->next(t->stream, 0, &step, &r, err))
            return false;
        if (step != CS_TOPIC_RECORD)
            break;
        if (!take(c, p, &r, err))
            return false;
    }
    return true;
}

static bool follow_partition(struct cs_courier *c, int32_t p, struct cs_err *err) {
    struct courier_partition *t = &c->partitions[p];
    if (t->broken || t->waiting >= c->o.settings->notify_queue_max)
        return true; // the log keeps the rest
    courier_batch_begin(c);
    if (!read_some(c, p, err))
        return false;
    int64_t moved = t->at.offset - t->saved_offset;
    bool late = moved > 0 && courier_mono_ms(c) - t->saved_ms >= SAVE_MS;
    if (c->batch.len == 0 && moved < RECORDS && !late)
        return true;
    return courier_batch_end(c, p, err);
}

bool courier_follow(struct cs_courier *c, struct cs_err *err) {
    for (int32_t p = 0; p < c->o.partition_count && c->begun && !atomic_load(&c->stopping); p++) {
        cs_liveness_beat(&c->liveness, ASK_MS);
        if (!follow_partition(c, p, err))
            return false;
    }
    return true;
}

bool courier_tell_kafka(struct cs_courier *c, struct cs_err *err) {
    for (int32_t p = 0; p < c->o.partition_count && c->begun; p++) {
        struct courier_partition *t = &c->partitions[p];
        if (t->waiting > 0 || t->at.offset <= t->marked)
            continue;
        if (!cs_note_mark_write(c->mark, p, &t->at, err))
            return false;
        t->marked = t->at.offset;
    }
    return true;
}
