// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <strings.h>

#include "certsync/runtime/kafka.h"

#define LOOKS_BY_ITSELF 0x020200ff // librdkafka with fetch.queue.backoff.ms

static size_t number_of(rd_kafka_t *rk, const char *property) {
    char text[24];
    size_t size = sizeof text;
    return rd_kafka_conf_get(rd_kafka_conf(rk), property, text, &size) == RD_KAFKA_CONF_OK
               ? (size_t)strtoull(text, NULL, 10)
               : SIZE_MAX;
}

void cs_kafka_intake_init(struct cs_kafka_intake *in, rd_kafka_t *rk,
                          const struct cs_kafka_settings *settings) {
    *in = (struct cs_kafka_intake){.rk = rk,
                                   .settings = settings,
                                   .full_bytes = number_of(rk, "queued.max.messages.kbytes") * 1024,
                                   .full_messages = number_of(rk, "queued.min.messages")};
}

// Setting the credentials anew is the one call that wakes the brokers' threads and does nothing else to a consumer.
// With Kerberos it might have to wait for a login that is under way.
static void wake(const struct cs_kafka_intake *in) {
    const struct cs_kafka_settings *s = in->settings;
    if (rd_kafka_version() >= LOOKS_BY_ITSELF || strcasecmp(s->sasl_mechanism, "GSSAPI") == 0)
        return;
    rd_kafka_error_t *error = rd_kafka_sasl_set_credentials(in->rk, s->sasl_username, s->sasl_password);
    if (error)
        rd_kafka_error_destroy(error); // they look by themselves, only later
}

void cs_kafka_intake_took(struct cs_kafka_intake *in, rd_kafka_message_t *const *messages, size_t n,
                          size_t most) {
    for (size_t i = 0; i < n; i++)
        in->bytes += messages[i]->len;
    in->messages += n;
    if (n == most)
        return;
    if (in->bytes >= in->full_bytes || in->messages >= in->full_messages)
        wake(in);
    in->bytes = in->messages = 0;
}
