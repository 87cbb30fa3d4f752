// SPDX-License-Identifier: Apache-2.0
//
// Error codes of librdkafka and the brokers, as our kinds, each with what to do.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/runtime/kafka.h"

#define WAITING  "it is tried again"
#define BROKERS  "check kafka.brokers and the network; it is tried again"
#define RIGHTS   "have the Kafka administrator grant this user the operation (ACL)"
#define LOGIN    "check kafka.sasl_mechanism, kafka.sasl_username and kafka.sasl_password"
#define TLS      "check kafka.security_protocol and the kafka.ssl_ settings"
#define TOPIC    "check the topic's name, or make the topics with: certsync-consumer init"
#define POSITION "the topic was truncated or made anew; nothing is guessed"

struct row {
    rd_kafka_resp_err_t code;
    enum cs_err_kind kind;
    const char *advice;
};

#define E(name, kind, advice)                                                                                \
    { RD_KAFKA_RESP_ERR_##name, CS_ERR_##kind, advice }
static const struct row rows[] = {
    E(_TRANSPORT, RETRY, BROKERS),
    E(_ALL_BROKERS_DOWN, RETRY, BROKERS),
    E(_RESOLVE, RETRY, BROKERS),
    E(_TIMED_OUT, RETRY, BROKERS),
    E(_TIMED_OUT_QUEUE, RETRY, WAITING),
    E(_MSG_TIMED_OUT, RETRY, BROKERS),
    E(_QUEUE_FULL, RETRY, "too much is waiting for the brokers; it is tried again"),
    E(_WAIT_COORD, RETRY, WAITING),
    E(_WAIT_CACHE, RETRY, WAITING),
    E(_IN_PROGRESS, RETRY, WAITING),
    E(_PREV_IN_PROGRESS, RETRY, WAITING),
    E(_RETRY, RETRY, WAITING),
    E(_INTR, RETRY, WAITING),
    E(_OUTDATED, RETRY, WAITING),
    E(_PURGE_QUEUE, RETRY, WAITING),
    E(_PURGE_INFLIGHT, RETRY, WAITING),
    E(_PARTITION_EOF, RETRY, WAITING),
    E(_ASSIGN_PARTITIONS, RETRY, WAITING),
    E(_REVOKE_PARTITIONS, RETRY, WAITING),
    E(_ASSIGNMENT_LOST, RETRY, WAITING),
    E(_MAX_POLL_EXCEEDED, RETRY, "the consumer was too slow and left its group; it joins again"),
    E(LEADER_NOT_AVAILABLE, RETRY, WAITING),
    E(NOT_LEADER_FOR_PARTITION, RETRY, WAITING),
    E(REQUEST_TIMED_OUT, RETRY, WAITING),
    E(BROKER_NOT_AVAILABLE, RETRY, BROKERS),
    E(REPLICA_NOT_AVAILABLE, RETRY, WAITING),
    E(NETWORK_EXCEPTION, RETRY, BROKERS),
    E(COORDINATOR_LOAD_IN_PROGRESS, RETRY, WAITING),
    E(COORDINATOR_NOT_AVAILABLE, RETRY, WAITING),
    E(NOT_COORDINATOR, RETRY, WAITING),
    E(NOT_ENOUGH_REPLICAS, RETRY, "too few brokers are in sync (min.insync.replicas); bring them back"),
    E(NOT_ENOUGH_REPLICAS_AFTER_APPEND, RETRY,
      "too few brokers are in sync (min.insync.replicas); bring them back"),
    E(REBALANCE_IN_PROGRESS, RETRY, WAITING),
    E(ILLEGAL_GENERATION, RETRY, WAITING),
    E(UNKNOWN_MEMBER_ID, RETRY, WAITING),
    E(MEMBER_ID_REQUIRED, RETRY, WAITING),
    E(NOT_CONTROLLER, RETRY, WAITING),
    E(KAFKA_STORAGE_ERROR, RETRY, "a broker cannot write to its disk; it is tried again"),
    E(FENCED_LEADER_EPOCH, RETRY, WAITING),
    E(UNKNOWN_LEADER_EPOCH, RETRY, WAITING),
    E(OFFSET_NOT_AVAILABLE, RETRY, WAITING),
    E(PREFERRED_LEADER_NOT_AVAILABLE, RETRY, WAITING),
    E(THROTTLING_QUOTA_EXCEEDED, RETRY, "the brokers' quota is used up; it is tried again"),
    E(UNSTABLE_OFFSET_COMMIT, RETRY, WAITING),
    E(STALE_BROKER_EPOCH, RETRY, WAITING),
    E(_SSL, CONFIG, TLS),
    E(_AUTHENTICATION, CONFIG, LOGIN),
    E(SASL_AUTHENTICATION_FAILED, CONFIG, LOGIN),
    E(UNSUPPORTED_SASL_MECHANISM, CONFIG, LOGIN),
    E(ILLEGAL_SASL_STATE, CONFIG, LOGIN),
    E(SECURITY_DISABLED, CONFIG, "the brokers have no authorizer; give them one"),
    E(TOPIC_AUTHORIZATION_FAILED, CONFIG, RIGHTS),
    E(GROUP_AUTHORIZATION_FAILED, CONFIG, RIGHTS),
    E(CLUSTER_AUTHORIZATION_FAILED, CONFIG, RIGHTS),
    E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED, CONFIG, RIGHTS),
    E(UNKNOWN_TOPIC_OR_PART, CONFIG, TOPIC),
    E(_UNKNOWN_TOPIC, CONFIG, TOPIC),
    E(_UNKNOWN_PARTITION, CONFIG, TOPIC),
    E(TOPIC_EXCEPTION, CONFIG, TOPIC),
    E(OFFSET_OUT_OF_RANGE, CONFIG, POSITION),
    E(_AUTO_OFFSET_RESET, CONFIG, POSITION),
    E(MSG_SIZE_TOO_LARGE, CONFIG, "raise the topic's max.message.bytes"),
    E(INVALID_CONFIG, CONFIG, "correct the topic's settings"),
    E(INVALID_PARTITIONS, CONFIG, "choose another number of partitions"),
    E(INVALID_REPLICATION_FACTOR, CONFIG, "choose a replication factor that the number of brokers allows"),
    E(INVALID_REQUIRED_ACKS, CONFIG, "the brokers are too old"),
    E(INVALID_TIMESTAMP, CONFIG, "check the clocks, and the topic's message.timestamp.type"),
    E(POLICY_VIOLATION, CONFIG, "the brokers' policy forbids it; ask the Kafka administrator"),
    E(UNSUPPORTED_VERSION, CONFIG, "the brokers are too old"),
    E(_UNSUPPORTED_FEATURE, CONFIG, "the brokers are too old"),
    E(UNSUPPORTED_FOR_MESSAGE_FORMAT, CONFIG, "the brokers' message format is too old"),
    E(INCONSISTENT_GROUP_PROTOCOL, CONFIG, "another program uses this group; set kafka.group"),
    E(GROUP_MAX_SIZE_REACHED, CONFIG, "the brokers allow no more members in the group (group.max.size)"),
    E(FENCED_INSTANCE_ID, CONFIG, "another consumer has the same group.instance.id"),
    E(_INVALID_ARG, CONFIG, "check the settings under [kafka]"),
    E(_FS, CONFIG, "check the files that the settings under [kafka] name"),
};
#undef E

