// SPDX-License-Identifier: Apache-2.0
//
// Inside the settler: settler.c (thread, listing, questions), settler_ends.c (outcomes, signing again).
#pragma once

#include "bell.h"
#include "certsync/runtime/pulse.h"
#include "settler.h"

struct question {
    struct question *next;
    char name[CS_NAME_MAX + 1];
};
struct cs_settler {
    struct cs_session session; // a copy with a context and an API client of its own
    struct cs_settler_hooks hooks;
    struct cs_spool *spool;
    pthread_t thread;
    bool started;
    size_t cursor; // where the next pass over open events begins
    int64_t idle;  // passes without an answer
    struct cs_bell bell;
    struct cs_pulse pulse;
    // Under the bell's lock:
    bool ended, list_wanted;
    struct question *questions;
    struct cs_link link;
};
// One pass over what is published and open. *ret_pause_ms: when to look again.
CS_MUST_USE bool settle_pass(struct cs_settler *t, int64_t *ret_pause_ms, struct cs_err *err);
