// SPDX-License-Identifier: Apache-2.0
//
// The way of every event that a command sends: into the spool, where it is durable, then to Kafka.
// Unless --no-wait is given, the command then waits until the API tells the outcome. Events for
// every partition (trust) belong to no account: their outcomes are read from cert.outcomes itself.
//
// event.replayed (this host was restored or cloned) is handled here. It raises an alarm, and the
// events still in the spool are signed again above the watermark.
#pragma once

#include "event/settle.h"

// what: for people, "upload of \"www\"". Says what happened, and returns the exit code. Takes c.
int cs_submit(struct cs_session *s, struct cs_composed *c, const char *what);

// The alarm: numbers of this key were used elsewhere.
#define CS_SUBMIT_REPLAYED                                                                                   \
    "numbers of this key are used already: this host was restored or its key is on another host too; "       \
    "signing again"

// Names on standard error the events of earlier commands that are sent now: those in the spool
// below the number `below` (0: all). For programs: the same as an array, NULL if there are none.
json_t *cs_submit_earlier(struct cs_session *s, struct cs_spool *spool, int64_t below);

// Settles at most max of the published events of earlier commands, with or without waiting until
// the session's deadline. Reports rejected ones. Counts what was removed, also after an error.
struct cs_settled {
    size_t applied, rejected, resigned;
};
CS_MUST_USE bool cs_submit_settle(struct cs_session *s, struct cs_spool *spool, size_t max, bool wait,
                                  struct cs_settled *ret, struct cs_err *err);
