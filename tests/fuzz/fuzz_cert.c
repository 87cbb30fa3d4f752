// SPDX-License-Identifier: Apache-2.0
//
// Certificates: whatever cs_cert_parse accepts, OpenSSL's reader accepts too, to the last byte and with the
// same values, so that no certificate is registered that a server then cannot load.
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "certsync/model/cert.h"
#include "certsync/model/text.h"

static void must(int ok) {
    if (!ok)
        abort();
}

static void compare(const struct cs_cert *cert, X509 *x) {
    uint8_t *spki = NULL;
    uint32_t flags = X509_get_extension_flags(x);
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    must(len > 0 && (size_t)len == cert->spki.len && memcmp(spki, cert->spki.data, cert->spki.len) == 0);
    OPENSSL_free(spki);
    must(X509_get_version(x) == X509_VERSION_3 || cert->is_ca);
    must((flags & EXFLAG_SI) || !cert->self_issued); // OpenSSL takes tabs for spaces too
    if (!(flags & EXFLAG_INVALID)) // OpenSSL found an extension that is none of ours and cannot be read
        must(X509_get_key_usage(x) == cert->key_usage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct cs_crypto *crypto;
    struct cs_err err = {0};
    struct cs_cert *cert = NULL;
    if (!crypto)
        must(cs_crypto_new(&crypto, &err));
    if (!cs_cert_parse(crypto, (struct cs_bytes){data, size}, &cert, &err)) {
        must(err.kind == CS_ERR_REJECT && err.code != CS_CODE_NONE && cert == NULL);
        return 0;
    }
    const char *texts[] = {cert->subject_name, cert->issuer_name, cert->common_name};
    for (size_t i = 0; i < CS_ARRAY_LEN(texts); i++)
        must(cs_utf8_valid((const uint8_t *)texts[i], strlen(texts[i])));
    const uint8_t *p = data;
    X509 *x = d2i_X509(NULL, &p, (long)size);
    must(x != NULL && p == data + size);
    compare(cert, x);
    X509_free(x);
    ERR_clear_error();
    (void)cs_cert_signed_by(crypto, cert, cert);
    cs_cert_free(cert);
    return 0;
}
