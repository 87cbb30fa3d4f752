// SPDX-License-Identifier: Apache-2.0
#include "worker/checkpoints.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/clock.h"

// Records that are read at the end of a partition. The newest is the last, unless somebody else
// writes there, or an old owner of the partition did a moment ago.
#define TAIL    64
#define WAIT_MS 100

bool cs_checkpoint_of_record(struct cs_crypto *crypto, const struct cs_note_key *key, const char *log_id,
                             int32_t partition, struct cs_bytes value, struct cs_checkpoint *ret,
                             int64_t *ret_epoch, struct cs_err *why) {
    char origin[CS_ORIGIN_MAX + 1];
    struct cs_checkpoint p;
    if (!cs_checkpoint_open(crypto, value, key, &p, why))
        return false;
    cs_checkpoint_origin(log_id, partition, 0, origin);
    if (!cs_checkpoint_is_of(&p, log_id, partition, ret_epoch))
        return cs_err_set(why, CS_ERR_REJECT, CS_CODE_NONE, "it is of %s, not of %s", p.origin, origin);
    *ret = p;
    return true;
}

struct reading {
    struct cs_crypto *crypto;
    const struct cs_note_key *key;
    const char *log_id;
    int64_t epoch;
    struct cs_checkpoint *newest;
    int64_t others;
};

static bool read_to_end(struct cs_topic_stream *s, struct reading *r, int64_t timeout_ms,
                        struct cs_err *err) {
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + timeout_ms;
    for (;;) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record record;
        struct cs_checkpoint p;
        int64_t epoch = 0;
        struct cs_err ignored;
        if (!s->topic->ops->next(s, WAIT_MS, &step, &record, err))
            return false;
        if (step == CS_TOPIC_END)
            return true;
        if (step == CS_TOPIC_WAIT) {
            if (cs_clock_mono_ms(cs_clock_real()) > deadline_ms)
                return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                  "the end of %s partition %d did not arrive in time", s->topic->name,
                                  (int)s->partition);
            continue;
        }
        if (!cs_checkpoint_of_record(r->crypto, r->key, r->log_id, s->partition, record.value, &p, &epoch,
                                     &ignored))
            r->others++;
        else if (epoch == r->epoch && p.size >= r->newest->size)
            *r->newest = p;
    }
}

bool cs_checkpoints_newest(struct cs_topic *checkpoints, struct cs_crypto *crypto,
                           const struct cs_note_key *key, const char *log_id, int32_t partition,
                           int64_t epoch, int64_t timeout_ms, struct cs_checkpoint *ret, int64_t *ret_others,
                           struct cs_err *err) {
    struct cs_checkpoint newest = {0};
    struct reading r = {crypto, key, log_id, epoch, &newest, 0};
    struct cs_topic_stream *s = NULL;
    int64_t low = 0;
    int64_t high = 0;
    if (!checkpoints->ops->bounds(checkpoints, partition, timeout_ms, &low, &high, err))
        return false;
    if (high > low) {
        int64_t from = high - low > TAIL ? high - TAIL : low;
        if (!checkpoints->ops->open(checkpoints, partition, from, high, &s, err))
            return false;
        bool ok = read_to_end(s, &r, timeout_ms, err);
        checkpoints->ops->close(s);
        if (!ok)
            return false;
    }
    *ret = newest;
    *ret_others = r.others;
    return true;
}

bool cs_checkpoint_fork(const char *topic, const struct cs_checkpoint *published, struct cs_err *err) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                      "a fork: topic %s holds a checkpoint of the first %" PRId64
                      " outcomes of %s, signed with this deployment's key, and these outcomes are others; "
                      "events or outcomes were altered, or a topic was made anew. Restore the topics, or see "
                      "what certsync-consumer verify says",
                      topic, published->size, published->origin);
}

bool cs_checkpoints_send(struct cs_publisher *to, struct cs_crypto *crypto,
                         const struct cs_note_signer *signer, int32_t partition, int64_t epoch,
                         const struct cs_checkpoint *p, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf note;
    char key[64];
    int len = snprintf(key, sizeof key, "%" PRId32 "/%d", partition, cs_checkpoint_class(p->size));
    if (epoch > 0) // what was signed before stays
        len += snprintf(key + len, sizeof key - (size_t)len, "/%" PRId64, epoch);
    cs_buf_init(&note, CS_NOTE_MAX);
    if (!cs_checkpoint_sign(crypto, signer, p, &note, err))
        return false;
    struct cs_publish_message m = {.topic = CS_PUBLISH_CHECKPOINTS,
                                   .partition = partition,
                                   .key = {(const uint8_t *)key, (size_t)len},
                                   .value = cs_buf_bytes(&note)};
    return to->ops->checkpoint(to, &m, p->size, err);
}
