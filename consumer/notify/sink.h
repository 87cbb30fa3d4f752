// SPDX-License-Identifier: Apache-2.0
//
// Where notices go: what delivers an entry of the queue (notify/store.h), and says what came of it.
// One thread.
#pragma once

#include <stdatomic.h>

#include "notify/store.h"
#include "settings.h"

enum cs_delivery {
    CS_DELIVERED,
    CS_DELIVERY_AWAY,    // the receiver cannot take anything now: nothing else is tried for a while
    CS_DELIVERY_REFUSED, // it does not take this one
};
struct cs_delivered {
    enum cs_delivery what;
    int64_t wait_ms;   // AWAY: the receiver asks for so long a pause; 0: it does not say
    struct cs_err err; // AWAY, REFUSED
};

struct cs_sink;
struct cs_sink_ops {
    void (*send)(struct cs_sink *s, const struct cs_note_entry *e, int64_t now_s, struct cs_delivered *ret);
    void (*free)(struct cs_sink *s);
};
struct cs_sink { // first member of each
    const struct cs_sink_ops *ops;
};
static inline void cs_sink_free(struct cs_sink *s) {
    if (s)
        s->ops->free(s);
}
CS_DEFINE_AUTO(struct cs_sink, cs_sink_free)

// The one that a section names; settings must outlive it. Reads its files once, so that a start fails
// where they cannot be used: CONFIG. *stopping breaks a delivery off.
CS_MUST_USE bool cs_sink_new(const struct cs_consumer_settings *s, const struct cs_notice_settings *section,
                             const atomic_bool *stopping, struct cs_sink **ret, struct cs_err *err);
