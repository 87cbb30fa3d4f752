// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/log.h"
#include "commands/agent_commands.h"
#include "commands/submit.h"
#include "event/rights.h"

struct agent {
    const char *public_key;
    struct cs_rights_args rights;
    const char *kid;
    const char *reason;
};

#define ACCOUNT_OPT                                                                                          \
    {                                                                                                        \
        .name = "account", .kind = CS_OPT_SETTING, .setting = "agent.account", .value_name = "ACCOUNT",      \
        .text = "The account."                                                                               \
    }

static const struct cs_opt enroll_opts[] = {
    ACCOUNT_OPT,
    {.name = "public-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct agent, public_key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "The host's public key (PEM), made there by: certsync keygen."},
    {.name = "can",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct agent, rights.can),
     .value_name = "RIGHTS",
     .text = "Rights, comma-separated or several times: upload, delete, share, csr, read (all five if not "
             "given)."},
    {.name = "names",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct agent, rights.names),
     .value_name = "PATTERN",
     .default_text = "*",
     .text = "Names of certificates that it may touch; '*' stands for any characters."},
    {.name = "dns",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct agent, rights.dns),
     .value_name = "PATTERNS",
     .text =
         "Hosts that its certificates and requests may name, comma-separated: www.example.com, *.example.com "
         "(one label more), **.example.com (one or several), IP:192.0.2.1, IP:* (all if not given)."},
    {.name = "label",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct agent, rights.label),
     .value_name = "TEXT",
     .text = "For people: the host's name."},
};
static const struct cs_opt revoke_opts[] = {
    ACCOUNT_OPT,
    {.name = "reason",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct agent, reason),
     .value_name = "TEXT",
     .text = "For people: why."},
};
static const struct cs_arg revoke_args[] = {
    {.name = "KID",
     CS_OPT_AT_STR(struct agent, kid),
     .text = "Id of the key, as keygen and key id print it."},
};

static int enroll(struct cs_session *s, const struct agent *o, unsigned can, const char *dns) {
    struct cs_err err;
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    struct cs_composed *event;
    struct cs_compose compose = cs_session_compose(s);
    if (!cs_input_read(o->public_key, CS_INPUT_STDIN, &in, &err) ||
        !cs_compose_public_key(&compose, CS_EVENT_AGENT_ENROLL, &(struct cs_source_text){in.label, in.bytes},
                               &event, &err))
        return cs_report_failure(s->cli, &err);
    struct cs_event_enroll *to = &event->event.data.enroll;
    to->can = can;
    snprintf(to->names, sizeof to->names, "%s", o->rights.names);
    snprintf(to->dns, sizeof to->dns, "%s", dns);
    snprintf(to->label, sizeof to->label, "%s", o->rights.label ? o->rights.label : "");
    char what[160];
    snprintf(what, sizeof what, "enrolment of key %s in %s", event->event.subject, s->account);
    return cs_submit(s, event, what);
}

static int run_enroll(const struct cs_cli *cli) {
    const struct agent *o = cli->values;
    struct cs_err err;
    unsigned can;
    cs_dns_patterns dns;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    int code = cs_rights_read(cli, &o->rights, "the right enroll belongs to join tokens only", &can, dns);
    if (code != CS_EXIT_OK)
        return code;
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    return enroll(&s, o, can, dns);
}

static const json_t *key_of(const json_t *all, const char *kid) {
    size_t i;
    const json_t *key;
    json_array_foreach(all, i, key) if (strcmp(cs_member_text(key, "kid"), kid) == 0) return key;
    return NULL;
}

// The token enrolled the first key of a line. The key in use is the last one of that line.
static const json_t *living_end(const json_t *all, const json_t *key) {
    for (size_t i = 0; key && i <= json_array_size(all); i++) {
        const char *next = cs_member_text(key, "rotated_to");
        if (!next[0])
            return strcmp(cs_member_text(key, "state"), "enrolled") == 0 ? key : NULL;
        key = key_of(all, next);
    }
    return NULL;
}

// Keys that a revoked join token let in stay. A person who revokes a leaked token must see them.
static void tell_enrolled_by(struct cs_session *s, const char *kid) {
    struct cs_err err;
    size_t i;
    const json_t *key;
    json_t *all = json_array();
    if (!cs_agents_get(s, all, &err))
        cs_log_err(CS_LOG_WARN, "the keys that it enrolled cannot be listed", &err, "kid=%s", kid);
    json_array_foreach(all, i, key) {
        const json_t *end =
            strcmp(cs_member_text(key, "enrolled_by"), kid) == 0 ? living_end(all, key) : NULL;
        if (end)
            fprintf(s->cli->out, "  it enrolled, and still lives: %s (%s, since %s)\n",
                    cs_member_text(end, "kid"), cs_told(cs_member_text(end, "label")),
                    cs_member_text(key, "enrolled"));
    }
    json_decref(all);
}

static int run_revoke(const struct cs_cli *cli) {
    const struct agent *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_kid_valid(o->kid, strlen(o->kid)))
        return cs_cli_usage_error(
            cli, "\"%s\" is not a key id: %d hexadecimal digits, as certsync key id FILE prints",
            cs_quoted(o->kid), CS_KID_LEN);
    if (o->reason && strlen(o->reason) > CS_NAME_MAX)
        return cs_cli_usage_error(cli, "--reason is longer than %d", CS_NAME_MAX);
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    struct cs_compose compose = cs_session_compose(&s);
    struct cs_composed *event;
    if (!cs_compose_event(&compose, CS_EVENT_AGENT_REVOKE, o->kid, &event, &err))
        return cs_report_failure(cli, &err);
    snprintf(event->event.data.revoke.reason, sizeof event->event.data.revoke.reason, "%s",
             o->reason ? o->reason : "");
    char what[160];
    snprintf(what, sizeof what, "revocation of key %s in %s", o->kid, s.account);
    int code = cs_submit(&s, event, what);
    bool known = code == CS_EXIT_OK && !s.globals->dry_run && !s.globals->no_wait;
    if (known && !s.globals->json && !s.globals->quiet)
        tell_enrolled_by(&s, o->kid);
    return code;
}

static const struct cs_command commands[] = {
    {.name = "enroll",
     .summary = "Admit a host's key to an account",
     .examples = "certsync agent enroll --account acme --public-key web1.key.pub --can upload,read --names "
                 "'www.*' --label web1 --key admin.key\n"
                 "certsync agent enroll --account acme --public-key web1.key.pub --dns "
                 "web1.example.com,'*.web1.example.com' --key admin.key\n",
     .opts = enroll_opts,
     .opt_count = CS_ARRAY_LEN(enroll_opts),
     .values_size = sizeof(struct agent),
     .run = run_enroll},
    {.name = "revoke",
     .summary = "Revoke a host's key; it never comes back",
     .description = "Where the key was rotated, the key that lives now ends with it; the answer names both. "
                    "Keys that a join token enrolled stay: those that still live are listed.",
     .examples = "certsync agent revoke --account acme 3f0c… --reason 'host was stolen' --key admin.key\n",
     .opts = revoke_opts,
     .opt_count = CS_ARRAY_LEN(revoke_opts),
     .args = revoke_args,
     .arg_count = CS_ARRAY_LEN(revoke_args),
     .values_size = sizeof(struct agent),
     .run = run_revoke},
};

const struct cs_command cs_cmd_agent = {
    .name = "agent",
    .summary = "Enrol and revoke the keys of hosts (admin's key)",
    .commands = commands,
    .command_count = CS_ARRAY_LEN(commands),
};
