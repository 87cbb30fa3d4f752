// SPDX-License-Identifier: Apache-2.0
//
// certsync-bench-mixed: a long log for rebuilds, and the floor of judging it.
//
//   load    makes the events (bench_mixed.h) in a thread for each core and publishes them
//   floor   what the signatures, and what preparing as a whole, of the last events of a partition cost in one
//           thread: processor time an event
//
// Each prints one line of JSON.
#include "certsync/base/keyed.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench_mixed.h"
#include "certsync/base/text.h"
#include "certsync/runtime/cli.h"
#include "certsync/runtime/kafka.h"
#include "log/reader.h"
#include "plain_kafka.h"
#include "worker/keyfile.h"
#include "worker/record.h"

#define THREADS_MAX 8

struct options {
    const char *brokers, *topic, *log_id, *admin_key, *issuer_key, *custodian_key;
    int64_t partitions, accounts, events, leafs, seed, sample;
};
#define O struct options
#define NEEDED(n, m, k, t, value)                                                                            \
    { .name = n, .kind = k, CS_OPT_AT_STR(O, m), .value_name = value, .flags = CS_OPT_REQUIRED, .text = t }
#define NUMBER(n, m, def, lowest, highest, t)                                                                \
    {                                                                                                        \
        .name = n, .kind = CS_OPT_INT, CS_OPT_AT_INT(O, m), .value_name = "N", .default_text = def,          \
        .min = lowest, .max = highest, .text = t                                                             \
    }
#define TOPIC                                                                                                \
    {                                                                                                        \
        .name = "topic", .kind = CS_OPT_STRING, CS_OPT_AT_STR(O, topic), .value_name = "NAME",               \
        .default_text = "cert.events", .text = "Topic."                                                      \
    }
static const struct cs_opt load_opts[] = {
    NEEDED("brokers", brokers, CS_OPT_STRING, "Kafka brokers.", "LIST"),
    NEEDED("log", log_id, CS_OPT_STRING, "The log's id, as init tells it.", "ID"),
    NEEDED("admin-key", admin_key, CS_OPT_PATH, "Private key of a trusted admin.", "FILE"),
    NEEDED("issuer-key", issuer_key, CS_OPT_PATH, "Private key of a trusted issuer.", "FILE"),
    NEEDED("custodian-key", custodian_key, CS_OPT_PATH, "Public key of a trusted custodian.", "FILE"),
    TOPIC,
    NUMBER("partitions", partitions, "4", 1, 10000, "Of the topic."),
    NUMBER("accounts", accounts, "10000", 2, 1000000, "Accounts, each with one agent; even."),
    NUMBER("events", events, "1000000", 1, 100000000, "Events, with those that make the accounts."),
    NUMBER("leafs", leafs, "0", 0, 10000000, "Certificates in stock, which come again; 0: each has its own."),
    NUMBER("seed", seed, "1", 1, 65535, "Of what is drawn."),
};
static const struct cs_opt floor_opts[] = {
    NEEDED("brokers", brokers, CS_OPT_STRING, "Kafka brokers.", "LIST"),
    NEEDED("log", log_id, CS_OPT_STRING, "The log's id, as init tells it.", "ID"),
    TOPIC,
    NUMBER("sample", sample, "10000", 1, 1000000, "Events of partition 0 that are measured, its last ones."),
};

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double thread_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

// --- load

struct loader {
    const struct options *o;
    struct bench_mixed_options mixed;
    rd_kafka_t *rk;
    struct bench_mixed_counts *counts;
    pthread_mutex_t *lock;
    bool failed;
    struct cs_err err;
};

