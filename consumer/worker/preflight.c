// SPDX-License-Identifier: Apache-2.0
#include "worker/preflight.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/log.h"
#include "worker/record.h"

#define MESSAGE_BYTES_MIN   (512 * 1024) // room for the largest event, its headers, and more
#define DESCRIBE_TIMEOUT_MS 10000

struct check {
    const struct cs_consumer_settings *s;
    struct cs_crypto *crypto;
    struct cs_pubkey *root;
    rd_kafka_t *rk;
    int64_t deadline_ms;
    int32_t partitions;
    int32_t genesis_seen;
    cs_log_id log_id; // "" before the first genesis
    int32_t log_of;   // the partition that named it
    char heartbeats[CS_ERR_MSG_MAX];
};

static int64_t left_ms(const struct check *c) {
    int64_t left = c->deadline_ms - cs_clock_mono_ms(cs_clock_real());
    return left > 1 ? left : 1;
}

// Their order is what epochs are counted by.
static bool check_corrections_count(rd_kafka_t *rk, const struct cs_consumer_settings *s, int64_t timeout_ms,
                                    struct cs_err *err) {
    int32_t n = 0;
    if (!cs_kafka_topic_partitions(rk, s->kafka.brokers, s->corrections_topic, timeout_ms, &n, err))
        return false;
    return n == 1 || cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                                "topic %s has %d partitions, and must have one: make it anew with: "
                                "certsync-consumer init",
                                s->corrections_topic, (int)n);
}

static bool check_count(struct check *c, struct cs_err *err) {
    const struct cs_consumer_settings *s = c->s;
    const char *const others[] = {s->outcomes_topic, s->checkpoints_topic};
    if (!cs_kafka_topic_partitions(c->rk, s->kafka.brokers, s->events_topic, left_ms(c), &c->partitions, err))
        return false;
    if (!check_corrections_count(c->rk, s, left_ms(c), err))
        return false;
    for (size_t i = 0; i < CS_ARRAY_LEN(others); i++) {
        int32_t n = 0;
        if (!cs_kafka_topic_partitions(c->rk, s->kafka.brokers, others[i], left_ms(c), &n, err))
            return false;
        if (n != c->partitions)
            return cs_err_set(
                err, CS_ERR_CONFIG, CS_CODE_NONE,
                "topic %s has %d partitions and topic %s has %d: both must have the number that "
                "init made; never add any",
                s->events_topic, (int)c->partitions, others[i], (int)n);
    }
    return true;
}

static bool wrong(struct cs_err *err, const char *topic, const char *what, const char *mend) {
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "topic %s has %s; mend it with: kafka-configs --alter --entity-type topics --entity-name %s "
        "--add-config %s",
        topic, what, topic, mend);
}

static bool check_description(const struct cs_kafka_topic_description *t, const char *topic, bool events,
                              struct cs_err *err) {
    const struct cs_kafka_topic_description d = *t;
    if (d.retention_ms != -1 && d.retention_ms != INT64_MIN)
        return wrong(err, topic, "a limited retention time, but the log is the truth", "retention.ms=-1");
    if (d.retention_bytes != -1 && d.retention_bytes != INT64_MIN)
        return wrong(err, topic, "a limited size, but the log is the truth", "retention.bytes=-1");
    if (strcmp(d.cleanup_policy, "delete") != 0 && d.cleanup_policy[0])
        return wrong(err, topic, "compaction, which removes records", "cleanup.policy=delete");
    if (events && strcmp(d.message_timestamp_type, "LogAppendTime") != 0 && d.message_timestamp_type[0])
        return wrong(err, topic, "its senders' timestamps", "message.timestamp.type=LogAppendTime");
    if (events && d.max_message_bytes >= 0 && d.max_message_bytes < MESSAGE_BYTES_MIN)
        return wrong(err, topic, "too low a limit for its messages", "max.message.bytes=1048588");
    if (d.unclean_leader_election == 1)
        return wrong(err, topic, "unclean leader election, which loses records",
                     "unclean.leader.election.enable=false");
    return true;
}

static bool check_compacted(const struct cs_kafka_topic_description *d, const char *topic,
                            struct cs_err *err) {
    bool limited = d->retention_ms >= 0 || d->retention_bytes >= 0;
    return !strstr(d->cleanup_policy, "delete") || !limited ||
           wrong(err, topic, "a limited retention, but an old checkpoint shows a past that was rewritten",
                 "cleanup.policy=compact");
}

