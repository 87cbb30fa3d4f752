// SPDX-License-Identifier: Apache-2.0
//
// Questions to the cluster: whether it answers, which topics it has, and their settings.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"

#define SLICE_MS         1000  // of one metadata request
#define UNKNOWN_GRACE_MS 2000  // not every broker knows a new topic at once
#define NEW_GRACE_MS     10000 // nor its partitions, if the topic itself was seen
#define PROBE_MS         1000
#define PROBES_MAX       3
#define PAUSE_MS         100

static int64_t now_ms(void) {
    return cs_clock_mono_ms(cs_clock_real());
}

// Whether a TCP connection can be made: 0, or the errno.
static int probe_address(const struct addrinfo *ai) {
    int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
    if (fd < 0)
        return errno;
    int code = connect(fd, ai->ai_addr, ai->ai_addrlen) == 0 ? 0 : errno;
    if (code == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        socklen_t len = sizeof code;
        code = ETIMEDOUT;
        if (poll(&p, 1, PROBE_MS) > 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
            code = errno;
    }
    close(fd);
    return code;
}

// "host:port: Connection refused". librdkafka itself only says "transport failure" here.
static void probe_broker(const char *broker, size_t len, char *out, size_t size) {
    char host[256];
    snprintf(host, sizeof host, "%.*s", (int)len, broker);
    char *name = strstr(host, "://") ? strstr(host, "://") + 3 : host;
    char *colon = strrchr(name, ':');
    const char *port = colon && !strchr(colon, ']') ? colon + 1 : "9092";
    if (colon && *port && port == colon + 1)
        *colon = '\0';
    if (*name == '[') {
        name++;
        name[strcspn(name, "]")] = '\0';
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    int code = getaddrinfo(name, port, &hints, &list);
    if (code != 0) {
        snprintf(out, size, "%.*s: %s", (int)len, broker, gai_strerror(code));
        return;
    }
    code = EADDRNOTAVAIL;
    for (const struct addrinfo *ai = list; ai && code != 0; ai = ai->ai_next)
        code = probe_address(ai);
    freeaddrinfo(list);
    snprintf(
        out, size, "%.*s: %s", (int)len, broker,
        code == 0
            ? "connects, but does not answer as a Kafka broker; check kafka.security_protocol and the log"
            : strerror(code));
}

static bool no_answer(const char *brokers, int64_t timeout_ms, rd_kafka_resp_err_t code, struct cs_err *err) {
    char probes[400] = "", one[200], shown[300];
    const char *p = brokers;
    for (int i = 0; *p && i < PROBES_MAX; i++) {
        size_t len = strcspn(p, ",");
        probe_broker(p, len, one, sizeof one);
        size_t used = strlen(probes);
        snprintf(probes + used, sizeof probes - used, "%s%s", used ? "; " : "", one);
        p += len + (p[len] == ',');
    }
    cs_text_escape(brokers, strlen(brokers), shown, 160);
    return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                      "no broker of %s answered within %" PRId64 " s: last error %s (%s)", shown,
                      timeout_ms / 1000, rd_kafka_err2name(code), probes);
}

static const rd_kafka_metadata_topic_t *find_topic(const rd_kafka_metadata_t *md, const char *name) {
    for (int i = 0; i < md->topic_cnt; i++) {
        if (strcmp(md->topics[i].topic, name) == 0)
            return &md->topics[i];
    }
    return NULL;
}

enum look { FOUND, LATER, MISSING, FAILED };

// What one answer says of the topic. Fills err for all but FOUND.
static enum look look_at(const rd_kafka_metadata_t *md, const char *name, int32_t *ret_partitions,
                         struct cs_err *err) {
    const rd_kafka_metadata_topic_t *t = find_topic(md, name);
    rd_kafka_resp_err_t code = t ? t->err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && t->partition_cnt == 0)
        code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < t->partition_cnt; i++) {
        if (t->partitions[i].leader < 0)
            code = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    }
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        *ret_partitions = t->partition_cnt;
        return FOUND;
    }
    cs_kafka_err(err, code, "topic %s", name);
    if (err->kind == CS_ERR_RETRY)
        return LATER;
    return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ? MISSING : FAILED;
}

