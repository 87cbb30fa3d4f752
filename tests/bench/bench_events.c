// SPDX-License-Identifier: Apache-2.0
#include "bench_events.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench_keys.h"
#include "bench_must.h"
#include "certsync/base/text.h"
#include "certsync/model/cert.h"
#include "certsync/model/seal.h"

#define SM2_ID "1234567812345678"
#define DAY_S  86400

struct bench_maker {
    struct bench_options o;
    struct cs_crypto *crypto;
    EVP_PKEY *ca_key[BENCH_KINDS];
    uint8_t *ca_der[BENCH_KINDS];
    size_t ca_der_len[BENCH_KINDS];
    X509 *ca[BENCH_KINDS];
    struct bench_primes *primes;
    struct cs_privkey **agents; // one an account
    cs_kid *agent_kids;
    int64_t *agent_seq;
    int64_t admin_seq, issuer_seq;
    cs_kid admin_kid, issuer_kid;
    unsigned long counter;
    int account, upload; // the next ones
    bool enroll;         // the account is registered, its agent comes next
    int kind;            // of the last upload
};

bool bench_kinds_parse(const char *text, bool kinds[BENCH_KINDS]) {
    static const char *const names[BENCH_KINDS] = {"p256", "rsa2048", "sm2", "p384-issuer"};
    bool found[BENCH_KINDS] = {false};
    bool some = false;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, ",");
        size_t k = 0;
        while (k < BENCH_KINDS && (strlen(names[k]) != len || memcmp(names[k], at, len) != 0))
            k++;
        if (k == BENCH_KINDS)
            return false;
        found[k] = some = true;
        at += len + (at[len] == ',');
    }
    memcpy(kinds, found, sizeof found);
    return some;
}

static EVP_PKEY *leaf_key(struct bench_maker *m, enum bench_kind kind) {
    EVP_PKEY *k = kind == BENCH_RSA2048 ? bench_rsa_key(m->primes)
                  : kind == BENCH_SM2   ? EVP_PKEY_Q_keygen(NULL, NULL, "SM2")
                                        : EVP_EC_gen("P-256");
    MUST(k);
    return k;
}

