// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "commands/submit.h"
#include "event/deployment_list.h"

struct trust {
    int64_t role;
    const char *key;
    const char *label;
    const char *kid;
};

static const char *const roles[] = {"admin",   "issuer",    "service",
                                    "auditor", "custodian", NULL}; // order of enum cs_trust_role

#define ROLE_OPT                                                                                             \
    {                                                                                                        \
        .name = "role", .kind = CS_OPT_CHOICE, CS_OPT_AT_INT(struct trust, role), .value_name = "ROLE",      \
        .choices = roles, .flags = CS_OPT_REQUIRED, .text = "admin, issuer, service, auditor or custodian."  \
    }

static const struct cs_opt add_opts[] = {
    ROLE_OPT,
    {.name = "key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct trust, key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "The public key to trust (PEM). The root's own key is agent.key of the settings, or --key "
             "before the command."},
    {.name = "label",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct trust, label),
     .value_name = "TEXT",
     .text = "For people: whose key it is."},
};
static const struct cs_opt remove_opts[] = {ROLE_OPT};
static const struct cs_arg remove_args[] = {
    {.name = "KID",
     CS_OPT_AT_STR(struct trust, kid),
     .text = "Id of the key, as certsync key id FILE prints it."},
};

static int submit(struct cs_session *s, const struct trust *o, struct cs_composed *event, const char *verb) {
    event->event.data.trust.role = (enum cs_trust_role)(o->role + 1);
    snprintf(event->event.data.trust.label, sizeof event->event.data.trust.label, "%s",
             o->label ? o->label : "");
    char what[160];
    snprintf(what, sizeof what, "%s of key %s as %s", verb, event->event.subject, roles[o->role]);
    return cs_submit(s, event, what);
}

static int run_add(const struct cs_cli *cli) {
    const struct trust *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    struct cs_composed *event;
    if (o->label && strlen(o->label) > CS_NAME_MAX)
        return cs_cli_usage_error(cli, "--label is longer than %d", CS_NAME_MAX);
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    compose.account = "";
    if (!cs_input_read(o->key, CS_INPUT_STDIN, &in, &err) ||
        !cs_compose_public_key(&compose, CS_EVENT_TRUST_ADD, &(struct cs_source_text){in.label, in.bytes},
                               &event, &err))
        return cs_report_failure(cli, &err);
    return submit(&s, o, event, "trust");
}

static int run_remove(const struct cs_cli *cli) {
    const struct trust *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    struct cs_composed *event;
    if (!cs_kid_valid(o->kid, strlen(o->kid)))
        return cs_cli_usage_error(
            cli, "\"%s\" is not a key id: %d hexadecimal digits, as certsync key id FILE prints",
            cs_quoted(o->kid), CS_KID_LEN);
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    compose.account = "";
    if (!cs_compose_event(&compose, CS_EVENT_TRUST_REMOVE, o->kid, &event, &err))
        return cs_report_failure(cli, &err);
    return submit(&s, o, event, "end of trust");
}

static void put_row(struct cs_table *t, const json_t *key) {
    const char *removed = cs_member_text(key, "removed");
    cs_table_cell(t, cs_member_text(key, "role"));
    cs_table_cell(t, cs_member_text(key, "kid"));
    cs_table_cell(t, cs_member_text(key, "state"));
    cs_table_cell(t, cs_member_text(key, "label"));
    cs_table_cell(t, removed[0] ? removed : cs_member_text(key, "added"));
}

static int run_list(const struct cs_cli *cli) {
    static const char *const headers[] = {"ROLE", "KEY", "STATE", "LABEL", "SINCE", NULL};
    static const struct cs_deployment_list list = {
        .path = "/v1/trust", .member = "trusted", .headers = headers, .put_row = put_row};
    return cs_deployment_list_run(cli, &list);
}

static const struct cs_command commands[] = {
    {.name = "list",
     .summary = "List the keys that are or were trusted (an admin's or auditor's key)",
     .examples = "certsync --key admin.key trust list\n",
     .opts = cs_deployment_opts,
     .opt_count = CS_DEPLOYMENT_OPTS,
     .values_size = sizeof(struct cs_deployment_options),
     .run = run_list},
    {.name = "add",
     .summary = "Trust a key in a role",
     .examples = "certsync --key root.key trust add --role admin --key admin.key.pub\n",
     .opts = add_opts,
     .opt_count = CS_ARRAY_LEN(add_opts),
     .values_size = sizeof(struct trust),
     .run = run_add},
    {.name = "remove",
     .summary = "End the trust in a key; it never comes back",
     .examples = "certsync --key root.key trust remove --role issuer 3f0c…\n",
     .opts = remove_opts,
     .opt_count = CS_ARRAY_LEN(remove_opts),
     .args = remove_args,
     .arg_count = CS_ARRAY_LEN(remove_args),
     .values_size = sizeof(struct trust),
     .run = run_remove},
};

const struct cs_command cs_cmd_trust = {
    .name = "trust",
    .summary = "Say which keys are admin, issuer, auditor, custodian (root's key), and list them",
    .description = "The event goes to every partition. Its outcome is read from Kafka itself, as it belongs "
                   "to no account.",
    .commands = commands,
    .command_count = CS_ARRAY_LEN(commands),
};
