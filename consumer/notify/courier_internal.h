// SPDX-License-Identifier: Apache-2.0
//
// What the files of a courier share: notify/courier.c (thread, lease), notify/follow.c (outcomes),
// notify/deliver.c.
#pragma once

#include "catalog/catalog.h"
#include "certsync/runtime/liveness.h"
#include "certsync/runtime/wakeup.h"
#include "notify/courier.h"
#include "notify/expiring.h"
#include "notify/mail.h"
#include "notify/mark.h"
#include "notify/sink.h"
#include "worker/corrections.h"
#include "worker/outcome_chain.h"
#include "worker/topic.h"

struct courier_partition {
    struct cs_note_place at;
    struct cs_chain chain;
    struct cs_topic_stream *stream;
    int64_t waiting;      // entries in its queue
    int64_t next_due_ms;  // of the first of them, wall clock; not after that time
    int64_t saved_offset; // as Redis has it
    int64_t saved_ms;     // monotonic
    int64_t marked;       // offset that Kafka was told
    int64_t look_due_ms;  // monotonic; at which certificates end
    bool broken;
};

struct courier_batch { // notices that follow from records that were read
    struct cs_note_entry *entries;
    size_t len, cap;
    struct cs_buf bytes; // their texts
    bool failed;
};

enum courier_trouble { COURIER_WELL, COURIER_AWAY, COURIER_REFUSED };

struct cs_courier {
    struct cs_courier_options o;
    const struct cs_notice_settings *section;
    pthread_t thread;
    bool started;
    struct cs_wakeup wakeup;
    struct cs_liveness liveness;
    atomic_bool stopping;
    struct cs_note_board board;
    struct cs_crypto *crypto;
    struct cs_outcome_marks *marks;
    struct cs_corrections *corrections;
    struct cs_note_store *store;
    struct cs_sink *sink;      // NULL: it goes by mail
    struct cs_mailer *mailer;  // NULL: it does not
    struct cs_note_mark *mark; // Kafka's witness
    struct cs_topic *topic;
    int tls;
    struct courier_partition *partitions;
    struct cs_catalog *catalog;   // for looks at expiry; NULL: not needed yet
    struct cs_expiring *expiring; // the same
    struct courier_batch batch;
    struct cs_note_entry due[CS_NOTE_AT_ONCE];
    bool held; // the lease
    int64_t held_until_ms, renewed_ms;
    bool begun;
    int64_t retry_at_ms, retry_pause_ms; // after Kafka or Redis failed
    // Of deliveries:
    int64_t not_before_ms, pause_ms; // while the receiver is away
    int refused_row;                 // refused without one between that was taken
    enum courier_trouble trouble;
    int64_t oldest_ms;
};

static inline int64_t courier_mono_ms(const struct cs_courier *c) {
    return cs_clock_mono_ms(c->o.clock);
}
static inline int64_t courier_wall_ms(const struct cs_courier *c) {
    return cs_clock_wall_ms(c->o.clock);
}

// courier.c: whether this process has the lease, and for as long as one delivery may take; renews it.
CS_MUST_USE bool courier_has_lease(struct cs_courier *c, bool *ret, struct cs_err *err);
// Another process serves the section: all begins anew.
void courier_lost(struct cs_courier *c);

// follow.c
CS_MUST_USE bool courier_begin(struct cs_courier *c, struct cs_err *err); // all partitions
void courier_end(struct cs_courier *c);                                   // closes them
CS_MUST_USE bool courier_follow(struct cs_courier *c, struct cs_err *err);
CS_MUST_USE bool courier_tell_kafka(struct cs_courier *c, struct cs_err *err);

// Notices that are put into the queue together: begin, add those that are wanted, end. told_until_ms: as of
// an entry. The place in the log is noted with them.
void courier_batch_begin(struct cs_courier *c);
void courier_batch_add(struct cs_courier *c, const struct cs_notice *n, int64_t told_until_ms);
CS_MUST_USE bool courier_batch_end(struct cs_courier *c, int32_t partition, struct cs_err *err);

// expiry.c
CS_MUST_USE bool courier_look_at_expiry(struct cs_courier *c, struct cs_err *err);

// deliver.c
CS_MUST_USE bool courier_deliver(struct cs_courier *c, struct cs_err *err);
// What came of a delivery: of all of the section, for people.
void courier_tell(struct cs_courier *c, enum courier_trouble trouble, const struct cs_err *err);
// The receiver is away, for at least asked_ms.
void courier_pause(struct cs_courier *c, int64_t asked_ms);
// Logs that a notice was not delivered within notify.keep.
void courier_tell_dropped(struct cs_courier *c, const char *id, const char *account, struct cs_bytes text,
                          const struct cs_err *why);
int64_t courier_waiting(const struct cs_courier *c);

// digest.c: the same by mail.
CS_MUST_USE bool courier_send_digests(struct cs_courier *c, struct cs_err *err);
// The distance after so many failures in a row.
int64_t cs_courier_distance(const struct cs_consumer_settings *s, int64_t failures);
