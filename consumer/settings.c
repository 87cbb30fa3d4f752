// SPDX-License-Identifier: Apache-2.0
#include "settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "certsync/model/entry.h"
#include "certsync/model/ident.h"
#include "certsync/model/note.h"
#include "certsync/runtime/fdlimit.h"
#include "certsync/runtime/log.h"

#define S struct cs_consumer_settings

#define API_THREADS_BY_CORES 4

static const char *const redis_modes[] = {"plain", "sentinel", "cluster", NULL}; // enum cs_redis_mode

// clang-format off
static const struct cs_setting rows[] = {
    CS_SETTING_STR("deployment.id", S, deployment, "", CS_SETTING_REQUIRED,
                   "Name of the deployment, as given to init; events of any other are refused."),
    CS_SETTING_PATH("deployment.root_key", S, root_key, "", CS_SETTING_REQUIRED,
                    "File with the root public key (PEM): the one key that is trusted without the log."),
    CS_SETTING_PATH("deployment.service_key", S, service_key, "", CS_SETTING_REQUIRED,
                    "File with the service private key (PEM) that signs derived events: mode 0600, or root's and readable for a group of the consumer (0440). The MACs of "
                    "the catalogs in Redis follow from it, too: with a new key, all processes must get it at the same time, and each partition makes its catalog again."),
    CS_SETTING_LIST("deployment.earlier_service_keys", S, earlier_service_keys, "", 0,
                    "Files with the service private keys before it, comma-separated: they prove that consumers wrote the outcomes of those days. Nothing is signed with them."),
    CS_KAFKA_SETTINGS(S, kafka),
    CS_SETTING_STR("kafka.events_topic", S, events_topic, "cert.events", CS_SETTING_REQUIRED, "Topic of the events."),
    CS_SETTING_STR("kafka.outcomes_topic", S, outcomes_topic, "cert.outcomes", CS_SETTING_REQUIRED, "Topic of the outcomes."),
    CS_SETTING_STR("kafka.checkpoints_topic", S, checkpoints_topic, "cert.checkpoints", CS_SETTING_REQUIRED,
                   "Topic of the signed checkpoints of the outcomes."),
    CS_SETTING_STR("kafka.corrections_topic", S, corrections_topic, "cert.corrections", CS_SETTING_REQUIRED,
                   "Topic of root's corrections: which outcomes are judged anew."),
    CS_SETTING_STR("kafka.heartbeats_topic", S, heartbeats_topic, "cert.heartbeats", CS_SETTING_REQUIRED,
                   "Topic of the hosts' heartbeats, which are kept for a day."),
    CS_SETTING_STR("kafka.group", S, group, "certsync", CS_SETTING_REQUIRED,
                   "Consumer group that shares the partitions among workers and processes."),
    CS_SETTING_DURATION("kafka.session_timeout", S, session_timeout_ms, "10s", 1000, 1800000, 0,
                        "Silence after which a consumer that died loses its partitions to the others; the brokers' "
                        "group.min.session.timeout.ms is the least."),
    CS_SETTING_BOOL("kafka.allow_create_time", S, allow_create_time, "no", 0,
                    "Accept timestamps that are not the broker's; for the demo's embedded broker only."),
    CS_SETTING_CHOICE("redis.mode", S, redis_mode, "plain", redis_modes, 0,
                      "What redis.url names: one server, sentinels that know the primary, or nodes of a Redis Cluster."),
    CS_SETTING_STR("redis.url", S, redis_url, "redis://localhost:6379", CS_SETTING_REQUIRED,
                   "Where Redis is: unix:///path, redis://host:port or rediss://host:port; of sentinels and cluster nodes "
                   "several, comma-separated."),
    CS_SETTING_STR("redis.sentinel_master", S, redis_sentinel_master, "", 0,
                   "Name by which the sentinels know the primary; for redis.mode = sentinel."),
    CS_SETTING_STR("redis.sentinel_username", S, redis_sentinel_username, "", 0,
                   "User at the sentinels; empty for the default user."),
    CS_SETTING_SECRET("redis.sentinel_password", S, redis_sentinel_password, 0, "Password at the sentinels; empty: none."),
    CS_SETTING_STR("redis.username", S, redis_username, "", 0, "Redis user; empty for the default user."),
    CS_SETTING_SECRET("redis.password", S, redis_password, 0, "Redis password."),
    CS_SETTING_STR("redis.namespace", S, redis_namespace, "cs", CS_SETTING_REQUIRED,
                   "What the keys in Redis begin with: letters, digits, '.', '_' and '-'."),
    CS_SETTING_PATH("redis.ca", S, redis_ca, "", 0, "File with the CA certificates for rediss://; empty: the system's."),
    CS_SETTING_DURATION("redis.timeout", S, redis_timeout_ms, "5s", 100, 60000, 0,
                        "Longest wait for Redis before it counts as away."),
    CS_SETTING_INT("consumer.workers", S, workers, "0", 0, 256, "threads", 0,
                   "Worker threads; 0 takes as many as there are processor cores."),
    CS_SETTING_INT("consumer.batch_records", S, batch_records, "500", 1, 10000, "records", 0,
                   "Most records of one batch."),
    CS_SETTING_SIZE("consumer.batch_bytes", S, batch_bytes, "4MiB", 262144, 67108864, 0, "Most bytes of one batch; where what comes of it takes four times as much, it is committed in parts."),
    CS_SETTING_SIZE("consumer.cache_bytes", S, cache_bytes, "64MiB", 0, 17179869184, 0,
                    "Documents kept in memory between batches, of all workers."),
    CS_SETTING_SIZE("consumer.queue_bytes", S, queue_bytes, "64MiB", 1048576, 17179869184, 0,
                    "Records fetched ahead, of all partitions."),
    CS_SETTING_DURATION("consumer.drain_timeout", S, drain_timeout_ms, "20s", 100, 600000, 0,
                        "How long a stop waits for batches that are published already."),
    CS_SETTING_DURATION("consumer.preflight_timeout", S, preflight_timeout_ms, "30s", 100, 600000, 0,
                        "How long a start waits for brokers and Redis."),
    CS_SETTING_DURATION("consumer.inspect_every", S, inspect_every_ms, "60s", 1000, 3600000, 0,
                        "How often it is looked whether the topics and Redis still keep what they are given, and of which hosts the keys have ended."),
    CS_SETTING_DURATION("checkpoint.witness_every", S, witness_every_ms, "1m", 1000, 86400000, 0,
                        "How often each witness is asked to cosign the newest checkpoint of each partition."),
    CS_SETTING_DURATION("checkpoint.witness_timeout", S, witness_timeout_ms, "10s", 100, 60000, 0,
                        "Longest wait for a witness's answer."),
    CS_SETTING_STR("notify.listen", S, notify_listen, "127.0.0.1:8081", 0,
                   "Address of certsync-consumer notify for /metrics, /healthz and /readyz: host:port, or unix:/path; empty: none."),
    CS_SETTING_DURATION("notify.lease", S, notify_lease_ms, "15s", 100, 3600000, 0,
                        "Where several processes run: so long after one died (and notify.timeout besides), another one delivers its notices."),
    CS_SETTING_DURATION("notify.timeout", S, notify_timeout_ms, "15s", 100, 300000, 0,
                        "Longest wait for a receiver of notices."),
    CS_SETTING_DURATION("notify.retry_first", S, notify_retry_first_ms, "5s", 10, 3600000, 0,
                        "A notice that could not be delivered is tried again after so long; each further distance is twice the last."),
    CS_SETTING_DURATION("notify.retry_longest", S, notify_retry_longest_ms, "1h", 10, 86400000, 0,
                        "Longest distance between two tries."),
    CS_SETTING_DURATION("notify.keep", S, notify_keep_ms, "30d", 1000, 366LL * 86400000, 0,
                        "A notice that could not be delivered for so long is dropped, with a line in the log and a metric."),
    CS_SETTING_INT("notify.queue_max", S, notify_queue_max, "10000", 1, 1000000, "notices", 0,
                   "Notices of one section and partition that wait in Redis; further ones stay in the log until there is room."),
    CS_SETTING_DURATION("notify.look_every", S, notify_look_every_ms, "5m", 100, 86400000, 0,
                        "How often it is looked which certificates end."),
    CS_SETTING_STR("notify.smtp_url", S, notify_smtp_url, "", 0,
                   "Server that takes mails: smtp://HOST[:PORT] (STARTTLS, where notify.smtp_tls) or smtps://HOST[:PORT]."),
    CS_SETTING_STR("notify.smtp_from", S, notify_smtp_from, "", 0, "Address that mails come from."),
    CS_SETTING_STR("notify.smtp_username", S, notify_smtp_username, "", 0, "User at that server; empty: none."),
    CS_SETTING_PATH("notify.smtp_password_file", S, notify_smtp_password_file, "", 0,
                    "File with that user's password in its first line. Mode 0600, or root's and readable for a group of the consumer (0440)."),
    CS_SETTING_PATH("notify.smtp_ca", S, notify_smtp_ca, "", 0,
                    "File with the CA certificates that sign that server's certificate; empty: the system's."),
    CS_SETTING_BOOL("notify.smtp_tls", S, notify_smtp_tls, "yes", 0, "Whether smtp:// demands STARTTLS."),
    CS_SETTING_PATH("snapshot.dir", S, snapshot_dir, "", 0,
                    "Directory of the snapshots of the catalogs, which certsync-consumer snapshot writes; rebuilds, recovery and operators' commands go on from them; empty: none."),
    CS_SETTING_INT("snapshot.checked", S, snapshot_checked, "10000", 1, 1000000000, "records", 0,
                   "A rebuild, or a consumer whose catalog was lost, goes on only from a snapshot behind which so many outcomes are published. They are judged again and compared before anything that rests on it is published."),
    CS_SETTING_INT("snapshot.every", S, snapshot_every, "0", 0, 1000000000, "records", 0,
                   "certsync-consumer snapshot makes one of a partition only where so many outcomes were published since its newest one; 0: of each that has any."),
    CS_SETTING_INT("snapshot.keep", S, snapshot_keep, "4", 0, 1000, "snapshots", 0,
                   "Snapshots that certsync-consumer snapshot leaves of each partition: the last of each stretch of snapshot.checked outcomes, so that with 3 or more one is old enough for a rebuild; 0: all."),
    CS_SETTING_STR("api.listen", S, api_listen, "127.0.0.1:8080", 0,
                   "Address of the HTTP API: host:port, or unix:/path; empty: no API."),
    CS_SETTING_PATH("api.tls_certificate", S, api_tls_certificate, "", 0, "Certificate chain of the API (PEM); empty: no TLS."),
    CS_SETTING_PATH("api.tls_key", S, api_tls_key, "", 0, "Private key of the API's certificate (PEM)."),
    CS_SETTING_INT("api.threads", S, api_threads, "0", 0, CS_API_THREADS_MAX, "threads", 0,
                   "Threads that answer requests, each with its own connections to Redis; 0 takes as many as there are processor cores, at most 4."),
    CS_SETTING_INT("api.max_connections", S, api_max_connections, "256", 1, 100000, "connections", 0,
                   "Connections that the API serves at once."),
    CS_SETTING_INT("api.max_wait", S, api_max_wait_s, "60", 0, 300, "seconds", 0,
                   "Longest wait for an outcome that a request may ask for."),
    CS_SETTING_DURATION("api.quiet_after", S, api_quiet_after_ms, CS_QUIET_AFTER, 1, 366LL * 86400000, 0,
                        "The metrics count an agent as quiet that has not been heard of for so long."),
    CS_SETTING_BOOL("api.search", S, api_search, "yes", 0,
                    "Keep an index of all certificates in memory, about 1.2 KB each, for searches; no: they are refused."),
    CS_SETTING_CHOICE("log.level", S, log_level, "info", cs_log_level_names, CS_SETTING_RELOADABLE,
                      "Least important lines that are logged."),
};

