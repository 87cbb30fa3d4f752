// SPDX-License-Identifier: Apache-2.0
//
// Events for measurements: accounts with an enrolled agent each, and uploads with sealed key and proof of
// possession, every one with a key and a certificate of its own below one intermediate CA for each kind.
#pragma once

#include "certsync/model/event.h"
#include "certsync/model/sign.h"

// Of the leaf; the issuer's key is P-256, SM2 for SM2, and P-384 for the last, as the common public CA's have.
enum bench_kind { BENCH_P256, BENCH_RSA2048, BENCH_SM2, BENCH_P384_ISSUER };
#define BENCH_KINDS 4

struct bench_options {
    const char *log_id;
    const struct cs_privkey *admin;
    const struct cs_privkey
        *issuer; // NULL: the accounts' agents upload; else it issues official certificates to them
    struct cs_bytes custodian_spki;
    int accounts;
    int uploads;
    bool kinds[BENCH_KINDS]; // which, in turn
    unsigned seed;           // of ids and names, so that runs do not collide
};

struct bench_event { // a record, owned
    cs_account_id account;
    uint8_t *value;
    size_t value_len;
    char sig[CS_EVENT_SIG_MAX * 2]; // base64, NUL-terminated
};

// One event after the other: registrations and enrolments first. *ret_end true (and no event) after the last. ret->value is the caller's to free.
struct bench_maker;
CS_MUST_USE bool bench_maker_new(const struct bench_options *o, struct bench_maker **ret, struct cs_err *err);
void bench_maker_free(struct bench_maker *m);
CS_DEFINE_AUTO(struct bench_maker, bench_maker_free)
CS_MUST_USE bool bench_maker_next(struct bench_maker *m, struct bench_event *ret, bool *ret_end,
                                  struct cs_err *err);

// All of them at once.
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
CS_DEFINE_AUTO_CLEAR(struct bench_set, bench_clear)

// One event, encoded and signed; ev's envelope is complete but for the log's id.
CS_MUST_USE bool bench_sign(struct cs_crypto *crypto, const char *log_id, struct cs_event *ev,
                            const struct cs_privkey *key, struct bench_event *ret, struct cs_err *err);

// What a log begins with: genesis and trust.add of each key, by the root key. out: 1 + n events.
struct bench_trust {
    enum cs_trust_role role;
    struct cs_bytes spki;
};
CS_MUST_USE bool bench_preamble(const char *log_id, int32_t partitions, const struct cs_privkey *root,
                                const struct bench_trust *trust, size_t n, struct bench_event *out,
                                struct cs_err *err);
// "p256,rsa2048,sm2,p384-issuer"
bool bench_kinds_parse(const char *text, bool kinds[BENCH_KINDS]);
