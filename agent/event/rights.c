// SPDX-License-Identifier: Apache-2.0
#include "event/rights.h"

#include <string.h>

#include "event/policy_args.h"
#include "event/session.h"

// False: *ret_wrong is the place of the fault.
static bool parse(const struct cs_cli_list *list, unsigned *ret, const char **ret_wrong) {
    unsigned can = 0;
    for (size_t i = 0; i < list->count; i++) {
        for (const char *p = list->items[i]; *p;) {
            size_t len = strcspn(p, ",");
            unsigned bit;
            if (!cs_can_parse(p, len, &bit)) {
                *ret_wrong = p;
                return false;
            }
            can |= bit;
            p += len + (p[len] == ',');
        }
    }
    *ret = can ? can : CS_CAN_ALL & ~CS_CAN_ENROLL;
    return true;
}

int cs_rights_read(const struct cs_cli *cli, const struct cs_rights_args *args, const char *no_enroll,
                   unsigned *ret_can, cs_dns_patterns ret_dns) {
    const char *wrong;
    if (!parse(&args->can, ret_can, &wrong))
        return cs_cli_usage_error(
            cli, "--can: \"%s\" begins with no right; the rights are upload, delete, share, csr, read",
            cs_shown(wrong));
    if (*ret_can & CS_CAN_ENROLL)
        return cs_cli_usage_error(cli, "--can: %s", no_enroll);
    if (!cs_pattern_valid(args->names, strlen(args->names)))
        return cs_cli_usage_error(cli,
                                  "--names: \"%s\" is not a pattern: letters, digits, '.', '_', '-' and '*'",
                                  cs_quoted(args->names));
    if (args->label && strlen(args->label) > CS_NAME_MAX)
        return cs_cli_usage_error(cli, "--label is longer than %d", CS_NAME_MAX);
    return cs_dns_args_read(cli, "--dns", &args->dns, ret_dns);
}
