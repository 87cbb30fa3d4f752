// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/table.h"
#include "event/session.h"

#define NAMES_WIDTH 200

struct list {
    const char *name;
    int64_t source, status, algorithm, sort;
    int64_t within;
    int64_t limit;
    const char *cursor;
    bool all;
    bool csv;
};

static const char *const sources[] = {"any", "uploaded", "official", "test", "shared", NULL};
static const char *const statuses[] = {"any", "valid", "expiring", "expired", NULL};
static const char *const algorithms[] = {"any", "international", "sm2", NULL};
static const char *const sorts[] = {"name", "expires", NULL};

static const struct cs_opt opts[] = {
    {.name = "name",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, name),
     .value_name = "PREFIX",
     .text = "Only names that begin so."},
    {.name = "source",
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct list, source),
     .value_name = "SOURCE",
     .default_text = "any",
     .choices = sources,
     .text = "Only uploaded, official, test or shared (shared in by another account)."},
    {.name = "status",
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct list, status),
     .value_name = "STATUS",
     .default_text = "any",
     .choices = statuses,
     .text = "Only valid, expiring or expired."},
    {.name = "within",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct list, within),
     .value_name = "DAYS",
     .default_text = "30",
     .min = 1,
     .max = 36500,
     .text = "What counts as expiring."},
    {.name = "algorithm",
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct list, algorithm),
     .value_name = "ALGORITHM",
     .default_text = "any",
     .choices = algorithms,
     .text = "Only international or sm2."},
    {.name = "sort",
     .kind = CS_OPT_CHOICE,
     CS_OPT_AT_INT(struct list, sort),
     .value_name = "BY",
     .default_text = "name",
     .choices = sorts,
     .text = "By name, or by the time that they expire."},
    {.name = "limit",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct list, limit),
     .value_name = "N",
     .default_text = "100",
     .min = 1,
     .max = 1000,
     .text = "At most so many (a page)."},
    {.name = "cursor",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, cursor),
     .value_name = "CURSOR",
     .text = "The next page: what the page before it said."},
    {.name = "page-all", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(struct list, all), .text = "All pages."},
    CS_CSV_OPT(struct list, csv),
};

static const char *choice(const char *const *choices, int64_t i) {
    return i > 0 ? choices[i] : NULL;
}

static bool get_pages(struct cs_session *s, const struct list *o, json_t **ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    char number[24];
    cs_buf_init(&path, 16384);
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_query(&path, "name", o->name);
    cs_client_put_query(&path, "source", choice(sources, o->source));
    cs_client_put_query(&path, "status", choice(statuses, o->status));
    cs_client_put_query(&path, "algorithm", choice(algorithms, o->algorithm));
    snprintf(number, sizeof number, "%" PRId64, o->within);
    cs_client_put_query(&path, "within", number);
    cs_client_put_query(&path, "sort", sorts[o->sort]);
    snprintf(number, sizeof number, "%" PRId64, o->limit);
    cs_client_put_query(&path, "limit", number);
    return cs_buf_ok(&path, err) && cs_session_client(s, err) &&
           cs_client_get_pages(s->client, (const char *)path.data, o->cursor, o->all, "certificates", ret,
                               err);
}

static void put_all_names(struct cs_table *t, const json_t *item) {
    CS_AUTO(cs_buf_clear) struct cs_buf text;
    size_t i;
    const json_t *name;
    cs_buf_init(&text, (size_t)1 << 20);
    json_array_foreach(json_object_get(item, "names"), i, name)
        cs_buf_printf(&text, "%s%s", i > 0 ? " " : "", json_string_value(name));
    cs_table_cell(t, text.len > 0 && !text.failed ? (const char *)text.data : "");
}

static void put_names(struct cs_table *t, const json_t *item) {
    char out[NAMES_WIDTH] = "";
    size_t i, used = 0, shown = 0;
    const json_t *name;
    json_array_foreach(json_object_get(item, "names"), i, name) {
        const char *s = json_string_value(name);
        if (!s || used + strlen(s) + 20 > sizeof out)
            break;
        used += (size_t)snprintf(out + used, sizeof out - used, "%s%s", shown ? ", " : "", s);
        shown++;
    }
    json_int_t total = json_integer_value(json_object_get(item, "names_total"));
    if (total > (json_int_t)shown)
        snprintf(out + used, sizeof out - used, "%s+%" JSON_INTEGER_FORMAT, used ? " " : "",
                 total - (json_int_t)shown);
    cs_table_cell(t, out);
}

static void put_row(struct cs_table *t, const json_t *item, bool csv) {
    cs_table_cell(t, cs_member_text(item, "name"));
    cs_table_cell(t, cs_member_text(item, "source"));
    cs_table_cell(t, cs_member_text(item, "owner_account"));
    cs_table_cell(t, cs_member_text(item, "status"));
    cs_table_cellf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(item, "days_left")));
    json_int_t bits = json_integer_value(json_object_get(item, "key_bits"));
    bool rsa = strcmp(cs_member_text(item, "key_type"), "RSA") == 0;
    if (rsa)
        cs_table_cellf(t, "RSA-%" JSON_INTEGER_FORMAT, bits);
    else
        cs_table_cell(t, cs_member_text(item, "key_type"));
    cs_table_cellf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(item, "version")));
    if (!csv) {
        put_names(t, item);
        return;
    }
    static const char *const members[] = {"not_before", "not_after",   "ends", "issuer",
                                          "serial",     "fingerprint", "id"};
    put_all_names(t, item);
    for (size_t i = 0; i < CS_ARRAY_LEN(members); i++)
        cs_table_cell(t, cs_member_text(item, members[i]));
}

static int print_table(const struct cs_cli *cli, const json_t *answer) {
    static const char *const headers[] = {"NAME", "SOURCE",   "OWNER", "STATUS", ">DAYS",
                                          "KEY",  ">VERSION", "NAMES", NULL};
    static const char *const csv_headers[] = {
        "NAME",       "SOURCE",    "OWNER", "STATUS", "DAYS",   "KEY",         "VERSION", "NAMES",
        "NOT BEFORE", "NOT AFTER", "ENDS",  "ISSUER", "SERIAL", "FINGERPRINT", "ID",      NULL};
    const struct list *o = cli->values;
    CS_AUTO(cs_table_free) struct cs_table *t = cs_table_new(o->csv ? csv_headers : headers);
    size_t i;
    const json_t *item;
    int code = CS_EXIT_OK;
    json_array_foreach(json_object_get(answer, "certificates"), i, item) put_row(t, item, o->csv);
    if (i > 0 || o->csv)
        code = cs_report_table(cli, t, o->csv);
    else if (!json_object_get(answer, "next")) // one page may be empty while others are not
        fputs("no certificates\n", cli->out);
    cs_report_next(cli, answer);
    return code;
}

static int run(const struct cs_cli *cli) {
    const struct list *o = cli->values;
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
    int code = print_table(cli, answer);
    json_decref(answer);
    return code;
}

const struct cs_command cs_cmd_list = {
    .name = "list",
    .summary = "List the certificates that the account sees",
    .description = "Uploaded, official, test and shared-in certificates alike. OWNER says which account a "
                   "shared one comes from.",
    .examples = "certsync list\ncertsync list --status expiring --within 14 --sort expires\ncertsync list "
                "--source shared --json\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct list),
    .run = run,
};
