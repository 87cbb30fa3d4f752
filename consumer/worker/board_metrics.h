// SPDX-License-Identifier: Apache-2.0
//
// The board as metrics: how each partition of this process stands. Set whenever the metrics are
// asked for.
#pragma once

#include "certsync/runtime/clock.h"
#include "certsync/runtime/metrics.h"
#include "worker/board.h"

struct cs_board_metrics;
// All three outlive it, and the registry is not rendered any more once it is freed.
CS_MUST_USE bool cs_board_metrics_new(struct cs_metrics *registry, const struct cs_board *board,
                                      const struct cs_clock *clock, struct cs_board_metrics **ret,
                                      struct cs_err *err);
void cs_board_metrics_free(struct cs_board_metrics *m);
