// SPDX-License-Identifier: Apache-2.0
//
// certsync-bench-floor: what judging the uploads of a log costs in signatures and parsing alone, in one thread
// and without any I/O: the floor that a worker is measured against. The log is read into memory first.
//
//   verify   the sender's signature, both certificates of the chain, leaf <- issuer, proof of possession
//   prepare  cs_prepare: the same with hashing of the record, JSON, base64 and all checks
//   apply    prepare, then decide, number and chain over a catalog in memory (batches of 500)
//
// Prints one line of JSON for each, after one with OpenSSL's version: processor time in microseconds an upload.
// With --block it goes on with verify for a block of uploads for each line that it reads, and prints another such
// line then.
#include "certsync/base/keyed.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "catalog/catalog.h"
#include "catalog/hot.h"
#include "certsync/base/text.h"
#include "certsync/model/sign.h"
#include "certsync/runtime/cli.h"
#include "certsync/runtime/kafka.h"
#include "log/reader.h"
#include "plain_kafka.h"
#include "worker/apply.h"
#include "worker/keyfile.h"

#define BATCH 500

struct options {
    const char *brokers, *topic, *events, *log_id, *root_key, *runs;
    int64_t block;
};
#define O struct options
static const struct cs_opt opts[] = {
    {.name = "brokers",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, brokers),
     .value_name = "LIST",
     .text = "Kafka brokers to read the log from."},
    {.name = "topic",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, topic),
     .value_name = "NAME",
     .default_text = "cert.events",
     .text = "Topic."},
    {.name = "events",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(O, events),
     .value_name = "FILE",
     .text = "Read the log from this file (kcat -C -J -e) instead."},
    {.name = "log",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, log_id),
     .value_name = "ID",
     .flags = CS_OPT_REQUIRED,
     .text = "The log's id, as init tells it."},
    {.name = "root-key",
     .kind = CS_OPT_PATH,
     CS_OPT_AT_STR(O, root_key),
     .value_name = "FILE",
     .flags = CS_OPT_REQUIRED,
     .text = "Root's public key."},
    {.name = "runs",
     .kind = CS_OPT_STRING,
     CS_OPT_AT_STR(O, runs),
     .value_name = "LIST",
     .default_text = "verify,prepare,apply",
     .text = "What to measure, comma-separated."},
    {.name = "block",
     .kind = CS_OPT_INT,
     CS_OPT_AT_INT(O, block),
     .value_name = "N",
     .min = 1,
     .max = 1000000,
     .text = "Then verify N uploads for each line of the input."},
};

// A record of the log, in memory of its own.
struct held {
    struct cs_record record;
    struct cs_header headers[2];
    char signature[CS_EVENT_SIG_MAX * 2];
    enum cs_event_type type;
    struct cs_event *event; // of an upload: what verify begins with
};

struct sender {
    struct cs_keyed keyed;
    cs_kid kid;
    struct cs_pubkey *key;
};

struct bench {
    const struct options *o;
    int32_t partitions;
    struct held *log; // partition after partition
    size_t len, cap, uploads;
    struct cs_crypto *crypto;
    uint8_t *root_spki;
    size_t root_len;
    struct cs_keyed_table senders; // whom the log enrols
    struct cs_key_cache *keys;
};

