// SPDX-License-Identifier: Apache-2.0
//
// Counters, gauges and histograms, and their text form (Prometheus exposition format 0.0.4).
//
// A registry holds metrics. A metric with labels holds one series for each combination of label
// values; a metric without labels has one series. Names carry units: certsync_spool_bytes,
// certsync_batch_seconds, certsync_events_total. Any thread may update a series, without a lock.
// Making metrics and series takes a lock: keep the series pointer in hot code. Metrics and series
// live as long as the registry. Programmers' mistakes (bad name, same name twice, counter without
// _total) are assertions. Out of memory gives NULL. All functions accept NULL and do nothing, so
// callers need no checks.
#pragma once

#include "certsync/base/buf.h"

#define CS_METRIC_LABELS_MAX 4
#define CS_METRIC_SERIES_MAX 2000 // of one metric; more go to one series whose label values are "other"

struct cs_metrics;
struct cs_metric;
struct cs_series;

struct cs_metrics *cs_metrics_new(void);
void cs_metrics_free(struct cs_metrics *m); // nobody may use its series any more
CS_DEFINE_AUTO(struct cs_metrics, cs_metrics_free)

// labels: NULL, or a NULL-terminated array of names (copied). help: one sentence (copied).
struct cs_metric *cs_metrics_counter(struct cs_metrics *m, const char *name, const char *help,
                                     const char *const *labels);
// A counter that somebody else keeps: its value is set, also with a fraction. It must only rise.
struct cs_metric *cs_metrics_reading(struct cs_metrics *m, const char *name, const char *help,
                                     const char *const *labels);
struct cs_metric *cs_metrics_gauge(struct cs_metrics *m, const char *name, const char *help,
                                   const char *const *labels);
// bounds: upper bounds, rising, without +Inf, at most 24 (copied).
struct cs_metric *cs_metrics_histogram(struct cs_metrics *m, const char *name, const char *help,
                                       const char *const *labels, const double *bounds, size_t bound_count);
// 1 ms to 60 s, for most durations.
extern const double cs_metrics_seconds_bounds[];
extern const size_t cs_metrics_seconds_bound_count;

// The series of these label values (as many as the metric has labels); made on first use.
struct cs_series *cs_metric_series(struct cs_metric *metric, const char *const *values);
// Short forms: metric without labels, with one, with two.
struct cs_series *cs_metric_0(struct cs_metric *metric);
struct cs_series *cs_metric_1(struct cs_metric *metric, const char *value);
struct cs_series *cs_metric_2(struct cs_metric *metric, const char *value1, const char *value2);

void cs_series_inc(struct cs_series *s);               // counter
void cs_series_add(struct cs_series *s, uint64_t n);   // counter
void cs_series_set(struct cs_series *s, double v);     // gauge, reading
void cs_series_adjust(struct cs_series *s, double d);  // gauge
void cs_series_observe(struct cs_series *s, double v); // histogram
double cs_series_value(const struct cs_series *s);     // counter, gauge; histogram: count
// Removes a series from the output (a partition that was revoked). Its next update brings it back.
void cs_series_hide(struct cs_series *s);

// Called before each rendering, in the renderer's thread, to set gauges; never by two at once. At
// most 16.
void cs_metrics_on_render(struct cs_metrics *m, void (*fn)(void *arg), void *arg);
// Content type: CS_METRICS_CONTENT_TYPE.
#define CS_METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
void cs_metrics_render(struct cs_metrics *m, struct cs_buf *out);
