// SPDX-License-Identifier: Apache-2.0
//
// The publisher over lists in memory, for tests.
#include <stdlib.h>
#include <string.h>

#include "certsync/base/grow.h"
#include "worker/publish.h"

struct memory_publisher {
    struct cs_publisher base;
    struct cs_kept_message *list;
    size_t len, cap;
    size_t acknowledged;
    int64_t checkpoint;
    bool held;
    bool fails;
    size_t fails_after;
    enum cs_err_kind kind;
};

static bool copy(struct cs_bytes from, struct cs_bytes *to) {
    uint8_t *data = malloc(from.len + 1);
    if (!data)
        return false;
    if (from.len > 0)
        memcpy(data, from.data, from.len);
    data[from.len] = 0;
    *to = (struct cs_bytes){data, from.len};
    return true;
}

static void clear(struct cs_kept_message *m) {
    free((void *)m->key.data);
    free((void *)m->value.data);
    for (size_t i = 0; i < m->headers_len; i++) {
        free((void *)m->headers[i].name);
        free((void *)m->headers[i].value.data);
    }
}

static bool copy_message(const struct cs_publish_message *m, struct cs_kept_message *ret) {
    *ret = (struct cs_kept_message){.topic = m->topic, .partition = m->partition};
    bool ok = copy(m->key, &ret->key) && copy(m->value, &ret->value);
    for (size_t i = 0; ok && i < m->headers_len && i < CS_ARRAY_LEN(ret->headers); i++) {
        ret->headers[i].name = strdup(m->headers[i].name);
        ok = copy(m->headers[i].value, &ret->headers[i].value) && ret->headers[i].name;
        ret->headers_len++;
    }
    if (!ok)
        clear(ret);
    return ok;
}

static bool memory_send(struct cs_publisher *base, const struct cs_publish_message *m, struct cs_err *err) {
    struct memory_publisher *p = (struct memory_publisher *)base;
    if (p->fails && p->fails_after-- == 0) {
        p->fails = false;
        return cs_err_set(err, p->kind, CS_CODE_NONE, "the publisher was told to fail");
    }
    if (!CS_GROW(&p->list, &p->cap, p->len + 1))
        return cs_err_oom(err);
    if (!copy_message(m, &p->list[p->len]))
        return cs_err_oom(err);
    p->len++;
    return true;
}

static bool memory_pending(struct cs_publisher *base, size_t *ret, struct cs_err *err) {
    struct memory_publisher *p = (struct memory_publisher *)base;
    (void)err;
    if (!p->held)
        p->acknowledged = p->len;
    *ret = p->len - p->acknowledged;
    return true;
}

// A checkpoint is acknowledged at once. It is listed, too.
static bool memory_checkpoint(struct cs_publisher *base, const struct cs_publish_message *m, int64_t size,
                              struct cs_err *err) {
    struct memory_publisher *p = (struct memory_publisher *)base;
    p->checkpoint = size;
    return memory_send(base, m, err);
}

static bool memory_checkpointed(struct cs_publisher *base, int32_t partition, bool *ret_waits,
                                int64_t *ret_size, struct cs_err *err) {
    (void)partition, (void)err;
    *ret_waits = false;
    *ret_size = ((struct memory_publisher *)base)->checkpoint;
    return true;
}

static void memory_abandon(struct cs_publisher *base) {
    struct memory_publisher *p = (struct memory_publisher *)base;
    p->acknowledged = p->len;
}

static void memory_free(struct cs_publisher *base) {
    struct memory_publisher *p = (struct memory_publisher *)base;
    for (size_t i = 0; i < p->len; i++)
        clear(&p->list[i]);
    free(p->list);
    free(p);
}

static bool memory_places(const struct cs_publisher *base, int64_t *ret_first, int64_t *ret_last) {
    (void)base, (void)ret_first, (void)ret_last;
    return false;
}

static const struct cs_publisher_ops memory_ops = {memory_send,       memory_pending,      memory_places,
                                                   memory_checkpoint, memory_checkpointed, memory_abandon,
                                                   memory_free};

bool cs_publish_memory_new(struct cs_publisher **ret, struct cs_err *err) {
    struct memory_publisher *p = calloc(1, sizeof *p);
    if (!p)
        return cs_err_oom(err);
    p->base.ops = &memory_ops;
    *ret = &p->base;
    return true;
}

size_t cs_publish_memory_list(const struct cs_publisher *base, const struct cs_kept_message **ret) {
    const struct memory_publisher *p = (const struct memory_publisher *)base;
    *ret = p->list;
    return p->len;
}

void cs_publish_memory_fail(struct cs_publisher *base, size_t after, enum cs_err_kind kind) {
    struct memory_publisher *p = (struct memory_publisher *)base;
    p->fails = true;
    p->fails_after = after;
    p->kind = kind;
}

void cs_publish_memory_hold(struct cs_publisher *base, bool held) {
    ((struct memory_publisher *)base)->held = held;
}
