// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "certsync/model/ident.h"
#include "certsync/runtime/log.h"
#include "daemon/section.h"
#include "event/options.h"
#include "event/session.h"

#define S struct cs_agent_settings

// clang-format off
static const char *const places_names[] = {"path", "hidden", NULL};

static const struct cs_setting rows[] = {
    CS_SETTING_STR("deployment.id", S, deployment, "", 0,
                   "Name of the deployment, as certsync-consumer init was given; or the id of its log, as init told it (prod_1a2b3c4d), "
                   "where the host cannot ask the API, or must work with no other log."),
    CS_SETTING_STR("deployment.checkpoint_key", S, checkpoint_key, "", 0,
                   "Key that verifies the log's checkpoints, as certsync-consumer checkpoint-key prints it; for certsync verify-proof."),
    CS_KAFKA_SETTINGS(S, kafka),
    CS_SETTING_STR("kafka.events_topic", S, events_topic, "cert.events", CS_SETTING_REQUIRED,
                   "Topic that events are published to."),
    CS_SETTING_STR("kafka.outcomes_topic", S, outcomes_topic, "cert.outcomes", CS_SETTING_REQUIRED,
                   "Topic that outcomes come from; read only by trust commands, whose events belong to no account."),
    CS_SETTING_STR("kafka.heartbeats_topic", S, heartbeats_topic, "cert.heartbeats", CS_SETTING_REQUIRED,
                   "Topic that certsync agent's heartbeats are published to."),
    CS_SETTING_STR("agent.account", S, account, "", 0,
                   "Account that this host's key is enrolled in."),
    CS_SETTING_PATH("agent.key", S, key, CERTSYNC_ETC "/agent.key", 0,
                    "Private key that signs events and API tokens (made by certsync keygen, or by certsync agent join); or the URI of one in a "
                    "PKCS#11 token or TPM, for OpenSSL's providers, e.g. handle:0x81000001."),
    CS_SETTING_STR("agent.key_provider", S, key_provider, "", 0,
                   "OpenSSL provider that a URI in agent.key needs, e.g. tpm2 or pkcs11; empty: as openssl.cnf says."),
    CS_SETTING_PATH("agent.custodian", S, custodian, "", 0,
                    "Public key of the custodian to whom private keys are sealed (custodian.pub)."),
    CS_SETTING_PATH("agent.spool", S, spool, "/var/lib/certsync/spool", CS_SETTING_REQUIRED,
                    "Directory in which signed events lie until their outcome is known."),
    CS_SETTING_INT("agent.spool_max_events", S, spool_max_events, "100000", 1, 10000000, "events", 0,
                   "Most events that the spool of one key takes; at the limit nothing is added."),
    CS_SETTING_SIZE("agent.spool_max_bytes", S, spool_max_bytes, "1GiB", 65536, INT64_MAX / 2, 0,
                    "Most bytes that the spool of one key takes; at the limit nothing is added."),
    CS_SETTING_STR("api.url", S, api_url, "", 0,
                   "Base URL of the consumer's API, e.g. https://certsync.example.com:8443; empty: outcomes cannot be asked for, and "
                   "events stay in the spool."),
    CS_SETTING_PATH("api.ca", S, api_ca, "", 0,
                    "File with the CA certificates that sign the API's certificate; empty: the system's."),
    CS_SETTING_DURATION("api.timeout", S, api_timeout_ms, "10s", 100, 600000, 0,
                        "Longest wait for the API to answer one request (beyond a wait that was asked for)."),
    CS_SETTING_CHOICE("log.level", S, log_level, "error", cs_log_level_names, CS_SETTING_RELOADABLE,
                      "How much is logged to standard error."),
    CS_SETTING_DURATION("agent.debounce", S, debounce_ms, "500ms", 0, 60000, CS_SETTING_RELOADABLE,
                        "How long certsync agent waits after a file changed, so that its partner can be written, too."),
    CS_SETTING_DURATION("agent.poll", S, poll_ms, "2s", 0, 3600000, CS_SETTING_RELOADABLE,
                        "How often certsync agent compares inode, size and times of the files and directories that it knows, for changes "
                        "that the kernel does not tell of: through another hard link, by a mount over a file or directory, on NFS; 0: never. "
                        "Where a look at all of them takes long it pauses fifty times as long."),
    CS_SETTING_DURATION("agent.rescan", S, rescan_ms, "1h", 1000, 7LL * 86400000, CS_SETTING_RELOADABLE,
                        "How often certsync agent looks through all sections anew, for what neither the kernel tells nor agent.poll finds."),
    CS_SETTING_DURATION("agent.heartbeat", S, heartbeat_ms, "5m", 0, 7LL * 86400000, CS_SETTING_RELOADABLE,
                        "How often certsync agent says that it is alive; 0: never."),
    CS_SETTING_PATH("agent.metrics_file", S, metrics_file, "", 0,
                    "File (NAME.prom) that certsync agent writes its metrics to, for node_exporter's textfile collector; empty: none."),
    CS_SETTING_STR("agent.metrics_listen", S, metrics_listen, "", 0,
                   "Address at which certsync agent answers GET /metrics, e.g. 127.0.0.1:9641, or unix:/run/certsync/metrics; empty: none. "
                   "It tells no names, but anybody who can reach it may ask."),
    CS_SETTING_CHOICE("agent.places", S, places, "path", places_names, CS_SETTING_RELOADABLE,
                      "How certsync agent tells where a certificate is: path, or hidden: a hash of the path. The account's readers see it."),
    CS_SETTING_CHOICE("agent.log_level", S, daemon_log_level, "info", cs_log_level_names, CS_SETTING_RELOADABLE,
                      "How much certsync agent logs to standard error."),
};
// clang-format on

