// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"
#include "certsync/runtime/log.h"

struct demo {
    struct cs_kafka_settings kafka;
};
static const struct cs_setting rows[] = {CS_KAFKA_SETTINGS(struct demo, kafka)};
static const struct cs_settings_table table = {.program = "demo",
                                               .env_prefix = "CERTSYNC_",
                                               .values_size = sizeof(struct demo),
                                               .rows = rows,
                                               .row_count = CS_ARRAY_LEN(rows)};

static struct demo *load(const struct cs_settings_override *o, size_t n) {
    struct cs_err err;
    void *values = NULL;
    struct cs_settings_source source = {.overrides = o, .override_count = n};
    if (!cs_settings_load(&table, &source, &values, &err))
        fail_msg("%s", err.msg);
    return values;
}

static void expect(const rd_kafka_conf_t *conf, const char *name, const char *value) {
    char text[256] = "";
    size_t size = sizeof text;
    assert_int_equal(rd_kafka_conf_get(conf, name, text, &size), RD_KAFKA_CONF_OK);
    if (strcmp(text, value) != 0)
        fail_msg("%s is %s, not %s", name, text, value);
}

static void test_properties(void **state) {
    (void)state;
    static const struct {
        const char *name, *value;
        bool producer, consumer;
    } cases[] = {
        {"bootstrap.servers", "k:1", true, true},
        {"client.id", "me", true, true},
        {"security.protocol", "sasl_ssl", true, true},
        {"sasl.mechanisms", "SCRAM-SHA-256", true, true},
        {"sasl.username", "u", true, true},
        {"sasl.password", "p", true, true},
        {"ssl.endpoint.identification.algorithm", "https", true, true},
        {"socket.nagle.disable", "true", true, true},
        {"log.connection.close", "false", true, true},
        {"socket.timeout.ms", "4321", true, true},
        {"partitioner", "murmur2_random", true, false},
        {"enable.idempotence", "true", true, false},
        {"acks", "-1", true, false},
        {"message.timeout.ms", "0", true, false},
        {"message.max.bytes", "1048576", true, false},
        {"compression.codec", "zstd", true, false}, // so librdkafka was built with it
        {"group.id", "g", false, true},
        {"partition.assignment.strategy", "range", false, true},
        {"auto.offset.reset", "error", false, true},
        {"enable.auto.commit", "false", false, true},
        {"enable.auto.offset.store", "false", false, true},
        {"enable.partition.eof", "true", false, true},
        {"allow.auto.create.topics", "false", false, true},
        {"isolation.level", "read_uncommitted", false, true},
        {"check.crcs", "true", false, true},
        {"queued.max.messages.kbytes", "16384", false, true},
        {"fetch.message.max.bytes", "1048576", false, true},
        {"fetch.max.bytes", "8388608", false, true},
    };
    static const struct cs_settings_override o[] = {{"kafka.brokers", "k:1", NULL},
                                                    {"kafka.security_protocol", "sasl_ssl", NULL},
                                                    {"kafka.sasl_mechanism", "SCRAM-SHA-256", NULL},
                                                    {"kafka.sasl_username", "u", NULL},
                                                    {"kafka.sasl_password", "p", NULL},
                                                    {"kafka.rdkafka.socket.timeout.ms", "4321", NULL}};
    struct demo *d = load(o, CS_ARRAY_LEN(o));
    struct cs_err err;
    rd_kafka_conf_t *producer = NULL, *consumer = NULL;
    assert_true(cs_kafka_conf_producer(&d->kafka, "me", &producer, &err));
    assert_true(cs_kafka_conf_consumer(&d->kafka, "me", "g", &consumer, &err));
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        if (cases[i].producer)
            expect(producer, cases[i].name, cases[i].value);
        if (cases[i].consumer)
            expect(consumer, cases[i].name, cases[i].value);
    }
    // librdkafka takes both as they are.
    rd_kafka_t *rk = NULL;
    if (!cs_kafka_new(RD_KAFKA_PRODUCER, producer, &rk, &err))
        fail_msg("%s", err.msg);
    rd_kafka_destroy(rk);
    if (!cs_kafka_new(RD_KAFKA_CONSUMER, consumer, &rk, &err))
        fail_msg("%s", err.msg);
    rd_kafka_destroy(rk);
    cs_settings_free(&table, d);
}

