// SPDX-License-Identifier: Apache-2.0
//
// Which documents an event will most likely touch, noted as needed before it is decided, so that one round
// trip loads those of a whole batch. A hint for speed only: what it misses the rules note themselves, what it
// asks for in vain costs one GET.
#pragma once

#include "certsync/model/prepare.h"
#include "certsync/model/state.h"

void cs_prefetch(struct cs_state *state, const struct cs_prepared *p);
