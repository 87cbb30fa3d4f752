// SPDX-License-Identifier: Apache-2.0
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "certsync/runtime/kafka.h"
#include "certsync/runtime/log.h"
#include "worker_internal.h"

#define BACKSTOP_MS       100 // longest wait without looking at the queues
#define OFFSETS_EVERY_MS  5000
#define HEARTBEAT_MS      500 // how soon a worker learns that another one has come
#define REVOKE_DRAIN_MS   2000
#define LOOK_EVERY_MS     1000
#define ASSIGN_PAUSE_MS   20
#define START_FOR_MS      500
#define MEASURE_EVERY_MS  2000
#define MEASURE_LATER_MS  10000   // after brokers did not answer
#define BROKER_BUSY_MS    10000   // what one question to the brokers may take
#define METADATA_EVERY_MS "10000" // how soon a topic is seen again that was not to be had
#define START_BUSY_MS     60000   // and those of a partition's start

int64_t cs_worker_now_ms(const struct cs_worker *w) {
    return cs_clock_mono_ms(w->c->clock);
}

int64_t cs_worker_now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void fail(struct cs_worker *w, const struct cs_err *err) {
    if (!w->failed)
        w->failure = *err;
    w->failed = true;
}

// --- the group

static struct cs_partition *find_partition(struct cs_worker *w, int32_t id) {
    for (struct cs_partition *p = w->partitions; p; p = p->next)
        if (p->id == id)
            return p;
    return NULL;
}

// A partition that is taken away a second time before its fetcher has stopped ends the process in librdkafka 2.0 (an
// assertion of rd_kafka_assignment_partition_stopped): between two changes of the assignment its thread has this long.
static void note_assigned(struct cs_worker *w) {
    w->settled_at_ms = cs_worker_now_ms(w) + ASSIGN_PAUSE_MS;
}

static bool settled(const struct cs_worker *w) {
    return cs_worker_now_ms(w) >= w->settled_at_ms;
}

// Gives librdkafka the partitions that are read, each with the offset that comes next. The others are fetched
// again from where they stand: librdkafka 2.0 knows no way to change one offset alone that is safe.
static void assign_partitions(struct cs_worker *w) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (struct cs_partition *p = w->partitions; p; p = p->next)
        if (p->state == CS_PARTITION_RUNNING)
            rd_kafka_topic_partition_list_add(list, w->c->settings->events_topic, p->id)->offset =
                p->next_fetch;
    rd_kafka_resp_err_t code = rd_kafka_assign(w->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    note_assigned(w);
    struct cs_err err;
    if (code) {
        cs_kafka_err(&err, code, "assigning partitions");
        cs_log_err(CS_LOG_WARN, "partitions could not be assigned", &err, "worker=%d", w->index);
        w->assign_at_ms = cs_worker_now_ms(w) + 1000;
        return;
    }
    w->assign_due = false;
}

static void add_partitions(struct cs_worker *w, const rd_kafka_topic_partition_list_t *list) {
    struct cs_err err;
    for (int i = 0; i < list->cnt; i++) {
        int32_t id = list->elems[i].partition;
        struct cs_partition *p = NULL;
        // One that was not there at the start is not judged; the inspector says that the topic has more than it may.
        if (id < 0 || id >= w->c->partition_count || find_partition(w, id))
            continue;
        if (!cs_partition_new(w, id, &p, &err)) {
            fail(w, &err);
            return;
        }
        p->next = w->partitions;
        w->partitions = p;
        cs_board_take(w->c->board, id, w->index);
    }
}

static void finish_flight(struct cs_worker *w, int64_t for_ms);

static void remove_partitions(struct cs_worker *w, const char *why) {
    if (w->flight && w->phase > CS_FLIGHT_COMPARING)
        finish_flight(w, REVOKE_DRAIN_MS);
    cs_flight_abandon(w);
    while (w->partitions) {
        struct cs_partition *p = w->partitions;
        cs_batch_drop_of(w, p);
        cs_board_let_go(w->c->board, p->id, w->index, why);
        w->partitions = p->next;
        cs_partition_free(p);
    }
    w->next_turn = NULL;
}

