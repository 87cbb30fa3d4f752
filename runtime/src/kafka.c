// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/kafka.h"

#include <stdio.h>
#include <string.h>

#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "certsync/runtime/log.h"
#include "certsync/runtime/mask.h"

const char *const cs_kafka_security_protocols[] = {"plaintext", "ssl", "sasl_plaintext", "sasl_ssl", NULL};
const char *const cs_kafka_compressions[] = {"zstd", "lz4", "snappy", "gzip", "none", NULL};

struct property {
    const char *name;
    const char *value;
};

// Correctness depends on these. No setting changes them.
static const struct property producer_properties[] = {
    {"partitioner", "murmur2_random"}, // as Kafka's own clients do, and as event.misrouted checks
    {"enable.idempotence", "true"},    {"acks", "all"},
    {"message.timeout.ms", "0"}, // librdkafka never gives up: the spool decides what becomes of a message
    {"message.max.bytes", "1048576"},
};
static const struct property consumer_properties[] = {
    {"partition.assignment.strategy", "range"}, // eager; 2.0.2 has no safe cooperative one
    {"auto.offset.reset", "error"},             // a lost position is a fork or a truncation: never guess
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"},
    // We use no transactions. Records that are not committed, or aborted, are judged like any
    // other. Otherwise somebody's open transaction would stop its partition without end. All
    // readers must do the same.
    {"isolation.level", "read_uncommitted"},
    {"check.crcs", "true"},
};
// Our defaults, which kafka.rdkafka.* may change.
static const struct property common_defaults[] = {{"socket.nagle.disable", "true"},
                                                  {"log.connection.close", "false"}};
static const struct property consumer_defaults[] = {
    {"queued.max.messages.kbytes", "16384"},
    {"fetch.message.max.bytes", "1048576"},
    {"fetch.max.bytes", "8388608"},
};
static const struct property newer_consumer_defaults[] = {{"fetch.queue.backoff.ms", "10"}}; // 2.2

// Properties that have a setting of their own.
static const struct property own_settings[] = {
    {"bootstrap.servers", "kafka.brokers"},
    {"metadata.broker.list", "kafka.brokers"},
    {"security.protocol", "kafka.security_protocol"},
    {"sasl.mechanism", "kafka.sasl_mechanism"},
    {"sasl.mechanisms", "kafka.sasl_mechanism"},
    {"sasl.username", "kafka.sasl_username"},
    {"sasl.password", "kafka.sasl_password"},
    {"ssl.ca.location", "kafka.ssl_ca"},
    {"ssl.certificate.location", "kafka.ssl_certificate"},
    {"ssl.key.location", "kafka.ssl_key"},
    {"ssl.key.password", "kafka.ssl_key_password"},
    {"ssl.endpoint.identification.algorithm", "kafka.ssl_verify_hostname"},
    {"compression.codec", "kafka.compression"},
    {"compression.type", "kafka.compression"},
};
// Other names of fixed properties. allow.auto.create.topics stays at librdkafka's default, false:
// if it is set, librdkafka warns of brokers that do not know it.
static const struct property aliases[] = {{"allow.auto.create.topics", "allow.auto.create.topics"},
                                          {"request.required.acks", "acks"},
                                          {"delivery.timeout.ms", "message.timeout.ms"},
                                          {"client.id", "client.id"},
                                          {"group.id", "group.id"},
                                          {"transactional.id", "transactional.id"},
                                          {"enable.gapless.guarantee", "enable.idempotence"}};

static const struct property *find(const struct property *p, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(p[i].name, name) == 0)
            return &p[i];
    }
    return NULL;
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    (void)rk;
    // A failed connection is retried by itself. It is no error yet.
    if (level < 4 && strcmp(facility, "FAIL") == 0)
        level = 4;
    cs_log_foreign(level, "librdkafka", facility, text);
}

// Without this, librdkafka logs each as an error. Errors that matter come back from a call.
static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
    (void)opaque;
    rd_kafka_resp_err_t e = (rd_kafka_resp_err_t)code;
    bool retry = cs_kafka_err_kind(e) == CS_ERR_RETRY;
    cs_log(retry ? CS_LOG_WARN : CS_LOG_ERROR, "kafka", "client=%s error=%s reason=%s", rd_kafka_name(rk),
           rd_kafka_err2name(e), reason);
}

