// SPDX-License-Identifier: Apache-2.0
//
// What the log says of its own begin: genesis and trust records by the root key. init reads them
// back, so that it can run again at any time.
#pragma once

#include "certsync/model/event.h"
#include "settings.h"
#include "worker/record.h"

#define CS_INIT_KEYS_MAX 64

struct cs_init_key { // to be trusted
    enum cs_trust_role role;
    const char *path; // for messages
    uint8_t *spki;    // owned
    size_t spki_len;
    cs_kid kid;
    bool *there; // by partition; owned
    bool removed;
};

struct cs_init_log {
    const struct cs_consumer_settings *settings;
    struct cs_crypto *crypto;
    struct cs_pubkey *root;
    cs_kid root_kid;
    int32_t partitions;
    cs_nonce nonce;              // of the genesis that is there; "": none is
    int64_t root_seq;            // highest of the root key
    bool *genesis;               // by partition; owned
    struct cs_buf genesis_value; // of the first that is there
    struct cs_buf genesis_sig;
    size_t keys_len;
    struct cs_init_key keys[CS_INIT_KEYS_MAX];
};
// Reads the whole of cert.events. The caller sets keys and partitions. CONFIG if the topic belongs
// to another deployment.
CS_MUST_USE bool cs_init_log_read(struct cs_init_log *log, struct cs_err *err);
void cs_init_log_clear(struct cs_init_log *log);
CS_DEFINE_AUTO_CLEAR(struct cs_init_log, cs_init_log_clear)

// Makes a topic of a deployment with the settings that it must have. Its records are compressed as rk
// (a producer) compresses them.
enum cs_init_topic_kind {
    CS_INIT_LOG,         // events, outcomes: all is kept
    CS_INIT_CORRECTIONS, // the same, in one partition
    CS_INIT_CHECKPOINTS, // compacted
    CS_INIT_HEARTBEATS,  // kept for a day
};
CS_MUST_USE bool cs_init_topic(rd_kafka_t *rk, const char *name, int32_t partitions, int32_t replication,
                               enum cs_init_topic_kind kind, int64_t timeout_ms, bool *ret_existed,
                               struct cs_err *err);
