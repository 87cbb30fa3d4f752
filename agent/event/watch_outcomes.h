// SPDX-License-Identifier: Apache-2.0
//
// Outcomes of one event, read from cert.outcomes itself. It is for events for every partition
// (trust.*): they belong to no account, so the API does not have them. And for a key that the API
// refuses, because it is not enrolled or was revoked.
#pragma once

#include "event/options.h"
#include "event/settle.h"

struct cs_outcome_watch;
// partition -1: of every partition, from now on; so make it before the event is published.
// Otherwise: of the event at that offset in that partition of cert.events, also if it was judged
// before.
CS_MUST_USE bool cs_outcome_watch_new(const struct cs_agent_settings *settings, int32_t partition,
                                      int64_t offset, int64_t deadline_ms, struct cs_outcome_watch **ret,
                                      struct cs_err *err);
void cs_outcome_watch_free(struct cs_outcome_watch *w);
CS_DEFINE_AUTO(struct cs_outcome_watch, cs_outcome_watch_free)
// Waits until each partition has an outcome of this event with this number, or for timeout_ms.
// Answers with the worst of them: replayed, rejected, applied; UNKNOWN while one is missing.
CS_MUST_USE bool cs_outcome_watch_poll(struct cs_outcome_watch *w, const char *event_id, int64_t seq,
                                       int64_t timeout_ms, struct cs_end *ret, struct cs_err *err);
