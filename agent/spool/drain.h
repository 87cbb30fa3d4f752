// SPDX-License-Identifier: Apache-2.0
//
// From the spool to Kafka: publishes what is not acknowledged yet, strictly in the order of the
// numbers, under the spool's publish lock, and marks what was acknowledged. Both the commands and
// the daemon publish this way and no other.
#pragma once

#include "spool/publish.h"
#include "spool/spool.h"

struct cs_drain {
    struct cs_spool *spool;
    struct cs_crypto *crypto;
    struct cs_publisher *publisher;
    const struct cs_clock *clock;
    // Told of files that had to be moved to quarantine; may be NULL.
    void (*on_damaged)(void *arg, const struct cs_err *err);
    // Told once the brokers have answered, before anything is handed to them; may be NULL.
    void (*on_sending)(void *arg);
    void *arg;
    size_t published; // counted up
    bool busy;        // the last run did not come to publish: somebody else did, until the deadline
};
// Everything up to the number upto (0: all that is there). RETRY at deadline_ms (monotonic) or
// where the brokers are away: what is left stays in the spool.
CS_MUST_USE bool cs_drain_run(struct cs_drain *d, int64_t upto, int64_t deadline_ms, struct cs_err *err);
