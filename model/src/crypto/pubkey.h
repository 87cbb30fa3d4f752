// SPDX-License-Identifier: Apache-2.0
//
// A public key as a type: its parts, read from the SubjectPublicKeyInfo without OpenSSL.
// Verification (crypto_impl.h) takes such a key and knows nothing of certificates. Certificates and
// requests hold one.
#pragma once

#include "certsync/base/region.h"
#include "certsync/model/codes.h"
#include "certsync/model/key.h"

struct cs_pubkey {
    enum cs_key_type type;
    int bits;
    uint8_t sha256[32];    // of the SPKI
    struct cs_bytes spki;  // views into data
    struct cs_bytes point; // EC: the uncompressed point; Ed25519, X25519: the raw key
    struct cs_bytes n, e;  // RSA: magnitudes
    bool in_region;
    uint8_t data[];
};
// As cs_pubkey_new, into a region or NULL.
CS_MUST_USE bool pubkey_new_into(struct cs_crypto *c, struct cs_bytes spki, struct cs_region *region,
                                 struct cs_pubkey **ret, struct cs_err *err);

// Kind and size of an SPKI without OpenSSL; views into spki. Codes as cs_pubkey_new.
struct spki_parts {
    enum cs_key_type type;
    int bits;
    struct cs_bytes point;
    struct cs_bytes n, e;
    const char *why; // where it is refused: what is so, then what to do; may be NULL
};
enum cs_code spki_parse(struct cs_bytes spki, struct spki_parts *ret);
// Why a kind of key or a curve is not accepted, for people; NULL where nothing is known of it.
const char *spki_why_kind(struct cs_bytes oid);
const char *spki_why_curve(struct cs_bytes oid);
bool spki_refuse(struct cs_err *err, enum cs_code code, const char *why); // false
// The curve that an OBJECT IDENTIFIER's content names; false where it is none of ours.
bool spki_curve(struct cs_bytes oid, enum cs_key_type *ret);
enum cs_code spki_rsa_check(struct cs_bytes n, struct cs_bytes e, int *ret_bits);
