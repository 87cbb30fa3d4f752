// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "certsync/runtime/log.h"
#include "commands/agent_commands.h"
#include "commands/submit.h"
#include "event/hostkey.h"
#include "event/known_log.h"
#include "event/token.h"
#include "spool/drain.h"

#define DENIED_GRACE_MS 5000 // the token may be very new
#define ASK_S           10
#define JITTER_MS       250

struct join {
    const char *token;
    const char *token_file;
    const char *label;
};

static const struct cs_opt opts[] = {
    {.name = "token-file",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct join, token_file),
     .value_name = "FILE",
     .text = "File that holds the token (mode 0600)."},
    {.name = "label",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(struct join, label),
     .value_name = "TEXT",
     .text = "For people; the host's name if not given."},
};
static const struct cs_arg args[] = {
    {.name = "-",
     CS_OPT_AT_STR(struct join, token),
     .optional = true,
     .text = "The token, as certsync agent token printed it, is read from standard input."},
};

struct joining {
    struct cs_session *session; // with the token's key
    struct cs_join_token token;
    struct cs_privkey *host_key;
    char *host_pem;
    cs_kid host_kid;
    struct cs_spool *spool;
    struct cs_publisher *publisher;
    struct cs_end end;
};
static void joining_clear(struct joining *j) {
    cs_join_token_clear(&j->token);
    cs_privkey_free(j->host_key);
    free(j->host_pem);
    cs_end_clear(&j->end);
    cs_publisher_free(j->publisher);
    cs_spool_free(j->spool);
}
CS_DEFINE_AUTO_CLEAR(struct joining, joining_clear)

// A token is a private key, and the list of processes shows arguments. It is accepted, because
// scripts may give it so. But we warn, and erase it at once.
static bool read_argument(const struct cs_cli *cli, const char *text, struct cs_join_token *ret,
                          struct cs_err *err) {
    bool ok = cs_join_token_read(text, ret, err);
    explicit_bzero((char *)(uintptr_t)text, strlen(text)); // we may change argv
    if (ok)
        fputs("warning: the token stood on the command line, where other users of this host can read it; "
              "give it by "
              "certsync agent join - or --token-file FILE\n",
              cli->err);
    return ok;
}

static bool read_token(const struct cs_cli *cli, const struct join *o, struct cs_join_token *ret,
                       struct cs_err *err) {
    const char *path = o->token_file ? o->token_file : "-";
    if (o->token && strcmp(o->token, "-") != 0)
        return read_argument(cli, o->token, ret, err);
    CS_AUTO(cs_input_clear) struct cs_input in = {0};
    if (!cs_input_read(path, CS_INPUT_STDIN | CS_INPUT_PRIVATE, &in, err)) {
        err->kind = CS_ERR_CONFIG;
        return false;
    }
    char line[CS_JOIN_TOKEN_MAX + 2] = "";
    const char *text = (const char *)in.bytes.data;
    size_t at = 0, len = 0;
    while (at < in.bytes.len && strchr(" \t\r\n", text[at]) && text[at])
        at++;
    while (at + len < in.bytes.len && len < sizeof line - 1 && text[at + len] &&
           !strchr(" \t\r\n", text[at + len]))
        len++;
    if (len == 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s holds no token",
                          o->token_file ? "the file" : in.label);
    memcpy(line, text + at, len);
    bool ok = cs_join_token_read(line, ret, err);
    explicit_bzero(line, sizeof line);
    return ok;
}

// The settings, and what this host knows, must agree with the token.
static bool same_log(const struct cs_session *s, const char *token, struct cs_err *err) {
    if (s->deployment[0] && !cs_log_id_is_of(token, s->deployment))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the token is for log %s, the settings say deployment %s", token, s->deployment);
    return !s->log_id[0] || strcmp(s->log_id, token) == 0 ||
           cs_err_set(
               err, CS_ERR_CONFIG, CS_CODE_NONE,
               "the token is for log %s, but this host works with log %s: if the topics were made anew, say "
               "id = %s under [deployment] in the settings; if not, ask for a token of this log",
               token, s->log_id, token);
}

// The settings must agree with the token.
static bool adopt(struct joining *j, struct cs_err *err) {
    struct cs_session *s = j->session;
    const struct cs_agent_settings *set = s->settings;
    if (!cs_known_log_recall(s, j->token.log_id, err) || !same_log(s, j->token.log_id, err))
        return false;
    if (set->account[0] && strcmp(set->account, j->token.account) != 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the token is for the account %s, the settings say %s", j->token.account,
                          set->account);
    if (!set->key[0])
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "agent.key does not say where the host's key is to be");
    if (j->token.expires_s > 0 && cs_clock_wall_ms(s->clock) / 1000 >= j->token.expires_s)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "the token has expired; ask for a new one");
    char *pem;
    memcpy(s->log_id, j->token.log_id, sizeof s->log_id);
    s->account = j->token.account;
    if (!cs_hostkey_public(s->crypto, j->token.key, &pem, s->kid, err))
        return false;
    free(pem);
    s->key = CS_TAKE(j->token.key);
    if (!cs_known_log_meet(s, err))
        return false;
    cs_known_log_keep(s);
    return true;
}