static bool publish(const struct loader *l, const struct bench_event *e, struct cs_err *err) {
    rd_kafka_resp_err_t code;
    do {
        code = rd_kafka_producev(
            l->rk, RD_KAFKA_V_TOPIC(l->o->topic),
            RD_KAFKA_V_PARTITION(cs_partition_of(e->account, (int32_t)l->o->partitions)),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_KEY(e->account, strlen(e->account)),
            RD_KAFKA_V_VALUE(e->value, e->value_len), RD_KAFKA_V_HEADER("content-type", CS_CONTENT_TYPE, -1),
            RD_KAFKA_V_HEADER(CS_SIG_HEADER, e->sig, -1), RD_KAFKA_V_END);
        rd_kafka_poll(l->rk, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
    } while (code == RD_KAFKA_RESP_ERR__QUEUE_FULL);
    return !code || cs_kafka_err(err, code, "publishing");
}

static bool load_all(struct loader *l, struct cs_err *err) {
    struct bench_mixed *m = NULL;
    bool end = false;
    if (!bench_mixed_new(&l->mixed, &m, err))
        return false;
    bool ok = true;
    while (ok && !end) {
        struct bench_event e = {0};
        ok = bench_mixed_next(m, &e, &end, err) && (end || publish(l, &e, err));
        free(e.value);
    }
    pthread_mutex_lock(l->lock);
    bench_mixed_count(m, l->counts);
    pthread_mutex_unlock(l->lock);
    bench_mixed_free(m);
    return ok;
}

static void *load_thread(void *arg) {
    struct loader *l = arg;
    l->failed = !load_all(l, &l->err);
    return NULL;
}

static bool run_loaders(const struct loader *like, struct cs_err *err) {
    struct loader loaders[THREADS_MAX];
    pthread_t threads[THREADS_MAX];
    for (int t = 0; t < like->mixed.threads; t++) {
        loaders[t] = *like;
        loaders[t].mixed.thread = t;
        if (pthread_create(&threads[t], NULL, load_thread, &loaders[t]) != 0)
            abort();
    }
    bool ok = true;
    for (int t = 0; t < like->mixed.threads; t++) {
        pthread_join(threads[t], NULL);
        if (loaders[t].failed)
            *err = loaders[t].err;
        ok = ok && !loaders[t].failed;
    }
    rd_kafka_resp_err_t code = rd_kafka_flush(like->rk, 120000);
    return ok && (!code || cs_kafka_err(err, code, "waiting for acknowledgements"));
}

static int threads_for(const struct options *o) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int64_t n = cores < 1 ? 1 : cores > THREADS_MAX ? THREADS_MAX : cores;
    return (int)(n < o->partitions ? n : o->partitions);
}

static bool load(const struct options *o, FILE *out, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *admin = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *issuer = NULL;
    uint8_t *custodian = NULL;
    size_t custodian_len = 0;
    struct bench_mixed_counts n = {0};
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct cs_kafka_settings kafka = plain_kafka(o->brokers);
    rd_kafka_conf_t *conf = NULL;
    rd_kafka_t *rk = NULL;
    if (!cs_crypto_new(&crypto, err) || !cs_keyfile_private(crypto, o->admin_key, &admin, err) ||
        !cs_keyfile_private(crypto, o->issuer_key, &issuer, err) ||
        !cs_keyfile_spki(crypto, o->custodian_key, &custodian, &custodian_len, err) ||
        !cs_kafka_conf_producer(&kafka, "certsync-bench-mixed", &conf, err) ||
        !cs_kafka_new(RD_KAFKA_PRODUCER, conf, &rk, err))
        return false;
    struct loader l = {.o = o,
                       .mixed = {.log_id = o->log_id,
                                 .admin = admin,
                                 .issuer = issuer,
                                 .custodian_spki = {custodian, custodian_len},
                                 .accounts = (int)(o->accounts / 2 * 2),
                                 .events = o->events,
                                 .leafs = (int)o->leafs,
                                 .seed = (unsigned)o->seed,
                                 .partitions = (int32_t)o->partitions,
                                 .threads = threads_for(o)},
                       .rk = rk,
                       .counts = &n,
                       .lock = &lock};
    double start = now_s();
    bool ok = run_loaders(&l, err);
    if (ok)
        fprintf(out,
                "{\"events\":%lld,\"accounts\":%lld,\"uploads\":%lld,\"issued\":%lld,\"renewals\":%lld,"
                "\"deletes\":%lld,\"shares\":%lld,\"certificates\":%lld,\"seconds\":%.1f}\n",
                (long long)n.events, (long long)n.accounts, (long long)n.uploads, (long long)n.issued,
                (long long)n.renewals, (long long)n.deletes, (long long)n.shares, (long long)n.certificates,
                now_s() - start);
    rd_kafka_destroy(rk);
    free(custodian);
    return ok;
}

