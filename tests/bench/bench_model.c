// SPDX-License-Identifier: Apache-2.0
//
// Microseconds an operation, best of interleaved rounds: bench_model CERTS_DIRECTORY [ROUNDS]
// The certificates are those of tests/support/make_certs.sh. Each row's leafs are different keys and
// certificates, made here, so that neither memos nor kept keys help where they would not in the field.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "certsync/model/sign.h"
#include "crypto/crypto_impl.h"
#include "crypto/privkey.h"

#define LEAFS     64
#define EVENT_LEN 2900

struct row {
    const char *name;
    const char *leaf;   // its certificate's TBS is the pattern
    const char *issuer; // signs
    enum cs_key_type type;
};
static const struct row rows[] = {
    {"P-256", "p256", "ca-sub", CS_KEY_P256},
    {"RSA-2048 (RSA issuer)", "rsa-by-rsa", "ca-rsa", CS_KEY_RSA},
    {"SM2", "sm2-sign", "ca-sm2", CS_KEY_SM2},
    {"P-256 (P-384 issuer)", "by-p384", "ca-p384", CS_KEY_P256},
    {"Ed25519", "ed25519", "ca-ed25519", CS_KEY_ED25519},
    {"P-256 (RSA issuer)", "by-rsa", "ca-rsa", CS_KEY_P256},
};

struct leaf {
    struct cs_buf der;
    struct cs_cert *cert;
    uint8_t pop[CS_POP_MAX];
    size_t pop_len;
};

static struct cs_crypto *crypto;
static struct cs_err err;
static const char *directory;