static void leave(struct cs_worker *w) {
    if (w->joined)
        cs_board_worker_joined(w->c->board, false);
    w->joined = false;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                         void *opaque) {
    struct cs_worker *w = opaque;
    bool assigned = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    w->group_trouble_ms = 0;
    cs_log(CS_LOG_INFO, assigned ? "partitions assigned" : "partitions revoked", "worker=%d partitions=%d",
           w->index, list ? list->cnt : 0);
    if (!assigned) {
        remove_partitions(
            w, rd_kafka_assignment_lost(rk)
                   ? "the brokers were not heard of for longer than kafka.session_timeout, so that another "
                     "consumer may have taken it over; the group is asked again by itself"
                   : "the consumer group is sharing out its partitions anew");
        leave(w);
        rd_kafka_assign(rk, NULL);
        note_assigned(w);
        return;
    }
    add_partitions(w, list);
    // Nothing is fetched before each partition's position is read: the main loop assigns them then.
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
    rd_kafka_assign(rk, none);
    note_assigned(w);
    rd_kafka_topic_partition_list_destroy(none);
    cs_board_settle(w->c->board, w->index);
    cs_board_worker_trouble(w->c->board, w->index, NULL);
    if (!w->joined)
        cs_board_worker_joined(w->c->board, true);
    w->joined = true;
}

// What keeps a worker out of its group is told and tried again: a right that was taken away may come back.
static void group_error(struct cs_worker *w, const rd_kafka_message_t *m) {
    struct cs_err err;
    char text[64];
    rd_kafka_resp_err_t fatal = m->err == RD_KAFKA_RESP_ERR__FATAL
                                    ? rd_kafka_fatal_error(w->rk, text, sizeof text)
                                    : RD_KAFKA_RESP_ERR_NO_ERROR;
    cs_kafka_err(&err, fatal ? fatal : m->err, "consumer group %s: %s", w->c->settings->group,
                 rd_kafka_message_errstr(m));
    if (fatal) {
        err.kind = CS_ERR_FATAL; // the client ended for good: whoever supervises the process starts another
        fail(w, &err);
        return;
    }
    if (err.kind != CS_ERR_RETRY) {
        cs_board_worker_trouble(w->c->board, w->index, err.msg);
        w->group_trouble_ms = cs_worker_now_ms(w);
    }
    cs_log_err(CS_LOG_WARN, "consumer group", &err, "worker=%d", w->index);
}

// Not each error costs the worker its assignment, which alone would tell that all is well: a search for the coordinator may be refused, and
// the next one not. A worker that still has its partitions after this time is in its group: else its session would have ended.
static void forget_group_trouble(struct cs_worker *w) {
    if (!w->group_trouble_ms || !w->joined ||
        cs_worker_now_ms(w) - w->group_trouble_ms <= 2 * w->c->settings->session_timeout_ms)
        return;
    w->group_trouble_ms = 0;
    cs_board_worker_trouble(w->c->board, w->index, NULL);
    cs_log(CS_LOG_INFO, "the consumer group is well again", "worker=%d", w->index);
}

static void serve_group(struct cs_worker *w) {
    while (settled(w)) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(w->rk, 0);
        if (!m)
            return;
        struct cs_err err;
        if (!m->err) {
            // Records come by their own queues only; one that came here would be missing there.
            cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "a record came by the group's queue");
            struct cs_partition *p = find_partition(w, m->partition);
            if (p)
                cs_partition_failed(w, p, &err);
        } else if (m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            group_error(w, m);
        }
        rd_kafka_message_destroy(m);
    }
}

