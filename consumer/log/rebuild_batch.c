// SPDX-License-Identifier: Apache-2.0
#include "log/rebuild_batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool cs_rebuild_batch_init(struct cs_rebuild_batch *b, size_t cap, struct cs_err *err) {
    *b = (struct cs_rebuild_batch){.cap = cap};
    b->records = calloc(cap, sizeof *b->records);
    b->owned = calloc(cap, sizeof *b->owned);
    b->published = calloc(cap, sizeof *b->published);
    return (b->records && b->owned && b->published) || cs_err_oom(err);
}

void cs_rebuild_batch_empty(struct cs_rebuild_batch *b) {
    for (size_t i = 0; i < b->len; i++) {
        cs_prepared_free(b->records[i].prepared);
        free(b->owned[i]);
    }
    cs_region_reset(&b->memory);
    b->len = b->bytes = b->at = 0;
}

void cs_rebuild_batch_clear(struct cs_rebuild_batch *b) {
    cs_rebuild_batch_empty(b);
    free(b->records);
    free(b->owned);
    free(b->published);
    cs_region_free(&b->memory);
    *b = (struct cs_rebuild_batch){0};
}

// --- records of their own

static size_t size_of(const struct cs_record *r) {
    size_t n = r->headers_len * sizeof(struct cs_header) + r->key.len + r->value.len;
    for (size_t i = 0; i < r->headers_len; i++)
        n += strlen(r->headers[i].name) + 1 + r->headers[i].value.len;
    return n;
}

static struct cs_bytes move_bytes(uint8_t **at, struct cs_bytes from) {
    if (!from.data)
        return from;
    uint8_t *to = *at;
    if (from.len > 0)
        memcpy(to, from.data, from.len);
    *at += from.len;
    return (struct cs_bytes){to, from.len};
}

// Copies the record, and all that it and its outcome point to, into one block. NULL: out of memory.
static void *copy_record(const struct cs_record *from, const struct cs_record *outcome, struct cs_record *ret,
                         struct cs_published_outcome *ret_outcome) {
    struct cs_header *headers = malloc(size_of(from) + outcome->key.len + outcome->value.len + 1);
    if (!headers)
        return NULL;
    uint8_t *at = (uint8_t *)(headers + from->headers_len);
    *ret = *from;
    ret->headers = headers;
    for (size_t i = 0; i < from->headers_len; i++) {
        const char *name = from->headers[i].name;
        headers[i].name =
            (const char *)move_bytes(&at, (struct cs_bytes){(const uint8_t *)name, strlen(name) + 1}).data;
        headers[i].value = move_bytes(&at, from->headers[i].value);
    }
    ret->key = move_bytes(&at, from->key);
    ret->value = move_bytes(&at, from->value);
    *ret_outcome = (struct cs_published_outcome){outcome->offset, move_bytes(&at, outcome->key),
                                                 move_bytes(&at, outcome->value)};
    return headers;
}

// --- reading

// The next outcome that counts.
static bool next_outcome(struct cs_rebuild_reader *r, struct cs_record *ret, struct cs_err *err) {
    while (!r->end) {
        int64_t n = 0;
        if (!r->outcomes->ops->next(r->outcomes, ret, &r->end, err))
            return false;
        if (r->end)
            return !cs_chain_is_unmarked(&r->chain, r->outcomes->name, err);
        enum cs_chain_link link = cs_chain_take(&r->chain, r->crypto, ret, &n);
        if (link == CS_CHAIN_NEXT)
            return true;
        if (link == CS_CHAIN_BROKEN || link == CS_CHAIN_NEWER) {
            r->end = r->broken = true;
            (void)cs_chain_broken(&r->chain, link, r->outcomes->name, ret, n, &r->why);
        }
    }
    return true;
}

static bool made_from_another(const struct cs_rebuild_reader *r, const char *topic, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_FATAL, CS_CODE_NONE,
        "what was rebuilt of partition %d was not made from %s as it is now: the topic was made anew "
        "or truncated; begin again with --afresh",
        (int)r->partition, topic);
}

