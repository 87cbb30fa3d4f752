// SPDX-License-Identifier: Apache-2.0
#include "notify/mark.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/runtime/kafka.h"

#define ASK_MS       10000
#define METADATA_MAX 256

struct cs_note_mark {
    const struct cs_consumer_settings *settings;
    int32_t partitions;
    rd_kafka_t *rk;
};

bool cs_note_mark_new(const struct cs_consumer_settings *s, const char *section, int32_t partitions,
                      struct cs_note_mark **ret, struct cs_err *err) {
    CS_AUTO(cs_note_mark_free) struct cs_note_mark *m = calloc(1, sizeof *m);
    CS_AUTO(cs_buf_clear) struct cs_buf group;
    rd_kafka_conf_t *conf = NULL;
    cs_buf_init(&group, 8192);
    cs_buf_printf(&group, "%s-notify-%s", s->group, section);
    if (!m)
        return cs_err_oom(err);
    m->settings = s;
    m->partitions = partitions;
    if (!cs_buf_ok(&group, err) ||
        !cs_kafka_conf_consumer(&s->kafka, "certsync-consumer-notify", (const char *)group.data, &conf,
                                err) ||
        !cs_kafka_new(RD_KAFKA_CONSUMER, conf, &m->rk, err))
        return false;
    *ret = CS_TAKE(m);
    return true;
}

void cs_note_mark_free(struct cs_note_mark *m) {
    if (!m)
        return;
    if (m->rk) // what is being told arrives first
        rd_kafka_consumer_close(m->rk);
    if (m->rk)
        rd_kafka_destroy(m->rk);
    free(m);
}

static bool read_place(const rd_kafka_topic_partition_t *p, struct cs_note_place *ret) {
    char text[METADATA_MAX], hash[65] = "";
    struct cs_note_place at = {.offset = p->offset, .broken_at = -1};
    if (p->offset < 0 || !p->metadata || p->metadata_size >= sizeof text)
        return false;
    memcpy(text, p->metadata, p->metadata_size);
    text[p->metadata_size] = '\0';
    // NOLINTNEXTLINE(cert-err34-c): a place that is wrong breaks the chain, and is told
    if (sscanf(text, "1 %" SCNd64 " %64s %" SCNd64, &at.n, hash, &at.since_ms) != 3 || strlen(hash) != 64 ||
        !cs_hex_decode(hash, 64, at.sha256) || at.n < 0)
        return false;
    *ret = at;
    return true;
}

bool cs_note_mark_read(struct cs_note_mark *m, struct cs_note_place *ret, bool *ret_found,
                       struct cs_err *err) {
    const char *topic = m->settings->outcomes_topic;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(m->partitions);
    if (!list)
        return cs_err_oom(err);
    for (int32_t p = 0; p < m->partitions; p++)
        rd_kafka_topic_partition_list_add(list, topic, p);
    rd_kafka_resp_err_t code = rd_kafka_committed(m->rk, list, ASK_MS);
    for (int i = 0; !code && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];
        code = p->err;
        ret_found[p->partition] = !code && read_place(p, &ret[p->partition]);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return !code ||
           cs_kafka_err(err, code, "reading how far notices are (group %s-notify-…)", m->settings->group);
}

bool cs_note_mark_write(struct cs_note_mark *m, int32_t partition, const struct cs_note_place *at,
                        struct cs_err *err) {
    char hash[65], text[METADATA_MAX];
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    if (!list)
        return cs_err_oom(err);
    rd_kafka_topic_partition_t *p =
        rd_kafka_topic_partition_list_add(list, m->settings->outcomes_topic, partition);
    cs_hex_encode(at->sha256, sizeof at->sha256, hash);
    int len = snprintf(text, sizeof text, "1 %" PRId64 " %s %" PRId64, at->n, hash, at->since_ms);
    p->offset = at->offset;
    p->metadata = malloc((size_t)len + 1); // librdkafka frees it
    if (!p->metadata) {
        rd_kafka_topic_partition_list_destroy(list);
        return cs_err_oom(err);
    }
    memcpy(p->metadata, text, (size_t)len + 1);
    p->metadata_size = (size_t)len;
    rd_kafka_resp_err_t code = rd_kafka_commit(m->rk, list, 1);
    rd_kafka_topic_partition_list_destroy(list);
    // Answers to earlier commits, and what librdkafka has to say besides.
    for (rd_kafka_message_t *message; (message = rd_kafka_consumer_poll(m->rk, 0));)
        rd_kafka_message_destroy(message);
    return !code ||
           cs_kafka_err(err, code, "telling how far notices are (group %s-notify-…)", m->settings->group);
}