static const struct cs_settings_group groups[] = {
    {.name = "watch",
     .offset = offsetof(S, watches),
     .item_size = sizeof(struct cs_watch_settings),
     .max_items = CS_WATCH_SECTIONS_MAX,
     .rows = cs_watch_rows,
     .row_count = CS_WATCH_ROWS,
     .text = "Files that certsync agent watches, registers and renews."},
};

static bool check(const void *values, struct cs_err *err) {
    const S *s = values;
    size_t len = strlen(s->deployment);
    if (len > 0 && !cs_deployment_valid(s->deployment, len) && !cs_log_id_valid(s->deployment, len))
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "deployment.id: \"%s\" is not a deployment's name: lower-case letters, digits, '.' and "
            "'-', at most %d; nor a log's id, which has '_' and 8 hex digits after that",
            cs_quoted(s->deployment), CS_DEPLOYMENT_MAX);
    if (s->account[0] && !cs_account_valid(s->account, strlen(s->account)))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "agent.account: \"%s\" is not an account id: lower-case letters, digits, '.', '_' "
                          "and '-', at most %d",
                          cs_quoted(s->account), CS_ACCOUNT_MAX);
    bool http = strncmp(s->api_url, "http://", 7) == 0 || strncmp(s->api_url, "https://", 8) == 0;
    if (s->api_url[0] && !http)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "api.url: it does not begin with https:// or http://");
    return cs_sections_check(&s->watches, err);
}

