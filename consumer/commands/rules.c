// SPDX-License-Identifier: Apache-2.0
//
// rules: prints the rule book from the model's rules_table.h, for people and for
// docs/audit/rules.md.
#include <inttypes.h>

#include "certsync/model/rules.h"
#include "commands/commands.h"

// "since ruleset 1", or where it has ended "in rulesets 1 to 2".
static void put_rulesets(struct cs_buf *out, const struct cs_rule_info *rule) {
    if (rule->last == INT64_MAX)
        cs_buf_printf(out, "since ruleset %" PRId64, rule->since);
    else
        cs_buf_printf(out, "in rulesets %" PRId64 " to %" PRId64, rule->since, rule->last);
}

static void put_rule(struct cs_buf *out, const struct cs_rule_info *rule, const char *types, bool markdown) {
    if (markdown) {
        cs_buf_printf(out, "| %s | ", types);
        cs_buf_put_cell(out, rule->sentence);
        cs_buf_printf(out, " | `%s` | ", cs_code_name(rule->code));
        put_rulesets(out, rule);
        cs_buf_puts(out, " |\n");
    } else {
        cs_buf_printf(out, "%s\n  %s, ", cs_code_name(rule->code), types);
        put_rulesets(out, rule);
        cs_buf_printf(out, "\n  %s\n", rule->sentence);
    }
}

static void put_rules(struct cs_buf *out, bool markdown) {
    CS_AUTO(cs_buf_clear) struct cs_buf types;
    cs_buf_init(&types, (size_t)64 * 1024);
    size_t n = 0;
    const struct cs_rule_info *rules = cs_rules_list(&n);
    if (markdown)
        cs_buf_puts(out, "| event | what must hold | else | when |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        cs_buf_reset(&types);
        cs_rule_types(&rules[i], &types);
        if (types.len == 0)
            continue; // no type names this sender
        cs_buf_putc(&types, '\0');
        put_rule(out, &rules[i], (const char *)types.data, markdown);
    }
}

struct rules_options {
    bool markdown;
};
static const struct cs_opt rules_opts[] = {
    {.name = "markdown",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct rules_options, markdown),
     .text = "As a Markdown table."},
};

static int run_rules(const struct cs_cli *cli) {
    const struct rules_options *o = cli->values;
    CS_AUTO(cs_buf_clear) struct cs_buf out;
    cs_buf_init(&out, (size_t)1024 * 1024);
    put_rules(&out, o->markdown);
    struct cs_err err;
    if (!cs_buf_ok(&out, &err))
        return cs_consumer_failure(cli, &err);
    fwrite(out.data, 1, out.len, cli->out);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_rules = {
    .name = "rules",
    .summary = "List the rules by which events are judged, in their order",
    .opts = rules_opts,
    .opt_count = CS_ARRAY_LEN(rules_opts),
    .values_size = sizeof(struct rules_options),
    .run = run_rules,
};
