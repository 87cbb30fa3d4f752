// SPDX-License-Identifier: Apache-2.0
#include "commands/certificate_submit.h"

struct issue {
    struct cs_certificate_args c;
    int64_t source;
};

static const char *const sources[] = {"official", "test", NULL};
static const struct cs_opt opts[] = {
    {.name = "account",
     .kind = CS_OPT_SETTING,
     .setting = "agent.account",
     .value_name = "ACCOUNT",
     .text = "Account that it is issued to."},
    {.name = "source",
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct issue, source),
     .value_name = "SOURCE",
     .choices = sources,
     .flags = CS_OPT_REQUIRED,
     .text = "official, or test (individual test certificate)."},
    CS_CERTIFICATE_OPTS(struct issue, c),
};
static const struct cs_arg args[] = {
    {.name = "NAME",
     CS_OPT_AT_STR(struct issue, c.name),
     .text = "Name of the certificate in the account's catalog."},
};

static int run(const struct cs_cli *cli) {
    const struct issue *o = cli->values;
    return cs_certificate_submit(cli, &o->c, o->source == 0 ? CS_SOURCE_OFFICIAL : CS_SOURCE_TEST);
}

const struct cs_command cs_cmd_issue = {
    .name = "issue",
    .summary = "Put a certificate of the platform's own CA into an account's catalog (issuer's key)",
    .description = "As upload, but signed by a trusted issuer, and with the source official or test. Only "
                   "such certificates can be shared.",
    .examples = "certsync issue shop --account acme --source official --cert fullchain.pem --key-file "
                "privkey.pem --key issuer.key\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct issue),
    .run = run,
};
