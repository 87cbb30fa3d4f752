// SPDX-License-Identifier: Apache-2.0
//
// Verification with keys that come very often: issuers, busy senders. OpenSSL multiplies the curve's own
// generator by table and every other point slowly; here a group is made whose generator is the key, so that
// both are multiplied by table. That halves a P-256 verification and more than halves P-384 and SM2; the
// answers are the same (tests/unit/test_ectable.c).
//
// The arithmetic is OpenSSL's (EC_POINT_mul and the BN functions), the equations are FIPS 186-5 section 6.4.2
// and GB/T 32918.2 section 7.1. Nothing here is secret, so nothing needs constant time. Where this OpenSSL
// has no use for it, ec_table_worth says so and EVP does all.
#pragma once

#include "crypto_impl.h"

struct ec_work;  // one curve's group, with scratch numbers and points
struct ec_table; // one key's group

// Whether this build of OpenSSL has no method made for the curve: whether it has one for P-384 and SM2 depends on its release, its
// options and the processor.
bool ec_curve_generic(enum cs_key_type type);
// How many uses of a key pay for its table; 0: never.
unsigned ec_table_worth(enum cs_key_type type, bool generic);
// Whether also keys without a table are verified sooner here than by EVP: by 10 % where the curve is a
// generic one.
bool ec_work_worth(enum cs_key_type type, bool generic);
// Made on first use; NULL where it cannot be had.
struct ec_work *ec_work_get(struct ec_work **work, enum cs_key_type type);
void ec_work_free(struct ec_work *w);
struct ec_table *ec_table_new(struct ec_work *w, const struct cs_pubkey *key);
void ec_table_free(struct ec_table *t);

// Whether sig (DER, strictly) is the key's over the digest; SM2's digest is crypto_sm2_digest's. t: the key's
// table, or NULL.
bool ec_work_verify(struct ec_work *w, const struct ec_table *t, const struct cs_pubkey *key,
                    const uint8_t *digest, size_t digest_len, struct cs_bytes sig);
