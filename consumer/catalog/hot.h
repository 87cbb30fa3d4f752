// SPDX-License-Identifier: Apache-2.0
//
// The part of a batch's working set (state.h) that is kept for the partition's next batch.
// Documents of accounts and of signers come again, those of outcomes and certificates seldom.
#pragma once

#include "certsync/model/state.h"

// A working set that holds nothing yet.
CS_MUST_USE bool cs_hot_new(struct cs_state **ret, struct cs_err *err);
// After a commit: clears the changes, and forgets what seldom comes again. Forgets all if more than
// max_bytes is held (indexes count, too: each account with writes has a few).
void cs_hot_keep(struct cs_state *hot, size_t max_bytes);
