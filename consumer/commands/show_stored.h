// SPDX-License-Identifier: Apache-2.0
//
// show --redis: documents as Redis has them, without packing and marks.
#pragma once

#include "commands/operator.h"

// what: an account, for all of its documents and indexes in the live catalog; or the key of one
// document (entry.h), which is looked for in every partition. Prints it. Values with sealed keys are left
// out. REJECT where there is nothing.
CS_MUST_USE bool cs_show_stored(struct cs_operator *op, const char *what, struct cs_err *err);
