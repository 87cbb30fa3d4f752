// SPDX-License-Identifier: Apache-2.0
#include "bench_mixed.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certsync/model/cert.h"
#include "certsync/model/seal.h"

#define DAY_S 86400
#define MUST(x)                                                                                              \
    do {                                                                                                     \
        if (!(x)) {                                                                                          \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                          \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)
// Of a hundred events.
#define UPLOADS  40
#define RENEWALS 25
#define ISSUED   15
#define DELETES  10 // the others are shares

struct leaf {
    uint8_t *der, *sealed;
    size_t der_len, sealed_len;
    struct cs_cert *cert;
    struct cs_privkey *key;
};

struct held { // a certificate of an account
    cs_uuid id;
    int name;
    bool official, shared;
};

struct account {
    int number;
    struct cs_privkey *agent;
    cs_kid kid;
    int64_t seq;
    struct held *held;
    int held_len, held_cap;
};

struct bench_mixed {
    struct bench_mixed_options o;
    struct cs_crypto *crypto;
    time_t from; // all certificates begin together: whichever replaces which is never older
    EVP_PKEY *ca_key;
    X509 *ca;
    uint8_t *ca_der;
    size_t ca_der_len;
    struct leaf *leafs;
    int leafs_len, next_leaf;
    struct account *accounts;
    int accounts_len, registered;
    bool enroll;
    int64_t left;
    uint64_t random;
    uint32_t counter;
    int names;
    int64_t admin_seq, issuer_seq;
    cs_kid admin_kid, issuer_kid;
    struct bench_mixed_counts counts;
};

static uint32_t draw(struct bench_mixed *m, uint32_t below) { // xorshift64*
    m->random ^= m->random >> 12;
    m->random ^= m->random << 25;
    m->random ^= m->random >> 27;
    return (uint32_t)((m->random * 2685821657736338717u) >> 33) % below;
}

static void new_id(struct bench_mixed *m, cs_uuid ret) {
    uint8_t random[10] = {0};
    uint32_t seed = m->o.seed;
    memcpy(random + 3, &seed, 3);
    m->counter++;
    memcpy(random + 6, &m->counter, sizeof m->counter);
    cs_uuid_v7((int64_t)time(NULL) * 1000, random, ret);
}

// --- leafs

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    MUST(e && X509_add_ext(x, e, -1));
    X509_EXTENSION_free(e);
}

static X509 *certificate(struct bench_mixed *m, EVP_PKEY *key, const char *cn) {
    X509 *x = X509_new();
    char san[200];
    time_t from = m->from;
    MUST(x && X509_set_version(x, X509_VERSION_3));
    MUST(ASN1_INTEGER_set_uint64(X509_get_serialNumber(x),
                                 ((uint64_t)m->o.seed << 40) | ((uint64_t)m->o.thread << 32) | ++m->counter));
    MUST(X509_time_adj_ex(X509_getm_notBefore(x), 0, 0, &from));
    MUST(X509_time_adj_ex(X509_getm_notAfter(x), m->ca ? 90 : 3650, 0, &from));
    X509_NAME *name = X509_get_subject_name(x);
    MUST(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0));
    MUST(X509_set_issuer_name(x, m->ca ? X509_get_subject_name(m->ca) : name));
    MUST(X509_set_pubkey(x, key));
    X509 *issuer = m->ca ? m->ca : x;
    add_extension(x, issuer, NID_basic_constraints, m->ca ? "critical,CA:FALSE" : "critical,CA:TRUE");
    add_extension(x, issuer, NID_key_usage,
                  m->ca ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign");
    add_extension(x, issuer, NID_subject_key_identifier, "hash");
    if (m->ca) {
        snprintf(san, sizeof san, "DNS:%s,DNS:www.%s", cn, cn);
        add_extension(x, issuer, NID_authority_key_identifier, "keyid");
        add_extension(x, issuer, NID_subject_alt_name, san);
        add_extension(x, issuer, NID_ext_key_usage, "serverAuth,clientAuth");
    }
    MUST(X509_sign(x, m->ca ? m->ca_key : key, EVP_sha256()) > 0);
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
    MUST(cs_privkey_from_pkcs8((struct cs_bytes){der, (size_t)len}, &k, &err));
    OPENSSL_free(der);
    PKCS8_PRIV_KEY_INFO_free(p8);
    return k;
}

static void leaf_clear(struct leaf *l) {
    OPENSSL_free(l->der);
    free(l->sealed);
    cs_cert_free(l->cert);
    cs_privkey_free(l->key);
    *l = (struct leaf){0};
}

