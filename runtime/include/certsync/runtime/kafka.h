// SPDX-License-Identifier: Apache-2.0
//
// Glue to librdkafka (2.0.2 or newer): configuration from settings, errors as our kinds, bounded
// waiting for brokers, and the few admin requests that both programs need.
//
// Settings rows for both programs: put CS_KAFKA_SETTINGS(struct my_settings, kafka) into the table,
// where `kafka` is a member of type struct cs_kafka_settings.
#pragma once

#include <librdkafka/rdkafka.h>

#include "certsync/runtime/settings.h"

struct cs_kafka_settings {
    char *brokers;
    int64_t security_protocol; // index in cs_kafka_security_protocols
    char *sasl_mechanism;
    char *sasl_username;
    char *sasl_password;
    char *ssl_ca;
    char *ssl_certificate;
    char *ssl_key;
    char *ssl_key_password;
    bool ssl_verify_hostname;
    int64_t compression;   // index in cs_kafka_compressions
    struct cs_map rdkafka; // raw librdkafka properties
};
extern const char *const cs_kafka_security_protocols[]; // plaintext, ssl, sasl_plaintext, sasl_ssl
extern const char *const cs_kafka_compressions[];       // zstd, lz4, snappy, gzip, none

// clang-format off
#define CS_KAFKA_SETTINGS(S, m) \
    CS_SETTING_STR("kafka.brokers", S, m.brokers, "localhost:9092", CS_SETTING_REQUIRED, \
                   "Kafka brokers to begin with, as host:port, comma-separated."), \
    CS_SETTING_CHOICE("kafka.security_protocol", S, m.security_protocol, "plaintext", cs_kafka_security_protocols, 0, \
                      "How to talk to the brokers."), \
    CS_SETTING_STR("kafka.sasl_mechanism", S, m.sasl_mechanism, "", 0, \
                   "SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or GSSAPI."), \
    CS_SETTING_STR("kafka.sasl_username", S, m.sasl_username, "", 0, "SASL user name."), \
    CS_SETTING_SECRET("kafka.sasl_password", S, m.sasl_password, 0, "SASL password."), \
    CS_SETTING_PATH("kafka.ssl_ca", S, m.ssl_ca, "", 0, \
                    "File or directory with the CA certificates that sign the brokers' certificates; empty: the system's."), \
    CS_SETTING_PATH("kafka.ssl_certificate", S, m.ssl_certificate, "", 0, "Client certificate (PEM)."), \
    CS_SETTING_PATH("kafka.ssl_key", S, m.ssl_key, "", 0, "Private key of the client certificate (PEM)."), \
    CS_SETTING_SECRET("kafka.ssl_key_password", S, m.ssl_key_password, 0, "Password of that key."), \
    CS_SETTING_BOOL("kafka.ssl_verify_hostname", S, m.ssl_verify_hostname, "yes", 0, \
                    "Whether a broker's certificate must name the host that was dialled."), \
    CS_SETTING_CHOICE("kafka.compression", S, m.compression, "zstd", cs_kafka_compressions, 0, \
                      "How records are compressed, on their way and on the brokers' disks; certsync-consumer init also sets it for the topics that it makes."), \
    CS_SETTING_MAP("kafka.rdkafka.*", S, m.rdkafka, CS_SETTING_MAP_SECRET, \
                   "Any further librdkafka property, by its own name; those that certsync fixes are refused.")
// clang-format on

// Configurations. The caller owns *ret_conf until rd_kafka_new succeeds; then librdkafka does. Logs
// go through log.h. CONFIG errors name the setting. Both: client.id=client_id,
// socket.nagle.disable=true, log.connection.close=false (the last two may be changed by
// kafka.rdkafka.*). Producer, fixed: partitioner=murmur2_random, enable.idempotence=true, acks=all,
// message.timeout.ms=0, message.max.bytes=1 MiB (before compression).
CS_MUST_USE bool cs_kafka_conf_producer(const struct cs_kafka_settings *s, const char *client_id,
                                        rd_kafka_conf_t **ret_conf, struct cs_err *err);
