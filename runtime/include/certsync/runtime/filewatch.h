// SPDX-License-Identifier: Apache-2.0
//
// Files that a running program reads again when they change, above all certificates, keys and CAs.
// It polls. So it sees every way of replacing a file alike: a rename, a write in place, the ..data
// link of a Kubernetes volume, a bind mount, NFS.
//
// Each period it checks the files' inodes, sizes and times. If they stayed the same for a whole
// period, it hashes the contents. If these differ from the last accepted ones, it calls on_change.
// Links are followed. A file that is missing or unreadable counts as a content, too.
//
// Make the watch first, then read the files: so a change in between is seen.
//
// on_change reads the files, all or nothing. If it returns false, the old ones stay in use. The
// failure and err are logged once for each content. It is tried again at the next change, and every
// CS_FILEWATCH_RETRY periods: perhaps this process failed, and not the files. So a pair of which
// one half is missing costs one warning, and is accepted when the other half comes.
//
// Everything runs in the loop's thread. Contents are not kept.
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