#define W struct cs_witness_settings
static const struct cs_setting witness_rows[] = {
    CS_SETTING_STR("url", W, url, "", CS_SETTING_REQUIRED,
                   "Where the witness takes checkpoints, without the add-checkpoint at its end; https://… or http://…"),
    CS_SETTING_STR("key", W, key, "", CS_SETTING_REQUIRED,
                   "The witness's key, as its operator says it: NAME+ID+KEY, for cosignatures (c2sp.org/tlog-cosignature, Ed25519)."),
    CS_SETTING_PATH("ca", W, ca, "", 0,
                    "File with the CA certificates that sign the witness's certificate; empty: the system's."),
};
#define N struct cs_notice_settings
static const struct cs_setting notice_rows[] = {
    CS_SETTING_STR("to", N, to, "", 0,
                   "Who is told: https://HOST[:PORT][/PATH] (or http://…), a webhook; or mailto:ADDRESS,… by notify.smtp_url, where {account} in an address stands for the account."),
    CS_SETTING_PATH("url_file", N, url_file, "", 0,
                    "Instead of to: a file with the webhook's URL in its first line, for one that is a secret itself. Mode 0600, or root's and readable for a group of the consumer (0440)."),
    CS_SETTING_LIST("on", N, on, CS_NOTICE_WORDS, 0,
                    "What is told of, comma-separated: " CS_NOTICE_WORDS "."),
    CS_SETTING_LIST("accounts", N, accounts, "*", 0, "Of which accounts: patterns, comma-separated."),
    CS_SETTING_LIST("before", N, before, "30d, 14d, 7d, 1d", 0,
                    "expiry: how long before its end a certificate is told of, and at its end. Whole days count from noon to noon (local time), so what ends in one night comes together; shorter ones as they are (6h)."),
    CS_SETTING_LIST("tags", N, tags, "", 0, "expiry: of certificates with one of these tags: patterns, comma-separated; empty: of all."),
    CS_SETTING_DURATION("digest", N, digest_ms, "10m", 0, 7 * 86400000, 0,
                        "Mail: so long after the first notice for an address, all that wait for it go in one mail."),
    CS_SETTING_LIST("names", N, names, "*", 0, "Of certificates with which names: patterns, comma-separated."),
    CS_SETTING_PATH("secret_file", N, secret_file, "", 0,
                    "File with the secret that signs a webhook's requests (whsec_…, one a line; each signs). Modes as of url_file."),
    CS_SETTING_PATH("ca", N, ca, "", 0, "File with the CA certificates that sign the receiver's certificate; empty: the system's."),
    CS_SETTING_BOOL("private_addresses", N, private_addresses, "no", 0,
                    "Whether the receiver may have an address of a private network, or of this machine."),
};
// clang-format on

