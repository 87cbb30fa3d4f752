// SPDX-License-Identifier: Apache-2.0
//
// Lists of what belongs to no account (accounts, trusted keys), for admins and auditors.
#pragma once

#include "certsync/runtime/table.h"
#include "event/session.h"

struct cs_deployment_list {
    const char *path;           // "/v1/trust"
    const char *member;         // of the answer: "trusted"
    const char *const *headers; // as cs_table_new takes them
    void (*put_row)(struct cs_table *t, const json_t *item);
};
// The options of such a command, and its values.
#define CS_DEPLOYMENT_OPTS 1
struct cs_deployment_options {
    bool csv;
};
extern const struct cs_opt cs_deployment_opts[CS_DEPLOYMENT_OPTS];
// Asks for all pages and prints them, as a table or with --json as {"MEMBER":[…]}; the exit code.
int cs_deployment_list_run(const struct cs_cli *cli, const struct cs_deployment_list *list);