static void must(bool ok) {
    if (!ok) {
        fprintf(stderr, "bench_model: %s\n", err.msg);
        exit(1);
    }
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct cs_bytes read_file(const char *name, const char *suffix) {
    static uint8_t data[64 * 1024];
    char path[512];
    snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    return (struct cs_bytes){data, n};
}

static struct cs_cert *read_cert(const char *name) {
    struct cs_cert **certs;
    size_t n;
    must(cs_pem_certs(crypto, name, read_file(name, ".pem"), &certs, &n, &err));
    struct cs_cert *first = certs[0];
    certs[0] = NULL;
    cs_certs_free(certs, n);
    return first;
}

static struct cs_privkey *read_key(const char *name) {
    struct cs_privkey *key = NULL;
    must(cs_pem_privkey(crypto, name, read_file(name, ".key"), &key, &err));
    return key;
}

// The pattern with another public key, signed anew. All keys of a row have SPKIs of one length.
static void make_leaf(const struct cs_cert *pattern, const struct cs_privkey *ca,
                      const struct cs_privkey *key, const struct cs_bytes *alg, struct cs_buf *out) {
    uint8_t tbs[4096], sig[1 + 1024] = {0};
    size_t sig_len;
    memcpy(tbs, pattern->tbs.data, pattern->tbs.len);
    memcpy(tbs + (pattern->spki.data - pattern->tbs.data), key->spki, key->spki_len);
    struct cs_bytes view = {tbs, pattern->tbs.len};
    must(privkey_sign(crypto, ca, &view, 1, sig + 1, sizeof sig - 1, &sig_len));
    struct cs_buf bits;
    cs_buf_init(&bits, 4096);
    der_put(&bits, DER_BIT_STRING, (struct cs_bytes){sig, 1 + sig_len});
    const struct cs_bytes parts[] = {view, *alg, cs_buf_bytes(&bits)};
    cs_buf_init(out, 8192);
    der_put_parts(out, DER_SEQUENCE, parts, 3);
    cs_buf_clear(&bits);
}

static struct cs_pop_fields fields_of(const struct cs_cert *leaf) {
    static uint8_t sealed[200];
    return (struct cs_pop_fields){"prod",
                                  "acme",
                                  "00112233445566778899aabbccddeeff",
                                  "017f22e2-79b0-7cc3-98c4-dc0c0c07398f",
                                  "017f22e2-79b0-7cc3-98c4-dc0c0c073990",
                                  {sealed, sizeof sealed},
                                  leaf->sha256};
}

static void make_leafs(const struct row *row, struct leaf *leafs) {
    struct cs_cert *pattern = read_cert(row->leaf);
    struct cs_privkey *ca = read_key(row->issuer);
    const uint8_t *alg_at = pattern->tbs.data + pattern->tbs.len;
    struct cs_bytes alg = {alg_at, (size_t)alg_at[1] + 2};
    for (size_t i = 0; i < LEAFS; i++) {
        struct cs_privkey *key = NULL;
        must(cs_privkey_generate(row->type, 2048, &key, &err));
        make_leaf(pattern, ca, key, &alg, &leafs[i].der);
        must(cs_cert_parse(crypto, cs_buf_bytes(&leafs[i].der), &leafs[i].cert, &err));
        struct cs_pop_fields f = fields_of(leafs[i].cert);
        must(cs_pop_sign(crypto, key, leafs[i].cert->key, &f, leafs[i].pop, &leafs[i].pop_len, &err));
        cs_privkey_free(key);
    }
    cs_privkey_free(ca);
    cs_cert_free(pattern);
}

static void free_leafs(struct leaf *leafs) {
    for (size_t i = 0; i < LEAFS; i++) {
        cs_cert_free(leafs[i].cert);
        cs_buf_clear(&leafs[i].der);
    }
}

// Forgets which keys were seen, as if each leaf came for the first time; keeps what was kept (the issuer).
static void forget_leafs(void) {
    memset(crypto->seen, 0, sizeof crypto->seen);
}

enum { PARSE, LINK, LINK_MEMO, POP, ALL, OPS };
static const char *const op_names[OPS] = {"parse", "signed_by", "memo", "pop verify", "parse+link+pop"};

static double run(int op, struct leaf *leafs, const struct cs_cert *issuer) {
    bool good = true;
    forget_leafs();
    crypto->memo_off = op != LINK_MEMO;
    if (op == LINK_MEMO)
        for (size_t i = 0; i < LEAFS; i++)
            good &= cs_cert_signed_by(crypto, leafs[i].cert, issuer);
    double start = now_us();
    for (size_t i = 0; i < LEAFS; i++) {
        struct cs_cert *cert = leafs[i].cert;
        struct cs_pop_fields f = fields_of(cert);
        if (op == PARSE || op == ALL)
            good &= cs_cert_parse(crypto, cs_buf_bytes(&leafs[i].der), &cert, &err);
        if (op == LINK || op == LINK_MEMO || op == ALL)
            good &= cs_cert_signed_by(crypto, cert, issuer);
        if (op == POP || op == ALL)
            good &= cs_pop_verify(crypto, cert->key, &f, (struct cs_bytes){leafs[i].pop, leafs[i].pop_len});
        if (op == PARSE || op == ALL)
            cs_cert_free(cert);
    }
    double us = (now_us() - start) / LEAFS;
    if (!good) {
        fprintf(stderr, "bench_model: a verification failed\n");
        exit(1);
    }
    return us;
}

static void bench_row(const struct row *row, int rounds) {
    static struct leaf leafs[LEAFS];
    double best[OPS];
    memset(leafs, 0, sizeof leafs);
    make_leafs(row, leafs);
    crypto->memo_off = false;
    struct cs_cert *issuer = read_cert(row->issuer);
    for (int i = 0; i < 3; i++) // the issuer is a key that comes again
        if (!crypto_verify(crypto, issuer->key, &(struct sig_alg){0}, issuer->tbs, issuer->tbs))
            continue;
    for (int round = 0; round < rounds; round++)
        for (int op = 0; op < OPS; op++) {
            double us = run(op, leafs, issuer);
            best[op] = round == 0 || us < best[op] ? us : best[op];
        }
    printf("%-22s", row->name);
    for (int op = 0; op < OPS; op++)
        printf(" %14.2f", best[op]);
    printf("\n");
    cs_cert_free(issuer);
    free_leafs(leafs);
}

static void bench_event(int rounds) {
    static uint8_t value[EVENT_LEN];
    struct cs_privkey *key = read_key("p256");
    struct cs_cert *cert = read_cert("p256");
    struct cs_cert *root = read_cert("ca-root");
    uint8_t sig[CS_EVENT_SIG_MAX], hash[32];
    size_t len;
    double best_verify = 0, best_hash = 0, best_ca = 0;
    memset(value, 'x', sizeof value);
    must(cs_event_sign(crypto, key, (struct cs_bytes){value, sizeof value}, sig, &len, &err));
    for (int round = 0; round < rounds; round++) {
        double t = now_us();
        for (int i = 0; i < 50; i++)
            must(cs_event_verify(crypto, cert->key, (struct cs_bytes){value, sizeof value},
                                 (struct cs_bytes){sig, len}));
        t = (now_us() - t) / 50;
        best_verify = round == 0 || t < best_verify ? t : best_verify;
        t = now_us();
        for (int i = 0; i < 50; i++)
            cs_crypto_sha256(crypto, (struct cs_bytes){value, sizeof value}, hash);
        t = (now_us() - t) / 50;
        best_hash = round == 0 || t < best_hash ? t : best_hash;
        crypto->memo_off = false;
        t = now_us();
        for (int i = 0; i < 50; i++) {
            struct cs_cert *again;
            must(cs_cert_parse(crypto, root->der, &again, &err));
            cs_cert_free(again);
        }
        t = (now_us() - t) / 50;
        best_ca = round == 0 || t < best_ca ? t : best_ca;
    }
    printf("event verify, %d bytes: %.2f   SHA-256 of them: %.2f   CA certificate from the memo: %.2f\n",
           EVENT_LEN, best_verify, best_hash, best_ca);
    cs_cert_free(root);
    cs_cert_free(cert);
    cs_privkey_free(key);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: %s CERTS_DIRECTORY [ROUNDS]\n", argv[0]);
        return 2;
    }
    directory = argv[1];
    int rounds = argc > 2 ? atoi(argv[2]) : 30;
    must(cs_crypto_new(&crypto, &err));
    printf("%-22s", "us an operation");
    for (int op = 0; op < OPS; op++)
        printf(" %14s", op_names[op]);
    printf("\n");
    for (size_t i = 0; i < CS_ARRAY_LEN(rows); i++)
        bench_row(&rows[i], rounds);
    bench_event(rounds);
    cs_crypto_free(crypto);
    return 0;
}
