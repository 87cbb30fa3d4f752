// SPDX-License-Identifier: Apache-2.0
//
// A log as a deployment writes it over the years, for measurements: accounts in pairs of one owner, each with an
// agent; then uploads, renewals, deletes, certificates that an issuer gives out, and shares of them with the other
// account of the pair. Leafs come from a stock and come again once it is used up: 0 makes a new one for each.
// What is drawn depends on the seed and the partitions alone.
#pragma once

#include "bench_events.h"

struct bench_mixed_options {
    const char *log_id;
    const struct cs_privkey *admin, *issuer;
    struct cs_bytes custodian_spki;
    int accounts; // of all threads; even
    int64_t events;
    int leafs;
    unsigned seed;
    int32_t partitions;
    int threads, thread; // this one makes the events of every `threads`th partition
};

struct bench_mixed;
CS_MUST_USE bool bench_mixed_new(const struct bench_mixed_options *o, struct bench_mixed **ret,
                                 struct cs_err *err);
void bench_mixed_free(struct bench_mixed *m);
// The next one (its value is the caller's to free); *ret_end after the last.
CS_MUST_USE bool bench_mixed_next(struct bench_mixed *m, struct bench_event *ret, bool *ret_end,
                                  struct cs_err *err);

struct bench_mixed_counts {
    int64_t events, accounts, uploads, renewals, issued, deletes, shares;
    int64_t certificates; // that are there at the end
};
void bench_mixed_count(const struct bench_mixed *m, struct bench_mixed_counts *add);
