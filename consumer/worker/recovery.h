// SPDX-License-Identifier: Apache-2.0
//
// A partition whose catalog is empty, while outcomes of it are published (Redis was emptied, or the catalog
// was damaged), goes on from a snapshot where there is one (snapshot.dir), in place of judging all again.
//
// A snapshot may lie, if somebody with the service key signed it. So one is taken only where at least
// snapshot.checked published outcomes follow it. All that follow are judged and compared before anything is
// published, as always. Where one differs, or the catalog does not fit itself, the snapshot is in doubt:
// the partition begins anew with an older one, or with its first record. Redis holds what it came from, so
// this is so after a crash, too.
#pragma once

#include "worker/partition.h"

// If the stand, which was checked, is of an empty catalog: restores one. own: makes an empty generation that
// nobody else writes. *ret_done: the stand must be loaded again.
CS_MUST_USE bool cs_recovery_restore(const struct cs_worker_context *x, struct cs_partition *p,
                                     bool (*own)(const struct cs_worker_context *x, struct cs_partition *p,
                                                 struct cs_err *err),
                                     bool *ret_done, struct cs_err *err);
// Notes what the catalog came from, before it is looked at.
CS_MUST_USE bool cs_recovery_note(const struct cs_worker_context *x, struct cs_partition *p,
                                  struct cs_err *err);
// Whether an error (FATAL, DAMAGED) may come of a snapshot that is not proven yet. Then it is not taken
// again, and the partition's next start begins with an empty generation.
bool cs_recovery_doubts(const struct cs_worker_context *x, struct cs_partition *p, const struct cs_err *err);
