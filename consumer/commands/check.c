// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "api/api.h"
#include "commands/commands.h"
#include "worker/keyfile.h"
#include "worker/preflight.h"

// Tries all that a start of `run` needs. What is good here stops no start.
static bool check(const struct cs_consumer_settings *s, struct cs_preflight *ret, bool *ret_in_use,
                  struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
    uint8_t *root = NULL;
    size_t root_len = 0;
    if (!cs_settings_raise_files(s, err) || !cs_api_try(s, ret_in_use, err) || !cs_crypto_new(&crypto, err) ||
        !cs_keyfile_private(crypto, s->service_key, &service, err) ||
        !cs_keyfile_spki(crypto, s->root_key, &root, &root_len, err))
        return false;
    bool ok = cs_preflight(s, (struct cs_bytes){root, root_len}, ret, err);
    free(root);
    return ok;
}

static int run_check(const struct cs_cli *cli) {
    struct cs_consumer_settings *s = NULL;
    struct cs_preflight found;
    bool in_use = false;
    struct cs_err err;
    if (!cs_consumer_settings_load(cli, &s, &err))
        return cs_consumer_failure(cli, &err);
    bool ok = check(s, &found, &in_use, &err);
    if (ok && in_use)
        fprintf(cli->err,
                "note: api.listen: somebody listens on %s. That is right where this consumer runs already. "
                "Otherwise "
                "stop that program (ss -ltnp names it), or set another address: run would not start\n",
                s->api_listen);
    if (ok)
        fprintf(cli->out,
                "settings, keys, the API's files and address, topics %s and %s (%d partitions, log "
                "%s) and Redis are as they "
                "should be\n",
                s->events_topic, s->outcomes_topic, (int)found.partition_count, found.log_id);
    cs_settings_free(&cs_consumer_settings_table, s);
    // Everything that keeps a consumer from starting is told in the same way: correct it, then try
    // again.
    return ok ? CS_EXIT_OK : (cs_consumer_failure(cli, &err), CS_EXIT_USAGE);
}

const struct cs_command cs_cmd_check = {
    .name = "check",
    .summary = "Try all that run needs to start, without judging anything",
    .run = run_check,
};
