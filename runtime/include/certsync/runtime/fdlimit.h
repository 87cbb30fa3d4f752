// SPDX-License-Identifier: Apache-2.0
//
// How many files and sockets the process may have open (RLIMIT_NOFILE). A daemon that runs out of
// them stays up and answers nobody, so it looks at its start.
#pragma once

#include "certsync/base/err.h"

// Raises the soft limit to the hard one, and logs that where it was below `needed`. CONFIG where
// the hard one is below it, too: the message names both numbers, and `what`, the settings that it
// follows from.
CS_MUST_USE bool cs_fd_limit_raise(uint64_t needed, const char *what, struct cs_err *err);
