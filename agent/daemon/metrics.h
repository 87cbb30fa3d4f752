// SPDX-License-Identifier: Apache-2.0
//
// The daemon's metrics (Prometheus): a file for node_exporter's textfile collector (agent.metrics_file), and
// GET /metrics (agent.metrics_listen). Both say the same; the file has no process_*, which node_exporter has
// of itself. The file goes when the daemon ends. Where it was killed, the file stays, and
// certsync_agent_written_timestamp_seconds tells how old it is. All in the loop's thread.
#pragma once

#include "certsync/runtime/loop.h"
#include "event/options.h"

struct cs_engine;
struct cs_agent_metrics;
// engine: where the daemon's engine stands (NULL in between, while a reload exchanges it). settings are
// those of the start. CONFIG: the address cannot be listened at, or the file is none for node_exporter.
CS_MUST_USE bool cs_agent_metrics_new(struct cs_loop *loop, const struct cs_agent_settings *settings,
                                      struct cs_engine *const *engine, struct cs_agent_metrics **ret,
                                      struct cs_err *err);
void cs_agent_metrics_free(struct cs_agent_metrics *m);
CS_DEFINE_AUTO(struct cs_agent_metrics, cs_agent_metrics_free)
void cs_agent_metrics_write(struct cs_agent_metrics *m); // the file, if there is to be one
