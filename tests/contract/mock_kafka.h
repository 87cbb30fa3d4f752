// SPDX-License-Identifier: Apache-2.0
//
// librdkafka's own mock cluster on loopback, for tests of what stands on a broker.
#pragma once

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>

#include "certsync/runtime/kafka.h"

struct mock_kafka {
    rd_kafka_t *rk;
    rd_kafka_mock_cluster_t *cluster;
    struct cs_kafka_settings settings;
};

static inline void mock_kafka_start(struct mock_kafka *m, const char *const *topics, int partitions) {
    char text[256];
    m->rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);
    m->cluster = m->rk ? rd_kafka_mock_cluster_new(m->rk, 1) : NULL;
    if (!m->cluster) {
        fprintf(stderr, "no mock cluster: %s\n", text);
        abort();
    }
    for (; *topics; topics++)
        rd_kafka_mock_topic_create(m->cluster, *topics, partitions, 1);
    static char none[] = "";
    m->settings = (struct cs_kafka_settings){
        .brokers = (char *)(uintptr_t)rd_kafka_mock_cluster_bootstraps(m->cluster),
        .sasl_mechanism = none,
        .sasl_username = none,
        .sasl_password = none,
        .ssl_ca = none,
        .ssl_certificate = none,
        .ssl_key = none,
        .ssl_key_password = none,
    };
}

static inline void mock_kafka_stop(struct mock_kafka *m) {
    rd_kafka_mock_cluster_destroy(m->cluster);
    rd_kafka_destroy(m->rk);
}
