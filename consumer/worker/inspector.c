// SPDX-License-Identifier: Apache-2.0
#include "worker/inspector.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "certsync/runtime/wakeup.h"
#include "worker/counting.h"
#include "worker/preflight.h"

#define CLIENT    "certsync-consumer-inspector"
#define TICK_MS   2000
#define ASK_MS    5000
#define QUIET_MS  10000 // brokers that are silent for so long are away
#define SOONER_MS 2000  // between two looks while something fails

struct cs_inspector {
    const struct cs_consumer *c;
    struct cs_topic *corrections;
    pthread_t thread;
    bool started;
    struct cs_wakeup wakeup;
    rd_kafka_t *rk;
    struct cs_counting *counting;
    int64_t count_due_ms;
    int tls;               // *c->kafka_tls when the client was made
    int64_t *ends, *least; // by partition, for one answer
    int64_t heard_ms;
    int64_t look_due_ms;
    int64_t evicted; // as Redis told last; -1: not asked yet
    char told[CS_BOARD_TROUBLES][CS_TROUBLE_TEXT_MAX];
};

static int64_t now_ms(const struct cs_inspector *i) {
    return cs_clock_mono_ms(i->c->clock);
}

static void set(struct cs_inspector *i, enum cs_board_trouble t, const struct cs_err *err) {
    const char *text = err ? err->msg : "";
    bool was = i->told[t][0];
    if (strncmp(i->told[t], text, sizeof i->told[t] - 1) == 0)
        return;
    snprintf(i->told[t], sizeof i->told[t], "%s", text);
    cs_board_trouble(i->c->board, t, text);
    if (err)
        cs_log_err(CS_LOG_ERROR, "something that the consumer rests on is not well", err, "what=%s",
                   cs_board_trouble_name(t));
    else if (was)
        cs_log(CS_LOG_INFO, "what the consumer rests on is well again", "what=%s", cs_board_trouble_name(t));
}

// --- the client

static bool open_client(struct cs_inspector *i, struct cs_err *err) {
    const struct cs_consumer_settings *s = i->c->settings;
    struct cs_topic_options corrections = {&s->kafka, CLIENT, s->corrections_topic, -1, .headers = true};
    struct cs_topic *topic = NULL;
    rd_kafka_conf_t *conf = NULL;
    i->tls = atomic_load(i->c->kafka_tls);
    if (!cs_topic_kafka_new(&corrections, &topic, err) ||
        !cs_kafka_conf_consumer(&s->kafka, CLIENT, NULL, &conf, err) ||
        !cs_kafka_new(RD_KAFKA_CONSUMER, conf, &i->rk, err)) {
        cs_topic_free(topic);
        return false;
    }
    cs_topic_free(i->corrections);
    i->corrections = topic;
    return true;
}

static void renew_client(struct cs_inspector *i) {
    rd_kafka_t *old = i->rk;
    struct cs_err err;
    if (i->tls == atomic_load(i->c->kafka_tls))
        return;
    if (open_client(i, &err))
        rd_kafka_destroy(old);
    else
        cs_log_err(CS_LOG_WARN, "the client with the changed files could not be made", &err,
                   "client=inspector");
}

// --- the brokers

static void quiet(struct cs_inspector *i, const struct cs_err *why) {
    struct cs_err err = *why;
    int64_t silent_ms = now_ms(i) - i->heard_ms;
    if (silent_ms < QUIET_MS && why->kind == CS_ERR_RETRY)
        return;
    // Without the seconds: a text that changes at each look would be logged at each.
    cs_err_prepend(&err, "the brokers of %s do not answer", i->c->settings->kafka.brokers);
    set(i, CS_TROUBLE_KAFKA, &err);
}

static void ask_brokers(struct cs_inspector *i) {
    const struct cs_consumer *c = i->c;
    struct cs_err err;
    if (!cs_kafka_offsets(i->rk, c->settings->events_topic, c->partition_count, CS_KAFKA_END, ASK_MS, i->ends,
                          &err)) {
        quiet(i, &err);
        return;
    }
    i->heard_ms = now_ms(i);
    set(i, CS_TROUBLE_KAFKA, NULL);
    for (int32_t p = 0; p < c->partition_count; p++)
        cs_board_end_seen(c->board, p, i->ends[p]);
}

// --- topics and Redis

// Whether a topic reaches as far as what was read and published. If not, it was truncated or made
// anew.
static bool check_ends(struct cs_inspector *i, const char *topic, bool events, struct cs_err *err) {
    const struct cs_consumer *c = i->c;
    for (int32_t p = 0; p < c->partition_count; p++) {
        struct cs_board_entry e;
        cs_board_get(c->board, p, &e);
        i->least[p] = e.state == CS_BOARD_ELSEWHERE ? 0 : events ? e.next_offset : e.outcomes;
    }
    if (!cs_kafka_offsets(i->rk, topic, c->partition_count, CS_KAFKA_END, ASK_MS, i->ends, err))
        return false;
    for (int32_t p = 0; p < c->partition_count; p++)
        if (i->ends[p] < i->least[p])
            return cs_err_set(
                err, CS_ERR_FATAL, CS_CODE_NONE,
                "topic %s partition %d ends at offset %lld, but the catalog stands on %lld records of it: it "
                "was truncated or made anew; restore it",
                topic, (int)p, (long long)i->ends[p], (long long)i->least[p]);
    return true;
}

static bool check_topics(struct cs_inspector *i, struct cs_err *err) {
    const struct cs_consumer_settings *s = i->c->settings;
    return cs_preflight_topics(i->rk, s, i->c->partition_count, ASK_MS, err) &&
           cs_preflight_log(i->rk, s, i->c->log_id, ASK_MS, err) &&
           check_ends(i, s->events_topic, true, err) && check_ends(i, s->outcomes_topic, false, err) &&
           cs_corrections_read(i->c->corrections, i->corrections, ASK_MS, err);
}

