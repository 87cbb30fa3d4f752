// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "commands/submit.h"

struct del {
    const char *name;
    bool cascade;
    const char *from;
    bool yes;
};

static const struct cs_opt opts[] = {
    {.name = "cascade",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct del, cascade),
     .text = "Also if it is shared: all its shares end."},
    {.name = "from",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct del, from),
     .value_name = "ACCOUNT",
     .text = "Remove what this account shared in, instead of an own certificate."},
    {.name = "yes",
     .letter = 'y',
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct del, yes),
     .text = "Do not ask. Only a terminal is asked."},
};
static const struct cs_arg args[] = {
    {.name = "NAME|ID", CS_OPT_AT_STR(struct del, name), .text = "The certificate."},
};

// What is known of the thing to delete. NULL where nobody knows.
static json_t *look(struct cs_session *s, const struct del *o, const char *id) {
    CS_AUTO(cs_buf_clear) struct cs_buf path;
    struct cs_err err;
    json_t *item = NULL;
    cs_buf_init(&path, 4096);
    cs_client_put_account(&path, s->account, "/certificates");
    cs_client_put_segment(&path, id);
    cs_client_put_query(&path, "owner", o->from);
    if (s->settings->api_url[0] && cs_buf_ok(&path, &err) && cs_session_client(s, &err) &&
        cs_client_get(s->client, (const char *)path.data, 0, &item, &err))
        return item;
    fprintf(s->cli->err, "What certificate %s holds cannot be shown: %s\n", id,
            s->settings->api_url[0] ? err.msg : "no API is configured (api.url)");
    return NULL;
}

static void print_words(FILE *out, const char *title, const json_t *list, const char *member) {
    size_t i;
    const json_t *item;
    if (json_array_size(list) == 0)
        return;
    fprintf(out, "  %s", title);
    json_array_foreach(list, i, item) {
        const char *word = json_string_value(member ? json_object_get(item, member) : item);
        fprintf(out, "%s%s", i ? ", " : "", cs_told(word ? word : ""));
    }
    fputc('\n', out);
}

static void print_item(FILE *out, const json_t *item) {
    const char *name = json_string_value(json_object_get(item, "name"));
    json_int_t days = json_integer_value(json_object_get(item, "days_left"));
    fprintf(out, "%s, ", cs_told(name ? name : ""));
    if (days >= 0)
        fprintf(out, "valid for %" JSON_INTEGER_FORMAT " more days\n", days);
    else
        fprintf(out, "expired %" JSON_INTEGER_FORMAT " days ago\n", -days);
    print_words(out, "names: ", json_object_get(item, "names"), NULL);
    print_words(out, "shared with: ", json_object_get(item, "shares"), "to");
}

// Reads one line of the terminal and no byte more: text pasted after it is for the shell. False at
// the end of input.
static bool read_answer(char *out, size_t size) {
    size_t len = 0;
    ssize_t n;
    char c = '\0';
    while (((n = read(STDIN_FILENO, &c, 1)) == 1 && c != '\n') || (n < 0 && errno == EINTR))
        if (n == 1 && len + 1 < size)
            out[len++] = c;
    out[len] = '\0';
    out[strcspn(out, "\r")] = '\0';
    return n == 1;
}

// Whether a person says yes. A program is not asked: it has decided.
static bool confirmed(struct cs_session *s, const struct del *o, const char *id) {
    FILE *out = s->cli->err;
    char line[80] = "";
    bool people = !o->yes && !s->globals->json && !s->globals->dry_run && isatty(STDIN_FILENO) == 1 &&
                  isatty(STDERR_FILENO) == 1;
    if (!people)
        return true;
    json_t *item = look(s, o, id);
    if (item)
        print_item(out, item);
    json_decref(item);
    fprintf(out, "%s? It cannot be brought back. [y/N] ",
            o->from      ? "Remove what was shared in"
            : o->cascade ? "Delete it, and end all its shares"
                         : "Delete it from the catalog");
    fflush(out);
    int64_t asked_ms = cs_clock_mono_ms(s->clock);
    bool answered = read_answer(line, sizeof line);
    s->deadline_ms += cs_clock_mono_ms(s->clock) - asked_ms; // the time a person takes does not count
    if (!answered)
        fputc('\n', out);
    if (strcasecmp(line, "y") == 0 || strcasecmp(line, "yes") == 0)
        return true;
    if (line[0] && strcasecmp(line, "n") != 0 && strcasecmp(line, "no") != 0) // a pasted line, perhaps
        fprintf(out, "\"%s\" was taken for the answer, and is not yes (--yes: do not ask)\n",
                cs_quoted(line));
    return false;
}

static int run(const struct cs_cli *cli) {
    const struct del *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    if (o->from && !cs_account_valid(o->from, strlen(o->from)))
        return cs_cli_usage_error(cli, "--from: \"%s\" is not an account id", cs_quoted(o->from));
    if (o->from && o->cascade)
        return cs_cli_usage_error(cli, "--cascade is for own certificates, not with --from");
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    cs_uuid id;
    if (!cs_session_certificate_id(&s, o->name, o->from, id, &err))
        return cs_report_api_failure(cli, &err);
    if (!confirmed(&s, o, id)) {
        fputs("not deleted: nothing was written, and nothing was sent\n", cli->err);
        return CS_EXIT_REFUSED;
    }
    struct cs_compose compose = cs_session_compose(&s);
    struct cs_composed *event;
    if (!cs_compose_event(&compose, CS_EVENT_CERTIFICATE_DELETE, id, &event, &err))
        return cs_report_failure(cli, &err);
    event->event.data.del.cascade = o->cascade;
    snprintf(event->event.data.del.from, sizeof event->event.data.del.from, "%s", o->from ? o->from : "");
    char what[220];
    snprintf(what, sizeof what, "delete of \"%s\"", cs_shown(o->name));
    return cs_submit(&s, event, what);
}

const struct cs_command cs_cmd_delete = {
    .name = "delete",
    .summary = "Delete a certificate from the catalog for ever",
    .description = "Final: the sealed key goes with it. The certificate itself stays valid until it expires "
                   "or its CA revokes it. On a terminal it is shown what goes, and asked (exit code 4 where "
                   "the answer is "
                   "not yes).",
    .examples =
        "certsync delete www\ncertsync delete shop --cascade --yes\ncertsync delete shop --from acme\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct del),
    .run = run,
};