static _Noreturn void die(const struct cs_err *err) {
    fprintf(stderr, "certsync-bench-floor: %s\n", err->msg);
    exit(1);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static bool is_upload(const struct held *h) {
    return h->type == CS_EVENT_CERTIFICATE_UPLOAD || h->type == CS_EVENT_CERTIFICATE_ISSUE;
}

static struct cs_bytes copy_of(struct cs_bytes b) {
    uint8_t *data = malloc(b.len + 1);
    if (!data)
        abort();
    memcpy(data, b.data, b.len);
    return (struct cs_bytes){data, b.len};
}

// ---- reading the log

static void hold(struct bench *b, const struct cs_record *r) {
    if (b->len == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 4096;
        b->log = realloc(b->log, b->cap * sizeof *b->log);
        if (!b->log)
            abort();
    }
    struct held *h = &b->log[b->len++];
    *h = (struct held){.record = *r};
    h->record.key = copy_of(r->key);
    h->record.value = copy_of(r->value);
    for (size_t i = 0; i < r->headers_len; i++)
        if (strcmp(r->headers[i].name, CS_SIG_HEADER) == 0)
            snprintf(h->signature, sizeof h->signature, "%.*s", (int)r->headers[i].value.len,
                     (const char *)r->headers[i].value.data);
    h->record.headers_len = 2;
}

static void read_log(struct bench *b, struct cs_err *err) {
    struct cs_log *log = NULL;
    struct cs_kafka_settings kafka = plain_kafka(b->o->brokers);
    bool ok = b->o->events ? cs_log_open_dump(b->o->events, &log, err)
                           : cs_log_open_kafka(&kafka, b->o->topic, &log, err);
    b->partitions = ok ? log->partitions : 0;
    for (int32_t p = 0; ok && p < b->partitions; p++) {
        int64_t low = 0;
        int64_t high = 0;
        bool end = false;
        struct cs_record r;
        ok = log->ops->bounds(log, p, &low, &high, err) && log->ops->start(log, p, low, high, err);
        while (ok && (ok = log->ops->next(log, &r, &end, err)) && !end)
            hold(b, &r);
    }
    if (!ok)
        die(err);
    cs_log_free(log);
    for (size_t i = 0; i < b->len; i++) { // the log lies still from here on
        struct held *h = &b->log[i];
        h->headers[0] =
            (struct cs_header){"content-type", {(const uint8_t *)CS_CONTENT_TYPE, strlen(CS_CONTENT_TYPE)}};
        h->headers[1] =
            (struct cs_header){CS_SIG_HEADER, {(const uint8_t *)h->signature, strlen(h->signature)}};
        h->record.headers = h->headers;
    }
}

static void enroll(struct bench *b, const struct cs_event *ev, struct cs_err *err) {
    struct cs_bytes spki = ev->data.enroll.key.bytes;
    struct sender *s = calloc(1, sizeof *s);
    if (!s || !cs_pubkey_new(b->crypto, spki, &s->key, err))
        die(err);
    memcpy(s->kid, ev->subject, sizeof s->kid);
    s->keyed = cs_keyed_of(s->kid);
    if (!cs_keyed_add(&b->senders, &s->keyed)) {
        cs_err_oom(err);
        die(err);
    }
    cs_key_cache_learn(b->keys, s->kid, spki);
}

static void forget_senders(struct bench *b) {
    for (size_t i = 0; i < b->senders.len; i++) {
        struct sender *s = (struct sender *)(void *)b->senders.items[i];
        cs_pubkey_free(s->key);
        free(s);
    }
    cs_keyed_free(&b->senders);
}

static void decode_all(struct bench *b, struct cs_err *err) {
    for (size_t i = 0; i < b->len; i++) {
        struct held *h = &b->log[i];
        if (!cs_event_decode(h->record.value, &h->event, err))
            die(err);
        h->type = h->event->type;
        if (h->type == CS_EVENT_AGENT_ENROLL)
            enroll(b, h->event, err);
        if (is_upload(h)) {
            b->uploads++;
            continue;
        }
        cs_event_free(h->event);
        h->event = NULL;
    }
}

// A new context: the memos of the last run would make the next one too good. And whom the log enrols, before
// the first upload.
static void renew(struct bench *b) {
    struct cs_err err;
    for (size_t i = 0; i < b->len; i++) {
        cs_event_free(b->log[i].event);
        b->log[i].event = NULL;
    }
    b->uploads = 0;
    forget_senders(b);
    cs_key_cache_free(b->keys);
    cs_crypto_free(b->crypto);
    b->keys = NULL;
    if (!cs_crypto_new(&b->crypto, &err) ||
        !cs_key_cache_new(b->crypto, (struct cs_bytes){b->root_spki, b->root_len}, &b->keys, &err))
        die(&err);
    decode_all(b, &err);
}

// ---- what is measured

static bool verify_part(struct bench *b, const struct cs_event *ev, const struct cs_keyed_chain *k) {
    struct cs_err err;
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = NULL;
    CS_AUTO(cs_cert_free) struct cs_cert *issuer = NULL;
    bool ok = cs_cert_parse(b->crypto, k->chain[0].bytes, &leaf, &err) &&
              cs_cert_parse(b->crypto, k->chain[1].bytes, &issuer, &err) &&
              cs_cert_signed_by(b->crypto, leaf, issuer);
    struct cs_pop_fields f = {
        b->o->log_id, ev->account, ev->kid, ev->id, ev->subject, k->key.bytes, ok ? leaf->sha256 : NULL};
    return ok && cs_pop_verify(b->crypto, leaf->key, &f, k->pop.bytes);
}

static bool verify_one(struct bench *b, const struct held *h, const struct cs_pubkey *sender,
                       struct cs_bytes sig) {
    const struct cs_event_upload *up = &h->event->data.upload;
    bool ok = sender && cs_event_verify(b->crypto, sender, h->record.value, sig);
    for (size_t p = 0; ok && p < up->parts; p++)
        ok = verify_part(b, h->event, &up->part[p]);
    return ok;
}

static const struct cs_pubkey *sender_of(const struct bench *b, const struct cs_event *ev) {
    const struct sender *sender = cs_keyed_get(&b->senders, ev->kid);
    return sender ? sender->key : NULL;
}

// Of n uploads from *at on; fewer where the log ends before.
static double run_verify(struct bench *b, size_t *at, size_t n) {
    double spent = 0;
    size_t done = 0;
    for (; *at < b->len && done < n; ++*at) {
        const struct held *h = &b->log[*at];
        uint8_t sig[CS_EVENT_SIG_MAX * 2];
        size_t sig_len = 0;
        if (!is_upload(h))
            continue;
        const struct cs_pubkey *sender = sender_of(b, h->event);
        bool ok = cs_base64_decode(h->signature, strlen(h->signature), sig, &sig_len);
        double start = now_us();
        ok = ok && verify_one(b, h, sender, (struct cs_bytes){sig, sig_len});
        spent += now_us() - start;
        done++;
        if (!ok) {
            fprintf(stderr, "the upload at offset %lld does not verify\n", (long long)h->record.offset);
            exit(1);
        }
    }
    return done ? spent / (double)done : 0;
}

// A key that the cache has no place for is known once the catalog is read.
static bool good_in_the_end(const struct cs_prepared *p) {
    if (p->code || p->content_code)
        return false;
    return p->sig_checked && p->sig_good && p->examined;
}

// As a worker that has met the sender before: only then preparation verifies, and examines.
static bool meet_sender(struct bench *b, const struct held *h, struct cs_err *err) {
    CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
    if (!cs_event_decode(h->record.value, &ev, err))
        return false;
    const struct cs_pubkey *key = sender_of(b, ev);
    if (key)
        cs_key_cache_learn(b->keys, ev->kid, cs_pubkey_spki(key));
    return true;
}

static double run_prepare(struct bench *b) {
    struct cs_err err;
    double spent = 0;
    for (size_t i = 0; i < b->len; i++) {
        CS_AUTO(cs_prepared_free) struct cs_prepared *p = NULL;
        const struct held *h = &b->log[i];
        if (!is_upload(h))
            continue;
        if (!meet_sender(b, h, &err))
            die(&err);
        double start = now_us();
        if (!cs_prepare(b->crypto, b->o->log_id, b->partitions, CS_RULESET_LATEST, &h->record,
                        cs_key_cache_lookup, b->keys, NULL, &p, &err))
            die(&err);
        bool good = good_in_the_end(p);
        spent += now_us() - start;
        if (!good) {
            fprintf(stderr, "offset %lld: %s %s\n", (long long)h->record.offset, cs_code_name(p->code),
                    cs_code_name(p->content_code));
            exit(1);
        }
    }
    return spent / (double)b->uploads;
}

struct run {
    struct cs_catalog *catalog;
    struct cs_state *hot;
    struct cs_apply apply;
    struct cs_apply_context ctx;
    struct cs_position position;
    size_t not_applied;
    double prepare_us, apply_us;
};

static void count_applied(struct run *r, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (r->apply.outcomes[i].status == CS_STATUS_REJECTED && r->not_applied++ == 0)
            fprintf(stderr, "%.*s\n", (int)r->apply.outcomes[i].len,
                    (const char *)r->apply.values.data + r->apply.outcomes[i].at);
}

static void load_and_decide(struct bench *b, struct run *r, const struct cs_batch_record *records, size_t n) {
    struct cs_err err;
    bool moved = false;
    bool needed = true;
    cs_apply_begin(&r->ctx, &r->apply, &r->position, r->hot, records, n);
    while (needed) {
        struct cs_position at;
        if (!r->catalog->ops->load_begin(r->catalog, r->ctx.rules.partition, r->hot, &err) ||
            !r->catalog->ops->load_end(r->catalog, &at, &moved, &err) ||
            !cs_apply_decide(&r->ctx, &r->apply, r->hot, records, n, &needed, &err))
            die(&err);
    }
    if (!r->catalog->ops->commit_begin(r->catalog, r->ctx.rules.partition, r->hot, &r->apply.from,
                                       &r->apply.to, &err) ||
        !r->catalog->ops->commit_end(r->catalog, &moved, &err) || moved)
        die(&err);
    cs_hot_keep(r->hot, SIZE_MAX);
    r->position = r->apply.to;
    (void)b;
}

static void apply_batch(struct bench *b, struct run *r, const struct held *log, size_t n) {
    struct cs_batch_record records[BATCH];
    struct cs_err err;
    double start = now_us();
    for (size_t i = 0; i < n; i++) {
        records[i].record = log[i].record;
        if (!cs_prepare(b->crypto, b->o->log_id, b->partitions, CS_RULESET_LATEST, &log[i].record,
                        cs_key_cache_lookup, b->keys, NULL, &records[i].prepared, &err))
            die(&err);
    }
    double prepared = now_us();
    load_and_decide(b, r, records, n);
    double applied = now_us();
    if (is_upload(log)) {
        r->prepare_us += prepared - start;
        r->apply_us += applied - prepared;
    }
    count_applied(r, n);
    for (size_t i = 0; i < n; i++)
        cs_prepared_free(records[i].prepared);
}

// Batches hold uploads only or none, so that only uploads are measured.
static size_t batch_len(const struct bench *b, size_t at) {
    size_t n = 1;
    while (n < BATCH && at + n < b->len && is_upload(&b->log[at + n]) == is_upload(&b->log[at]) &&
           b->log[at + n].record.partition == b->log[at].record.partition)
        n++;
    return n;
}

static void run_apply(struct bench *b, const struct cs_privkey *service, struct run *r) {
    struct cs_err err;
    struct cs_memory_store *store = NULL;
    if (!cs_memory_store_new(&store, &err) || !cs_catalog_memory_new(store, &r->catalog, &err) ||
        !cs_hot_new(&r->hot, &err))
        die(&err);
    cs_apply_init(&r->apply);
    r->ctx = (struct cs_apply_context){.rules = {.crypto = b->crypto,
                                                 .log_id = b->o->log_id,
                                                 .partition_count = b->partitions,
                                                 .root = cs_key_cache_root(b->keys)},
                                       .service = service,
                                       .service_kid = "00000000000000000000000000000000",
                                       .keys = b->keys};
    for (size_t i = 0; i < b->len;) {
        if (i == 0 || b->log[i].record.partition != r->ctx.rules.partition) {
            r->ctx.rules.partition = b->log[i].record.partition;
            r->position = (struct cs_position){0};
            cs_state_forget(r->hot);
        }
        size_t n = batch_len(b, i);
        apply_batch(b, r, &b->log[i], n);
        i += n;
    }
    cs_apply_clear(&r->apply);
    cs_state_free(r->hot);
    cs_catalog_free(r->catalog);
    cs_memory_store_free(store);
}

static bool measure(struct bench *b, const char *what, FILE *out, struct cs_err *err) {
    size_t at = 0;
    renew(b);
    if (strcmp(what, "verify") == 0) {
        fprintf(out, "{\"verify_us\":%.1f}\n", run_verify(b, &at, b->uploads));
    } else if (strcmp(what, "prepare") == 0) {
        fprintf(out, "{\"prepare_us\":%.1f}\n", run_prepare(b));
    } else if (strcmp(what, "apply") == 0) {
        CS_AUTO(cs_privkey_free) struct cs_privkey *service = NULL;
        struct run r = {0};
        if (!cs_privkey_generate(CS_KEY_P256, 0, &service, err))
            return false;
        run_apply(b, service, &r);
        if (r.not_applied)
            fprintf(stderr, "%zu of %zu were not applied\n", r.not_applied, b->len);
        fprintf(out, "{\"apply_prepare_us\":%.1f,\"apply_us\":%.1f}\n", r.prepare_us / (double)b->uploads,
                r.apply_us / (double)b->uploads);
    } else {
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "--runs: verify, prepare or apply, not %s", what);
    }
    fflush(out);
    return true;
}

