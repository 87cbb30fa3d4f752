// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/published.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/log.h"
#include "worker/checkpoints.h"
#include "worker/cursor.h"

#define TIMEOUT_MS   5000
#define PAST_FOR_MS  10000 // for one question of the past, and so many records:
#define PAST_RECORDS 500000
#define PAGE_FOR_MS  2000 // the same for a page of a history
#define PAGE_RECORDS 100000
#define READ_FOR_MS  60000 // to read what follows the catalog's position, if all must be read

struct seen {
    int64_t end;  // the topic's, when it was looked at
    int64_t last; // number of the last outcome before it
    // of how many outcomes this service key has signed a checkpoint, as far as it was looked for
    int64_t proven;
};

struct published_kafka {
    struct cs_published base;
    struct cs_crypto *crypto;
    struct cs_outcome_marks *marks;
    struct cs_note_signer *signer; // of checkpoints: only its public key is used
    struct cs_topic *outcomes;
    struct cs_topic *checkpoints; // by the client of the outcomes
    struct cs_topic_options options;
    struct cs_published_options from;
    int used, failed; // *files when the client was made, and when one could not be made last
    size_t corrected; // how many corrections were known when seen was last cleared
    atomic_bool stopping;
    pthread_mutex_t asking; // one question of the past at a time
    struct seen seen[];
};

static void close_client(struct published_kafka *p) {
    cs_topic_free(p->checkpoints);
    cs_topic_free(p->outcomes);
}

static bool open_client(struct published_kafka *p, struct cs_err *err) {
    CS_AUTO(cs_topic_free) struct cs_topic *outcomes = NULL;
    struct cs_topic *checkpoints = NULL;
    if (!cs_topic_kafka_new(&p->options, &outcomes, err) ||
        !cs_topic_kafka_beside(outcomes, p->from.checkpoints_topic, &checkpoints, err))
        return false;
    close_client(p);
    p->outcomes = CS_TAKE(outcomes);
    p->checkpoints = checkpoints;
    return true;
}

// Makes a new client. With an ended certificate the old one could ask no more. A failure is tried
// again.
static void renew(struct published_kafka *p) {
    int now = atomic_load(p->from.files);
    struct cs_err err;
    if (now == p->used)
        return;
    if (open_client(p, &err)) {
        p->used = now;
        cs_log_msg(CS_LOG_INFO, "the API's connection to Kafka is a new one, with the changed files");
    } else if (now != p->failed) {
        p->failed = now;
        cs_log_err(CS_LOG_WARN, "the client with the changed files could not be made", &err, "client=api");
    }
}

static bool is_stopped(struct published_kafka *p, struct cs_err *err) {
    return atomic_load(&p->stopping) &&
           !cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the process is stopping");
}

// What this service key did not mark, it may have signed a checkpoint of (outcome_chain.h). Only where
// there are such outcomes is the checkpoint looked for. *ret_more: one was found.
static bool look_for_proof(struct published_kafka *p, int32_t partition, bool *ret_more, struct cs_err *err) {
    struct seen *seen = &p->seen[partition];
    const struct cs_epochs epochs = cs_corrections_now(p->from.corrections);
    struct cs_checkpoint newest;
    int64_t others = 0;
    if (!cs_checkpoints_newest(p->checkpoints, p->crypto, cs_note_signer_key(p->signer), p->from.log_id,
                               partition, cs_epoch_last(&epochs, partition), TIMEOUT_MS, &newest, &others,
                               err))
        return false;
    *ret_more = newest.size > seen->proven;
    if (*ret_more)
        seen->proven = newest.size;
    return true;
}

static struct cs_cursor_source source_of(const struct published_kafka *p) {
    return (struct cs_cursor_source){p->outcomes, p->crypto, p->marks,
                                     cs_corrections_now(p->from.corrections)};
}

static bool read_tail(struct published_kafka *p, int32_t partition, const struct cs_position *at,
                      struct cs_cursor_tail *ret, struct cs_err *err) {
    const struct cs_cursor_source from = source_of(p);
    for (bool again = true; again;) {
        if (!cs_cursor_tail(&from, partition, at, p->seen[partition].proven, TIMEOUT_MS, ret, err))
            return false;
        again = false;
        if (ret->others + ret->earlier > 0 && ret->last > at->outcomes &&
            !look_for_proof(p, partition, &again, err))
            return false;
    }
    return true;
}

