// SPDX-License-Identifier: Apache-2.0
#include "worker/cursor.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/model/outcome.h"
#include "certsync/runtime/clock.h"

#define BROKER_TIMEOUT_MS 10000
#define WAIT_MS           100

struct cs_cursor_stream {
    struct cs_topic_stream *records;
    struct cs_crypto *crypto;
    struct cs_chain chain; // of the outcomes that were given out
};

static void note_superseded(const struct cs_chain *chain, const struct cs_record *r, int64_t n,
                            struct cs_cursor_tail *ret) {
    if (n > ret->superseded && cs_outcome_epoch(r->value) < cs_epoch_of(&chain->epochs, chain->partition, n))
        ret->superseded = n;
}

// Until the position's outcome is found, no chain can be followed. Then only the highest number
// counts.
static void search(struct cs_chain *chain, struct cs_crypto *crypto, const struct cs_record *r,
                   const struct cs_position *at, struct cs_cursor_tail *ret) {
    uint8_t sha256[32];
    int64_t n = 0;
    if (!cs_chain_counts(chain, r, &n)) {
        note_superseded(chain, r, n, ret);
        return;
    }
    if (n == at->outcomes) {
        cs_crypto_sha256(crypto, r->value, sha256);
        ret->found = memcmp(sha256, at->chain_sha256, 32) == 0;
        if (ret->found) {
            chain->last = n;
            memcpy(chain->sha256, sha256, 32);
            return;
        }
    }
    ret->other |= n == at->outcomes;
    if (n > ret->last)
        ret->last = n;
}

static bool read_tail(struct cs_topic_stream *s, const struct cs_cursor_source *from,
                      const struct cs_position *at, int64_t proven, int64_t timeout_ms,
                      struct cs_cursor_tail *ret, struct cs_err *err) {
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    struct cs_chain chain;
    // Number n is at offset n - 1 or later. If all from there on are read, the first n is the
    // original. Otherwise it may be a copy behind later outcomes, and then these prove nothing.
    bool is_first = ret->from < at->outcomes || at->outcomes == 0;
    cs_chain_begin(&chain, from->marks, &from->epochs, s->partition, 0, NULL, proven);
    // If nothing comes before it, the first outcome begins the chain.
    ret->found = at->outcomes == 0 && ret->from == 0;
    for (;;) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record record;
        int64_t n = 0;
        if (!s->topic->ops->next(s, WAIT_MS, &step, &record, err))
            return false;
        if (step == CS_TOPIC_END)
            break;
        if (step == CS_TOPIC_WAIT) {
            if (cs_clock_mono_ms(cs_clock_real()) > deadline_ms)
                return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                  "the end of %s partition %d did not arrive in time", s->topic->name,
                                  (int)s->partition);
            continue;
        }
        if (!ret->found) {
            search(&chain, from->crypto, &record, at, ret);
            continue;
        }
        enum cs_chain_link link = cs_chain_take(&chain, from->crypto, &record, &n);
        if (link == CS_CHAIN_SUPERSEDED)
            note_superseded(&chain, &record, n, ret);
        if (link == CS_CHAIN_NEWER || (link == CS_CHAIN_BROKEN && is_first))
            return cs_chain_broken(&chain, link, s->topic->name, &record, n, err);
        if (link == CS_CHAIN_BROKEN) {
            ret->found = false;
            ret->last = n > ret->last ? n : ret->last;
        }
    }
    ret->found = ret->found && (is_first || chain.last >= ret->last);
    if (ret->found)
        ret->last = chain.last;
    ret->foreign = chain.foreign;
    ret->foreign_at = chain.foreign_at;
    ret->unmarked = chain.unmarked;
    ret->earlier = chain.earlier;
    ret->others = chain.others;
    return true;
}

static bool read_from(const struct cs_cursor_source *from, int32_t partition, const struct cs_position *at,
                      int64_t proven, int64_t timeout_ms, struct cs_cursor_tail *tail, struct cs_err *err) {
    struct cs_topic_stream *s = NULL;
    if (!from->outcomes->ops->open(from->outcomes, partition, tail->from, tail->end, &s, err))
        return false;
    bool ok = read_tail(s, from, at, proven, timeout_ms, tail, err);
    from->outcomes->ops->close(s);
    return ok;
}

bool cs_cursor_tail(const struct cs_cursor_source *from, int32_t partition, const struct cs_position *at,
                    int64_t proven, int64_t timeout_ms, struct cs_cursor_tail *ret, struct cs_err *err) {
    struct cs_cursor_tail tail = {.foreign_at = -1};
    if (!from->outcomes->ops->bounds(from->outcomes, partition, timeout_ms, &tail.low, &tail.end, err))
        return false;
    tail.from = tail.end - tail.low > CS_CURSOR_TAIL ? tail.end - CS_CURSOR_TAIL : tail.low;
    if (tail.end > tail.low && !read_from(from, partition, at, proven, timeout_ms, &tail, err))
        return false;
    // Any number of copies and foreign records may follow the last outcome. Before it counts as
    // lost, or as never published, it is looked for from its first possible offset on.
    bool unseen = tail.last == 0 || tail.last < at->outcomes;
    if (unseen && tail.from > tail.low && tail.from >= at->outcomes) {
        tail = (struct cs_cursor_tail){.foreign_at = -1, .low = tail.low, .end = tail.end};
        tail.from = at->outcomes - 1 > tail.low ? at->outcomes - 1 : tail.low;
        if (!read_from(from, partition, at, proven, timeout_ms, &tail, err))
            return false;
    }
    *ret = tail;
    return true;
}