// Heartbeats are gone after a while, and have the broker's time.
static bool check_passing(const struct cs_kafka_topic_description *d, const char *topic, struct cs_err *err) {
    if (strcmp(d->cleanup_policy, "delete") != 0 && d->cleanup_policy[0])
        return wrong(err, topic, "compaction, which would keep heartbeats for ever", "cleanup.policy=delete");
    if (d->retention_ms == -1)
        return wrong(err, topic, "no limited retention time, so heartbeats would fill the disks",
                     "retention.ms=86400000");
    return strcmp(d->message_timestamp_type, "LogAppendTime") == 0 || !d->message_timestamp_type[0] ||
           wrong(err, topic, "its senders' timestamps", "message.timestamp.type=LogAppendTime");
}

bool cs_preflight_heartbeats(rd_kafka_t *rk, const struct cs_consumer_settings *s, int32_t partitions,
                             int64_t timeout_ms, struct cs_err *err) {
    const char *topic = s->heartbeats_topic;
    struct cs_kafka_topic_description d;
    struct cs_err ignored;
    int32_t n = 0;
    if (!cs_kafka_topic_partitions(rk, s->kafka.brokers, topic, timeout_ms, &n, err))
        return false;
    if (n != partitions)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "topic %s has %d partitions and topic %s has %d: both must have the same number; "
                          "delete topic %s, which holds nothing that is missed, and make it anew with: "
                          "certsync-consumer init",
                          topic, (int)n, s->events_topic, (int)partitions, topic);
    return s->allow_create_time || !cs_kafka_topic_describe(rk, topic, timeout_ms, &d, &ignored) ||
           check_passing(&d, topic, err);
}

// Whether the topic's settings keep all records. Also true, with the reason, if that cannot be
// seen.
static bool check_settings(rd_kafka_t *rk, const struct cs_consumer_settings *s, const char *topic,
                           bool *ret_seen, struct cs_err *why, struct cs_err *err) {
    struct cs_kafka_topic_description d;
    *ret_seen = s->allow_create_time; // the embedded broker does not know this request
    if (*ret_seen)
        return true;
    *ret_seen = cs_kafka_topic_describe(rk, topic, DESCRIBE_TIMEOUT_MS, &d, why);
    if (*ret_seen && topic == s->checkpoints_topic)
        return check_compacted(&d, topic, err);
    return !*ret_seen || check_description(&d, topic, topic == s->events_topic, err);
}

// Why records are gone, as far as the topic's settings show it.
static void cause_of_loss(rd_kafka_t *rk, const char *topic, char *out, size_t size) {
    struct cs_kafka_topic_description d;
    struct cs_err ignored;
    snprintf(
        out, size, "%s",
        "its settings keep all: somebody deleted them (kafka-delete-records), or they were gone before the "
        "settings were mended");
    if (!cs_kafka_topic_describe(rk, topic, DESCRIBE_TIMEOUT_MS, &d, &ignored))
        snprintf(out, size, "%s",
                 "its settings cannot be seen: look at retention.ms, retention.bytes and cleanup.policy");
    else if (d.retention_ms >= 0)
        snprintf(out, size, "retention.ms=%lld deletes them: set it to -1", (long long)d.retention_ms);
    else if (d.retention_bytes >= 0)
        snprintf(out, size, "retention.bytes=%lld deletes them: set it to -1", (long long)d.retention_bytes);
    else if (strstr(d.cleanup_policy, "compact"))
        snprintf(out, size, "cleanup.policy=%s removes them: set it to delete", d.cleanup_policy);
}

bool cs_preflight_lost(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t low,
                       struct cs_err *err) {
    char cause[200];
    cause_of_loss(rk, topic, cause, sizeof cause);
    return cs_err_set(
        err, CS_ERR_FATAL, CS_CODE_NONE,
        "topic %s partition %d begins at offset %lld: the records before it were deleted, and without "
        "them nothing can be judged again; %s; then restore the topic",
        topic, (int)partition, (long long)low, cause);
}

// Whether each partition begins at offset 0.
static bool check_begins(rd_kafka_t *rk, const char *topic, int32_t partitions, int64_t timeout_ms,
                         struct cs_err *err) {
    int64_t *low = calloc((size_t)partitions, sizeof *low);
    bool ok = low ? cs_kafka_offsets(rk, topic, partitions, CS_KAFKA_BEGINNING, timeout_ms, low, err)
                  : cs_err_oom(err);
    for (int32_t p = 0; ok && p < partitions; p++)
        if (low[p] > 0)
            ok = cs_preflight_lost(rk, topic, p, low[p], err);
    free(low);
    return ok;
}

