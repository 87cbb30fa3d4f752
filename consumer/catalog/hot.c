// SPDX-License-Identifier: Apache-2.0
#include "catalog/hot.h"

static bool comes_again(const char *key) {
    for (int kind = CS_KIND_SYSTEM; kind <= CS_KIND_STREAM; kind++)
        if (cs_key_is(key, (enum cs_kind)kind))
            return true;
    return false;
}

bool cs_hot_new(struct cs_state **ret, struct cs_err *err) {
    if (!cs_state_new(false, ret, err))
        return false;
    cs_state_set_stays(*ret, comes_again);
    return true;
}

void cs_hot_keep(struct cs_state *hot, size_t max_bytes) {
    cs_state_changes_clear(hot);
    cs_state_forget_passing(hot);
    if (cs_state_held(hot) > max_bytes)
        cs_state_forget(hot);
}
