// SPDX-License-Identifier: Apache-2.0
//
// Rights on command lines: comma-separated, or several options.
#pragma once

#include "certsync/model/entry.h"
#include "certsync/runtime/cli.h"

struct cs_rights_args {
    struct cs_cli_list can; // nothing given: all but enroll
    const char *names;
    const char *label;      // may be NULL
    struct cs_cli_list dns; // patterns of hosts; nothing given: all
};
// CS_EXIT_OK, or the exit code of the usage error that was printed. no_enroll: why enroll cannot be
// given.
int cs_rights_read(const struct cs_cli *cli, const struct cs_rights_args *args, const char *no_enroll,
                   unsigned *ret_can, cs_dns_patterns ret_dns);