// The key is sealed once, for no account in particular: nobody who judges can tell, or takes longer for it.
static bool make_leaf(struct bench_mixed *m, struct leaf *l, struct cs_err *err) {
    char cn[64];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    MUST(key);
    snprintf(cn, sizeof cn, "host-%d-%u.example.com", m->o.thread, m->counter);
    X509 *x = certificate(m, key, cn);
    l->key = to_private(key);
    EVP_PKEY_free(key);
    int len = i2d_X509(x, &l->der);
    MUST(len > 0);
    X509_free(x);
    l->der_len = (size_t)len;
    if (!cs_cert_parse(m->crypto, (struct cs_bytes){l->der, l->der_len}, &l->cert, err))
        return false;
    struct cs_seal_context seal = {m->o.log_id, "bench", "bench", CS_ROLE_SINGLE, l->cert->spki_sha256};
    return cs_seal(m->crypto, m->o.custodian_spki, &seal, l->key, &l->sealed, &l->sealed_len, err);
}

static bool next_leaf(struct bench_mixed *m, struct leaf **ret, struct cs_err *err) {
    struct leaf *l = &m->leafs[m->next_leaf++ % m->leafs_len];
    if (m->o.leafs == 0)
        leaf_clear(l);
    *ret = l;
    return l->cert || make_leaf(m, l, err);
}

// --- events

static void begin(struct bench_mixed *m, struct cs_event *ev, enum cs_event_type type,
                  const struct account *a) {
    *ev = (struct cs_event){.type = type};
    snprintf(ev->account, sizeof ev->account, "bench-%u-%d", m->o.seed, a->number);
    new_id(m, ev->id);
}

static bool by_agent(struct bench_mixed *m, struct cs_event *ev, struct account *a, struct bench_event *ret,
                     struct cs_err *err) {
    memcpy(ev->kid, a->kid, sizeof ev->kid);
    ev->seq = a->seq++;
    return bench_sign(m->crypto, m->o.log_id, ev, a->agent, ret, err);
}

static bool by_admin(struct bench_mixed *m, struct cs_event *ev, struct bench_event *ret,
                     struct cs_err *err) {
    memcpy(ev->kid, m->admin_kid, sizeof ev->kid);
    ev->seq = m->admin_seq++;
    return bench_sign(m->crypto, m->o.log_id, ev, m->o.admin, ret, err);
}

static bool make_account(struct bench_mixed *m, struct account *a, struct bench_event *ret,
                         struct cs_err *err) {
    struct cs_event ev;
    begin(m, &ev, CS_EVENT_ACCOUNT_REGISTER, a);
    snprintf(ev.subject, sizeof ev.subject, "%s", ev.account);
    ev.data.account = (struct cs_event_account){.has_site = true,
                                                .has_owner = true,
                                                .has_verified = true,
                                                .has_certificates = true,
                                                .site = CS_SITE_INTL,
                                                .verified = true,
                                                .limit_certificates = 1000000,
                                                .has_bytes = true,
                                                .limit_bytes = 1000000000000};
    snprintf(ev.data.account.owner, sizeof ev.data.account.owner, "owner-%d", a->number / 2);
    return by_admin(m, &ev, ret, err);
}

static bool make_agent(struct bench_mixed *m, struct account *a, struct bench_event *ret,
                       struct cs_err *err) {
    struct cs_event ev;
    uint8_t *spki = NULL;
    size_t len = 0;
    if (!cs_privkey_generate(CS_KEY_P256, 0, &a->agent, err) || !cs_privkey_spki(a->agent, &spki, &len, err))
        return false;
    begin(m, &ev, CS_EVENT_AGENT_ENROLL, a);
    cs_kid_of_spki(m->crypto, (struct cs_bytes){spki, len}, a->kid);
    memcpy(ev.subject, a->kid, sizeof a->kid);
    ev.data.enroll.key.bytes = (struct cs_bytes){spki, len};
    ev.data.enroll.can = CS_CAN_UPLOAD | CS_CAN_DELETE | CS_CAN_SHARE | CS_CAN_READ;
    memcpy(ev.data.enroll.names, "*", 2);
    a->seq = 1;
    bool ok = by_admin(m, &ev, ret, err);
    free(spki);
    return ok;
}

