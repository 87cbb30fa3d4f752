// SPDX-License-Identifier: Apache-2.0
//
// The one order that a set of certificates has (cert.h says which). The same set gives the same
// answer, in whatever order it came.
#pragma once

#include "certsync/model/codes.h"
#include "x509/cert_impl.h"

// Pairs of a certificate and one with its issuer's name, in one set. Each may cost a verification,
// and makes the search branch. Real sets have one or two for each certificate.
#define PATH_LINKS_MAX 24

struct path_order {
    size_t at[CS_CHAIN_MAX]; // places in the set: the path from the leaf, then other links
    size_t path_len;         // how many of them are the path
    bool alone;              // only the leaf is there, and it did not sign itself
    // If the set has no order: chain.stray or chain.broken, and the certificate at fault.
    enum cs_code code;
    size_t culprit;
};

// certs[0] is the leaf; n is 1 to CS_CHAIN_MAX, no certificate is there twice.
void path_find(struct cs_crypto *c, struct cs_cert *const *certs, size_t n, struct path_order *ret);
