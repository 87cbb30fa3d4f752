// SPDX-License-Identifier: Apache-2.0
//
// How many files and sockets the process may have open (RLIMIT_NOFILE). A daemon without free ones
// stays up and answers nobody. So the limit is checked at the start.
#pragma once

#include "certsync/base/err.h"

// Raises the soft limit to the hard one, and logs that if it was below `needed`. CONFIG if the hard
// limit is below it, too. The message names both numbers, and `what`: the settings that need so
// many.
CS_MUST_USE bool cs_fd_limit_raise(uint64_t needed, const char *what, struct cs_err *err);
