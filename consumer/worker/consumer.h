// SPDX-License-Identifier: Apache-2.0
//
// What the parts of a running certsync-consumer share. `run` makes it before the workers and the
// API start, and it outlives them. After that everything here is read-only, or thread-safe by
// itself.
//
// Redis (names: redis/key.h): documents are strings, indexes sorted sets. The MULTI of each commit
// to the live generation ends with a PUBLISH of the last outcome's number to the partition's
// channel. So does that of a promotion.
//
// The API (api.h): cs_api_new(const struct cs_consumer *, struct cs_api
// **ret, struct cs_err *) starts to listen; cs_api_stop() takes no new connections and answers
// waiting requests; cs_api_idle() says whether all are answered; cs_api_free();
// cs_api_reload_tls(). With settings->api_listen "", run starts none.
#pragma once

#include <stdatomic.h>

#include "redis/access.h"
#include "settings.h"
#include "worker/board.h"
#include "worker/corrections.h"
#include "worker/keyfile.h"

#include "certsync/model/key.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/loop.h"
#include "certsync/runtime/metrics.h"

struct cs_consumer {
    const struct cs_consumer_settings *settings;
    struct cs_redis_access redis;
    int32_t partition_count;
    cs_log_id log_id;
    struct cs_bytes root_spki;                  // of the root public key
    const struct cs_privkey *service;           // not for the loop's thread, after the start
    const struct cs_service_keys *service_keys; // that one, and those before it
    cs_kid service_kid;
    struct cs_loop *loop; // the main thread's
    struct cs_metrics *metrics;
    struct cs_metric *tls_expiry; // tls_expiry.h; shared by all that show certificates
    struct cs_board *board;
    struct cs_corrections
        *corrections; // read to the end before the workers start; then the inspector reads on
    const struct cs_clock *clock;
    struct cs_published *published; // only one thread of the API uses it
    struct cs_published *past;      // the same for questions of the past; NULL: nobody answers them
    // Counts how often Kafka's TLS files changed and could be used. Every client from before is
    // then made again.
    atomic_int *kafka_tls;
    // Whether no worker hangs; any thread. NULL: there are no workers.
    bool (*alive)(void *arg);
    void *alive_arg;
};