static void pause_ms(int ms) {
    poll(NULL, 0, ms);
}

bool cs_kafka_topic_partitions(rd_kafka_t *rk, const char *brokers, const char *topic, int64_t timeout_ms,
                               int32_t *ret_partitions, struct cs_err *err) {
    int64_t start = now_ms();
    enum look seen = LATER;
    for (;;) {
        const rd_kafka_metadata_t *md = NULL;
        int64_t left = timeout_ms - (now_ms() - start);
        int slice = left < SLICE_MS ? (left > 1 ? (int)left : 1) : SLICE_MS;
        // Asks for all topics. To ask for one by name would create it if the brokers allow that.
        rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &md, slice);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            seen = look_at(md, topic, ret_partitions, err);
            rd_kafka_metadata_destroy(md);
        } else if (cs_kafka_err_kind(code) != CS_ERR_RETRY) {
            return cs_kafka_err(err, code, "asking %s for its topics", brokers);
        }
        int64_t spent = now_ms() - start;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && seen == FOUND)
            return true;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && seen == FAILED)
            return false;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && seen == MISSING && spent >= UNKNOWN_GRACE_MS)
            return false;
        if (spent >= timeout_ms)
            return code == RD_KAFKA_RESP_ERR_NO_ERROR ? false : no_answer(brokers, timeout_ms, code, err);
        pause_ms(PAUSE_MS);
    }
}

// Whether the answer may change in a moment: a partition is new, its leader moves, or not all
// brokers know the topic yet.
static bool changes_soon(rd_kafka_resp_err_t code, int64_t spent_ms) {
    bool unknown = code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || // the broker says so
                   code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||        // the client says so
                   code == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
    return cs_kafka_err_kind(code) == CS_ERR_RETRY || (unknown && spent_ms < NEW_GRACE_MS);
}

// The first or the next offset of a partition, as the broker says. where is
// RD_KAFKA_OFFSET_BEGINNING or _END. rd_kafka_query_watermark_offsets asks for both at once. If the
// leader refuses one, it gives the end for both (2.0.2), as if the partition were empty.
static rd_kafka_resp_err_t ask_offset(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t where,
                                      int timeout_ms, int64_t *ret) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *asked = rd_kafka_topic_partition_list_add(list, topic, partition);
    asked->offset = where;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = asked->err;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && asked->offset < 0)
        code = RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE; // a new leader does not know it yet
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        *ret = asked->offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

bool cs_kafka_watermarks(rd_kafka_t *rk, const char *topic, int32_t partition, int64_t timeout_ms,
                         int64_t *ret_low, int64_t *ret_high, struct cs_err *err) {
    int64_t low = 0, high = 0, start = now_ms(), left = timeout_ms;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    while (left > 0) {
        code = ask_offset(rk, topic, partition, RD_KAFKA_OFFSET_BEGINNING, (int)left, &low);
        left = timeout_ms - (now_ms() - start);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
            code = left > 0 ? ask_offset(rk, topic, partition, RD_KAFKA_OFFSET_END, (int)left, &high)
                            : RD_KAFKA_RESP_ERR__TIMED_OUT;
        left = timeout_ms - (now_ms() - start);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || !changes_soon(code, timeout_ms - left))
            break;
        pause_ms(PAUSE_MS);
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return cs_kafka_err(err, code, "asking for the offsets of %s [%" PRId32 "]", topic, partition);
    *ret_low = low;
    *ret_high = high;
    return true;
}

static rd_kafka_resp_err_t ask_offsets(rd_kafka_t *rk, const char *topic, int32_t partitions, int64_t where,
                                       int timeout_ms, int64_t *ret) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t p = 0; p < partitions; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = where;
    rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++)
        code = list->elems[i].err          ? list->elems[i].err
               : list->elems[i].offset < 0 ? RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE
                                           : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++)
        ret[list->elems[i].partition] = list->elems[i].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

