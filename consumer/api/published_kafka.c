// SPDX-License-Identifier: Apache-2.0
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/published.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/log.h"
#include "worker/cursor.h"

#define TIMEOUT_MS   5000
#define PAST_FOR_MS  10000 // for one question of the past, and so many records:
#define PAST_RECORDS 500000
#define READ_FOR_MS  60000 // to read what follows the catalog's position, if all must be read

struct seen {
    int64_t end;  // the topic's, when it was looked at
    int64_t last; // number of the last outcome before it
};

struct published_kafka {
    struct cs_published base;
    struct cs_crypto *crypto;
    struct cs_topic *outcomes;
    struct cs_topic_options options;
    const atomic_int *files; // changes with the files of Kafka's TLS
    int used, failed;        // *files when the client was made, and when one could not be made last
    atomic_bool stopping;
    pthread_mutex_t asking; // one question of the past at a time
    int32_t partition_count;
    struct seen seen[];
};

// Makes a new client. With an ended certificate the old one could ask no more. A failure is tried
// again.
static void renew(struct published_kafka *p) {
    int now = atomic_load(p->files);
    struct cs_topic *made = NULL;
    struct cs_err err;
    if (now == p->used)
        return;
    if (cs_topic_kafka_new(&p->options, &made, &err)) {
        cs_topic_free(p->outcomes);
        p->outcomes = made;
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

// Follows the chain from the catalog's position to the end. This is exact, whatever lies between.
static bool follow(struct published_kafka *p, int32_t partition, const struct cs_position *at,
                   int64_t *ret_last, struct cs_err *err) {
    struct cs_cursor_stream *stream = NULL;
    enum cs_cursor_step step = CS_CURSOR_WAIT;
    int64_t last = at->outcomes, deadline_ms = cs_clock_mono_ms(cs_clock_real()) + READ_FOR_MS;
    if (!cs_cursor_open(p->outcomes, partition, at, &stream, err))
        return false;
    bool ok = true;
    while (ok && step != CS_CURSOR_END) {
        struct cs_published_outcome ignored;
        ok = !is_stopped(p, err) && cs_cursor_next(stream, p->crypto, &step, &ignored, err);
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

static bool last(struct cs_published *base, int32_t partition, const struct cs_position *at,
                 int64_t *ret_last, bool *ret_exact, struct cs_err *err) {
    struct published_kafka *p = (struct published_kafka *)(void *)base;
    struct seen *seen = &p->seen[partition];
    struct cs_cursor_tail tail;
    int64_t low = 0;
    int64_t end = 0;
    if (is_stopped(p, err))
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
    if (!cs_cursor_tail(p->outcomes, p->crypto, partition, at, TIMEOUT_MS, &tail, err))
        return false;
    bool exact = tail.found;
    int64_t found = tail.last;
    if (!exact && tail.last <= at->outcomes) {
        if (!follow(p, partition, at, &found, err))
            return false;
        exact = true;
    }
    if (exact)
        *seen = (struct seen){tail.end < end ? tail.end : end, found};
    *ret_last = found;
    *ret_exact = exact;
    return true;
}

// Whether the rest of the question can be answered in this time.
static bool read_past(struct published_kafka *p, struct cs_topic_stream *stream,
                      struct cs_past_search *search, bool *ret_all, struct cs_err *err) {
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + PAST_FOR_MS;
    *ret_all = true;
    for (int64_t i = 0; !cs_past_done(search); i++) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record r;
        if (is_stopped(p, err) || !p->outcomes->ops->next(stream, 100, &step, &r, err))
            return false;
        if (step == CS_TOPIC_END)
            return true;
        *ret_all = i < PAST_RECORDS && cs_clock_mono_ms(cs_clock_real()) < deadline_ms;
        if (!*ret_all)
            return true;
        struct cs_chain_record link = {r.offset, r.key, r.value};
        if (step == CS_TOPIC_RECORD && !cs_past_take(search, &link, err))
            return false;
    }
    return true;
}

static bool find_past(struct published_kafka *p, const struct cs_past_question *q, struct cs_buf *docs,
                      bool *ret_all, struct cs_err *err) {
    struct cs_topic_stream *stream = NULL;
    struct cs_past_search search;
    int64_t low = 0, end = 0, *from = calloc((size_t)p->partition_count, sizeof *from);
    renew(p);
    bool ok = (from || cs_err_oom(err)) && !is_stopped(p, err) &&
              p->outcomes->ops->bounds(p->outcomes, q->partition, TIMEOUT_MS, &low, &end, err) &&
              cs_topic_kafka_at_time(p->outcomes, p->partition_count, q->since_ms, TIMEOUT_MS, from, err);
    int64_t begin = ok && from[q->partition] - CS_PAST_LEAD > low ? from[q->partition] - CS_PAST_LEAD : low;
    free(from);
    if (!ok || !p->outcomes->ops->open(p->outcomes, q->partition, begin, end, &stream, err))
        return false;
    ok = cs_past_begin(&search, p->crypto, p->outcomes->name, q, begin == 0, docs, err) &&
         read_past(p, stream, &search, ret_all, err);
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
    cs_topic_free(p->outcomes);
    cs_crypto_free(p->crypto);
    pthread_mutex_destroy(&p->asking);
    free(p);
}

bool cs_published_kafka_new(const struct cs_kafka_settings *kafka, const char *topic, int32_t partition_count,
                            const atomic_int *files, struct cs_published **ret, struct cs_err *err) {
    static const struct cs_published_ops ops = {last, past, stop, published_free};
    struct published_kafka *p = calloc(1, sizeof *p + (size_t)partition_count * sizeof p->seen[0]);
    if (!p)
        return cs_err_oom(err);
    p->base.ops = &ops;
    pthread_mutex_init(&p->asking, NULL);
    p->partition_count = partition_count;
    p->options = (struct cs_topic_options){kafka, "certsync-consumer-api", topic, -1, false};
    p->files = files;
    p->used = p->failed = atomic_load(files);
    if (!cs_crypto_new(&p->crypto, err) || !cs_topic_kafka_new(&p->options, &p->outcomes, err)) {
        published_free(&p->base);
        return false;
    }
    *ret = &p->base;
    return true;
}

void cs_published_free(struct cs_published *p) {
    if (p)
        p->ops->free(p);
}
