// SPDX-License-Identifier: Apache-2.0
//
// Certificate signing requests (PKCS#10, RFC 2986).
#pragma once

#include "certsync/model/codes.h"
#include "certsync/model/key.h"

#define CS_CSR_DER_MAX (32 * 1024)

struct cs_csr {
    struct cs_bytes der; // owned copy
    uint8_t sha256[32];
    uint8_t spki_sha256[32];
    struct cs_bytes spki;      // view into der
    struct cs_bytes alt_names; // view, as in cert.h
    enum cs_key_type key_type;
    int key_bits;
    char subject_name[512];
    char common_name[256];
    size_t names_len;
    char **names; // as in cert.h
    struct cs_pubkey *key;
};

// Parses and verifies the request's own signature (by SHA-2, SM3 or Ed25519). REJECT codes:
// csr.malformed, csr.bad_signature, cert.weak_key, cert.explicit_curve.
CS_MUST_USE bool cs_csr_parse(struct cs_crypto *c, struct cs_bytes der, struct cs_csr **ret,
                              struct cs_err *err);
void cs_csr_free(struct cs_csr *csr);
CS_DEFINE_AUTO(struct cs_csr, cs_csr_free)
// What a request must have beyond its form: csr.no_name (a subject alternative name), else
// CS_CODE_NONE.
enum cs_code cs_csr_check(const struct cs_csr *csr);
// Makes a request. subject is "/C=CN/O=Example/CN=www.example.com",
// "CN=www.example.com,O=Example,C=CN" (RFC 4514, as subjects are shown) or a bare common name. SANs
// are made of names: IP if it parses as one, else DNS. Without names, the common name is used if it
// is a host or an IP address. DER malloc'ed, the caller frees. REJECT csr.malformed for a subject
// that cannot be encoded, csr.no_name.
CS_MUST_USE bool cs_csr_create(struct cs_crypto *c, const struct cs_privkey *key, const char *subject,
                               const char *const *names, size_t names_len, uint8_t **ret, size_t *ret_len,
                               struct cs_err *err);
