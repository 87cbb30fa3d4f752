// SPDX-License-Identifier: Apache-2.0
//
// Events for measurements: accounts with an enrolled agent each, and uploads with sealed key and proof of
// possession, every one with a certificate of its own below one intermediate CA for each kind of key.
#pragma once

#include "certsync/model/event.h"
#include "certsync/model/sign.h"

enum bench_kind { BENCH_P256, BENCH_RSA2048, BENCH_SM2 };

struct bench_options {
    const char *deployment;
    const struct cs_privkey *admin;
    const struct cs_privkey
        *issuer; // NULL: the accounts' agents upload; else it issues official certificates to them
    struct cs_bytes custodian_spki;
    int accounts;
    int uploads;
    bool kinds[3]; // which, in turn
    unsigned seed; // of ids and names, so that runs do not collide
};

struct bench_event { // a record, owned
    cs_account_id account;
    uint8_t *value;
    size_t value_len;
    char sig[CS_EVENT_SIG_MAX * 2]; // base64, NUL-terminated
};

struct bench_set {
    size_t len;
    struct bench_event *events; // registrations and enrolments first
    size_t uploads_at;
    uint8_t *admin_spki; // owned
    size_t admin_spki_len;
    struct cs_privkey **agents; // one an account, in order; owned
    size_t agents_len;
};

CS_MUST_USE bool bench_make(const struct bench_options *o, struct bench_set *ret, struct cs_err *err);
void bench_clear(struct bench_set *set);

// One event, encoded and signed; ev's envelope is complete but for deployment.
CS_MUST_USE bool bench_sign(struct cs_crypto *crypto, const char *deployment, struct cs_event *ev,
                            const struct cs_privkey *key, struct bench_event *ret, struct cs_err *err);

// What a log begins with: genesis and trust.add of each key, by the root key. out: 1 + n events.
struct bench_trust {
    enum cs_trust_role role;
    struct cs_bytes spki;
};
CS_MUST_USE bool bench_preamble(const char *deployment, int32_t partitions, const struct cs_privkey *root,
                                const struct bench_trust *trust, size_t n, struct bench_event *out,
                                struct cs_err *err);
// "p256,rsa2048,sm2"
bool bench_kinds_parse(const char *text, bool kinds[3]);