// Consumer, fixed: partition.assignment.strategy=range, auto.offset.reset=error,
// enable.auto.commit=false, enable.auto.offset.store=false, enable.partition.eof=true,
// isolation.level=read_uncommitted, allow.auto.create.topics=false, check.crcs=true; defaults:
// queued.max.messages.kbytes=16384, fetch.message.max.bytes=1 MiB, fetch.max.bytes=8 MiB,
// fetch.queue.backoff.ms=10 (librdkafka 2.2). group_id NULL: only rd_kafka_consume_start and
// queries work. For assign(), librdkafka needs a group id, even though it joins no group then.
CS_MUST_USE bool cs_kafka_conf_consumer(const struct cs_kafka_settings *s, const char *client_id,
                                        const char *group_id, rd_kafka_conf_t **ret_conf, struct cs_err *err);
// Makes the client. Takes the configuration, also on failure. For a consumer with a group, the main
// queue is redirected to the consumer queue (rd_kafka_poll_set_consumer).
CS_MUST_USE bool cs_kafka_new(rd_kafka_type_t type, rd_kafka_conf_t *conf, rd_kafka_t **ret_rk,
                              struct cs_err *err);

// The producer of every publisher. rd_kafka_poll calls on_report for each record that was
// acknowledged or failed, with opaque as its last argument. linger_ms: how long records wait for
// others, as text; NULL: as the settings say.
typedef void (*cs_kafka_on_report)(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque);
CS_MUST_USE bool cs_kafka_producer(const struct cs_kafka_settings *s, const char *client_id,
                                   cs_kafka_on_report on_report, void *opaque, const char *linger_ms,
                                   rd_kafka_t **ret, struct cs_err *err);
struct cs_kafka_record {
    rd_kafka_topic_t *topic;
    int32_t partition; // or RD_KAFKA_PARTITION_UA: the key's
    struct cs_bytes key, value;
    rd_kafka_headers_t *headers;
    int64_t timestamp_ms; // 0: now; a topic with the broker's time ignores it
    void *report;         // _private of the message that on_report is told of
};
// Hands over the record. Bytes are copied; the headers are taken, also on failure.
rd_kafka_resp_err_t cs_kafka_produce(rd_kafka_t *rk, const struct cs_kafka_record *r);

// How many files one client may have open: a pipe, and a connection for each broker that is named,
// for as many others of the cluster (at least three), and for the group's broker.
uint64_t cs_kafka_files(const struct cs_kafka_settings *s);

// Files with certificates and keys. librdkafka reads them only when a client is made. If they
// change, a new client is made beside the old one.
#define CS_KAFKA_TLS_FILES 3
// Paths of the settings, "" where one is not set: CA, certificate, key.
void cs_kafka_tls_files(const struct cs_kafka_settings *s, const char *ret[CS_KAFKA_TLS_FILES]);
// Whether a client can be made with the files as they are now; CONFIG where not.
CS_MUST_USE bool cs_kafka_tls_usable(const struct cs_kafka_settings *s, struct cs_err *err);

// What is taken from a partition's queue. Before librdkafka 2.2, after a queue was full
// (queued.max.messages.kbytes, queued.min.messages), its threads look for room only once a second.
// So a busy partition would give only one queue a second. If a queue is empty and may have been
// full since it was last empty, this wakes librdkafka's threads. Later versions look each
// fetch.queue.backoff.ms. With Kerberos nothing is woken.
struct cs_kafka_intake {
    rd_kafka_t *rk;
    const struct cs_kafka_settings *settings;
    bool wakes;
    size_t full_bytes, full_messages;
    size_t bytes, messages; // since it last ran dry
};
// settings: those that made rk. Both must live as long.
void cs_kafka_intake_init(struct cs_kafka_intake *in, rd_kafka_t *rk,
                          const struct cs_kafka_settings *settings);
