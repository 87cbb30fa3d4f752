// SPDX-License-Identifier: Apache-2.0
//
// Verification with keys that come very often: issuers, busy senders. OpenSSL multiplies a curve's
// own generator with a table, and every other point slowly. Here a group is made with the key as
// its generator, so that both are multiplied with a table. That halves a P-256 verification, and
// more than halves P-384 and SM2. The answers are the same (tests/unit/test_ectable.c).
//
// OpenSSL does the arithmetic (EC_POINT_mul and the BN functions). The equations are FIPS 186-5
// section 6.4.2 and GB/T 32918.2 section 7.1. Nothing here is secret, so nothing needs constant
// time. If this does not help with this OpenSSL, the pace says so, and EVP does all.
#pragma once

#include "crypto/crypto_impl.h"

struct ec_work;  // one curve's group, with scratch numbers and points
struct ec_table; // one key's group

// A guess, by whether this OpenSSL has a method made for the curve.
struct ec_pace ec_pace_guess(enum cs_key_type type);
// The measured pace; the guess for a curve that is not measured. now_ns: nanoseconds, only
// differences count.
struct ec_pace ec_pace_measure(enum cs_key_type type, int64_t (*now_ns)(void));
// Verifications of each kind that are measured; the shortest counts.
#define EC_PACE_TRIES 6
// Made on first use; NULL where it cannot be had.
struct ec_work *ec_work_get(struct ec_work **work, enum cs_key_type type);
void ec_work_free(struct ec_work *w);
struct ec_table *ec_table_new(struct ec_work *w, const struct cs_pubkey *key);
void ec_table_free(struct ec_table *t);

// Whether sig (DER, strictly) is the key's over the digest; SM2's digest is crypto_sm2_digest's. t:
// the key's table, or NULL.
bool ec_work_verify(struct ec_work *w, const struct ec_table *t, const struct cs_pubkey *key,
                    const uint8_t *digest, size_t digest_len, struct cs_bytes sig);
