// SPDX-License-Identifier: Apache-2.0
//
// init: makes topics, genesis records, and the keys that are trusted from the start. It may run
// again: it tells what is there and adds what is missing.
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "certsync/base/text.h"
#include "certsync/model/rules.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/clock.h"
#include "certsync/runtime/kafka.h"
#include "commands/commands.h"
#include "log/init.h"
#include "worker/keyfile.h"
#include "worker/publish.h"

#define TOPIC_TIMEOUT_MS 30000
#define ACK_TIMEOUT_MS   30000

struct init_options {
    int64_t partitions;
    int64_t replication;
    const char *root_key;
    struct cs_cli_list admin, issuer, custodian, auditor;
};

static const struct cs_opt opts[] = {
    {.name = "partitions",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct init_options, partitions),
     .value_name = "N",
     .min = 1,
     .max = 10000,
     .flags = CS_OPT_REQUIRED,
     .text = "Partitions of each topic; can never be changed."},
    {.name = "replication",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(struct init_options, replication),
     .value_name = "R",
     .default_text = "3",
     .min = 1,
     .max = 9,
     .text = "Copies of each partition; 3 and more also ask for two in sync."},
    {.name = "root-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(struct init_options, root_key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "The root private key (PEM), whose public half is deployment.root_key."},
    {.name = "service-key",
     .kind = CS_OPT_SETTING,
     .setting = "deployment.service_key",
     .value_name = "FILE",
     .text = "Service private key (deployment.service_key); made where the file does not exist."},
    {.name = "admin-key",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct init_options, admin),
     .value_name = "FILE",
     .text = "Public key to trust as admin."},
    {.name = "issuer-key",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct init_options, issuer),
     .value_name = "FILE",
     .text = "Public key to trust as issuer."},
    {.name = "custodian-key",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct init_options, custodian),
     .value_name = "FILE",
     .text = "Public key to trust as custodian."},
    {.name = "auditor-key",
     .kind = CS_OPT_LIST,
     CS_OPT_AT_LIST(struct init_options, auditor),
     .value_name = "FILE",
     .text = "Public key to trust as auditor."},
};

struct init {
    const struct cs_cli *cli;
    const struct init_options *o;
    const struct cs_consumer_settings *s;
    struct cs_privkey *root_key;
    struct cs_init_log log;
    cs_log_id log_id;
    struct cs_publisher *publisher;
};

// Takes the SPKI.
static bool add_key(struct init *in, enum cs_trust_role role, const char *path, uint8_t *spki,
                    size_t spki_len, struct cs_err *err) {
    struct cs_init_log *log = &in->log;
    if (log->keys_len == CS_INIT_KEYS_MAX) {
        free(spki);
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "more than %d keys at once", CS_INIT_KEYS_MAX);
    }
    struct cs_init_key *k = &log->keys[log->keys_len];
    k->spki = spki;
    k->spki_len = spki_len;
    k->role = role;
    k->path = path;
    cs_kid_of_spki(log->crypto, (struct cs_bytes){k->spki, k->spki_len}, k->kid);
    log->keys_len++;
    return true;
}

static bool add_public_key(struct init *in, enum cs_trust_role role, const char *path, struct cs_err *err) {
    uint8_t *spki;
    size_t len;
    return cs_keyfile_spki(in->log.crypto, path, &spki, &len, err) && add_key(in, role, path, spki, len, err);
}

static bool read_service_key(struct init *in, struct cs_err *err) {
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    if (access(in->s->service_key, F_OK) != 0) {
        if (!cs_keyfile_make(in->s->service_key, &key, err))
            return false;
        fprintf(in->cli->out, "service key: made %s\n", in->s->service_key);
    } else if (!cs_keyfile_private(in->log.crypto, in->s->service_key, &key, err)) {
        return false;
    }
    uint8_t *spki;
    size_t len;
    return cs_privkey_spki(key, &spki, &len, err) &&
           add_key(in, CS_TRUST_SERVICE, in->s->service_key, spki, len, err);
}

