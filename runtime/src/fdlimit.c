// SPDX-License-Identifier: Apache-2.0
#include "certsync/runtime/fdlimit.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "certsync/runtime/log.h"

bool cs_fd_limit_raise(uint64_t needed, const char *what, struct cs_err *err) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the limit of open files cannot be read: %s",
                          strerror(errno));
    rlim_t soft = limit.rlim_cur, hard = limit.rlim_max;
    if (hard < needed)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "this process may have %" PRIu64 " files and sockets open, and needs %" PRIu64
                          " (%s); raise the limit (ulimit -n, LimitNOFILE= of the unit), or ask for less",
                          (uint64_t)hard, needed, what);
    if (soft == hard)
        return true;
    limit.rlim_cur = hard;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) {
        // No process may have more than fs.nr_open. Then what is needed is enough.
        limit.rlim_cur = needed;
        if (soft < needed && setrlimit(RLIMIT_NOFILE, &limit) < 0)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "the limit of open files is %" PRIu64 " and cannot be raised to the %" PRIu64
                              " that are needed (%s): %s; raise it (ulimit -n, LimitNOFILE= of the unit)",
                              (uint64_t)soft, needed, what, strerror(errno));
    }
    if (soft < needed)
        cs_log(CS_LOG_INFO, "the limit of open files was raised",
               "from=%" PRIu64 " to=%" PRIu64 " needed=%" PRIu64, (uint64_t)soft, (uint64_t)limit.rlim_cur,
               needed);
    return true;
}
