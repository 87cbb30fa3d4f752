// SPDX-License-Identifier: Apache-2.0
//
// Records from a partition's queue become prepared batches, a few at a time, while another batch is in
// flight. The batch that is being filled stays open until the flight is over or it is full: many small
// batches cost more than one.
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/log.h"
#include "worker_internal.h"

#define TAKE_AT_ONCE   64
#define PREPARE_FOR_US 2000

static struct cs_batch *batch_new(struct cs_worker *w) {
    struct cs_batch *b = w->spare;
    w->spare = NULL;
    if (b)
        return b;
    size_t cap = (size_t)w->c->settings->batch_records;
    b = calloc(1, sizeof *b);
    if (b) {
        b->records = calloc(cap, sizeof *b->records);
        b->messages = calloc(cap, sizeof(rd_kafka_message_t *));
    }
    if (!b || !b->records || !b->messages) {
        cs_batch_free(b);
        return NULL;
    }
    return b;
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

void cs_batch_free(struct cs_batch *b) {
    if (!b)
        return;
    if (b->records && b->messages)
        empty(b);
    cs_region_free(&b->memory);
    free(b->records);
    free(b->messages);
    free(b);
}

void cs_batch_recycle(struct cs_worker *w, struct cs_batch *b) {
    if (!b)
        return;
    empty(b);
    if (w->spare)
        cs_batch_free(b);
    else
        w->spare = b;
}

void cs_partition_drop_stash(struct cs_partition *p) {
    for (; p->stash_at < p->stash_len; p->stash_at++)
        rd_kafka_message_destroy(p->stash[p->stash_at]);
    p->stash_at = p->stash_len = 0;
}

void cs_batch_drop_of(struct cs_worker *w, struct cs_partition *p) {
    if (w->filling && w->filling->partition == p) {
        cs_batch_recycle(w, w->filling);
        w->filling = NULL;
    }
    if (w->rest && w->rest->partition == p) {
        cs_batch_recycle(w, w->rest);
        w->rest = NULL;
    }
    if (w->ready && w->ready->partition == p) {
        cs_batch_recycle(w, w->ready);
        w->ready = NULL;
    }
    cs_partition_drop_stash(p);
}

// A record of the stream that is none: the end, or an error.
static void stream_event(struct cs_worker *w, struct cs_partition *p, const rd_kafka_message_t *m) {
    struct cs_err err;
    switch (m->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        p->eof_at = m->offset;
        if (cs_partition_reached_end(w, p))
            cs_partition_heard(w, p, p->position.next_offset);
        else
            cs_board_progress(w->c->board, p->id, -1, m->offset, -1, cs_worker_now_ms(w));
        return;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        // Why it is gone is found out at the start: whether records were deleted, or the topic was made anew.
        cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE,
                   "topic %s no longer holds offset %lld; looking at it again", w->c->settings->events_topic,
                   (long long)p->next_fetch);
        break;
    default:
        cs_kafka_err(&err, m->err, "reading %s partition %d", w->c->settings->events_topic, (int)p->id);
    }
    cs_partition_failed(w, p, &err);
}

static bool check_last(struct cs_worker *w, struct cs_partition *p, rd_kafka_message_t *m,
                       struct cs_err *err) {
    struct cs_message_headers headers;
    struct cs_record r;
    rd_kafka_timestamp_type_t type;
    uint8_t sha256[32];
    bool ok = cs_record_of_message(m, &headers, &r, &type);
    if (ok)
        cs_record_sha256(w->crypto, &r, sha256);
    cs_message_headers_clear(&headers);
    if (!ok)
        return cs_err_oom(err);
    if (m->offset == p->position.next_offset - 1 && memcmp(sha256, p->position.record_sha256, 32) == 0)
        return true;
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "the record at offset %lld is not the one that the catalog was made from (asked for "
                      "%lld): the topic was "
                      "made anew, or the catalog belongs to another one",
                      (long long)m->offset, (long long)p->position.next_offset - 1);
}

// Takes the message over. False: the partition cannot go on with it.
static bool add_message(struct cs_worker *w, struct cs_batch *b, rd_kafka_message_t *m, struct cs_err *err) {
    struct cs_partition *p = b->partition;
    rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    int64_t timestamp_ms = rd_kafka_message_timestamp(m, &type);
    bool ok = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME || w->c->settings->allow_create_time ||
              cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, // what is written stays so
                         "the record at offset %lld carries its sender's time, not the broker's: set "
                         "message.timestamp.type=LogAppendTime on topic %s",
                         (long long)m->offset, w->c->settings->events_topic);
    bool checked = p->check_last;
    if (ok && checked)
        ok = check_last(w, p, m, err);
    if (ok)
        cs_partition_heard(w, p, INT64_MAX);
    if (!ok || checked) {
        p->check_last = false;
        rd_kafka_message_destroy(m);
        return ok;
    }
    cs_partition_saw(w, p, timestamp_ms);
    b->messages[b->len] = m;
    b->records[b->len].prepared = NULL;
    b->bytes += m->len + m->key_len;
    b->len++;
    return true;
}

static bool full(const struct cs_worker *w, const struct cs_batch *b) {
    return b->len >= (size_t)w->c->settings->batch_records || b->bytes >= (size_t)w->c->settings->batch_bytes;
}