static EVP_PKEY *issuer_key(enum bench_kind kind) {
    EVP_PKEY *k = kind == BENCH_SM2 ? EVP_PKEY_Q_keygen(NULL, NULL, "SM2")
                                    : EVP_EC_gen(kind == BENCH_P384_ISSUER ? "P-384" : "P-256");
    MUST(k);
    return k;
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    MUST(e);
    MUST(X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

static void sign_certificate(X509 *x, EVP_PKEY *key, bool sm2) {
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    MUST(ctx && EVP_DigestSignInit(ctx, &pctx, sm2 ? EVP_sm3() : EVP_sha256(), NULL, key));
    if (sm2)
        MUST(EVP_PKEY_CTX_set1_id(pctx, SM2_ID, (int)strlen(SM2_ID)) > 0);
    MUST(X509_sign_ctx(x, ctx) > 0);
    EVP_MD_CTX_free(ctx);
}

static X509 *certificate(struct bench_maker *m, enum bench_kind kind, EVP_PKEY *key, X509 *issuer,
                         EVP_PKEY *ca_key, const char *cn, const char *usage, time_t not_before) {
    X509 *x = X509_new();
    char san[200];
    MUST(x && X509_set_version(x, X509_VERSION_3));
    MUST(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x), ((uint64_t)m->o.seed << 32) | ++m->counter));
    MUST(X509_time_adj_ex(X509_getm_notBefore(x), 0, 0, &not_before));
    MUST(X509_time_adj_ex(X509_getm_notAfter(x), issuer ? 90 : 3650, 0, &not_before));
    X509_NAME *name = X509_get_subject_name(x);
    MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0));
    MUST(X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, (const unsigned char *)"Bench", -1, -1, 0));
    MUST(X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name));
    MUST(X509_set_pubkey(x, key));
    add_extension(x, issuer ? issuer : x, NID_basic_constraints,
                  issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    add_extension(x, issuer ? issuer : x, NID_key_usage, usage);
    add_extension(x, issuer ? issuer : x, NID_subject_key_identifier, "hash");
    if (issuer) {
        snprintf(san, sizeof san, "DNS:%s,DNS:www.%s", cn, cn);
        add_extension(x, issuer, NID_authority_key_identifier, "keyid");
        add_extension(x, issuer, NID_subject_alt_name, san);
        add_extension(x, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
    }
    sign_certificate(x, issuer ? ca_key : key, kind == BENCH_SM2);
    return x;
}

static struct cs_privkey *to_private(EVP_PKEY *key) {
    PKCS8_PRIV_KEY_INFO *p8 = EVP_PKEY2PKCS8(key);
    uint8_t *der = NULL;
    struct cs_privkey *k = NULL;
    struct cs_err err;
    MUST(p8);
    int len = i2d_PKCS8_PRIV_KEY_INFO(p8, &der);
    MUST(len > 0);
    if (!cs_privkey_from_pkcs8((struct cs_bytes){der, (size_t)len}, &k, &err)) {
        fprintf(stderr, "private key: %s\n", err.msg);
        abort();
    }
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(p8);
    return k;
}

static void make_issuers(struct bench_maker *m) {
    time_t before = time(NULL) - 10 * DAY_S;
    char cn[64];
    for (int k = 0; k < BENCH_KINDS; k++) {
        if (!m->o.kinds[k])
            continue;
        m->ca_key[k] = issuer_key((enum bench_kind)k);
        snprintf(cn, sizeof cn, "Bench CA %d", k);
        m->ca[k] = certificate(m, (enum bench_kind)k, m->ca_key[k], NULL, NULL, cn,
                               "critical,keyCertSign,cRLSign", before);
        int len = i2d_X509(m->ca[k], &m->ca_der[k]);
        MUST(len > 0);
        m->ca_der_len[k] = (size_t)len;
    }
    if (m->o.kinds[BENCH_RSA2048])
        m->primes = bench_primes_new((size_t)m->o.uploads);
}

static void new_id(struct bench_maker *m, cs_uuid ret) {
    // The version and variant take bits of the first three bytes.
    uint8_t random[10] = {0};
    uint32_t n = (uint32_t)++m->counter;
    uint32_t seed = m->o.seed;
    memcpy(random + 3, &seed, 3);
    memcpy(random + 6, &n, sizeof n);
    cs_uuid_v7((int64_t)time(NULL) * 1000, random, ret);
}

bool bench_sign(struct cs_crypto *crypto, const char *log_id, struct cs_event *ev,
                const struct cs_privkey *key, struct bench_event *ret, struct cs_err *err) {
    struct cs_buf value;
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t len = 0;
    snprintf(ev->log_id, sizeof ev->log_id, "%s", log_id);
    ev->time_s = (int64_t)time(NULL);
    memcpy(ret->account, ev->account, sizeof ret->account);
    cs_buf_init(&value, CS_EVENT_MAX);
    if (!cs_event_encode(ev, &value, err) || !cs_buf_ok(&value, err) ||
        !cs_event_sign(crypto, key, cs_buf_bytes(&value), sig, &len, err)) {
        cs_buf_clear(&value);
        return false;
    }
    ret->value = value.data;
    ret->value_len = value.len;
    cs_base64_encode(sig, len, ret->sig);
    ret->sig[cs_base64_encoded_len(len)] = '\0';
    return true;
}

bool bench_preamble(const char *log_id, int32_t partitions, const struct cs_privkey *root,
                    const struct bench_trust *trust, size_t n, struct bench_event *out, struct cs_err *err) {
    CS_AUTO(cs_crypto_free) struct cs_crypto *crypto = NULL;
    uint8_t *root_spki = NULL;
    size_t root_len = 0;
    if (!cs_crypto_new(&crypto, err) || !cs_privkey_spki(root, &root_spki, &root_len, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i <= n; i++) {
        struct cs_event ev = {.type = i == 0 ? CS_EVENT_SYSTEM_GENESIS : CS_EVENT_TRUST_ADD,
                              .seq = (int64_t)i + 1};
        uint8_t random[10] = {0, 0, 0, 0, 0, 0, 0, 0, 0, (uint8_t)i};
        cs_uuid_v7((int64_t)time(NULL) / 86400 * 86400 * 1000, random, ev.id); // the same the whole day
        cs_kid_of_spki(crypto, (struct cs_bytes){root_spki, root_len}, ev.kid);
        if (i == 0) {
            cs_log_id_deployment(log_id, ev.data.genesis.deployment);
            snprintf(ev.subject, sizeof ev.subject, "%s", ev.data.genesis.deployment);
            snprintf(ev.data.genesis.nonce, sizeof ev.data.genesis.nonce, "%s%024d", strchr(log_id, '_') + 1,
                     0);
            ev.data.genesis.partitions = partitions;
            ev.data.genesis.ruleset = 1;
        } else {
            cs_kid kid;
            cs_kid_of_spki(crypto, trust[i - 1].spki, kid);
            memcpy(ev.subject, kid, sizeof kid);
            ev.data.trust.role = trust[i - 1].role;
            ev.data.trust.key.bytes = trust[i - 1].spki;
        }
        ok = bench_sign(crypto, log_id, &ev, root, &out[i], err);
    }
    free(root_spki);
    return ok;
}

static bool finish(struct bench_maker *m, struct cs_event *ev, const struct cs_privkey *key,
                   struct bench_event *out, struct cs_err *err) {
    return bench_sign(m->crypto, m->o.log_id, ev, key, out, err);
}

static bool make_account(struct bench_maker *m, int a, struct bench_event *ret, struct cs_err *err) {
    struct cs_event ev = {.type = CS_EVENT_ACCOUNT_REGISTER};
    snprintf(ev.account, sizeof ev.account, "bench-%u-%d", m->o.seed, a);
    snprintf(ev.subject, sizeof ev.subject, "%s", ev.account);
    new_id(m, ev.id);
    memcpy(ev.kid, m->admin_kid, sizeof ev.kid);
    ev.seq = m->admin_seq++;
    ev.data.account = (struct cs_event_account){.has_site = true,
                                                .has_owner = true,
                                                .has_verified = true,
                                                .has_certificates = true,
                                                .site = CS_SITE_INTL,
                                                .verified = true,
                                                .limit_certificates = 1000000,
                                                .has_bytes = true,
                                                .limit_bytes = 1000000000000};
    snprintf(ev.data.account.owner, sizeof ev.data.account.owner, "owner-%d", a);
    return finish(m, &ev, m->o.admin, ret, err);
}

static bool make_agent(struct bench_maker *m, int a, struct bench_event *ret, struct cs_err *err) {
    struct cs_event ev = {.type = CS_EVENT_AGENT_ENROLL};
    uint8_t *spki = NULL;
    size_t len = 0;
    if (!cs_privkey_generate(CS_KEY_P256, 0, &m->agents[a], err) ||
        !cs_privkey_spki(m->agents[a], &spki, &len, err))
        return false;
    snprintf(ev.account, sizeof ev.account, "bench-%u-%d", m->o.seed, a);
    cs_kid_of_spki(m->crypto, (struct cs_bytes){spki, len}, m->agent_kids[a]);
    memcpy(ev.subject, m->agent_kids[a], sizeof m->agent_kids[a]);
    new_id(m, ev.id);
    memcpy(ev.kid, m->admin_kid, sizeof ev.kid);
    ev.seq = m->admin_seq++;
    ev.data.enroll.key.bytes = (struct cs_bytes){spki, len};
    ev.data.enroll.can = CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_SHARE | CS_CAN_CSR | CS_CAN_READ;
    memcpy(ev.data.enroll.names, "*", 2);
    m->agent_seq[a] = 1;
    bool ok = finish(m, &ev, m->o.admin, ret, err);
    free(spki);
    return ok;
}

struct part { // memory of one part of an upload, until it is encoded
    uint8_t *der;
    uint8_t *sealed;
    uint8_t pop[CS_POP_MAX];
};

static bool make_part(struct bench_maker *m, struct cs_event *ev, enum bench_kind kind, enum cs_key_role role,
                      const char *cn, const char *usage, struct part *mem, struct cs_keyed_chain *out,
                      struct cs_err *err) {
    CS_AUTO(cs_cert_free) struct cs_cert *leaf = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *private = NULL;
    EVP_PKEY *key = leaf_key(m, kind);
    X509 *x = certificate(m, kind, key, m->ca[kind], m->ca_key[kind], cn, usage, time(NULL) - DAY_S);
    private = to_private(key);
    EVP_PKEY_free(key);
    int len = i2d_X509(x, &mem->der);
    MUST(len > 0);
    X509_free(x);
    size_t sealed_len = 0, pop_len = 0;
    if (!cs_cert_parse(m->crypto, (struct cs_bytes){mem->der, (size_t)len}, &leaf, err))
        return false;
    struct cs_seal_context seal = {m->o.log_id, ev->account, ev->subject, role, leaf->spki_sha256};
    if (!cs_seal(m->crypto, m->o.custodian_spki, &seal, private, &mem->sealed, &sealed_len, err))
        return false;
    struct cs_pop_fields pop = {
        m->o.log_id, ev->account, ev->kid, ev->id, ev->subject, {mem->sealed, sealed_len}, leaf->sha256};
    if (!cs_pop_sign(m->crypto, private, leaf->key, &pop, mem->pop, &pop_len, err))
        return false;
    out->chain_len = 2;
    out->chain[0].bytes = (struct cs_bytes){mem->der, (size_t)len};
    out->chain[1].bytes = (struct cs_bytes){m->ca_der[kind], m->ca_der_len[kind]};
    out->key.bytes = (struct cs_bytes){mem->sealed, sealed_len};
    out->pop.bytes = (struct cs_bytes){mem->pop, pop_len};
    return true;
}

static bool make_upload(struct bench_maker *m, int i, enum bench_kind kind, struct bench_event *out,
                        struct cs_err *err) {
    int a = i % m->o.accounts;
    bool sm2 = kind == BENCH_SM2;
    char cn[64];
    struct part parts[2] = {{0}};
    struct cs_event ev = {.type = CS_EVENT_CERTIFICATE_UPLOAD};
    struct cs_event_upload *u = &ev.data.upload;
    snprintf(ev.account, sizeof ev.account, "bench-%u-%d", m->o.seed, a);
    new_id(m, ev.id);
    cs_uuid subject;
    new_id(m, subject);
    memcpy(ev.subject, subject, sizeof subject);
    bool issued = m->o.issuer != NULL;
    if (issued)
        ev.type = CS_EVENT_CERTIFICATE_ISSUE;
    memcpy(ev.kid, issued ? m->issuer_kid : m->agent_kids[a], sizeof ev.kid);
    ev.seq = issued ? m->issuer_seq++ : m->agent_seq[a]++;
    u->source = issued ? CS_SOURCE_OFFICIAL : CS_SOURCE_UPLOADED;
    u->algorithm = sm2 ? CS_ALGORITHM_SM2 : CS_ALGORITHM_INTERNATIONAL;
    snprintf(u->name, sizeof u->name, "host-%d", i);
    snprintf(cn, sizeof cn, "host-%d.example.com", i);
    u->parts = sm2 ? 2 : 1;
    bool ok = make_part(m, &ev, kind, sm2 ? CS_ROLE_SM2_SIGN : CS_ROLE_SINGLE, cn,
                        "critical,digitalSignature", &parts[0], &u->part[0], err);
    if (ok && sm2)
        ok = make_part(m, &ev, kind, CS_ROLE_SM2_ENCRYPT, cn, "critical,keyEncipherment,dataEncipherment",
                       &parts[1], &u->part[1], err);
    ok = ok && finish(m, &ev, issued ? m->o.issuer : m->agents[a], out, err);
    for (size_t p = 0; p < 2; p++) {
        OPENSSL_free(parts[p].der);
        free(parts[p].sealed);
    }
    return ok;
}

void bench_maker_free(struct bench_maker *m) {
    if (!m)
        return;
    for (int k = 0; k < BENCH_KINDS; k++) {
        EVP_PKEY_free(m->ca_key[k]);
        OPENSSL_free(m->ca_der[k]);
        X509_free(m->ca[k]);
    }
    for (int a = 0; m->agents && a < m->o.accounts; a++)
        cs_privkey_free(m->agents[a]);
    bench_primes_free(m->primes);
    free(m->agents);
    free(m->agent_kids);
    free(m->agent_seq);
    cs_crypto_free(m->crypto);
    free(m);
}

static bool kid_of(struct bench_maker *m, const struct cs_privkey *key, cs_kid ret, struct cs_err *err) {
    uint8_t *spki = NULL;
    size_t len = 0;
    if (!cs_privkey_spki(key, &spki, &len, err))
        return false;
    cs_kid_of_spki(m->crypto, (struct cs_bytes){spki, len}, ret);
    free(spki);
    return true;
}

bool bench_maker_new(const struct bench_options *o, struct bench_maker **ret, struct cs_err *err) {
    CS_AUTO(bench_maker_free) struct bench_maker *m = calloc(1, sizeof *m);
    size_t accounts = (size_t)o->accounts;
    MUST(m);
    m->o = *o;
    m->agents = calloc(accounts, sizeof(struct cs_privkey *));
    m->agent_kids = calloc(accounts, sizeof *m->agent_kids);
    m->agent_seq = calloc(accounts, sizeof *m->agent_seq);
    MUST(m->agents && m->agent_kids && m->agent_seq);
    // Above whatever this admin key signed before.
    m->admin_seq = m->issuer_seq = (int64_t)time(NULL) * 1000;
    m->kind = BENCH_KINDS - 1;
    if (!cs_crypto_new(&m->crypto, err) || !kid_of(m, o->admin, m->admin_kid, err) ||
        (o->issuer && !kid_of(m, o->issuer, m->issuer_kid, err)))
        return false;
    make_issuers(m);
    *ret = CS_TAKE(m);
    return true;
}

bool bench_maker_next(struct bench_maker *m, struct bench_event *ret, bool *ret_end, struct cs_err *err) {
    *ret_end = false;
    if (m->account < m->o.accounts) {
        bool enroll = m->enroll;
        m->enroll = !enroll;
        return enroll ? make_agent(m, m->account++, ret, err) : make_account(m, m->account, ret, err);
    }
    *ret_end = m->upload == m->o.uploads;
    if (*ret_end)
        return true;
    do
        m->kind = (m->kind + 1) % BENCH_KINDS;
    while (!m->o.kinds[m->kind]);
    return make_upload(m, m->upload++, (enum bench_kind)m->kind, ret, err);
}

bool bench_make(const struct bench_options *o, struct bench_set *ret, struct cs_err *err) {
    CS_AUTO(bench_maker_free) struct bench_maker *m = NULL;
    CS_AUTO(bench_clear) struct bench_set set = {.uploads_at = (size_t)o->accounts * 2};
    if (!bench_maker_new(o, &m, err) || !cs_privkey_spki(o->admin, &set.admin_spki, &set.admin_spki_len, err))
        return false;
    MUST(set.events = calloc(set.uploads_at + (size_t)o->uploads, sizeof *set.events));
    for (bool end = false; !end; set.len += !end)
        if (!bench_maker_next(m, &set.events[set.len], &end, err))
            return false;
    set.agents_len = (size_t)o->accounts;
    set.agents = CS_TAKE(m->agents);
    *ret = set;
    memset(&set, 0, sizeof set);
    return true;
}

void bench_clear(struct bench_set *set) {
    for (size_t i = 0; i < set->len; i++)
        free(set->events[i].value);
    for (size_t a = 0; set->agents && a < set->agents_len; a++)
        cs_privkey_free(set->agents[a]);
    free(set->agents);
    free(set->events);
    free(set->admin_spki);
    *set = (struct bench_set){0};
}