// Checks the record before the position, and the outcome of that record.
static bool check_position(struct cs_rebuild_reader *r, const struct cs_position *from, struct cs_err *err) {
    struct cs_record record;
    uint8_t sha256[32];
    bool end = false;
    if (!r->events->ops->next(r->events, &record, &end, err))
        return false;
    if (!end)
        cs_record_sha256(r->crypto, &record, sha256);
    if (end || record.offset != from->next_offset - 1 || memcmp(sha256, from->record_sha256, 32) != 0)
        return made_from_another(r, r->events->name, err);
    while (r->outcomes->ops->next(r->outcomes, &record, &r->end, err)) {
        int64_t n = 0;
        if (r->end)
            return made_from_another(r, r->outcomes->name, err);
        (void)cs_chain_take(&r->chain, r->crypto, &record, &n); // notes whose marks come by
        if (cs_outcome_number(record.value) != from->outcomes)
            continue;
        cs_crypto_sha256(r->crypto, record.value, sha256);
        if (memcmp(sha256, from->chain_sha256, 32) == 0)
            return true;
    }
    return false;
}

static bool check_whole(const struct cs_log *log, int32_t partition, int64_t low, struct cs_err *err) {
    return low == 0 || cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                                  "%s partition %d begins at offset %" PRId64
                                  ": records were deleted, and without them nothing can be judged again; set "
                                  "retention.ms=-1 and restore the topic",
                                  log->name, (int)partition, low);
}

bool cs_rebuild_reader_start(struct cs_rebuild_reader *r, int32_t partition, const struct cs_position *from,
                             struct cs_err *err) {
    struct cs_log *logs[] = {r->outcomes, r->events}; // outcomes first: then each one's record is within
    int64_t begin[] = {from->outcomes > 0 ? from->outcomes - 1 : 0,
                       from->next_offset > 0 ? from->next_offset - 1 : 0};
    r->partition = partition;
    r->broken = false;
    cs_chain_begin(&r->chain, r->marks, &r->epochs, partition, from->outcomes, from->chain_sha256, 0);
    for (size_t i = 0; i < CS_ARRAY_LEN(logs); i++) {
        int64_t low = 0;
        int64_t high = 0;
        if (!logs[i]->ops->bounds(logs[i], partition, &low, &high, err) ||
            !check_whole(logs[i], partition, low, err))
            return false;
        if (high < (i == 0 ? from->outcomes : from->next_offset))
            return made_from_another(r, logs[i]->name, err);
        if (!logs[i]->ops->start(logs[i], partition, begin[i], high, err))
            return false;
    }
    r->end = false;
    return from->next_offset == 0 || check_position(r, from, err);
}

bool cs_rebuild_reader_add(struct cs_rebuild_reader *r, struct cs_rebuild_batch *b, struct cs_err *err) {
    struct cs_record outcome;
    struct cs_record record;
    struct cs_batch_record *to = &b->records[b->len];
    bool end = false;
    if (!next_outcome(r, &outcome, err))
        return false;
    if (r->end)
        return true;
    if (!r->events->ops->next(r->events, &record, &end, err))
        return false;
    if (end)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "outcome %" PRId64 " of %s partition %d is of no record", r->chain.last,
                          r->outcomes->name, (int)r->partition);
    void *owned = copy_record(&record, &outcome, &to->record, &b->published[b->len]);
    if (!owned)
        return cs_err_oom(err);
    to->prepared = NULL;
    b->owned[b->len++] = owned;
    b->bytes += record.value.len + record.key.len + outcome.value.len;
    if (!cs_prepare(r->crypto, r->log_id, r->partitions, cs_key_cache_ruleset(r->keys), &to->record,
                    cs_key_cache_lookup, r->keys, &b->memory, &to->prepared, err))
        return false;
    cs_key_cache_learn_from(r->keys, to->prepared);
    return true;
}
