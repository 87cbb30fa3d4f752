// SPDX-License-Identifier: Apache-2.0
//
// Keeps the index of certificates (api/index.h) as the catalogs are, and asks it. One thread of the process reads
// each partition's catalog once, and then what its commits changed (catalog/changes.h). Where it cannot follow (a
// gap, another generation: a rebuild, a promotion, a catalog that was damaged), it reads the partition anew.
//
// A question is answered only where the index has reached the position that the catalog has now, and where that
// one has caught up with what was published (api/freshness.c), in each partition that is asked. So a list is
// never silently short.
#pragma once

#include "api/index.h"

struct cs_api;
struct api_call;

struct api_question {
    struct api_filter filter;
    cs_account_id account; // "": all accounts
    bool by_expiry, has_after, count;
    int64_t now_s;
    struct api_hit after;
    size_t limit;
};
struct api_question_answer {
    bool ok;
    char why[200]; // not: ask again
    struct api_index_answer found;
};
// The answer is borrowed during the call.
typedef void (*api_found_step)(struct api_call *call, const struct api_question_answer *answer);

struct api_follow;
// For the first loop, once freshness is there. It reads in the background.
CS_MUST_USE bool api_follow_new(struct cs_api *first, struct api_follow **ret, struct cs_err *err);
// Ends the thread. Before the loops are freed.
void api_follow_stop(struct api_follow *f); // takes NULL
// After them.
void api_follow_free(struct api_follow *f); // takes NULL
// In any loop: asks; step goes on there. Answers 503 itself if too many wait.
void api_follow_ask(struct api_call *call, const struct api_question *q, api_found_step step);
void api_follow_leave(struct api_call *call); // the client has left
