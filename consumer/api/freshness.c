// SPDX-License-Identifier: Apache-2.0
//
// Whether a partition's catalog may be used for answers. Redis can lose it, or go back in time
// (FLUSHALL, a restart from an old snapshot, a replica that lags). Then it lets a revoked key in,
// and does not know newer keys, until the partition's worker has replayed the log. So each question
// also reads the catalog's position (api/call.c). The answer counts only if both hold:
//
//   - Kafka was asked for the published outcomes since Redis was last away, and since the position
//     last went back. Kafka must tell: the API also serves partitions that other processes have.
//   - The catalog has reached the last of them, and no position that was seen before is ahead of
//     it.
//
// Otherwise the answer is 503 with Retry-After. Positions are also read each second, and when Redis
// is there again, so that a loss and its end are seen when nobody asks. A thread of its own asks
// Kafka.
//
// All loops of the API share this. Their connections answer in no common order: an answer may be
// overtaken by a newer one of another loop. So a position went back only if it is lower than one
// that was known when its question was asked.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "api/internal.h"
#include "api/published.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"

#define LOOK_EVERY_MS 1000
#define ASK_AGAIN_MS  300   // after an answer of Kafka that was not certain
#define PAUSE_MOST_MS 10000 // without an answer, the pause doubles up to this
#define TEXT_MAX      4096  // of a position and its mark

struct freshness {
    struct api_freshness *all;
    int32_t partition;
    bool proven;           // published is what was published when Redis was last away
    int64_t published;     // the number of the last published outcome, as Kafka said
    int64_t floor;         // the same, or higher: that of the highest position that was read
    struct cs_position at; // as last read
    char text[TEXT_MAX];   // its bytes; len 0: nothing was read yet
    size_t text_len;
    int64_t of;     // its generation
    uint64_t stand; // counts its changes
    bool read;
    char unreadable[CS_ERR_MSG_MAX]; // why the position cannot be read now, as it was logged
    int64_t damaged_generation;      // the last that was logged as damaged
    bool held, told;                 // not used for answers; it was logged that it is behind
    bool wanted, asking;
    bool asked;     // asked, and answered or failed, since the last doubt
    uint64_t epoch; // counts doubts: an answer to an earlier question does not count
    int64_t not_before_ms;
    int64_t pause_ms;            // the last one after a question that failed; 0: none
    char failed[CS_ERR_MSG_MAX]; // why it failed, as it was logged last
    // The look each second, of the first loop alone.
    bool looking;
    int64_t look_generation;
    struct api_seen look_seen;
};

struct api_freshness {
    struct cs_api *api; // of the first loop
    struct cs_timer *timer;
    struct cs_series *gauge;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; // all that follows, and the list but for the looks
    pthread_cond_t cond;
    bool stopping;
    int32_t held;
    int32_t turn; // the partition that is tried first for the next question
    int32_t count;
    struct freshness list[];
};

static int64_t now_ms(const struct api_freshness *s) {
    return cs_clock_mono_ms(s->api->consumer->clock);
}

// Counts. Logs once that the catalog is behind, and once that this is over.
static bool settle(struct freshness *f) {
    struct api_freshness *s = f->all;
    bool behind = f->proven && f->at.outcomes < f->floor;
    bool damaged = cs_board_damage(s->api->consumer->board, f->partition) != 0;
    bool ok = f->proven && !behind && !damaged && !f->unreadable[0];
    if (ok == f->held) {
        s->held += ok ? -1 : 1;
        f->held = !ok;
        cs_series_set(s->gauge, s->held);
    }
    if (behind && !f->told)
        cs_log(CS_LOG_WARN, "the API does not answer for a partition until its catalog has caught up",
               "partition=%d outcomes=%lld published=%lld", (int)f->partition, (long long)f->at.outcomes,
               (long long)f->floor);
    else if (ok && f->told)
        cs_log(CS_LOG_INFO, "the API answers for the partition again", "partition=%d outcomes=%lld",
               (int)f->partition, (long long)f->at.outcomes);
    f->told = behind || (f->told && !ok);
    return ok;
}

