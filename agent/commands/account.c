// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "commands/submit.h"
#include "event/deployment_list.h"
#include "event/policy_args.h"

#define NOT_GIVEN (-1)

struct account {
    const char *account;
    int64_t site;
    const char *owner;
    bool verified, unverified;
    int64_t certificates, shares;
#define X(name, at_first, most, text) int64_t name;
    CS_ACCOUNT_COUNTS(X)
#undef X
    int64_t incomplete_chain;
    struct cs_policy_args policy;
};

static const char *const sites[] = {"cn", "intl", NULL};
static const char *const sites_or_same[] = {"same", "cn", "intl", NULL};
static const char *const wildcard_choices[] = {"same", "allow", "reject", NULL};
static const char *const incomplete_choices[] = {"same", "note", "reject", NULL};

// clang-format off
#define COUNT_OPT(option, member, at_first, highest, what) \
    {.name = option, .kind = CS_OPT_INT, CS_OPT_AT_INT(struct account, member), .value_name = "N", .default_text = "-1", \
     .min = NOT_GIVEN, .max = highest, .text = "Limit: most " what " (" at_first " if never said; -1: as it is)."}
#define LIMIT_OPTS \
    {.name = "certificates", .kind = CS_OPT_INT, CS_OPT_AT_INT(struct account, certificates), .value_name = "N", .default_text = "-1", \
     .min = NOT_GIVEN, .max = 1000000, .text = "Limit: most certificates of its own (1000 if never said; -1: as it is)."}, \
    {.name = "shares", .kind = CS_OPT_INT, CS_OPT_AT_INT(struct account, shares), .value_name = "N", .default_text = "-1", \
     .min = NOT_GIVEN, .max = CS_SHARES_MAX, .text = "Limit: most accounts that one certificate is shared with (20 if never said; -1: as it is)."}, \
    COUNT_OPT("requests", requests, "100", 100000, "signing requests"), \
    COUNT_OPT("keys", keys, "10000", 1000000, "enrolled keys, without join tokens"), \
    COUNT_OPT("tokens", tokens, "1000", 100000, "join tokens that are neither revoked nor used up"), \
    COUNT_OPT("shares-out", shares_out, "1000", 100000, "open and pending shares of its certificates in all"), \
    COUNT_OPT("shares-in", shares_in, "1000", 100000, "shares that it has from other accounts"), \
    COUNT_OPT("installations", installations, "100000", 1000000, "hosts that have its certificates, of each certificate by itself"), \
    COUNT_OPT("tags", tags, "10000", 16000000, "tags of its certificates in all"), \
    COUNT_OPT("bytes", bytes, "50000000", 1000000000000, "bytes of its certificates and requests, with chains and sealed keys"), \
    {.name = "incomplete-chain", .kind = CS_OPT_CHOICE, CS_OPT_AT_INT(struct account, incomplete_chain), .value_name = "WHAT", \
     .default_text = "same", .choices = incomplete_choices, \
     .text = "A certificate whose issuer is not in its chain: note it, or reject it (same: as it is; at first, note)."}