// An existing key is used: a host that joins again after an interruption is the same host.
static bool have_key(struct joining *j, bool *ret_there, struct cs_err *err) {
    const struct cs_agent_settings *set = j->session->settings;
    const char *path = set->key;
    if (!cs_hostkey_read(j->session->crypto, path, set->key_provider, &j->host_key, err))
        return false;
    *ret_there = j->host_key != NULL;
    return (j->host_key || cs_hostkey_make(path, &j->host_key, err)) &&
           cs_hostkey_public(j->session->crypto, j->host_key, &j->host_pem, j->host_kid, err);
}

static bool compose(const struct joining *j, const char *label, struct cs_composed **ret,
                    struct cs_err *err) {
    char host[256] = "";
    struct cs_compose c = cs_session_compose(j->session);
    struct cs_source_text text = {"the host's key", {(const uint8_t *)j->host_pem, strlen(j->host_pem)}};
    if (!cs_compose_public_key(&c, CS_EVENT_AGENT_ENROLL, &text, ret, err))
        return false;
    if (!label && gethostname(host, sizeof host - 1) == 0)
        label = host;
    struct cs_event_enroll *to = &(*ret)->event.data.enroll;
    to->can = j->token.can;
    snprintf(to->names, sizeof to->names, "%s", j->token.names);
    snprintf(to->dns, sizeof to->dns, "%s", j->token.dns);
    snprintf(to->label, sizeof to->label, "%s", label ? label : "");
    return true;
}

// Many hosts sign with a token's key at the same time, each on its own. So numbers come from the
// clock, in microseconds: they rise over all hosts. If two cross on their way, the watermark
// corrects them.
static int64_t number_now(const struct cs_session *s) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    (void)s;
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void jitter(void) {
    uint16_t r = 0;
    if (getrandom(&r, sizeof r, 0) != (ssize_t)sizeof r)
        r = 0;
    nanosleep(&(struct timespec){.tv_nsec = (long)(r % JITTER_MS) * 1000000L}, NULL);
}

static bool publish(struct joining *j, struct cs_err *err) {
    struct cs_session *s = j->session;
    struct cs_drain d = {
        .spool = j->spool, .crypto = s->crypto, .publisher = j->publisher, .clock = s->clock};
    return cs_drain_run(&d, 0, s->deadline_ms, err);
}

static bool number_again(struct joining *j, struct cs_event *ev, struct cs_err *err) {
    struct cs_session *s = j->session;
    int64_t above = number_now(s), old = ev->seq, next = 0;
    if (j->end.watermark > above)
        above = j->end.watermark;
    if (!cs_spool_publish_lock(j->spool, s->clock, s->deadline_ms, err))
        return false;
    bool ok = cs_spool_renumber(j->spool, s->crypto, s->key, &old, 1, above, &next, err);
    cs_spool_publish_unlock(j->spool);
    if (ok && next > 0)
        ev->seq = next;
    return ok;
}

// Waits until the outcome is known or the time is over (RETRY, or the API's last answer).
static bool wait_for_end(struct joining *j, struct cs_event *ev, struct cs_err *err) {
    struct cs_session *s = j->session;
    int64_t denied_since = 0;
    for (;;) {
        int64_t left = cs_session_left_ms(s), now = cs_clock_mono_ms(s->clock), wait_s = left / 1000 + 1;
        cs_end_clear(&j->end);
        bool ok = cs_end_ask(s, ev->account, ev->id, ev->seq, wait_s < ASK_S ? wait_s : ASK_S, &j->end, err);
        if (ok && (j->end.ending == CS_ENDING_APPLIED || j->end.ending == CS_ENDING_REJECTED))
            return true;
        if (ok && j->end.ending == CS_ENDING_REPLAYED) {
            jitter();
            if (!number_again(j, ev, err) || !publish(j, err))
                return false;
            continue;
        }
        if (ok)
            cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE, "it has not been judged in time");
        if (!ok && err->kind == CS_ERR_REJECT) {
            denied_since = denied_since ? denied_since : now;
            if (now - denied_since > DENIED_GRACE_MS)
                return false;
        } else if (!ok && err->kind != CS_ERR_RETRY) {
            return false;
        }
        if (cs_session_left_ms(s) == 0)
            return false;
        jitter();
    }
}

