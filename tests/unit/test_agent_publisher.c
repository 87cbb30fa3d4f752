// SPDX-License-Identifier: Apache-2.0
// The contract of a publisher (publish.h): the same cases over memory and over Kafka (librdkafka's mock
// cluster).
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "agent_fixture.h"
#include "certsync/runtime/kafka.h"
#include "plain_kafka.h"
#include "spool/publish.h"

#define PARTITIONS 4
#define RECORDS    40

static rd_kafka_t *rk;
static rd_kafka_mock_cluster_t *cluster;
static char brokers[256], topic[32], nowhere[] = "127.0.0.1:1";
static struct cs_kafka_settings settings;

static struct cs_publisher *new_memory(void) {
    struct cs_err err;
    struct cs_publisher *p;
    ASSERT_OK(cs_publisher_memory(PARTITIONS, &p, &err), err);
    return p;
}

static struct cs_publisher *new_kafka(void) {
    static int topics;
    struct cs_err err;
    struct cs_publisher *p;
    snprintf(topic, sizeof topic, "events-%d", topics++); // offsets begin at 0 for each case
    assert_int_equal(rd_kafka_mock_topic_create(cluster, topic, PARTITIONS, 1), 0);
    ASSERT_OK(cs_publisher_kafka(&settings, topic, "test", &p, &err), err);
    return p;
}

typedef struct cs_publisher *(*maker)(void);
static const maker makers[] = {new_memory, new_kafka};

struct acks {
    size_t n;
    struct {
        size_t index;
        int32_t partition;
        int64_t offset;
    } list[RECORDS * 2];
};

static void on_acked(void *arg, size_t index, int32_t partition, int64_t offset) {
    struct acks *a = arg;
    assert_true(a->n < CS_ARRAY_LEN(a->list));
    a->list[a->n].index = index;
    a->list[a->n].partition = partition;
    a->list[a->n++].offset = offset;
}

static struct cs_publish_record record(const char *key, int32_t partition) {
    return (struct cs_publish_record){
        key, partition, {(const uint8_t *)"{}", 2}, {(const uint8_t *)"c2ln", 4}};
}

static void keys_go_where_kafka_puts_them_and_in_order(void **state) {
    (void)state;
    for (size_t m = 0; m < CS_ARRAY_LEN(makers); m++) {
        struct cs_err err;
        struct acks acks = {0};
        struct cs_publish_record records[RECORDS];
        char keys[RECORDS][16];
        int64_t next[PARTITIONS] = {0};
        CS_AUTO(cs_publisher_free) struct cs_publisher *p = makers[m]();
        for (int i = 0; i < RECORDS; i++) {
            snprintf(keys[i], sizeof keys[i], "account-%d", i % 7);
            records[i] = record(keys[i], -1);
        }
        ASSERT_OK(p->publish(p, records, RECORDS, 60000, on_acked, &acks, &err), err);
        assert_int_equal(acks.n, RECORDS);
        bool seen[RECORDS] = {false};
        size_t last[PARTITIONS] = {0};
        for (size_t i = 0; i < acks.n; i++) {
            size_t index = acks.list[i].index;
            int32_t partition = acks.list[i].partition;
            assert_false(seen[index]);
            seen[index] = true;
            assert_int_equal(partition, cs_partition_of(keys[index], PARTITIONS));
            assert_int_equal(acks.list[i].offset, next[partition]++);
            assert_true(index >= last[partition]); // in order within a partition
            last[partition] = index;
        }
    }
}

static void a_partition_may_be_named(void **state) {
    (void)state;
    for (size_t m = 0; m < CS_ARRAY_LEN(makers); m++) {
        struct cs_err err;
        struct acks acks = {0};
        struct cs_publish_record records[PARTITIONS];
        int32_t n;
        CS_AUTO(cs_publisher_free) struct cs_publisher *p = makers[m]();
        ASSERT_OK(p->partitions(p, 60000, &n, &err), err);
        assert_int_equal(n, PARTITIONS);
        for (int32_t i = 0; i < PARTITIONS; i++)
            records[i] = record(NULL, i);
        ASSERT_OK(p->publish(p, records, PARTITIONS, 60000, on_acked, &acks, &err), err);
        bool seen[PARTITIONS] = {false};
        for (size_t i = 0; i < acks.n; i++) {
            assert_int_equal(acks.list[i].partition, (int32_t)acks.list[i].index);
            seen[acks.list[i].partition] = true;
        }
        assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
        ASSERT_OK(p->publish(p, NULL, 0, 60000, on_acked, &acks, &err), err); // nothing is fine
    }
}

