// SPDX-License-Identifier: Apache-2.0
//
// The keys of MACs. Apart from the MACs themselves: programs that derive need no libsodium.
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>

#include "certsync/model/mac.h"
#include "crypto/privkey.h"

#define SCALAR_LEN 32 // of P-256

static bool refused(struct cs_err *err, const char *what) {
    return cs_err_set(err, CS_ERR_FATAL, CS_CODE_NONE, "OpenSSL gives no %s", what);
}

static bool hkdf(struct cs_bytes ikm, const char *salt, const char *info, uint8_t *ret, size_t len) {
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
    // OpenSSL takes parameters as writable and only reads these.
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)(uintptr_t) "SHA256", 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)ikm.data, ikm.len),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)salt, strlen(salt)),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)info, strlen(info)),
        OSSL_PARAM_construct_end(),
    };
    bool ok = ctx && EVP_KDF_derive(ctx, ret, len, params) == 1;
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
    return ok;
}

bool cs_mac_root(const struct cs_privkey *key, const char *salt, const char *info,
                 uint8_t ret[CS_MAC_ROOT_LEN], struct cs_err *err) {
    uint8_t scalar[SCALAR_LEN];
    BIGNUM *d = NULL;
    bool ok = key->type == CS_KEY_P256 && key->pkey &&
              EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) == 1 &&
              BN_bn2binpad(d, scalar, sizeof scalar) == (int)sizeof scalar;
    BN_clear_free(d);
    if (!ok)
        return cs_err_set(err, CS_ERR_CONFIG, CS_CODE_NONE,
                          "the key is not a P-256 key whose number can be read");
    ok = hkdf((struct cs_bytes){scalar, sizeof scalar}, salt, info, ret, CS_MAC_ROOT_LEN);
    OPENSSL_cleanse(scalar, sizeof scalar);
    return ok || refused(err, "HKDF");
}

bool cs_mac_key(const uint8_t root[CS_MAC_ROOT_LEN], const char *info, uint8_t ret[CS_MAC_KEY_LEN],
                struct cs_err *err) {
    return hkdf((struct cs_bytes){root, CS_MAC_ROOT_LEN}, "", info, ret, CS_MAC_KEY_LEN) ||
           refused(err, "HKDF");
}

bool cs_mac_equal(const uint8_t *a, const uint8_t *b, size_t len) {
    return CRYPTO_memcmp(a, b, len) == 0;
}

void cs_mac_cleanse(void *p, size_t len) {
    OPENSSL_cleanse(p, len);
}
