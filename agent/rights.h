// SPDX-License-Identifier: Apache-2.0
//
// Rights as they are given on command lines: comma-separated or several times.
#pragma once

#include "certsync/model/entry.h"
#include "certsync/runtime/cli.h"

// Nothing given: all but enroll. False with the place of the fault.
bool cs_rights_parse(const struct cs_cli_list *list, unsigned *ret, const char **ret_wrong);
