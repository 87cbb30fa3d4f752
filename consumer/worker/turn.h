// SPDX-License-Identifier: Apache-2.0
//
// What a worker does, turn by turn: it serves the group, starts partitions, moves the batch in flight
// on, fills the next ones, and waits where there is nothing to do. An error of one partition ends or
// delays that partition only; one of the whole worker is kept in failure. All in the worker's thread.
#pragma once

#include <stdatomic.h>

#include "worker/batch.h"
#include "worker/group.h"

#define CS_TURN_START_BUSY_MS 60000 // longest time for the questions of a partition's start

struct cs_turn {
    struct cs_worker_context x;
    const atomic_bool *stopping; // the worker's; any thread sets it
    int woken_fd;                // becomes readable when there is something to do
    int workers;                 // of this process

    struct cs_group group;
    struct cs_batches batches;
    struct cs_flight_env env;
    struct cs_flight flight;
    struct cs_batch *flying; // the batch in flight; NULL: none is
    int64_t phase_since_us;
    int64_t stalled_ms; // since when acknowledgements are late; 0: they are not

    int64_t look_due_ms;    // when idle partitions' positions are read
    int64_t measure_due_ms; // when partitions without progress are measured
    bool failed;            // the worker as a whole
    struct cs_err failure;
};

// stopping: finishes what is in flight, and begins nothing. It waits for a limited time.
void cs_turn(struct cs_turn *t, bool stopping);
// How long the next turn may take. After that it counts as stuck.
int64_t cs_turn_busy_ms(const struct cs_turn *t);
// Whether the batch in flight may be published already, so that it is better finished than thrown away.
bool cs_turn_publishes(const struct cs_turn *t);
// The worker as a whole cannot continue. The first reason is kept.
void cs_turn_fail(struct cs_turn *t, const struct cs_err *err);
// The group takes the partitions away (cs_group's on_revoke; arg: the turn).
void cs_turn_revoked(void *arg);
