// SPDX-License-Identifier: Apache-2.0
//
// Which accounts bring how many events: the metric certsync_account_events_total of the CS_LOUD_SHOWN
// that brought most since the start. So a fleet of 100,000 accounts makes 20 series, and who fills a
// partition is named. Thread-safe.
#pragma once

#include "certsync/model/ident.h"
#include "certsync/runtime/metrics.h"

#define CS_LOUD_SHOWN 20
#ifndef CS_LOUD_COUNTED      // tests have fewer
#define CS_LOUD_COUNTED 4096 // accounts; with more, the more silent half is forgotten
#endif
// The account of events whose sender is not proven: anybody may name any account.
#define CS_LOUD_UNPROVEN "(unproven)"

struct cs_loud;
// The registry outlives it, and is not rendered after it is freed.
CS_MUST_USE bool cs_loud_new(struct cs_metrics *registry, struct cs_loud **ret, struct cs_err *err);
void cs_loud_free(struct cs_loud *l); // takes NULL
// n more events of an account; "": of none, which does not count. NULL takes nothing.
void cs_loud_count(struct cs_loud *l, const char *account, int64_t n);
