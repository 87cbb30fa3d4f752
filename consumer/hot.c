// SPDX-License-Identifier: Apache-2.0
#include "hot.h"

#include <string.h>

static bool comes_again(const char *key) {
#define KIND(text)                                                                                           \
    { text, sizeof(text) - 1 }
    static const struct {
        const char *text;
        size_t len;
    } kinds[] = {KIND("account/"), KIND("key/"), KIND("trust/"), KIND("stream/"), KIND("system")};
    for (size_t i = 0; i < CS_ARRAY_LEN(kinds); i++)
        if (key[0] == kinds[i].text[0] && strncmp(key, kinds[i].text, kinds[i].len) == 0)
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