static int say_end(const struct joining *j) {
    cs_interrupt_ended(j->session->interrupt);
    const struct cs_session *s = j->session;
    const struct cs_end *e = &j->end;
    bool applied = e->ending == CS_ENDING_APPLIED;
    int code = applied ? CS_EXIT_OK : CS_EXIT_REJECTED;
    if (s->globals->json) {
        json_t *o = json_pack("{s:s, s:s, s:s, s:i}", "status", applied ? "applied" : "rejected", "account",
                              s->account, "kid", j->host_kid, "exit", code);
        if (e->code_name[0])
            json_object_set_new(o, "code", json_string(e->code_name));
        cs_report_json(s->cli, o);
        return code;
    }
    if (!applied) {
        fprintf(s->cli->err, "rejected: enrolment in %s: %s %s\n", s->account,
                e->code != CS_CODE_NONE ? cs_code_sentence(e->code) : e->code_name, e->detail);
        cs_report_code(s->cli, e->code, "");
        if (e->code == CS_CODE_EVENT_FORBIDDEN)
            fputs("  The token is used up, has expired, or was made for less.\n", s->cli->err);
        return code;
    }
    if (s->globals->quiet)
        return code;
    fprintf(s->cli->out, "joined: key %s of this host is enrolled in %s\n", j->host_kid, s->account);
    if (!s->settings->account[0])
        fprintf(s->cli->err, "Put account = %s under [agent] into the settings.\n", s->account);
    if (!s->settings->deployment[0])
        fprintf(s->cli->err, "Put id = %s under [deployment] into the settings.\n", s->deployment);
    if (!s->settings->custodian[0])
        fputs("Set agent.custodian to the custodian's public key.\n", s->cli->err);
    else if (access(s->settings->custodian, R_OK) < 0)
        fprintf(s->cli->err, "agent.custodian: %s cannot be read: %s; " CS_CUSTODIAN_ADVICE ".\n",
                s->settings->custodian, strerror(errno));
    return code;
}

static int join(struct joining *j, const char *label) {
    struct cs_session *s = j->session;
    CS_AUTO(cs_composed_free) struct cs_composed *event = NULL;
    struct cs_err err;
    bool there = false;
    cs_interrupt_set(
        s->interrupt, "spooling", NULL,
        "This host was not enrolled. Run certsync agent join again: it goes on with the key that is there");
    if (!adopt(j, &err) || !have_key(j, &there, &err))
        return cs_report_failure(s->cli, &err);
    if (there && cs_hostkey_enrolled(s, j->host_key, j->host_kid)) { // no use of the token was spent
        j->end.ending = CS_ENDING_APPLIED;
        return say_end(j);
    }
    if (!compose(j, label, &event, &err) || !cs_session_spool(s, &j->spool, &err) ||
        !cs_spool_raise(j->spool, number_now(s), &err) ||
        !cs_publisher_kafka(&s->settings->kafka, s->settings->events_topic, "certsync", &j->publisher,
                            &err) ||
        !cs_spool_add(j->spool, s->crypto, s->key, &event->event, &err))
        return cs_report_failure(s->cli, &err);
    cs_interrupt_set(
        s->interrupt, "sending", &event->event,
        "Whether this host was enrolled is not known. Run certsync agent join again: it goes on with the key "
        "that is there");
    if (!publish(j, &err) || !wait_for_end(j, &event->event, &err))
        return cs_report_api_failure(s->cli, &err);
    if (!cs_spool_remove(j->spool, event->event.seq, &err))
        cs_log_err(CS_LOG_WARN, "spool file not removed", &err, "event=%s", event->event.id);
    return say_end(j);
}

static int run(const struct cs_cli *cli) {
    const struct join *o = cli->values;
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(joining_clear) struct joining j = {.session = &s};
    if (o->label && strlen(o->label) > CS_NAME_MAX)
        return cs_cli_usage_error(cli, "--label is longer than %d", CS_NAME_MAX);
    if (!o->token == !o->token_file)
        return cs_cli_usage_error(cli,
                                  "give the token in one way: \"-\" (standard input), or --token-file FILE");
    if (!cs_session_open(cli, 0, &s, &err) || !read_token(cli, o, &j.token, &err))
        return cs_report_failure(cli, &err);
    if (!s.settings->api_url[0]) {
        cs_err_set(&err, CS_ERR_CONFIG, CS_CODE_NONE,
                   "api.url is not set: whether the host was let in could not be asked");
        return cs_report_failure(cli, &err);
    }
    return join(&j, o->label);
}

const struct cs_command cs_cmd_agent_join = {
    .name = "join",
    .summary = "Make this host's key and enrol it with a join token",
    .description =
        "The key is made here, at agent.key (0600), and never leaves this host. Where agent.key is a URI, "
        "the "
        "key in that token or TPM is enrolled; make it with the token's own tools first. Run again after an "
        "interruption it goes on with the key that is there.",
    .examples = "certsync agent join - < token\ncertsync agent join --token-file token\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .args = args,
    .arg_count = CS_ARRAY_LEN(args),
    .values_size = sizeof(struct join),
    .run = run,
};
