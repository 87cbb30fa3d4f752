// SPDX-License-Identifier: Apache-2.0
#include "worker/outcome_chain.h"

#include <inttypes.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/outcome.h"

void cs_chain_begin(struct cs_chain *c, const struct cs_outcome_marks *marks, const struct cs_epochs *epochs,
                    int32_t partition, int64_t last, const uint8_t sha256[32], int64_t proven) {
    *c = (struct cs_chain){.marks = marks,
                           .epochs = epochs ? *epochs : (struct cs_epochs){0},
                           .partition = partition,
                           .last = last,
                           .others_until = marks && proven > 0 ? proven : INT64_MAX,
                           .foreign_at = -1};
    if (sha256)
        memcpy(c->sha256, sha256, sizeof c->sha256);
}

int64_t cs_outcome_number(struct cs_bytes value) {
    static const size_t at = sizeof CS_OUTCOME_HEAD - 1;
    int64_t n = 0;
    if (!value.data || value.len <= at + CS_SEQUENCE_LEN || memcmp(value.data, CS_OUTCOME_HEAD, at) != 0 ||
        value.data[at + CS_SEQUENCE_LEN] != '"' ||
        !cs_sequence_parse((const char *)value.data + at, CS_SEQUENCE_LEN, &n))
        return -1;
    return n;
}

#define PREV_LEN (sizeof "\"prev\":\"" - 1 + 64 + 3)

// It stands before "prev" (see below), with a comma between. No text can look like this: one ends in
// a quotation mark.
int64_t cs_outcome_epoch(struct cs_bytes value) {
    static const char name[] = "\"epoch\":";
    size_t digits = 0;
    int64_t epoch = 0;
    if (!value.data || value.len <= PREV_LEN || value.data[value.len - PREV_LEN - 1] != ',')
        return 0;
    size_t end = value.len - PREV_LEN - 1;
    while (digits < end && digits < 17 && value.data[end - digits - 1] >= '0' &&
           value.data[end - digits - 1] <= '9')
        digits++;
    size_t at = end - digits;
    if (digits == 0 || digits == 17 || at < sizeof name - 1 ||
        memcmp(value.data + at - (sizeof name - 1), name, sizeof name - 1) != 0)
        return 0;
    for (; at < end; at++)
        epoch = epoch * 10 + (value.data[at] - '0');
    return epoch;
}

// Whether "prev" names the hash. It is the last member of data, and data is the last of the
// outcome. So what comes before it is not read.
static bool names(struct cs_bytes value, const uint8_t sha256[32]) {
    static const char before[] = "\"prev\":\"";
    char end[PREV_LEN + 1];
    memcpy(end, before, sizeof before - 1);
    cs_hex_encode(sha256, 32, end + sizeof before - 1);
    memcpy(end + sizeof before - 1 + 64, "\"}}", 3);
    size_t len = PREV_LEN;
    return value.len > len && memcmp(value.data + value.len - len, end, len) == 0;
}

int64_t cs_chain_plausible(const struct cs_record *r, int32_t partition) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_err ignored;
    if (cs_outcome_number(r->value) < 0 || !cs_outcome_decode(r->value, &o, &ignored))
        return -1;
    bool fits = o.partition == partition && o.n - 1 <= r->offset && o.n - 1 <= o.offset &&
                strlen(o.account) == r->key.len &&
                (r->key.len == 0 || memcmp(o.account, r->key.data, r->key.len) == 0);
    return fits ? o.n : -1;
}

static void note_foreign(struct cs_chain *c, const struct cs_record *r) {
    if (c->foreign++ == 0)
        c->foreign_at = r->offset;
}

// Whether it is marked by a consumer. n: its number.
static bool is_marked(struct cs_chain *c, const struct cs_record *r, int64_t n) {
    switch (n > 0 ? cs_outcome_writer(c->marks, r) : CS_WRITER_FALSE) {
    case CS_WRITER_OWN:
        c->others_until = 0;
        return true;
    case CS_WRITER_EARLIER:
        c->earlier += n <= c->others_until;
        return n <= c->others_until;
    case CS_WRITER_OTHER:
        if (n > c->others_until || (c->known_only && c->marks))
            return false;
        c->others++;
        return true;
    case CS_WRITER_NONE:
        c->unmarked += cs_chain_plausible(r, c->partition) > 0;
        break;
    case CS_WRITER_FALSE:
        break;
    }
    return false;
}

