// SPDX-License-Identifier: Apache-2.0
//
// The settings of certsync-consumer: one table. Parsing, --help and the documentation come from it.
// A loaded struct is read-only; SIGHUP loads a new one.
#pragma once

#include "certsync/runtime/kafka.h"
#include "certsync/runtime/settings.h"
#include "redis/access.h"

#define CS_API_THREADS_MAX 64

// [witness NAME]: somebody else's server that cosigns our checkpoints (https://c2sp.org/tlog-witness).
struct cs_witness_settings {
    char *name;
    char *url; // what add-checkpoint is below
    char *key; // vkey: cs_settings_witness_key
    char *ca;  // file; "" the system's
};
#define CS_WITNESSES_MAX 8

// [notice NAME]: who is told what (notify/notice.h).
struct cs_notice_settings {
    char *name;
    char *to;       // cs_settings_notice_url
    char *url_file; // instead of to, where the URL is a secret
    struct cs_list on;
    struct cs_list accounts, names; // patterns
    char *secret_file;
    char *ca; // file; "" the system's
    bool private_addresses;
    struct cs_list before; // durations: cs_settings_notice_before
    struct cs_list tags;   // patterns
    int64_t digest_ms;
};
#define CS_NOTICES_MAX  32
#define CS_NOTICE_WORDS "expiry, deletion, share, refusal, fork" // of on
bool cs_settings_notice_word(const char *word);                  // whether it is one of them
// Whether it goes by mail, and to whom: the i-th address, in which {account} stands for the account.
// False: there are no more.
#define CS_NOTICE_ADDRESS_MAX 320
bool cs_settings_notice_is_mail(const struct cs_notice_settings *n);
bool cs_settings_notice_address(const struct cs_notice_settings *n, size_t i, const char *account,
                                char ret[CS_NOTICE_ADDRESS_MAX + 1]);
// How long before a certificate ends it is told of: the i-th, in milliseconds. False: there are no more.
bool cs_settings_notice_before(const struct cs_notice_settings *n, size_t i, int64_t *ret_ms);

struct cs_consumer_settings {
    char *deployment;                    // deployment.id
    char *root_key;                      // file: the root's public key (PEM)
    char *service_key;                   // file: the private key that signs derived events (PEM)
    struct cs_list earlier_service_keys; // files of those before it

    struct cs_kafka_settings kafka;
    char *events_topic;
    char *outcomes_topic;
    char *checkpoints_topic;
    char *corrections_topic;
    char *heartbeats_topic;
    char *group;
    int64_t session_timeout_ms;
    bool allow_create_time;

    int64_t redis_mode; // enum cs_redis_mode
    char *redis_url;    // cs_settings_redis
    char *redis_sentinel_master;
    char *redis_sentinel_username;
    char *redis_sentinel_password;
    char *redis_username;
    char *redis_password;
    char *redis_namespace;
    char *redis_ca; // file, for rediss://
    int64_t redis_timeout_ms;

    int64_t workers; // 0: the cores
    int64_t batch_records;
    int64_t batch_bytes;
    int64_t cache_bytes; // hot documents, of all workers
    int64_t queue_bytes; // records fetched ahead, of all partitions
    int64_t drain_timeout_ms;
    int64_t preflight_timeout_ms;
    int64_t inspect_every_ms;

    struct cs_settings_items witnesses; // struct cs_witness_settings
    int64_t witness_every_ms;
    int64_t witness_timeout_ms;

    struct cs_settings_items notices; // struct cs_notice_settings
    char *notify_listen;              // "": nowhere
    int64_t notify_lease_ms;
    int64_t notify_timeout_ms;
    int64_t notify_retry_first_ms;
    int64_t notify_retry_longest_ms;
    int64_t notify_keep_ms;
    int64_t notify_queue_max;
    int64_t notify_look_every_ms;
    char *notify_smtp_url;
    char *notify_smtp_from;
    char *notify_smtp_username;
    char *notify_smtp_password_file;
    char *notify_smtp_ca;
    bool notify_smtp_tls;

    char *snapshot_dir; // "": none
    int64_t snapshot_checked;
    int64_t snapshot_every; // 0: each time
    int64_t snapshot_keep;  // 0: all
    char *api_listen;       // "" : no API
    char *api_tls_certificate;
    char *api_tls_key;
    int64_t api_threads; // 0: by the cores (cs_settings_api_threads)
    int64_t api_max_connections;
    int64_t api_max_wait_s; // of ?wait=
    int64_t api_quiet_after_ms;
    bool api_search;

    int64_t log_level;
};

extern const struct cs_settings_table cs_consumer_settings_table;
// In the place of deployment.service_key for operators' commands that need none.
#define CS_SERVICE_KEY_UNSET "(not set)"
// How Redis is reached; borrows from s. CONFIG: what is wrong with redis.url, redis.mode or
// redis.sentinel_master.
CS_MUST_USE bool cs_settings_redis(const struct cs_consumer_settings *s, struct cs_redis_access *ret,
                                   struct cs_err *err);
struct cs_crypto;
struct cs_note_key;
static inline const struct cs_witness_settings *cs_settings_witness(const struct cs_consumer_settings *s,
                                                                    size_t i) {
    return (const struct cs_witness_settings *)s->witnesses.items + i;
}
static inline const struct cs_notice_settings *cs_settings_notice(const struct cs_consumer_settings *s,
                                                                  size_t i) {
    return (const struct cs_notice_settings *)s->notices.items + i;
}
// Whether a text is https://HOST… or http://HOST…, without a user's name and without '#'.
bool cs_settings_is_url(const char *text, bool with_query);
// The key that verifies a witness's cosignatures, as text from anywhere. CONFIG: what is wrong with it.
CS_MUST_USE bool cs_settings_witness_key(struct cs_crypto *c, const char *text, struct cs_note_key *ret,
                                         struct cs_err *err);
// How many threads share that many partitions: never more than partitions.
int cs_settings_workers(const struct cs_consumer_settings *s, int32_t partitions);
// How many threads answer requests; 0 without an API.
int cs_settings_api_threads(const struct cs_consumer_settings *s);
// Bytes that a batch's results, and the documents it loads, may take before the batch is committed
// in parts (apply.h).
static inline size_t cs_settings_batch_memory(const struct cs_consumer_settings *s) {
    return (size_t)s->batch_bytes * 4;
}
// How many files and sockets a process with these settings may have open, for any number of
// partitions.
uint64_t cs_settings_files(const struct cs_consumer_settings *s);
// Raises the limit of open files to that (fdlimit.h).
CS_MUST_USE bool cs_settings_raise_files(const struct cs_consumer_settings *s, struct cs_err *err);
