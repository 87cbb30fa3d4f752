// SPDX-License-Identifier: Apache-2.0
//
// Shared by the parser and the printer of command lines.
#pragma once

#include "certsync/runtime/cli.h"

// "certsync trust add [options] KID": the synopsis of a command whose full path is given.
void cli_put_synopsis(const struct cs_command *cmd, const char *path, struct cs_buf *out);
void cli_put_help(const struct cs_command *root, const struct cs_command *cmd, const char *path,
                  struct cs_buf *out);
// "--key FILE" or "-k, --key FILE".
void cli_put_option(const struct cs_opt *opt, struct cs_buf *out);

#define CLI_PATH_MAX 128
#define CLI_DOC_MAX  ((size_t)1024 * 1024)

// Calls fn for the command and all below it that are not hidden, with its full path, parents first.
typedef void (*cli_visit_fn)(const struct cs_command *cmd, const char *path, struct cs_buf *out);
void cli_each_command(const struct cs_command *cmd, const char *path, cli_visit_fn fn, struct cs_buf *out);
// A path without the program's name: " trust add", "" for the root.
const char *cli_below(const char *path);
void cli_write_out(const struct cs_buf *b, FILE *out);