static bool read_root_key(struct init *in, struct cs_err *err) {
    uint8_t *mine = NULL, *settings = NULL;
    size_t mine_len = 0, settings_len = 0;
    if (!cs_keyfile_private(in->log.crypto, in->o->root_key, &in->root_key, err) ||
        !cs_privkey_spki(in->root_key, &mine, &mine_len, err))
        return false;
    bool ok = cs_keyfile_spki(in->log.crypto, in->s->root_key, &settings, &settings_len, err);
    if (ok && (mine_len != settings_len || memcmp(mine, settings, mine_len) != 0))
        ok = cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                        "%s is not the private key of deployment.root_key (%s): consumers would trust "
                        "nothing that it signs",
                        in->o->root_key, in->s->root_key);
    if (ok) {
        cs_kid_of_spki(in->log.crypto, (struct cs_bytes){mine, mine_len}, in->log.root_kid);
        ok = cs_pubkey_new(in->log.crypto, (struct cs_bytes){mine, mine_len}, &in->log.root, err);
    }
    free(mine);
    free(settings);
    return ok;
}

static bool read_keys(struct init *in, struct cs_err *err) {
    const struct {
        const struct cs_cli_list *files;
        enum cs_trust_role role;
    } lists[] = {{&in->o->admin, CS_TRUST_ADMIN},
                 {&in->o->issuer, CS_TRUST_ISSUER},
                 {&in->o->custodian, CS_TRUST_CUSTODIAN},
                 {&in->o->auditor, CS_TRUST_AUDITOR}};
    if (!read_root_key(in, err) || !read_service_key(in, err))
        return false;
    for (size_t i = 0; i < CS_ARRAY_LEN(lists); i++)
        for (size_t f = 0; f < lists[i].files->count; f++)
            if (!add_public_key(in, lists[i].role, lists[i].files->items[f], err))
                return false;
    return true;
}

// Whether the cluster has the topic, by its list of topics alone. The embedded broker allows no
// other way.
static bool look_for_topic(rd_kafka_t *rk, const char *name, bool *ret_there, struct cs_err *err) {
    const struct rd_kafka_metadata *md = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &md, TOPIC_TIMEOUT_MS);
    if (code)
        return cs_kafka_err(err, code, "asking the brokers for their topics");
    *ret_there = false;
    for (int i = 0; i < md->topic_cnt; i++)
        if (strcmp(md->topics[i].topic, name) == 0 && md->topics[i].partition_cnt > 0)
            *ret_there = true;
    rd_kafka_metadata_destroy(md);
    return true;
}

static bool make_topic(struct init *in, rd_kafka_t *rk, const char *name, enum cs_init_topic_kind kind,
                       struct cs_err *err) {
    int32_t due = kind == CS_INIT_CORRECTIONS ? 1 : (int32_t)in->o->partitions;
    bool there = false;
    if (!look_for_topic(rk, name, &there, err) ||
        (!there &&
         !cs_init_topic(rk, name, due, (int32_t)in->o->replication, kind, TOPIC_TIMEOUT_MS, &there, err)))
        return false;
    int32_t partitions = 0;
    int64_t deadline_ms = cs_clock_mono_ms(cs_clock_real()) + TOPIC_TIMEOUT_MS;
    // Not every broker knows a new topic at once.
    while (!cs_kafka_topic_partitions(rk, in->s->kafka.brokers, name, TOPIC_TIMEOUT_MS, &partitions, err))
        if (there || cs_clock_mono_ms(cs_clock_real()) > deadline_ms)
            return false;
    if (partitions != due && kind == CS_INIT_CORRECTIONS)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "topic %s has %d partitions, and must have one: delete it if it is empty, or take "
                          "another topic",
                          name, (int)partitions);
    if (partitions != due)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "topic %s has %d partitions, not %d: their number can never be changed; say "
                          "--partitions %d, or take "
                          "another topic",
                          name, (int)partitions, (int)in->o->partitions, (int)partitions);
    fprintf(in->cli->out, "topic %s: %s, %d partitions\n", name, there ? "is there" : "made",
            (int)partitions);
    return true;
}

static bool make_topics(struct init *in, struct cs_err *err) {
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    if (!cs_kafka_conf_producer(&in->s->kafka, "certsync-consumer-init", &conf, err) ||
        !cs_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, err))
        return false;
    bool ok = make_topic(in, rk, in->s->events_topic, CS_INIT_LOG, err) &&
              make_topic(in, rk, in->s->outcomes_topic, CS_INIT_LOG, err) &&
              make_topic(in, rk, in->s->checkpoints_topic, CS_INIT_CHECKPOINTS, err) &&
              make_topic(in, rk, in->s->corrections_topic, CS_INIT_CORRECTIONS, err) &&
              make_topic(in, rk, in->s->heartbeats_topic, CS_INIT_HEARTBEATS, err);
    rd_kafka_destroy(rk);
    return ok;
}

