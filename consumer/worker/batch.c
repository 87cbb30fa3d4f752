// SPDX-License-Identifier: Apache-2.0
#include "worker/batch.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/record.h"

#define TAKE_AT_ONCE   64
#define PREPARE_FOR_US 2000

int64_t cs_worker_now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void empty(struct cs_batch *b) {
    for (size_t i = 0; i < b->len; i++) {
        cs_prepared_free(b->records[i].prepared);
        rd_kafka_message_destroy(b->messages[i]);
    }
    cs_region_reset(&b->memory);
    b->len = b->prepared = b->bytes = b->at = 0;
    b->prepare_us = 0;
    b->partition = NULL;
}

static void batch_free(struct cs_batch *b) {
    if (!b)
        return;
    if (b->records && b->messages)
        empty(b);
    cs_region_free(&b->memory);
    free(b->records);
    free(b->messages);
    free(b);
}

static struct cs_batch *batch_new(struct cs_batches *bs) {
    struct cs_batch *b = bs->spare;
    bs->spare = NULL;
    if (b)
        return b;
    size_t cap = (size_t)bs->x->c->settings->batch_records;
    b = calloc(1, sizeof *b);
    if (b) {
        b->records = calloc(cap, sizeof *b->records);
        b->messages = calloc(cap, sizeof(rd_kafka_message_t *));
    }
    if (!b || !b->records || !b->messages) {
        batch_free(b);
        return NULL;
    }
    return b;
}

void cs_batches_clear(struct cs_batches *b) {
    struct cs_batch *all[] = {b->filling, b->ready, b->rest, b->spare};
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++)
        batch_free(all[i]);
    *b = (struct cs_batches){.x = b->x};
}

void cs_batches_recycle(struct cs_batches *b, struct cs_batch *done) {
    empty(done);
    if (b->spare)
        batch_free(done);
    else
        b->spare = done;
}

void cs_batches_keep_rest(struct cs_batches *b, struct cs_batch *rest) {
    b->rest = rest;
}

// First a batch that was left over, then the fullest.
struct cs_batch *cs_batches_take(struct cs_batches *b) {
    struct cs_batch **from = b->rest ? &b->rest : b->ready ? &b->ready : &b->filling;
    struct cs_batch *next = *from;
    if (!next || next->len == 0 || next->prepared < next->len)
        return NULL;
    *from = NULL;
    return next;
}

void cs_batches_drop(struct cs_batches *b, const struct cs_partition *p) {
    struct cs_batch **all[] = {&b->filling, &b->rest, &b->ready};
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++) {
        if (!*all[i] || (*all[i])->partition != p)
            continue;
        cs_batches_recycle(b, *all[i]);
        *all[i] = NULL;
    }
    if (b->next_turn == p)
        b->next_turn = NULL;
}

int64_t cs_batches_first_ms(const struct cs_batches *b, const struct cs_partition *p) {
    const struct cs_batch *all[] = {b->rest, b->ready, b->filling};
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++) {
        int64_t ms = all[i] && all[i]->partition == p && all[i]->len > 0
                         ? rd_kafka_message_timestamp(all[i]->messages[all[i]->at], NULL)
                         : 0;
        if (ms)
            return ms;
    }
    return 0;
}

// A message that is not a record: the end, or an error.
static bool stream_event(const struct cs_worker_context *x, struct cs_partition *p,
                         const rd_kafka_message_t *m, struct cs_err *err) {
    const char *topic = x->c->settings->events_topic;
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        p->eof_at = m->offset;
        if (cs_partition_reached_end(x, p))
            cs_partition_heard(x, p, p->stand.position.next_offset);
        else
            cs_board_progress(x->c->board, p->stand.id, -1, m->offset, -1, cs_worker_now_ms(x));
        return true;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        // The start of the partition finds out why: records were deleted, or the topic was made
        // anew.
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "topic %s no longer holds offset %lld; looking at it again", topic,
                          (long long)p->next_fetch);
    default:
        return cs_kafka_err(err, m->err, "reading %s partition %d", topic, (int)p->stand.id);
    }
}

static bool check_last(const struct cs_worker_context *x, struct cs_partition *p, rd_kafka_message_t *m,
                       struct cs_err *err) {
    struct cs_message_headers headers;
    struct cs_record r;
    rd_kafka_timestamp_type_t type;
    uint8_t sha256[32];
    bool ok = cs_record_of_message(m, &headers, &r, &type);
    if (ok)
        cs_record_sha256(x->crypto, &r, sha256);
    cs_message_headers_clear(&headers);
    if (!ok)
        return cs_err_oom(err);
    if (m->offset == p->stand.position.next_offset - 1 &&
        memcmp(sha256, p->stand.position.record_sha256, 32) == 0)
        return true;
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "the record at offset %lld is not the one that the catalog was made from (asked for "
                      "%lld): the topic was "
                      "made anew, or the catalog belongs to another one",
                      (long long)m->offset, (long long)p->stand.position.next_offset - 1);
}

// Takes the message. False: the partition cannot continue with it.
static bool add_message(const struct cs_worker_context *x, struct cs_batch *b, rd_kafka_message_t *m,
                        struct cs_err *err) {
    struct cs_partition *p = b->partition;
    rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    int64_t timestamp_ms = rd_kafka_message_timestamp(m, &type);
    bool checked = p->check_last;
    bool ok = !checked || check_last(x, p, m, err);
    if (ok)
        cs_partition_heard(x, p, INT64_MAX);
    if (!ok || checked) {
        p->check_last = false;
        rd_kafka_message_destroy(m);
        return ok;
    }
    cs_partition_saw(x, p, timestamp_ms);
    b->messages[b->len] = m;
    b->records[b->len].prepared = NULL;
    b->records[b->len].sender_time =
        type != RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME && !x->c->settings->allow_create_time;
    b->bytes += m->len + m->key_len;
    b->len++;
    return true;
}

