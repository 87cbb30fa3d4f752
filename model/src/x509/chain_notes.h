// SPDX-License-Identifier: Apache-2.0
//
// What clients will refuse in a well-formed chain (cert.h, cs_chain_facts).
#pragma once

#include "x509/chain_path.h"

void chain_notes(struct cs_cert *const *certs, const struct path_order *order, struct cs_chain_facts *ret);
