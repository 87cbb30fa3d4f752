// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/mac.h"

#include <sodium/crypto_auth_hmacsha256.h>

_Static_assert(crypto_auth_hmacsha256_BYTES == CS_HMAC_LEN, "HMAC with SHA-256");

void cs_hmac_sha256(struct cs_bytes key, const struct cs_bytes *parts, size_t n, uint8_t ret[CS_HMAC_LEN]) {
    crypto_auth_hmacsha256_state s;
    crypto_auth_hmacsha256_init(&s, key.data, key.len);
    for (size_t i = 0; i < n; i++)
        crypto_auth_hmacsha256_update(&s, parts[i].data, parts[i].len);
    crypto_auth_hmacsha256_final(&s, ret);
    cs_mac_cleanse(&s, sizeof s);
}
