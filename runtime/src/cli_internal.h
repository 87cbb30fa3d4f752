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