// A failure repeats at each attempt. It is logged once. told: CS_ERR_MSG_MAX bytes.
static bool is_new(char *told, const struct cs_err *err) {
    if (strcmp(told, err->msg) == 0)
        return false;
    snprintf(told, CS_ERR_MSG_MAX, "%s", err->msg);
    return true;
}

// ---- asking Kafka

static void want(struct freshness *f) {
    struct api_freshness *s = f->all;
    if (f->asking || now_ms(s) < f->not_before_ms)
        return;
    f->asking = f->wanted = true;
    pthread_cond_signal(&s->cond);
}

struct answer {
    uint64_t epoch;
    bool ok, exact;
    int64_t last;
    struct cs_err err;
};

static void take_answer(struct freshness *f, const struct answer *a) {
    struct api_freshness *s = f->all;
    f->asking = false;
    f->asked = a->epoch == f->epoch;
    if (!f->asked) {
        want(f); // a new doubt: more may be published
    } else if (a->ok) {
        f->pause_ms = 0;
        f->failed[0] = '\0';
        f->not_before_ms = now_ms(s) + ASK_AGAIN_MS;
        if (a->exact) {
            f->proven = true;
            f->published = a->last;
            f->floor = a->last > f->floor ? a->last : f->floor;
            (void)settle(f);
        }
    } else {
        int64_t longer_ms = f->pause_ms > 0 ? 2 * f->pause_ms : ASK_AGAIN_MS;
        f->pause_ms = longer_ms < PAUSE_MOST_MS ? longer_ms : PAUSE_MOST_MS;
        f->not_before_ms = now_ms(s) + f->pause_ms;
        if (is_new(f->failed, &a->err))
            cs_log_err(CS_LOG_WARN, "the API cannot learn how far outcomes are published", &a->err,
                       "partition=%d", (int)f->partition);
    }
}

// Takes them in turn. A question that takes its whole timeout (a partition without a leader) must
// not come again and again before those that were not asked yet.
static struct freshness *next_wanted(struct api_freshness *s) {
    for (int32_t i = 0; i < s->count; i++) {
        int32_t p = (s->turn + i) % s->count;
        if (!s->list[p].wanted)
            continue;
        s->turn = p + 1;
        return &s->list[p];
    }
    return NULL;
}