// Whoever waits for a correction does not wait for the next look at everything.
static void look_at_corrections(struct cs_inspector *i) {
    struct cs_err err;
    if (!cs_corrections_read(i->c->corrections, i->corrections, ASK_MS, &err) && err.kind != CS_ERR_RETRY)
        set(i, CS_TROUBLE_TOPICS, &err);
}

static void look_at_topics(struct cs_inspector *i) {
    struct cs_err err;
    if (check_topics(i, &err))
        set(i, CS_TROUBLE_TOPICS, NULL);
    else if (err.kind != CS_ERR_RETRY) // that brokers are away is reported already
        set(i, CS_TROUBLE_TOPICS, &err);
}

// Whoever reads a key that is gone notices it. But nobody may read it for long: all is made again.
static void look_at_evicted(struct cs_inspector *i, int64_t evicted) {
    bool more = i->evicted >= 0 && evicted > i->evicted;
    char what[CS_ERR_MSG_MAX];
    i->evicted = evicted;
    if (!more)
        return;
    snprintf(
        what, sizeof what,
        "Redis threw keys away (evicted_keys is %lld): set maxmemory-policy to noeviction, and maxmemory "
        "higher; what may be missing is made again",
        (long long)evicted);
    cs_log(CS_LOG_ERROR, "Redis threw keys away", "evicted_keys=%lld", (long long)evicted);
    for (int32_t p = 0; p < i->c->partition_count; p++)
        cs_board_damaged(i->c->board, p, CS_BOARD_ANY_GENERATION, what);
}

static void look_at_redis(struct cs_inspector *i) {
    struct cs_err err;
    struct cs_preflight_redis checked;
    bool ok = cs_preflight_redis(i->c->settings, 1, &checked, &err);
    bool rights = checked.rights;
    if (ok || err.kind != CS_ERR_RETRY)
        look_at_evicted(i, checked.evicted);
    if (ok) {
        set(i, CS_TROUBLE_REDIS, NULL);
        set(i, CS_TROUBLE_RIGHTS, NULL);
        return;
    }
    if (err.kind == CS_ERR_RETRY) // the partitions report that Redis is away
        return;
    if (rights)
        set(i, CS_TROUBLE_REDIS, NULL); // an earlier look may have set it
    set(i, rights ? CS_TROUBLE_RIGHTS : CS_TROUBLE_REDIS, &err);
}

// Whether a partition fails. Then what it needs is checked soon.
static bool some_fail(const struct cs_inspector *i) {
    for (int32_t p = 0; p < i->c->partition_count; p++) {
        struct cs_board_entry e;
        cs_board_get(i->c->board, p, &e);
        if (e.state == CS_BOARD_WAITING || e.state == CS_BOARD_STOPPED)
            return true;
    }
    for (int t = 0; t < CS_BOARD_TROUBLES; t++)
        if (i->told[t][0])
            return true;
    return false;
}

// --- the thread

static void look(struct cs_inspector *i) {
    renew_client(i);
    ask_brokers(i);
    look_at_corrections(i);
    int64_t now = now_ms(i);
    if (now >= i->count_due_ms) {
        cs_counting_look(i->counting);
        i->count_due_ms = now_ms(i) + i->c->settings->inspect_every_ms;
    }
    int64_t sooner_ms = i->look_due_ms - i->c->settings->inspect_every_ms + SOONER_MS;
    if (now < i->look_due_ms && !(some_fail(i) && now >= sooner_ms))
        return;
    look_at_topics(i);
    look_at_redis(i);
    i->look_due_ms = now_ms(i) + i->c->settings->inspect_every_ms;
}

static void *thread_main(void *arg) {
    struct cs_inspector *i = arg;
    prctl(PR_SET_NAME, "inspector");
    look_at_redis(i); // from now on, what it throws away is counted
    do {
        look(i);
    } while (cs_wakeup_wait(&i->wakeup, TICK_MS, false));
    return NULL;
}

bool cs_inspector_start(const struct cs_consumer *c, struct cs_inspector **ret, struct cs_err *err) {
    struct cs_inspector *made = calloc(1, sizeof *made);
    if (!made)
        return cs_err_oom(err);
    cs_wakeup_init(&made->wakeup);
    CS_AUTO(cs_inspector_free) struct cs_inspector *i = made;
    i->c = c;
    i->evicted = -1;
    i->heard_ms = now_ms(i); // the start checked everything a moment ago
    i->look_due_ms = i->heard_ms + c->settings->inspect_every_ms;
    i->ends = calloc((size_t)c->partition_count, sizeof *i->ends);
    i->least = calloc((size_t)c->partition_count, sizeof *i->least);
    if (!i->ends || !i->least)
        return cs_err_oom(err);
    i->started = cs_counting_new(c, &i->counting, err) && open_client(i, err) &&
                 cs_thread_new(&i->thread, thread_main, i, err);
    if (!i->started)
        return false;
    *ret = CS_TAKE(i);
    return true;
}

void cs_inspector_free(struct cs_inspector *i) {
    if (!i)
        return;
    if (i->started) {
        cs_wakeup_stop(&i->wakeup);
        pthread_join(i->thread, NULL);
    }
    cs_topic_free(i->corrections);
    if (i->rk)
        rd_kafka_destroy(i->rk);
    cs_counting_free(i->counting);
    cs_wakeup_destroy(&i->wakeup);
    free(i->ends);
    free(i->least);
    free(i);
}
