// SPDX-License-Identifier: Apache-2.0
#include "worker/worker.h"

static struct cs_series *seconds(struct cs_metrics *registry, const char *name, const char *help) {
    return cs_metric_0(cs_metrics_histogram(registry, name, help, NULL, cs_metrics_seconds_bounds,
                                            cs_metrics_seconds_bound_count));
}

void cs_worker_metrics_init(struct cs_worker_metrics *m, struct cs_metrics *registry) {
    static const char *const by_status[] = {"status", NULL};
    static const double sizes[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000};
    struct cs_metric *events = cs_metrics_counter(
        registry, "certsync_events_total", "Events that were decided, by status of the outcome.", by_status);
    for (int s = CS_STATUS_APPLIED; s <= CS_STATUS_DUPLICATE; s++)
        m->by_status[s] = cs_metric_1(events, cs_status_name((enum cs_status)s));
    static const char *const by_code[] = {"code", NULL};
    m->rejections = cs_metrics_counter(
        registry, "certsync_rejections_total",
        "Rejections that this process published, by code; what is only judged again does not count.",
        by_code);
    m->batch_records = cs_metric_0(cs_metrics_histogram(
        registry, "certsync_batch_records", "Records of a batch.", NULL, sizes, CS_ARRAY_LEN(sizes)));
    m->prepare_s =
        seconds(registry, "certsync_prepare_seconds", "Time to verify and parse the records of a batch.");
    m->load_s = seconds(registry, "certsync_load_seconds", "Time to read what a batch touches.");
    m->decide_s = seconds(registry, "certsync_decide_seconds", "Time to decide a batch.");
    m->publish_s =
        seconds(registry, "certsync_publish_seconds",
                "Time to publish the outcomes and derived events of a batch, with their acknowledgements.");
    m->commit_s = seconds(registry, "certsync_commit_seconds", "Time to commit a batch to Redis.");
    m->retries = cs_metric_0(
        cs_metrics_counter(registry, "certsync_retries_total",
                           "Times that a partition was started again because Redis or Kafka was away, or "
                           "another consumer had moved it on.",
                           NULL));
    m->damaged = cs_metric_0(cs_metrics_counter(
        registry, "certsync_damaged_catalogs_total",
        "Times that a partition's catalog in Redis was found to be damaged, and was made again from the log.",
        NULL));
    m->derived = cs_metric_0(cs_metrics_counter(registry, "certsync_derived_events_total",
                                                "Derived events that were published.", NULL));
    m->compared =
        cs_metric_0(cs_metrics_counter(registry, "certsync_compared_outcomes_total",
                                       "Outcomes that were found to be as published before.", NULL));
}