// --- floor

struct sender {
    struct cs_keyed keyed;
    cs_kid kid;
    struct cs_pubkey *key;
};
struct bench {
    const struct options *o;
    struct cs_crypto *crypto;
    struct cs_keyed_table senders;
    int32_t partitions;
    double verify_us, prepare_us;
    int64_t events;
};

static const struct cs_pubkey *lookup(void *arg, const char *account, const char *kid) {
    struct bench *b = arg;
    const struct sender *s = cs_keyed_get(&b->senders, kid);
    (void)account;
    return s ? s->key : NULL;
}

static bool learn(struct bench *b, const char *kid, struct cs_bytes spki, struct cs_err *err) {
    struct sender *s = calloc(1, sizeof *s);
    if (!s)
        return cs_err_oom(err);
    memcpy(s->kid, kid, sizeof s->kid);
    s->keyed = cs_keyed_of(s->kid);
    if (!cs_pubkey_new(b->crypto, spki, &s->key, err)) {
        free(s);
        return false;
    }
    if (cs_keyed_add(&b->senders, &s->keyed))
        return true;
    cs_pubkey_free(s->key);
    free(s);
    return cs_err_oom(err);
}

// Whose keys the log brings in; others than P-256 sign nothing.
static void learn_from(struct bench *b, const struct cs_record *r) {
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    struct cs_err ignored;
    if (!cs_event_decode(r->value, &ev, &ignored))
        return;
    if (ev->type == CS_EVENT_AGENT_ENROLL)
        (void)learn(b, ev->subject, ev->data.enroll.key.bytes, &ignored);
    else if (ev->type == CS_EVENT_TRUST_ADD && ev->data.trust.role != CS_TRUST_CUSTODIAN)
        (void)learn(b, ev->subject, ev->data.trust.key.bytes, &ignored);
}

static bool is_upload(const struct cs_event *ev) {
    return ev->type == CS_EVENT_CERTIFICATE_UPLOAD || ev->type == CS_EVENT_CERTIFICATE_ISSUE;
}

static bool verify_one(struct bench *b, const struct cs_prepared *p, const struct cs_event *ev,
                       const struct cs_pubkey *sender) {
    struct cs_err err;
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = NULL;
    CS_AUTO(cs_cert_free) struct cs_cert *issuer = NULL;
    bool ok = cs_event_verify(b->crypto, sender, p->value, (struct cs_bytes){p->sig, p->sig_len});
    if (!ok || !is_upload(ev))
        return ok;
    const struct cs_keyed_chain *k = &ev->data.upload.part[0];
    ok = cs_cert_parse(b->crypto, k->chain[0].bytes, &leaf, &err) &&
         cs_cert_parse(b->crypto, k->chain[1].bytes, &issuer, &err) &&
         cs_cert_signed_by(b->crypto, leaf, issuer);
    struct cs_pop_fields f = {
        b->o->log_id, ev->account, ev->kid, ev->id, ev->subject, k->key.bytes, ok ? leaf->sha256 : NULL};
    return ok && cs_pop_verify(b->crypto, leaf->key, &f, k->pop.bytes);
}