bool cs_kafka_offsets(rd_kafka_t *rk, const char *topic, int32_t partitions, enum cs_kafka_where where,
                      int64_t timeout_ms, int64_t *ret, struct cs_err *err) {
    int64_t asked = where == CS_KAFKA_BEGINNING ? RD_KAFKA_OFFSET_BEGINNING : RD_KAFKA_OFFSET_END;
    int64_t start = now_ms(), left = timeout_ms;
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR__TIMED_OUT;
    while (left > 0) {
        code = ask_offsets(rk, topic, partitions, asked, (int)left, ret);
        left = timeout_ms - (now_ms() - start);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR || !changes_soon(code, timeout_ms - left))
            break;
        pause_ms(PAUSE_MS);
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR ||
           cs_kafka_err(err, code, "asking for the offsets of topic %s", topic);
}

// One admin request: the queue for its answer, and its options.
struct admin {
    rd_kafka_queue_t *queue;
    rd_kafka_AdminOptions_t *options;
};

static void admin_clear(struct admin *a) {
    if (a->options)
        rd_kafka_AdminOptions_destroy(a->options);
    if (a->queue)
        rd_kafka_queue_destroy(a->queue);
}
CS_DEFINE_AUTO_CLEAR(struct admin, admin_clear)

static bool admin_init(struct admin *a, rd_kafka_t *rk, rd_kafka_admin_op_t op, int64_t timeout_ms,
                       struct cs_err *err) {
    char text[200];
    a->queue = rd_kafka_queue_new(rk);
    a->options = rd_kafka_AdminOptions_new(rk, op);
    if (!a->queue || !a->options)
        return cs_err_oom(err);
    rd_kafka_resp_err_t code =
        rd_kafka_AdminOptions_set_request_timeout(a->options, (int)timeout_ms, text, sizeof text);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && op == RD_KAFKA_ADMIN_OP_CREATETOPICS)
        code = rd_kafka_AdminOptions_set_operation_timeout(a->options, (int)timeout_ms, text, sizeof text);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR || cs_kafka_err(err, code, "admin request: %s", text);
}

// The answer; the caller owns it. NULL with err where there is none.
static rd_kafka_event_t *admin_wait(const struct admin *a, const char *what, int64_t timeout_ms,
                                    struct cs_err *err) {
    // The request has its own timeout. Ours is for the case that librdkafka exceeds it.
    rd_kafka_event_t *ev = rd_kafka_queue_poll(a->queue, (int)timeout_ms + 5000);
    if (!ev) {
        cs_kafka_err(err, RD_KAFKA_RESP_ERR__TIMED_OUT, "%s", what);
        return NULL;
    }
    if (rd_kafka_event_error(ev) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        cs_kafka_err(err, rd_kafka_event_error(ev), "%s: %s", what, rd_kafka_event_error_string(ev));
        rd_kafka_event_destroy(ev);
        return NULL;
    }
    return ev;
}

static bool new_topic(const struct cs_kafka_topic *topic, rd_kafka_NewTopic_t **ret, struct cs_err *err) {
    char text[200];
    rd_kafka_NewTopic_t *t =
        rd_kafka_NewTopic_new(topic->name, topic->partitions, topic->replication_factor, text, sizeof text);
    if (!t)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "topic %s: %s", topic->name, text);
    for (size_t i = 0; i < topic->config_count; i++) {
        rd_kafka_resp_err_t code =
            rd_kafka_NewTopic_set_config(t, topic->configs[i].name, topic->configs[i].value);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_NewTopic_destroy(t);
            return cs_kafka_err(err, code, "topic %s: %s", topic->name, topic->configs[i].name);
        }
    }
    *ret = t;
    return true;
}

void cs_kafka_topic_compression(rd_kafka_t *producer, char ret[CS_KAFKA_COMPRESSION_SIZE]) {
    size_t size = CS_KAFKA_COMPRESSION_SIZE;
    if (rd_kafka_conf_get(rd_kafka_conf(producer), "compression.codec", ret, &size) != RD_KAFKA_CONF_OK)
        snprintf(ret, CS_KAFKA_COMPRESSION_SIZE, "%s", "producer"); // as it comes
    else if (strcmp(ret, "none") == 0)
        snprintf(ret, CS_KAFKA_COMPRESSION_SIZE, "%s", "uncompressed");
}

