// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "certsync/runtime/table.h"
#include "event/session.h"

#define NAMES_WIDTH 200

struct list {
    const char *name;
    const char *dns, *part, *issuer, *serial, *fingerprint, *key_type, *tag;
    int64_t source, status, algorithm, sort;
    int64_t within, within_hours;
    bool count;
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
    {.name = "part",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, part),
     .value_name = "TEXT",
     .text = "Only names that have this part (at least 3 characters)."},
    {.name = "dns",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, dns),
     .value_name = "NAME",
     .text = "Only what is valid for this DNS name; *.PARENT: what has a name right below the parent."},
    {.name = "issuer",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, issuer),
     .value_name = "NAME",
     .text = "Only of this issuer: its common name, organization, or whole name."},
    {.name = "serial",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, serial),
     .value_name = "HEX",
     .text = "Only the one with this serial number."},
    {.name = "fingerprint",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, fingerprint),
     .value_name = "SHA256",
     .text = "Only the one with this SHA-256."},
    {.name = "key-type",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, key_type),
     .value_name = "TYPE",
     .text = "Only keys of this type: P-256, RSA, RSA-2048, Ed25519, SM2."},
    {.name = "tag",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct list, tag),
     .value_name = "TAG",
     .text = "Only those with this tag."},
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
    {.name = "within-hours",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct list, within_hours),
     .value_name = "HOURS",
     .default_text = "-1",
     .min = -1,
     .max = 876000,
     .text = "The same in hours, in the place of --within."},
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
    {.name = "count",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct list, count),
     .text = "Say how many there are in all."},
    CS_CSV_OPT(struct list, csv),
};

static const char *choice(const char *const *choices, int64_t i) {
    return i > 0 ? choices[i] : NULL;
}

static void put_filters(struct cs_buf *path, const struct list *o) {
    char number[24];
    const struct {
        const char *name, *value;
    } texts[] = {{"name", o->name},
                 {"part", o->part},
                 {"dns", o->dns},
                 {"issuer", o->issuer},
                 {"serial", o->serial},
                 {"fingerprint", o->fingerprint},
                 {"key_type", o->key_type},
                 {"tag", o->tag},
                 {"source", choice(sources, o->source)},
                 {"status", choice(statuses, o->status)},
                 {"algorithm", choice(algorithms, o->algorithm)},
                 {"sort", sorts[o->sort]},
                 {"count", o->count ? "yes" : NULL}};
    for (size_t i = 0; i < CS_ARRAY_LEN(texts); i++)
        cs_client_put_query(path, texts[i].name, texts[i].value);
    bool hours = o->within_hours >= 0;
    snprintf(number, sizeof number, "%" PRId64, hours ? o->within_hours : o->within);
    cs_client_put_query(path, hours ? "within_hours" : "within", number);
    snprintf(number, sizeof number, "%" PRId64, o->limit);
    cs_client_put_query(path, "limit", number);
}

static bool get_pages(struct cs_session *s, const struct list *o, json_t **ret, struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    cs_buf_init(&path, 16384);
    if (s->account[0])
        cs_client_put_account(&path, s->account, "/certificates");
    else
        cs_buf_puts(&path, "/v1/certificates");
    put_filters(&path, o);
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

// Of what was shared in it is not known.
static void put_count(struct cs_table *t, const json_t *item, const char *member) {
    const json_t *n = json_object_get(item, member);
    if (n)
        cs_table_cellf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(n));
    else
        cs_table_cell(t, "");
}

static void put_hosts(struct cs_table *t, const json_t *item) {
    json_int_t behind = json_integer_value(json_object_get(item, "hosts_behind"));
    if (behind > 0)
        cs_table_cellf(t, "%" JSON_INTEGER_FORMAT " (%" JSON_INTEGER_FORMAT " behind)",
                       json_integer_value(json_object_get(item, "hosts_total")), behind);
    else
        put_count(t, item, "hosts_total");
}