// Each in a pass of its own over the same records (with = verify or prepare), so that neither's memos serve the
// other.
static bool measure(struct bench *b, const struct cs_record *r, struct cs_crypto *other, struct cs_err *err) {
    CS_AUTO(cs_prepared_free) struct cs_prepared *p = NULL;
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL; // with its bytes, which preparation does not keep
    if (!cs_event_decode(r->value, &ev, err))
        return false;
    double start = thread_us();
    if (!cs_prepare(b->crypto, b->o->log_id, b->partitions, CS_RULESET_LATEST, r, lookup, b, NULL, &p, err))
        return false;
    double prepared = thread_us();
    const struct cs_pubkey *sender = p->event ? lookup(b, "", p->event->kid) : NULL;
    if (!sender)
        return true; // derived events by the service, of which the trust list says nothing here
    struct cs_crypto *mine = b->crypto;
    b->crypto = other;
    double begin = thread_us();
    bool ok = verify_one(b, p, ev, sender);
    double verified = thread_us();
    b->crypto = mine;
    if (!ok)
        return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "the record at offset %lld does not verify",
                          (long long)r->offset);
    b->prepare_us += prepared - start;
    b->verify_us += verified - begin;
    b->events++;
    return true;
}

static bool read_log(struct bench *b, struct cs_log *log, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *other = NULL;
    int64_t low = 0;
    int64_t high = 0;
    bool end = false;
    if (!cs_crypto_new(&other, err) || !log->ops->bounds(log, 0, &low, &high, err) ||
        !log->ops->start(log, 0, low, high, err))
        return false;
    b->partitions = log->partitions;
    int64_t from = high - low > 2 * b->o->sample ? high - b->o->sample : low + (high - low) / 2;
    while (!end) {
        struct cs_record r;
        if (!log->ops->next(log, &r, &end, err))
            return false;
        if (end)
            break;
        if (r.offset < from)
            learn_from(b, &r);
        else if (!measure(b, &r, other, err))
            return false;
    }
    return b->events > 0 || cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "there is nothing to measure");
}

static bool floor_of(const struct options *o, FILE *out, struct cs_err *err) {
    struct bench b = {.o = o};
    struct cs_kafka_settings kafka = plain_kafka(o->brokers);
    CS_AUTO(cs_log_free) struct cs_log *log = NULL;
    bool ok = cs_crypto_new(&b.crypto, err) && cs_log_open_kafka(&kafka, o->topic, &log, err) &&
              read_log(&b, log, err);
    if (ok)
        fprintf(out, "{\"sample\":%lld,\"verify_us\":%.1f,\"prepare_us\":%.1f}\n", (long long)b.events,
                b.verify_us / (double)b.events, b.prepare_us / (double)b.events);
    for (size_t i = 0; i < b.senders.len; i++) {
        struct sender *s = (struct sender *)(void *)b.senders.items[i];
        cs_pubkey_free(s->key);
        free(s);
    }
    cs_keyed_free(&b.senders);
    cs_crypto_free(b.crypto);
    return ok;
}

static int answer(const struct cs_cli *cli, bool ok, const struct cs_err *err) {
    if (!ok)
        fprintf(cli->err, "%s: %s\n", cli->path, err->msg);
    return ok ? CS_EXIT_OK : 1;
}

static int run_load(const struct cs_cli *cli) {
    struct cs_err err;
    return answer(cli, load(cli->values, cli->out, &err), &err);
}

static int run_floor(const struct cs_cli *cli) {
    struct cs_err err;
    return answer(cli, floor_of(cli->values, cli->out, &err), &err);
}

int main(int argc, char **argv) {
    const struct cs_command commands[] = {{.name = "load",
                                           .summary = "Publish a long log of mixed events",
                                           .opts = load_opts,
                                           .opt_count = CS_ARRAY_LEN(load_opts),
                                           .values_size = sizeof(struct options),
                                           .run = run_load},
                                          {.name = "floor",
                                           .summary = "Measure what its signatures and parsing cost",
                                           .opts = floor_opts,
                                           .opt_count = CS_ARRAY_LEN(floor_opts),
                                           .values_size = sizeof(struct options),
                                           .run = run_floor}};
    const struct cs_command root = {.name = "certsync-bench-mixed",
                                    .summary = "A long log for rebuilds",
                                    .commands = commands,
                                    .command_count = CS_ARRAY_LEN(commands)};
    return cs_cli_main(&root, CERTSYNC_VERSION, argc, argv);
}
