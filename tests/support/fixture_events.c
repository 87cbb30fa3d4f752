// SPDX-License-Identifier: Apache-2.0
//
// Whole events, as an agent, an admin or an issuer would make them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "fixture_internal.h"

#define must(call)                                                                                           \
    do {                                                                                                     \
        struct cs_err err = {0};                                                                             \
        if (!(call))                                                                                         \
            fail_msg("%s: %s", #call, err.msg);                                                              \
    } while (0)

void fx_account(struct fx *fx, const char *account, const char *owner, enum cs_site site, bool verified) {
    struct cs_event ev = fx_event(fx, CS_EVENT_ACCOUNT_REGISTER, account, fx->admin, account);
    struct cs_event_account *a = &ev.data.account;
    a->has_site = a->has_owner = a->has_verified = true;
    a->site = site;
    a->verified = verified;
    CS_COPY_TEXT(a->owner, owner);
    assert_applied(fx_send(fx, fx->admin, &ev));
}

struct cs_event fx_enroll(struct fx *fx, const char *account, struct fx_key *by, const struct fx_key *whom,
                          unsigned can, const char *names) {
    struct cs_event ev = fx_event(fx, CS_EVENT_AGENT_ENROLL, account, by, whom->kid);
    ev.data.enroll.key.bytes = cs_pubkey_spki(whom->pub);
    ev.data.enroll.can = can;
    CS_COPY_TEXT(ev.data.enroll.names, names);
    return ev;
}

struct fx_key *fx_agent(struct fx *fx, const char *account, unsigned can, const char *names) {
    struct fx_key *k = fx_key_new(fx);
    struct cs_event ev = fx_enroll(fx, account, fx->admin, k, can, names);
    assert_applied(fx_send(fx, fx->admin, &ev));
    return k;
}

// Bytes that live as long as the fixture.
static struct cs_bytes kept(struct fx *fx, const uint8_t *data, size_t len) {
    uint8_t *copy = fx_alloc(fx, len);
    memcpy(copy, data, len);
    return (struct cs_bytes){copy, len};
}

static struct cs_bytes seal(struct fx *fx, const struct cs_event *ev, const struct fx_cert *cert,
                            const uint8_t spki_sha256[32], enum cs_key_role role) {
    struct cs_seal_context ctx = {.log_id = ev->log_id,
                                  .account = ev->account,
                                  .subject = ev->subject,
                                  .role = role,
                                  .spki_sha256 = spki_sha256};
    uint8_t *sealed = NULL;
    size_t len = 0;
    must(cs_seal(fx->crypto, (struct cs_bytes){fx->custodian_spki, fx->custodian_spki_len}, &ctx, cert->priv,
                 &sealed, &len, &err));
    struct cs_bytes ret = kept(fx, sealed, len);
    free(sealed);
    return ret;
}

static struct cs_pop_fields fields_of(const struct cs_event *ev, struct cs_bytes sealed,
                                      const uint8_t sha256[32]) {
    return (struct cs_pop_fields){.log_id = ev->log_id,
                                  .account = ev->account,
                                  .kid = ev->kid,
                                  .event_id = ev->id,
                                  .subject = ev->subject,
                                  .sealed_key = sealed,
                                  .leaf_sha256 = sha256};
}

void fx_fill_part(struct fx *fx, struct cs_event *ev, size_t part, const struct fx_cert *cert,
                  enum cs_key_role role) {
    struct cs_keyed_chain *to = &ev->data.upload.part[part];
    to->chain_len = cert->chain_len;
    for (size_t i = 0; i < cert->chain_len && i < CS_CHAIN_MAX; i++)
        to->chain[i].bytes = cert->chain[i];
    // What cannot be parsed is refused before its proof is looked at.
    static const uint8_t nothing[32];
    to->key.bytes = seal(fx, ev, cert, cert->leaf ? cert->leaf->spki_sha256 : nothing, role);
    to->pop.bytes = kept(fx, nothing, sizeof(nothing));
    if (!cert->leaf)
        return;
    struct cs_pop_fields fields = fields_of(ev, to->key.bytes, cert->leaf->sha256);
    uint8_t pop[CS_POP_MAX];
    size_t len = 0;
    must(cs_pop_sign(fx->crypto, cert->priv, cert->leaf->key, &fields, pop, &len, &err));
    to->pop.bytes = kept(fx, pop, len);
}

struct cs_event fx_upload(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                          const char *name, const struct fx_cert *cert) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_UPLOAD, account, by, id);
    CS_COPY_TEXT(ev.data.upload.name, name);
    ev.data.upload.algorithm = CS_ALGORITHM_INTERNATIONAL;
    ev.data.upload.source = CS_SOURCE_UPLOADED;
    ev.data.upload.parts = 1;
    fx_fill_part(fx, &ev, 0, cert, CS_ROLE_SINGLE);
    return ev;
}