static bool full(const struct cs_worker_context *x, const struct cs_batch *b) {
    return b->len >= (size_t)x->c->settings->batch_records || b->bytes >= (size_t)x->c->settings->batch_bytes;
}

// Takes more messages from the queue. False: there are none now.
static bool refill(struct cs_partition *p) {
    if (!p->taken) {
        p->taken = calloc(TAKE_AT_ONCE, sizeof(rd_kafka_message_t *));
        if (!p->taken)
            return false;
    }
    ssize_t n = rd_kafka_consume_batch_queue(p->queue, 0, p->taken, TAKE_AT_ONCE);
    p->taken_next = 0;
    p->taken_len = n > 0 ? (size_t)n : 0;
    cs_kafka_intake_took(&p->intake, p->taken, p->taken_len, TAKE_AT_ONCE);
    return p->taken_len > 0;
}

// An assignment takes effect after the call returned. Then it fetches again what p->taken may still
// hold. A record from before it, or one that comes twice, must not be judged. The first record
// after a start is exactly the one that was asked for.
static bool is_left_over(struct cs_partition *p, const rd_kafka_message_t *m) {
    if (m->offset < p->next_fetch || (p->rewound && m->offset != p->next_fetch))
        return true;
    p->rewound = false;
    return false;
}

// Takes the records of b's partition that are there, up to the limits. *ret_some: some came.
static bool fill(const struct cs_worker_context *x, struct cs_batch *b, bool *ret_some, struct cs_err *err) {
    struct cs_partition *p = b->partition;
    size_t most = b->len + TAKE_AT_ONCE;
    bool ok = true;
    while (ok && b->len < most && !full(x, b)) {
        if (p->taken_next == p->taken_len && !refill(p))
            break;
        rd_kafka_message_t *m = p->taken[p->taken_next++];
        *ret_some = true;
        if (m->err || is_left_over(p, m)) {
            ok = !m->err || stream_event(x, p, m, err);
            rd_kafka_message_destroy(m);
            continue;
        }
        p->next_fetch = m->offset + 1;
        ok = add_message(x, b, m, err);
    }
    return ok;
}

// A new batch for the next partition in turn that has records.
static bool begin_batch(struct cs_batches *b, struct cs_partition *partitions) {
    struct cs_partition *first = b->next_turn ? b->next_turn : partitions;
    struct cs_partition *p = first;
    if (!p)
        return false;
    do {
        struct cs_partition *after = p->next ? p->next : partitions;
        if (p->state == CS_PARTITION_RUNNING && (p->taken_next < p->taken_len || refill(p))) {
            b->filling = batch_new(b);
            if (!b->filling)
                return false;
            b->filling->partition = p;
            b->next_turn = after;
            return true;
        }
        p = after;
    } while (p != first);
    return false;
}

// Prepares the record of a message. After that its headers are not needed.
static bool prepare_one(const struct cs_worker_context *x, struct cs_batch *b, size_t i, struct cs_err *err) {
    struct cs_batch_record *r = &b->records[i];
    struct cs_message_headers headers;
    rd_kafka_timestamp_type_t type;
    bool ok = cs_record_of_message(b->messages[i], &headers, &r->record, &type)
                  ? cs_prepare(x->crypto, x->c->log_id, x->c->partition_count, cs_key_cache_ruleset(x->keys),
                               &r->record, cs_key_cache_lookup, x->keys, &b->memory, &r->prepared, err)
                  : cs_err_oom(err);
    if (ok)
        cs_key_cache_learn_from(x->keys, r->prepared);
    cs_message_headers_clear(&headers);
    r->record.headers = NULL;
    r->record.headers_len = 0;
    return ok;
}

// Prepares records for a limited time.
static bool prepare(const struct cs_worker_context *x, struct cs_batch *b, struct cs_err *err) {
    int64_t start_us = cs_worker_now_us();
    int64_t now_us = start_us;
    while (b->prepared < b->len && now_us - start_us < PREPARE_FOR_US) {
        if (!prepare_one(x, b, b->prepared, err))
            return false;
        b->prepared++;
        now_us = cs_worker_now_us();
    }
    b->prepare_us += now_us - start_us;
    return true;
}

// Takes no more records of this partition. While it waits for a flight, another partition's records
// can be prepared.
static bool set_aside(struct cs_batches *bs, struct cs_partition *partitions) {
    struct cs_batch *b = bs->filling;
    bs->filling = NULL;
    if (full(bs->x, b) || begin_batch(bs, partitions)) {
        bs->ready = b;
        return true;
    }
    bs->filling = b;
    return false;
}

bool cs_batches_work(struct cs_batches *bs, struct cs_partition *partitions, bool flying, bool *ret_some,
                     struct cs_partition **ret_failed, struct cs_err *err) {
    *ret_some = false;
    if (!bs->filling && !begin_batch(bs, partitions))
        return true;
    struct cs_batch *b = bs->filling;
    bool ok = b->prepared < b->len || full(bs->x, b) || fill(bs->x, b, ret_some, err);
    if (ok && b->prepared < b->len) {
        *ret_some = true;
        ok = prepare(bs->x, b, err);
    }
    if (!ok) {
        *ret_failed = b->partition;
        return false;
    }
    if (b->prepared < b->len)
        return true;
    if (b->len > 0 && !bs->ready && (flying || full(bs->x, b)) && (full(bs->x, b) || !*ret_some) &&
        set_aside(bs, partitions)) {
        *ret_some = true;
    } else if (b->len == 0 && !*ret_some) { // only marks came
        bs->filling = NULL;
        cs_batches_recycle(bs, b);
    }
    return true;
}