static void test_faults(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *message;
    } cases[] = {
        {"kafka.rdkafka.acks", "1", "kafka.rdkafka.acks: is fixed and cannot be set"},
        {"kafka.rdkafka.request.required.acks", "1", "is fixed"},
        {"kafka.rdkafka.allow.auto.create.topics", "true", "is fixed"},
        {"kafka.rdkafka.partitioner", "random", "is fixed"},
        {"kafka.rdkafka.auto.offset.reset", "latest", "is fixed"},
        {"kafka.rdkafka.group.id", "x", "is fixed"},
        {"kafka.rdkafka.delivery.timeout.ms", "1", "is fixed"},
        {"kafka.rdkafka.bootstrap.servers", "x", "use kafka.brokers instead"},
        {"kafka.rdkafka.sasl.password", "x", "use kafka.sasl_password instead"},
        {"kafka.rdkafka.compression.type", "lz4", "use kafka.compression instead"},
        {"kafka.rdkafka.no.such.thing", "x", "kafka.rdkafka.no.such.thing: No such configuration property"},
        {"kafka.rdkafka.socket.timeout.ms", "soon", "kafka.rdkafka.socket.timeout.ms: Invalid value"},
        {"kafka.security_protocol", "sasl_ssl", "kafka.sasl_mechanism: is needed"},
        {"kafka.ssl_key", "/x", "give both or neither"},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_settings_override o = {cases[i].key, cases[i].value, NULL};
        struct demo *d = load(&o, 1);
        struct cs_err err = {0};
        rd_kafka_conf_t *conf = NULL;
        assert_false(cs_kafka_conf_producer(&d->kafka, "me", &conf, &err));
        if (!strstr(err.msg, cases[i].message))
            fail_msg("case %zu: %s", i, err.msg);
        assert_false(cs_kafka_conf_consumer(&d->kafka, "me", "g", &conf, &err));
        assert_int_equal(err.kind, CS_ERR_CONFIG);
        assert_null(conf);
        cs_settings_free(&table, d);
    }
    // What only librdkafka finds when the client is made: a CA file that is not there.
    static const struct cs_settings_override o[] = {{"kafka.security_protocol", "ssl", NULL},
                                                    {"kafka.ssl_ca", "/nonexistent/ca.pem", NULL}};
    struct demo *d = load(o, 2);
    struct cs_err err = {0};
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    assert_true(cs_kafka_conf_producer(&d->kafka, "me", &conf, &err));
    assert_false(cs_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "ssl.ca.location"));
    cs_settings_free(&table, d);
}

// Each compression is one that librdkafka has, and that a topic can be made with.
static void test_compressions(void **state) {
    (void)state;
    for (size_t i = 0; cs_kafka_compressions[i]; i++) {
        const char *name = cs_kafka_compressions[i];
        struct cs_settings_override o = {"kafka.compression", name, NULL};
        struct demo *d = load(&o, 1);
        struct cs_err err = {0};
        rd_kafka_conf_t *conf = NULL;
        rd_kafka_t *rk = NULL;
        char of_topic[CS_KAFKA_COMPRESSION_SIZE] = "";
        if (!cs_kafka_conf_producer(&d->kafka, "me", &conf, &err) ||
            !cs_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, &err))
            fail_msg("%s: %s", name, err.msg);
        cs_kafka_topic_compression(rk, of_topic);
        assert_string_equal(of_topic, strcmp(name, "none") == 0 ? "uncompressed" : name);
        rd_kafka_destroy(rk);
        cs_settings_free(&table, d);
    }
}

static void test_kinds(void **state) {
    (void)state;
    static const struct {
        rd_kafka_resp_err_t code;
        enum cs_err_kind kind;
    } cases[] = {
        {RD_KAFKA_RESP_ERR__TRANSPORT, CS_ERR_RETRY},
        {RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, CS_ERR_RETRY},
        {RD_KAFKA_RESP_ERR__QUEUE_FULL, CS_ERR_RETRY},
        {RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, CS_ERR_RETRY},
        {RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, CS_ERR_RETRY},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, CS_ERR_CONFIG},
        {RD_KAFKA_RESP_ERR__AUTHENTICATION, CS_ERR_CONFIG},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, CS_ERR_CONFIG},
        {RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, CS_ERR_CONFIG},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, CS_ERR_CONFIG},
        {RD_KAFKA_RESP_ERR__FATAL, CS_ERR_FATAL},
        {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, CS_ERR_FATAL},
        {RD_KAFKA_RESP_ERR__BAD_MSG, CS_ERR_FATAL},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(cases); i++) {
        struct cs_err err = {0};
        assert_int_equal(cs_kafka_err_kind(cases[i].code), cases[i].kind);
        assert_false(cs_kafka_err(&err, cases[i].code, "doing %s", "it"));
        assert_int_equal(err.kind, cases[i].kind);
        assert_int_equal(strncmp(err.msg, "doing it: ", 10), 0);
    }
}

