// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/kafka.h"
#include "log/init.h"

#define SCAN_TIMEOUT_MS 30000

static bool foreign(const struct cs_init_log *log, const struct cs_record *r, const char *what,
                    struct cs_err *err) {
    return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "topic %s partition %d is in use already: %s; give other topics (kafka.events_topic, "
                      "kafka.outcomes_topic), or the deployment's own id and root key",
                      log->settings->events_topic, (int)r->partition, what);
}

static struct cs_bytes header_of(const struct cs_record *r, const char *name) {
    for (size_t i = 0; i < r->headers_len; i++)
        if (strcmp(r->headers[i].name, name) == 0)
            return r->headers[i].value;
    return (struct cs_bytes){0};
}

static bool by_root(const struct cs_init_log *log, const struct cs_record *r) {
    uint8_t sig[CS_EVENT_SIG_MAX * 2];
    size_t len = 0;
    struct cs_bytes text = header_of(r, CS_SIG_HEADER);
    return text.data && cs_base64_decoded_max(text.len) <= sizeof sig &&
           cs_base64_decode((const char *)text.data, text.len, sig, &len) &&
           cs_event_verify(log->crypto, log->root, r->value, (struct cs_bytes){sig, len});
}

static bool take_genesis(struct cs_init_log *log, const struct cs_record *r, const struct cs_event *ev,
                         struct cs_err *err) {
    if (ev->type != CS_EVENT_SYSTEM_GENESIS)
        return foreign(log, r, "its first record is no genesis record", err);
    if (strcmp(ev->data.genesis.deployment, log->settings->deployment) != 0)
        return foreign(log, r, "its genesis record names another deployment", err);
    if (ev->data.genesis.partitions != log->partitions)
        return foreign(log, r, "its genesis record names another number of partitions", err);
    if (log->nonce[0] && strcmp(log->nonce, ev->data.genesis.nonce) != 0)
        return foreign(log, r, "its genesis record is another than that of another partition", err);
    memcpy(log->nonce, ev->data.genesis.nonce, sizeof log->nonce);
    log->genesis[r->partition] = true;
    if (log->genesis_value.len == 0) {
        struct cs_bytes sig = header_of(r, CS_SIG_HEADER);
        cs_buf_put(&log->genesis_value, r->value.data, r->value.len);
        cs_buf_put(&log->genesis_sig, sig.data, sig.len);
    }
    return cs_buf_ok(&log->genesis_value, err) && cs_buf_ok(&log->genesis_sig, err);
}

static void take_trust(struct cs_init_log *log, const struct cs_record *r, const struct cs_event *ev) {
    for (size_t i = 0; i < log->keys_len; i++) {
        struct cs_init_key *k = &log->keys[i];
        if (strcmp(k->kid, ev->subject) != 0)
            continue;
        if (ev->type == CS_EVENT_TRUST_ADD)
            k->there[r->partition] = true;
        else if (ev->type == CS_EVENT_TRUST_REMOVE)
            k->removed = true;
    }
}

static bool contains(struct cs_bytes value, const char *text) {
    size_t len = strlen(text);
    for (size_t at = 0; at + len <= value.len; at++) {
        const uint8_t *hit = memchr(value.data + at, text[0], value.len - at - len + 1);
        if (!hit)
            return false;
        if (memcmp(hit, text, len) == 0)
            return true;
        at = (size_t)(hit - value.data);
    }
    return false;
}

static bool take_record(void *arg, const struct cs_record *r, struct cs_err *err) {
    struct cs_init_log *log = arg;
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err ignored;
    bool first = !log->genesis[r->partition];
    // Only records that the root key signed matter here. Its kid is in the record's source.
    bool candidate = r->value.data && contains(r->value, log->root_kid);
    if (!candidate || !cs_event_decode(r->value, &ev, &ignored) || strcmp(ev->kid, log->root_kid) != 0 ||
        !by_root(log, r))
        return !first || foreign(log, r, "its first record is not signed by this root key", err);
    if (ev->seq > log->root_seq)
        log->root_seq = ev->seq;
    if (first)
        return take_genesis(log, r, ev, err);
    take_trust(log, r, ev);
    return true;
}

bool cs_init_log_read(struct cs_init_log *log, struct cs_err *err) {
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    cs_buf_init(&log->genesis_value, CS_EVENT_MAX);
    cs_buf_init(&log->genesis_sig, 1024);
    log->genesis = calloc((size_t)log->partitions, sizeof *log->genesis);
    bool ok = log->genesis != NULL;
    for (size_t i = 0; ok && i < log->keys_len; i++) {
        log->keys[i].there = calloc((size_t)log->partitions, sizeof *log->keys[i].there);
        ok = log->keys[i].there != NULL;
    }
    if (!ok)
        return cs_err_oom(err);
    if (!cs_kafka_conf_consumer(&log->settings->kafka, "certsync-consumer-init", NULL, &conf, err) ||
        !cs_kafka_new(RD_KAFKA_CONSUMER, conf, &rk, err))
        return false;
    struct cs_scan scan = {.rk = rk,
                           .topic = log->settings->events_topic,
                           .partition_count = log->partitions,
                           .timeout_ms = SCAN_TIMEOUT_MS,
                           .fn = take_record,
                           .arg = log};
    ok = cs_scan_topic(&scan, err);
    rd_kafka_destroy(rk);
    return ok;
}

void cs_init_log_clear(struct cs_init_log *log) {
    for (size_t i = 0; i < log->keys_len; i++) {
        free(log->keys[i].spki);
        free(log->keys[i].there);
    }
    free(log->genesis);
    cs_buf_clear(&log->genesis_value);
    cs_buf_clear(&log->genesis_sig);
    cs_pubkey_free(log->root);
    cs_crypto_free(log->crypto);
    *log = (struct cs_init_log){0};
}

// Of checkpoints one of each size class stays, heartbeats stay for a day. Segments of both are closed
// each hour, since only closed ones are compacted or deleted.
bool cs_init_topic(rd_kafka_t *rk, const char *name, int32_t partitions, int32_t replication,
                   enum cs_init_topic_kind kind, int64_t timeout_ms, bool *ret_existed, struct cs_err *err) {
    static const size_t configs_of[] = {
        [CS_INIT_LOG] = 7, [CS_INIT_CORRECTIONS] = 7, [CS_INIT_HEARTBEATS] = 8, [CS_INIT_CHECKPOINTS] = 9};
    char compression[CS_KAFKA_COMPRESSION_SIZE];
    cs_kafka_topic_compression(rk, compression);
    const struct cs_kafka_topic_config configs[] = {
        {"compression.type", compression},
        {"retention.ms", kind == CS_INIT_HEARTBEATS ? "86400000" : "-1"},
        {"retention.bytes", "-1"},
        {"cleanup.policy", kind == CS_INIT_CHECKPOINTS ? "compact" : "delete"},
        {"message.timestamp.type", "LogAppendTime"},
        {"unclean.leader.election.enable", "false"},
        {"min.insync.replicas", replication >= 3 ? "2" : "1"},
        {"segment.ms", "3600000"},
        {"min.cleanable.dirty.ratio", "0.1"},
    };
    struct cs_kafka_topic topic = {name, partitions, replication, configs, configs_of[kind]};
    return cs_kafka_topic_create(rk, &topic, timeout_ms, ret_existed, err);
}
