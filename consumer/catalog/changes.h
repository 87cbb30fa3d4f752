// SPDX-License-Identifier: Apache-2.0
//
// Which certificates the newest commits of a partition's live catalog changed. It lies in Redis beside the
// catalogs, for those who keep what they derived from a catalog (api/follow.h): they need not read all of it
// again. No verdict rests on it. If it is lost, they read all.
//
//   <namespace>:{<partition>}:changes/<n>  n from 0 to CS_CHANGES_KEPT - 1: a commit, with a mark (authentic.h):
//                                          "<generation> <outcomes before> <outcomes after>\n" and the keys
//                                          of documents "cert/…" and "shared-in/…", each with a line end
//
// An entry is of the same transaction as its commit. A worker writes its commits to the places in turn. Those
// of one generation follow each other without a gap, or it is noticed that one is gone.
#pragma once

#include "certsync/model/entry.h"
#include "certsync/model/state.h"
#include "redis/access.h"

#define CS_CHANGES_KEPT 32

// The key of a place, within its partition.
const char *cs_changes_key(cs_key ret, unsigned place);
// An entry, without its mark.
void cs_changes_encode(struct cs_buf *out, int64_t generation, int64_t from, int64_t to,
                       const struct cs_state *state);

struct cs_changes; // reads; one thread
CS_MUST_USE bool cs_changes_new(const struct cs_redis_access *access, const char *name_space,
                                const struct cs_privkey *service, const char *log_id, struct cs_changes **ret,
                                struct cs_err *err);
void cs_changes_free(struct cs_changes *c);
CS_DEFINE_AUTO(struct cs_changes, cs_changes_free)

// The keys that changed since the generation had `*at` outcomes, each with a NUL behind, some perhaps more than
// once; *at becomes how many it has with them. What is not there, not genuine, or does not follow ends it. So
// whether *at is where the catalog stands says whether these are all. RETRY, CONFIG.
CS_MUST_USE bool cs_changes_since(struct cs_changes *c, int32_t partition, int64_t generation, int64_t *at,
                                  struct cs_buf *keys, struct cs_err *err);
