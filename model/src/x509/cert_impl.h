// SPDX-License-Identifier: Apache-2.0
//
// What a certificate holds besides the public view: references (it may be in a memo too), and what
// its chain is checked with.
#pragma once

#include "certsync/model/cert.h"
#include "crypto/crypto_impl.h"
#include "x509/ext.h"
#include "x509/name.h"

#include <stdatomic.h>

struct cert_inside {
    atomic_uint refs;
    struct cs_region *region; // where it lies with its names and key; NULL: the heap
    struct ext_facts ext;
    struct cs_bytes serial; // as it is encoded
    struct sig_alg alg;
    struct cs_bytes sig;
    struct san_list names;
};

// As cs_cert_parse, into a region or NULL. A certificate in a region is never remembered: do not
// use it for those that come again.
CS_MUST_USE bool cert_parse_into(struct cs_crypto *c, struct cs_bytes der, struct cs_region *region,
                                 struct cs_cert **ret, struct cs_err *err);

static inline const struct cert_inside *cert_inside(const struct cs_cert *cert) {
    return cert->internal;
}

// Whether issuer's key signed cert. Names and rights are not checked. Memoised.
bool cert_signature_good(struct cs_crypto *c, const struct cs_cert *cert, const struct cs_cert *issuer);
