// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "certsync/runtime/fileio.h"
#include "certsync/runtime/table.h"
#include "daemon/daemon.h"

#define STATUS_MAX ((size_t)4 * 1024 * 1024)
#define HANGS_MS   (3 * (int64_t)CS_STATUS_PERIOD_MS)

struct status {
    bool unused;
};

enum agent_state { STOPPED, HANGING, RUNNING };
static const char *const state_names[] = {"stopped", "hanging", "running"};

// A status is true only while it is written again and again.
static enum agent_state state_of(const struct cs_session *s, const json_t *status, bool running) {
    int64_t alive_ms = json_integer_value(json_object_get(status, "alive_ms"));
    int64_t age_ms = cs_clock_mono_ms(s->clock) - alive_ms;
    if (!running)
        return STOPPED;
    return age_ms >= 0 && age_ms < HANGS_MS ? RUNNING : HANGING;
}

static bool read_status(const struct cs_session *s, json_t **ret, bool *ret_running, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    char path[PATH_MAX];
    cs_buf_init(&b, STATUS_MAX);
    if (!cs_daemon_path(s, CS_DAEMON_STATUS, path, sizeof path, err) ||
        !cs_daemon_running(s, ret_running, err))
        return false;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return *ret_running
                   ? cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                "certsync agent is starting for account %s; ask again", s->account)
                   : cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                                "%s: certsync agent has not run here yet for account %s", path, s->account);
    if (!cs_file_read(path, CS_FILE_NOFOLLOW, &b, err))
        return false;
    *ret = json_loadb((const char *)b.data, b.len, 0, NULL);
    return json_is_object(*ret) ? true
                                : cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: it is damaged", path);
}

static void print_link(FILE *out, const json_t *status, const char *name) {
    const json_t *l = json_object_get(status, name);
    if (!l)
        return;
    fprintf(out, "%-13s %s", name, cs_member_text(l, "state"));
    if (cs_member_text(l, "since")[0])
        fprintf(out, " since %s", cs_member_text(l, "since"));
    if (cs_member_text(l, "error")[0])
        fprintf(out, ": %s", cs_told(cs_member_text(l, "error")));
    if (cs_member_text(l, "certificate_ends")[0])
        fprintf(out, "\n%-13s its client certificate ends %s", "", cs_member_text(l, "certificate_ends"));
    if (cs_member_text(l, "code")[0])
        fprintf(out, "\n%-13s %s: %s", "", cs_member_text(l, "code"), cs_member_text(l, "hint"));
    fputc('\n', out);
}

static void print_certificates(FILE *out, const json_t *status) {
    const char *name;
    const json_t *count;
    const char *comma = "";
    fprintf(out, "%-13s", "certificates");
    json_object_foreach((json_t *)(uintptr_t)json_object_get(status, "certificates"), name, count) {
        if (json_integer_value(count) > 0) {
            fprintf(out, "%s %" JSON_INTEGER_FORMAT " %s", comma, json_integer_value(count), name);
            comma = ",";
        }
    }
    fputc('\n', out);
}

static json_int_t number_of(const json_t *o, const char *name) {
    return json_integer_value(json_object_get(o, name));
}

static void print_agent(FILE *out, const json_t *status, enum agent_state state) {
    static const char *const texts[] = {"not running", "HANGS", "running"};
    fprintf(out, "%-13s %s (%s, log %s, account %s, key %s)\n", "agent", texts[state],
            cs_member_text(status, "version"), cs_member_text(status, "log"),
            cs_member_text(status, "account"), cs_member_text(status, "kid"));
    if (state != RUNNING)
        fprintf(out, "%-13s what follows was so at %s\n", "", cs_member_text(status, "written"));
    if (state == HANGING)
        fprintf(out,
                "%-13s it did not write its status since; look into its log, and whether its disk is full; "
                "then: systemctl restart certsync-agent\n",
                "");
}

static void print_sections(FILE *out, const json_t *sections) {
    size_t i, k;
    const json_t *s, *text;
    json_array_foreach(sections, i, s) {
        fprintf(out,
                "%-13s [watch %s] %" JSON_INTEGER_FORMAT " certificate%s: %" JSON_INTEGER_FORMAT
                " registered",
                i == 0 ? "sections" : "", cs_told(cs_member_text(s, "name")), number_of(s, "certificates"),
                number_of(s, "certificates") == 1 ? "" : "s", number_of(s, "registered"));
        if (number_of(s, "waiting") > 0)
            fprintf(out, ", %" JSON_INTEGER_FORMAT " waiting", number_of(s, "waiting"));
        fprintf(out, ", %" JSON_INTEGER_FORMAT " failed\n", number_of(s, "failed"));
        json_array_foreach(json_object_get(s, "problems"), k, text)
            fprintf(out, "%-13s   %s\n", "", cs_told(json_string_value(text)));
        json_int_t more = number_of(s, "problems_total") - (json_int_t)k;
        if (more > 0)
            fprintf(out, "%-13s   and %" JSON_INTEGER_FORMAT " more; the log names them all\n", "", more);
    }
}

static void print_attention(FILE *out, const json_t *all) {
    size_t i;
    const json_t *a;
    json_array_foreach(all, i, a) {
        char what[32];
        snprintf(what, sizeof what, "%s", cs_told(cs_member_text(a, "what")));
        fprintf(out, "%-13s %s: %s\n", i == 0 ? "ATTENTION" : "", what,
                cs_told(cs_member_text(a, "message")));
    }
}

