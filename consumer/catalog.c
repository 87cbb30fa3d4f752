// SPDX-License-Identifier: Apache-2.0
#include "catalog.h"

#define ATTEMPTS 5

// Another generation may have become the live one, or a worker may commit just now.
bool cs_catalog_load(struct cs_catalog *c, int32_t partition, struct cs_state *state, struct cs_position *ret,
                     struct cs_err *err) {
    for (int i = 0; i < ATTEMPTS; i++) {
        bool moved = false;
        if (!c->ops->load_begin(c, partition, state, err) || !c->ops->load_end(c, ret, &moved, err))
            return false;
        c->ops->cancel(c);
        if (!moved)
            return true;
    }
    return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "the position of partition %d moved while it was read",
                      (int)partition);
}
