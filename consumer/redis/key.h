// SPDX-License-Identifier: Apache-2.0
//
// Names of a deployment's keys in Redis: "<namespace>:{<partition>}:<key>" for the first generation
// of a partition's catalog, "<namespace>:{<partition>}:g<n>:<key>" for generation n. The braces
// keep a partition in one slot of a cluster. <key> is a document or an index
// (certsync/model/keys.h), or one of those below.
#pragma once

#include <inttypes.h>
#include <stdio.h>

#define CS_NAMESPACE_MAX 64
#define CS_PREFIX_MAX    (CS_NAMESPACE_MAX + 40)

// Of each generation: its position in the log.
#define CS_POSITION_KEY "pos"
// Of the partition as a whole:
#define CS_GENERATION_KEY "gen"      // number of the live generation; absent: 1
#define CS_NEXT_KEY       "next"     // number of the next one
#define CS_CLAIM_KEY      "claim"    // who builds it; expires with the lease
#define CS_RESTORED_KEY   "restored" // which generation was filled from which snapshot (cs_restored)
#define CS_MOVED_CHANNEL  "moved"    // told of each commit
// Beside its catalogs (catalog/heard.h):
#define CS_BEAT_PREFIX "beat/" // "beat/<account>/<kid>"
#define CS_BEATS_KEY   "beats"
#define CS_NOTE_PREFIX "notice/" // "notice/<section>/…" (notify/store.h)
// (catalog/changes.h)
#define CS_CHANGES_PREFIX "changes/" // "changes/<0 to 31>"

// The prefix of a key; returns its length. generation 0: the prefix of a key of the whole
// partition.
static inline size_t cs_redis_prefix(char ret[CS_PREFIX_MAX], const char *name_space, int32_t partition,
                                     int64_t generation) {
    int n = snprintf(ret, CS_PREFIX_MAX, "%s:{%" PRId32 "}:", name_space, partition);
    if (generation > 1)
        n += snprintf(ret + n, CS_PREFIX_MAX - (size_t)n, "g%" PRId64 ":", generation);
    return (size_t)n;
}
