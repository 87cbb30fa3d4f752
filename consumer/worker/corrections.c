// SPDX-License-Identifier: Apache-2.0
#include "worker/corrections.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/runtime/clock.h"
#include "certsync/runtime/log.h"

#define WAIT_MS 100

struct cs_corrections {
    struct cs_corrections_of of;
    struct cs_crypto *crypto;
    struct cs_pubkey *root;
    int64_t next;      // offset
    atomic_size_t len; // of what is complete
    struct cs_correction list[CS_CORRECTIONS_MAX];
};

bool cs_corrections_new(const struct cs_corrections_of *of, struct cs_corrections **ret, struct cs_err *err) {
    CS_AUTO(cs_corrections_free) struct cs_corrections *c = calloc(1, sizeof *c);
    if (!c)
        return cs_err_oom(err);
    c->of = *of;
    if (!cs_crypto_new(&c->crypto, err) || !cs_pubkey_new(c->crypto, of->root_spki, &c->root, err))
        return false;
    *ret = CS_TAKE(c);
    return true;
}

void cs_corrections_free(struct cs_corrections *c) {
    if (!c)
        return;
    cs_pubkey_free(c->root);
    cs_crypto_free(c->crypto);
    free(c);
}

struct cs_epochs cs_corrections_now(const struct cs_corrections *c) {
    if (!c)
        return (struct cs_epochs){0};
    return (struct cs_epochs){c->list, atomic_load(&c->len)};
}

bool cs_corrections_take(struct cs_corrections *c, const struct cs_record *r, bool *ret_counts,
                         struct cs_err *why, struct cs_err *err) {
    size_t len = atomic_load(&c->len);
    struct cs_correction found;
    why->msg[0] = '\0';
    *ret_counts = false;
    if (!cs_correction_open(c->crypto, c->root, c->of.log_id, c->of.partition_count, r, &found, why))
        return true;
    for (size_t i = 0; i < len; i++)
        if (strcmp(c->list[i].id, found.id) == 0)
            return true;
    if (len == CS_CORRECTIONS_MAX)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "the log has more than %d corrections, which is more than this release takes",
                          CS_CORRECTIONS_MAX);
    c->list[len] = found;
    atomic_store(&c->len, len + 1);
    *ret_counts = true;
    return true;
}

static bool take(struct cs_corrections *c, const char *topic, const struct cs_record *r, struct cs_err *err) {
    bool counts = false;
    struct cs_err why;
    if (!cs_corrections_take(c, r, &counts, &why, err))
        return false;
    if (counts) {
        const struct cs_correction *found = &c->list[atomic_load(&c->len) - 1];
        cs_log(CS_LOG_WARN, "root has outcomes judged anew", "partition=%d from=%" PRId64 " reason=%s",
               (int)found->partition, found->from, found->reason);
    } else if (why.msg[0]) {
        cs_log_err(CS_LOG_WARN, "a record in the topic of corrections counts for nothing", &why,
                   "topic=%s offset=%" PRId64, topic, r->offset);
    }
    return true;
}

static bool read_to_end(struct cs_corrections *c, struct cs_topic_stream *s, int64_t timeout_ms,
                        struct cs_err *err) {
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    for (;;) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record r;
        if (!s->topic->ops->next(s, WAIT_MS, &step, &r, err))
            return false;
        if (step == CS_TOPIC_END)
            return true;
        if (step == CS_TOPIC_WAIT && cs_clock_mono_ms(cs_clock_real()) > deadline_ms)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the end of %s did not arrive in time",
                              s->topic->name);
        if (step == CS_TOPIC_WAIT)
            continue;
        if (!take(c, s->topic->name, &r, err))
            return false;
        c->next = r.offset + 1;
    }
}

bool cs_corrections_read(struct cs_corrections *c, struct cs_topic *topic, int64_t timeout_ms,
                         struct cs_err *err) {
    struct cs_topic_stream *s = NULL;
    int64_t low = 0;
    int64_t high = 0;
    if (!topic->ops->bounds(topic, 0, timeout_ms, &low, &high, err))
        return false;
    if (low > 0 || high < c->next)
        return cs_err_set(
            err, CS_ERR_FATAL, CS_CODE_NONE,
            "topic %s holds the offsets %" PRId64 " to %" PRId64
            ": records were deleted, or the topic was made anew, and without its corrections "
            "nothing can be judged; set cleanup.policy=delete and retention.ms=-1, and restore it",
            topic->name, low, high);
    if (high == c->next)
        return true;
    if (!topic->ops->open(topic, 0, c->next, high, &s, err))
        return false;
    bool ok = read_to_end(c, s, timeout_ms, err);
    topic->ops->close(s);
    if (ok)
        c->next = high;
    return ok;
}
