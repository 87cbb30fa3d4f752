// SPDX-License-Identifier: Apache-2.0
//
// Outcomes of one event for every partition (trust.*), read from cert.outcomes: they belong to no account, so
// the API does not have them. Made before the event is published, so that nothing is missed.
#pragma once

#include "options.h"
#include "submit.h"

struct cs_outcome_watch;
CS_MUST_USE bool cs_outcome_watch_new(const struct cs_agent_settings *settings, int64_t deadline_ms,
                                      struct cs_outcome_watch **ret, struct cs_err *err);
void cs_outcome_watch_free(struct cs_outcome_watch *w);
// Waits until each partition has an outcome of this event with this number, or timeout_ms. The worst of them
// is the answer: replayed, rejected, applied; UNKNOWN while one is missing.
CS_MUST_USE bool cs_outcome_watch_poll(struct cs_outcome_watch *w, const char *event_id, int64_t seq,
                                       int64_t timeout_ms, struct cs_end *ret, struct cs_err *err);