static const struct cs_settings_group groups[] = {
    {.name = "witness",
     .offset = offsetof(S, witnesses),
     .item_size = sizeof(W),
     .max_items = CS_WITNESSES_MAX,
     .rows = witness_rows,
     .row_count = CS_ARRAY_LEN(witness_rows),
     .text = "Servers of others that cosign the checkpoints of the outcomes (c2sp.org/tlog-witness)."},
    {.name = "notice",
     .offset = offsetof(S, notices),
     .item_size = sizeof(N),
     .max_items = CS_NOTICES_MAX,
     .rows = notice_rows,
     .row_count = CS_ARRAY_LEN(notice_rows),
     .text = "Who is told of what happens; certsync-consumer notify delivers it."},
};

static bool namespace_valid(const char *s) {
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == strlen(s) &&
           strlen(s) < 64;
}

bool cs_settings_witness_key(struct cs_crypto *c, const char *text, struct cs_note_key *ret,
                             struct cs_err *err) {
    struct cs_note_key k;
    if (!cs_note_key_parse(c, text, &k, err))
        return false;
    if (k.kind != CS_NOTE_COSIGNATURE)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the key %s is one of a log, not of a witness: the key of a witness is of the kind "
                          "04; ask the witness's operator for the one of its cosignatures",
                          k.name);
    *ret = k;
    return true;
}

