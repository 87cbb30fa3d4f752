// SPDX-License-Identifier: Apache-2.0
//
// Making private keys. Of the model only this, signing and sealing draw random numbers (OpenSSL's).
#include "crypto/privkey.h"

#include <openssl/x509.h>

static EVP_PKEY *generate(enum cs_key_type type, int rsa_bits) {
    const char *algorithm = NULL, *group = NULL;
    if (type == CS_KEY_SM2)
        return EVP_PKEY_Q_keygen(NULL, NULL, "SM2");
    if (crypto_curve_names(type, &algorithm, &group))
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", group);
    if (type == CS_KEY_RSA)
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)rsa_bits);
    return EVP_PKEY_Q_keygen(NULL, NULL, type == CS_KEY_ED25519 ? "ED25519" : "X25519");
}

bool cs_privkey_generate(enum cs_key_type type, int rsa_bits, struct cs_privkey **ret, struct cs_err *err) {
    if (type == CS_KEY_RSA && (rsa_bits < 2048 || rsa_bits > 8192))
        return cs_err_reject(err, CS_CODE_CERT_WEAK_KEY);
    EVP_PKEY *pkey = generate(type, rsa_bits);
    PKCS8_PRIV_KEY_INFO *info = pkey ? EVP_PKEY2PKCS8(pkey) : NULL;
    uint8_t *der = NULL;
    int len = info ? i2d_PKCS8_PRIV_KEY_INFO(info, &der) : -1;
    bool ok = len > 0 ? cs_privkey_from_pkcs8((struct cs_bytes){der, (size_t)len}, ret, err)
                      : crypto_fail(err, "making a private key");
    if (len > 0)
        OPENSSL_clear_free(der, (size_t)len);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(pkey);
    return ok;
}
