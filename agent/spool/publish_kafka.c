// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certsync/model/sign.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"
#include "certsync/runtime/log.h"
#include "spool/publish.h"

#define POLL_MS  50
#define PURGE_MS 2000

// What stat() said of Kafka's TLS files when the client was made.
struct looks {
    struct {
        dev_t dev;
        ino_t ino;
        off_t size;
        struct timespec mtime, ctime;
    } file[CS_KAFKA_TLS_FILES];
};

struct kafka {
    struct cs_publisher base; // must be first
    const struct cs_kafka_settings *settings;
    const char *topic;
    const char *client_id;
    rd_kafka_t *rk;
    int32_t partitions; // 0: not asked yet
    struct looks looks;
    bool told; // it was reported that the changed files cannot be used
};

// One call of publish(). The messages' opaque pointers lead delivery reports to it.
struct batch {
    cs_publish_acked acked;
    void *arg;
    size_t open; // messages without a report
    rd_kafka_resp_err_t failed;
    size_t failed_index;
    struct slot {
        struct batch *batch;
        size_t index;
    } * slots;
};

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *msg, void *opaque) {
    const struct slot *slot = msg->_private;
    (void)rk;
    (void)opaque;
    struct batch *b = slot->batch;
    b->open--;
    if (msg->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        b->acked(b->arg, slot->index, msg->partition, msg->offset);
    } else if (b->failed == RD_KAFKA_RESP_ERR_NO_ERROR || slot->index < b->failed_index) {
        b->failed = msg->err;
        b->failed_index = slot->index;
    }
}

static void look_at_files(const struct kafka *k, struct looks *ret) {
    const char *files[CS_KAFKA_TLS_FILES];
    memset(ret, 0, sizeof *ret); // compared as bytes
    cs_kafka_tls_files(k->settings, files);
    for (size_t i = 0; i < CS_KAFKA_TLS_FILES; i++) {
        struct stat st;
        if (!files[i][0] || stat(files[i], &st) < 0)
            continue;
        ret->file[i].dev = st.st_dev;
        ret->file[i].ino = st.st_ino;
        ret->file[i].size = st.st_size;
        ret->file[i].mtime = st.st_mtim;
        ret->file[i].ctime = st.st_ctim;
    }
}

// Nothing is under way between two calls: the old client has nothing to do once there is a new one.
// If the files cannot be used (perhaps one half of a pair is new), the old client stays. The next
// call tries again.
static bool connect_client(struct kafka *k, struct cs_err *err) {
    struct looks now;
    rd_kafka_t *made = NULL;
    look_at_files(k, &now);
    if (k->rk && memcmp(&now, &k->looks, sizeof now) == 0)
        return true;
    if (cs_kafka_producer(k->settings, k->client_id, on_report, NULL, NULL, &made, err)) {
        if (k->rk) {
            rd_kafka_destroy(k->rk);
            cs_log_msg(CS_LOG_INFO, "the connection to Kafka is made anew with the changed files");
        }
        k->rk = made;
        k->looks = now;
        k->told = false;
        return true;
    }
    if (!k->rk)
        return false;
    if (!k->told)
        cs_log_err(CS_LOG_WARN, "changed files cannot be used, the old ones stay in use", err,
                   "what=kafka.ssl_ca,kafka.ssl_certificate,kafka.ssl_key");
    k->told = true;
    return true;
}

static bool kafka_partitions(struct cs_publisher *p, int64_t timeout_ms, int32_t *ret, struct cs_err *err) {
    struct kafka *k = (struct kafka *)p;
    if (!connect_client(k, err))
        return false;
    if (k->partitions == 0 &&
        !cs_kafka_topic_partitions(k->rk, k->settings->brokers, k->topic, timeout_ms, &k->partitions, err))
        return false;
    *ret = k->partitions;
    return true;
}

static rd_kafka_resp_err_t produce_one(rd_kafka_t *rk, rd_kafka_topic_t *topic,
                                       const struct cs_publish_record *r, struct slot *slot) {
    struct cs_kafka_record record = {.topic = topic,
                                     .partition = r->partition < 0 ? RD_KAFKA_PARTITION_UA : r->partition,
                                     .key = {(const uint8_t *)r->key, r->key ? strlen(r->key) : 0},
                                     .value = r->value,
                                     .headers = rd_kafka_headers_new(2),
                                     .report = slot};
    rd_kafka_header_add(record.headers, "content-type", -1, CS_CONTENT_TYPE, -1);
    rd_kafka_header_add(record.headers, CS_SIG_HEADER, -1, r->sig.data, (ssize_t)r->sig.len);
    return cs_kafka_produce(rk, &record);
}

// Hands all to librdkafka, and waits while its queue is full. Stops at the first failure.
static bool produce_all(struct kafka *k, rd_kafka_topic_t *topic, struct batch *b,
                        const struct cs_publish_record *records, size_t n, int64_t deadline,
                        struct cs_err *err) {
    for (size_t i = 0; i < n && b->failed == RD_KAFKA_RESP_ERR_NO_ERROR;) {
        b->slots[i] = (struct slot){b, i};
        rd_kafka_resp_err_t code = produce_one(k->rk, topic, &records[i], &b->slots[i]);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            b->open++;
            i++;
        } else if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && cs_clock_mono_ms(cs_clock_real()) < deadline) {
            rd_kafka_poll(k->rk, POLL_MS);
        } else {
            return cs_kafka_err(err, code, "topic %s", rd_kafka_topic_name(topic));
        }
    }
    return true;
}