bool cs_preflight_topics(rd_kafka_t *rk, const struct cs_consumer_settings *s, int32_t partitions,
                         int64_t timeout_ms, struct cs_err *err) {
    const char *const topics[] = {s->events_topic, s->outcomes_topic, s->corrections_topic};
    for (size_t i = 0; i < CS_ARRAY_LEN(topics); i++) {
        struct cs_err ignored;
        int32_t count = 0;
        int32_t due = topics[i] == s->corrections_topic ? 1 : partitions;
        bool seen = false;
        if (!cs_kafka_topic_partitions(rk, s->kafka.brokers, topics[i], timeout_ms, &count, err) ||
            !check_settings(rk, s, topics[i], &seen, &ignored, err) ||
            !check_begins(rk, topics[i], due, timeout_ms, err))
            return false;
        if (count != due)
            return cs_err_set(
                err, CS_ERR_CONFIG, CS_CODE_NONE,
                "topic %s has %d partitions, but had %d at the start: their number must never change, "
                "since keys then come to other partitions; restore the topic",
                topics[i], (int)count, (int)due);
    }
    return true;
}

static bool look_at_settings(struct check *c, const char *topic, struct cs_err *err) {
    struct cs_err why;
    bool seen = false;
    if (!check_settings(c->rk, c->s, topic, &seen, &why, err))
        return false;
    if (!seen)
        cs_log_err(CS_LOG_WARN, "the topic's settings cannot be seen and are not checked", &why, "topic=%s",
                   topic);
    return true;
}

static bool check_topic(struct check *c, const char *topic, int32_t partitions, struct cs_err *err) {
    if (!look_at_settings(c, topic, err))
        return false;
    if (check_begins(c->rk, topic, partitions, left_ms(c), err))
        return true;
    if (err->kind == CS_ERR_FATAL)
        err->kind = CS_ERR_CONFIG; // a restart does not help
    return false;
}

static bool not_ours(struct cs_err *err, const struct cs_record *r, const char *what) {
    return cs_err_set(
        err, CS_ERR_CONFIG, CS_CODE_NONE,
        "partition %d does not begin with this deployment's genesis record: %s; check kafka.events_topic, "
        "deployment.id and deployment.root_key, or make new topics with: certsync-consumer init",
        (int)r->partition, what);
}

static bool signed_by_root(struct check *c, const struct cs_record *r) {
    uint8_t sig[CS_EVENT_SIG_MAX * 2];
    size_t len = 0;
    for (size_t i = 0; i < r->headers_len; i++) {
        const struct cs_header *h = &r->headers[i];
        if (strcmp(h->name, CS_SIG_HEADER) == 0 && h->value.data &&
            cs_base64_decoded_max(h->value.len) <= sizeof sig &&
            cs_base64_decode((const char *)h->value.data, h->value.len, sig, &len))
            return cs_event_verify(c->crypto, c->root, r->value, (struct cs_bytes){sig, len});
    }
    return false;
}

// All partitions begin with the same record, and so with the same nonce.
static bool take_log(struct check *c, const struct cs_record *r, const struct cs_event *ev,
                     struct cs_err *err) {
    cs_log_id named;
    cs_log_id_make(ev->data.genesis.deployment, ev->data.genesis.nonce, named);
    if (strcmp(ev->log_id, named) != 0)
        return not_ours(err, r, "its source is not the log that its nonce makes");
    if (!c->log_id[0]) {
        memcpy(c->log_id, named, sizeof named);
        c->log_of = r->partition;
    }
    return strcmp(c->log_id, named) == 0 ||
           cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                      "topic %s holds two logs: partition %d begins with log %s, partition %d with log %s; "
                      "restore the topic from one of them, or make new topics with: certsync-consumer init",
                      c->s->events_topic, (int)c->log_of, c->log_id, (int)r->partition, named);
}

static bool check_genesis(void *arg, const struct cs_record *r, struct cs_err *err) {
    struct check *c = arg;
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err why;
    c->genesis_seen++;
    if (!r->value.data || !cs_event_decode(r->value, &ev, &why) || ev->type != CS_EVENT_SYSTEM_GENESIS)
        return not_ours(err, r, "it begins with another record");
    if (strcmp(ev->data.genesis.deployment, c->s->deployment) != 0)
        return not_ours(err, r, "it names another deployment");
    if (!signed_by_root(c, r))
        return not_ours(err, r, "it is not signed by the root key of the settings");
    if (ev->data.genesis.partitions != c->partitions)
        return not_ours(err, r, "it names another number of partitions");
    return take_log(c, r, ev, err);
}

