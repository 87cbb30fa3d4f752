// SPDX-License-Identifier: Apache-2.0
//
// Rebalances. A partition that was taken away is dropped at once, with its batches (cs_turn_revoked
// in turn.c). A new one starts in the worker's next turns: cs_partition_start in partition.c reads
// its position and what was published; then it is fetched from there.
#include "worker/group.h"

#include <poll.h>
#include <stdlib.h>

#include "certsync/runtime/log.h"

#define OFFSETS_EVERY_MS  5000
#define HEARTBEAT_MS      500 // how soon a worker learns of a new one
#define ASSIGN_PAUSE_MS   20
#define METADATA_EVERY_MS "10000" // how soon a missing topic is noticed when it comes back

static struct cs_partition *find_partition(struct cs_group *g, int32_t id) {
    for (struct cs_partition *p = g->partitions; p; p = p->next)
        if (p->stand.id == id)
            return p;
    return NULL;
}

// librdkafka 2.0 ends the process if a partition is taken away twice before its fetcher has stopped
// (an assertion of rd_kafka_assignment_partition_stopped). So its thread gets this time between two
// changes of the assignment.
static void note_assigned(struct cs_group *g) {
    g->settled_at_ms = cs_worker_now_ms(g->x) + ASSIGN_PAUSE_MS;
}

static bool settled(const struct cs_group *g) {
    return cs_worker_now_ms(g->x) >= g->settled_at_ms;
}

bool cs_group_assign_due(const struct cs_group *g) {
    return g->assign_due && cs_worker_now_ms(g->x) >= g->assign_at_ms && settled(g);
}

void cs_group_assign(struct cs_group *g) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);
    for (struct cs_partition *p = g->partitions; p; p = p->next)
        if (p->state == CS_PARTITION_RUNNING)
            rd_kafka_topic_partition_list_add(list, g->x->c->settings->events_topic, p->stand.id)->offset =
                p->next_fetch;
    rd_kafka_resp_err_t code = rd_kafka_assign(g->x->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    note_assigned(g);
    struct cs_err err;
    if (code) {
        cs_kafka_err(&err, code, "assigning partitions");
        cs_log_err(CS_LOG_WARN, "partitions could not be assigned", &err, "worker=%d", g->index);
        g->assign_at_ms = cs_worker_now_ms(g->x) + 1000;
        return;
    }
    g->assign_due = false;
}

static void add_partitions(struct cs_group *g, const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; i < list->cnt; i++) {
        int32_t id = list->elems[i].partition;
        struct cs_partition *p = NULL;
        // A partition that was not there at the start is not judged. The inspector reports that the
        // topic has too many.
        if (id < 0 || id >= g->x->c->partition_count || find_partition(g, id))
            continue;
        if (!cs_partition_new(g->x, id, &p, &g->failure)) {
            g->failed = true;
            return;
        }
        p->next = g->partitions;
        g->partitions = p;
        cs_board_take(g->x->c->board, id, g->index);
    }
}

static void remove_partitions(struct cs_group *g, const char *why) {
    g->on_revoke(g->arg);
    while (g->partitions) {
        struct cs_partition *p = g->partitions;
        cs_board_let_go(g->x->c->board, p->stand.id, g->index, why);
        g->partitions = p->next;
        cs_partition_free(p);
    }
}

static void leave(struct cs_group *g) {
    if (g->joined)
        cs_board_worker_joined(g->x->c->board, false);
    g->joined = false;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                         void *opaque) {
    struct cs_group *g = opaque;
    bool assigned = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    g->trouble_ms = 0;
    cs_log(CS_LOG_INFO, assigned ? "partitions assigned" : "partitions revoked", "worker=%d partitions=%d",
           g->index, list ? list->cnt : 0);
    if (!assigned) {
        remove_partitions(
            g, rd_kafka_assignment_lost(rk)
                   ? "the brokers were not heard of for longer than kafka.session_timeout, so that another "
                     "consumer may have taken it over; the group is asked again by itself"
                   : "the consumer group is sharing out its partitions anew");
        leave(g);
        rd_kafka_assign(rk, NULL);
        note_assigned(g);
        return;
    }
    add_partitions(g, list);
    // Nothing is fetched before each partition's position was read. Then the main loop assigns
    // them.
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(0);
    rd_kafka_assign(rk, none);
    note_assigned(g);
    rd_kafka_topic_partition_list_destroy(none);
    cs_board_settle(g->x->c->board, g->index);
    cs_board_worker_trouble(g->x->c->board, g->index, NULL);
    if (!g->joined)
        cs_board_worker_joined(g->x->c->board, true);
    g->joined = true;
}