bool cs_settings_is_url(const char *s, bool with_query) {
    const char *host = strncmp(s, "https://", 8) == 0 ? s + 8 : strncmp(s, "http://", 7) == 0 ? s + 7 : "";
    for (const char *c = s; *c; c++)
        if (*c <= ' ' || *c == 127)
            return false;
    return host[0] && host[0] != '/' && strpbrk(s, with_query ? "#@" : "?#@") == NULL;
}

static bool check_witness(struct cs_crypto *c, const struct cs_consumer_settings *s, size_t i,
                          struct cs_note_key *keys, struct cs_err *err) {
    const struct cs_witness_settings *w = cs_settings_witness(s, i);
    if (!cs_settings_is_url(w->url, false))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "[witness %s] url: expected https://HOST[:PORT][/PATH] or http://…, without a "
                          "user's name, '?' and '#'",
                          w->name);
    if (!cs_settings_witness_key(c, w->key, &keys[i], err))
        return cs_err_prepend(err, "[witness %s] key", w->name);
    for (size_t j = 0; j < i; j++)
        if (strcmp(keys[j].name, keys[i].name) == 0)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "[witness %s] and [witness %s] have keys of the same name (%s): each witness "
                              "signs by a name of its own; remove one",
                              cs_settings_witness(s, j)->name, w->name, keys[i].name);
    if (w->ca[0] && access(w->ca, R_OK) != 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "[witness %s] ca: %s cannot be read: %s", w->name,
                          w->ca, strerror(errno));
    return true;
}

