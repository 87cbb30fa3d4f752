// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/entry.h"
#include "certsync/runtime/table.h"
#include "commands/agent_commands.h"
#include "event/session.h"

struct agents {
    int64_t quiet_after_ms;
    bool quiet;
    bool ended;
    bool csv;
};

static const struct cs_opt opts[] = {
    {.name = "quiet-after",
     .kind = CS_OPT_DURATION,
     CS_OPT_AT_INT(struct agents, quiet_after_ms),
     .value_name = "DURATION",
     .default_text = CS_QUIET_AFTER,
     .min = 1,
     .max = 366LL * 86400000,
     .text = "Who has not been heard of for so long is quiet."},
    {.name = "quiet-only",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct agents, quiet),
     .text = "Only those that are quiet."},
    {.name = "ended",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct agents, ended),
     .text = "Also keys that were revoked or rotated."},
    CS_CSV_OPT(struct agents, csv),
};

bool cs_agents_get(struct cs_session *s, json_t *all, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 1024);
    cs_client_put_account(&path, s->account, "/agents");
    return cs_buf_ok(&path, err) && cs_session_client(s, err) &&
           cs_client_get_list(s->client, (const char *)path.data, "agents", all, err);
}

// A key that never sent a heartbeat (a person's, a token, a host without the daemon) is not quiet.
static bool is_quiet(const json_t *agent, int64_t now_s, int64_t after_ms) {
    const char *at = cs_member_text(json_object_get(agent, "heartbeat"), "at");
    int64_t last_s;
    return strcmp(cs_member_text(agent, "state"), "enrolled") == 0 &&
           cs_time_parse(at, strlen(at), &last_s) && now_s - last_s > after_ms / 1000;
}

static void choose(const struct agents *o, json_t *all, int64_t now_s) {
    for (size_t i = json_array_size(all); i-- > 0;) {
        json_t *agent = json_array_get(all, i);
        bool quiet = is_quiet(agent, now_s, o->quiet_after_ms);
        json_object_set_new(agent, "quiet", json_boolean(quiet));
        if ((o->quiet && !quiet) || (!o->ended && strcmp(cs_member_text(agent, "state"), "enrolled") != 0))
            json_array_remove(all, i);
    }
}

static void put_words(struct cs_table *t, const json_t *words) {
    char out[128] = "";
    size_t i, used = 0;
    const json_t *w;
    json_array_foreach(words, i, w) {
        const char *s = json_string_value(w);
        if (s && used + strlen(s) + 2 < sizeof out)
            used += (size_t)snprintf(out + used, sizeof out - used, "%s%s", used ? "," : "", s);
    }
    cs_table_cell(t, out);
}

static void put_row(struct cs_table *t, const json_t *agent) {
    const json_t *beat = json_object_get(agent, "heartbeat");
    cs_table_cell(t, cs_member_text(agent, "label"));
    cs_table_cell(t, cs_member_text(agent, "kid"));
    cs_table_cell(t,
                  json_is_true(json_object_get(agent, "quiet")) ? "QUIET" : cs_member_text(agent, "state"));
    put_words(t, json_object_get(agent, "can"));
    cs_table_cell(t, cs_member_text(agent, "names"));
    cs_table_cell(t, beat ? cs_member_text(beat, "at") : "never");
    cs_table_cell(t, cs_member_text(beat, "version"));
    static const char *const numbers[] = {"certificates", "failed", "spool"};
    for (size_t i = 0; i < CS_ARRAY_LEN(numbers); i++) {
        if (beat)
            cs_table_cellf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(beat, numbers[i])));
        else
            cs_table_cell(t, "");
    }
}

static int print(const struct cs_cli *cli, const json_t *all) {
    const struct agents *o = cli->values;
    CS_AUTO(cs_table_free)
    struct cs_table *t =
        cs_table_new((const char *const[]){"LABEL", "KEY", "STATE", "CAN", "NAMES", "LAST HEARD", "VERSION",
                                           ">CERTIFICATES", ">FAILED", ">SPOOL", NULL});
    size_t i;
    const json_t *agent;
    json_array_foreach(all, i, agent) put_row(t, agent);
    if (i == 0 && !o->csv) {
        fputs("no agents\n", cli->out);
        return CS_EXIT_OK;
    }
    return cs_report_table(cli, t, o->csv);
}

static int run(const struct cs_cli *cli) {
    const struct agents *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    json_t *all = json_array();
    bool ok = cs_agents_get(&s, all, &err);
    if (ok)
        choose(o, all, cs_clock_wall_ms(s.clock) / 1000);
    if (ok && s.globals->json)
        cs_report_json(cli, json_pack("{s:O}", "agents", all));
    int code = ok && !s.globals->json ? print(cli, all) : CS_EXIT_OK;
    json_decref(all);
    if (!ok)
        return cs_report_api_failure(cli, &err);
    return code;
}

const struct cs_command cs_cmd_agents = {
    .name = "agents",
    .summary = "List the account's agents, and which have gone quiet",
    .description = "Certificates, failed and spool are what each host said in its last heartbeat.",
    .examples = "certsync agents\ncertsync agents --quiet-only --quiet-after 1h\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct agents),
    .run = run,
};