// Kafka's own record of offsets: for lag tools, nothing of ours reads it.
static void store_offsets(struct cs_worker *w, bool wait) {
    int64_t now = cs_worker_now_ms(w);
    if (!wait && now < w->offsets_due_ms)
        return;
    w->offsets_due_ms = now + OFFSETS_EVERY_MS;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (struct cs_partition *p = w->partitions; p; p = p->next) {
        if (p->state != CS_PARTITION_RUNNING || p->position.next_offset == p->stored)
            continue;
        p->stored = p->position.next_offset;
        rd_kafka_topic_partition_list_add(list, w->c->settings->events_topic, p->id)->offset = p->stored;
    }
    if (list->cnt > 0)
        rd_kafka_commit(w->rk, list, !wait);
    rd_kafka_topic_partition_list_destroy(list);
}

// --- the loop

// Waits for any queue, the catalog's socket, or the backstop.
static void wait_for_work(struct cs_worker *w) {
    bool write = false;
    bool catalog = w->phase == CS_FLIGHT_LOADING || w->phase == CS_FLIGHT_COMMITTING;
    int fd = catalog ? w->catalog->ops->fd(w->catalog, &write) : -1;
    struct pollfd fds[] = {{.fd = w->wake[0], .events = POLLIN},
                           {.fd = fd, .events = (short)(write ? POLLIN | POLLOUT : POLLIN)}};
    char bytes[256];
    if (poll(fds, fd >= 0 ? 2 : 1, BACKSTOP_MS) > 0 && fds[0].revents)
        while (read(w->wake[0], bytes, sizeof bytes) == (ssize_t)sizeof bytes)
            ;
}

static void finish_flight(struct cs_worker *w, int64_t for_ms) {
    int64_t deadline = cs_worker_now_ms(w) + for_ms;
    while (w->flight && cs_worker_now_ms(w) < deadline)
        if (!cs_flight_advance(w))
            wait_for_work(w);
}

static bool is_due(const struct cs_partition *p, int64_t now_ms) {
    return p->state == CS_PARTITION_STARTING && now_ms >= p->retry_at_ms;
}

// Whether a partition waits to be started: no new flight then, since both need the catalog.
static bool start_due(const struct cs_worker *w) {
    int64_t now_ms = cs_worker_now_ms(w);
    for (const struct cs_partition *p = w->partitions; p; p = p->next)
        if (is_due(p, now_ms))
            return true;
    return w->assign_due && now_ms >= w->assign_at_ms && settled(w);
}

// Starts partitions whose turn it is, and has them fetched once all that could be started are. Comes back
// after a while, so that the group is served however slow the answers are.
static bool start_partitions(struct cs_worker *w) {
    if (w->flight || !start_due(w))
        return false;
    int64_t until_ms = cs_worker_now_ms(w) + START_FOR_MS;
    for (struct cs_partition *p = w->partitions; p && !w->failed && !atomic_load(&w->stopping); p = p->next) {
        if (!is_due(p, cs_worker_now_ms(w)))
            continue;
        cs_partition_start(w, p);
        if (cs_worker_now_ms(w) > until_ms)
            return true;
    }
    if (w->assign_due && cs_worker_now_ms(w) >= w->assign_at_ms && settled(w))
        assign_partitions(w);
    return true;
}

// With nothing to do, sees to it that the catalog is still there.
static void look_at_idle(struct cs_worker *w) {
    int64_t now_ms = cs_worker_now_ms(w);
    if (w->flight || now_ms < w->look_due_ms)
        return;
    w->look_due_ms = now_ms + LOOK_EVERY_MS;
    for (struct cs_partition *p = w->partitions; p && !w->failed; p = p->next)
        if (p->state == CS_PARTITION_RUNNING && cs_worker_now_ms(w) < now_ms + START_FOR_MS)
            cs_partition_look(w, p);
}