static void print_beat(FILE *out, const json_t *beat) {
    const char *sent = cs_member_text(beat, "sent");
    if (beat)
        fprintf(out, "%-13s %s%s\n", "heartbeat", sent[0] ? "last sent " : "none was sent yet", sent);
}

// What is registered stays; its renewal must fit.
static void print_policy(FILE *out, const json_t *status) {
    const json_t *all = json_object_get(status, "policy"), *p;
    size_t i;
    json_array_foreach(all, i, p) fprintf(
        out, "%-13s %s is registered; the policy would refuse it now, so its renewal must fit: %s %s\n",
        i == 0 ? "policy" : "", cs_told(cs_member_text(p, "name")), cs_member_text(p, "code"),
        cs_told(cs_member_text(p, "message")));
    json_int_t more = number_of(status, "policy_total") - (json_int_t)i;
    if (more > 0)
        fprintf(out, "%-13s and %" JSON_INTEGER_FORMAT " more; the log names them all\n", "", more);
}

static void print_facts(FILE *out, const json_t *status, enum agent_state state) {
    const json_t *spool = json_object_get(status, "spool");
    print_agent(out, status, state);
    fprintf(out, "%-13s %s\n", "last scan", cs_member_text(status, "last_scan"));
    print_link(out, status, "kafka");
    print_link(out, status, "api");
    if (!json_object_get(status, "api"))
        fprintf(out, "%-13s not configured (api.url): how events ended is not known here\n", "api");
    print_certificates(out, status);
    print_sections(out, json_object_get(status, "sections"));
    print_policy(out, status);
    print_beat(out, json_object_get(status, "heartbeat"));
    fprintf(out, "%-13s %" JSON_INTEGER_FORMAT " events, %" JSON_INTEGER_FORMAT " to be published\n", "spool",
            number_of(spool, "events"), number_of(spool, "to_publish"));
    if (cs_member_text(spool, "error")[0])
        fprintf(out, "%-13s cannot be read: %s\n", "", cs_told(cs_member_text(spool, "error")));
    print_attention(out, json_object_get(status, "attention"));
}

static void print_problems(const struct cs_cli *cli, const json_t *status) {
    const json_t *problems = json_object_get(status, "problems");
    CS_AUTO(cs_table_free)
    struct cs_table *t = cs_table_new((const char *const[]){"NAME", "STATE", "CODE", "SINCE", "WHAT", NULL});
    size_t i;
    const json_t *p;
    json_array_foreach(problems, i, p) {
        cs_table_cell(t, cs_member_text(p, "name"));
        cs_table_cell(t, cs_member_text(p, "state"));
        cs_table_cell(t, cs_member_text(p, "code"));
        cs_table_cell(t, cs_member_text(p, "since"));
        cs_table_cell(t, cs_member_text(p, "message"));
    }
    if (i == 0)
        return;
    fputc('\n', cli->out);
    if (!cs_table_print(t, cli->out))
        return;
    json_int_t more = number_of(status, "problems_total") - (json_int_t)i;
    if (more > 0)
        fprintf(cli->out, "and %" JSON_INTEGER_FORMAT " more\n", more);
    json_array_foreach(problems, i, p) {
        if (cs_member_text(p, "hint")[0])
            fprintf(cli->out, "%s: %s\n", cs_member_text(p, "code"), cs_member_text(p, "hint"));
    }
}

static bool wants_attention(const json_t *status) {
    return json_array_size(json_object_get(status, "problems")) > 0 || number_of(status, "failed") > 0 ||
           json_array_size(json_object_get(status, "attention")) > 0 ||
           json_object_get(json_object_get(status, "spool"), "error");
}

static int run(const struct cs_cli *cli) {
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    json_t *status = NULL;
    if (!cs_session_open(cli, CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    bool running = false;
    if (!read_status(&s, &status, &running, &err)) {
        json_decref(status);
        return err.kind == CS_ERR_RETRY ? cs_report_api_failure(cli, &err) : cs_report_failure(cli, &err);
    }
    enum agent_state state = state_of(&s, status, running);
    int code = state == STOPPED                              ? CS_EXIT_UNKNOWN
               : state == HANGING || wants_attention(status) ? CS_EXIT_REJECTED
                                                             : CS_EXIT_OK;
    if (s.globals->json) {
        json_object_set_new(status, "running", json_boolean(state != STOPPED));
        json_object_set_new(status, "state", json_string(state_names[state]));
        json_object_set_new(status, "exit", json_integer(code));
        cs_report_json(cli, status);
        return code;
    }
    print_facts(cli->out, status, state);
    print_problems(cli, status);
    json_decref(status);
    return code;
}

const struct cs_command cs_cmd_status = {
    .name = "status",
    .summary = "Show what the daemon on this host does, and what it could not do",
    .description =
        "Reads what certsync agent wrote last. Exit codes: 0 it runs and all is well; 1 something wants "
        "attention: a certificate or a section that failed (a path that is not there or cannot be read, a "
        "file of a "
        "foreign owner, a key without a certificate, a certificate that has expired or whose chain has, was "
        "refused, or is "
        "older than the "
        "catalog's), Kafka or the API that does not answer, an API of another log (then nothing is sent), a "
        "spool that takes nothing, settings that were "
        "not read "
        "again, or an agent that hangs; 3 it does not run.",
    .examples = "certsync status\ncertsync status --json\n",
    .values_size = sizeof(struct status),
    .run = run,
};
