// SPDX-License-Identifier: Apache-2.0
//
// Command lines: one tree of commands with their options and arguments drives parsing, --help,
// usage errors, shell completion, the manual page and the Markdown reference.
//
//     certsync [global options] COMMAND [SUBCOMMAND] [options] ARGUMENTS
//
// Accepted forms: --name value, --name=value, -n value, -nvalue, -abc for flags, -- ends options.
// Options and arguments may be mixed. Options of the root are global: they may stand anywhere. Long
// names are matched exactly. Each command may be asked for --help (-h); the root also knows
// --version and "help COMMAND".
//
// Values go to structs of the caller by offset, as with settings. The root's options go to one
// struct ("globals"), those of the chosen command to another ("values"). Commands between have no
// options of their own.
//   FLAG    bool                               STRING, PATH  const char * (borrowed from argv)
//   INT     int64_t with min and max           CHOICE        int64_t, index in choices
//   LIST    struct cs_cli_list, repeatable     DURATION      int64_t, ms, as in settings (10s)
//   SETTING no member: becomes an override of the setting that is named
//   SET     no member: "key=value", repeatable, becomes an override
// Defaults of INT, CHOICE, DURATION and STRING are given as text (NULL: 0 or NULL pointer).
//
// Usage errors go to err_stream. They name the option and the nearest known one; the exit code is
// CS_EXIT_USAGE. With "--json" on the line, they are one JSON object on out_stream instead:
// {"status":"error","message","exit"}. Help goes to out_stream. Nothing here is thread-safe,
// nothing is global.
#pragma once

#include <stdio.h>

#include "certsync/base/buf.h"
#include "certsync/runtime/settings.h"

#define CS_EXIT_OK     0
#define CS_EXIT_USAGE  2
#define CS_EXIT_OUTPUT 6 // done, but what it printed could not be written

enum cs_opt_kind {
    CS_OPT_FLAG,
    CS_OPT_STRING,
    CS_OPT_PATH, // as STRING; completion offers files
    CS_OPT_INT,
    CS_OPT_CHOICE,
    CS_OPT_DURATION,
    CS_OPT_LIST,
    CS_OPT_SETTING,
    CS_OPT_SET,
};
enum cs_opt_flags { CS_OPT_REQUIRED = 1, CS_OPT_HIDDEN = 2 };

struct cs_cli_list {
    const char **items; // borrowed from argv; the array belongs to the struct cs_cli
    size_t count;
};

struct cs_opt {
    const char *name; // "replace" for --replace
    char letter;      // 0: none
    enum cs_opt_kind kind;
    size_t offset;
    const char *value_name; // "FILE"; NULL for flags
    const char *default_text;
    int64_t min, max; // INT; DURATION in ms; both 0: any non-negative number
    const char *const *choices;
    const char *setting; // SETTING: key in the settings table
    unsigned flags;
    const char *text; // one sentence
};
// offset with a check of the member's type: {.name = "key", .kind = CS_OPT_PATH,
// CS_OPT_AT_STR(struct upload, key), ...}
#define CS_OPT_AT_FLAG(S, m) .offset = CS_SETTING_AT_(S, m, bool)
#define CS_OPT_AT_STR(S, m)  .offset = CS_SETTING_AT_(S, m, const char *)
#define CS_OPT_AT_INT(S, m)  .offset = CS_SETTING_AT_(S, m, int64_t) // INT, CHOICE, DURATION
#define CS_OPT_AT_LIST(S, m) .offset = CS_SETTING_AT_(S, m, struct cs_cli_list)

struct cs_arg {
    const char *name; // "FILE"
    size_t offset;    // const char *, or struct cs_cli_list if repeated
    bool optional;
    bool repeated; // only the last argument; at least one unless optional
    bool path;     // completion offers files
    const char *text;
};

// The table of codes is the program's.
struct cs_cli_codes {
    void (*text)(struct cs_buf *out), (*markdown)(struct cs_buf *out), (*json)(struct cs_buf *out);
};

