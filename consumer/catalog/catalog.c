// SPDX-License-Identifier: Apache-2.0
#include "catalog/catalog.h"

#include <string.h>

#include "certsync/model/rules.h"

#define ATTEMPTS 5

// Another generation may have become live, or a worker may commit just now.
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

bool cs_catalog_check_system(struct cs_bytes doc, const char *log_id, int32_t partitions,
                             struct cs_err *err) {
    struct cs_system system;
    if (!cs_system_decode(doc, &system, err))
        return false;
    if (system.ruleset > CS_RULESET_LATEST)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "the catalog was made with ruleset %lld, this release knows rulesets up to %d: "
                          "upgrade certsync-consumer",
                          (long long)system.ruleset, CS_RULESET_LATEST);
    if (strcmp(system.log_id, log_id) != 0 || system.partitions != partitions)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE,
                          "the catalog belongs to log %s with %d partitions, not to log %s with %d: set "
                          "redis.namespace to another name",
                          system.log_id, (int)system.partitions, log_id, (int)partitions);
    return true;
}
