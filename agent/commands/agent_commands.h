// SPDX-License-Identifier: Apache-2.0
//
// Commands about the daemon and its keys: the subcommands of certsync agent that are not in
// commands/agent.c, and status and agents.
#pragma once

#include "event/session.h"

// All keys of the session's account, also ended ones, as the API lists them. Appended to all.
CS_MUST_USE bool cs_agents_get(struct cs_session *s, json_t *all, struct cs_err *err);

extern const struct cs_command cs_cmd_agent_run, cs_cmd_agent_join, cs_cmd_agent_token, cs_cmd_agent_rotate,
    cs_cmd_status, cs_cmd_agents;
