// SPDX-License-Identifier: Apache-2.0
#include <assert.h>

#include "certsync/model/codes.h"
#include "commands/agent_commands.h"
#include "event/options.h"
#include "event/session.h"

static const struct cs_opt global_opts[] = {
    {.name = "config",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct cs_globals, config),
     .value_name = "FILE",
     .text = "Settings file; else CERTSYNC_CONFIG, " CERTSYNC_ETC "/certsync.conf, "
             "~/.config/certsync/certsync.conf."},
    {.name = "set",
     .kind = CS_OPT_SET,
     .value_name = "KEY=VALUE",
     .text = "Override one setting, e.g. --set kafka.brokers=host:9092."},
    {.name = "key",
     .kind = CS_OPT_SETTING,
     .setting = "agent.key",
     .value_name = "FILE",
     .text = "Private key to sign with (agent.key)."},
    {.name = "account",
     .kind = CS_OPT_SETTING,
     .setting = "agent.account",
     .value_name = "ACCOUNT",
     .text = "Account to work in (agent.account)."},
    {.name = "json",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct cs_globals, json),
     .text = "One JSON object on standard output."},
    {.name = "no-wait",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct cs_globals, no_wait),
     .text = "Do not wait for the outcome: done when Kafka has the event."},
    {.name = "timeout",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct cs_globals, timeout_s),
     .value_name = "SECONDS",
     .default_text = "30",
     .min = 1,
     .max = 86400,
     .text = "Longest time for all that the command does once its input is read."},
    {.name = "dry-run",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct cs_globals, dry_run),
     .text = "Do all checks that this host can do, send nothing."},
    {.name = "quiet",
     .letter = 'q',
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct cs_globals, quiet),
     .text = "Say nothing when all went well."},
};

static const char description[] =
    "Registers the certificates of hosts: checks them, seals their keys, and publishes what happens to them "
    "as signed events. What was decided "
    "comes back from the consumer's API.\n\n"
    "Begin with: certsync keygen --out agent.key; an admin enrols agent.key.pub (certsync agent enroll); put "
    "the deployment, the brokers, the "
    "API and the key into the settings file (certsync settings --example); then: certsync upload, certsync "
    "list.\n\n"
    "Exit codes: 0 applied, or nothing to change; 1 rejected by the rules; 2 usage or settings; 3 not known "
    "in time: still in the spool, or not judged yet; 4 refused by this host's own checks, nothing was sent; "
    "5 the API refused to answer (no right, or no such thing), nothing was sent; 6 done, but the answer "
    "could not be written to standard output; 128 and the signal's number (130 for Ctrl-C) interrupted, and "
    "said "
    "what became of the event.";

// "certsync agent" without a command runs the daemon.
static void init_agent(struct cs_agent_commands *ret, struct cs_command *agent) {
    const struct cs_command *more[] = {&cs_cmd_agent_run, &cs_cmd_agent_join, &cs_cmd_agent_token,
                                       &cs_cmd_agent_rotate};
    size_t n = 0;
    assert(agent->command_count + CS_ARRAY_LEN(more) <= CS_AGENT_COMMANDS_MAX);
    for (size_t i = 0; i < CS_ARRAY_LEN(more); i++)
        ret->agent[n++] = *more[i];
    for (size_t i = 0; i < agent->command_count; i++)
        ret->agent[n++] = agent->commands[i];
    agent->summary = "The daemon that watches certificate files, and the keys of hosts";
    agent->description = "Alone it is the daemon: certsync agent run.";
    agent->commands = ret->agent;
    agent->command_count = n;
    agent->values_size = cs_cmd_agent_run.values_size;
    agent->run = cs_cmd_agent_run.run;
}

static const struct cs_cli_codes codes = {cs_codes_text, cs_codes_markdown, cs_codes_json};

void cs_agent_commands_init(struct cs_agent_commands *ret) {
    const struct cs_command *all[] = {
        &cs_cmd_upload,    &cs_cmd_update,       &cs_cmd_list,       &cs_cmd_search,  &cs_cmd_show,
        &cs_cmd_delete,    &cs_cmd_share,        &cs_cmd_unshare,    &cs_cmd_csr,     &cs_cmd_outcomes,
        &cs_cmd_history,   &cs_cmd_spool,        &cs_cmd_keygen,     &cs_cmd_key,     &cs_cmd_issue,
        &cs_cmd_account,   &cs_cmd_agent,        &cs_cmd_trust,      &cs_cmd_keys,    &cs_cmd_codes,
        &cs_cmd_settings,  &cs_cmd_status,       &cs_cmd_agents,     &cs_cmd_inspect, &cs_cmd_needs_renewal,
        &cs_cmd_api_token, &cs_cmd_verify_proof, &cs_cmd_completion, &cs_cmd_manual,
    };
    static_assert(CS_ARRAY_LEN(all) <= CS_AGENT_COMMANDS_MAX, "room for all commands");
    for (size_t i = 0; i < CS_ARRAY_LEN(all); i++) {
        ret->list[i] = *all[i];
        if (all[i] == &cs_cmd_agent)
            init_agent(ret, &ret->list[i]);
    }
    ret->root = (struct cs_command){
        .name = "certsync",
        .summary = "Certificates of many hosts, as events",
        .description = description,
        .opts = global_opts,
        .opt_count = CS_ARRAY_LEN(global_opts),
        .values_size = sizeof(struct cs_globals),
        .commands = ret->list,
        .command_count = CS_ARRAY_LEN(all),
        .codes = &codes,
        .settings = &cs_agent_settings_table,
        .load_settings = cs_session_load_settings,
    };
}
