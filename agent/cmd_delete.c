// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "submit.h"

struct del {
    const char *name;
    bool cascade;
    const char *from;
};

static const struct cs_opt opts[] = {
    {.name = "cascade",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct del, cascade),
     .text = "Also if it is shared: all its shares end."},
    {.name = "from",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct del, from),
     .value_name = "ACCOUNT",
     .text = "Remove what this account shared in, instead of an own certificate."},
};
static const struct cs_arg args[] = {
    {.name = "NAME|ID", CS_OPT_AT_STR(struct del, name), .text = "The certificate."},
};

static int run(const struct cs_cli *cli) {
    const struct del *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (o->from && !cs_account_valid(o->from, strlen(o->from)))
        return cs_cli_usage_error(cli, "--from: \"%s\" is not an account id", cs_quoted(o->from));
    if (o->from && o->cascade)
        return cs_cli_usage_error(cli, "--cascade is for own certificates, not with --from");
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    cs_uuid id;
    if (!cs_session_certificate_id(&s, o->name, o->from, id, &err))
        return cs_report_api_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    struct cs_composed *event;
    if (!cs_compose_event(&compose, CS_EVENT_CERTIFICATE_DELETE, id, &event, &err))
        return cs_report_failure(cli, &err);
    event->event.data.del.cascade = o->cascade;
    snprintf(event->event.data.del.from, sizeof event->event.data.del.from, "%s", o->from ? o->from : "");
    char what[220];
    snprintf(what, sizeof what, "delete of \"%s\"", cs_shown(o->name));
    return cs_submit(&s, event, what);
}

const struct cs_command cs_cmd_delete = {
    .name = "delete",
    .summary = "Delete a certificate from the catalog for ever",
    .description = "Final: the sealed key goes with it. The certificate itself stays valid until it expires "
                   "or its CA revokes it.",
    .examples = "certsync delete www\ncertsync delete shop --cascade\ncertsync delete shop --from acme\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct del),
    .run = run,
};
