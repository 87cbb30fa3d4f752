// SPDX-License-Identifier: Apache-2.0
//
// The board as metrics: the state of each partition of this process. Set whenever the metrics are
// asked for.
#pragma once

#include "certsync/runtime/clock.h"
#include "certsync/runtime/metrics.h"
#include "worker/board.h"

struct cs_board_metrics;
// All three outlive it. After it is freed, the registry must not be rendered.
CS_MUST_USE bool cs_board_metrics_new(struct cs_metrics *registry, const struct cs_board *board,
                                      const struct cs_clock *clock, struct cs_board_metrics **ret,
                                      struct cs_err *err);
void cs_board_metrics_free(struct cs_board_metrics *m);