static bool set(rd_kafka_conf_t *conf, const char *setting, const char *name, const char *value,
                struct cs_err *err) {
    char text[400], shown[512];
    if (rd_kafka_conf_set(conf, name, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return true;
    // librdkafka quotes the value.
    if (cs_mask_names_secret(name) || cs_secret_may_be(value, strlen(value)))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: librdkafka does not take this value",
                          setting);
    cs_text_escape(text, strlen(text), shown, sizeof shown);
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: %s", setting, shown);
}

static bool set_if(rd_kafka_conf_t *conf, const char *setting, const char *name, const char *value,
                   struct cs_err *err) {
    return !value || !*value || set(conf, setting, name, value, err);
}

static bool set_all(rd_kafka_conf_t *conf, const struct property *p, size_t count, struct cs_err *err) {
    for (size_t i = 0; i < count; i++) {
        if (!set(conf, p[i].name, p[i].name, p[i].value, err))
            return false;
    }
    return true;
}

// Sets properties that only newer versions know.
static bool set_known(rd_kafka_conf_t *conf, const struct property *p, size_t count, struct cs_err *err) {
    char value[64];
    for (size_t i = 0; i < count; i++) {
        size_t size = sizeof value;
        if (rd_kafka_conf_get(conf, p[i].name, value, &size) == RD_KAFKA_CONF_OK &&
            !set(conf, p[i].name, p[i].name, p[i].value, err))
            return false;
    }
    return true;
}

static bool set_own(rd_kafka_conf_t *conf, const struct cs_kafka_settings *s, struct cs_err *err) {
    const char *protocol = cs_kafka_security_protocols[s->security_protocol];
    bool sasl = strncmp(protocol, "sasl", 4) == 0;
    if (sasl && !*s->sasl_mechanism)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "kafka.sasl_mechanism: is needed with kafka.security_protocol = %s", protocol);
    if (!*s->ssl_certificate != !*s->ssl_key)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "kafka.ssl_certificate and kafka.ssl_key: give both or neither");
    return set(conf, "kafka.brokers", "bootstrap.servers", s->brokers, err) &&
           set(conf, "kafka.security_protocol", "security.protocol", protocol, err) &&
           (!sasl || set_if(conf, "kafka.sasl_mechanism", "sasl.mechanism", s->sasl_mechanism, err)) &&
           (!sasl || set_if(conf, "kafka.sasl_username", "sasl.username", s->sasl_username, err)) &&
           (!sasl || set_if(conf, "kafka.sasl_password", "sasl.password", s->sasl_password, err)) &&
           set_if(conf, "kafka.ssl_ca", "ssl.ca.location", s->ssl_ca, err) &&
           set_if(conf, "kafka.ssl_certificate", "ssl.certificate.location", s->ssl_certificate, err) &&
           set_if(conf, "kafka.ssl_key", "ssl.key.location", s->ssl_key, err) &&
           set_if(conf, "kafka.ssl_key_password", "ssl.key.password", s->ssl_key_password, err) &&
           set(conf, "kafka.ssl_verify_hostname", "ssl.endpoint.identification.algorithm",
               s->ssl_verify_hostname ? "https" : "none", err);
}

static bool is_fixed(const char *name) {
    return find(producer_properties, CS_ARRAY_LEN(producer_properties), name) ||
           find(consumer_properties, CS_ARRAY_LEN(consumer_properties), name) ||
           find(aliases, CS_ARRAY_LEN(aliases), name);
}

// A property of the other kind of client has no effect. librdkafka warns of that itself.
static bool set_raw(rd_kafka_conf_t *conf, const struct cs_kafka_settings *s, struct cs_err *err) {
    for (size_t i = 0; i < s->rdkafka.count; i++) {
        const struct cs_pair *p = &s->rdkafka.pairs[i];
        const struct property *own = find(own_settings, CS_ARRAY_LEN(own_settings), p->name);
        char setting[256];
        snprintf(setting, sizeof setting, "kafka.rdkafka.%s", p->name);
        if (own)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: use %s instead", setting, own->value);
        if (is_fixed(p->name))
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: is fixed and cannot be set", setting);
        if (!set(conf, setting, p->name, p->value, err))
            return false;
    }
    return true;
}

static bool finish(rd_kafka_conf_t *conf, bool ok, rd_kafka_conf_t **ret_conf) {
    if (!ok) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    *ret_conf = conf;
    return true;
}

