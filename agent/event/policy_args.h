// SPDX-License-Identifier: Apache-2.0
//
// Policies and patterns of hosts on command lines. Each function answers CS_EXIT_OK, or the exit code of
// the usage error that it printed.
#pragma once

#include "certsync/model/event.h"
#include "certsync/runtime/cli.h"

// --dns: comma-separated, or several options. Upper case becomes lower case. Nothing given: "".
int cs_dns_args_read(const struct cs_cli *cli, const char *option, const struct cs_cli_list *list,
                     cs_dns_patterns ret);

// Of account register and update. Each is left as it is where it is not given; "any" (days: 0) takes the
// demand away.
struct cs_policy_args {
    struct cs_cli_list keys;    // "RSA-3072", "ECDSA", …; comma-separated, or several options
    struct cs_cli_list issuers; // one an option: names hold commas
    struct cs_cli_list dns;
    int64_t days;      // -1: not given
    int64_t wildcards; // 0: not given, 1: allow, 2: reject
};
int cs_policy_args_read(const struct cs_cli *cli, const struct cs_policy_args *args,
                        struct cs_event_account *to);
