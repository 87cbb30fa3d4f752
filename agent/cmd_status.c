// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "certsync/runtime/fileio.h"
#include "certsync/runtime/table.h"
#include "daemon.h"

#define STATUS_MAX ((size_t)4 * 1024 * 1024)

struct status {
    bool unused;
};

static bool read_status(const struct cs_session *s, json_t **ret, bool *ret_running, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf b;
    char path[PATH_MAX];
    cs_buf_init(&b, STATUS_MAX);
    if (!cs_daemon_path(s, CS_DAEMON_STATUS, path, sizeof path, err))
        return false;
    *ret_running = cs_daemon_running(s);
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                          "%s: certsync agent has not run here yet for account %s", path, s->account);
    if (!cs_file_read(path, CS_FILE_NOFOLLOW, &b, err))
        return false;
    *ret = json_loadb((const char *)b.data, b.len, 0, NULL);
    return json_is_object(*ret) ? true
                                : cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: it is damaged", path);
}

static const char *text_of(const json_t *o, const char *name) {
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

static void print_link(FILE *out, const json_t *status, const char *name) {
    const json_t *l = json_object_get(status, name);
    if (!l)
        return;
    fprintf(out, "%-13s %s", name, text_of(l, "state"));
    if (text_of(l, "since")[0])
        fprintf(out, " since %s", text_of(l, "since"));
    if (text_of(l, "error")[0])
        fprintf(out, ": %s", cs_shown(text_of(l, "error")));
    if (text_of(l, "code")[0])
        fprintf(out, "\n%-13s %s: %s", "", text_of(l, "code"), text_of(l, "hint"));
    fputc('\n', out);
}

static void print_certificates(FILE *out, const json_t *status) {
    const char *name;
    const json_t *count;
    fprintf(out, "%-13s", "certificates");
    json_object_foreach((json_t *)(uintptr_t)json_object_get(status, "certificates"), name, count) {
        if (json_integer_value(count) > 0)
            fprintf(out, " %" JSON_INTEGER_FORMAT " %s", json_integer_value(count), name);
    }
    fputc('\n', out);
}

static void print_facts(FILE *out, const json_t *status, bool running) {
    const json_t *spool = json_object_get(status, "spool"), *replayed = json_object_get(status, "replayed");
    fprintf(out, "%-13s %s (%s, account %s, key %s)\n", "agent", running ? "running" : "not running",
            text_of(status, "version"), text_of(status, "account"), text_of(status, "kid"));
    fprintf(out, "%-13s %s\n", "last scan", text_of(status, "last_scan"));
    print_link(out, status, "kafka");
    print_link(out, status, "api");
    print_certificates(out, status);
    fprintf(out, "%-13s %" JSON_INTEGER_FORMAT " events, %" JSON_INTEGER_FORMAT " to be published\n", "spool",
            json_integer_value(json_object_get(spool, "events")),
            json_integer_value(json_object_get(spool, "to_publish")));
    if (text_of(spool, "blocked")[0])
        fprintf(out, "%-13s takes nothing: %s\n", "", cs_shown(text_of(spool, "blocked")));
    if (json_is_false(json_object_get(status, "all_watched")))
        fprintf(out, "%-13s some directories cannot be watched; only rescans see their changes\n",
                "watching");
    if (replayed)
        fprintf(out,
                "%-13s numbers of this key were used elsewhere, last at %s: this host was restored from a "
                "copy, or "
                "its key is on another host too\n",
                "ALARM", text_of(replayed, "last"));
}

static void print_problems(const struct cs_cli *cli, const json_t *problems) {
    CS_AUTO(cs_table_free)
    struct cs_table *t = cs_table_new((const char *const[]){"NAME", "STATE", "CODE", "SINCE", "WHAT", NULL});
    size_t i;
    const json_t *p;
    json_array_foreach(problems, i, p) {
        cs_table_cell(t, text_of(p, "name"));
        cs_table_cell(t, text_of(p, "state"));
        cs_table_cell(t, text_of(p, "code"));
        cs_table_cell(t, text_of(p, "since"));
        cs_table_cell(t, text_of(p, "message"));
    }
    if (i == 0)
        return;
    fputc('\n', cli->out);
    if (!cs_table_print(t, cli->out))
        return;
    json_array_foreach(problems, i, p) {
        if (text_of(p, "hint")[0])
            fprintf(cli->out, "%s: %s\n", text_of(p, "code"), text_of(p, "hint"));
    }
}

static bool is_failing(const json_t *status, const char *name) {
    return strcmp(text_of(json_object_get(status, name), "state"), "failing") == 0;
}

static bool wants_attention(const json_t *status) {
    return json_array_size(json_object_get(status, "problems")) > 0 || json_object_get(status, "replayed") ||
           json_object_get(json_object_get(status, "spool"), "blocked") || is_failing(status, "kafka") ||
           is_failing(status, "api");
}

static int run(const struct cs_cli *cli) {
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    json_t *status = NULL;
    bool running;
    if (!cs_session_open(cli, CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    if (!read_status(&s, &status, &running, &err)) {
        json_decref(status);
        return err.kind == CS_ERR_RETRY ? cs_report_api_failure(cli, &err) : cs_report_failure(cli, &err);
    }
    const json_t *problems = json_object_get(status, "problems");
    int code = !running ? CS_EXIT_UNKNOWN : wants_attention(status) ? CS_EXIT_REJECTED : CS_EXIT_OK;
    if (s.globals->json) {
        json_object_set_new(status, "running", json_boolean(running));
        json_object_set_new(status, "exit", json_integer(code));
        cs_report_json(cli, status);
        return code;
    }
    print_facts(cli->out, status, running);
    print_problems(cli, problems);
    json_decref(status);
    return code;
}

const struct cs_command cs_cmd_status = {
    .name = "status",
    .summary = "Show what the daemon on this host does, and what it could not do",
    .description =
        "Reads what certsync agent wrote last. Exit codes: 0 it runs and all is well; 1 something wants "
        "attention; 3 it does not run.",
    .examples = "certsync status\ncertsync status --json\n",
    .values_size = sizeof(struct status),
    .run = run,
};
