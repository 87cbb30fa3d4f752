// SPDX-License-Identifier: Apache-2.0
//
// What every Prometheus client tells of its process, by the names that dashboards know (Prometheus' rules for
// client libraries, "Process metrics"), read from /proc/self at each scrape; and which build it is:
// certsync_build_info{program,version} 1. What the system does not tell is left out.
#pragma once

#include "certsync/runtime/metrics.h"

struct cs_process_metrics;
// The registry must not be rendered after cs_process_metrics_free.
CS_MUST_USE bool cs_process_metrics_new(struct cs_metrics *registry, const char *program,
                                        struct cs_process_metrics **ret, struct cs_err *err);
void cs_process_metrics_free(struct cs_process_metrics *p);
CS_DEFINE_AUTO(struct cs_process_metrics, cs_process_metrics_free)