static void *thread_main(void *arg) {
    struct api_freshness *s = arg;
    struct cs_published *published = s->api->consumer->published;
    prctl(PR_SET_NAME, "api-published");
    pthread_mutex_lock(&s->lock);
    while (!s->stopping) {
        struct freshness *f = next_wanted(s);
        if (!f) {
            pthread_cond_wait(&s->cond, &s->lock);
            continue;
        }
        struct cs_position at = f->at;
        struct answer a = {.epoch = f->epoch};
        f->wanted = false;
        pthread_mutex_unlock(&s->lock);
        a.ok = published->ops->last(published, f->partition, &at, &a.last, &a.exact, &a.err);
        pthread_mutex_lock(&s->lock);
        take_answer(f, &a);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

// ---- what was read

// The position went back, or Redis was away. Kafka must be asked what is published.
static void doubt(struct freshness *f) {
    f->epoch++;
    f->proven = f->asked = false;
    f->not_before_ms = f->pause_ms = 0;
    (void)settle(f);
}

static void take_position(struct freshness *f, struct cs_bytes text, int64_t generation,
                          const struct cs_position *now) {
    f->at = *now;
    f->read = true;
    f->of = generation;
    f->stand++;
    f->text_len = text.len <= TEXT_MAX ? text.len : 0;
    if (f->text_len > 0)
        memcpy(f->text, text.data, text.len);
}

// Kafka cannot help. It counts as asked, so that the other partitions are served.
static void cannot_read(struct freshness *f, const struct cs_err *err) {
    if (is_new(f->unreadable, err))
        cs_log_err(CS_LOG_ERROR, "the API cannot read where a catalog stands", err, "partition=%d",
                   (int)f->partition);
    f->asked = true;
    f->proven = false;
    (void)settle(f);
}

static void found_damage(struct freshness *f, int64_t generation, const struct cs_err *err) {
    if (f->damaged_generation != generation)
        cs_log_err(CS_LOG_ERROR, "the API found a damaged catalog", err, "partition=%d generation=%lld",
                   (int)f->partition, (long long)generation);
    f->damaged_generation = generation;
    cs_board_damaged(f->all->api->consumer->board, f->partition, generation, err->msg);
}

// The worker finds what it reads itself, too; this tells it what only the API reads.
void api_found_damage(struct cs_api *api, int32_t partition, int64_t generation, const struct cs_err *err) {
    struct api_freshness *s = api->freshness;
    pthread_mutex_lock(&s->lock);
    found_damage(&s->list[partition], generation, err);
    pthread_mutex_unlock(&s->lock);
}

struct api_seen api_seen_now(struct cs_api *api, int32_t partition) {
    struct api_freshness *s = api->freshness;
    const struct freshness *f = &s->list[partition];
    pthread_mutex_lock(&s->lock);
    struct api_seen seen = {.outcomes = f->at.outcomes, .floor = f->floor, .epoch = f->epoch};
    // What stands in another generation than the one that this loop reads, does not count.
    if (f->text_len > 0 && f->of == api->generations[partition])
        seen.stand = f->stand;
    pthread_mutex_unlock(&s->lock);
    return seen;
}

// A position that is readable and not as it was last read.
static bool take_other(struct freshness *f, struct cs_bytes text, int64_t generation,
                       const struct api_seen *seen, const struct cs_position *now) {
    bool back = f->read && now->outcomes < seen->outcomes;
    bool overtaken = f->read && !back && now->outcomes < f->at.outcomes;
    f->unreadable[0] = '\0';
    if (overtaken)
        return f->proven && f->epoch == seen->epoch && now->outcomes >= f->published &&
               now->outcomes >= seen->floor && settle(f);
    take_position(f, text, generation, now);
    if (back)
        doubt(f);
    return true;
}

// The position is the one that was read last.
static bool is_enough(struct freshness *f) {
    f->unreadable[0] = '\0';
    if (!f->proven)
        want(f);
    else if (f->at.outcomes > f->floor)
        f->floor = f->at.outcomes;
    return settle(f);
}

bool api_has_caught_up(struct cs_api *api, int32_t partition, int64_t outcomes) {
    struct api_freshness *s = api->first->freshness;
    struct freshness *f = &s->list[partition];
    pthread_mutex_lock(&s->lock);
    bool damaged = cs_board_damage(s->api->consumer->board, partition) != 0;
    if (!f->proven)
        want(f);
    bool ok = f->proven && outcomes >= f->floor && !damaged && !f->unreadable[0];
    pthread_mutex_unlock(&s->lock);
    return ok;
}

static bool read_position(struct cs_api *api, int32_t partition, const redisReply *reply,
                          struct cs_position *ret, struct cs_err *err) {
    struct cs_bytes doc;
    *ret = (struct cs_position){0};
    return api_genuine_doc(api, partition, CS_POSITION_KEY, reply, &doc, err) &&
           (!doc.data || cs_position_decode(doc, ret, err));
}

static bool is_last(const struct freshness *f, struct cs_bytes text, int64_t generation) {
    return f->read && f->of == generation && text.len > 0 && text.len == f->text_len &&
           memcmp(text.data, f->text, text.len) == 0;
}

bool api_is_fresh(struct cs_api *api, int32_t partition, int64_t generation, const struct api_seen *seen,
                  const redisReply *reply, uint64_t *ret_stand) {
    struct api_freshness *s = api->freshness;
    struct freshness *f = &s->list[partition];
    struct cs_bytes text = api_bytes(reply);
    bool fresh = true;
    *ret_stand = 0;
    pthread_mutex_lock(&s->lock);
    if (!is_last(f, text, generation)) {
        struct cs_position now;
        struct cs_err err;
        if (read_position(api, partition, reply, &now, &err)) {
            fresh = take_other(f, text, generation, seen, &now);
        } else {
            if (err.kind == CS_ERR_DAMAGED)
                found_damage(f, generation, &err);
            cannot_read(f, &err);
            fresh = false;
        }
    }
    if (is_last(f, text, generation))
        *ret_stand = f->stand;
    if (fresh && (*ret_stand != 0 || text.len == 0 || text.len > TEXT_MAX))
        fresh = is_enough(f);
    pthread_mutex_unlock(&s->lock);
    return fresh;
}

void api_freshness_doubt(struct api_freshness *s) {
    pthread_mutex_lock(&s->lock);
    for (int32_t p = 0; p < s->count; p++)
        doubt(&s->list[p]);
    pthread_mutex_unlock(&s->lock);
}

// A partition without a proof (its outcomes are damaged) must not stop the others.
bool api_freshness_known(struct api_freshness *s) {
    bool all_asked = true, some_proven = false;
    pthread_mutex_lock(&s->lock);
    for (int32_t p = 0; p < s->count; p++) {
        all_asked = all_asked && s->list[p].asked;
        some_proven = some_proven || s->list[p].proven;
    }
    pthread_mutex_unlock(&s->lock);
    return all_asked && some_proven;
}

// ---- looking

void api_put_freshness_keys(struct cs_buf *command, struct cs_api *api, int32_t partition,
                            int64_t generation) {
    api_put_key_of(command, api, partition, 0, CS_GENERATION_KEY);
    api_put_key_of(command, api, partition, generation, CS_POSITION_KEY);
}

static void on_look(const redisReply *reply, void *arg) {
    struct freshness *f = arg;
    struct cs_api *api = f->all->api;
    f->looking = false;
    if (api_elements(reply) != 2)
        return;
    int64_t generation = api_generation(reply->element[0]);
    bool same = generation == f->look_generation;
    uint64_t ignored;
    if (generation > 0)
        api->generations[f->partition] = generation;
    if (generation > 0 && same)
        (void)api_is_fresh(api, f->partition, generation, &f->look_seen, reply->element[1], &ignored);
}

void api_freshness_look(struct api_freshness *s) {
    for (int32_t p = 0; p < s->count; p++) {
        struct freshness *f = &s->list[p];
        CS_AUTO(cs_buf_clear) struct cs_buf command;
        cs_buf_init(&command, 512);
        if (f->looking)
            continue;
        cs_redis_put(&command, 3);
        cs_redis_put_text(&command, "MGET");
        f->look_generation = s->api->generations[p];
        f->look_seen = api_seen_now(s->api, p);
        api_put_freshness_keys(&command, s->api, p, f->look_generation);
        f->looking = cs_redis_pool_send(s->api->redis, p, &command, on_look, f);
    }
}

static void on_timer(void *arg) {
    api_freshness_look(arg);
}

// ---- life

bool api_freshness_new(struct cs_api *api, struct api_freshness **ret, struct cs_err *err) {
    const struct cs_consumer *c = api->consumer;
    struct api_freshness *s = calloc(1, sizeof *s + (size_t)c->partition_count * sizeof s->list[0]);
    if (!s)
        return cs_err_oom(err);
    s->api = api;
    s->count = c->partition_count;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->cond, NULL);
    for (int32_t p = 0; p < s->count; p++)
        s->list[p] = (struct freshness){.all = s, .partition = p, .held = true};
    s->held = s->count;
    s->gauge =
        cs_metric_0(cs_metrics_gauge(c->metrics, "certsync_api_held_partitions",
                                     "Partitions that the API does not answer for: their catalogs have not "
                                     "caught up with the published outcomes, as far as is known.",
                                     NULL));
    cs_series_set(s->gauge, s->held);
    s->timer = cs_timer_new(api->loop, 0, LOOK_EVERY_MS, on_timer, s);
    s->started = (s->timer || cs_err_oom(err)) && cs_thread_new(&s->thread, thread_main, s, err);
    if (!s->started) {
        api_freshness_free(s);
        return false;
    }
    *ret = s;
    return true;
}

void api_freshness_free(struct api_freshness *s) {
    if (!s)
        return;
    struct cs_published *published = s->api->consumer->published;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->cond);
    pthread_mutex_unlock(&s->lock);
    if (s->started) {
        published->ops->stop(published);
        pthread_join(s->thread, NULL);
    }
    cs_timer_free(s->timer);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