#define POLICY_OPTS \
    {.name = "policy-keys", .kind = CS_OPT_LIST, CS_OPT_AT_LIST(struct account, policy.keys), .value_name = "TYPES", \
     .text = "Policy: types of keys, comma-separated: RSA, RSA-3072 (at least so many bits), ECDSA, P-256, P-384, P-521, Ed25519, " \
             "SM2. any: all (so it is if never said)."}, \
    {.name = "policy-days", .kind = CS_OPT_INT, CS_OPT_AT_INT(struct account, policy.days), .value_name = "N", .default_text = "-1", \
     .min = NOT_GIVEN, .max = CS_POLICY_DAYS_MAX, \
     .text = "Policy: how many days a certificate may be valid for (0: any; -1: as it is)."}, \
    {.name = "policy-issuer", .kind = CS_OPT_LIST, CS_OPT_AT_LIST(struct account, policy.issuers), .value_name = "ISSUER", \
     .text = "Policy: an issuer, spki:HEX (SHA-256 of the public key of a CA in the chain) or name:PATTERN (the leaf's issuer, " \
             "which proves nothing); several options for several issuers. any: all."}, \
    {.name = "policy-dns", .kind = CS_OPT_LIST, CS_OPT_AT_LIST(struct account, policy.dns), .value_name = "PATTERNS", \
     .text = "Policy: hosts that certificates may name, comma-separated: www.example.com, *.example.com (one label more), " \
             "**.example.com (one or several), IP:192.0.2.1, IP:*. any: all."}, \
    {.name = "policy-wildcards", .kind = CS_OPT_CHOICE, CS_OPT_AT_INT(struct account, policy.wildcards), .value_name = "WHAT", \
     .default_text = "same", .choices = wildcard_choices, \
     .text = "Policy: wildcard names, allow or reject (same: as it is; at first, allow)."}

static const struct cs_opt register_opts[] = {
    {.name = "site", .kind = CS_OPT_CHOICE, CS_OPT_AT_INT(struct account, site), .value_name = "SITE", .choices = sites,
     .flags = CS_OPT_REQUIRED, .text = "cn or intl."},
    {.name = "owner", .kind = CS_OPT_STRING, CS_OPT_AT_STR(struct account, owner), .value_name = "OWNER", .flags = CS_OPT_REQUIRED,
     .text = "Id of the person or company that the account belongs to."},
    {.name = "verified", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(struct account, verified), .text = "The owner is real-name verified."},
    LIMIT_OPTS,
    POLICY_OPTS,
};
static const struct cs_opt update_opts[] = {
    {.name = "site", .kind = CS_OPT_CHOICE, CS_OPT_AT_INT(struct account, site), .value_name = "SITE", .default_text = "same",
     .choices = sites_or_same, .text = "Move it to cn or intl: ends all its shares."},
    {.name = "owner", .kind = CS_OPT_STRING, CS_OPT_AT_STR(struct account, owner), .value_name = "OWNER",
     .text = "New owner: ends all its shares."},
    {.name = "verified", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(struct account, verified), .text = "The owner is real-name verified now."},
    {.name = "unverified", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(struct account, unverified),
     .text = "The owner is no longer verified: ends all its shares."},
    LIMIT_OPTS,
    POLICY_OPTS,
};
// clang-format on
static const struct cs_arg args[] = {
    {.name = "ACCOUNT",
     CS_OPT_AT_STR(struct account, account),
     .text = "Account id: lower-case letters, digits, '.', '_', '-'."},
};

static void fill(const struct account *o, enum cs_event_type type, struct cs_event_account *to) {
    int64_t site = type == CS_EVENT_ACCOUNT_REGISTER ? o->site + 1 : o->site; // as enum cs_site; 0: the same
    to->has_site = site > 0;
    to->site = (enum cs_site)site;
    to->has_owner = o->owner != NULL;
    if (o->owner)
        snprintf(to->owner, sizeof to->owner, "%s", o->owner);
    to->has_verified = type == CS_EVENT_ACCOUNT_REGISTER || o->verified || o->unverified;
    to->verified = o->verified;
    to->has_certificates = o->certificates >= 0;
    to->limit_certificates = o->certificates;
    to->has_shares = o->shares >= 0;
    to->limit_shares = o->shares;
#define X(name, at_first, most, text)                                                                        \
    to->has_##name = o->name >= 0;                                                                           \
    to->limit_##name = o->name;
    CS_ACCOUNT_COUNTS(X)
#undef X
    to->has_incomplete_chain = o->incomplete_chain > 0;
    to->reject_incomplete_chain = o->incomplete_chain == 2;
}

