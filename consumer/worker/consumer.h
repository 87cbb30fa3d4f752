// SPDX-License-Identifier: Apache-2.0
//
// What the parts of a running certsync-consumer share. Made by `run` before the workers and the API
// start, and outlives them. Everything here is read-only after that, or thread-safe by itself.
//
// Redis (names: redis/key.h): documents are strings, indexes sorted sets. Each commit to the live
// generation ends with PUBLISH of the number of the last outcome to the partition's channel in its
// MULTI, and so does a promotion.
//
// The API (api.h) is: cs_api_new(const struct cs_consumer *, struct cs_api **ret, struct cs_err *),
// in the loop's thread, starts to listen; cs_api_stop(): no new connections, waiting requests are
// answered; cs_api_idle(): whether all are; cs_api_free(); cs_api_reload_tls(). Where
// settings->api_listen is "" run starts none.
#pragma once

#include <stdatomic.h>

#include "redis/access.h"
#include "settings.h"
#include "worker/board.h"

#include "certsync/model/key.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/loop.h"
#include "certsync/runtime/metrics.h"

struct cs_consumer {
    const struct cs_consumer_settings *settings;
    struct cs_redis_access redis;
    int32_t partition_count;
    struct cs_bytes root_spki;        // of the root public key
    const struct cs_privkey *service; // only workers use it
    cs_kid service_kid;
    struct cs_loop *loop; // the main thread's
    struct cs_metrics *metrics;
    struct cs_metric *tls_expiry; // tls_expiry.h; shared by all that show certificates
    struct cs_board *board;
    const struct cs_clock *clock;
    struct cs_published *published; // only the API's thread uses it
    // Counts how often the files of Kafka's TLS changed and were found to be usable: every client
    // that was made before is made anew.
    atomic_int *kafka_tls;
    // Whether no worker hangs; in the loop's thread. NULL: there are none to ask.
    bool (*alive)(void *arg);
    void *alive_arg;
};
