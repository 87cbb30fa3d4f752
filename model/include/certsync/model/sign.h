// SPDX-License-Identifier: Apache-2.0
//
// Signatures: of an event by its sender, and the proof that a private key belongs to a certificate.
//
// Event: ECDSA P-256 with SHA-256, DER form (RFC 3279 section 2.2.3), over DSSE's
// pre-authentication encoding (https://github.com/secure-systems-lab/dsse, protocol.md): "DSSEv1"
// SP len(type) SP type SP len(body) SP body, type = CS_CONTENT_TYPE, body = the exact bytes of the
// record value. The header certsync-sig holds its base64.
//
// Proof of possession: the certificate's key signs, each field preceded by its length as 8 bytes
// big-endian: "certsync.pop.v1", log id, account, kid, event id, subject, SHA-256 of the sealed
// key, SHA-256 of the leaf's DER. RSA PKCS#1 v1.5 with SHA-256, ECDSA with the curve's digest
// (P-256 SHA-256, P-384 SHA-384, P-521 SHA-512), Ed25519, SM2 with SM3 and the default id.
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/key.h"

#define CS_CONTENT_TYPE  "application/cloudevents+json"
#define CS_SIG_HEADER    "certsync-sig"
#define CS_EVENT_SIG_MAX 80   // bytes of a DER signature over P-256
#define CS_POP_MAX       1024 // bytes: RSA-8192

CS_MUST_USE bool cs_event_sign(struct cs_crypto *c, const struct cs_privkey *key, struct cs_bytes value,
                               uint8_t ret_sig[CS_EVENT_SIG_MAX], size_t *ret_len, struct cs_err *err);
// False if the signature is not this key's over these bytes. key must be P-256. Keeps contexts for
// keys that come again.
bool cs_event_verify(struct cs_crypto *c, const struct cs_pubkey *key, struct cs_bytes value,
                     struct cs_bytes sig);

// ES256 of JSON Web Signatures (RFC 7518 section 3.4) over the text as it is: r and s of 32 bytes
// each. False if it is not this key's, or the key is not P-256.
#define CS_ES256_SIG_LEN 64
CS_MUST_USE bool cs_es256_sign(struct cs_crypto *c, const struct cs_privkey *key, struct cs_bytes text,
                               uint8_t ret[CS_ES256_SIG_LEN], struct cs_err *err);
bool cs_es256_verify(struct cs_crypto *c, const struct cs_pubkey *key, struct cs_bytes text,
                     const uint8_t sig[CS_ES256_SIG_LEN]);

struct cs_pop_fields {
    const char *log_id;
    const char *account;
    const char *kid;
    const char *event_id;
    const char *subject;
    struct cs_bytes sealed_key;
    const uint8_t *leaf_sha256; // 32 bytes
};
// Signs, then verifies with the leaf's public key. (For csr.add that is the request's key, and
// leaf_sha256 is the SHA-256 of the request's DER.) REJECT key.mismatch, with the hint, if they do
// not belong together; also if somebody forged the public half.
CS_MUST_USE bool cs_pop_sign(struct cs_crypto *c, const struct cs_privkey *key, const struct cs_pubkey *pub,
                             const struct cs_pop_fields *f, uint8_t ret[CS_POP_MAX], size_t *ret_len,
                             struct cs_err *err);
bool cs_pop_verify(struct cs_crypto *c, const struct cs_pubkey *key, const struct cs_pop_fields *f,
                   struct cs_bytes pop);