bool cs_kafka_topic_create(rd_kafka_t *rk, const struct cs_kafka_topic *topic, int64_t timeout_ms,
                           bool *ret_existed, struct cs_err *err) {
    CS_AUTO(admin_clear) struct admin a = {0};
    rd_kafka_NewTopic_t *t = NULL;
    if (!admin_init(&a, rk, RD_KAFKA_ADMIN_OP_CREATETOPICS, timeout_ms, err) || !new_topic(topic, &t, err))
        return false;
    rd_kafka_CreateTopics(rk, &t, 1, a.options, a.queue);
    rd_kafka_NewTopic_destroy(t);
    char what[300];
    snprintf(what, sizeof what, "making the topic %s", topic->name);
    rd_kafka_event_t *ev = admin_wait(&a, what, timeout_ms, err);
    if (!ev)
        return false;
    size_t count = 0;
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &count);
    rd_kafka_resp_err_t code =
        count == 1 ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    bool existed = code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS;
    bool ok = code == RD_KAFKA_RESP_ERR_NO_ERROR || existed;
    if (ok)
        *ret_existed = existed;
    else
        cs_kafka_err(err, code, "%s: %s", what,
                     count == 1 && rd_kafka_topic_result_error_string(results[0])
                         ? rd_kafka_topic_result_error_string(results[0])
                         : "no answer");
    rd_kafka_event_destroy(ev);
    return ok;
}

static void take_config(struct cs_kafka_topic_description *d, const char *name, const char *value) {
    if (strcmp(name, "retention.ms") == 0)
        d->retention_ms = strtoll(value, NULL, 10);
    else if (strcmp(name, "retention.bytes") == 0)
        d->retention_bytes = strtoll(value, NULL, 10);
    else if (strcmp(name, "min.insync.replicas") == 0)
        d->min_insync_replicas = strtoll(value, NULL, 10);
    else if (strcmp(name, "max.message.bytes") == 0)
        d->max_message_bytes = strtoll(value, NULL, 10);
    else if (strcmp(name, "cleanup.policy") == 0)
        snprintf(d->cleanup_policy, sizeof d->cleanup_policy, "%s", value);
    else if (strcmp(name, "message.timestamp.type") == 0)
        snprintf(d->message_timestamp_type, sizeof d->message_timestamp_type, "%s", value);
    else if (strcmp(name, "unclean.leader.election.enable") == 0)
        d->unclean_leader_election = strcmp(value, "true") == 0;
}

static bool read_description(const rd_kafka_event_t *ev, const char *topic,
                             struct cs_kafka_topic_description *ret, struct cs_err *err) {
    size_t count = 0, entries = 0;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result((rd_kafka_event_t *)ev), &count);
    if (count != 1)
        return cs_kafka_err(err, RD_KAFKA_RESP_ERR__BAD_MSG, "describing the topic %s", topic);
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_error(resources[0]);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *text = rd_kafka_ConfigResource_error_string(resources[0]);
        return cs_kafka_err(err, code, "describing the topic %s: %s", topic, text ? text : "");
    }
    struct cs_kafka_topic_description d = {.retention_ms = INT64_MIN,
                                           .retention_bytes = INT64_MIN,
                                           .min_insync_replicas = -1,
                                           .max_message_bytes = -1,
                                           .unclean_leader_election = -1};
    const rd_kafka_ConfigEntry_t **list = rd_kafka_ConfigResource_configs(resources[0], &entries);
    for (size_t i = 0; i < entries; i++) {
        const char *value = rd_kafka_ConfigEntry_value(list[i]);
        if (value)
            take_config(&d, rd_kafka_ConfigEntry_name(list[i]), value);
    }
    *ret = d;
    return true;
}