// More messages into the stash. False: there are none now.
static bool refill(struct cs_partition *p) {
    if (!p->stash) {
        p->stash = calloc(TAKE_AT_ONCE, sizeof(rd_kafka_message_t *));
        if (!p->stash)
            return false;
    }
    ssize_t n = rd_kafka_consume_batch_queue(p->queue, 0, p->stash, TAKE_AT_ONCE);
    p->stash_at = 0;
    p->stash_len = n > 0 ? (size_t)n : 0;
    cs_kafka_intake_took(&p->intake, p->stash, p->stash_len, TAKE_AT_ONCE);
    return p->stash_len > 0;
}

// Assigning takes effect later than it returns, and fetches again what the stash may still hold: what was fetched
// before, or comes a second time, is not to be judged. The first record after a start is exactly the one asked for.
static bool is_left_over(struct cs_partition *p, const rd_kafka_message_t *m) {
    if (m->offset < p->next_fetch || (p->rewound && m->offset != p->next_fetch))
        return true;
    p->rewound = false;
    return false;
}

// Records of b's partition that are there, up to the limits. True where some came.
static bool fill(struct cs_worker *w, struct cs_batch *b) {
    struct cs_partition *p = b->partition;
    bool some = false;
    size_t most = b->len + TAKE_AT_ONCE;
    while (b->len < most && !full(w, b) && p->state == CS_PARTITION_RUNNING) {
        if (p->stash_at == p->stash_len && !refill(p))
            break;
        rd_kafka_message_t *m = p->stash[p->stash_at++];
        struct cs_err err;
        some = true;
        if (m->err) {
            stream_event(w, p, m); // which may drop b
            rd_kafka_message_destroy(m);
            if (w->filling != b)
                return true;
            continue;
        }
        if (is_left_over(p, m)) {
            rd_kafka_message_destroy(m);
            continue;
        }
        p->next_fetch = m->offset + 1;
        if (!add_message(w, b, m, &err)) {
            cs_partition_failed(w, p, &err);
            return true;
        }
    }
    return some;
}

// A new batch, of the next partition in turn that has records.
static bool begin_batch(struct cs_worker *w) {
    struct cs_partition *first = w->next_turn ? w->next_turn : w->partitions;
    struct cs_partition *p = first;
    if (!p)
        return false;
    do {
        struct cs_partition *after = p->next ? p->next : w->partitions;
        if (p->state == CS_PARTITION_RUNNING && (p->stash_at < p->stash_len || refill(p))) {
            w->filling = batch_new(w);
            if (!w->filling)
                return false;
            w->filling->partition = p;
            w->next_turn = after;
            return true;
        }
        p = after;
    } while (p != first);
    return false;
}

// The record of a message, prepared. Of its headers nothing is needed any more then.
static bool prepare_one(struct cs_worker *w, struct cs_batch *b, size_t i, struct cs_err *err) {
    struct cs_batch_record *r = &b->records[i];
    struct cs_message_headers headers;
    rd_kafka_timestamp_type_t type;
    bool ok = cs_record_of_message(b->messages[i], &headers, &r->record, &type)
                  ? cs_prepare(w->crypto, w->c->settings->deployment, w->c->partition_count, &r->record,
                               cs_key_cache_lookup, w->keys, &b->memory, &r->prepared, err)
                  : cs_err_oom(err);
    if (ok)
        cs_key_cache_learn_from(w->keys, r->prepared);
    cs_message_headers_clear(&headers);
    r->record.headers = NULL;
    r->record.headers_len = 0;
    return ok;
}

// Prepares what is there for a while. True where it did.
static bool prepare(struct cs_worker *w, struct cs_batch *b) {
    int64_t start_us = cs_worker_now_us();
    int64_t now_us = start_us;
    struct cs_err err;
    bool some = false;
    while (b->prepared < b->len && now_us - start_us < PREPARE_FOR_US) {
        if (!prepare_one(w, b, b->prepared, &err)) {
            cs_partition_failed(w, b->partition, &err);
            return true;
        }
        b->prepared++;
        some = true;
        now_us = cs_worker_now_us();
    }
    b->prepare_us += now_us - start_us;
    return some;
}

bool cs_batch_work(struct cs_worker *w) {
    if (!w->filling && !begin_batch(w))
        return false;
    struct cs_batch *b = w->filling;
    bool some = b->prepared == b->len && !full(w, b) && fill(w, b);
    if (w->filling == b && b->prepared < b->len)
        some = prepare(w, b) || some;
    if (w->filling != b)
        return true;
    if (b->prepared < b->len)
        return true;
    // Nothing more of this partition now: where it waits for a flight, another partition's records may be
    // prepared meanwhile.
    if (b->len > 0 && !w->ready && (w->flight || full(w, b)) && (full(w, b) || !some)) {
        struct cs_batch *kept = b;
        w->filling = NULL;
        if (full(w, kept) || begin_batch(w)) {
            w->ready = kept;
            return true;
        }
        w->filling = kept;
    }
    if (b->len == 0 && !some) { // what came were only marks
        w->filling = NULL;
        cs_batch_recycle(w, b);
    }
    return some;
}