bool cs_chain_counts(struct cs_chain *c, const struct cs_record *r, int64_t *ret_n) {
    bool marked = is_marked(c, r, cs_outcome_number(r->value));
    *ret_n = marked ? cs_chain_plausible(r, c->partition) : -1;
    if (*ret_n < 0)
        note_foreign(c, r);
    return *ret_n > 0 && cs_outcome_epoch(r->value) == cs_epoch_of(&c->epochs, c->partition, *ret_n);
}

enum cs_chain_link cs_chain_take(struct cs_chain *c, struct cs_crypto *crypto, const struct cs_record *r,
                                 int64_t *ret_n) {
    *ret_n = cs_outcome_number(r->value);
    bool marked = is_marked(c, r, *ret_n);
    int64_t epoch = marked ? cs_outcome_epoch(r->value) : 0;
    int64_t due = marked ? cs_epoch_of(&c->epochs, c->partition, *ret_n) : 0;
    if (marked && epoch == due && *ret_n == c->last + 1 && names(r->value, c->sha256)) {
        cs_crypto_sha256(crypto, r->value, c->sha256);
        c->last++;
        return CS_CHAIN_NEXT;
    }
    *ret_n = marked ? cs_chain_plausible(r, c->partition) : -1;
    if (*ret_n > 0 && epoch < due) {
        c->superseded++;
        return CS_CHAIN_SUPERSEDED;
    }
    if (*ret_n > 0 && epoch > due)
        return CS_CHAIN_NEWER;
    if (*ret_n > 0)
        return *ret_n <= c->last ? CS_CHAIN_COPY : CS_CHAIN_BROKEN;
    note_foreign(c, r);
    return CS_CHAIN_FOREIGN;
}

bool cs_chain_broken(const struct cs_chain *c, enum cs_chain_link link, const char *topic,
                     const struct cs_record *r, int64_t n, struct cs_err *err) {
    int64_t offset = r->offset;
    if (link == CS_CHAIN_NEWER)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "the record at offset %" PRId64 " of %s partition %d is outcome %" PRId64
                          " of epoch %" PRId64 ", and the corrections that were read make it epoch %" PRId64
                          ": the topic of corrections was not read to its end, or lost records; restore it",
                          offset, topic, (int)c->partition, n, cs_outcome_epoch(r->value),
                          cs_epoch_of(&c->epochs, c->partition, n));
    if (n == c->last + 1)
        return cs_err_set(
            err, CS_ERR_FATAL, CS_CODE_NONE,
            "a fork at outcome %" PRId64 ": the record at offset %" PRId64
            " of %s partition %d follows another outcome than the one before it: something else "
            "writes to the topic; certsync-consumer verify says more",
            n, offset, topic, (int)c->partition);
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "the record at offset %" PRId64 " of %s partition %d is outcome %" PRId64
                      ", which does not follow outcome %" PRId64
                      ": outcomes were lost, or something else writes to the topic; certsync-consumer verify "
                      "says more",
                      offset, topic, (int)c->partition, n, c->last);
}

bool cs_chain_unmarked(const char *topic, int32_t partition, int64_t records, struct cs_err *err) {
    return cs_err_set(
        err, CS_ERR_FATAL, CS_CODE_NONE,
        "%s partition %d holds %" PRId64
        " outcomes without the mark of a service key (header " CS_OUTCOME_MARK_HEADER
        "), and none with it: an earlier build wrote them, or they were copied without their headers. Copy "
        "them with their headers; the log of an earlier build cannot be gone on with: begin a new one",
        topic, (int)partition, records);
}

bool cs_chain_is_unmarked(const struct cs_chain *c, const char *topic, struct cs_err *err) {
    bool none_marked = c->last == 0 && c->superseded == 0;
    return none_marked && c->unmarked > 0 && !cs_chain_unmarked(topic, c->partition, c->unmarked, err);
}