// Call it each time that messages were taken without waiting: n of `most`.
void cs_kafka_intake_took(struct cs_kafka_intake *in, rd_kafka_message_t *const *messages, size_t n,
                          size_t most);

// What an error code means for us: RETRY, CONFIG (authorization, authentication, unknown topic, bad
// settings...) or FATAL. Sets err with "what: <librdkafka's text>; <what to do>". Always returns
// false.
bool cs_kafka_err(struct cs_err *err, rd_kafka_resp_err_t code, const char *fmt, ...) CS_PRINTF(3, 4);
enum cs_err_kind cs_kafka_err_kind(rd_kafka_resp_err_t code);
// Takes the error object over.
bool cs_kafka_error(struct cs_err *err, rd_kafka_error_t *error, const char *fmt, ...) CS_PRINTF(3, 4);

// Waits until the cluster answers a metadata request for the topic. Returns its partition count.
// RETRY: "no broker of ... answered within 10 s: last error ...", or leaders missing. CONFIG: topic
// missing ("make it with: certsync-consumer init"), authorization.
CS_MUST_USE bool cs_kafka_topic_partitions(rd_kafka_t *rk, const char *brokers, const char *topic,
                                           int64_t timeout_ms, int32_t *ret_partitions, struct cs_err *err);
// First and next offset of a partition, asked of the broker. If nobody knows the partition, it is
// asked for again for 10 s, because it may be new. Then CONFIG.
CS_MUST_USE bool cs_kafka_watermarks(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t timeout_ms,
                                     int64_t *ret_low, int64_t *ret_high, struct cs_err *err);

// The same of all partitions at once: where each begins or ends.
enum cs_kafka_where { CS_KAFKA_BEGINNING, CS_KAFKA_END };
CS_MUST_USE bool cs_kafka_offsets(rd_kafka_t *rk, const char *topic, int32_t partitions,
                                  enum cs_kafka_where where, int64_t timeout_ms, int64_t *ret,
                                  struct cs_err *err);

// Admin.
struct cs_kafka_topic {
    const char *name;
    int32_t partitions;
    int32_t replication_factor; // -1: the broker's default
    const struct cs_kafka_topic_config *configs;
    size_t config_count;
};
struct cs_kafka_topic_config {
    const char *name;
    const char *value;
};
// What a topic's compression.type must be, so that its records stay as this producer compresses them.
#define CS_KAFKA_COMPRESSION_SIZE 16
void cs_kafka_topic_compression(rd_kafka_t *producer, char ret[CS_KAFKA_COMPRESSION_SIZE]);
// ret_existed: the topic was there already (which is success; its settings are not compared).
CS_MUST_USE bool cs_kafka_topic_create(rd_kafka_t *rk, const struct cs_kafka_topic *topic, int64_t timeout_ms,
                                       bool *ret_existed, struct cs_err *err);
// Effective settings of a topic. Numbers are -1 where the broker does not say.
struct cs_kafka_topic_description {
    int64_t retention_ms;    // INT64_MIN: unknown; -1: for ever
    int64_t retention_bytes; // the same
    int64_t min_insync_replicas;
    int64_t max_message_bytes;
    char cleanup_policy[32];
    char message_timestamp_type[32]; // "LogAppendTime" or "CreateTime"; "" unknown
    int unclean_leader_election;     // 0, 1; -1 unknown
};
CS_MUST_USE bool cs_kafka_topic_describe(rd_kafka_t *rk, const char *topic, int64_t timeout_ms,
                                         struct cs_kafka_topic_description *ret, struct cs_err *err);
// Changes one setting of a topic, and keeps the others that were set for it.
CS_MUST_USE bool cs_kafka_topic_alter(rd_kafka_t *rk, const char *topic, const char *name, const char *value,
                                      int64_t timeout_ms, struct cs_err *err);