// Only whole blocks, from the first upload again once there is none.
static void measure_blocks(struct bench *b, FILE *out) {
    char line[8];
    size_t at = 0;
    renew(b);
    size_t n = (size_t)b->o->block < b->uploads ? (size_t)b->o->block : b->uploads;
    size_t left = b->uploads;
    while (fgets(line, sizeof line, stdin)) {
        if (left < n) {
            renew(b);
            at = 0;
            left = b->uploads;
        }
        fprintf(out, "{\"verify_us\":%.1f}\n", run_verify(b, &at, n));
        fflush(out);
        left -= n;
    }
}

static bool measure_all(struct bench *b, FILE *out, struct cs_err *err) {
    if (!b->o->brokers == !b->o->events)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "say either --brokers or --events");
    if (!cs_crypto_new(&b->crypto, err) ||
        !cs_keyfile_spki(b->crypto, b->o->root_key, &b->root_spki, &b->root_len, err))
        return false;
    read_log(b, err);
    fprintf(out, "{\"openssl\":\"%s\"}\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    char runs[64];
    snprintf(runs, sizeof runs, "%s", b->o->runs);
    char *rest = NULL;
    for (char *what = strtok_r(runs, ",", &rest); what; what = strtok_r(NULL, ",", &rest))
        if (!measure(b, what, out, err))
            return false;
    if (b->o->block > 0)
        measure_blocks(b, out);
    return true;
}