static bool make_upload(struct bench_mixed *m, struct account *a, int name, bool issued, bool replace,
                        cs_uuid ret_id, struct bench_event *ret, struct cs_err *err) {
    struct cs_event ev;
    struct leaf *l = NULL;
    uint8_t pop[CS_POP_MAX];
    size_t pop_len = 0;
    cs_uuid subject;
    begin(m, &ev, issued ? CS_EVENT_CERTIFICATE_ISSUE : CS_EVENT_CERTIFICATE_UPLOAD, a);
    new_id(m, subject);
    memcpy(ev.subject, subject, sizeof subject);
    memcpy(ret_id, subject, sizeof subject);
    memcpy(ev.kid, issued ? m->issuer_kid : a->kid, sizeof ev.kid);
    struct cs_event_upload *u = &ev.data.upload;
    u->source = issued ? CS_SOURCE_OFFICIAL : CS_SOURCE_UPLOADED;
    u->algorithm = CS_ALGORITHM_INTERNATIONAL;
    u->replace = replace;
    u->parts = 1;
    snprintf(u->name, sizeof u->name, "host-%d", name);
    if (!next_leaf(m, &l, err))
        return false;
    struct cs_pop_fields fields = {
        m->o.log_id, ev.account, ev.kid, ev.id, ev.subject, {l->sealed, l->sealed_len}, l->cert->sha256};
    if (!cs_pop_sign(m->crypto, l->key, l->cert->key, &fields, pop, &pop_len, err))
        return false;
    struct cs_keyed_chain *part = &u->part[0];
    part->chain_len = 2;
    part->chain[0].bytes = (struct cs_bytes){l->der, l->der_len};
    part->chain[1].bytes = (struct cs_bytes){m->ca_der, m->ca_der_len};
    part->key.bytes = (struct cs_bytes){l->sealed, l->sealed_len};
    part->pop.bytes = (struct cs_bytes){pop, pop_len};
    if (!issued)
        return by_agent(m, &ev, a, ret, err);
    ev.seq = m->issuer_seq++;
    return bench_sign(m->crypto, m->o.log_id, &ev, m->o.issuer, ret, err);
}

static bool make_new(struct bench_mixed *m, struct account *a, bool issued, struct bench_event *ret,
                     struct cs_err *err) {
    if (a->held_len == a->held_cap) {
        a->held_cap = a->held_cap ? a->held_cap * 2 : 8;
        MUST(a->held = realloc(a->held, (size_t)a->held_cap * sizeof *a->held));
    }
    struct held *h = &a->held[a->held_len++];
    *h = (struct held){.name = m->names++, .official = issued};
    m->counts.certificates++;
    *(issued ? &m->counts.issued : &m->counts.uploads) += 1;
    return make_upload(m, a, h->name, issued, false, h->id, ret, err);
}

static struct held *find(struct bench_mixed *m, const struct account *a, bool official) {
    for (int i = 0; i < 8 && a->held_len > 0; i++) {
        struct held *h = &a->held[draw(m, (uint32_t)a->held_len)];
        if (h->official == official && !h->shared)
            return h;
    }
    return NULL;
}

static bool make_renewal(struct bench_mixed *m, struct account *a, const struct held *h,
                         struct bench_event *ret, struct cs_err *err) {
    cs_uuid ignored;
    m->counts.renewals++;
    return make_upload(m, a, h->name, false, true, ignored, ret, err);
}

static bool make_delete(struct bench_mixed *m, struct account *a, struct held *h, struct bench_event *ret,
                        struct cs_err *err) {
    struct cs_event ev;
    begin(m, &ev, CS_EVENT_CERTIFICATE_DELETE, a);
    memcpy(ev.subject, h->id, sizeof h->id);
    *h = a->held[--a->held_len];
    m->counts.deletes++;
    m->counts.certificates--;
    return by_agent(m, &ev, a, ret, err);
}

static bool make_share(struct bench_mixed *m, struct account *a, struct held *h, struct bench_event *ret,
                       struct cs_err *err) {
    struct cs_event ev;
    begin(m, &ev, CS_EVENT_CERTIFICATE_SHARE, a);
    memcpy(ev.subject, h->id, sizeof h->id);
    snprintf(ev.data.share.to, sizeof ev.data.share.to, "bench-%u-%d", m->o.seed, a->number ^ 1);
    h->shared = true;
    m->counts.shares++;
    return by_agent(m, &ev, a, ret, err);
}

static bool make_one(struct bench_mixed *m, struct bench_event *ret, struct cs_err *err) {
    struct account *a = &m->accounts[draw(m, (uint32_t)m->accounts_len)];
    uint32_t what = draw(m, 100);
    struct held *h = NULL;
    if (what < UPLOADS)
        return make_new(m, a, false, ret, err);
    if (what < UPLOADS + ISSUED)
        return make_new(m, a, true, ret, err);
    if (what < UPLOADS + ISSUED + RENEWALS)
        return (h = find(m, a, false)) ? make_renewal(m, a, h, ret, err) : make_new(m, a, false, ret, err);
    if (what < UPLOADS + ISSUED + RENEWALS + DELETES)
        return (h = find(m, a, false)) ? make_delete(m, a, h, ret, err) : make_new(m, a, false, ret, err);
    return (h = find(m, a, true)) ? make_share(m, a, h, ret, err) : make_new(m, a, true, ret, err);
}

