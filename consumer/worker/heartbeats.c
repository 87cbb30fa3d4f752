// SPDX-License-Identifier: Apache-2.0
#include "worker/heartbeats.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "certsync/runtime/kafka.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/thread.h"
#include "worker/hearing.h"
#include "worker/preflight.h"
#include "worker/record.h"

#define TAIL_RECORDS   10000 // of a partition, read again at a start
#define WAIT_MS        200
#define ASK_MS         5000
#define RETRY_MS       1000
#define LOOK_SOONER_MS 5000   // while something is wrong with the topic
#define CALM_MS        12000  // after the last failure to read it; librdkafka tells of one each 5 seconds
#define TOLD_EVERY_MS  600000 // a reason is logged again

struct heard_partition {
    bool reading;
    int64_t next; // offset; -1: from the tail
    int64_t retry_at_ms;
    size_t review_at;
    int64_t review_due_ms;
    int64_t ended_keys; // as the board counted them at the last review
};

struct cs_heartbeats {
    const struct cs_consumer *c;
    struct cs_hearing hearing;
    pthread_t thread;
    bool started;
    atomic_bool stopping;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int tls;    // *c->kafka_tls when the client was made
    bool sound; // the topic is what it must be
    int64_t look_due_ms;
    int64_t failed_ms; // when a partition could not be read last; 0: never
    char told[CS_TROUBLE_TEXT_MAX];
    int64_t told_ms[CS_HEARTBEAT_END_COUNT];
    struct cs_series *ends[CS_HEARTBEAT_END_COUNT];
    struct heard_partition *partitions;
    rd_kafka_message_t *messages[CS_HEARD_MAX];
    size_t len;
    struct cs_hearing_record records[CS_HEARD_MAX];
    struct cs_message_headers headers[CS_HEARD_MAX];
};

static int64_t now_ms(const struct cs_heartbeats *l) {
    return cs_clock_mono_ms(l->c->clock);
}

static void set_trouble(struct cs_heartbeats *l, const struct cs_err *err) {
    const char *text = err ? err->msg : "";
    bool was = l->told[0];
    if (strncmp(l->told, text, sizeof l->told - 1) == 0)
        return;
    snprintf(l->told, sizeof l->told, "%s", text);
    cs_board_trouble(l->c->board, CS_TROUBLE_HEARTBEATS, text);
    if (err)
        cs_log_err(CS_LOG_WARN, "hosts' heartbeats are not heard; events are judged as before", err,
                   "topic=%s", l->c->settings->heartbeats_topic);
    else if (was)
        cs_log(CS_LOG_INFO, "hosts' heartbeats are heard again", "topic=%s",
               l->c->settings->heartbeats_topic);
}

// --- the client

static bool open_client(struct cs_heartbeats *l, struct cs_err *err) {
    const struct cs_consumer_settings *s = l->c->settings;
    rd_kafka_conf_t *conf = NULL;
    char text[200];
    l->tls = atomic_load(l->c->kafka_tls);
    if (!cs_kafka_conf_consumer(&s->kafka, "certsync-consumer-heartbeats", NULL, &conf, err))
        return false;
    if (rd_kafka_conf_set(conf, "queued.max.messages.kbytes", "1024", text, sizeof text) !=
        RD_KAFKA_CONF_OK) {
        rd_kafka_conf_destroy(conf);
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "librdkafka: %s", text);
    }
    if (!cs_kafka_new(RD_KAFKA_CONSUMER, conf, &l->rk, err))
        return false;
    l->topic = rd_kafka_topic_new(l->rk, s->heartbeats_topic, NULL);
    l->queue = rd_kafka_queue_new(l->rk);
    return l->topic || cs_kafka_err(err, rd_kafka_last_error(), "topic %s", s->heartbeats_topic);
}

static void stop_reading(struct cs_heartbeats *l, int32_t p) {
    if (l->partitions[p].reading)
        rd_kafka_consume_stop(l->topic, p);
    l->partitions[p].reading = false;
}

