// SPDX-License-Identifier: Apache-2.0
//
// A worker: a thread with its own Kafka consumer in the group, its own producer and its own
// catalog. It takes its partitions' records through prepare, load, decide, publish and commit
// (docs/develop/architecture.md).
#pragma once

#include "certsync/model/outcome.h"
#include "worker/consumer.h"

struct cs_worker_metrics { // of all workers together
    struct cs_series *by_status[CS_STATUS_DUPLICATE + 1];
    struct cs_metric *rejections; // by code
    struct cs_series *batch_records;
    struct cs_series *prepare_s, *load_s, *decide_s, *publish_s, *commit_s;
    struct cs_series *retries, *damaged, *derived, *compared;
    struct cs_loud *loud; // may be NULL
};
void cs_worker_metrics_init(struct cs_worker_metrics *m, struct cs_metrics *registry);

struct cs_worker;

// Called once, in the worker's thread, at the end of its work. err is NULL after a stop. Otherwise
// it says why the whole worker cannot continue (CONFIG, FATAL). (That only one partition stops goes
// to the board.) It should post to the loop.
typedef void (*cs_worker_end_fn)(void *arg, const struct cs_err *err);

// Starts the thread. metrics are borrowed for its life.
CS_MUST_USE bool cs_worker_start(const struct cs_consumer *c, const struct cs_worker_metrics *metrics,
                                 int index, cs_worker_end_fn on_end, void *arg, struct cs_worker **ret,
                                 struct cs_err *err);
// Asks it to finish the batch that is being published, and to leave the group. Any thread.
void cs_worker_stop(struct cs_worker *w);
// Whether the thread has ended its work.
bool cs_worker_finished(const struct cs_worker *w);
// How long it has been silent beyond what its work may take (liveness.h); 0: it is alive. Any
// thread.
int64_t cs_worker_overdue_ms(const struct cs_worker *w);
// Waits for the thread (cs_worker_stop is implied) and frees. Takes NULL.
void cs_worker_free(struct cs_worker *w);
CS_DEFINE_AUTO(struct cs_worker, cs_worker_free)