// One of the partitions that stand still, each in its turn: nothing of theirs comes by itself.
static void measure(struct cs_worker *w) {
    int64_t now_ms = cs_worker_now_ms(w);
    struct cs_partition *next = NULL;
    if (now_ms < w->measure_due_ms)
        return;
    w->measure_due_ms = now_ms + MEASURE_EVERY_MS;
    for (struct cs_partition *p = w->partitions; p; p = p->next)
        if (p->state != CS_PARTITION_RUNNING && (!next || p->measured_ms < next->measured_ms))
            next = p;
    if (!next)
        return;
    next->measured_ms = now_ms;
    if (!cs_partition_measure(w, next))
        w->measure_due_ms = cs_worker_now_ms(w) + MEASURE_LATER_MS;
}

static void turn(struct cs_worker *w, bool stopping) {
    serve_group(w);
    forget_group_trouble(w);
    bool some = !stopping && start_partitions(w);
    some = cs_flight_advance(w) || some;
    if (!stopping && !w->failed) {
        if (!start_due(w))
            some = cs_flight_launch(w) || some;
        some = cs_batch_work(w) || some;
    }
    store_offsets(w, false);
    if (!stopping && !w->failed)
        measure(w);
    if (!some && !stopping && !w->failed)
        look_at_idle(w);
    if (!some && !w->failed)
        wait_for_work(w);
}

// Before each turn: what it may wait for is bounded, and no more is believed of it.
static void beat(struct cs_worker *w) {
    int64_t busy_ms = 2 * w->c->settings->redis_timeout_ms + BROKER_BUSY_MS;
    cs_pulse_beat(&w->pulse, busy_ms + (start_due(w) ? START_BUSY_MS : 0));
}

// --- start and end

static bool set_all(rd_kafka_conf_t *conf, const char *const (*properties)[2], size_t n, struct cs_err *err) {
    char text[256];
    for (size_t i = 0; i < n; i++)
        if (rd_kafka_conf_set(conf, properties[i][0], properties[i][1], text, sizeof text) !=
            RD_KAFKA_CONF_OK) {
            rd_kafka_conf_destroy(conf);
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "librdkafka: %s", text);
        }
    return true;
}

// A client that is not in the group yet.
static bool make_consumer(struct cs_worker *w, rd_kafka_t **ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = w->c->settings;
    rd_kafka_conf_t *conf = NULL;
    char client_id[64];
    char number[24];
    snprintf(client_id, sizeof client_id, "certsync-consumer-%d", w->index);
    if (!cs_kafka_conf_consumer(&s->kafka, client_id, s->group, &conf, err))
        return false;
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_opaque(conf, w);
    // The bound holds for each partition's queue: the worker may come to own all of them.
    int64_t kbytes = s->queue_bytes / 1024 / w->c->partition_count;
    snprintf(number, sizeof number, "%lld",
             (long long)(kbytes < 256       ? 256
                         : kbytes > 1048576 ? 1048576
                                            : kbytes));
    // A partition that is assigned again waits for the fetch that is held back at the broker.
    char session[24];
    char heartbeat[24];
    snprintf(session, sizeof session, "%lld", (long long)s->session_timeout_ms);
    snprintf(
        heartbeat, sizeof heartbeat, "%lld",
        (long long)(s->session_timeout_ms / 4 < HEARTBEAT_MS ? s->session_timeout_ms / 4 : HEARTBEAT_MS));
    const char *const properties[][2] = {{"queued.max.messages.kbytes", number},
                                         {"fetch.wait.max.ms", "100"},
                                         {"topic.metadata.refresh.interval.ms", METADATA_EVERY_MS},
                                         {"session.timeout.ms", session},
                                         {"heartbeat.interval.ms", heartbeat}};
    return set_all(conf, properties, CS_ARRAY_LEN(properties), err) &&
           cs_kafka_new(RD_KAFKA_CONSUMER, conf, ret, err);
}

