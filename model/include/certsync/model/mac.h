// SPDX-License-Identifier: Apache-2.0
//
// Message authentication codes for what lies where others can write: SipHash-2-4 with 128 bits
// (https://www.aumasson.jp/siphash/siphash.pdf), which costs a fraction of a microsecond where
// HMAC would cost several. libsodium computes it: OpenSSL needs 140 ns for a call. Its keys are derived from a private key by HKDF-SHA256 (RFC 5869), so
// that there is no second secret to keep.
#pragma once

#include "certsync/model/key.h"

#define CS_MAC_ROOT_LEN 32
#define CS_MAC_KEY_LEN  16
#define CS_MAC_LEN      16

// HKDF of the private number of a P-256 key. salt and info are texts. FATAL where OpenSSL refuses;
// CONFIG where the key's number cannot be had.
CS_MUST_USE bool cs_mac_root(const struct cs_privkey *key, const char *salt, const char *info,
                             uint8_t ret[CS_MAC_ROOT_LEN], struct cs_err *err);
// HKDF of a root, without a salt.
CS_MUST_USE bool cs_mac_key(const uint8_t root[CS_MAC_ROOT_LEN], const char *info,
                            uint8_t ret[CS_MAC_KEY_LEN], struct cs_err *err);

// Memory for a message, used again. One thread.
struct cs_mac;
CS_MUST_USE bool cs_mac_new(struct cs_mac **ret, struct cs_err *err);
void cs_mac_free(struct cs_mac *m);
CS_DEFINE_AUTO(struct cs_mac, cs_mac_free)
// Over a, then b: whoever calls frames what a holds. False: out of memory.
CS_MUST_USE bool cs_mac_of(struct cs_mac *m, const uint8_t key[CS_MAC_KEY_LEN], struct cs_bytes a,
                           struct cs_bytes b, uint8_t ret[CS_MAC_LEN], struct cs_err *err);
// Compares in a time that does not depend on the bytes.
bool cs_mac_equal(const uint8_t *a, const uint8_t *b, size_t len);
void cs_mac_cleanse(void *p, size_t len);

// HMAC-SHA-256 (RFC 2104) over parts, one after the other, with a key of any length: for what others
// verify.
#define CS_HMAC_LEN 32
void cs_hmac_sha256(struct cs_bytes key, const struct cs_bytes *parts, size_t n, uint8_t ret[CS_HMAC_LEN]);