// An error that keeps a worker out of its group is reported, and the worker tries again: a lost
// right may come back.
static bool group_error(struct cs_group *g, const rd_kafka_message_t *m, struct cs_err *err) {
    char text[64];
    rd_kafka_resp_err_t fatal = m->err == RD_KAFKA_RESP_ERR__FATAL
                                    ? rd_kafka_fatal_error(g->x->rk, text, sizeof text)
                                    : RD_KAFKA_RESP_ERR_NO_ERROR;
    cs_kafka_err(err, fatal ? fatal : m->err, "consumer group %s: %s", g->x->c->settings->group,
                 rd_kafka_message_errstr(m));
    if (fatal) {
        err->kind = CS_ERR_FATAL; // the client ended for good: the supervisor starts another process
        return false;
    }
    if (err->kind != CS_ERR_RETRY) {
        cs_board_worker_trouble(g->x->c->board, g->index, err->msg);
        g->trouble_ms = cs_worker_now_ms(g->x);
    }
    cs_log_err(CS_LOG_WARN, "consumer group", err, "worker=%d", g->index);
    return true;
}

// Not every error costs the worker its assignment. So no new assignment shows that all is well
// again: for example, a search for the coordinator was refused once. But a worker that still has
// its partitions after this time is in its group. Otherwise its session would have ended.
static void forget_trouble(struct cs_group *g) {
    if (!g->trouble_ms || !g->joined ||
        cs_worker_now_ms(g->x) - g->trouble_ms <= 2 * g->x->c->settings->session_timeout_ms)
        return;
    g->trouble_ms = 0;
    cs_board_worker_trouble(g->x->c->board, g->index, NULL);
    cs_log(CS_LOG_INFO, "the consumer group is well again", "worker=%d", g->index);
}

bool cs_group_serve(struct cs_group *g, struct cs_partition **ret_partition, struct cs_err *err) {
    bool ok = true;
    *ret_partition = NULL;
    forget_trouble(g);
    while (ok && settled(g)) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(g->x->rk, 0);
        if (!m)
            break;
        if (m->err) {
            ok = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || group_error(g, m, err);
        } else if ((*ret_partition = find_partition(g, m->partition))) {
            // Records come only through their own queues. One that came here is missing there.
            ok = cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "a record came by the group's queue");
        }
        rd_kafka_message_destroy(m);
    }
    if (ok && g->failed)
        *err = g->failure;
    return ok && !g->failed;
}

void cs_group_store_offsets(struct cs_group *g, bool wait) {
    int64_t now = cs_worker_now_ms(g->x);
    if (!wait && now < g->offsets_due_ms)
        return;
    g->offsets_due_ms = now + OFFSETS_EVERY_MS;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (struct cs_partition *p = g->partitions; p; p = p->next) {
        if (p->state != CS_PARTITION_RUNNING || p->stand.position.next_offset == p->stored)
            continue;
        p->stored = p->stand.position.next_offset;
        rd_kafka_topic_partition_list_add(list, g->x->c->settings->events_topic, p->stand.id)->offset =
            p->stored;
    }
    if (list->cnt > 0)
        rd_kafka_commit(g->x->rk, list, !wait);
    rd_kafka_topic_partition_list_destroy(list);
}

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

bool cs_group_client(struct cs_group *g, rd_kafka_t **ret, struct cs_err *err) {
    const struct cs_consumer_settings *s = g->x->c->settings;
    rd_kafka_conf_t *conf = NULL;
    char client_id[64];
    char number[24];
    snprintf(client_id, sizeof client_id, "certsync-consumer-%d", g->index);
    if (!cs_kafka_conf_consumer(&s->kafka, client_id, s->group, &conf, err))
        return false;
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_opaque(conf, g);
    // The bound holds for each partition's queue. The worker may get all partitions.
    int64_t kbytes = s->queue_bytes / 1024 / g->x->c->partition_count;
    snprintf(number, sizeof number, "%lld",
             (long long)(kbytes < 256       ? 256
                         : kbytes > 1048576 ? 1048576
                                            : kbytes));
    // A partition that is assigned again waits for the fetch that the broker holds back.
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

bool cs_group_join(struct cs_group *g, struct cs_err *err) {
    static const uint8_t one = 1;
    const struct cs_consumer_settings *s = g->x->c->settings;
    g->queue = rd_kafka_queue_get_consumer(g->x->rk);
    rd_kafka_queue_io_event_enable(g->queue, g->x->wake_fd, &one, sizeof one);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, s->events_topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t code = rd_kafka_subscribe(g->x->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return !code || cs_kafka_err(err, code, "subscribing to %s", s->events_topic);
}

void cs_group_leave(struct cs_group *g, bool wait, const char *why) {
    if (g->x->rk) {
        if (wait)
            cs_group_store_offsets(g, true);
        while (!settled(g))
            poll(NULL, 0, 1);
        rd_kafka_consumer_close(g->x->rk); // by on_rebalance
    }
    remove_partitions(g, why);
    leave(g);
    if (g->queue)
        rd_kafka_queue_destroy(g->queue);
    if (g->x->rk)
        rd_kafka_destroy(g->x->rk);
    g->queue = NULL;
    g->x->rk = NULL;
}
