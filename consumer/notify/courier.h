// SPDX-License-Identifier: Apache-2.0
//
// A thread that serves one section of notices ([notice NAME]): it follows the outcomes of all
// partitions, puts what the section asks for into its queue (notify/store.h), and delivers what is due.
// Couriers share nothing: a receiver that is away keeps nobody else waiting.
//
// Nothing is lost: an outcome's notices and the place in the log are noted in one transaction, and an
// entry leaves the queue only after the receiver took it. So whoever ends this process at any moment can
// only make the notice that was under way come once more, with the same id.
//
// Several processes with the same section: one has the lease, the others stand by.
#pragma once

#include "notify/metrics.h"
#include "redis/access.h"
#include "settings.h"
#include "worker/keyfile.h"

struct cs_courier_options { // borrowed for its life
    const struct cs_consumer_settings *settings;
    const struct cs_redis_access *redis;
    const struct cs_service_keys *service;
    const char *log_id;
    struct cs_bytes root_spki; // who corrects
    int32_t partition_count;
    const struct cs_clock *clock;
    const struct cs_note_metrics *metrics;
    atomic_int *kafka_tls; // counts how often Kafka's TLS files changed
};
struct cs_courier;
CS_MUST_USE bool cs_courier_start(const struct cs_courier_options *options,
                                  const struct cs_notice_settings *section, struct cs_courier **ret,
                                  struct cs_err *err);
void cs_courier_stop(struct cs_courier *c); // begins to end; cs_courier_free waits
void cs_courier_free(struct cs_courier *c);
CS_DEFINE_AUTO(struct cs_courier, cs_courier_free)
const char *cs_courier_name(const struct cs_courier *c);
struct cs_note_board *cs_courier_board(struct cs_courier *c);
int64_t cs_courier_overdue_ms(const struct cs_courier *c); // of its next sign of life; 0: it lives
