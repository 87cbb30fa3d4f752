// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "event/session.h"

struct history {
    const char *certificate;
    int64_t limit;
    const char *cursor;
    bool all;
    bool csv;
};

static const struct cs_opt opts[] = {
    {.name = "limit",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct history, limit),
     .value_name = "N",
     .default_text = "100",
     .min = 1,
     .max = 1000,
     .text = "At most so many (a page)."},
    {.name = "cursor",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct history, cursor),
     .value_name = "CURSOR",
     .text = "The next page: what the page before it said."},
    {.name = "page-all", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(struct history, all), .text = "All pages."},
    CS_CSV_OPT(struct history, csv),
};
static const struct cs_arg args[] = {
    {.name = "NAME|ID",
     CS_OPT_AT_STR(struct history, certificate),
     .text = "The certificate; after its end only its id tells which."},
};

static bool get_pages(struct cs_session *s, const struct history *o, json_t **ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    char number[24];
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_segment(&path, o->certificate);
    cs_client_put_segment(&path, "history");
    snprintf(number, sizeof number, "%" PRId64, o->limit);
    cs_client_put_query(&path, "limit", number);
    return cs_buf_ok(&path, err) && cs_session_client(s, err) &&
           cs_client_get_pages(s->client, (const char *)path.data, o->cursor, o->all, "outcomes", ret, err);
}

// "certsync.certificate.upload.v1" as "certificate.upload".
static void put_type(struct cs_table *t, const char *type) {
    const char *start = strncmp(type, "certsync.", 9) == 0 ? type + 9 : type;
    size_t len = strlen(start);
    if (len > 3 && strcmp(start + len - 3, ".v1") == 0)
        len -= 3;
    cs_table_cellf(t, "%.*s", (int)len, start);
}

static void put_row(struct cs_table *t, const json_t *doc) {
    const json_t *outcome = json_object_get(doc, "outcome"), *data = json_object_get(outcome, "data");
    const json_t *final = json_object_get(doc, "final"), *version = json_object_get(data, "version");
    const json_t *last = json_is_object(final) ? final : data;
    // Without the part of a second, which a table has no room for.
    cs_table_cellf(t, "%.19sZ", cs_member_text(outcome, "time"));
    put_type(t, cs_member_text(data, "type"));
    cs_table_cell(t, cs_member_text(last, "status"));
    cs_table_cell(t, cs_member_text(last, "code"));
    cs_table_cell(t, cs_member_text(data, "name"));
    if (version)
        cs_table_cellf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(version));
    else
        cs_table_cell(t, "");
    cs_table_cell(t, cs_member_text(data, "label"));
    cs_table_cell(t, cs_member_text(data, "kid"));
    cs_table_cell(t, cs_member_text(data, "event"));
}

static int print(const struct cs_cli *cli, const json_t *answer) {
    static const char *const headers[] = {"TIME",     "EVENT", "STATUS", "CODE",     "NAME",
                                          ">VERSION", "BY",    "KEY",    "EVENT ID", NULL};
    const struct history *o = cli->values;
    CS_AUTO(cs_table_free) struct cs_table *t = cs_table_new(headers);
    size_t i;
    const json_t *item;
    int code = CS_EXIT_OK;
    json_array_foreach(json_object_get(answer, "outcomes"), i, item) put_row(t, item);
    if (i > 0 || o->csv)
        code = cs_report_table(cli, t, o->csv);
    else if (!json_object_get(answer, "next")) // one page may be empty while others are not
        fputs("nothing more\n", cli->out);
    cs_report_next(cli, answer);
    return code;
}

static int run(const struct cs_cli *cli) {
    const struct history *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    json_t *answer;
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT, &s, &err))
        return cs_report_failure(cli, &err);
    if (!get_pages(&s, o, &answer, &err))
        return cs_report_api_failure(cli, &err);
    if (s.globals->json) {
        cs_report_json(cli, answer);
        return CS_EXIT_OK;
    }
    int code = print(cli, answer);
    json_decref(answer);
    return code;
}

const struct cs_command cs_cmd_history = {
    .name = "history",
    .summary = "Show what was decided about a certificate, and who asked for it, also after its end",
    .description =
        "In the order of the log. BY is the label of the key that sent the event. What is older than the "
        "account's newest 1,000 outcomes is read from the log; then a page may be short (--page-all).",
    .examples = "certsync history www\ncertsync history 0193f2a1-… --page-all --csv\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct history),
    .run = run,
};