static void close_client(struct cs_heartbeats *l) {
    for (int32_t p = 0; p < l->c->partition_count; p++)
        stop_reading(l, p);
    if (l->queue)
        rd_kafka_queue_destroy(l->queue);
    if (l->topic)
        rd_kafka_topic_destroy(l->topic);
    if (l->rk)
        rd_kafka_destroy(l->rk);
    l->queue = NULL;
    l->topic = NULL;
    l->rk = NULL;
}

// The old client ends first: two would read the same.
static bool have_client(struct cs_heartbeats *l) {
    struct cs_err err;
    if (l->rk && l->tls == atomic_load(l->c->kafka_tls))
        return true;
    close_client(l);
    if (open_client(l, &err))
        return true;
    close_client(l);
    set_trouble(l, &err);
    return false;
}

// --- the topic

static void look_at_topic(struct cs_heartbeats *l) {
    const struct cs_consumer *c = l->c;
    struct cs_err err;
    if (now_ms(l) < l->look_due_ms)
        return;
    bool sound = cs_preflight_heartbeats(l->rk, c->settings, c->partition_count, ASK_MS, &err);
    // That its settings are right does not mean that it can be read.
    bool read = l->failed_ms == 0 || now_ms(l) - l->failed_ms >= CALM_MS;
    if (sound && read)
        set_trouble(l, NULL);
    else if (!sound && err.kind != CS_ERR_RETRY) // that brokers are away is reported already
        set_trouble(l, &err);
    if (sound || err.kind != CS_ERR_RETRY)
        l->sound = sound;
    int64_t every_ms = l->c->settings->inspect_every_ms;
    l->look_due_ms = now_ms(l) + ((sound && read) || every_ms < LOOK_SOONER_MS ? every_ms : LOOK_SOONER_MS);
}

static bool start_reading(struct cs_heartbeats *l, int32_t p, struct cs_err *err) {
    struct heard_partition *h = &l->partitions[p];
    const char *topic = l->c->settings->heartbeats_topic;
    int64_t low = 0, high = 0;
    if (!cs_kafka_watermarks(l->rk, topic, p, ASK_MS, &low, &high, err))
        return false;
    int64_t tail = high - low > TAIL_RECORDS ? high - TAIL_RECORDS : low;
    if (h->next < tail || h->next > high)
        h->next = tail;
    if (rd_kafka_consume_start_queue(l->topic, p, h->next, l->queue) != 0)
        return cs_kafka_err(err, rd_kafka_last_error(), "reading %s partition %d", topic, (int)p);
    h->reading = true;
    return true;
}

static void failed(struct cs_heartbeats *l, int32_t p, const struct cs_err *err) {
    stop_reading(l, p);
    l->partitions[p].retry_at_ms = now_ms(l) + RETRY_MS;
    if (err->kind == CS_ERR_RETRY || err->kind == CS_ERR_DAMAGED)
        return;
    l->failed_ms = now_ms(l);
    if (!l->told[0]) // each partition fails with a text of its own: one is enough
        set_trouble(l, err);
}

// Reads the partitions that this process has and that run: only their catalogs know the keys.
static void follow_board(struct cs_heartbeats *l) {
    for (int32_t p = 0; p < l->c->partition_count && !atomic_load(&l->stopping); p++) {
        struct heard_partition *h = &l->partitions[p];
        struct cs_board_entry e;
        struct cs_err err;
        cs_board_get(l->c->board, p, &e);
        if (e.state == CS_BOARD_ELSEWHERE) {
            h->next = -1;
            h->review_due_ms = 0;
        }
        if (!l->sound || e.state != CS_BOARD_RUNNING)
            stop_reading(l, p);
        else if (!h->reading && now_ms(l) >= h->retry_at_ms && !start_reading(l, p, &err))
            failed(l, p, &err);
    }
}

// --- records

