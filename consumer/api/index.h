// SPDX-License-Identifier: Apache-2.0
//
// An index of the certificates that accounts see, in memory (SQLite): own ones and those that were shared in. It
// is derived from catalogs (api/follow.h keeps it up), and says where something is, never what it is: what it
// names is read from the catalog, and held against the filter again.
//
// What a question costs follows what it finds. The filter that names the least is looked up, as long as that is
// at most API_INDEX_GATHER certificates; these are held against the others, and sorted. If each filter names
// more, the certificates are walked over in their order, at most API_INDEX_STEPS for one page.
//
// About 1.2 KB a certificate. One thread. Errors: FATAL (memory, a fault of ours).
#pragma once

#include "api/filter.h"

#define API_INDEX_GATHER 2000
#define API_INDEX_STEPS  20000
#define API_INDEX_COUNT  100000 // a count goes no further

// A certificate as an account sees it.
struct api_hit {
    int32_t partition;
    cs_account_id account;
    cs_account_id owner; // "": its own
    cs_uuid id;
    cs_name name;
    int64_t ends_s;
};

struct api_index_query {
    const struct api_filter *filter;
    const char *account; // "": all
    bool by_expiry;      // else by account and name
    int64_t now_s;
    const struct api_hit *after; // the last one of the page before, or NULL
    size_t limit;
    bool count;
};

struct api_index_answer {
    size_t len;
    struct api_hit *hits; // limit of them, of the caller
    bool more;            // after `last`
    struct api_hit last;  // the last one that was looked at
    int64_t total;        // with count
    bool total_exact;     // else there are at least so many
};

struct api_index;
CS_MUST_USE bool api_index_new(struct api_index **ret, struct cs_err *err);
void api_index_free(struct api_index *x); // takes NULL
CS_DEFINE_AUTO(struct api_index, api_index_free)

// Several changes together are cheaper. False at the end: some were not made.
CS_MUST_USE bool api_index_begin(struct api_index *x, struct cs_err *err);
CS_MUST_USE bool api_index_end(struct api_index *x, struct cs_err *err);
// Puts one, in the place of what it has of it. owner "": the account's own.
CS_MUST_USE bool api_index_put(struct api_index *x, int32_t partition, const char *account, const char *owner,
                               const char *id, const struct cs_cert_summary *s, struct cs_err *err);
// Removes one, if it is there.
CS_MUST_USE bool api_index_remove(struct api_index *x, const char *account, const char *owner, const char *id,
                                  struct cs_err *err);
// Removes all of a partition.
CS_MUST_USE bool api_index_drop(struct api_index *x, int32_t partition, struct cs_err *err);
int64_t api_index_size(const struct api_index *x); // certificates
int64_t api_index_bytes(const struct api_index *x);

CS_MUST_USE bool api_index_ask(struct api_index *x, const struct api_index_query *q,
                               struct api_index_answer *ret, struct cs_err *err);
