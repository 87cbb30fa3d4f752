// SPDX-License-Identifier: Apache-2.0
//
// Sealing private keys to a custodian: HPKE (RFC 9180) base mode, DHKEM(X25519, HKDF-SHA256)
// 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002, single shot. info = "certsync.seal.v1" NUL
// log id; AAD = length-prefixed (8 bytes big-endian) account, subject, role, SPKI SHA-256.
// Plaintext: PKCS#8 DER, of a key of a curve without its public half (RFC 5915: optional).
//
// Sealed form: version byte 1, 16 bytes of the custodian's kid, 32 bytes enc, ciphertext with tag.
#pragma once

#include "certsync/model/key.h"

#define CS_SEALED_OVERHEAD (1 + 16 + 32 + 16)
#define CS_SEALED_MAX      (8 * 1024)

enum cs_key_role { CS_ROLE_SINGLE = 1, CS_ROLE_SM2_SIGN, CS_ROLE_SM2_ENCRYPT };
const char *cs_key_role_name(enum cs_key_role r); // "single", "sm2-sign", "sm2-enc"

struct cs_seal_context {
    const char *log_id;
    const char *account;
    const char *subject;
    enum cs_key_role role;
    const uint8_t *spki_sha256; // of the key that is sealed; 32 bytes
};
CS_MUST_USE bool cs_seal(struct cs_crypto *c, struct cs_bytes custodian_spki,
                         const struct cs_seal_context *ctx, const struct cs_privkey *key, uint8_t **ret,
                         size_t *ret_len, struct cs_err *err); // malloc'ed
// REJECT key.malformed if it does not open (another custodian, another context, altered bytes);
// key.mismatch if the key inside is not the one of ctx.
CS_MUST_USE bool cs_unseal(struct cs_crypto *c, const struct cs_privkey *custodian,
                           const struct cs_seal_context *ctx, struct cs_bytes sealed, struct cs_privkey **ret,
                           struct cs_err *err);
// Checks only the structure: version, lengths. *ret is the custodian's kid.
CS_MUST_USE bool cs_sealed_kid(struct cs_bytes sealed, cs_kid ret);

// HPKE itself, for the RFC's vectors: base mode seal with a given ephemeral X25519 key (32 bytes,
// its private scalar) and open. ct has pt_len + 16 bytes.
CS_MUST_USE bool cs_hpke_seal(const uint8_t eph_private[32], const uint8_t recipient_public[32],
                              struct cs_bytes info, struct cs_bytes aad, struct cs_bytes pt,
                              uint8_t ret_enc[32], uint8_t *ret_ct, struct cs_err *err);
CS_MUST_USE bool cs_hpke_open(const uint8_t recipient_private[32], const uint8_t enc[32],
                              struct cs_bytes info, struct cs_bytes aad, struct cs_bytes ct, uint8_t *ret_pt,
                              struct cs_err *err);