struct cs_event fx_upload_sm2(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                              const char *name, const struct fx_cert *sign, const struct fx_cert *encrypt) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_UPLOAD, account, by, id);
    CS_COPY_TEXT(ev.data.upload.name, name);
    ev.data.upload.algorithm = CS_ALGORITHM_SM2;
    ev.data.upload.source = CS_SOURCE_UPLOADED;
    ev.data.upload.parts = 2;
    fx_fill_part(fx, &ev, 0, sign, CS_ROLE_SM2_SIGN);
    fx_fill_part(fx, &ev, 1, encrypt, CS_ROLE_SM2_ENCRYPT);
    return ev;
}

struct cs_event fx_issue(struct fx *fx, const char *account, const char *id, const char *name,
                         const struct fx_cert *cert) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_ISSUE, account, fx->issuer, id);
    CS_COPY_TEXT(ev.data.upload.name, name);
    ev.data.upload.algorithm = CS_ALGORITHM_INTERNATIONAL;
    ev.data.upload.source = CS_SOURCE_OFFICIAL;
    ev.data.upload.parts = 1;
    fx_fill_part(fx, &ev, 0, cert, CS_ROLE_SINGLE);
    return ev;
}

static void fill_with_csr(struct fx *fx, struct cs_event *ev, const char *name, const struct fx_cert *key,
                          struct cs_bytes der) {
    CS_COPY_TEXT(ev->data.csr.name, name);
    ev->data.csr.csr.bytes = kept(fx, der.data, der.len);
    struct cs_csr *csr = NULL;
    must(cs_csr_parse(fx->crypto, ev->data.csr.csr.bytes, &csr, &err));
    ev->data.csr.key.bytes = seal(fx, ev, key, csr->spki_sha256, CS_ROLE_SINGLE);
    struct cs_pop_fields fields = fields_of(ev, ev->data.csr.key.bytes, csr->sha256);
    uint8_t pop[CS_POP_MAX];
    size_t pop_len = 0;
    must(cs_pop_sign(fx->crypto, key->priv, csr->key, &fields, pop, &pop_len, &err));
    ev->data.csr.pop.bytes = kept(fx, pop, pop_len);
    cs_csr_free(csr);
}

void fx_fill_csr(struct fx *fx, struct cs_event *ev, const char *name, const struct fx_cert *key) {
    uint8_t *der = NULL;
    size_t len = 0;
    must(cs_csr_create(fx->crypto, key->priv, "www.example.com", NULL, 0, &der, &len, &err));
    fill_with_csr(fx, ev, name, key, (struct cs_bytes){der, len});
    free(der);
}

struct cs_event fx_csr_of(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                          const char *name, const struct fx_cert *key, struct cs_bytes csr) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CSR_ADD, account, by, id);
    fill_with_csr(fx, &ev, name, key, csr);
    return ev;
}

struct cs_event fx_csr(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                       const char *name, const struct fx_cert *key) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CSR_ADD, account, by, id);
    fx_fill_csr(fx, &ev, name, key);
    return ev;
}

const char *fx_official(struct fx *fx, const char *account, const char *name) {
    const char *id = fx_uuid(fx);
    struct cs_event ev = fx_issue(fx, account, id, name, fx_cert(fx, (struct fx_cert_how){0}));
    assert_applied(fx_send(fx, fx->issuer, &ev));
    return id;
}

const struct cs_verdict *fx_share(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                                  const char *to) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_SHARE, account, by, id);
    CS_COPY_TEXT(ev.data.share.to, to);
    return fx_send(fx, by, &ev);
}

const struct cs_verdict *fx_unshare(struct fx *fx, const char *account, struct fx_key *by, const char *id,
                                    const char *to) {
    struct cs_event ev = fx_event(fx, CS_EVENT_CERTIFICATE_UNSHARE, account, by, id);
    CS_COPY_TEXT(ev.data.share.to, to);
    return fx_send(fx, by, &ev);
}