static const struct row *find(rd_kafka_resp_err_t code) {
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++) {
        if (rows[i].code == code)
            return &rows[i];
    }
    return NULL;
}

enum cs_err_kind cs_kafka_err_kind(rd_kafka_resp_err_t code) {
    const struct row *r = find(code);
    return r ? r->kind : CS_ERR_FATAL;
}

static bool fill(struct cs_err *err, rd_kafka_resp_err_t code, const char *text, const char *fmt,
                 va_list ap) {
    const struct row *r = find(code);
    char what[256], shown[320];
    vsnprintf(what, sizeof what, fmt, ap);
    cs_text_escape(text, strlen(text), shown, sizeof shown);
    return cs_err_set(err, r ? r->kind : CS_ERR_FATAL, CS_CODE_NONE, "%s: %s (%s)%s%s", what, shown,
                      rd_kafka_err2name(code), r ? "; " : "", r ? r->advice : "");
}

bool cs_kafka_err(struct cs_err *err, rd_kafka_resp_err_t code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fill(err, code, rd_kafka_err2str(code), fmt, ap);
    va_end(ap);
    return false;
}

bool cs_kafka_error(struct cs_err *err, rd_kafka_error_t *error, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fill(err, rd_kafka_error_code(error), rd_kafka_error_string(error), fmt, ap);
    va_end(ap);
    // librdkafka knows better than the table whether this error ends the producer.
    if (rd_kafka_error_is_fatal(error))
        err->kind = CS_ERR_FATAL;
    else if (rd_kafka_error_is_retriable(error))
        err->kind = CS_ERR_RETRY;
    rd_kafka_error_destroy(error);
    return false;
}
