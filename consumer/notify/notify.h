// SPDX-License-Identifier: Apache-2.0
//
// All sections of notices of a process: their couriers (notify/courier.h), and what they tell over HTTP
// at notify.listen: /metrics, /healthz (no courier hangs), /readyz (each section's state; 503 where one
// cannot go on). The loop's thread, but for cs_notify_alive.
#pragma once

#include "certsync/runtime/loop.h"
#include "notify/courier.h"

struct cs_notify;
// o: metrics is the process' own, made here; settings, redis, service, log_id must outlive it.
CS_MUST_USE bool cs_notify_start(const struct cs_courier_options *o, struct cs_loop *loop,
                                 struct cs_metrics *metrics, struct cs_notify **ret, struct cs_err *err);
void cs_notify_stop(struct cs_notify *n); // the couriers begin to end, no new requests are taken
void cs_notify_free(struct cs_notify *n);
CS_DEFINE_AUTO(struct cs_notify, cs_notify_free)
bool cs_notify_alive(const struct cs_notify *n);
// Whether each section is served, here or by another process. why: of the first that is not.
bool cs_notify_ready(struct cs_notify *n, char *why, size_t why_size);
// A sentence about all sections, for systemd's status.
void cs_notify_summary(struct cs_notify *n, char *out, size_t out_size);
