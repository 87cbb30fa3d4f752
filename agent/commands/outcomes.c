// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/runtime/table.h"
#include "commands/submit.h"

struct outcomes {
    const char *event;
    int64_t limit;
    const char *cursor;
    bool all;
    bool csv;
};

static const struct cs_opt opts[] = {
    {.name = "limit",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct outcomes, limit),
     .value_name = "N",
     .default_text = "20",
     .min = 1,
     .max = 1000,
     .text = "At most so many (a page)."},
    {.name = "cursor",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct outcomes, cursor),
     .value_name = "CURSOR",
     .text = "The next page: what the page before it said."},
    {.name = "page-all", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(struct outcomes, all), .text = "All pages."},
    CS_CSV_OPT(struct outcomes, csv),
};
static const struct cs_arg args[] = {
    {.name = "EVENT_ID",
     CS_OPT_AT_STR(struct outcomes, event),
     .optional = true,
     .text = "Only this event's; waits for it up to --timeout."},
};

// Writes "certsync.certificate.upload.v1" as "certificate.upload".
static void put_type(struct cs_table *t, const char *type) {
    const char *start = strncmp(type, "certsync.", 9) == 0 ? type + 9 : type;
    size_t len = strlen(start);
    if (len > 3 && strcmp(start + len - 3, ".v1") == 0)
        len -= 3;
    cs_table_cellf(t, "%.*s", (int)len, start);
}

static void put_row(struct cs_table *t, const json_t *doc) {
    const json_t *outcome = json_object_get(doc, "outcome"), *data = json_object_get(outcome, "data");
    const json_t *final = json_object_get(doc, "final");
    const json_t *last = json_is_object(final) ? final : data;
    // Without the part of a second, which a table has no room for.
    cs_table_cellf(t, "%.19sZ", cs_member_text(outcome, "time"));
    cs_table_cell(t, cs_member_text(last, "status"));
    cs_table_cell(t, cs_member_text(last, "code"));
    put_type(t, cs_member_text(data, "type"));
    cs_table_cell(t, cs_member_text(outcome, "subject"));
    cs_table_cell(t, cs_member_text(data, "event"));
}

static int print_list(const struct cs_cli *cli, const json_t *answer) {
    static const char *const headers[] = {"TIME", "STATUS", "CODE", "TYPE", "SUBJECT", "EVENT", NULL};
    const struct outcomes *o = cli->values;
    CS_AUTO(cs_table_free) struct cs_table *t = cs_table_new(headers);
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(answer, "outcomes"), i, item) put_row(t, item);
    int code = CS_EXIT_OK;
    if (i > 0 || o->csv)
        code = cs_report_table(cli, t, o->csv);
    else if (!json_object_get(answer, "next"))
        fputs("no outcomes\n", cli->out);
    cs_report_next(cli, answer);
    return code;
}

static int list(struct cs_session *s, const struct outcomes *o) {
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    char number[24];
    json_t *answer;
    cs_buf_init(&path, 16384);
    cs_client_put_account(&path, s->account, "/outcomes");
    snprintf(number, sizeof number, "%" PRId64, o->limit);
    cs_client_put_query(&path, "limit", number);
    if (!cs_buf_ok(&path, &err) || !cs_session_client(s, &err) ||
        !cs_client_get_pages(s->client, (const char *)path.data, o->cursor, o->all, "outcomes", &answer,
                             &err))
        return cs_report_api_failure(s->cli, &err);
    if (s->globals->json) {
        cs_report_json(s->cli, answer);
        return CS_EXIT_OK;
    }
    int code = print_list(s->cli, answer);
    json_decref(answer);
    return code;
}

static int exit_of(enum cs_ending e) {
    switch (e) {
    case CS_ENDING_APPLIED:
        return CS_EXIT_OK;
    case CS_ENDING_REJECTED:
    case CS_ENDING_REPLAYED:
        return CS_EXIT_REJECTED;
    case CS_ENDING_UNKNOWN:
    case CS_ENDING_PENDING:
        break;
    }
    return CS_EXIT_UNKNOWN;
}

static int one(struct cs_session *s, const struct outcomes *o) {
    struct cs_err err;
    CS_AUTO(cs_end_clear) struct cs_end end = {0};
    if (!cs_end_ask(s, s->account, o->event, 0, 0, &end, &err))
        return cs_report_api_failure(s->cli, &err);
    int64_t left_s = s->globals->no_wait ? 0 : cs_session_left_ms(s) / 1000;
    if (left_s > 0 && (!end.doc || end.ending == CS_ENDING_PENDING)) {
        left_s = left_s < 60 ? left_s : 60;
        if (!s->globals->json && !s->globals->quiet && isatty(STDERR_FILENO) == 1)
            fprintf(s->cli->err,
                    "waiting up to %" PRId64 " s for the outcome of %s (--no-wait: do not wait)\n", left_s,
                    o->event);
        cs_end_clear(&end);
        if (!cs_end_ask(s, s->account, o->event, 0, left_s, &end, &err))
            return cs_report_api_failure(s->cli, &err);
    }
    if (!end.doc) {
        cs_err_set(&err, CS_ERR_RETRY, CS_CODE_NONE, "no outcome of event %s is known in account %s",
                   cs_quoted(o->event), s->account);
        return cs_report_api_failure(s->cli, &err);
    }
    // An outcome that says "replayed" means unknown to those who do not know the number. Here it is
    // the answer.
    const json_t *outcome = json_object_get(end.doc, "outcome"), *data = json_object_get(outcome, "data");
    bool replayed = end.code == CS_CODE_EVENT_REPLAYED;
    if (s->globals->json) {
        json_incref(end.doc);
        cs_report_json(s->cli, end.doc);
        return replayed ? CS_EXIT_REJECTED : exit_of(end.ending);
    }
    const json_t *final = json_object_get(end.doc, "final");
    fprintf(s->cli->out, "%s: %s, %s%s\n",
            cs_told(cs_member_text(json_is_object(final) ? final : data, "status")),
            cs_told(cs_member_text(data, "type")), cs_told(cs_member_text(outcome, "subject")),
            end.detail[0] ? ":" : "");
    if (end.detail[0])
        fprintf(s->cli->out, "  %s\n", end.detail);
    if (end.code != CS_CODE_NONE)
        fprintf(s->cli->out, "  %s\n  code: %s\n  hint: %s\n", cs_code_sentence(end.code),
                cs_code_name(end.code), cs_code_hint(end.code));
    return replayed ? CS_EXIT_REJECTED : exit_of(end.ending);
}

static int run(const struct cs_cli *cli) {
    const struct outcomes *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (o->event && !cs_uuid_valid(o->event, strlen(o->event)))
        return cs_cli_usage_error(cli, "\"%s\" is not an event id", cs_quoted(o->event));
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    return o->event ? one(&s, o) : list(&s, o);
}

const struct cs_command cs_cmd_outcomes = {
    .name = "outcomes",
    .summary = "Show what was decided, the newest first, or of one event",
    .examples = "certsync outcomes --limit 50\ncertsync outcomes 01932e8a-…\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct outcomes),
    .run = run,
};
