// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "certsync/runtime/fileio.h"
#include "certsync/runtime/log.h"
#include "commands/agent_commands.h"
#include "commands/submit.h"
#include "daemon/daemon.h"
#include "event/hostkey.h"
#include "event/keystore.h"

struct rotate {
    bool no_reload;
};
static const struct cs_opt opts[] = {
    {.name = "no-reload",
     .kind = CS_OPT_FLAG,
     CS_OPT_AT_FLAG(struct rotate, no_reload),
     .text = "Do not tell the running daemon (SIGHUP)."},
};

struct rotating {
    struct cs_session *session;
    char path[PATH_MAX]; // the next key's
    struct cs_privkey *key;
    char *pem;
    cs_kid kid;
};
static void rotating_clear(struct rotating *r) {
    cs_privkey_free(r->key);
    free(r->pem);
}
CS_DEFINE_AUTO_CLEAR(struct rotating, rotating_clear)

// Makes the next key, or takes the one that an interrupted rotation left.
static bool next_key(struct rotating *r, bool *ret_left, struct cs_err *err) {
    const char *path = r->session->settings->key;
    if (snprintf(r->path, sizeof r->path, "%s.next", path) >= (int)sizeof r->path)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "%s: the path is too long", path);
    if (cs_keystore_is_uri(path))
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "agent.key is a URI: make the next key in its store, point agent.key to it, and enrol it "
            "with certsync agent join; then have an admin revoke %s",
            r->session->kid);
    if (!cs_hostkey_read(r->session->crypto, r->path, "", &r->key, err))
        return false;
    *ret_left = r->key != NULL;
    return (r->key || cs_hostkey_make(r->path, &r->key, err)) &&
           cs_hostkey_public(r->session->crypto, r->key, &r->pem, r->kid, err);
}

static bool move(const char *from, const char *to, const char *ending, struct cs_err *err) {
    char a[PATH_MAX + 8], b[PATH_MAX + 8];
    snprintf(a, sizeof a, "%s%s", from, ending);
    snprintf(b, sizeof b, "%s%s", to, ending);
    return cs_file_move(a, b, err);
}

static bool change_files(const struct rotating *r, struct cs_err *err) {
    const char *key = r->session->settings->key;
    return move(r->path, key, ".pub", err) && move(r->path, key, "", err);
}

// Events of the old key may still be open. The old key may still ask for their outcomes.
static void settle_old(struct rotating *r) {
    CS_AUTO(cs_spool_free) struct cs_spool *spool = NULL;
    struct cs_settled settled;
    struct cs_err err;
    if (!cs_session_spool(r->session, &spool, &err) ||
        !cs_submit_settle(r->session, spool, SIZE_MAX, false, &settled, &err))
        cs_log_err(CS_LOG_WARN, "events of the old key are left in the spool", &err, "kid=%s",
                   r->session->kid);
}

static int finish(struct rotating *r, const struct rotate *o) {
    struct cs_session *s = r->session;
    struct cs_err err;
    settle_old(r);
    if (!change_files(r, &err)) {
        cs_err_prepend(&err, "the next key is enrolled; run certsync agent rotate again");
        return cs_report_failure(s->cli, &err);
    }
    bool told = !o->no_reload && cs_daemon_reload(s);
    if (s->globals->json)
        cs_report_json(s->cli, json_pack("{s:s, s:s, s:b}", "old", s->kid, "kid", r->kid, "reloaded", told));
    else if (!s->globals->quiet)
        fprintf(s->cli->out, "this host's key is %s now%s\n", r->kid,
                told ? "; the daemon was told"
                     : "; a daemon that runs must be told: systemctl reload certsync-agent");
    return CS_EXIT_OK;
}

static int rotate(struct rotating *r, const struct rotate *o) {
    struct cs_session *s = r->session;
    struct cs_err err;
    bool left = false;
    cs_interrupt_set(s->interrupt, "spooling", NULL,
                     "The key was not changed. Run certsync agent rotate again: it goes on where it was");
    if (!next_key(r, &left, &err))
        return cs_report_failure(s->cli, &err);
    // If it is enrolled already, only the files must be changed.
    if (left && cs_hostkey_enrolled(s, r->key, r->kid))
        return finish(r, o);
    struct cs_composed *event;
    struct cs_compose c = cs_session_compose(s);
    struct cs_source_text text = {r->path, {(const uint8_t *)r->pem, strlen(r->pem)}};
    if (!cs_compose_public_key(&c, CS_EVENT_AGENT_ROTATE, &text, &event, &err))
        return cs_report_failure(s->cli, &err);
    // Its output goes to standard error: the result is printed below.
    struct cs_cli quiet = *s->cli;
    quiet.out = s->cli->err;
    const struct cs_cli *cli = s->cli;
    s->cli = &quiet;
    char what[160];
    snprintf(what, sizeof what, "rotation of key %s to %s", s->kid, r->kid);
    int code = cs_submit(s, event, what);
    s->cli = cli;
    return code == CS_EXIT_OK ? finish(r, o) : code;
}

static int run(const struct cs_cli *cli) {
    struct cs_err err;
    CS_AUTO(cs_session_close) struct cs_session s = {0};
    CS_AUTO(rotating_clear) struct rotating r = {.session = &s};
    if (!cs_session_open(cli, CS_NEED_KEY | CS_NEED_ACCOUNT | CS_NEED_LOG, &s, &err))
        return cs_report_failure(cli, &err);
    if (s.globals->dry_run || s.globals->no_wait)
        return cs_cli_usage_error(
            cli, "--dry-run and --no-wait are not for a rotation: it must know how it ended");
    return rotate(&r, cli->values);
}

const struct cs_command cs_cmd_agent_rotate = {
    .name = "rotate",
    .summary = "Give this host a new key, signed for by the old one",
    .description = "The new key takes over name, rights and pattern; the old one ends at that place in the "
                   "log. What was "
                   "spooled before is published first. Run again after an interruption it goes on where it "
                   "was. The daemon, "
                   "where it runs, reads the new key at once.",
    .examples = "certsync agent rotate\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct rotate),
    .run = run,
};