static bool changes_nothing(const struct cs_event_account *c) {
#define X(name, at_first, most, text) || c->has_##name
    return !(c->has_site || c->has_owner || c->has_verified || c->has_certificates || c->has_shares ||
             c->has_incomplete_chain || c->has_keys_allowed || c->has_days || c->has_issuers || c->has_dns ||
             c->has_wildcards CS_ACCOUNT_COUNTS(X));
#undef X
}

static int run(const struct cs_cli *cli, enum cs_event_type type, const char *verb) {
    const struct account *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_account_valid(o->account, strlen(o->account)))
        return cs_cli_usage_error(cli,
                                  "\"%s\" is not an account id: it begins with a lower-case letter or digit, "
                                  "then also '.', '_' and '-'",
                                  cs_quoted(o->account));
    if (o->owner && !cs_owner_valid(o->owner, strlen(o->owner)))
        return cs_cli_usage_error(
            cli, "--owner: \"%s\" is not an owner id: letters, digits and . _ : @ -, no blanks",
            cs_quoted(o->owner));
    if (o->verified && o->unverified)
        return cs_cli_usage_error(cli, "--verified and --unverified exclude each other");
    struct cs_event_account change = {0};
    fill(o, type, &change);
    int code = cs_policy_args_read(cli, &o->policy, &change);
    if (code != CS_EXIT_OK)
        return code;
    if (changes_nothing(&change))
        return cs_cli_usage_error(cli, "nothing to change was given");
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    compose.account = o->account;
    struct cs_composed *event;
    if (!cs_compose_event(&compose, type, o->account, &event, &err))
        return cs_report_failure(cli, &err);
    event->event.data.account = change;
    char what[120];
    snprintf(what, sizeof what, "%s of account %s", verb, o->account);
    return cs_submit(&s, event, what);
}

static int run_register(const struct cs_cli *cli) {
    return run(cli, CS_EVENT_ACCOUNT_REGISTER, "registration");
}

static int run_update(const struct cs_cli *cli) {
    return run(cli, CS_EVENT_ACCOUNT_UPDATE, "change");
}

static void put_row(struct cs_table *t, const json_t *account) {
    const json_t *limits = json_object_get(account, "limits");
    cs_table_cell(t, cs_member_text(account, "account"));
    cs_table_cell(t, cs_member_text(account, "site"));
    cs_table_cell(t, cs_member_text(account, "owner"));
    cs_table_cell(t, json_is_true(json_object_get(account, "verified")) ? "yes" : "no");
    cs_table_cellf(t, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT,
                   json_integer_value(json_object_get(account, "certificates")),
                   json_integer_value(json_object_get(limits, "certificates")));
    cs_table_cellf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(limits, "shares")));
    cs_table_cell(t, cs_member_text(limits, "incomplete_chain"));
    cs_table_cell(t, json_object_size(json_object_get(account, "policy")) > 0 ? "yes" : "");
}

static int run_list(const struct cs_cli *cli) {
    static const char *const headers[] = {"ACCOUNT",          "SITE",          "OWNER",
                                          "VERIFIED",         ">CERTIFICATES", ">SHARES",
                                          "INCOMPLETE CHAIN", "POLICY",        NULL};
    static const struct cs_deployment_list list = {
        .path = "/v1/accounts", .member = "accounts", .headers = headers, .put_row = put_row};
    return cs_deployment_list_run(cli, &list);
}

// ---- show

struct show {
    const char *account;
};
static const struct cs_arg show_args[] = {
    {.name = "ACCOUNT",
     CS_OPT_AT_STR(struct show, account),
     .optional = true,
     .text = "The account; else the one of the settings."},
};

static void put_count(FILE *out, const json_t *account, const char *member, const char *text) {
    fprintf(out, "%-13s %10" JSON_INTEGER_FORMAT " of %10" JSON_INTEGER_FORMAT "  %s\n", member,
            json_integer_value(json_object_get(account, member)),
            json_integer_value(json_object_get(json_object_get(account, "limits"), member)), text);
}

