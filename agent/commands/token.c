// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/runtime/fileio.h"
#include "commands/agent_commands.h"
#include "commands/submit.h"
#include "event/rights.h"
#include "event/token.h"

struct token {
    struct cs_rights_args rights;
    int64_t uses;
    int64_t expires_ms;
    const char *out;
};

static const struct cs_opt opts[] = {
    {.name = "account",
     .kind = CS_OPT_SETTING,
     .setting = "agent.account",
     .value_name = "ACCOUNT",
     .text = "The account that hosts join."},
    {.name = "can",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct token, rights.can),
     .value_name = "RIGHTS",
     .text = "Rights of the hosts: upload, delete, share, csr, read (all five if not given)."},
    {.name = "names",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct token, rights.names),
     .value_name = "PATTERN",
     .default_text = "*",
     .text = "Names of certificates that they may touch; '*' stands for any characters."},
    {.name = "dns",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct token, rights.dns),
     .value_name = "PATTERNS",
     .text = "Hosts that their certificates and requests may name, comma-separated: www.example.com, "
             "*.example.com "
             "(one label more), **.example.com (one or several), IP:192.0.2.1, IP:* (all if not given)."},
    {.name = "uses",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct token, uses),
     .value_name = "N",
     .default_text = "1",
     .min = 1,
     .max = 1000000,
     .text = "How many hosts may join with it."},
    {.name = "expires",
     .kind = CS_OPT_DURATION,
     CS_OPT_AT_INT(struct token, expires_ms),
     .value_name = "DURATION",
     .default_text = "1h",
     .min = 1000,
     .max = 366LL * 86400000,
     .text = "How long it is good."},
    {.name = "label",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct token, rights.label),
     .value_name = "TEXT",
     .text = "For people: what it is for."},
    {.name = "out",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct token, out),
     .value_name = "FILE",
     .text = "Where the token goes (mode 0600; a file that is there stays as it is); standard output if not "
             "given."},
};

static bool compose(const struct cs_session *s, const struct token *o, struct cs_join_token *t,
                    struct cs_composed **ret, struct cs_err *err) {
    uint8_t *spki;
    size_t spki_len;
    char *pem;
    if (!cs_privkey_spki(t->key, &spki, &spki_len, err))
        return false;
    bool ok = cs_spki_to_pem((struct cs_bytes){spki, spki_len}, &pem, err);
    free(spki);
    if (!ok)
        return false;
    struct cs_compose c = cs_session_compose(s);
    struct cs_source_text text = {"the token's key", {(const uint8_t *)pem, strlen(pem)}};
    ok = cs_compose_public_key(&c, CS_EVENT_AGENT_ENROLL, &text, ret, err);
    free(pem);
    if (!ok)
        return false;
    struct cs_event_enroll *to = &(*ret)->event.data.enroll;
    to->can = CS_CAN_ENROLL;
    to->uses = o->uses;
    to->expires_s = t->expires_s;
    to->has_grant = true;
    to->grant_can = t->can;
    snprintf(to->names, sizeof to->names, "%s", t->names);
    snprintf(to->grant_names, sizeof to->grant_names, "%s", t->names);
    snprintf(to->grant_dns, sizeof to->grant_dns, "%s", t->dns);
    snprintf(to->label, sizeof to->label, "%s", o->rights.label ? o->rights.label : "join token");
    return true;
}

// With --out, prints only the file's name.
static void print(const struct cs_session *s, FILE *out, const char *file, const char *text, const char *kid,
                  int64_t expires_s) {
    char until[CS_TIME_TEXT_SIZE];
    cs_time_format(expires_s, until);
    if (s->globals->json) {
        json_t *o = json_pack("{s:s, s:s, s:s}", file ? "file" : "token", file ? file : text, "kid", kid,
                              "expires", until);
        json_dumpf(o, out, JSON_COMPACT);
        fputc('\n', out);
        json_decref(o);
    } else if (!file) {
        fprintf(out, "%s\n", text);
    } else if (!s->globals->quiet) {
        fprintf(s->cli->err, "token: %s (a secret, good until %s)\n", file, until);
    }
}

