// SPDX-License-Identifier: Apache-2.0
// How a command reports what happened; declared in session.h.
#include <stdio.h>
#include <string.h>

#include "certsync/base/secret.h"
#include "certsync/base/text.h"
#include "event/session.h"

#define SHOWN_SIZE 512

static char *next_buffer(void) {
    static char ring[4][SHOWN_SIZE]; // only one thread writes messages
    static unsigned next;
    return ring[next++ % CS_ARRAY_LEN(ring)];
}

const char *cs_shown(const char *text) {
    char *out = next_buffer();
    cs_secret_show(text, strlen(text), out, SHOWN_SIZE);
    return out;
}

const char *cs_told(const char *text) {
    char *out = next_buffer();
    cs_text_escape(text, strlen(text), out, SHOWN_SIZE);
    return out;
}

const char *cs_quoted(const char *text) {
    char *out = next_buffer();
    cs_secret_quote(text, strlen(text), out, SHOWN_SIZE);
    return out;
}

void cs_report_json(const struct cs_cli *cli, json_t *object) {
    json_dumpf(object, cli->out, JSON_COMPACT);
    fputc('\n', cli->out);
    json_decref(object);
}

int cs_report_table(const struct cs_cli *cli, const struct cs_table *t, bool csv) {
    bool ok = csv ? cs_table_print_csv(t, cli->out) : cs_table_print(t, cli->out);
    return ok ? CS_EXIT_OK : CS_EXIT_USAGE;
}

void cs_report_code(const struct cs_cli *cli, enum cs_code code, const char *msg) {
    if (code == CS_CODE_NONE)
        return;
    fprintf(cli->err, "  code: %s\n", cs_code_name(code));
    if (!strstr(msg, "openssl ") &&
        !strstr(msg, " NEW")) // the message already says what to run for this file
        fprintf(cli->err, "  hint: %s\n", cs_code_hint(code));
}

static int report(const struct cs_cli *cli, const struct cs_err *err, const char *state, int exit_code) {
    const struct cs_globals *g = cli->globals;
    if (g->json) {
        json_t *o = json_pack("{s:s, s:s, s:i}", "status", state, "message", err->msg, "exit", exit_code);
        if (err->code != CS_CODE_NONE) {
            json_object_set_new(o, "code", json_string(cs_code_name(err->code)));
            json_object_set_new(o, "sentence", json_string(cs_code_sentence(err->code)));
            json_object_set_new(o, "hint", json_string(cs_code_hint(err->code)));
        }
        cs_report_json(cli, o);
        return exit_code;
    }
    fprintf(cli->err, "%s: %s%s\n", cli->path, exit_code == CS_EXIT_REFUSED ? "refused: " : "", err->msg);
    cs_report_code(cli, err->code, err->msg);
    return exit_code;
}

void cs_report_next(const struct cs_cli *cli, const json_t *answer) {
    const char *next = json_string_value(json_object_get(answer, "next"));
    if (!next || !next[0])
        return;
    fputs("There are more: --page-all, or --cursor ", cli->err);
    for (const char *p = next; *p; p++) // with a long name it does not fit into the ring's buffers
        if (*p > ' ' && *p <= '~')
            fputc(*p, cli->err);
        else
            fprintf(cli->err, "\\x%02x", (unsigned)(unsigned char)*p);
    fputc('\n', cli->err);
}

int cs_report_failure(const struct cs_cli *cli, const struct cs_err *err) {
    bool refused = err->kind == CS_ERR_REJECT;
    return report(cli, err, refused ? "refused" : "error", refused ? CS_EXIT_REFUSED : CS_EXIT_USAGE);
}

int cs_report_api_failure(const struct cs_cli *cli, const struct cs_err *err) {
    switch (err->kind) {
    case CS_ERR_REJECT:
        return report(cli, err, "denied", CS_EXIT_DENIED);
    case CS_ERR_RETRY:
        return report(cli, err, "unknown", CS_EXIT_UNKNOWN);
    case CS_ERR_CONFIG:
    case CS_ERR_FATAL:
    case CS_ERR_DAMAGED:
        break;
    }
    return report(cli, err, "error", CS_EXIT_USAGE);
}
