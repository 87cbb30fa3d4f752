// SPDX-License-Identifier: Apache-2.0
#include "rights.h"

#include <string.h>

bool cs_rights_parse(const struct cs_cli_list *list, unsigned *ret, const char **ret_wrong) {
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