static void clear(struct bench *b) {
    for (size_t i = 0; i < b->len; i++) {
        cs_event_free(b->log[i].event);
        free((void *)(uintptr_t)b->log[i].record.key.data);
        free((void *)(uintptr_t)b->log[i].record.value.data);
    }
    free(b->log);
    free(b->root_spki);
    forget_senders(b);
    cs_key_cache_free(b->keys);
    cs_crypto_free(b->crypto);
}

static int run(const struct cs_cli *cli) {
    struct cs_err err;
    struct bench b = {.o = cli->values};
    bool ok = measure_all(&b, cli->out, &err);
    clear(&b);
    if (!ok)
        fprintf(cli->err, "%s: %s\n", cli->path, err.msg);
    return ok ? CS_EXIT_OK : 1;
}

int main(int argc, char **argv) {
    const struct cs_command commands[] = {{.name = "log",
                                           .summary = "Measure with the uploads of a log",
                                           .opts = opts,
                                           .opt_count = CS_ARRAY_LEN(opts),
                                           .values_size = sizeof(struct options),
                                           .run = run}};
    const struct cs_command root = {.name = "certsync-bench-floor",
                                    .summary = "Measures what judging costs at least",
                                    .commands = commands,
                                    .command_count = 1};
    return cs_cli_main(&root, CERTSYNC_VERSION, argc, argv);
}
