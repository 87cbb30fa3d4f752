// SPDX-License-Identifier: Apache-2.0
//
// The settings of certsync and the options that every command takes.
#pragma once

#include "certsync/runtime/cli.h"
#include "certsync/runtime/kafka.h"

struct cs_agent_settings {
    char *deployment;
    char *checkpoint_key; // text (certsync/model/note.h)
    struct cs_kafka_settings kafka;
    char *events_topic;
    char *outcomes_topic;
    char *heartbeats_topic;
    char *account;
    char *key;
    char *key_provider;
    char *custodian;
    char *spool;
    int64_t spool_max_events;
    int64_t spool_max_bytes;
    char *api_url;
    char *api_ca;
    int64_t api_timeout_ms;
    int64_t log_level;
    // The daemon's.
    int64_t debounce_ms;
    int64_t poll_ms;
    int64_t rescan_ms;
    int64_t heartbeat_ms;
    int64_t daemon_log_level;
    char *metrics_file;
    char *metrics_listen;
    int64_t places;                   // 1: hidden
    struct cs_settings_items watches; // struct cs_watch_settings
};
extern const struct cs_settings_table cs_agent_settings_table;

struct cs_globals {
    const char *config;
    bool json;
    bool no_wait;
    bool dry_run;
    bool quiet;
    int64_t timeout_s;
};

// Exit codes, beside CS_EXIT_OK and CS_EXIT_USAGE.
#define CS_EXIT_REJECTED 1 // judged, and refused
#define CS_EXIT_UNKNOWN  3 // not known in time: still in the spool, or not judged yet
#define CS_EXIT_REFUSED  4 // refused on this host, nothing was sent
#define CS_EXIT_DENIED   5 // the API refused to answer: no right, or no such thing; nothing was sent
// CS_EXIT_OUTPUT is 6.

// The tree of commands. The caller owns the array: commands are constants in files of their own,
// and C cannot collect them at compile time.
#define CS_AGENT_COMMANDS_MAX 32
struct cs_agent_commands {
    struct cs_command root;
    struct cs_command list[CS_AGENT_COMMANDS_MAX];
    struct cs_command agent[CS_AGENT_COMMANDS_MAX]; // below "agent"
};
void cs_agent_commands_init(struct cs_agent_commands *ret);

extern const struct cs_command cs_cmd_keygen, cs_cmd_key, cs_cmd_trust, cs_cmd_account, cs_cmd_agent,
    cs_cmd_issue, cs_cmd_upload, cs_cmd_update, cs_cmd_delete, cs_cmd_share, cs_cmd_unshare, cs_cmd_csr,
    cs_cmd_list, cs_cmd_show, cs_cmd_outcomes, cs_cmd_keys, cs_cmd_spool, cs_cmd_api_token,
    cs_cmd_verify_proof, cs_cmd_inspect, cs_cmd_needs_renewal, cs_cmd_search, cs_cmd_history;
