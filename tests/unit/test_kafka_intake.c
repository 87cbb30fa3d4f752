// SPDX-License-Identifier: Apache-2.0
// A partition that is far behind, read through a queue that holds little of it (librdkafka's mock cluster).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"
#include "plain_kafka.h"

#define TOPIC       "events"
#define VALUE_LEN   8192
#define RECORDS     512 // 4 MiB: the mock cluster keeps no more than 5
#define QUEUE_LEN   65536
#define MOST        64    // at once: more than a queue holds
#define DEADLINE_MS 30000 // with a queue a second it would be 36 s

static char brokers[256];
static char batch[] = "batch.size", queued[] = "queued.max.messages.kbytes",
            fetch[] = "fetch.message.max.bytes";
static char bytes[] = "65536", kbytes[] = "64";
static struct cs_pair producer_properties[] = {{batch, bytes}};
static char debug[] = "debug", fetching[] = "fetch";
static struct cs_pair consumer_properties[] = {{queued, kbytes}, {fetch, bytes}, {debug, fetching}};
static atomic_bool stopped; // librdkafka found the queue full
static struct cs_kafka_settings settings;

static rd_kafka_t *new_producer(void) {
    struct cs_err err;
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    settings.rdkafka = (struct cs_map){producer_properties, CS_ARRAY_LEN(producer_properties)};
    if (!cs_kafka_conf_producer(&settings, "test", &conf, &err) ||
        !cs_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, &err))
        fail_msg("%s", err.msg);
    return rk;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    (void)rk;
    (void)level;
    (void)facility;
    if (strstr(text, "queued.max.messages.kbytes exceeded"))
        atomic_store(&stopped, true);
}

static rd_kafka_t *new_consumer(void) {
    struct cs_err err;
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    settings.rdkafka = (struct cs_map){consumer_properties, CS_ARRAY_LEN(consumer_properties)};
    if (!cs_kafka_conf_consumer(&settings, "test", NULL, &conf, &err))
        fail_msg("%s", err.msg);
    rd_kafka_conf_set_log_cb(conf, on_log);
    if (!cs_kafka_new(RD_KAFKA_CONSUMER, conf, &rk, &err))
        fail_msg("%s", err.msg);
    return rk;
}

static void write_log(void) {
    static char value[VALUE_LEN];
    rd_kafka_t *producer = new_producer();
    for (int i = 0; i < RECORDS; i++)
        assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_PARTITION(0),
                                           RD_KAFKA_V_VALUE(value, sizeof value), RD_KAFKA_V_END),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(producer, DEADLINE_MS), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(producer);
}

// Takes only once librdkafka has stopped fetching.
static size_t read_log(rd_kafka_t *consumer, rd_kafka_queue_t *queue) {
    rd_kafka_message_t *messages[MOST];
    struct cs_kafka_intake intake;
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + DEADLINE_MS;
    size_t n = 0;
    cs_kafka_intake_init(&intake, consumer, &settings);
    assert_int_equal(intake.full_bytes, QUEUE_LEN);
    while (n < RECORDS && cs_clock_mono_ms(cs_clock_real()) < deadline_ms) {
        if (!atomic_load(&stopped) && n + rd_kafka_queue_length(queue) < RECORDS) {
            sched_yield();
            continue;
        }
        atomic_store(&stopped, false);
        ssize_t taken = rd_kafka_consume_batch_queue(queue, 0, messages, MOST);
        assert_in_range(taken, 0, MOST - 1);
        cs_kafka_intake_took(&intake, messages, (size_t)taken, MOST);
        for (ssize_t i = 0; i < taken; i++) {
            n += !messages[i]->err;
            rd_kafka_message_destroy(messages[i]);
        }
    }
    return n;
}

static void a_queue_that_was_full_is_filled_again_at_once(void **state) {
    (void)state;
    rd_kafka_t *host = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), NULL, 0);
    assert_non_null(host);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(host, 1);
    assert_non_null(cluster);
    snprintf(brokers, sizeof brokers, "%s", rd_kafka_mock_cluster_bootstraps(cluster));
    settings = plain_kafka(brokers);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, TOPIC, 1, 1), 0);
    write_log();
    rd_kafka_t *consumer = new_consumer();
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, TOPIC, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(consumer);
    assert_int_equal(rd_kafka_consume_start_queue(topic, 0, 0, queue), 0);
    assert_int_equal(read_log(consumer, queue), RECORDS);
    rd_kafka_consume_stop(topic, 0);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(consumer);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_queue_that_was_full_is_filled_again_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
