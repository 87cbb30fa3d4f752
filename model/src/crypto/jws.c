// SPDX-License-Identifier: Apache-2.0
//
// ES256 (RFC 7518 section 3.4): the signature is r and s side by side, 32 bytes each. X.509 and our
// events use DER.
#include <string.h>

#include "certsync/model/sign.h"
#include "crypto/privkey.h"
#include "der.h"

#define HALF (CS_ES256_SIG_LEN / 2)

// An INTEGER of r or s: minimal, positive. Returns its length.
static size_t put_integer(const uint8_t *n, uint8_t *out) {
    size_t skip = 0;
    while (skip < HALF - 1 && n[skip] == 0)
        skip++;
    size_t len = HALF - skip, pad = n[skip] >> 7;
    out[0] = 0x02;
    out[1] = (uint8_t)(len + pad);
    out[2] = 0;
    memcpy(out + 2 + pad, n + skip, len);
    return 2 + pad + len;
}

static bool take_half(struct der *d, uint8_t out[HALF]) {
    struct cs_bytes n;
    if (!der_take_unsigned(d, &n) || n.len > HALF)
        return false;
    memset(out, 0, HALF);
    memcpy(out + HALF - n.len, n.data, n.len);
    return true;
}

bool cs_es256_sign(struct cs_crypto *c, const struct cs_privkey *key, struct cs_bytes text,
                   uint8_t ret[CS_ES256_SIG_LEN], struct cs_err *err) {
    uint8_t sig[CS_EVENT_SIG_MAX];
    size_t len;
    struct der seq;
    if (key->type != CS_KEY_P256)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE, "tokens are signed with a P-256 key");
    if (!privkey_sign(c, key, &text, 1, sig, sizeof sig, &len))
        return crypto_fail(err, "signing a token");
    struct der outer = der_of((struct cs_bytes){sig, len});
    return (der_enter(&outer, DER_SEQUENCE, &seq) && take_half(&seq, ret) && take_half(&seq, ret + HALF)) ||
           crypto_fail(err, "signing a token");
}

bool cs_es256_verify(struct cs_crypto *c, const struct cs_pubkey *key, struct cs_bytes text,
                     const uint8_t sig[CS_ES256_SIG_LEN]) {
    const struct sig_alg alg = {.kind = SIG_ECDSA, .digest = DIGEST_SHA256};
    uint8_t der[2 + 2 * (3 + HALF)];
    size_t len = 2;
    if (key->type != CS_KEY_P256)
        return false;
    len += put_integer(sig, der + len);
    len += put_integer(sig + HALF, der + len);
    der[0] = 0x30;
    der[1] = (uint8_t)(len - 2);
    return crypto_verify(c, key, &alg, text, (struct cs_bytes){der, len});
}