static bool join_group(struct cs_worker *w, struct cs_err *err) {
    static const uint8_t one = 1;
    const struct cs_consumer_settings *s = w->c->settings;
    w->group_queue = rd_kafka_queue_get_consumer(w->rk);
    rd_kafka_queue_io_event_enable(w->group_queue, w->wake[1], &one, sizeof one);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, s->events_topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(w->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return !code || cs_kafka_err(err, code, "subscribing to %s", s->events_topic);
}

// Gives the partitions back. wait: for what was stored of the offsets.
static void leave_group(struct cs_worker *w, bool wait, const char *why) {
    if (w->rk) {
        if (wait)
            store_offsets(w, true);
        while (!settled(w))
            poll(NULL, 0, 1);
        rd_kafka_consumer_close(w->rk); // by on_rebalance
    }
    remove_partitions(w, why);
    leave(w);
    if (w->group_queue)
        rd_kafka_queue_destroy(w->group_queue);
    if (w->rk)
        rd_kafka_destroy(w->rk);
    w->group_queue = NULL;
    w->rk = NULL;
}

// All that talks to Kafka.
struct clients {
    struct cs_publisher *publisher;
    struct cs_cursor *cursor;
    rd_kafka_t *rk;
};

static void clients_clear(struct clients *c) {
    cs_cursor_free(c->cursor);
    cs_publisher_free(c->publisher);
    if (c->rk)
        rd_kafka_destroy(c->rk);
}
CS_DEFINE_AUTO_CLEAR(struct clients, clients_clear)

static bool make_clients(struct cs_worker *w, struct clients *ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = w->c->settings;
    char client_id[64];
    snprintf(client_id, sizeof client_id, "certsync-consumer-%d-out", w->index);
    struct cs_publish_kafka_options publish = {&s->kafka, client_id, s->events_topic, s->outcomes_topic,
                                               w->wake[1]};
    struct cs_cursor_options cursor = {&s->kafka, client_id, s->outcomes_topic, w->wake[1]};
    w->tls = atomic_load(w->c->kafka_tls);
    return cs_publish_kafka_new(&publish, &ret->publisher, err) &&
           cs_cursor_new(&cursor, &ret->cursor, err) && make_consumer(w, &ret->rk, err);
}

static bool use_clients(struct cs_worker *w, struct clients *c, struct cs_err *err) {
    w->publisher = CS_TAKE(c->publisher);
    w->cursor = CS_TAKE(c->cursor);
    w->rk = CS_TAKE(c->rk);
    return join_group(w, err);
}

// The files of Kafka's TLS changed. New clients are made beside the old, which are let go only then: what is under way is finished where that is
// possible, and else looked up in the topics by whoever gets the partitions next, as after any other change of hands.
static void renew_clients(struct cs_worker *w) {
    CS_AUTO(clients_clear) struct clients made = {0};
    struct cs_err err;
    if (!make_clients(w, &made, &err)) {
        cs_log_err(CS_LOG_WARN, "the clients with the changed files could not be made", &err, "worker=%d",
                   w->index);
        return;
    }
    cs_pulse_beat(&w->pulse, START_BUSY_MS);
    leave_group(w, false, "the connections to Kafka are made anew with the changed certificates");
    cs_cursor_free(w->cursor);
    cs_publisher_free(w->publisher);
    w->cursor = NULL;
    w->publisher = NULL;
    if (!use_clients(w, &made, &err))
        fail(w, &err);
    cs_log(CS_LOG_INFO, "connections to Kafka are made anew with the changed files", "worker=%d", w->index);
}

static void run(struct cs_worker *w) {
    while (!w->failed) {
        bool stopping = atomic_load(&w->stopping);
        if (stopping && w->stop_deadline_ms == 0)
            w->stop_deadline_ms = cs_worker_now_ms(w) + w->c->settings->drain_timeout_ms;
        if (stopping &&
            (!w->flight || w->phase <= CS_FLIGHT_COMPARING || cs_worker_now_ms(w) > w->stop_deadline_ms))
            return;
        beat(w);
        if (!stopping && w->tls != atomic_load(w->c->kafka_tls))
            renew_clients(w);
        turn(w, stopping);
    }
}

static bool make_adapters(struct cs_worker *w, struct cs_err *err) {
    CS_AUTO(clients_clear) struct clients made = {0};
    if (!cs_crypto_new(&w->crypto, err))
        return false;
    cs_crypto_tune(w->crypto, cs_clock_thread_ns);
    return cs_key_cache_new(w->crypto, w->c->root_spki, &w->keys, err) &&
           cs_catalog_redis_new(&w->c->redis, w->c->settings->redis_namespace, &w->catalog, err) &&
           make_clients(w, &made, err) && use_clients(w, &made, err);
}

static void end(struct cs_worker *w) {
    leave_group(w, true, "the process is stopping");
    cs_board_settle(w->c->board, w->index);
    cs_batch_free(w->rest);
    cs_batch_free(w->filling);
    cs_batch_free(w->ready);
    cs_batch_free(w->spare);
    cs_cursor_free(w->cursor);
    cs_publisher_free(w->publisher);
    cs_catalog_free(w->catalog);
    cs_key_cache_free(w->keys);
    cs_apply_clear(&w->apply);
    cs_crypto_free(w->crypto);
}

static void *thread_main(void *arg) {
    struct cs_worker *w = arg;
    struct cs_err err;
    char name[16];
    snprintf(name, sizeof name, "worker-%d", w->index);
    prctl(PR_SET_NAME, name);
    if (make_adapters(w, &err))
        run(w);
    else
        fail(w, &err);
    cs_pulse_rest(&w->pulse); // the end has a deadline of its own
    end(w);
    atomic_store(&w->finished, true);
    w->on_end(w->on_end_arg, w->failed ? &w->failure : NULL);
    return NULL;
}

static bool open_pipe(struct cs_worker *w, struct cs_err *err) {
    if (pipe(w->wake) == 0 && fcntl(w->wake[0], F_SETFL, O_NONBLOCK) == 0 &&
        fcntl(w->wake[1], F_SETFL, O_NONBLOCK) == 0)
        return true;
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "pipe: %s", strerror(errno));
}

