// SPDX-License-Identifier: Apache-2.0
//
// A worker: a thread with its own Kafka consumer in the group, its own producer and its own catalog, that
// takes its partitions' records through prepare, load, decide, publish and commit (DESIGN, "The consumer").
#pragma once

#include "consumer.h"

struct cs_worker;

// Starts the thread. on_failed is called at most once, in the worker's thread, when the whole worker cannot
// go on (CONFIG or FATAL; a stop of one partition only goes to the board); it should post to the loop.
CS_MUST_USE bool cs_worker_start(const struct cs_consumer *c, int index,
                                 void (*on_failed)(void *arg, const struct cs_err *err), void *arg,
                                 struct cs_worker **ret, struct cs_err *err);
// Asks it to finish the batch that is published already and to leave the group. Any thread.
void cs_worker_stop(struct cs_worker *w);
// Whether the thread has ended its work.
bool cs_worker_finished(const struct cs_worker *w);
// Waits for the thread (cs_worker_stop is implied) and frees. Takes NULL.
void cs_worker_free(struct cs_worker *w);