bool bench_mixed_next(struct bench_mixed *m, struct bench_event *ret, bool *ret_end, struct cs_err *err) {
    *ret_end = false;
    if (m->registered < m->accounts_len) {
        struct account *a = &m->accounts[m->registered];
        bool enroll = m->enroll;
        m->enroll = !enroll;
        m->registered += enroll;
        m->counts.events++;
        m->counts.accounts += enroll;
        return enroll ? make_agent(m, a, ret, err) : make_account(m, a, ret, err);
    }
    *ret_end = m->left <= 0;
    if (*ret_end)
        return true;
    m->left--;
    m->counts.events++;
    return make_one(m, ret, err);
}

// --- life

static bool kid_of(struct bench_mixed *m, const struct cs_privkey *key, cs_kid ret, struct cs_err *err) {
    uint8_t *spki = NULL;
    size_t len = 0;
    if (!cs_privkey_spki(key, &spki, &len, err))
        return false;
    cs_kid_of_spki(m->crypto, (struct cs_bytes){spki, len}, ret);
    free(spki);
    return true;
}

static void choose_accounts(struct bench_mixed *m) {
    char name[CS_ACCOUNT_MAX + 1];
    MUST(m->accounts = calloc((size_t)m->o.accounts, sizeof *m->accounts));
    for (int a = 0; a < m->o.accounts; a++) {
        snprintf(name, sizeof name, "bench-%u-%d", m->o.seed, a);
        if (cs_partition_of(name, m->o.partitions) % m->o.threads == m->o.thread)
            m->accounts[m->accounts_len++].number = a;
    }
    m->left = (m->o.events * m->accounts_len) / m->o.accounts - 2 * (int64_t)m->accounts_len;
}

bool bench_mixed_new(const struct bench_mixed_options *o, struct bench_mixed **ret, struct cs_err *err) {
    struct bench_mixed *m = calloc(1, sizeof *m);
    MUST(m);
    m->o = *o;
    m->from = time(NULL) - DAY_S;
    m->random = ((uint64_t)o->seed << 8 | (unsigned)o->thread) * 2654435761u + 1;
    m->counter = (uint32_t)o->thread << 28; // ids of the threads differ
    m->names = 1 + o->thread * 100000000;
    m->admin_seq = m->issuer_seq = (int64_t)time(NULL) * 1000; // above whatever these keys signed before
    m->leafs_len = o->leafs ? o->leafs / o->threads + 1 : 1;
    MUST(m->leafs = calloc((size_t)m->leafs_len, sizeof *m->leafs));
    choose_accounts(m);
    if (!cs_crypto_new(&m->crypto, err) || !kid_of(m, o->admin, m->admin_kid, err) ||
        !kid_of(m, o->issuer, m->issuer_kid, err)) {
        bench_mixed_free(m);
        return false;
    }
    MUST(m->ca_key = EVP_EC_gen("P-256"));
    X509 *ca = certificate(m, m->ca_key, "Bench CA");
    int len = i2d_X509(ca, &m->ca_der);
    MUST(len > 0);
    m->ca_der_len = (size_t)len;
    m->ca = ca;
    *ret = m;
    return true;
}

void bench_mixed_free(struct bench_mixed *m) {
    if (!m)
        return;
    for (int i = 0; i < m->leafs_len; i++)
        leaf_clear(&m->leafs[i]);
    for (int a = 0; a < m->accounts_len; a++) {
        cs_privkey_free(m->accounts[a].agent);
        free(m->accounts[a].held);
    }
    EVP_PKEY_free(m->ca_key);
    X509_free(m->ca);
    OPENSSL_free(m->ca_der);
    free(m->leafs);
    free(m->accounts);
    cs_crypto_free(m->crypto);
    free(m);
}

void bench_mixed_count(const struct bench_mixed *m, struct bench_mixed_counts *add) {
    const struct bench_mixed_counts *c = &m->counts;
    add->events += c->events;
    add->accounts += c->accounts;
    add->uploads += c->uploads;
    add->renewals += c->renewals;
    add->issued += c->issued;
    add->deletes += c->deletes;
    add->shares += c->shares;
    add->certificates += c->certificates;
}