static void print_account(FILE *out, const json_t *a) {
    static const char *const texts[] = {"account", "site", "owner", "created", "updated"};
    const json_t *limits = json_object_get(a, "limits");
    for (size_t i = 0; i < CS_ARRAY_LEN(texts); i++)
        fprintf(out, "%-13s %s\n", texts[i], cs_told(cs_member_text(a, texts[i])));
    fprintf(out, "%-13s %s\n", "verified", json_is_true(json_object_get(a, "verified")) ? "yes" : "no");
    put_count(out, a, "certificates", "certificates of its own");
#define X(name, at_first, most, text) put_count(out, a, #name, text);
    CS_ACCOUNT_COUNTS(X)
#undef X
    fprintf(out, "%-13s %10s    %10" JSON_INTEGER_FORMAT "  accounts that one certificate is shared with\n",
            "shares", "", json_integer_value(json_object_get(limits, "shares")));
    fprintf(out, "%-13s %s\n", "incomplete chain", cs_told(cs_member_text(limits, "incomplete_chain")));
}

static int run_show(const struct cs_cli *cli) {
    const struct show *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    json_t *account;
    cs_buf_init(&path, 1024);
    if (o->account && !cs_account_valid(o->account, strlen(o->account)))
        return cs_cli_usage_error(cli, "\"%s\" is not an account id", cs_quoted(o->account));
    if (!cs_session_open(cli, CS_NEED_KEY | (o->account ? 0 : CS_NEED_ACCOUNT), &s, &err))
        return cs_report_failure(cli, &err);
    if (o->account)
        s.account = o->account;
    cs_client_put_account(&path, s.account, "");
    if (!cs_buf_ok(&path, &err) || !cs_session_client(&s, &err) ||
        !cs_client_get(s.client, (const char *)path.data, 0, &account, &err))
        return cs_report_api_failure(cli, &err);
    if (s.globals->json) {
        cs_report_json(cli, account);
        return CS_EXIT_OK;
    }
    print_account(cli->out, account);
    json_decref(account);
    return CS_EXIT_OK;
}

static const struct cs_command commands[] = {
    {.name = "list",
     .summary = "List all accounts, with their limits (an admin's or auditor's key)",
     .examples = "certsync account list --key admin.key\n",
     .opts = cs_deployment_opts,
     .opt_count = CS_DEPLOYMENT_OPTS,
     .values_size = sizeof(struct cs_deployment_options),
     .run = run_list},
    {.name = "show",
     .summary = "Show one account: its owner, what it has and may have",
     .examples = "certsync account show\ncertsync --key admin.key account show acme\n",
     .args = show_args,
     .arg_count = CS_ARRAY_LEN(show_args),
     .values_size = sizeof(struct show),
     .run = run_show},
    {.name = "register",
     .summary = "Register an account",
     .examples = "certsync account register acme --site intl --owner acme-ltd --verified --key admin.key\n",
     .opts = register_opts,
     .opt_count = CS_ARRAY_LEN(register_opts),
     .args = args,
     .arg_count = CS_ARRAY_LEN(args),
     .values_size = sizeof(struct account),
     .run = run_register},
    {.name = "update",
     .summary = "Change an account's site, owner, verification, limits or policy",
     .description =
         "A policy is about what comes: what is registered already stays, and may be sent again. Its "
         "next version must fit.",
     .examples = "certsync account update acme --certificates 5000 --key admin.key\n"
                 "certsync account update acme --policy-keys ECDSA --policy-days 100 --policy-dns "
                 "'*.example.com' --key admin.key\n",
     .opts = update_opts,
     .opt_count = CS_ARRAY_LEN(update_opts),
     .args = args,
     .arg_count = CS_ARRAY_LEN(args),
     .values_size = sizeof(struct account),
     .run = run_update},
};

const struct cs_command cs_cmd_account = {
    .name = "account",
    .summary = "Register, change, list and show accounts",
    .commands = commands,
    .command_count = CS_ARRAY_LEN(commands),
};
