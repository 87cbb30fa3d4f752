// SPDX-License-Identifier: Apache-2.0
//
// Files that a running program takes up again when they change, above all certificates, keys and
// CAs. It polls: whatever replaced a file (a rename, a write in place, the ..data link of a
// Kubernetes volume, a bind mount, NFS) is seen the same way.
//
// Each period the files' inodes, sizes and times are looked at. Once they were the same for a whole
// period the contents are hashed. Where they differ from those that were taken up last, on_change
// runs. A link is followed. A file that is missing or cannot be read is a content as any other.
//
//     make the watch first, then read the files: what changes in between is then seen
//
// on_change takes the files up, all or nothing. Where it returns false the old ones stay in use:
// that and err are logged once for each content, and it is tried again with the next change, and
// every CS_FILEWATCH_RETRY periods (what failed may have been this process, and not the files). So
// a pair of which only one half is there yet costs one warning, and is taken up when the other half
// came.
//
// Everything in the loop's thread. Contents are not kept.
#pragma once

#include "certsync/base/err.h"
#include "certsync/runtime/loop.h"

#define CS_FILEWATCH_PERIOD_MS 2000
#define CS_FILEWATCH_RETRY     15 // periods

struct cs_filewatch;

struct cs_filewatch_options {
    struct cs_loop *loop;
    const char *const *paths; // copied; NULL and "" in it are passed over
    size_t path_count;
    const char *what;  // for the log: "the API's certificate and key"; copied
    int64_t period_ms; // 0: CS_FILEWATCH_PERIOD_MS
    bool (*on_change)(void *arg, struct cs_err *err);
    void *arg;
};

// Out of memory only.
CS_MUST_USE bool cs_filewatch_new(const struct cs_filewatch_options *options, struct cs_filewatch **ret,
                                  struct cs_err *err);
void cs_filewatch_free(struct cs_filewatch *w); // takes NULL; before the loop
CS_DEFINE_AUTO(struct cs_filewatch, cs_filewatch_free)
