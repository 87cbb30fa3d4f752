// SPDX-License-Identifier: Apache-2.0
//
// Settings of Kafka that say no more than where the brokers are: what a test's or a measurement's own brokers need.
#pragma once

#include "certsync/runtime/kafka.h"

// brokers is borrowed.
static inline struct cs_kafka_settings plain_kafka(const char *brokers) {
    static char none[] = "";
    return (struct cs_kafka_settings){.brokers = (char *)(uintptr_t)brokers,
                                      .sasl_mechanism = none,
                                      .sasl_username = none,
                                      .sasl_password = none,
                                      .ssl_ca = none,
                                      .ssl_certificate = none,
                                      .ssl_key = none,
                                      .ssl_key_password = none};
}
