// SPDX-License-Identifier: Apache-2.0
//
// codes, settings: what the tables say, for people and for the README.
#include "certsync/model/codes.h"
#include "commands.h"

struct doc_options {
    bool markdown;
    bool example;
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
