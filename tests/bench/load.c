// SPDX-License-Identifier: Apache-2.0
//
// certsync-bench-load: makes signed upload events and publishes them to cert.events as fast as it can.
// Prints one line of JSON when all are acknowledged.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench_events.h"
#include "certsync/runtime/cli.h"
#include "certsync/runtime/kafka.h"
#include "plain_kafka.h"
#include "worker/keyfile.h"

struct options {
    const char *brokers, *topic, *log_id, *admin_key, *custodian_key, *kinds;
    int64_t partitions, accounts, uploads, seed;
};
#define O struct options
static const struct cs_opt opts[] = {
    {.name = "brokers",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, brokers),
     .value_name = "LIST",
     .flags = CS_OPT_REQUIRED,
     .text = "Kafka brokers."},
    {.name = "topic",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, topic),
     .value_name = "NAME",
     .default_text = "cert.events",
     .text = "Topic."},
    {.name = "log",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, log_id),
     .value_name = "ID",
     .flags = CS_OPT_REQUIRED,
     .text = "The log's id, as init tells it."},
    {.name = "admin-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(O, admin_key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "Private key of a trusted admin."},
    {.name = "custodian-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(O, custodian_key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "Public key of a trusted custodian."},
    {.name = "kinds",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, kinds),
     .value_name = "LIST",
     .default_text = "p256",
     .text = "Of leafs, in turn: p256,rsa2048,sm2,p384-issuer."},
    {.name = "partitions",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(O, partitions),
     .value_name = "N",
     .min = 1,
     .max = 10000,
     .flags = CS_OPT_REQUIRED,
     .text = "Of the topic."},
    {.name = "accounts",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(O, accounts),
     .value_name = "N",
     .default_text = "1000",
     .min = 1,
     .max = 1000000,
     .text = "Accounts, each with one agent."},
    {.name = "uploads",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(O, uploads),
     .value_name = "N",
     .default_text = "10000",
     .min = 1,
     .max = 10000000,
     .text = "Uploads."},
    {.name = "seed",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(O, seed),
     .value_name = "N",
     .default_text = "0",
     .min = 0,
     .max = 2147483647,
     .text = "Makes names and ids; 0: the time."},
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool publish(rd_kafka_t *rk, const struct options *o, const struct bench_event *e,
                    struct cs_err *err) {
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(o->topic),
            RD_KAFKA_V_PARTITION(cs_partition_of(e->account, (int32_t)o->partitions)),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(e->account, strlen(e->account)),
            RD_KAFKA_V_VALUE(e->value, e->value_len), RD_KAFKA_V_HEADER("content-type", CS_CONTENT_TYPE, -1),
            RD_KAFKA_V_HEADER(CS_SIG_HEADER, e->sig, -1), RD_KAFKA_V_END);
        rd_kafka_poll(rk, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    return !code || cs_kafka_err(err, code, "publishing");
}

static bool new_producer(const struct options *o, rd_kafka_t **ret, struct cs_err *err) {
    struct cs_kafka_settings kafka = plain_kafka(o->brokers);
    rd_kafka_conf_t *conf = NULL;
    return cs_kafka_conf_producer(&kafka, "certsync-bench-load", &conf, err) &&
           cs_kafka_new(RD_KAFKA_PRODUCER, conf, ret, err);
}

static bool publish_all(const struct options *o, struct bench_maker *maker, rd_kafka_t *rk, size_t *ret_n,
                        struct cs_err *err) {
    struct bench_event e = {0};
    for (bool end = false;; ++*ret_n) {
        if (!bench_maker_next(maker, &e, &end, err))
            return false;
        if (end)
            break;
        bool ok = publish(rk, o, &e, err);
        free(e.value);
        if (!ok)
            return false;
    }
    rd_kafka_resp_err_t code = rd_kafka_flush(rk, 60000);
    return !code || cs_kafka_err(err, code, "waiting for acknowledgements");
}

static bool load(const struct options *o, FILE *out, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *admin = NULL;
    CS_AUTO(bench_maker_free) struct bench_maker *maker = NULL;
    uint8_t *custodian = NULL;
    size_t custodian_len = 0;
    size_t n = 0;
    rd_kafka_t *rk = NULL;
    struct bench_options b = {.log_id = o->log_id,
                              .accounts = (int)o->accounts,
                              .uploads = (int)o->uploads,
                              .seed = (unsigned)(o->seed ? o->seed : time(NULL))};
    if (!bench_kinds_parse(o->kinds, b.kinds))
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "--kinds: p256, rsa2048, sm2 or p384-issuer, comma-separated");
    if (!cs_crypto_new(&crypto, err) || !cs_keyfile_private(crypto, o->admin_key, &admin, err) ||
        !cs_keyfile_spki(crypto, o->custodian_key, &custodian, &custodian_len, err))
        return false;
    b.admin = admin;
    b.custodian_spki = (struct cs_bytes){custodian, custodian_len};
    double start = now_s();
    bool ok =
        bench_maker_new(&b, &maker, err) && new_producer(o, &rk, err) && publish_all(o, maker, rk, &n, err);
    if (ok)
        fprintf(out, "{\"events\":%zu,\"uploads\":%d,\"seconds\":%.3f}\n", n, b.uploads, now_s() - start);
    if (rk)
        rd_kafka_destroy(rk);
    free(custodian);
    return ok;
}

static int run(const struct cs_cli *cli) {
    struct cs_err err;
    if (load(cli->values, cli->out, &err))
        return CS_EXIT_OK;
    fprintf(cli->err, "%s: %s\n", cli->path, err.msg);
    return 1;
}

int main(int argc, char **argv) {
    const struct cs_command commands[] = {{.name = "upload",
                                           .summary = "Publish signed uploads",
                                           .opts = opts,
                                           .opt_count = CS_ARRAY_LEN(opts),
                                           .values_size = sizeof(struct options),
                                           .run = run}};
    const struct cs_command root = {.name = "certsync-bench-load",
                                    .summary = "Makes load for measurements",
                                    .commands = commands,
                                    .command_count = 1};
    return cs_cli_main(&root, CERTSYNC_VERSION, argc, argv);
}