static bool check_first_records(struct check *c, struct cs_err *err) {
    struct cs_scan scan = {.rk = c->rk,
                           .topic = c->s->events_topic,
                           .partition_count = c->partitions,
                           .most = 1,
                           .timeout_ms = left_ms(c),
                           .fn = check_genesis,
                           .arg = c};
    if (!cs_scan_topic(&scan, err))
        return false;
    if (c->genesis_seen < c->partitions)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "topic %s has %d partitions without a genesis record: run certsync-consumer init (again)",
            c->s->events_topic, (int)(c->partitions - c->genesis_seen));
    return true;
}

// Nothing stops without heartbeats. But somebody must know.
static void look_at_heartbeats(struct check *c) {
    struct cs_err err;
    if (cs_preflight_heartbeats(c->rk, c->s, c->partitions, left_ms(c), &err))
        return;
    snprintf(c->heartbeats, sizeof c->heartbeats, "%s", err.msg);
}

static bool check_kafka(struct check *c, struct cs_err *err) {
    rd_kafka_conf_t *conf = NULL;
    if (!cs_kafka_conf_consumer(&c->s->kafka, "certsync-consumer-check", NULL, &conf, err) ||
        !cs_kafka_new(RD_KAFKA_CONSUMER, conf, &c->rk, err))
        return false;
    bool ok = check_count(c, err) && check_topic(c, c->s->events_topic, c->partitions, err) &&
              check_topic(c, c->s->outcomes_topic, c->partitions, err) &&
              check_topic(c, c->s->corrections_topic, 1, err) &&
              look_at_settings(c, c->s->checkpoints_topic, err) && check_first_records(c, err);
    if (ok)
        look_at_heartbeats(c);
    rd_kafka_destroy(c->rk);
    return ok;
}

bool cs_preflight(const struct cs_consumer_settings *s, struct cs_bytes root_spki, struct cs_preflight *ret,
                  struct cs_err *err) {
    struct check c = {.s = s, .deadline_ms = cs_clock_mono_ms(cs_clock_real()) + s->preflight_timeout_ms};
    struct cs_preflight_redis redis;
    bool ok = cs_crypto_new(&c.crypto, err) && cs_pubkey_new(c.crypto, root_spki, &c.root, err) &&
              cs_preflight_redis(s, left_ms(&c), &redis, err) && check_kafka(&c, err);
    cs_pubkey_free(c.root);
    cs_crypto_free(c.crypto);
    if (ok)
        *ret = (struct cs_preflight){.partition_count = c.partitions};
    if (ok)
        memcpy(ret->log_id, c.log_id, sizeof c.log_id);
    if (ok)
        memcpy(ret->heartbeats, c.heartbeats, sizeof c.heartbeats);
    return ok;
}

struct same_log {
    const char *topic, *log_id;
    bool seen;
};

static bool is_same_log(void *arg, const struct cs_record *r, struct cs_err *err) {
    struct same_log *same = arg;
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err why;
    bool genesis =
        r->value.data && cs_event_decode(r->value, &ev, &why) && ev->type == CS_EVENT_SYSTEM_GENESIS;
    same->seen = true;
    return (genesis && strcmp(ev->log_id, same->log_id) == 0) ||
           cs_err_set(
               err, CS_ERR_FATAL, CS_CODE_NONE,
               "topic %s begins with %s%s now, but this consumer began with log %s: the topic was made "
               "anew; restore it, or start the consumers again if that was meant",
               same->topic, genesis ? "log " : "another record", genesis ? ev->log_id : "", same->log_id);
}

bool cs_preflight_log(rd_kafka_t *rk, const struct cs_consumer_settings *s, const char *log_id,
                      int64_t timeout_ms, struct cs_err *err) {
    struct same_log same = {s->events_topic, log_id, false};
    struct cs_scan scan = {.rk = rk,
                           .topic = s->events_topic,
                           .partition_count = 1,
                           .most = 1,
                           .timeout_ms = timeout_ms,
                           .fn = is_same_log,
                           .arg = &same};
    if (!cs_scan_topic(&scan, err))
        return false;
    return same.seen ||
           cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "topic %s is empty now, but this consumer began with log %s: the topic was made anew; "
                      "restore it",
                      s->events_topic, log_id);
}
