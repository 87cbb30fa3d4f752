// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "fixture_internal.h"
#include "rules/rules_internal.h"

#define must(call)                                                                                           \
    do {                                                                                                     \
        struct cs_err err = {0};                                                                             \
        if (!(call))                                                                                         \
            fail_msg("%s: %s", #call, err.msg);                                                              \
    } while (0)

// ---- things

void *fx_alloc(struct fx *fx, size_t size) {
    if (fx->kept_len == fx->kept_cap) {
        fx->kept_cap = fx->kept_cap ? fx->kept_cap * 2 : 1024;
        fx->kept = realloc(fx->kept, fx->kept_cap * sizeof(void *));
        assert_non_null(fx->kept);
    }
    void *p = calloc(1, size ? size : 1);
    assert_non_null(p);
    fx->kept[fx->kept_len++] = p;
    return p;
}

const char *fx_text(struct fx *fx, const char *fmt, ...) {
    char text[2048];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert_true(len >= 0 && (size_t)len < sizeof(text));
    char *copy = fx_alloc(fx, (size_t)len + 1);
    memcpy(copy, text, (size_t)len + 1);
    return copy;
}

const char *fx_uuid(struct fx *fx) {
    uint8_t random[10] = {0};
    uint64_t n = ++fx->ids;
    for (int i = 9; i > 1; i--, n >>= 8)
        random[i] = (uint8_t)n;
    char *id = fx_alloc(fx, sizeof(cs_uuid));
    cs_uuid_v7(fx->now_ms, random, id);
    return id;
}

int64_t fx_now_s(const struct fx *fx) {
    return fx->now_ms / 1000;
}

struct fx_key *fx_key_new(struct fx *fx) {
    struct fx_key *k = fx_alloc(fx, sizeof(*k));
    uint8_t *spki = NULL;
    size_t len = 0;
    must(cs_privkey_generate(CS_KEY_P256, 0, &k->priv, &err));
    must(cs_privkey_spki(k->priv, &spki, &len, &err));
    must(cs_pubkey_new(fx->crypto, (struct cs_bytes){spki, len}, &k->pub, &err));
    cs_kid_of_spki(fx->crypto, (struct cs_bytes){spki, len}, k->kid);
    free(spki);
    assert_true(fx->keys_len < CS_ARRAY_LEN(fx->keys));
    fx->keys[fx->keys_len++] = k;
    return k;
}

int32_t fx_partition_of(const struct fx *fx, const char *account) {
    return cs_partition_of(account, fx->partitions);
}

struct cs_rule_context fx_context(struct fx *fx, int32_t partition) {
    return (struct cs_rule_context){.crypto = fx->crypto,
                                    .book = fx->book,
                                    .log_id = FX_LOG,
                                    .partition = partition,
                                    .partition_count = fx->partitions,
                                    .root = fx->root->pub};
}

// ---- the world

static void begin_partition(struct fx *fx, int32_t partition) {
    struct cs_event ev = fx_event(fx, CS_EVENT_SYSTEM_GENESIS, "", fx->root, FX_DEPLOYMENT);
    CS_COPY_TEXT(ev.data.genesis.deployment, FX_DEPLOYMENT);
    CS_COPY_TEXT(ev.data.genesis.nonce, FX_NONCE);
    ev.data.genesis.partitions = fx->partitions;
    ev.data.genesis.ruleset = 1;
    assert_applied(fx_judge(fx, partition, fx_record(fx, fx->root, &ev)));
    const struct {
        enum cs_trust_role role;
        struct cs_bytes spki;
        const char *kid;
    } keys[] = {
        {CS_TRUST_ADMIN, cs_pubkey_spki(fx->admin->pub), fx->admin->kid},
        {CS_TRUST_ISSUER, cs_pubkey_spki(fx->issuer->pub), fx->issuer->kid},
        {CS_TRUST_SERVICE, cs_pubkey_spki(fx->service->pub), fx->service->kid},
        {CS_TRUST_CUSTODIAN, {fx->custodian_spki, fx->custodian_spki_len}, fx->custodian_kid},
    };
    for (size_t i = 0; i < CS_ARRAY_LEN(keys); i++) {
        ev = fx_event(fx, CS_EVENT_TRUST_ADD, "", fx->root, keys[i].kid);
        ev.data.trust.role = keys[i].role;
        ev.data.trust.key.bytes = keys[i].spki;
        assert_applied(fx_judge(fx, partition, fx_record(fx, fx->root, &ev)));
    }
}

struct fx *fx_new(int32_t partitions) {
    struct fx *fx = calloc(1, sizeof(*fx));
    assert_non_null(fx);
    fx->partitions = partitions;
    fx->now_ms = FX_NOW_MS;
    must(cs_crypto_new(&fx->crypto, &err));
    fx->root = fx_key_new(fx);
    fx->admin = fx_key_new(fx);
    fx->issuer = fx_key_new(fx);
    fx->service = fx_key_new(fx);
    must(cs_privkey_generate(CS_KEY_X25519, 0, &fx->custodian, &err));
    must(cs_privkey_spki(fx->custodian, &fx->custodian_spki, &fx->custodian_spki_len, &err));
    cs_kid_of_spki(fx->crypto, (struct cs_bytes){fx->custodian_spki, fx->custodian_spki_len},
                   fx->custodian_kid);
    fx->ca_key = fx_evp_generate("P-256");
    fx->ca = fx_make_ca(fx, fx->ca_key, "Example CA");
    fx->sm2_ca_key = fx_evp_generate("SM2");
    fx->sm2_ca = fx_make_ca(fx, fx->sm2_ca_key, "Example SM2 CA");
    fx->partition = fx_alloc(fx, sizeof(*fx->partition) * (size_t)partitions);
    for (int32_t i = 0; i < partitions; i++)
        must(cs_state_new(true, &fx->partition[i].state, &err));
    return fx;
}

void fx_begin(struct fx *fx) {
    for (int32_t i = 0; i < fx->partitions; i++)
        begin_partition(fx, i);
}

void fx_free(struct fx *fx) {
    if (!fx)
        return;
    cs_decision_clear(&fx->last);
    for (size_t i = fx->queue_at; i < fx->queue_len; i++)
        cs_event_free(fx->queue[i].event);
    for (int32_t i = 0; i < fx->partitions; i++)
        cs_state_free(fx->partition[i].state);
    for (size_t i = 0; i < fx->keys_len; i++) {
        cs_privkey_free(fx->keys[i]->priv);
        cs_pubkey_free(fx->keys[i]->pub);
    }
    for (size_t i = 0; i < fx->certs_len; i++) {
        EVP_PKEY_free(fx->certs[i]->key);
        cs_privkey_free(fx->certs[i]->priv);
        cs_cert_free(fx->certs[i]->leaf);
    }
    EVP_PKEY_free(fx->ca_key);
    EVP_PKEY_free(fx->sm2_ca_key);
    cs_privkey_free(fx->custodian);
    free(fx->custodian_spki);
    for (size_t i = 0; i < fx->kept_len; i++)
        free(fx->kept[i]);
    free(fx->kept);
    free(fx->queue);
    cs_crypto_free(fx->crypto);
    cs_region_free(&fx->memory);
    free(fx);
}

// ---- events and records

struct cs_event fx_event(struct fx *fx, enum cs_event_type type, const char *account, struct fx_key *by,
                         const char *subject) {
    struct cs_event ev;
    memset(&ev, 0, sizeof(ev));
    ev.type = type;
    CS_COPY_TEXT(ev.id, fx_uuid(fx));
    CS_COPY_TEXT(ev.log_id, FX_LOG);
    CS_COPY_TEXT(ev.account, account);
    CS_COPY_TEXT(ev.kid, by->kid);
    CS_COPY_TEXT(ev.subject, subject ? subject : fx_uuid(fx));
    ev.time_s = fx_now_s(fx);
    ev.seq = ++by->seq;
    return ev;
}

struct fx_record *fx_record_of(struct fx *fx, struct fx_key *by, const char *account, struct cs_bytes value) {
    struct fx_record *record = fx_alloc(fx, sizeof(*record));
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t sig_len = 0;
    must(cs_event_sign(fx->crypto, by->priv, value, sig, &sig_len, &err));
    char *text = fx_alloc(fx, cs_base64_encoded_len(sig_len) + 1);
    cs_base64_encode(sig, sig_len, text);
    record->headers[0] =
        (struct cs_header){"content-type", {(const uint8_t *)CS_CONTENT_TYPE, strlen(CS_CONTENT_TYPE)}};
    record->headers[1] =
        (struct cs_header){CS_SIG_HEADER, {(const uint8_t *)text, cs_base64_encoded_len(sig_len)}};
    record->r = (struct cs_record){.key = {(const uint8_t *)fx_text(fx, "%s", account), strlen(account)},
                                   .value = value,
                                   .headers = record->headers,
                                   .headers_len = 2,
                                   .timestamp_ms = fx->now_ms};
    return record;
}

struct fx_record *fx_record(struct fx *fx, struct fx_key *by, const struct cs_event *ev) {
    struct cs_buf b;
    cs_buf_init(&b, 4 * CS_EVENT_MAX);
    must(cs_event_encode(ev, &b, &err));
    uint8_t *value = fx_alloc(fx, b.len);
    memcpy(value, b.data, b.len);
    struct fx_record *record = fx_record_of(fx, by, ev->account, (struct cs_bytes){value, b.len});
    cs_buf_clear(&b);
    return record;
}

static const struct cs_pubkey *look_up(void *arg, const char *account, const char *kid) {
    const struct fx *fx = arg;
    (void)account;
    for (size_t i = 0; i < fx->keys_len; i++)
        if (strcmp(fx->keys[i]->kid, kid) == 0)
            return fx->keys[i]->pub;
    return NULL;
}

struct cs_prepared *fx_prepare(struct fx *fx, const struct cs_record *r) {
    struct cs_prepared *p = NULL;
    must(cs_prepare_by(fx->book ? fx->book : &cs_rulebook, fx->crypto, FX_LOG, fx->partitions,
                       CS_RULESET_LATEST, r, fx->tell_keys ? look_up : NULL, fx,
                       fx->apart ? NULL : &fx->memory, &p, &err));
    return p;
}

static void enqueue(struct fx *fx, struct fx_partition *p) {
    for (size_t i = 0; i < fx->last.derived.len; i++) {
        struct cs_event *ev = fx->last.derived.events[i];
        CS_COPY_TEXT(ev->kid, fx->service->kid);
        ev->seq = ++p->derived;
        if (fx->queue_len == fx->queue_cap) {
            fx->queue_cap = fx->queue_cap ? fx->queue_cap * 2 : 64;
            fx->queue = realloc(fx->queue, fx->queue_cap * sizeof(*fx->queue));
            assert_non_null(fx->queue);
        }
        fx->queue[fx->queue_len].event = ev;
        CS_COPY_TEXT(fx->queue[fx->queue_len].account, ev->account);
        fx->queue_len++;
    }
    fx->last.derived.len = 0;
}

const struct cs_verdict *fx_judge(struct fx *fx, int32_t partition, struct fx_record *record) {
    struct fx_partition *p = &fx->partition[partition];
    record->r.partition = partition;
    record->r.offset = p->offset++;
    record->r.timestamp_ms = fx->now_ms;
    struct cs_prepared *prepared = fx_prepare(fx, &record->r);
    struct cs_rule_context ctx = fx_context(fx, partition);
    bool needed = false;
    cs_decision_clear(&fx->last);
    memset(&fx->last, 0, sizeof(fx->last));
    must(cs_decide(&ctx, p->state, &record->r, prepared, &fx->last, &needed, &err));
    assert_false(needed); // a complete state needs nothing
    struct cs_buf outcome;
    cs_buf_init(&outcome, 1 << 20);
    fx_apply(p, fx->crypto, partition, &record->r, prepared, &fx->last, &outcome);
    cs_state_changes_clear(p->state);
    struct cs_bytes bytes = cs_buf_bytes(&outcome);
    if (fx->on_decided)
        fx->on_decided(fx, partition, &record->r, &bytes);
    enqueue(fx, p);
    cs_buf_clear(&outcome);
    cs_prepared_free(prepared);
    return &fx->last.verdict;
}

const struct cs_verdict *fx_send(struct fx *fx, struct fx_key *by, const struct cs_event *ev) {
    return fx_judge(fx, fx_partition_of(fx, ev->account), fx_record(fx, by, ev));
}

size_t fx_waiting(const struct fx *fx) {
    return fx->queue_len - fx->queue_at;
}

const struct cs_event *fx_peek(const struct fx *fx) {
    assert_true(fx_waiting(fx) > 0);
    return fx->queue[fx->queue_at].event;
}

const struct cs_verdict *fx_deliver_next(struct fx *fx) {
    assert_true(fx_waiting(fx) > 0);
    struct fx_queued next = fx->queue[fx->queue_at++];
    struct fx_record *record = fx_record(fx, fx->service, next.event);
    cs_event_free(next.event);
    return fx_judge(fx, fx_partition_of(fx, next.account), record);
}

void fx_deliver_all(struct fx *fx) {
    while (fx_waiting(fx) > 0)
        fx_deliver_next(fx);
}