static bool check_witnesses(const struct cs_consumer_settings *s, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *c = NULL;
    struct cs_note_key keys[CS_WITNESSES_MAX];
    if (s->witnesses.count > 0 && !cs_crypto_new(&c, err))
        return false;
    for (size_t i = 0; i < s->witnesses.count; i++)
        if (!check_witness(c, s, i, keys, err))
            return false;
    return true;
}

bool cs_settings_notice_word(const char *word) {
    static const char all[] = ", " CS_NOTICE_WORDS ",";
    char one[40];
    int len = snprintf(one, sizeof one, ", %s,", word);
    return len > 3 && (size_t)len < sizeof one && strpbrk(word, ", ") == NULL && strstr(all, one);
}

#define MAILTO "mailto:"

bool cs_settings_notice_is_mail(const struct cs_notice_settings *n) {
    return strncmp(n->to, MAILTO, sizeof MAILTO - 1) == 0;
}

// The i-th of the list behind mailto:, with {account} as it stands.
static bool address_at(const struct cs_notice_settings *n, size_t i, const char **ret, size_t *ret_len) {
    const char *at = n->to + sizeof MAILTO - 1;
    for (; i > 0 && *at; i--) {
        at += strcspn(at, ",");
        at += *at == ',';
    }
    at += strspn(at, " ");
    size_t len = strcspn(at, ",");
    while (len > 0 && at[len - 1] == ' ')
        len--;
    *ret = at;
    *ret_len = len;
    return len > 0;
}

bool cs_settings_notice_address(const struct cs_notice_settings *n, size_t i, const char *account,
                                char ret[CS_NOTICE_ADDRESS_MAX + 1]) {
    static const char place[] = "{account}";
    const char *text = NULL;
    size_t len = 0, at = 0;
    if (!cs_settings_notice_is_mail(n) || !address_at(n, i, &text, &len))
        return false;
    for (size_t k = 0; k < len && at < CS_NOTICE_ADDRESS_MAX;) {
        if (len - k >= sizeof place - 1 && strncmp(text + k, place, sizeof place - 1) == 0) {
            at += (size_t)snprintf(ret + at, CS_NOTICE_ADDRESS_MAX + 1 - at, "%s", account);
            k += sizeof place - 1;
        } else {
            ret[at++] = text[k++];
        }
    }
    ret[at < CS_NOTICE_ADDRESS_MAX ? at : CS_NOTICE_ADDRESS_MAX] = '\0';
    return true;
}

// Letters that nothing on the way takes for anything else; the server judges the rest.
static bool is_address(const char *s) {
    static const char local[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.!#$%&'*+-/=?^_`{|}~";
    size_t len = strspn(s, local);
    const char *domain = s + len + 1;
    return len > 0 && len <= 64 && s[len] == '@' && domain[0] && domain[0] != '-' && domain[0] != '.' &&
           strspn(domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-{}") ==
               strlen(domain) &&
           strlen(domain) <= 253;
}

static bool check_mail(const struct cs_consumer_settings *s, const struct cs_notice_settings *n,
                       struct cs_err *err) {
    char address[CS_NOTICE_ADDRESS_MAX + 1];
    size_t i = 0;
    for (; cs_settings_notice_address(n, i, "a", address); i++)
        if (!is_address(address))
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "[notice %s] to: \"%.80s\" is no address of mail", n->name, address);
    if (i == 0)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "[notice %s] to: name an address after mailto:", n->name);
    if (!s->notify_smtp_url[0] || !is_address(s->notify_smtp_from))
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "[notice %s] goes by mail: set notify.smtp_url (smtp://HOST[:PORT] or smtps://…) and "
            "notify.smtp_from (an address)",
            n->name);
    return true;
}

static bool is_smtp(const char *s) {
    const char *host = strncmp(s, "smtps://", 8) == 0 ? s + 8 : strncmp(s, "smtp://", 7) == 0 ? s + 7 : "";
    return host[0] && strpbrk(host, "/?#@ \t") == NULL;
}

bool cs_settings_notice_before(const struct cs_notice_settings *n, size_t i, int64_t *ret_ms) {
    return i < n->before.count && cs_duration_parse(n->before.items[i], ret_ms);
}

