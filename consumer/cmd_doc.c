// SPDX-License-Identifier: Apache-2.0
//
// codes, settings, completion, manual: what the tables say, for people, shells, manual pages and the README.
#include "certsync/model/codes.h"
#include "commands.h"

struct doc_options {
    bool markdown;
    bool example;
    bool man;
};
static const struct cs_opt codes_opts[] = {
    {.name = "markdown",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct doc_options, markdown),
     .text = "As a Markdown table."},
};

static int run_codes(const struct cs_cli *cli) {
    const struct doc_options *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, (size_t)1024 * 1024);
    if (o->markdown)
        cs_codes_markdown(&out);
    else
        cs_codes_text(&out);
    if (!cs_buf_ok(&out, &err))
        return cs_consumer_failure(cli, &err);
    fwrite(out.data, 1, out.len, cli->out);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_codes = {
    .name = "codes",
    .summary = "List all verdict codes: what they mean and what to do",
    .opts = codes_opts,
    .opt_count = CS_ARRAY_LEN(codes_opts),
    .values_size = sizeof(struct doc_options),
    .run = run_codes,
};

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

static int run_settings(const struct cs_cli *cli) {
    const struct doc_options *o = cli->values;
    struct cs_consumer_settings *s = NULL;
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, (size_t)1024 * 1024);
    if (o->markdown) {
        cs_settings_markdown(&cs_consumer_settings_table, &out);
    } else if (o->example) {
        cs_settings_example(&cs_consumer_settings_table, &out);
    } else if (o->man) {
        cs_settings_man(&cs_consumer_settings_table, &out);
    } else {
        if (!cs_consumer_settings_load(cli, &s, &err))
            return cs_consumer_failure(cli, &err);
        cs_settings_dump(&cs_consumer_settings_table, s, &out);
        cs_settings_free(&cs_consumer_settings_table, s);
    }
    if (!cs_buf_ok(&out, &err))
        return cs_consumer_failure(cli, &err);
    fwrite(out.data, 1, out.len, cli->out);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_settings = {
    .name = "settings",
    .summary = "Show the settings in force (secrets masked), or document them all",
    .opts = settings_opts,
    .opt_count = CS_ARRAY_LEN(settings_opts),
    .values_size = sizeof(struct doc_options),
    .run = run_settings,
};

struct completion {
    const char *shell;
};
static const struct cs_arg completion_args[] = {
    {.name = "SHELL", CS_OPT_AT_STR(struct completion, shell), .text = "bash, zsh or fish."},
};

static int run_completion(const struct cs_cli *cli) {
    const struct completion *o = cli->values;
    return cs_cli_run_completion(cli, o->shell, &cs_consumer_settings_table);
}

const struct cs_command cs_cmd_completion = {
    .name = "completion",
    .summary = "Print the completion script for a shell",
    .args = completion_args,
    .arg_count = CS_ARRAY_LEN(completion_args),
    .values_size = sizeof(struct completion),
    .run = run_completion,
};

// certsync-consumer.8 is made of it.
const struct cs_command cs_cmd_manual = {
    .name = "manual",
    .summary = "Print what the manual page says of the commands",
    .hidden = true,
    .run = cs_cli_run_manual,
};
