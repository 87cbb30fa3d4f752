// SPDX-License-Identifier: Apache-2.0
//
// What of a batch's working set (state.h) is kept for the next batch of the partition: documents of
// accounts and of who signs come again, those of outcomes and certificates seldom do.
#pragma once

#include "certsync/model/state.h"

// A working set that nothing is held of yet.
CS_MUST_USE bool cs_hot_new(struct cs_state **ret, struct cs_err *err);
// After a commit: clears the changes, forgets what seldom comes again, and all where more than
// max_bytes is held (indexes count, too: each account that anything was written of has a few).
void cs_hot_keep(struct cs_state *hot, size_t max_bytes);