// Signals are the main thread's.
static bool start_thread(struct cs_worker *w, struct cs_err *err) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = pthread_create(&w->thread, NULL, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    w->thread_started = code == 0;
    return code == 0 || cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "starting a thread: %s", strerror(code));
}

bool cs_worker_start(const struct cs_consumer *c, const struct cs_worker_metrics *metrics, int index,
                     cs_worker_end_fn on_end, void *arg, struct cs_worker **ret, struct cs_err *err) {
    CS_AUTO(cs_worker_free) struct cs_worker *w = calloc(1, sizeof *w);
    if (!w)
        return cs_err_oom(err);
    w->c = c;
    w->m = metrics;
    w->index = index;
    w->workers = cs_settings_workers(c->settings, c->partition_count);
    w->on_end = on_end;
    w->on_end_arg = arg;
    w->wake[0] = w->wake[1] = -1;
    cs_apply_init(&w->apply);
    if (!open_pipe(w, err) || !start_thread(w, err))
        return false;
    *ret = CS_TAKE(w);
    return true;
}

void cs_worker_stop(struct cs_worker *w) {
    atomic_store(&w->stopping, true);
    if (write(w->wake[1], "", 1) < 0) {
        // The pipe is full: it wakes the worker all the same.
    }
}

int64_t cs_worker_overdue_ms(const struct cs_worker *w) {
    return cs_pulse_overdue_ms(&w->pulse);
}

bool cs_worker_finished(const struct cs_worker *w) {
    return atomic_load(&w->finished);
}

void cs_worker_free(struct cs_worker *w) {
    if (!w)
        return;
    if (w->thread_started) {
        cs_worker_stop(w);
        pthread_join(w->thread, NULL);
    }
    for (size_t i = 0; i < 2; i++)
        if (w->wake[i] >= 0)
            close(w->wake[i]);
    free(w);
}
