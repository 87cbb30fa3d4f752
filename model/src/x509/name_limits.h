// SPDX-License-Identifier: Apache-2.0
//
// Name constraints (RFC 5280 section 4.2.1.10), as OpenSSL holds certificates against them.
#pragma once

#include "x509/cert_impl.h"

// Whether a CA with these extensions may sign for every name of cert, which stands below it: its
// subject and the subject's e-mail addresses, the subject alternative names, and of a leaf without
// a DNS name there the common names that are host names. False, too, where that cannot be told: a
// name that cannot be read or is of a kind that nobody knows how to compare, a subtree with other
// than the usual bounds, more names and subtrees than a real certificate has.
bool name_limits_hold(const struct ext_facts *ca, const struct cs_cert *cert, bool leaf);
