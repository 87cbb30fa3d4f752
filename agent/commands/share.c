// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "commands/submit.h"

struct share {
    const char *name;
    const char *to;
};

static const struct cs_opt opts[] = {
    {.name = "to",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct share, to),
     .value_name = "ACCOUNT",
     .flags = CS_OPT_REQUIRED,
     .text = "The other account: of the same verified owner and the same site."},
};
static const struct cs_arg args[] = {
    {.name = "NAME|ID", CS_OPT_AT_STR(struct share, name), .text = "The certificate."},
};

static int run(const struct cs_cli *cli, enum cs_event_type type, const char *verb) {
    const struct share *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_account_valid(o->to, strlen(o->to)))
        return cs_cli_usage_error(cli, "--to: \"%s\" is not an account id", cs_quoted(o->to));
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    if (type == CS_EVENT_CERTIFICATE_SHARE && strcmp(o->to, s.account) == 0) {
        cs_err_reject(&err, CS_CODE_SHARE_SELF);
        return cs_report_failure(cli, &err);
    }
    cs_uuid id;
    if (!cs_session_certificate_id(&s, o->name, NULL, id, &err))
        return cs_report_api_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    struct cs_composed *event;
    if (!cs_compose_event(&compose, type, id, &event, &err))
        return cs_report_failure(cli, &err);
    snprintf(event->event.data.share.to, sizeof event->event.data.share.to, "%s", o->to);
    char what[320];
    snprintf(what, sizeof what, "%s of \"%s\" with %s", verb, cs_shown(o->name), o->to);
    return cs_submit(&s, event, what);
}

static int run_share(const struct cs_cli *cli) {
    return run(cli, CS_EVENT_CERTIFICATE_SHARE, "share");
}

static int run_unshare(const struct cs_cli *cli) {
    return run(cli, CS_EVENT_CERTIFICATE_UNSHARE, "unshare");
}

const struct cs_command cs_cmd_share = {
    .name = "share",
    .summary = "Share an official or test certificate with another account of the same owner",
    .description = "The share is offered to the other account and is in force once that account's side has "
                   "accepted it, which this command waits "
                   "for. New versions of the certificate follow by themselves. Uploaded certificates, and "
                   "such as were shared in, cannot be "
                   "shared.",
    .examples = "certsync share shop --to acme-eu\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct share),
    .run = run_share,
};

const struct cs_command cs_cmd_unshare = {
    .name = "unshare",
    .summary = "End a share",
    .examples = "certsync unshare shop --to acme-eu\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct share),
    .run = run_unshare,
};