// Follows the chain from the catalog's position to the end. This is exact, whatever lies between.
static bool follow(struct published_kafka *p, int32_t partition, const struct cs_position *at,
                   int64_t *ret_last, struct cs_err *err) {
    struct cs_cursor_stream *stream = NULL;
    enum cs_cursor_step step = CS_CURSOR_WAIT;
    int64_t last = at->outcomes, deadline_ms = cs_clock_mono_ms(cs_clock_real()) + READ_FOR_MS;
    const struct cs_cursor_source from = source_of(p);
    if (!cs_cursor_open(&from, partition, at, p->seen[partition].proven, &stream, err))
        return false;
    bool ok = true;
    while (ok && step != CS_CURSOR_END) {
        struct cs_published_outcome ignored;
        ok = !is_stopped(p, err) && cs_cursor_next(stream, &step, &ignored, err);
        last += ok && step == CS_CURSOR_OUTCOME;
        if (ok && step == CS_CURSOR_WAIT) {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
            ok = cs_clock_mono_ms(cs_clock_real()) < deadline_ms ||
                 cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the published outcomes did not arrive in time");
        }
    }
    cs_cursor_close(stream);
    if (ok)
        *ret_last = last;
    return ok;
}

// What was seen was seen with the corrections of then.
static void note_corrections(struct published_kafka *p) {
    size_t len = cs_corrections_now(p->from.corrections).len;
    if (len != p->corrected)
        memset(p->seen, 0, (size_t)p->from.partition_count * sizeof p->seen[0]);
    p->corrected = len;
}

// A catalog that stands on outcomes of before a correction is not one to answer from.
static bool check_epoch(const struct published_kafka *p, int32_t partition, const struct cs_position *at,
                        struct cs_err *err) {
    const struct cs_epochs epochs = cs_corrections_now(p->from.corrections);
    return at->epoch == cs_epoch_of(&epochs, partition, at->outcomes) ||
           cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                      "root has outcomes judged anew, and the catalog does not stand on these yet");
}

static bool last(struct cs_published *base, int32_t partition, const struct cs_position *at,
                 int64_t *ret_last, bool *ret_exact, struct cs_err *err) {
    struct published_kafka *p = (struct published_kafka *)(void *)base;
    struct seen *seen = &p->seen[partition];
    struct cs_cursor_tail tail;
    int64_t low = 0;
    int64_t end = 0;
    note_corrections(p);
    if (is_stopped(p, err) || !check_epoch(p, partition, at, err))
        return false;
    renew(p);
    if (!p->outcomes->ops->bounds(p->outcomes, partition, TIMEOUT_MS, &low, &end, err))
        return false;
    if (end < seen->end) // the topic was made anew
        *seen = (struct seen){0};
    // Numbers are dense and each takes a record: there cannot be more. Most often no record must be
    // read.
    if (at->outcomes >= seen->last + (end - seen->end)) {
        *ret_last = at->outcomes;
        *ret_exact = true;
        return true;
    }
    if (!read_tail(p, partition, at, &tail, err))
        return false;
    bool exact = tail.found;
    int64_t found = tail.last;
    if (!exact && tail.last <= at->outcomes) {
        if (!follow(p, partition, at, &found, err))
            return false;
        exact = true;
    }
    if (tail.superseded > found)
        found = tail.superseded;
    if (exact)
        *seen = (struct seen){tail.end < end ? tail.end : end, found, seen->proven};
    *ret_last = found;
    *ret_exact = exact;
    return true;
}