// Another topic beside its own: by the account's partition there, with its own offsets.
static void one_record_to_another_topic(void **state) {
    (void)state;
    struct cs_err err;
    struct acks acks = {0};
    for (size_t m = 0; m < CS_ARRAY_LEN(makers); m++) {
        struct cs_publisher *p = makers[m]();
        struct cs_publish_record r = record("acme", -1);
        if (m == 1)
            assert_int_equal(rd_kafka_mock_topic_create(cluster, "beats", PARTITIONS, 1), 0);
        for (int i = 0; i < 2; i++)
            ASSERT_OK(p->publish_to(p, "beats", &r, 10000, &err), err);
        ASSERT_OK(p->publish(p, &r, 1, 10000, on_acked, &acks, &err), err);
        assert_int_equal(acks.list[m].offset, 0);
        cs_publisher_free(p);
    }
}

static void without_brokers_it_says_retry_and_goes_on_later(void **state) {
    struct cs_err err;
    struct acks acks = {0};
    struct cs_publish_record r = record("acme", -1);
    (void)state;
    CS_AUTO(cs_publisher_free) struct cs_publisher *memory = new_memory();
    cs_publisher_memory_fail_after(memory, 0, false);
    assert_false(memory->publish(memory, &r, 1, 500, on_acked, &acks, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    cs_publisher_memory_fail_after(memory, -1, false);
    ASSERT_OK(memory->publish(memory, &r, 1, 500, on_acked, &acks, &err), err);

    CS_AUTO(cs_publisher_free) struct cs_publisher *kafka = new_kafka();
    ASSERT_OK(kafka->publish(kafka, &r, 1, 60000, on_acked, &acks, &err), err);
    rd_kafka_mock_broker_set_down(cluster, 1);
    assert_false(kafka->publish(kafka, &r, 1, 500, on_acked, &acks, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    rd_kafka_mock_broker_set_up(cluster, 1);
    ASSERT_OK(kafka->publish(kafka, &r, 1, 60000, on_acked, &acks, &err), err);
    assert_int_equal(acks.n, 3);

    struct cs_kafka_settings away = settings;
    away.brokers = nowhere;
    CS_AUTO(cs_publisher_free) struct cs_publisher *nobody = NULL;
    ASSERT_OK(cs_publisher_kafka(&away, topic, "test", &nobody, &err), err);
    assert_false(nobody->publish(nobody, &r, 1, 500, on_acked, &acks, &err));
    assert_int_equal(err.kind, CS_ERR_RETRY);
    assert_non_null(strstr(err.msg, nowhere));
}

static void a_missing_topic_is_a_matter_of_settings(void **state) {
    struct cs_err err;
    struct acks acks = {0};
    struct cs_publish_record r = record("acme", -1);
    (void)state;
    CS_AUTO(cs_publisher_free) struct cs_publisher *p = NULL;
    ASSERT_OK(cs_publisher_kafka(&settings, "nowhere", "test", &p, &err), err);
    assert_false(p->publish(p, &r, 1, 60000, on_acked, &acks, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "certsync-consumer init"));
    assert_false(p->publish_to(p, "nowhere-either", &r, 60000, &err));
    assert_int_equal(err.kind, CS_ERR_CONFIG);
    assert_non_null(strstr(err.msg, "nowhere-either"));
}

static int setup(void **state) {
    char reason[256];
    (void)state;
    rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), reason, sizeof reason);
    assert_non_null(rk);
    cluster = rd_kafka_mock_cluster_new(rk, 1);
    assert_non_null(cluster);
    snprintf(brokers, sizeof brokers, "%s", rd_kafka_mock_cluster_bootstraps(cluster));
    settings = plain_kafka(brokers);
    settings.ssl_verify_hostname = true;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(rk);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_go_where_kafka_puts_them_and_in_order),
        cmocka_unit_test(a_partition_may_be_named),
        cmocka_unit_test(one_record_to_another_topic),
        cmocka_unit_test(without_brokers_it_says_retry_and_goes_on_later),
        cmocka_unit_test(a_missing_topic_is_a_matter_of_settings),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