static bool check_before(const struct cs_notice_settings *n, struct cs_err *err) {
    int64_t ms = 0;
    for (size_t i = 0; i < n->before.count; i++)
        if (!cs_settings_notice_before(n, i, &ms) || ms <= 0 || ms > 3650LL * 86400000)
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "[notice %s] before: \"%.32s\" is no duration such as 30d or 6h", n->name,
                              n->before.items[i]);
    return true;
}

static bool check_notice(const struct cs_consumer_settings *s, const struct cs_notice_settings *n,
                         struct cs_err *err) {
    if ((n->to[0] != '\0') == (n->url_file[0] != '\0'))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "[notice %s]: give either to or url_file: who is told", n->name);
    if (cs_settings_notice_is_mail(n) && !check_mail(s, n, err))
        return false;
    if (!cs_settings_notice_is_mail(n) && n->to[0] && !cs_settings_is_url(n->to, true))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "[notice %s] to: expected https://HOST[:PORT][/PATH] or http://…, without a user's "
                          "name and '#', or mailto:ADDRESS",
                          n->name);
    for (size_t i = 0; i < n->on.count; i++)
        if (!cs_settings_notice_word(n->on.items[i]))
            return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                              "[notice %s] on: \"%.32s\" is none of " CS_NOTICE_WORDS, n->name,
                              n->on.items[i]);
    if (!check_before(n, err))
        return false;
    return n->on.count > 0 || cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                                         "[notice %s] on: name at least one of " CS_NOTICE_WORDS, n->name);
}

static bool check_notices(const struct cs_consumer_settings *s, struct cs_err *err) {
    if (s->notify_retry_longest_ms < s->notify_retry_first_ms)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "notify.retry_longest is shorter than notify.retry_first");
    if (s->notify_smtp_url[0] && !is_smtp(s->notify_smtp_url))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "notify.smtp_url: expected smtp://HOST[:PORT] or smtps://HOST[:PORT]");
    for (size_t i = 0; i < s->notices.count; i++)
        if (!check_notice(s, cs_settings_notice(s, i), err))
            return false;
    return true;
}

static bool topics_differ(const struct cs_consumer_settings *s) {
    const char *const topics[] = {s->events_topic, s->outcomes_topic, s->checkpoints_topic,
                                  s->corrections_topic, s->heartbeats_topic};
    for (size_t i = 0; i < CS_ARRAY_LEN(topics); i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(topics[i], topics[k]) == 0)
                return false;
    return true;
}

static bool check(const void *values, struct cs_err *err) {
    const struct cs_consumer_settings *s = values;
    struct cs_redis_access access;
    if (!cs_deployment_valid(s->deployment, strlen(s->deployment)))
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "deployment.id: lower-case letters, digits, '.' and '-', at most %d, a letter or digit first",
            CS_DEPLOYMENT_MAX);
    if (!namespace_valid(s->redis_namespace))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "redis.namespace: letters, digits, '.', '_' and '-', at most 63");
    if ((s->api_tls_certificate[0] == '\0') != (s->api_tls_key[0] == '\0'))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "api.tls_certificate and api.tls_key belong together: give both or neither");
    if (!topics_differ(s))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "kafka.events_topic, kafka.outcomes_topic, kafka.checkpoints_topic, "
                          "kafka.corrections_topic and kafka.heartbeats_topic must be different topics");
    return check_witnesses(s, err) && check_notices(s, err) && cs_settings_redis(s, &access, err);
}

bool cs_settings_redis(const struct cs_consumer_settings *s, struct cs_redis_access *ret,
                       struct cs_err *err) {
    struct cs_redis_access a = {.mode = (enum cs_redis_mode)s->redis_mode,
                                .sentinel_master = s->redis_sentinel_master,
                                .sentinel_username = s->redis_sentinel_username,
                                .sentinel_password = s->redis_sentinel_password,
                                .username = s->redis_username,
                                .password = s->redis_password,
                                .ca_file = s->redis_ca,
                                .timeout_ms = s->redis_timeout_ms};
    if (!cs_redis_access_seeds(&a, s->redis_url, err))
        return false;
    *ret = a;
    return true;
}

static int64_t cores(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? n : 1;
}

