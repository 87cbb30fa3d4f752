// SPDX-License-Identifier: Apache-2.0
//
// codes, settings, completion, manual: what the tables say; declared in cli.h.
#include <string.h>

#include "cli_internal.h"

struct doc_options {
    bool markdown;
    bool example;
    bool man;
};

static int fail(const struct cs_cli *cli, const struct cs_err *err) {
    if (cli->json)
        cs_cli_put_failure(cli, "{", CS_EXIT_USAGE, err->msg);
    else
        fprintf(cli->err, "%s: %s\n", cli->path, err->msg);
    return CS_EXIT_USAGE;
}

static int print(const struct cs_cli *cli, const struct cs_buf *text) {
    struct cs_err err;
    if (!cs_buf_ok(text, &err))
        return fail(cli, &err);
    cli_write_out(text, cli->out);
    return CS_EXIT_OK;
}

// --- codes ---------------------------------------------------------------------------------------

static int run_codes(const struct cs_cli *cli) {
    const struct doc_options *o = cli->values;
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, CLI_DOC_MAX);
    if (o->markdown)
        cli->root->codes->markdown(&out);
    else if (cli->json)
        cli->root->codes->json(&out);
    else
        cli->root->codes->text(&out);
    return print(cli, &out);
}

static const struct cs_opt codes_opts[] = {
    {.name = "markdown",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct doc_options, markdown),
     .text = "As a Markdown table."},
};

const struct cs_command cs_cmd_codes = {
    .name = "codes",
    .summary = "List all verdict codes: what they mean and what to do",
    .opts = codes_opts,
    .opt_count = CS_ARRAY_LEN(codes_opts),
    .values_size = sizeof(struct doc_options),
    .run = run_codes,
};

// --- settings ------------------------------------------------------------------------------------

static int run_settings(const struct cs_cli *cli) {
    const struct doc_options *o = cli->values;
    const struct cs_settings_table *table = cli->root->settings;
    struct cs_err err;
    void *values;
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, CLI_DOC_MAX);
    if (o->markdown) {
        cs_settings_markdown(table, &out);
    } else if (o->example) {
        cs_settings_example(table, &out);
    } else if (o->man) {
        cs_settings_man(table, &out);
    } else {
        if (!cli->root->load_settings(cli, &values, &err))
            return fail(cli, &err);
        cs_settings_dump(table, values, &out);
        cs_settings_free(table, values);
    }
    return print(cli, &out);
}

static const struct cs_opt settings_opts[] = {
    {.name = "markdown",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct doc_options, markdown),
     .text = "All settings as a Markdown table."},
    {.name = "example",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct doc_options, example),
     .text = "A settings file with every default commented out."},
    {.name = "man",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct doc_options, man),
     .flags = CS_OPT_HIDDEN,
     .text = "All settings for a manual page."},
};

const struct cs_command cs_cmd_settings = {
    .name = "settings",
    .summary = "Show the settings in force (secrets masked), or document them all",
    .opts = settings_opts,
    .opt_count = CS_ARRAY_LEN(settings_opts),
    .values_size = sizeof(struct doc_options),
    .run = run_settings,
};

// --- completion and manual -----------------------------------------------------------------------

struct completion {
    const char *shell;
};

static int run_completion(const struct cs_cli *cli) {
    static const char *const names[] = {
        [CS_SHELL_BASH] = "bash", [CS_SHELL_ZSH] = "zsh", [CS_SHELL_FISH] = "fish"};
    const struct completion *o = cli->values;
    for (size_t i = 0; i < CS_ARRAY_LEN(names); i++) {
        if (strcmp(o->shell, names[i]) == 0) {
            cs_cli_completion(cli->root, (enum cs_shell)i, cli->out);
            return CS_EXIT_OK;
        }
    }
    return cs_cli_usage_error(cli, "there is no completion for \"%s\", only for bash, zsh and fish",
                              o->shell);
}

static const struct cs_arg completion_args[] = {
    {.name = "SHELL", CS_OPT_AT_STR(struct completion, shell), .text = "bash, zsh or fish."},
};

const struct cs_command cs_cmd_completion = {
    .name = "completion",
    .summary = "Print the completion script for a shell",
    .description = "The shell reads it at its start from where it looks for such scripts; bash in "
                   "/etc/bash_completion.d.",
    .args = completion_args,
    .arg_count = CS_ARRAY_LEN(completion_args),
    .values_size = sizeof(struct completion),
    .run = run_completion,
};

static int run_manual(const struct cs_cli *cli) {
    cs_cli_man(cli->root, cli->out);
    return CS_EXIT_OK;
}

// Makes the manual page of the program.
const struct cs_command cs_cmd_manual = {
    .name = "manual",
    .summary = "Print what the manual page says of the commands",
    .hidden = true,
    .run = run_manual,
};
