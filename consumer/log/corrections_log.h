// SPDX-License-Identifier: Apache-2.0
//
// The corrections of a log that is read from end to end (worker/corrections.h).
#pragma once

#include "log/reader.h"
#include "worker/corrections.h"

// Reads the whole log of corrections. *ret_others (may be NULL): how many records count for nothing; err
// of the first of them: *ret_why (may be NULL). Errors of the log; FATAL: records were deleted.
CS_MUST_USE bool cs_corrections_read_log(struct cs_corrections *c, struct cs_log *log, int64_t *ret_others,
                                         struct cs_err *ret_why, struct cs_err *err);
