// SPDX-License-Identifier: Apache-2.0
//
// What a certificate holds besides the public view: references (it may be in a memo too), and what its chain
// is checked with.
#pragma once

#include "crypto_impl.h"
#include "name.h"

#include <stdatomic.h>

struct cert_inside {
    atomic_uint refs;
    int path_len; // -1: no limit
    struct sig_alg alg;
    struct cs_bytes sig;
    struct san_list names;
};

static inline const struct cert_inside *cert_inside(const struct cs_cert *cert) {
    return cert->internal;
}
