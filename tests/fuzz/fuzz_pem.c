// SPDX-License-Identifier: Apache-2.0
//
// Files: whatever they hold, each reader answers, a refusal has a code and readable text, and a key that was
// read is one that can be written and read again.
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "certsync/base/text.h"
#include "certsync/model/pem.h"

static struct cs_crypto *crypto;

static void must(bool ok) {
    if (!ok)
        abort();
}

static bool answered(bool ok, const struct cs_err *err) {
    if (!ok)
        must(err->kind == CS_ERR_REJECT && err->code != CS_CODE_NONE &&
             cs_utf8_valid((const uint8_t *)err->msg, strlen(err->msg)));
    return ok;
}

static void private_key(struct cs_bytes text) {
    struct cs_err err = {0};
    CS_AUTO(cs_privkey_free) struct cs_privkey *key = NULL;
    CS_AUTO(cs_privkey_free) struct cs_privkey *again = NULL;
    CS_AUTO(cs_pubkey_free) struct cs_pubkey *pub = NULL;
    uint8_t *pem, *spki;
    size_t len, spki_len;
    if (!answered(cs_pem_privkey(crypto, "f", text, &key, &err), &err))
        return;
    must(cs_privkey_to_pem(key, &pem, &len, &err));
    must(cs_pem_privkey(crypto, "f", (struct cs_bytes){pem, len}, &again, &err));
    must(cs_privkey_type(key) == cs_privkey_type(again));
    cs_secure_free(pem, len);
    // The public half that the file states is one of the right form; whether it is a point, cs_pubkey_new
    // says.
    must(cs_privkey_spki(key, &spki, &spki_len, &err));
    (void)answered(cs_pubkey_new(crypto, (struct cs_bytes){spki, spki_len}, &pub, &err), &err);
    free(spki);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct cs_err err = {0};
    struct cs_bytes text = {data, size};
    struct cs_cert **certs = NULL;
    struct cs_csr *csr = NULL;
    uint8_t *spki = NULL;
    size_t n = 0, len;
    if (!crypto)
        must(cs_crypto_new(&crypto, &err));
    if (answered(cs_pem_certs(crypto, "f", text, &certs, &n, &err), &err))
        must(n > 0 && n <= CS_CHAIN_MAX);
    cs_certs_free(certs, n);
    (void)answered(cs_pem_csr(crypto, "f", text, &csr, &err), &err);
    cs_csr_free(csr);
    (void)answered(cs_pem_spki(crypto, "f", text, &spki, &len, &err), &err);
    free(spki);
    private_key(text);
    return 0;
}