// The first of each kind is named, and then one in a while: what somebody sends without end must not
// fill the log.
static void tell_end(struct cs_heartbeats *l, const struct cs_hearing_record *r) {
    const struct cs_heartbeat *h = &r->read.heartbeat;
    int64_t now = now_ms(l);
    bool named = r->end != CS_HEARTBEAT_MALFORMED && r->end != CS_HEARTBEAT_SENDER_TIME;
    cs_series_inc(l->ends[r->end]);
    if (r->end == CS_HEARTBEAT_TAKEN || r->end == CS_HEARTBEAT_OLD ||
        (l->told_ms[r->end] && now - l->told_ms[r->end] < TOLD_EVERY_MS))
        return;
    l->told_ms[r->end] = now;
    cs_log(CS_LOG_WARN, "a heartbeat counts for nothing; certsync_heartbeats_total counts such ones",
           "end=%s why=%s partition=%d offset=%" PRId64 " account=%s kid=%s", cs_heartbeat_end_name(r->end),
           cs_heartbeat_end_sentence(r->end), (int)r->record.partition, r->record.offset,
           named ? h->account : "-", named ? h->kid : "-");
}

// Something else wrote to Redis. A catalog is made again by its worker; here nothing is lost.
static void damaged(struct cs_heartbeats *l, int32_t p, bool catalog, const struct cs_err *why) {
    struct cs_err err;
    int64_t generation = l->hearing.catalog->ops->generation(l->hearing.catalog, p);
    if (catalog)
        cs_board_damaged(l->c->board, p, generation ? generation : CS_BOARD_ANY_GENERATION, why->msg);
    else if (cs_heard_reset(l->hearing.store, p, &err))
        cs_log_err(CS_LOG_WARN, "what is remembered of heartbeats is made anew", why, "partition=%d", (int)p);
}

static void hearing_failed(struct cs_heartbeats *l, int32_t p, bool catalog, const struct cs_err *err) {
    if (err->kind == CS_ERR_DAMAGED)
        damaged(l, p, catalog, err);
    failed(l, p, err);
}

static bool is_running(const struct cs_heartbeats *l, int32_t p) {
    struct cs_board_entry e;
    cs_board_get(l->c->board, p, &e);
    return e.state == CS_BOARD_RUNNING;
}

// Messages from `from` on that are records of its partition. If they cannot be judged now, they are
// read again later.
static size_t take_group(struct cs_heartbeats *l, size_t from) {
    int32_t p = l->messages[from]->partition;
    struct heard_partition *h = &l->partitions[p];
    bool catalog = false;
    struct cs_err err;
    size_t n = 0;
    for (; from + n < l->len && !l->messages[from + n]->err && l->messages[from + n]->partition == p; n++) {
        struct cs_hearing_record *r = &l->records[n];
        rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        if (!cs_record_of_message(l->messages[from + n], &l->headers[n], &r->record, &type))
            r->record.headers_len = 0; // no memory: it counts as unsigned
        r->sender_time = type != RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME && !l->c->settings->allow_create_time;
    }
    if (!is_running(l, p)) {
        stop_reading(l, p);
    } else if (h->reading && cs_hearing_take(&l->hearing, p, l->records, n, &catalog, &err)) {
        h->next = l->messages[from + n - 1]->offset + 1;
        for (size_t i = 0; i < n; i++)
            tell_end(l, &l->records[i]);
    } else if (h->reading) {
        hearing_failed(l, p, catalog, &err);
    }
    for (size_t i = 0; i < n; i++)
        cs_message_headers_clear(&l->headers[i]);
    return n;
}

static void on_message_error(struct cs_heartbeats *l, const rd_kafka_message_t *m) {
    struct cs_err err;
    bool ours = m->rkt && m->partition >= 0 && m->partition < l->c->partition_count;
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || !ours)
        return;
    cs_kafka_err(&err, m->err, "reading %s partition %d", l->c->settings->heartbeats_topic,
                 (int)m->partition);
    failed(l, m->partition, &err);
    l->look_due_ms = 0; // it says better what is wrong with the topic
}

static void take_messages(struct cs_heartbeats *l) {
    // librdkafka waits until a batch is full. So only what is there already is taken as one.
    ssize_t n = rd_kafka_consume_batch_queue(l->queue, 0, l->messages, CS_HEARD_MAX);
    l->len = n > 0 ? (size_t)n : 0;
    if (l->len == 0 && (l->messages[0] = rd_kafka_consume_queue(l->queue, WAIT_MS)))
        l->len = 1;
    for (size_t i = 0; i < l->len;) {
        if (l->messages[i]->err)
            on_message_error(l, l->messages[i++]);
        else
            i += take_group(l, i);
    }
    for (size_t i = 0; i < l->len; i++)
        rd_kafka_message_destroy(l->messages[i]);
    l->len = 0;
}