// The answer to a question for all settings of a topic; the caller owns it.
static rd_kafka_event_t *ask_settings(rd_kafka_t *rk, const char *topic, int64_t timeout_ms,
                                      struct cs_err *err) {
    CS_AUTO(admin_clear) struct admin a = {0};
    if (!admin_init(&a, rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, timeout_ms, err))
        return NULL;
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    if (!resource) {
        cs_err_oom(err);
        return NULL;
    }
    rd_kafka_DescribeConfigs(rk, &resource, 1, a.options, a.queue);
    rd_kafka_ConfigResource_destroy(resource);
    char what[300];
    snprintf(what, sizeof what, "describing the topic %s", topic);
    return admin_wait(&a, what, timeout_ms, err);
}

bool cs_kafka_topic_describe(rd_kafka_t *rk, const char *topic, int64_t timeout_ms,
                             struct cs_kafka_topic_description *ret, struct cs_err *err) {
    rd_kafka_event_t *ev = ask_settings(rk, topic, timeout_ms, err);
    if (!ev)
        return false;
    bool ok = read_description(ev, topic, ret, err);
    rd_kafka_event_destroy(ev);
    return ok;
}

// The request replaces all that was set for the topic. (The one that changes a single setting needs
// librdkafka 2.2.)
static rd_kafka_ConfigResource_t *settings_with(const rd_kafka_event_t *ev, const char *topic,
                                                const char *name, const char *value, struct cs_err *err) {
    size_t count = 0;
    size_t entries = 0;
    const rd_kafka_ConfigResource_t **resources = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result((rd_kafka_event_t *)ev), &count);
    if (count != 1 || rd_kafka_ConfigResource_error(resources[0]) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        cs_kafka_err(err,
                     count == 1 ? rd_kafka_ConfigResource_error(resources[0]) : RD_KAFKA_RESP_ERR__BAD_MSG,
                     "describing the topic %s", topic);
        return NULL;
    }
    rd_kafka_ConfigResource_t *all = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    if (!all) {
        cs_err_oom(err);
        return NULL;
    }
    const rd_kafka_ConfigEntry_t **list = rd_kafka_ConfigResource_configs(resources[0], &entries);
    for (size_t i = 0; i < entries; i++)
        if (rd_kafka_ConfigEntry_source(list[i]) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG &&
            strcmp(rd_kafka_ConfigEntry_name(list[i]), name) != 0)
            rd_kafka_ConfigResource_set_config(all, rd_kafka_ConfigEntry_name(list[i]),
                                               rd_kafka_ConfigEntry_value(list[i]));
    rd_kafka_ConfigResource_set_config(all, name, value);
    return all;
}

bool cs_kafka_topic_alter(rd_kafka_t *rk, const char *topic, const char *name, const char *value,
                          int64_t timeout_ms, struct cs_err *err) {
    CS_AUTO(admin_clear) struct admin a = {0};
    char what[300];
    rd_kafka_event_t *settings = ask_settings(rk, topic, timeout_ms, err);
    if (!settings)
        return false;
    rd_kafka_ConfigResource_t *all = settings_with(settings, topic, name, value, err);
    rd_kafka_event_destroy(settings);
    if (!all)
        return false;
    if (!admin_init(&a, rk, RD_KAFKA_ADMIN_OP_ALTERCONFIGS, timeout_ms, err)) {
        rd_kafka_ConfigResource_destroy(all);
        return false;
    }
    rd_kafka_AlterConfigs(rk, &all, 1, a.options, a.queue);
    rd_kafka_ConfigResource_destroy(all);
    snprintf(what, sizeof what, "setting %s=%s of the topic %s", name, value, topic);
    rd_kafka_event_t *ev = admin_wait(&a, what, timeout_ms, err);
    if (!ev)
        return false;
    size_t count = 0;
    const rd_kafka_ConfigResource_t **results =
        rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(ev), &count);
    rd_kafka_resp_err_t code =
        count == 1 ? rd_kafka_ConfigResource_error(results[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    const char *text = count == 1 ? rd_kafka_ConfigResource_error_string(results[0]) : NULL;
    bool ok = code == RD_KAFKA_RESP_ERR_NO_ERROR || cs_kafka_err(err, code, "%s: %s", what, text ? text : "");
    rd_kafka_event_destroy(ev);
    return ok;
}