// Unacknowledged messages must leave the queue before the caller frees its records. They are sent
// again with the same bytes.
static void drop_open(struct kafka *k, struct batch *b) {
    if (b->open == 0)
        return;
    rd_kafka_purge(k->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    int64_t deadline = cs_clock_mono_ms(cs_clock_real()) + PURGE_MS;
    while (b->open > 0 && cs_clock_mono_ms(cs_clock_real()) < deadline)
        rd_kafka_poll(k->rk, POLL_MS);
}

static bool publish_batch(struct kafka *k, const char *name, struct batch *b,
                          const struct cs_publish_record *records, size_t n, int64_t timeout_ms,
                          struct cs_err *err) {
    int64_t deadline = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(k->rk, name, NULL);
    if (!topic)
        return cs_kafka_err(err, rd_kafka_last_error(), "topic %s", name);
    bool ok = produce_all(k, topic, b, records, n, deadline, err);
    rd_kafka_topic_destroy(topic); // the records hold a reference
    while (ok && b->open > 0 && b->failed == RD_KAFKA_RESP_ERR_NO_ERROR &&
           cs_clock_mono_ms(cs_clock_real()) < deadline)
        rd_kafka_poll(k->rk, POLL_MS);
    rd_kafka_resp_err_t failed = b->failed;
    size_t open = b->open;
    drop_open(k, b);
    if (!ok)
        return false;
    if (failed != RD_KAFKA_RESP_ERR_NO_ERROR)
        return cs_kafka_err(err, failed, "topic %s", name);
    if (open > 0)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "%s did not acknowledge within %g s",
                          k->settings->brokers, (double)timeout_ms / 1000);
    return true;
}

// This reports what is wrong (brokers, topic, rights) better than a message that is never sent.
static bool look_at_topic(struct kafka *k, const char *name, int64_t timeout_ms, struct cs_err *err) {
    int32_t ignored;
    if (name == k->topic)
        return kafka_partitions(&k->base, timeout_ms, &ignored, err);
    return connect_client(k, err) &&
           cs_kafka_topic_partitions(k->rk, k->settings->brokers, name, timeout_ms, &ignored, err);
}

static bool publish(struct kafka *k, const char *name, const struct cs_publish_record *records, size_t n,
                    int64_t timeout_ms, cs_publish_acked acked, void *arg, struct cs_err *err) {
    int64_t start = cs_clock_mono_ms(cs_clock_real());
    if (!look_at_topic(k, name, timeout_ms, err))
        return false;
    timeout_ms -= cs_clock_mono_ms(cs_clock_real()) - start;
    struct batch b = {.acked = acked, .arg = arg};
    b.slots = calloc(n ? n : 1, sizeof *b.slots);
    if (!b.slots)
        return cs_err_oom(err);
    bool ok = publish_batch(k, name, &b, records, n, timeout_ms > 0 ? timeout_ms : 0, err);
    if (b.open > 0) { // reports may still come to these slots: only the end of the client stops them
        rd_kafka_destroy(k->rk);
        k->rk = NULL;
    }
    free(b.slots);
    return ok;
}

static bool kafka_publish(struct cs_publisher *p, const struct cs_publish_record *records, size_t n,
                          int64_t timeout_ms, cs_publish_acked acked, void *arg, struct cs_err *err) {
    struct kafka *k = (struct kafka *)p;
    return publish(k, k->topic, records, n, timeout_ms, acked, arg, err);
}

static void on_other_acked(void *arg, size_t index, int32_t partition, int64_t offset) {
    (void)arg;
    (void)index;
    (void)partition;
    (void)offset;
}

static bool kafka_publish_to(struct cs_publisher *p, const char *topic,
                             const struct cs_publish_record *record, int64_t timeout_ms, struct cs_err *err) {
    return publish((struct kafka *)p, topic, record, 1, timeout_ms, on_other_acked, NULL, err);
}

static void kafka_free(struct cs_publisher *p) {
    struct kafka *k = (struct kafka *)p;
    if (k->rk)
        rd_kafka_destroy(k->rk);
    free(k);
}

bool cs_publisher_kafka(const struct cs_kafka_settings *settings, const char *topic, const char *client_id,
                        struct cs_publisher **ret, struct cs_err *err) {
    struct kafka *k = calloc(1, sizeof *k);
    if (!k)
        return cs_err_oom(err);
    k->base = (struct cs_publisher){kafka_partitions, kafka_publish, kafka_publish_to, kafka_free};
    k->settings = settings;
    k->topic = topic;
    k->client_id = client_id;
    if (!connect_client(k, err)) {
        free(k);
        return false;
    }
    *ret = &k->base;
    return true;
}
