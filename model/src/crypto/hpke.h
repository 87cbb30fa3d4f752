// SPDX-License-Identifier: Apache-2.0
//
// HPKE (RFC 9180) base mode, single shot, with DHKEM(X25519, HKDF-SHA256) and HKDF-SHA256. The AEAD
// is a parameter: certsync seals with AES-256-GCM, and the RFC's own vectors for this KEM are of
// AES-128-GCM.
#pragma once

#include "certsync/base/err.h"

struct hpke_aead {
    uint16_t id; // RFC 9180 section 7.3
    size_t key_len;
    const char *cipher;
};
extern const struct hpke_aead hpke_aes128_gcm;
extern const struct hpke_aead hpke_aes256_gcm;
#define HPKE_TAG_LEN 16

// What the key schedule makes, for the vectors.
struct hpke_context {
    uint8_t key[32];
    uint8_t base_nonce[12];
};

// As cs_hpke_seal and cs_hpke_open of seal.h. ret_context may be NULL. Open says REJECT
// key.malformed.
CS_MUST_USE bool hpke_seal(const struct hpke_aead *aead, const uint8_t eph_private[32],
                           const uint8_t recipient_public[32], struct cs_bytes info, struct cs_bytes aad,
                           struct cs_bytes pt, uint8_t ret_enc[32], uint8_t *ret_ct,
                           struct hpke_context *ret_context, struct cs_err *err);
CS_MUST_USE bool hpke_open(const struct hpke_aead *aead, const uint8_t recipient_private[32],
                           const uint8_t enc[32], struct cs_bytes info, struct cs_bytes aad,
                           struct cs_bytes ct, uint8_t *ret_pt, struct cs_err *err);
