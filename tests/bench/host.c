// SPDX-License-Identifier: Apache-2.0
//
// certsync-bench-host: what the benchmark of the agent needs on a host's disk, and what registering costs in one
// thread without inotify, brokers and outcomes: the floor that certsync agent is measured against.
//
//   pairs DIR N AGE_S               N pairs DIR/c00000.crt (leaf and CA) and .key, P-256, valid since AGE_S seconds ago
//   floor DIR N CUSTODIAN SPOOL GROUP
//       compose  read, parse, key check, seal, proof, each of the N pairs
//       log      the same, signed and appended to one file, with one fdatasync for GROUP events
//       single   the same through the spool, event by event
//       group    the same through the spool, GROUP events at a time
#include <fcntl.h>
#include <limits.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certsync/model/pem.h"
#include "event/compose.h"
#include "event/session.h"
#include "spool/file.h"

#define DAY_S  86400
#define ROUNDS 8
#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            ERR_print_errors_fp(stderr);                                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                          \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)
#define MUST_OK(call, err)                                                                                   \
    do {                                                                                                     \
        if (!(call)) {                                                                                       \
            fprintf(stderr, "certsync-bench-host: %s\n", (err).msg);                                         \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static double clock_s(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// --- pairs

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    MUST(e && X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

static X509 *certificate(EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const char *cn,
                         time_t not_before) {
    static uint64_t serial;
    char san[200];
    X509 *x = X509_new();
    MUST(x && X509_set_version(x, X509_VERSION_3));
    MUST(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), (uint64_t)time(NULL) << 24 | ++serial));
    MUST(X509_time_adj_ex(X509_getm_notBefore(x), 0, 0, &not_before));
    MUST(X509_time_adj_ex(X509_getm_notAfter(x), issuer ? 90 : 3650, 0, &not_before));
    X509_NAME *name = X509_get_subject_name(x);
    MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0));
    MUST(X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name) && X509_set_pubkey(x, key));
    add_extension(x, issuer ? issuer : x, NID_basic_constraints,
                  issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    add_extension(x, issuer ? issuer : x, NID_key_usage,
                  issuer ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign");
    add_extension(x, issuer ? issuer : x, NID_subject_key_identifier, "hash");
    if (issuer) {
        snprintf(san, sizeof san, "DNS:%s,DNS:www.%s", cn, cn);
        add_extension(x, issuer, NID_authority_key_identifier, "keyid");
        add_extension(x, issuer, NID_subject_alt_name, san);
    }
    MUST(X509_sign(x, issuer ? issuer_key : key, EVP_sha256()) > 0);
    return x;
}

static FILE *create(const char *dir, int i, const char *ending) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/c%05d.%s", dir, i, ending);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    return fdopen(fd, "w");
}

static int make_pairs(const char *dir, int n, long age_s) {
    time_t not_before = time(NULL) - age_s;
    EVP_PKEY *ca_key = EVP_EC_gen("P-256");
    X509 *ca = certificate(ca_key, NULL, NULL, "Bench CA", not_before - DAY_S);
    for (int i = 0; i < n; i++) {
        char cn[64];
        snprintf(cn, sizeof cn, "c%05d.bench.example", i);
        EVP_PKEY *key = EVP_EC_gen("P-256");
        X509 *leaf = certificate(key, ca, ca_key, cn, not_before);
        FILE *out = create(dir, i, "key");
        MUST(out && PEM_write_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) && fclose(out) == 0);
        out = create(dir, i, "crt");
        MUST(out && PEM_write_X509(out, leaf) && PEM_write_X509(out, ca) && fclose(out) == 0);
        X509_free(leaf);
        EVP_PKEY_free(key);
    }
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    return 0;
}

// --- the floor

struct floor {
    const char *dir, *spool_dir;
    int from, to, group;
    int round;
    struct cs_crypto *crypto;
    struct cs_privkey *key;
    struct cs_compose compose;
    cs_kid kid;
    // Kept over all pairs, as the daemon does.
    uint8_t certificate[CS_PEM_FILE_MAX], private_key[CS_PEM_FILE_MAX];
};

static struct cs_bytes read_file(const char *path, uint8_t into[CS_PEM_FILE_MAX]) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(fd >= 0);
    ssize_t n = read(fd, into, CS_PEM_FILE_MAX);
    MUST(n > 0);
    close(fd);
    return (struct cs_bytes){into, (size_t)n};
}

static struct cs_composed *compose_one(struct floor *f, int i) {
    char certificate_path[PATH_MAX], key_path[PATH_MAX], name[16];
    struct cs_err err;
    struct cs_composed *c;
    snprintf(name, sizeof name, "c%05d", i);
    snprintf(certificate_path, sizeof certificate_path, "%s/%s.crt", f->dir, name);
    snprintf(key_path, sizeof key_path, "%s/%s.key", f->dir, name);
    struct cs_bytes certificate = read_file(certificate_path, f->certificate);
    struct cs_bytes key = read_file(key_path, f->private_key);
    struct cs_upload_source src = {
        .type = CS_EVENT_CERTIFICATE_UPLOAD,
        .source = CS_SOURCE_UPLOADED,
        .name = name,
        .algorithm = CS_ALGORITHM_INTERNATIONAL,
        .replace = true,
        .parts = 1,
        .part = {{.cert = {certificate_path, certificate}, .key = {key_path, key}}},
    };
    f->compose.now_ms = (int64_t)time(NULL) * 1000;
    MUST_OK(cs_compose_upload(&f->compose, &src, &c, &err), err);
    explicit_bzero(f->private_key, key.len);
    return c;
}

