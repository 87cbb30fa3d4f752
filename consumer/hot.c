// SPDX-License-Identifier: Apache-2.0
#include "hot.h"

#include <string.h>

static bool comes_again(const char *key) {
    static const char *const kinds[] = {"account/", "key/", "trust/", "stream/", "system"};
    for (size_t i = 0; i < CS_ARRAY_LEN(kinds); i++)
        if (strncmp(key, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

void cs_hot_keep(struct cs_state *hot, size_t max_bytes) {
    cs_state_changes_clear(hot);
    cs_state_forget_passing(hot, comes_again);
    if (cs_state_held(hot) > max_bytes)
        cs_state_forget(hot);
}
