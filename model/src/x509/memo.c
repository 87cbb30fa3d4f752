// SPDX-License-Identifier: Apache-2.0
//
// Bounded memos of pure results, in sets of four that are replaced in turn. Whoever fills them with
// rubbish costs others a second computation, and nothing else.
#include "certsync/model/cert.h"
#include "crypto/crypto_impl.h"

static size_t cert_set(const uint8_t sha256[32]) {
    return sha256[0] % MEMO_CERT_SETS;
}

struct cs_cert *memo_cert_get(struct cs_crypto *c, const uint8_t sha256[32]) {
    struct cs_cert **set = c->cert[cert_set(sha256)];
    if (c->memo_off)
        return NULL;
    for (size_t i = 0; i < MEMO_WAYS; i++)
        if (set[i] && memcmp(set[i]->sha256, sha256, 32) == 0)
            return cert_ref(set[i]);
    return NULL;
}

static void forget(struct cs_crypto *c) {
    for (size_t i = 0; i < MEMO_CERT_SETS; i++)
        for (size_t way = 0; way < MEMO_WAYS; way++)
            cs_cert_free(c->cert[i][way]);
    memset(c->cert, 0, sizeof c->cert);
}

void memo_cert_put(struct cs_crypto *c, struct cs_cert *cert) {
    size_t s = cert_set(cert->sha256);
    struct cs_cert **slot = &c->cert[s][c->cert_next[s]++ % MEMO_WAYS];
    if (c->memo_off)
        return;
    c->cert_forget = forget;
    cs_cert_free(*slot);
    *slot = cert_ref(cert);
}