int cs_settings_workers(const struct cs_consumer_settings *s, int32_t partitions) {
    int64_t n = s->workers ? s->workers : cores();
    return n < partitions ? (int)n : partitions; // more workers would have nothing to do
}

int cs_settings_api_threads(const struct cs_consumer_settings *s) {
    int64_t most = cores() < API_THREADS_BY_CORES ? cores() : API_THREADS_BY_CORES;
    if (!s->api_listen[0])
        return 0;
    return s->api_threads ? (int)s->api_threads : (int)most;
}

// File descriptors that the program uses for itself.
#define OWN_FILES            64 // logs, the loop, the inspector's, those for heartbeats
#define OWN_CLIENTS          2  // of Kafka: the inspector's, the one for heartbeats
#define API_LOOP_FILES       32 // an API's loop, its connections to Redis
#define WORKER_OWN_FILES     8  // its pipe, its connections to Redis
#define CLIENTS_OF_WORKER    3  // of Kafka: reading, publishing, comparing
#define CLIENTS_OF_WITNESSES 2  // reading, publishing

uint64_t cs_settings_files(const struct cs_consumer_settings *s) {
    uint64_t client = cs_kafka_files(&s->kafka), workers = (uint64_t)cs_settings_workers(s, INT32_MAX);
    uint64_t loops = (uint64_t)cs_settings_api_threads(s) * API_LOOP_FILES;
    uint64_t api = s->api_listen[0] ? (uint64_t)s->api_max_connections + 1 + client + loops : 0;
    // When Kafka's TLS files are renewed, there are old and new clients for a moment.
    uint64_t clients = s->kafka.ssl_ca[0] || s->kafka.ssl_certificate[0] ? 2 * client : client;
    uint64_t witnesses = s->witnesses.count > 0 ? s->witnesses.count + CLIENTS_OF_WITNESSES * clients : 0;
    return OWN_FILES + OWN_CLIENTS * clients + witnesses +
           workers * (WORKER_OWN_FILES + CLIENTS_OF_WORKER * clients) + api;
}

bool cs_settings_raise_files(const struct cs_consumer_settings *s, struct cs_err *err) {
    char what[128];
    snprintf(what, sizeof what, "api.max_connections %" PRId64 ", %d workers",
             s->api_listen[0] ? s->api_max_connections : 0, cs_settings_workers(s, INT32_MAX));
    return cs_fd_limit_raise(cs_settings_files(s), what, err);
}

// main reads CONFIG; CRASH_AT and BUILD are for tests. The rest are settings of certsync alone: one
// shell or pod may export both programs' settings. A test compares them with that program's table.
static const char *const env_ignore[] = {"CERTSYNC_CONFIG",
                                         "CERTSYNC_CRASH_AT",
                                         "CERTSYNC_BUILD",
                                         "CERTSYNC_AGENT_ACCOUNT",
                                         "CERTSYNC_AGENT_CUSTODIAN",
                                         "CERTSYNC_AGENT_DEBOUNCE",
                                         "CERTSYNC_AGENT_HEARTBEAT",
                                         "CERTSYNC_AGENT_KEY",
                                         "CERTSYNC_AGENT_KEY_PROVIDER",
                                         "CERTSYNC_AGENT_LOG_LEVEL",
                                         "CERTSYNC_AGENT_METRICS_FILE",
                                         "CERTSYNC_AGENT_METRICS_LISTEN",
                                         "CERTSYNC_AGENT_PLACES",
                                         "CERTSYNC_AGENT_POLL",
                                         "CERTSYNC_AGENT_RESCAN",
                                         "CERTSYNC_AGENT_SPOOL",
                                         "CERTSYNC_AGENT_SPOOL_MAX_BYTES",
                                         "CERTSYNC_AGENT_SPOOL_MAX_EVENTS",
                                         "CERTSYNC_API_CA",
                                         "CERTSYNC_API_TIMEOUT",
                                         "CERTSYNC_API_URL",
                                         "CERTSYNC_DEPLOYMENT_CHECKPOINT_KEY",
                                         NULL};

const struct cs_settings_table cs_consumer_settings_table = {
    .program = "certsync-consumer",
    .env_prefix = "CERTSYNC_",
    .values_size = sizeof(S),
    .rows = rows,
    .row_count = CS_ARRAY_LEN(rows),
    .groups = groups,
    .group_count = CS_ARRAY_LEN(groups),
    .env_ignore = env_ignore,
    .check = check,
};
