// SPDX-License-Identifier: Apache-2.0
#include "certsync/base/text.h"
#include "certsync/model/pem.h"
#include "crypto/privkey.h"

#include <stdlib.h>

#define LINE 64

size_t pem_size(const char *label, size_t der_len) {
    size_t base64 = cs_base64_encoded_len(der_len);
    return 2 * strlen(label) + sizeof "-----BEGIN -----\n-----END -----\n" + base64 + base64 / LINE + 1;
}

size_t pem_write(const char *label, struct cs_bytes der, char *out) {
    const size_t bytes = LINE / 4 * 3;
    char *at = stpcpy(stpcpy(stpcpy(out, "-----BEGIN "), label), "-----\n");
    for (size_t i = 0; i < der.len; i += bytes) {
        size_t n = der.len - i < bytes ? der.len - i : bytes;
        cs_base64_encode(der.data + i, n, at);
        at += cs_base64_encoded_len(n);
        *at++ = '\n';
    }
    at = stpcpy(stpcpy(stpcpy(at, "-----END "), label), "-----\n");
    *at = '\0';
    return (size_t)(at - out);
}

bool cs_pem_encode(const char *type, struct cs_bytes der, char **ret, struct cs_err *err) {
    char *text = malloc(pem_size(type, der.len));
    if (!text)
        return cs_err_oom(err);
    pem_write(type, der, text);
    *ret = text;
    return true;
}

bool cs_spki_to_pem(struct cs_bytes spki, char **ret, struct cs_err *err) {
    return cs_pem_encode("PUBLIC KEY", spki, ret, err);
}
