// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/table.h"
#include "session.h"

struct codes {
    bool markdown;
};
static const struct cs_opt opts[] = {
    {.name = "markdown",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct codes, markdown),
     .text = "As a Markdown table."},
};

static int print_json(const struct cs_cli *cli) {
    json_t *list = json_array();
    for (int c = 1; c < CS_CODE_COUNT; c++) {
        enum cs_code code = (enum cs_code)c;
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s}", "code", cs_code_name(code), "by",
                                              cs_code_said_by(code), "sentence", cs_code_sentence(code),
                                              "hint", cs_code_hint(code)));
    }
    cs_report_json(cli, json_pack("{s:O}", "codes", list));
    json_decref(list);
    return CS_EXIT_OK;
}

static int run_codes(const struct cs_cli *cli) {
    const struct codes *o = cli->values;
    const struct cs_globals *g = cli->globals;
    struct cs_err err;
    if (g->json && !o->markdown)
        return print_json(cli);
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, (size_t)1024 * 1024);
    if (o->markdown)
        cs_codes_markdown(&out);
    else
        cs_codes_text(&out);
    if (!cs_buf_ok(&out, &err))
        return cs_report_failure(cli, &err);
    fwrite(out.data, 1, out.len, cli->out);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_codes = {
    .name = "codes",
    .summary = "List all verdict codes: what they mean and what to do",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct codes),
    .run = run_codes,
};

// --- settings ------------------------------------------------------------------------------------

struct settings_options {
    bool markdown;
    bool example;
    bool man;
};
static const struct cs_opt settings_opts[] = {
    {.name = "markdown",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct settings_options, markdown),
     .text = "All settings as a Markdown table."},
    {.name = "example",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct settings_options, example),
     .text = "A settings file with every default commented out."},
    {.name = "man",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct settings_options, man),
     .flags = CS_OPT_HIDDEN,
     .text = "All settings for a manual page."},
};

static int run_settings(const struct cs_cli *cli) {
    const struct settings_options *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, (size_t)1024 * 1024);
    if (o->markdown) {
        cs_settings_markdown(&cs_agent_settings_table, &out);
    } else if (o->example) {
        cs_settings_example(&cs_agent_settings_table, &out);
    } else if (o->man) {
        cs_settings_man(&cs_agent_settings_table, &out);
    } else {
        if (!cs_session_open(cli, 0, &s, &err))
            return cs_report_failure(cli, &err);
        cs_settings_dump(&cs_agent_settings_table, s.settings, &out);
    }
    if (!cs_buf_ok(&out, &err))
        return cs_report_failure(cli, &err);
    fwrite(out.data, 1, out.len, cli->out);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_settings = {
    .name = "settings",
    .summary = "Show the settings in force (secrets masked), or document them all",
    .opts = settings_opts,
    .opt_count = CS_ARRAY_LEN(settings_opts),
    .values_size = sizeof(struct settings_options),
    .run = run_settings,
};

// --- for shells and manual pages -----------------------------------------------------------------

struct completion {
    const char *shell;
};
static const struct cs_arg completion_args[] = {
    {.name = "SHELL", CS_OPT_AT_STR(struct completion, shell), .text = "bash, zsh or fish."},
};

static int run_completion(const struct cs_cli *cli) {
    const struct completion *o = cli->values;
    return cs_cli_run_completion(cli, o->shell, &cs_agent_settings_table);
}

const struct cs_command cs_cmd_completion = {
    .name = "completion",
    .summary = "Print the completion script for a shell",
    .examples = "certsync completion bash > /etc/bash_completion.d/certsync\n",
    .args = completion_args,
    .arg_count = CS_ARRAY_LEN(completion_args),
    .values_size = sizeof(struct completion),
    .run = run_completion,
};

// certsync.1 is made of it.
const struct cs_command cs_cmd_manual = {
    .name = "manual",
    .summary = "Print what the manual page says of the commands",
    .hidden = true,
    .run = cs_cli_run_manual,
};