bool cs_cursor_open(const struct cs_cursor_source *from, int32_t partition, const struct cs_position *after,
                    int64_t proven, struct cs_cursor_stream **ret, struct cs_err *err) {
    struct cs_topic *outcomes = from->outcomes;
    int64_t low = 0;
    int64_t high = 0;
    if (!outcomes->ops->bounds(outcomes, partition, BROKER_TIMEOUT_MS, &low, &high, err))
        return false;
    // Numbers are dense from 1, and other records only move the later ones back. So number n is
    // never before offset n - 1.
    if (low > after->outcomes)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "%s partition %d begins at offset %lld: outcomes were deleted; set retention.ms=-1 "
                          "and restore the topic",
                          outcomes->name, (int)partition, (long long)low);
    struct cs_cursor_stream *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    // The position's own outcome comes by, too: whose mark it has says whose count behind it.
    int64_t begin = after->outcomes > low ? after->outcomes - 1 : low;
    if (!outcomes->ops->open(outcomes, partition, begin, high, &s->records, err)) {
        free(s);
        return false;
    }
    s->crypto = from->crypto;
    cs_chain_begin(&s->chain, from->marks, &from->epochs, partition, after->outcomes, after->chain_sha256,
                   proven);
    *ret = s;
    return true;
}

void cs_cursor_close(struct cs_cursor_stream *s) {
    if (s)
        s->records->topic->ops->close(s->records);
    free(s);
}

bool cs_cursor_next(struct cs_cursor_stream *s, enum cs_cursor_step *ret_step,
                    struct cs_published_outcome *ret, struct cs_err *err) {
    struct cs_topic *t = s->records->topic;
    for (;;) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record record;
        int64_t n = 0;
        if (!t->ops->next(s->records, 0, &step, &record, err))
            return false;
        if (step != CS_TOPIC_RECORD) {
            *ret_step = step == CS_TOPIC_END ? CS_CURSOR_END : CS_CURSOR_WAIT;
            return true;
        }
        enum cs_chain_link link = cs_chain_take(&s->chain, s->crypto, &record, &n);
        if (link == CS_CHAIN_BROKEN || link == CS_CHAIN_NEWER)
            return cs_chain_broken(&s->chain, link, t->name, &record, n, err);
        if (link != CS_CHAIN_NEXT)
            continue;
        *ret_step = CS_CURSOR_OUTCOME;
        *ret = (struct cs_published_outcome){record.offset, record.key, record.value};
        return true;
    }
}

// --- what was set aside

struct cs_cursor_proofs {
    struct cs_topic_stream *records;
};

void cs_cursor_proofs_close(struct cs_cursor_proofs *p) {
    if (p)
        p->records->topic->ops->close(p->records);
    free(p);
}

static bool open_proofs(const struct cs_cursor_source *from, int32_t partition, int64_t n,
                        struct cs_cursor_proofs **ret, struct cs_err *err) {
    struct cs_topic *outcomes = from->outcomes;
    int64_t low = 0;
    int64_t high = 0;
    if (!outcomes->ops->bounds(outcomes, partition, BROKER_TIMEOUT_MS, &low, &high, err))
        return false;
    struct cs_cursor_proofs *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    // Number n is never before offset n - 1.
    if (!outcomes->ops->open(outcomes, partition, n - 1 > low ? n - 1 : low, high, &p->records, err)) {
        free(p);
        return false;
    }
    *ret = p;
    return true;
}

static bool proves(const struct cs_cursor_source *from, int32_t partition, const struct cs_record *r,
                   int64_t n, const uint8_t record_sha256[32]) {
    CS_AUTO(cs_outcome_clear) struct cs_outcome o = {0};
    struct cs_err ignored;
    if (cs_outcome_number(r->value) != n ||
        cs_outcome_epoch(r->value) >= cs_epoch_of(&from->epochs, partition, n) ||
        cs_outcome_writer(from->marks, r) < CS_WRITER_EARLIER)
        return false;
    return cs_outcome_decode(r->value, &o, &ignored) && o.partition == partition &&
           memcmp(o.record_sha256, record_sha256, 32) == 0;
}

bool cs_cursor_prove(const struct cs_cursor_source *from, int32_t partition, int64_t n,
                     const uint8_t record_sha256[32], struct cs_cursor_proofs **p,
                     enum cs_cursor_step *ret_step, struct cs_err *err) {
    *ret_step = CS_CURSOR_END;
    if (cs_epoch_of(&from->epochs, partition, n) == 0)
        return true;
    if (!*p && !open_proofs(from, partition, n, p, err))
        return false;
    for (;;) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record r;
        if (!from->outcomes->ops->next((*p)->records, 0, &step, &r, err))
            return false;
        *ret_step = step == CS_TOPIC_WAIT ? CS_CURSOR_WAIT : CS_CURSOR_END;
        if (step != CS_TOPIC_RECORD)
            return true;
        *ret_step = CS_CURSOR_OUTCOME;
        if (proves(from, partition, &r, n, record_sha256))
            return true;
    }
}