static void put_row(struct cs_table *t, const json_t *item, bool all, bool csv) {
    if (all)
        cs_table_cell(t, cs_member_text(item, "account"));
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
        put_hosts(t, item);
        put_names(t, item);
        return;
    }
    static const char *const members[] = {"not_before", "not_after",   "ends", "issuer",
                                          "serial",     "fingerprint", "id"};
    put_all_names(t, item);
    for (size_t i = 0; i < CS_ARRAY_LEN(members); i++)
        cs_table_cell(t, cs_member_text(item, members[i]));
    put_count(t, item, "hosts_total");
    put_count(t, item, "hosts_behind");
    cs_table_cell(t, cs_member_text(item, "ends_in_use"));
}

static void put_total(const struct cs_cli *cli, const json_t *answer) {
    const json_t *total = json_object_get(answer, "total");
    if (total)
        fprintf(cli->err, "%s%" JSON_INTEGER_FORMAT " in all\n",
                json_is_true(json_object_get(answer, "total_exact")) ? "" : "at least ",
                json_integer_value(total));
}

static int print_table(const struct cs_cli *cli, const json_t *answer, bool all) {
    static const char *const headers[] = {"ACCOUNT", "NAME",     "SOURCE", "OWNER", "STATUS", ">DAYS",
                                          "KEY",     ">VERSION", "HOSTS",  "NAMES", NULL};
    static const char *const csv_headers[] = {
        "ACCOUNT",     "NAME",  "SOURCE",     "OWNER",        "STATUS",      "DAYS",   "KEY",
        "VERSION",     "NAMES", "NOT BEFORE", "NOT AFTER",    "ENDS",        "ISSUER", "SERIAL",
        "FINGERPRINT", "ID",    "HOSTS",      "HOSTS BEHIND", "ENDS IN USE", NULL};
    const struct list *o = cli->values;
    CS_AUTO(cs_table_free) struct cs_table *t = cs_table_new((o->csv ? csv_headers : headers) + !all);
    size_t i;
    const json_t *item;
    int code = CS_EXIT_OK;
    json_array_foreach(json_object_get(answer, "certificates"), i, item) put_row(t, item, all, o->csv);
    if (i > 0 || o->csv)
        code = cs_report_table(cli, t, o->csv);
    else if (!json_object_get(answer, "next")) // one page may be empty while others are not
        fputs("no certificates\n", cli->out);
    put_total(cli, answer);
    cs_report_next(cli, answer);
    return code;
}

static int run(const struct cs_cli *cli, bool all) {
    const struct list *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    json_t *answer;
    if (!cs_session_open(cli, CS_NEED_KEY | (all ? 0 : CS_NEED_ACCOUNT), &s, &err))
        return cs_report_failure(cli, &err);
    if (all)
        s.account = ""; // the token is for all accounts
    if (!get_pages(&s, o, &answer, &err))
        return cs_report_api_failure(cli, &err);
    if (s.globals->json) {
        cs_report_json(cli, answer);
        return CS_EXIT_OK;
    }
    int code = print_table(cli, answer, all);
    json_decref(answer);
    return code;
}

static int run_list(const struct cs_cli *cli) {
    return run(cli, false);
}

static int run_search(const struct cs_cli *cli) {
    return run(cli, true);
}

static const struct cs_arg search_args[] = {
    {.name = "DNS_NAME",
     CS_OPT_AT_STR(struct list, dns),
     .optional = true,
     .text = "As --dns: what is valid for it; *.PARENT: what has a name right below the parent."},
};

const struct cs_command cs_cmd_search = {
    .name = "search",
    .summary = "Find certificates in all accounts (an admin's or auditor's key)",
    .description =
        "All filters hold together. A certificate that is shared is found with its owner and with each "
        "recipient. certsync list has the same filters for one account.",
    .examples = "certsync --key admin.key search '*.example.com'\n"
                "certsync --key admin.key search --status expiring --within-hours 72 --sort expires --count\n"
                "certsync --key admin.key search --issuer \"Example CA\" --page-all --csv\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = search_args,
    .arg_count = CS_ARRAY_LEN(search_args),
    .values_size = sizeof(struct list),
    .run = run_search,
};

const struct cs_command cs_cmd_list = {
    .name = "list",
    .summary = "List the certificates that the account sees",
    .description = "Uploaded, official, test and shared-in certificates alike. OWNER says which account a "
                   "shared one comes from.",
    .examples = "certsync list\ncertsync list --dns www.example.com\ncertsync list --status expiring "
                "--within 14 --sort expires\ncertsync list "
                "--source shared --json\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct list),
    .run = run_list,
};