// main reads CONFIG; TEST_* are for the test programs. The rest are settings of certsync-consumer
// alone: one shell or pod may export both programs' settings. A test compares them with that
// program's table.
static const char *const env_ignore[] = {"CERTSYNC_CONFIG",
                                         "CERTSYNC_CRASH_AT",
                                         "CERTSYNC_TEST_*",
                                         "CERTSYNC_API_LISTEN",
                                         "CERTSYNC_API_MAX_CONNECTIONS",
                                         "CERTSYNC_API_MAX_WAIT",
                                         "CERTSYNC_API_QUIET_AFTER",
                                         "CERTSYNC_API_SEARCH",
                                         "CERTSYNC_API_THREADS",
                                         "CERTSYNC_API_TLS_CERTIFICATE",
                                         "CERTSYNC_API_TLS_KEY",
                                         "CERTSYNC_CHECKPOINT_WITNESS_EVERY",
                                         "CERTSYNC_CHECKPOINT_WITNESS_TIMEOUT",
                                         "CERTSYNC_CONSUMER_BATCH_BYTES",
                                         "CERTSYNC_CONSUMER_BATCH_RECORDS",
                                         "CERTSYNC_CONSUMER_CACHE_BYTES",
                                         "CERTSYNC_CONSUMER_DRAIN_TIMEOUT",
                                         "CERTSYNC_CONSUMER_INSPECT_EVERY",
                                         "CERTSYNC_CONSUMER_PREFLIGHT_TIMEOUT",
                                         "CERTSYNC_CONSUMER_QUEUE_BYTES",
                                         "CERTSYNC_CONSUMER_WORKERS",
                                         "CERTSYNC_DEPLOYMENT_EARLIER_SERVICE_KEYS",
                                         "CERTSYNC_DEPLOYMENT_ROOT_KEY",
                                         "CERTSYNC_DEPLOYMENT_SERVICE_KEY",
                                         "CERTSYNC_KAFKA_ALLOW_CREATE_TIME",
                                         "CERTSYNC_KAFKA_CHECKPOINTS_TOPIC",
                                         "CERTSYNC_KAFKA_CORRECTIONS_TOPIC",
                                         "CERTSYNC_KAFKA_GROUP",
                                         "CERTSYNC_KAFKA_SESSION_TIMEOUT",
                                         "CERTSYNC_NOTIFY_KEEP",
                                         "CERTSYNC_NOTIFY_LEASE",
                                         "CERTSYNC_NOTIFY_LISTEN",
                                         "CERTSYNC_NOTIFY_LOOK_EVERY",
                                         "CERTSYNC_NOTIFY_QUEUE_MAX",
                                         "CERTSYNC_NOTIFY_RETRY_FIRST",
                                         "CERTSYNC_NOTIFY_RETRY_LONGEST",
                                         "CERTSYNC_NOTIFY_SMTP_CA",
                                         "CERTSYNC_NOTIFY_SMTP_FROM",
                                         "CERTSYNC_NOTIFY_SMTP_PASSWORD_FILE",
                                         "CERTSYNC_NOTIFY_SMTP_TLS",
                                         "CERTSYNC_NOTIFY_SMTP_URL",
                                         "CERTSYNC_NOTIFY_SMTP_USERNAME",
                                         "CERTSYNC_NOTIFY_TIMEOUT",
                                         "CERTSYNC_REDIS_CA",
                                         "CERTSYNC_REDIS_MODE",
                                         "CERTSYNC_REDIS_NAMESPACE",
                                         "CERTSYNC_REDIS_PASSWORD",
                                         "CERTSYNC_REDIS_PASSWORD_FILE",
                                         "CERTSYNC_REDIS_SENTINEL_MASTER",
                                         "CERTSYNC_REDIS_SENTINEL_PASSWORD",
                                         "CERTSYNC_REDIS_SENTINEL_PASSWORD_FILE",
                                         "CERTSYNC_REDIS_SENTINEL_USERNAME",
                                         "CERTSYNC_REDIS_TIMEOUT",
                                         "CERTSYNC_REDIS_URL",
                                         "CERTSYNC_REDIS_USERNAME",
                                         "CERTSYNC_SNAPSHOT_CHECKED",
                                         "CERTSYNC_SNAPSHOT_DIR",
                                         "CERTSYNC_SNAPSHOT_EVERY",
                                         "CERTSYNC_SNAPSHOT_KEEP",
                                         NULL};

const struct cs_settings_table cs_agent_settings_table = {
    .program = "certsync",
    .env_prefix = "CERTSYNC_",
    .values_size = sizeof(S),
    .rows = rows,
    .row_count = CS_ARRAY_LEN(rows),
    .groups = groups,
    .group_count = CS_ARRAY_LEN(groups),
    .env_ignore = env_ignore,
    .check = check,
};
