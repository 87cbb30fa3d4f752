// SPDX-License-Identifier: Apache-2.0
//
// Which documents an event will most likely touch, noted as needed before it is decided, so that one round
// trip loads those of a whole batch. A hint for speed only: what it misses the rules note themselves, what it
// asks for in vain costs one GET.
#pragma once

#include "certsync/model/prepare.h"
#include "certsync/model/state.h"

// Senders that were seen to already, since most events of a batch come from a few. Zeroed for each round.
#define CS_PREFETCH_SENDERS 64
struct cs_prefetch {
    struct {
        cs_kid kid;
        cs_account_id account;
    } senders[CS_PREFETCH_SENDERS];
};
void cs_prefetch(struct cs_prefetch *round, struct cs_state *state, const struct cs_prepared *p);
