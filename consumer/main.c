// SPDX-License-Identifier: Apache-2.0
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/model/codes.h"
#include "certsync/model/key.h"
#include "commands/commands.h"

static const struct cs_opt global_opts[] = {
    {.name = "config",
     .letter = 'c',
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct cs_consumer_globals, config),
     .value_name = "FILE",
     .text = "Settings file; else CERTSYNC_CONFIG, then " CERTSYNC_ETC "/consumer.conf where it exists."},
    {.name = "set",
     .kind = CS_OPT_SET,
     .value_name = "KEY=VALUE",
     .text = "Override one setting, e.g. --set kafka.brokers=host:9092."},
};

static const char description[] =
    "Reads the events of a deployment from Kafka, judges each by the rules, keeps one catalog per account in "
    "Redis, "
    "publishes the outcomes, and serves the catalogs over HTTP.\n\n"
    "Begin with: certsync-consumer settings --example; then init (once, makes the topics), check, run.\n\n"
    "Exit codes: 0 done; 1 failed; 2 usage or settings, or Kafka or Redis are away.";

// Mostly the program is used for `run`, so that word may be left out.
static bool names_no_command(int argc, char **argv) {
    static const char *const with_value[] = {"-c", "--config", "--set"};
    static const char *const answers[] = {"-h", "--help", "--version"};
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            return false;
        for (size_t k = 0; k < CS_ARRAY_LEN(answers); k++)
            if (strcmp(argv[i], answers[k]) == 0)
                return false;
        for (size_t k = 0; k < CS_ARRAY_LEN(with_value); k++)
            if (strcmp(argv[i], with_value[k]) == 0) {
                i++;
                break;
            }
    }
    return true;
}

static const struct cs_cli_codes codes = {cs_codes_text, cs_codes_markdown, cs_codes_json};

int main(int argc, char **argv) {
    // Before anything holds a key. If it fails (memory limits), the service key is in ordinary
    // memory, which is wiped.
    (void)cs_secure_heap_init();
    // A server that closes its connection must not end the program: that is an error of the
    // connection.
    signal(SIGPIPE, SIG_IGN);
    const struct cs_command commands[] = {
        cs_cmd_run,      cs_cmd_notify,         cs_cmd_init,     cs_cmd_check,  cs_cmd_verify,
        cs_cmd_replay,   cs_cmd_diff,           cs_cmd_explain,  cs_cmd_show,   cs_cmd_rejected,
        cs_cmd_rebuild,  cs_cmd_promote,        cs_cmd_snapshot, cs_cmd_export, cs_cmd_import,
        cs_cmd_prove,    cs_cmd_checkpoint_key, cs_cmd_correct,  cs_cmd_codes,  cs_cmd_rules,
        cs_cmd_settings, cs_cmd_completion,     cs_cmd_manual};
    const struct cs_command root = {
        .name = "certsync-consumer",
        .summary = "Judges certificate events and keeps the catalogs",
        .description = description,
        .opts = global_opts,
        .opt_count = CS_ARRAY_LEN(global_opts),
        .values_size = sizeof(struct cs_consumer_globals),
        .commands = commands,
        .command_count = CS_ARRAY_LEN(commands),
        .codes = &codes,
        .settings = &cs_consumer_settings_table,
        .load_settings = cs_consumer_load_settings,
    };
    if (!names_no_command(argc, argv))
        return cs_cli_main(&root, CERTSYNC_VERSION, argc, argv);
    char **with_run = calloc((size_t)argc + 2, sizeof *with_run);
    if (!with_run)
        return CS_EXIT_FAILED;
    with_run[0] = argc > 0 ? argv[0] : (char[]){"certsync-consumer"};
    with_run[1] = (char[]){"run"};
    for (int i = 1; i < argc; i++)
        with_run[i + 1] = argv[i];
    int code = cs_cli_main(&root, CERTSYNC_VERSION, (argc > 0 ? argc : 1) + 1, with_run);
    free(with_run);
    return code;
}
