// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "certsync/base/text.h"
#include "commands/agent_commands.h"
#include "event/session.h"

struct api_token {
    bool all_accounts;
};

static const struct cs_opt opts[] = {
    {.name = "all-accounts",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct api_token, all_accounts),
     .text = "For the key of an admin, auditor, custodian or issuer: it speaks for every account."},
};

static int run(const struct cs_cli *cli) {
    const struct api_token *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    const char *token;
    int64_t expires_s;
    char until[CS_TIME_TEXT_SIZE];
    if (!cs_session_open(cli, o->all_accounts ? CS_NEED_KEY : CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err) ||
        !cs_session_client(&s, &err) || !cs_client_token(s.client, o->all_accounts, &token, &expires_s, &err))
        return cs_report_failure(cli, &err);
    cs_time_format(expires_s, until);
    if (s.globals->json)
        cs_report_json(cli, json_pack("{s:s, s:s}", "token", token, "expires", until));
    else
        fprintf(cli->out, "%s\n", token);
    return CS_EXIT_OK;
}

const struct cs_command cs_cmd_api_token = {
    .name = "token",
    .summary = "Print a token for the API, for curl and scripts",
    .description =
        "Signs a token with the host's key and prints it on standard output. It is a secret, and good "
        "for five minutes. What it may see are the rights of the key. (Hosts join with another kind of "
        "token: certsync agent token.)",
    .examples = "curl -H \"Authorization: Bearer $(certsync token)\" "
                "http://127.0.0.1:8080/v1/accounts/acme/certificates\n"
                "certsync --key admin.key token --all-accounts\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct api_token),
    .run = run,
};
