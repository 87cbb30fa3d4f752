// SPDX-License-Identifier: Apache-2.0
//
// Who may read a file that holds a secret. One rule for both programs:
//   others      nothing at all
//   the group   never write. It may read if the group is root's, or if root owns the file and the
//               group is one of this process' own. So Kubernetes mounts a Secret (root and the
//               pod's fsGroup, 0440), and so an administrator shares a key with a service that must
//               not change it.
//   the owner   anything
// Names do not count: in a container the user may have none.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "certsync/base/err.h"

// NULL if a process with these groups (effective and supplementary) may use the file. Else what is
// wrong and what to do: a static text that follows "PATH: ".
CS_MUST_USE const char *cs_secret_mode_fault(const struct stat *st, const gid_t *groups, size_t groups_len);
// The same for this process.
CS_MUST_USE const char *cs_secret_mode(const struct stat *st);
