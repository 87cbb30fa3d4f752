// SPDX-License-Identifier: Apache-2.0
#include "commands/commands.h"

#include <malloc.h> // mallopt
#include <stdlib.h>

#define DEFAULT_CONFIG CERTSYNC_ETC "/consumer.conf"

extern char **environ;

bool cs_consumer_load_settings(const struct cs_cli *cli, void **ret, struct cs_err *err) {
    const struct cs_consumer_globals *g = cli->globals;
    const char *file = g->config;
    bool named = file != NULL;
    if (!file && (file = getenv("CERTSYNC_CONFIG")))
        named = true;
    struct cs_settings_source source = {
        .file = file ? file : DEFAULT_CONFIG,
        .file_optional = !named,
        .env = (const char *const *)environ,
        .overrides = cli->overrides,
        .override_count = cli->override_count,
    };
    return cs_settings_load(&cs_consumer_settings_table, &source, ret, err);
}

bool cs_consumer_settings_load(const struct cs_cli *cli, struct cs_consumer_settings **ret,
                               struct cs_err *err) {
    void *values;
    if (!cs_consumer_load_settings(cli, &values, err))
        return false;
    *ret = values;
    return true;
}

int cs_consumer_exit_code(const struct cs_err *err) {
    return err->kind == CS_ERR_CONFIG ? CS_EXIT_USAGE : CS_EXIT_FAILED;
}

int cs_consumer_failure_in(const struct cs_cli *cli, const char *open, const struct cs_err *err) {
    // What could not be checked does not count as a fault.
    int code = err->kind == CS_ERR_RETRY ? CS_EXIT_USAGE : cs_consumer_exit_code(err);
    if (cli->json)
        cs_cli_put_failure(cli, open, code, err->msg);
    else
        fprintf(cli->err, "%s: %s\n", cli->path, err->msg);
    return code;
}

int cs_consumer_failure(const struct cs_cli *cli, const struct cs_err *err) {
    return cs_consumer_failure_in(cli, "{", err);
}

void cs_consumer_keep_memory(void) {
#ifdef __GLIBC__
    mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
    mallopt(M_MMAP_THRESHOLD, 8 * 1024 * 1024);
    mallopt(M_TOP_PAD, 1024 * 1024);
#endif
}
