// SPDX-License-Identifier: Apache-2.0
//
// The subcommands of certsync-consumer, one file each, and what they share.
// Exit codes: 0 done, 1 failed, 2 usage or settings.
#pragma once

#include "certsync/runtime/cli.h"
#include "settings.h"

struct cs_consumer_globals {
    const char *config; // NULL: CERTSYNC_CONFIG, then CERTSYNC_ETC/consumer.conf if it is there
};

#define CS_EXIT_FAILED 1

extern const struct cs_command cs_cmd_run, cs_cmd_init, cs_cmd_check, cs_cmd_rules, cs_cmd_checkpoint_key;
// For operators: they read the log, and write nothing.
extern const struct cs_command cs_cmd_verify, cs_cmd_replay, cs_cmd_diff, cs_cmd_explain, cs_cmd_show,
    cs_cmd_rejected, cs_cmd_prove, cs_cmd_export;
// For operators too: they write catalogs, and publish nothing.
extern const struct cs_command cs_cmd_rebuild, cs_cmd_promote;
// Writes files beside the log.
extern const struct cs_command cs_cmd_snapshot;
// Tells others what happens.
extern const struct cs_command cs_cmd_notify;
// Publishes a correction, signed by root.
extern const struct cs_command cs_cmd_correct;
// Writes new topics.
extern const struct cs_command cs_cmd_import;

// Loads the settings that the command line names. Free with
// cs_settings_free(&cs_consumer_settings_table, …).
CS_MUST_USE bool cs_consumer_settings_load(const struct cs_cli *cli, struct cs_consumer_settings **ret,
                                           struct cs_err *err);
// As the root's load_settings: *ret is the same struct.
CS_MUST_USE bool cs_consumer_load_settings(const struct cs_cli *cli, void **ret, struct cs_err *err);
// Prints "certsync-consumer COMMAND: message" to the error stream, with --json one object. Returns
// the exit code of a command that could not do its work: CS_EXIT_USAGE if the cause is settings, or
// Kafka or Redis being away.
int cs_consumer_failure(const struct cs_cli *cli, const struct cs_err *err);
// The same for a command that has printed a part of its object already; open as in
// cs_cli_put_failure.
int cs_consumer_failure_in(const struct cs_cli *cli, const char *open, const struct cs_err *err);
// Of the daemon: CS_EXIT_USAGE only if a restart is of no use.
int cs_consumer_exit_code(const struct cs_err *err);
// Every batch frees what the last one took. To give it to the kernel in between only costs page
// faults.
void cs_consumer_keep_memory(void);
