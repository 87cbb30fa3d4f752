// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <strings.h>

#include "certsync/runtime/kafka.h"

// Whether this librdkafka knows the property. Then *ret is its value, a number.
static bool number_of(rd_kafka_t *rk, const char *property, size_t *ret) {
    char text[24];
    size_t size = sizeof text;
    if (rd_kafka_conf_get(rd_kafka_conf(rk), property, text, &size) != RD_KAFKA_CONF_OK)
        return false;
    *ret = (size_t)strtoull(text, NULL, 10);
    return true;
}

void cs_kafka_intake_init(struct cs_kafka_intake *in, rd_kafka_t *rk,
                          const struct cs_kafka_settings *settings) {
    size_t kbytes = 0;
    size_t backoff_ms = 0;
    *in = (struct cs_kafka_intake){.rk = rk, .settings = settings};
    (void)number_of(rk, "queued.max.messages.kbytes", &kbytes);
    (void)number_of(rk, "queued.min.messages", &in->full_messages);
    in->full_bytes = kbytes * 1024;
    // With Kerberos, to set the credentials might wait for a login that is under way.
    in->wakes = !number_of(rk, "fetch.queue.backoff.ms", &backoff_ms) &&
                strcasecmp(settings->sasl_mechanism, "GSSAPI") != 0;
}

// Setting the credentials anew is the only call that wakes the brokers' threads and does nothing
// else to a consumer.
static void wake(const struct cs_kafka_intake *in) {
    rd_kafka_error_t *error =
        rd_kafka_sasl_set_credentials(in->rk, in->settings->sasl_username, in->settings->sasl_password);
    if (error)
        rd_kafka_error_destroy(error); // the threads look by themselves, only later
}

void cs_kafka_intake_took(struct cs_kafka_intake *in, rd_kafka_message_t *const *messages, size_t n,
                          size_t most) {
    if (!in->wakes)
        return;
    for (size_t i = 0; i < n; i++)
        in->bytes += messages[i]->len;
    in->messages += n;
    if (n == most)
        return;
    if (in->bytes >= in->full_bytes || in->messages >= in->full_messages)
        wake(in);
    in->bytes = in->messages = 0;
}