// The token is written before it is enrolled: a valid token must not be lost.
static bool write_token(const char *file, const char *text, struct cs_err *err) {
    char line[CS_JOIN_TOKEN_MAX + 1];
    int n = snprintf(line, sizeof line, "%s\n", text);
    bool ok = cs_file_create(file, (struct cs_bytes){(const uint8_t *)line, (size_t)n}, 0600, err);
    explicit_bzero(line, sizeof line);
    return ok;
}

// "> FILE" makes a file that everybody may read, unless the umask forbids it.
static void warn_if_open(const struct cs_session *s) {
    struct stat st;
    if (fstat(STDOUT_FILENO, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077))
        fputs("warning: standard output is a file that others can read, and the token is a secret: chmod 600 "
              "it, or use "
              "--out FILE\n",
              s->cli->err);
}

static int make(struct cs_session *s, const struct token *o, unsigned can, const char *dns, FILE *out) {
    struct cs_err err;
    CS_AUTO(cs_join_token_clear) struct cs_join_token t = {.can = can};
    char text[CS_JOIN_TOKEN_MAX];
    struct cs_composed *event;
    memcpy(t.log_id, s->log_id, sizeof t.log_id);
    snprintf(t.account, sizeof t.account, "%s", s->account);
    snprintf(t.names, sizeof t.names, "%s", o->rights.names);
    snprintf(t.dns, sizeof t.dns, "%s", dns);
    t.expires_s = (cs_clock_wall_ms(s->clock) + o->expires_ms) / 1000;
    if (!cs_privkey_generate(CS_KEY_P256, 0, &t.key, &err) || !cs_join_token_write(&t, text, &err) ||
        !compose(s, o, &t, &event, &err))
        return cs_report_failure(s->cli, &err);
    const char *file = s->globals->dry_run ? NULL : o->out;
    if (file && !write_token(file, text, &err)) {
        cs_composed_free(event);
        explicit_bzero(text, sizeof text);
        return cs_report_failure(s->cli, &err);
    }
    char what[160];
    cs_kid kid;
    memcpy(kid, event->event.subject, sizeof kid);
    snprintf(what, sizeof what, "enrolment of join token %s in %s", kid, s->account);
    int code = cs_submit(s, event, what);
    // If the outcome is not known in time, the token is good once the event is judged.
    bool good = !s->globals->dry_run && (code == CS_EXIT_OK || code == CS_EXIT_UNKNOWN);
    if (good && !file)
        warn_if_open(s);
    if (good)
        print(s, out, file, text, kid, t.expires_s);
    else if (file)
        unlink(file);
    explicit_bzero(text, sizeof text);
    return code;
}

static int run(const struct cs_cli *cli) {
    const struct token *o = cli->values;
    struct cs_err err;
    unsigned can;
    cs_dns_patterns dns;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    int code = cs_rights_read(cli, &o->rights, "a join token cannot hand out the right enroll", &can, dns);
    if (code != CS_EXIT_OK)
        return code;
    // Only the token goes to standard output.
    struct cs_cli quiet = *cli;
    quiet.out = cli->err;
    if (!cs_session_open(&quiet, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    return make(&s, o, can, dns, cli->out);
}

const struct cs_command cs_cmd_agent_token = {
    .name = "token",
    .summary = "Make a token with which hosts enrol themselves (admin's key)",
    .description =
        "Writes the token, which is a secret, to --out FILE, or prints it on standard output. A host joins "
        "with: certsync agent join "
        "--token-file FILE, or: certsync agent join - (standard input). It is revoked like any key: certsync "
        "agent revoke KID.",
    .examples = "certsync agent token --account acme --can upload,read --uses 100 --expires 1h --out "
                "join.token --key admin.key\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct token),
    .run = run,
};
