// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "certsync/runtime/kafka.h"

#define LOOKS_BY_ITSELF 0x020200ff // librdkafka with fetch.queue.backoff.ms

static size_t queue_bytes(rd_kafka_t *rk) {
    char kbytes[24];
    size_t size = sizeof kbytes;
    if (rd_kafka_conf_get(rd_kafka_conf(rk), "queued.max.messages.kbytes", kbytes, &size) != RD_KAFKA_CONF_OK)
        return 0;
    return (size_t)strtoull(kbytes, NULL, 10) * 1024;
}

void cs_kafka_intake_init(struct cs_kafka_intake *in, rd_kafka_t *rk,
                          const struct cs_kafka_settings *settings) {
    *in = (struct cs_kafka_intake){.rk = rk, .settings = settings, .wake_every = queue_bytes(rk) / 4};
}

// Setting the credentials anew is the one call that wakes the brokers' threads and does nothing else to a consumer.
static void wake(const struct cs_kafka_intake *in) {
    rd_kafka_error_t *error =
        rd_kafka_sasl_set_credentials(in->rk, in->settings->sasl_username, in->settings->sasl_password);
    if (error)
        rd_kafka_error_destroy(error); // they look by themselves, only later
}

void cs_kafka_intake_took(struct cs_kafka_intake *in, const rd_kafka_message_t *m) {
    in->taken += m->len + m->key_len;
    if (in->taken < in->wake_every || rd_kafka_version() >= LOOKS_BY_ITSELF)
        return;
    in->taken = 0;
    wake(in);
}