static bool wait_acknowledged(struct init *in, struct cs_err *err) {
    const struct cs_clock *clock = cs_clock_real();
    int64_t deadline = cs_clock_mono_ms(clock) + ACK_TIMEOUT_MS;
    size_t pending = 0;
    do {
        if (!in->publisher->ops->pending(in->publisher, &pending, err))
            return false;
        if (pending > 0 && cs_clock_mono_ms(clock) > deadline)
            return cs_err_set(err, CS_ERR_RETRY, CS_CODE_NONE,
                              "Kafka did not acknowledge %zu records within %d s", pending,
                              ACK_TIMEOUT_MS / 1000);
        if (pending > 0)
            poll(NULL, 0, 10);
    } while (pending > 0);
    return true;
}

// Sends one record to each partition p without there[p]. *ret_n: how many.
static bool send_to(struct init *in, struct cs_bytes value, struct cs_bytes sig, const bool *there,
                    int *ret_n, struct cs_err *err) {
    const struct cs_header headers[] = {
        {"content-type", {(const uint8_t *)CS_CONTENT_TYPE, sizeof CS_CONTENT_TYPE - 1}},
        {CS_SIG_HEADER, sig},
    };
    *ret_n = 0;
    for (int32_t p = 0; p < in->log.partitions; p++) {
        if (there[p])
            continue;
        struct cs_publish_message m = {CS_PUBLISH_EVENTS, p, {(const uint8_t *)"", 0}, value, headers, 2};
        if (!in->publisher->ops->send(in->publisher, &m, err))
            return false;
        ++*ret_n;
    }
    return wait_acknowledged(in, err);
}

// Another one for each log: what was signed for earlier topics of this deployment then counts for
// nothing in these.
static bool make_nonce(struct init *in, struct cs_err *err) {
    uint8_t random[CS_NONCE_LEN / 2];
    if (in->log.nonce[0])
        return true;
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "no random numbers");
    cs_hex_encode(random, sizeof random, in->log.nonce);
    return true;
}

static bool fill_envelope(struct init *in, struct cs_event *ev, struct cs_err *err) {
    uint8_t random[10];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "no random numbers");
    int64_t now_ms = cs_clock_wall_ms(cs_clock_real());
    cs_uuid_v7(now_ms, random, ev->id);
    ev->time_s = now_ms / 1000;
    ev->seq = ++in->log.root_seq;
    memcpy(ev->log_id, in->log_id, sizeof ev->log_id);
    memcpy(ev->kid, in->log.root_kid, sizeof ev->kid);
    return true;
}

static bool sign_and_send(struct init *in, struct cs_event *ev, const bool *there, int *ret_n,
                          struct cs_err *err) {
    CS_AUTO(cs_buf_clear) struct cs_buf value;
    uint8_t sig[CS_EVENT_SIG_MAX];
    char text[CS_EVENT_SIG_MAX * 2];
    size_t len = 0;
    cs_buf_init(&value, CS_EVENT_MAX);
    if (!fill_envelope(in, ev, err) || !cs_event_encode(ev, &value, err) || !cs_buf_ok(&value, err) ||
        !cs_event_sign(in->log.crypto, in->root_key, cs_buf_bytes(&value), sig, &len, err))
        return false;
    cs_base64_encode(sig, len, text);
    return send_to(in, cs_buf_bytes(&value),
                   (struct cs_bytes){(const uint8_t *)text, cs_base64_encoded_len(len)}, there, ret_n, err);
}

static bool missing(const bool *there, int32_t n) {
    for (int32_t p = 0; p < n; p++)
        if (!there[p])
            return true;
    return false;
}