static void test_no_broker(void **state) {
    (void)state;
    struct cs_settings_override o = {"kafka.brokers", "127.0.0.1:1,no-such-host.invalid:9092", NULL};
    struct demo *d = load(&o, 1);
    struct cs_err err = {0};
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    int32_t partitions = -7;
    assert_true(cs_kafka_conf_producer(&d->kafka, "me", &conf, &err));
    assert_true(cs_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, &err));
    assert_false(cs_kafka_topic_partitions(rk, d->kafka.brokers, "t", 1000, &partitions, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_int_equal(partitions, -7);
    assert_non_null(strstr(
        err.msg, "no broker of 127.0.0.1:1,no-such-host.invalid:9092 answered within 1 s: last error"));
    assert_non_null(strstr(err.msg, "127.0.0.1:1: Connection refused"));
    rd_kafka_destroy(rk);
    cs_settings_free(&table, d);
}

static int delivered;

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    (void)rk;
    (void)opaque;
    assert_int_equal(m->err, RD_KAFKA_RESP_ERR_NO_ERROR);
    delivered++;
}

static rd_kafka_t *client(rd_kafka_type_t type, const struct demo *d) {
    struct cs_err err;
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    bool ok = type == RD_KAFKA_PRODUCER ? cs_kafka_conf_producer(&d->kafka, "me", &conf, &err)
                                        : cs_kafka_conf_consumer(&d->kafka, "me", "g", &conf, &err);
    if (!ok)
        fail_msg("%s", err.msg);
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    if (!cs_kafka_new(type, conf, &rk, &err))
        fail_msg("%s", err.msg);
    return rk;
}

#define LIST_OFFSETS 2 // number of this request in Kafka's protocol

// A real exchange with librdkafka's own mock cluster: what we configured produces and consumes.
static void test_mock_cluster(void **state) {
    (void)state;
    struct cs_err err = {0};
    rd_kafka_conf_t *base_conf = rd_kafka_conf_new();
    rd_kafka_t *base = rd_kafka_new(RD_KAFKA_PRODUCER, base_conf, NULL, 0);
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(base, 2);
    assert_non_null(cluster);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "cert.events", 3, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    struct cs_settings_override o = {"kafka.brokers", rd_kafka_mock_cluster_bootstraps(cluster), NULL};
    struct demo *d = load(&o, 1);
    rd_kafka_t *producer = client(RD_KAFKA_PRODUCER, d), *consumer = client(RD_KAFKA_CONSUMER, d);
    int32_t partitions = 0;
    if (!cs_kafka_topic_partitions(producer, d->kafka.brokers, "cert.events", 60000, &partitions, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(partitions, 3);
    // A topic that is not there is said to be missing, and is not made by asking.
    assert_false(
        cs_kafka_topic_partitions(producer, d->kafka.brokers, "cert.none", 60000, &partitions, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "certsync-consumer init"));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("cert.events"), RD_KAFKA_V_PARTITION(1),
                                           RD_KAFKA_V_VALUE((void *)"v", 1), RD_KAFKA_V_END),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    assert_int_equal(rd_kafka_flush(producer, 60000), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(delivered, 10);
    int64_t low = -1, high = -1;
    // Not every broker has heard of a new topic at once.
    rd_kafka_mock_push_request_errors(cluster, LIST_OFFSETS, 3, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
                                      RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    if (!cs_kafka_watermarks(consumer, "cert.events", 1, 60000, &low, &high, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(low, 0);
    assert_int_equal(high, 10);
    // Nor has the client itself heard of a new partition at once: it is asked again while there is time.
    int64_t start = cs_clock_mono_ms(cs_clock_real());
    assert_false(cs_kafka_watermarks(consumer, "cert.events", 3, 500, &low, &high, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "cert.events [3]"));
    assert_true(cs_clock_mono_ms(cs_clock_real()) - start >= 500);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "cert.events", 1)->offset = 4;
    assert_int_equal(rd_kafka_assign(consumer, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    int64_t next = 4;
    for (time_t end = time(NULL) + 60; next < 10 && time(NULL) < end;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(consumer, 1000);
        if (m && m->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            assert_int_equal(m->offset, next++);
        if (m)
            rd_kafka_message_destroy(m);
    }
    assert_int_equal(next, 10);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    rd_kafka_destroy(producer);
    cs_settings_free(&table, d);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(base);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_properties),   cmocka_unit_test(test_faults),
        cmocka_unit_test(test_compressions), cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_no_broker),    cmocka_unit_test(test_mock_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
