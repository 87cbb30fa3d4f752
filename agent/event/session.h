// SPDX-License-Identifier: Apache-2.0
//
// What a command works with: its settings, the host's key, the API, the clock; and how it reports
// what happened. Opened when a command starts, closed when it ends.
#pragma once

#include <jansson.h>

#include "certsync/model/codes.h"
#include "certsync/model/ident.h"
#include "certsync/runtime/table.h"
#include "event/client.h"
#include "event/compose.h"
#include "event/input.h"
#include "event/interrupt.h"
#include "event/options.h"
#include "spool/spool.h"

enum cs_need {
    CS_NEED_KEY = 1,       // deployment id and the host's key
    CS_NEED_ACCOUNT = 2,   // agent.account or --account
    CS_NEED_CUSTODIAN = 4, // agent.custodian
    CS_ENDLESS = 8,        // a daemon: --timeout bounds nothing
    CS_NEED_LOG = 16,      // which log events are signed for (known_log.h)
};

// Of the file that agent.custodian names.
#define CS_CUSTODIAN_ADVICE                                                                                  \
    "it is the public key that certsync keygen --type custodian wrote beside the custodian's key "           \
    "(custodian.key.pub): copy it there"

struct cs_session {
    const struct cs_cli *cli;
    const struct cs_globals *globals;
    struct cs_agent_settings *settings;
    cs_deployment_id deployment;
    cs_log_id log_id; // "" where it is not known yet
    // With CS_ENDLESS: why nothing may be sent, since the API serves another log. "": it may.
    char foreign_log[CS_ERR_MSG_MAX];
    const char *account;
    struct cs_crypto *crypto;
    struct cs_privkey *key;
    cs_kid kid;
    uint8_t *custodian; // SPKI
    size_t custodian_len;
    struct cs_client *client; // NULL until cs_session_client
    struct cs_interrupt *interrupt;
    const struct cs_clock *clock;
    // monotonic: start + --timeout, for all that is done; INT64_MAX with CS_ENDLESS
    int64_t deadline_ms;
};

// With --dry-run, missing settings (deployment, account, key, custodian) are made up, so that files
// can be checked anywhere.
CS_MUST_USE bool cs_session_open(const struct cs_cli *cli, unsigned needs, struct cs_session *ret,
                                 struct cs_err *err);
// The settings of this command line: a struct cs_agent_settings, as the root's load_settings gives.
CS_MUST_USE bool cs_session_load_settings(const struct cs_cli *cli, void **ret, struct cs_err *err);
void cs_session_close(struct cs_session *s);
CS_DEFINE_AUTO_CLEAR(struct cs_session, cs_session_close)
CS_MUST_USE bool cs_session_client(struct cs_session *s, struct cs_err *err);
struct cs_compose cs_session_compose(const struct cs_session *s);
int64_t cs_session_left_ms(const struct cs_session *s);

// The certificate's id, from NAME|ID. An id needs no API; a name is looked up.
CS_MUST_USE bool cs_session_certificate_id(struct cs_session *s, const char *name_or_id, const char *owner,
                                           cs_uuid ret, struct cs_err *err);

// Reads a public key file (PEM): SPKI, malloc'ed.
CS_MUST_USE bool cs_session_read_spki(struct cs_crypto *c, const char *path, uint8_t **ret, size_t *ret_len,
                                      struct cs_err *err);

// --- Reports. For people on standard error, with --json as one object on standard output. Each
// returns the exit code.

// A table for people, or with --csv for programs. Returns the exit code.
int cs_report_table(const struct cs_cli *cli, const struct cs_table *t, bool csv);
// A row of a command's option table; V is its values struct, m a bool.
// NOLINTBEGIN(bugprone-macro-parentheses): V is a type, m a member
#define CS_CSV_OPT(V, m)                                                                                     \
    {                                                                                                        \
        .name = "csv", .kind = CS_OPT_FLAG, CS_OPT_AT_FLAG(V, m),                                            \
        .text = "Print the table as CSV, for spreadsheets."                                                  \
    }
// NOLINTEND(bugprone-macro-parentheses)

// What stopped the command on this host: REJECT is CS_EXIT_REFUSED, all else CS_EXIT_USAGE.
int cs_report_failure(const struct cs_cli *cli, const struct cs_err *err);
// What the API said, or that it did not answer: REJECT is CS_EXIT_DENIED, RETRY is CS_EXIT_UNKNOWN.
int cs_report_api_failure(const struct cs_cli *cli, const struct cs_err *err);
// Writes one JSON object and a line feed to standard output. Takes the object.
void cs_report_json(const struct cs_cli *cli, json_t *object);
// "  code: …" and "  hint: …" below a message on standard error. There is no hint if the message
// says what to run.
void cs_report_code(const struct cs_cli *cli, enum cs_code code, const char *msg);
// The next page of a list, on standard error, if the answer has one. It prints the whole cursor, to
// be given back unchanged.
void cs_report_next(const struct cs_cli *cli, const json_t *answer);

// Three ways to show text; all escape control characters. They share a ring of buffers: at most
// four in one call. This one is for texts of the API or the agent's status file. They came out of
// the log, which holds nobody's key, so all of it is shown.
const char *cs_told(const char *text);
// For texts from the command line or a file that were accepted. A key that was given for a name is
// not shown.
const char *cs_shown(const char *text);
// For messages that refuse a text: nothing that may be a key is shown (secret.h).
const char *cs_quoted(const char *text);
// Opens the spool of the session's key with the limits of the settings.
CS_MUST_USE bool cs_session_spool(struct cs_session *s, struct cs_spool **ret, struct cs_err *err);
