// SPDX-License-Identifier: Apache-2.0
#include "certsync/model/mac.h"

#include <stdlib.h>
#include <string.h>

#include <sodium/crypto_shorthash_siphash24.h>

#include "certsync/base/grow.h"

_Static_assert(crypto_shorthash_siphashx24_BYTES == CS_MAC_LEN, "SipHash with 128 bits");
_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == CS_MAC_KEY_LEN, "SipHash's key");

struct cs_mac {
    uint8_t *message; // libsodium takes it in one piece
    size_t cap;
};

bool cs_mac_new(struct cs_mac **ret, struct cs_err *err) {
    struct cs_mac *m = calloc(1, sizeof *m);
    if (!m)
        return cs_err_oom(err);
    *ret = m;
    return true;
}

void cs_mac_free(struct cs_mac *m) {
    if (!m)
        return;
    free(m->message);
    free(m);
}

bool cs_mac_of(struct cs_mac *m, const uint8_t key[CS_MAC_KEY_LEN], struct cs_bytes a, struct cs_bytes b,
               uint8_t ret[CS_MAC_LEN], struct cs_err *err) {
    size_t len = a.len + b.len;
    if (!CS_GROW(&m->message, &m->cap, len + 1))
        return cs_err_oom(err);
    if (a.len > 0)
        memcpy(m->message, a.data, a.len);
    if (b.len > 0)
        memcpy(m->message + a.len, b.data, b.len);
    crypto_shorthash_siphashx24(ret, m->message, len, key);
    return true;
}
