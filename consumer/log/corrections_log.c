// SPDX-License-Identifier: Apache-2.0
#include "log/corrections_log.h"

#include <inttypes.h>

bool cs_corrections_read_log(struct cs_corrections *c, struct cs_log *log, int64_t *ret_others,
                             struct cs_err *ret_why, struct cs_err *err) {
    int64_t low = 0;
    int64_t high = 0;
    int64_t others = 0;
    bool end = log->partitions == 0;
    if (!end && !log->ops->bounds(log, 0, &low, &high, err))
        return false;
    if (low > 0)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "%s begins at offset %" PRId64
                          ": corrections were deleted, and without them nothing can be judged; restore it",
                          log->name, low);
    if (!end && !log->ops->start(log, 0, 0, high, err))
        return false;
    while (!end) {
        struct cs_record r;
        struct cs_err why;
        bool counts = false;
        if (!log->ops->next(log, &r, &end, err))
            return false;
        if (end)
            break;
        if (!cs_corrections_take(c, &r, &counts, &why, err))
            return false;
        if (counts || !why.msg[0])
            continue;
        if (others++ == 0 && ret_why)
            cs_err_set(ret_why, CS_ERR_REJECT, CS_CODE_NONE, "the record at offset %" PRId64 " of %s: %s",
                       r.offset, log->name, why.msg);
    }
    if (ret_others)
        *ret_others = others;
    return true;
}
