// SPDX-License-Identifier: Apache-2.0
//
// certsync-bench-floor: what judging an upload costs in signatures and parsing alone, in one thread and
// without any I/O: the floor that a worker is measured against.
//
//   verify   the sender's signature, both certificates of the chain, leaf <- issuer, proof of possession
//   prepare  cs_prepare: the same with hashing of the record, JSON, base64 and all checks
//   apply    prepare, then decide, number and chain over a catalog in memory (batches of 500)
//
//   certsync-bench-floor KINDS UPLOADS [verify|prepare|apply]...
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apply.h"
#include "bench_events.h"
#include "catalog.h"
#include "certsync/model/text.h"

#define DEPLOYMENT "bench"
#define BATCH      500
#define PARTITIONS 1

struct bench {
    struct bench_set set;
    struct cs_privkey *root, *admin, *service, *custodian;
    uint8_t *root_spki, *admin_spki, *service_spki, *custodian_spki;
    size_t root_len, admin_len, service_len, custodian_len;
    struct cs_crypto *crypto;
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

static void make_key(enum cs_key_type type, struct cs_privkey **key, uint8_t **spki, size_t *len) {
    struct cs_err err;
    if (!cs_privkey_generate(type, 0, key, &err) || !cs_privkey_spki(*key, spki, len, &err))
        die(&err);
}

// What verify reads of one upload, decoded beforehand.
struct upload {
    struct cs_event *event;
    struct cs_bytes value;
    uint8_t sig[CS_EVENT_SIG_MAX * 2];
    size_t sig_len;
    const struct cs_pubkey *sender;
};

static const struct cs_pubkey *sender_of(struct bench *b, const struct cs_event *ev, struct cs_pubkey **keys,
                                         cs_kid *kids, size_t *n) {
    for (size_t i = 0; i < *n; i++)
        if (strcmp(kids[i], ev->kid) == 0)
            return keys[i];
    (void)b;
    return NULL;
}

static struct upload *decode_all(struct bench *b, size_t *ret_n) {
    struct cs_err err;
    struct cs_pubkey **keys = calloc(b->set.len, sizeof *keys);
    cs_kid *kids = calloc(b->set.len, sizeof *kids);
    size_t keys_len = 0;
    size_t n = 0;
    struct upload *all = calloc(b->set.len, sizeof *all);
    for (size_t i = 0; i < b->set.len; i++) {
        const struct bench_event *e = &b->set.events[i];
        struct upload u = {.value = {e->value, e->value_len}};
        if (!cs_event_decode(u.value, &u.event, &err) ||
            !cs_base64_decode(e->sig, strlen(e->sig), u.sig, &u.sig_len))
            die(&err);
        if (u.event->type == CS_EVENT_AGENT_ENROLL) {
            if (!cs_pubkey_new(b->crypto, u.event->data.enroll.key.bytes, &keys[keys_len], &err))
                die(&err);
            memcpy(kids[keys_len++], u.event->subject, sizeof *kids);
        }
        if (u.event->type != CS_EVENT_CERTIFICATE_UPLOAD)
            continue;
        u.sender = sender_of(b, u.event, keys, kids, &keys_len);
        all[n++] = u;
    }
    *ret_n = n;
    return all;
}

static bool verify_one(struct bench *b, const struct upload *u) {
    struct cs_err err;
    if (!cs_event_verify(b->crypto, u->sender, u->value, (struct cs_bytes){u->sig, u->sig_len}))
        return false;
    const struct cs_event_upload *up = &u->event->data.upload;
    bool ok = true;
    for (size_t p = 0; ok && p < up->parts; p++) {
        const struct cs_keyed_chain *k = &up->part[p];
        CS_AUTO(cs_cert_free) struct cs_cert *leaf = NULL;
        CS_AUTO(cs_cert_free) struct cs_cert *issuer = NULL;
        ok = cs_cert_parse(b->crypto, k->chain[0].bytes, &leaf, &err) &&
             cs_cert_parse(b->crypto, k->chain[1].bytes, &issuer, &err) &&
             cs_cert_signed_by(b->crypto, leaf, issuer);
        struct cs_pop_fields f = {DEPLOYMENT,        u->event->account, u->event->kid,           u->event->id,
                                  u->event->subject, k->key.bytes,      ok ? leaf->sha256 : NULL};
        ok = ok && cs_pop_verify(b->crypto, leaf->key, &f, k->pop.bytes);
    }
    return ok;
}

static double run_verify(struct bench *b) {
    size_t n = 0;
    struct upload *all = decode_all(b, &n);
    double start = now_us();
    for (size_t i = 0; i < n; i++)
        if (!verify_one(b, &all[i])) {
            fprintf(stderr, "upload %zu does not verify\n", i);
            exit(1);
        }
    return (now_us() - start) / (double)n;
}

static struct cs_record record_of(const struct bench_event *e, int64_t offset, struct cs_header headers[2]) {
    headers[0] =
        (struct cs_header){"content-type", {(const uint8_t *)CS_CONTENT_TYPE, strlen(CS_CONTENT_TYPE)}};
    headers[1] = (struct cs_header){CS_SIG_HEADER, {(const uint8_t *)e->sig, strlen(e->sig)}};
    return (struct cs_record){.offset = offset,
                              .timestamp_ms = (int64_t)time(NULL) * 1000,
                              .key = {(const uint8_t *)e->account, strlen(e->account)},
                              .value = {e->value, e->value_len},
                              .headers_len = 2,
                              .headers = headers};
}

static void learn_agents(struct bench *b, struct cs_key_cache *keys) {
    struct cs_err err;
    for (size_t i = 0; i < b->set.uploads_at; i++) {
        CS_AUTO(cs_event_free) struct cs_event *ev = NULL;
        if (!cs_event_decode((struct cs_bytes){b->set.events[i].value, b->set.events[i].value_len}, &ev,
                             &err))
            die(&err);
        if (ev->type == CS_EVENT_AGENT_ENROLL)
            cs_key_cache_learn(keys, ev->subject, ev->data.enroll.key.bytes);
    }
}

static double run_prepare(struct bench *b) {
    struct cs_err err;
    struct cs_key_cache *keys = NULL;
    if (!cs_key_cache_new(b->crypto, (struct cs_bytes){b->root_spki, b->root_len}, &keys, &err))
        die(&err);
    learn_agents(b, keys);
    size_t n = b->set.len - b->set.uploads_at;
    double start = now_us();
    for (size_t i = 0; i < n; i++) {
        struct cs_header headers[2];
        struct cs_prepared *p = NULL;
        struct cs_record r = record_of(&b->set.events[b->set.uploads_at + i], (int64_t)i, headers);
        if (!cs_prepare(b->crypto, DEPLOYMENT, PARTITIONS, &r, cs_key_cache_lookup, keys, &p, &err))
            die(&err);
        if (p->code || p->content_code || (p->sig_checked && !p->sig_good)) {
            fprintf(stderr, "upload %zu: %s %s\n", i, cs_code_name(p->code), cs_code_name(p->content_code));
            exit(1);
        }
        cs_prepared_free(p);
    }
    double spent = (now_us() - start) / (double)n;
    cs_key_cache_free(keys);
    return spent;
}

struct run {
    struct cs_key_cache *keys;
    struct cs_catalog *catalog;
    struct cs_state *hot;
    struct cs_apply apply;
    struct cs_apply_context ctx;
    struct cs_position position;
    size_t not_applied;
    double prepare_us, apply_us;
};

static void apply_batch(struct bench *b, struct run *r, const struct bench_event *events, size_t n) {
    struct cs_batch_record records[BATCH];
    struct cs_header headers[BATCH][2];
    struct cs_err err;
    double start = now_us();
    for (size_t i = 0; i < n; i++) {
        records[i].record = record_of(&events[i], r->position.next_offset + (int64_t)i, headers[i]);
        if (!cs_prepare(b->crypto, DEPLOYMENT, PARTITIONS, &records[i].record, cs_key_cache_lookup, r->keys,
                        &records[i].prepared, &err))
            die(&err);
    }
    double prepared = now_us();
    cs_apply_begin(&r->apply, &r->position);
    bool needed = true;
    bool moved = false;
    while (needed) {
        struct cs_position at;
        if (!r->catalog->ops->load_begin(r->catalog, 0, r->hot, &err) ||
            !r->catalog->ops->load_end(r->catalog, &at, &moved, &err) ||
            !cs_apply_decide(&r->ctx, &r->apply, r->hot, records, n, &needed, &err))
            die(&err);
    }
    if (!r->catalog->ops->commit_begin(r->catalog, 0, r->hot, &r->apply.from, &r->apply.to, &err) ||
        !r->catalog->ops->commit_end(r->catalog, &moved, &err) || moved)
        die(&err);
    cs_state_changes_clear(r->hot);
    r->position = r->apply.to;
    r->prepare_us += prepared - start;
    r->apply_us += now_us() - prepared;
    for (size_t i = 0; i < n; i++) {
        if (r->apply.outcomes[i].status != CS_STATUS_APPLIED && r->not_applied++ == 0)
            fprintf(stderr, "%.*s\n", (int)r->apply.outcomes[i].len,
                    (const char *)r->apply.values.data + r->apply.outcomes[i].at);
        cs_prepared_free(records[i].prepared);
    }
}

static void run_apply(struct bench *b, double *ret_prepare, double *ret_apply) {
    struct cs_err err;
    struct cs_memory_store *store = NULL;
    struct run r = {0};
    struct bench_event preamble[3];
    if (!cs_memory_store_new(&store, &err) || !cs_catalog_memory_new(store, &r.catalog, &err) ||
        !cs_state_new(false, &r.hot, &err) ||
        !cs_key_cache_new(b->crypto, (struct cs_bytes){b->root_spki, b->root_len}, &r.keys, &err))
        die(&err);
    cs_apply_init(&r.apply);
    r.ctx = (struct cs_apply_context){.rules = {.crypto = b->crypto,
                                                .deployment = DEPLOYMENT,
                                                .partition_count = PARTITIONS,
                                                .root = cs_key_cache_root(r.keys)},
                                      .service = b->service,
                                      .service_kid = "00000000000000000000000000000000",
                                      .keys = r.keys};
    const struct bench_trust trust[] = {{CS_TRUST_ADMIN, {b->admin_spki, b->admin_len}},
                                        {CS_TRUST_CUSTODIAN, {b->custodian_spki, b->custodian_len}}};
    if (!bench_preamble(DEPLOYMENT, PARTITIONS, b->root, trust, 2, preamble, &err))
        die(&err);
    apply_batch(b, &r, preamble, 3);
    for (size_t i = 0; i < b->set.uploads_at; i += BATCH)
        apply_batch(b, &r, b->set.events + i, b->set.uploads_at - i < BATCH ? b->set.uploads_at - i : BATCH);
    learn_agents(b, r.keys);
    r.prepare_us = r.apply_us = 0;
    size_t n = b->set.len - b->set.uploads_at;
    for (size_t i = 0; i < n; i += BATCH)
        apply_batch(b, &r, b->set.events + b->set.uploads_at + i, n - i < BATCH ? n - i : BATCH);
    if (r.not_applied)
        fprintf(stderr, "%zu of %zu were not applied\n", r.not_applied, n);
    *ret_prepare = r.prepare_us / (double)n;
    *ret_apply = r.apply_us / (double)n;
    for (int i = 0; i < 3; i++)
        free(preamble[i].value);
    cs_apply_clear(&r.apply);
    cs_state_free(r.hot);
    cs_key_cache_free(r.keys);
    cs_catalog_free(r.catalog);
    cs_memory_store_free(store);
}

// A new context: the memos of the last run would make the next one too good.
static void renew(struct bench *b) {
    struct cs_err err;
    cs_crypto_free(b->crypto);
    if (!cs_crypto_new(&b->crypto, &err))
        die(&err);
}

int main(int argc, char **argv) {
    struct bench b = {0};
    struct cs_err err;
    struct bench_options o = {.deployment = DEPLOYMENT, .accounts = 20, .seed = 1};
    if (argc < 3 || !bench_kinds_parse(argv[1], o.kinds)) {
        fprintf(stderr,
                "usage: certsync-bench-floor p256|rsa2048|sm2[,…] UPLOADS [verify|prepare|apply]...\n");
        return 2;
    }
    o.uploads = atoi(argv[2]);
    if (!cs_crypto_new(&b.crypto, &err))
        die(&err);
    make_key(CS_KEY_P256, &b.root, &b.root_spki, &b.root_len);
    make_key(CS_KEY_P256, &b.admin, &b.admin_spki, &b.admin_len);
    make_key(CS_KEY_P256, &b.service, &b.service_spki, &b.service_len);
    make_key(CS_KEY_X25519, &b.custodian, &b.custodian_spki, &b.custodian_len);
    o.admin = b.admin;
    o.custodian_spki = (struct cs_bytes){b.custodian_spki, b.custodian_len};
    if (!bench_make(&o, &b.set, &err))
        die(&err);
    for (int i = 3; i < (argc > 3 ? argc : 6); i++) {
        static const char *const all[] = {"verify", "prepare", "apply"};
        const char *what = argc > 3 ? argv[i] : all[i - 3];
        double prepare_us = 0;
        double apply_us = 0;
        renew(&b);
        if (strcmp(what, "verify") == 0)
            printf("{\"kinds\":\"%s\",\"verify_us\":%.1f}\n", argv[1], run_verify(&b));
        else if (strcmp(what, "prepare") == 0)
            printf("{\"kinds\":\"%s\",\"prepare_us\":%.1f}\n", argv[1], run_prepare(&b));
        else {
            run_apply(&b, &prepare_us, &apply_us);
            printf("{\"kinds\":\"%s\",\"apply_prepare_us\":%.1f,\"apply_us\":%.1f}\n", argv[1], prepare_us,
                   apply_us);
        }
        fflush(stdout);
    }
    bench_clear(&b.set);
    cs_privkey_free(b.root);
    cs_privkey_free(b.admin);
    cs_privkey_free(b.service);
    cs_privkey_free(b.custodian);
    free(b.root_spki);
    free(b.admin_spki);
    free(b.service_spki);
    free(b.custodian_spki);
    cs_crypto_free(b.crypto);
    return 0;
}
