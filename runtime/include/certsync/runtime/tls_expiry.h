// SPDX-License-Identifier: Apache-2.0
//
// A metric: when the certificates end that a program shows to others.
#pragma once

#include "certsync/runtime/metrics.h"

// certsync_tls_certificate_expiry_seconds{file}. Made once for a registry, and shared by all who
// set it.
struct cs_metric *cs_tls_expiry_metric(struct cs_metrics *m);
// Sets the series of this file after it was read: when the first of its certificates (PEM) ends, in
// Unix time. A file without one has no series.
void cs_tls_expiry_set(struct cs_metric *metric, const char *path);
// When the first of a file's certificates (PEM) ends, in Unix time. False without one.
bool cs_tls_first_end(const char *path, int64_t *ret_s);