static void run_compose(struct floor *f) {
    for (int i = f->from; i < f->to; i++)
        cs_composed_free(compose_one(f, i));
}

static void run_log(struct floor *f) {
    char path[PATH_MAX];
    struct cs_err err;
    CS_AUTO(cs_buf_clear) struct cs_buf content;
    cs_buf_init(&content, (size_t)CS_SPOOL_GROUP_MAX * CS_SPOOL_FRAME_MAX);
    snprintf(path, sizeof path, "%s/log", f->spool_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    for (int i = f->from; i < f->to; i++) {
        struct cs_composed *c = compose_one(f, i);
        c->event.seq = i + 1;
        MUST_OK(cs_spool_frame_make(f->crypto, f->key, &c->event, &content, &err), err);
        cs_composed_free(c);
        if ((i + 1) % f->group != 0 && i + 1 < f->to)
            continue;
        MUST(write(fd, content.data, content.len) == (ssize_t)content.len && fdatasync(fd) == 0);
        content.len = 0;
    }
    close(fd);
}

static void run_spool(struct floor *f, const char *name, int group) {
    char dir[PATH_MAX];
    struct cs_err err;
    CS_AUTO(cs_spool_free) struct cs_spool *spool = NULL;
    struct cs_composed *composed[CS_SPOOL_GROUP_MAX];
    struct cs_event *events[CS_SPOOL_GROUP_MAX];
    snprintf(dir, sizeof dir, "%s/%s%d", f->spool_dir, name, f->round);
    MUST(mkdir(dir, 0700) == 0);
    MUST_OK(cs_spool_open(dir, f->kid, NULL, &spool, &err), err);
    for (int i = f->from; i < f->to;) {
        int n = 0;
        for (; n < group && i < f->to; n++, i++) {
            composed[n] = compose_one(f, i);
            events[n] = &composed[n]->event;
        }
        MUST_OK(cs_spool_add_group(spool, f->crypto, f->key, events, (size_t)n, &err), err);
        while (n > 0)
            cs_composed_free(composed[--n]);
    }
}

static void run_single(struct floor *f) {
    run_spool(f, "single", 1);
}

static void run_group(struct floor *f) {
    run_spool(f, "group", f->group);
}

// The best of interleaved rounds: what else the machine does shows least in it.
static void measure(struct floor *f, int n) {
    static void (*const runs[])(struct floor *) = {run_compose, run_log, run_single, run_group};
    double best[CS_ARRAY_LEN(runs)] = {0}, cpu_us = 1e9;
    int slice = n / ROUNDS > 0 ? n / ROUNDS : 1;
    for (f->round = 0; f->round < ROUNDS; f->round++) {
        f->from = f->round * slice % n;
        f->to = f->from + slice;
        for (size_t i = 0; i < CS_ARRAY_LEN(runs); i++) {
            double began = clock_s(CLOCK_MONOTONIC), cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID);
            runs[i](f);
            double rate = slice / (clock_s(CLOCK_MONOTONIC) - began);
            cpu_s = clock_s(CLOCK_PROCESS_CPUTIME_ID) - cpu_s;
            if (i == 0 && cpu_s / slice * 1e6 < cpu_us)
                cpu_us = cpu_s / slice * 1e6;
            if (rate > best[i])
                best[i] = rate;
        }
    }
    printf("{\"compose_cpu_us\": %.0f, \"compose_per_s\": %.0f, \"log_per_s\": %.0f, \"single_per_s\": %.0f, "
           "\"group_per_s\": %.0f}\n",
           cpu_us, best[0], best[1], best[2], best[3]);
}

static int measure_floor(struct floor *f, int n, const char *custodian_path) {
    struct cs_err err;
    uint8_t *spki, *custodian;
    size_t len, custodian_len;
    MUST_OK(cs_crypto_new(&f->crypto, &err), err);
    MUST_OK(cs_privkey_generate(CS_KEY_P256, 0, &f->key, &err), err);
    MUST_OK(cs_privkey_spki(f->key, &spki, &len, &err), err);
    MUST_OK(cs_session_read_spki(f->crypto, custodian_path, &custodian, &custodian_len, &err), err);
    cs_kid_of_spki(f->crypto, (struct cs_bytes){spki, len}, f->kid);
    f->compose = (struct cs_compose){.crypto = f->crypto,
                                     .log_id = "bench_0a1b2c3d",
                                     .account = "bench",
                                     .kid = f->kid,
                                     .custodian = {custodian, custodian_len}};
    measure(f, n);
    free(spki);
    free(custodian);
    cs_privkey_free(f->key);
    cs_crypto_free(f->crypto);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "pairs") == 0)
        return make_pairs(argv[2], atoi(argv[3]), atol(argv[4]));
    if (argc == 7 && strcmp(argv[1], "floor") == 0) {
        static struct floor f;
        f = (struct floor){.dir = argv[2], .spool_dir = argv[5], .group = atoi(argv[6])};
        if (f.group >= 1 && f.group <= CS_SPOOL_GROUP_MAX && atoi(argv[3]) > 0)
            return measure_floor(&f, atoi(argv[3]), argv[4]);
    }
    fprintf(stderr, "usage: certsync-bench-host pairs DIR N AGE_S | floor DIR N CUSTODIAN SPOOL GROUP\n");
    return 2;
}