bool cs_kafka_conf_producer(const struct cs_kafka_settings *s, const char *client_id,
                            rd_kafka_conf_t **ret_conf, struct cs_err *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool ok =
        set_own(conf, s, err) && set(conf, "client.id", "client.id", client_id, err) &&
        set(conf, "kafka.compression", "compression.codec", cs_kafka_compressions[s->compression], err) &&
        set_all(conf, common_defaults, CS_ARRAY_LEN(common_defaults), err) && set_raw(conf, s, err) &&
        set_all(conf, producer_properties, CS_ARRAY_LEN(producer_properties), err);
    return finish(conf, ok, ret_conf);
}

bool cs_kafka_conf_consumer(const struct cs_kafka_settings *s, const char *client_id, const char *group_id,
                            rd_kafka_conf_t **ret_conf, struct cs_err *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool ok = set_own(conf, s, err) && set(conf, "client.id", "client.id", client_id, err) &&
              set_if(conf, "group.id", "group.id", group_id, err) &&
              set_all(conf, common_defaults, CS_ARRAY_LEN(common_defaults), err) &&
              set_all(conf, consumer_defaults, CS_ARRAY_LEN(consumer_defaults), err) &&
              set_known(conf, newer_consumer_defaults, CS_ARRAY_LEN(newer_consumer_defaults), err) &&
              set_raw(conf, s, err) &&
              set_all(conf, consumer_properties, CS_ARRAY_LEN(consumer_properties), err);
    return finish(conf, ok, ret_conf);
}

bool cs_kafka_producer(const struct cs_kafka_settings *s, const char *client_id, cs_kafka_on_report on_report,
                       void *opaque, const char *linger_ms, rd_kafka_t **ret, struct cs_err *err) {
    rd_kafka_conf_t *conf;
    if (!cs_kafka_conf_producer(s, client_id, &conf, err))
        return false;
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_conf_set_opaque(conf, opaque);
    if (!set_if(conf, "linger.ms", "linger.ms", linger_ms, err)) {
        rd_kafka_conf_destroy(conf);
        return false;
    }
    return cs_kafka_new(RD_KAFKA_PRODUCER, conf, ret, err);
}

rd_kafka_resp_err_t cs_kafka_produce(rd_kafka_t *rk, const struct cs_kafka_record *r) {
    union {
        const uint8_t *in;
        void *out; // copied, never written
    } value = {.in = r->value.data};
    rd_kafka_resp_err_t code = rd_kafka_producev(
        rk, RD_KAFKA_V_RKT(r->topic), RD_KAFKA_V_PARTITION(r->partition),
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(r->key.data, r->key.len),
        RD_KAFKA_V_VALUE(value.out, r->value.len), RD_KAFKA_V_HEADERS(r->headers),
        RD_KAFKA_V_TIMESTAMP(r->timestamp_ms), RD_KAFKA_V_OPAQUE(r->report), RD_KAFKA_V_END);
    if (code)
        rd_kafka_headers_destroy(r->headers);
    return code;
}

// A consumer with group.id is a member of a group.
static bool has_group(const rd_kafka_conf_t *conf) {
    char text[256];
    size_t size = sizeof text;
    return rd_kafka_conf_get(conf, "group.id", text, &size) == RD_KAFKA_CONF_OK && text[0];
}

bool cs_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk, struct cs_err *err) {
    char text[400], shown[512];
    bool group = type == RD_KAFKA_CONSUMER && has_group(conf);
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        cs_text_escape(text, strlen(text), shown, sizeof shown);
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "kafka: %s; check the settings under [kafka]",
                          shown);
    }
    if (group)
        rd_kafka_poll_set_consumer(rk);
    *ret_rk = rk;
    return true;
}

uint64_t cs_kafka_files(const struct cs_kafka_settings *s) {
    uint64_t named = 1;
    for (const char *p = s->brokers; *p; p++)
        named += *p == ',';
    return 3 * (named + (named > 3 ? named : 3) + 1);
}

void cs_kafka_tls_files(const struct cs_kafka_settings *s, const char *ret[CS_KAFKA_TLS_FILES]) {
    ret[0] = s->ssl_ca;
    ret[1] = s->ssl_certificate;
    ret[2] = s->ssl_key;
}

bool cs_kafka_tls_usable(const struct cs_kafka_settings *s, struct cs_err *err) {
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    if (!cs_kafka_conf_producer(s, "certsync-check", &conf, err) ||
        !cs_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, err))
        return false;
    rd_kafka_destroy(rk);
    return true;
}