// --- hosts whose keys have ended

static void review(struct cs_heartbeats *l, int32_t p) {
    struct heard_partition *h = &l->partitions[p];
    struct cs_board_entry e;
    struct cs_err err;
    bool catalog = false;
    cs_board_get(l->c->board, p, &e);
    if (e.state != CS_BOARD_RUNNING || now_ms(l) < h->retry_at_ms)
        return;
    if (e.ended_keys != h->ended_keys) {
        h->ended_keys = e.ended_keys;
        h->review_at = 0;
        h->review_due_ms = 0;
    }
    if (now_ms(l) < h->review_due_ms)
        return;
    if (!cs_hearing_review(&l->hearing, p, &h->review_at, &catalog, &err))
        hearing_failed(l, p, catalog, &err);
    else if (h->review_at == 0)
        h->review_due_ms = now_ms(l) + l->c->settings->inspect_every_ms;
}

// --- the thread

static void turn(struct cs_heartbeats *l) {
    if (!have_client(l)) {
        poll(NULL, 0, RETRY_MS);
        return;
    }
    look_at_topic(l);
    follow_board(l);
    take_messages(l);
    for (int32_t p = 0; p < l->c->partition_count && !atomic_load(&l->stopping); p++)
        review(l, p);
}

static void *thread_main(void *arg) {
    struct cs_heartbeats *l = arg;
    prctl(PR_SET_NAME, "heartbeats");
    while (!atomic_load(&l->stopping))
        turn(l);
    close_client(l);
    return NULL;
}

static void make_metrics(struct cs_heartbeats *l) {
    static const char *const by_end[] = {"end", NULL};
    struct cs_metric *m = cs_metrics_counter(l->c->metrics, "certsync_heartbeats_total",
                                             "Heartbeats that were read, by what became of them.", by_end);
    for (size_t i = 0; i < CS_HEARTBEAT_END_COUNT; i++)
        l->ends[i] = cs_metric_1(m, cs_heartbeat_end_name((enum cs_heartbeat_end)i));
}

static bool make_hearing(struct cs_heartbeats *l, struct cs_err *err) {
    const struct cs_consumer *c = l->c;
    const char *name_space = c->settings->redis_namespace;
    l->hearing = (struct cs_hearing){.log_id = c->log_id, .partition_count = c->partition_count};
    return cs_crypto_new(&l->hearing.crypto, err) &&
           cs_key_cache_new(l->hearing.crypto, c->root_spki, &l->hearing.keys, err) &&
           cs_catalog_redis_new(&c->redis, name_space, c->service, c->log_id, &l->hearing.catalog, err) &&
           cs_heard_store_new(&c->redis, name_space, c->service, c->log_id, &l->hearing.store, err);
}

bool cs_heartbeats_start(const struct cs_consumer *c, struct cs_heartbeats **ret, struct cs_err *err) {
    CS_AUTO(cs_heartbeats_free) struct cs_heartbeats *l = calloc(1, sizeof *l);
    if (!l)
        return cs_err_oom(err);
    l->c = c;
    l->partitions = calloc((size_t)c->partition_count, sizeof *l->partitions);
    if (!l->partitions)
        return cs_err_oom(err);
    for (int32_t p = 0; p < c->partition_count; p++)
        l->partitions[p].next = -1;
    make_metrics(l);
    l->started = make_hearing(l, err) && cs_thread_new(&l->thread, thread_main, l, err);
    if (!l->started)
        return false;
    *ret = CS_TAKE(l);
    return true;
}

void cs_heartbeats_free(struct cs_heartbeats *l) {
    if (!l)
        return;
    if (l->started) {
        atomic_store(&l->stopping, true);
        pthread_join(l->thread, NULL);
    }
    cs_heard_store_free(l->hearing.store);
    cs_catalog_free(l->hearing.catalog);
    cs_key_cache_free(l->hearing.keys);
    cs_crypto_free(l->hearing.crypto);
    free(l->partitions);
    free(l);
}
