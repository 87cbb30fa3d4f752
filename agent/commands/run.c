// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include "certsync/runtime/log.h"
#include "certsync/runtime/loop.h"
#include "commands/agent_commands.h"
#include "daemon/daemon.h"

#define CONTACT_PAUSE_MS 2000

// A host that was never in contact with its log waits for the API.
static bool open_session(const struct cs_cli *cli, struct cs_session *ret, struct cs_err *err) {
    for (bool told = false; !cs_session_open(cli, CS_DAEMON_NEEDS, ret, err); told = true) {
        if (err->kind != CS_ERR_RETRY)
            return false;
        if (!told)
            cs_log_err(CS_LOG_WARN, "it is tried again", err, "pause_ms=%d", CONTACT_PAUSE_MS);
        cs_session_close(ret);
        cs_notify("EXTEND_TIMEOUT_USEC=30000000\nSTATUS=Starting: the API does not answer");
        poll(NULL, 0, CONTACT_PAUSE_MS);
    }
    return true;
}

static int run(const struct cs_cli *cli) {
    struct cs_err err;
    struct cs_session s = {0};
    if (!open_session(cli, &s, &err)) {
        cs_session_close(&s);
        return cs_report_failure(cli, &err);
    }
    if (s.settings->watches.count == 0)
        cs_log_msg(CS_LOG_WARN, "nothing is watched: the settings have no [watch NAME] section; only what "
                                "commands spool is published");
    return cs_daemon_run(cli, &s);
}

struct run {
    bool unused;
};
static const struct cs_opt opts[] = {
    {.name = "metrics-listen",
     .kind = CS_OPT_SETTING,
     .setting = "agent.metrics_listen",
     .value_name = "ADDRESS",
     .text = "Answer GET /metrics there (Prometheus), e.g. 127.0.0.1:9641."},
};
const struct cs_command cs_cmd_agent_run = {
    .name = "run",
    .summary = "Watch certificate files and keep the catalog as they are (the daemon)",
    .description = "Registers, renews and, where a section says so, deletes what the [watch NAME] sections "
                   "of the settings "
                   "name. SIGHUP reads settings and key again; SIGTERM publishes what there is and ends. "
                   "What it does is in "
                   "its log and in certsync status.",
    .examples = "certsync agent\ncertsync agent run --config " CERTSYNC_ETC "/certsync.conf\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct run),
    .run = run,
};