static bool put_genesis(struct init *in, struct cs_err *err) {
    struct cs_init_log *log = &in->log;
    int n = 0;
    if (!make_nonce(in, err))
        return false;
    cs_log_id_make(in->s->deployment, log->nonce, in->log_id);
    if (!missing(log->genesis, log->partitions)) {
        fprintf(in->cli->out, "genesis: is there, log %s\n", in->log_id);
        return true;
    }
    if (log->genesis_value.len > 0) { // an earlier run was interrupted: the same bytes go everywhere
        if (!send_to(in, cs_buf_bytes(&log->genesis_value), cs_buf_bytes(&log->genesis_sig), log->genesis, &n,
                     err))
            return false;
    } else {
        struct cs_event ev = {.type = CS_EVENT_SYSTEM_GENESIS};
        snprintf(ev.subject, sizeof ev.subject, "%s", in->s->deployment);
        snprintf(ev.data.genesis.deployment, sizeof ev.data.genesis.deployment, "%s", in->s->deployment);
        memcpy(ev.data.genesis.nonce, log->nonce, sizeof log->nonce);
        ev.data.genesis.partitions = log->partitions;
        ev.data.genesis.ruleset = CS_RULESET_LATEST;
        if (!sign_and_send(in, &ev, log->genesis, &n, err))
            return false;
    }
    fprintf(in->cli->out, "genesis: written to %d partitions, log %s\n", n, in->log_id);
    return true;
}

static bool put_trust(struct init *in, const struct cs_init_key *k, struct cs_err *err) {
    int n = 0;
    const char *role = cs_trust_role_name(k->role);
    if (k->removed)
        return cs_err_set(
            err, CS_ERR_CONFIG, CS_CODE_NONE,
            "%s key %s (%s) was trusted and removed; a removed key never comes back: make a new one", role,
            k->kid, k->path);
    if (!missing(k->there, in->log.partitions)) {
        fprintf(in->cli->out, "%s key %s: is trusted\n", role, k->kid);
        return true;
    }
    struct cs_event ev = {.type = CS_EVENT_TRUST_ADD};
    memcpy(ev.subject, k->kid, sizeof k->kid);
    ev.data.trust.role = k->role;
    ev.data.trust.key.bytes = (struct cs_bytes){k->spki, k->spki_len};
    if (!sign_and_send(in, &ev, k->there, &n, err))
        return false;
    fprintf(in->cli->out, "%s key %s: trusted from now on, written to %d partitions\n", role, k->kid, n);
    return true;
}

static bool do_init(struct init *in, struct cs_err *err) {
    struct cs_publish_kafka_options publish = {
        &in->s->kafka, "certsync-consumer-init", in->s->events_topic, in->s->outcomes_topic, NULL, -1};
    in->log.settings = in->s;
    in->log.partitions = (int32_t)in->o->partitions;
    if (!cs_crypto_new(&in->log.crypto, err) || !read_keys(in, err) || !make_topics(in, err) ||
        !cs_init_log_read(&in->log, err) || !cs_publish_kafka_new(&publish, &in->publisher, err) ||
        !put_genesis(in, err))
        return false;
    for (size_t i = 0; i < in->log.keys_len; i++)
        if (!put_trust(in, &in->log.keys[i], err))
            return false;
    return true;
}

static int run_init(const struct cs_cli *cli) {
    struct cs_consumer_settings *s = NULL;
    struct cs_err err;
    if (!cs_consumer_settings_load(cli, &s, &err))
        return cs_consumer_failure(cli, &err);
    struct init in = {.cli = cli, .o = cli->values, .s = s};
    bool ok = do_init(&in, &err);
    cs_publisher_free(in.publisher);
    cs_privkey_free(in.root_key);
    cs_init_log_clear(&in.log);
    cs_settings_free(&cs_consumer_settings_table, s);
    return ok ? CS_EXIT_OK : cs_consumer_failure(cli, &err);
}

const struct cs_command cs_cmd_init = {
    .name = "init",
    .summary = "Make the topics and write the first records of a deployment",
    .description = "Makes the topics, writes the genesis record into every partition, and trusts the "
                   "service key and the keys that "
                   "are given. The root private key is needed for this and for trust changes only: keep it "
                   "offline otherwise.\n\n"
                   "Run it again at any time: it says what is there and adds what is missing; topics of "
                   "another deployment are "
                   "refused.",
    .examples =
        "certsync-consumer init --config consumer.conf --partitions 24 --replication 3 --root-key root.key "
        "--admin-key admin.pub\n",
    .opts = opts,
    .opt_count = CS_ARRAY_LEN(opts),
    .values_size = sizeof(struct init_options),
    .run = run_init,
};
