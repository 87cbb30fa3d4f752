// SPDX-License-Identifier: Apache-2.0
//
// Which documents an event will most likely touch, noted as needed before it is decided, so that one round
// trip loads those of a whole batch. A hint for speed only: what it misses the rules note themselves, what it
// asks for in vain costs one GET.
#pragma once

#include "certsync/model/prepare.h"
#include "certsync/model/state.h"

void cs_prefetch(struct cs_state *state, const struct cs_prepared *p);

// What deciding an event will look up of its sender and account is in the working set, but not in the processor's
// cache: of some hundred senders each comes by once a batch. Two hints fetch it while the events before are decided.
struct cs_ahead {
    struct cs_expected what[8];
    size_t len;
};
void cs_ahead_expect(struct cs_ahead *ret, const struct cs_state *state, const struct cs_prepared *p);
void cs_ahead_fetch(const struct cs_ahead *a, const struct cs_state *state);