// Whether the rest of the question can be answered in this time.
static bool read_past(struct published_kafka *p, struct cs_topic_stream *stream,
                      struct cs_past_search *search, bool *ret_all, struct cs_err *err) {
    bool page = search->question->history != NULL;
    int64_t most = page ? PAGE_RECORDS : PAST_RECORDS;
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + (page ? PAGE_FOR_MS : PAST_FOR_MS);
    *ret_all = true;
    for (int64_t i = 0; !cs_past_done(search); i++) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record r;
        if (is_stopped(p, err) || !p->outcomes->ops->next(stream, 100, &step, &r, err))
            return false;
        if (step == CS_TOPIC_END)
            return true;
        *ret_all = i < most && cs_clock_mono_ms(cs_clock_real()) < deadline_ms;
        if (!*ret_all)
            return true;
        if (step == CS_TOPIC_RECORD && !cs_past_take(search, &r, err))
            return false;
    }
    return true;
}

static bool find_past(struct published_kafka *p, const struct cs_past_question *q, struct cs_buf *docs,
                      bool *ret_all, struct cs_err *err) {
    struct cs_topic_stream *stream = NULL;
    struct cs_past_search search;
    note_corrections(p);
    int64_t low = 0, end = 0, *from = calloc((size_t)p->from.partition_count, sizeof *from);
    renew(p);
    bool more = false; // what an earlier key marked ends where this one's first checkpoint does
    bool ok =
        (from || cs_err_oom(err)) && !is_stopped(p, err) &&
        (p->seen[q->partition].proven > 0 || look_for_proof(p, q->partition, &more, err)) &&
        p->outcomes->ops->bounds(p->outcomes, q->partition, TIMEOUT_MS, &low, &end, err) &&
        cs_topic_kafka_at_time(p->outcomes, p->from.partition_count, q->since_ms, TIMEOUT_MS, from, err);
    int64_t begin = ok && from[q->partition] - CS_PAST_LEAD > low ? from[q->partition] - CS_PAST_LEAD : low;
    free(from);
    if (!ok || !p->outcomes->ops->open(p->outcomes, q->partition, begin, end, &stream, err))
        return false;
    struct cs_past_log log = {p->crypto, p->marks, cs_corrections_now(p->from.corrections), p->outcomes->name,
                              p->seen[q->partition].proven};
    ok =
        cs_past_begin(&search, &log, q, begin == 0, docs, err) && read_past(p, stream, &search, ret_all, err);
    cs_past_end(&search);
    p->outcomes->ops->close(stream);
    return ok;
}

static bool past(struct cs_published *base, const struct cs_past_question *q, struct cs_buf *docs,
                 bool *ret_all, struct cs_err *err) {
    struct published_kafka *p = (struct published_kafka *)(void *)base;
    pthread_mutex_lock(&p->asking);
    bool ok = find_past(p, q, docs, ret_all, err);
    pthread_mutex_unlock(&p->asking);
    return ok;
}

static void stop(struct cs_published *base) {
    atomic_store(&((struct published_kafka *)(void *)base)->stopping, true);
}

static void published_free(struct cs_published *base) {
    struct published_kafka *p = (struct published_kafka *)(void *)base;
    close_client(p);
    cs_note_signer_free(p->signer);
    cs_outcome_marks_free(p->marks);
    cs_crypto_free(p->crypto);
    pthread_mutex_destroy(&p->asking);
    free(p);
}

bool cs_published_kafka_new(const struct cs_published_options *o, struct cs_published **ret,
                            struct cs_err *err) {
    static const struct cs_published_ops ops = {last, past, stop, published_free};
    struct published_kafka *p = calloc(1, sizeof *p + (size_t)o->partition_count * sizeof p->seen[0]);
    if (!p)
        return cs_err_oom(err);
    CS_AUTO(cs_published_free) struct cs_published *base = &p->base;
    base->ops = &ops;
    pthread_mutex_init(&p->asking, NULL);
    p->from = *o;
    p->options =
        (struct cs_topic_options){o->kafka, "certsync-consumer-api", o->outcomes_topic, -1, .headers = true};
    p->used = p->failed = atomic_load(o->files);
    if (!cs_crypto_new(&p->crypto, err) ||
        !cs_outcome_marks_new(p->crypto, o->service, o->log_id, &p->marks, err) ||
        !cs_checkpoint_signer(p->crypto, o->service->own, o->log_id, &p->signer, err) || !open_client(p, err))
        return false;
    *ret = CS_TAKE(base);
    return true;
}

void cs_published_free(struct cs_published *p) {
    if (p)
        p->ops->free(p);
}
