// SPDX-License-Identifier: Apache-2.0
#include "cosign/walk.h"

#include <inttypes.h>

#include "certsync/runtime/clock.h"

#define BOUNDS_MS 5000
#define WAIT_MS   100
#define QUIET_MS  10000 // brokers that send nothing for so long are away

void cs_walk_begin(struct cs_walk_place *p, const struct cs_outcome_marks *marks,
                   const struct cs_epochs *epochs, int32_t partition) {
    *p = (struct cs_walk_place){0};
    cs_chain_begin(&p->chain, marks, epochs, partition, 0, NULL, 0);
}

static bool take(struct cs_walk_place *p, struct cs_crypto *crypto, const char *topic,
                 const struct cs_record *record, struct cs_merkle_growth *g, struct cs_err *err) {
    struct cs_hash leaf;
    int64_t n = 0;
    enum cs_chain_link link = cs_chain_take(&p->chain, crypto, record, &n);
    if (link == CS_CHAIN_BROKEN || link == CS_CHAIN_NEWER)
        return cs_chain_broken(&p->chain, link, topic, record, n, err);
    p->offset = record->offset + 1;
    if (link != CS_CHAIN_NEXT)
        return true;
    cs_merkle_leaf(crypto, record->value, &leaf);
    cs_merkle_append(crypto, &p->edge, p->chain.last - 1, &leaf);
    if (g)
        cs_merkle_growth_leaf(crypto, g, &leaf);
    return true;
}

static bool walk(struct cs_topic_stream *s, struct cs_crypto *crypto, const atomic_bool *stopping,
                 struct cs_walk_place *p, int64_t size, struct cs_merkle_growth *g, struct cs_err *err) {
    int64_t heard_ms = cs_clock_mono_ms(cs_clock_real());
    while (p->chain.last < size) {
        enum cs_topic_step step = CS_TOPIC_WAIT;
        struct cs_record record;
        if (stopping && atomic_load(stopping))
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "stopped");
        if (!s->topic->ops->next(s, WAIT_MS, &step, &record, err))
            return false;
        int64_t now_ms = cs_clock_mono_ms(cs_clock_real());
        if (step == CS_TOPIC_END)
            break;
        if (step == CS_TOPIC_WAIT && now_ms - heard_ms > QUIET_MS)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the brokers send nothing of %s partition %d",
                              s->topic->name, (int)s->partition);
        if (step == CS_TOPIC_WAIT)
            continue;
        heard_ms = now_ms;
        if (!take(p, crypto, s->topic->name, &record, g, err))
            return false;
    }
    return p->chain.last == size ||
           cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                      "%s partition %d ends with outcome %" PRId64 ", before outcome %" PRId64,
                      s->topic->name, (int)s->partition, p->chain.last, size);
}

bool cs_walk_on(struct cs_topic *outcomes, struct cs_crypto *crypto, const atomic_bool *stopping,
                struct cs_walk_place *p, int64_t size, struct cs_merkle_growth *g, struct cs_err *err) {
    struct cs_topic_stream *s = NULL;
    int32_t partition = p->chain.partition;
    int64_t low = 0;
    int64_t high = 0;
    if (p->chain.last == size)
        return true;
    if (!outcomes->ops->bounds(outcomes, partition, BOUNDS_MS, &low, &high, err) ||
        !outcomes->ops->open(outcomes, partition, p->offset, high, &s, err))
        return false;
    bool ok = walk(s, crypto, stopping, p, size, g, err);
    outcomes->ops->close(s);
    return ok;
}
