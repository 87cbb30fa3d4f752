// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "certsync/model/ident.h"
#include "spool/publish.h"

struct memory {
    struct cs_publisher base; // must be first
    int32_t partitions;
    struct cs_publisher_memory_record *records;
    size_t n, cap;
    int64_t left; // records until it fails; -1: never
    bool unacked;
};

static bool memory_partitions(struct cs_publisher *p, int64_t timeout_ms, int32_t *ret, struct cs_err *err) {
    const struct memory *m = (struct memory *)p;
    (void)timeout_ms;
    if (m->left == 0)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the brokers are away");
    *ret = m->partitions;
    return true;
}

static bool same_topic(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static int64_t next_offset(const struct memory *m, const char *topic, int32_t partition) {
    int64_t offset = 0;
    for (size_t i = 0; i < m->n; i++)
        offset += m->records[i].partition == partition && same_topic(m->records[i].topic, topic);
    return offset;
}

static bool append(struct memory *m, const char *topic, const struct cs_publish_record *r,
                   struct cs_err *err) {
    if (!CS_GROW(&m->records, &m->cap, m->n + 1))
        return cs_err_oom(err);
    int32_t partition =
        r->partition >= 0 ? r->partition : cs_partition_of(r->key ? r->key : "", m->partitions);
    struct cs_publisher_memory_record out = {
        .value_len = r->value.len, .partition = partition, .offset = next_offset(m, topic, partition)};
    out.topic = topic ? strdup(topic) : NULL;
    out.key = r->key ? strdup(r->key) : NULL;
    out.value = malloc(r->value.len ? r->value.len : 1);
    out.sig = strndup((const char *)r->sig.data, r->sig.len);
    if ((topic && !out.topic) || (r->key && !out.key) || !out.value || !out.sig) {
        free(out.topic);
        free(out.key);
        free(out.value);
        free(out.sig);
        return cs_err_oom(err);
    }
    memcpy(out.value, r->value.data, r->value.len);
    m->records[m->n++] = out;
    return true;
}

static bool memory_publish(struct cs_publisher *p, const struct cs_publish_record *records, size_t n,
                           int64_t timeout_ms, cs_publish_acked acked, void *arg, struct cs_err *err) {
    struct memory *m = (struct memory *)p;
    (void)timeout_ms;
    for (size_t i = 0; i < n; i++) {
        bool away = m->left == 0;
        if (away && !m->unacked)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the brokers are away");
        if (!append(m, NULL, &records[i], err))
            return false;
        if (away) {
            m->unacked = false;
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the brokers went away");
        }
        if (m->left > 0)
            m->left--;
        acked(arg, i, m->records[m->n - 1].partition, m->records[m->n - 1].offset);
    }
    return true;
}

static bool memory_publish_to(struct cs_publisher *p, const char *topic,
                              const struct cs_publish_record *record, int64_t timeout_ms,
                              struct cs_err *err) {
    struct memory *m = (struct memory *)p;
    (void)timeout_ms;
    if (m->left == 0)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the brokers are away");
    return append(m, topic, record, err);
}

static void memory_free(struct cs_publisher *p) {
    struct memory *m = (struct memory *)p;
    for (size_t i = 0; i < m->n; i++) {
        free(m->records[i].topic);
        free(m->records[i].key);
        free(m->records[i].value);
        free(m->records[i].sig);
    }
    free(m->records);
    free(m);
}

bool cs_publisher_memory(int32_t partitions, struct cs_publisher **ret, struct cs_err *err) {
    struct memory *m = calloc(1, sizeof *m);
    if (!m)
        return cs_err_oom(err);
    m->base = (struct cs_publisher){memory_partitions, memory_publish, memory_publish_to, memory_free};
    m->partitions = partitions;
    m->left = -1;
    *ret = &m->base;
    return true;
}

const struct cs_publisher_memory_record *cs_publisher_memory_records(const struct cs_publisher *p,
                                                                     size_t *ret_n) {
    const struct memory *m = (const struct memory *)p;
    *ret_n = m->n;
    return m->records;
}

void cs_publisher_memory_fail_after(struct cs_publisher *p, int64_t n, bool unacked) {
    struct memory *m = (struct memory *)p;
    m->left = n;
    m->unacked = unacked;
}