struct cs_cli;
struct cs_command {
    const char *name;        // "upload"
    const char *summary;     // one line, for lists
    const char *description; // paragraphs for --help; may be NULL
    const char *examples;    // lines; may be NULL
    const struct cs_opt *opts;
    size_t opt_count;
    const struct cs_arg *args;
    size_t arg_count;
    size_t values_size;                // of the struct that offsets refer to
    const struct cs_command *commands; // nested: then no args; run is for no subcommand, or NULL
    size_t command_count;
    bool hidden;
    int (*run)(const struct cs_cli *cli); // returns the exit code
    // Of the root alone: what `codes` prints.
    const struct cs_cli_codes *codes;
    // Of the root alone, for the commands below that print settings: the table, and a function that
    // loads the values in force for this command line (free with cs_settings_free).
    const struct cs_settings_table *settings;
    bool (*load_settings)(const struct cs_cli *cli, void **ret_values, struct cs_err *err);
};

struct cs_cli {
    const struct cs_command *root;
    const struct cs_command *command;
    char path[128];                               // "certsync trust add"
    const void *globals;                          // root's options
    const void *values;                           // command's options and arguments
    const struct cs_settings_override *overrides; // of SETTING and SET options, in order
    size_t override_count;
    bool json; // --json was given
    FILE *out; // as given to cs_cli_parse; of cs_cli_main, streams of terminal.h
    FILE *err;
    FILE *screen; // standard error itself, for what moves the cursor; NULL but in cs_cli_main
    void *private_;
};

enum cs_cli_result {
    CS_CLI_RUN,   // *ret_cli is set; call cli->command->run(cli)
    CS_CLI_DONE,  // help or version was printed: exit 0
    CS_CLI_USAGE, // the error was printed: exit CS_EXIT_USAGE
};
// argv must outlive *ret_cli. Out of memory aborts (programs that have just started).
enum cs_cli_result cs_cli_parse(const struct cs_command *root, const char *version, int argc, char **argv,
                                FILE *out, FILE *err_stream, struct cs_cli **ret_cli);
void cs_cli_free(struct cs_cli *cli);
CS_DEFINE_AUTO(struct cs_cli, cs_cli_free)
// Parse, run, free; returns the exit code. Flushes standard output. If that fails (disk full,
// closed pipe), CS_EXIT_OK becomes CS_EXIT_OUTPUT.
int cs_cli_main(const struct cs_command *root, const char *version, int argc, char **argv);
// For checks that only the command can do: prints "PATH: message" and where to find help. Returns
// CS_EXIT_USAGE.
int cs_cli_usage_error(const struct cs_cli *cli, const char *fmt, ...) CS_PRINTF(2, 3);
// How a command fails with --json: {"status":"error","message","exit"} and a line end on cli->out.
// open is "{". If members were printed already, it is their end, and the same object goes on: "],".
void cs_cli_put_failure(const struct cs_cli *cli, const char *open, int exit_code, const char *message);

// Commands that every program has. They print the tables, for people, shells, manual pages and
// documents.
extern const struct cs_command cs_cmd_codes, cs_cmd_settings, cs_cmd_completion, cs_cmd_manual;

// Documentation, all from the tree. Completion of SET options knows the keys of the root's
// settings.
enum cs_shell { CS_SHELL_BASH, CS_SHELL_ZSH, CS_SHELL_FISH };
void cs_cli_completion(const struct cs_command *root, enum cs_shell shell, FILE *out);
// The manual page's sections from NAME to OPTIONS. The caller writes its title line, and the rest.
void cs_cli_man(const struct cs_command *root, FILE *out);
void cs_cli_markdown(const struct cs_command *root, FILE *out);
// Fails, with the fault in err, if the tree itself is wrong: an option twice, a sentence missing,
// arguments after a repeated one... For a unit test of each program.
CS_MUST_USE bool cs_cli_check(const struct cs_command *root, struct cs_err *err);
